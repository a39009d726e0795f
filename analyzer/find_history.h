/*
 * find_history.h - for every address, which mappings died there, and by whom: the last one and,
 * beneath it, those before.
 *
 * A death is entered into a log, found again by its first address, and sorted into a tree by
 * address only when somebody asks about a range: in healthy programs nobody does.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_HISTORY_H
#define VMTRAIL_ANALYZER_FIND_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A range whose mapping is dead; something else may live there by now. */
struct __attribute__((packed, aligned(4))) vt_dead {
	uint64_t lo, hi;                         /* bytes, page aligned */
	uint64_t birth;                          /* event number */
	uint64_t death : 62, exec : 1, file : 1; /* event number; code, or of a file */
	uint32_t birth_tid, death_tid;
	uint16_t owner;  /* of the birth, see find_owner.h */
	uint16_t killer; /* owner of the call that ended it */
	union {
		uint32_t claim; /* with only_last: the finding that its death is */
		uint32_t chain; /* else, of find_history.c: the entry before of the same hash */
	};
	uint32_t left, right, older; /* of find_history.c: by address, and the tree beneath */
};
_Static_assert(sizeof(struct vt_dead) + sizeof(uint32_t) <= 64,
	       "a dead range takes at most 64 bytes, its place in the table of hashes included");

struct vt_history {
	uint64_t reach;    /* forget deaths more than so many events back; 0: keep all */
	bool only_last;    /* keep nothing but the last death of each address */
	struct vt_dead *v; /* by index; 0 is nobody */
	uint32_t n, settled, root, free_list;
	size_t cap, forget_at;
	uint32_t *heads; /* newest entry by hash of its first address */
	size_t n_heads;
};

/* Enter a death. Deaths come in the order of their event numbers. */
void vt_history_add(struct vt_history *h, const struct vt_dead *d);

/*
 * The lowest range in [lo, hi) where something has died, as it was last; NULL: none. Good until the
 * next call of any of these.
 */
const struct vt_dead *vt_history_find(struct vt_history *h, uint64_t lo, uint64_t hi);

/*
 * The last mapping of just [lo, hi) that this thread had made or ended, NULL: none; not looked for
 * among more than a few deaths at lo.
 */
const struct vt_dead *vt_history_same(const struct vt_history *h, uint64_t lo, uint64_t hi,
				      uint32_t tid);

/* What had died in [lo, hi) before d did, NULL: nothing. Its own range may go beyond d's. */
const struct vt_dead *vt_history_older(const struct vt_history *h, const struct vt_dead *d,
				       uint64_t lo, uint64_t hi);

/* Forget whatever died in [lo, hi); with only_last. */
void vt_history_remove(struct vt_history *h, uint64_t lo, uint64_t hi);

void vt_history_free(struct vt_history *h);

#endif
