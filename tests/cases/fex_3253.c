/*
 * fex_3253.c - FEX-Emu #3253: a code buffer is unmapped twice; in between another thread's new one
 * has taken its place, and dies.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

static void *worker(void *arg)
{
	first_call();
	meet();
	meet(); /* the buffer is unmapped */
	char *mine = map_anywhere(SIZE);
	CHECK(mine == arg);
	meet(); /* this one is mapped */
	meet(); /* and unmapped by the other thread */
	munmap(mine, SIZE);
	return NULL;
}

int main(void)
{
	char *buffer = map_anywhere(SIZE);
	pthread_t thread = start_thread(worker, buffer);
	meet();
	munmap(buffer, SIZE);
	meet();
	meet();
	munmap(buffer, SIZE);
	meet();
	pthread_join(thread, NULL);
	return 0;
}
