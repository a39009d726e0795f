/*
 * threads.c - threads that map and unmap at once: at places the kernel chooses, and by force in one
 * window that all of them share.
 *
 *   threads [THREADS [ROUNDS]]
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>

#include "program.h"

#define WINDOW       ((char *)0x40000000)
#define WINDOW_PAGES 64

static long rounds;

/* A small generator of its own: rand() takes a lock that would order the threads. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void use_window(uint64_t *state)
{
	uint64_t r = next_random(state);
	size_t length = (1 + (r >> 8) % 8) * PAGE;
	char *p = WINDOW + (r >> 16) % WINDOW_PAGES * PAGE;

	switch (r % 4) {
	case 0:
		CHECK(mmap(p, length, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
		break;
	case 1:
		CHECK(!munmap(p, length));
		break;
	case 2:
		/* ENOMEM where another thread has unmapped a part */
		CHECK(!mprotect(p, length, PROT_READ) || errno == ENOMEM);
		break;
	default:
		CHECK(!madvise(p, length, MADV_DONTNEED) || errno == ENOMEM);
	}
}

static void *work(void *arg)
{
	uint64_t state = 88172645463325252u + (uintptr_t)arg * 7919;
	char name[16];

	snprintf(name, sizeof(name), "worker-%d", (int)(uintptr_t)arg);
	pthread_setname_np(pthread_self(), name);
	for (long i = 0; i < rounds; i++) {
		size_t length = (1 + next_random(&state) % 16) * PAGE;
		char *p = map_anywhere(length);
		p[0] = 1;
		use_window(&state);
		CHECK(!munmap(p, length));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long n = arg_number(argc, argv, 1, 8);
	pthread_t thread[64];

	rounds = arg_number(argc, argv, 2, 1000);
	CHECK(n >= 1 && n <= 64);
	for (long i = 0; i < n; i++)
		CHECK(!pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i));
	for (long i = 0; i < n; i++)
		CHECK(!pthread_join(thread[i], NULL));
	say("%ld threads, %ld rounds\n", n, rounds);
	return 0;
}
