/*
 * memmap2_156.c - memmap2-rs #156: huge pages are mapped by a length that the kernel rounds up, and
 * unmapped by the length as it was: refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	size_t length = (5UL << 20) / 2;
	char *map = mmap(NULL, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return 77; /* no huge pages of two megabytes here */
	CHECK(munmap(map, length) == -1);
	return 0;
}
