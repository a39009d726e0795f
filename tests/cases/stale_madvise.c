/*
 * stale_madvise.c - MADV_DONTNEED on a range that was given back zeroes a block of malloc.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *range = map_anywhere(SIZE);
	munmap(range, SIZE);
	volatile char *block = malloc(SIZE - 64);
	CHECK(block && block > range && block < range + PAGE);
	block[PAGE] = 'x';
	CHECK(madvise(range, SIZE, MADV_DONTNEED) == 0);
	CHECK(block[PAGE] == 0);
	return 0;
}
