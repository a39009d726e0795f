/*
 * options.h - the options of a recording: names, environment variables, values and defaults.
 *
 * The command checks them before it starts a program, the library reads the environment variables;
 * both by this table. A value that the table does not allow counts as the default in the library,
 * which never complains. Needs nothing but the compiler: the library has no libc to rely on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_OPTIONS_H
#define VMTRAIL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an option's value may be. */
enum vt_option_type {
	VT_OPTION_PATTERN, /* a file name: %p pid, %e executable, %n counter, %% percent sign */
	VT_OPTION_NUMBER,  /* decimal, within the limits; "no" is 0 */
	VT_OPTION_SLOTS,   /* decimal, a power of two within the limits */
	VT_OPTION_SWITCH,  /* "yes" (1) or "no" (0) */
	VT_OPTION_CAPTURE, /* "all" (VT_CAPTURE_ALL) or "symbols" (VT_CAPTURE_SYMBOLS) */
	VT_OPTION_FILE,    /* the name of a file, or "no" */
	VT_OPTION_FAULTS,  /* "no" (VT_FAULTS_NO), "yes" (VT_FAULTS_YES), "overflow" */
	VT_OPTION_STOP,    /* findings, with commas between: VT_STOP_* bits; "no" is 0 */
};

enum { VT_CAPTURE_SYMBOLS, VT_CAPTURE_ALL };

enum { VT_FAULTS_NO, VT_FAULTS_YES, VT_FAULTS_OVERFLOW };

/* The findings that a process can be stopped at. */
enum { VT_STOP_FIXED_CLOBBER = 1, VT_STOP_FOREIGN_UNMAP = 2, VT_STOP_DOUBLE_UNMAP = 4 };

/*
 * X(ENUM, long option, letter, environment variable, type, least, most, default,
 *   argument as the help shows it, help)
 */
#define VT_OPTIONS(X)                                                                              \
	X(OUTPUT, "output", 'o', "VMTRAIL_OUTPUT", PATTERN, 0, 0, 0, "FILE",                       \
	  "where the trace goes; %p pid, %e executable, %n counter;\n"                             \
	  "a directory takes the traces of all processes\n"                                        \
	  "(default vmtrail.%e.%p.vmt)")                                                           \
	X(STACKS, "stacks", 0, "VMTRAIL_STACKS", NUMBER, 0, 64, 64, "DEPTH",                       \
	  "frames recorded with each call, 0 to 64, or no (default 64)")                           \
	X(CHILDREN, "children", 0, "VMTRAIL_CHILDREN", SWITCH, 0, 1, 1, "yes|no",                  \
	  "record child processes too (default yes)")                                              \
	X(SNAPSHOT_EVERY, "snapshot-every", 0, "VMTRAIL_SNAPSHOT_EVERY", NUMBER, 0, UINT32_MAX, 0, \
	  "N", "take a snapshot every N events (default 0: none between\nstart and exit)")         \
	X(SMAPS, "smaps", 0, "VMTRAIL_SMAPS", SWITCH, 0, 1, 0, "yes|no",                           \
	  "keep /proc/PID/smaps in snapshots too (default no)")                                    \
	X(FAULTS, "faults", 0, "VMTRAIL_FAULTS", FAULTS, 0, 2, VT_FAULTS_YES, "yes|no|overflow",   \
	  "record the fault that a process dies of (default yes); with\n"                          \
	  "overflow also that of a stack without room left, for which\n"                           \
	  "each thread gets an alternate signal stack")                                            \
	X(CAPTURE, "capture", 0, "VMTRAIL_CAPTURE", CAPTURE, 0, 1, VT_CAPTURE_ALL, "all|symbols",  \
	  "see calls made inside libc and the loader, or only those\n"                             \
	  "made through exported functions (default all)")                                         \
	X(STOP_ON, "stop-on", 0, "VMTRAIL_STOP_ON", STOP, 0, 7, 0, "KIND,...",                     \
	  "SIGTRAP before a call that would be one of these findings of\n"                         \
	  "reuse: fixed-clobber, foreign-unmap, double-unmap (default no)")                        \
	X(INLINE, "inline", 0, "VMTRAIL_INLINE", NUMBER, 0, 4096, 1024, "MIB",                     \
	  "see calls by system call instructions of the program's and\n"                           \
	  "its libraries' own, in code of up to so much each, or no\n"                             \
	  "(default 1024)")                                                                        \
	X(CACHE, "cache", 0, "VMTRAIL_CACHE", FILE, 0, 0, 0, "FILE",                               \
	  "where it is kept which code has been looked through, or no\n"                           \
	  "(default vmtrail/code in the user's cache directory)")                                  \
	X(RING, "ring", 0, "VMTRAIL_RING", SLOTS, 256, 65536, 8192, "SLOTS",                       \
	  "events held in the live part of the trace, a power of two\n"                            \
	  "from 256 to 65536 (default 8192)")

enum vt_option_id {
#define VT_OPTION_ENUM(e, ...) VT_OPT_##e,
	VT_OPTIONS(VT_OPTION_ENUM)
#undef VT_OPTION_ENUM
	    VT_OPTION_COUNT
};

struct vt_option {
	const char *name, *env, *arg, *help;
	uint64_t least, most, fallback;
	uint8_t type; /* enum vt_option_type */
	char letter;  /* 0: long form only */
};

/* The output pattern where none is given, and below a directory. */
#define VT_DEFAULT_OUTPUT "vmtrail.%e.%p.vmt"

/* The row of an option. */
static inline const struct vt_option *vt_option(enum vt_option_id id)
{
	static const struct vt_option table[VT_OPTION_COUNT] = {
#define VT_OPTION_ROW(e, long_name, short_name, var, kind, lo, hi, def, arg_text, text)            \
	[VT_OPT_##e] = { .name = long_name,                                                        \
			 .env = var,                                                               \
			 .arg = arg_text,                                                          \
			 .help = text,                                                             \
			 .least = lo,                                                              \
			 .most = hi,                                                               \
			 .fallback = def,                                                          \
			 .type = VT_OPTION_##kind,                                                 \
			 .letter = short_name },
		VT_OPTIONS(VT_OPTION_ROW)
#undef VT_OPTION_ROW
	};
	return &table[id];
}

static inline bool vt_option_equal(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* Decimal digits only, no overflow. */
static inline bool vt_option_digits(const char *text, uint64_t *value)
{
	uint64_t v = 0;
	const char *p = text;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	*value = v;
	return p != text && !*p;
}

/* A pattern has a name in it and knows only the four conversions. */
static inline bool vt_option_pattern(const char *text)
{
	const char *p = text;
	for (; *p; p++)
		if (*p == '%' && *++p != 'p' && *p != 'e' && *p != 'n' && *p != '%')
			return false;
	return p != text;
}

/* The name of one VT_STOP_* bit. */
static inline const char *vt_stop_name(unsigned bit)
{
	return bit == VT_STOP_FIXED_CLOBBER   ? "fixed-clobber"
	       : bit == VT_STOP_FOREIGN_UNMAP ? "foreign-unmap"
					      : "double-unmap";
}

/* Names with commas between, as VT_STOP_* bits. */
static inline bool vt_option_stops(const char *text, uint64_t *value)
{
	*value = 0;
	for (;;) {
		unsigned bit = 1;
		const char *p = text, *name = vt_stop_name(bit);
		for (; bit <= VT_STOP_DOUBLE_UNMAP; bit <<= 1) {
			name = vt_stop_name(bit);
			for (p = text; *name && *p == *name; p++)
				name++;
			if (!*name && (!*p || *p == ','))
				break;
		}
		if (bit > VT_STOP_DOUBLE_UNMAP)
			return false;
		*value |= bit;
		if (!*p)
			return true;
		text = p + 1;
	}
}

/*
 * Read an option's value as text; false when the table does not allow it. *value is left alone for
 * a PATTERN or a FILE.
 */
static inline bool vt_option_value(const struct vt_option *o, const char *text, uint64_t *value)
{
	uint64_t v;
	switch (o->type) {
	case VT_OPTION_PATTERN:
		return vt_option_pattern(text);
	case VT_OPTION_FILE:
		return *text;
	case VT_OPTION_SWITCH:
		v = vt_option_equal(text, "yes");
		if (!v && !vt_option_equal(text, "no"))
			return false;
		break;
	case VT_OPTION_FAULTS:
		v = vt_option_equal(text, "yes")        ? VT_FAULTS_YES
		    : vt_option_equal(text, "overflow") ? VT_FAULTS_OVERFLOW
							: VT_FAULTS_NO;
		if (v == VT_FAULTS_NO && !vt_option_equal(text, "no"))
			return false;
		break;
	case VT_OPTION_CAPTURE:
		v = vt_option_equal(text, "all") ? VT_CAPTURE_ALL : VT_CAPTURE_SYMBOLS;
		if (v == VT_CAPTURE_SYMBOLS && !vt_option_equal(text, "symbols"))
			return false;
		break;
	case VT_OPTION_STOP:
		v = 0;
		if (!vt_option_equal(text, "no") && !vt_option_stops(text, &v))
			return false;
		break;
	default:
		if (o->type == VT_OPTION_NUMBER && vt_option_equal(text, "no"))
			v = 0;
		else if (!vt_option_digits(text, &v))
			return false;
		if (v < o->least || v > o->most)
			return false;
		if (o->type == VT_OPTION_SLOTS && (v & (v - 1)))
			return false;
	}
	*value = v;
	return true;
}

#endif
