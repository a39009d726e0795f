/*
 * diff.h - two runs of one program side by side: by call site and by finding, addresses aside.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_DIFF_H
#define VMTRAIL_ANALYZER_DIFF_H

#include "find.h"
#include "report_data.h"

enum { VT_DIFF_A, VT_DIFF_B, VT_DIFF_SIDES };

/*
 * A call site in both runs. It is known by function and module, not by its line or address, so that
 * a program that was built anew is still compared with itself.
 */
struct vt_diff_site {
	char *name;
	uint64_t calls[VT_DIFF_SIDES];
	uint64_t bytes[VT_DIFF_SIDES]; /* still mapped at the end */
	uint64_t vmas[VT_DIFF_SIDES];  /* areas that its calls added */
};

/* Findings of one kind with culprit and victim in the same functions. */
struct vt_diff_finding {
	uint8_t kind, severity; /* enum vt_find_kind, the worst enum vt_severity */
	char *culprit, *victim; /* call sites; victim NULL: there is none, or it has no stack */
	uint64_t count[VT_DIFF_SIDES];
	uint64_t seq[VT_DIFF_SIDES]; /* the first one's event, 0: none */
};

/* A number of the whole run. */
struct vt_diff_total {
	const char *name, *key; /* for people, in JSON */
	bool is_size;           /* in bytes */
	uint64_t value[VT_DIFF_SIDES];
};

enum {
	VT_DIFF_CALLS,
	VT_DIFF_ERRORS,
	VT_DIFF_MAPPED,
	VT_DIFF_MAPPED_PEAK,
	VT_DIFF_COMMITTED_PEAK,
	VT_DIFF_VMAS,
	VT_DIFF_VMAS_PEAK,
	VT_DIFF_TOTALS
};

struct vt_diff {
	struct vt_trace *trace[VT_DIFF_SIDES];
	struct vt_diff_total totals[VT_DIFF_TOTALS];
	struct vt_diff_site *sites;       /* largest difference first */
	struct vt_diff_finding *findings; /* those of one side first, then the most severe */
	size_t n_sites, cap_sites, n_findings, cap_findings;
	struct vt_diff_key *site_keys, *finding_keys;
};

/* Replay one side's trace and enter what it has. 0 or -ENOMEM. */
int vt_diff_collect(struct vt_diff *d, int side, struct vt_trace *t);

/* Put both tables in order. */
void vt_diff_sort(struct vt_diff *d);
void vt_diff_free(struct vt_diff *d);

/* Whether a site differs at all. */
bool vt_diff_site_differs(const struct vt_diff_site *s);

/* Whether only one run has the finding. */
bool vt_diff_one_sided(const struct vt_diff_finding *f);

/* Print; at most top sites. Returns how many warnings and errors only one run has. */
size_t vt_diff_print(FILE *out, const struct vt_diff *d, size_t top);
size_t vt_diff_print_json(FILE *out, const struct vt_diff *d);

#endif
