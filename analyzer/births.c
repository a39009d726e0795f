/*
 * births.c - a sorted array of births.
 *
 * SPDX-License-Identifier: MIT
 */
#include "births.h"

#include "alloc.h"

bool vt_gives_birth(const struct vt_event *e)
{
	return !vt_is_error(e->ret) &&
	       (e->kind == VT_MMAP || e->kind == VT_MREMAP || e->kind == VT_BRK ||
		e->kind == VT_SHMAT || e->kind == VT_REMAP_FILE_PAGES || e->kind == VT_UNSEEN_MAP);
}

void vt_births_add(struct vt_births *b, uint64_t seq, uint64_t value)
{
	b->v = vt_grow(b->v, b->n, &b->cap, 2 * sizeof(uint64_t));
	b->v[2 * b->n] = seq;
	b->v[2 * b->n + 1] = value;
	b->n++;
}

bool vt_births_find(const struct vt_births *b, uint64_t seq, uint64_t *value)
{
	size_t lo = 0, hi = b->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (b->v[2 * mid] < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == b->n || b->v[2 * lo] != seq)
		return false;
	*value = b->v[2 * lo + 1];
	return true;
}

void vt_births_free(struct vt_births *b)
{
	free(b->v);
}
