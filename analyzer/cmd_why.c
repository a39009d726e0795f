/*
 * cmd_why.c - vmtrail why: the life of one address.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <string.h>

#include "commands.h"
#include "options.h"
#include "why_history.h"

static int print_help(void)
{
	printf(
	    "Usage: vmtrail why TRACE ADDR [options]\n\n"
	    "Tell the life of one address: every call that touched its page, and what it meant.\n\n"
	    "  --at=WHEN      only up to WHEN: an event number, a time (1.5s, 20ms), start or end\n"
	    "  --stacks       show the frames of each call\n"
	    "  --format=FMT   text (default) or json\n"
	    "  --help         show this help\n");
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

int vt_cmd_why(int argc, char **argv)
{
	static const struct option options[] = {
		{ "at", required_argument, NULL, 'a' },
		{ "stacks", no_argument, NULL, 's' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct vt_when at = { .kind = VT_WHEN_END };
	struct vt_why why = { 0 };
	bool json = false;

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 'a':
			if (!vt_parse_when(optarg, &at))
				return vt_complain(
				    "--at=%s: expected an event number, a time with its "
				    "unit, start or end",
				    optarg);
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
	if (argc - optind < 2)
		return vt_complain("which trace, and which address? (%s --help)", argv[0]);
	/* the address stands last, so that the operand is what every subcommand has */
	if (!vt_parse_u64(argv[argc - 1], &why.addr))
		return vt_complain("%s: no address; expected one like 0x7f0012340000",
				   argv[argc - 1]);
	struct vt_trace *t = vt_open_operand(argc - 1, argv);
	if (!t)
		return VT_EXIT_BAD;
	int status = VT_EXIT_OK;
	why.stacks |= json;
	if (vt_why_collect(&why, t, &at) != 0)
		status = vt_complain("%s: not enough memory to replay it", t->path);
	else if (json)
		vt_why_print_json(stdout, &why, t);
	else
		vt_why_print(stdout, &why, t);
	vt_why_free(&why);
	return vt_close_operand(t, status);
}
