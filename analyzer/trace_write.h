/*
 * trace_write.h - writing a trace from the analyzer's side: frames, definitions, chunks of events.
 *
 * Used to close the traces of killed processes and to make traces from what other tools wrote. The
 * first failure stays in vt_writer.error, and everything after it does nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_TRACE_WRITE_H
#define VMTRAIL_ANALYZER_TRACE_WRITE_H

#include <vmtrail/chunk.h>
#include <zstd.h>

struct vt_writer {
	int fd;
	uint64_t at, number; /* of the next frame: file offset, place among the frames */
	uint64_t limit;      /* no frame reaches beyond this file offset */
	uint64_t ring_next;  /* what frames say of the live ring, see struct vt_frame */
	uint64_t next_seq;   /* of the next event */
	char *error;         /* malloc'ed, NULL: all is well */
	ZSTD_CCtx *zstd;
	struct vt_chunk chunk; /* under way */
	uint8_t *chunk_mem, *raw, *stored;
	uint8_t *defs; /* waiting for the next frame of events */
	size_t n_defs, cap_defs;
};

/*
 * Begin writing frames to fd, which stays the caller's: frame number stands at file offset at, the
 * first event is first_seq. level is zstd's.
 */
void vt_writer_init(struct vt_writer *w, int fd, uint64_t at, uint64_t number, uint64_t first_seq,
		    int level);
void vt_writer_fini(struct vt_writer *w);

/* Append one frame of raw content, at most VT_MAX_RAW bytes. */
void vt_writer_frame(struct vt_writer *w, uint8_t type, const void *raw, size_t len,
		     uint64_t first_seq, uint32_t n_events);

/* Definitions as format.h has them; they come before the events that are put later. */
void vt_writer_definitions(struct vt_writer *w, const void *defs, size_t n);

/* One definition of type, with this body. */
void vt_writer_define(struct vt_writer *w, uint8_t type, const struct vt_buf *body,
		      const uint8_t *start);

/* Append an event; its number is the writer's next. */
void vt_writer_event(struct vt_writer *w, const struct vt_event *e);

/* Write the events and definitions that wait as a frame. */
void vt_writer_flush(struct vt_writer *w);

/* Write n bytes at offset, whatever it takes. False: errno says why. */
bool vt_pwrite_full(int fd, const void *p, size_t n, uint64_t offset);

#endif
