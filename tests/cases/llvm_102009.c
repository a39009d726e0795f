/*
 * llvm_102009.c - LLVM #102009: thread-local storage is unmapped by an address inside of it, which
 * is refused; what was mapped stays.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *block = map_anywhere(SIZE);
	char *tls = block + 40;
	CHECK(munmap(tls, SIZE) == -1 && errno == EINVAL);
	return 0;
}
