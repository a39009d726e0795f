/*
 * compare.h - a snapshot of the kernel's against the model.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_COMPARE_H
#define VMTRAIL_ANALYZER_COMPARE_H

#include "replay.h"

/* What was being changed while a snapshot was read. */
struct vt_flux {
	struct vt_range *v;
	size_t n, cap;
	bool all_boundaries; /* a call that may change every area was under way */
	bool calls;          /* a call was under way, whatever it may change */
};

/* Add what event e may touch. The model is as it was before e. */
void vt_flux_add(struct vt_flux *flux, const struct vt_model *m, const struct vt_event *e);

/* Nothing can be concluded from the snapshot. */
void vt_flux_everything(struct vt_flux *flux);

/*
 * Compare the model with snapshot s outside of flux, count what differs in r->verdict (unless this
 * snapshot is the one that fills the model), take it from the kernel, settle the boundaries.
 * Returns 0 or -ENOMEM.
 */
int vt_compare(struct vt_replay *r, const struct vt_snapshot *s, struct vt_flux *flux);

/*
 * Note what snapshot s counts, to be compared with the model by vt_totals_compare once what the
 * recorder found by it has been applied. compare_totals.c
 */
void vt_totals_expect(struct vt_replay *r, const struct vt_snapshot *s);

/* Compare the counts noted last with the model's, if there are any and it was not done yet. */
void vt_totals_compare(struct vt_replay *r);

/* Compare the number of areas, before snapshot s settles what is undetermined. */
void vt_totals_compare_areas(struct vt_replay *r, const struct vt_snapshot *s, uint64_t areas);

#endif
