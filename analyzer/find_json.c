/*
 * find_json.c - findings as JSON Lines; the fields are described in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "dump_json.h"
#include "find_story.h"
#include "report_json.h"

static struct json_object *victim(const struct vt_find *f, const struct vt_story *s,
				  const struct vt_finding *n, uint32_t i)
{
	char role[VT_ROLE_TEXT];
	const struct vt_find_victim *v = &n->victims[i];
	struct json_object *o = json_object_new_object();
	vt_json_u64(o, "birth", v->birth.seq);
	vt_json_hex(o, "start", v->lo);
	vt_json_hex(o, "end", v->hi);
	vt_json_u64(o, "bytes", v->hi - v->lo);
	vt_json_text(o, "owner", vt_owner_name(&f->owners, v->birth.owner));
	vt_json_text(o, "role", vt_role_name(v->birth.role));
	vt_json_text(o, "use", vt_role_text(vt_story_role(s, f, n, i), f->trace, role));
	vt_json_u64(o, "tid", v->birth.tid);
	vt_json_text(o, "path", v->path);
	return o;
}

static struct json_object *stack_of(const struct vt_why_entry *e)
{
	struct json_object *stack = json_object_new_array();
	for (size_t i = 0; e && i < e->n_frames; i++)
		json_object_array_add(stack, vt_json_frame(&e->frames[i]));
	return stack;
}

static struct json_object *makers_of(const struct vt_finding *n)
{
	struct json_object *makers = json_object_new_array();
	for (int i = 0; i < VT_FIND_MAKERS && n->makers[i].seq; i++) {
		struct json_object *o = json_object_new_object();
		vt_json_u64(o, "seq", n->makers[i].seq);
		vt_json_u64(o, "areas", n->makers[i].areas);
		vt_json_bool(o, "splits", n->makers[i].splits);
		json_object_array_add(makers, o);
	}
	return makers;
}

struct json_object *vt_find_json(const struct vt_find *f, const struct vt_story *s,
				 const struct vt_trace *t, const struct vt_finding *n)
{
	char buf[512];
	const struct vt_why_entry *culprit = vt_story_find(s, n->seq);
	struct json_object *o = json_object_new_object(), *victims = json_object_new_array(),
			   *history = json_object_new_array();
	vt_json_text(o, "kind", vt_find_kinds[n->kind].name);
	vt_json_text(o, "severity", vt_severity_name(n->severity));
	vt_json_u64(o, "seq", n->seq);
	vt_json_hex(o, "addr", n->addr);
	vt_json_u64(o, "length", n->length);
	vt_json_u64(o, "tid", n->tid);
	vt_json_text(o, "owner", vt_owner_name(&f->owners, n->owner));
	json_object_object_add(o, "stack", stack_of(culprit));
	for (uint32_t i = 0; i < n->n_victims && i < VT_FIND_VICTIMS; i++)
		json_object_array_add(victims, victim(f, s, n, i));
	json_object_object_add(o, "victims", victims);
	for (uint32_t i = 0; i < n->n_history; i++) {
		const struct vt_why_entry *e = vt_story_find(s, n->history[i]);
		if (!e)
			continue;
		struct json_object *line = vt_event_json(t, &e->event);
		json_object_object_add(line, "site", vt_json_site(e->site));
		json_object_array_add(history, line);
	}
	json_object_object_add(o, "history", history);
	vt_find_proof_text(f, s, n, buf, sizeof(buf));
	vt_json_text(o, "proof", *buf ? buf : NULL);
	vt_json_u64(o, "proof_seq", n->proof_seq);
	vt_json_bool(o, "overlap", n->overlap);
	vt_json_u64(o, "opened", n->opened);
	vt_json_u64(o, "alike", n->alike);
	vt_find_placement(s, n, s->bottomup, buf, sizeof(buf));
	vt_json_text(o, "placement", *buf ? buf : NULL);
	vt_json_text(o, "path", n->path);
	vt_json_u64(o, "count", n->count);
	vt_json_u64(o, "limit", n->limit);
	json_object_object_add(o, "makers", makers_of(n));
	vt_json_text(o, "sentence", vt_find_sentence(f, s, n, buf, sizeof(buf)));
	vt_json_text(o, "advice", vt_find_advice(n, buf, sizeof(buf)));
	return o;
}

size_t vt_find_print_json(FILE *out, const struct vt_find *f, const struct vt_story *s,
			  const struct vt_trace *t, enum vt_severity least)
{
	size_t serious = 0;
	for (size_t i = 0; i < f->n; i++) {
		serious += f->found[i].severity > VT_SEVERITY_INFO;
		if (f->found[i].severity >= least)
			vt_json_print(out, vt_find_json(f, s, t, &f->found[i]));
	}
	return serious;
}
