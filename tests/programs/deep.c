/*
 * deep.c - the benchmark's loop: mmap, mprotect, madvise, munmap at a call depth of 12.
 *
 *   deep [ROUNDS [THREADS]]
 *
 * Prints nanoseconds of wall time a call, by its own clock, of the slowest thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>

#include "program.h"

#define DEPTH 12

static long rounds;

__attribute__((noinline)) static void four_calls(void)
{
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	CHECK(!mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ));
	CHECK(!madvise(p, 16 * PAGE, MADV_DONTNEED));
	CHECK(!munmap(p, 16 * PAGE));
}

/* With main, run_thread and four_calls, DEPTH frames of the program itself. */
__attribute__((noinline, noclone)) static uint64_t descend(int depth)
{
	if (depth > 0) {
		uint64_t ns = descend(depth - 1);
		__asm__ volatile("" ::: "memory"); /* no tail call: each level is a frame */
		return ns;
	}
	uint64_t begin = now_ns();
	for (long i = 0; i < rounds; i++)
		four_calls();
	return now_ns() - begin;
}

__attribute__((noinline)) static void *run_thread(void *arg)
{
	*(uint64_t *)arg = descend(DEPTH - 4);
	return NULL;
}

int main(int argc, char **argv)
{
	long threads = arg_number(argc, argv, 2, 1);
	uint64_t ns[64] = { 0 }, slowest = 0;
	pthread_t thread[64];

	rounds = arg_number(argc, argv, 1, 10000);
	CHECK(rounds > 0 && threads >= 1 && threads <= 64);
	for (long i = 1; i < threads; i++)
		CHECK(!pthread_create(&thread[i], NULL, run_thread, &ns[i]));
	run_thread(&ns[0]);
	for (long i = 1; i < threads; i++)
		CHECK(!pthread_join(thread[i], NULL));
	for (long i = 0; i < threads; i++)
		slowest = ns[i] > slowest ? ns[i] : slowest;
	say("%.1f\n", (double)slowest / (double)(4 * rounds));
	return 0;
}
