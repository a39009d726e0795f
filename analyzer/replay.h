/*
 * replay.h - a trace run through the model, item by item.
 *
 * Every subcommand that needs the address space uses this one loop. The first snapshot (or
 * keyframe) fills the model; events are applied; snapshots settle undetermined boundaries and are
 * compared first.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_REPLAY_H
#define VMTRAIL_ANALYZER_REPLAY_H

#include "trace.h"
#include <vmtrail/order.h>

/* Sums over the snapshots seen so far: the last line of verify. */
struct vt_verdict {
	uint64_t snapshots, vmas;
	uint64_t byte_mismatches; /* pages that differ: mapped, protection, shared, file, offset */
	uint64_t boundary_mismatches; /* determined boundaries that differ */
	uint64_t undetermined;        /* boundaries that a snapshot had to settle */
	uint64_t unseen;              /* unseen change events: VT_UNSEEN_CHANGE only */
	uint64_t stack_growth;        /* unseen change events that are stack growth */
	uint64_t totals_compared;     /* snapshots whose counts were compared with the model's */
	uint64_t total_mismatches;    /* counts that differed */
};

/* What a snapshot counts, in pages; accounted: pages of areas with VM_ACCOUNT. */
struct vt_counts {
	uint64_t size, data, stack, exec, locked, accounted;
};

/* Counts that wait for the model to have caught up with their snapshot. */
struct vt_totals_due {
	struct vt_snapshot snapshot; /* number, reason, seq_lo: its texts may be gone */
	struct vt_counts kernel;
	bool waits, flags_shown;
	bool fills_model; /* it was the first: there is nothing to compare with */
};

/*
 * Called for every difference of bytes found at a snapshot: [start, end), what the model has and
 * what the kernel shows, as in maps; and for every boundary that differs: start == end.
 */
typedef void (*vt_mismatch_fn)(void *ctx, const struct vt_snapshot *s, uint64_t start, uint64_t end,
			       const char *model, const char *kernel);

/* Called for every count of a snapshot that differs: the model has least to most, in pages. */
typedef void (*vt_total_fn)(void *ctx, const struct vt_snapshot *s, const char *name,
			    uint64_t least, uint64_t most, uint64_t kernel);

struct vt_replay {
	struct vt_trace *trace;
	struct vt_model model;
	struct vt_verdict verdict;
	struct vt_effect effect;    /* of the last event */
	vt_mismatch_fn mismatch;    /* may be NULL */
	vt_total_fn total_mismatch; /* may be NULL */
	void *mismatch_ctx;         /* of both */
	bool started;               /* the model has been filled */

	/* of replay.c and compare.c */
	uint32_t n_files;         /* files that the model has been told of */
	struct vt_range *pending; /* boundaries that keyframes and unseen changes leave open */
	size_t n_pending, cap_pending;
	struct vt_order *order; /* calls that overlapped in time */
	uint64_t placed;        /* events so far that took a place in the order */
	struct vt_flux *doubt;  /* what calls of unknown effect were about, up to a snapshot */
	struct vt_queue *queue; /* items read ahead */
	struct vt_pool *pool;   /* the model's memory */
	struct vt_totals_due due;
	struct vt_extent *hints[VT_TRACE_BATCH]; /* where events from first_hint on strike */
	uint64_t first_hint, n_hints;
	bool locks_known; /* what is locked in the model is all that is */
};

/*
 * Prepare: opens nothing, rewinds the trace. 0 or -ENOMEM. An observer may be set in r->model
 * afterwards.
 */
int vt_replay_init(struct vt_replay *r, struct vt_trace *t);
void vt_replay_fini(struct vt_replay *r);

/*
 * Deliver the next item after applying it to the model. At a snapshot the model shows the state
 * before the first event above its seq_lo; pages in which the two differ are counted, told, and
 * then taken from the kernel, so that one error is not counted at every snapshot.
 */
enum vt_item_type vt_replay_next(struct vt_replay *r, struct vt_item *item);

/* What vt_replay_next will deliver, not applied yet; NULL at the end. Valid until then. */
const struct vt_item *vt_replay_peek(struct vt_replay *r);

/* The same for the item that comes i items after it; all items up to it are kept in memory. */
const struct vt_item *vt_replay_ahead(struct vt_replay *r, size_t i);

/*
 * Tell a model of the trace's files that have come up since; *told is how many it knows, 0 at
 * first. 0 or -ENOMEM.
 */
int vt_tell_files(const struct vt_trace *t, struct vt_model *m, uint32_t *told);

#endif
