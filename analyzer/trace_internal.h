/*
 * trace_internal.h - what the files of the trace reader share; nobody else includes it.
 *
 * trace_file.c opens a trace and finds its frames, trace_frames.c reads one frame, trace_defs.c
 * keeps the definitions, trace_live.c reads the live region, snapshot_parse.c reads maps text, and
 * trace_items.c delivers it all in order.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_TRACE_INTERNAL_H
#define VMTRAIL_ANALYZER_TRACE_INTERNAL_H

#include "alloc.h"
#include "trace.h"
#include <uthash.h>
#include <vmtrail/chunk.h>
#include <zstd.h>

/* Where a frame stands. */
struct vt_frame_ref {
	uint64_t at; /* file offset of its header */
	struct vt_frame head;
};

/* A snapshot or keyframe, and the event that it comes before. */
struct vt_mark {
	uint64_t before_seq;
	uint32_t first, last; /* frames, by their index in vt_reader.frames */
	uint8_t type;         /* enum vt_frame_type */
};

/* Files by device and inode: several ids may stand for one file, the first is kept. */
struct vt_file_key {
	uint64_t dev, ino;
	uint32_t id;
	UT_hash_handle hh;
};

struct vt_thread_key {
	uint32_t tid, index;
	UT_hash_handle hh;
};

struct vt_symbol_key {
	uint64_t pc;
	struct vt_symbol_def def;
	UT_hash_handle hh;
	char text[]; /* the two strings */
};

/* A growing buffer that is used again and again. */
struct vt_scratch {
	uint8_t *p;
	size_t cap;
};

/* The live region, copied. */
struct vt_live_copy {
	uint64_t ring_head, next_seq;
	uint64_t tick[2], ns[2];
	uint8_t *journal;
	size_t journal_len;
	struct vt_slot *slots; /* by index & (ring_slots - 1) */
};

/* vt_trace.impl */
struct vt_reader {
	int fd;
	uint64_t file_size;
	uint64_t frames_end;
	struct vt_frame_ref *frames;
	size_t n_frames, cap_frames;
	struct vt_mark *marks; /* ordered by before_seq, then by place in the file */
	size_t n_marks, cap_marks;
	uint64_t end_seq;   /* after the last event known, 0: none yet */
	uint64_t ring_next; /* ring index of the first event in no frame */

	/* definitions */
	struct vt_file_key *file_keys;
	struct vt_thread_key *thread_keys;
	struct vt_symbol_key *symbol_keys;
	size_t cap_stacks, cap_files, cap_threads, cap_names;
	size_t n_defs;
	uint32_t known_stacks;      /* ids below that all have a definition */
	struct vt_callers *callers; /* NULL before the first CALLS */

	/* the live region: events after those in frames, and the journal they use */
	struct vt_event *live;
	size_t n_live;
	uint8_t *journal;
	size_t journal_len;
	uint64_t ring_head;

	/* reading a frame */
	ZSTD_DCtx *zstd;
	struct vt_scratch stored;

	/* where the delivery stands */
	size_t next_frame, next_mark, next_live;
	uint64_t mark_seq; /* marks[next_mark].before_seq, UINT64_MAX at their end */
	struct vt_chunk chunk;
	struct vt_event batch[VT_TRACE_BATCH]; /* decoded ahead: batch[next_batch .. n_batch) */
	size_t next_batch, n_batch;
	struct vt_scratch chunk_raw, chunk_new, mark_raw;
	size_t chunk_frame; /* where the chunk came from */
	bool stopped;       /* by damage */
	struct vt_snapshot snapshot;
	struct vt_extent *extents;
	size_t cap_extents;
};

static inline struct vt_reader *vt_reader_of(const struct vt_trace *t)
{
	return t->impl;
}

/* trace_frames.c */

/* Read exactly n bytes at offset; false at an error or the file's end. */
bool vt_pread_full(int fd, void *p, size_t n, uint64_t offset);

/* The CRC-32C of data, by the processor's own instruction where it has one. */
uint32_t vt_crc32_fast(uint32_t crc, const void *data, size_t n);

/*
 * Read and check the frame at ref->at up to its CRC, filling ref->head; its stored bytes are in
 * vt_reader.stored afterwards. number is the one it must bear. False: damage has been noted.
 */
bool vt_frame_load(struct vt_trace *t, struct vt_frame_ref *ref, uint64_t number);

/* Load a frame again and unpack it whole into raw. False: damage has been noted. */
bool vt_frame_unpack(struct vt_trace *t, const struct vt_frame_ref *ref, struct vt_scratch *raw);

/*
 * Unpack only the first want bytes (or all, if there are fewer) of the frame that was just loaded.
 * Returns how many there are in raw; 0: damage has been noted.
 */
size_t vt_frame_unpack_head(struct vt_trace *t, const struct vt_frame_ref *ref, size_t want,
			    struct vt_scratch *raw);

/* Note that the frame is damaged; the reading stops. */
void vt_frame_damaged(struct vt_trace *t, const struct vt_frame_ref *ref, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Note damage anywhere else in the file. */
void vt_trace_damaged(struct vt_trace *t, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* trace_defs.c */

/* Length of the definitions at the head of [p, p+n) with the zero byte; 0: their end is not in it.
 */
size_t vt_defs_span(const uint8_t *p, size_t n);

/* Take over definitions up to their zero byte or the end of in. False: they make no sense. */
bool vt_defs_read(struct vt_trace *t, struct vt_buf *in);

/* Append "key value" lines of text to lines, undoing the escapes. */
void vt_lines_read(struct vt_lines *lines, const char *text, size_t n);

/* The file id of what maps shows as dev, ino and path; a new one when no definition has it. */
uint32_t vt_defs_file_id(struct vt_trace *t, uint64_t dev, uint64_t ino, const char *path,
			 bool shared);
uint16_t vt_defs_name_of_area(const struct vt_trace *t, const char *path);

void vt_defs_free(struct vt_trace *t);

/* trace_old.c */

/*
 * Turn the chunk of events of version 1 that in holds into one of today's: chunk, which lies in
 * out. False: it makes no sense.
 */
bool vt_chunk_upgrade(struct vt_buf *in, struct vt_scratch *out, struct vt_buf *chunk);

/* trace_live.c */

/*
 * Copy the live region of a trace. Returns true, or false when the file is too short for it, after
 * noting the damage.
 */
bool vt_live_copy(struct vt_trace *t, struct vt_live_copy *copy);
void vt_live_copy_free(struct vt_live_copy *copy);

/* Turn what the copy holds beyond the frames into vt_reader.live, and take over its journal. */
void vt_live_take(struct vt_trace *t, const struct vt_live_copy *copy);

/* snapshot_parse.c */

/* Read s->maps_text into s->vmas and the other arrays. Returns NULL, or what is wrong in the text.
 */
const char *vt_snapshot_parse(struct vt_trace *t, struct vt_snapshot *s);
void vt_snapshot_clear(struct vt_snapshot *s);

#endif
