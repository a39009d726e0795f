/*
 * address_marks.h - a quick answer to whether something may be in a range of addresses, for sets
 * that are asked far more often than they hold anything.
 *
 * Counts ranges for each granule of the address space, by hash.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_ADDRESS_MARKS_H
#define VMTRAIL_ANALYZER_ADDRESS_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VT_MARKS_GRANULE_SHIFT 14
#define VT_MARKS_COUNTS        (1u << 18)
/* A range of more granules than this is not looked at piece by piece. */
#define VT_MARKS_MOST 256

struct vt_marks {
	uint8_t *counts; /* NULL: nothing has been marked yet */
	size_t large;    /* ranges that are too large to be marked piece by piece */
};

/* A range has come into the set, or has left it as it came. */
void vt_marks_add(struct vt_marks *m, uint64_t lo, uint64_t hi);
void vt_marks_remove(struct vt_marks *m, uint64_t lo, uint64_t hi);
void vt_marks_free(struct vt_marks *m);

/* The count of a granule; neighbours have neighbouring ones. */
static inline uint8_t *vt_marks_count(const struct vt_marks *m, uint64_t granule)
{
	return &m->counts[(granule ^ granule >> 18) % VT_MARKS_COUNTS];
}

/* False: nothing of the set is in [lo, hi). True: perhaps. */
static inline bool vt_marks_may_hold(const struct vt_marks *m, uint64_t lo, uint64_t hi)
{
	uint64_t g = lo >> VT_MARKS_GRANULE_SHIFT, last = (hi - 1) >> VT_MARKS_GRANULE_SHIFT;
	if (!m->counts || m->large || last - g >= VT_MARKS_MOST)
		return m->counts;
	unsigned any = *vt_marks_count(m, last);
	for (; g < last; g++)
		any |= *vt_marks_count(m, g);
	return any;
}

#endif
