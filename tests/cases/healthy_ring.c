/*
 * healthy_ring.c - a ring buffer: one file mapped twice, over a placeholder.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	int fd = memfd_create("ring", 0);
	CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
	for (int round = 0; round < 10; round++) {
		char *ring = map_anywhere(2 * SIZE);
		for (int half = 0; half < 2; half++)
			CHECK(mmap(ring + half * SIZE, SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, fd, 0) == ring + half * SIZE);
		ring[0] = (char)('a' + round);
		CHECK(ring[SIZE] == ring[0]);
		munmap(ring, 2 * SIZE);
	}
	return 0;
}
