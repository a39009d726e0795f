/*
 * why_gap.c - why the kernel put a mapping where it is: which gap it took, and who had opened that.
 *
 * SPDX-License-Identifier: MIT
 */
#include "why_gap.h"

#include "alloc.h"
#include "why_history.h"

void vt_why_gap_freed(struct vt_why *w, const struct vt_event *e, uint64_t lo, uint64_t hi,
		      enum vt_piece_fate fate)
{
	/* what is replaced leaves no gap */
	if (fate == VT_PIECE_UNMAPPED || fate == VT_PIECE_MOVED || fate == VT_PIECE_LOST)
		vt_range_map_set(&w->freed, lo, hi, (int64_t)e->seq);
}

/* The last event that gave back a part of [lo, hi), 0: none. */
static uint64_t opener_of(const struct vt_range_map *freed, uint64_t lo, uint64_t hi)
{
	int64_t last = 0;
	for (uint64_t end; lo < hi; lo = end) {
		int64_t seq = vt_range_map_get(freed, lo, 0, &end);
		last = seq > last ? seq : last;
	}
	return (uint64_t)last;
}

void vt_why_gap_before(struct vt_why *w)
{
	const struct vt_model *m = &w->replay->model;
	const struct vt_item *next = vt_replay_peek(w->replay);
	struct vt_placement p;
	w->gap = (struct vt_why_gap){ 0 };
	if (!next || next->type != VT_ITEM_EVENT || next->event.flags & VT_EV_LATE ||
	    !vt_model_placement(m, &next->event, &p))
		return;
	uint64_t at = (uint64_t)next->event.ret;
	const struct vt_extent *above = vt_model_find(m, at);
	if (at >= w->end || at + p.len <= w->page || (above && above->start < at + p.len))
		return;
	const struct vt_extent *below = above ? vt_extent_prev(above) : vt_model_last(m);
	w->gap = (struct vt_why_gap){ .chosen = true,
				      .by_hint = p.hint && p.hint == at,
				      .lo = below ? below->end : 0,
				      .hi = above ? above->start : m->config.task_size,
				      .wanted = p.len,
				      .expected = p.at,
				      .opener = opener_of(&w->freed, at, at + p.len) };
}
