/*
 * healthy_reserve.c - an allocator that reserves, commits, decommits, and trims for alignment.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#define RESERVED (64 * SIZE)

static void place(char *at, int prot)
{
	CHECK(mmap(at, SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at);
}

int main(void)
{
	char *whole =
	    mmap(NULL, RESERVED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(whole != MAP_FAILED);
	char *aligned = (char *)(((uintptr_t)whole + SIZE - 1) & ~(uintptr_t)(SIZE - 1));
	if (aligned > whole)
		munmap(whole, (size_t)(aligned - whole));
	munmap(aligned + RESERVED / 2, (size_t)(whole + RESERVED / 2 - aligned));
	for (int round = 0; round < 100; round++) {
		char *block = aligned + (round % 16) * SIZE;
		place(block, PROT_READ | PROT_WRITE);
		block[0] = 'x';
		if (round % 3 == 0)
			place(block, PROT_NONE);
		else if (round % 3 == 1)
			place(block, PROT_READ | PROT_WRITE);
	}
	munmap(aligned, RESERVED / 2);
	return 0;
}
