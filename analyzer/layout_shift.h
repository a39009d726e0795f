/*
 * layout_shift.h - how far each recorded address lies from its counterpart in another space.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_LAYOUT_SHIFT_H
#define VMTRAIL_ANALYZER_LAYOUT_SHIFT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Ranges of recorded addresses, sorted, each with its distance. A range keeps it when it is
 * unmapped: the program may come back to it. Addresses in no range are the same in both spaces.
 */
struct vt_shifts {
	struct vt_shift {
		uint64_t lo, hi;
		int64_t distance;
	} * v;
	size_t n, cap;
};

void vt_shifts_set(struct vt_shifts *s, uint64_t lo, uint64_t hi, int64_t distance);

/* The counterpart of addr, and where the range that it belongs to ends (above addr). */
uint64_t vt_shifts_of(const struct vt_shifts *s, uint64_t addr, uint64_t *end);
void vt_shifts_free(struct vt_shifts *s);

#endif
