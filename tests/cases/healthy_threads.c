/*
 * healthy_threads.c - blocks allocated in one thread and freed in another, at the same addresses
 * over and over; and threads that end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

static char *block;

static void *producer(void *arg)
{
	(void)arg;
	for (int round = 0; round < 50; round++) {
		block = map_anywhere(SIZE);
		meet();
		meet(); /* freed by the other thread */
		munmap(map_anywhere(SIZE), SIZE);
	}
	return NULL;
}

int main(void)
{
	for (int threads = 0; threads < 3; threads++) {
		pthread_t thread = start_thread(producer, NULL);
		for (int round = 0; round < 50; round++) {
			meet();
			munmap(block, SIZE);
			meet();
		}
		pthread_join(thread, NULL);
	}
	return 0;
}
