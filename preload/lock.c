/*
 * lock.c - the recorder lock.
 *
 * Runs inside the traced process. The lock is taken only with every signal blocked, so that its
 * holder cannot be interrupted by a handler that wants it too, nor leave it by siglongjmp, nor be
 * cancelled. It is never held across a system call of the program. Not recursive.
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

bool vt_trylock(void)
{
	if (atomic_load_explicit(&vt.lock, memory_order_relaxed) != FREE)
		return false;
	uint64_t old = block_signals();
	uint32_t expected = FREE;
	if (!atomic_compare_exchange_strong(&vt.lock, &expected, HELD)) {
		restore_signals(old);
		return false;
	}
	vt.lock_mask = old;
	return true;
}

void vt_lock(void)
{
	uint64_t old = block_signals();
	uint32_t expected = FREE;
	if (!atomic_compare_exchange_strong(&vt.lock, &expected, HELD)) {
		while (atomic_exchange(&vt.lock, CONTENDED) != FREE)
			vt_sys4(SYS_futex, &vt.lock, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, CONTENDED, 0);
	}
	vt.lock_mask = old;
}

void vt_unlock(void)
{
	uint64_t old = vt.lock_mask;
	if (atomic_exchange(&vt.lock, FREE) == CONTENDED)
		vt_sys3(SYS_futex, &vt.lock, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
	restore_signals(old);
}
