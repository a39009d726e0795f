/*
 * cmd_merges.c - vmtrail merges: which areas merge, and why others do not.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>

#include "commands.h"
#include "merges.h"
#include "options.h"
#include "units.h"

#define DEFAULT_TOP 8

static int print_help(void)
{
	printf("Usage: vmtrail merges TRACE [options]\n\n"
	       "How the kernel merged and split the program's VMAs: by the eight cases of\n"
	       "vma_merge, by call site, and why neighbours stayed apart; and the longest chains\n"
	       "of VMAs that a single flag keeps apart.\n\n"
	       "  --top=N        rows of each table (default %d)\n"
	       "  --format=FMT   text (default) or json\n"
	       "  --help         show this help\n",
	       DEFAULT_TOP);
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

int vt_cmd_merges(int argc, char **argv)
{
	static const struct option options[] = {
		{ "top", required_argument, NULL, 't' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct vt_merges m = { 0 };
	uint64_t top = DEFAULT_TOP;
	bool json = false;

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 't':
			if (!vt_parse_top(optarg, &top))
				return VT_EXIT_BAD;
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
	struct vt_trace *t = vt_open_operand(argc, argv);
	if (!t)
		return VT_EXIT_BAD;
	int status = VT_EXIT_OK;
	if (vt_merges_collect(&m, t) != 0)
		status = vt_complain("%s: not enough memory to replay it", t->path);
	else if (json)
		vt_merges_print_json(stdout, &m, t, top);
	else
		vt_merges_print(stdout, &m, t, top);
	vt_merges_free(&m);
	return vt_close_operand(t, status);
}
