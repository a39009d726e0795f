/*
 * lock.c - the recorder lock, and the stacks of our own.
 *
 * Runs inside the traced process. What needs a lock or much stack is done by a function handed to
 * vt_locked, vt_unwinding or vt_searching: it runs with every signal blocked, so that it cannot be
 * interrupted by a handler that wants the lock too, nor left by siglongjmp, nor cancelled; and on a
 * stack of ours, because the caller's may be a signal's or a fibre's of a few kilobytes. One stack
 * a lock is enough: only its holder runs there. No lock is ever held across a system call of the
 * program. Not recursive; the unwinder's holder does not take the recorder's.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <linux/futex.h>

enum { FREE, HELD, CONTENDED };

static uint64_t block_signals(void)
{
	uint64_t all = ~0ull, old = 0;
	vt_sys4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, sizeof(old));
	return old;
}

static void restore_signals(uint64_t old)
{
	vt_sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &old, 0, sizeof(old));
}

static void take(struct vt_lock *l)
{
	uint32_t expected = FREE;
	if (!atomic_compare_exchange_strong(&l->state, &expected, HELD)) {
		while (atomic_exchange(&l->state, CONTENDED) != FREE)
			vt_sys4(SYS_futex, &l->state, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, CONTENDED,
				0);
	}
}

static void give(struct vt_lock *l)
{
	if (atomic_exchange(&l->state, FREE) == CONTENDED)
		vt_sys3(SYS_futex, &l->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

static void run(struct vt_lock *l, void (*fn)(void *), void *arg)
{
	vt_on_stack(fn, arg, l->stack_top);
	give(l);
}

static void run_locked(struct vt_lock *l, void (*fn)(void *), void *arg)
{
	uint64_t mask = block_signals();
	take(l);
	run(l, fn, arg);
	restore_signals(mask);
}

/* Run fn(arg) under the recorder lock. */
void vt_locked(void (*fn)(void *), void *arg)
{
	run_locked(&vt.lock, fn, arg);
}

/* The same, but only if nobody holds the lock. */
void vt_locked_if_free(void (*fn)(void *), void *arg)
{
	if (atomic_load_explicit(&vt.lock.state, memory_order_relaxed) != FREE)
		return;
	uint64_t mask = block_signals();
	uint32_t expected = FREE;
	if (atomic_compare_exchange_strong(&vt.lock.state, &expected, HELD))
		run(&vt.lock, fn, arg);
	restore_signals(mask);
}

/*
 * Run fn(arg) under the recorder lock and keep it, with all signals blocked, until vt_lock_let_go:
 * across a system call that forks, so that the child's copy of everything is whole. Both sides let
 * go.
 */
void vt_lock_keep(void (*fn)(void *), void *arg)
{
	uint64_t mask = block_signals();
	take(&vt.lock);
	vt.fork_mask = mask;
	vt_on_stack(fn, arg, vt.lock.stack_top);
}

void vt_lock_let_go(void)
{
	uint64_t mask = vt.fork_mask;
	give(&vt.lock);
	restore_signals(mask);
}

/* Run fn(arg), which unwinds, on the unwinder's stack. */
void vt_unwinding(void (*fn)(void *), void *arg)
{
	run_locked(&vt.unwind_lock, fn, arg);
}

/*
 * Run fn(arg), which searches code that was just loaded. It may take the recorder lock, whose
 * holders never want this one.
 */
void vt_searching(void (*fn)(void *), void *arg)
{
	run_locked(&vt.search_lock, fn, arg);
}

/* Give all locks their stacks. */
bool vt_lock_init(void)
{
	uint8_t *recorder = vt_arena_alloc(VT_LOCK_STACK),
		*unwinder = vt_arena_alloc(VT_LOCK_STACK),
		*searcher = vt_arena_alloc(VT_LOCK_STACK);
	if (!recorder || !unwinder || !searcher)
		return false;
	vt.lock.stack_top = recorder + VT_LOCK_STACK;
	vt.unwind_lock.stack_top = unwinder + VT_LOCK_STACK;
	vt.search_lock.stack_top = searcher + VT_LOCK_STACK;
	return true;
}

/* In a fresh child, whose one thread holds none. Returns whether the recorder's was free. */
bool vt_lock_reset(void)
{
	atomic_store(&vt.unwind_lock.state, FREE);
	atomic_store(&vt.search_lock.state, FREE);
	return atomic_exchange(&vt.lock.state, FREE) == FREE;
}
