/*
 * make_trace.c - writes traces for tests, byte by byte as format.h describes them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "make_trace.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define DEFS (1u << 20)

/* One tick is this many nanoseconds in the traces made here. */
#define TICK_NS 2

static void die(const char *what)
{
	perror(what);
	exit(99);
}

static void write_at(struct maker *m, const void *p, size_t n, uint64_t offset)
{
	if (pwrite(m->fd, p, n, (off_t)offset) != (ssize_t)n)
		die("write");
}

void make_frame(struct maker *m, uint8_t type, const void *raw, size_t len, uint64_t first_seq,
		uint32_t n_events)
{
	size_t bound = ZSTD_compressBound(len);
	uint8_t *stored = malloc(bound);
	ZSTD_CCtx *zstd = ZSTD_createCCtx();

	ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	size_t n = ZSTD_compress2(zstd, stored, bound, raw, len);
	struct vt_frame f = {
		.magic = VT_FRAME_MAGIC,
		.type = type,
		.bare = type == VT_FRAME_EVENTS && !*(const uint8_t *)raw,
		.raw_len = (uint32_t)len,
		.stored_len = (uint32_t)n,
		.number = m->number++,
		.ring_next = m->ring_next,
		.first_seq = first_seq,
		.n_events = n_events,
	};
	f.crc = vt_crc32(vt_crc32(0, &f, offsetof(struct vt_frame, crc)), stored, n);
	write_at(m, &f, sizeof(f), m->at);
	write_at(m, stored, n, m->at + sizeof(f));
	m->at += sizeof(f) + n;
	ZSTD_freeCCtx(zstd);
	free(stored);
}

void make_open(struct maker *m, const char *path, const char *extra)
{
	char meta[8192];
	size_t n;

	*m = (struct maker){ .next_seq = 1, .ring_next = 1, .at = VT_HEADER_SIZE };
	m->fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (m->fd < 0)
		die(path);
	m->header = (struct vt_trace_header){
		.version = VT_FORMAT_VERSION,
		.header_size = VT_HEADER_SIZE,
		.frames_off = VT_HEADER_SIZE,
		.slot_size = sizeof(struct vt_slot),
		.pid = 4242,
		.start_realtime_ns = 1700000000000000000,
	};
	memcpy(m->header.magic, VT_MAGIC, sizeof(m->header.magic));
	m->defs_mem = malloc(DEFS);
	m->defs = (struct vt_buf){ m->defs_mem, m->defs_mem + DEFS, false };
	n = (size_t)snprintf(meta, sizeof(meta),
			     "version 0\npid 4242\nexe /bin/test\ncmd test 'a b'\nkernel 6.18.0\n"
			     "page_size 4096\ntask_size 0x7ffffffff000\nmmap_base 0x7ffff7fff000\n"
			     "layout topdown\nmmap_min_addr 65536\nmax_map_count 65530\n"
			     "thp never\n%s",
			     extra);
	for (int i = 0; i < VT_KIND_COUNT; i++)
		n += (size_t)snprintf(meta + n, sizeof(meta) - n, "kind %d %s\n", i,
				      vt_kinds[i].name);
	make_frame(m, VT_FRAME_META, meta, n, 1, 0);
}

/* Finish a definition whose body was written behind room for its head. */
static void define(struct maker *m, uint8_t type, const uint8_t *body, struct vt_buf *end)
{
	if (end->bad)
		die("definition");
	vt_put_varint(&m->defs, type);
	vt_put_str(&m->defs, body, (size_t)(end->p - body));
}

void make_stack(struct maker *m, uint32_t id, const uint64_t *pc, size_t n)
{
	uint8_t body[VT_MAX_STACK * 10 + 20];
	struct vt_buf b = { body, body + sizeof(body), false };
	uint64_t prev = 0;

	vt_put_varint(&b, id);
	vt_put_varint(&b, n);
	vt_put_varint(&b, 0);
	vt_put_varint(&b, 0);
	for (size_t i = 0; i < n; i++) {
		vt_put_varint(&b, vt_zigzag((int64_t)(pc[i] - prev)));
		prev = pc[i];
	}
	define(m, VT_DEF_STACK, body, &b);
}

void make_calls(struct maker *m, struct vt_callers *c, uint32_t id, const uint64_t *pc, size_t n,
		uint32_t reference, size_t shared)
{
	uint8_t body[VT_MAX_STACK * 10 + 40];
	struct vt_buf b = { body, body + sizeof(body), false };
	uint64_t inner = 0, frames = n, outer = shared;

	vt_codec_calls(&b, true, c, &id, &frames, &reference, &outer);
	for (size_t i = 0; i < n - shared; i++) {
		uint64_t frame = pc[i];
		vt_codec_frame(&b, true, c, inner, &frame);
		inner = frame;
	}
	define(m, VT_DEF_CALLS, body, &b);
}

void make_file(struct maker *m, uint32_t id, uint8_t kind, uint64_t dev, uint64_t ino,
	       const char *path)
{
	uint8_t body[4096];
	struct vt_buf b = { body, body + sizeof(body), false };

	vt_put_varint(&b, id);
	vt_put_varint(&b, kind);
	vt_put_varint(&b, dev);
	vt_put_varint(&b, ino);
	vt_put_str(&b, path, strlen(path));
	define(m, VT_DEF_FILE, body, &b);
}

void make_thread(struct maker *m, uint32_t tid, const char *name)
{
	uint8_t body[256];
	struct vt_buf b = { body, body + sizeof(body), false };

	vt_put_varint(&b, tid);
	vt_put_str(&b, name, strlen(name));
	define(m, VT_DEF_THREAD, body, &b);
}

void make_note(struct maker *m, const char *text)
{
	uint8_t body[4096];
	struct vt_buf b = { body, body + sizeof(body), false };

	vt_put_str(&b, text, strlen(text));
	define(m, VT_DEF_NOTE, body, &b);
}

void make_name(struct maker *m, uint16_t number, const char *name)
{
	uint8_t body[128];
	struct vt_buf b = { body, body + sizeof(body), false };

	vt_put_varint(&b, number);
	vt_put_str(&b, name, strlen(name));
	define(m, VT_DEF_NAME, body, &b);
}

void make_events(struct maker *m, const struct vt_event *events, size_t n)
{
	size_t mem_size = VT_COL_COUNT * (n * VT_EVENT_ROOM + 4096);
	uint8_t *mem = malloc(mem_size), *raw = malloc(mem_size + DEFS);
	struct vt_buf out = { raw, raw + mem_size + DEFS, false };
	struct vt_chunk chunk;

	vt_chunk_begin(&chunk, mem, mem_size, m->next_seq, VT_TIME_EXACT);
	for (size_t i = 0; i < n; i++)
		vt_chunk_put(&chunk, &events[i]);
	vt_put_bytes(&out, m->defs_mem, (size_t)(m->defs.p - m->defs_mem));
	vt_put_varint(&out, VT_DEF_NONE);
	if (!vt_chunk_finish(&chunk, mem, mem_size, &out))
		die("chunk");
	m->ring_next += n;
	make_frame(m, VT_FRAME_EVENTS, raw, (size_t)(out.p - raw), m->next_seq, (uint32_t)n);
	m->next_seq += n;
	m->defs.p = m->defs_mem;
	free(mem);
	free(raw);
}

static void make_part(struct maker *m, const struct vt_snapshot_head *head, const char *text,
		      size_t len)
{
	uint8_t *raw = malloc(sizeof(*head) + len);

	memcpy(raw, head, sizeof(*head));
	memcpy(raw + sizeof(*head), text, len);
	make_frame(m, VT_FRAME_SNAPSHOT, raw, sizeof(*head) + len, m->next_seq, 0);
	free(raw);
}

static uint32_t snapshots; /* the next one's number */

void make_snapshot(struct maker *m, uint8_t reason, uint64_t seq_lo, uint64_t seq_hi,
		   const char *maps, size_t parts)
{
	size_t len = strlen(maps), done = 0;

	for (size_t part = 0; part < parts; part++) {
		size_t n = part + 1 == parts ? len - done : len / parts;
		struct vt_snapshot_head head = {
			.seq_lo = seq_lo,
			.seq_hi = seq_hi,
			.number = snapshots,
			.part = (uint16_t)part,
			.reason = reason,
			.what = VT_SNAP_MAPS,
			.last = part + 1 == parts,
		};
		make_part(m, &head, maps + done, n);
		done += n;
	}
	snapshots++;
}

void make_snapshot_of(struct maker *m, uint8_t reason, uint64_t seq_lo, const char *maps,
		      const char *smaps, const char *status)
{
	const char *texts[] = { maps, smaps, status };
	const uint8_t what[] = { VT_SNAP_MAPS, VT_SNAP_SMAPS, VT_SNAP_STATUS };
	struct vt_snapshot_head head = {
		.seq_lo = seq_lo, .seq_hi = seq_lo, .number = snapshots++, .reason = reason
	};

	for (int i = 0; i < 3; i++) {
		const char *text = texts[i] ? texts[i] : "";
		head.what = what[i];
		head.last = i == 2;
		if (*text || head.last)
			make_part(m, &head, text, strlen(text));
	}
}

void make_keyframe(struct maker *m, const struct vt_extent *extents, size_t n)
{
	uint8_t *raw = malloc(n * 128 + 128);
	struct vt_buf b = { raw, raw + n * 128 + 128, false };
	uint64_t prev_end = 0;

	for (size_t i = 0; i < n; i++) {
		struct vt_extent x = extents[i];
		vt_codec_extent(&b, true, &x, &prev_end);
	}
	make_frame(m, VT_FRAME_KEYFRAME, raw, (size_t)(b.p - raw), m->next_seq, 0);
	free(raw);
}

void make_live(struct maker *m)
{
	m->header.live_off = MAKE_LIVE_OFF;
	m->header.journal_size = MAKE_JOURNAL;
	m->header.ring_slots = MAKE_SLOTS;
	m->header.live_size = VT_LIVE_HEAD + MAKE_JOURNAL + MAKE_SLOTS * sizeof(struct vt_slot);
	m->live = calloc(1, m->header.live_size);
	m->ring = (struct vt_slot *)((uint8_t *)m->live + VT_LIVE_HEAD + MAKE_JOURNAL);
	m->live->ring_head = m->ring_next;
	m->live->next_seq = m->next_seq;
	m->live->tick[0] = 1000;
	m->live->tick[1] = 2000;
	m->live->ns[1] = 1000 * TICK_NS;
	m->live->journal_used = (uint64_t)(m->defs.p - m->defs_mem);
	memcpy((uint8_t *)m->live + VT_LIVE_HEAD, m->defs_mem, m->live->journal_used);
}

void make_slot(struct maker *m, uint64_t index, unsigned state, const struct vt_event *e)
{
	struct vt_slot *s = &m->ring[index & (MAKE_SLOTS - 1)];

	s->begin_tick = 1000 + e->begin_ns / TICK_NS;
	s->end_tick = s->begin_tick + e->dur_ns / TICK_NS;
	memcpy(s->a, e->a, sizeof(s->a));
	s->ret = e->ret;
	s->tid = e->tid;
	s->stack = e->stack;
	s->file = e->file;
	s->span = e->span;
	s->aux = (uint32_t)e->aux;
	s->kind = e->kind;
	s->flags = e->flags;
	s->state = index << 2 | state;
	if (m->live->ring_head <= index)
		m->live->ring_head = index + 1;
}

static void finish(struct maker *m)
{
	m->header.frames_end = m->at;
	m->header.crc = vt_crc32(0, &m->header, offsetof(struct vt_trace_header, crc));
	write_at(m, &m->header, sizeof(m->header), 0);
	if (m->live)
		write_at(m, m->live, m->header.live_size, m->header.live_off);
	free(m->live);
	free(m->defs_mem);
	close(m->fd);
}

void make_killed(struct maker *m)
{
	if (!m->live)
		make_live(m);
	finish(m);
}

void make_closed(struct maker *m)
{
	static const char end[] = "reason exit\nstatus 0\nlost 0\n";

	make_frame(m, VT_FRAME_END, end, sizeof(end) - 1, m->next_seq, 0);
	finish(m);
}
