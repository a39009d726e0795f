/*
 * window.c - a range is given back and forced again; nobody came in between, this time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *range = map_anywhere(SIZE);
	munmap(range, SIZE);
	CHECK(mmap(range, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      range);
	return 0;
}
