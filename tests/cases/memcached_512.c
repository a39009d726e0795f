/*
 * memcached_512.c - memcached #512: malloc fails with memory to spare, because its blocks, each an
 * area of its own, are as many as a process may have.
 *
 * SPDX-License-Identifier: MIT
 */
#include <malloc.h>

#include "case.h"

#define BLOCKS 100000

static char *blocks[BLOCKS];

/* Whoever fails to grow goes on with less. */
static int give_up(int n)
{
	for (int i = 1; i <= 100; i++)
		free(blocks[n - i]);
	return 0;
}

int main(void)
{
	mallopt(M_MMAP_THRESHOLD, 16 * PAGE);
	mallopt(M_MMAP_MAX, 1 << 30);
	for (int n = 0; n < BLOCKS; n++) {
		blocks[n] = malloc(32 * PAGE);
		if (!blocks[n])
			return give_up(n);
		/* huge pages wanted for every second one: neighbours cannot be one area */
		char *page = (char *)((uintptr_t)blocks[n] & ~(PAGE - 1));
		if (n % 2 && madvise(page, 33 * PAGE, MADV_HUGEPAGE) != 0)
			return give_up(n);
	}
	return 1;
}
