/*
 * anon.c - what is known of an area's anon_vma, which no system call shows.
 *
 * Owns the meaning of vt_extent.anon (see internal.h) and the numbers of labels and identities. An
 * area gets an anon_vma when a page of it is first touched; two areas merge only if one has none
 * or both have the same (is_mergeable_anon_vma). Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/* Every label has been used: begin again, forgetting all relations between areas. */
void vt_anon_relabel_all(struct vt_model *m)
{
	m->next_anon = 1;
	struct vt_extent *x = vt_model_first(m);
	while (x) {
		struct vt_extent *tail = vt_area_tail(x);
		uint32_t label = x->anon;
		if (label)
			label = (label & ~VT_ANON_LABEL_MAX) | m->next_anon++;
		x->anon = tail->anon = label;
		x = vt_extent_next(tail);
	}
}

/* A new number for vt_extent.identity. Numbers are so many that a reuse meets no old bearer. */
uint32_t vt_identity_new(struct vt_model *m)
{
	m->next_identity = m->next_identity % VT_ID_NUMBER_MAX + 1;
	return m->next_identity;
}

uint32_t vt_anon_of_area(struct vt_extent *x)
{
	return x->boundary != VT_BOUNDARY_MERGED ? x->anon : vt_area_tail(x)->anon;
}

void vt_anon_set_area(struct vt_extent *x, uint32_t label)
{
	x->anon = label;
	vt_area_head(x)->anon = label;
	vt_area_tail(x)->anon = label;
}

/* Whether the program may give x's area an anon_vma without a call we see. */
bool vt_anon_touchable(const struct vt_model *m, const struct vt_extent *x)
{
	if (x->flags & VT_VM(SHARED))
		return false;
	/* a fault anywhere below a stack prepares one before it looks how far (expand_downwards) */
	if (x->flags & (VT_VM(WRITE) | VT_VM(GROWSDOWN)))
		return true;
	/* a userfaultfd's handler fills pages whatever the protection (mfill_atomic) */
	if (x->flags & VT_VM_UFFD)
		return true;
	/* a read fault on a huge page prepares an anon_vma, too (do_huge_pmd_anonymous_page) */
	bool huge =
	    x->flags & VT_VM(HUGEPAGE) || (m->config.thp_always && !(x->flags & VT_VM(NOHUGEPAGE)));
	return huge && x->flags & (VT_VM(READ) | VT_VM(EXEC)) && vt_is_anonymous(m, x);
}

/* x's area has been made or changed: from now on it may be touched. */
void vt_anon_wake(struct vt_model *m, struct vt_extent *x)
{
	if (vt_anon_touchable(m, x) && !vt_anon_of_area(x))
		vt_anon_set_area(x, vt_anon_new_label(m));
}

/*
 * populate_vma_page_range on [lo, hi): every writable private anonymous area has had pages touched,
 * but those locked on fault.
 */
void vt_anon_touched(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(m, lo);
	while (x && x->start < hi) {
		struct vt_extent *tail = vt_area_tail(x);
		if (x->flags & VT_VM(WRITE) && !(x->flags & VT_VM(LOCKONFAULT)) &&
		    vt_is_anonymous(m, x) && !(tail->anon & VT_ANON_TOUCHED)) {
			uint32_t forked = tail->anon & VT_ANON_FORKED;
			vt_anon_set_area(x, vt_anon_new_label(m) | VT_ANON_TOUCHED | forked);
		}
		x = vt_extent_next(tail);
	}
}

/*
 * is_mergeable_anon_vma and can_vma_merge_right's question whether left and right agree. Before
 * 6.16 an area without anon_vma did not take over another's (a: the one in place, b: changing).
 */
enum vt_boundary vt_anon_compatible(const struct vt_model *m, uint32_t a, bool a_touchable,
				    uint32_t b, bool b_touchable)
{
	if (!a && !b)
		return VT_BOUNDARY_MERGED;
	if (!a || !b) {
		if ((a | b) & VT_ANON_FORKED)
			return VT_BOUNDARY_UNDETERMINED;
		if (!a && !vt_kernel_has(m, VT_KERNEL_WAY_ANON_VMA_TAKEN_OVER))
			return b & VT_ANON_TOUCHED ? VT_BOUNDARY_SPLIT : VT_BOUNDARY_UNDETERMINED;
		return VT_BOUNDARY_MERGED;
	}
	if (a == b && (a & VT_ANON_TOUCHED || !a_touchable || !b_touchable))
		return VT_BOUNDARY_MERGED;
	return VT_BOUNDARY_UNDETERMINED;
}
