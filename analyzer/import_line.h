/*
 * import_line.h - one line of strace's output, taken apart.
 *
 * Knows strace's grammar and nothing of what the calls mean.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_IMPORT_LINE_H
#define VMTRAIL_ANALYZER_IMPORT_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of the log. */
struct vt_slice {
	const char *p, *end;
};

enum vt_line_type {
	VT_LINE_CALL,       /* name(args) = result */
	VT_LINE_UNFINISHED, /* name(args <unfinished ...> */
	VT_LINE_RESUMED,    /* <... name resumed>rest) = result */
	VT_LINE_SIGNAL,     /* --- SIGSEGV {...} --- */
	VT_LINE_END,        /* +++ exited with 0 +++, +++ killed by SIGSEGV +++ */
	VT_LINE_STACK,      /* > /lib/libc.so.6(mmap64+0x17) [0x1053f7] */
	VT_LINE_OTHER,      /* what strace says of itself, an empty line */
	VT_LINE_STRANGE,    /* none of these */
};

/* How a line tells its time. */
enum vt_line_clock {
	VT_CLOCK_NONE,
	VT_CLOCK_DAY,      /* -t, -tt: since midnight */
	VT_CLOCK_EPOCH,    /* -ttt */
	VT_CLOCK_RELATIVE, /* -r: since the line before */
};

struct vt_line {
	enum vt_line_type type;
	enum vt_line_clock clock;
	uint32_t pid;         /* 0: the line has none */
	struct vt_slice comm; /* the process's name, where --decode-pids=comm told it */
	uint64_t ns;          /* by the clock */
	struct vt_slice name; /* of the call; of the signal */
	struct vt_slice rest; /* after the name: arguments and all */
};

/* Take apart the line [p, end), which has no newline. */
void vt_line_read(struct vt_line *line, const char *p, const char *end);

/* Whether the slice is exactly text. */
bool vt_slice_is(struct vt_slice s, const char *text);

/* Whether the slice begins with text. */
bool vt_slice_starts(struct vt_slice s, const char *text);

/*
 * A number as strace prints it: decimal with a sign, hexadecimal, octal, NULL. Advances past it.
 * False: there is none.
 */
bool vt_slice_number(struct vt_slice *s, uint64_t *value);

/* Skip spaces; then, if the next character is c, skip it and return true. */
bool vt_slice_char(struct vt_slice *s, char c);

/*
 * The argument up to its comma or closing bracket, with strings, brackets and braces inside taken
 * whole; *s is left behind the comma, or at the bracket. Empty at the end of the arguments.
 */
struct vt_slice vt_slice_argument(struct vt_slice *s);

/* A string between quotes with its escapes undone into buf, cut where it does not fit. */
bool vt_slice_string(struct vt_slice s, char *buf, size_t size);

/* Seconds and a fraction ("0.000123") in nanoseconds. Advances past them. */
bool vt_slice_seconds(struct vt_slice *s, uint64_t *ns);

#endif
