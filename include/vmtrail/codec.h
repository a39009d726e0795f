/*
 * codec.h - how events, definitions and keyframes become bytes, and back.
 *
 * A chunk of events is kept in columns: like fields stand together, which is what makes them
 * small under zstd. Chunks are self-contained: every prediction starts afresh.
 *
 *   chunk = varint n_events, varint first_seq, VT_COL_COUNT times (varint length), the columns
 *
 * One routine, vt_codec_event, walks an event's fields for both directions, so that writer and
 * reader cannot disagree. Reading is safe on any bytes: it stops with an error.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_CODEC_H
#define VMTRAIL_CODEC_H

#include <string.h>
#include <vmtrail/event.h>
#include <vmtrail/format.h>
#include <vmtrail/model.h>

/* A stretch of bytes being written or read. bad: it ran over its end, or held nonsense. */
struct vt_buf {
	uint8_t *p, *end;
	bool bad;
};

static inline uint64_t vt_zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t vt_unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* LEB128: seven bits a byte, low bits first, at most ten bytes. */
static inline void vt_put_varint(struct vt_buf *b, uint64_t v)
{
	if (b->end - b->p < 10) {
		b->bad = true;
		return;
	}
	for (; v >= 0x80; v >>= 7)
		*b->p++ = (uint8_t)(v | 0x80);
	*b->p++ = (uint8_t)v;
}

static inline uint64_t vt_get_varint(struct vt_buf *b)
{
	if (b->p < b->end && *b->p < 0x80)
		return *b->p++;
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		if (b->p == b->end)
			break;
		uint8_t c = *b->p++;
		if (shift == 63 && c > 1)
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80)
			return v;
	}
	b->bad = true;
	b->p = b->end;
	return 0;
}

static inline void vt_put_bytes(struct vt_buf *b, const void *data, size_t n)
{
	if ((size_t)(b->end - b->p) < n) {
		b->bad = true;
		return;
	}
	if (n)
		memcpy(b->p, data, n);
	b->p += n;
}

/* n bytes in place, or NULL and bad. */
static inline const uint8_t *vt_get_bytes(struct vt_buf *b, size_t n)
{
	if ((size_t)(b->end - b->p) < n) {
		b->bad = true;
		b->p = b->end;
		return NULL;
	}
	const uint8_t *at = b->p;
	b->p += n;
	return at;
}

static inline void vt_put_str(struct vt_buf *b, const void *s, size_t n)
{
	vt_put_varint(b, n);
	vt_put_bytes(b, s, n);
}

/* A str's bytes in place; *n its length. */
static inline const uint8_t *vt_get_str(struct vt_buf *b, size_t *n)
{
	*n = vt_get_varint(b);
	return vt_get_bytes(b, *n);
}

enum vt_col {
	VT_COL_KIND,
	VT_COL_FLAGS,
	VT_COL_TID,
	VT_COL_TIME,
	VT_COL_DUR,
	VT_COL_STACK,
	VT_COL_ADDR,
	VT_COL_LEN,
	VT_COL_SMALL,
	VT_COL_WIDE,
	VT_COL_RET,
	VT_COL_FILE,
	VT_COL_SPAN,
	VT_COL_COUNT
};

#define VT_ADDR_CONTEXTS 16

/* A chunk under way: the columns and what the next event is predicted from. */
struct vt_chunk {
	struct vt_buf col[VT_COL_COUNT];
	uint64_t first_seq;
	uint64_t n_events;               /* written or to be read in all */
	uint64_t done;                   /* events read */
	uint64_t addr[VT_ADDR_CONTEXTS]; /* the last address, by tid: predicts the next one */
	uint64_t time;                   /* when the last event ended */
	uint32_t tid;
	uint8_t flags;
};

/* One unsigned field in one direction. */
static inline __attribute__((always_inline)) void vt_codec_u(struct vt_buf *b, bool put,
							     uint64_t *v)
{
	if (put)
		vt_put_varint(b, *v);
	else
		*v = vt_get_varint(b);
}

/*
 * A number that is most often a multiple of the page size: bit 0 says it is not. Code 1 (which
 * would be an unaligned 0) announces a number too large to shift.
 */
static inline __attribute__((always_inline)) void vt_codec_paged(struct vt_buf *b, bool put,
								 uint64_t *v)
{
	if (put) {
		bool unaligned = *v & (VT_PAGE_SIZE - 1);
		if (unaligned && *v >> 63) {
			vt_put_varint(b, 1);
			vt_put_varint(b, *v);
		} else {
			vt_put_varint(b, unaligned ? *v << 1 | 1 : *v >> VT_PAGE_SHIFT << 1);
		}
		return;
	}
	uint64_t x = vt_get_varint(b);
	if (x == 1)
		*v = vt_get_varint(b);
	else
		*v = x & 1 ? x >> 1 : x >> 1 << VT_PAGE_SHIFT;
}

/*
 * An address as its distance from base: 0 is base itself, 1 the null address, 2 announces an
 * absolute address, 4 and up are (paged distance + 1) << 1 | sign.
 */
static inline __attribute__((always_inline)) void vt_codec_addr(struct vt_buf *b, bool put,
								uint64_t *v, uint64_t base)
{
	if (put) {
		bool below = *v < base;
		uint64_t d = below ? base - *v : *v - base;
		bool unaligned = d & (VT_PAGE_SIZE - 1);
		if (d == 0) {
			vt_put_varint(b, 0);
		} else if (*v == 0) {
			vt_put_varint(b, 1);
		} else if (unaligned && d >> 61) {
			vt_put_varint(b, 2);
			vt_put_varint(b, *v);
		} else {
			uint64_t paged = unaligned ? d << 1 | 1 : d >> VT_PAGE_SHIFT << 1;
			vt_put_varint(b, (paged + 1) << 1 | below);
		}
		return;
	}
	uint64_t c = vt_get_varint(b);
	if (c == 0) {
		*v = base;
	} else if (c == 1) {
		*v = 0;
	} else if (c == 2) {
		*v = vt_get_varint(b);
	} else {
		uint64_t paged = (c >> 1) - 1;
		uint64_t d = paged & 1 ? paged >> 1 : paged >> 1 << VT_PAGE_SHIFT;
		*v = c & 1 ? base - d : base + d;
	}
}

/* Walk all fields of one event. seq is implied. */
static inline __attribute__((always_inline)) void vt_codec_event(struct vt_chunk *c, bool put,
								 struct vt_event *e)
{
	uint64_t v = 0;

	if (put)
		v = (uint64_t)e->kind << 1 | (e->flags != c->flags);
	vt_codec_u(&c->col[VT_COL_KIND], put, &v);
	if (!put) {
		if (v >> 1 >= VT_KIND_COUNT) {
			c->col[VT_COL_KIND].bad = true;
			return;
		}
		e->kind = (uint8_t)(v >> 1);
	}
	if (v & 1) {
		v = e->flags;
		vt_codec_u(&c->col[VT_COL_FLAGS], put, &v);
		c->flags = (uint8_t)v;
	}
	e->flags = c->flags;

	v = put ? vt_zigzag((int64_t)e->tid - c->tid) : 0;
	vt_codec_u(&c->col[VT_COL_TID], put, &v);
	c->tid = e->tid = put ? e->tid : c->tid + (uint32_t)vt_unzigzag(v);

	/* Predicted from the end of the last event: threads that make call after call are regular.
	 */
	uint64_t t = put ? e->begin_ns / VT_TIME_UNIT_NS : 0;
	v = put ? vt_zigzag((int64_t)(t - c->time)) : 0;
	vt_codec_u(&c->col[VT_COL_TIME], put, &v);
	t = put ? t : c->time + (uint64_t)vt_unzigzag(v);
	v = put ? e->dur_ns / VT_TIME_UNIT_NS : 0;
	vt_codec_u(&c->col[VT_COL_DUR], put, &v);
	c->time = t + v;
	if (!put) {
		e->begin_ns = t * VT_TIME_UNIT_NS;
		e->dur_ns = v * VT_TIME_UNIT_NS;
	}

	v = e->stack;
	vt_codec_u(&c->col[VT_COL_STACK], put, &v);
	e->stack = (uint32_t)v;
	v = e->span;
	vt_codec_u(&c->col[VT_COL_SPAN], put, &v);
	e->span = (uint32_t)v;

	const uint8_t *class = vt_kinds[e->kind].arg;
	uint64_t *last = &c->addr[e->tid % VT_ADDR_CONTEXTS];
	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		switch (class[i]) {
		case VT_ARG_ADDR:
			vt_codec_addr(&c->col[VT_COL_ADDR], put, &e->a[i], *last);
			if (e->a[i])
				*last = e->a[i];
			break;
		case VT_ARG_LEN:
		case VT_ARG_OFF:
			vt_codec_paged(&c->col[VT_COL_LEN], put, &e->a[i]);
			break;
		case VT_ARG_HEX:
			vt_codec_u(&c->col[VT_COL_WIDE], put, &e->a[i]);
			break;
		case VT_ARG_FD:
		case VT_ARG_INT:
			v = put ? vt_zigzag((int64_t)e->a[i]) : 0;
			vt_codec_u(&c->col[VT_COL_SMALL], put, &v);
			e->a[i] = (uint64_t)vt_unzigzag(v);
			break;
		default:
			vt_codec_u(&c->col[VT_COL_SMALL], put, &e->a[i]);
			break;
		}
	}

	bool returns_addr =
	    e->kind == VT_MMAP || e->kind == VT_MREMAP || e->kind == VT_BRK || e->kind == VT_SHMAT;
	if (returns_addr) {
		/* 0: as an error, which follows; else the distance from the last address */
		uint64_t r = (uint64_t)e->ret;
		bool err = put ? vt_is_error(e->ret) : false;
		uint64_t tag = put ? err : 0;
		vt_codec_u(&c->col[VT_COL_FLAGS], put, &tag);
		if (tag) {
			v = put ? (uint64_t)-e->ret : 0;
			vt_codec_u(&c->col[VT_COL_RET], put, &v);
			e->ret = -(int64_t)(v & 4095);
		} else {
			vt_codec_addr(&c->col[VT_COL_RET], put, &r, *last);
			e->ret = (int64_t)r;
			*last = r;
		}
	} else {
		v = put ? vt_zigzag(e->ret) : 0;
		vt_codec_u(&c->col[VT_COL_RET], put, &v);
		e->ret = vt_unzigzag(v);
	}

	if (vt_kind_has_file(e->kind)) {
		v = e->file;
		vt_codec_u(&c->col[VT_COL_FILE], put, &v);
		e->file = (uint32_t)v;
	}
	if (e->kind >= VT_UNSEEN_MAP)
		vt_codec_u(&c->col[VT_COL_WIDE], put, &e->aux);
}

/*
 * Begin a chunk over columns carved out of mem (bytes in all, at least 64 KiB). Every column gets
 * an equal share.
 */
static inline void vt_chunk_begin(struct vt_chunk *c, uint8_t *mem, size_t bytes,
				  uint64_t first_seq)
{
	*c = (struct vt_chunk){ .first_seq = first_seq };
	size_t share = bytes / VT_COL_COUNT;
	for (int i = 0; i < VT_COL_COUNT; i++)
		c->col[i] = (struct vt_buf){ mem + share * i, mem + share * (i + 1), false };
}

/* Whether one more event is sure to fit. */
static inline bool vt_chunk_has_room(const struct vt_chunk *c)
{
	for (int i = 0; i < VT_COL_COUNT; i++)
		if (c->col[i].end - c->col[i].p < 10 * (VT_MAX_ARGS + 4))
			return false;
	return true;
}

/* Append an event; there must be room. */
static inline void vt_chunk_put(struct vt_chunk *c, const struct vt_event *e)
{
	struct vt_event copy = *e;
	vt_codec_event(c, true, &copy);
	c->n_events++;
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
	for (int i = 0; i < VT_COL_COUNT; i++)
		vt_put_varint(out, (uint64_t)(c->col[i].p - (mem + share * i)));
	for (int i = 0; i < VT_COL_COUNT; i++)
		vt_put_bytes(out, mem + share * i, (size_t)(c->col[i].p - (mem + share * i)));
	return !out->bad;
}

/* Open a chunk for reading from in, which is left after it. Returns false on nonsense. */
static inline bool vt_chunk_open(struct vt_chunk *c, struct vt_buf *in)
{
	uint64_t len[VT_COL_COUNT];
	*c = (struct vt_chunk){ 0 };
	c->n_events = vt_get_varint(in);
	c->first_seq = vt_get_varint(in);
	for (int i = 0; i < VT_COL_COUNT; i++)
		len[i] = vt_get_varint(in);
	for (int i = 0; i < VT_COL_COUNT; i++) {
		const uint8_t *p = vt_get_bytes(in, len[i]);
		if (!p)
			return false;
		c->col[i] = (struct vt_buf){ (uint8_t *)p, (uint8_t *)p + len[i], false };
	}
	return !in->bad && c->n_events <= len[VT_COL_KIND];
}

/* The next event: 1 and *e, 0 at the end, -1 when the bytes make no sense. */
static inline int vt_chunk_next(struct vt_chunk *c, struct vt_event *e)
{
	if (c->done == c->n_events)
		return 0;
	*e = (struct vt_event){ .seq = c->first_seq + c->done };
	vt_codec_event(c, false, e);
	for (int i = 0; i < VT_COL_COUNT; i++)
		if (c->col[i].bad)
			return -1;
	c->done++;
	return 1;
}

/*
 * What the frames of a CALLS definition are predicted from: for each place in the code, by a hash
 * of it, the two that it was last called from. Of one trace: begins as zeroes, and goes from each
 * definition to the next.
 */
#define VT_CALLER_SLOTS 4096
struct vt_callers {
	struct {
		uint64_t pc, caller[2];
	} slot[VT_CALLER_SLOTS];
	uint64_t innermost; /* of the definition before */
	uint32_t id;        /* of the definition before */
};

/*
 * The head of a CALLS definition: zigzag(id - one more than that of the definition before), number
 * of frames, id - reference, shared.
 */
static inline void vt_codec_calls(struct vt_buf *b, bool put, struct vt_callers *c, uint32_t *id,
				  uint64_t *n, uint32_t *reference, uint64_t *shared)
{
	uint64_t step = put ? vt_zigzag((int64_t)*id - c->id - 1) : 0, back = *id - *reference;
	vt_codec_u(b, put, &step);
	vt_codec_u(b, put, n);
	vt_codec_u(b, put, &back);
	vt_codec_u(b, put, shared);
	if (!put) {
		*id = c->id + 1 + (uint32_t)vt_unzigzag(step);
		*reference = *id - (uint32_t)back;
	}
	c->id = *id;
}

/*
 * One frame of a CALLS definition: 0 and 1 are the caller of inner (0 for the innermost frame) last
 * and before that; 2 and up are 2 + zigzag(pc - inner), for the innermost from that of the
 * definition before.
 */
static inline void vt_codec_frame(struct vt_buf *b, bool put, struct vt_callers *c, uint64_t inner,
				  uint64_t *pc)
{
	uint64_t base = inner ? inner : c->innermost, v = 0;
	uint64_t hash = inner * 0x9e3779b97f4a7c15u >> 32;
	uint64_t *known = &c->slot[hash % VT_CALLER_SLOTS].pc;
	uint64_t *caller = c->slot[hash % VT_CALLER_SLOTS].caller;
	if (*known != inner)
		caller[0] = caller[1] = 0;
	*known = inner;
	if (put)
		v = *pc == caller[0]   ? 0
		    : *pc == caller[1] ? 1
				       : 2 + vt_zigzag((int64_t)(*pc - base));
	vt_codec_u(b, put, &v);
	if (!put)
		*pc = v < 2 ? caller[v] : base + (uint64_t)vt_unzigzag(v - 2);
	if (v)
		caller[1] = caller[0];
	caller[0] = *pc;
	if (!inner)
		c->innermost = *pc;
}

/* One extent of a keyframe, at least 128 bytes of room; *prev_end is 0 before the first. */
static inline __attribute__((always_inline)) void
vt_codec_extent(struct vt_buf *b, bool put, struct vt_extent *x, uint64_t *prev_end)
{
	uint64_t v[10] = { 0 };
	if (put) {
		v[0] = (x->start - *prev_end) >> VT_PAGE_SHIFT;
		v[1] = (x->end - x->start) >> VT_PAGE_SHIFT;
		v[2] = x->pgoff;
		v[3] = x->birth;
		v[4] = x->flags;
		v[5] = x->file;
		v[6] = x->stack;
		v[7] = (uint64_t)x->policy << 16 | x->name;
		v[8] = (uint64_t)x->boundary << 8 | x->pkey;
		v[9] = (uint64_t)x->uffd << 16 | (uint64_t)x->own << 8 | x->special;
	}
	for (int i = 0; i < 10; i++)
		vt_codec_u(b, put, &v[i]);
	if (!put) {
		*x = (struct vt_extent){ 0 };
		x->start = *prev_end + (v[0] << VT_PAGE_SHIFT);
		x->end = x->start + (v[1] << VT_PAGE_SHIFT);
		if (x->start < *prev_end || x->end <= x->start)
			b->bad = true;
		x->pgoff = v[2];
		x->birth = v[3];
		x->flags = (uint32_t)v[4];
		x->file = (uint32_t)v[5];
		x->stack = (uint32_t)v[6];
		x->policy = (uint16_t)(v[7] >> 16);
		x->name = (uint16_t)v[7];
		x->boundary = (uint8_t)(v[8] >> 8);
		x->pkey = (uint8_t)v[8];
		x->uffd = v[9] >> 16 & 127;
		x->own = v[9] >> 8 & 1;
		x->special = (uint8_t)v[9];
	}
	*prev_end = x->end;
}

#endif
