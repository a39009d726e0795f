/*
 * layout_shift.c - a sorted array of ranges with their distances.
 *
 * SPDX-License-Identifier: MIT
 */
#include "layout_shift.h"

#include "alloc.h"

/* The first range that ends above addr. */
static size_t first_above(const struct vt_shifts *s, uint64_t addr)
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
static void replace(struct vt_shifts *s, size_t at, size_t n, const struct vt_shift *with)
{
	while (s->n + 1 > s->cap)
		s->v = vt_grow(s->v, s->cap, &s->cap, sizeof(*s->v));
	memmove(s->v + at + 1, s->v + at + n, (s->n - at - n) * sizeof(*s->v));
	s->v[at] = *with;
	s->n += 1 - n;
}

void vt_shifts_set(struct vt_shifts *s, uint64_t lo, uint64_t hi, int64_t distance)
{
	struct vt_shift fresh = { lo, hi, distance };
	size_t i = first_above(s, lo);
	if (lo >= hi)
		return;
	if (i < s->n && s->v[i].lo < lo) { /* keep what begins before */
		struct vt_shift rest = { lo, s->v[i].hi, s->v[i].distance };
		s->v[i].hi = lo;
		replace(s, ++i, 0, &rest);
	}
	size_t n = 0;
	while (i + n < s->n && s->v[i + n].hi <= hi)
		n++;
	if (i + n < s->n && s->v[i + n].lo < hi)
		s->v[i + n].lo = hi;
	/* neighbours of the same distance are one range */
	if (i > 0 && s->v[i - 1].hi == lo && s->v[i - 1].distance == distance) {
		fresh.lo = s->v[--i].lo;
		n++;
	}
	if (i + n < s->n && s->v[i + n].lo == hi && s->v[i + n].distance == distance)
		fresh.hi = s->v[i + n++].hi;
	replace(s, i, n, &fresh);
}

uint64_t vt_shifts_of(const struct vt_shifts *s, uint64_t addr, uint64_t *end)
{
	size_t i = first_above(s, addr);
	*end = i < s->n ? s->v[i].hi : UINT64_MAX;
	if (i == s->n || s->v[i].lo > addr) {
		if (i < s->n)
			*end = s->v[i].lo;
		return addr;
	}
	return addr + (uint64_t)s->v[i].distance;
}

void vt_shifts_free(struct vt_shifts *s)
{
	free(s->v);
}
