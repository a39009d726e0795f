/*
 * options.h - what every subcommand does with its command line, its trace and its exit status.
 *
 * Whatever goes wrong ends here, as one line on stderr and VT_EXIT_BAD.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_OPTIONS_H
#define VMTRAIL_ANALYZER_OPTIONS_H

#include "trace.h"

/* Print "vmtrail: MESSAGE" as one line on stderr; returns VT_EXIT_BAD. */
int vt_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What --format=TEXT asks for: true and *json, or false after a complaint. */
bool vt_parse_format(const char *text, bool *json);

/* What --top=TEXT asks for: true and *top, or false after a complaint. */
bool vt_parse_top(const char *text, uint64_t *top);

/*
 * The command's only operand, argv[optind] after getopt_long: the trace, opened; NULL after a
 * complaint when there is none, there are more, or it cannot be opened.
 */
struct vt_trace *vt_open_operand(int argc, char **argv);

/*
 * Close the trace after use, tell on stderr what damaged it, if anything did, and flush stdout.
 * Returns the exit status: status, or VT_EXIT_BAD for a damaged trace or an unwritable stdout.
 */
int vt_close_operand(struct vt_trace *t, int status);

/* The end of a subcommand's output: status, or VT_EXIT_BAD after a complaint. */
int vt_flush(int status);

#endif
