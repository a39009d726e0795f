/*
 * borrower.c - gives back what a library has mapped for it.
 *
 *   borrower          the whole of it, which two modules may agree on
 *   borrower half     half of it, out of its middle
 *   borrower align    keeps an aligned piece of it, as allocators do, empties a part of that, and
 *                     reserves another
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdint.h>

#include "case.h"
#include "lender.h"

/* Of two sizes, the piece that lies at a multiple of the size. */
static char *aligned(void)
{
	char *block = lend(2 * SIZE);
	CHECK(block);
	size_t head = -(uintptr_t)block & (SIZE - 1);
	CHECK(!head || munmap(block, head) == 0);
	CHECK(munmap(block + head + SIZE, SIZE - head) == 0);
	return block + head;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	if (strcmp(how, "align") == 0) {
		for (size_t i = 1; i <= 8; i++) {
			char *block = aligned();
			CHECK(madvise(block + SIZE / 4, SIZE / 2, MADV_DONTNEED) == 0);
			CHECK(mmap(block + SIZE / 2, SIZE / 4, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
			CHECK(munmap(block, SIZE) == 0);
			CHECK(lend(i << 12)); /* the next one lies elsewhere */
		}
		return 0;
	}
	char *block = lend(SIZE);
	CHECK(block);
	if (strcmp(how, "half") == 0)
		CHECK(munmap(block + SIZE / 4, SIZE / 2) == 0);
	else
		CHECK(munmap(block, SIZE) == 0);
	return 0;
}
