/*
 * limits.c - whether a call stays within the limits: may_expand_vm, mlock_future_ok,
 * __vm_enough_memory, map_count, in the order in which each call meets them.
 *
 * Changes nothing. The traced process never asks; the analyzer does.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sched.h>
#include <vmtrail/limits.h>

#include "internal.h"

const struct vt_rule_info vt_rules[VT_RULE_COUNT] = {
#define VT_RULE_ROW(e, function, limit) [VT_RULE_##e] = { function, limit },
	VT_RULES(VT_RULE_ROW)
#undef VT_RULE_ROW
};

/* One question: the counters as the kernel would have them without the recorder. */
struct ask {
	const struct vt_model *m;
	const struct vt_limits *l;
	const struct vt_event *ev;
	struct vt_refusal *why;
};

static uint64_t less(uint64_t counter, uint64_t own)
{
	return counter > own ? counter - own : 0;
}

static uint64_t total_vm(const struct ask *q)
{
	return less(q->m->totals.total_vm, q->l->leave_out.total_vm);
}

static uint64_t map_count(const struct ask *q)
{
	return less(q->m->totals.map_count, q->l->leave_out.map_count);
}

static uint64_t committed(const struct ask *q)
{
	uint64_t own = less(q->m->totals.committed, q->l->leave_out.committed);
	return own + q->l->shared + q->l->others;
}

static bool no(const struct ask *q, enum vt_rule rule, int error, uint64_t counted, uint64_t asked,
	       uint64_t limit)
{
	*q->why = (struct vt_refusal){ rule, error, counted, asked, limit };
	return true;
}

static bool is_data(uint32_t flags)
{
	return (flags & (VT_VM(WRITE) | VT_VM(SHARED) | VT_VM(GROWSDOWN))) == VT_VM(WRITE);
}

static bool data_refused(const struct ask *q, uint64_t pages, uint64_t more, int error)
{
	uint64_t data = less(q->m->totals.data_vm, q->l->leave_out.data_vm) + more;
	uint64_t limit = q->l->data >> VT_PAGE_SHIFT;
	return q->l->data != VT_NO_LIMIT && data + pages > limit &&
	       no(q, VT_RULE_EXPAND_DATA, error, data, pages, limit);
}

/* may_expand_vm */
static bool expand_refused(const struct ask *q, uint32_t flags, uint64_t pages, int error)
{
	uint64_t limit = q->l->as >> VT_PAGE_SHIFT;
	if (q->l->as != VT_NO_LIMIT && total_vm(q) + pages > limit)
		return no(q, VT_RULE_EXPAND_AS, error, total_vm(q), pages, limit);
	return is_data(flags) && data_refused(q, pages, 0, error);
}

/* can_do_mlock */
static bool lock_forbidden(const struct ask *q)
{
	return !q->l->memlock && !q->l->ipc_lock && no(q, VT_RULE_CAN_MLOCK, EPERM, 0, 0, 0);
}

/* mlock_future_ok */
static bool lock_refused(const struct ask *q, uint32_t flags, uint64_t pages, int error)
{
	uint64_t locked = less(q->m->totals.locked_vm, q->l->leave_out.locked_vm);
	uint64_t limit = q->l->memlock >> VT_PAGE_SHIFT;
	return flags & VT_VM(LOCKED) && !q->l->ipc_lock && q->l->memlock != VT_NO_LIMIT &&
	       locked + pages > limit && no(q, VT_RULE_MLOCK_FUTURE, error, locked, pages, limit);
}

static bool count_refused(const struct ask *q, uint64_t more)
{
	uint64_t limit = q->l->max_map_count, count = map_count(q);
	return limit != VT_NO_LIMIT && count + more > limit &&
	       no(q, VT_RULE_MAP_COUNT, ENOMEM, count, 1, limit);
}

uint64_t vt_commit_limit(const struct vt_model *m, const struct vt_limits *l)
{
	uint64_t total = less(m->totals.total_vm, l->leave_out.total_vm);
	if (l->overcommit == VT_OVERCOMMIT_ALWAYS)
		return VT_NO_LIMIT;
	if (l->overcommit == VT_OVERCOMMIT_GUESS)
		return l->ram + l->swap;
	uint64_t allowed = l->allowed ? l->allowed : less(l->ram, l->huge) * l->ratio / 100;
	allowed += l->swap;
	if (!l->sys_admin)
		allowed = less(allowed, l->admin_reserve);
	return less(allowed, vt_min(total / 32, l->user_reserve));
}

/* __vm_enough_memory; more: pages charged since the counters were last right. */
static bool charge_refused(const struct ask *q, uint64_t pages, uint64_t more, int error)
{
	uint64_t limit = vt_commit_limit(q->m, q->l);
	if (!q->l->commit || !pages)
		return false;
	if (q->l->overcommit == VT_OVERCOMMIT_GUESS)
		return pages > limit && no(q, VT_RULE_COMMIT, error, 0, pages, limit);
	uint64_t held = committed(q) + more;
	return q->l->overcommit == VT_OVERCOMMIT_NEVER && held + pages >= limit &&
	       no(q, VT_RULE_COMMIT, error, held, pages, limit);
}

/* Pages of [lo, hi) that hold mappings, and those among them with a flag. */
static uint64_t pages_in(const struct vt_model *m, uint64_t lo, uint64_t hi, uint32_t flag)
{
	uint64_t bytes = 0;
	const struct vt_extent *x = lo < hi ? vt_model_find(m, lo) : NULL;
	for (; x && x->start < hi; x = vt_extent_next(x))
		if (!flag || x->flags & flag)
			bytes += vt_min(x->end, hi) - vt_max(x->start, lo);
	return bytes >> VT_PAGE_SHIFT;
}

/* shmem_zero_setup: shared anonymous memory is charged whole, for its object. */
static bool is_shared_object(const struct ask *q, uint32_t flags)
{
	uint32_t file = q->ev->file;
	return flags & VT_VM(MAYSHARE) && file && vt_file_kind(q->m, file) == VT_FILE_SHM_ANON;
}

/* vms_gather_munmap_vmas: a hole in the middle of an area needs one more. */
static bool hole_refused(const struct ask *q, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(q->m, lo);
	return lo < hi && x && x->start <= lo && vt_area_head(x)->start < lo &&
	       vt_area_tail(x)->end > hi && count_refused(q, 1);
}

/* do_mmap, mmap_region; forced: what it replaces is not counted twice. */
static bool map_refused(const struct ask *q, uint64_t lo, uint64_t len, uint32_t flags, bool forced)
{
	uint64_t pages = len >> VT_PAGE_SHIFT, hi = lo + len;
	uint64_t replaced = forced ? pages_in(q->m, lo, hi, 0) : 0;
	uint64_t charge = 0;
	if (count_refused(q, 0))
		return true;
	if (q->ev->kind == VT_MMAP && q->ev->a[3] & MAP_LOCKED && lock_forbidden(q))
		return true;
	if (lock_refused(q, flags, pages, EAGAIN) || (forced && hole_refused(q, lo, hi)))
		return true;
	if (expand_refused(q, flags, less(pages, replaced), ENOMEM))
		return true;
	if (flags & VT_VM(ACCOUNT))
		charge = less(pages, forced ? pages_in(q->m, lo, hi, VT_VM(ACCOUNT)) : 0);
	else if (is_shared_object(q, flags) && !(flags & VT_VM(NORESERVE)))
		charge = pages;
	return charge_refused(q, charge, 0, ENOMEM);
}

static bool mmap_refused(const struct ask *q)
{
	const struct vt_event *ev = q->ev;
	uint64_t flags = ev->a[3];
	bool forced = flags & MAP_FIXED && (flags & MAP_FIXED_NOREPLACE) != MAP_FIXED_NOREPLACE;
	return map_refused(q, ev->a[0], vt_mmap_len(q->m, ev),
			   vt_mmap_flags(q->m, ev->a[2], flags, ev->file), forced);
}

static bool shmat_refused(const struct ask *q)
{
	uint32_t flags = VT_VM(READ) | VT_VM(SHARED) | VT_VM(MAYSHARE) | q->m->def_flags;
	bool forced = q->ev->a[2] & 040000; /* SHM_REMAP */
	return map_refused(q, q->ev->a[1], vt_page_up(q->ev->a[3]), flags, forced);
}

/* sys_brk, do_brk_flags: the C library makes ENOMEM of any refusal. */
static bool brk_refused(const struct ask *q)
{
	const struct vt_model_config *c = &q->m->config;
	uint64_t asked = q->ev->a[0], top = vt_page_up(asked), old = vt_page_up(c->brk);
	uint32_t flags = VT_VM(READ) | VT_VM(WRITE) | VT_VM(ACCOUNT) | q->m->def_flags;
	if (!c->brk || !asked || top <= old)
		return false;
	uint64_t pages = (top - old) >> VT_PAGE_SHIFT;
	uint64_t heap = c->start_brk && asked > c->start_brk ? asked - c->start_brk : 0;
	if (q->l->data != VT_NO_LIMIT && heap + q->l->data_segment > q->l->data)
		return no(q, VT_RULE_BRK_DATA, ENOMEM,
			  (heap + q->l->data_segment - (asked - c->brk)) >> VT_PAGE_SHIFT, pages,
			  q->l->data >> VT_PAGE_SHIFT);
	return lock_refused(q, flags, pages, ENOMEM) || expand_refused(q, flags, pages, ENOMEM) ||
	       count_refused(q, 0) || charge_refused(q, pages, 0, ENOMEM);
}

/* mremap_to, prep_move_vma: four areas more must be possible, whatever it will need. */
static bool move_count_refused(const struct ask *q, bool to_fixed_place)
{
	uint64_t limit = q->l->max_map_count, count = map_count(q);
	uint64_t spare = to_fixed_place ? 5 : 3;
	return limit != VT_NO_LIMIT && count + spare >= limit &&
	       no(q, VT_RULE_MAP_COUNT, ENOMEM, count, spare, limit);
}

static bool mremap_refused(const struct ask *q)
{
	const struct vt_event *ev = q->ev;
	uint64_t old = vt_page_up(ev->a[1]), new = vt_page_up(ev->a[2]), flags = ev->a[3];
	struct vt_extent *x = vt_model_find(q->m, ev->a[0]);
	if (!x || x->start > ev->a[0])
		return false;
	bool stays = flags & MREMAP_DONTUNMAP, fixed = flags & MREMAP_FIXED;
	bool moves = fixed || stays || vt_is_error(ev->ret) || (uint64_t)ev->ret != ev->a[0];
	uint64_t more = (stays ? new : new > old ? new - old : 0) >> VT_PAGE_SHIFT;
	if ((fixed || stays) && move_count_refused(q, true))
		return true;
	if (lock_refused(q, x->flags, more, EAGAIN) || expand_refused(q, x->flags, more, ENOMEM))
		return true;
	if (moves && flags & MREMAP_MAYMOVE && move_count_refused(q, false))
		return true;
	return x->flags & VT_VM(ACCOUNT) && charge_refused(q, more, 0, ENOMEM);
}

/* mprotect_fixup: private memory that becomes writable is data from now on, and charged. */
static bool mprotect_refused(const struct ask *q)
{
	const struct vt_event *ev = q->ev;
	uint64_t lo = ev->a[0], hi = lo + vt_page_up(ev->a[1]), data = 0, charge = 0;
	const uint32_t charged_already =
	    VT_VM(ACCOUNT) | VT_VM(WRITE) | VT_VM(HUGETLB) | VT_VM(SHARED) | VT_VM(NORESERVE);
	if (!(ev->a[2] & PROT_WRITE) || hi <= lo)
		return false;
	struct vt_extent *x = vt_model_find(q->m, lo);
	while (x && x->start < hi) {
		struct vt_extent *tail = vt_area_tail(x);
		uint64_t from = vt_max(x->start, lo), to = vt_min(tail->end, hi);
		uint64_t pages = (to - from) >> VT_PAGE_SHIFT;
		if (!is_data(x->flags) && is_data(x->flags | VT_VM(WRITE))) {
			if (data_refused(q, pages, data, ENOMEM))
				return true;
			data += pages;
		}
		if (!(x->flags & charged_already)) {
			if (charge_refused(q, pages, charge, ENOMEM))
				return true;
			charge += pages;
		}
		x = vt_extent_next(tail);
	}
	return false;
}

/* do_mlock: what is locked already is not counted twice. */
static bool mlock_refused(const struct ask *q)
{
	const struct vt_event *ev = q->ev;
	uint64_t lo = vt_page_down(ev->a[0]), hi = vt_page_up(ev->a[0] + ev->a[1]);
	if (lock_forbidden(q))
		return true;
	uint64_t asked = (hi - lo) >> VT_PAGE_SHIFT;
	return hi > lo && lock_refused(q, VT_VM(LOCKED),
				       less(asked, pages_in(q->m, lo, hi, VT_VM(LOCKED))), ENOMEM);
}

/* mlockall: all that is mapped must stay within the limit. */
static bool mlockall_refused(const struct ask *q)
{
	uint64_t limit = q->l->memlock >> VT_PAGE_SHIFT;
	if (lock_forbidden(q))
		return true;
	return q->ev->a[0] & MCL_CURRENT && !q->l->ipc_lock && q->l->memlock != VT_NO_LIMIT &&
	       total_vm(q) > limit && no(q, VT_RULE_MLOCK, ENOMEM, 0, total_vm(q), limit);
}

/* acct_stack_growth: a stack that cannot grow is a fault. */
static bool growth_refused(const struct ask *q)
{
	const struct vt_event *ev = q->ev;
	if (ev->aux != VT_UNSEEN_STACK_GROWTH)
		return false;
	struct vt_extent *x = vt_model_find(q->m, ev->a[0] + ev->a[1]);
	if (!x)
		return false;
	uint64_t pages = vt_page_up(ev->a[1]) >> VT_PAGE_SHIFT;
	uint64_t size = vt_area_tail(x)->end - x->start;
	uint64_t limit = q->l->stack >> VT_PAGE_SHIFT;
	if (expand_refused(q, x->flags, pages, 0))
		return true;
	if (q->l->stack != VT_NO_LIMIT && size + (pages << VT_PAGE_SHIFT) > q->l->stack)
		return no(q, VT_RULE_STACK, 0, size >> VT_PAGE_SHIFT, pages, limit);
	return lock_refused(q, x->flags, pages, 0) || charge_refused(q, pages, 0, 0);
}

/* dup_mmap: the child is charged for all that it takes over. */
static bool fork_refused(const struct ask *q)
{
	if (q->ev->kind == VT_CLONE && q->ev->a[0] & CLONE_VM)
		return false;
	if (q->l->overcommit != VT_OVERCOMMIT_NEVER)
		return false;
	return charge_refused(q, less(q->m->totals.committed, q->l->leave_out.committed), 0,
			      ENOMEM);
}

static bool munmap_refused(const struct ask *q)
{
	return hole_refused(q, q->ev->a[0], q->ev->a[0] + vt_page_up(q->ev->a[1]));
}

bool vt_limits_refuse(const struct vt_model *m, const struct vt_limits *l,
		      const struct vt_event *ev, struct vt_refusal *why)
{
	struct ask q = { m, l, ev, why };
	switch (ev->kind) {
	case VT_MMAP:
		return mmap_refused(&q);
	case VT_SHMAT:
		return shmat_refused(&q);
	case VT_BRK:
		return brk_refused(&q);
	case VT_MREMAP:
		return mremap_refused(&q);
	case VT_MUNMAP:
		return munmap_refused(&q);
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
		return mprotect_refused(&q);
	case VT_MLOCK:
	case VT_MLOCK2:
		return mlock_refused(&q);
	case VT_MLOCKALL:
		return mlockall_refused(&q);
	case VT_UNSEEN_MAP:
		return growth_refused(&q);
	case VT_FORK:
	case VT_CLONE:
		return fork_refused(&q);
	default:
		return false;
	}
}

bool vt_limits_refuse_split(const struct vt_model *m, const struct vt_limits *l,
			    const struct vt_event *ev, uint64_t count_before,
			    struct vt_refusal *why)
{
	struct ask q = { m, l, ev, why };
	uint64_t limit = l->max_map_count, now = map_count(&q);
	switch (ev->kind) {
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
	case VT_MADVISE:
	case VT_PROCESS_MADVISE:
	case VT_MLOCK:
	case VT_MLOCK2:
	case VT_MUNLOCK:
	case VT_MBIND:
	case VT_MSEAL:
	case VT_PRCTL:
		break;
	default:
		return false;
	}
	uint64_t before = less(count_before, l->leave_out.map_count);
	if (limit == VT_NO_LIMIT || now <= before || now <= limit)
		return false;
	/* do_madvise says EAGAIN */
	bool advice = ev->kind == VT_MADVISE || ev->kind == VT_PROCESS_MADVISE;
	return no(&q, VT_RULE_MAP_COUNT, advice ? EAGAIN : ENOMEM, before, now - before, limit);
}
