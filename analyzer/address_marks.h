/*
 * address_marks.h - a quick answer to whether something may be in a range of addresses, for sets
 * that are asked far more often than they hold anything.
 *
 * Bits for granules of the address space, by hash. What is taken out of the set leaves its marks
 * behind; clear them when the set is empty.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_ADDRESS_MARKS_H
#define VMTRAIL_ANALYZER_ADDRESS_MARKS_H

#include <stdbool.h>
#include <stdint.h>

struct vt_marks {
	uint64_t *bits; /* NULL: nothing is marked */
	bool all;       /* a range was too large to be marked piece by piece */
};

void vt_marks_set(struct vt_marks *m, uint64_t lo, uint64_t hi);
void vt_marks_clear(struct vt_marks *m);

/* False: nothing was marked in [lo, hi). True: perhaps. */
bool vt_marks_may_hold(const struct vt_marks *m, uint64_t lo, uint64_t hi);

#endif
