/*
 * merges_collect.c - one replay that counts the questions of vma_merge, and a second one up to the
 * moment of most areas.
 *
 * SPDX-License-Identifier: MIT
 */
#include "merges.h"

#include "alloc.h"

/* The kernel's eight cases, as drawn over vma_merge for years. */
const char *const vt_merge_cases[VT_MERGE_CASES] = {
	"nothing merges",
	"new memory joins the areas before and after it",
	"new memory joins the area before it",
	"new memory joins the area after it",
	"an area's end goes over to the area after it",
	"an area's beginning goes over to the area before it",
	"a changed area joins those before and after it",
	"a changed area joins the one before it",
	"a changed area joins the one after it",
};

static void count(struct vt_merge_site *s, uint8_t boundary, uint8_t apart)
{
	if (boundary == VT_BOUNDARY_MERGED || apart == VT_APART_NOT)
		return;
	s->apart++;
	s->why[apart]++;
}

/* Told by the model while it applies an event. */
static void on_merge(void *ctx, const struct vt_merge *q)
{
	struct vt_merges *m = ctx;
	m->pending.cases[q->number]++;
	if (q->prev && !q->prev->own)
		count(&m->pending, q->left, q->left_apart);
	if (q->next && !q->next->own)
		count(&m->pending, q->right, q->right_apart);
}

static struct vt_merge_site *row(struct vt_merges *m, const struct vt_site *site,
				 const struct vt_event *e)
{
	size_t index = site ? site->id + 1 : 0;
	while (m->n <= index) {
		m->table = vt_grow(m->table, m->n, &m->cap, sizeof(*m->table));
		m->table[m->n++] = (struct vt_merge_site){ 0 };
	}
	struct vt_merge_site *s = &m->table[index];
	bool first = !s->cases[0] && !s->apart && !s->merges && !s->splits;
	s->site = site;
	s->mixed |= !first && s->kind != e->kind;
	if (first)
		s->kind = e->kind;
	return s;
}

static void add(struct vt_merge_site *s, const struct vt_merge_site *more)
{
	for (int i = 0; i < VT_MERGE_CASES; i++)
		s->cases[i] += more->cases[i];
	for (int i = 0; i < VT_APART_COUNT; i++)
		s->why[i] += more->why[i];
	s->apart += more->apart;
	s->merges += more->merges;
	s->splits += more->splits;
}

static void take_event(struct vt_merges *m, const struct vt_replay *r, const struct vt_event *e)
{
	struct vt_merge_site *p = &m->pending;
	const struct vt_totals *t = &r->model.totals;
	if (t->map_count > m->most) {
		m->most = t->map_count;
		m->most_seq = e->seq;
	}
	if (e->flags & VT_EV_OWN || !vt_kind_is_call(e->kind))
		return;
	p->merges = r->effect.merges;
	p->splits = r->effect.splits;
	uint64_t asked = 0;
	for (int i = 0; i < VT_MERGE_CASES; i++)
		asked += p->cases[i];
	const struct vt_site *site = vt_site_of(m->sites, r, e);
	if (vt_gives_birth(e))
		vt_births_add(&m->births, e->seq, site ? site->id : UINT64_MAX);
	if (!asked && !p->merges && !p->splits)
		return;
	add(row(m, site, e), p);
	for (int i = 0; i < VT_MERGE_CASES; i++)
		m->cases[i] += p->cases[i];
	for (int i = 0; i < VT_APART_COUNT; i++)
		m->why[i] += p->why[i];
	m->merges += p->merges;
	m->splits += p->splits;
	m->splits_by[e->kind] += p->splits;
}

static int by_apart(const void *pa, const void *pb)
{
	const struct vt_merge_site *a = pa, *b = pb;
	if (a->apart != b->apart)
		return a->apart > b->apart ? -1 : 1;
	return a->splits == b->splits ? 0 : a->splits > b->splits ? -1 : 1;
}

static int replay_counts(struct vt_merges *m, struct vt_trace *t)
{
	struct vt_replay r;
	struct vt_item item;
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	r.model.merge = on_merge;
	r.model.merge_ctx = m;
	for (enum vt_item_type type; (type = vt_replay_next(&r, &item)) != VT_ITEM_END;) {
		vt_sites_follow(m->sites, &r, &item);
		if (type == VT_ITEM_EVENT)
			take_event(m, &r, &item.event);
		else if (r.model.totals.map_count > m->most)
			m->most = r.model.totals.map_count;
		m->pending = (struct vt_merge_site){ 0 };
	}
	vt_replay_fini(&r);
	return 0;
}

/* The chains at the moment of most areas. */
static int replay_to_most(struct vt_merges *m, struct vt_trace *t)
{
	struct vt_replay r;
	struct vt_item item;
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	for (enum vt_item_type type; (type = vt_replay_next(&r, &item)) != VT_ITEM_END;)
		if (r.started &&
		    (!m->most_seq || (type == VT_ITEM_EVENT && item.event.seq == m->most_seq)))
			break;
	vt_merges_find_chains(m, &r);
	vt_replay_fini(&r);
	return 0;
}

int vt_merges_collect(struct vt_merges *m, struct vt_trace *t)
{
	m->sites = vt_sites_new();
	int error = replay_counts(m, t);
	if (!error)
		error = replay_to_most(m, t);
	if (m->n)
		qsort(m->table, m->n, sizeof(*m->table), by_apart);
	return error;
}

void vt_merges_free(struct vt_merges *m)
{
	free(m->table);
	free(m->chains);
	vt_births_free(&m->births);
	vt_sites_free(m->sites);
}
