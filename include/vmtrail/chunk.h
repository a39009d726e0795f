/*
 * chunk.h - how events become bytes, and back.
 *
 * A chunk of events is kept in columns: like fields stand together, which is what makes them
 * small under zstd. Chunks are self-contained: every prediction starts afresh.
 *
 *   chunk = varint n_events, varint first_seq, varint digits, VT_COL_COUNT times (varint length),
 *           the columns
 *
 * An event is predicted from the one before with the same stack: the same call with the same
 * arguments, its addresses as far from the last one as then. Its stack is predicted from what came
 * after the thread's last one. What is otherwise is said in its token.
 *
 * One routine, vt_codec_event, walks an event's fields for both directions, so that writer and
 * reader cannot disagree. Reading is safe on any bytes: it stops with an error.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_CHUNK_H
#define VMTRAIL_CHUNK_H

#include <vmtrail/chunk_fields.h>

/* What is not as predicted. */
enum {
	VT_TOKEN_TID = 1 << 0,    /* another thread than the last event's */
	VT_TOKEN_SECOND = 1 << 1, /* the stack: as the time before last */
	VT_TOKEN_STACK = 1 << 2,  /* the stack: another */
	VT_TOKEN_KIND = 1 << 3,   /* kind, flags */
	VT_TOKEN_SMALL = 1 << 4,  /* arguments that are neither address nor length */
	VT_TOKEN_LEN = 1 << 5,    /* lengths and offsets */
	VT_TOKEN_RET = 1 << 6,    /* result other than 0 or an address, file, span other than 0 */
	VT_TOKEN_ADDR = 1 << 7,   /* addresses */
};

/*
 * Sets of arguments, as bits, of each kind. A result that is an address counts as one more argument
 * behind the last: result is its bit, or none. file: all ones where the event names one, or none.
 */
#define VT_ARG_SET(test, a, b, c, d, e, f)                                                         \
	(uint8_t)(test(a) | test(b) << 1 | test(c) << 2 | test(d) << 3 | test(e) << 4 |            \
		  test(f) << 5)
#define VT_ARG_IS_ADDR(x)  (VT_ARG_##x == VT_ARG_ADDR)
#define VT_ARG_IS_LEN(x)   (VT_ARG_##x == VT_ARG_LEN || VT_ARG_##x == VT_ARG_OFF)
#define VT_ARG_IS_SMALL(x) (VT_ARG_##x && !VT_ARG_IS_ADDR(x) && !VT_ARG_IS_LEN(x))
#define VT_RESULT          VT_MAX_ARGS
static const struct {
	uint8_t addrs, lengths, small, result;
	uint32_t file;
} vt_arg_sets[VT_KIND_COUNT] = {
#define VT_KIND_SETS(e, name, ...)                                                                 \
	[VT_##e] = { VT_ARG_SET(VT_ARG_IS_ADDR, __VA_ARGS__),                                      \
		     VT_ARG_SET(VT_ARG_IS_LEN, __VA_ARGS__),                                       \
		     VT_ARG_SET(VT_ARG_IS_SMALL, __VA_ARGS__),                                     \
		     (VT_KINDS_RETURNING_ADDRESS >> VT_##e & 1) << VT_RESULT,                      \
		     -(uint32_t)(VT_KINDS_WITH_FILE >> VT_##e & 1) },
	VT_KINDS(VT_KIND_SETS)
#undef VT_KIND_SETS
};

/* Which thread. */
static inline __attribute__((always_inline)) struct vt_code_thread *
vt_codec_thread(struct vt_chunk *c, bool put, unsigned *token, struct vt_event *e)
{
	uint64_t v = 0;
	if (put && e->tid != c->tid)
		*token |= VT_TOKEN_TID;
	if (*token & VT_TOKEN_TID) {
		v = put ? vt_zigzag((int64_t)e->tid - c->tid) : 0;
		vt_column_u(c, put, VT_COL_TID, &v);
		c->tid = put ? e->tid : c->tid + (uint32_t)vt_unzigzag(v);
	}
	e->tid = c->tid;
	return &c->thread[e->tid % VT_CODE_THREADS];
}

/* With which stack; returns which event it is predicted from. */
static inline __attribute__((always_inline)) unsigned vt_codec_stack(struct vt_chunk *c, bool put,
								     struct vt_code_thread *t,
								     unsigned *token,
								     struct vt_event *e)
{
	uint64_t v = 0;
	uint32_t *next = c->call[t->last].next;
	if (put && e->stack != next[0])
		*token |= e->stack == next[1] ? VT_TOKEN_SECOND : VT_TOKEN_STACK;
	if (*token & VT_TOKEN_STACK) {
		v = put ? vt_zigzag((int32_t)(c->newest_stack + 1 - e->stack)) : 0;
		vt_column_u(c, put, VT_COL_STACK, &v);
		e->stack = put ? e->stack : c->newest_stack + 1 - (uint32_t)vt_unzigzag(v);
	} else {
		e->stack = next[*token & VT_TOKEN_SECOND ? 1 : 0];
	}
	if (*token & (VT_TOKEN_SECOND | VT_TOKEN_STACK)) {
		next[1] = next[0];
		next[0] = e->stack;
		if (e->stack > c->newest_stack)
			c->newest_stack = e->stack;
	}
	/* Without stacks calls are told apart by the one before. */
	return t->last = (uint8_t)(e->stack ? e->stack % VT_PRECEDENTS : t->kind);
}

static inline __attribute__((always_inline)) void vt_codec_args(struct vt_chunk *c, bool put,
								struct vt_precedent *s,
								unsigned token, struct vt_event *e)
{
	const uint8_t *class = vt_kinds[e->kind].arg;
	unsigned lengths = token & VT_TOKEN_LEN ? vt_arg_sets[e->kind].lengths : 0;
	unsigned small = token & VT_TOKEN_SMALL ? vt_arg_sets[e->kind].small : 0;
	for (unsigned set = lengths | small; set; set &= set - 1) {
		int i = __builtin_ctz(set);
		uint64_t v = e->a[i];
		if (lengths >> i & 1) {
			vt_column_paged(c, put, VT_COL_LEN, &v);
		} else if (class[i] == VT_ARG_HEX) {
			vt_column_u(c, put, VT_COL_WIDE, &v);
		} else if (class[i] == VT_ARG_FD || class[i] == VT_ARG_INT) {
			v = vt_zigzag((int64_t)v);
			vt_column_u(c, put, VT_COL_SMALL, &v);
			v = (uint64_t)vt_unzigzag(v);
		} else {
			vt_column_u(c, put, VT_COL_SMALL, &v);
		}
		/* to both: a copy of s would have to wait for the one to be written */
		s->a[i] = e->a[i] = v;
	}
}

_Static_assert(offsetof(struct vt_event, ret) ==
		   offsetof(struct vt_event, a) + VT_RESULT * sizeof(uint64_t),
	       "the result follows the arguments");

/* Where an argument stands, or the result. */
static inline uint64_t *vt_address(struct vt_event *e, int i)
{
	return (uint64_t *)((char *)e + offsetof(struct vt_event, a)) + i;
}

/* Whether the addresses of a set, in their order, are all as predicted. */
static inline bool vt_addrs_predicted(const struct vt_precedent *s, uint64_t base,
				      struct vt_event *e, unsigned set)
{
	for (int i = 0; set; set &= set - 1, i++) {
		uint64_t v = *vt_address(e, __builtin_ctz(set));
		if (v != vt_predicted(&s->step[i], base))
			return false;
		base = v ? v : base;
	}
	return true;
}

static inline __attribute__((always_inline)) void
vt_codec_addrs(struct vt_chunk *c, bool put, struct vt_code_thread *t, struct vt_precedent *s,
	       unsigned *token, struct vt_event *e, unsigned set)
{
	uint64_t base = t->addr;
	if (put && !vt_addrs_predicted(s, base, e, set))
		*token |= VT_TOKEN_ADDR;
	bool predicted = !(*token & VT_TOKEN_ADDR);
	for (int i = 0; set; set &= set - 1, i++) {
		uint64_t *at = vt_address(e, __builtin_ctz(set)), v = *at;
		if (predicted) {
			v = vt_predicted(&s->step[i], base);
		} else {
			vt_codec_addr(c, put, &v, base, &s->step[i]);
			s->step[i] = v ? v - base : VT_STEP_NULL;
		}
		*at = v;
		if (v && v != base) {
			vt_seen_add(c, put, v);
			base = v;
		}
	}
	t->addr = base;
}

static inline bool vt_args_differ(const uint64_t *a, const uint64_t *b, unsigned set)
{
	uint64_t other = 0;
	for (; set; set &= set - 1)
		other |= a[__builtin_ctz(set)] ^ b[__builtin_ctz(set)];
	return other;
}

/* Kind, flags and the arguments that are no addresses. */
static inline __attribute__((always_inline)) void vt_codec_call(struct vt_chunk *c, bool put,
								struct vt_precedent *s,
								struct vt_precedent_call *call,
								unsigned *token, struct vt_event *e)
{
	if (put && (e->kind != call->kind || e->flags != call->flags))
		*token |= VT_TOKEN_KIND;
	if (*token & VT_TOKEN_KIND) {
		uint64_t kind = e->kind, flags = e->flags;
		vt_column_u(c, put, VT_COL_KIND, &kind);
		vt_column_u(c, put, VT_COL_KIND, &flags);
		if (kind >= VT_KIND_COUNT) {
			c->bad = true;
			kind = 0;
		}
		if (kind != call->kind)
			memset(s->a, 0, sizeof(s->a));
		call->kind = (uint8_t)kind;
		call->flags = (uint8_t)flags;
	}
	e->kind = call->kind;
	e->flags = call->flags;
	if (put) {
		if (vt_args_differ(e->a, s->a, vt_arg_sets[e->kind].lengths))
			*token |= VT_TOKEN_LEN;
		if (vt_args_differ(e->a, s->a, vt_arg_sets[e->kind].small))
			*token |= VT_TOKEN_SMALL;
	}
	if (!put)
		memcpy(e->a, s->a, sizeof(e->a));
	if (*token & (VT_TOKEN_LEN | VT_TOKEN_SMALL))
		vt_codec_args(c, put, s, *token, e);
}

/* Walk all fields of one event. seq is implied. */
static inline __attribute__((always_inline)) void vt_codec_event(struct vt_chunk *c, bool put,
								 struct vt_event *e)
{
	unsigned token = put ? 0 : vt_column_byte(c, put, VT_COL_TOKEN, 0);
	struct vt_code_thread *t = vt_codec_thread(c, put, &token, e);
	unsigned which = vt_codec_stack(c, put, t, &token, e);
	struct vt_precedent *s = &c->precedent[which];
	struct vt_precedent_call *call = &c->call[which];
	vt_codec_call(c, put, s, call, &token, e);

	/* Predicted from the end of the last event: threads that make call after call are regular.
	 */
	int64_t pause = put ? (int64_t)(e->begin_ns / VT_TIME_UNIT_NS - c->now) : 0;
	int64_t dur = put ? (int64_t)(e->dur_ns / VT_TIME_UNIT_NS) : 0;
	uint64_t begin = c->now + (uint64_t)vt_codec_time(c, put, VT_COL_TIME, pause);
	e->begin_ns = begin * VT_TIME_UNIT_NS;
	dur = vt_codec_time(c, put, VT_COL_DUR, dur);
	e->dur_ns = (uint64_t)dur * VT_TIME_UNIT_NS;
	c->now = begin + (uint64_t)dur;

	unsigned result = vt_arg_sets[e->kind].result;
	uint32_t has_file = vt_arg_sets[e->kind].file;
	int64_t ret = put && !(result && !vt_is_error(e->ret)) ? e->ret : 0;
	if (put && (ret || e->span || (has_file && e->file != call->file)))
		token |= VT_TOKEN_RET;
	if (!put)
		e->span = 0;
	if (token & VT_TOKEN_RET) {
		uint64_t r = vt_zigzag(ret), span = e->span, file = e->file;
		vt_column_u(c, put, VT_COL_RET, &r);
		vt_column_u(c, put, VT_COL_RET, &span);
		if (has_file)
			vt_column_u(c, put, VT_COL_RET, &file);
		if (has_file)
			call->file = (uint32_t)file;
		e->span = (uint32_t)span;
		ret = vt_unzigzag(r);
	}
	e->file = call->file & has_file;
	if (!put)
		e->ret = ret;
	vt_codec_addrs(c, put, t, s, &token, e, vt_arg_sets[e->kind].addrs | (ret ? 0 : result));

	if (e->kind >= VT_UNSEEN_MAP)
		vt_column_u(c, put, VT_COL_WIDE, &e->aux);
	else
		e->aux = 0;
	t->kind = e->kind;
	if (put)
		vt_column_byte(c, put, VT_COL_TOKEN, token);
}

/*
 * Begin a chunk over columns carved out of mem (bytes in all, at least 64 KiB). Every column gets
 * an equal share. digits: significant bits that times keep, but their error never exceeds 8 units;
 * 64: all.
 */
static inline void vt_chunk_begin(struct vt_chunk *c, uint8_t *mem, size_t bytes,
				  uint64_t first_seq, unsigned digits)
{
	memset(c, 0, sizeof(*c));
	c->first_seq = first_seq;
	vt_time_table(c, digits);
	size_t share = bytes / VT_COL_COUNT;
	for (int i = 0; i < VT_COL_COUNT; i++)
		c->col[i] = (struct vt_buf){ mem + share * i, mem + share * (i + 1), false };
}

#define VT_EVENT_ROOM 100 /* bytes that one event takes of a column, at most */

/* Whether one more event is sure to fit. */
static inline bool vt_chunk_has_room(struct vt_chunk *c)
{
	if (__builtin_expect(c->sure, 1))
		return true;
	size_t least = SIZE_MAX;
	for (int i = 0; i < VT_COL_COUNT; i++) {
		size_t room = (size_t)(c->col[i].end - c->col[i].p);
		least = room < least ? room : least;
	}
	c->sure = (unsigned)(least / VT_EVENT_ROOM);
	return c->sure;
}

/* Append an event; there must be room. */
static inline void vt_chunk_put(struct vt_chunk *c, const struct vt_event *e)
{
	struct vt_event copy = *e;
	vt_codec_event(c, true, &copy);
	c->n_events++;
	c->sure -= c->sure > 0;
}

/* How long a column of a chunk being written is; mem, bytes as given to vt_chunk_begin. */
static inline size_t vt_chunk_column(const struct vt_chunk *c, int i, const uint8_t *mem,
				     size_t bytes)
{
	size_t n = (size_t)(c->col[i].p - (mem + bytes / VT_COL_COUNT * (size_t)i));
	return i == VT_COL_BITS && c->n_bits ? n + 1 : n;
}

/*
 * Write the finished chunk to out; mem, bytes as given to vt_chunk_begin. Returns false when out
 * was too small.
 */
static inline bool vt_chunk_finish(const struct vt_chunk *c, const uint8_t *mem, size_t bytes,
				   struct vt_buf *out)
{
	size_t share = bytes / VT_COL_COUNT;
	vt_put_varint(out, c->n_events);
	vt_put_varint(out, c->first_seq);
	vt_put_varint(out, c->digits);
	for (int i = 0; i < VT_COL_COUNT; i++)
		vt_put_varint(out, vt_chunk_column(c, i, mem, bytes));
	for (int i = 0; i < VT_COL_COUNT; i++)
		vt_put_bytes(out, mem + share * i, vt_chunk_column(c, i, mem, bytes));
	return !out->bad;
}

/* Open a chunk for reading from in, which is left after it. Returns false on nonsense. */
static inline bool vt_chunk_open(struct vt_chunk *c, struct vt_buf *in)
{
	uint64_t len[VT_COL_COUNT];
	memset(c, 0, sizeof(*c));
	uint64_t n_events = vt_get_varint(in), first_seq = vt_get_varint(in);
	uint64_t digits = vt_get_varint(in);
	for (int i = 0; i < VT_COL_COUNT; i++)
		len[i] = vt_get_varint(in);
	for (int i = 0; i < VT_COL_COUNT; i++) {
		const uint8_t *p = vt_get_bytes(in, len[i]);
		if (!p)
			return false;
		c->col[i] = (struct vt_buf){ (uint8_t *)p, (uint8_t *)p + len[i], false };
	}
	/* of these each event takes one byte, unasked */
	if (in->bad || digits < 2 || digits > 64 || len[VT_COL_TOKEN] < n_events ||
	    len[VT_COL_TIME] < n_events || len[VT_COL_DUR] < n_events)
		return false;
	c->n_events = n_events;
	c->first_seq = first_seq;
	vt_time_table(c, (unsigned)digits);
	/* a word that is loaded may reach into the columns behind, but not further */
	size_t safe = (size_t)(in->p - c->col[VT_COL_BITS].p), word = sizeof(uint64_t);
	if (safe >= word) {
		safe -= word;
		safe = safe < len[VT_COL_BITS] ? safe : len[VT_COL_BITS];
		c->safe_bits = safe * 8 + 1;
	}
	return true;
}

/* Read the next event, of which there must be one. Returns whether its bytes make sense. */
static inline __attribute__((always_inline)) bool vt_chunk_get(struct vt_chunk *c,
							       struct vt_event *e)
{
	e->seq = c->first_seq + c->done;
	vt_codec_event(c, false, e);
	c->done += !c->bad;
	return !c->bad;
}

/* The next event: 1 and *e, 0 at the end, -1 when the bytes make no sense. */
static inline int vt_chunk_next(struct vt_chunk *c, struct vt_event *e)
{
	if (c->done == c->n_events)
		return 0;
	return vt_chunk_get(c, e) ? 1 : -1;
}

#endif
