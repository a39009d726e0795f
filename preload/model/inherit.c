/*
 * inherit.c - a model taken over from elsewhere: from a keyframe, or from the parent after fork.
 *
 * Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/*
 * What a keyframe leaves open: see VT_ID_UNSURE. What was there at the start was taken from maps,
 * which shows protection only.
 */
static uint32_t lost_knowledge(const struct vt_model *m, const struct vt_extent *x)
{
	bool huge = x->flags & VT_VM(HUGETLB);
	uint32_t unsure = x->birth || x->special || huge ? 0 : VT_ID_HIDDEN_FLAGS;
	if (!vt_is_anonymous(m, x))
		return unsure;
	if (x->special != VT_SPECIAL_HEAP)
		unsure |= VT_ID_PGOFF_ANY;
	if (x->flags & VT_VM(ACCOUNT) && !(x->flags & VT_VM(WRITE)))
		unsure |= VT_ID_ACCOUNT;
	return unsure;
}

int vt_model_restore(struct vt_model *m, const struct vt_extent *from)
{
	struct vt_extent *prev = vt_model_last(m), *x = vt_extent_new(m);
	if (!x)
		return -ENOMEM;
	*x = *from;
	bool merged = prev && prev->end == x->start && x->boundary == VT_BOUNDARY_MERGED;
	/* pieces of one area share what is not known of them */
	x->identity = merged ? prev->identity : vt_identity_new(m) | lost_knowledge(m, x);
	x->anon = merged ? prev->anon : 0;
	if (!merged && !(x->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE))))
		x->anon = vt_anon_new_label(m) | (m->forked ? VT_ANON_FORKED : 0);
	if (!prev || prev->end != x->start)
		x->boundary = VT_BOUNDARY_SPLIT;
	vt_extent_link(m, NULL, x);
	return 0;
}

/* anon_vma_fork: none where there was none or where the child gets a clean slate, else its own. */
static uint32_t child_label(struct vt_model *m, const struct vt_extent *x, uint32_t label)
{
	if (!label || x->flags & VT_VM(WIPEONFORK))
		return 0;
	return vt_anon_new_label(m) | VT_ANON_FORKED | (label & VT_ANON_TOUCHED);
}

int vt_model_own(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x;
	while (lo < hi && (x = vt_model_find(m, lo)) && x->start < hi) {
		if (x->start < lo) {
			if (vt_cut(m, x, lo))
				return -ENOMEM;
			continue;
		}
		if (x->end > hi && vt_cut(m, x, hi))
			return -ENOMEM;
		x->own = true;
		lo = x->end;
	}
	return 0;
}

int vt_model_become_child(struct vt_model *m)
{
	struct vt_effect fx = { 0 };
	struct vt_apply a = { m, NULL, &fx };
	vt_piece_fn observe = m->observe;
	struct vt_extent *x = vt_model_first(m);

	m->observe = NULL;
	m->forked = true;
	m->def_flags = 0;
	while (x) {
		struct vt_extent *tail = vt_area_tail(x);
		uint64_t end = tail->end;
		if (x->flags & VT_VM(DONTCOPY)) {
			if (vt_unmap_range(&a, x->start, end, VT_PIECE_UNMAPPED))
				return -ENOMEM;
			x = vt_model_find(m, end);
			continue;
		}
		vt_anon_set_area(x, child_label(m, x, tail->anon));
		vt_anon_wake(m, x);
		for (struct vt_extent *y = x; y && y->start < end; y = vt_extent_next(y)) {
			vt_uncharge(m, y, vt_extent_pages(y));
			y->flags &= ~(uint32_t)VT_VM_LOCKED_MASK;
			y->identity &= ~VT_ID_LOCKED;
			vt_uffd_reset(y);
			vt_charge(m, y, vt_extent_pages(y));
		}
		x = vt_extent_next(tail);
	}
	m->totals.locked_vm = m->totals.locked_unsure = 0;
	m->observe = observe;
	return 0;
}
