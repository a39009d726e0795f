/*
 * mutate.c - traces with something wrong in them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "mutate.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmtrail/format.h>
#include <zstd.h>

struct random {
	uint64_t s;
};

static uint64_t next_random(struct random *r)
{
	r->s += 0x9e3779b97f4a7c15;
	uint64_t z = r->s;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static size_t below(struct random *r, size_t n)
{
	return n ? next_random(r) % n : 0;
}

struct bytes bytes_read(const char *path)
{
	struct bytes b = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &st))
		abort();
	b.n = (size_t)st.st_size;
	b.p = malloc(b.n);
	for (size_t n = 0; n < b.n;) {
		ssize_t got = read(fd, b.p + n, b.n - n);
		if (got <= 0)
			abort();
		n += (size_t)got;
	}
	close(fd);
	return b;
}

void bytes_write(const char *path, const uint8_t *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	for (size_t done = 0; done < n;) {
		/* a run of zeros becomes a hole */
		size_t run = n - done < 4096 ? n - done : 4096;
		static const uint8_t zeros[4096];
		if (memcmp(p + done, zeros, run) &&
		    pwrite(fd, p + done, run, (off_t)done) != (ssize_t)run)
			abort();
		done += run;
	}
	if (ftruncate(fd, (off_t)n))
		abort();
	close(fd);
}

static struct bytes copy_of(const struct bytes *b)
{
	struct bytes copy = { malloc(b->n), b->n };

	memcpy(copy.p, b->p, b->n);
	return copy;
}

/* A place that matters: header, frames or live region, but not the hole. */
static size_t place(struct random *r, const struct bytes *b)
{
	const struct vt_trace_header *h = (const void *)b->p;
	size_t frames = h->frames_end - VT_HEADER_SIZE;
	size_t live = h->live_off ? b->n - h->live_off : 0;
	size_t at = below(r, sizeof(*h) * 4 + frames + live);

	if (at < sizeof(*h) * 4)
		return at / 4;
	at -= sizeof(*h) * 4;
	return at < frames ? VT_HEADER_SIZE + at : h->live_off + at - frames;
}

static void change_byte(struct random *r, uint8_t *p)
{
	static const uint8_t edges[] = { 0, 1, 0x7f, 0x80, 0xff };

	if (below(r, 2))
		*p ^= (uint8_t)(1u << below(r, 8));
	else
		*p = edges[below(r, sizeof(edges))];
}

struct bytes mutate_bytes(const struct bytes *trace, uint64_t seed)
{
	struct random r = { seed };
	struct bytes b = copy_of(trace);
	size_t n = 1 + below(&r, 8);

	for (size_t i = 0; i < n; i++)
		change_byte(&r, &b.p[place(&r, trace)]);
	return b;
}

static void fix_header(struct bytes *b)
{
	struct vt_trace_header *h = (void *)b->p;

	h->crc = vt_crc32(0, h, offsetof(struct vt_trace_header, crc));
}

/* Change some bytes of a frame's content, or its length; returns the new length. */
static size_t change_content(struct random *r, uint8_t *raw, size_t len)
{
	size_t n = 1 + below(r, 6);

	/* lengths and counts stand at the beginning */
	for (size_t i = 0; i < n && len; i++)
		change_byte(r, &raw[below(r, below(r, 2) ? len : len < 200 ? len : 200)]);
	if (!below(r, 8))
		len = below(r, len);
	return len;
}

/* Put the frame at offset at, of which old bytes go, together anew with other content. */
static void rebuild(struct bytes *b, size_t at, const struct vt_frame *old, const uint8_t *raw,
		    size_t len, struct random *r)
{
	struct vt_trace_header *h = (void *)b->p;
	size_t old_len = sizeof(*old) + old->stored_len, bound = ZSTD_compressBound(len);
	uint8_t *built = malloc(sizeof(*old) + bound);
	struct vt_frame f = *old;

	f.stored_len = (uint32_t)ZSTD_compress(built + sizeof(f), bound, raw, len, 1);
	f.raw_len = (uint32_t)len;
	if (!below(r, 6))
		change_byte(r, (uint8_t *)&f + below(r, offsetof(struct vt_frame, crc)));
	f.crc = vt_crc32(0, &f, offsetof(struct vt_frame, crc));
	size_t stored = f.stored_len < bound ? f.stored_len : bound;
	f.crc = vt_crc32(f.crc, built + sizeof(f), stored);
	memcpy(built, &f, sizeof(f));
	size_t new_len = sizeof(f) + stored;
	/* in a killed trace there is room before the live region */
	size_t tail = h->frames_end - at - old_len;
	size_t end = at + new_len + tail;
	if (!h->live_off || end > b->n) {
		b->p = realloc(b->p, end > b->n ? end : b->n);
		h = (void *)b->p;
	}
	memmove(b->p + at + new_len, b->p + at + old_len, tail);
	memcpy(b->p + at, built, new_len);
	h->frames_end = end;
	if (!h->live_off)
		b->n = end;
	free(built);
}

static void change_frame(struct random *r, struct bytes *b)
{
	const struct vt_trace_header *h = (const void *)b->p;
	size_t at[256], n = 0;
	struct vt_frame f;

	for (size_t p = VT_HEADER_SIZE; p < h->frames_end && n < 256;) {
		memcpy(&f, b->p + p, sizeof(f));
		at[n++] = p;
		p += sizeof(f) + f.stored_len;
	}
	size_t chosen = at[below(r, n)];
	memcpy(&f, b->p + chosen, sizeof(f));
	uint8_t *raw = malloc(f.raw_len + 1);
	size_t len = ZSTD_decompress(raw, f.raw_len, b->p + chosen + sizeof(f), f.stored_len);
	if (ZSTD_isError(len))
		abort();
	len = change_content(r, raw, len);
	rebuild(b, chosen, &f, raw, len, r);
	free(raw);
}

struct bytes mutate_inside(const struct bytes *trace, uint64_t seed)
{
	struct random r = { seed };
	struct bytes b = copy_of(trace);
	const struct vt_trace_header *h = (const void *)b.p;
	size_t what = below(&r, 8);

	if (what == 0) {
		change_byte(&r, &b.p[8 + below(&r, sizeof(*h) - 8)]);
	} else if (what <= 3 && h->live_off) {
		for (size_t i = 1 + below(&r, 20); i; i--) {
			/* half of them in the head and the journal */
			size_t range = below(&r, 2) ? b.n - h->live_off : VT_LIVE_HEAD + 256;
			change_byte(&r, &b.p[h->live_off + below(&r, range)]);
		}
	} else {
		change_frame(&r, &b);
	}
	fix_header(&b);
	return b;
}
