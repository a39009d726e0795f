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

#include <vmtrail/codec.h>

enum vt_col {
	VT_COL_TOKEN, /* one byte an event: VT_TOKEN_* */
	VT_COL_TIME,  /* one byte an event: size of the pause, see vt_codec_time */
	VT_COL_DUR,   /* one byte an event: size of the duration */
	VT_COL_BITS,  /* what does not compress: a stream of bits */
	VT_COL_TID,
	VT_COL_STACK,
	VT_COL_KIND, /* kind, flags */
	VT_COL_SMALL,
	VT_COL_LEN,
	VT_COL_WIDE,
	VT_COL_ADDR,  /* how an address is coded, see vt_codec_addr */
	VT_COL_SEEN,  /* addresses by their place among those seen before */
	VT_COL_SHIFT, /* far addresses: zero bits at the end of the distance */
	VT_COL_WIDTH, /* ... and bits before them */
	VT_COL_RET,   /* result, file, span */
	VT_COL_COUNT
};

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

#define VT_PRECEDENTS   256  /* stacks that are told apart */
#define VT_SEEN         2048 /* addresses remembered */
#define VT_SEEN_INDEX   4096
#define VT_CALL_ADDRS   3  /* addresses of one event, with the result */
#define VT_CODE_THREADS 16 /* threads that are told apart */

/* The last event with one stack. */
struct vt_precedent {
	uint64_t a[VT_MAX_ARGS];      /* its arguments; 0 for addresses */
	uint64_t step[VT_CALL_ADDRS]; /* how far each of its addresses was from the one before */
	uint32_t next[2]; /* the stacks that came next in its thread, the latest first */
	uint32_t file;
	uint8_t kind, flags;
};

/* A chunk under way: the columns and what the next event is predicted from. */
struct vt_chunk {
	struct vt_buf col[VT_COL_COUNT];
	uint64_t first_seq;
	uint64_t n_events; /* written or to be read in all */
	uint64_t done;     /* events read */
	uint64_t bits;     /* writing: the last ones; reading: how many have been read */
	unsigned n_bits;   /* writing: how many the last ones are */
	unsigned sure;     /* writing: so many more events fit */
	bool bad;          /* reading: nonsense was found elsewhere than in a column's varints */
	unsigned digits;   /* significant bits of times that are kept */
	uint64_t time;     /* when the last event ended, in units */
	uint32_t tid;
	uint32_t newest_stack; /* the highest id so far */
	struct {
		uint64_t addr;              /* the last one that is not 0 */
		uint8_t last, kind;         /* of its last event: where in precedent, what */
	} thread[VT_CODE_THREADS];          /* by tid */
	uint32_t n_seen, seen_last;         /* how many in all; which one was found last */
	uint64_t seen[VT_SEEN];             /* the last ones, by their number */
	uint16_t seen_index[VT_SEEN_INDEX]; /* writing: where in seen, by a hash of the address */
	struct vt_precedent precedent[VT_PRECEDENTS]; /* by stack */
};

/* Sets of arguments, as bits, of each kind. */
#define VT_ARG_SET(test, a, b, c, d, e, f)                                                         \
	(uint8_t)(test(a) | test(b) << 1 | test(c) << 2 | test(d) << 3 | test(e) << 4 |            \
		  test(f) << 5)
#define VT_ARG_IS_ADDR(x)  (VT_ARG_##x == VT_ARG_ADDR)
#define VT_ARG_IS_LEN(x)   (VT_ARG_##x == VT_ARG_LEN || VT_ARG_##x == VT_ARG_OFF)
#define VT_ARG_IS_SMALL(x) (VT_ARG_##x && !VT_ARG_IS_ADDR(x) && !VT_ARG_IS_LEN(x))
static const struct {
	uint8_t addrs, lengths, small;
} vt_arg_sets[VT_KIND_COUNT] = {
#define VT_KIND_SETS(e, name, ...)                                                                 \
	[VT_##e] = { VT_ARG_SET(VT_ARG_IS_ADDR, __VA_ARGS__),                                      \
		     VT_ARG_SET(VT_ARG_IS_LEN, __VA_ARGS__),                                       \
		     VT_ARG_SET(VT_ARG_IS_SMALL, __VA_ARGS__) },
	VT_KINDS(VT_KIND_SETS)
#undef VT_KIND_SETS
};

/* The next n bits of the stream, at most 56. */
static inline __attribute__((always_inline)) void vt_codec_bits(struct vt_chunk *c, bool put,
								uint64_t *v, unsigned n)
{
	struct vt_buf *b = &c->col[VT_COL_BITS];
	if (put) {
		c->bits |= *v << c->n_bits;
		c->n_bits += n;
		memcpy(b->p, &c->bits, sizeof(c->bits));
		b->p += c->n_bits >> 3;
		c->bits >>= c->n_bits & ~7u;
		c->n_bits &= 7;
		return;
	}
	uint64_t word = 0, at = c->bits >> 3, skip = c->bits & 7;
	size_t left = (size_t)(b->end - b->p) - at;
	if (left >= sizeof(word)) {
		memcpy(&word, b->p + at, sizeof(word));
	} else if (left * 8 >= skip + n) {
		memcpy(&word, b->p + at, left);
	} else {
		c->bad = true;
		n = 0;
	}
	*v = word >> skip & ((1ull << n) - 1);
	c->bits += n;
}

/* Significant bits of a number. */
static inline unsigned vt_width(uint64_t v)
{
	return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/* How many of a time's low bits are not kept, by its width: never more than four. */
static inline unsigned vt_time_dropped(unsigned digits, unsigned width)
{
	unsigned over = width > digits ? width - digits : 0;
	return over > 4 ? 4 : over;
}

#define VT_TIME_OTHER 255
#define VT_TIME_WIDTH 40

/*
 * A time in units, rounded: up to 3 as it is, else a byte of its width << 1 and its second bit, and
 * what is left of it in the stream. VT_TIME_OTHER: it is negative or wider than VT_TIME_WIDTH, and
 * zigzag coded in WIDE.
 */
static inline __attribute__((always_inline)) int64_t vt_codec_time(struct vt_chunk *c, bool put,
								   enum vt_col col, int64_t time)
{
	struct vt_buf *b = &c->col[col];
	uint64_t v = (uint64_t)time;
	unsigned code = VT_TIME_OTHER;
	if (put && !(v >> (VT_TIME_WIDTH - 1))) {
		v += 1u << vt_time_dropped(c->digits, vt_width(v)) >> 1;
		code = (unsigned)v;
		if (v >= 4)
			code = vt_width(v) << 1 | (v >> (vt_width(v) - 2) & 1);
	}
	if (put)
		*b->p++ = (uint8_t)code;
	else
		code = *b->p++;
	if (code < 4)
		return code;
	if (code == VT_TIME_OTHER) {
		v = put ? vt_zigzag(time) : 0;
		vt_codec_u(&c->col[VT_COL_WIDE], put, &v);
		c->bad |= c->col[VT_COL_WIDE].bad;
		return vt_unzigzag(v);
	}
	unsigned width = code >> 1, drop = vt_time_dropped(c->digits, width);
	if (!put && width > VT_TIME_WIDTH) {
		c->bad = true;
		return 0;
	}
	unsigned rest = width - 2 - drop;
	v = v >> drop & ((1ull << rest) - 1);
	vt_codec_bits(c, put, &v, rest);
	return (int64_t)((2ull | (code & 1)) << (width - 2) | v << drop);
}

static inline uint32_t vt_seen_hash(uint64_t v)
{
	return (uint32_t)((v >> VT_PAGE_SHIFT) * 0x9e3779b97f4a7c15u >> 52);
}

/* Remember an address. */
static inline __attribute__((always_inline)) void vt_seen_add(struct vt_chunk *c, bool put,
							      uint64_t v)
{
	uint32_t at = c->n_seen++ % VT_SEEN;
	c->seen[at] = v;
	if (put)
		c->seen_index[vt_seen_hash(v)] = (uint16_t)at;
}

/* Whether an address is remembered, and as which. */
static inline bool vt_seen_find(const struct vt_chunk *c, uint64_t v, uint32_t *which)
{
	uint32_t at = c->seen_index[vt_seen_hash(v)], back = (c->n_seen - 1 - at) % VT_SEEN;
	*which = c->n_seen - 1 - back;
	return back < c->n_seen && c->seen[at] == v;
}

/* How an address is coded in ADDR. */
enum {
	VT_ADDR_PREDICTED,
	VT_ADDR_NULL,  /* 0 */
	VT_ADDR_BASE,  /* base itself */
	VT_ADDR_SEEN,  /* seen before: in SEEN, zigzag(its number - one more than the last found) */
	VT_ADDR_ABOVE, /* far above base: the distance is in SHIFT, WIDTH and the stream */
	VT_ADDR_BELOW, /* far below base */
	VT_ADDR_WIDE,  /* itself in WIDE */
	VT_ADDR_NEAR = 8 /* and above: (paged distance + VT_ADDR_NEAR / 2) << 1 | below */
};
#define VT_ADDR_FAR_BITS 34 /* a far distance is at least that wide */

/*
 * A far distance: how many zeroes it ends with, how many bits stand before them, and these but for
 * the first and the last, which are 1.
 */
static inline __attribute__((always_inline)) void vt_codec_far(struct vt_chunk *c, bool put,
							       uint64_t *d)
{
	uint64_t shift = 0, width = 0, v = 0;
	if (put) {
		shift = (uint64_t)__builtin_ctzll(*d);
		width = 64 - (uint64_t)__builtin_clzll(*d >> shift);
		v = width > 2 ? (*d >> shift & ((1ull << (width - 1)) - 1)) >> 1 : 0;
	}
	vt_codec_u(&c->col[VT_COL_SHIFT], put, &shift);
	vt_codec_u(&c->col[VT_COL_WIDTH], put, &width);
	if (!put && (shift > 63 || !width || width > 58)) {
		c->bad = true;
		return;
	}
	vt_codec_bits(c, put, &v, width > 2 ? (unsigned)width - 2 : 0);
	if (!put)
		*d = (1ull << (width - 1) | v << 1 | 1) << shift;
}

/* An address as its distance from base. predicted is what it may be. */
static inline __attribute__((always_inline)) void
vt_codec_addr(struct vt_chunk *c, bool put, uint64_t *v, uint64_t base, uint64_t predicted)
{
	uint64_t code = VT_ADDR_WIDE, d = 0, place = 0;
	uint32_t which = 0;
	if (put) {
		bool below = *v < base;
		d = below ? base - *v : *v - base;
		bool unaligned = d & (VT_PAGE_SIZE - 1);
		if (*v == predicted)
			code = VT_ADDR_PREDICTED;
		else if (*v == 0)
			code = VT_ADDR_NULL;
		else if (d == 0)
			code = VT_ADDR_BASE;
		else if (vt_seen_find(c, *v, &which))
			code = VT_ADDR_SEEN;
		else if (!(d >> VT_ADDR_FAR_BITS))
			code =
			    ((unaligned ? d << 1 | 1 : d >> VT_PAGE_SHIFT << 1) + VT_ADDR_NEAR / 2)
				<< 1 |
			    below;
		else if (d >> __builtin_ctzll(d) >> 58 == 0)
			code = VT_ADDR_ABOVE + below;
		place = vt_zigzag((int32_t)(which - c->seen_last - 1));
	}
	vt_codec_u(&c->col[VT_COL_ADDR], put, &code);
	switch (code) {
	case VT_ADDR_PREDICTED:
		*v = predicted;
		break;
	case VT_ADDR_NULL:
		*v = 0;
		break;
	case VT_ADDR_BASE:
		*v = base;
		break;
	case VT_ADDR_SEEN:
		vt_codec_u(&c->col[VT_COL_SEEN], put, &place);
		c->seen_last += 1 + (uint32_t)vt_unzigzag(place);
		*v = c->seen[c->seen_last % VT_SEEN];
		break;
	case VT_ADDR_ABOVE:
	case VT_ADDR_BELOW:
		vt_codec_far(c, put, &d);
		*v = code == VT_ADDR_BELOW ? base - d : base + d;
		break;
	case VT_ADDR_WIDE:
		vt_codec_u(&c->col[VT_COL_WIDE], put, v);
		break;
	default:
		d = (code >> 1) - VT_ADDR_NEAR / 2;
		d = d & 1 ? d >> 1 : d >> 1 << VT_PAGE_SHIFT;
		*v = code & 1 ? base - d : base + d;
	}
}

/* Which thread, and with which stack; returns what it is predicted from. */
static inline __attribute__((always_inline)) struct vt_precedent *
vt_codec_stack(struct vt_chunk *c, bool put, unsigned *token, struct vt_event *e)
{
	uint64_t v = 0;
	if (put && e->tid != c->tid)
		*token |= VT_TOKEN_TID;
	if (*token & VT_TOKEN_TID) {
		v = put ? vt_zigzag((int64_t)e->tid - c->tid) : 0;
		vt_codec_u(&c->col[VT_COL_TID], put, &v);
		c->tid = put ? e->tid : c->tid + (uint32_t)vt_unzigzag(v);
	}
	e->tid = c->tid;

	uint8_t *last = &c->thread[e->tid % VT_CODE_THREADS].last;
	uint32_t *next = c->precedent[*last].next;
	if (put && e->stack != next[0])
		*token |= e->stack == next[1] ? VT_TOKEN_SECOND : VT_TOKEN_STACK;
	if (*token & VT_TOKEN_STACK) {
		v = put ? vt_zigzag((int32_t)(c->newest_stack + 1 - e->stack)) : 0;
		vt_codec_u(&c->col[VT_COL_STACK], put, &v);
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
	*last = (uint8_t)(e->stack ? e->stack % VT_PRECEDENTS
				   : c->thread[e->tid % VT_CODE_THREADS].kind);
	return &c->precedent[*last];
}

static inline __attribute__((always_inline)) void vt_codec_args(struct vt_chunk *c, bool put,
								struct vt_precedent *s,
								unsigned token, struct vt_event *e)
{
	const uint8_t *class = vt_kinds[e->kind].arg;
	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		uint64_t v = e->a[i];
		switch (class[i]) {
		case VT_ARG_ADDR:
			continue;
		case VT_ARG_LEN:
		case VT_ARG_OFF:
			if (!(token & VT_TOKEN_LEN))
				continue;
			vt_codec_paged(&c->col[VT_COL_LEN], put, &v);
			break;
		case VT_ARG_HEX:
			if (!(token & VT_TOKEN_SMALL))
				continue;
			vt_codec_u(&c->col[VT_COL_WIDE], put, &v);
			break;
		case VT_ARG_FD:
		case VT_ARG_INT:
			if (!(token & VT_TOKEN_SMALL))
				continue;
			v = vt_zigzag((int64_t)v);
			vt_codec_u(&c->col[VT_COL_SMALL], put, &v);
			v = (uint64_t)vt_unzigzag(v);
			break;
		default:
			if (!(token & VT_TOKEN_SMALL))
				continue;
			vt_codec_u(&c->col[VT_COL_SMALL], put, &v);
			break;
		}
		s->a[i] = v;
	}
}

/* What the addresses of an event are predicted to be. */
#define VT_STEP_NULL UINT64_MAX
static inline uint64_t vt_predicted(const struct vt_precedent *s, int i, uint64_t base)
{
	return s->step[i] == VT_STEP_NULL ? 0 : base + s->step[i];
}

/* Whether the addresses that an event has, in their order, are all as predicted. */
static inline bool vt_addrs_predicted(const struct vt_precedent *s, uint64_t base,
				      uint64_t *const *addr, int n)
{
	for (int i = 0; i < n; i++) {
		if (*addr[i] != vt_predicted(s, i, base))
			return false;
		base = *addr[i] ? *addr[i] : base;
	}
	return true;
}

static inline __attribute__((always_inline)) void vt_codec_addrs(struct vt_chunk *c, bool put,
								 struct vt_precedent *s,
								 unsigned *token,
								 struct vt_event *e, bool result)
{
	uint64_t *addr[VT_CALL_ADDRS], *base = &c->thread[e->tid % VT_CODE_THREADS].addr;
	int n = 0;
	for (unsigned set = vt_arg_sets[e->kind].addrs; set; set &= set - 1)
		addr[n++] = &e->a[__builtin_ctz(set)];
	if (result)
		addr[n++] = (uint64_t *)&e->ret;
	if (put && !vt_addrs_predicted(s, *base, addr, n))
		*token |= VT_TOKEN_ADDR;
	for (int i = 0; i < n; i++) {
		uint64_t v = *addr[i], predicted = vt_predicted(s, i, *base);
		if (*token & VT_TOKEN_ADDR) {
			vt_codec_addr(c, put, &v, *base, predicted);
			s->step[i] = v ? v - *base : VT_STEP_NULL;
		} else {
			v = predicted;
		}
		*addr[i] = v;
		if (v && v != *base) {
			vt_seen_add(c, put, v);
			*base = v;
		}
	}
}

static inline bool vt_kind_returns_address(uint8_t kind)
{
	return kind == VT_MMAP || kind == VT_MREMAP || kind == VT_BRK || kind == VT_SHMAT;
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
								unsigned *token, struct vt_event *e)
{
	if (put && (e->kind != s->kind || e->flags != s->flags))
		*token |= VT_TOKEN_KIND;
	if (*token & VT_TOKEN_KIND) {
		uint64_t kind = e->kind, flags = e->flags;
		vt_codec_u(&c->col[VT_COL_KIND], put, &kind);
		vt_codec_u(&c->col[VT_COL_KIND], put, &flags);
		if (kind >= VT_KIND_COUNT) {
			c->bad = true;
			kind = 0;
		}
		if (kind != s->kind)
			memset(s->a, 0, sizeof(s->a));
		s->kind = (uint8_t)kind;
		s->flags = (uint8_t)flags;
	}
	e->kind = s->kind;
	e->flags = s->flags;
	if (put) {
		if (vt_args_differ(e->a, s->a, vt_arg_sets[e->kind].lengths))
			*token |= VT_TOKEN_LEN;
		if (vt_args_differ(e->a, s->a, vt_arg_sets[e->kind].small))
			*token |= VT_TOKEN_SMALL;
	}
	if (*token & (VT_TOKEN_LEN | VT_TOKEN_SMALL))
		vt_codec_args(c, put, s, *token, e);
	if (!put)
		memcpy(e->a, s->a, sizeof(e->a));
}

/* Walk all fields of one event; returns its token. seq is implied. */
static inline __attribute__((always_inline)) unsigned vt_codec_event(struct vt_chunk *c, bool put,
								     struct vt_event *e)
{
	unsigned token = put ? 0 : *c->col[VT_COL_TOKEN].p++;
	struct vt_precedent *s = vt_codec_stack(c, put, &token, e);
	vt_codec_call(c, put, s, &token, e);

	/* Predicted from the end of the last event: threads that make call after call are regular.
	 */
	int64_t pause = put ? (int64_t)(e->begin_ns / VT_TIME_UNIT_NS - c->time) : 0;
	int64_t dur = put ? (int64_t)(e->dur_ns / VT_TIME_UNIT_NS) : 0;
	c->time += (uint64_t)vt_codec_time(c, put, VT_COL_TIME, pause);
	e->begin_ns = c->time * VT_TIME_UNIT_NS;
	dur = vt_codec_time(c, put, VT_COL_DUR, dur);
	e->dur_ns = (uint64_t)dur * VT_TIME_UNIT_NS;
	c->time += (uint64_t)dur;

	bool gives_address = vt_kind_returns_address(e->kind), has_file = vt_kind_has_file(e->kind);
	int64_t ret = put && !(gives_address && !vt_is_error(e->ret)) ? e->ret : 0;
	if (put && (ret || e->span || (has_file && e->file != s->file)))
		token |= VT_TOKEN_RET;
	if (!put)
		e->span = 0;
	if (token & VT_TOKEN_RET) {
		uint64_t r = vt_zigzag(ret), span = e->span, file = e->file;
		vt_codec_u(&c->col[VT_COL_RET], put, &r);
		vt_codec_u(&c->col[VT_COL_RET], put, &span);
		if (has_file)
			vt_codec_u(&c->col[VT_COL_RET], put, &file);
		if (has_file)
			s->file = (uint32_t)file;
		e->span = (uint32_t)span;
		ret = vt_unzigzag(r);
	}
	e->file = has_file ? s->file : 0;
	if (!put)
		e->ret = ret;
	vt_codec_addrs(c, put, s, &token, e, gives_address && !ret);

	if (e->kind >= VT_UNSEEN_MAP)
		vt_codec_u(&c->col[VT_COL_WIDE], put, &e->aux);
	else
		e->aux = 0;
	c->thread[e->tid % VT_CODE_THREADS].kind = e->kind;
	if (put)
		*c->col[VT_COL_TOKEN].p++ = (uint8_t)token;
	return token;
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
	c->digits = digits;
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
	c->digits = (unsigned)digits;
	return true;
}

/* The next event: 1 and *e, 0 at the end, -1 when the bytes make no sense. */
static inline int vt_chunk_next(struct vt_chunk *c, struct vt_event *e)
{
	if (c->done == c->n_events)
		return 0;
	e->seq = c->first_seq + c->done;
	if (vt_codec_event(c, false, e) || e->kind >= VT_UNSEEN_MAP)
		for (int i = 0; i < VT_COL_COUNT; i++)
			c->bad |= c->col[i].bad;
	if (c->bad)
		return -1;
	c->done++;
	return 1;
}

#endif
