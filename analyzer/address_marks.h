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
#include <string.h>

#define VT_MARKS_GRANULE_SHIFT 14
#define VT_MARKS_COUNTS        (1u << 18)
#define VT_MARKS_PAD           8u /* bytes behind the counts, which are read together with them */
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

/* Where a granule's count stands; neighbours stand side by side, but at the ends of the counts. */
static inline size_t vt_marks_place(uint64_t granule)
{
	return (granule + (granule / VT_MARKS_COUNTS) * 0x9e37) % VT_MARKS_COUNTS;
}

/* It will be asked what is at addr soon. */
static inline void vt_marks_expect(const struct vt_marks *m, uint64_t addr)
{
	if (m->counts)
		__builtin_prefetch(&m->counts[vt_marks_place(addr >> VT_MARKS_GRANULE_SHIFT)]);
}

/* False: nothing of the set is in [lo, hi). True: perhaps. */
static inline bool vt_marks_may_hold(const struct vt_marks *m, uint64_t lo, uint64_t hi)
{
	uint64_t g = lo >> VT_MARKS_GRANULE_SHIFT, last = (hi - 1) >> VT_MARKS_GRANULE_SHIFT;
	if (!m->counts || m->large || last - g >= VT_MARKS_MOST)
		return m->counts;
	size_t from = vt_marks_place(g), to = vt_marks_place(last);
	if (to - from == last - g && to - from < VT_MARKS_PAD) {
		/* in one word: how often a loop goes round nobody could predict */
		uint64_t counts;
		memcpy(&counts, m->counts + from, sizeof(counts));
		return counts << 8 * (VT_MARKS_PAD - 1 - (to - from));
	}
	while (g < last && !m->counts[vt_marks_place(g)])
		g++;
	return m->counts[vt_marks_place(g)];
}

#endif
