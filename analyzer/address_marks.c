/*
 * address_marks.c - counts of ranges for granules of the address space.
 *
 * SPDX-License-Identifier: MIT
 */
#include "address_marks.h"

#include "alloc.h"

/* The granules of a range; false: it is too large. */
static bool granules_of(uint64_t lo, uint64_t hi, uint64_t *first, uint64_t *last)
{
	*first = lo >> VT_MARKS_GRANULE_SHIFT;
	*last = (hi - 1) >> VT_MARKS_GRANULE_SHIFT;
	return *last - *first < VT_MARKS_MOST;
}

void vt_marks_add(struct vt_marks *m, uint64_t lo, uint64_t hi)
{
	uint64_t g, last;
	if (!m->counts)
		m->counts = vt_calloc(VT_MARKS_COUNTS + VT_MARKS_PAD, sizeof(*m->counts));
	if (!granules_of(lo, hi, &g, &last)) {
		m->large++;
		return;
	}
	for (; g <= last; g++) {
		uint8_t *count = &m->counts[vt_marks_place(g)];
		*count += *count != UINT8_MAX;
	}
}

void vt_marks_remove(struct vt_marks *m, uint64_t lo, uint64_t hi)
{
	uint64_t g, last;
	if (!granules_of(lo, hi, &g, &last)) {
		m->large--;
		return;
	}
	/* what has been full may have been more, and stays */
	for (; g <= last; g++) {
		uint8_t *count = &m->counts[vt_marks_place(g)];
		*count -= *count != UINT8_MAX;
	}
}

void vt_marks_free(struct vt_marks *m)
{
	free(m->counts);
	*m = (struct vt_marks){ 0 };
}
