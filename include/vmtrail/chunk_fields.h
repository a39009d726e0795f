/*
 * chunk_fields.h - the columns of a chunk of events, and how times and addresses stand in them.
 *
 * Each routine serves both directions: it appends what it is given (put), or reads it back. What
 * calls them, and in which order, is chunk.h's.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_CHUNK_FIELDS_H
#define VMTRAIL_CHUNK_FIELDS_H

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

#define VT_PRECEDENTS   256  /* stacks that are told apart */
#define VT_SEEN         2048 /* addresses remembered */
#define VT_SEEN_INDEX   4096
#define VT_CALL_ADDRS   3  /* addresses of one event, with the result */
#define VT_CODE_THREADS 16 /* threads that are told apart */
#define VT_TIME_WIDTH   40 /* significant bits of a time, at most */
#define VT_TIME_CODES   (VT_TIME_WIDTH * 2 + 2)

/* The last event with one stack: its arguments. */
struct vt_precedent {
	uint64_t a[VT_MAX_ARGS];      /* 0 for addresses */
	uint64_t step[VT_CALL_ADDRS]; /* how far each of its addresses was from the one before */
};

/* Which call it was. Apart from the rest, so that it is always near: all else waits for it. */
struct vt_precedent_call {
	uint32_t next[2]; /* the stacks that came next in its thread, the latest first */
	uint32_t file;
	uint8_t kind, flags;
};

/* One thread's last event. */
struct vt_code_thread {
	uint64_t addr;      /* the last one that is not 0 */
	uint8_t last, kind; /* where in precedent, what */
};

/* What a time's byte says, see vt_codec_time: base, and rest bits above those that are dropped. */
struct vt_time_code {
	uint64_t base, mask; /* mask: rest ones */
	uint8_t drop, rest;
};

/* A chunk under way: the columns and what the next event is predicted from. */
struct vt_chunk {
	struct vt_buf col[VT_COL_COUNT];
	uint64_t first_seq;
	uint64_t n_events;  /* written or to be read in all */
	uint64_t done;      /* events read */
	uint64_t bits;      /* writing: the last ones; reading: how many have been read */
	unsigned n_bits;    /* writing: how many the last ones are */
	unsigned sure;      /* writing: so many more events fit */
	uint64_t safe_bits; /* reading: so far, excluded, bits are there to be loaded in eights */
	bool bad;           /* reading: nonsense was found */
	unsigned digits;    /* significant bits of times that are kept */
	struct vt_time_code times[VT_TIME_CODES];
	uint64_t now; /* when the last event ended, in units */
	uint32_t tid;
	uint32_t newest_stack;                         /* the highest id so far */
	struct vt_code_thread thread[VT_CODE_THREADS]; /* by tid */
	uint32_t n_seen, seen_last;         /* how many in all; which one was found last */
	uint64_t seen[VT_SEEN];             /* the last ones, by their number */
	uint16_t seen_index[VT_SEEN_INDEX]; /* writing: where in seen, by a hash of the address */
	struct vt_precedent_call call[VT_PRECEDENTS]; /* by stack */
	struct vt_precedent precedent[VT_PRECEDENTS];
};

/* The byte of a column in which each event has one. */
static inline __attribute__((always_inline)) unsigned vt_column_byte(struct vt_chunk *c, bool put,
								     enum vt_col col, unsigned byte)
{
	if (!put)
		return c->col[col].p[c->done];
	*c->col[col].p++ = (uint8_t)byte;
	return byte;
}

/* One number of a column. */
static inline __attribute__((always_inline)) void vt_column_u(struct vt_chunk *c, bool put,
							      enum vt_col col, uint64_t *v)
{
	struct vt_buf *b = &c->col[col];
	if (put) {
		vt_put_varint(b, *v);
	} else if (!(col == VT_COL_ADDR ? vt_get_medium_varint(b, v) : vt_get_short_varint(b, v))) {
		*v = vt_get_long_varint(b);
		c->bad |= b->bad;
	}
}

/* One that is most often a multiple of the page size, see vt_paged_code. */
static inline __attribute__((always_inline)) void vt_column_paged(struct vt_chunk *c, bool put,
								  enum vt_col col, uint64_t *v)
{
	uint64_t code = put ? vt_paged_code(*v) : 0;
	vt_column_u(c, put, col, &code);
	if (code == VT_PAGED_WIDE)
		vt_column_u(c, put, col, v);
	else if (!put)
		*v = vt_paged_value(code);
}

/* The last bytes of the stream: a word of them from place at, or less and nonsense. */
static __attribute__((noinline, unused)) uint64_t vt_last_bits(struct vt_chunk *c, uint64_t at,
							       unsigned n)
{
	const struct vt_buf *b = &c->col[VT_COL_BITS];
	size_t left = (size_t)(b->end - b->p) - at;
	uint64_t word = 0;
	if (left * 8 < (c->bits & 7) + n) {
		c->bad = true;
		c->bits -= n;
	}
	memcpy(&word, b->p + at, left < sizeof(word) ? left : sizeof(word));
	return word;
}

/* The next n bits of the stream, at most 56; mask has that many ones. */
static inline __attribute__((always_inline)) void
vt_codec_bits(struct vt_chunk *c, bool put, uint64_t *v, unsigned n, uint64_t mask)
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
	uint64_t word, at = c->bits >> 3, skip = c->bits & 7;
	if (__builtin_expect(c->bits + n < c->safe_bits, 1))
		memcpy(&word, b->p + at, sizeof(word));
	else
		word = vt_last_bits(c, at, n);
	c->bits += n;
	*v = word >> skip & mask;
}

/* Significant bits of a number. */
static inline unsigned vt_width(uint64_t v)
{
	return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
}

/*
 * Fill the table of times. Of a time that is wider than digits the low bits are not kept, but never
 * more than four.
 */
static inline void vt_time_table(struct vt_chunk *c, unsigned digits)
{
	c->digits = digits;
	for (unsigned code = 0; code < VT_TIME_CODES; code++) {
		unsigned width = code >> 1, over = width > digits ? width - digits : 0;
		unsigned drop = over > 4 ? 4 : over, rest = code < 4 ? 0 : width - 2 - drop;
		c->times[code] = (struct vt_time_code){
			.base = code < 4 ? code : (2ull | (code & 1)) << (width - 2),
			.mask = (1ull << rest) - 1,
			.drop = (uint8_t)drop,
			.rest = (uint8_t)rest,
		};
	}
}

#define VT_TIME_OTHER 255

/*
 * A time in units, rounded: up to 3 as it is, else a byte of its width << 1 and its second bit, and
 * what is left of it in the stream. VT_TIME_OTHER: it is negative or wider than VT_TIME_WIDTH, and
 * zigzag coded in WIDE.
 */
static inline __attribute__((always_inline)) int64_t vt_codec_time(struct vt_chunk *c, bool put,
								   enum vt_col col, int64_t time)
{
	uint64_t v = (uint64_t)time;
	unsigned code = VT_TIME_OTHER;
	if (put && !(v >> (VT_TIME_WIDTH - 1))) {
		v += 1u << c->times[vt_width(v) << 1].drop >> 1;
		code = (unsigned)v;
		if (v >= 4)
			code = vt_width(v) << 1 | (v >> (vt_width(v) - 2) & 1);
	}
	code = vt_column_byte(c, put, col, code);
	if (code >= VT_TIME_CODES) {
		v = put ? vt_zigzag(time) : 0;
		vt_column_u(c, put, VT_COL_WIDE, &v);
		c->bad |= code != VT_TIME_OTHER;
		return vt_unzigzag(v);
	}
	const struct vt_time_code t = c->times[code];
	v = v >> t.drop & t.mask;
	vt_codec_bits(c, put, &v, t.rest, t.mask);
	return (int64_t)(t.base | v << t.drop);
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
	VT_ADDR_NEAR = 8 /* and above: (vt_paged_code(distance) + VT_ADDR_NEAR / 2) << 1 | below */
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
	vt_column_u(c, put, VT_COL_SHIFT, &shift);
	vt_column_u(c, put, VT_COL_WIDTH, &width);
	if (!put && (shift > 63 || !width || width > 58)) {
		c->bad = true;
		return;
	}
	unsigned n = width > 2 ? (unsigned)width - 2 : 0;
	vt_codec_bits(c, put, &v, n, (1ull << n) - 1);
	if (!put)
		*d = (1ull << (width - 1) | v << 1 | 1) << shift;
}

/* What an address is predicted to be: as far from base as the last time. */
#define VT_STEP_NULL UINT64_MAX
static inline uint64_t vt_predicted(const uint64_t *step, uint64_t base)
{
	return *step == VT_STEP_NULL ? 0 : base + *step;
}

/* An address as its distance from base, or as predicted by step. */
static inline __attribute__((always_inline)) void
vt_codec_addr(struct vt_chunk *c, bool put, uint64_t *v, uint64_t base, const uint64_t *step)
{
	uint64_t code = VT_ADDR_WIDE, d = 0, place = 0;
	uint32_t which = 0;
	if (put) {
		bool below = *v < base;
		d = below ? base - *v : *v - base;
		if (*v == vt_predicted(step, base))
			code = VT_ADDR_PREDICTED;
		else if (*v == 0)
			code = VT_ADDR_NULL;
		else if (d == 0)
			code = VT_ADDR_BASE;
		else if (vt_seen_find(c, *v, &which))
			code = VT_ADDR_SEEN;
		else if (!(d >> VT_ADDR_FAR_BITS))
			code = (vt_paged_code(d) + VT_ADDR_NEAR / 2) << 1 | below;
		else if (d >> __builtin_ctzll(d) >> 58 == 0)
			code = VT_ADDR_ABOVE + below;
		place = vt_zigzag((int32_t)(which - c->seen_last - 1));
	}
	vt_column_u(c, put, VT_COL_ADDR, &code);
	switch (code) {
	case VT_ADDR_PREDICTED:
		*v = vt_predicted(step, base);
		break;
	case VT_ADDR_NULL:
		*v = 0;
		break;
	case VT_ADDR_BASE:
		*v = base;
		break;
	case VT_ADDR_SEEN:
		vt_column_u(c, put, VT_COL_SEEN, &place);
		c->seen_last += 1 + (uint32_t)vt_unzigzag(place);
		*v = c->seen[c->seen_last % VT_SEEN];
		break;
	case VT_ADDR_ABOVE:
	case VT_ADDR_BELOW:
		vt_codec_far(c, put, &d);
		*v = code == VT_ADDR_BELOW ? base - d : base + d;
		break;
	case VT_ADDR_WIDE:
		vt_column_u(c, put, VT_COL_WIDE, v);
		break;
	default:
		d = vt_paged_value((code >> 1) - VT_ADDR_NEAR / 2);
		*v = code & 1 ? base - d : base + d;
	}
}

#endif
