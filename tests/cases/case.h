/*
 * case.h - what the cases share: a size, and two threads that take turns.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_CASE_H
#define VMTRAIL_TEST_CASE_H

#include "program.h"

#include <pthread.h>

/* Below two megabytes, so that the kernel puts a mapping of it where one has just gone. */
#define SIZE (1UL << 20)

static pthread_barrier_t turns;

/*
 * A call that changes nothing: a thread's first one makes the recorder map memory for it, which
 * must not take the place that the case is about.
 */
static inline void first_call(void)
{
	munmap(map_anywhere(PAGE), PAGE);
}

/* Wait for the other thread to come here, too. */
static inline void meet(void)
{
	pthread_barrier_wait(&turns);
}

static inline pthread_t start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	pthread_barrier_init(&turns, NULL, 2);
	CHECK(pthread_create(&thread, NULL, run, arg) == 0);
	return thread;
}

/* Start a thread that finds the range given back. */
static inline pthread_t start_thread_when_free(void *(*run)(void *), void *range)
{
	pthread_t thread;
	pthread_attr_t attr;
	void *stack = map_anywhere(SIZE);
	pthread_barrier_init(&turns, NULL, 2);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, SIZE);
	munmap(range, SIZE);
	CHECK(pthread_create(&thread, &attr, run, range) == 0);
	return thread;
}

#endif
