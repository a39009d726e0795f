/*
 * kona_162.c - kona #162: a mapping is grown with MAP_FIXED past its own end, over its neighbour.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

static char *map_at(char *at, size_t length, int flags)
{
	return mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

int main(void)
{
	char *vector = map_at((char *)0x30000000, SIZE, MAP_FIXED_NOREPLACE);
	char *neighbour = map_at(vector + SIZE, SIZE, MAP_FIXED_NOREPLACE);
	CHECK(neighbour == vector + SIZE);
	CHECK(map_at(vector, SIZE + SIZE / 2, MAP_FIXED) == vector);
	munmap(neighbour, SIZE);
	return 0;
}
