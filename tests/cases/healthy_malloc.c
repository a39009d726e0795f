/*
 * healthy_malloc.c - threads that come and go, with blocks of all sizes that go from one to
 * another: for any allocator, and for the address sanitizer. Arguments: rounds, threads in a round,
 * blocks of a thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

#include <pthread.h>
#include <stdatomic.h>

#define SHELVES 64

static _Atomic(char *) shelf[SHELVES];
static int blocks;

static void *work(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	for (int i = 0; i < blocks; i++) {
		seed = seed * 1103515245 + 12345;
		size_t size = 100 + (seed >> 8) % (i % 16 ? 5000 : 2000000);
		char *block = malloc(size);
		CHECK(block);
		block[0] = block[size - 1] = 'x';
		free(atomic_exchange(&shelf[seed >> 16 & (SHELVES - 1)], block));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	CHECK(argc == 4);
	int rounds = atoi(argv[1]), threads = atoi(argv[2]);
	blocks = atoi(argv[3]);
	pthread_t *thread = calloc((size_t)threads, sizeof(*thread));
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < threads; i++)
			CHECK(pthread_create(&thread[i], NULL, work,
					     (void *)(uintptr_t)(round * threads + i)) == 0);
		for (int i = 0; i < threads; i++)
			pthread_join(thread[i], NULL);
	}
	for (int i = 0; i < SHELVES; i++)
		free(shelf[i]);
	free(thread);
	return 0;
}
