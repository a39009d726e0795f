/*
 * why_gap.h - the gap that the kernel chose for a mapping.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_WHY_GAP_H
#define VMTRAIL_ANALYZER_WHY_GAP_H

#include <vmtrail/model.h>

struct vt_why;

struct vt_why_gap {
	bool chosen;       /* the kernel chose; else nothing below is set */
	bool by_hint;      /* the hint was free */
	uint64_t lo, hi;   /* the gap before the call */
	uint64_t wanted;   /* bytes */
	uint64_t expected; /* where the model would have put it */
	uint64_t opener;   /* the event that last gave back a part of the place; 0: none */
};

/* Told of every piece that goes while e is applied. */
void vt_why_gap_freed(struct vt_why *w, const struct vt_event *e, uint64_t lo, uint64_t hi,
		      enum vt_piece_fate fate);

/* Before each item of the replay: sets w->gap if the next one places a mapping over the page. */
void vt_why_gap_before(struct vt_why *w);

#endif
