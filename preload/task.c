/*
 * task.c - new tasks: fork, vfork, clone and clone3, however the program or libc makes them.
 *
 * Runs inside the traced process, on both sides of the system call that thunk.S makes. A child with
 * memory of its own starts a trace with its first call (process.c). One that shares the memory but
 * is no thread of the process (vfork, posix_spawn, clone with CLONE_VM) records into its parent's
 * trace; as long as it may run on its parent's thread pointer, the two are told apart by gettid and
 * have records of their own. Of a thread it is noted where its stack is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <errno.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <vmtrail/options.h>

/* A task that runs on another one's thread pointer. */
struct vt_borrower {
	struct vt_borrower *next;
	struct vt_thread thread;
};

/* The thread that holds the lock across the system call that makes a process. */
static _Atomic uint32_t forking;

static struct vt_borrower *find(uint32_t tid)
{
	struct vt_borrower *b = atomic_load_explicit(&vt.borrowers, memory_order_acquire);
	while (b && b->thread.tid != tid)
		b = b->next;
	return b;
}

/* A record for a new borrower: that of one that is gone, or a new one. */
static void add(void *arg)
{
	struct vt_borrower **added = arg;
	struct vt_borrower *b = atomic_load(&vt.borrowers);
	while (b && !vt_is_gone(b->thread.tid, b->thread.tid))
		b = b->next;
	if (!b && (b = vt_arena_last(sizeof(*b)))) {
		b->next = atomic_load(&vt.borrowers);
		b->thread.tid = (uint32_t)vt_sys0(SYS_gettid);
		atomic_store(&vt.borrowers, b);
	}
	if (b)
		b->thread = (struct vt_thread){
			.tid = (uint32_t)vt_sys0(SYS_gettid),
			.name_stale = true,
			.flags = VT_EV_SHARED_VM,
			.borrowed = vt_self.borrowed,
			.exec_block = b->thread.exec_block,
			.exec_size = b->thread.exec_size,
		};
	*added = b;
}

/* The record of the calling task, where the thread pointer does not tell. */
struct vt_thread *vt_borrower(void)
{
	uint32_t tid = (uint32_t)vt_sys0(SYS_gettid);
	if (tid == vt_self.tid)
		return &vt_self;
	if (tid == atomic_load_explicit(&vt.helper, memory_order_relaxed))
		return vt.helper_for;
	struct vt_borrower *b = find(tid);
	/* the number may have been another task's, whose record is another one's by now */
	if (b && b->thread.pending && b->thread.pending->tid != tid) {
		b->thread.pending = NULL;
		b->thread.generation = 0;
	}
	if (!b && vt_lock_is_mine(tid))
		add(&b);
	else if (!b)
		vt_locked(add, &b);
	return b ? &b->thread : &vt_self;
}

/* The flags of a call that makes a task, a0 its first argument; CLONE_THREAD when not known. */
static uint64_t flags_of(uint8_t how, long nr, long a0)
{
	struct clone_args args = { 0 };
	switch (nr) {
	case SYS_clone:
		return (uint32_t)a0;
	case SYS_clone3:
		if (how == VT_EV_INNER)
			args = *(const struct clone_args *)a0;
		else if (!vt_peek(&args, (const void *)a0, CLONE_ARGS_SIZE_VER0))
			return CLONE_THREAD;
		return args.flags | args.exit_signal;
#ifdef SYS_vfork
	case SYS_vfork:
		return CLONE_VM | CLONE_VFORK;
#endif
	default:
		return 0;
	}
}

static bool borrows(uint64_t flags)
{
	return (flags & CLONE_VM) && !(flags & CLONE_SETTLS);
}

static void drain(void *arg)
{
	(void)arg;
	if (atomic_load(&vt.on))
		vt_drain(false);
}

/*
 * Before the system call nr that makes a task. What waits goes into the model, and the lock is held
 * until both sides come to vt_task_child and vt_task_end, so that a forked child's copy of
 * everything is whole.
 */
void vt_task_begin(uint8_t how, long nr, long a0)
{
	if (!atomic_load(&vt.on))
		return;
	if (!atomic_load(vt.fork_guard))
		vt_after_fork();
	uint64_t flags = flags_of(how, nr, a0);
	if ((flags & CLONE_THREAD) || !atomic_load(&vt.on))
		return;
	if (!vt_is_known(&vt_self))
		vt_thread_seen(&vt_self);
	vt_drain_for_room();
	if ((flags & CLONE_VM) && (flags & CLONE_NEWPID))
		vt.foreign_pids = true;
	if (borrows(flags)) {
		if (flags & CLONE_VFORK)
			vt_self.borrowed++;
		else
			vt_self.borrowed |= VT_BORROWED_FOR_EVER;
	} else if (!(flags & CLONE_VM) && atomic_load(&vt.sandboxed)) {
		/* The filter may send a signal, which must not find all of them blocked. */
		vt_locked(drain, NULL);
	} else if (!(flags & CLONE_VM)) {
		vt_lock_keep(drain, NULL);
		atomic_store(&forking, (uint32_t)vt_sys0(SYS_gettid));
	}
}

/* The process ends, but not its memory: who shares it goes on unrecorded. Under the lock. */
void vt_task_note_survivors(void)
{
	char line[96];
	for (struct vt_borrower *b = atomic_load(&vt.borrowers); b; b = b->next) {
		if (vt_is_gone(b->thread.tid, b->thread.tid))
			continue;
		struct vt_text t = { line, line + sizeof(line) - 1 };
		vt_text_str(&t, "task ");
		vt_text_u64(&t, b->thread.tid);
		vt_text_str(&t, " lives on in this memory: its calls are not recorded");
		*t.p = '\0';
		vt_note("shared", line);
	}
}

/* A child begins its own life: what it inherited of its parent's tasks is nobody's. */
void vt_task_reset(void)
{
	atomic_store(&forking, 0);
	atomic_store(&vt.borrowers, NULL);
	vt_self.borrowed = 0;
	vt_self.flags = 0;
}

/*
 * Before libc's fork, where its system call is not redirected: what waits goes into the model. The
 * lock cannot be held, for the program's fork handlers come in between.
 */
void vt_fork_prepare(void)
{
	if (atomic_load(&vt.on) && atomic_load(vt.fork_guard))
		vt_locked(drain, NULL);
}

/* In the new task, on its own stack. */
void vt_task_child(void)
{
	if (atomic_load(&forking) && !atomic_load(vt.fork_guard)) {
		atomic_store(&forking, 0);
		vt_lock_let_go();
		/* in a handler: what it has interrupted has its slot in a region that is not here
		 */
		if (vt_self.pending && vt_self.pending->frame)
			vt_after_fork();
	}
	/* a thread that overflows its stack before its first call is to have another by then */
	if (vt.options.faults == VT_FAULTS_OVERFLOW && atomic_load(&vt.on) &&
	    atomic_load(vt.fork_guard) && !vt_is_known(&vt_self) && vt_is_mine())
		vt_thread_seen(&vt_self);
}

/*
 * The last call of a vfork child, which has executed an image or ended by now: an execve that did
 * not come back has succeeded.
 */
static void finish_borrower(uint32_t tid)
{
	struct vt_borrower *b = find(tid);
	struct vt_pending *p = b ? b->thread.pending : NULL;
	if (p && p->frame && p->tid == tid)
		vt_call_left(p);
}

/* After it, in the parent: ret is the child's pid or -errno. */
void vt_task_end(uint8_t how, long nr, long a0, long ret)
{
	uint64_t flags = flags_of(how, nr, a0);
	int saved = errno;
	uint32_t holder = atomic_load(&forking);
	if (holder && holder == (uint32_t)vt_sys0(SYS_gettid)) {
		atomic_store(&forking, 0);
		vt_lock_let_go();
	}
	if (!atomic_load(&vt.on) || !atomic_load(vt.fork_guard))
		return;
	if (flags & CLONE_THREAD) {
		if (nr == SYS_clone3 && how == VT_EV_INNER && ret > 0)
			vt_thread_made((uint32_t)ret, ((const struct clone_args *)a0)->tls);
		return;
	}
	if (borrows(flags) && (flags & CLONE_VFORK)) {
		if (ret > 0)
			finish_borrower((uint32_t)ret);
		if (vt_self.borrowed & ~VT_BORROWED_FOR_EVER)
			vt_self.borrowed--;
	}
	uint8_t kind = nr == SYS_clone || nr == SYS_clone3 ? VT_CLONE
		       : flags & CLONE_VM                  ? VT_VFORK
							   : VT_FORK;
	vt_push(kind, how, (uint64_t[VT_MAX_ARGS]){ flags }, ret);
	errno = saved;
}

#if defined(__x86_64__)
/* The same for a caller that gets what libc would return. */
__attribute__((visibility("hidden"))) long vt_task_result(uint8_t how, long nr, long a0, long ret);
long vt_task_result(uint8_t how, long nr, long a0, long ret)
{
	vt_task_end(how, nr, a0, ret);
	if (!vt_is_error(ret))
		return ret;
	errno = (int)-ret;
	return -1;
}
#endif
