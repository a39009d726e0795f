/*
 * cancel.c - threads cancelled in the middle of calls that are recorded.
 *
 *   cancel msync     a thread with a cancellation pending reaches msync, where it ends
 *   cancel deferred  threads that call msync all the time are cancelled, one after the other
 *   cancel async     threads that may be cancelled at any instruction of any call are cancelled
 *
 * Each thread's cleanup handler makes calls of its own, and so do the others meanwhile.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "program.h"

static char *shared;
static _Atomic unsigned cleaned, maps, unmaps;
static _Atomic bool over;

static void use_memory(void)
{
	char *p = map_anywhere(2 * PAGE);

	atomic_fetch_add(&maps, 1);
	CHECK(!mprotect(p, PAGE, PROT_READ));
	CHECK(!munmap(p, 2 * PAGE));
	atomic_fetch_add(&unmaps, 1);
}

static void clean(void *arg)
{
	(void)arg;
	use_memory();
	atomic_fetch_add(&cleaned, 1);
}

static void *reach_msync(void *arg)
{
	int *reached = arg;

	pthread_cleanup_push(clean, NULL);
	CHECK(!pthread_cancel(pthread_self()));
	use_memory(); /* none of these is a cancellation point */
	*reached = 1;
	CHECK(!msync(shared, PAGE, MS_ASYNC));
	*reached = 2;
	pthread_cleanup_pop(0);
	return NULL;
}

static void *sync_for_ever(void *arg)
{
	(void)arg;
	pthread_cleanup_push(clean, NULL);
	for (;;)
		msync(shared, PAGE, MS_ASYNC);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Calls that give nothing up and take nothing, so that it does not matter where they are left. */
static void *advise_for_ever(void *arg)
{
	char *mine = arg;

	pthread_cleanup_push(clean, NULL);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;) {
		mprotect(mine, PAGE, PROT_NONE);
		madvise(mine, PAGE, MADV_DONTNEED);
		mprotect(mine, PAGE, PROT_READ | PROT_WRITE);
		mremap(mine, PAGE, PAGE, 0);
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static void *go_on(void *arg)
{
	(void)arg;
	while (!atomic_load(&over))
		use_memory();
	return NULL;
}

static void cancel_some(void *(*body)(void *), int n)
{
	pthread_t other, victim;
	char *mine = map_anywhere(PAGE);

	CHECK(!pthread_create(&other, NULL, go_on, NULL));
	for (int i = 0; i < n; i++) {
		void *result;
		struct timespec while_it_runs = { 0, 50000 + i % 13 * 7000 };
		CHECK(!pthread_create(&victim, NULL, body, mine));
		nanosleep(&while_it_runs, NULL);
		CHECK(!pthread_cancel(victim) && !pthread_join(victim, &result));
		CHECK(result == PTHREAD_CANCELED);
	}
	atomic_store(&over, true);
	CHECK(!pthread_join(other, NULL));
	say("%u of %d cleaned up, %s\n", cleaned, n,
	    maps == unmaps ? "as many maps as unmaps" : "calls are missing");
}

int main(int argc, char **argv)
{
	CHECK(argc >= 2);
	int n = (int)arg_number(argc, argv, 2, 200);
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
	if (!strcmp(argv[1], "msync")) {
		pthread_t thread;
		int reached = 0;
		void *result;
		CHECK(!pthread_create(&thread, NULL, reach_msync, &reached));
		CHECK(!pthread_join(thread, &result));
		say("%s after step %d, %u cleaned up\n",
		    result == PTHREAD_CANCELED ? "cancelled" : "returned", reached, cleaned);
	} else {
		cancel_some(strcmp(argv[1], "async") ? sync_for_ever : advise_for_ever, n);
	}
	return 0;
}
