/*
 * brk_blocked.c - a mapping at a fixed address right above the heap keeps it from growing.
 *
 * SPDX-License-Identifier: MIT
 */
#include <malloc.h>

#include "case.h"

int main(void)
{
	mallopt(M_MMAP_THRESHOLD, 1 << 24);
	CHECK(malloc(PAGE));
	uintptr_t top = ((uintptr_t)sbrk(0) + PAGE - 1) & ~(PAGE - 1);
	CHECK(mmap((void *)top, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		   -1, 0) == (void *)top);
	CHECK(malloc(SIZE));
	return 0;
}
