/*
 * move.c - mremap in all its forms: shrink, grow in place, move, move and grow, duplicate, leave
 * the old place mapped, several areas at once.
 *
 * Follows do_mremap, mremap_to, remap_move and copy_vma. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "internal.h"

static void set_ranges(struct vt_apply *a, uint64_t lo, uint64_t hi, uint64_t lo2, uint64_t hi2)
{
	a->fx->lo = lo;
	a->fx->hi = hi;
	a->fx->lo2 = lo2;
	a->fx->hi2 = hi2;
}

/* Whether new memory of x's area is touched at once: locked, not only on fault. */
static bool populates(const struct vt_extent *x)
{
	return (x->flags & VT_VM_LOCKED_MASK) == VT_VM(LOCKED);
}

/* A fresh extent that carries x's area on from start to end. */
static struct vt_extent *carry_on(struct vt_apply *a, const struct vt_extent *x, uint64_t end)
{
	struct vt_extent *n = vt_extent_new(a->m);
	if (!n)
		return NULL;
	*n = *x;
	n->start = x->end;
	n->end = end;
	n->pgoff = x->pgoff + vt_extent_pages(x);
	n->birth = a->ev->seq;
	n->stack = a->ev->stack;
	n->own = (a->ev->flags & VT_EV_OWN) != 0;
	n->boundary = VT_BOUNDARY_MERGED;
	return n;
}

/* The kernel moves or grows one area only: what looked like a doubtful boundary inside is none. */
static void prove_one_area(struct vt_apply *a, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(a->m, lo);
	while (x && (x = vt_extent_next(x)) && x->start < hi) {
		if (x->boundary == VT_BOUNDARY_UNDETERMINED)
			vt_join(a, x, VT_BOUNDARY_MERGED);
		else if (x->boundary == VT_BOUNDARY_SPLIT)
			a->fx->contradiction |= VT_CONTRA_MISSING;
	}
}

/* vma_merge_extend: the area grows at its end, and may reach and take in the next one. */
static int grow_in_place(struct vt_apply *a, uint64_t lo, uint64_t old_end, uint64_t new_end)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_model_find(m, old_end - 1);
	if (!x || x->end != old_end) {
		a->fx->contradiction |= VT_CONTRA_MISSING;
		return 0;
	}
	prove_one_area(a, lo, old_end);
	struct vt_extent *in_the_way = vt_model_find(m, old_end);
	if (in_the_way && in_the_way->start < new_end) {
		a->fx->contradiction |= VT_CONTRA_OVERLAP;
		if (vt_unmap_range(a, old_end, new_end, VT_PIECE_LOST))
			return -ENOMEM;
	}
	x = vt_model_find(m, old_end - 1);
	struct vt_extent *n = carry_on(a, x, new_end);
	if (!n)
		return -ENOMEM;
	n->anon = x->anon;
	vt_extent_link(m, vt_extent_next(x), n);
	struct vt_extent *next = vt_adjacent_next(n);
	struct vt_verdict v = { VT_BOUNDARY_MERGED, VT_BOUNDARY_SPLIT };
	struct vt_side grown = vt_side_of(m, n);
	if (next && vt_can_remove(m, next))
		v.right = vt_can_merge(m, grown, vt_side_of(m, next));
	if (m->merge)
		vt_tell_merge(a, VT_PLACE_NEW, x, grown, grown, next, v);
	if (next && v.right != VT_BOUNDARY_SPLIT)
		vt_join(a, next, v.right);
	if (populates(n))
		vt_anon_touched(m, n->start, n->end);
	if (m->observe)
		m->observe(m->observe_ctx, a->ev, n, n->start, n->end, VT_PIECE_BORN);
	return 0;
}

/* One area, or part of one, on its way: where from, where to, and how long it becomes. */
struct move {
	uint64_t from, to, len, new_len;
	uint32_t anon;
	bool stays; /* the old place keeps its mapping: MREMAP_DONTUNMAP, or old length 0 */
};

/* copy_vma's choice: an anonymous area that was never touched gets the offset of its new place. */
static void moved_offset(const struct vt_model *m, const struct move *mv, struct vt_extent *n,
			 uint32_t number)
{
	uint32_t unsure = n->identity & VT_ID_UNSURE;
	if (!vt_is_anonymous(m, n))
		return;
	if (mv->anon & VT_ANON_TOUCHED) {
		if (unsure & VT_ID_PGOFF)
			n->identity |= VT_ID_PGOFF_ANY;
		return;
	}
	if (!mv->anon) {
		n->pgoff = n->start >> VT_PAGE_SHIFT;
		unsure &= ~(VT_ID_PGOFF | VT_ID_PGOFF_ANY);
		n->identity = unsure || n->file ? unsure | number : 0;
	} else {
		if (unsure & VT_ID_PGOFF)
			unsure |= VT_ID_PGOFF_ANY;
		n->identity = unsure | VT_ID_PGOFF | number;
	}
}

/* Link copies of the extents of [from, from + len) at the new place, grown to new_len. */
static int copy_extents(struct vt_apply *a, const struct move *mv, struct vt_extent **first,
			struct vt_extent **last)
{
	struct vt_model *m = a->m;
	struct vt_extent *next = vt_model_find(m, mv->to);
	uint64_t len = mv->len ? mv->len : mv->new_len, end = mv->from + len;
	uint32_t number = vt_identity_new(m);
	*first = NULL;
	for (struct vt_extent *x = vt_model_find(m, mv->from); x && x->start < end;
	     x = vt_extent_next(x)) {
		/* With old length 0 the one area is shown again, carried on past its own end. */
		if (!mv->len && *first && x->boundary != VT_BOUNDARY_MERGED)
			break;
		struct vt_extent *n = vt_extent_new(m);
		if (!n)
			return -ENOMEM;
		uint64_t lo = vt_max(x->start, mv->from), hi = vt_min(x->end, end);
		*n = *x;
		n->pgoff += (lo - x->start) >> VT_PAGE_SHIFT;
		n->start = lo - mv->from + mv->to;
		n->end = hi - mv->from + mv->to;
		n->anon = mv->anon;
		n->boundary = *first ? VT_BOUNDARY_MERGED : VT_BOUNDARY_SPLIT;
		if (n->special == VT_SPECIAL_HEAP || n->special == VT_SPECIAL_STACK)
			n->special = VT_SPECIAL_NONE;
		if (!mv->len) {
			n->birth = a->ev->seq;
			n->stack = a->ev->stack;
		}
		moved_offset(m, mv, n, number);
		vt_extent_link(m, next, n);
		if (!*first)
			*first = n;
		*last = n;
	}
	if (*first && (*last)->end < mv->to + mv->new_len) {
		struct vt_extent *n = carry_on(a, *last, mv->to + mv->new_len);
		if (!n)
			return -ENOMEM;
		vt_extent_link(m, next, n);
		*last = n;
	}
	return 0;
}

/* Where what may be one area with first and last, as far as is known, begins and ends. */
static struct vt_range may_be_one(struct vt_extent *first, struct vt_extent *last)
{
	struct vt_extent *next;
	first = vt_area_head(first);
	while (first->boundary == VT_BOUNDARY_UNDETERMINED)
		first = vt_area_head(vt_extent_prev(first));
	last = vt_area_tail(last);
	while ((next = vt_extent_next(last)) && next->boundary == VT_BOUNDARY_UNDETERMINED)
		last = vt_area_tail(next);
	return (struct vt_range){ first->start, last->end };
}

/*
 * mremap_userfaultfd_prep: the area that the moved one has become is not registered any more, with
 * whatever it has merged with. Where that is in doubt all of it is read again.
 */
static void unregister_area(struct vt_apply *a, struct vt_extent *x)
{
	struct vt_extent *head = vt_area_head(x), *tail = vt_area_tail(x);
	for (x = head; x != tail; x = vt_extent_next(x))
		vt_uffd_reset(x);
	vt_uffd_reset(tail);
	struct vt_range all = may_be_one(head, tail);
	if (all.lo == head->start && all.hi == tail->end)
		return;
	a->fx->contradiction |= VT_CONTRA_OPEN;
	a->fx->lo2 = vt_min(a->fx->lo2, all.lo);
	a->fx->hi2 = vt_max(a->fx->hi2, all.hi);
}

/* Clear VM_LOCKED in the whole area of x. Nothing is merged for it, and locked_vm keeps it. */
static void unlock_area(struct vt_extent *x)
{
	struct vt_extent *tail = vt_area_tail(x);
	for (x = vt_area_head(x);; x = vt_extent_next(x)) {
		x->flags &= ~(uint32_t)VT_VM_LOCKED_MASK;
		if (x == tail)
			break;
	}
}

/* Whether x belongs to an unlocked area is in doubt, and so is whether it is locked. */
static void doubt_lock(struct vt_model *m, struct vt_extent *x, uint32_t number)
{
	x->identity = (x->identity & VT_ID_UNSURE) | VT_ID_LOCKED | number;
	if (x->flags & VT_VM(LOCKED))
		m->totals.locked_unsure += vt_extent_pages(x);
}

/* Everything that may be one area with [head, tail]. */
static void doubt_locks_around(struct vt_model *m, struct vt_extent *head, struct vt_extent *tail)
{
	uint32_t number = vt_identity_new(m);
	struct vt_extent *x = head;
	while (x->boundary != VT_BOUNDARY_SPLIT) {
		x = vt_extent_prev(x);
		doubt_lock(m, x, number);
	}
	x = vt_extent_next(tail);
	for (; x && x->boundary != VT_BOUNDARY_SPLIT; x = vt_extent_next(x))
		doubt_lock(m, x, number);
}

/* dontunmap_complete: the old area is unlocked, and loses its anon_vma if all of it moved. */
static void leave_behind(struct vt_apply *a, const struct move *mv, bool joined_itself)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_model_find(m, mv->from);
	struct vt_extent *head = vt_area_head(x), *tail = vt_area_tail(x);
	struct vt_extent *after = vt_extent_next(tail);
	bool doubt_before = head->boundary == VT_BOUNDARY_UNDETERMINED;
	bool doubt_after = after && after->boundary == VT_BOUNDARY_UNDETERMINED;
	if (x->flags & VT_VM(LOCKED)) {
		unlock_area(x);
		doubt_locks_around(m, head, tail);
	}
	bool whole = head->start == mv->from && tail->end == mv->from + mv->len;
	if (!whole || !head->anon)
		return;
	if (joined_itself || doubt_before || doubt_after) {
		vt_anon_set_area(x, vt_anon_new_label(m) | (head->anon & VT_ANON_FORKED));
	} else {
		vt_anon_set_area(x, 0);
		vt_anon_wake(m, x);
	}
}

/* move_vma: copy the area, then take the old place away unless it stays. */
static int move_area(struct vt_apply *a, struct move *mv)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_model_find(m, mv->from);
	struct vt_extent *first, *last = NULL;
	if (!x || x->start > mv->from) {
		a->fx->contradiction |= VT_CONTRA_MISSING;
		return 0;
	}
	mv->anon = vt_anon_of_area(x);
	bool sure = !(x->identity & (VT_ID_PGOFF | VT_ID_PGOFF_ANY));
	if (mv->len && !mv->stays)
		vt_observe(a, mv->from, mv->from + mv->len, VT_PIECE_MOVED);
	if (copy_extents(a, mv, &first, &last))
		return -ENOMEM;
	uint64_t born = mv->len && !mv->stays ? mv->to + mv->len : mv->to;
	vt_merge_new_area(a, first, last, true, sure);
	if (first->flags & VT_VM_UFFD)
		unregister_area(a, first);
	if (born < mv->to + mv->new_len) {
		if (populates(last) && mv->new_len > mv->len)
			vt_anon_touched(m, born, mv->to + mv->new_len);
		vt_observe(a, born, mv->to + mv->new_len, VT_PIECE_BORN);
	}
	if (!mv->len)
		return 0;
	if (mv->stays) {
		leave_behind(a, mv, vt_area_head(first) == vt_area_head(x));
		return 0;
	}
	vt_piece_fn observe = m->observe;
	m->observe = NULL; /* told as moved already */
	int err = vt_unmap_range(a, mv->from, mv->from + mv->len, VT_PIECE_MOVED);
	m->observe = observe;
	if (!err)
		vt_fuse_from(m, vt_model_find(m, mv->to), mv->to + mv->new_len);
	return err;
}

/* vma_multi_allowed: what is registered, or has its own idea of placement, is moved alone only. */
static bool moves_with_others(const struct vt_model *m, const struct vt_extent *x)
{
	if (x->flags & VT_VM_UFFD)
		return false;
	if (!x->file)
		return true;
	enum vt_file_kind kind = vt_file_kind(m, x->file);
	return kind != VT_FILE_ZERO && kind != VT_FILE_SYSV;
}

/* check_prep_vma and what remap_move asks before it: the error that one area meets, or 0. */
static int refuses_move(const struct vt_model *m, const struct vt_extent *x, const struct move *mv,
			bool alone)
{
	if (!alone && !moves_with_others(m, x))
		return -EFAULT;
	if (x->flags & VT_VM(SEALED))
		return -EPERM;
	if (vt_cuts_huge_page(m, x, mv->from | mv->to))
		return -EINVAL;
	if (mv->stays && x->flags & (VT_VM(DONTEXPAND) | VT_VM(PFNMAP)))
		return -EINVAL;
	return 0;
}

/* The first sealed extent in [lo, hi). */
static bool any_sealed(const struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(m, lo);
	while (x && x->start < hi && !(x->flags & VT_VM(SEALED)))
		x = vt_extent_next(x);
	return x && x->start < hi;
}

/* Locked pages in [lo, hi). */
static uint64_t locked_in(const struct vt_model *m, uint64_t lo, uint64_t hi)
{
	uint64_t pages = 0;
	struct vt_extent *x = vt_model_find(m, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		if (x->flags & VT_VM(LOCKED))
			pages += (vt_min(x->end, hi) - vt_max(x->start, lo)) >> VT_PAGE_SHIFT;
	return pages;
}

/* The last extent that begins before hi; there is one. */
static struct vt_extent *last_before(const struct vt_model *m, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(m, hi - 1);
	if (!x)
		return vt_model_last(m);
	return x->start < hi ? x : vt_extent_prev(x);
}

/*
 * How far a refused move of several areas came is not known: both ranges are read again, where
 * areas stay behind unlocked with all that may belong to these.
 */
static void moved_in_part(struct vt_apply *a, struct vt_range reach, uint64_t at, uint64_t hi,
			  bool stays)
{
	struct vt_model *m = a->m;
	a->fx->contradiction |= VT_CONTRA_OPEN;
	if (!stays)
		return;
	a->fx->lo = vt_min(a->fx->lo, reach.lo);
	a->fx->hi = vt_max(a->fx->hi, reach.hi);
	/* what was left behind is unlocked, but still counted */
	m->totals.locked_unsure += locked_in(m, at, hi);
}

/*
 * remap_move (6.17): every area of the range by itself, the gaps between them kept. A refused call
 * has moved those before the area that was refused.
 */
static int move_several(struct vt_apply *a, uint64_t lo, uint64_t hi, uint64_t to, bool stays)
{
	struct vt_model *m = a->m;
	int64_t err = vt_is_error(a->ev->ret) ? a->ev->ret : 0;
	uint64_t at = lo;
	struct vt_extent *first = vt_model_find(m, lo);
	struct vt_range reach = { lo, hi };
	if (!err && first && first->start <= lo && !moves_with_others(m, first))
		prove_one_area(a, lo, hi);
	if (err && first && first->start < hi)
		reach = may_be_one(first, last_before(m, hi));
	while (at < hi) {
		struct vt_extent *x = vt_model_find(m, at);
		if (!x || x->start >= hi)
			break;
		if (at == lo && x->start > lo)
			return 0;
		at = vt_max(x->start, at);
		struct vt_extent *tail = vt_area_tail(x), *after = vt_extent_next(tail);
		uint64_t end = vt_min(tail->end, hi);
		if (err && end < hi && after && after->boundary == VT_BOUNDARY_UNDETERMINED)
			break;
		struct move mv = { .from = at, .to = to + (at - lo), .stays = stays };
		mv.len = mv.new_len = end - at;
		uint64_t target_end = mv.to + mv.len;
		if (err && refuses_move(m, x, &mv, at == lo && end == hi) == err)
			return 0;
		if (err == -EPERM && any_sealed(m, mv.to, target_end))
			return vt_refused_unmap(a, mv.to, target_end);
		if (err == -EINVAL && vt_huge_cut(m, mv.to, target_end) < target_end)
			return vt_refused_unmap(a, mv.to, target_end);
		bool too_low = err == -EPERM && mv.to < m->config.mmap_min_addr;
		if (too_low && any_sealed(m, lo, hi))
			break; /* one or the other; whether it is privileged is not known */
		if (too_low)
			return vt_make_room(a, mv.to, target_end, true);
		if (vt_make_room(a, mv.to, target_end, true))
			return -ENOMEM;
		x = vt_model_find(m, at);
		if (err == -ENOMEM && stays &&
		    !vt_may_expand_vm(m, x->flags, mv.len >> VT_PAGE_SHIFT, 0))
			return 0;
		/* one of them was refused, and no other is left */
		after = vt_model_find(m, end);
		if (err && (!after || after->start >= hi))
			break;
		if (move_area(a, &mv))
			return -ENOMEM;
		at = end;
	}
	if (err)
		moved_in_part(a, reach, at, hi, stays);
	return 0;
}

static uint64_t round_len(const struct vt_model *m, uint64_t addr, uint64_t len)
{
	struct vt_extent *x = vt_model_find(m, addr);
	if (!x || x->start > addr || !(x->flags & VT_VM(HUGETLB)))
		return vt_page_up(len);
	uint64_t size = vt_huge_size(m, x->file);
	return (len + size - 1) & ~(size - 1);
}

/* check_mremap_params and the count of areas: refused before anything was looked at. */
static bool refused_early(const struct vt_apply *a, uint64_t old_len, uint64_t new_len)
{
	const struct vt_event *ev = a->ev;
	const struct vt_model *m = a->m;
	uint64_t lo = ev->a[0], to = ev->a[4], flags = ev->a[3];
	uint64_t all_flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	uint64_t task_size = m->config.task_size;

	if (flags & ~all_flags || lo & (VT_PAGE_SIZE - 1) || !new_len || new_len > task_size)
		return true;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) &&
	    (to > task_size - new_len || to & (VT_PAGE_SIZE - 1) || !(flags & MREMAP_MAYMOVE) ||
	     (flags & MREMAP_DONTUNMAP && old_len != new_len) ||
	     (lo < to + new_len && to < lo + old_len)))
		return true;
	uint64_t areas = m->totals.map_count + m->totals.undetermined;
	return ev->ret == -ENOMEM && areas + 4 > m->config.max_map_count && m->config.max_map_count;
}

/*
 * EPERM: something is sealed, or the place is below mmap_min_addr (security_mmap_addr), which is
 * asked after the target and the surplus have been unmapped.
 */
static int refused_by_right(struct vt_apply *a, uint64_t old_len, uint64_t new_len)
{
	struct vt_model *m = a->m;
	uint64_t lo = a->ev->a[0], to = a->ev->a[4];
	bool fixed = a->ev->a[3] & MREMAP_FIXED;
	if (fixed && any_sealed(m, to, to + new_len))
		return vt_refused_unmap(a, to, to + new_len);
	if (fixed && vt_make_room(a, to, to + new_len, true))
		return -ENOMEM;
	if (any_sealed(m, lo + new_len, lo + old_len))
		return vt_refused_unmap(a, lo + new_len, lo + old_len);
	return vt_unmap_range(a, lo + new_len, lo + old_len, VT_PIECE_UNMAPPED);
}

/*
 * EINVAL of a forced move: a huge page at the target's end would be cut, which unmapping the target
 * found out; or check_prep_vma's, before anything was done.
 */
static int refused_by_huge_page(struct vt_apply *a, const struct vt_extent *x, uint64_t old_len,
				uint64_t new_len)
{
	uint64_t lo = a->ev->a[0], to = a->ev->a[4];
	if ((!old_len && !(x->flags & VT_VM(MAYSHARE))) || vt_cuts_huge_page(a->m, x, lo | to))
		return 0;
	return vt_refused_unmap(a, to, to + new_len);
}

/*
 * A refused mremap of one area. What check_prep_vma refuses leaves everything as it was; later the
 * target is gone, and what a shrinking call gives up.
 */
static int refused(struct vt_apply *a, uint64_t old_len, uint64_t new_len)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t lo = ev->a[0], to = ev->a[4];
	bool fixed = ev->a[3] & MREMAP_FIXED, shrinks = old_len > new_len;
	struct vt_extent *x = vt_model_find(m, lo);
	if (!x || x->start > lo || x->flags & VT_VM(SEALED) || (!fixed && !shrinks))
		return 0;
	if (ev->ret == -EPERM)
		return refused_by_right(a, old_len, new_len);
	if (!fixed)
		return vt_refused_unmap(a, lo + new_len, lo + old_len);
	/* a duplicate over its own original: gone before it was copied */
	if (ev->ret == -EFAULT && !old_len && lo >= to && lo < to + new_len)
		return vt_make_room(a, to, to + new_len, true);
	if (ev->ret == -EINVAL && !shrinks)
		return refused_by_huge_page(a, x, old_len, new_len);
	if (ev->ret != -ENOMEM)
		return 0;
	uint64_t delta = (new_len - old_len) >> VT_PAGE_SHIFT;
	if (!shrinks && !vt_may_expand_vm(m, x->flags, delta, 0))
		return 0;
	struct vt_extent *target = vt_model_find(m, to);
	if (shrinks || (target && target->start < to + new_len)) {
		set_ranges(a, lo, lo + old_len, to, to + new_len);
		a->fx->contradiction |= VT_CONTRA_OPEN;
	}
	return 0;
}

int vt_apply_mremap(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t lo = ev->a[0], to = (uint64_t)ev->ret, flags = ev->a[3];
	uint64_t old_len = round_len(m, lo, ev->a[1]), new_len = round_len(m, lo, ev->a[2]);
	bool forced = flags & MREMAP_FIXED, stays = flags & MREMAP_DONTUNMAP;

	set_ranges(a, lo, lo + old_len, 0, 0);
	bool moves_only =
	    forced && old_len == new_len && old_len && vt_kernel_has(m, VT_KERNEL_WAY_MOVE_SEVERAL);
	if (vt_is_error(ev->ret)) {
		if (refused_early(a, old_len, new_len))
			return 0;
		if (!moves_only)
			return refused(a, old_len, new_len);
		set_ranges(a, lo, lo + old_len, ev->a[4], ev->a[4] + new_len);
		return move_several(a, lo, lo + old_len, ev->a[4], stays);
	}
	if (vt_hole_in(m, lo, lo + vt_max(old_len, VT_PAGE_SIZE)) == lo) {
		set_ranges(a, lo, lo + vt_max(old_len, VT_PAGE_SIZE), to, to + new_len);
		a->fx->contradiction |= VT_CONTRA_MISSING;
		return 0;
	}
	if (to == lo && old_len && !forced && !stays) {
		if (new_len > old_len) {
			a->fx->hi = lo + new_len;
			return grow_in_place(a, lo, lo + old_len, lo + new_len);
		}
		return vt_unmap_range(a, lo + new_len, lo + old_len, VT_PIECE_UNMAPPED);
	}
	set_ranges(a, lo, lo + old_len, to, to + new_len);
	if (moves_only)
		return move_several(a, lo, lo + old_len, to, stays);
	if (vt_make_room(a, to, to + new_len, forced))
		return -ENOMEM;
	if (old_len > new_len) {
		if (vt_unmap_range(a, lo + new_len, lo + old_len, VT_PIECE_UNMAPPED))
			return -ENOMEM;
		old_len = new_len;
	}
	prove_one_area(a, lo, lo + old_len);
	struct move mv = { lo, to, old_len, new_len, 0, stays || !old_len };
	return move_area(a, &mv);
}
