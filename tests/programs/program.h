/*
 * program.h - what the small traced programs share: exit on the unexpected, the clock, plain
 * output.
 *
 * The programs print through write() from a static buffer where the order of memory calls matters:
 * stdio would map its own buffers.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_PROGRAM_H
#define VMTRAIL_TEST_PROGRAM_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

/* Exit with status 99 and the place when a call fails that must not. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #cond,              \
				strerror(errno));                                                  \
			exit(99);                                                                  \
		}                                                                                  \
	} while (0)

/* printf without stdio's buffer: one write to standard output. */
__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	CHECK(n >= 0 && write(STDOUT_FILENO, line, (size_t)n) == n);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* The number given as argument i, or fallback. */
static inline long arg_number(int argc, char **argv, int i, long fallback)
{
	return argc > i ? strtol(argv[i], NULL, 0) : fallback;
}

/* Private anonymous memory where the kernel likes. */
static inline char *map_anywhere(size_t length)
{
	char *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

#endif
