/*
 * ucx_11786.c - UCX #11786: a hole in a mapping becomes a thread's stack; then the mapping is
 * unmapped over its full length. The thread may or may not live to notice.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#define WHOLE (64 * SIZE)

static void *wait_for_ever(void *arg)
{
	(void)arg;
	first_call();
	meet();
	pause();
	return NULL;
}

int main(void)
{
	char *whole = map_anywhere(WHOLE);
	munmap(whole + WHOLE / 4, WHOLE / 2);
	start_thread(wait_for_ever, NULL);
	meet();
	munmap(whole, WHOLE);
	_exit(0);
}
