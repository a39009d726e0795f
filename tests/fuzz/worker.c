/*
 * worker.c - one worker's life: a child process that prepares itself, runs operations and leaves
 * what it found in the shared pages; and the parent's wait for it.
 *
 * The worker must not call malloc or stdio between operations: its memory is what is compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "raw.h"

#define NOBODY         65534
#define STACK_RESERVE  (512 << 10)
#define SILENT_SECONDS 30

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Touch the stack as deep as it will ever be used, so that it does not grow later. */
static __attribute__((noinline)) void reserve_stack(void)
{
	volatile char deep[STACK_RESERVE];
	for (size_t i = 0; i < sizeof(deep); i += VT_PAGE_SIZE)
		deep[i] = 1;
}

/* Every other worker of root gives its privileges up: the lock limit is none to root. */
static void choose_user(struct fuzz_worker *w)
{
	if (raw_call(SYS_geteuid, 0, 0, 0, 0, 0, 0) != 0)
		return;
	if (shared->seed & 1) {
		raw_call(SYS_setresuid, NOBODY, NOBODY, NOBODY, 0, 0, 0);
		raw_call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0, 0);
	} else {
		w->model.config.rlimit_memlock = UINT64_MAX;
	}
}

static bool worker_prepare(struct fuzz_worker *w)
{
	reserve_stack();
	if (!kernel_view_open(shared->buffer, sizeof(shared->buffer)))
		return false;
	if (world.options.threads > 1 && !shared->n_replay)
		threads_start(world.options.threads);
	if (!world_open_self())
		return false;
	w->random = random_seed(shared->seed);
	w->brk = world.config.brk;
	w->touched = world.options.touch;
	if (!world_seed_model(w))
		return false;
	choose_user(w);
	return true;
}

/* The comparisons that are due after operation w->at. */
static void compare_due(struct fuzz_worker *w, bool last)
{
	bool all = shared->thorough || last;
	if (all || w->at % world.options.full_every == 0) {
		if (!compare_range(w, 0, world.config.task_size))
			return;
		if (check_on(CHECK_TREE) && !compare_tree(w))
			return;
	}
	if (all || w->at % world.options.smaps_every == 0)
		compare_flags_and_totals(w);
}

bool worker_is_late(void)
{
	return !shared->n_replay && shared->deadline_ns && now_ns() > shared->deadline_ns;
}

static void worker_main(void)
{
	static struct fuzz_worker w;
	uint64_t n = shared->n_replay ? shared->n_replay : world.options.ops;
	if (!worker_prepare(&w)) {
		fail_at(&w, CHECK_CRASH, 0, "the worker could not prepare itself");
		return;
	}
	compare_due(&w, true);
	if (world.options.threads > 1 && !shared->n_replay) {
		threads_run(&w);
		return;
	}
	for (; w.at < n && !w.failed; w.at++) {
		shared->done = w.at;
		struct fuzz_op op = shared->n_replay ? shared->replay[w.at] : generate_op(&w);
		if (!shared->n_replay)
			shared->log[w.at] = op;
		execute_op(&w, &op);
		bool late = w.at % 256 == 0 && worker_is_late();
		if (!w.failed)
			compare_due(&w, late || w.at + 1 == n);
		if (late)
			break;
	}
}

/* Wait for the worker; kill it when it makes no progress. Returns its wait status. */
static int wait_for(pid_t pid)
{
	sigset_t child;
	uint64_t done = UINT64_MAX;
	int status, silent = 0;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		const struct timespec second = { .tv_sec = 1 };
		if (sigtimedwait(&child, NULL, &second) == SIGCHLD)
			continue;
		silent = shared->done == done ? silent + 1 : 0;
		done = shared->done;
		if (silent == SILENT_SECONDS)
			kill(pid, SIGKILL);
	}
	return status;
}

bool worker_run(uint64_t seed, const struct fuzz_op *replay, uint64_t n_replay, bool thorough)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);

	shared->seed = seed;
	shared->n_replay = n_replay;
	shared->thorough = thorough;
	shared->done = 0;
	shared->n_trace = 0;
	shared->failure.check = CHECK_NONE;
	shared->failure.text[0] = 0;
	if (replay && replay != shared->replay)
		memcpy(shared->replay, replay, n_replay * sizeof(*replay));

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		worker_main();
		_exit(0);
	}
	if (pid < 0) {
		shared->failure.check = CHECK_CRASH;
		snprintf(shared->failure.text, FUZZ_TEXT, "crash: fork failed\n");
		return false;
	}
	int status = wait_for(pid);
	if (status != 0 && shared->failure.check == CHECK_NONE) {
		shared->failure.check = CHECK_CRASH;
		shared->failure.op = shared->done;
		snprintf(shared->failure.text, FUZZ_TEXT, "crash: the worker ended by signal %d\n",
			 WTERMSIG(status));
	}
	return shared->failure.check == CHECK_NONE;
}
