/*
 * many.c - thousands of threads, a few at a time; each maps, unmaps, takes a name and ends.
 *
 *   many [THREADS [AT_A_TIME]]
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>

#include "program.h"

static void *live(void *arg)
{
	char name[16];

	snprintf(name, sizeof(name), "n%d", (int)(uintptr_t)arg);
	pthread_setname_np(pthread_self(), name);
	for (int i = 0; i < 3; i++)
		CHECK(!munmap(map_anywhere(2 * PAGE), 2 * PAGE));
	return NULL;
}

int main(int argc, char **argv)
{
	long threads = arg_number(argc, argv, 1, 10000), most = arg_number(argc, argv, 2, 16);
	pthread_t thread[64];

	CHECK(most >= 1 && most <= 64);
	for (long done = 0; done < threads; done += most) {
		for (long i = 0; i < most; i++)
			CHECK(
			    !pthread_create(&thread[i], NULL, live, (void *)(uintptr_t)(done + i)));
		for (long i = 0; i < most; i++)
			CHECK(!pthread_join(thread[i], NULL));
	}
	say("%ld threads\n", threads);
	return 0;
}
