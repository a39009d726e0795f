/*
 * dlopen.c - loads and unloads a shared object again and again.
 *
 *   dlopen PLUGIN [ROUNDS]
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>

#include "program.h"

int main(int argc, char **argv)
{
	long rounds = arg_number(argc, argv, 2, 50);
	int sum = 0;

	CHECK(argc > 1);
	for (long i = 0; i < rounds; i++) {
		void *plugin = dlopen(argv[1], RTLD_NOW);
		if (!plugin)
			say("%s\n", dlerror());
		CHECK(plugin);
		int (*call)(int) = (int (*)(int))dlsym(plugin, "plugin_call");
		CHECK(call);
		sum += call((int)i);
		CHECK(!munmap(map_anywhere(3 * PAGE), 3 * PAGE));
		CHECK(!dlclose(plugin));
	}
	say("%ld rounds, sum %d\n", rounds, sum);
	return 0;
}
