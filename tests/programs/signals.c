/*
 * signals.c - memory calls inside signal handlers that interrupt memory calls.
 *
 *   signals timer|stack|small|thread|jump|segv [MILLISECONDS [MICROSECONDS_BETWEEN [count]]]
 *
 * timer:  a timer's handler (10 kHz unless told) maps, protects and unmaps while main maps and
 *         unmaps all the time
 * stack:  the same on an alternate signal stack; small: on one of 8 KiB and what the kernel takes
 * thread: the same into a second thread, by the thread's own timer
 * jump:   the handler leaves by siglongjmp every other time
 * segv:   a write barrier as garbage collectors have it: the SIGSEGV handler makes the page
 * writable
 *
 * With count the program tells how many calls came back to it: in handlers (3 pages), in the
 * interrupted code (2 pages), and how many were begun there.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "program.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static volatile uint64_t handled, begun, back_from;
static volatile sig_atomic_t may_jump;
static sigjmp_buf back;
static int jumping;

static void on_alarm(int sig)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)sig;
	if (p == MAP_FAILED || mprotect(p, 3 * PAGE, PROT_READ | PROT_WRITE) || munmap(p, 3 * PAGE))
		_exit(98);
	handled++;
	if (jumping && may_jump && handled % 2)
		siglongjmp(back, 1);
}

/* A timer for the calling thread; on an alternate stack of that size, 0: on its own. */
static timer_t start_timer(size_t stack_size, long us)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerspec every = { { 0, us * 1000 }, { 0, us * 1000 } };
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
	timer_t timer;

	if (stack_size) {
		stack_t stack = { .ss_sp = map_anywhere(64 * PAGE), .ss_size = stack_size };
		CHECK(!sigaltstack(&stack, NULL));
		action.sa_flags |= SA_ONSTACK;
	}
	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	CHECK(!sigaction(SIGALRM, &action, NULL));
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	CHECK(!timer_settime(timer, 0, &every, NULL));
	return timer;
}

static void stop_timer(timer_t timer)
{
	CHECK(!timer_delete(timer));
}

/* Each turn uses its own fixed page, so that a jump out of the middle leaves nothing behind. */
static void map_until(uint64_t end)
{
	char *place = (char *)0x50000000;

	while (now_ns() < end) {
		(void)!sigsetjmp(back, 1);
		may_jump = 1;
		begun++;
		char *p = mmap(place, 2 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		back_from++;
		begun++;
		int failed = p != place || munmap(place, 2 * PAGE);
		back_from++;
		may_jump = 0;
		CHECK(!failed);
	}
}

static char *barrier;
#define BARRIER_PAGES 256

static void on_segv(int sig, siginfo_t *info, void *context)
{
	uintptr_t page = (uintptr_t)info->si_addr & ~(PAGE - 1);

	(void)sig;
	(void)context;
	if (page - (uintptr_t)barrier >= BARRIER_PAGES * PAGE ||
	    mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE))
		_exit(98);
	handled++;
}

static void write_through_barrier(uint64_t end)
{
	struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };

	barrier = map_anywhere(BARRIER_PAGES * PAGE);
	CHECK(!sigaction(SIGSEGV, &action, NULL));
	while (now_ns() < end) {
		begun++;
		CHECK(!mprotect(barrier, BARRIER_PAGES * PAGE, PROT_READ));
		back_from++;
		for (size_t i = 0; i < BARRIER_PAGES; i += 16)
			((volatile char *)barrier)[i * PAGE] = 1;
	}
}

struct run {
	uint64_t end;
	long us;
	size_t stack_size;
};

static void *with_timer(void *arg)
{
	const struct run *r = arg;
	timer_t timer = start_timer(r->stack_size, r->us);

	map_until(r->end);
	stop_timer(timer);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "timer";
	struct run r = { .us = arg_number(argc, argv, 3, 100) };
	pthread_t thread;

	r.end = now_ns() + (uint64_t)arg_number(argc, argv, 2, 300) * 1000000;
	jumping = !strcmp(mode, "jump");
	if (!strcmp(mode, "stack"))
		r.stack_size = 16 * PAGE;
	else if (!strcmp(mode, "small"))
		r.stack_size = (getauxval(AT_MINSIGSTKSZ) + 8192 + PAGE - 1) & ~(PAGE - 1);
	if (!strcmp(mode, "segv"))
		write_through_barrier(r.end);
	else if (!strcmp(mode, "thread"))
		CHECK(!pthread_create(&thread, NULL, with_timer, &r) &&
		      !pthread_join(thread, NULL));
	else
		with_timer(&r);
	CHECK(handled > 0);
	if (argc > 4)
		say("%llu %llu %llu\n", (unsigned long long)handled, (unsigned long long)back_from,
		    (unsigned long long)begun);
	say("%s done\n", mode);
	return 0;
}
