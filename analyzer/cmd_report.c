/*
 * cmd_report.c - vmtrail report: a trace summed up.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "commands.h"
#include "find_story.h"
#include "options.h"
#include "placement_print.h"
#include "process_tree.h"
#include "report_data.h"
#include "units.h"

#define DEFAULT_TOP 8

static int print_help(void)
{
	printf(
	    "Usage: vmtrail report TRACE [options]\n"
	    "       vmtrail report DIRECTORY [--format=FMT]\n\n"
	    "Sum a trace up: calls, the address space and its peaks, the call sites that made it,\n"
	    "what no call explains, and whether the replay equals the kernel's own view.\n\n"
	    "  --top=N        rows of each table of call sites (default %d)\n"
	    "  --capture      only the recorder's notes on what it could see\n"
	    "  --placement    only how well the kernel's choice of places is predicted, and every\n"
	    "                 place that was not, with the reason\n"
	    "  --format=FMT   text (default) or json\n"
	    "  --help         show this help\n",
	    DEFAULT_TOP);
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

/* The processes of one run. Damaged traces are listed with the others, and make the status. */
static int report_directory(const char *path, bool json)
{
	struct vt_process_tree tree;
	char *error = NULL;
	int status = VT_EXIT_OK;
	if (!vt_process_tree_read(&tree, path, &error))
		status = vt_complain("%s", error);
	else if (json)
		vt_process_tree_print_json(stdout, &tree);
	else
		vt_process_tree_print(stdout, &tree);
	if (tree.damaged)
		status = vt_complain("%s: %zu of %zu traces damaged", path, tree.damaged, tree.n);
	free(error);
	vt_process_tree_free(&tree);
	return vt_flush(status);
}

/* The placements alone: no call site is looked up for them. */
static int report_placement(struct vt_trace *t, bool json)
{
	struct vt_placements p = { 0 };
	if (vt_placements_collect(&p, t) != 0)
		return vt_complain("%s: not enough memory to replay it", t->path);
	if (json)
		vt_placements_print_json(stdout, &p, t);
	else
		vt_placements_print(stdout, &p);
	vt_placements_free(&p);
	return VT_EXIT_OK;
}

int vt_cmd_report(int argc, char **argv)
{
	static const struct option options[] = {
		{ "top", required_argument, NULL, 't' }, { "capture", no_argument, NULL, 'c' },
		{ "placement", no_argument, NULL, 'p' }, { "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },      { NULL, 0, NULL, 0 },
	};
	struct vt_report report = { 0 };
	uint64_t top = DEFAULT_TOP;
	bool json = false, capture = false, placement = false;

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 't':
			if (!vt_parse_top(optarg, &top))
				return VT_EXIT_BAD;
			break;
		case 'c':
			capture = true;
			break;
		case 'p':
			placement = true;
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
	if (optind + 1 == argc && vt_is_directory(argv[optind])) {
		if (capture || placement)
			return vt_complain("%s: one trace at a time for --%s", argv[optind],
					   capture ? "capture" : "placement");
		return report_directory(argv[optind], json);
	}
	struct vt_trace *t = vt_open_operand(argc, argv);
	if (!t)
		return VT_EXIT_BAD;
	if (capture && !json) {
		vt_report_print_capture(stdout, t);
		return vt_close_operand(t, VT_EXIT_OK);
	}
	if (placement)
		return vt_close_operand(t, report_placement(t, json));
	int status = VT_EXIT_OK;
	struct vt_find *find = vt_calloc(1, sizeof(*find));
	struct vt_story story = { 0 };
	report.find = find;
	report.story = &story;
	if (vt_report_collect(&report, t) != 0 ||
	    (!placement && (vt_find_collect(find, t) != 0 ||
			    (find->n && vt_story_collect(&story, find, t) != 0))))
		status = vt_complain("%s: not enough memory to replay it", t->path);
	else if (json)
		vt_report_print_json(stdout, &report, top);
	else
		vt_report_print(stdout, &report, top);
	vt_report_free(&report);
	vt_story_free(&story);
	vt_find_free(find);
	free(find);
	return vt_close_operand(t, status);
}
