/*
 * mutate.h - traces with something wrong in them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_MUTATE_H
#define VMTRAIL_TEST_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* A whole file. */
struct bytes {
	uint8_t *p;
	size_t n;
};

struct bytes bytes_read(const char *path);
void bytes_write(const char *path, const uint8_t *p, size_t n);

/* A copy with some bytes changed anywhere: nearly always a checksum tells. */
struct bytes mutate_bytes(const struct bytes *trace, uint64_t seed);

/*
 * A copy with something changed inside of a frame, in the header or in the live region, and all
 * checksums made right again: what a reader must find by itself.
 */
struct bytes mutate_inside(const struct bytes *trace, uint64_t seed);

#endif
