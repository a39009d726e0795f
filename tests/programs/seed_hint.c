/*
 * seed_hint.c - the same address asked for twice: by a hint, or with "fixed" as first argument by
 * force the second time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

int main(int argc, char **argv)
{
	int force = argc > 1 && !strcmp(argv[1], "fixed") ? MAP_FIXED : 0;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *hint = (void *)0x20000000;

	void *first = mmap(hint, 10240, PROT_READ, flags, -1, 0);
	void *second = mmap(hint, 1024, PROT_READ, flags | force, -1, 0);

	CHECK(first != MAP_FAILED && second != MAP_FAILED);
	say("first %s, second %s\n", first == hint ? "at the hint" : "elsewhere",
	    second == hint ? "at the hint" : "elsewhere");
	return 0;
}
