/*
 * cmd_maps.c - vmtrail maps: the address space at a moment, in the form of /proc/PID/maps.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "commands.h"
#include "maps_text.h"
#include "options.h"
#include "report_json.h"
#include "role.h"
#include "units.h"
#include <getopt.h>

struct maps {
	struct vt_when when;
	bool births, with_roles, json;
	struct vt_sites *sites; /* pieces only */
	struct vt_roles *roles;
	struct vt_replay replay;
	struct vt_area_names names;
	struct vt_vma gate; /* [vsyscall]: in maps, but no area of the process */
	uint64_t last_seq;
};

/* Whether the moment asked for lies before this event. */
static bool is_past(const struct vt_when *when, const struct vt_event *e)
{
	switch (when->kind) {
	case VT_WHEN_START:
		return true;
	case VT_WHEN_SEQ:
		return e->seq > when->seq;
	case VT_WHEN_TIME:
		return e->begin_ns + e->dur_ns > when->ns;
	default:
		return false;
	}
}

static void remember(struct maps *m, const struct vt_snapshot *s)
{
	vt_area_names_set(&m->names, s);
	for (size_t i = 0; i < s->n_vmas; i++)
		if (s->vmas[i].special == VT_SPECIAL_VSYSCALL)
			m->gate = s->vmas[i];
}

static void print_gate(const struct maps *m)
{
	if (m->gate.end)
		vt_print_area(stdout, m->replay.trace, &m->names, &m->gate);
}

static void print_areas(const struct maps *m)
{
	struct vt_vma area;

	for (struct vt_extent *x = vt_model_first(&m->replay.model); x;) {
		x = vt_model_vma(&m->replay.model, x, &area);
		vt_print_area(stdout, m->replay.trace, &m->names, &area);
	}
	print_gate(m);
}

/* "#123 " in front of a piece. */
static void print_birth(const struct vt_extent *x)
{
	char birth[32];

	snprintf(birth, sizeof(birth), "#%llu", (unsigned long long)x->birth);
	printf("%-9s ", x->birth ? birth : "start");
}

/* A piece as one JSON object. */
static void print_json(const struct maps *m, const struct vt_extent *x,
		       const struct vt_mapping_role *role)
{
	struct json_object *o = json_object_new_object();
	struct vt_vma piece = vt_extent_vma(x);
	char perms[5];

	vt_json_hex(o, "start", x->start);
	vt_json_hex(o, "end", x->end);
	vt_json_text(o, "perms", vt_area_perms(&piece, perms));
	vt_json_hex(o, "offset", x->file ? x->pgoff << VT_PAGE_SHIFT : 0);
	vt_json_text(o, "path", vt_area_path(m->replay.trace, &m->names, &piece));
	vt_json_u64(o, "birth", x->birth);
	vt_json_role(o, role);
	vt_json_print(stdout, o);
}

static void print_piece(const struct maps *m, const struct vt_extent *first,
			const struct vt_extent *last, const struct vt_mapping_role *role)
{
	struct vt_vma piece = vt_extent_vma(first);
	char text[VT_ROLE_TEXT];

	piece.end = last->end;
	if (m->births)
		print_birth(first);
	if (m->with_roles) {
		vt_role_text(role, m->replay.trace, text);
		printf("%-34s ", *text ? text : "-");
	}
	vt_print_area(stdout, m->replay.trace, &m->names, &piece);
}

/* Whether the two are one to somebody who asks for roles only. */
static bool same_piece(const struct maps *m, const struct vt_extent *a,
		       const struct vt_mapping_role *role, const struct vt_extent *b)
{
	if (!b || m->births || b->start != a->end || b->boundary == VT_BOUNDARY_SPLIT)
		return false;
	struct vt_mapping_role other = vt_role_of(m->roles, &m->replay, b);
	return other.use == role->use && other.tid == role->tid && other.name == role->name;
}

/* Every piece: with the event that mapped it, what it is for, or both. */
static void print_pieces(const struct maps *m)
{
	const struct vt_extent *x = vt_model_first(&m->replay.model), *last;

	for (; x; x = vt_extent_next(last)) {
		struct vt_mapping_role role = vt_role_of(m->roles, &m->replay, x);
		last = x;
		if (m->json) {
			print_json(m, x, &role);
			continue;
		}
		while (same_piece(m, last, &role, vt_extent_next(last)))
			last = vt_extent_next(last);
		print_piece(m, x, last, &role);
	}
	if (m->json)
		return;
	if (m->gate.end && m->births)
		printf("%-9s ", "start");
	if (m->gate.end && m->with_roles)
		printf("%-34s ", "the kernel's vsyscall");
	print_gate(m);
}

/* Run the replay up to the moment. Returns VT_EXIT_OK, or VT_EXIT_BAD after a complaint. */
static int run(struct maps *m)
{
	const struct vt_item *next;
	struct vt_item item;

	while ((next = vt_replay_peek(&m->replay))) {
		if (next->type == VT_ITEM_EVENT && is_past(&m->when, &next->event)) {
			if (m->replay.started)
				return VT_EXIT_OK;
			if (m->when.kind != VT_WHEN_START)
				break;
		}
		if (vt_replay_next(&m->replay, &item) == VT_ITEM_SNAPSHOT)
			remember(m, item.snapshot);
		else if (item.type == VT_ITEM_EVENT)
			m->last_seq = item.event.seq;
		if (m->sites) {
			vt_sites_follow(m->sites, &m->replay, &item);
			vt_roles_follow(m->roles, &m->replay, &item);
		}
	}
	/* the damage is told instead, when the trace is closed */
	if (m->replay.trace->damage)
		return m->replay.started ? VT_EXIT_OK : VT_EXIT_BAD;
	if (!m->replay.started)
		return vt_complain("%s: nothing is known of the address space before %s",
				   m->replay.trace->path,
				   next ? "its first snapshot" : "the trace's end");
	if (m->when.kind == VT_WHEN_SEQ && m->last_seq < m->when.seq)
		return vt_complain("%s: no event %llu, the last is %llu", m->replay.trace->path,
				   (unsigned long long)m->when.seq,
				   (unsigned long long)m->last_seq);
	return VT_EXIT_OK;
}

static int usage(void)
{
	puts("usage: vmtrail maps TRACE [--at WHEN] [--births] [--roles] [--format=FORMAT]\n\n"
	     "Prints the address space in the form of /proc/PID/maps.\n\n"
	     "  --at WHEN   after an event (123 or #123), at a time since the start (1.5s, 20ms,\n"
	     "              7us, +1.5), at start or at end, which is the default\n"
	     "  --births    one line for each piece, with the event that mapped it\n"
	     "  --roles     one line for each piece, with what it is for: which thread's stack,\n"
	     "              malloc's heap or block, which library's segment\n"
	     "  --format=FORMAT\n"
	     "              text, or json for JSON Lines: one object for each piece");
	return VT_EXIT_OK;
}

/* The command line; -1: it is fine, else the exit status. */
static int parse(struct maps *m, int argc, char **argv)
{
	static const struct option options[] = {
		{ "at", required_argument, NULL, 'a' }, { "births", no_argument, NULL, 'b' },
		{ "roles", no_argument, NULL, 'r' },    { "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },     { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			return usage();
		case 'a':
			if (!vt_parse_when(optarg, &m->when))
				return vt_complain("--at %s: expected an event number, a time with "
						   "a unit, start or end",
						   optarg);
			break;
		case 'b':
			m->births = true;
			break;
		case 'r':
			m->with_roles = true;
			break;
		case 'f':
			if (!vt_parse_format(optarg, &m->json))
				return VT_EXIT_BAD;
			break;
		default:
			return VT_EXIT_BAD;
		}
	}
	return -1;
}

int vt_cmd_maps(int argc, char **argv)
{
	struct maps m = { .when.kind = VT_WHEN_END };
	int status = parse(&m, argc, argv);

	if (status >= 0)
		return status;
	struct vt_trace *t = vt_open_operand(argc, argv);
	if (!t)
		return VT_EXIT_BAD;
	if (vt_replay_init(&m.replay, t))
		vt_out_of_memory();
	bool pieces = m.births || m.with_roles || m.json;
	if (pieces) {
		m.sites = vt_sites_new();
		m.roles = vt_roles_new(m.sites);
	}
	status = run(&m);
	if (status == VT_EXIT_OK && pieces)
		print_pieces(&m);
	else if (status == VT_EXIT_OK)
		print_areas(&m);
	vt_roles_free(m.roles);
	vt_sites_free(m.sites);
	vt_replay_fini(&m.replay);
	vt_area_names_free(&m.names);
	return vt_close_operand(t, status);
}
