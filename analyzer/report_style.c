/*
 * report_style.c - asking the terminal once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "report_style.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct vt_style vt_style_for(FILE *out)
{
	struct vt_style style = { "", "", "", "", "", 80 };
	struct winsize size;
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	if (!isatty(fileno(out)))
		return style;
	if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 80)
		style.width = size.ws_col;
	if ((no_color && *no_color) || !term || strcmp(term, "dumb") == 0)
		return style;
	style.strong = "\033[1m";
	style.faint = "\033[2m";
	style.good = "\033[32m";
	style.bad = "\033[1;31m";
	style.off = "\033[0m";
	return style;
}

int vt_columns(const char *text)
{
	int n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void vt_put_cell(FILE *out, const char *text, int width)
{
	int pad = abs(width) - vt_columns(text);
	fprintf(out, "%*s%s%*s", width < 0 && pad > 0 ? pad : 0, "", text,
		width > 0 && pad > 0 ? pad : 0, "");
}
