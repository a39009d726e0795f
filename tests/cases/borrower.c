/*
 * borrower.c - unmaps what a library has mapped for it: the whole of it, which two modules may
 * agree on, or with "half" as argument a part.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"
#include "lender.h"

int main(int argc, char **argv)
{
	int half = argc > 1 && strcmp(argv[1], "half") == 0;
	char *block = lend(SIZE);
	CHECK(block);
	CHECK(munmap(block, half ? SIZE / 2 : SIZE) == 0);
	return 0;
}
