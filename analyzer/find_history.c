/*
 * find_history.c - the dead ranges, as a treap by address: they never overlap.
 *
 * A node's priority is a hash of its index, so that it needs no room of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_history.h"

#include "alloc.h"

static uint32_t priority(uint32_t i)
{
	i ^= i >> 16;
	i *= 0x7feb352dU;
	i ^= i >> 15;
	i *= 0x846ca68bU;
	return i ^ i >> 16;
}

static uint32_t new_node(struct vt_history *h, const struct vt_dead *d)
{
	uint32_t i = h->free_list;
	if (i) {
		h->free_list = h->v[i].left;
	} else {
		if (!h->n)
			h->n = 1;
		h->v = vt_grow(h->v, h->n, &h->cap, sizeof(*h->v));
		i = h->n++;
	}
	h->v[i] = *d;
	h->v[i].left = h->v[i].right = 0;
	return i;
}

/* Divide the tree t into what begins below key and the rest. */
static void split(struct vt_history *h, uint32_t t, uint64_t key, uint32_t *below, uint32_t *rest)
{
	if (!t) {
		*below = *rest = 0;
	} else if (h->v[t].lo < key) {
		split(h, h->v[t].right, key, &h->v[t].right, rest);
		*below = t;
	} else {
		split(h, h->v[t].left, key, below, &h->v[t].left);
		*rest = t;
	}
}

/* Join two trees; all of a lies below b. */
static uint32_t join(struct vt_history *h, uint32_t a, uint32_t b)
{
	if (!a || !b)
		return a ? a : b;
	if (priority(a) > priority(b)) {
		h->v[a].right = join(h, h->v[a].right, b);
		return a;
	}
	h->v[b].left = join(h, a, h->v[b].left);
	return b;
}

static void free_tree(struct vt_history *h, uint32_t t)
{
	if (!t)
		return;
	free_tree(h, h->v[t].left);
	free_tree(h, h->v[t].right);
	h->v[t].left = h->free_list;
	h->free_list = t;
}

static uint32_t find(const struct vt_history *h, uint64_t lo, uint64_t hi)
{
	uint32_t best = 0;
	for (uint32_t t = h->root; t;) {
		if (h->v[t].hi <= lo) {
			t = h->v[t].right;
		} else {
			if (h->v[t].lo < hi)
				best = t;
			t = h->v[t].left;
		}
	}
	return best;
}

/* Make addr no inner address of any range. */
static void cut(struct vt_history *h, uint64_t addr)
{
	uint32_t i = find(h, addr, addr + 1), below, rest;
	if (!i || h->v[i].lo == addr)
		return;
	struct vt_dead upper = h->v[i];
	upper.lo = addr;
	h->v[i].hi = addr;
	uint32_t node = new_node(h, &upper);
	split(h, h->root, addr, &below, &rest);
	h->root = join(h, join(h, below, node), rest);
}

void vt_history_add(struct vt_history *h, const struct vt_dead *d)
{
	uint32_t below, middle, above, i = find(h, d->lo, d->hi);
	if (i && h->v[i].lo == d->lo && h->v[i].hi == d->hi) {
		uint32_t left = h->v[i].left, right = h->v[i].right;
		h->v[i] = *d;
		h->v[i].left = left;
		h->v[i].right = right;
		return;
	}
	cut(h, d->lo);
	cut(h, d->hi);
	split(h, h->root, d->lo, &below, &middle);
	split(h, middle, d->hi, &middle, &above);
	free_tree(h, middle);
	i = new_node(h, d);
	h->root = join(h, join(h, below, i), above);
}

const struct vt_dead *vt_history_find(const struct vt_history *h, uint64_t lo, uint64_t hi)
{
	uint32_t i = find(h, lo, hi);
	return i ? &h->v[i] : NULL;
}

void vt_history_free(struct vt_history *h)
{
	free(h->v);
	*h = (struct vt_history){ 0 };
}
