/*
 * drain.c - from the ring to the model and the chunk, in the order of the slots.
 *
 * Runs inside the traced process, under the recorder lock with all signals blocked. Whoever finds
 * enough slots waiting drains them for everybody; nobody waits for a drain but who finds the ring
 * nearly full. A slot may be taken again only when a committed frame holds its event.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include "stop.h"

#define WORTH_CUTTING 512 /* events; in less, a table for each column costs more than it saves */
#define OWN_BLOCK     256 /* bytes of a column that begins a block */
#define MARGIN        64  /* slots that must be usable beyond the next one, for calls under way */

/* Two points of the clock that far from each other make a good line. */
#define FAR_NS 100000000

/* An announced call may be given up after that, when the ring is needed. */
#define STUCK_NS 50000000
/* A call in the middle of writing its slot, after that. */
#define LOST_NS 1500000000

/*
 * Read both clocks at once: a processor may be taken from us between the two, and then the pair is
 * worth nothing.
 */
void vt_read_clocks(uint64_t *tick, uint64_t *ns)
{
	uint64_t narrowest = UINT64_MAX;
	for (int tries = 0; tries < 8 && (tries < 3 || narrowest > 6000); tries++) {
		uint64_t before = vt_tick(), at = vt_clock_ns(CLOCK_MONOTONIC), after = vt_tick();
		if (after - before >= narrowest)
			continue;
		narrowest = after - before;
		*tick = before + narrowest / 2;
		*ns = at - vt.start_ns;
	}
}

/*
 * Take the time again. Ticks are converted along the line through this point and an older one, so
 * that times are right however the two clocks drift. Points too near each other make no line: what
 * a reading is off by counts many times over for a call that began long before.
 */
static void sync_clock(void)
{
	uint64_t tick = 0, ns = 0;
	vt_read_clocks(&tick, &ns);
	if (ns - vt.sync_ns >= FAR_NS) {
		vt.last_tick = vt.sync_tick;
		vt.last_ns = vt.sync_ns;
	}
	vt.sync_tick = tick;
	vt.sync_ns = ns;
	atomic_fetch_add(&vt.live->clock_gen, 1);
	vt.live->tick[1] = tick;
	vt.live->ns[1] = ns;
	atomic_fetch_add(&vt.live->clock_gen, 1);
}

/* Nanoseconds since the start of a tick between the last two points, or near them. */
uint64_t vt_ns_of_tick(uint64_t tick)
{
	uint64_t ticks = vt.sync_tick - vt.last_tick, ns = vt.sync_ns - vt.last_ns;
	int64_t d = (int64_t)(tick - vt.last_tick);
	if (!ticks)
		return vt.last_ns;
	int64_t at = (int64_t)vt.last_ns + (int64_t)((__int128)d * (__int128)ns / (__int128)ticks);
	return at < 0 ? 0 : (uint64_t)at;
}

/* Numbers that are no int: an offset in pages, and the length of a node mask with its digest. */
static bool is_wide(uint8_t kind, int i)
{
	return (kind == VT_REMAP_FILE_PAGES && i == 3) || (kind == VT_MBIND && i == 4);
}

/* Registers hold rubbish above an int: cut each argument to what the kernel reads. */
static void normalise(struct vt_event *e)
{
	const uint8_t *class = vt_kinds[e->kind].arg;
	for (int i = 0; i < VT_MAX_ARGS; i++) {
		switch (class[i]) {
		case VT_ARG_NONE:
			e->a[i] = 0;
			break;
		case VT_ARG_ADDR:
		case VT_ARG_LEN:
		case VT_ARG_OFF:
		case VT_ARG_HEX:
		case VT_ARG_UFFD:
			break;
		case VT_ARG_FD:
		case VT_ARG_INT:
			if (!is_wide(e->kind, i))
				e->a[i] = (uint64_t)(int64_t)(int32_t)e->a[i];
			break;
		default:
			e->a[i] = (uint32_t)e->a[i];
		}
	}
	if (e->kind == VT_MREMAP && !(e->a[3] & 6 /* MREMAP_FIXED | MREMAP_DONTUNMAP */))
		e->a[4] = 0;
}

/*
 * Apply an event to the model and append it to the chunk; gives it its number. index: of its slot,
 * 0 when it has none.
 */
void vt_emit(struct vt_event *e, uint64_t index)
{
	if (!vt_chunk_has_room(&vt.chunk))
		vt_seal();
	if (vt_unlikely(!vt_chunk_has_room(&vt.chunk))) {
		atomic_fetch_add(&vt.header->lost, !index);
		return;
	}
	vt.slotless += !index;
	e->seq = vt.next_seq++;
	struct vt_effect effect;
	if (vt_unlikely(vt.options.stop_on))
		vt_stop_before(e);
	vt_order_apply(&vt.order, &vt.model, e, index, &effect);
	if (vt_unlikely(vt.options.stop_on))
		vt_stop_after(e);
	if (vt.order.wanted) {
		vt.order.wanted = false;
		vt.heal_wanted = true;
	}
	vt_chunk_put(&vt.chunk, e);
}

static void take(const struct vt_slot *s, uint64_t index, uint8_t flags)
{
	struct vt_event e = { 0 };
	e.begin_ns = vt_ns_of_tick(s->begin_tick);
	uint64_t end = flags & VT_EV_UNDONE ? 0 : vt_ns_of_tick(s->end_tick);
	e.dur_ns = end > e.begin_ns ? end - e.begin_ns : 0;
	for (int i = 0; i < VT_MAX_ARGS; i++)
		e.a[i] = s->a[i];
	e.ret = flags & VT_EV_UNDONE ? 0 : s->ret;
	e.aux = s->aux;
	e.tid = s->tid;
	e.stack = s->stack;
	e.file = s->file;
	e.span = s->span;
	e.kind = s->kind;
	e.flags = s->flags | flags;
	normalise(&e);
	vt_emit(&e, index);
}

/*
 * Whether an announced call may be given up. Then its event stands as undone, and its owner, should
 * it come back, enters it again at a later place, marked late.
 */
static bool give_up(struct vt_slot *s, uint64_t index)
{
	uint64_t expected = index << 2 | VT_SLOT_BEGUN;
	if (vt.sync_ns < vt_ns_of_tick(s->begin_tick) + STUCK_NS)
		return false;
	return atomic_compare_exchange_strong(&s->state, &expected, index << 2 | VT_SLOT_FREE);
}

/*
 * Whether a slot may be passed over that somebody took and did not finish. Its owner waits for a
 * processor somewhere in a dozen instructions, or a handler jumped away from there. Before it has
 * written anything it can be told: it takes another ticket. One in the middle of writing is only
 * given up for lost when it has stayed away as long as no live thread does, or when no thread can
 * be it; the slot is then not used again before that owner is through with it.
 */
static bool forsake(struct vt_slot *s, uint64_t index, uint64_t state)
{
	if (vt.stuck != index) {
		vt.stuck = index;
		vt.stuck_since = vt.sync_ns;
	}
	uint64_t waited = vt.sync_ns - vt.stuck_since;
	if (state == (index << 2 | VT_SLOT_BEGUN) || waited < STUCK_NS)
		return false;
	bool taken = (state & ~VT_SLOT_FILLING) >> 2 == index;
	if (!taken)
		return atomic_compare_exchange_strong(&s->state, &state, index << 2 | VT_SLOT_FREE);
	vt_call_bury();
	if (atomic_load(&s->state) != state || (waited < LOST_NS && vt_call_may_own(index)))
		return false;
	vt.heal_wanted = true;
	if (state & VT_SLOT_FILLING)
		atomic_fetch_add(&vt.header->lost, 1);
	else
		take(s, index, VT_EV_UNDONE);
	return true;
}

/* Say once from which event on something is missing, for want of memory. */
static void note_want(bool *noted, const char *key, const char *what)
{
	char line[128];
	struct vt_text t = { line, line + sizeof(line) - 1 };
	vt_text_str(&t, "no memory for it after event ");
	vt_text_u64(&t, vt.next_seq - 1);
	vt_text_str(&t, what);
	*t.p = '\0';
	*noted = true;
	vt_note(key, line);
}

/*
 * Drain all slots that are done. force: also pass over announced calls that have been away for
 * long, because the ring is needed.
 */
void vt_drain(bool force)
{
	uint64_t next = atomic_load_explicit(&vt.drained, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&vt.live->ring_head, memory_order_acquire);
	if (next == head)
		return;
	sync_clock();
	while (next < head && !atomic_load_explicit(&vt.full, memory_order_relaxed)) {
		struct vt_slot *s = &vt.ring[next & vt.ring_mask];
		uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);
		if (state == (next << 2 | VT_SLOT_DONE))
			take(s, next, 0);
		else if (force && give_up(s, next))
			take(s, next, VT_EV_UNDONE);
		else if (!force || !forsake(s, next, state))
			break;
		next++;
		atomic_store_explicit(&vt.drained, next, memory_order_release);
		if (next == head)
			head = atomic_load_explicit(&vt.live->ring_head, memory_order_acquire);
	}
	vt_arena_keep_ahead();
	if (vt_unlikely(vt.model.broken) && !vt.broken_noted)
		note_want(&vt.broken_noted, "model", ": what no call explains is not found");
	if (vt_unlikely(vt.starved) && !vt.starved_noted)
		note_want(&vt.starved_noted, "stacks", ": new ones may be missing");
	if (next - atomic_load_explicit(&vt.sealed, memory_order_relaxed) > vt.ring_mask * 3 / 8)
		vt_seal();
}

/* Where the parts of a finished chunk end in the frame of that length, all but the last. */
static size_t part_ends(uint32_t *cuts, size_t len)
{
	size_t n = 0, at = len, column[VT_COL_COUNT];
	for (int i = 0; i < VT_COL_COUNT; i++) {
		column[i] = vt_chunk_column(&vt.chunk, i, vt.chunk_mem, vt.chunk_bytes);
		at -= column[i];
	}
	for (int i = 0; i < VT_COL_COUNT; i++) {
		if (column[i] >= OWN_BLOCK && at)
			cuts[n++] = (uint32_t)at;
		at += column[i];
	}
	return n;
}

/* Put the open chunk and the journal into a frame, and free the ring slots it holds. */
void vt_seal(void)
{
	uint64_t used = atomic_load(&vt.live->journal_used);
	if (!used && !vt.chunk.n_events)
		return;
	struct vt_buf out = { vt.raw, vt.raw + vt.raw_bytes, false };
	uint32_t cuts[VT_COL_COUNT];
	vt_put_bytes(&out, vt.journal, used);
	vt_put_varint(&out, VT_DEF_NONE);
	vt_chunk_finish(&vt.chunk, vt.chunk_mem, vt.chunk_bytes, &out);
	uint32_t n = (uint32_t)vt.chunk.n_events;
	size_t n_cuts = n >= WORTH_CUTTING ? part_ends(cuts, (size_t)(out.p - vt.raw)) : 0;
	if (out.bad || !vt_store_cut_frame(VT_FRAME_EVENTS, vt.raw, (size_t)(out.p - vt.raw),
					   vt.chunk.first_seq, n, cuts, n_cuts)) {
		vt_end_for_lack_of_room();
		return;
	}
	vt.slotless = 0;
	vt.live->next_seq = vt.next_seq;
	atomic_store(&vt.live->journal_used, 0);
	vt_chunk_begin(&vt.chunk, vt.chunk_mem, vt.chunk_bytes, vt.next_seq, VT_TIME_DIGITS);
	atomic_store_explicit(&vt.sealed, atomic_load(&vt.drained), memory_order_release);
}

static void settle(void)
{
	if (vt.heal_wanted && vt.sync_ns >= vt.heal_not_before)
		vt_snapshot(VT_SNAPSHOT_CONTRADICTION);
	else if (vt.options.snapshot_every && vt.next_seq >= vt.next_interval)
		vt_snapshot(VT_SNAPSHOT_INTERVAL);
}

static void drain_and_settle(void *arg)
{
	(void)arg;
	if (atomic_load(&vt.on)) {
		vt_drain(false);
		settle();
	}
	atomic_store(&vt.drain_after, atomic_load(&vt.live->ring_head) + vt.options.batch);
}

/*
 * After a call: drain when enough slots wait and nobody else does it. Where a caller that is still
 * in the kernel stops the drain, the next ones need not try at once.
 */
void vt_drain_if_due(uint64_t index)
{
	if (vt_likely(index - atomic_load_explicit(&vt.drained, memory_order_relaxed) <
		      vt.options.batch) ||
	    index < atomic_load_explicit(&vt.drain_after, memory_order_relaxed))
		return;
	vt_locked_if_free(drain_and_settle, NULL);
}

/*
 * The disk is full, or the file may not grow: the trace ends here, with what is in its frames and,
 * behind them, in the live region. No slot is taken any more; later calls are counted, and events
 * that have no slot. Under the lock.
 */
void vt_end_for_lack_of_room(void)
{
	if (atomic_load(&vt.full))
		return;
	atomic_store(&vt.usable, 0);
	atomic_store(&vt.full, true);
	atomic_store(&vt.on, false);
	atomic_fetch_add(&vt.header->lost, vt.slotless);
}

/* What there is to be done before the next call. */
enum room { ROOM_ENOUGH, ROOM_BLOCKS, ROOM_SLOTS, ROOM_NONE };

static enum room room(void)
{
	uint64_t head = atomic_load_explicit(&vt.live->ring_head, memory_order_relaxed);
	uint64_t taken = head - atomic_load_explicit(&vt.sealed, memory_order_relaxed);
	uint64_t usable = atomic_load_explicit(&vt.usable, memory_order_relaxed);
	if (vt_unlikely(head + MARGIN >= usable))
		return ROOM_BLOCKS;
	if (vt_likely(taken <= vt.ring_mask / 2))
		return ROOM_ENOUGH;
	return taken <= vt.ring_mask / 4 * 3 ? ROOM_SLOTS : ROOM_NONE;
}

/* Make more of the ring usable, or slots free, unless somebody else has done so meanwhile. */
static void make_room(void *arg)
{
	(void)arg;
	enum room left = room();
	if (!atomic_load(&vt.on) || left == ROOM_ENOUGH)
		return;
	if (left == ROOM_BLOCKS) {
		if (!vt_store_ring())
			vt_end_for_lack_of_room();
		return;
	}
	vt_drain(true);
	vt_seal();
	settle();
}

/*
 * Outside of any call: when the ring is half full, make room unless somebody is at it; when three
 * quarters are taken, wait for who does. A slot that holds everybody up is waited for, outside the
 * lock, until it may be given up.
 */
void vt_drain_for_room(void)
{
	const struct timespec pause = { 0, 1000000 };
	for (int tries = 0; tries < 300; tries++) {
		enum room left = room();
		uint64_t sealed = atomic_load_explicit(&vt.sealed, memory_order_relaxed);
		if (vt_likely(left == ROOM_ENOUGH))
			return;
		if (left == ROOM_SLOTS) {
			vt_locked_if_free(make_room, NULL);
			return;
		}
		vt_locked(make_room, NULL);
		if (!atomic_load(&vt.on))
			return;
		if (left == ROOM_NONE && atomic_load(&vt.sealed) == sealed)
			vt_sys2(SYS_nanosleep, &pause, 0);
	}
}
