/*
 * clickhouse_5369.c - ClickHouse #5369: an allocator maps small pieces with a guard behind each,
 * until the process has as many areas as it may have. With a number as argument it stops after so
 * many.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#define PIECE (18 * PAGE)

/* Whoever fails to grow goes on with less. */
static int give_up(char *last)
{
	munmap(last, 100 * PIECE);
	return 0;
}

int main(int argc, char **argv)
{
	long pieces = argc > 1 ? atol(argv[1]) : 1000000;
	char *last = NULL;
	for (long i = 0; i < pieces; i++) {
		char *piece =
		    mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (piece == MAP_FAILED || mprotect(piece, PAGE, PROT_NONE) != 0) {
			CHECK(errno == ENOMEM);
			return give_up(last);
		}
		last = piece;
	}
	return 0;
}
