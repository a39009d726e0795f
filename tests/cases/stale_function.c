/*
 * stale_function.c - a library is closed, its address is taken by data, and a function of it is
 * called.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#include <dlfcn.h>

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	void *library = dlopen(argv[1], RTLD_NOW);
	CHECK(library);
	char *(*lend)(size_t) = (char *(*)(size_t))dlsym(library, "lend");
	CHECK(lend);
	dlclose(library);
	char *page = (char *)((uintptr_t)lend & ~(PAGE - 1));
	char *data = mmap(page, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(data == page);
	lend(SIZE);
	return 0;
}
