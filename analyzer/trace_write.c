/*
 * trace_write.c - frames, definitions and chunks of events, as format.h describes them.
 *
 * What is written stands behind the committed frames until the header says otherwise; the header is
 * the caller's business.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_write.h"

#include "trace_internal.h"
#include <errno.h>
#include <unistd.h>

#define CHUNK_BYTES (4u << 20)
#define MOST_DEFS   (4u << 20) /* bytes of definitions that begin a frame */

void vt_writer_init(struct vt_writer *w, int fd, uint64_t at, uint64_t number, uint64_t first_seq,
		    int level)
{
	*w = (struct vt_writer){
		.fd = fd,
		.at = at,
		.number = number,
		.limit = UINT64_MAX,
		.next_seq = first_seq,
		.zstd = ZSTD_createCCtx(),
		.chunk_mem = vt_realloc(NULL, CHUNK_BYTES, 1),
		.raw = vt_realloc(NULL, VT_MAX_RAW, 1),
		.stored = vt_realloc(NULL, ZSTD_COMPRESSBOUND(VT_MAX_RAW), 1),
	};
	if (!w->zstd)
		vt_out_of_memory();
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
	vt_chunk_begin(&w->chunk, w->chunk_mem, CHUNK_BYTES, first_seq, VT_TIME_EXACT);
}

void vt_writer_fini(struct vt_writer *w)
{
	ZSTD_freeCCtx(w->zstd);
	free(w->chunk_mem);
	free(w->raw);
	free(w->stored);
	free(w->defs);
	free(w->error);
}

bool vt_pwrite_full(int fd, const void *p, size_t n, uint64_t offset)
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

void vt_writer_frame(struct vt_writer *w, uint8_t type, const void *raw, size_t len,
		     uint64_t first_seq, uint32_t n_events)
{
	if (w->error)
		return;
	size_t stored =
	    ZSTD_compress2(w->zstd, w->stored, ZSTD_COMPRESSBOUND(VT_MAX_RAW), raw, len);
	if (ZSTD_isError(stored)) {
		w->error = vt_format("zstd: %s", ZSTD_getErrorName(stored));
		return;
	}
	struct vt_frame f = {
		.magic = VT_FRAME_MAGIC,
		.type = type,
		.bare = type == VT_FRAME_EVENTS && !*(const uint8_t *)raw,
		.raw_len = (uint32_t)len,
		.stored_len = (uint32_t)stored,
		.number = w->number++,
		.ring_next = w->ring_next,
		.first_seq = first_seq,
		.n_events = n_events,
	};
	f.crc = vt_crc32(0, &f, offsetof(struct vt_frame, crc));
	f.crc = vt_crc32_fast(f.crc, w->stored, stored);
	if (w->at + sizeof(f) + stored > w->limit)
		w->error = vt_format("no room for the last events before the live region");
	else if (!vt_pwrite_full(w->fd, &f, sizeof(f), w->at) ||
		 !vt_pwrite_full(w->fd, w->stored, stored, w->at + sizeof(f)))
		w->error = vt_format("%s", strerror(errno));
	w->at += sizeof(f) + stored;
}

void vt_writer_definitions(struct vt_writer *w, const void *defs, size_t n)
{
	if (w->n_defs + n > VT_MAX_RAW / 2) {
		if (!w->error)
			w->error = vt_format("the definitions are too large for a frame");
		return;
	}
	while (w->n_defs + n > w->cap_defs)
		w->defs = vt_grow(w->defs, w->cap_defs, &w->cap_defs, 1);
	if (n)
		memcpy(w->defs + w->n_defs, defs, n);
	w->n_defs += n;
}

void vt_writer_define(struct vt_writer *w, uint8_t type, const struct vt_buf *body,
		      const uint8_t *start)
{
	uint8_t head[11];
	size_t n = (size_t)(body->p - start);
	struct vt_buf b = { head, head + sizeof(head), false };

	if (w->n_defs > MOST_DEFS)
		vt_writer_flush(w);
	*b.p++ = type;
	vt_put_varint(&b, n);
	vt_writer_definitions(w, head, (size_t)(b.p - head));
	vt_writer_definitions(w, start, n);
}

void vt_writer_event(struct vt_writer *w, const struct vt_event *e)
{
	if (!vt_chunk_has_room(&w->chunk))
		vt_writer_flush(w);
	vt_chunk_put(&w->chunk, e);
	w->next_seq++;
}

void vt_writer_flush(struct vt_writer *w)
{
	struct vt_buf out = { w->raw, w->raw + VT_MAX_RAW, false };

	if (!w->chunk.n_events && !w->n_defs)
		return;
	vt_put_bytes(&out, w->defs, w->n_defs);
	vt_put_varint(&out, VT_DEF_NONE);
	vt_chunk_finish(&w->chunk, w->chunk_mem, CHUNK_BYTES, &out);
	vt_writer_frame(w, VT_FRAME_EVENTS, w->raw, (size_t)(out.p - w->raw), w->chunk.first_seq,
			(uint32_t)w->chunk.n_events);
	w->n_defs = 0;
	vt_chunk_begin(&w->chunk, w->chunk_mem, CHUNK_BYTES, w->next_seq, VT_TIME_EXACT);
}
