/*
 * counter.c - maps and unmaps for ever and counts each completed call in a shared file page.
 *
 *   counter FILE [THREADS [CALLS [CHILDREN_EVERY]]]
 *
 * Thread i owns line i of the page: its kernel thread id, calls completed. The n-th mapping of a
 * thread is 1 + n % 100 pages long, so that a reader of the trace can tell a call that is missing
 * from one that was never made. Ends only by a signal, or after so many CALLS (0: for ever). The
 * first thread forks a child after every CHILDREN_EVERY mappings: it maps a little and exits, or
 * becomes another program.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "program.h"

struct line {
	_Atomic uint64_t tid, calls;
	char pad[48];
};

static uint64_t calls, children_every;

static void make_child(uint64_t n)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid) {
		/* the one before; this one runs beside us */
		waitpid(-1, NULL, n > children_every ? 0 : WNOHANG);
		return;
	}
	for (int i = 0; i < 20; i++)
		CHECK(!munmap(map_anywhere(PAGE), PAGE));
	if (n / children_every % 2)
		execl("/bin/true", "true", (char *)NULL);
	_exit(0);
}

static void *count_calls(void *arg)
{
	struct line *line = arg;
	bool first = (uintptr_t)line % PAGE == 0;

	atomic_store(&line->tid, (uint64_t)syscall(SYS_gettid));
	for (uint64_t n = 0; !calls || 2 * n < calls; n++) {
		if (first && children_every && n && n % children_every == 0)
			make_child(n);
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
	calls = (uint64_t)arg_number(argc, argv, 3, 0);
	children_every = (uint64_t)arg_number(argc, argv, 4, 0);
	pthread_t thread[64];
	for (long i = 1; i < threads; i++)
		CHECK(!pthread_create(&thread[i], NULL, count_calls, &lines[i]));
	count_calls(&lines[0]);
	for (long i = 1; i < threads; i++)
		CHECK(!pthread_join(thread[i], NULL));
	return 0;
}
