/*
 * lock_limit.c - a program without privileges locks more memory than it may.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#include <sys/resource.h>

int main(void)
{
	struct rlimit limit = { SIZE, SIZE };
	char *buffer = map_anywhere(2 * SIZE);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	if (geteuid() == 0)
		CHECK(setuid(65534) == 0);
	CHECK(mlock(buffer, SIZE - PAGE) == 0);
	CHECK(mlock(buffer + SIZE, SIZE) == -1);
	return 0;
}
