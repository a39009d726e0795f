/*
 * placement.h - whether the kernel put mappings where the model says it does.
 *
 * Asked of every call that left the choice to the kernel, before it is applied; costs the traced
 * program nothing. The recorder's own calls are not counted.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_PLACEMENT_H
#define VMTRAIL_ANALYZER_PLACEMENT_H

#include "replay.h"

/*
 * Why a mapping lies elsewhere than predicted. OVERLAP and UNSEEN are proved: with what the other
 * call maps, or what is found later, in place, the prediction is right. PASSED is concluded: the
 * kernel never passes over a place that is free. What must lie there is left out of later
 * predictions, which come true or not.
 */
#define VT_MISSES(X)                                                                               \
	X(UNEXPLAINED, "unexplained", "nothing in the trace tells why")                            \
	X(OVERLAP, "overlap", "another thread's call was under way, and the kernel took it first") \
	X(UNSEEN, "unseen", "the place was taken by a mapping that no recorded call made")         \
	X(PASSED, "passed",                                                                        \
	  "the kernel passed over the place: an unseen mapping that no snapshot shows")            \
	X(FREED, "freed", "the model held something where the kernel found room")                  \
	X(RANDOM, "random", "MAP_32BIT: the kernel begins its search at a random place")           \
	X(DRIVER, "driver", "the device's driver chooses the place itself")                        \
	X(BASE, "base", "where the search begins is not known")

enum vt_miss {
#define VT_MISS_ENUM(e, ...) VT_MISS_##e,
	VT_MISSES(VT_MISS_ENUM)
#undef VT_MISS_ENUM
	    VT_MISS_COUNT
};

struct vt_miss_info {
	const char *name, *text;
};
extern const struct vt_miss_info vt_misses[VT_MISS_COUNT];

/* A placement that was predicted wrongly. */
struct vt_misplaced {
	struct vt_event event;
	struct vt_placement predicted;
	uint64_t other; /* OVERLAP: the other call; UNSEEN: the event that found the mapping */
	enum vt_miss why;
};

/* What can have been in the way: of calls under way, and of changes that nobody saw. */
struct vt_obstacle {
	uint64_t lo, hi, seq;
	uint64_t pgoff;       /* of an unseen change, what is there */
	uint32_t flags, file; /* likewise */
	uint32_t span;        /* of a call */
	bool unseen;
};

/* Those of the events to come: v[first .. n), by their numbers. */
struct vt_obstacles {
	struct vt_obstacle *v;
	size_t first, n, cap;
	uint32_t longest; /* the highest span of them */
};

struct vt_placements {
	uint64_t asked, hits; /* of the program's calls */
	uint64_t why[VT_MISS_COUNT];
	bool listed; /* whether misses is filled */
	struct vt_misplaced *misses;
	size_t n, cap;

	/* of placement.c */
	struct vt_release {
		uint64_t lo, hi, seq, last; /* last: it was under way up to this event */
		uint32_t tid;
	} release[256]; /* a ring, the latest at n_releases - 1 */
	uint64_t n_releases;
	struct vt_range passed[32]; /* what must be taken; the oldest gives way */
	unsigned n_passed;
	struct vt_obstacles coming, unseen; /* calls, changes */
	uint64_t items, looked_at;          /* of the trace: delivered, known of ahead */
};

/*
 * Call before every vt_replay_next. Where a wrong prediction proves that an unseen mapping is there
 * already, the model takes it in.
 */
void vt_placements_before(struct vt_placements *p, struct vt_replay *r);
void vt_placements_free(struct vt_placements *p);

/* Replay the whole trace for its placements. 0 or -ENOMEM. */
int vt_placements_collect(struct vt_placements *p, struct vt_trace *t);

#endif
