/*
 * counter.c - maps and unmaps for ever and counts each completed call in a shared file page.
 *
 *   counter FILE [THREADS]
 *
 * Thread i owns line i of the page: its kernel thread id, calls completed. The n-th mapping of a
 * thread is 1 + n % 100 pages long, so that a reader of the trace can tell a call that is missing
 * from one that was never made. Ends only by a signal.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "program.h"

struct line {
	_Atomic uint64_t tid, calls;
	char pad[48];
};

static void *count_calls(void *arg)
{
	struct line *line = arg;

	atomic_store(&line->tid, (uint64_t)syscall(SYS_gettid));
	for (uint64_t n = 0;; n++) {
		size_t length = (1 + n % 100) * PAGE;
		char *p = map_anywhere(length);
		atomic_fetch_add(&line->calls, 1);
		CHECK(!munmap(p, length));
		atomic_fetch_add(&line->calls, 1);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long threads = arg_number(argc, argv, 2, 1);

	CHECK(argc > 1 && threads >= 1 && threads <= 64);
	int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, PAGE));
	struct line *lines = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(lines != MAP_FAILED);
	for (long i = 1; i < threads; i++) {
		pthread_t t;
		CHECK(!pthread_create(&t, NULL, count_calls, &lines[i]));
	}
	count_calls(&lines[0]);
}
