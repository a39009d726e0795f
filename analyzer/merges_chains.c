/*
 * merges_chains.c - runs of touching areas that one flag keeps apart.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "merges.h"

/* Shorter ones are nothing to tell of. */
#define LEAST_AREAS 3

static struct vt_extent *last_of(struct vt_extent *x)
{
	struct vt_extent *next;
	while ((next = vt_extent_next(x)) && next->boundary == VT_BOUNDARY_MERGED)
		x = next;
	return x;
}

/* Whether one area goes on where the other ends, but for their flags. */
static bool continues(const struct vt_extent *l, const struct vt_extent *r)
{
	uint64_t pages = (l->end - l->start) >> VT_PAGE_SHIFT;
	return l->file == r->file && l->policy == r->policy && l->name == r->name &&
	       l->pkey == r->pkey && (!l->file || l->pgoff + pages == r->pgoff);
}

/* The one flag in which the areas at both sides of a boundary differ, 0: it is not that. */
static uint32_t one_flag(const struct vt_extent *l, const struct vt_extent *r)
{
	const uint32_t never_merged =
	    VT_VM(IO) | VT_VM(DONTEXPAND) | VT_VM(PFNMAP) | VT_VM(MIXEDMAP);
	uint32_t differ = l->flags ^ r->flags;
	/* what follows from writing is no difference of its own */
	if (differ & VT_VM(WRITE))
		differ &= ~(uint32_t)VT_VM(ACCOUNT);
	if (l->own || r->own || differ & (differ - 1) || (l->flags | r->flags) & never_merged)
		return 0;
	return continues(l, r) ? differ : 0;
}

static const struct vt_site *site_of(const struct vt_merges *m, uint64_t birth)
{
	uint64_t id;
	if (!vt_births_find(&m->births, birth, &id) || id == UINT64_MAX)
		return NULL;
	return vt_sites_get(m->sites, (uint32_t)id);
}

static void keep(struct vt_merges *m, const struct vt_merge_chain *c)
{
	if (c->areas < LEAST_AREAS)
		return;
	m->chains = vt_grow(m->chains, m->n_chains, &m->cap_chains, sizeof(*m->chains));
	m->chains[m->n_chains++] = *c;
}

static int by_length(const void *pa, const void *pb)
{
	const struct vt_merge_chain *a = pa, *b = pb;
	if (a->areas != b->areas)
		return a->areas > b->areas ? -1 : 1;
	return a->lo > b->lo ? 1 : -1;
}

void vt_merges_find_chains(struct vt_merges *m, const struct vt_replay *r)
{
	struct vt_merge_chain c = { 0 };
	struct vt_extent *head = vt_model_first(&r->model), *tail, *next;
	for (; head; head = next) {
		tail = last_of(head);
		next = vt_extent_next(tail);
		if (!c.areas)
			c = (struct vt_merge_chain){ .lo = head->start,
						     .site = site_of(m, head->birth) };
		c.areas++;
		c.hi = tail->end;
		bool touch = next && next->start == tail->end;
		uint32_t flag = touch ? one_flag(tail, next) : 0;
		c.flags |= flag;
		if (flag)
			continue;
		keep(m, &c);
		c.areas = 0;
	}
	if (m->n_chains)
		qsort(m->chains, m->n_chains, sizeof(*m->chains), by_length);
}
