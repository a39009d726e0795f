/*
 * advise.c - madvise and process_madvise: what changes an area, what only drops contents.
 *
 * One table from advice to effect. Follows madvise_walk_vmas: holes are passed over (the call then
 * fails with ENOMEM), any other refusal ends the walk. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "internal.h"

#define MADV_GUARD_INSTALL_ 102

struct advice {
	uint32_t clear, set;
	uint32_t refused;       /* areas with one of these flags are refused with EINVAL */
	uint32_t spared;        /* areas with one of these are left alone without an error */
	bool private_anonymous; /* refused on anything else */
	bool discards;
	bool seal_forbids; /* refused with EPERM on sealed anonymous memory nobody can write to */
	bool touches;      /* gives every area an anon_vma */
};

#define KSM_SPARED                                                                                 \
	(VT_VM(SHARED) | VT_VM(MAYSHARE) | VT_VM_SPECIAL | VT_VM(HUGETLB) | VT_VM(DROPPABLE))

static const struct advice advices[] = {
	[MADV_NORMAL] = { .clear = VT_VM(RAND_READ) | VT_VM(SEQ_READ) },
	[MADV_RANDOM] = { .clear = VT_VM(SEQ_READ), .set = VT_VM(RAND_READ) },
	[MADV_SEQUENTIAL] = { .clear = VT_VM(RAND_READ), .set = VT_VM(SEQ_READ) },
	[MADV_DONTNEED] = { .refused = VT_VM(LOCKED) | VT_VM(PFNMAP),
			    .discards = true,
			    .seal_forbids = true },
	[MADV_FREE] = { .refused = VT_VM(LOCKED) | VT_VM(PFNMAP) | VT_VM(HUGETLB),
			.private_anonymous = true,
			.discards = true,
			.seal_forbids = true },
	[MADV_REMOVE] = { .refused = VT_VM(LOCKED), .discards = true, .seal_forbids = true },
	[MADV_DONTFORK] = { .set = VT_VM(DONTCOPY), .seal_forbids = true },
	[MADV_DOFORK] = { .clear = VT_VM(DONTCOPY), .refused = VT_VM(IO) },
	[MADV_MERGEABLE] = { .set = VT_VM(MERGEABLE), .spared = KSM_SPARED },
	[MADV_UNMERGEABLE] = { .clear = VT_VM(MERGEABLE) },
	[MADV_HUGEPAGE] = { .clear = VT_VM(NOHUGEPAGE), .set = VT_VM(HUGEPAGE) },
	[MADV_NOHUGEPAGE] = { .clear = VT_VM(HUGEPAGE), .set = VT_VM(NOHUGEPAGE) },
	[MADV_DONTDUMP] = { .set = VT_VM(DONTDUMP) },
	[MADV_DODUMP] = { .clear = VT_VM(DONTDUMP), .refused = VT_VM_SPECIAL | VT_VM(DROPPABLE) },
	[MADV_WIPEONFORK] = { .set = VT_VM(WIPEONFORK),
			      .private_anonymous = true,
			      .seal_forbids = true },
	[MADV_KEEPONFORK] = { .clear = VT_VM(WIPEONFORK), .refused = VT_VM(DROPPABLE) },
	[MADV_POPULATE_WRITE] = { .touches = true },
	[MADV_DONTNEED_LOCKED] = { .refused = VT_VM(PFNMAP),
				   .discards = true,
				   .seal_forbids = true },
	[MADV_GUARD_INSTALL_] = { .refused = VT_VM_SPECIAL | VT_VM(HUGETLB) | VT_VM(LOCKED),
				  .discards = true,
				  .seal_forbids = true,
				  .touches = true },
};

/* can_madvise_modify, and what each advice refuses. */
static bool refuses(const struct vt_model *m, const struct vt_extent *x, const struct advice *v)
{
	if (v->seal_forbids && x->flags & VT_VM(SEALED) && !(x->flags & VT_VM(WRITE)) &&
	    vt_is_anonymous(m, x))
		return true;
	if (x->flags & VT_VM(HUGETLB) && v->refused & VT_VM(DONTEXPAND) &&
	    !(v->refused & VT_VM(HUGETLB)))
		return x->flags & v->refused & ~VT_VM(DONTEXPAND);
	return x->flags & v->refused ||
	       (v->private_anonymous && (x->file || !vt_is_anonymous(m, x)));
}

static void advise(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
		   struct vt_change *c, const void *arg)
{
	const struct advice *v = arg;
	(void)anon;
	(void)a;
	if (x->flags & v->spared)
		return;
	c->flags = (c->flags & ~v->clear) | v->set;
	c->decides = v->clear | v->set;
}

/* The first area in [lo, hi) that refuses the advice; hi: none does. */
static uint64_t refused_from(const struct vt_model *m, uint64_t lo, uint64_t hi,
			     const struct advice *v)
{
	struct vt_extent *x = vt_model_find(m, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		if (refuses(m, x, v))
			return vt_max(x->start, lo);
	return hi;
}

/*
 * Where the call ended: at an area that refuses, or where a huge page would have been cut; holes
 * are passed over. Of a vector's last range process_madvise says only that it was not done (0).
 */
static uint64_t end_of_walk(struct vt_apply *a, uint64_t lo, uint64_t hi, const struct advice *v)
{
	struct vt_model *m = a->m;
	int64_t ret = a->ev->ret;
	bool vector = a->ev->kind == VT_PROCESS_MADVISE;
	if (vector ? ret > 0 : !ret)
		return vector ? vt_min(hi, lo + vt_page_up((uint64_t)ret)) : hi;
	bool hole = vt_hole_in(m, lo, hi) < hi;
	if (ret == -ENOMEM && hole)
		return hi;
	if (ret == -EPERM && !vt_kernel_has(m, VT_KERNEL_WAY_SEAL_BY_AREA))
		return lo;
	uint64_t at = refused_from(m, lo, hi, v);
	if (v->set | v->clear)
		at = vt_min(at, vt_huge_cut(m, lo, hi));
	if (at < hi)
		return at;
	if (ret)
		return lo;
	if (!hole)
		a->fx->contradiction |= VT_CONTRA_OPEN;
	return hole ? hi : lo;
}

/*
 * anon_vma_prepare on every anonymous area of the range, for guard markers or pages made for
 * writing.
 */
static void touch_areas(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(m, lo);
	while (x && x->start < hi) {
		uint32_t anon = vt_anon_of_area(x);
		if (!(x->flags & VT_VM(SHARED)) && !(anon & VT_ANON_TOUCHED)) {
			bool bare = vt_kernel_has(m, VT_KERNEL_WAY_GUARD_FILES_BARE);
			uint32_t sure = vt_is_anonymous(m, x) || !bare ? VT_ANON_TOUCHED : 0;
			if (sure || !anon)
				vt_anon_set_area(x, vt_anon_new_label(m) | sure |
							(anon & VT_ANON_FORKED));
		}
		x = vt_extent_next(vt_area_tail(x));
	}
}

int vt_apply_madvise(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t lo = ev->a[0], hi = lo + vt_page_up(ev->a[1]), which = ev->a[2];

	if (lo & (VT_PAGE_SIZE - 1) || hi <= lo || which >= sizeof(advices) / sizeof(advices[0]))
		return 0;
	const struct advice *v = &advices[which];
	a->fx->lo = lo;
	a->fx->hi = hi;
	hi = end_of_walk(a, lo, hi, v);
	if (hi == lo)
		return 0;
	if (v->discards)
		vt_observe(a, lo, hi, VT_PIECE_DISCARDED);
	if (v->touches && (!ev->ret || v->discards))
		touch_areas(m, lo, hi);
	if (!v->set && !v->clear)
		return 0;
	return vt_change_range(a, lo, hi, advise, v);
}
