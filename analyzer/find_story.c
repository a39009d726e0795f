/*
 * find_story.c - fetching the events that findings tell of.
 *
 * The first replay keeps event numbers only; most traces have no findings, and need no second.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_story.h"

#include <inttypes.h>

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

int vt_story_collect(struct vt_story *s, const struct vt_find *f, struct vt_trace *t)
{
	struct vt_replay r;
	struct vt_item item;
	list_events(s, f);
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	s->sites = vt_sites_new();
	for (size_t at = 0; at < s->n;) {
		enum vt_item_type type = vt_replay_next(&r, &item);
		if (type == VT_ITEM_END)
			break;
		vt_sites_follow(s->sites, &r, &item);
		if (type != VT_ITEM_EVENT)
			continue;
		while (at < s->n && s->entries[at].event.seq < item.event.seq)
			at++;
		if (at < s->n && s->entries[at].event.seq == item.event.seq)
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
	vt_sites_free(s->sites);
}

const struct vt_why_entry *vt_story_find(const struct vt_story *s, uint64_t seq)
{
	const struct vt_why_entry key = { .event = { .seq = seq } };
	const struct vt_why_entry *e =
	    s->n ? bsearch(&key, s->entries, s->n, sizeof(key), by_number) : NULL;
	return e && e->event.tid ? e : NULL; /* an older process's event has no thread here */
}

const char *vt_find_proof_text(const struct vt_find *f, const struct vt_finding *n, char *buf,
			       size_t size)
{
	const struct vt_birth *b = &n->victims[0].birth;
	switch (n->proof) {
	case VT_PROOF_OWNER:
		if (b->role == VT_ROLE_STACK || b->role == VT_ROLE_MALLOC ||
		    b->role == VT_ROLE_LOADER)
			snprintf(buf, size, "the memory belongs to %s (%s), not to %s.",
				 vt_owner_name(&f->owners, b->owner), vt_role_name(b->role),
				 vt_owner_name(&f->owners, n->owner));
		else
			snprintf(buf, size, "the memory belongs to %s, not to %s.",
				 vt_owner_name(&f->owners, b->owner),
				 vt_owner_name(&f->owners, n->owner));
		return buf;
	case VT_PROOF_TWICE:
		snprintf(buf, size, "nothing was mapped there any more.");
		return buf;
	case VT_PROOF_VICTIM:
		snprintf(buf, size,
			 "#%" PRIu64 " is the victim's owner, at work on the range that is dead.",
			 n->proof_seq);
		return buf;
	case VT_PROOF_RELIED:
		snprintf(buf, size, "#%" PRIu64 " used the address all the same.", n->proof_seq);
		return buf;
	default:
		return "";
	}
}
