/*
 * mps_304.c - MPS #304: a collector protects every second page of its heap, and mprotect fails when
 * that makes more areas than a process may have.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#define HEAP (1UL << 30)

int main(void)
{
	char *heap = map_anywhere(HEAP);
	for (size_t at = 0; at < HEAP; at += 2 * PAGE)
		if (mprotect(heap + at, PAGE, PROT_READ) != 0) {
			CHECK(errno == ENOMEM);
			munmap(heap, at); /* whoever fails goes on with less */
			return 0;
		}
	return 1;
}
