/*
 * altstack.c - an alternate signal stack for each thread that has none (--faults=overflow).
 *
 * Runs inside the traced process. Where a stack has overflowed the kernel can put no signal's
 * frame, and ends the process before any handler runs. With a stack of ours set, the handler of
 * fault.c runs there. The program is told what it would be without: sigaltstack answers from what
 * is kept here wherever libc or syscall() makes the call.
 *
 * A thread gets its stack as it begins, or with its first recorded call, and keeps it; one of a
 * thread that is gone is given to the next. What the program sets itself goes before.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <signal.h>

/* Handlers of the program with SA_ONSTACK run there, too. */
#define SIZE (64u << 10)

/* How many stacks are looked at for one whose thread is gone. */
#define TRIES 8

/* At the upper end of its mapping, whose lowest page is the guard. */
struct alt {
	struct alt *next;
	uint32_t tid;
	stack_t stack;
	int flags; /* as the program has set them last, with SS_DISABLE */
};

static struct {
	bool on;
	struct alt *all, *hand; /* under the lock; all is only added to, at its head */
} alts;

static long set(const stack_t *new, stack_t *old)
{
	return vt_sys2(SYS_sigaltstack, new, old);
}

/* The one of ours that the kernel holds for this thread, NULL: another, or none. */
static struct alt *ours(const stack_t *now)
{
	struct alt *a = __atomic_load_n(&alts.all, __ATOMIC_ACQUIRE);
	while (a && a->stack.ss_sp != now->ss_sp)
		a = a->next;
	return a;
}

/* This thread's own from before, or that of a thread which is gone. */
static struct alt *find(uint32_t tid)
{
	struct alt *a = alts.all;
	while (a && a->tid != tid)
		a = a->next;
	for (int i = 0; !a && i < TRIES && alts.all; i++) {
		alts.hand = alts.hand && alts.hand->next ? alts.hand->next : alts.all;
		if (vt_is_gone(vt.pid, alts.hand->tid))
			a = alts.hand;
	}
	return a;
}

static struct alt *make(void)
{
	const size_t len = VT_PAGE_SIZE + SIZE;
	long p = vt_own_memory(len);
	if (vt_is_error(p))
		return NULL;
	vt_own_call(VT_MPROTECT, SYS_mprotect,
		    (uint64_t[VT_MAX_ARGS]){ (uint64_t)p, VT_PAGE_SIZE, 0 /* PROT_NONE */ });
	struct alt *a = (struct alt *)((uint64_t)p + len - 256);
	a->stack.ss_sp = (void *)((uint64_t)p + VT_PAGE_SIZE);
	a->stack.ss_size = SIZE - 256;
	a->next = alts.all;
	__atomic_store_n(&alts.all, a, __ATOMIC_RELEASE);
	return a;
}

/* The kernel holds none for this thread. */
static void give(const stack_t *now)
{
	uint32_t tid = (uint32_t)vt_sys0(SYS_gettid);
	struct alt *a = find(tid);
	if (!a && !(a = make()))
		return;
	a->tid = tid;
	a->flags = now->ss_flags;
	set(&a->stack, NULL);
}

/* Under the lock: what is in use must not be thought to be a gone thread's. */
static void give_if_none(void *arg)
{
	stack_t now;
	(void)arg;
	if (set(NULL, &now))
		return;
	struct alt *a = ours(&now);
	if (a) /* a forked child's one thread has its parent's */
		a->tid = (uint32_t)vt_sys0(SYS_gettid);
	else if (now.ss_flags & SS_DISABLE)
		give(&now);
}

/* This thread is to have one. Not for who shares the memory and is no thread of the process. */
void vt_altstack_give(void)
{
	if (alts.on && atomic_load(&vt.on) && atomic_load(vt.fork_guard) &&
	    !atomic_load(&vt.sandboxed) && vt_is_mine())
		vt_locked(give_if_none, NULL);
}

/* A call of the program in a thread for which the kernel holds one of ours. */
struct request {
	const stack_t *new;
	stack_t old;
	struct alt *alt;
	long ret;
};

/* On the lock's stack: the kernel would refuse to change one that the caller runs on. */
static void change(void *arg)
{
	struct request *r = arg;
	stack_t now;
	r->old = (stack_t){ .ss_flags = r->alt->flags };
	r->ret = r->new ? set(r->new, NULL) : 0;
	if (r->ret || set(NULL, &now) || !(now.ss_flags & SS_DISABLE))
		return;
	r->alt->flags = now.ss_flags;
	set(&r->alt->stack, NULL);
}

/* sigaltstack as the program makes it. */
long vt_sigaltstack(long new, long old)
{
	stack_t now, copy;
	struct request r = { 0 };
	if (!alts.on || set(NULL, &now))
		return vt_sys2(SYS_sigaltstack, new, old);
	r.alt = ours(&now);
	if (!r.alt) {
		long ret = vt_sys2(SYS_sigaltstack, new, old);
		if (!ret && new)
			vt_altstack_give();
		return ret;
	}
	if (new && !vt_peek(&copy, (const void *)new, sizeof(copy)))
		return vt_sys2(SYS_sigaltstack, new, old);
	r.new = new ? &copy : NULL;
	vt_locked(change, &r);
	if (r.ret || !old)
		return r.ret;
	/* whether the answer can be written is the kernel's to say */
	r.ret = vt_sys2(SYS_sigaltstack, 0, old);
	if (!r.ret) {
		stack_t *to = (stack_t *)old;
		to->ss_sp = r.old.ss_sp;
		to->ss_flags = r.old.ss_flags;
		to->ss_size = r.old.ss_size;
	}
	return r.ret;
}

/* While the process has one thread. */
bool vt_altstack_init(void)
{
	if (!vt.sees_altstack)
		return false;
	alts.on = true;
	vt_altstack_give();
	return true;
}
