/*
 * call.c - the one path of a recorded call.
 *
 * Runs inside the traced process, in any thread and any signal handler, without a lock. Everything
 * that may need the recorder lock (a new stack, a new file, room in the ring) is done before the
 * system call; between the system call and the store that commits the event there is nothing but
 * stores.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include "stop.h"
#include "walk.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/shm.h>
#include <sys/mman.h>

/* Slots that calls leave for the recorder's own mappings, which cannot wait. */
#define OWN_RESERVE 24

__thread struct vt_thread vt_self;
struct vt_recorder vt;

/* A System V segment's length, 0 when the kernel does not tell. */
static uint64_t segment_length(int shmid)
{
	struct shmid64_ds ds;
	if (atomic_load_explicit(&vt.sandboxed, memory_order_relaxed))
		return 0;
	return vt_sys3(SYS_shmctl, shmid, IPC_STAT, &ds) == 0 ? ds.shm_segsz : 0;
}

/* What stands behind the mapping that is about to be made, as a file id. */
static uint32_t file_of(uint8_t kind, uint64_t *a)
{
	if (kind == VT_MMAP && !(a[3] & MAP_ANONYMOUS))
		return vt_file_of_fd((int)a[4], a[2], a[3]);
	if (kind == VT_SHMAT) {
		a[3] = segment_length((int)a[0]);
		return vt_file_of_segment((int)a[0]);
	}
	return 0;
}

/* What the kernel's rules need to know of the descriptor of a shared mapping. */
static uint8_t access_of(const uint64_t *a)
{
	uint64_t type = a[3] & MAP_TYPE;
	if ((type != MAP_SHARED && type != MAP_SHARED_VALIDATE) ||
	    atomic_load_explicit(&vt.sandboxed, memory_order_relaxed))
		return 0;
	long flags = vt_sys2(SYS_fcntl, (int)a[4], F_GETFL);
	return !vt_is_error(flags) && (flags & O_ACCMODE) == O_RDONLY ? VT_EV_FD_RDONLY : 0;
}

/* Which of the anonymous objects that get a name of their own in maps; 0: none. */
static uint8_t object_of(const uint64_t *a)
{
	if (!(a[3] & MAP_ANONYMOUS))
		return VT_FILE_NONE;
	if (a[3] & MAP_HUGETLB)
		return VT_FILE_HUGETLB;
	bool private =
	    (a[3] & MAP_TYPE) == MAP_PRIVATE || (a[3] & MAP_TYPE) == 0x08 /* DROPPABLE */;
	return private ? VT_FILE_NONE : VT_FILE_SHM_ANON;
}

/* A file id for an object that is about to come into being: one that a failed call left, or new. */
static uint32_t new_object(struct vt_pending *p, uint8_t object)
{
	bool huge = object == VT_FILE_HUGETLB;
	uint32_t id = atomic_exchange(&p->spare[huge], 0);
	return id ? id
		  : vt_file_new(object, 0,
				huge ? "/anon_hugepage (deleted)" : "/dev/zero (deleted)");
}

/* The call failed: the object has not come into being. */
static void keep_spare(struct vt_pending *p)
{
	uint8_t object = p->kind == VT_MMAP ? object_of(p->a) : VT_FILE_NONE;
	if (object)
		atomic_store(&p->spare[object == VT_FILE_HUGETLB], p->file);
	if (object)
		p->file = 0;
}

/*
 * Find out what is about to be mapped. Whoever reads the kernel's view under the lock, for which
 * this may have to wait, need not wait for us: we are not in the kernel yet.
 */
static void look_up(struct vt_pending *p)
{
	uint8_t object = p->kind == VT_MMAP ? object_of(p->a) : VT_FILE_NONE;
	if (!object && p->kind == VT_MMAP && p->a[3] & MAP_ANONYMOUS)
		return;
	bool outermost = p->since == p->begin;
	if (outermost)
		p->since = VT_NOT_YET;
	p->file = object ? new_object(p, object) : file_of(p->kind, p->a);
	if (p->file && !object && p->kind == VT_MMAP)
		p->flags |= access_of(p->a);
	p->begin = vt_tick();
	if (outermost)
		p->since = p->begin;
}

static inline uint64_t head(void)
{
	return atomic_load_explicit(&vt.live->ring_head, memory_order_acquire);
}

static inline void fill(struct vt_slot *s, const struct vt_pending *p, uint8_t kind, uint8_t flags)
{
	for (int i = 0; i < VT_MAX_ARGS; i++)
		s->a[i] = p->a[i];
	s->begin_tick = p->begin;
	s->tid = p->tid;
	s->stack = p->stack;
	s->file = p->file;
	s->aux = 0;
	s->kind = kind;
	s->flags = p->flags | flags;
}

/* Take a slot, waiting for room where many others took theirs since we looked. NULL: it is lost. */
static struct vt_slot *claim(struct vt_pending *p)
{
	struct vt_slot *s;
	for (int tries = 0; tries < 8; tries++) {
		if (vt_likely((s = vt_slot_claim(OWN_RESERVE, &p->index)) != NULL))
			return s;
		vt_drain_for_room();
	}
	atomic_fetch_add(&vt.header->lost, 1);
	return NULL;
}

/*
 * Enter a call that is over: it takes its place now. seen is the ring's head before the call. An
 * event that finds no slot is counted as lost. Returns the slot's index, 0 for none.
 */
static uint64_t commit(struct vt_pending *p, uint8_t kind, uint8_t flags, long ret, uint64_t seen,
		       uint64_t end)
{
	struct vt_slot *s = claim(p);
	uint64_t index = p->index;
	if (vt_unlikely(!s))
		return 0;
	fill(s, p, kind, flags);
	s->ret = ret;
	s->end_tick = end;
	s->span = (uint32_t)(index - seen);
	vt_slot_done(s, index);
	return index;
}

static void clear(struct vt_pending *p)
{
	p->kind = VT_KIND_COUNT;
	atomic_signal_fence(memory_order_seq_cst);
	p->frame = NULL;
}

/*
 * A call whose frame is gone: its result is not known. Whether it stands in a slot now; one that
 * had no slot, or no more than a ticket, does not.
 */
static bool abandon(struct vt_pending *p)
{
	struct vt_slot *s = &vt.ring[p->index & vt.ring_mask];
	uint64_t state = atomic_load(&s->state);
	bool entered = true;
	if (p->kind == VT_KIND_COUNT) {
		/* left before it called, or after it was entered */
	} else if (!p->index) {
		entered = false;
	} else if (state == (p->index << 2 | VT_SLOT_FINISHING) || vt_slot_finish(s, p->index)) {
		s->flags |= VT_EV_UNDONE;
		s->ret = 0;
		vt_slot_done(s, p->index);
	} else if (state == (p->index << 2 | VT_SLOT_FILLING)) {
		fill(s, p, p->kind, VT_EV_UNDONE);
		s->ret = 0;
		s->end_tick = p->begin;
		vt_slot_done(s, p->index);
	} else {
		entered = state >> 2 == p->index;
	}
	return entered;
}

/* The same in the thread that has left it. */
static void leave(struct vt_pending *p)
{
	if (!abandon(p))
		commit(p, p->kind, VT_EV_UNDONE, 0, head(), p->begin);
	clear(p);
}

/*
 * The pending call of a task that is gone or has another image by now: an execve that did not come
 * back has succeeded.
 */
void vt_call_left(struct vt_pending *p)
{
	if (p->kind == VT_EXECVE && p->index) {
		struct vt_slot *s = &vt.ring[p->index & vt.ring_mask];
		if (vt_slot_finish(s, p->index)) {
			s->ret = 0;
			s->end_tick = vt_tick();
			vt_slot_done(s, p->index);
		}
	} else {
		abandon(p);
	}
	clear(p);
}

/*
 * A thread that was cancelled in the middle of a call, or ended by a handler that had interrupted
 * one, leaves its record behind: that call is over, and its slot holds nobody up. Under the lock,
 * where no slot may be taken: a call that had none yet is not told, the kernel's view must do.
 */
void vt_call_bury(void)
{
	for (struct vt_pending *p = vt.threads; p; p = p->next) {
		if (!*(void *volatile *)&p->frame || p->pid != vt.pid || p == vt_me()->pending ||
		    !vt_is_gone(p->pid, p->tid))
			continue;
		vt_call_left(p);
		vt.heal_wanted = true;
	}
}

/* At the end of the process: a pending call of this thread does not come back. */
void vt_call_abandon(void)
{
	struct vt_pending *p = vt_me()->pending;
	if (p && p->frame)
		leave(p);
}

/*
 * A call as the program makes it; never read back from where a handler could have been. told: the
 * event's arguments, where they are not the call's own.
 */
struct call {
	uint8_t kind, flags;
	uint32_t stack;
	long nr, a[VT_MAX_ARGS];
	const uint64_t *told;
};

static inline long make(const struct call *c)
{
	return vt_sys6(c->nr, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
}

static void define_file(void *arg)
{
	if (atomic_load(&vt.on))
		vt_file_define(*(uint32_t *)arg);
}

/*
 * A handler has interrupted the call and forked, and we are the child, in which it has made no call
 * since: the region that the slot is in is not there.
 */
static __attribute__((noinline)) long enter_in_child(struct vt_pending *p, uint8_t kind, long ret)
{
	uint64_t end = vt_tick();
	vt_after_fork();
	if (!atomic_load(&vt.on))
		return ret;
	vt_thread_seen(vt_me());
	p->stack = vt_stack_id();
	vt_locked(define_file, &p->file);
	commit(p, kind, VT_EV_LATE, ret, head(), end);
	return ret;
}

static inline bool is_new_process(void)
{
	return !atomic_load_explicit(vt.fork_guard, memory_order_relaxed);
}

/* A call that gives memory up: it has its place before the kernel acts. */
static long releasing(struct vt_pending *p, const struct call *c)
{
	if (c->kind == VT_EXECVE)
		p->file = (uint32_t)c->a[VT_EXEC_FILE];
	struct vt_slot *s = claim(p);
	uint64_t index = p->index;
	if (vt_likely(s)) {
		fill(s, p, c->kind, 0);
		vt_slot_begin(s, index);
	}
	long ret = make(c);
	uint64_t end = vt_tick();
	if (vt_unlikely(is_new_process()))
		return enter_in_child(p, c->kind, ret);
	if (vt_unlikely(!s))
		return ret;
	if (vt_unlikely(!vt_slot_finish(s, index))) {
		commit(p, c->kind, VT_EV_LATE, ret, index, end);
		return ret;
	}
	s->ret = ret;
	s->end_tick = end;
	s->span = (uint32_t)(head() - index - 1);
	vt_slot_done(s, index);
	return ret;
}

/* Any other call: it has its place after the kernel acted. */
static long taking(struct vt_pending *p, const struct call *c)
{
	if (p->kind == VT_MMAP || p->kind == VT_SHMAT)
		look_up(p);
	uint64_t seen = head();
	long ret = make(c);
	uint64_t end = vt_tick();
	if (vt_unlikely(is_new_process()))
		return enter_in_child(p, c->kind, ret);
	if (vt_unlikely(vt_is_error(ret)))
		keep_spare(p);
	else if (p->file && p->kind == VT_MMAP && (p->a[2] & PROT_EXEC))
		vt_walk_forget((uint64_t)ret, p->a[1]);
	commit(p, c->kind, 0, ret, seen, end);
	return ret;
}

/*
 * A handler may come between any two of these stores, and either return, having put back what it
 * found, or jump away for good. It puts back whatever stands under a frame, so the frame is set
 * first and taken away last; what stands there is believed only once its kind is set.
 */
static inline void stage(struct vt_pending *p, const struct call *c, const struct vt_pending *outer)
{
	p->kind = VT_KIND_COUNT;
	atomic_signal_fence(memory_order_seq_cst);
	p->frame = __builtin_frame_address(0);
	atomic_signal_fence(memory_order_seq_cst);
	p->kind = VT_KIND_COUNT;
	p->begin = vt_tick();
	if (!outer || outer->since == VT_NOT_YET)
		p->since = p->begin;
	p->index = 0;
	for (int i = 0; i < VT_MAX_ARGS; i++)
		p->a[i] = c->told ? c->told[i] : (uint64_t)c->a[i];
	p->stack = c->stack;
	p->file = 0;
	p->flags = c->flags;
	atomic_signal_fence(memory_order_seq_cst);
	p->kind = c->kind;
}

static void put_back(struct vt_pending *p, const struct vt_pending *outer)
{
	p->kind = VT_KIND_COUNT;
	atomic_signal_fence(memory_order_seq_cst);
	p->index = outer->index;
	for (int i = 0; i < VT_MAX_ARGS; i++)
		p->a[i] = outer->a[i];
	p->begin = outer->begin;
	p->since = outer->since;
	p->stack = outer->stack;
	p->file = outer->file;
	p->flags = outer->flags;
	atomic_signal_fence(memory_order_seq_cst);
	p->kind = outer->kind;
	atomic_signal_fence(memory_order_seq_cst);
	p->frame = outer->frame;
}

/* Make the call and enter it; the index of its slot, 0 for none. */
static inline uint64_t run(struct vt_pending *p, const struct call *c,
			   const struct vt_pending *outer, long *ret)
{
	stage(p, c, outer);
	*ret = vt_kind_releases(c->kind) ? releasing(p, c) : taking(p, c);
	return p->index;
}

static inline uint64_t enter(struct vt_pending *p, const struct call *c, long *ret)
{
	uint64_t index = run(p, c, NULL, ret);
	clear(p);
	return index;
}

/* In a handler that has interrupted a call of this thread. */
static __attribute__((noinline)) uint64_t enter_nested(struct vt_pending *p, const struct call *c,
						       long *ret)
{
	const struct vt_pending outer = *p;
	uint64_t index = run(p, c, &outer, ret);
	put_back(p, &outer);
	return index;
}

/* Whether it is one to stop at. */
static __attribute__((noinline)) void check(const struct call *c, uint32_t tid)
{
	struct vt_event e = { .kind = c->kind, .flags = c->flags, .stack = c->stack, .tid = tid };
	for (int i = 0; i < VT_MAX_ARGS; i++)
		e.a[i] = c->told ? c->told[i] : (uint64_t)c->a[i];
	vt_stop_check(&e);
}

static inline __attribute__((always_inline)) long record(const struct call *call)
{
	struct call c = *call;
	if (vt_unlikely(!atomic_load_explicit(&vt.on, memory_order_acquire))) {
		if (atomic_load_explicit(&vt.full, memory_order_acquire) &&
		    atomic_load(vt.fork_guard))
			atomic_fetch_add(&vt.header->lost, 1);
		return make(&c);
	}
	int saved = errno;
	if (vt_unlikely(!atomic_load_explicit(vt.fork_guard, memory_order_relaxed))) {
		vt_after_fork();
		if (!atomic_load(&vt.on))
			return make(&c);
	}
	struct vt_thread *t = vt_me();
	if (vt_unlikely(!vt_is_known(t) || t->name_stale))
		vt_thread_seen(t);
	struct vt_pending *p = t->pending;
	if (vt_unlikely(!p)) {
		atomic_fetch_add(&vt.header->lost, 1);
		return make(&c);
	}
	vt_drain_for_room();
	if (vt_unlikely(p->frame) && vt_abandoned(p->frame, __builtin_frame_address(0)))
		leave(p);
	c.stack = vt_stack_id();

	c.flags |= t->flags;
	if (vt_unlikely(vt.options.stop_on))
		check(&c, t->tid);
	long ret;
	uint64_t index = vt_likely(!p->frame) ? enter(p, &c, &ret) : enter_nested(p, &c, &ret);
	vt_drain_if_due(index);
	vt_snapshot_if_asked();
	errno = saved;
	return ret;
}

/*
 * Make system call nr and record it as kind. Returns what the kernel returned. errno is left as
 * it was.
 */
long vt_call(uint8_t kind, uint8_t flags, long nr, long a0, long a1, long a2, long a3, long a4,
	     long a5)
{
	return record(&(struct call){ kind, flags, 0, nr, { a0, a1, a2, a3, a4, a5 }, NULL });
}

/* The same, for a call whose event holds other arguments than the call itself. */
long vt_call_told(uint8_t kind, uint8_t flags, long nr, const long *a, const uint64_t *told)
{
	struct call c = { .kind = kind, .flags = flags, .nr = nr, .told = told };
	for (int i = 0; i < VT_MAX_ARGS; i++)
		c.a[i] = a[i];
	return record(&c);
}
