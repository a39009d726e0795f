/*
 * address_marks.c - bits for granules of the address space.
 *
 * SPDX-License-Identifier: MIT
 */
#include "address_marks.h"

#include "alloc.h"

#define GRANULE_SHIFT 14
#define BITS          (1u << 18)
/* A range of more granules than this is not looked at piece by piece. */
#define MOST 256

static uint32_t bit_of(uint64_t granule)
{
	return (uint32_t)(granule * 0x9e3779b97f4a7c15u >> 40) % BITS;
}

void vt_marks_set(struct vt_marks *m, uint64_t lo, uint64_t hi)
{
	uint64_t first = lo >> GRANULE_SHIFT, last = (hi - 1) >> GRANULE_SHIFT;
	if (!m->bits)
		m->bits = vt_calloc(BITS / 64, sizeof(*m->bits));
	m->all |= last - first >= MOST;
	for (uint64_t g = first; !m->all && g <= last; g++)
		m->bits[bit_of(g) / 64] |= 1ull << bit_of(g) % 64;
}

void vt_marks_clear(struct vt_marks *m)
{
	free(m->bits);
	*m = (struct vt_marks){ 0 };
}

bool vt_marks_may_hold(const struct vt_marks *m, uint64_t lo, uint64_t hi)
{
	uint64_t first = lo >> GRANULE_SHIFT, last = (hi - 1) >> GRANULE_SHIFT;
	if (!m->bits || m->all || last - first >= MOST)
		return m->bits;
	for (uint64_t g = first; g <= last; g++)
		if (m->bits[bit_of(g) / 64] >> bit_of(g) % 64 & 1)
			return true;
	return false;
}
