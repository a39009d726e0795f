/*
 * flux.c - what calls were doing while the kernel's view was read, which may show it or may not.
 *
 * Runs inside the traced process, under the recorder lock. A call shows itself first in its
 * thread's pending record, then in its slot. Whoever is back from the kernel is waited for, a
 * moment; who stays there is known by the record.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"

#define MAX_RANGES  16384 /* beyond that nothing is concluded */
#define WAIT_TRIES  100   /* at the last snapshot, which has to be judged */
#define SHORT_TRIES 12
#define PAUSE_NS    300000

static struct {
	struct vt_range range[MAX_RANGES];
	uint32_t n;
	bool overflow, anywhere;
} f;

static void add(const struct vt_event *e)
{
	struct vt_range r[2];
	bool anywhere = false;
	int n = vt_event_places(&vt.model, e, r, &anywhere);
	f.anywhere |= anywhere;
	for (int i = 0; i < n; i++) {
		if (f.n && f.range[f.n - 1].lo == r[i].lo && f.range[f.n - 1].hi == r[i].hi)
			continue;
		if (f.n == MAX_RANGES) {
			f.overflow = true;
			return;
		}
		f.range[f.n++] = r[i];
	}
}

/*
 * The slots taken since ring_lo: calls that were under way, but for those that began after the
 * reading ended. False when one does not tell yet what it is for, or where.
 */
static bool add_slots(uint64_t ring_lo, uint64_t end_tick)
{
	uint64_t head = atomic_load_explicit(&vt.live->ring_head, memory_order_acquire);
	bool known = true;
	for (uint64_t i = ring_lo; i < head; i++) {
		const struct vt_slot *s = &vt.ring[i & vt.ring_mask];
		uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);
		if (state >> 2 != i || (state & 3) == VT_SLOT_FREE) {
			known = false;
			continue;
		}
		if (s->begin_tick > end_tick)
			continue;
		bool done = (state & 3) == VT_SLOT_DONE;
		struct vt_event e = { .kind = s->kind, .flags = s->flags };
		memcpy(e.a, s->a, sizeof(e.a));
		e.ret = done ? s->ret : 0;
		e.flags |= done ? 0 : VT_EV_UNDONE;
		known &= done || e.kind != VT_MREMAP;
		add(&e);
	}
	return known;
}

/*
 * The calls that are in no slot yet. False when there are any; *named: all tell what they are. The
 * caller's own may be among them: the one that a handler has interrupted, or the one that found the
 * ring full. It will not come back while we wait.
 */
static bool add_pending(uint64_t end_tick, bool *named)
{
	const struct vt_pending *mine = vt_me()->pending;
	bool none = true;
	struct vt_event e;
	*named = true;
	for (const struct vt_pending *p = NULL; (p = vt_call_under_way(p, end_tick, &e)) != NULL;) {
		none &= p == mine;
		if (e.kind == VT_KIND_COUNT)
			*named = false;
		else
			add(&e);
	}
	return none;
}

/*
 * Find out what calls may have been in the kernel between the drain up to slot ring_lo and
 * end_tick. last: nothing comes after this snapshot; then calls that are still away do not count,
 * for nobody will hear of them again. Returns what can be concluded of a difference elsewhere.
 */
enum vt_flux_state vt_flux_gather(uint64_t ring_lo, uint64_t end_tick, bool last)
{
	const struct timespec pause = { 0, PAUSE_NS };
	vt_call_bury();
	for (int tries = last ? WAIT_TRIES : SHORT_TRIES;; tries--) {
		bool named;
		f.n = 0;
		f.overflow = f.anywhere = false;
		bool own_back = !atomic_load(&vt.own_calls);
		bool back = add_pending(end_tick, &named) && own_back;
		f.anywhere |= !own_back;
		if (last)
			f.n = 0;
		bool known = add_slots(ring_lo, end_tick);
		if (f.overflow || ((back || !tries) && !named && !last))
			return VT_FLUX_UNKNOWN;
		if (back && known)
			return f.anywhere ? VT_FLUX_SOME_AWAY : VT_FLUX_ALL_BACK;
		if (!tries)
			return VT_FLUX_SOME_AWAY;
		vt_sys2(SYS_nanosleep, &pause, 0);
	}
}

/* Whether the program made no call at all while the kernel's view was read. */
bool vt_flux_idle(uint64_t ring_lo, uint64_t end_tick)
{
	uint64_t head = atomic_load_explicit(&vt.live->ring_head, memory_order_acquire);
	struct vt_event e;
	if (vt_call_under_way(NULL, end_tick, &e) || atomic_load(&vt.own_calls))
		return false;
	for (uint64_t i = ring_lo; i < head; i++) {
		const struct vt_slot *s = &vt.ring[i & vt.ring_mask];
		uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);
		if (state >> 2 != i || (s->begin_tick <= end_tick && !(s->flags & VT_EV_OWN)))
			return false;
	}
	return true;
}

/* Whether a call that is away may map where the kernel likes. */
bool vt_flux_anywhere(void)
{
	return f.anywhere;
}

/* Count a range as under way. Where there is no room, the last one grows. */
void vt_flux_add(struct vt_range r)
{
	vt_ranges_add(f.range, &f.n, MAX_RANGES, r);
}

const struct vt_range *vt_flux_ranges(size_t *n)
{
	*n = f.n;
	return f.range;
}

/*
 * The part of [*lo, hi) that no call under way touches, from *lo on: moves *lo to its start and
 * returns its end; *lo is hi when there is none.
 */
uint64_t vt_flux_quiet(uint64_t *lo, uint64_t hi)
{
	uint64_t end = hi;
	for (size_t i = 0; i < f.n && *lo < hi; i++) {
		const struct vt_range *r = &f.range[i];
		if (r->lo <= *lo && *lo < r->hi) {
			*lo = r->hi < hi ? r->hi : hi;
			end = hi;
			i = (size_t)-1; /* another one may begin before the new place */
		} else if (r->lo > *lo && r->lo < end) {
			end = r->lo;
		}
	}
	return end;
}

/* Whether a call under way touches r. */
bool vt_flux_touches(struct vt_range r)
{
	uint64_t lo = r.lo;
	return vt_flux_quiet(&lo, r.hi) != r.hi || lo != r.lo;
}
