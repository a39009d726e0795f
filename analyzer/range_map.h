/*
 * range_map.h - a number for every address of some ranges, the one that was set last.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_RANGE_MAP_H
#define VMTRAIL_ANALYZER_RANGE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* Sorted ranges with their numbers; neighbours of the same number are one range. */
struct vt_range_map {
	struct vt_range_value {
		uint64_t lo, hi;
		int64_t value;
	} * v;
	size_t n, cap;
};

void vt_range_map_set(struct vt_range_map *s, uint64_t lo, uint64_t hi, int64_t value);

/*
 * The number of addr, otherwise if it has none; and where the range that it belongs to ends (above
 * addr), be it one without a number.
 */
int64_t vt_range_map_get(const struct vt_range_map *s, uint64_t addr, int64_t otherwise,
			 uint64_t *end);
void vt_range_map_free(struct vt_range_map *s);

#endif
