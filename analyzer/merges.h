/*
 * merges.h - how the areas of a trace merged and split, by the kernel's cases and by call site.
 *
 * The program's own calls only. What a boundary became where no call shows it is not counted as a
 * merge; why it is open is told with the reasons.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_MERGES_H
#define VMTRAIL_ANALYZER_MERGES_H

#include "births.h"
#include "sites.h"

#define VT_MERGE_CASES 9 /* 0: nothing merged */

/* What a case of vma_merge is, in words. */
extern const char *const vt_merge_cases[VT_MERGE_CASES];

/* A call site, or the calls without a stack (site NULL). */
struct vt_merge_site {
	const struct vt_site *site;
	uint8_t kind; /* of its calls; mixed: of the first one */
	bool mixed;
	uint64_t cases[VT_MERGE_CASES];
	uint64_t merges, splits;
	uint64_t apart; /* neighbours that stayed apart, for the reasons below */
	uint64_t why[VT_APART_COUNT];
};

/* A run of touching areas, each of which differs from the next in one flag only. */
struct vt_merge_chain {
	uint64_t lo, hi, areas;
	uint32_t flags;             /* all those in which two of them differ */
	const struct vt_site *site; /* of the mapping that it begins with, NULL: none known */
};

struct vt_merges {
	uint64_t cases[VT_MERGE_CASES];
	uint64_t merges, splits;
	uint64_t splits_by[VT_KIND_COUNT];
	uint64_t why[VT_APART_COUNT];
	struct vt_merge_site *table; /* those that keep most neighbours apart first */
	size_t n, cap;
	uint64_t most, most_seq;       /* areas at their most, and the event that made it so */
	struct vt_merge_chain *chains; /* longest first; when there were most areas */
	size_t n_chains, cap_chains;

	/* of merges_collect.c */
	struct vt_sites *sites;
	struct vt_births births;
	struct vt_merge_site pending; /* what the event under way does */
};

/* Replay the trace, twice. 0 or -ENOMEM. */
int vt_merges_collect(struct vt_merges *m, struct vt_trace *t);
void vt_merges_free(struct vt_merges *m);

/* merges_chains.c: fill chains from the model as it stands. */
void vt_merges_find_chains(struct vt_merges *m, const struct vt_replay *r);

/* merges_print.c */
void vt_merges_print(FILE *out, const struct vt_merges *m, const struct vt_trace *t, size_t top);
void vt_merges_print_json(FILE *out, const struct vt_merges *m, const struct vt_trace *t,
			  size_t top);

#endif
