/*
 * range_map.c - a sorted array of ranges with their numbers.
 *
 * SPDX-License-Identifier: MIT
 */
#include "range_map.h"

#include "alloc.h"

/* The first range that ends above addr. */
static size_t first_above(const struct vt_range_map *s, uint64_t addr)
{
	size_t lo = 0, hi = s->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->v[mid].hi <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Replace n ranges from at on by one. */
static void replace(struct vt_range_map *s, size_t at, size_t n, const struct vt_range_value *with)
{
	while (s->n + 1 > s->cap)
		s->v = vt_grow(s->v, s->cap, &s->cap, sizeof(*s->v));
	memmove(s->v + at + 1, s->v + at + n, (s->n - at - n) * sizeof(*s->v));
	s->v[at] = *with;
	s->n += 1 - n;
}

void vt_range_map_set(struct vt_range_map *s, uint64_t lo, uint64_t hi, int64_t value)
{
	struct vt_range_value fresh = { lo, hi, value };
	size_t i = first_above(s, lo);
	if (lo >= hi)
		return;
	if (i < s->n && s->v[i].lo < lo) { /* keep what begins before */
		struct vt_range_value rest = { lo, s->v[i].hi, s->v[i].value };
		s->v[i].hi = lo;
		replace(s, ++i, 0, &rest);
	}
	size_t n = 0;
	while (i + n < s->n && s->v[i + n].hi <= hi)
		n++;
	if (i + n < s->n && s->v[i + n].lo < hi)
		s->v[i + n].lo = hi;
	/* neighbours of the same value are one range */
	if (i > 0 && s->v[i - 1].hi == lo && s->v[i - 1].value == value) {
		fresh.lo = s->v[--i].lo;
		n++;
	}
	if (i + n < s->n && s->v[i + n].lo == hi && s->v[i + n].value == value)
		fresh.hi = s->v[i + n++].hi;
	replace(s, i, n, &fresh);
}

int64_t vt_range_map_get(const struct vt_range_map *s, uint64_t addr, int64_t otherwise,
			 uint64_t *end)
{
	size_t i = first_above(s, addr);
	*end = i < s->n ? s->v[i].hi : UINT64_MAX;
	if (i < s->n && s->v[i].lo <= addr)
		return s->v[i].value;
	if (i < s->n)
		*end = s->v[i].lo;
	return otherwise;
}

void vt_range_map_free(struct vt_range_map *s)
{
	free(s->v);
}
