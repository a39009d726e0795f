/*
 * pending.c - what others may know of a thread's call that is under way, from its pending record.
 *
 * Runs inside the traced process, under the recorder lock. The record's owner goes on meanwhile:
 * what is read is checked, and nothing but a mark is ever written.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"

/* Whether a thread may still be about to finish the slot of an index. Under the lock. */
bool vt_call_may_own(uint64_t index)
{
	for (const volatile struct vt_pending *p = vt.threads; p; p = p->next)
		if (p->frame && (p->index == index || (!p->index && p->kind != VT_KIND_COUNT)))
			return true;
	return false;
}

/*
 * What a thread's pending call may be doing to the address space; kind VT_KIND_COUNT: not
 * known, because it is being written down, is over, or has another one nested in it. False when no
 * call is pending that began up to the given tick.
 */
static bool peek(const struct vt_pending *p, uint64_t before, struct vt_event *e)
{
	const volatile struct vt_pending *v = p;
	for (int tries = 0; tries < 8; tries++) {
		uint64_t begin = v->begin, since = v->since;
		if (!v->frame || since > before)
			return false;
		*e = (struct vt_event){ .kind = v->kind, .flags = VT_EV_UNDONE };
		for (int i = 0; i < VT_MAX_ARGS; i++)
			e->a[i] = v->a[i];
		atomic_thread_fence(memory_order_acquire);
		if (v->begin == begin && v->since == since && v->kind == e->kind) {
			if (begin != since)
				e->kind = VT_KIND_COUNT;
			return true;
		}
	}
	e->kind = VT_KIND_COUNT;
	return true;
}

/*
 * The next pending record after the given one (NULL: the first) of a thread that is still in a
 * call it began before the given tick; e: what is known of the call. Under the lock.
 */
const struct vt_pending *vt_call_under_way(const struct vt_pending *after, uint64_t before,
					   struct vt_event *e)
{
	for (const struct vt_pending *p = after ? after->next : vt.threads; p; p = p->next)
		if (peek(p, before, e))
			return p;
	return NULL;
}

/*
 * At the end of the process: calls that are in the kernel and have no slot are entered as undone,
 * for what they do shows in the last snapshot. One that comes back all the same comes late.
 */
void vt_call_enter_those_away(void)
{
	struct vt_event e;
	for (struct vt_pending *p = vt.threads; p; p = p->next) {
		if (p == vt_me()->pending || !peek(p, vt_tick(), &e) || p->index ||
		    e.kind == VT_KIND_COUNT)
			continue;
		e.begin_ns = vt_ns_of_tick(p->begin);
		e.tid = p->tid;
		e.stack = p->stack;
		e.file = p->file;
		e.flags |= p->flags;
		p->flags |= VT_EV_LATE;
		vt_emit(&e, 0);
	}
}
