/*
 * find_history.c - the dead ranges: a log, a table by first address, and a treap by address whose
 * nodes never overlap. What a death covers goes beneath it, as a tree of its own that never changes
 * again.
 *
 * An entry of the log is a node of the tree as well. Where it must be cut, two pieces take its
 * place. A node's priority is a hash of its address, so that it needs no room of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_history.h"

#include "alloc.h"

/* With a reach, forgotten deaths are cleared away when there are this many more than at last. */
#define SLACK 8192
/* So many entries of one hash are looked at. */
#define LOOK_BACK 6
/* The chain of what is no entry of the log. */
#define PIECE UINT32_MAX

static uint64_t hash(uint64_t addr)
{
	uint64_t x = (addr >> 12) * 0x9e3779b97f4a7c15u;
	return x ^ x >> 29;
}

static bool outranks(const struct vt_history *h, uint32_t a, uint32_t b)
{
	return hash(h->v[a].lo) > hash(h->v[b].lo);
}

static uint32_t new_node(struct vt_history *h, const struct vt_dead *d)
{
	uint32_t i = h->free_list;
	if (i) {
		h->free_list = h->v[i].left;
	} else {
		i = h->n ? h->n : 1;
		h->v = vt_grow(h->v, i, &h->cap, sizeof(*h->v));
		h->n = i + 1;
	}
	h->v[i] = *d;
	h->v[i].left = h->v[i].right = 0;
	return i;
}

/* Divide the tree t into what begins below key and the rest. */
static void split(struct vt_history *h, uint32_t t, uint64_t key, uint32_t *below, uint32_t *rest)
{
	uint32_t *to_below = below, *to_rest = rest;
	while (t) {
		if (h->v[t].lo < key) {
			*to_below = t;
			to_below = &h->v[t].right;
			t = *to_below;
		} else {
			*to_rest = t;
			to_rest = &h->v[t].left;
			t = *to_rest;
		}
	}
	*to_below = *to_rest = 0;
}

/* Join two trees; all of a lies below b. */
static uint32_t join(struct vt_history *h, uint32_t a, uint32_t b)
{
	uint32_t root = 0, *to = &root;
	while (a && b) {
		if (outranks(h, a, b)) {
			*to = a;
			to = &h->v[a].right;
			a = *to;
		} else {
			*to = b;
			to = &h->v[b].left;
			b = *to;
		}
	}
	*to = a ? a : b;
	return root;
}

/* The lowest node of a tree that reaches into [lo, hi). */
static uint32_t find(const struct vt_history *h, uint32_t t, uint64_t lo, uint64_t hi)
{
	uint32_t best = 0;
	while (t) {
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

/* Where the tree points to node i. */
static uint32_t *link_to(struct vt_history *h, uint32_t i)
{
	uint32_t *link = &h->root;
	while (*link != i)
		link = h->v[i].lo < h->v[*link].lo ? &h->v[*link].left : &h->v[*link].right;
	return link;
}

/* Make addr no inner address of any range. */
static void cut(struct vt_history *h, uint64_t addr)
{
	uint32_t i = find(h, h->root, addr, addr + 1), below, rest;
	if (!i || h->v[i].lo == addr)
		return;
	struct vt_dead piece = h->v[i];
	if (!h->only_last && piece.chain != PIECE) {
		piece.chain = PIECE;
		uint32_t lower = new_node(h, &piece);
		h->v[lower].left = h->v[i].left;
		h->v[lower].right = h->v[i].right;
		*link_to(h, i) = lower;
		i = lower;
	}
	h->v[i].hi = addr;
	piece.lo = addr;
	uint32_t upper = new_node(h, &piece);
	split(h, h->root, addr, &below, &rest);
	h->root = join(h, join(h, below, upper), rest);
}

/* Put the nodes of a tree onto the free list. */
static void drop(struct vt_history *h, uint32_t t)
{
	if (!t)
		return;
	drop(h, h->v[t].left);
	drop(h, h->v[t].right);
	h->v[t].left = h->free_list;
	h->free_list = t;
}

/* Take what lies in [lo, hi) out: what is below stays, what is above is returned. */
static uint32_t open_up(struct vt_history *h, uint64_t lo, uint64_t hi, uint32_t *middle)
{
	uint32_t rest, above;
	cut(h, lo);
	cut(h, hi);
	split(h, h->root, lo, &h->root, &rest);
	split(h, rest, hi, middle, &above);
	if (h->only_last) {
		drop(h, *middle);
		*middle = 0;
	}
	return above;
}

/* Put node i into the tree, above whatever it covers. */
static void insert(struct vt_history *h, uint32_t i)
{
	uint64_t lo = h->v[i].lo, hi = h->v[i].hi;
	uint32_t middle, old = find(h, h->root, lo, hi);
	if (old && h->v[old].lo == lo && h->v[old].hi == hi) {
		*link_to(h, old) = i;
		h->v[i].left = h->v[old].left;
		h->v[i].right = h->v[old].right;
		h->v[old].left = h->v[old].right = 0;
		if (h->only_last)
			drop(h, old);
		else
			h->v[i].older = old;
		return;
	}
	uint32_t above = open_up(h, lo, hi, &middle);
	h->v[i].older = middle;
	h->root = join(h, join(h, h->root, i), above);
}

/* Bring the log into the tree; pieces that come up meanwhile stand in it already. */
static void settle(struct vt_history *h)
{
	for (uint32_t i = h->settled, end = h->n; i < end; i++)
		if (i)
			insert(h, i);
	h->settled = h->n;
}

/* Make the table of first addresses as large as the log asks for. */
static void grow_heads(struct vt_history *h)
{
	size_t size = SLACK;
	while (size < h->cap)
		size *= 2;
	free(h->heads);
	h->heads = vt_calloc(size, sizeof(*h->heads));
	h->n_heads = size;
	for (uint32_t i = 1; i < h->n; i++) {
		uint32_t *head = &h->heads[hash(h->v[i].lo) & (size - 1)];
		if (h->v[i].chain == PIECE)
			continue;
		h->v[i].chain = *head;
		*head = i;
	}
}

/* Begin anew with the deaths from event number first on. */
static void forget(struct vt_history *h, uint64_t first)
{
	struct vt_history old = *h;
	*h = (struct vt_history){ .reach = old.reach };
	for (uint32_t i = 1; i < old.n; i++)
		if (old.v[i].death >= first && old.v[i].chain != PIECE)
			vt_history_add(h, &old.v[i]);
	h->forget_at = 2 * (size_t)h->n + SLACK;
	vt_history_free(&old);
}

void vt_history_add(struct vt_history *h, const struct vt_dead *d)
{
	if (h->reach && h->n > h->forget_at && h->forget_at && d->death > h->reach)
		forget(h, d->death - h->reach);
	if (h->reach && !h->forget_at)
		h->forget_at = SLACK;
	uint32_t i = new_node(h, d);
	h->v[i].older = 0;
	if (h->only_last) {
		insert(h, i);
		return;
	}
	h->v[i].chain = 0;
	if (h->n_heads < h->cap) {
		grow_heads(h);
		return;
	}
	uint32_t *head = &h->heads[hash(d->lo) & (h->n_heads - 1)];
	h->v[i].chain = *head;
	*head = i;
}

const struct vt_dead *vt_history_find(struct vt_history *h, uint64_t lo, uint64_t hi)
{
	if (!h->only_last)
		settle(h);
	uint32_t i = find(h, h->root, lo, hi);
	return i ? &h->v[i] : NULL;
}

const struct vt_dead *vt_history_same(const struct vt_history *h, uint64_t lo, uint64_t hi,
				      uint32_t tid)
{
	if (!h->n_heads)
		return NULL;
	uint32_t i = h->heads[hash(lo) & (h->n_heads - 1)];
	for (int n = 0; i && n < LOOK_BACK; n++, i = h->v[i].chain) {
		const struct vt_dead *d = &h->v[i];
		if (d->lo == lo && d->hi == hi && (d->birth_tid == tid || d->death_tid == tid))
			return d;
	}
	return NULL;
}

const struct vt_dead *vt_history_older(const struct vt_history *h, const struct vt_dead *d,
				       uint64_t lo, uint64_t hi)
{
	uint32_t i = find(h, d->older, lo, hi);
	return i ? &h->v[i] : NULL;
}

void vt_history_remove(struct vt_history *h, uint64_t lo, uint64_t hi)
{
	uint32_t middle;
	if (!find(h, h->root, lo, hi))
		return;
	uint32_t above = open_up(h, lo, hi, &middle);
	h->root = join(h, h->root, above);
}

void vt_history_free(struct vt_history *h)
{
	free(h->v);
	free(h->heads);
	*h = (struct vt_history){ 0 };
}
