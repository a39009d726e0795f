/*
 * brk.c - the heap's end moves up and down, at last against a mapping that stands in its way.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

int main(void)
{
	char *start = sbrk(0);

	CHECK(start != (void *)-1);
	CHECK(sbrk(64 * PAGE) == start);
	start[60 * PAGE] = 1;
	CHECK(sbrk(-16 * (intptr_t)PAGE) == start + 64 * PAGE);
	CHECK(!brk(start + 100));
	say("end moved by %ld\n", (long)((char *)sbrk(0) - start));

	char *page = (char *)(((uintptr_t)start + 31 * PAGE) & ~(PAGE - 1));
	CHECK(mmap(page, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		   0) == page);
	CHECK(sbrk(64 * PAGE) == (void *)-1);
	say("blocked: errno %d\n", errno);
	CHECK(!munmap(page, PAGE));
	CHECK(sbrk(64 * PAGE) != (void *)-1);
	CHECK(!brk(start));
	return 0;
}
