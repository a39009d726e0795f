/*
 * trace_live.c - the live region: the events that a running or killed process has in no frame yet.
 *
 * The region is copied first and the frames are read afterwards: a slot that is in no frame by then
 * was not yet reused when it was copied. A running process goes on writing meanwhile, so nothing in
 * the copy is believed without a check. Never scans more than the ring; the hole before the region
 * is never read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"
#include <vmtrail/abi.h>

/* Where the parts of the region begin in the file. */
static uint64_t journal_offset(const struct vt_trace *t)
{
	return t->header.live_off + VT_LIVE_HEAD;
}

static uint64_t ring_offset(const struct vt_trace *t)
{
	return journal_offset(t) + t->header.journal_size;
}

/* Read what there is of [offset, offset + n), the rest stays zero; false: it is cut. */
static bool read_part(struct vt_trace *t, void *p, uint64_t n, uint64_t offset, const char *what)
{
	struct vt_reader *r = vt_reader_of(t);
	uint64_t there = r->file_size > offset ? r->file_size - offset : 0;

	if (there > n)
		there = n;
	if (!vt_pread_full(r->fd, p, there, offset))
		there = 0;
	if (there == n)
		return true;
	vt_trace_damaged(t, offset, "%s: expected %llu bytes, found %llu", what,
			 (unsigned long long)n, (unsigned long long)there);
	return false;
}

/* Copy the slots of the last round, oldest first in index order; two pieces if the ring wraps. */
static bool copy_ring(struct vt_trace *t, struct vt_live_copy *copy)
{
	uint64_t slots = t->header.ring_slots, head = copy->ring_head;
	uint64_t n = head > slots ? slots : head;
	uint64_t from = (head - n) & (slots - 1);
	uint64_t first = n < slots - from ? n : slots - from;
	const uint64_t size = sizeof(struct vt_slot);

	copy->slots = vt_calloc(slots, size);
	bool upper =
	    read_part(t, copy->slots + from, first * size, ring_offset(t) + from * size, "ring");
	bool lower = read_part(t, copy->slots, (n - first) * size, ring_offset(t), "ring");
	return upper && lower;
}

bool vt_live_copy(struct vt_trace *t, struct vt_live_copy *copy)
{
	struct vt_live head = { 0 };
	struct vt_live again = { 0 };

	*copy = (struct vt_live_copy){ 0 };
	for (int tries = 0; tries < 100; tries++) {
		if (!read_part(t, &head, sizeof(head), t->header.live_off, "live region") ||
		    !read_part(t, &again, sizeof(again), t->header.live_off, "live region"))
			return false;
		if (head.clock_gen == again.clock_gen && !(head.clock_gen & 1))
			break;
	}
	copy->ring_head = again.ring_head;
	copy->next_seq = again.next_seq;
	memcpy(copy->tick, again.tick, sizeof(copy->tick));
	memcpy(copy->ns, again.ns, sizeof(copy->ns));
	copy->journal_len = again.journal_used;
	if (copy->journal_len > t->header.journal_size) {
		vt_trace_damaged(t, t->header.live_off + offsetof(struct vt_live, journal_used),
				 "journal: expected at most %u bytes, found %zu",
				 t->header.journal_size, copy->journal_len);
		copy->journal_len = 0;
		return false;
	}
	copy->journal = vt_calloc(copy->journal_len, 1);
	return read_part(t, copy->journal, copy->journal_len, journal_offset(t), "journal") &&
	       copy_ring(t, copy);
}

void vt_live_copy_free(struct vt_live_copy *copy)
{
	free(copy->journal);
	free(copy->slots);
}

/* A tick in nanoseconds since the start, in the trace's resolution. */
static uint64_t tick_ns(const struct vt_live_copy *c, uint64_t tick)
{
	uint64_t ns = c->ns[0];

	if (c->tick[1] > c->tick[0] && c->ns[1] >= c->ns[0]) {
		__int128 d = (__int128)(tick - c->tick[0]) * (c->ns[1] - c->ns[0]);
		if (tick < c->tick[0])
			d = -((__int128)(c->tick[0] - tick) * (c->ns[1] - c->ns[0]));
		d = d / (__int128)(c->tick[1] - c->tick[0]) + c->ns[0];
		ns = d < 0 ? 0 : (uint64_t)d;
	}
	return ns / VT_TIME_UNIT_NS * VT_TIME_UNIT_NS;
}

/* Registers hold rubbish above an int: cut each argument to what the kernel reads. */
static uint64_t narrowed(uint8_t class, uint64_t v)
{
	switch (class) {
	case VT_ARG_ADDR:
	case VT_ARG_LEN:
	case VT_ARG_OFF:
	case VT_ARG_HEX:
		return v;
	case VT_ARG_FD:
	case VT_ARG_INT:
		return (uint64_t)(int64_t)(int32_t)v;
	default:
		return (uint32_t)v;
	}
}

/* The event in a slot, as it will be once a frame holds it. */
static struct vt_event event_of(const struct vt_live_copy *c, const struct vt_slot *s)
{
	struct vt_event e = {
		.begin_ns = tick_ns(c, s->begin_tick),
		.stack = s->stack,
		.tid = s->tid,
		.file = vt_kind_has_file(s->kind) ? s->file : 0,
		.span = s->span,
		.aux = s->kind >= VT_UNSEEN_MAP ? s->aux : 0,
		.kind = s->kind,
		.flags = s->flags,
	};
	const uint8_t *class = vt_kinds[s->kind].arg;

	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++)
		e.a[i] = narrowed(class[i], s -> a[i]);
	if (s->kind == VT_MREMAP && !(e.a[3] & (MREMAP_FIXED | MREMAP_DONTUNMAP)))
		e.a[4] = 0;
	if ((s->state & 3) != VT_SLOT_DONE) {
		e.flags |= VT_EV_UNDONE;
		return e;
	}
	e.ret = s->ret;
	uint64_t end = tick_ns(c, s->end_tick);
	e.dur_ns = end > e.begin_ns ? end - e.begin_ns : 0;
	return e;
}

void vt_live_take(struct vt_trace *t, const struct vt_live_copy *c)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_buf journal = { c->journal, c->journal + c->journal_len, false };
	uint64_t slots = t->header.ring_slots, from = r->ring_next;
	size_t cap = 0;

	if (!vt_defs_read(t, &journal)) {
		vt_trace_damaged(t, journal_offset(t), "journal: a definition makes no sense");
	} else if (c->journal_len) {
		r->journal = vt_calloc(c->journal_len, 1);
		memcpy(r->journal, c->journal, c->journal_len);
		r->journal_len = c->journal_len;
	}
	r->ring_head = c->ring_head;
	if (!c->slots || c->ring_head <= from)
		return;
	if (c->ring_head - from > slots)
		from = c->ring_head - slots;
	uint64_t seq = r->end_seq ? r->end_seq : c->next_seq ? c->next_seq : 1;
	r->end_seq = seq;
	for (uint64_t i = from; i < c->ring_head; i++) {
		const struct vt_slot *s = &c->slots[i & (slots - 1)];
		uint64_t state = s->state;
		if (state >> 2 != i || (state & 3) == VT_SLOT_FREE)
			continue;
		if (s->kind >= VT_KIND_COUNT) {
			vt_trace_damaged(t, ring_offset(t) + (i & (slots - 1)) * sizeof(*s),
					 "ring: unknown event kind %u", s->kind);
			return;
		}
		r->live = vt_grow(r->live, r->n_live, &cap, sizeof(*r->live));
		r->live[r->n_live] = event_of(c, s);
		r->live[r->n_live++].seq = r->end_seq++;
	}
}
