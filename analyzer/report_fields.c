/*
 * report_fields.c - the report as one JSON object; its fields are described in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "call_text.h"
#include "find.h"
#include "names.h"
#include "placement_print.h"
#include "report_data.h"
#include "report_json.h"

static struct json_object *object_in(struct json_object *o, const char *key)
{
	struct json_object *child = json_object_new_object();
	json_object_object_add(o, key, child);
	return child;
}

static struct json_object *array_in(struct json_object *o, const char *key)
{
	struct json_object *child = json_object_new_array();
	json_object_object_add(o, key, child);
	return child;
}

static struct json_object *element_of(struct json_object *array)
{
	struct json_object *child = json_object_new_object();
	json_object_array_add(array, child);
	return child;
}

static void add_head(struct json_object *o, const struct vt_report *r)
{
	const struct vt_trace *t = r->trace;
	vt_json_text(o, "trace", t->path);
	vt_json_text(o, "command", vt_trace_meta(t, "cmd"));
	vt_json_text(o, "executable", vt_trace_meta(t, "exe"));
	vt_json_text(o, "kernel", vt_trace_meta(t, "kernel"));
	vt_json_text(o, "machine", vt_trace_meta(t, "machine"));
	vt_json_u64(o, "pid", t->header.pid);
	vt_json_u64(o, "threads", t->n_threads);
	vt_json_u64(o, "start_realtime_ns", t->header.start_realtime_ns);
	vt_json_u64(o, "duration_ns", r->duration_ns);
	vt_json_bool(o, "closed", t->closed);
	vt_json_text(o, "end_reason", vt_trace_meta(t, "reason"));
	vt_json_text(o, "damage", t->damage);
	vt_json_u64(o, "events", r->events);
	vt_json_u64(o, "own_events", r->own_events);
	vt_json_u64(o, "lost", vt_trace_meta_u64(t, "lost", t->header.lost));
	vt_json_u64(o, "bytes", t->size);
	vt_json_u64(o, "inner_calls", r->inner);
	vt_json_u64(o, "raw_calls", r->raw);
}

/* Only what is known of it. */
static void add_ending(struct json_object *o, const struct vt_report *r)
{
	const struct vt_ending *n = &r->ending;
	if (n->end == VT_END_EXIT)
		vt_json_u64(o, "end_status", (uint64_t)n->status);
	if (n->end != VT_END_SIGNAL)
		return;
	vt_json_u64(o, "end_signal", (uint64_t)n->signal);
	vt_json_text(o, "end_signal_name", vt_signal_name(n->signal));
	vt_json_bool(o, "end_core", n->core);
	vt_json_text(o, "end_likely", vt_ending_is_overflow(n, r->trace) ? "stack-overflow" : NULL);
}

static void add_calls(struct json_object *o, const struct vt_report *r)
{
	struct json_object *calls = array_in(o, "calls"), *errors = array_in(o, "errors");
	for (size_t i = 0; i < r->n_kinds; i++) {
		const struct vt_report_kind *k = &r->kinds[i];
		struct json_object *row = element_of(calls);
		vt_json_text(row, "name", vt_kinds[k->kind].name);
		vt_json_u64(row, "count", k->count);
		vt_json_u64(row, "errors", k->errors);
		vt_json_u64(row, "total_ns", k->total_ns);
	}
	for (size_t i = 0; i < r->n_errors; i++) {
		struct json_object *row = element_of(errors);
		vt_json_text(row, "name", vt_kinds[r->errors[i].kind].name);
		vt_json_text(row, "errno", vt_errno_name(r->errors[i].error));
		vt_json_u64(row, "count", r->errors[i].count);
	}
}

static void add_peak(struct json_object *o, const char *key, uint64_t end,
		     const struct vt_report_peak *peak)
{
	struct json_object *row = object_in(o, key);
	vt_json_u64(row, "end", end);
	vt_json_u64(row, "peak", peak->value);
	vt_json_u64(row, "peak_seq", peak->seq);
	vt_json_u64(row, "peak_time_ns", peak->time_ns);
}

static void add_space(struct json_object *o, const struct vt_report *r)
{
	struct json_object *space = object_in(o, "space");
	add_peak(space, "mapped", r->end.total_vm << VT_PAGE_SHIFT, &r->mapped);
	add_peak(space, "committed", r->end.committed << VT_PAGE_SHIFT, &r->committed);
	add_peak(space, "locked", r->end.locked_vm << VT_PAGE_SHIFT, &r->locked);
	add_peak(space, "vmas", r->end.map_count, &r->vmas);
	vt_json_u64(space, "max_map_count", vt_trace_meta_u64(r->trace, "max_map_count", 0));
	vt_json_u64(space, "resident", r->resident);
	vt_json_u64(space, "resident_peak", r->resident_peak);
	vt_json_bool(space, "resident_at_exit", r->resident_at_exit);
	vt_json_u64(space, "own_bytes", r->own_bytes);
	vt_json_u64(space, "own_vmas", r->own_vmas);
}

static void add_roles(struct json_object *o, const struct vt_report *r)
{
	struct json_object *list = array_in(o, "roles");
	for (size_t i = 0; i < VT_USE_COUNT && r->roles[i].bytes; i++) {
		struct json_object *row = element_of(list);
		vt_json_text(row, "role", vt_use_name((enum vt_use)r->roles[i].use));
		vt_json_u64(row, "bytes", r->roles[i].bytes);
		vt_json_u64(row, "mappings", r->roles[i].mappings);
	}
}

static void add_sites(struct json_object *o, const struct vt_report *r, size_t top)
{
	static const char *const keys[] = { "top_by_bytes", "top_by_calls", "top_by_vmas" };
	uint32_t *rows = vt_calloc(top, sizeof(*rows));
	for (int order = VT_BY_BYTES; order <= VT_BY_VMAS; order++) {
		struct json_object *list = array_in(o, keys[order]);
		size_t n = vt_report_top(r, (enum vt_report_order)order, rows, top);
		for (size_t i = 0; i < n; i++) {
			const struct vt_report_site *s = &r->table[rows[i]];
			struct json_object *row = element_of(list);
			json_object_object_add(row, "site", vt_json_site(s->site));
			if (!s->site)
				vt_json_text(row, "name", s->name);
			vt_json_text(row, "call",
				     s->calls && !s->mixed ? vt_kinds[s->kind].name : NULL);
			vt_json_u64(row, "calls", s->calls);
			vt_json_u64(row, "errors", s->errors);
			vt_json_u64(row, "total_ns", s->total_ns);
			vt_json_u64(row, "bytes", s->bytes);
			vt_json_u64(row, "mappings", s->mappings);
			vt_json_u64(row, "vmas", s->vmas);
		}
	}
	free(rows);
}

static void add_unseen(struct json_object *o, const struct vt_report *r)
{
	static const char *const why[] = { "change", "stack growth", "before start", "order" };
	struct json_object *list = array_in(o, "unseen");
	for (size_t i = 0; i < r->n_unseen; i++) {
		const struct vt_report_unseen *u = &r->unseen[i];
		struct json_object *row = element_of(list);
		vt_json_text(row, "why", u->why <= VT_UNSEEN_ORDER ? why[u->why] : "?");
		vt_json_bool(row, "mapped", u->appeared);
		vt_json_text(row, "what", u->what);
		vt_json_u64(row, "count", u->count);
		vt_json_u64(row, "bytes", u->bytes);
	}
}

static void add_findings(struct json_object *o, const struct vt_report *r)
{
	struct json_object *rows = array_in(o, "findings");
	for (size_t i = 0; r->find && i < r->find->n; i++) {
		struct json_object *row = element_of(rows);
		vt_json_text(row, "kind", vt_find_kinds[r->find->found[i].kind].name);
		vt_json_text(row, "severity", vt_severity_name(r->find->found[i].severity));
		vt_json_u64(row, "seq", r->find->found[i].seq);
	}
}

static void add_verification(struct json_object *o, const struct vt_verdict *v)
{
	struct json_object *row = object_in(o, "verification");
	vt_json_u64(row, "snapshots", v->snapshots);
	vt_json_u64(row, "vmas", v->vmas);
	vt_json_u64(row, "byte_mismatches", v->byte_mismatches);
	vt_json_u64(row, "boundary_mismatches", v->boundary_mismatches);
	vt_json_u64(row, "undetermined", v->undetermined);
	vt_json_u64(row, "unseen_changes", v->unseen);
}

void vt_report_print_json(FILE *out, const struct vt_report *r, size_t top)
{
	struct json_object *o = json_object_new_object(), *notes;
	add_head(o, r);
	add_ending(o, r);
	add_calls(o, r);
	add_space(o, r);
	add_roles(o, r);
	add_sites(o, r, top);
	add_unseen(o, r);
	json_object_object_add(o, "placement", vt_placements_json(&r->placements));
	notes = array_in(o, "notes");
	for (size_t i = 0; i < r->trace->notes.n; i++) {
		struct json_object *row = element_of(notes);
		vt_json_text(row, "key", r->trace->notes.v[i].key);
		vt_json_text(row, "value", r->trace->notes.v[i].value);
	}
	add_findings(o, r);
	add_verification(o, &r->verdict);
	vt_json_print(out, o);
}
