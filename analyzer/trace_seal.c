/*
 * trace_seal.c - closing the trace of a process that was killed.
 *
 * The one place in the analyzer that writes to a trace. The order of writing is that of the
 * recorder: what is new stands behind the committed frames until the header says otherwise, so
 * that being interrupted changes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (4u << 20)
#define LEVEL       3

struct seal {
	struct vt_trace *trace;
	int fd;
	char **error;
	ZSTD_CCtx *zstd;
	uint8_t *chunk_mem, *raw, *stored;
	struct vt_chunk chunk;
	uint64_t at, number; /* of the next frame */
	uint64_t next_seq;
	bool journal_done;
};

static bool fail(struct seal *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct seal *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	char *what = vt_vformat(format, args);
	va_end(args);
	*s->error = vt_format("%s: %s", s->trace->path, what);
	free(what);
	return false;
}

static bool write_full(int fd, const void *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t done = pwrite(fd, p, n, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p = (const uint8_t *)p + done;
		n -= (size_t)done;
		offset += (uint64_t)done;
	}
	return true;
}

/* Whether process pid has the file of this inode mapped; true also when that cannot be seen. */
static bool maps_file(uint32_t pid, ino_t inode)
{
	char path[64], *line = NULL;
	unsigned long long ino;
	size_t cap = 0;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		return errno != ENOENT && errno != ESRCH;
	while (!found && getline(&line, &cap, maps) > 0)
		found = sscanf(line, "%*s %*s %*s %*s %llu", &ino) == 1 && ino == inode;
	/* what no longer has an address space reads as empty; what we may not look at fails */
	if (ferror(maps) && errno != ESRCH)
		found = true;
	free(line);
	fclose(maps);
	return found;
}

/* Append one frame; it does not count before the header says so. */
static bool put_frame(struct seal *s, uint8_t type, size_t len, uint64_t first_seq,
		      uint32_t n_events)
{
	size_t stored =
	    ZSTD_compress2(s->zstd, s->stored, ZSTD_COMPRESSBOUND(VT_MAX_RAW), s->raw, len);
	if (ZSTD_isError(stored))
		return fail(s, "zstd: %s", ZSTD_getErrorName(stored));
	struct vt_frame f = {
		.magic = VT_FRAME_MAGIC,
		.type = type,
		.raw_len = (uint32_t)len,
		.stored_len = (uint32_t)stored,
		.number = s->number++,
		.ring_next = vt_reader_of(s->trace)->ring_head,
		.first_seq = first_seq,
		.n_events = n_events,
	};
	f.crc = vt_crc32(0, &f, offsetof(struct vt_frame, crc));
	f.crc = vt_crc32_fast(f.crc, s->stored, stored);
	if (s->at + sizeof(f) + stored > s->trace->header.live_off)
		return fail(s, "no room for the last events before the live region");
	if (!write_full(s->fd, &f, sizeof(f), s->at) ||
	    !write_full(s->fd, s->stored, stored, s->at + sizeof(f)))
		return fail(s, "%s", strerror(errno));
	s->at += sizeof(f) + stored;
	return true;
}

/* Write the chunk under way, behind the journal's definitions the first time. */
static bool put_events(struct seal *s)
{
	const struct vt_reader *r = vt_reader_of(s->trace);
	struct vt_buf out = { s->raw, s->raw + VT_MAX_RAW, false };
	size_t journal = s->journal_done ? 0 : r->journal_len;

	if (!s->chunk.n_events && !journal)
		return true;
	if (journal > VT_MAX_RAW / 2)
		return fail(s, "the journal is too large for a frame");
	if (journal)
		vt_put_bytes(&out, r->journal, journal);
	vt_put_varint(&out, VT_DEF_NONE);
	vt_chunk_finish(&s->chunk, s->chunk_mem, CHUNK_BYTES, &out);
	s->journal_done = true;
	uint32_t n = (uint32_t)s->chunk.n_events;
	return put_frame(s, VT_FRAME_EVENTS, (size_t)(out.p - s->raw), s->chunk.first_seq, n);
}

static bool put_live(struct seal *s)
{
	const struct vt_reader *r = vt_reader_of(s->trace);

	vt_chunk_begin(&s->chunk, s->chunk_mem, CHUNK_BYTES, s->next_seq);
	for (size_t i = 0; i < r->n_live; i++) {
		if (!vt_chunk_has_room(&s->chunk)) {
			if (!put_events(s))
				return false;
			vt_chunk_begin(&s->chunk, s->chunk_mem, CHUNK_BYTES, s->next_seq);
		}
		vt_chunk_put(&s->chunk, &r->live[i]);
		s->next_seq++;
	}
	return put_events(s);
}

static bool put_end(struct seal *s)
{
	int n = snprintf((char *)s->raw, VT_MAX_RAW, "reason killed\nevents %llu\nlost %llu\n",
			 (unsigned long long)s->next_seq - 1,
			 (unsigned long long)s->trace->header.lost);

	return put_frame(s, VT_FRAME_END, (size_t)n, s->next_seq, 0);
}

/* Make what was written count: one write of the header's page, then the cut. */
static bool commit(struct seal *s)
{
	struct vt_trace_header h = s->trace->header;

	h.live_off = 0;
	h.frames_end = s->at;
	h.crc = vt_crc32(0, &h, offsetof(struct vt_trace_header, crc));
	if (!write_full(s->fd, &h, sizeof(h), 0) || ftruncate(s->fd, (off_t)s->at))
		return fail(s, "%s", strerror(errno));
	return true;
}

static bool run(struct seal *s)
{
	struct vt_trace *t = s->trace;
	const struct vt_reader *r = vt_reader_of(t);
	struct stat st;

	if (!t->header.live_off)
		return true;
	if (t->damage) {
		*s->error = t->damage;
		t->damage = NULL;
		return false;
	}
	s->fd = open(t->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0 || fstat(s->fd, &st))
		return fail(s, "%s", strerror(errno));
	if (maps_file(t->header.pid, st.st_ino))
		return fail(s, "process %u still records into it", t->header.pid);
	s->at = r->frames_end;
	s->number = r->n_frames;
	s->next_seq = r->n_live ? r->live[0].seq : r->end_seq ? r->end_seq : 1;
	s->chunk_mem = vt_calloc(CHUNK_BYTES, 1);
	s->raw = vt_calloc(VT_MAX_RAW, 1);
	s->stored = vt_calloc(ZSTD_COMPRESSBOUND(VT_MAX_RAW), 1);
	s->zstd = ZSTD_createCCtx();
	if (!s->zstd)
		vt_out_of_memory();
	ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_checksumFlag, 1);
	return (t->closed || (put_live(s) && put_end(s))) && commit(s);
}

int vt_trace_seal(const char *path, char **error)
{
	struct seal s = { .fd = -1, .error = error };

	s.trace = vt_trace_open(path, error);
	if (!s.trace)
		return -1;
	bool ok = run(&s);
	if (s.fd >= 0)
		close(s.fd);
	ZSTD_freeCCtx(s.zstd);
	free(s.chunk_mem);
	free(s.raw);
	free(s.stored);
	vt_trace_close(s.trace);
	return ok ? 0 : -1;
}
