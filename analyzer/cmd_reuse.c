/*
 * cmd_reuse.c - vmtrail reuse: who destroyed, gave back or changed memory that was not its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <string.h>

#include "alloc.h"
#include "commands.h"
#include "find_story.h"
#include "options.h"

static int print_help(void)
{
	printf("Usage: vmtrail reuse TRACE [options]\n\n"
	       "Find memory that was destroyed, given back or changed by somebody else than its\n"
	       "owner, and addresses that were used after they had gone to another owner.\n\n"
	       "  --severity=LEVEL  print findings from this level on: info (default), warning or\n"
	       "                    error\n"
	       "  --stacks          show the frames of each call\n"
	       "  --history=N       remember what died up to N events back (default 0: all)\n"
	       "  --format=FMT      text (default) or json\n"
	       "  --help            show this help\n\n"
	       "Exit status 1 if there is an error or a warning, printed or not.\n");
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

static bool parse_severity(const char *s, enum vt_severity *severity)
{
	for (int i = VT_SEVERITY_INFO; i <= VT_SEVERITY_ERROR; i++)
		if (strcmp(s, vt_severity_name((enum vt_severity)i)) == 0) {
			*severity = (enum vt_severity)i;
			return true;
		}
	return false;
}

struct wishes {
	enum vt_severity least;
	uint64_t history;
	bool json, stacks;
};

static int find(struct vt_trace *t, const struct wishes *w)
{
	struct vt_find *f = vt_calloc(1, sizeof(*f));
	struct vt_story story = { .stacks = w->stacks };
	size_t serious = 0;
	f->history.reach = w->history;
	int error = vt_find_collect(f, t);
	if (!error && f->n)
		error = vt_story_collect(&story, f, t);
	if (!error)
		serious =
		    (w->json ? vt_find_print_json : vt_find_print)(stdout, f, &story, t, w->least);
	vt_story_free(&story);
	vt_find_free(f);
	free(f);
	if (error)
		return vt_complain("%s: not enough memory to replay it", t->path);
	return serious ? VT_EXIT_FOUND : VT_EXIT_OK;
}

int vt_cmd_reuse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "severity", required_argument, NULL, 's' },
		{ "stacks", no_argument, NULL, 'S' },
		{ "history", required_argument, NULL, 'H' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct wishes w = { .least = VT_SEVERITY_INFO };

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 's':
			if (!parse_severity(optarg, &w.least))
				return vt_complain("--severity=%s: expected info, warning or error",
						   optarg);
			break;
		case 'S':
			w.stacks = true;
			break;
		case 'H':
			if (!vt_parse_u64(optarg, &w.history))
				return vt_complain("--history=%s: expected a number of events",
						   optarg);
			break;
		case 'f':
			if (!vt_parse_format(optarg, &w.json))
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
	return vt_close_operand(t, find(t, &w));
}
