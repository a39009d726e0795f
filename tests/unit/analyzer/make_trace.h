/*
 * make_trace.h - writes traces for tests, byte by byte as format.h describes them.
 *
 * Independent of the recorder: what it writes is the tests' idea of the format. Any failure ends
 * the test program.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_MAKE_TRACE_H
#define VMTRAIL_TEST_MAKE_TRACE_H

#include <vmtrail/chunk.h>
#include <vmtrail/format.h>

/* Where the live region of a test's trace stands, and its size. */
#define MAKE_LIVE_OFF (256u << 10)
#define MAKE_JOURNAL  (16u << 10)
#define MAKE_SLOTS    1024u

struct maker {
	int fd;
	struct vt_trace_header header;
	uint64_t at, number; /* of the next frame */
	uint64_t next_seq, ring_next;
	struct vt_buf defs; /* definitions for the next EVENTS frame, or the journal */
	uint8_t *defs_mem;
	struct vt_live *live; /* head of the live region, NULL: none */
	struct vt_slot *ring;
};

/* Begin a trace with its META frame; extra is appended to the lines that every trace has. */
void make_open(struct maker *m, const char *path, const char *extra);

/* Append one frame of any content. */
void make_frame(struct maker *m, uint8_t type, const void *raw, size_t len, uint64_t first_seq,
		uint32_t n_events);

/* Definitions: gathered for the next make_events or make_live. */
void make_stack(struct maker *m, uint32_t id, const uint64_t *pc, size_t n);
/* The same as CALLS: c is what all of a trace's are predicted from. */
void make_calls(struct maker *m, struct vt_callers *c, uint32_t id, const uint64_t *pc, size_t n,
		uint32_t reference, size_t shared);
void make_file(struct maker *m, uint32_t id, uint8_t kind, uint64_t dev, uint64_t ino,
	       const char *path);
void make_thread(struct maker *m, uint32_t tid, const char *name);
void make_note(struct maker *m, const char *text);
void make_name(struct maker *m, uint16_t number, const char *name);

/* Append an EVENTS frame; the events get the next sequence numbers. */
void make_events(struct maker *m, const struct vt_event *events, size_t n);

/* Append a snapshot of maps text, in one or more parts. */
void make_snapshot(struct maker *m, uint8_t reason, uint64_t seq_lo, uint64_t seq_hi,
		   const char *maps, size_t parts);

/* Append a snapshot of what the kernel's files say; smaps and status may be NULL. */
void make_snapshot_of(struct maker *m, uint8_t reason, uint64_t seq_lo, const char *maps,
		      const char *smaps, const char *status);

void make_keyframe(struct maker *m, const struct vt_extent *extents, size_t n);

/* Give the trace a live region, with the definitions gathered so far as its journal. */
void make_live(struct maker *m);

/* Put an event into the ring at index, in a state of enum VT_SLOT_*; moves ring_head on. */
void make_slot(struct maker *m, uint64_t index, unsigned state, const struct vt_event *e);

/* Write header and live region; closed: also an END frame. */
void make_killed(struct maker *m);
void make_closed(struct maker *m);

#endif
