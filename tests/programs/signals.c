/*
 * signals.c - memory calls inside signal handlers that interrupt memory calls.
 *
 *   signals timer|stack|jump|segv [MILLISECONDS [MICROSECONDS_BETWEEN]]
 *
 * timer: a timer's handler (10 kHz unless told) maps and unmaps while main maps and unmaps all the
 * time stack: the same on an alternate signal stack jump:  the handler leaves by siglongjmp every
 * other time segv:  a write barrier as garbage collectors have it: the SIGSEGV handler makes the
 * page writable
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#include "program.h"

static volatile uint64_t handled;
static volatile sig_atomic_t may_jump;
static sigjmp_buf back;
static int jumping;

static void on_alarm(int sig)
{
	char *p = mmap(NULL, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)sig;
	if (p == MAP_FAILED || munmap(p, 3 * PAGE))
		_exit(98);
	handled++;
	if (jumping && may_jump && handled % 2)
		siglongjmp(back, 1);
}

static void start_timer(int on_stack, long us)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, us }, { 0, us } };

	if (on_stack) {
		stack_t stack = { .ss_sp = map_anywhere(16 * PAGE), .ss_size = 16 * PAGE };
		CHECK(!sigaltstack(&stack, NULL));
		action.sa_flags |= SA_ONSTACK;
	}
	CHECK(!sigaction(SIGALRM, &action, NULL));
	CHECK(!setitimer(ITIMER_REAL, &every, NULL));
}

/* Each turn uses its own fixed page, so that a jump out of the middle leaves nothing behind. */
static void map_until(uint64_t end)
{
	char *place = (char *)0x50000000;

	while (now_ns() < end) {
		(void)!sigsetjmp(back, 1);
		may_jump = 1;
		char *p = mmap(place, 2 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		int failed = p != place || munmap(place, 2 * PAGE);
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
		CHECK(!mprotect(barrier, BARRIER_PAGES * PAGE, PROT_READ));
		for (size_t i = 0; i < BARRIER_PAGES; i += 16)
			((volatile char *)barrier)[i * PAGE] = 1;
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "timer";
	uint64_t end = now_ns() + (uint64_t)arg_number(argc, argv, 2, 300) * 1000000;

	if (!strcmp(mode, "segv")) {
		write_through_barrier(end);
	} else {
		jumping = !strcmp(mode, "jump");
		start_timer(!strcmp(mode, "stack"), arg_number(argc, argv, 3, 100));
		map_until(end);
		CHECK(!setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
	}
	CHECK(handled > 0);
	say("%s done\n", mode);
	return 0;
}
