/*
 * idiom.h - healthy habits that look like damage.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_IDIOM_H
#define VMTRAIL_IDIOM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether a cut at an end of a mapping trims it for alignment: more was mapped than is wanted, so
 * that an aligned piece lies in it, and the rest goes. start: where what is kept begins; cut: bytes
 * that are gone from both ends by now. The piece's alignment is the reason for every byte of them.
 */
static inline bool vt_is_alignment_trim(uint64_t start, uint64_t cut)
{
	return cut && (start & -start) >= cut;
}

#endif
