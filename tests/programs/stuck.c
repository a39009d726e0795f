/*
 * stuck.c - a call that stays in the kernel while others go on: its userfaultfd is not served.
 *
 *   stuck unmap|move|lock [CALLS [leave|share]]
 *
 * One thread unmaps, moves or locks watched memory and hangs, until another has made CALLS calls of
 * its own, some at the very place, and reads what the kernel wants to tell; with leave it ends
 * instead. With share it is a task that shares the memory and goes on when the process has ended.
 * Prints how many calls were made meanwhile. Exit status 77 where userfaultfd is not to be had.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "program.h"

#define PAGES 8

static char *watched, *target, *other;
static const char *mode;
static _Atomic int back;

static int watch(void)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP };
	struct uffdio_register range = { .range = { (uintptr_t)watched, PAGES * PAGE },
					 .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		exit(77);
	return fd;
}

static void *hang(void *arg)
{
	(void)arg;
	if (!strcmp(mode, "unmap"))
		CHECK(!munmap(watched, PAGES / 2 * PAGE));
	else if (!strcmp(mode, "move"))
		CHECK(mremap(watched, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
			     target) == target);
	else
		CHECK(!mlock(watched, PAGE));
	back = 1;
	return NULL;
}

/* Read one message; a page fault is answered with a page of zeroes. */
static void serve(int fd)
{
	struct uffd_msg message;

	if (read(fd, &message, sizeof(message)) != sizeof(message))
		return;
	if (message.event == UFFD_EVENT_PAGEFAULT) {
		struct uffdio_zeropage zero = { .range = { message.arg.pagefault.address & -PAGE,
							   PAGE } };
		CHECK(!ioctl(fd, UFFDIO_ZEROPAGE, &zero));
	}
}

static void go_on(long calls)
{
	for (long i = 0; i < calls; i += 2) {
		CHECK(mmap(other, PAGE * (1 + (unsigned long)i % 4), PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == other);
		CHECK(!mprotect(other, PAGE, PROT_READ | PROT_WRITE));
	}
	/* where the one that hangs has been at work already */
	if (strcmp(mode, "lock"))
		CHECK(mmap(watched, PAGE, PROT_READ,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == watched);
}

/* As hang, of a task that shares the memory and goes on when the process has ended. */
static int outlive(void *arg)
{
	hang(arg);
	say("back\n");
	_exit(0);
}

/* A task hangs while the process ends; another process, which holds fd, lets it go on then. */
static void end_before_it_is_back(int fd)
{
	const struct timespec pause = { 0, 1000000 };
	char *stack = map_anywhere(16 * PAGE);
	struct pollfd hangs = { .fd = fd, .events = POLLIN };
	int alive[2];

	CHECK(!pipe(alive) && clone(outlive, stack + 16 * PAGE, CLONE_VM | SIGCHLD, NULL) > 0);
	CHECK(poll(&hangs, 1, -1) == 1 && !back);
	pid_t us = getpid(), pid = fork();
	CHECK(pid >= 0);
	if (pid)
		return;
	close(alive[1]);
	while (getppid() == us)
		nanosleep(&pause, NULL);
	struct pollfd task = { .fd = alive[0] };
	while (poll(&task, 1, 1) == 0)
		serve(fd);
	_exit(0);
}

int main(int argc, char **argv)
{
	long calls = arg_number(argc, argv, 2, 2000);
	pthread_t thread;

	mode = argc > 1 ? argv[1] : "unmap";
	watched = map_anywhere(PAGES * PAGE);
	target = map_anywhere(PAGES * PAGE);
	other = map_anywhere(4 * PAGE);
	int fd = watch();
	struct pollfd hangs = { .fd = fd, .events = POLLIN };
	if (argc > 3 && !strcmp(argv[3], "share")) {
		end_before_it_is_back(fd);
		return 0;
	}
	CHECK(!pthread_create(&thread, NULL, hang, NULL));
	/* the kernel tells us what it waits for */
	CHECK(poll(&hangs, 1, -1) == 1 && !back);
	go_on(calls);
	CHECK(!back);
	while (!back && argc < 4)
		serve(fd);
	if (argc < 4)
		CHECK(!pthread_join(thread, NULL));
	say("%ld calls meanwhile\n", calls);
	return 0;
}
