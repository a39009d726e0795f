/*
 * fuzz_codec.c - what codec.h and chunk.h write, they must read back; on any other bytes they must
 * stop with an error. Random events built of edge values, and events like earlier ones, go through
 * vt_chunk_put, finish, open and next; then the same bytes are damaged and read again (built with
 * the sanitizers, so that a read past the end is a failure). Prints the seed that failed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <vmtrail/chunk.h>

#include "random.h"

#define CHUNK_BYTES (128 << 10)
#define MAX_EVENTS  2048

static uint64_t seed;

static _Noreturn void fail(const char *what, uint64_t index)
{
	printf("fuzz_codec: %s at event %lu; --seed=%lu --rounds=1\n", what, index, seed);
	exit(1);
}

/* A value of the kind that breaks codes: around powers of two, zero, the page size, the sign. */
static uint64_t edge_value(struct random *r)
{
	uint64_t v;
	switch (random_below(r, 8)) {
	case 0:
		return random_below(r, 4);
	case 1:
		return random_below(r, 64) * VT_PAGE_SIZE;
	case 2:
		v = 1UL << random_below(r, 64);
		return v + random_below(r, 3) - 1;
	case 3:
		return -random_below(r, 5000);
	case 4:
		return random_next(r);
	case 5:
		return random_next(r) >> random_below(r, 64);
	case 6:
		return 0x7f0000000000 + random_below(r, 1 << 20) * VT_PAGE_SIZE;
	default:
		return (random_next(r) >> random_below(r, 64)) & -VT_PAGE_SIZE;
	}
}

/* A call like an earlier one, with its stack: what the codec predicts, but for a thing or two. */
static struct vt_event repeated_event(struct random *r, struct vt_event e)
{
	for (int i = 0; i < VT_MAX_ARGS; i++)
		if (random_below(r, 4) == 0)
			e.a[i] += (random_below(r, 5) - 2) * VT_PAGE_SIZE;
	if (random_below(r, 8) == 0)
		e.tid = 1 + (uint32_t)random_below(r, 3);
	if (random_below(r, 4) == 0)
		e.ret = random_below(r, 2) ? (int64_t)e.a[0] : -(int64_t)random_below(r, 20);
	if (random_below(r, 8) == 0)
		e.kind = (uint8_t)random_below(r, VT_KIND_COUNT);
	if (random_below(r, 8) == 0)
		e.stack = (uint32_t)random_below(r, 300);
	return e;
}

static struct vt_event random_event(struct random *r, const struct vt_event *last)
{
	struct vt_event e = { .kind = (uint8_t)random_below(r, VT_KIND_COUNT) };
	e.begin_ns = random_below(r, 8) ? last->begin_ns + random_below(r, 1 << 20) : edge_value(r);
	e.dur_ns = random_below(r, 8) ? random_below(r, 1 << 16) : edge_value(r);
	for (int i = 0; i < VT_MAX_ARGS; i++) {
		e.a[i] = edge_value(r);
		if (random_below(r, 3) == 0)
			e.a[i] = last->a[i] + (random_below(r, 9) - 4) * VT_PAGE_SIZE;
	}
	e.ret = random_below(r, 3) ? (int64_t)edge_value(r) : (int64_t)e.a[0];
	e.aux = edge_value(r);
	e.file = (uint32_t)edge_value(r);
	e.stack = (uint32_t)edge_value(r);
	e.tid = random_below(r, 4) ? last->tid : (uint32_t)edge_value(r);
	e.span = (uint32_t)edge_value(r);
	e.flags = random_below(r, 4) ? last->flags : (uint8_t)edge_value(r);
	return e;
}

/* What is left of an event in a trace: the fields its kind has, times in the trace's unit. */
static struct vt_event as_stored(struct vt_event e, uint64_t seq)
{
	e.seq = seq;
	e.begin_ns -= e.begin_ns % VT_TIME_UNIT_NS;
	e.dur_ns -= e.dur_ns % VT_TIME_UNIT_NS;
	int n = 0;
	while (n < VT_MAX_ARGS && vt_kinds[e.kind].arg[n])
		n++;
	for (; n < VT_MAX_ARGS; n++)
		e.a[n] = 0;
	if (!vt_kind_has_file(e.kind))
		e.file = 0;
	if (e.kind < VT_UNSEEN_MAP)
		e.aux = 0;
	return e;
}

/* Take over a time that was rounded, if no more than that happened to it. */
static void accept_rounded(uint64_t *time, uint64_t read)
{
	uint64_t error = *time > read ? *time - read : read - *time;
	if (error <= 8 * VT_TIME_UNIT_NS)
		*time = read;
}

static bool same_event(const struct vt_event *x, const struct vt_event *y)
{
	return x->seq == y->seq && x->begin_ns == y->begin_ns && x->dur_ns == y->dur_ns &&
	       memcmp(x->a, y->a, sizeof(x->a)) == 0 && x->ret == y->ret && x->aux == y->aux &&
	       x->file == y->file && x->stack == y->stack && x->tid == y->tid &&
	       x->span == y->span && x->kind == y->kind && x->flags == y->flags;
}

/* Read a copy of exactly n bytes to its end or first error; it may say anything, but must end. */
static void read_damaged(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	memcpy(copy, bytes, n);
	struct vt_buf in = { copy, copy + n, false };
	struct vt_chunk c;
	struct vt_event e;
	uint64_t read = 0;
	if (vt_chunk_open(&c, &in))
		while (vt_chunk_next(&c, &e) == 1)
			if (++read > n)
				fail("more events than bytes", read);
	free(copy);
}

/* Strike n bytes somewhere: with a random byte, 0xff, or one of the two largest varints. */
static void strike(struct random *r, uint8_t *bytes, size_t n)
{
	static const uint8_t largest[] = {
		0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
	};
	size_t at = random_below(r, n);
	switch (random_below(r, 3)) {
	case 0:
		bytes[at] = (uint8_t)random_next(r);
		break;
	case 1:
		bytes[at] = 0xff;
		break;
	default:
		memcpy(bytes + at, largest, n - at < 10 ? n - at : 10);
		bytes[at] |= (uint8_t)random_below(r, 2);
	}
}

static void damage(struct random *r, const uint8_t *bytes, size_t n)
{
	for (int i = 0; i < 16; i++) {
		uint8_t *copy = malloc(n);
		memcpy(copy, bytes, n);
		for (uint64_t k = 1 + random_below(r, 8); k; k--)
			strike(r, copy, i & 1 || n < 64 ? n : 64);
		read_damaged(copy, n);
		read_damaged(copy, random_below(r, n));
		free(copy);
	}
	read_damaged(bytes, random_below(r, n));
}

static void chunk_round_trip(struct random *r)
{
	static uint8_t mem[CHUNK_BYTES], out[CHUNK_BYTES + 1024];
	static struct vt_event events[MAX_EVENTS];
	struct vt_chunk c;
	struct vt_event last = { 0 };
	uint64_t first = edge_value(r), n = 0, want = random_below(r, MAX_EVENTS + 1);
	unsigned digits = random_below(r, 2) ? VT_TIME_EXACT : VT_TIME_DIGITS;

	vt_chunk_begin(&c, mem, sizeof(mem), first, digits);
	for (; n < want && vt_chunk_has_room(&c); n++) {
		bool again = n && random_below(r, 2);
		last = random_event(r, &last);
		if (again) {
			struct vt_event like =
			    repeated_event(r, events[n - 1 - random_below(r, n)]);
			like.begin_ns = last.begin_ns;
			like.dur_ns = last.dur_ns;
			last = like;
		}
		vt_chunk_put(&c, &last);
		events[n] = as_stored(last, first + n);
	}
	struct vt_buf to = { out, out + sizeof(out), false };
	if (!vt_chunk_finish(&c, mem, sizeof(mem), &to))
		fail("vt_chunk_finish refused", n);

	struct vt_buf in = { out, to.p, false };
	struct vt_chunk back;
	struct vt_event e;
	if (!vt_chunk_open(&back, &in) || in.p != to.p || back.n_events != n)
		fail("vt_chunk_open refused", n);
	for (uint64_t i = 0; i < n; i++) {
		if (vt_chunk_next(&back, &e) != 1)
			fail("vt_chunk_next refused", i);
		if (digits != VT_TIME_EXACT) {
			accept_rounded(&events[i].begin_ns, e.begin_ns);
			accept_rounded(&events[i].dur_ns, e.dur_ns);
		}
		if (!same_event(&e, &events[i]))
			fail(vt_kinds[events[i].kind].name, i);
	}
	if (vt_chunk_next(&back, &e) != 0)
		fail("no end", n);
	damage(r, out, (size_t)(to.p - out));
}

/* A chunk of one event, to be spoilt in one thing; whether it is read to its end. */
static bool reads_with(unsigned digits, int shorter, int column, uint8_t byte)
{
	static uint8_t mem[CHUNK_BYTES], out[CHUNK_BYTES];
	static struct vt_chunk c;
	const struct vt_event e = { .kind = VT_MUNMAP,
				    .begin_ns = 1234567 * VT_TIME_UNIT_NS,
				    .a = { 0x7123456789ab000, VT_PAGE_SIZE } };
	struct vt_event got;
	vt_chunk_begin(&c, mem, sizeof(mem), 1, VT_TIME_EXACT);
	vt_chunk_put(&c, &e);
	if (byte)
		*(c.col[column].p - 1) = byte;
	struct vt_buf b = { out, out + sizeof(out), false };
	vt_put_varint(&b, c.n_events);
	vt_put_varint(&b, c.first_seq);
	vt_put_varint(&b, digits);
	for (int i = 0; i < VT_COL_COUNT; i++)
		vt_put_varint(&b, vt_chunk_column(&c, i, mem, sizeof(mem)) - (i == shorter));
	for (int i = 0; i < VT_COL_COUNT; i++)
		vt_put_bytes(&b, mem + sizeof(mem) / VT_COL_COUNT * (size_t)i,
			     vt_chunk_column(&c, i, mem, sizeof(mem)) - (i == shorter));
	struct vt_buf in = { out, b.p, false };
	return vt_chunk_open(&c, &in) && vt_chunk_next(&c, &got) == 1;
}

/* What one event cannot be read without, and what a chunk cannot say. */
static void refusals(void)
{
	static const int needed[] = { VT_COL_TOKEN, VT_COL_TIME, VT_COL_DUR,   VT_COL_BITS,
				      VT_COL_LEN,   VT_COL_ADDR, VT_COL_WIDTH, VT_COL_SHIFT };
	if (!reads_with(VT_TIME_EXACT, -1, 0, 0))
		fail("a sound chunk refused", 0);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (reads_with(VT_TIME_EXACT, needed[i], 0, 0))
			fail("a column cut short is read", (uint64_t)needed[i]);
	if (reads_with(0, -1, 0, 0) || reads_with(1, -1, 0, 0) || reads_with(65, -1, 0, 0))
		fail("digits that make no sense are read", 0);
	if (reads_with(VT_TIME_EXACT, -1, VT_COL_WIDTH, 59) ||
	    reads_with(VT_TIME_EXACT, -1, VT_COL_SHIFT, 64) ||
	    reads_with(VT_TIME_EXACT, -1, VT_COL_TIME, 41 << 1))
		fail("numbers that are too wide are read", 0);
}

static bool same_extent(const struct vt_extent *x, const struct vt_extent *y)
{
	return x->start == y->start && x->end == y->end && x->pgoff == y->pgoff &&
	       x->birth == y->birth && x->flags == y->flags && x->file == y->file &&
	       x->stack == y->stack && x->policy == y->policy && x->name == y->name &&
	       x->boundary == y->boundary && x->pkey == y->pkey && x->own == y->own &&
	       x->special == y->special;
}

static void extents_round_trip(struct random *r)
{
	enum { COUNT = 50, BYTES = COUNT * 128 };
	struct vt_extent x[COUNT], y;
	uint8_t bytes[BYTES];
	struct vt_buf b = { bytes, bytes + BYTES, false };
	uint64_t end = 0;

	for (int i = 0; i < COUNT; i++) {
		uint64_t start = end + random_below(r, 4) * VT_PAGE_SIZE;
		x[i] = (struct vt_extent){
			.start = start,
			.end = start +
			       (1 + (random_next(r) >> (20 + random_below(r, 40)))) * VT_PAGE_SIZE,
			.pgoff = edge_value(r),
			.birth = edge_value(r),
			.flags = (uint32_t)edge_value(r),
			.file = (uint32_t)edge_value(r),
			.stack = (uint32_t)edge_value(r),
			.policy = (uint16_t)edge_value(r),
			.name = (uint16_t)edge_value(r),
			.boundary = (uint8_t)random_below(r, 3),
			.pkey = (uint8_t)random_below(r, 16),
			.own = (uint8_t)random_below(r, 2),
			.special = (uint8_t)random_below(r, VT_SPECIAL_OTHER + 1),
		};
		if (x[i].end <= x[i].start)
			x[i].end = x[i].start + VT_PAGE_SIZE;
		vt_codec_extent(&b, true, &x[i], &end);
	}
	if (b.bad)
		fail("extents did not fit", 0);
	struct vt_buf in = { bytes, b.p, false };
	end = 0;
	for (int i = 0; i < COUNT; i++) {
		vt_codec_extent(&in, false, &y, &end);
		if (in.bad || !same_extent(&x[i], &y))
			fail("extent", (uint64_t)i);
	}
	if (in.p != b.p)
		fail("extents end elsewhere", 0);
	for (int k = 0; k < 8; k++) {
		bytes[random_below(r, (uint64_t)(b.p - bytes))] = (uint8_t)random_next(r);
		in = (struct vt_buf){ bytes, b.p, false };
		end = 0;
		for (int i = 0; i < COUNT && !in.bad; i++)
			vt_codec_extent(&in, false, &y, &end);
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: fuzz_codec [--seed=N] [--rounds=N]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ 0 },
	};
	uint64_t base = 1, rounds = 400;
	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		char *end;
		if (o == '?')
			return usage();
		uint64_t v = strtoull(optarg, &end, 0);
		if (*end || !*optarg)
			return usage();
		*(o == 's' ? &base : &rounds) = v;
	}
	if (optind != argc)
		return usage();
	refusals();
	for (uint64_t i = 0; i < rounds; i++) {
		seed = base + i;
		struct random r = random_seed(seed);
		chunk_round_trip(&r);
		extents_round_trip(&r);
	}
	printf("fuzz_codec: rounds %lu, all read back\n", rounds);
	return 0;
}
