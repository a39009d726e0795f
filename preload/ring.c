/*
 * ring.c - slots of the live ring: how a call gets its place in the order.
 *
 * Runs inside the traced process, without a lock, in any thread and in any signal handler. A slot
 * belongs to who claimed its index until it is done; the index is the call's ticket. The slot's
 * state is the only word a reader believes: index << 2 | what.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <errno.h>

/*
 * Make the slot of a ticket ours. False: the drain has given it up, because we did not come to it
 * for so long; or an owner of an earlier round was left behind in the middle of writing it, and may
 * go on at any time.
 */
static bool take_over(struct vt_slot *s, uint64_t index)
{
	uint64_t old = atomic_load_explicit(&s->state, memory_order_relaxed);
	return old >> 2 != index && !vt_slot_being_written(old) &&
	       atomic_compare_exchange_strong(&s->state, &old, index << 2 | VT_SLOT_FILLING);
}

/*
 * Take the next place in the order, leaving reserve slots for others. NULL: the ring is full. The
 * index is told before the slot is ours: who finds it can tell whose the slot is.
 */
struct vt_slot *vt_slot_claim(uint32_t reserve, uint64_t *index)
{
	for (;;) {
		uint64_t head = atomic_load_explicit(&vt.live->ring_head, memory_order_relaxed);
		do {
			uint64_t sealed = atomic_load_explicit(&vt.sealed, memory_order_acquire);
			uint64_t usable = atomic_load_explicit(&vt.usable, memory_order_relaxed);
			if (vt_unlikely(head - sealed + reserve > vt.ring_mask ||
					head + reserve >= usable)) {
				*index = 0;
				return NULL;
			}
		} while (!atomic_compare_exchange_weak(&vt.live->ring_head, &head, head + 1));
		*index = head;
		struct vt_slot *s = &vt.ring[head & vt.ring_mask];
		if (vt_likely(take_over(s, head)))
			return s;
	}
}

/* Announce a call that is about to be made. */
void vt_slot_begin(struct vt_slot *s, uint64_t index)
{
	atomic_store_explicit(&s->state, index << 2 | VT_SLOT_BEGUN, memory_order_release);
}

/*
 * Before the result of an announced call is stored: false when the drain has given the slot up in
 * the meantime (the caller was away for too long, or jumped out of a handler), so that the slot
 * may belong to somebody else now.
 */
bool vt_slot_finish(struct vt_slot *s, uint64_t index)
{
	uint64_t expected = index << 2 | VT_SLOT_BEGUN;
	return atomic_compare_exchange_strong(&s->state, &expected, index << 2 | VT_SLOT_FINISHING);
}

static void fill(struct vt_slot *s, uint8_t kind, uint8_t flags, const uint64_t *a, uint64_t begin)
{
	for (int i = 0; i < VT_MAX_ARGS; i++)
		s->a[i] = a[i];
	s->begin_tick = begin;
	s->tid = vt_me()->tid;
	s->stack = 0;
	s->file = 0;
	s->span = 0;
	s->aux = 0;
	s->kind = kind;
	s->flags = flags;
}

static void done(struct vt_slot *s, uint64_t index, long ret)
{
	s->ret = ret;
	s->end_tick = vt_tick();
	vt_slot_done(s, index);
}

static struct vt_slot *claim(uint64_t *index)
{
	if (!atomic_load_explicit(&vt.on, memory_order_relaxed))
		return NULL;
	struct vt_slot *s = vt_slot_claim(0, index);
	if (!s)
		atomic_fetch_add(&vt.header->lost, 1);
	return s;
}

/* An mremap of a mapping that stays, or grows where it stands, gives nothing up. */
static bool gives_up(uint8_t kind, const uint64_t *a)
{
	return vt_kind_releases(kind) && a[1] && (kind != VT_MREMAP || a[3] || a[2] < a[1]);
}

/*
 * A system call that the recorder makes for itself, entered as such: a release before it is made,
 * anything else after it, and not if it was refused. Returns what the kernel returned.
 */
long vt_own_call(uint8_t kind, long nr, const uint64_t *a)
{
	struct vt_slot *s = NULL;
	uint64_t index = 0, begin = vt_tick();
	bool releases = gives_up(kind, a);
	atomic_fetch_add(&vt.own_calls, 1);
	if (releases && (s = claim(&index))) {
		fill(s, kind, VT_EV_OWN, a, begin);
		vt_slot_begin(s, index);
	}
	long ret =
	    vt_sys6(nr, (long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], (long)a[5]);
	if (!releases && !vt_is_error(ret) && (s = claim(&index)))
		fill(s, kind, VT_EV_OWN, a, begin);
	if (s && (!releases || vt_slot_finish(s, index)))
		done(s, index, ret);
	atomic_fetch_sub(&vt.own_calls, 1);
	return ret;
}

/* An event that is over when it is told: a new process, one of several ranges of one call. */
void vt_push_with(uint8_t kind, uint8_t flags, const uint64_t *a, long ret, uint32_t stack)
{
	uint64_t index;
	if (!atomic_load(&vt.on) || !atomic_load(vt.fork_guard))
		return;
	struct vt_thread *t = vt_me();
	int saved = errno;
	if (!vt_is_known(t))
		vt_thread_seen(t);
	errno = saved;
	struct vt_slot *s = claim(&index);
	if (!s)
		return;
	fill(s, kind, flags | t->flags, a, vt_tick());
	s->stack = stack;
	done(s, index, ret);
}

/* The same with the stack of the caller. */
void vt_push(uint8_t kind, uint8_t flags, const uint64_t *a, long ret)
{
	int saved = errno;
	if (atomic_load(&vt.on) && atomic_load(vt.fork_guard))
		vt_push_with(kind, flags, a, ret, vt_stack_id());
	errno = saved;
}
