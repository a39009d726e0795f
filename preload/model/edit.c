/*
 * edit.c - the three edits that every call is made of: unmap a range, insert a mapping, change the
 * attributes of a range.
 *
 * Owns the order of things inside one edit: observer first, then cuts, then boundaries and labels.
 * Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/* Tell the observer, which there is, of every piece of [lo, hi). */
void vt_tell_pieces(struct vt_apply *a, uint64_t lo, uint64_t hi, enum vt_piece_fate fate)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_find(m, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		m->observe(m->observe_ctx, a->ev, x, vt_max(x->start, lo), vt_min(x->end, hi),
			   fate);
}

uint64_t vt_hole_in(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_find(m, lo);
	while (x && x->start <= lo && lo < hi) {
		if (x->end >= hi)
			return hi;
		x = vt_area_tail(x);
		lo = x->end;
		x = vt_extent_next(x);
	}
	return vt_min(lo, hi);
}

/*
 * hugetlb_vm_op_split: where a walk over [lo, hi) that splits areas ends with EINVAL, because a
 * huge page would be cut at lo or hi; hi if none would. An extent may end in the middle of one.
 */
uint64_t vt_huge_cut(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(m, lo), *y = vt_model_find(m, hi - 1);
	if (x && x->start <= lo && vt_cuts_huge_page(m, x, lo))
		return lo;
	if (y && y->start < hi && vt_cuts_huge_page(m, y, hi))
		return vt_max(vt_area_head(y)->start, lo);
	return hi;
}

/*
 * split_vma at addr, where the area goes on across it: both parts keep the label. b is SPLIT, or
 * UNDETERMINED where a refused call may have split it.
 */
int vt_split_area(struct vt_apply *a, uint64_t addr, enum vt_boundary b)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_model_find(m, addr);
	if (x && x->start < addr) {
		if (vt_cut(m, x, addr))
			return -ENOMEM;
		x = vt_extent_next(x);
	}
	if (!x || x->start != addr || x->boundary == VT_BOUNDARY_SPLIT)
		return 0;
	if (x->boundary == VT_BOUNDARY_MERGED) {
		struct vt_extent *prev = vt_extent_prev(x);
		prev->anon = x->anon = vt_anon_of_area(x);
		a->fx->splits += b == VT_BOUNDARY_SPLIT;
	}
	vt_set_boundary(m, x, b);
	return 0;
}

/* x's area goes on below lo: what stays there keeps the label. */
static void keep_left(struct vt_apply *a, struct vt_extent *x, uint64_t lo)
{
	uint32_t label = vt_anon_of_area(x);
	struct vt_extent *stays = x->start < lo ? x : vt_extent_prev(x);
	stays->anon = label;
	a->fx->splits++;
}

/* y's area begins before hi, or goes on across it: what stays from hi on is an area of its own. */
static void keep_right(struct vt_apply *a, struct vt_extent *y, uint64_t hi)
{
	struct vt_model *m = a->m;
	if (y->start < hi || y->boundary == VT_BOUNDARY_MERGED) {
		y->anon = vt_anon_of_area(y);
		a->fx->splits++;
	}
	if (y->start < hi)
		vt_trim_start(m, y, hi);
	vt_set_boundary(m, y, VT_BOUNDARY_SPLIT);
}

/*
 * Unmap [lo, hi) (vms_gather_munmap_vmas and what follows), telling the observer the fate.
 */
int vt_unmap_range(struct vt_apply *a, uint64_t lo, uint64_t hi, enum vt_piece_fate fate)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_find(m, lo);
	if (lo >= hi || !x || x->start >= hi)
		return 0;
	vt_observe(a, lo, hi, fate);
	/* a hole in the middle of one extent needs one more; get it before anything changes */
	if (x->start < lo && x->end > hi && vt_cut(m, x, hi))
		return -ENOMEM;
	uint64_t before = x->start < lo ? lo : vt_end_before(x);
	if (x->start < lo || x->boundary == VT_BOUNDARY_MERGED)
		keep_left(a, x, lo);
	if (x->start < lo) {
		vt_trim_end(m, x, lo);
		x = vt_extent_next(x);
	}
	while (x && x->end <= hi) {
		struct vt_extent *next = vt_extent_next(x);
		vt_extent_unlink(m, x);
		x = next;
	}
	if (x && x->start <= hi)
		keep_right(a, x, hi);
	if (x)
		vt_tree_gap_grew(x);
	vt_expect(m, before, lo, x);
	return 0;
}

/* Bytes of [lo, hi) that are mapped. */
uint64_t vt_mapped_in(const struct vt_model *m, uint64_t lo, uint64_t hi)
{
	uint64_t bytes = 0;
	struct vt_extent *x = vt_model_find(m, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		bytes += vt_min(x->end, hi) - vt_max(x->start, lo);
	return bytes;
}

/* Make [lo, hi) free: a forced placement destroys, any other one proves the model wrong. */
int vt_make_room(struct vt_apply *a, uint64_t lo, uint64_t hi, bool forced)
{
	struct vt_extent *x = vt_find_room(a->m, lo, hi);
	if (!x || x->start >= hi)
		return 0;
	if (!forced) {
		a->fx->contradiction |= VT_CONTRA_OVERLAP;
		return vt_unmap_range(a, lo, hi, VT_PIECE_LOST);
	}
	a->fx->destroyed += vt_mapped_in(a->m, lo, hi);
	return vt_unmap_range(a, lo, hi, VT_PIECE_CLOBBERED);
}

/* x as it would be if it had been moved before any of its pages was touched (copy_vma). */
static struct vt_extent untouched_move(const struct vt_extent *x)
{
	struct vt_extent u = *x;
	u.pgoff = x->start >> VT_PAGE_SHIFT;
	u.identity &= ~VT_ID_PGOFF;
	return u;
}

/* vma_merge_new_range's question for [l, r] between prev and next (NULL: not touching). */
static struct vt_verdict ask(const struct vt_model *m, struct vt_extent *prev, struct vt_side l,
			     struct vt_side r, struct vt_extent *next)
{
	struct vt_verdict v = { VT_BOUNDARY_SPLIT, VT_BOUNDARY_SPLIT };
	if (prev)
		v.left = vt_can_merge(m, vt_side_of(m, prev), l);
	if (next)
		v.right = vt_can_merge(m, r, vt_side_of(m, next));
	if (v.left != VT_BOUNDARY_SPLIT && v.right != VT_BOUNDARY_SPLIT)
		v.right =
		    vt_merge_right(m, vt_side_of(m, prev), v.left, vt_side_of(m, next), v.right);
	return v;
}

static enum vt_boundary either(enum vt_boundary a, enum vt_boundary b)
{
	return a == b ? a : VT_BOUNDARY_UNDETERMINED;
}

/*
 * Merge a new area, linked as [first, last] with split boundaries around it and its label in place,
 * with its neighbours (vma_merge_new_range, vma_merge_copied_range). with_next: also with the one
 * after it (brk does not). moved: VT_ID_PGOFF in its identity comes from this very move.
 */
void vt_merge_new_area(struct vt_apply *a, struct vt_extent *first, struct vt_extent *last,
		       bool with_next, bool moved)
{
	struct vt_model *m = a->m;
	struct vt_extent *prev = vt_adjacent_prev(first);
	struct vt_extent *next = with_next ? vt_adjacent_next(last) : NULL;
	if (prev || next) {
		bool touchable = first->anon && vt_anon_touchable(m, first);
		struct vt_side l = { first, first->anon, touchable };
		struct vt_side r = { last, first->anon, touchable };
		struct vt_extent tf, tl; /* what l and r may stand for */
		struct vt_verdict v;
		if (moved && first->identity & VT_ID_PGOFF) {
			struct vt_extent uf = untouched_move(first), ul = untouched_move(last);
			tf = *first;
			tl = *last;
			tf.identity &= ~VT_ID_PGOFF;
			tl.identity &= ~VT_ID_PGOFF;
			struct vt_verdict u = ask(m, prev, (struct vt_side){ &uf, 0, false },
						  (struct vt_side){ &ul, 0, false }, next);
			l.x = &tf;
			r.x = &tl;
			v = ask(m, prev, l, r, next);
			v.left = either(v.left, u.left);
			v.right = either(v.right, u.right);
		} else {
			v = ask(m, prev, l, r, next);
		}
		if (m->merge)
			vt_tell_merge(a, VT_PLACE_NEW, prev, l, r, next, v);
		if (v.left != VT_BOUNDARY_SPLIT)
			vt_join(a, first, v.left);
		if (v.right != VT_BOUNDARY_SPLIT)
			vt_join(a, next, v.right);
	}
	vt_anon_wake(m, first);
}

/*
 * Map what x describes in a place that is free. It is an extent that nothing links yet, and has no
 * end before: a search could meet it. with_next: see above.
 */
void vt_insert_mapping(struct vt_apply *a, struct vt_extent *x, uint64_t end, bool with_next)
{
	struct vt_model *m = a->m;
	struct vt_extent *next = vt_find(m, x->start);

	x->end = end;
	x->boundary = VT_BOUNDARY_SPLIT;
	vt_extent_link(m, next, x);
	if (!vt_tree_gap(x) || vt_adjacent_next(x))
		vt_merge_new_area(a, x, x, with_next, false);
	else if (vt_anon_touchable(m, x))
		x->anon = vt_anon_new_label(m);
	if (m->observe)
		m->observe(m->observe_ctx, a->ev, x, x->start, x->end, VT_PIECE_BORN);
}

/* A piece of one area under change: [first, after) in the list. */
struct piece {
	struct vt_extent *first, *last, *after;
	bool left_inside, right_inside; /* the area goes on before, after it */
	uint32_t anon;
	bool touchable; /* before the change */
	bool doubtful;  /* it may have been so before: then the kernel did nothing */
};

/* What is not known of x any more, or still, after a change. */
static void change_identity(struct vt_extent *x, const struct vt_change *c, uint32_t number)
{
	uint32_t unsure = x->identity & VT_ID_UNSURE & ~VT_ID_ACCOUNT;
	if (c->account_unsure)
		unsure |= VT_ID_ACCOUNT;
	if (c->decides & VT_VM(LOCKED))
		unsure &= ~VT_ID_LOCKED;
	x->identity = unsure || x->file ? unsure | number : 0;
}

static void change_extents(struct vt_apply *a, const struct piece *p, const struct vt_change *c)
{
	struct vt_model *m = a->m;
	bool charge = c->account_unsure != !!(p->first->identity & VT_ID_ACCOUNT);
	uint32_t number = charge || p->doubtful ? vt_identity_new(m) : 0;
	for (struct vt_extent *x = p->first; x != p->after; x = vt_extent_next(x)) {
		if (m->observe)
			m->observe(m->observe_ctx, a->ev, x, x->start, x->end, VT_PIECE_CHANGED);
		vt_uncharge(m, x, vt_extent_pages(x));
		x->flags = c->flags;
		x->policy = c->policy;
		x->name = c->name;
		x->pkey = c->pkey;
		x->uffd = c->uffd & 127;
		if (number)
			change_identity(x, c, number);
		vt_charge(m, x, vt_extent_pages(x));
	}
}

/* Nobody can write to the piece any more: what it shares with the rest of its area is frozen. */
static void freeze(struct vt_apply *a, const struct piece *p)
{
	struct vt_model *m = a->m;
	uint32_t label = vt_anon_new_label(m) | (p->anon & VT_ANON_FORKED);
	if (p->left_inside)
		vt_anon_set_area(vt_extent_prev(p->first), label);
	if (p->right_inside)
		vt_anon_set_area(p->after, label);
	vt_anon_set_area(p->first, label);
}

static enum vt_piece_place place_of(const struct piece *p)
{
	if (p->left_inside)
		return p->right_inside ? VT_PLACE_MIDDLE : VT_PLACE_END;
	return p->right_inside ? VT_PLACE_BEGINNING : VT_PLACE_WHOLE;
}

/* vma_merge_existing_range: the piece's two boundaries, it being changed already. */
static struct vt_verdict merge_existing(struct vt_apply *a, const struct piece *p)
{
	const struct vt_model *m = a->m;
	struct vt_extent *prev = p->left_inside ? NULL : vt_adjacent_prev(p->first);
	struct vt_extent *next = p->after;
	if (p->right_inside || (next && next->start != p->last->end))
		next = NULL;
	bool whole = !p->left_inside && !p->right_inside;
	bool stays = whole && !vt_can_remove(m, p->first);
	/* it may go on behind a boundary in doubt: then it is no whole area that would be removed
	 */
	bool may_go = stays && (p->first->boundary == VT_BOUNDARY_UNDETERMINED ||
				(next && next->boundary == VT_BOUNDARY_UNDETERMINED));
	stays &= !may_go;
	struct vt_side l = { p->first, p->anon, p->touchable };
	struct vt_side r = { p->last, p->anon, p->touchable };
	struct vt_verdict v = ask(m, stays ? NULL : prev, l, r, stays ? NULL : next);
	if (may_go && v.left != VT_BOUNDARY_SPLIT)
		v.left = VT_BOUNDARY_UNDETERMINED;
	if (may_go && v.right != VT_BOUNDARY_SPLIT)
		v.right = VT_BOUNDARY_UNDETERMINED;
	/* if nothing was changed, nothing was split or merged either */
	if (p->doubtful && (p->left_inside || v.left != p->first->boundary))
		v.left = VT_BOUNDARY_UNDETERMINED;
	if (p->doubtful && (p->right_inside || (p->after && v.right != p->after->boundary)))
		v.right = VT_BOUNDARY_UNDETERMINED;
	if (m->merge && (prev || next))
		vt_tell_merge(a, place_of(p), prev, l, r, next, v);
	return v;
}

/* Both sides of a cut through an area keep its label. */
static void label_cuts(struct vt_apply *a, const struct piece *p)
{
	p->first->anon = p->last->anon = p->anon;
	if (p->left_inside)
		vt_extent_prev(p->first)->anon = p->anon;
	if (p->right_inside)
		p->after->anon = p->anon;
	if (!p->doubtful)
		a->fx->splits += (uint32_t)p->left_inside + p->right_inside;
}

/* Set the boundaries and labels of a piece that has changed. */
static void settle_piece(struct vt_apply *a, const struct piece *p)
{
	struct vt_model *m = a->m;
	struct vt_verdict v = merge_existing(a, p);

	label_cuts(a, p);
	vt_set_boundary(m, p->first, VT_BOUNDARY_SPLIT);
	if (p->after)
		vt_set_boundary(m, p->after, VT_BOUNDARY_SPLIT);
	if (v.left != VT_BOUNDARY_SPLIT && vt_adjacent_prev(p->first))
		vt_join(a, p->first, v.left);
	if (v.right != VT_BOUNDARY_SPLIT && p->after && vt_adjacent_prev(p->after))
		vt_join(a, p->after, v.right);
	bool doubtful = v.left == VT_BOUNDARY_UNDETERMINED || v.right == VT_BOUNDARY_UNDETERMINED;
	if (p->touchable && !vt_anon_touchable(m, p->first) && !doubtful && p->anon &&
	    !(p->anon & VT_ANON_TOUCHED))
		freeze(a, p);
	vt_anon_wake(m, p->first);
}

static struct vt_change change_of(const struct vt_extent *x)
{
	return (struct vt_change){ .flags = x->flags,
				   .policy = x->policy,
				   .name = x->name,
				   .pkey = x->pkey,
				   .uffd = x->uffd,
				   .account_unsure = x->identity & VT_ID_ACCOUNT };
}

static bool same_change(const struct vt_change *a, const struct vt_change *b)
{
	return a->flags == b->flags && a->policy == b->policy && a->name == b->name &&
	       a->pkey == b->pkey && a->uffd == b->uffd && a->account_unsure == b->account_unsure;
}

/*
 * Change every area's part of [lo, hi) as the call's own function says, area by area as the kernel
 * does (vma_modify_flags and kin). Holes are passed over; the caller ends hi before the first one
 * where the kernel stops there.
 */
int vt_change_range(struct vt_apply *a, uint64_t lo, uint64_t hi, vt_change_fn change,
		    const void *arg)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_find(m, lo), *first = NULL;

	if (lo >= hi)
		return 0;
	while (x && x->start < hi) {
		uint32_t anon = vt_anon_of_area(x);
		struct vt_change old = change_of(x), c = old;
		change(a, x, anon, &c, arg);
		bool open = vt_extent_unsure_flags(x) & c.decides;
		if (same_change(&old, &c) && !open) {
			x = vt_extent_next(vt_area_tail(x));
			continue;
		}
		struct piece p = { .anon = anon, .touchable = vt_anon_touchable(m, x) };
		old.flags ^= (old.flags ^ c.flags) & vt_extent_unsure_flags(x);
		p.doubtful = open && same_change(&old, &c);
		if (x->start < lo) {
			if (vt_cut(m, x, lo))
				return -ENOMEM;
			x = vt_extent_next(x);
		}
		p.first = p.last = x;
		if (!first)
			first = x;
		for (p.after = vt_extent_next(x);
		     p.after && p.after->start < hi && p.after->boundary == VT_BOUNDARY_MERGED;
		     p.after = vt_extent_next(p.after))
			p.last = p.after;
		if (p.last->end > hi) {
			if (vt_cut(m, p.last, hi))
				return -ENOMEM;
			p.after = vt_extent_next(p.last);
		}
		p.left_inside = p.first->boundary == VT_BOUNDARY_MERGED;
		p.right_inside = p.after && p.after->boundary == VT_BOUNDARY_MERGED;
		change_extents(a, &p, &c);
		settle_piece(a, &p);
		x = p.after;
	}
	vt_fuse_from(m, first, hi);
	return 0;
}
