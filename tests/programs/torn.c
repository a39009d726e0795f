/*
 * torn.c - a process that forks while one of its threads stands still in the middle of writing the
 * trace.
 *
 *   torn FILE FORKS STEPS LIBRARY
 *
 * A process is recorded to FILE, with the library before it: one thread maps, protects and unmaps,
 * single-stepped by us; the other forks, by a system call of its own that nobody sees, each time
 * the first has made so many STEPS on a stack that is not its own, which is where the recorder
 * keeps its tables. Each child makes a few calls, and must end by itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "program.h"

#define PLACES   24
#define OWN      (256 << 10) /* bytes around where the thread's stack is known to be */
#define PATIENCE 20000       /* ms until a child counts as hanging */

/* Between the process and the one that steps it. */
static struct shared {
	volatile uint64_t stack;
	volatile pid_t tid;
	volatile int ready, forks, done, status;
} * shared;

static long unseen_fork(void)
{
	long ret = -1;
#if defined(__x86_64__)
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_clone), "D"(SIGCHLD), "S"(0), "d"(0)
			 : "rcx", "r11", "memory");
#endif
	return ret;
}

static char *volatile place[PLACES];

static void *map_for_ever(void *arg)
{
	shared->stack = (uint64_t)__builtin_frame_address(0);
	shared->tid = (pid_t)syscall(SYS_gettid);
	for (unsigned i = 0;; i++) {
		unsigned p = i * 7 % PLACES;
		char *old = place[p];
		place[p] = NULL;
		CHECK(!old || !munmap(old, 5 * PAGE));
		place[p] = map_anywhere(5 * PAGE);
		CHECK(!mprotect(place[p] + (1 + i % 3) * PAGE, PAGE, PROT_READ));
	}
	return arg;
}

/* In the child, whose first call begins its trace: on what the thread was about. */
static _Noreturn void live_on(void)
{
	for (int i = 0; i < PLACES; i++)
		if (place[i] &&
		    (mprotect(place[i] + PAGE, PAGE, PROT_NONE) || munmap(place[i], 4 * PAGE)))
			_exit(1);
	for (size_t pages = 21; pages < 30; pages++)
		map_anywhere(pages * PAGE);
	_exit(0);
}

/* The recorded process: forks whenever it is told to. */
static int process(int fd)
{
	const struct timespec pause = { 0, 1000000 };
	pthread_t thread;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(shared != MAP_FAILED && !pthread_create(&thread, NULL, map_for_ever, NULL));
	shared->ready = 1; /* from here on nothing that we do waits for the other thread */
	for (int n = 0;;) {
		while (shared->forks == n)
			sched_yield();
		long pid = unseen_fork();
		if (!pid)
			live_on();
		int status = 0, tries = 0;
		while (waitpid((pid_t)pid, &status, WNOHANG) == 0)
			if (nanosleep(&pause, NULL) || ++tries == PATIENCE)
				kill((pid_t)pid, SIGKILL);
		shared->status = status;
		shared->done = ++n;
	}
}

/* One instruction of the thread; true when it is on a stack that is not its own. */
static bool step(void)
{
	struct user_regs_struct regs;
	int status;

	CHECK(!ptrace(PTRACE_SINGLESTEP, shared->tid, 0, 0));
	CHECK(waitpid(shared->tid, &status, __WALL) == shared->tid && WIFSTOPPED(status));
	CHECK(!ptrace(PTRACE_GETREGS, shared->tid, 0, &regs));
	return regs.rsp - (shared->stack - OWN) > 2 * OWN;
}

int main(int argc, char **argv)
{
	int status;

	if (argc == 3)
		return process(atoi(argv[2]));
	CHECK(argc == 5);
	int fd = memfd_create("shared", 0);
	CHECK(fd >= 0 && !ftruncate(fd, PAGE));
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(shared != MAP_FAILED);
	pid_t pid = fork();
	if (!pid) {
		char number[16];
		snprintf(number, sizeof(number), "%d", fd);
		setenv("LD_PRELOAD", argv[4], 1);
		setenv("VMTRAIL_OUTPUT", argv[1], 1);
		execl(argv[0], argv[0], "process", number, (char *)NULL);
		_exit(99);
	}
	while (!shared->tid || !shared->ready)
		sched_yield();
	CHECK(!ptrace(PTRACE_SEIZE, shared->tid, 0, 0));
	CHECK(!ptrace(PTRACE_INTERRUPT, shared->tid, 0, 0));
	CHECK(waitpid(shared->tid, &status, __WALL) == shared->tid);
	for (long forks = atol(argv[2]); forks; forks--) {
		for (long steps = atol(argv[3]); steps; steps -= step())
			;
		shared->forks++;
		while (shared->done != shared->forks)
			sched_yield();
		if (shared->status) {
			fprintf(stderr, "fork %d: status %#x\n", shared->forks, shared->status);
			break;
		}
	}
	CHECK(!kill(pid, SIGKILL));
	while (waitpid(-1, &status, __WALL) != pid) /* the thread that we trace comes first */
		;
	say("%d forks\n", shared->forks);
	return shared->status != 0;
}
