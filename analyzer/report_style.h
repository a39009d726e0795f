/*
 * report_style.h - colour and width of what goes to a terminal.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_REPORT_STYLE_H
#define VMTRAIL_ANALYZER_REPORT_STYLE_H

#include <stdio.h>

/* Escape sequences, or empty strings where no colour is wanted. */
struct vt_style {
	const char *strong, *faint, *good, *bad, *off;
	unsigned width; /* columns of the terminal; 80 where there is none, never less */
};

/* The style for out: plain unless it is a terminal, NO_COLOR is not set and TERM is not dumb. */
struct vt_style vt_style_for(FILE *out);

/* How many columns UTF-8 text takes. */
int vt_columns(const char *text);

/* Print text in a cell of width columns: left-aligned, or right-aligned if width is negative. */
void vt_put_cell(FILE *out, const char *text, int width);

#endif
