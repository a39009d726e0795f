/*
 * dynamorio_7192.c - DynamoRIO #7192: unmapped, then forced again; another thread came in between.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

static void *worker(void *arg)
{
	first_call();
	meet();
	meet(); /* the range is free */
	char *mine = map_anywhere(SIZE);
	CHECK(mine == arg);
	meet(); /* it is taken */
	meet(); /* it is forced */
	munmap(mine, SIZE);
	return NULL;
}

int main(void)
{
	char *range = map_anywhere(SIZE);
	pthread_t thread = start_thread(worker, range);
	meet();
	munmap(range, SIZE);
	meet();
	meet();
	CHECK(mmap(range, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == range);
	meet();
	pthread_join(thread, NULL);
	return 0;
}
