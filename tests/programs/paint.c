/*
 * paint.c - how much of a small stack a call takes, below its caller's frame.
 *
 * Runs calls in a thread on a stack of its own that is painted first, and prints for each how many
 * bytes of paint are gone afterwards.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "program.h"

#define SIZE     (256UL << 10)
#define COLOUR   0x5a
#define NOT_MINE 128 /* below the painter's own frame */

static char *low;
static volatile int descriptor;

static __attribute__((noinline)) void paint(void)
{
	for (volatile char *p = low; p < (char *)__builtin_frame_address(0) - NOT_MINE; p++)
		*p = COLOUR;
}

static __attribute__((noinline)) size_t used(void)
{
	const volatile char *p = low;
	while (*p == COLOUR)
		p++;
	return (size_t)((char *)__builtin_frame_address(0) - p);
}

static __attribute__((noinline)) void one_call(void)
{
	CHECK(!munmap(map_anywhere(PAGE), PAGE));
}

static __attribute__((noinline)) void another_place(void)
{
	CHECK(!mprotect(low, PAGE, PROT_READ | PROT_WRITE));
}

static __attribute__((noinline)) void many_calls(void)
{
	for (int i = 0; i < 20000; i++)
		one_call();
}

static __attribute__((noinline)) void map_file(void)
{
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, descriptor, 0);
	CHECK(p != MAP_FAILED && !munmap(p, PAGE));
}

static __attribute__((noinline)) void map_code(void)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor, 0);
	CHECK(p != MAP_FAILED && !munmap(p, PAGE));
}

static void measure(const char *name, void (*call)(void))
{
	paint();
	call();
	size_t n = used();
	say("%s %zu\n", name, n);
}

static void *body(void *arg)
{
	/* Once before: what the loader and stdio need for the first call is not the call's. */
	say("bytes of stack\n");
	one_call();
	measure("call", one_call);
	measure("place", another_place);
	measure("calls", many_calls);
	descriptor = open("/etc/passwd", O_RDONLY);
	measure("file", map_file);
	descriptor = open("/proc/self/exe", O_RDONLY);
	measure("code", map_code);
	return arg;
}

int main(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	low = map_anywhere(SIZE);
	CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstack(&attr, low, SIZE));
	CHECK(!pthread_create(&thread, &attr, body, NULL) && !pthread_join(thread, NULL));
	return 0;
}
