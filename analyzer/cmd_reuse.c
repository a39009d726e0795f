/*
 * cmd_reuse.c - vmtrail reuse: who destroyed, gave back or changed memory that was not its own.
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
#include "report_style.h"
#include "suppress.h"
#include "why_print.h"

static int print_help(void)
{
	printf("Usage: vmtrail reuse TRACE [options]\n\n"
	       "Find memory that was destroyed, given back or changed by somebody else than its\n"
	       "owner, and addresses that were used after they had gone to another owner.\n\n"
	       "  --severity=LEVEL  print findings from this level on: info (default), warning or\n"
	       "                    error\n"
	       "  --stacks          show the frames of each call\n"
	       "  --history=N       remember what died up to N events back (default 0: all)\n"
	       "  --suppressions=FILE\n"
	       "                    leave out what the rules in FILE name; can be given again\n"
	       "  --gen-suppressions\n"
	       "                    print a rule for each finding instead of the findings\n"
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
	bool json, stacks, help;
	bool rules; /* print rules instead of findings */
	struct vt_suppressions *quiet;
};

/* A fault that left no address proves nothing, and nobody should think that there was none. */
static void print_ending(const struct vt_ending *ending, const struct vt_trace *t)
{
	char text[512], name[48];
	if (!vt_ending_is_silent(ending, t))
		return;
	snprintf(text, sizeof(text), "The process was ended by %s. %s",
		 vt_ending_signal(ending, name, sizeof(name)), vt_ending_silence(ending, t));
	vt_why_print_sentence(stdout, text, vt_style_for(stdout).width);
	putchar('\n');
}

static size_t print(const struct wishes *w, struct vt_find *f, const struct vt_story *story,
		    struct vt_trace *t)
{
	size_t suppressed = vt_suppress(w->quiet, f, story);
	if (!w->json && !w->rules)
		print_ending(&f->ending, t);
	if (w->rules)
		return vt_suppressions_print(stdout, f, story, w->least);
	size_t serious =
	    (w->json ? vt_find_print_json : vt_find_print)(stdout, f, story, t, w->least);
	if (suppressed && !w->json)
		printf("suppressed %zu\n", suppressed);
	return serious;
}

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
		serious = print(w, f, &story, t);
	vt_story_free(&story);
	vt_find_free(f);
	free(f);
	if (error)
		return vt_complain("%s: not enough memory to replay it", t->path);
	return serious ? VT_EXIT_FOUND : VT_EXIT_OK;
}

static bool read_options(int argc, char **argv, struct wishes *w)
{
	static const struct option options[] = {
		{ "severity", required_argument, NULL, 's' },
		{ "stacks", no_argument, NULL, 'S' },
		{ "history", required_argument, NULL, 'H' },
		{ "suppressions", required_argument, NULL, 'q' },
		{ "gen-suppressions", no_argument, NULL, 'g' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	char *error = NULL;

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case 's':
			if (parse_severity(optarg, &w->least))
				break;
			vt_complain("--severity=%s: expected info, warning or error", optarg);
			return false;
		case 'S':
			w->stacks = true;
			break;
		case 'H':
			if (vt_parse_u64(optarg, &w->history))
				break;
			vt_complain("--history=%s: expected a number of events", optarg);
			return false;
		case 'q':
			if (vt_suppressions_read(&w->quiet, optarg, &error))
				break;
			vt_complain("%s", error);
			free(error);
			return false;
		case 'g':
			w->rules = true;
			break;
		case 'f':
			if (!vt_parse_format(optarg, &w->json))
				return false;
			break;
		case 'h':
			w->help = true;
			return true;
		default:
			return false;
		}
	}
	return true;
}

int vt_cmd_reuse(int argc, char **argv)
{
	struct wishes w = { .least = VT_SEVERITY_INFO };
	int status = VT_EXIT_BAD;

	if (read_options(argc, argv, &w)) {
		struct vt_trace *t = w.help ? NULL : vt_open_operand(argc, argv);
		if (w.help)
			status = print_help();
		else if (t)
			status = vt_close_operand(t, find(t, &w));
	}
	vt_suppressions_free(w.quiet);
	return status;
}
