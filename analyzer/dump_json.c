/*
 * dump_json.c - an event as one JSON object.
 *
 * SPDX-License-Identifier: MIT
 */
#include "dump_json.h"
#include "call_text.h"
#include "names.h"
#include "report_json.h"

static struct json_object *arguments(const struct vt_event *e)
{
	struct json_object *o = json_object_new_object();
	const uint8_t *class = vt_kinds[e->kind].arg;

	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		const char *name = vt_arg_name(e->kind, i);
		if (class[i] == VT_ARG_ADDR)
			vt_json_hex(o, name, e->a[i]);
		else if (class[i] == VT_ARG_FD || class[i] == VT_ARG_INT)
			json_object_object_add(o, name, json_object_new_int64((int64_t)e->a[i]));
		else
			vt_json_u64(o, name, e->a[i]);
	}
	return o;
}

/* Nanoseconds as a number of seconds, with all digits. */
static struct json_object *seconds(uint64_t ns)
{
	char text[40];

	snprintf(text, sizeof(text), "%llu.%09llu", (unsigned long long)ns / 1000000000,
		 (unsigned long long)ns % 1000000000);
	return json_object_new_double_s((double)ns / 1e9, text);
}

/* The arguments that have a symbolic form; NULL: none has. */
static struct json_object *symbols(const struct vt_event *e)
{
	struct json_object *o = NULL;
	const uint8_t *class = vt_kinds[e->kind].arg;

	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		char buf[VT_CALL_TEXT] = "";
		struct vt_text text = { buf, 0, sizeof(buf) };
		bool policy = e->kind == VT_MBIND && (i == 2 || i == 5);
		if (!policy && !vt_class_is_symbolic(class[i]))
			continue;
		vt_text_arg(&text, e, i);
		if (!o)
			o = json_object_new_object();
		vt_json_text(o, vt_arg_name(e->kind, i), buf);
	}
	return o;
}

static void add_result(struct json_object *o, const struct vt_event *e)
{
	if (e->flags & VT_EV_UNDONE || e->kind == VT_EXIT)
		json_object_object_add(o, "ret", NULL);
	else if (vt_kind_returns_address(e->kind) && !vt_is_error(e->ret))
		vt_json_hex(o, "ret", (uint64_t)e->ret);
	else
		json_object_object_add(o, "ret", json_object_new_int64(e->ret));
	if (vt_is_error(e->ret))
		vt_json_text(o, "errno", vt_errno_name((int)-e->ret));
}

static void add_flags(struct json_object *o, uint8_t set)
{
	static const struct {
		const char *name;
		uint8_t flag;
	} flags[] = {
		{ "own", VT_EV_OWN },       { "inner", VT_EV_INNER },
		{ "raw", VT_EV_RAW },       { "late", VT_EV_LATE },
		{ "undone", VT_EV_UNDONE }, { "shared_vm", VT_EV_SHARED_VM },
	};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		vt_json_bool(o, flags[i].name, set & flags[i].flag);
}

struct json_object *vt_event_json(const struct vt_trace *t, const struct vt_event *e)
{
	static const char *const unseen[] = {
		[VT_UNSEEN_CHANGE] = "change",
		[VT_UNSEEN_STACK_GROWTH] = "stack growth",
		[VT_UNSEEN_BEFORE_START] = "before start",
		[VT_UNSEEN_ORDER] = "order",
	};
	struct json_object *o = json_object_new_object(), *text;

	vt_json_u64(o, "seq", e->seq);
	json_object_object_add(o, "time", seconds(e->begin_ns));
	json_object_object_add(o, "duration", seconds(e->dur_ns));
	vt_json_u64(o, "tid", e->tid);
	vt_json_text(o, "thread", vt_trace_thread_name(t, e->tid));
	vt_json_text(o, "call", vt_kinds[e->kind].name);
	json_object_object_add(o, "args", arguments(e));
	text = symbols(e);
	if (text)
		json_object_object_add(o, "text", text);
	add_result(o, e);
	if (e->file)
		vt_json_text(o, "file", t->files[e->file].path);
	if (vt_event_name(t, e))
		vt_json_text(o, "name", vt_event_name(t, e));
	if (vt_is_remark(e) && e->kind != VT_FAULT)
		vt_json_text(o, "unseen", e->aux <= VT_UNSEEN_ORDER ? unseen[e->aux] : NULL);
	add_flags(o, e->flags);
	return o;
}

struct json_object *vt_ending_json(const struct vt_trace *t, const struct vt_ending *n, uint64_t ns)
{
	struct json_object *o = json_object_new_object(), *args = json_object_new_object();
	struct json_object *text = json_object_new_object();

	vt_json_u64(o, "seq", n->last_seq + 1);
	json_object_object_add(o, "time", seconds(ns));
	json_object_object_add(o, "duration", seconds(0));
	vt_json_u64(o, "tid", t->header.pid);
	vt_json_text(o, "thread", vt_trace_thread_name(t, t->header.pid));
	vt_json_text(o, "call", "killed");
	vt_json_u64(args, "signo", (uint64_t)n->signal);
	vt_json_bool(args, "core", n->core);
	json_object_object_add(o, "args", args);
	vt_json_text(text, "signo", vt_signal_name(n->signal));
	json_object_object_add(o, "text", text);
	json_object_object_add(o, "ret", NULL);
	add_flags(o, 0);
	return o;
}
