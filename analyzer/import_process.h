/*
 * import_process.h - a log of strace, line by line: who calls, in which address space, and when.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_IMPORT_PROCESS_H
#define VMTRAIL_ANALYZER_IMPORT_PROCESS_H

#include "import_image.h"

struct vt_task;
struct vt_segment;

struct vt_import {
	struct vt_import_output out;
	uint32_t only;      /* the process asked for, 0: the first */
	uint32_t main_pid;  /* of lines that have no pid */
	uint64_t page_size; /* lengths are rounded up to it */

	struct vt_task *tasks; /* by tid */
	struct vt_task *last;  /* the one looked up last */
	struct vt_segment *segments;

	/* The call whose stack may follow. */
	struct vt_image *open;
	uint64_t open_seq;
	uint32_t frames[VT_MAX_STACK], n_frames;

	/* The log's clock. */
	enum vt_line_clock clock;
	uint64_t clock_first, clock_last, now_ns;

	uint64_t n_lines, n_calls, n_strange;
	uint32_t n_processes, n_orphans;
	void (*strange)(struct vt_import *im, struct vt_slice line); /* tells of a line */
};

/* Take in one line. */
void vt_import_line(struct vt_import *im, const char *p, const char *end);

/* The log is over. Frees everything but what stands in out. */
void vt_import_finish(struct vt_import *im);

#endif
