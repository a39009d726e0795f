/*
 * format.h - the trace file: layout, frames, definitions, and the live region.
 *
 * All integers are little-endian. A trace is
 *
 *   0            struct vt_trace_header                 (VT_HEADER_SIZE bytes)
 *   frames_off   frame, frame, ...                      grows; committed up to frames_end
 *   live_off     struct vt_live, journal, ring          only while the process runs, or after it
 *                                                       was killed; a closed trace ends with its
 *                                                       last frame and has live_off 0
 *
 * The live region lies far behind the frames in a sparse file, so that closing a trace is one
 * truncate. Everything a reader must believe is committed by one aligned 64-bit store: a frame by
 * vt_trace_header.frames_end, a definition by vt_live.journal_used, an event by vt_slot.state.
 *
 * A frame is a struct vt_frame and stored_len bytes: one zstd frame with content checksum that
 * unpacks to raw_len bytes. Frame types:
 *
 *   META      text, lines "key value": the process and its machine; also the table of event kinds
 *             as "kind N NAME CLASS...", so that a reader needs no table of its own
 *   EVENTS    definitions (see below), a zero byte that ends them, a chunk of events (chunk.h)
 *   SNAPSHOT  a piece of the kernel's own view: struct vt_snapshot_head, then raw text
 *   KEYFRAME  the model's state: extents (vt_codec_extent) up to the end of the content
 *   END       text, lines "key value": how the trace ended; last frame of a closed trace
 *   EVENTS_1  as EVENTS, but the chunk is one of version 1, which only the reader knows
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_FORMAT_H
#define VMTRAIL_FORMAT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VT_MAGIC          "VMTRAIL\n"
#define VT_FORMAT_VERSION 2
#define VT_HEADER_SIZE    128         /* version 1: 4096 */
#define VT_FRAME_MAGIC    0x46545456u /* "VTTF" */
#define VT_TIME_UNIT_NS   64          /* resolution of times in event chunks */
#define VT_TIME_DIGITS    5           /* significant bits of times that the recorder keeps */
#define VT_TIME_EXACT     64          /* all of them */
#define VT_MAX_RAW        (16u << 20) /* a frame unpacks to at most this */

struct vt_trace_header {
	char magic[8];
	uint32_t version;
	uint32_t header_size; /* at least VT_HEADER_SIZE */
	uint64_t frames_off;
	uint64_t live_off; /* 0: closed */
	uint64_t live_size;
	uint32_t journal_size;
	uint32_t ring_slots; /* a power of two */
	uint32_t slot_size;  /* sizeof(struct vt_slot) */
	uint32_t pid;
	uint64_t start_realtime_ns; /* wall clock at time 0 of the trace */
	uint32_t crc;               /* vt_crc32 of the bytes above */
	uint32_t pad;
	/* From here on written while the process runs. */
	_Atomic uint64_t frames_end;       /* file offset after the last committed frame */
	_Atomic uint64_t snapshot_request; /* another process asks for a snapshot: adds one */
	_Atomic uint64_t snapshot_done;    /* the recorder's answer: last request served */
	_Atomic uint64_t lost;             /* events that found no room */
};

enum vt_frame_type {
	VT_FRAME_META = 1,
	VT_FRAME_EVENTS_1, /* of version 1, read only */
	VT_FRAME_SNAPSHOT,
	VT_FRAME_KEYFRAME,
	VT_FRAME_END,
	VT_FRAME_EVENTS,
	VT_FRAME_TYPES
};

struct vt_frame {
	uint32_t magic; /* VT_FRAME_MAGIC */
	uint8_t type;   /* enum vt_frame_type */
	uint8_t bare;   /* 1: EVENTS without definitions, to be unpacked for the events only */
	uint8_t pad[2];
	uint32_t raw_len, stored_len;
	uint64_t number;    /* of the frame in the file, from 0 */
	uint64_t ring_next; /* ring index of the first event not in this frame or an earlier one */
	uint64_t first_seq; /* EVENTS: of its first event; KEYFRAME: of the next event */
	uint32_t n_events;
	uint32_t crc; /* vt_crc32 of the bytes above and of the stored bytes */
};

/* Why a snapshot was taken. */
enum vt_snapshot_reason {
	VT_SNAPSHOT_START,
	VT_SNAPSHOT_EXIT,
	VT_SNAPSHOT_DEMAND,
	VT_SNAPSHOT_INTERVAL,
	VT_SNAPSHOT_CONTRADICTION,
	VT_SNAPSHOT_EXEC,
	VT_SNAPSHOT_FORK,
};

/* Which of the kernel's files. */
enum vt_snapshot_what {
	VT_SNAP_STATUS, /* /proc/self/status */
	VT_SNAP_MAPS,   /* /proc/self/maps */
	VT_SNAP_SMAPS,  /* /proc/self/smaps */
};

/*
 * First bytes of a SNAPSHOT frame's raw content. A snapshot is a run of frames: parts 0, 1, ... of
 * each file in turn; it counts only when its last part is there. It shows the process after event
 * seq_lo; events above seq_lo up to seq_hi were under way while it was read, so for what they touch
 * it may show the state before or after.
 */
struct vt_snapshot_head {
	uint64_t seq_lo, seq_hi;
	uint64_t time_ns;
	uint32_t number; /* of the snapshot, from 0 */
	uint16_t part;   /* of this file's text, from 0 */
	uint8_t reason;  /* enum vt_snapshot_reason */
	uint8_t what;    /* enum vt_snapshot_what */
	uint8_t last;    /* the snapshot's last frame */
	uint8_t pad[7];
};

/*
 * Definitions: in the journal and at the head of EVENTS frames. Each is a byte type, a varint
 * length, and that many bytes. Varints as in codec.h; str is a varint length and bytes.
 *   STACK   id, number of frames, reference, shared, then zigzag(pc - previous pc) for the frames
 *           that are its own, innermost first; its outermost shared frames are those of the stack
 *           defined before with the id reference (0, and shared 0: none); the pcs are return
 *           addresses except frame 0 of a FAULT
 *   FILE    id, enum vt_file_kind, dev (major << 20 | minor, as MKDEV), ino, str path
 *   THREAD  tid, str name (a later one for the same tid renames it; "": not known), an address in
 *           its thread-local storage, which lies on its stack but for the first thread's, about the
 *           number of the next event (older traces: neither)
 *   MODULE  file id, str build-id (raw bytes)
 *   NAME    number, str text: a name of anonymous memory (PR_SET_VMA_ANON_NAME)
 *   NOTE    str text, "key value": what the recorder has to say of itself (capture, sandbox, loss)
 *   SYMBOL  pc, str module's path, str function, offset of pc in it: for traces made from other
 *           tools' logs, where code has a name but no place in memory; the pcs are made up
 *   CALLS   as STACK, but its own frames are predicted from those above: see vt_codec_frame
 */
enum vt_def_type {
	VT_DEF_NONE, /* no definition: ends those of an EVENTS frame */
	VT_DEF_STACK,
	VT_DEF_FILE,
	VT_DEF_THREAD,
	VT_DEF_MODULE,
	VT_DEF_NOTE,
	VT_DEF_SYMBOL,
	VT_DEF_NAME,
	VT_DEF_CALLS,
};

#define VT_MAX_STACK 64

/* State of a ring slot: index << 2 | this. A slot of another index is an older round's. */
enum { VT_SLOT_FREE, VT_SLOT_BEGUN, VT_SLOT_DONE, VT_SLOT_FINISHING };

/* One event in the live ring, raw: written by the calling thread itself, without a lock. */
struct vt_slot {
	_Atomic uint64_t state;
	uint64_t begin_tick, end_tick; /* vt_live.clock */
	uint64_t a[6];
	int64_t ret;
	uint32_t tid, stack, file, span;
	uint32_t aux;
	uint8_t kind, flags;
	uint8_t pad[26];
};

/* Head of the live region; the journal follows at VT_LIVE_HEAD bytes, then the ring. */
#define VT_LIVE_HEAD 4096
struct vt_live {
	_Atomic uint64_t ring_head; /* index of the next slot to be taken; the first is 1 */
	uint8_t pad0[120];
	_Atomic uint64_t journal_used; /* committed bytes of definitions */
	/*
	 * Two points of the clock: (tick, ns since start). Times in slots are converted along the
	 * line through them. clock_gen is odd while they are being changed.
	 */
	_Atomic uint64_t clock_gen;
	uint64_t tick[2], ns[2];
	uint64_t next_seq; /* seq of the first event that is in no frame yet */
};

/* CRC-32C (Castagnoli), reflected, as in iSCSI, by half bytes; crc is 0 at first. */
static inline uint32_t vt_crc32(uint32_t crc, const void *data, size_t n)
{
	static const uint32_t half[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	const uint8_t *p = data;
	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		crc = crc >> 4 ^ half[crc & 15];
		crc = crc >> 4 ^ half[crc & 15];
	}
	return ~crc;
}

#endif
