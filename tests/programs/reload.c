/*
 * reload.c - one shared object after the other at the same place: what was known of the first one's
 * code does not hold for the second's.
 *
 *   reload FIRST SECOND
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>

#include "program.h"

static void map_two_pages(void)
{
	CHECK(!munmap(map_anywhere(2 * PAGE), 2 * PAGE));
}

int main(int argc, char **argv)
{
	void (*before)(void (*)(void)) = NULL;
	CHECK(argc == 3);
	for (int i = 1; i < argc; i++) {
		void *plugin = dlopen(argv[i], RTLD_NOW);
		CHECK(plugin);
		void (*framed)(void (*)(void)) = (void (*)(void (*)(void)))dlsym(plugin, "framed");
		CHECK(framed && (!before || framed == before));
		framed(map_two_pages);
		before = framed;
		CHECK(!dlclose(plugin));
	}
	return 0;
}
