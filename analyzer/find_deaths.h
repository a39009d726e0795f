/*
 * find_deaths.h - the log of deaths: every mapping that died, in the order of dying, and a table
 * that finds the last ones of a range.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_DEATHS_H
#define VMTRAIL_ANALYZER_FIND_DEATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A range whose mapping is dead; something else may live there by now. */
struct vt_dead {
	uint64_t lo, hi;       /* bytes, page aligned, below 1 << 58 */
	uint64_t birth, death; /* event numbers */
	uint32_t birth_tid, death_tid;
	uint16_t owner;   /* of the birth, see find_owner.h */
	uint16_t killer;  /* owner of the call that ended it */
	bool exec, file;  /* it was code; it was of a file */
	uint32_t claim;   /* the finding that its death is, 0: none; of the log of claims only */
	uint32_t beneath; /* of find_history.c: the tree of what it covers */
};

/* A death as it is kept: page numbers, and threads by numbers that no kernel goes beyond. */
struct __attribute__((packed, aligned(4))) vt_death {
	uint64_t lo : 46, owner : 16, exec : 1, file : 1;
	uint64_t hi : 46, killer : 16;
	uint64_t birth : 42, birth_tid : 22;
	uint64_t death : 42, death_tid : 22;
	uint32_t chain; /* the entry before of the same hash; in the log of claims, the claim */
};

/* The entries of one hash. */
struct vt_deaths_head {
	uint32_t newest;  /* 0: there are none */
	uint32_t threads; /* whose the last of them are, by hash: see find_deaths.c */
};

/*
 * Entries never move: they stand in large pages, for they are many, and met at random. Index 0 is
 * nobody.
 */
struct vt_deaths {
	struct vt_death **chunks;
	uint32_t n; /* indices are below it */
	size_t n_chunks, cap_chunks;
	struct vt_deaths_head *heads; /* by hash of the range */
	size_t n_heads, n_used;
};

#define VT_DEATHS_CHUNK (1u << 19)

static inline struct vt_death *vt_deaths_at(const struct vt_deaths *d, uint32_t i)
{
	return &d->chunks[i / VT_DEATHS_CHUNK][i % VT_DEATHS_CHUNK];
}

/* Enter a death at the end of the log; returns its index. */
uint32_t vt_deaths_add(struct vt_deaths *d, const struct vt_dead *dead);

/* Enter it in place of another, that the table must not find. */
void vt_deaths_set(struct vt_deaths *d, uint32_t i, const struct vt_dead *dead);

/* Enter a copy of an entry, to be given other bounds, that the table does not find. */
uint32_t vt_deaths_add_piece(struct vt_deaths *d, uint32_t of);
bool vt_deaths_is_piece(const struct vt_deaths *d, uint32_t i);

/* Put an entry into the table, which must have all that came before it. */
void vt_deaths_index(struct vt_deaths *d, uint32_t i);

/* A death of just [lo, hi) will be entered, or asked for, soon. */
void vt_deaths_expect(const struct vt_deaths *d, uint64_t lo, uint64_t hi);

/*
 * The last death of just [lo, hi) that a thread had made or ended, among the last few of the range;
 * 0: none.
 */
uint32_t vt_deaths_same(const struct vt_deaths *d, uint64_t lo, uint64_t hi, uint32_t tid);

/* What an entry says. */
struct vt_dead vt_deaths_get(const struct vt_deaths *d, uint32_t i);

void vt_deaths_free(struct vt_deaths *d);

#endif
