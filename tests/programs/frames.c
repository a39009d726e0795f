/*
 * frames.c - calls from frames of many forms, each with the stack as libgcc's unwinder sees it.
 *
 * Prints a line for each call: the length that it maps, and the return addresses above its own
 * function.
 *
 * SPDX-License-Identifier: MIT
 */
#include <alloca.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>

#include "program.h"

#define MOST 64

static size_t pages = 100;
static volatile int sink;

static __attribute__((noinline)) void call(void)
{
	void *pc[MOST];
	size_t length = pages++ * PAGE;
	int n = backtrace(pc, MOST);
	CHECK(!munmap(map_anywhere(length), length));
	say("%zu", length);
	for (int i = 1; i < n; i++)
		say(" %p", pc[i]);
	say("\n");
}

static __attribute__((noinline)) void with_alloca(int n)
{
	volatile char *p = alloca((size_t)n * 40);
	p[0] = 1;
	call();
	sink += p[0];
}

static __attribute__((noinline, optimize("omit-frame-pointer"))) void without_pointer(int n)
{
	volatile char big[3000];
	big[n] = 1;
	if (n)
		without_pointer(n - 1);
	else
		call();
	sink += big[n];
}

/* Its locals are aligned more than the stack is. */
static __attribute__((noinline)) void realigned(int n)
{
	volatile char block[64] __attribute__((aligned(64))) = { 0 };
	volatile char *p = alloca((size_t)n * 40 + 1);
	p[0] = block[n] = 1;
	if (n)
		realigned(n - 1);
	else
		call();
	sink += block[n] + p[0];
}

static int compare(const void *a, const void *b)
{
	if (pages < 104)
		call();
	return *(const int *)a - *(const int *)b;
}

static void handler(int sig)
{
	if (sig == SIGUSR1)
		raise(SIGUSR2); /* on the alternate stack */
	else
		realigned(2);
}

static void *thread(void *arg)
{
	without_pointer(3);
	return arg;
}

int main(void)
{
	static char alternate[65536];
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	struct sigaction sa = { .sa_handler = handler };
	int numbers[] = { 3, 1, 2 };
	void *warm[2];
	pthread_t t;

	backtrace(warm, 2);
	qsort(numbers, 3, sizeof(int), compare);
	with_alloca(3);
	without_pointer(5);
	realigned(3);
	CHECK(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &sa, NULL));
	sa.sa_flags = SA_ONSTACK;
	CHECK(!sigaction(SIGUSR2, &sa, NULL));
	raise(SIGUSR1);
	CHECK(!pthread_create(&t, NULL, thread, NULL) && !pthread_join(t, NULL));
	return 0;
}
