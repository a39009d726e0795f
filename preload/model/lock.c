/*
 * lock.c - mlock, mlock2, munlock, mlockall, munlockall.
 *
 * Follows apply_vma_lock_flags, which stops at the first hole, and mlock_fixup. Locking writable
 * private memory also touches it. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "internal.h"

/* mlock_fixup: special areas, huge pages and droppable memory are passed over. */
static void lock(struct vt_apply *a, const struct vt_extent *x, uint32_t anon, struct vt_change *c,
		 const void *arg)
{
	(void)a;
	(void)anon;
	if (x->flags & (VT_VM_SPECIAL | VT_VM(HUGETLB) | VT_VM(DROPPABLE)) ||
	    x->special == VT_SPECIAL_VSYSCALL)
		return;
	c->flags = (x->flags & ~(uint32_t)VT_VM_LOCKED_MASK) | *(const uint32_t *)arg;
	c->decides = VT_VM_LOCKED_MASK;
}

static int lock_range(struct vt_apply *a, uint32_t flags)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t lo = vt_page_down(ev->a[0]), hi = vt_page_up(ev->a[0] + ev->a[1]);

	if (hi <= lo)
		return 0;
	a->fx->lo = lo;
	a->fx->hi = hi;
	uint64_t hole = vt_hole_in(m, lo, hi);
	if (ev->ret) {
		uint64_t pages = (hi - lo) >> VT_PAGE_SHIFT;
		uint64_t limit = m->config.rlimit_memlock >> VT_PAGE_SHIFT;
		uint64_t locked = m->totals.locked_vm + m->totals.locked_unsure;
		bool over_limit = flags && locked + pages > limit;
		if (ev->ret != -ENOMEM && ev->ret != -EAGAIN)
			return 0;
		/* refused by the limit before anything was done, unless the process may exceed it
		 */
		if (over_limit) {
			a->fx->contradiction |= VT_CONTRA_OPEN;
			return 0;
		}
	} else if (hole < hi) {
		a->fx->contradiction |= VT_CONTRA_MISSING;
	}
	if (vt_change_range(a, lo, hole, lock, &flags))
		return -ENOMEM;
	if (flags && !ev->ret)
		vt_anon_touched(m, lo, hole);
	return 0;
}

int vt_apply_mlock(struct vt_apply *a)
{
	bool onfault = a->ev->kind == VT_MLOCK2 && a->ev->a[2] & MLOCK_ONFAULT;
	return lock_range(a, VT_VM(LOCKED) | (onfault ? VT_VM(LOCKONFAULT) : 0));
}

int vt_apply_munlock(struct vt_apply *a)
{
	return lock_range(a, 0);
}

static int lock_everything(struct vt_apply *a, uint32_t flags)
{
	struct vt_model *m = a->m;
	struct vt_extent *first = vt_model_first(m), *last = vt_model_last(m);
	if (!first)
		return 0;
	a->fx->lo = first->start;
	a->fx->hi = last->end;
	if (vt_change_range(a, first->start, last->end, lock, &flags))
		return -ENOMEM;
	if (flags)
		vt_anon_touched(m, a->fx->lo, a->fx->hi);
	return 0;
}

/* apply_mlockall_flags: MCL_FUTURE makes it the default of later mappings. */
int vt_apply_mlockall(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint32_t flags = VT_VM(LOCKED) | (ev->a[0] & MCL_ONFAULT ? VT_VM(LOCKONFAULT) : 0);
	if (ev->ret)
		return 0;
	a->m->def_flags = ev->a[0] & MCL_FUTURE ? flags : 0;
	return ev->a[0] & MCL_CURRENT ? lock_everything(a, flags) : 0;
}

int vt_apply_munlockall(struct vt_apply *a)
{
	if (a->ev->ret)
		return 0;
	a->m->def_flags = 0;
	return lock_everything(a, 0);
}
