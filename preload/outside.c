/*
 * outside.c - work with a descriptor table of its own, so that the program cannot meet ours.
 *
 * Runs inside the traced process, under the recorder lock. The work is done by a short-lived task
 * that shares the memory but not the descriptors: it gets an empty table, and no number of the
 * program's is ever taken, not even for a moment. All signals are blocked in it (the lock's holder
 * has them blocked), so no handler of the program runs there; it has the holder's thread pointer,
 * while the holder waits. It belongs to the thread group, so nobody can wait for it or be told of
 * its end. While the process has one thread, at its start and at its end, the work is done
 * directly.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>

struct job {
	void (*fn)(void *);
	void *arg;
	_Atomic uint32_t tid; /* cleared by the kernel when the task is gone */
};

/* Start the task; asm, for it begins on an empty stack. Returns its tid or -errno. */
long vt_clone_task(long flags, void *stack_top, _Atomic uint32_t *tid, void (*body)(void *),
		   void *arg);

static void body(void *arg)
{
	struct job *j = arg;
	atomic_store(&vt.helper, (uint32_t)vt_sys0(SYS_gettid));
	/* Leave the shared table for an empty one; before Linux 5.9 for a copy. */
	if (vt_sys3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) == 0 ||
	    vt_sys1(SYS_unshare, CLONE_FILES) == 0)
		j->fn(j->arg);
	vt_sys1(SYS_exit, 0);
}

/* Run fn(arg) there and wait for it. False when no task could be had. */
bool vt_outside(void (*fn)(void *), void *arg)
{
	if (vt.single) {
		fn(arg);
		return true;
	}
	struct job j = { fn, arg, 1 };
	vt.helper_for = vt_me();
	long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		     CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	long tid = vt_clone_task(flags, vt.helper_stack + VT_HELPER_STACK, &j.tid, body, &j);
	if (vt_is_error(tid))
		return false;
	while (atomic_load(&j.tid))
		vt_sys4(SYS_futex, &j.tid, FUTEX_WAIT, 1, 0);
	atomic_store(&vt.helper, 0);
	return true;
}

/*
 * At the end of the process: whether no other task shares its memory, so that what is opened here
 * is met by nobody. Descriptors that another process shares are copied; nothing else is changed,
 * and where all numbers are taken the answer is no.
 */
bool vt_is_alone(void)
{
	/* The second is a call that only a single thread may make, and that then does nothing. */
	if (atomic_load(&vt.sandboxed) || vt_sys1(SYS_unshare, CLONE_VM | CLONE_FILES))
		return false;
	long fd = vt_sys4(SYS_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	vt_sys1(SYS_close, fd);
	return true;
}

/* A small file's text, NUL-terminated. Returns its length or -errno. */
long vt_read_file(const char *path, char *buf, size_t size)
{
	long fd = vt_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	size_t n = 0;
	while (n < size - 1) {
		long got = vt_sys3(SYS_read, fd, buf + n, size - 1 - n);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	buf[n] = '\0';
	vt_sys1(SYS_close, fd);
	return (long)n;
}
