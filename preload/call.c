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
#include <errno.h>
#include <linux/shm.h>
#include <sys/mman.h>
#include "recorder.h"

__thread struct vt_thread vt_self;
struct vt_recorder vt;

/* A System V segment's length, 0 when the kernel does not tell. */
static uint64_t segment_length(int shmid)
{
	struct shmid64_ds ds;
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

/* Anonymous objects that get a name of their own in maps: one file id each, once they exist. */
static uint32_t anonymous_object(uint8_t kind, const uint64_t *a, long ret)
{
	if (kind != VT_MMAP || !(a[3] & MAP_ANONYMOUS) || vt_is_error(ret))
		return 0;
	if (a[3] & MAP_HUGETLB)
		return vt_file_new(VT_FILE_HUGETLB, 0, "/anon_hugepage (deleted)");
	if ((a[3] & MAP_TYPE) != MAP_PRIVATE && (a[3] & MAP_TYPE) != 0x08 /* MAP_DROPPABLE */)
		return vt_file_new(VT_FILE_SHM_ANON, 0, "/dev/zero (deleted)");
	return 0;
}

static inline void fill(struct vt_slot *s, uint8_t kind, uint8_t flags, const uint64_t *a,
			uint32_t stack, uint32_t file)
{
	for (int i = 0; i < VT_MAX_ARGS; i++)
		s->a[i] = a[i];
	s->tid = vt_self.tid;
	s->stack = stack;
	s->file = file;
	s->aux = 0;
	s->kind = kind;
	s->flags = flags;
}

/* Commit an event that is complete but for its place; an event without a slot is counted lost. */
static uint64_t commit(uint8_t kind, uint8_t flags, const uint64_t *a, long ret, uint32_t stack,
		       uint32_t file, uint64_t seen, uint64_t begin, uint64_t end)
{
	uint64_t index;
	struct vt_slot *s = vt_slot_claim(64, &index);
	if (vt_unlikely(!s))
		return 0;
	fill(s, kind, flags, a, stack, file);
	s->ret = ret;
	s->begin_tick = begin;
	s->end_tick = end;
	s->span = (uint32_t)(index - seen);
	atomic_store_explicit(&s->state, index << 2 | VT_SLOT_DONE, memory_order_release);
	return index;
}

static inline uint64_t head(void)
{
	return atomic_load_explicit(&vt.live->ring_head, memory_order_acquire);
}

static long make(long nr, const uint64_t *a)
{
	return vt_sys6(nr, (long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], (long)a[5]);
}

/* A call that gives memory up: it has its place before the kernel acts. */
static long releasing(uint8_t kind, uint8_t flags, long nr, const uint64_t *a, uint32_t stack)
{
	uint64_t index;
	struct vt_slot *s = vt_slot_claim(64, &index);
	uint64_t begin = vt_tick();
	if (vt_likely(s)) {
		fill(s, kind, flags, a, stack, 0);
		s->begin_tick = begin;
		vt_slot_begin(s, index);
	}
	long ret = make(nr, a);
	uint64_t end = vt_tick();
	if (vt_unlikely(!s))
		return ret;
	if (vt_unlikely(!vt_slot_finish(s, index))) {
		commit(kind, flags | VT_EV_LATE, a, ret, stack, 0, index, begin, end);
		return ret;
	}
	s->ret = ret;
	s->end_tick = end;
	s->span = (uint32_t)(head() - index - 1);
	atomic_store_explicit(&s->state, index << 2 | VT_SLOT_DONE, memory_order_release);
	vt_drain_if_due(index);
	return ret;
}

/*
 * Make system call nr and record it as kind. Returns what the kernel returned. errno is left as
 * it was.
 */
long vt_call(uint8_t kind, uint8_t flags, long nr, long a0, long a1, long a2, long a3, long a4,
	     long a5)
{
	uint64_t a[VT_MAX_ARGS] = { (uint64_t)a0, (uint64_t)a1, (uint64_t)a2,
				    (uint64_t)a3, (uint64_t)a4, (uint64_t)a5 };
	if (vt_unlikely(!atomic_load_explicit(&vt.on, memory_order_acquire)))
		return make(nr, a);
	struct vt_thread *t = &vt_self;
	int saved = errno;
	if (vt_unlikely(!atomic_load_explicit(vt.fork_guard, memory_order_relaxed))) {
		vt_after_fork();
		if (!atomic_load(&vt.on))
			return make(nr, a);
	}
	if (vt_unlikely(!t->tid || t->name_stale))
		vt_thread_seen(t);
	vt_drain_for_room();

	uint32_t stack = 0;
	if (vt_unlikely(t->internal))
		flags |= VT_EV_OWN;
	else
		stack = vt_stack_id();
	long ret;
	if (vt_kind_releases(kind)) {
		ret = releasing(kind, flags, nr, a, stack);
	} else {
		uint64_t real[VT_MAX_ARGS];
		for (int i = 0; i < VT_MAX_ARGS; i++)
			real[i] = a[i];
		uint32_t file = file_of(kind, a);
		uint64_t seen = head();
		uint64_t begin = vt_tick();
		ret = make(nr, real);
		uint64_t end = vt_tick();
		if (kind == VT_MMAP && !file)
			file = anonymous_object(kind, a, ret);
		uint64_t index =
			commit(kind, flags, a, ret, stack, file, seen, begin, end);
		vt_drain_if_due(index);
	}
	vt_snapshot_if_asked();
	errno = saved;
	return ret;
}
