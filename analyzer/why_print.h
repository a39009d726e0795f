/*
 * why_print.h - the lines of a story, for every command that tells one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_WHY_PRINT_H
#define VMTRAIL_ANALYZER_WHY_PRINT_H

#include "flags.h"
#include "report_style.h"
#include "why_history.h"

/* Appends what the arrow at an entry's line says, if there is one; returns whether it is a culprit.
 */
typedef bool (*vt_why_mark_fn)(const struct vt_why_entry *e, struct vt_text *mark, const void *ctx);

/*
 * Print entries, one a line: event number, time since the one before, thread, call, call site,
 * mark.
 */
void vt_why_print_lines(FILE *out, const struct vt_why_entry *entries, size_t n,
			const struct vt_trace *t, const struct vt_style *style, vt_why_mark_fn mark,
			const void *ctx);

/* Print a sentence, indented, broken into lines at width columns. */
void vt_why_print_sentence(FILE *out, const char *text, unsigned width);

#endif
