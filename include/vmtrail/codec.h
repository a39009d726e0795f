/*
 * codec.h - how numbers, definitions and keyframes become bytes, and back.
 *
 * Events stand in chunks, see chunk.h. Reading is safe on any bytes: it stops with an error.
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

/* Whether n bytes are left: compared, not subtracted, for it is asked most often. */
static inline bool vt_has_bytes(const struct vt_buf *b, size_t n)
{
	return (uintptr_t)b->p + n <= (uintptr_t)b->end;
}

/*
 * A varint of one or two bytes, as most are; false: it is longer, or the last one. Which of the two
 * it is depends on chance: no branch asks.
 */
static inline __attribute__((always_inline)) bool vt_get_short_varint(struct vt_buf *b, uint64_t *v)
{
	if (!vt_has_bytes(b, 2))
		return false;
	unsigned low = b->p[0], high = b->p[1];
	if (low & high & 0x80)
		return false;
	int64_t two = (int8_t)low >> 7; /* 0 or all ones */
	*v = (low & 0x7f) | (high << 7 & (unsigned)two);
	b->p += 1 - two;
	return true;
}

/* The same of up to three bytes, where longer ones are as likely. */
static inline __attribute__((always_inline)) bool vt_get_medium_varint(struct vt_buf *b,
								       uint64_t *v)
{
	uint32_t bytes, last;
	if (!vt_has_bytes(b, sizeof(bytes)))
		return false;
	memcpy(&bytes, b->p, sizeof(bytes));
	last = ~bytes & 0x808080;
	if (!last)
		return false;
	bytes &= 0x7f7f7f & (last ^ (last - 1));
	*v = (bytes & 0x7f) | (bytes & 0x7f00) >> 1 | (bytes & 0x7f0000) >> 2;
	b->p += 1 + (unsigned)__builtin_ctz(last) / 8;
	return true;
}

static inline uint64_t vt_get_long_varint(struct vt_buf *b)
{
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

static inline uint64_t vt_get_varint(struct vt_buf *b)
{
	uint64_t v;
	return vt_get_short_varint(b, &v) ? v : vt_get_long_varint(b);
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
 * The code of a number that is most often a multiple of the page size: bit 0 says it is not. Code 1
 * (which would be an unaligned 0) announces a number too large to shift, which follows.
 */
#define VT_PAGED_WIDE 1
static inline uint64_t vt_paged_code(uint64_t v)
{
	if (v & (VT_PAGE_SIZE - 1))
		return v >> 63 ? VT_PAGED_WIDE : v << 1 | 1;
	return v >> VT_PAGE_SHIFT << 1;
}

static inline uint64_t vt_paged_value(uint64_t code)
{
	return code & 1 ? code >> 1 : code >> 1 << VT_PAGE_SHIFT;
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
