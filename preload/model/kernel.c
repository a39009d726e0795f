/*
 * kernel.c - which of the ways that kernels differ in a kernel of some version has.
 *
 * The ways themselves stand in one table, VT_KERNEL_WAYS of model.h; the rules ask vt_kernel_has.
 * Verified on 6.18; the older ways are taken from the history of the functions named there. Runs
 * inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

const struct vt_kernel_way_info vt_kernel_ways[VT_KERNEL_WAY_COUNT] = {
#define ROW(name, major, minor, text) { VT_KERNEL(major, minor), text },
	VT_KERNEL_WAYS(ROW)
#undef ROW
};

uint32_t vt_kernel_ways_of(uint32_t version)
{
	uint32_t ways = 0;
	for (int i = 0; i < VT_KERNEL_WAY_COUNT; i++)
		if (!version || version >= vt_kernel_ways[i].since)
			ways |= 1U << i;
	return ways;
}
