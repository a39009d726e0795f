/*
 * snapshot.c - what the kernel showed, entered into the model: put, forget, settle, and the walk
 * over areas that compares with it.
 *
 * Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "internal.h"

/* Flags that maps does not show, as good as they can be told; *hidden: they may be different. */
static uint32_t complete_flags(const struct vt_model *m, const struct vt_vma *v, bool *hidden)
{
	uint32_t f = v->flags;

	*hidden = false;
	if (f & VT_VM_MAY)
		return f;
	f |= VT_VM_MAY;
	if (f & VT_VM(SHARED))
		f |= VT_VM(MAYSHARE);
	else if (f & VT_VM(WRITE))
		f |= VT_VM(ACCOUNT);
	if (v->special == VT_SPECIAL_STACK)
		return f | VT_VM(GROWSDOWN) | VT_VM(ACCOUNT);
	if (v->special == VT_SPECIAL_HEAP)
		return f | VT_VM(ACCOUNT);
	if (v->special == VT_SPECIAL_VDSO || v->special == VT_SPECIAL_VVAR ||
	    v->special == VT_SPECIAL_VSYSCALL)
		return f | VT_VM(DONTEXPAND);
	if (v->file && vt_file_kind(m, v->file) == VT_FILE_HUGETLB)
		return (f | VT_VM(HUGETLB) | VT_VM(DONTEXPAND)) & ~(uint32_t)VT_VM(ACCOUNT);
	*hidden = true;
	return f;
}

/* What was entered may be a part of one area: it may be joined with what touches it. */
static void doubt_edges(struct vt_apply *a, struct vt_extent *x)
{
	struct vt_model *m = a->m;
	struct vt_extent *prev = vt_adjacent_prev(x), *next = vt_adjacent_next(x);
	if (prev && vt_can_merge(m, vt_side_of(m, prev), vt_side_of(m, x)) != VT_BOUNDARY_SPLIT)
		vt_join(a, x, VT_BOUNDARY_UNDETERMINED);
	if (next && vt_can_merge(m, vt_side_of(m, x), vt_side_of(m, next)) != VT_BOUNDARY_SPLIT)
		vt_join(a, next, VT_BOUNDARY_UNDETERMINED);
}

/* Link a new extent as v shows it; the place must be free. */
static struct vt_extent *enter(struct vt_apply *a, const struct vt_vma *v, uint64_t birth,
			       uint32_t stack)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_extent_new(m);
	if (!x)
		return NULL;
	bool hidden;
	*x = (struct vt_extent){ .start = v->start,
				 .end = v->end,
				 .birth = birth,
				 .stack = stack,
				 .file = v->file,
				 .pgoff = v->pgoff,
				 .name = v->name,
				 .special = v->special,
				 .boundary = VT_BOUNDARY_SPLIT };
	x->flags = complete_flags(m, v, &hidden);
	x->uffd = x->flags & VT_VM_UFFD ? VT_UFFD_UNKNOWN : 0;
	x->identity = vt_identity_new(m) | (hidden ? VT_ID_HIDDEN_FLAGS : 0);
	bool shared = x->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE));
	if (!v->file && !shared) {
		/* maps does not show where anonymous memory was mapped first */
		x->pgoff = v->start >> VT_PAGE_SHIFT;
		if (v->special == VT_SPECIAL_NONE)
			x->identity |= VT_ID_PGOFF_ANY;
	}
	if (!shared)
		x->anon = vt_anon_new_label(m) | (m->forked ? VT_ANON_FORKED : 0);
	struct vt_extent *next = vt_model_find(m, x->start);
	vt_extent_link(m, next, x);
	if (next)
		vt_set_boundary(m, next, VT_BOUNDARY_SPLIT);
	if (v->undetermined)
		doubt_edges(a, x);
	return x;
}

static int replace(struct vt_model *m, uint64_t start, uint64_t end, const struct vt_vma *vma,
		   uint64_t birth, uint32_t stack)
{
	struct vt_effect fx = { 0 };
	struct vt_apply a = { m, NULL, &fx };
	vt_piece_fn observe = m->observe;
	if (m->broken)
		return -ENOMEM;
	m->observe = NULL;
	int err = vt_unmap_range(&a, start, end, VT_PIECE_LOST);
	if (!err && vma && !enter(&a, vma, birth, stack))
		err = -ENOMEM;
	m->observe = observe;
	return err;
}

int vt_model_put(struct vt_model *m, const struct vt_vma *vma, uint64_t birth, uint32_t stack)
{
	return replace(m, vma->start, vma->end, vma, birth, stack);
}

int vt_model_forget(struct vt_model *m, uint64_t start, uint64_t end)
{
	return replace(m, start, end, NULL, 0, 0);
}

/* expand_stack: the area above grows down over [lo, its start). */
static int grow_stack(struct vt_apply *a, struct vt_extent *above, uint64_t lo)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_extent_new(m);
	if (!x)
		return -ENOMEM;
	*x = *above;
	x->start = lo;
	x->end = above->start;
	x->pgoff = above->pgoff - vt_extent_pages(x);
	x->birth = a->ev->seq;
	x->stack = a->ev->stack;
	x->boundary = VT_BOUNDARY_SPLIT;
	x->anon = above->anon;
	vt_extent_link(m, above, x);
	vt_set_boundary(m, above, VT_BOUNDARY_MERGED);
	/* expand_downwards prepares an anon_vma, whatever the protection */
	if (!(x->anon & VT_ANON_TOUCHED))
		vt_anon_set_area(x, vt_anon_new_label(m) | VT_ANON_TOUCHED |
					(x->anon & VT_ANON_FORKED));
	if (m->observe)
		m->observe(m->observe_ctx, a->ev, x, x->start, x->end, VT_PIECE_BORN);
	return 0;
}

int vt_apply_unseen_map(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	struct vt_vma v = { .start = ev->a[0],
			    .end = ev->a[0] + vt_page_up(ev->a[1]),
			    .pgoff = ev->a[4] >> VT_PAGE_SHIFT,
			    .file = ev->file,
			    .undetermined = 1 };
	a->fx->lo = v.start;
	a->fx->hi = v.end;
	if (ev->aux == VT_UNSEEN_STACK_GROWTH) {
		struct vt_extent *x = vt_model_find(m, v.start);
		if (x && x->start <= v.start && x->end >= v.end)
			return 0;
		if (x && x->start > v.start && x->start <= v.end && x->flags & VT_VM(GROWSDOWN))
			return grow_stack(a, x, v.start);
	}
	v.flags = vt_prot_flags(ev->a[2]) | (ev->a[3] & MAP_SHARED ? VT_VM(SHARED) : 0);
	if (ev->aux == VT_UNSEEN_STACK_GROWTH)
		v.special = VT_SPECIAL_STACK;
	if (vt_unmap_range(a, v.start, v.end, VT_PIECE_LOST))
		return -ENOMEM;
	struct vt_extent *x = enter(a, &v, ev->seq, ev->stack);
	if (!x)
		return -ENOMEM;
	x->own = (ev->flags & VT_EV_OWN) != 0;
	if (m->observe)
		m->observe(m->observe_ctx, ev, x, x->start, x->end, VT_PIECE_BORN);
	return 0;
}

int vt_apply_unseen_unmap(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	a->fx->lo = ev->a[0];
	a->fx->hi = ev->a[0] + vt_page_up(ev->a[1]);
	return vt_unmap_range(a, a->fx->lo, a->fx->hi, VT_PIECE_LOST);
}

/* Cut what the model holds as one area at addr, if it does. Returns 0 or -ENOMEM. */
static int begin_area(struct vt_model *m, uint64_t addr)
{
	struct vt_extent *x = vt_model_find(m, addr);
	if (x && x->start < addr) {
		if (vt_cut(m, x, addr))
			return -ENOMEM;
		x = vt_extent_next(x);
	}
	if (!x || x->start != addr || !vt_adjacent_prev(x))
		return 0;
	uint32_t anon = vt_anon_of_area(x);
	if (x->boundary == VT_BOUNDARY_MERGED)
		vt_extent_prev(x)->anon = x->anon = anon;
	vt_set_boundary(m, x, VT_BOUNDARY_SPLIT);
	return 0;
}

/*
 * The kernel holds the range as one area and not as the calls say: what maps does not show of it is
 * not known any more. A userfaultfd that was closed is the likeliest reason.
 */
int vt_apply_unseen_area(struct vt_apply *a)
{
	struct vt_model *m = a->m;
	uint64_t lo = a->ev->a[0], hi = lo + vt_page_up(a->ev->a[1]);
	struct vt_extent *x = vt_model_find(m, lo), *prev = NULL;
	a->fx->lo = lo;
	a->fx->hi = hi;
	if (!x || hi <= lo || vt_hole_in(m, lo, hi) < hi)
		return 0;
	if (begin_area(m, lo) || begin_area(m, hi))
		return -ENOMEM;
	uint32_t identity = vt_identity_new(m) | VT_ID_HIDDEN_FLAGS;
	uint32_t flags = vt_model_find(m, lo)->flags & ~VT_VM_UFFD;
	for (x = vt_model_find(m, lo); x && x->start < hi; prev = x, x = vt_extent_next(x)) {
		if (prev && vt_is_anonymous(m, x) &&
		    prev->pgoff + vt_extent_pages(prev) != x->pgoff)
			identity |= VT_ID_PGOFF_ANY;
	}
	prev = NULL;
	for (x = vt_model_find(m, lo); x && x->start < hi; prev = x, x = vt_extent_next(x)) {
		vt_uncharge(m, x, vt_extent_pages(x));
		x->flags = flags;
		x->identity = identity;
		x->uffd = 0;
		vt_charge(m, x, vt_extent_pages(x));
		if (prev)
			vt_join(a, x, VT_BOUNDARY_MERGED);
	}
	return 0;
}

static bool in_flux(const struct vt_range *flux, size_t n, uint64_t addr)
{
	for (size_t i = 0; i < n; i++)
		if (addr >= flux[i].lo && addr < flux[i].hi)
			return true;
	return false;
}

/*
 * A call was changing this place while the list was read, which may show it before or after: what
 * the list says of the boundary may be over already. It stays open where the two could be one area,
 * or were one: not all that are one could be joined again. No call cuts a huge page.
 */
static void leave_open(struct vt_apply *a, struct vt_extent *x)
{
	struct vt_model *m = a->m;
	struct vt_extent *prev = vt_adjacent_prev(x);
	bool one = x->boundary == VT_BOUNDARY_MERGED;
	if (one && vt_cuts_huge_page(m, x, x->start))
		return;
	if (one) {
		prev->anon = x->anon = vt_anon_of_area(x);
		vt_set_boundary(m, x, VT_BOUNDARY_SPLIT);
	}
	if (one || vt_can_merge(m, vt_side_of(m, prev), vt_side_of(m, x)) != VT_BOUNDARY_SPLIT)
		vt_join(a, x, VT_BOUNDARY_UNDETERMINED);
}

/*
 * What cannot be merged away is joined with its neighbours only when a part of it changes: whether
 * all of x's area did is in doubt, and with it where it ends on either side.
 */
static void leave_ends_open(struct vt_apply *a, struct vt_extent *x)
{
	struct vt_extent *head, *next;
	if (vt_can_remove(a->m, x))
		return;
	head = vt_area_head(x);
	next = vt_adjacent_next(vt_area_tail(x));
	if (vt_adjacent_prev(head))
		leave_open(a, head);
	if (next)
		leave_open(a, next);
}

/* Whether and with whom x's area shares an anon_vma is not known. */
static void forget_anon(struct vt_model *m, struct vt_extent *x)
{
	uint32_t label = vt_anon_of_area(x);
	if (!(x->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE))))
		vt_anon_set_area(x, vt_anon_new_label(m) | (label & VT_ANON_FORKED));
}

/* The part of x in [lo, hi) becomes an extent of its own. */
static struct vt_extent *isolate(struct vt_model *m, struct vt_extent *x, uint64_t lo, uint64_t hi)
{
	if (x->start < lo) {
		if (vt_cut(m, x, lo))
			return NULL;
		x = vt_extent_next(x);
	}
	if (x->end > hi && vt_cut(m, x, hi))
		return NULL;
	return x;
}

int vt_model_doubt(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_effect fx = { 0 };
	struct vt_apply a = { m, NULL, &fx };
	struct vt_extent *x;

	if (m->broken)
		return -ENOMEM;
	x = vt_model_find(m, lo);
	if (lo == hi && x && x->start < lo && !x->special && vt_cut(m, x, lo))
		return -ENOMEM;
	for (; lo < hi && x && x->start < hi; x = vt_extent_next(x)) {
		if (x->special)
			continue;
		if (!(x = isolate(m, x, lo, hi)))
			return -ENOMEM;
		vt_uncharge(m, x, vt_extent_pages(x));
		x->identity =
		    vt_identity_new(m) | VT_ID_HIDDEN_FLAGS | (x->identity & VT_ID_UNSURE);
		vt_charge(m, x, vt_extent_pages(x));
	}
	for (x = vt_model_find(m, lo ? lo - 1 : 0); x && x->start <= hi; x = vt_extent_next(x))
		forget_anon(m, x);
	for (x = vt_model_find(m, lo); x && x->start <= hi; x = vt_extent_next(x))
		if (vt_adjacent_prev(x))
			leave_open(&a, x);
	for (x = vt_model_find(m, lo ? lo - 1 : 0); x && x->start <= hi; x = vt_extent_next(x))
		leave_ends_open(&a, x);
	return 0;
}

uint64_t vt_model_settle(struct vt_model *m, const struct vt_vma *vmas, size_t n,
			 const struct vt_range *flux, size_t n_flux, uint64_t *settled)
{
	struct vt_effect fx = { 0 };
	struct vt_apply a = { m, NULL, &fx };
	uint64_t wrong = 0, cleared = 0;

	for (size_t i = 0; i < n; i++) {
		const struct vt_vma *v = &vmas[i];
		struct vt_extent *x = vt_model_find(m, v->start);
		/* an area begins here, in the middle of what the model holds as one */
		if (x && x->start < v->start && in_flux(flux, n_flux, v->start)) {
			x = vt_extent_next(x);
		} else if (x && x->start < v->start) {
			wrong++;
			if (vt_cut(m, x, v->start))
				break;
			x = vt_model_find(m, v->start);
			uint32_t anon = vt_anon_of_area(x);
			vt_extent_prev(x)->anon = x->anon = anon;
			vt_set_boundary(m, x, VT_BOUNDARY_SPLIT);
		}
		for (; x && x->start < v->end; x = vt_extent_next(x)) {
			enum vt_boundary b =
			    x->start == v->start ? VT_BOUNDARY_SPLIT : VT_BOUNDARY_MERGED;
			if (x->boundary == b || !vt_adjacent_prev(x))
				continue;
			if (in_flux(flux, n_flux, x->start)) {
				leave_open(&a, x);
				continue;
			}
			if (x->boundary == VT_BOUNDARY_UNDETERMINED)
				cleared++;
			else
				wrong++;
			if (x->boundary == VT_BOUNDARY_MERGED) {
				uint32_t anon = vt_anon_of_area(x);
				vt_extent_prev(x)->anon = x->anon = anon;
			}
			vt_join(&a, x, b);
		}
	}
	if (settled)
		*settled = cleared;
	return wrong;
}

struct vt_extent *vt_model_vma(const struct vt_model *m, struct vt_extent *x, struct vt_vma *vma)
{
	(void)m;
	*vma = (struct vt_vma){ .start = x->start,
				.pgoff = x->file ? x->pgoff : 0,
				.flags = x->flags,
				.file = x->file,
				.name = x->name,
				.special = x->special };
	do {
		if (x->special && !vma->special)
			vma->special = x->special;
		vma->end = x->end;
		x = vt_extent_next(x);
		if (x && x->boundary == VT_BOUNDARY_UNDETERMINED)
			vma->undetermined = 1;
	} while (x && x->boundary != VT_BOUNDARY_SPLIT);
	return x;
}
