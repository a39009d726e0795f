/*
 * why_json.c - the history of a page as one JSON object; its fields are described in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "dump_json.h"
#include "find_story.h"
#include "report_json.h"
#include "why_history.h"

static const struct {
	uint32_t bit;
	const char *name;
} whats[] = {
	{ VT_WHY_FATE(VT_PIECE_UNMAPPED), "unmapped" },
	{ VT_WHY_FATE(VT_PIECE_CLOBBERED), "clobbered" },
	{ VT_WHY_FATE(VT_PIECE_MOVED), "moved" },
	{ VT_WHY_FATE(VT_PIECE_CHANGED), "changed" },
	{ VT_WHY_FATE(VT_PIECE_DISCARDED), "discarded" },
	{ VT_WHY_FATE(VT_PIECE_BORN), "born" },
	{ VT_WHY_FATE(VT_PIECE_LOST), "lost" },
	{ VT_WHY_ARRIVED, "arrived" },
	{ VT_WHY_ELSEWHERE, "elsewhere" },
	{ VT_WHY_REFUSED, "refused" },
	{ VT_WHY_FAULT, "died" },
	{ VT_WHY_NOTHING, "nothing" },
};

static struct json_object *mapping(const struct vt_why_mapping *m)
{
	struct json_object *o = json_object_new_object();
	const char perms[] = { m->flags & VT_VM(READ) ? 'r' : '-',
			       m->flags & VT_VM(WRITE) ? 'w' : '-',
			       m->flags & VT_VM(EXEC) ? 'x' : '-',
			       m->flags & VT_VM(SHARED) ? 's' : 'p', 0 };
	vt_json_u64(o, "birth", m->birth);
	vt_json_hex(o, "start", m->lo);
	vt_json_hex(o, "end", m->hi);
	vt_json_u64(o, "bytes", m->bytes);
	vt_json_text(o, "perms", perms);
	vt_json_text(o, "path", m->path);
	vt_json_role(o, &m->role);
	return o;
}

/* Why the kernel put a mapping here. */
static struct json_object *gap(const struct vt_why_gap *g)
{
	struct json_object *o = json_object_new_object();
	vt_json_hex(o, "gap_start", g->lo);
	vt_json_hex(o, "gap_end", g->hi);
	vt_json_u64(o, "opened_by", g->opener);
	vt_json_bool(o, "by_hint", g->by_hint);
	vt_json_hex(o, "expected", vt_is_error((int64_t)g->expected) ? 0 : g->expected);
	return o;
}

/* The event as dump has it, and what it did to the page. */
static struct json_object *entry(const struct vt_why_entry *e, const struct vt_trace *t)
{
	struct json_object *o = vt_event_json(t, &e->event), *what = json_object_new_array(),
			   *stack = json_object_new_array();
	for (size_t i = 0; i < sizeof(whats) / sizeof(whats[0]); i++)
		if (e->what & whats[i].bit)
			json_object_array_add(what, json_object_new_string(whats[i].name));
	json_object_object_add(o, "what", what);
	json_object_object_add(o, "victim", e->has_victim ? mapping(&e->victim) : NULL);
	if (e->gap.chosen)
		json_object_object_add(o, "placement", gap(&e->gap));
	json_object_object_add(o, "site", vt_json_site(e->site));
	for (size_t i = 0; i < e->n_frames; i++)
		json_object_array_add(stack, vt_json_frame(&e->frames[i]));
	json_object_object_add(o, "stack", stack);
	return o;
}

void vt_why_print_json(FILE *out, const struct vt_why *w, const struct vt_trace *t)
{
	size_t n;
	char **sentences = vt_why_sentences(w, &n);
	struct json_object *o = json_object_new_object(), *history = json_object_new_array(),
			   *verdict = json_object_new_array(), *findings = json_object_new_array();
	vt_json_hex(o, "addr", w->addr);
	vt_json_hex(o, "page", w->page);
	vt_json_hex(o, "end", w->end);
	vt_json_u64(o, "after_seq", w->last_seq);
	json_object_object_add(o, "at_start", w->had_start ? mapping(&w->start) : NULL);
	for (size_t i = 0; i < w->n; i++)
		json_object_array_add(history, entry(&w->entries[i], t));
	json_object_object_add(o, "history", history);
	json_object_object_add(o, "state", w->mapped ? mapping(&w->now) : NULL);
	for (size_t i = 0; i < n; i++) {
		json_object_array_add(verdict, vt_json_string(sentences[i]));
		free(sentences[i]);
	}
	free(sentences);
	json_object_object_add(o, "verdict", verdict);
	json_object_object_add(o, "findings", findings);
	for (size_t i = 0; w->find && i < w->find->n; i++)
		if (vt_why_concerns(w, &w->find->found[i]))
			json_object_array_add(
			    findings, vt_find_json(w->find, w->story, t, &w->find->found[i]));
	vt_json_print(out, o);
}
