/*
 * dmtcp_1197.c - DMTCP #1197: a hint is not honoured, and used all the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *block = malloc(SIZE - 64);
	CHECK(block);
	char *wanted = (char *)((uintptr_t)block & ~(PAGE - 1));
	char *got = mmap(wanted, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(got != MAP_FAILED && got != wanted);
	CHECK(mprotect(wanted, SIZE, PROT_READ) == 0);
	return 0;
}
