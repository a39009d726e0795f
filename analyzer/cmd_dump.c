/*
 * cmd_dump.c - vmtrail dump: the recorded calls, in strace's form or as JSON Lines.
 *
 * Needs the model only for stacks, whose frames depend on what was mapped when, and for roles.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "call_text.h"
#include "commands.h"
#include "dump_json.h"
#include "ending.h"
#include "options.h"
#include "report_json.h"
#include "units.h"
#include <getopt.h>

/* The column of "= " in strace's output (its option -a). */
#define RESULT_COLUMN 40

struct dump {
	bool json, stacks, own, with_roles;
	uint64_t from, to;         /* event numbers, both included */
	bool kinds[VT_KIND_COUNT]; /* wanted */
	uint32_t *tids;            /* wanted; none: all */
	size_t n_tids, cap_tids;
	struct vt_trace *trace;
	struct vt_replay replay; /* stacks and roles only */
	struct vt_sites *sites;
	struct vt_roles *roles;
	struct vt_mapping_role role; /* of what the event under way maps, or is about */
	bool some;                   /* only some calls are wanted */
	struct vt_ending ending;
};

static bool is_wanted(const struct dump *d, const struct vt_event *e)
{
	if (e->seq < d->from || e->seq > d->to || !d->kinds[e->kind])
		return false;
	if (e->flags & VT_EV_OWN && !d->own)
		return false;
	for (size_t i = 0; i < d->n_tids; i++)
		if (d->tids[i] == e->tid)
			return true;
	return !d->n_tids;
}

/* The call, with the image's name in the place of the arguments that traces do not hold. */
static void call_text(const struct dump *d, struct vt_text *text, const struct vt_event *e)
{
	if (e->kind != VT_EXECVE || !e->file) {
		vt_text_call(text, e, vt_event_name(d->trace, e));
		return;
	}
	vt_text_add(text, "execve(\"");
	for (const char *p = d->trace->files[e->file].path; *p; p++)
		vt_text_add(text, (unsigned char)*p < 0x20 || *p == 0x7f ? "?" : "%c", *p);
	vt_text_add(text, "\", ...)");
}

/* "TID SECONDS.MICROSECONDS call(args)   = result", as strace -f -ttt -o writes it. */
static void print_text(const struct dump *d, const struct vt_event *e)
{
	char line[VT_CALL_TEXT] = "";
	struct vt_text text = { line, 0, sizeof(line) };
	uint64_t us = (d->trace->header.start_realtime_ns + e->begin_ns) / 1000;

	vt_text_add(&text, "%-5u %llu.%06u ", e->tid, (unsigned long long)us / 1000000,
		    (unsigned)(us % 1000000));
	call_text(d, &text, e);
	if (!vt_is_remark(e)) {
		size_t pad = text.n + 1 < RESULT_COLUMN ? RESULT_COLUMN - text.n : 1;
		vt_text_add(&text, "%*s= ", (int)pad, "");
		vt_text_result(&text, e);
	}
	if (d->role.use) {
		char role[VT_ROLE_TEXT];
		vt_text_add(&text, "  /* %s */", vt_role_text(&d->role, d->trace, role));
	}
	puts(line);
	if (d->stacks)
		vt_print_stack(stdout, d->sites, &d->replay, e, "    ");
}

static void print_json(const struct dump *d, const struct vt_event *e)
{
	struct json_object *o = vt_event_json(d->trace, e);

	vt_json_role(o, &d->role);
	if (d->stacks) {
		static struct vt_frame_text frames[VT_MAX_FRAMES];
		struct json_object *stack = json_object_new_array();
		size_t n = vt_stack_frames(d->sites, &d->replay, e, frames, VT_MAX_FRAMES);
		for (size_t i = 0; i < n; i++)
			json_object_array_add(stack, vt_json_frame(&frames[i]));
		json_object_object_add(o, "stack", stack);
	}
	vt_json_print(stdout, o);
}

static void print_event(const struct dump *d, const struct vt_event *e)
{
	if (!is_wanted(d, e))
		return;
	if (d->json)
		print_json(d, e);
	else
		print_text(d, e);
}

static void dump_calls(struct dump *d)
{
	struct vt_item item;

	while (vt_trace_next(d->trace, &item) != VT_ITEM_END) {
		if (item.type != VT_ITEM_EVENT)
			continue;
		if (item.event.seq > d->to)
			break;
		vt_ending_event(&d->ending, &item.event);
		print_event(d, &item.event);
	}
}

/* Go through the whole trace first: a stack is mapped before its thread is met. */
static void meet_threads(struct dump *d)
{
	struct vt_item item;

	if (vt_replay_init(&d->replay, d->trace))
		vt_out_of_memory();
	d->sites = vt_sites_new();
	d->roles = vt_roles_new(d->sites);
	while (vt_replay_next(&d->replay, &item) != VT_ITEM_END) {
		vt_sites_follow(d->sites, &d->replay, &item);
		vt_roles_follow(d->roles, &d->replay, &item);
	}
	vt_replay_fini(&d->replay);
}

static struct vt_mapping_role role_at(const struct dump *d, uint64_t addr)
{
	const struct vt_extent *x = vt_model_find(&d->replay.model, addr);

	return x && x->start <= addr ? vt_role_of(d->roles, &d->replay, x)
				     : (struct vt_mapping_role){ 0 };
}

/* The role of what the next event is about, before it is applied. */
static void role_before(struct dump *d)
{
	const struct vt_item *next = vt_replay_peek(&d->replay);

	d->role = (struct vt_mapping_role){ 0 };
	if (!next || next->type != VT_ITEM_EVENT)
		return;
	vt_roles_at(d->roles, next->event.seq);
	if (next->event.kind != VT_MMAP && vt_kinds[next->event.kind].arg[0] == VT_ARG_ADDR)
		d->role = role_at(d, next->event.a[0]);
}

/* The role of what an event has mapped. */
static void role_after(struct dump *d, const struct vt_event *e)
{
	if (e->kind == VT_UNSEEN_MAP)
		d->role = role_at(d, e->a[0]);
	else if (e->kind == VT_BRK && (uint64_t)e->ret == e->a[0])
		d->role = role_at(d, e->a[0] - 1);
	else if (vt_kind_returns_address(e->kind) && e->kind != VT_BRK && !vt_is_error(e->ret))
		d->role = role_at(d, (uint64_t)e->ret);
}

static void dump_replayed(struct dump *d)
{
	struct vt_item item;

	if (d->with_roles)
		meet_threads(d);
	struct vt_sites *past = d->sites;
	if (vt_replay_init(&d->replay, d->trace))
		vt_out_of_memory();
	d->sites = vt_sites_new();
	for (;;) {
		if (d->with_roles)
			role_before(d);
		if (vt_replay_next(&d->replay, &item) == VT_ITEM_END)
			break;
		vt_sites_follow(d->sites, &d->replay, &item);
		if (item.type != VT_ITEM_EVENT)
			continue;
		if (item.event.seq > d->to)
			break;
		if (d->with_roles)
			role_after(d, &item.event);
		vt_ending_event(&d->ending, &item.event);
		print_event(d, &item.event);
	}
	vt_roles_free(d->roles);
	vt_sites_free(past);
	vt_sites_free(d->sites);
	vt_replay_fini(&d->replay);
}

/*
 * The signal that the parent was told of, as strace shows it. JSON has an object for it where no
 * fault is the last event.
 */
static void print_ending(struct dump *d)
{
	uint64_t ns = vt_trace_meta_u64(d->trace, "told", 0);
	uint64_t us = (d->trace->header.start_realtime_ns + ns) / 1000;
	struct vt_ending *n = &d->ending;
	char name[48];

	vt_ending_close(n, d->trace);
	if (n->end != VT_END_SIGNAL || !n->told || d->some || d->n_tids || d->to != UINT64_MAX)
		return;
	if (!d->json)
		printf("%-5u %llu.%06u +++ killed by %s +++\n", d->trace->header.pid,
		       (unsigned long long)us / 1000000, (unsigned)(us % 1000000),
		       vt_ending_signal(n, name, sizeof(name)));
	else if (n->fault != n->signal)
		vt_json_print(stdout, vt_ending_json(d->trace, n, ns));
}

static int usage(void)
{
	puts("usage: vmtrail dump TRACE [OPTIONS]\n\n"
	     "Prints the recorded calls, one a line, as strace -f -ttt does.\n\n"
	     "  --format=FORMAT  text, or json for JSON Lines\n"
	     "  --stacks         each call's stack beneath it\n"
	     "  --roles          what each call's memory is for: which thread's stack, malloc's\n"
	     "                   heap or block, which library's segment\n"
	     "  --own            also the recorder's own mappings\n"
	     "  --from=N --to=N  only these event numbers\n"
	     "  --call=LIST      only these calls: mmap,munmap\n"
	     "  --tid=LIST       only these threads");
	return VT_EXIT_OK;
}

static bool parse_calls(struct dump *d, char *list)
{
	memset(d->kinds, 0, sizeof(d->kinds));
	d->some = true;
	for (char *name; (name = strsep(&list, ","));) {
		int kind = 0;
		while (kind < VT_KIND_COUNT && strcmp(vt_kinds[kind].name, name))
			kind++;
		if (kind == VT_KIND_COUNT) {
			vt_complain("--call: no call %s", name);
			return false;
		}
		d->kinds[kind] = true;
	}
	return true;
}

static bool parse_tids(struct dump *d, char *list)
{
	for (char *text; (text = strsep(&list, ","));) {
		uint64_t tid;
		if (!vt_parse_u64(text, &tid) || tid > UINT32_MAX) {
			vt_complain("--tid: %s is no thread id", text);
			return false;
		}
		d->tids = vt_grow(d->tids, d->n_tids, &d->cap_tids, sizeof(*d->tids));
		d->tids[d->n_tids++] = (uint32_t)tid;
	}
	return true;
}

static bool parse_seq(const char *option, const char *text, uint64_t *seq)
{
	if (vt_parse_u64(text + (*text == '#'), seq))
		return true;
	vt_complain("--%s: %s is no event number", option, text);
	return false;
}

/* The command line; -1: it is fine, else the exit status. */
static int parse(struct dump *d, int argc, char **argv)
{
	enum { FORMAT = 256, STACKS, ROLES, OWN, FROM, TO, CALL, TID };
	static const struct option options[] = {
		{ "format", required_argument, NULL, FORMAT },
		{ "stacks", no_argument, NULL, STACKS },
		{ "roles", no_argument, NULL, ROLES },
		{ "own", no_argument, NULL, OWN },
		{ "from", required_argument, NULL, FROM },
		{ "to", required_argument, NULL, TO },
		{ "call", required_argument, NULL, CALL },
		{ "tid", required_argument, NULL, TID },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case FORMAT:
			ok = vt_parse_format(optarg, &d->json);
			break;
		case STACKS:
			d->stacks = true;
			break;
		case ROLES:
			d->with_roles = true;
			break;
		case OWN:
			d->own = true;
			break;
		case FROM:
			ok = parse_seq("from", optarg, &d->from);
			break;
		case TO:
			ok = parse_seq("to", optarg, &d->to);
			break;
		case CALL:
			ok = parse_calls(d, optarg);
			break;
		case TID:
			ok = parse_tids(d, optarg);
			break;
		case 'h':
			return usage();
		default:
			ok = false;
		}
	}
	return ok ? -1 : VT_EXIT_BAD;
}

int vt_cmd_dump(int argc, char **argv)
{
	struct dump d = { .to = UINT64_MAX };

	memset(d.kinds, true, sizeof(d.kinds));
	int status = parse(&d, argc, argv);
	if (status < 0) {
		d.trace = vt_open_operand(argc, argv);
		status = VT_EXIT_BAD;
	}
	if (d.trace) {
		if (d.stacks || d.with_roles)
			dump_replayed(&d);
		else
			dump_calls(&d);
		print_ending(&d);
		status = vt_close_operand(d.trace, VT_EXIT_OK);
	}
	free(d.tids);
	return status;
}
