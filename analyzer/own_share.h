/*
 * own_share.h - what of an address space is the recorder's: its memory, its library, and the
 * libraries that were loaded for it alone. Without it a program would hold that much less.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_OWN_SHARE_H
#define VMTRAIL_ANALYZER_OWN_SHARE_H

#include "replay.h"

struct vt_own_share {
	struct vt_range *libraries;
	size_t n, cap;
	bool found; /* the libraries have been looked for */
};

/* How many pages of x are the recorder's. */
uint64_t vt_own_share_pages(const struct vt_own_share *s, const struct vt_extent *x);

/*
 * The counters of the recorder's share at this moment. Looks for the libraries when first called,
 * in the state of the first snapshot, by the files' own lists of what they need.
 */
struct vt_totals vt_own_share_count(struct vt_own_share *s, const struct vt_replay *r);
void vt_own_share_free(struct vt_own_share *s);

#endif
