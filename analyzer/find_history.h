/*
 * find_history.h - for every address, which mapping died there last, and by whom.
 *
 * Bounded by the number of different ranges that died, not by the number of deaths: a later death
 * takes the place of the earlier one. 64 bytes a range.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_HISTORY_H
#define VMTRAIL_ANALYZER_FIND_HISTORY_H

#include <stddef.h>
#include <stdint.h>

/* A range whose last mapping is dead; something else may live there by now. */
struct vt_dead {
	uint64_t lo, hi;       /* bytes, page aligned */
	uint64_t birth, death; /* event numbers */
	uint32_t owner;        /* of the birth, see find_owner.h */
	uint32_t killer;       /* owner of the call that ended it */
	uint32_t birth_tid, death_tid;
	uint32_t claim;       /* the finding that its death is, see vt_find_claimed; 0: none */
	uint32_t left, right; /* of find_history.c */
	uint32_t unused;
};
_Static_assert(sizeof(struct vt_dead) <= 64, "a dead range takes at most 64 bytes");

struct vt_history {
	struct vt_dead *v; /* by index; 0 is nobody */
	uint32_t n, root, free_list;
	size_t cap;
};

/* Enter a death; what died there before is forgotten. */
void vt_history_add(struct vt_history *h, const struct vt_dead *d);

/* The lowest dead range that reaches into [lo, hi), NULL: none. Good until the next vt_history_add.
 */
const struct vt_dead *vt_history_find(const struct vt_history *h, uint64_t lo, uint64_t hi);

void vt_history_free(struct vt_history *h);

#endif
