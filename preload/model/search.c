/*
 * search.c - where an address lies: in which extent, or before which.
 *
 * Owns what is known of where searches end, so that most need not walk down the tree: the last ones
 * by stretches of addresses, and the hint of whoever looked ahead. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

struct vt_extent *vt_model_find(const struct vt_model *m, uint64_t addr)
{
	struct vt_extent *x = m->root, *best = NULL;
	while (x) {
		if (addr < x->end) {
			best = x;
			if (addr >= x->start)
				break;
			x = x->left;
		} else {
			x = x->right;
		}
	}
	return best;
}

/* Where a search that is over goes on: every address lies to its right, which is itself. */
static struct vt_extent nowhere = { .right = &nowhere };

void vt_model_find_many(const struct vt_model *m, const uint64_t *addr, size_t n,
			struct vt_extent **found)
{
	struct vt_extent *at[VT_FIND_MANY], *root = m->root ? m->root : &nowhere;
	uintptr_t on = n;

	for (size_t i = 0; i < n; i++) {
		at[i] = root;
		found[i] = NULL;
	}
	while (on) {
		on = 0;
		for (size_t i = 0; i < n; i++) {
			struct vt_extent *x = at[i], *child;
			bool right = addr[i] >= x->end;
			found[i] = vt_choose(right, found[i], x);
			child = vt_choose(right, x->right, x->left);
			at[i] = vt_choose(child, child, &nowhere);
			__builtin_prefetch(at[i]);
			on |= (uintptr_t)at[i] ^ (uintptr_t)&nowhere;
		}
	}
}

/*
 * x is where searches for addr end from now on, and in the gap below it, from before on: of that,
 * some stretches learn of it. How many there are depends on chance, no branch asks.
 */
void vt_expect(struct vt_model *m, uint64_t before, uint64_t addr, struct vt_extent *x)
{
	uint64_t stretch = addr / VT_STRETCH, first = before / VT_STRETCH + 1;

	*vt_recent_in(m, stretch) = x;
	for (int i = 0; i < 3; i++) {
		stretch -= stretch > first;
		*vt_recent_in(m, stretch) = x;
	}
}

/* Not where the last search near addr ended: most often beside it. */
struct vt_extent *vt_find_afresh(struct vt_model *m, uint64_t addr)
{
	struct vt_extent **recent = vt_recent_near(m, addr), *x = *recent;
	if (x && x->end)
		x = addr < x->end ? vt_extent_prev(x) : vt_extent_next(x);
	if (!vt_ends_at(x, addr))
		x = vt_ends_at(m->hint, addr) ? m->hint : vt_model_find(m, addr);
	*recent = x;
	return x;
}

/*
 * vt_find for lo, where [lo, hi) is likely to be free: the kernel places a mapping right before the
 * next one, which may be known from the search for its own beginning.
 */
struct vt_extent *vt_find_room(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent **recent = vt_recent_near(m, lo), *next = *vt_recent_near(m, hi);
	if (!vt_ends_at(*recent, lo) && vt_ends_at(next, lo))
		*recent = next;
	return vt_find(m, lo);
}
