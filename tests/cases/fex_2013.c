/*
 * fex_2013.c - FEX-Emu #2013: a range is found by mapping it, unmapped, and then mapped into piece
 * by piece; in between an allocator has put something of its own there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *range = map_anywhere(SIZE);
	munmap(range, SIZE);
	char *block = malloc(SIZE - 64);
	CHECK(block > range && block < range + PAGE);
	for (int segment = 0; segment < 4; segment++) {
		char *at = range + segment * (SIZE / 4);
		CHECK(mmap(at, SIZE / 4, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
	}
	return 0;
}
