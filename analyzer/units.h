/*
 * units.h - sizes, counts and times as people read and write them.
 *
 * The one printer of each, for every table and message, and the parsers for what users type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_UNITS_H
#define VMTRAIL_ANALYZER_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for any result of the printers below. */
#define VT_UNIT_TEXT 32

/* Bytes in binary units with three or four digits: "0 B", "820 B", "4.0 KiB", "1.5 GiB". */
const char *vt_format_size(char buf[VT_UNIT_TEXT], uint64_t bytes);

/* A number with commas: "1,234,567". */
const char *vt_format_count(char buf[VT_UNIT_TEXT], uint64_t n);

/* Nanoseconds in the unit that suits: "96 ns", "1.8 µs", "12.3 ms", "4.56 s", "2 m 05 s". */
const char *vt_format_duration(char buf[VT_UNIT_TEXT], uint64_t ns);

/* Decimal, or hexadecimal after 0x; the whole string, else false. */
bool vt_parse_u64(const char *s, uint64_t *value);

/* Bytes: a number, then nothing or one of K, M, G, T (powers of 1024); the whole string, else
 * false. */
bool vt_parse_size(const char *s, uint64_t *bytes);

/* A moment of a trace, as --at takes it. */
struct vt_when {
	enum { VT_WHEN_START, VT_WHEN_END, VT_WHEN_SEQ, VT_WHEN_TIME } kind;
	uint64_t seq; /* SEQ: the state after this event */
	uint64_t ns;  /* TIME: the state at this time since the trace's start */
};

/*
 * Parse "start", "end", an event number ("123", "#123"), or a time since the trace's start with a
 * unit ("1.5s", "20ms", "7us", "90ns") or a plus sign ("+1.5", in seconds). False: none of them.
 */
bool vt_parse_when(const char *s, struct vt_when *when);

#endif
