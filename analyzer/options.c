/*
 * options.c - what every subcommand does with its command line, its trace and its exit status.
 *
 * SPDX-License-Identifier: MIT
 */
#include "options.h"
#include "commands.h"
#include "units.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOP 1000000

int vt_complain(const char *format, ...)
{
	va_list args;
	char line[4096];

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	/* whatever a file name or a trace brought along: one line, and nothing for a terminal */
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	fflush(stdout);
	fprintf(stderr, "vmtrail: %s\n", line);
	return VT_EXIT_BAD;
}

bool vt_parse_format(const char *text, bool *json)
{
	*json = strcmp(text, "json") == 0;
	if (*json || strcmp(text, "text") == 0)
		return true;
	vt_complain("--format=%s: expected text or json", text);
	return false;
}

bool vt_parse_top(const char *text, uint64_t *top)
{
	if (vt_parse_u64(text, top) && *top && *top <= MAX_TOP)
		return true;
	vt_complain("--top=%s: expected a number from 1 to %d", text, MAX_TOP);
	return false;
}

struct vt_trace *vt_open_operand(int argc, char **argv)
{
	char *error;

	if (optind >= argc) {
		vt_complain("which trace? (%s --help)", argv[0]);
		return NULL;
	}
	if (optind + 1 < argc) {
		vt_complain("one trace at a time, and no %s (%s --help)", argv[optind + 1],
			    argv[0]);
		return NULL;
	}
	struct vt_trace *t = vt_trace_open(argv[optind], &error);
	if (!t)
		vt_complain("%s", error);
	free(error);
	return t;
}

int vt_flush(int status)
{
	if (fflush(stdout) || ferror(stdout))
		status = vt_complain("standard output: %s", strerror(errno));
	return status;
}

int vt_close_operand(struct vt_trace *t, int status)
{
	if (t->damage)
		status = vt_complain("%s", t->damage);
	vt_trace_close(t);
	return vt_flush(status);
}
