/*
 * cmd_maps.c - vmtrail maps: the address space at a moment, in the form of /proc/PID/maps.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "commands.h"
#include "maps_text.h"
#include "options.h"
#include "replay.h"
#include "units.h"
#include <getopt.h>

struct maps {
	struct vt_when when;
	bool births;
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

/* One line a piece, with the event that mapped it. */
static void print_births(const struct maps *m)
{
	const struct vt_extent *x = vt_model_first(&m->replay.model);

	for (; x; x = vt_extent_next(x)) {
		struct vt_vma piece = vt_extent_vma(x);
		char birth[32];
		snprintf(birth, sizeof(birth), "#%llu", (unsigned long long)x->birth);
		printf("%-9s ", x->birth ? birth : "start");
		vt_print_area(stdout, m->replay.trace, &m->names, &piece);
	}
	if (m->gate.end)
		printf("%-9s ", "start");
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
	puts("usage: vmtrail maps TRACE [--at WHEN] [--births]\n\n"
	     "Prints the address space in the form of /proc/PID/maps.\n\n"
	     "  --at WHEN   after an event (123 or #123), at a time since the start (1.5s, 20ms,\n"
	     "              7us, +1.5), at start or at end, which is the default\n"
	     "  --births    one line for each piece, with the event that mapped it");
	return VT_EXIT_OK;
}

/* The command line; -1: it is fine, else the exit status. */
static int parse(struct maps *m, int argc, char **argv)
{
	static const struct option options[] = {
		{ "at", required_argument, NULL, 'a' },
		{ "births", no_argument, NULL, 'b' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return usage();
		if (c == '?')
			return VT_EXIT_BAD;
		if (c == 'b')
			m->births = true;
		else if (!vt_parse_when(optarg, &m->when))
			return vt_complain("--at %s: expected an event number, a time with a unit, "
					   "start or end",
					   optarg);
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
	status = run(&m);
	if (status == VT_EXIT_OK && m.births)
		print_births(&m);
	else if (status == VT_EXIT_OK)
		print_areas(&m);
	vt_replay_fini(&m.replay);
	vt_area_names_free(&m.names);
	return vt_close_operand(t, status);
}
