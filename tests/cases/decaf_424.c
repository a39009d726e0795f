/*
 * decaf_424.c - decaf-emu #424: the kernel did not honour a hint, and the address that was asked
 * for is unmapped instead of the one that was got.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *block = malloc(SIZE - 64);
	CHECK(block);
	char *wanted = (char *)((uintptr_t)block & ~(PAGE - 1));
	char *got = mmap(wanted, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(got != MAP_FAILED);
	if (got != wanted)
		CHECK(munmap(wanted, SIZE) == 0);
	return 0;
}
