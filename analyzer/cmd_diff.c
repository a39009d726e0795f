/*
 * cmd_diff.c - vmtrail diff: two runs of one program compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include "commands.h"
#include "diff.h"
#include "options.h"
#include "units.h"
#include <getopt.h>
#include <stdlib.h>

#define DEFAULT_TOP 20

static int print_help(void)
{
	printf(
	    "Usage: vmtrail diff A B [options]\n\n"
	    "Compare two runs of one program: calls, sizes and areas as a whole and by call\n"
	    "site, and the findings of reuse. Addresses do not count; a call site is known by\n"
	    "its function and module.\n\n"
	    "  --top=N        print this many call sites (default %d)\n"
	    "  --format=FMT   text (default) or json\n"
	    "  --help         show this help\n\n"
	    "Exit status 1 if one of the runs has an error or a warning that the other has not.\n",
	    DEFAULT_TOP);
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

static int compare(struct vt_trace *a, struct vt_trace *b, size_t top, bool json)
{
	struct vt_diff d = { 0 };
	size_t serious = 0;
	int rc = vt_diff_collect(&d, VT_DIFF_A, a);

	if (!rc)
		rc = vt_diff_collect(&d, VT_DIFF_B, b);
	if (!rc) {
		vt_diff_sort(&d);
		serious = json ? vt_diff_print_json(stdout, &d) : vt_diff_print(stdout, &d, top);
	}
	vt_diff_free(&d);
	if (rc)
		return vt_complain("not enough memory to replay the traces");
	return serious ? VT_EXIT_FOUND : VT_EXIT_OK;
}

int vt_cmd_diff(int argc, char **argv)
{
	static const struct option options[] = {
		{ "top", required_argument, NULL, 't' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
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
	if (argc - optind != 2)
		return vt_complain("two traces, please (%s --help)", argv[0]);
	struct vt_trace *t[VT_DIFF_SIDES] = { 0 };
	for (int i = 0; i < VT_DIFF_SIDES; i++) {
		char *error = NULL;
		t[i] = vt_trace_open(argv[optind + i], &error);
		if (!t[i]) {
			vt_complain("%s", error);
			free(error);
			vt_trace_close(t[0]);
			return VT_EXIT_BAD;
		}
	}
	int status = compare(t[VT_DIFF_A], t[VT_DIFF_B], top, json);
	int other = vt_close_operand(t[VT_DIFF_B], status);
	status = vt_close_operand(t[VT_DIFF_A], status);
	return other > status ? other : status;
}
