/*
 * find_history.h - for every address, which mappings died there, and by whom: the last one and,
 * beneath it, those before.
 *
 * A death is entered into a log (find_deaths.h), and sorted into a tree by address only when
 * somebody asks about a range: in healthy programs nobody does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_HISTORY_H
#define VMTRAIL_ANALYZER_FIND_HISTORY_H

#include "address_marks.h"
#include "find_deaths.h"

/* Of find_history.c: an entry's place in the tree by address, and the tree beneath it. */
struct vt_history_node {
	uint32_t left, right, older;
};

struct vt_history {
	uint64_t reach; /* forget deaths more than so many events back; 0: keep all */
	bool only_last; /* keep nothing but the last death of each address */
	struct vt_deaths deaths;
	struct vt_history_node *nodes; /* of the entries that are settled, by index */
	size_t cap_nodes;
	uint32_t settled, root, free_list;
	struct vt_marks marks; /* with only_last: where there may be something */
	size_t forget_at;
};

/* Enter a death. Deaths come in the order of their event numbers. */
void vt_history_add(struct vt_history *h, const struct vt_dead *d);

/* A death in [lo, hi) will be entered soon. */
static inline void vt_history_expect(const struct vt_history *h, uint64_t lo, uint64_t hi)
{
	vt_deaths_expect(&h->deaths, lo, hi);
}

/* The lowest range in [lo, hi) where something has died, as it was last; false: nothing has. */
bool vt_history_find(struct vt_history *h, uint64_t lo, uint64_t hi, struct vt_dead *d);

/*
 * The last mapping of just [lo, hi) that this thread had made or ended; false: none. Not looked for
 * among more than a few deaths of that range.
 */
bool vt_history_same(const struct vt_history *h, uint64_t lo, uint64_t hi, uint32_t tid,
		     struct vt_dead *d);

/* What had died in [lo, hi) before d did; false: nothing. Its own range may go beyond d's. */
bool vt_history_older(const struct vt_history *h, const struct vt_dead *d, uint64_t lo, uint64_t hi,
		      struct vt_dead *older);

/* False: nothing has died in [lo, hi). True: perhaps. With only_last, and cheap. */
static inline bool vt_history_may_hold(const struct vt_history *h, uint64_t lo, uint64_t hi)
{
	return vt_marks_may_hold(&h->marks, lo, hi);
}

/* Forget whatever died in [lo, hi); with only_last. */
void vt_history_remove(struct vt_history *h, uint64_t lo, uint64_t hi);

void vt_history_free(struct vt_history *h);

#endif
