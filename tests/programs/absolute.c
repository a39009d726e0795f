/*
 * absolute.c ADDR - keeps a word in 64 MB that the kernel has placed, then maps a page at an
 * address that somebody made up, and says whether the word is still there. The word stands where
 * that page would be, if it lies in the 64 MB.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

#define SIZE (64UL << 20)

int main(int argc, char **argv)
{
	uintptr_t addr = (uintptr_t)arg_number(argc, argv, 1, 0);
	char *p = map_anywhere(SIZE), *word = p;
	if (addr >= (uintptr_t)p && addr < (uintptr_t)p + SIZE)
		word = p + (addr - (uintptr_t)p);
	*word = 'k';
	void *fixed = mmap((void *)addr, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(fixed == (void *)addr);
	say("%s\n", *word == 'k' ? "kept" : "lost");
	return 0;
}
