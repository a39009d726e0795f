/*
 * child.c - a forked child of the worker: what the fork made of the address space, then some calls
 * of its own, judged like the worker's.
 *
 * The child's memory is a copy, its model with it; what it finds stands in the shared pages. A fork
 * is one operation: its two numbers say which calls follow and how many.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fuzz.h"
#include "raw.h"

static bool compare_all(struct fuzz_worker *w)
{
	return compare_range(w, 0, world.config.task_size) && compare_tree(w) &&
	       compare_flags_and_totals(w);
}

static void child_main(struct fuzz_worker *w, const struct vt_event *ev)
{
	w->child_of = w->at + 1;
	if (!kernel_view_open(shared->buffer, sizeof(shared->buffer)) || !world_open_self()) {
		fail_at(w, CHECK_CRASH, 0, "the child could not prepare itself");
		return;
	}
	if (vt_model_become_child(&w->model) != 0) {
		fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
		return;
	}
	if (!compare_all(w))
		return;
	w->random = random_seed(ev->a[0]);
	for (uint64_t i = 0; i < ev->a[1] && !w->failed; i++) {
		w->at++;
		struct fuzz_op op = generate_op(w);
		if (op.kind != VT_FORK)
			execute_op(w, &op);
	}
	if (!w->failed)
		compare_all(w);
}

int64_t child_fork(struct fuzz_worker *w, const struct vt_event *ev)
{
	int status = 0;
	int64_t pid = raw_call(SYS_fork, 0, 0, 0, 0, 0, 0);
	if (pid == 0) {
		child_main(w, ev);
		raw_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
	}
	if (pid < 0)
		return pid;
	raw_call(SYS_wait4, (uint64_t)pid, (uint64_t)&status, 0, 0, 0, 0);
	if (shared->failure.check)
		w->failed = true;
	else if (status)
		fail_at(w, CHECK_CRASH, 0, "the child ended with status %x", (unsigned)status);
	return pid;
}
