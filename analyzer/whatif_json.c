/*
 * whatif_json.c - what would fail under other limits as one JSON object; its fields are described
 * in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "dump_json.h"
#include "names.h"
#include "report_json.h"
#include "whatif.h"

static void add_limit(struct json_object *o, const char *key, uint64_t value)
{
	if (value != VT_NO_LIMIT)
		vt_json_u64(o, key, value);
}

static struct json_object *limits_json(const struct vt_whatif *w)
{
	struct json_object *o = json_object_new_object();
	const struct vt_limits *l = &w->limits;
	add_limit(o, "rlimit_as", w->asked.as);
	add_limit(o, "rlimit_data", w->asked.data);
	add_limit(o, "rlimit_memlock", w->asked.memlock);
	add_limit(o, "rlimit_stack", w->asked.stack);
	add_limit(o, "max_map_count", w->asked.max_map_count);
	if (!l->commit)
		return o;
	vt_json_u64(o, "overcommit_memory", l->overcommit);
	vt_json_u64(o, "ram", l->ram << VT_PAGE_SHIFT);
	vt_json_u64(o, "swap", l->swap << VT_PAGE_SHIFT);
	vt_json_u64(o, "overcommit_ratio", l->ratio);
	vt_json_u64(o, "overcommit_kbytes", l->allowed << (VT_PAGE_SHIFT - 10));
	vt_json_u64(o, "admin_reserve", l->admin_reserve << VT_PAGE_SHIFT);
	vt_json_u64(o, "user_reserve", l->user_reserve << VT_PAGE_SHIFT);
	vt_json_u64(o, "others_committed", w->others_kb << 10);
	return o;
}

/* Areas as they are, the rest in bytes. */
static uint64_t in_unit(enum vt_rule rule, uint64_t n)
{
	return rule == VT_RULE_MAP_COUNT ? n : n << VT_PAGE_SHIFT;
}

static struct json_object *first_json(const struct vt_whatif *w, const struct vt_trace *t)
{
	const struct vt_refusal *why = &w->why;
	struct json_object *o = vt_event_json(t, &w->first), *stack = json_object_new_array();
	vt_json_text(o, "would_fail_with", why->error ? vt_errno_name(why->error) : "SIGSEGV");
	vt_json_text(o, "rule", vt_rules[why->rule].function);
	vt_json_text(o, "limited_by", vt_rules[why->rule].limit);
	vt_json_u64(o, "held", in_unit(why->rule, why->counted));
	vt_json_u64(o, "asked", in_unit(why->rule, why->asked));
	vt_json_u64(o, "allowed", in_unit(why->rule, why->limit));
	json_object_object_add(o, "site", vt_json_site(w->site));
	for (size_t i = 0; i < w->n_frames; i++)
		json_object_array_add(stack, vt_json_frame(&w->frames[i]));
	json_object_object_add(o, "stack", stack);
	return o;
}

static struct json_object *totals_json(const struct vt_totals *t, uint64_t shared)
{
	struct json_object *o = json_object_new_object();
	vt_json_u64(o, "mapped", t->total_vm << VT_PAGE_SHIFT);
	vt_json_u64(o, "data", t->data_vm << VT_PAGE_SHIFT);
	vt_json_u64(o, "stack", t->stack_vm << VT_PAGE_SHIFT);
	vt_json_u64(o, "exec", t->exec_vm << VT_PAGE_SHIFT);
	vt_json_u64(o, "locked", t->locked_vm << VT_PAGE_SHIFT);
	vt_json_u64(o, "committed", (t->committed + shared) << VT_PAGE_SHIFT);
	vt_json_u64(o, "vmas", t->map_count);
	return o;
}

static struct json_object *holders_json(const struct vt_whatif *w, size_t top)
{
	struct json_object *list = json_object_new_array();
	const char *unit = w->why.rule == VT_RULE_MAP_COUNT ? "vmas" : "bytes";
	for (size_t i = 0; i < w->n_holders && i < top; i++) {
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "site", vt_json_site(w->holders[i].site));
		if (!w->holders[i].site)
			vt_json_text(o, "name", w->holders[i].name);
		vt_json_u64(o, unit, in_unit(w->why.rule, w->holders[i].amount));
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *vt_whatif_json(const struct vt_whatif *w, const struct vt_trace *t, size_t top)
{
	struct json_object *o = json_object_new_object(), *rules = json_object_new_object(),
			   *assumptions = json_object_new_array();
	char **sentences = vt_whatif_assumptions(w, t);
	vt_json_text(o, "trace", t->path);
	json_object_object_add(o, "limits", limits_json(w));
	vt_json_u64(o, "calls", w->calls);
	vt_json_u64(o, "would_fail", w->refused);
	vt_json_u64(o, "failed_too", w->failed_too);
	for (int i = 1; i < VT_RULE_COUNT; i++)
		if (w->by_rule[i])
			vt_json_u64(rules, vt_rules[i].function, w->by_rule[i]);
	json_object_object_add(o, "by_rule", rules);
	json_object_object_add(o, "first", w->refused ? first_json(w, t) : NULL);
	json_object_object_add(o, "state", totals_json(&w->then, w->shared_then));
	json_object_object_add(o, "holders", holders_json(w, top));
	json_object_object_add(o, "own", totals_json(&w->own, 0));
	for (size_t i = 0; sentences[i]; i++) {
		json_object_array_add(assumptions, vt_json_string(sentences[i]));
		free(sentences[i]);
	}
	free(sentences);
	json_object_object_add(o, "assumptions", assumptions);
	return o;
}
