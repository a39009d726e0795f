/*
 * find_story.c - fetching the events that findings tell of.
 *
 * The first replay keeps event numbers only; most traces have no findings, and need no second.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_story.h"

#include "alloc.h"

static int by_number(const void *a, const void *b)
{
	const struct vt_why_entry *x = a, *y = b;
	return x->event.seq < y->event.seq ? -1 : x->event.seq > y->event.seq;
}

/* Make an entry for every event number, sorted, each once. */
static void list_events(struct vt_story *s, const struct vt_find *f)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->n; i++)
		for (uint32_t j = 0; j < f->found[i].n_history; j++) {
			s->entries = vt_grow(s->entries, s->n, &s->cap, sizeof(*s->entries));
			s->entries[s->n++] =
			    (struct vt_why_entry){ .event = { .seq = f->found[i].history[j] } };
		}
	if (s->n)
		qsort(s->entries, s->n, sizeof(*s->entries), by_number);
	for (size_t i = 0; i < s->n; i++)
		if (!kept || s->entries[kept - 1].event.seq != s->entries[i].event.seq)
			s->entries[kept++] = s->entries[i];
	s->n = kept;
}

static void fill(struct vt_story *s, struct vt_why_entry *entry, const struct vt_replay *r,
		 const struct vt_event *e)
{
	struct vt_frame_text f[VT_MAX_FRAMES];
	size_t n = vt_stack_frames(s->sites, r, e, f, VT_MAX_FRAMES);
	entry->event = *e;
	entry->path = e->file && e->file < r->trace->n_files ? r->trace->files[e->file].path : NULL;
	entry->site = vt_site_of(s->sites, r, e);
	entry->frames = vt_realloc(NULL, n, sizeof(*f));
	memcpy(entry->frames, f, n * sizeof(*f));
	entry->n_frames = n;
}

/* Whether the model puts the mapping, not applied yet, where the kernel did. */
static bool is_placed(const struct vt_replay *r, const struct vt_event *e)
{
	struct vt_placement p;
	return e->kind == VT_MMAP && vt_model_placement(&r->model, e, &p) &&
	       p.at == (uint64_t)e->ret && p.at != p.hint;
}

/* Find out what the event that comes next will strike. */
static void find_roles(struct vt_story *s, const struct vt_find *f, const struct vt_replay *r,
		       uint64_t seq)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct vt_finding *n = &f->found[i];
		for (uint32_t v = 0; n->seq == seq && v < n->n_victims && v < VT_FIND_VICTIMS;
		     v++) {
			uint64_t lo = n->victims[v].lo;
			const struct vt_extent *x = vt_model_find(&r->model, lo);
			if (x && x->start <= lo)
				s->of_found[i].victim[v] = vt_role_of(s->roles, r, x);
		}
	}
}

/* Look at the next item before it is applied: whether it is a placement that the model predicts. */
static bool look_ahead(struct vt_story *s, const struct vt_find *f, struct vt_replay *r,
		       uint64_t seq)
{
	const struct vt_item *next = vt_replay_peek(r);
	if (!next || next->type != VT_ITEM_EVENT || next->event.seq != seq)
		return false;
	find_roles(s, f, r, seq);
	return is_placed(r, &next->event);
}

int vt_story_collect(struct vt_story *s, const struct vt_find *f, struct vt_trace *t)
{
	struct vt_replay r;
	struct vt_item item;
	list_events(s, f);
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	s->sites = vt_sites_new();
	s->roles = vt_roles_new(s->sites);
	s->of_found = vt_calloc(f->n, sizeof(*s->of_found));
	s->bottomup = r.model.config.bottomup;
	for (size_t at = 0, last = 0; at < s->n;) {
		uint64_t wanted = s->entries[at].event.seq;
		bool placed = last + 1 == wanted && look_ahead(s, f, &r, wanted);
		enum vt_item_type type = vt_replay_next(&r, &item);
		if (type == VT_ITEM_END)
			break;
		vt_sites_follow(s->sites, &r, &item);
		vt_roles_follow(s->roles, &r, &item);
		if (type != VT_ITEM_EVENT)
			continue;
		last = item.event.seq;
		while (at < s->n && s->entries[at].event.seq < item.event.seq)
			at++;
		if (at == s->n || s->entries[at].event.seq != item.event.seq)
			continue;
		s->entries[at].placed = placed;
		fill(s, &s->entries[at++], &r, &item.event);
	}
	vt_replay_fini(&r);
	return 0;
}

void vt_story_free(struct vt_story *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->entries[i].frames);
	free(s->entries);
	free(s->of_found);
	vt_roles_free(s->roles);
	vt_sites_free(s->sites);
}

const struct vt_mapping_role *vt_story_role(const struct vt_story *s, const struct vt_find *f,
					    const struct vt_finding *n, uint32_t i)
{
	return &s->of_found[n - f->found].victim[i];
}

const struct vt_why_entry *vt_story_find(const struct vt_story *s, uint64_t seq)
{
	const struct vt_why_entry key = { .event = { .seq = seq } };
	const struct vt_why_entry *e =
	    s->n ? bsearch(&key, s->entries, s->n, sizeof(key), by_number) : NULL;
	return e && e->event.tid ? e : NULL; /* an older process's event has no thread here */
}
