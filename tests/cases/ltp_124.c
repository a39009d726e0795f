/*
 * ltp_124.c - LTP #124: a page inside of malloc's heap is unmapped.
 *
 * SPDX-License-Identifier: MIT
 */
#include <malloc.h>

#include "case.h"

int main(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 24);
	char *block = malloc(SIZE);
	CHECK(block);
	char *page = (char *)(((uintptr_t)block + SIZE - 2 * PAGE) & ~(PAGE - 1));
	CHECK(munmap(page, PAGE) == 0);
	return 0;
}
