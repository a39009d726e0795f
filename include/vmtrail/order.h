/*
 * order.h - calls that overlapped in time: what their places in the order cannot tell.
 *
 * Linked by both halves, like the model that it feeds: the recorder asks which ranges to read again
 * from the kernel, the replay which boundaries nobody can know before the next snapshot. Rules of
 * model.h hold: no lock, no system call, no memory of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ORDER_H
#define VMTRAIL_ORDER_H

#include <vmtrail/model.h>

#define VT_ORDER_MOVED    32  /* moves remembered: what is moved may be a call's not yet placed */
#define VT_ORDER_OPEN     64  /* releases remembered longer, for what began before they ended */
#define VT_ORDER_STUCK    16  /* calls given up and not yet back */
#define VT_ORDER_DOUBTFUL 64  /* ranges; when they run out, they are joined */
#define VT_ORDER_BLURRED  128 /* ranges that one event leaves open; likewise */

/* One call that has taken its place, as far as others can be in conflict with it. */
struct vt_placed {
	uint64_t index;
	uint32_t span, tid;
	bool releases; /* took its place before the system call */
	bool chosen;   /* the kernel chose the place: it was free then */
	bool covered;  /* all it gave up was certainly there */
	bool bytes;    /* changes what maps shows of pages, not only where areas end */
	bool failed;
	struct vt_range at, from; /* mremap: new place and old place */
};

struct vt_order {
	struct vt_placed *recent; /* the owner's memory, a ring of cap */
	uint64_t cap, n;
	struct vt_placed open[VT_ORDER_OPEN];
	uint32_t n_open, n_stuck, n_doubtful, n_blurred, n_moves;
	uint64_t open_end;   /* no release in open lasted beyond this index */
	uint64_t forgot_end; /* nor did one that found no room there beyond this one */
	struct vt_placed stuck[VT_ORDER_STUCK], moved[VT_ORDER_MOVED];
	struct vt_range doubtful[VT_ORDER_DOUBTFUL], blurred[VT_ORDER_BLURRED];
	bool wanted; /* the kernel's view is needed: set here, cleared by the owner */
};

/*
 * Forget everything. recent: room for cap calls, a power of two; one that overlaps as many or more
 * is in doubt as a whole.
 */
void vt_order_init(struct vt_order *o, struct vt_placed *recent, uint64_t cap);

/*
 * Apply an event to the model, as vt_model_apply does, and find out what its place in the order
 * leaves open. index: its place among the calls that took one, from 1; 0 for an event without
 * (unseen changes, exit). Events marked undone or late change nothing: what they did is in doubt.
 * Boundaries in doubt become undetermined. Returns 0, or -ENOMEM when the model broke.
 */
int vt_order_apply(struct vt_order *o, struct vt_model *m, const struct vt_event *ev,
		   uint64_t index, struct vt_effect *fx);

/* Add a range to a list of n, at most max; where there is no room, the last one grows. */
void vt_ranges_add(struct vt_range *list, uint32_t *n, uint32_t max, struct vt_range r);

/* Whether [lo, hi) touches bytes in doubt: the kernel's view is right there, not the order. */
bool vt_order_doubtful(const struct vt_order *o, uint64_t lo, uint64_t hi);

/*
 * Whether what is at [lo, hi) was moved there from a place where calls are still under way, as
 * changing tells: it may be what they made.
 */
bool vt_order_moved(const struct vt_order *o, uint64_t lo, uint64_t hi,
		    bool (*changing)(struct vt_range from));

/*
 * The kernel's view has been compared: nothing is in doubt any more but what touches the ranges of
 * calls that were under way, and calls that are still not back.
 */
void vt_order_settled(struct vt_order *o, const struct vt_range *flux, size_t n_flux);

/*
 * The ranges in which a call changes bytes, or may do so if it is marked undone: up to two. Returns
 * how many. *anywhere is set when it may also map at a place that only the kernel knows yet.
 */
int vt_event_places(const struct vt_model *m, const struct vt_event *ev, struct vt_range r[2],
		    bool *anywhere);

/* Bytes that an attached segment spans from addr on: all neighbours of one birth. */
uint64_t vt_attached_bytes(const struct vt_model *m, uint64_t addr);

#endif
