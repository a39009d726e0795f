/*
 * unload.c - a library loaded and unloaded over and over while other threads map, and at the end
 * the program executes itself once.
 *
 *   unload PLUGIN ROUNDS
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "program.h"

static atomic_bool stop;

static void *mapper(void *arg)
{
	while (!stop) {
		char *p = map_anywhere(4 * PAGE);
		CHECK(!mprotect(p, PAGE, PROT_READ) && !munmap(p, 4 * PAGE));
	}
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread[2];
	CHECK(argc > 2);
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_create(&thread[i], NULL, mapper, NULL));
	for (long i = 0; i < atol(argv[2]); i++) {
		void *plugin = dlopen(argv[1], RTLD_NOW);
		CHECK(plugin && !dlclose(plugin));
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		CHECK(!pthread_join(thread[i], NULL));
	if (argc == 3) {
		say("again\n");
		execl("/proc/self/exe", argv[0], argv[1], argv[2], "last", NULL);
		CHECK(!"executed");
	}
	say("done\n");
	return 0;
}
