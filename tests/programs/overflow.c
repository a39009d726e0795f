/*
 * overflow.c - stacks that overflow, and alternate stacks.
 *
 *   overflow main|thread|early  the main thread's stack, a thread's, a thread's before it has made
 *                    any call
 *   overflow forked  a forked child's; its parent tells the signal
 *   overflow answers what sigaltstack answers, in the main thread, a thread and a child
 *   overflow handler a handler with SA_ONSTACK where the thread has no alternate stack
 *   overflow own     with an alternate stack and a handler of its own, which recovers
 *   overflow apart   whether a forked child's threads share one, as the kernel says
 *   overflow jump    siglongjmp out of a handler with SA_ONSTACK, as it is checked by libc
 *   overflow many N  N threads one after the other, then 8 at once
 */
#define _FORTIFY_SOURCE 2
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "program.h"

static volatile int zero;
static char first[32768], second[32768];
static sigjmp_buf back;

__attribute__((noinline)) static int deeper(int n)
{
	volatile char room[4000];

	room[0] = (char)n;
	return (zero ? 0 : deeper(n + 1)) + room[0];
}

static void *overflow(void *arg)
{
	if (arg)
		munmap(map_anywhere(PAGE), PAGE);
	deeper(0);
	return NULL;
}

static void answer(const char *what, long ret, const stack_t *s)
{
	say("%s: %ld %s, %s flags %#x size %zu\n", what, ret, ret ? strerror(errno) : "",
	    s->ss_sp == first    ? "first"
	    : s->ss_sp == second ? "second"
	    : s->ss_sp           ? "another"
				 : "none",
	    (unsigned)s->ss_flags, s->ss_size);
}

static void *answers(void *arg)
{
	const stack_t one = { .ss_sp = first, .ss_size = sizeof(first) };
	const stack_t two = { .ss_sp = second, .ss_size = sizeof(second) };
	const stack_t off = { .ss_flags = SS_DISABLE, .ss_sp = first, .ss_size = 7 };
	const stack_t small = { .ss_sp = first, .ss_size = 16 };
	const stack_t wrong = { .ss_sp = first, .ss_size = sizeof(first), .ss_flags = 77 };
	stack_t old;

	(void)arg;
#define ASK(new)                                                                                   \
	do {                                                                                       \
		memset(&old, 0, sizeof(old));                                                      \
		long ret_ = sigaltstack(new, &old);                                                \
		answer(#new, ret_, &old);                                                          \
	} while (0)
	ASK(NULL);
	ASK(&small);
	ASK(&wrong);
	ASK(NULL);
	ASK(&one);
	ASK(NULL);
	ASK(&two);
	ASK(&off);
	ASK(NULL);
	ASK(&off);
	ASK((const stack_t *)8);
	answer("bad old", sigaltstack(NULL, (stack_t *)8), &off);
	memset(&old, 0, sizeof(old));
	answer("raw", syscall(SYS_sigaltstack, NULL, &old), &old);
	answer("raw", syscall(SYS_sigaltstack, &one, &old), &old);
	answer("raw", syscall(SYS_sigaltstack, &off, NULL), &off);
	return NULL;
}

static void in_handler(int sig)
{
	stack_t old = { 0 };

	say("handler %d\n", sig);
	answers(NULL);
	CHECK(!sigaltstack(NULL, &old));
}

static void jump_back(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static void in_thread(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, body, arg) && !pthread_join(thread, NULL));
}

static void own(void)
{
	const stack_t stack = { .ss_sp = first, .ss_size = sizeof(first) };
	struct sigaction action = { .sa_handler = jump_back, .sa_flags = SA_ONSTACK };

	CHECK(!sigaltstack(&stack, NULL) && !sigaction(SIGSEGV, &action, NULL));
	for (volatile int i = 0; i < 3; i++)
		if (!sigsetjmp(back, 1))
			deeper(0);
	say("recovered\n");
}

static void *nothing(void *arg)
{
	if (arg)
		usleep(20000);
	return NULL;
}

#define CROWD 5
static pthread_barrier_t all_there;

/* Where the kernel has this thread's: no wrapper is asked. */
static void *place(void *arg)
{
	stack_t now = { 0 };
#if defined(__x86_64__)
	long ret = SYS_sigaltstack;
	__asm__ volatile("syscall" : "+a"(ret) : "D"(0), "S"(&now) : "rcx", "r11", "memory");
	CHECK(!ret);
#endif
	if (arg)
		pthread_barrier_wait(&all_there);
	return now.ss_sp;
}

/* Threads that live at the same time, and the places of their alternate stacks. */
static void some(void *its[CROWD])
{
	pthread_t thread[CROWD];
	pthread_attr_t attr;

	/* so small that libc keeps them all */
	CHECK(!pthread_attr_init(&attr) && !pthread_attr_setstacksize(&attr, 256 << 10) &&
	      !pthread_barrier_init(&all_there, NULL, CROWD));
	for (int i = 0; i < CROWD; i++)
		CHECK(!pthread_create(&thread[i], &attr, place, its));
	for (int i = 0; i < CROWD; i++)
		CHECK(!pthread_join(thread[i], &its[i]));
}

/* The child makes its threads on stacks that its parent has left: no memory call comes before. */
static void apart(void)
{
	void *its[CROWD];
	int status, shared = 0;

	some(its);
	pid_t pid = fork();
	if (!pid) {
		some(its);
		for (int i = 0; i < CROWD; i++)
			shared +=
			    its[i] && (its[i] == place(NULL) || its[i] == its[(i + 1) % CROWD]);
		say("shared %d\n", shared);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
}

static void many(long n)
{
	pthread_t thread[8];

	for (long i = 0; i < n; i++)
		in_thread(nothing, NULL);
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_create(&thread[i], NULL, nothing, thread));
	for (int i = 0; i < 8; i++)
		CHECK(!pthread_join(thread[i], NULL));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "main";
	struct sigaction action = { .sa_handler = in_handler, .sa_flags = SA_ONSTACK };
	int status;

	if (!strcmp(mode, "main"))
		overflow(argv);
	else if (!strcmp(mode, "thread"))
		in_thread(overflow, argv);
	else if (!strcmp(mode, "early"))
		in_thread(overflow, NULL);
	else if (!strcmp(mode, "forked")) {
		pid_t pid = fork();
		if (!pid)
			in_thread(overflow, NULL);
		CHECK(waitpid(pid, &status, 0) == pid);
		say("child died of %d\n", WTERMSIG(status));
	} else if (!strcmp(mode, "answers")) {
		answers(NULL);
		in_thread(answers, NULL);
		pid_t pid = fork();
		if (!pid) {
			in_thread(answers, NULL);
			answers(NULL);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && !status);
		pid = vfork();
		if (!pid) {
			answers(NULL);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && !status);
		answers(NULL);
	} else if (!strcmp(mode, "handler")) {
		CHECK(!sigaction(SIGUSR1, &action, NULL));
		raise(SIGUSR1);
		answers(NULL);
		raise(SIGUSR1);
	} else if (!strcmp(mode, "own")) {
		own();
	} else if (!strcmp(mode, "apart")) {
		apart();
	} else if (!strcmp(mode, "jump")) {
		action.sa_handler = jump_back;
		CHECK(!sigaction(SIGUSR1, &action, NULL));
		if (!sigsetjmp(back, 1))
			raise(SIGUSR1);
		say("back\n");
	} else
		many(arg_number(argc, argv, 2, 200));
	return 0;
}
