/*
 * find_history.c - the dead ranges as a treap by address whose nodes never overlap. What a death
 * covers goes beneath it, as a tree of its own that never changes again.
 *
 * An entry of the log is a node of the tree as well. Where it must be cut, two pieces take its
 * place. A node's priority is a hash of its address, so that it needs no room of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_history.h"

#include <vmtrail/model.h>

#include "alloc.h"

/* With a reach, forgotten deaths are cleared away when there are this many more than at last. */
#define SLACK 8192

static uint64_t lo_of(const struct vt_history *h, uint32_t i)
{
	return (uint64_t)vt_deaths_at(&h->deaths, i)->lo << VT_PAGE_SHIFT;
}

static uint64_t hi_of(const struct vt_history *h, uint32_t i)
{
	return (uint64_t)vt_deaths_at(&h->deaths, i)->hi << VT_PAGE_SHIFT;
}

static bool outranks(const struct vt_history *h, uint32_t a, uint32_t b)
{
	const uint64_t factor = 0x9e3779b97f4a7c15u;
	uint64_t x = vt_deaths_at(&h->deaths, a)->lo * factor;
	uint64_t y = vt_deaths_at(&h->deaths, b)->lo * factor;
	return (x ^ x >> 29) > (y ^ y >> 29);
}

/* Where node i is, something may be, from now on or no longer; asked for with only_last. */
static void mark(struct vt_history *h, uint32_t i)
{
	if (h->only_last)
		vt_marks_add(&h->marks, lo_of(h, i), hi_of(h, i));
}

static void unmark(struct vt_history *h, uint32_t i)
{
	if (h->only_last)
		vt_marks_remove(&h->marks, lo_of(h, i), hi_of(h, i));
}

/* Make a node of entry i. */
static uint32_t new_node(struct vt_history *h, uint32_t i)
{
	while (i >= h->cap_nodes)
		h->nodes = vt_grow(h->nodes, h->cap_nodes, &h->cap_nodes, sizeof(*h->nodes));
	h->nodes[i] = (struct vt_history_node){ 0 };
	return i;
}

/* A new node, outside the tree, of what node i is of; no entry of the table finds it. */
static uint32_t copy_node(struct vt_history *h, uint32_t i)
{
	struct vt_dead d = vt_deaths_get(&h->deaths, i);
	uint32_t copy = h->free_list;
	if (copy) {
		h->free_list = h->nodes[copy].left;
		vt_deaths_set(&h->deaths, copy, &d);
	} else {
		copy = h->only_last ? vt_deaths_add(&h->deaths, &d)
				    : vt_deaths_add_piece(&h->deaths, i);
	}
	new_node(h, copy);
	h->nodes[copy].older = h->nodes[i].older;
	return copy;
}

/* Divide the tree t into what begins below key and the rest. */
static void split(struct vt_history *h, uint32_t t, uint64_t key, uint32_t *below, uint32_t *rest)
{
	uint32_t *to_below = below, *to_rest = rest;
	while (t) {
		if (lo_of(h, t) < key) {
			*to_below = t;
			to_below = &h->nodes[t].right;
			t = *to_below;
		} else {
			*to_rest = t;
			to_rest = &h->nodes[t].left;
			t = *to_rest;
		}
	}
	*to_below = *to_rest = 0;
}

/* Put node i into the tree, where nothing is. */
static void place(struct vt_history *h, uint32_t i)
{
	uint64_t lo = lo_of(h, i);
	uint32_t *link = &h->root;
	while (*link && outranks(h, *link, i))
		link = lo_of(h, *link) < lo ? &h->nodes[*link].right : &h->nodes[*link].left;
	split(h, *link, lo, &h->nodes[i].left, &h->nodes[i].right);
	*link = i;
}

/* Join two trees; all of a lies below b. */
static uint32_t join(struct vt_history *h, uint32_t a, uint32_t b)
{
	uint32_t root = 0, *to = &root;
	while (a && b) {
		if (outranks(h, a, b)) {
			*to = a;
			to = &h->nodes[a].right;
			a = *to;
		} else {
			*to = b;
			to = &h->nodes[b].left;
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
		if (hi_of(h, t) <= lo) {
			t = h->nodes[t].right;
		} else {
			if (lo_of(h, t) < hi)
				best = t;
			t = h->nodes[t].left;
		}
	}
	return best;
}

/* Where the tree points to node i. */
static uint32_t *link_to(struct vt_history *h, uint32_t i)
{
	uint32_t *link = &h->root;
	while (*link != i)
		link =
		    lo_of(h, i) < lo_of(h, *link) ? &h->nodes[*link].left : &h->nodes[*link].right;
	return link;
}

/* Make addr no inner address of any range. */
static void cut(struct vt_history *h, uint64_t addr)
{
	uint32_t i = find(h, h->root, addr, addr + 1);
	if (!i || lo_of(h, i) == addr)
		return;
	if (!h->only_last && !vt_deaths_is_piece(&h->deaths, i)) {
		uint32_t lower = copy_node(h, i);
		h->nodes[lower] = h->nodes[i];
		*link_to(h, i) = lower;
		i = lower;
	}
	uint32_t upper = copy_node(h, i);
	unmark(h, i);
	vt_deaths_at(&h->deaths, i)->hi = addr >> VT_PAGE_SHIFT;
	vt_deaths_at(&h->deaths, upper)->lo = addr >> VT_PAGE_SHIFT;
	mark(h, i);
	mark(h, upper);
	place(h, upper);
}

/* Put the nodes of a tree onto the free list. */
static void drop(struct vt_history *h, uint32_t t)
{
	if (!t)
		return;
	drop(h, h->nodes[t].left);
	drop(h, h->nodes[t].right);
	unmark(h, t);
	h->nodes[t].left = h->free_list;
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
	uint64_t lo = lo_of(h, i), hi = hi_of(h, i);
	uint32_t middle, old = find(h, h->root, lo, hi);
	mark(h, i);
	if (!old) {
		place(h, i);
		return;
	}
	if (lo_of(h, old) == lo && hi_of(h, old) == hi) {
		*link_to(h, old) = i;
		h->nodes[i] = h->nodes[old];
		h->nodes[i].older = 0;
		h->nodes[old].left = h->nodes[old].right = 0;
		if (h->only_last)
			drop(h, old);
		else
			h->nodes[i].older = old;
		return;
	}
	uint32_t above = open_up(h, lo, hi, &middle);
	h->nodes[i].older = middle;
	h->root = join(h, join(h, h->root, i), above);
}

/* Bring the log into the tree; pieces that come up meanwhile stand in it already. */
static void settle(struct vt_history *h)
{
	for (uint32_t i = h->settled ? h->settled : 1, end = h->deaths.n; i < end; i++)
		insert(h, new_node(h, i));
	h->settled = h->deaths.n;
}

/* Begin anew with the deaths from event number first on. */
static void forget(struct vt_history *h, uint64_t first)
{
	struct vt_history old = *h;
	*h = (struct vt_history){ .reach = old.reach };
	for (uint32_t i = 1; i < old.deaths.n; i++) {
		struct vt_dead d = vt_deaths_get(&old.deaths, i);
		if (d.death >= first && !vt_deaths_is_piece(&old.deaths, i))
			vt_history_add(h, &d);
	}
	h->forget_at = 2 * (size_t)h->deaths.n + SLACK;
	vt_history_free(&old);
}

/* Enter a death over whatever else died there. */
static void add_last(struct vt_history *h, const struct vt_dead *d)
{
	uint32_t i = h->free_list;
	if (i) {
		h->free_list = h->nodes[i].left;
		vt_deaths_set(&h->deaths, i, d);
	} else {
		i = vt_deaths_add(&h->deaths, d);
	}
	insert(h, new_node(h, i));
}

void vt_history_add(struct vt_history *h, const struct vt_dead *d)
{
	if (h->only_last) {
		add_last(h, d);
		return;
	}
	if (h->reach && h->deaths.n > h->forget_at && h->forget_at && d->death > h->reach)
		forget(h, d->death - h->reach);
	if (h->reach && !h->forget_at)
		h->forget_at = SLACK;
	vt_deaths_index(&h->deaths, vt_deaths_add(&h->deaths, d));
}

/* What node i says; false: i is nobody. */
static bool tell(const struct vt_history *h, uint32_t i, struct vt_dead *d)
{
	if (!i)
		return false;
	*d = vt_deaths_get(&h->deaths, i);
	d->beneath = h->nodes[i].older;
	return true;
}

bool vt_history_find(struct vt_history *h, uint64_t lo, uint64_t hi, struct vt_dead *d)
{
	if (!h->only_last)
		settle(h);
	else if (!vt_history_may_hold(h, lo, hi))
		return false;
	return tell(h, find(h, h->root, lo, hi), d);
}

bool vt_history_same(const struct vt_history *h, uint64_t lo, uint64_t hi, uint32_t tid,
		     struct vt_dead *d)
{
	uint32_t i = vt_deaths_same(&h->deaths, lo, hi, tid);
	if (i)
		*d = vt_deaths_get(&h->deaths, i);
	return i != 0;
}

bool vt_history_older(const struct vt_history *h, const struct vt_dead *d, uint64_t lo, uint64_t hi,
		      struct vt_dead *older)
{
	return tell(h, find(h, d->beneath, lo, hi), older);
}

/* Take [lo, hi) out of node i, of which it covers an end, or all. */
static void trim(struct vt_history *h, uint32_t i, uint64_t lo, uint64_t hi)
{
	struct vt_death *entry = vt_deaths_at(&h->deaths, i);
	if (lo_of(h, i) < lo) {
		unmark(h, i);
		entry->hi = lo >> VT_PAGE_SHIFT;
		mark(h, i);
		return;
	}
	*link_to(h, i) = join(h, h->nodes[i].left, h->nodes[i].right);
	h->nodes[i].left = h->nodes[i].right = 0;
	if (hi_of(h, i) <= hi) {
		drop(h, i);
		return;
	}
	unmark(h, i);
	entry->lo = hi >> VT_PAGE_SHIFT;
	mark(h, i);
	place(h, i);
}

void vt_history_remove(struct vt_history *h, uint64_t lo, uint64_t hi)
{
	uint32_t middle, i;
	if (!vt_history_may_hold(h, lo, hi))
		return;
	while ((i = find(h, h->root, lo, hi)) && (lo_of(h, i) >= lo || hi_of(h, i) <= hi))
		trim(h, i, lo, hi);
	if (i) {
		uint32_t above = open_up(h, lo, hi, &middle);
		h->root = join(h, h->root, above);
	}
}

void vt_history_free(struct vt_history *h)
{
	vt_deaths_free(&h->deaths);
	vt_marks_free(&h->marks);
	free(h->nodes);
	*h = (struct vt_history){ 0 };
}
