/*
 * go_13256.c - Go #13256: a range is found free, and forced; malloc has taken it in between.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

static void *runtime(void *arg)
{
	unsigned char resident[SIZE / PAGE];
	CHECK(mincore(arg, SIZE, resident) == -1 && errno == ENOMEM);
	meet(); /* found free */
	meet(); /* taken */
	CHECK(mmap(arg, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == arg);
	return NULL;
}

int main(void)
{
	char *range = map_anywhere(SIZE);
	pthread_t thread = start_thread_when_free(runtime, range);
	meet();
	char *block = malloc(SIZE - 64);
	CHECK(block > range && block < range + PAGE);
	meet();
	pthread_join(thread, NULL);
	return 0;
}
