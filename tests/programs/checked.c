/*
 * checked.c - four threads that map and allocate, for the sanitizers to check.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>

#include "program.h"

static void *work(void *arg)
{
	for (int i = 0; i < 200; i++) {
		char *p = map_anywhere(2 * PAGE), *q = malloc(300000);
		p[0] = q[5] = 1;
		CHECK(!mprotect(p, PAGE, PROT_READ) && !munmap(p, 2 * PAGE));
		free(q);
	}
	return arg;
}

int main(void)
{
	pthread_t thread[4];
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&thread[i], NULL, work, NULL));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(thread[i], NULL));
	say("done\n");
	return 0;
}
