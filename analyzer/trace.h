/*
 * trace.h - reading a trace: the file's frames, definitions, events and snapshots, in order.
 *
 * The one place that touches the file format on the analyzer's side. Reads closed traces, traces
 * of running processes and traces of killed ones (where the last events still stand in the live
 * ring). Damage ends the reading: what stands before it has been delivered, and vt_trace.damage
 * says in one line what is wrong and where.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_TRACE_H
#define VMTRAIL_ANALYZER_TRACE_H

#include <stdio.h>
#include <vmtrail/codec.h>

/* Definitions, by id. Strings belong to the trace. */
struct vt_stack_def {
	uint32_t n;
	uint64_t *pc; /* innermost first; NULL: id not defined */
};

struct vt_file_def {
	uint8_t kind; /* enum vt_file_kind; VT_FILE_NONE: id not defined */
	uint64_t dev; /* major << 20 | minor */
	uint64_t ino;
	char *path;
	uint8_t *build_id;
	uint32_t build_id_len;
};

struct vt_thread_def {
	uint32_t tid;
	char *name;    /* the last one */
	uint64_t tls;  /* an address in its thread-local storage, 0: not known */
	uint64_t made; /* about the number of the first event since it is there, 0: not known */
};

/* A code address that the trace itself names. */
struct vt_symbol_def {
	const char *path;     /* of the module, "" when not known */
	const char *function; /* "" when not known */
	uint64_t offset;      /* of the address from the function's start, or else in the file */
};

struct vt_name_def {
	char *name;               /* NULL: number not defined */
	char *area, *shared_area; /* as maps shows it */
};

/* A "key value" line of the META or END frame or a NOTE. */
struct vt_text_line {
	char *key, *value;
};

struct vt_lines {
	struct vt_text_line *v;
	size_t n, cap;
};

/* One snapshot, parsed. vmas are sorted, file ids resolved through the trace's tables. */
struct vt_snapshot {
	uint32_t number;
	uint8_t reason; /* enum vt_snapshot_reason */
	uint64_t seq_lo, seq_hi, time_ns;
	char *maps_text, *status_text, *smaps_text; /* NULL: not taken */
	struct vt_vma *vmas;
	char **names;        /* per vma: the path as printed, "" for none */
	uint64_t *dev, *ino; /* per vma */
	size_t n_vmas;
	bool flags_shown; /* vmas have all their flags: smaps was taken, and agrees with maps */
};

/* What vt_trace_next delivers. */
enum vt_item_type {
	VT_ITEM_END,
	VT_ITEM_EVENT,
	VT_ITEM_SNAPSHOT, /* comes before the first event with seq > seq_lo */
	VT_ITEM_KEYFRAME, /* the model's state before the next event */
};

struct vt_item {
	enum vt_item_type type;
	struct vt_event event;
	const struct vt_snapshot *snapshot; /* valid until the next call */
	const struct vt_extent *extents;    /* KEYFRAME; valid until the next call */
	size_t n_extents;
};

struct vt_trace {
	char *path;
	struct vt_trace_header header; /* as it stood when opened */
	struct vt_lines meta, end, notes;
	struct vt_stack_def *stacks;
	uint32_t n_stacks; /* ids are below this */
	struct vt_file_def *files;
	uint32_t n_files;
	struct vt_thread_def *threads;
	uint32_t n_threads;
	struct vt_name_def *names; /* of anonymous memory, by number */
	uint32_t n_names;
	uint64_t size; /* bytes of trace data: header and frames (and live region, if any) */
	bool closed;   /* ended properly */
	char *damage;  /* NULL, or why the reading stopped early */
	void *impl;
};

/*
 * Open a trace. On failure returns NULL and *error is one malloc'ed line that names the file, the
 * offset and what is wrong. Definitions appear in the tables no later than the first item that
 * uses them (the implementation may read them all at once).
 */
struct vt_trace *vt_trace_open(const char *path, char **error);
void vt_trace_close(struct vt_trace *t);

/* The next item in order; VT_ITEM_END at the end, also after damage. */
enum vt_item_type vt_trace_next(struct vt_trace *t, struct vt_item *item);

/*
 * Decode ahead: the events that come next, with nothing but snapshots and keyframes between; *n of
 * them, at most VT_TRACE_BATCH, 0 at the end of a chunk. Valid until the next call. Their ids have
 * not been checked yet.
 */
#define VT_TRACE_BATCH 32
const struct vt_event *vt_trace_upcoming(struct vt_trace *t, size_t *n);

/*
 * Keep the snapshot that was delivered last beyond the next call: the caller owns it from now on
 * and frees it with vt_snapshot_free.
 */
struct vt_snapshot *vt_trace_take_snapshot(struct vt_trace *t);
void vt_snapshot_free(struct vt_snapshot *s);

/* Start again from the first item. */
void vt_trace_rewind(struct vt_trace *t);

/*
 * Close the trace of a process that was killed: its last events go from the live ring into a frame,
 * and the file is cut behind it. A trace that is closed already is left alone. Returns 0; or -1 and
 * *error, one malloc'ed line: the trace is damaged, or its process still runs. The file is then as
 * before. told: what its parent knows of its end, NULL: nothing.
 */
struct vt_told {
	int status;           /* as wait tells it */
	uint64_t realtime_ns; /* wall clock when it was told */
	uint64_t maxrss_kb;   /* the most that was resident */
};
int vt_trace_seal(const char *path, const struct vt_told *told, char **error);

/* What a path, and a device as maps shows it, say of the kind of file. */
enum vt_file_kind vt_guess_file_kind(uint64_t dev, const char *path, bool shared);

/* Whether a process still records into the trace. */
bool vt_trace_is_recording(const struct vt_trace *t);

/* A value of META (or END), NULL if absent; the number in it, or fallback. */
const char *vt_trace_meta(const struct vt_trace *t, const char *key);
uint64_t vt_trace_meta_u64(const struct vt_trace *t, const char *key, uint64_t fallback);

/* What the trace itself says of a code address: traces made from other tools' logs do. NULL:
 * nothing.
 */
const struct vt_symbol_def *vt_trace_symbol(const struct vt_trace *t, uint64_t pc);

/* The name that a call gives anonymous memory; NULL: it gives none, or it is not known. */
const char *vt_event_name(const struct vt_trace *t, const struct vt_event *e);

/* How maps shows the name with a number, of shared memory or other; NULL: it is not known. */
const char *vt_trace_area_name(const struct vt_trace *t, uint32_t number, bool shared);

/* The thread's name, "" when not known. */
const char *vt_trace_thread_name(const struct vt_trace *t, uint32_t tid);
/* The thread's definition, NULL: none. */
const struct vt_thread_def *vt_trace_thread(const struct vt_trace *t, uint32_t tid);

#endif
