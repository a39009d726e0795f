/*
 * cmd_why.c - vmtrail why: the life of one address.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <string.h>

#include "alloc.h"
#include "commands.h"
#include "ending.h"
#include "find_story.h"
#include "options.h"
#include "why_history.h"

static int print_help(void)
{
	printf(
	    "Usage: vmtrail why TRACE ADDR|FROM-TO|ADDR+LENGTH [options]\n"
	    "       vmtrail why TRACE --fault [options]\n\n"
	    "Tell the life of an address: every call that touched its page, what it meant, and "
	    "what\n"
	    "reuse finds there.\n\n"
	    "  --fault        the address that the process died at\n"
	    "  --at=WHEN      only up to WHEN: an event number, a time (1.5s, 20ms), start or end\n"
	    "  --stacks       show the frames of each call\n"
	    "  --format=FMT   text (default) or json\n"
	    "  --help         show this help\n");
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

/* "0x1000", "0x1000-0x3000" or "0x1000+8192". */
static bool parse_range(const char *text, struct vt_why *why)
{
	char from[32];
	size_t n = strcspn(text, "-+");
	uint64_t second;
	if (n >= sizeof(from))
		return false;
	snprintf(from, sizeof(from), "%.*s", (int)n, text);
	if (!vt_parse_u64(from, &why->addr))
		return false;
	if (!text[n])
		return true;
	if (!vt_parse_u64(text + n + 1, &second))
		return false;
	if (text[n] == '+' && __builtin_add_overflow(why->addr, second, &second))
		return false;
	why->end = (second + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
	return second > why->addr && why->end;
}

/* The address of the last fault in the trace; *ending: how the process ended. */
static bool find_fault(struct vt_trace *t, struct vt_why *why, struct vt_ending *ending)
{
	struct vt_item item;
	bool found = false;
	vt_trace_rewind(t);
	while (vt_trace_next(t, &item) != VT_ITEM_END) {
		if (item.type != VT_ITEM_EVENT)
			continue;
		vt_ending_event(ending, &item.event);
		if (item.event.kind != VT_FAULT || (int64_t)item.event.a[2] <= 0)
			continue;
		why->addr = item.event.a[0];
		found = true;
	}
	vt_ending_close(ending, t);
	return found;
}

/* There is no address to tell of. */
static int tell_no_fault(const struct vt_trace *t, const struct vt_ending *ending)
{
	char name[48];
	if (ending->end != VT_END_SIGNAL)
		return vt_complain("%s: the process did not die of a fault, as far as is recorded",
				   t->path);
	vt_ending_signal(ending, name, sizeof(name));
	if (!vt_ending_is_silent(ending, t))
		return vt_complain("%s: the process was ended by %s: no address is known", t->path,
				   name);
	return vt_complain("%s: the process was ended by %s. %s", t->path, name,
			   vt_ending_silence(ending, t));
}

static int tell(struct vt_why *why, struct vt_trace *t, const struct vt_when *at, bool json)
{
	struct vt_find *f = vt_calloc(1, sizeof(*f));
	struct vt_story story = { 0 };
	int status = VT_EXIT_OK;
	int error = vt_find_collect(f, t);
	if (!error && f->n)
		error = vt_story_collect(&story, f, t);
	why->find = f;
	why->story = &story;
	if (error || vt_why_collect(why, t, at) != 0)
		status = vt_complain("%s: not enough memory to replay it", t->path);
	else if (json)
		vt_why_print_json(stdout, why, t);
	else
		vt_why_print(stdout, why, t);
	vt_why_free(why);
	vt_story_free(&story);
	vt_find_free(f);
	free(f);
	return status;
}

int vt_cmd_why(int argc, char **argv)
{
	static const struct option options[] = {
		{ "at", required_argument, NULL, 'a' }, { "fault", no_argument, NULL, 'F' },
		{ "stacks", no_argument, NULL, 's' },   { "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },     { NULL, 0, NULL, 0 },
	};
	struct vt_when at = { .kind = VT_WHEN_END };
	struct vt_why why = { 0 };
	bool json = false, fault = false;

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 'a':
			if (!vt_parse_when(optarg, &at))
				return vt_complain(
				    "--at=%s: expected an event number, a time with its "
				    "unit, start or end",
				    optarg);
			break;
		case 'F':
			fault = true;
			break;
		case 's':
			why.stacks = true;
			break;
		case 'f':
			if (!vt_parse_format(optarg, &json))
				return VT_EXIT_BAD;
			break;
		case 'h':
			return print_help();
		default:
			return VT_EXIT_BAD;
		}
	}
	if (!fault && argc - optind < 2)
		return vt_complain("which trace, and which address? (%s --help)", argv[0]);
	/* the address stands last, so that the operand is what every subcommand has */
	if (!fault && !parse_range(argv[argc - 1], &why))
		return vt_complain("%s: no address; expected one like 0x7f0012340000, FROM-TO or "
				   "ADDR+LENGTH",
				   argv[argc - 1]);
	struct vt_trace *t = vt_open_operand(fault ? argc : argc - 1, argv);
	if (!t)
		return VT_EXIT_BAD;
	struct vt_ending ending = { 0 };
	if (fault && !find_fault(t, &why, &ending))
		return vt_close_operand(t, tell_no_fault(t, &ending));
	why.stacks |= json;
	return vt_close_operand(t, tell(&why, t, &at, json));
}
