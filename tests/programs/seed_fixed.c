/*
 * seed_fixed.c - a second forced mapping silently replaces the first page of the first one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

static char *map_fixed(size_t length)
{
	return mmap((void *)0x20000000, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
}

int main(void)
{
	char *first = map_fixed(819200);

	CHECK(first == (void *)0x20000000);
	memset(first, 'x', 819200);

	char *second = map_fixed(4096);

	CHECK(second == first);
	say("first byte %d, byte 4096 %d\n", first[0], first[4096]);
	return 0;
}
