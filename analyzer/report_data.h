/*
 * report_data.h - what report tells: sums over one replay of a trace.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_REPORT_DATA_H
#define VMTRAIL_ANALYZER_REPORT_DATA_H

#include "births.h"
#include "ending.h"
#include "placement.h"
#include "role.h"

/* One row of the table of calls. */
struct vt_report_kind {
	uint8_t kind;
	uint64_t count, errors, total_ns;
};

/* Failures of one call with one errno. */
struct vt_report_error {
	uint8_t kind;
	int error; /* positive */
	uint64_t count;
};

/* A highest value, and the event that reached it first. */
struct vt_report_peak {
	uint64_t value, seq, time_ns;
};

/* A call site, or one of the three that stand for what has none. */
enum { VT_REPORT_AT_START, VT_REPORT_UNSEEN, VT_REPORT_NO_STACK, VT_REPORT_OTHERS };
struct vt_report_site {
	const struct vt_site *site; /* NULL for the first VT_REPORT_OTHERS rows */
	const char *name;           /* of those */
	uint8_t kind;               /* of its calls; mixed: of the first one */
	bool mixed;
	uint64_t calls, errors, total_ns;
	uint64_t bytes, mappings; /* still there at the end */
	uint64_t vmas;            /* areas that its calls added */
};

/* Unseen changes of one sort. */
struct vt_report_unseen {
	char *what; /* "rw-p anonymous", "r-xp /lib/libfoo.so" */
	bool appeared;
	uint8_t why; /* enum vt_unseen */
	uint64_t count, bytes;
};

/* What is mapped at the end for one use. */
struct vt_report_role {
	uint8_t use; /* enum vt_use */
	uint64_t bytes, mappings;
};

struct vt_find;
struct vt_story;

struct vt_report {
	struct vt_trace *trace;
	const struct vt_find *find; /* what reuse finds, NULL: not looked for */
	const struct vt_story *story;
	struct vt_sites *sites;
	struct vt_ending ending;
	uint64_t events, own_events, duration_ns;
	uint64_t inner, raw; /* calls seen inside libc and the loader; through syscall() */
	struct vt_report_kind kinds[VT_KIND_COUNT]; /* most calls first, those without any last */
	size_t n_kinds;
	struct vt_report_error *errors; /* most frequent first */
	size_t n_errors, cap_errors;
	struct vt_report_peak mapped, committed, locked, vmas; /* bytes; areas */
	struct vt_totals end;
	uint64_t own_bytes, own_vmas;              /* the recorder's share at the end */
	uint64_t resident, resident_peak;          /* bytes, 0: no snapshot told */
	bool resident_at_exit;                     /* told by the exit snapshot */
	struct vt_report_role roles[VT_USE_COUNT]; /* most bytes first, those without any last */
	struct vt_report_site *table;
	size_t n_sites, cap_sites;
	struct vt_report_unseen *unseen; /* most frequent first */
	size_t n_unseen, cap_unseen;
	struct vt_placements placements;
	struct vt_verdict verdict;
	struct vt_births births; /* of each: row of its site */
};

/* Replay the trace and fill the report. 0 or -ENOMEM. */
int vt_report_collect(struct vt_report *r, struct vt_trace *t);
void vt_report_free(struct vt_report *r);

/*
 * The rows with the highest value of a column, highest first, zeros left out: indexes into
 * r->table, at most max. Returns their number.
 */
enum vt_report_order { VT_BY_BYTES, VT_BY_CALLS, VT_BY_VMAS };
uint64_t vt_report_value(const struct vt_report_site *s, enum vt_report_order order);
size_t vt_report_top(const struct vt_report *r, enum vt_report_order order, uint32_t *out,
		     size_t max);

void vt_report_print(FILE *out, const struct vt_report *r, size_t top);
void vt_report_print_json(FILE *out, const struct vt_report *r, size_t top);

/* The notes of the recorder on what it could see, one a line. */
void vt_report_print_capture(FILE *out, const struct vt_trace *t);

#endif
