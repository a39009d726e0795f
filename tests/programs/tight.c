/*
 * tight.c - calls from stacks that hardly hold more than the caller itself, with a page below that
 * must not be touched.
 *
 *   tight thread|signal|fibre
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include "program.h"

/* What a handler's frame leaves of the smallest stack that a careful program would use. */
#define HANDLER_ROOM 3072
#define ROUNDS       3000

static volatile long calls;

static void call_some(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	void *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(fd >= 0 && p != MAP_FAILED && !munmap(p, PAGE) && !close(fd));
	char *q = map_anywhere(3 * PAGE);
	CHECK(!mprotect(q + PAGE, PAGE, PROT_NONE) && !munmap(q, 3 * PAGE));
	calls++;
}

static void call_many(void)
{
	for (int i = 0; i < ROUNDS; i++)
		call_some();
}

/* A stack of that size, ending at a page's end, with a page below that nobody may touch. */
static char *stack_of(size_t size)
{
	size_t whole = (size + PAGE - 1) / PAGE * PAGE;
	char *p = map_anywhere(whole + PAGE);
	CHECK(!mprotect(p, PAGE, PROT_NONE));
	return p + PAGE + whole - size;
}

static void *in_thread(void *arg)
{
	call_many();
	return arg;
}

static void thread(void)
{
	pthread_attr_t attr;
	pthread_t t;
	CHECK(!pthread_attr_init(&attr));
	CHECK(!pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)));
	CHECK(!pthread_create(&t, &attr, in_thread, NULL) && !pthread_join(t, NULL));
}

static void handler(int sig)
{
	(void)sig;
	call_some();
}

static void on_alternate_stack(void)
{
	size_t size = getauxval(AT_MINSIGSTKSZ) + HANDLER_ROOM;
	stack_t alt = { .ss_sp = stack_of(size), .ss_size = size };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	CHECK(!sigaltstack(&alt, NULL) && !sigaction(SIGUSR1, &sa, NULL));
	for (int i = 0; i < ROUNDS; i++)
		CHECK(!raise(SIGUSR1));
}

static void fibre(void)
{
	static ucontext_t here, there;
	size_t size = 8192;
	CHECK(!getcontext(&there));
	there.uc_stack.ss_sp = stack_of(size);
	there.uc_stack.ss_size = size;
	there.uc_link = &here;
	makecontext(&there, call_many, 0);
	CHECK(!swapcontext(&here, &there));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "thread";
	if (!strcmp(mode, "thread"))
		thread();
	else if (!strcmp(mode, "signal"))
		on_alternate_stack();
	else
		fibre();
	say("%ld rounds\n", calls);
	return 0;
}
