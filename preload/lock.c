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
 * A thread cannot end while it holds a lock, but a process can that shares the memory (a vfork
 * child, clone with CLONE_VM), by SIGKILL. So a lock's word says who holds it, and who has waited
 * for long looks whether there is such a task.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <errno.h>
#include <linux/futex.h>
#include <sys/uio.h>

/* A lock's word: who holds it, by thread id, and whether somebody waits. */
#define FREE   0u
#define WAITED FUTEX_WAITERS
#define HOLDER FUTEX_TID_MASK

#define LOOK_NS 100000000 /* after that long a wait: is there still a holder? */

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

/* What a task sees at the place of our pid; -errno when it cannot be asked. */
static long guard_seen_by(uint32_t tid)
{
	uint64_t guard = 0;
	struct iovec to = { &guard, sizeof(guard) }, from = { vt.fork_guard, sizeof(guard) };
	long ret = vt_sys6(SYS_process_vm_readv, tid, (long)&to, 1, (long)&from, 1, 0);
	return ret == sizeof(guard) ? (long)guard : vt_is_error(ret) ? ret : -EFAULT;
}

/*
 * Whether no task of that number runs in this memory any more. One that does can always be asked
 * what it sees; one that has ended, reaped or not, has no memory, and another process that got its
 * number has other memory. Where nobody may be asked, one that is not reaped counts as running.
 */
static bool has_left(uint32_t tid)
{
	if (vt.foreign_pids)
		return false;
	if (!atomic_load(&vt.sandboxed) &&
	    guard_seen_by((uint32_t)vt_sys0(SYS_gettid)) == (long)vt.pid)
		return guard_seen_by(tid) != (long)vt.pid;
	return vt_is_gone(vt.pid, tid) && vt_is_gone(tid, tid);
}

/* True: the lock was a dead task's, in the middle of whatever it did. */
static bool take(struct vt_lock *l)
{
	const struct timespec look = { 0, LOOK_NS };
	uint32_t me = (uint32_t)vt_sys0(SYS_gettid), word = FREE;
	if (vt_likely(atomic_compare_exchange_strong(&l->state, &word, me)))
		return false;
	for (;;) {
		if (word == FREE) {
			/* others may wait beside us */
			if (atomic_compare_exchange_strong(&l->state, &word, me | WAITED))
				return false;
			continue;
		}
		if (!(word & WAITED) &&
		    !atomic_compare_exchange_strong(&l->state, &word, word | WAITED))
			continue;
		word |= WAITED;
		long ret = vt_sys4(SYS_futex, &l->state, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, word,
				   (long)&look);
		if (ret == -ETIMEDOUT && has_left(word & HOLDER) &&
		    atomic_compare_exchange_strong(&l->state, &word, me | WAITED))
			return true;
		word = atomic_load(&l->state);
	}
}

/* Take the recorder lock; what its last holder has left torn is not used. */
static void take_recorder(void)
{
	if (vt_unlikely(take(&vt.lock)))
		vt_on_stack(vt_start_over, NULL, vt.lock.stack_top);
}

static void give(struct vt_lock *l)
{
	if (atomic_exchange(&l->state, FREE) & WAITED)
		vt_sys3(SYS_futex, &l->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

static void run(struct vt_lock *l, void (*fn)(void *), void *arg)
{
	vt_on_stack(fn, arg, l->stack_top);
	give(l);
}

/* Run fn(arg) under the recorder lock. */
void vt_locked(void (*fn)(void *), void *arg)
{
	uint64_t mask = block_signals();
	take_recorder();
	run(&vt.lock, fn, arg);
	restore_signals(mask);
}

/* The same, but only if nobody holds the lock. */
void vt_locked_if_free(void (*fn)(void *), void *arg)
{
	if (atomic_load_explicit(&vt.lock.state, memory_order_relaxed) != FREE)
		return;
	uint64_t mask = block_signals();
	uint32_t expected = FREE;
	if (atomic_compare_exchange_strong(&vt.lock.state, &expected,
					   (uint32_t)vt_sys0(SYS_gettid)))
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
	take_recorder();
	vt.fork_mask = mask;
	vt_on_stack(fn, arg, vt.lock.stack_top);
}

void vt_lock_let_go(void)
{
	uint64_t mask = vt.fork_mask;
	give(&vt.lock);
	restore_signals(mask);
}

/* Whether the calling task holds the recorder lock. */
bool vt_lock_is_mine(uint32_t tid)
{
	return (atomic_load_explicit(&vt.lock.state, memory_order_relaxed) & HOLDER) == tid;
}

/* Under one of the other locks, whose holders leave nothing torn. */
static void run_locked(struct vt_lock *l, void (*fn)(void *), void *arg)
{
	uint64_t mask = block_signals();
	take(l);
	run(l, fn, arg);
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
