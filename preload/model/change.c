/*
 * change.c - calls that change attributes of a range: mprotect, pkey_mprotect, mbind, mseal, the
 * memory calls of prctl, and the limits.
 *
 * Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/personality.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "internal.h"

struct protection {
	uint32_t access;
	int pkey; /* -1: leave it */
	bool read_implies_exec;
};

/* mprotect_fixup: the new flags, and VM_ACCOUNT, which pages never touched give back. */
static void protect(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
		    struct vt_change *c, const void *arg)
{
	const struct protection *p = arg;
	uint32_t old = x->flags, access = p->access;

	if (p->read_implies_exec && old & VT_VM(MAYEXEC))
		access |= VT_VM(EXEC);
	uint32_t new = (old & ~(uint32_t)VT_VM_ACCESS) | access;
	if (p->pkey >= 0)
		c->pkey = (uint8_t)p->pkey;
	if (new == old && c->pkey == x->pkey)
		return;
	if (new &VT_VM(WRITE)) {
		c->account_unsure = false;
		if (!(old & (VT_VM(ACCOUNT) | VT_VM(WRITE) | VT_VM(HUGETLB) | VT_VM(SHARED) |
			     VT_VM(NORESERVE))))
			new |= VT_VM(ACCOUNT);
	} else if (old & VT_VM(ACCOUNT) && vt_is_anonymous(a->m, x)) {
		if (!anon) {
			new &= ~(uint32_t)VT_VM(ACCOUNT);
			c->account_unsure = false;
		} else if (!(anon & VT_ANON_TOUCHED)) {
			c->account_unsure = true;
		}
	}
	c->flags = new;
}

/* The first extent in [lo, hi) whose mapping forbids the access; hi: none is known to. */
static uint64_t forbidden_from(const struct vt_model *m, uint64_t lo, uint64_t hi, uint32_t access)
{
	struct vt_extent *x = vt_model_find(m, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		if (access & ~(x->flags >> VT_VM_MAYREAD_BIT))
			return vt_max(x->start, lo);
	return hi;
}

/* The first area in [lo, hi) that RLIMIT_DATA keeps from becoming data (mprotect_fixup). */
static uint64_t limited_from(const struct vt_model *m, uint64_t lo, uint64_t hi, uint32_t access)
{
	uint64_t more = 0;
	if (!(access & VT_VM(WRITE)))
		return hi;
	struct vt_extent *x = vt_model_find(m, lo);
	while (x && x->start < hi) {
		struct vt_extent *tail = vt_area_tail(x);
		uint64_t from = vt_max(x->start, lo);
		uint64_t pages = (vt_min(tail->end, hi) - from) >> VT_PAGE_SHIFT;
		uint32_t new = (x->flags & ~(uint32_t)VT_VM_ACCESS) | access;
		if (new != x->flags && !vt_may_expand_vm(m, new, pages, more) &&
		    vt_may_expand_vm(m, x->flags, pages, more))
			return from;
		if (!(x->flags & (VT_VM(WRITE) | VT_VM(SHARED) | VT_VM(GROWSDOWN))))
			more += pages;
		x = vt_extent_next(tail);
	}
	return hi;
}

/* Whether it is in doubt where the areas of [lo, hi) end. */
static bool any_doubt(const struct vt_model *m, uint64_t lo, uint64_t hi)
{
	struct vt_extent *x = vt_model_find(m, lo);
	while (x && (x = vt_extent_next(x)) && x->start < hi)
		if (x->boundary == VT_BOUNDARY_UNDETERMINED)
			return true;
	return false;
}

static bool valid_prot(uint64_t prot)
{
	const uint64_t sem = 8; /* PROT_SEM */
	return !(prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | sem | PROT_GROWSDOWN));
}

/* The walk's end at a huge page; lo if there is no huge page to blame. */
static uint64_t huge_cut_or_nothing(struct vt_model *m, uint64_t lo, uint64_t hi)
{
	uint64_t at = vt_huge_cut(m, lo, hi);
	return at < hi ? at : lo;
}

/* Where a refused mprotect stopped; *known: whether the error tells. */
static uint64_t stopped_at(const struct vt_apply *a, uint64_t lo, uint64_t hi, uint32_t access,
			   bool *known)
{
	const struct vt_model *m = a->m;
	uint64_t at = hi, hole;
	struct vt_extent *x = vt_model_find(m, lo);

	*known = true;
	switch (a->ev->ret) {
	case -ENOMEM:
		hole = vt_hole_in(a->m, lo, hi);
		at = limited_from(m, lo, hole, access);
		*known = at == hole || !any_doubt(m, lo, hole);
		if (!*known)
			return lo;
		break;
	case -EINVAL:
		/* PROT_GROWSDOWN from below an area that is no stack is refused at once */
		if (!valid_prot(a->ev->a[2]) ||
		    (a->ev->a[2] & PROT_GROWSDOWN && x && !(x->flags & VT_VM(GROWSDOWN))))
			return lo;
		at = huge_cut_or_nothing(a->m, lo, hi);
		/* or the key is none of the process's, which is found out before anything is done
		 */
		*known = at == lo || a->ev->kind != VT_PKEY_MPROTECT || (int)a->ev->a[3] == -1;
		return *known ? at : lo;
	case -EACCES:
		at = forbidden_from(m, lo, hi, access);
		break;
	case -EPERM:
		if (!vt_kernel_has(m, VT_KERNEL_WAY_SEAL_BY_AREA))
			return lo;
		while (x && x->start < hi && !(x->flags & VT_VM(SEALED)))
			x = vt_extent_next(x);
		at = x ? vt_min(vt_max(x->start, lo), hi) : hi;
		break;
	default:
		return lo;
	}
	if (at < hi)
		return at;
	/* something else stopped it: in one area nothing can have changed before */
	x = vt_model_find(m, lo);
	*known = x && vt_area_tail(x)->end >= hi;
	return lo;
}

/* Where the stack that x belongs to begins; where that is in doubt, the range is read again. */
static uint64_t stack_start(struct vt_apply *a, struct vt_extent *x)
{
	struct vt_extent *head = vt_area_head(x), *first = head;
	while (first->boundary != VT_BOUNDARY_SPLIT)
		first = vt_extent_prev(first);
	if (first != head) {
		a->fx->lo = first->start;
		a->fx->contradiction |= VT_CONTRA_OPEN;
	}
	return head->start;
}

int vt_apply_mprotect(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t lo = ev->a[0], hi = lo + vt_page_up(ev->a[1]), prot = ev->a[2];
	struct protection p = { .pkey = ev->kind == VT_PKEY_MPROTECT ? (int)ev->a[3] : -1,
				.read_implies_exec =
				    prot & PROT_READ && m->personality & READ_IMPLIES_EXEC };

	if (lo & (VT_PAGE_SIZE - 1) || hi <= lo)
		return 0;
	p.access = vt_prot_flags(prot);
	if (prot & PROT_GROWSDOWN) {
		struct vt_extent *x = vt_model_find(m, lo);
		if (x && x->flags & VT_VM(GROWSDOWN) && x->start < hi)
			lo = stack_start(a, x);
	}
	a->fx->lo = a->fx->lo ? a->fx->lo : lo;
	a->fx->hi = hi;
	if (ev->ret) {
		bool known;
		hi = stopped_at(a, lo, hi, p.access, &known);
		if (!known)
			a->fx->contradiction |= VT_CONTRA_OPEN;
	} else if (vt_hole_in(m, lo, hi) < hi) {
		a->fx->contradiction |= VT_CONTRA_MISSING;
	}
	return vt_change_range(a, lo, hi, protect, &p);
}

static void set_policy(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
		       struct vt_change *c, const void *arg)
{
	(void)a;
	(void)x;
	(void)anon;
	c->policy = *(const uint16_t *)arg;
}

/* linux/mempolicy.h's enum, which user space has no header for everywhere. */
enum {
	POLICY_DEFAULT = 0,
	POLICY_PREFERRED = 1,
	POLICY_LOCAL = 4,
};

/* 16 bits that are equal where both words are equal, and never 0. */
static uint16_t small_id(uint64_t a, uint64_t b)
{
	uint64_t h = (a * 0x9e3779b97f4a7c15ULL) ^ (b * 0xc2b2ae3d27d4eb4fULL);
	h ^= h >> 32;
	h ^= h >> 16;
	return (uint16_t)h ? (uint16_t)h : 1;
}

/*
 * A policy's number: equal mode and node mask give the same one; 0 is the default policy. mask: the
 * first word of the node mask; rest: a digest of the others. Of preferred nodes only the first
 * counts; none means the local one.
 */
static uint16_t policy_id(uint64_t mode, uint64_t mask, uint64_t rest)
{
	if (mode == POLICY_PREFERRED) {
		mask &= -mask;
		rest = mask ? 0 : rest;
		mode = mask | rest ? mode : POLICY_LOCAL;
	}
	return mode == POLICY_DEFAULT ? 0 : small_id(mode | rest << 32, mask);
}

int vt_apply_mbind(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[0], hi = lo + vt_page_up(ev->a[1]);
	uint16_t policy = policy_id((uint32_t)ev->a[2], ev->a[3], ev->a[4] >> 32);
	if (hi <= lo || (ev->ret && ev->ret != -EIO))
		return 0;
	a->fx->lo = lo;
	a->fx->hi = hi;
	if (ev->ret) /* pages stand on other nodes: told before or after the areas were changed */
		a->fx->contradiction |= VT_CONTRA_OPEN;
	return ev->ret ? 0 : vt_change_range(a, lo, hi, set_policy, &policy);
}

static void seal(struct vt_apply *a, const struct vt_extent *x, uint32_t anon, struct vt_change *c,
		 const void *arg)
{
	(void)a;
	(void)x;
	(void)anon;
	(void)arg;
	c->flags |= VT_VM(SEALED);
	c->decides = VT_VM(SEALED);
}

int vt_apply_mseal(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[0], hi = lo + vt_page_up(ev->a[1]);
	if (hi <= lo || lo & (VT_PAGE_SIZE - 1))
		return 0;
	bool whole = vt_hole_in(a->m, lo, hi) == hi;
	if (ev->ret && (ev->ret != -EINVAL || ev->a[2] || !whole))
		return 0;
	a->fx->lo = lo;
	a->fx->hi = hi;
	if (ev->ret)
		hi = huge_cut_or_nothing(a->m, lo, hi);
	else if (!whole)
		a->fx->contradiction |= VT_CONTRA_MISSING;
	return vt_change_range(a, lo, hi, seal, NULL);
}

static void set_name(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
		     struct vt_change *c, const void *arg)
{
	(void)anon;
	/* only anonymous memory is named (madvise_set_anon_name) */
	if (!x->file || vt_file_kind(a->m, x->file) == VT_FILE_SHM_ANON)
		c->name = *(const uint16_t *)arg;
}

/* prctl(PR_SET_MM): where the heap begins and ends; a whole map of values is not told. */
static void set_mm(struct vt_model *m, uint64_t what, uint64_t value)
{
	if (what == PR_SET_MM_START_BRK)
		m->config.start_brk = value;
	else if (what == PR_SET_MM_BRK)
		m->config.brk = value;
	else if (what == PR_SET_MM_MAP)
		m->config.brk = 0;
}

/* prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, name): a name that has no number is an
 * address. */
int vt_apply_prctl(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[2], hi = lo + vt_page_up(ev->a[3]), number = ev->a[4];
	if (!ev->ret && ev->a[0] == PR_SET_MM)
		set_mm(a->m, ev->a[1], ev->a[2]);
	if (ev->ret || ev->a[0] != PR_SET_VMA || ev->a[1] != PR_SET_VMA_ANON_NAME || hi <= lo)
		return 0;
	a->fx->lo = lo;
	a->fx->hi = hi;
	uint16_t name = number > UINT16_MAX ? small_id(0, number) : (uint16_t)number;
	return vt_change_range(a, lo, hi, set_name, &name);
}

int vt_apply_setrlimit(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model_config *c = &a->m->config;
	if (ev->ret)
		return 0;
	switch (ev->a[0]) {
	case RLIMIT_AS:
		c->rlimit_as = ev->a[1];
		break;
	case RLIMIT_DATA:
		c->rlimit_data = ev->a[1];
		break;
	case RLIMIT_STACK:
		c->rlimit_stack = ev->a[1];
		break;
	case RLIMIT_MEMLOCK:
		c->rlimit_memlock = ev->a[1];
		break;
	default:
		break;
	}
	return 0;
}

int vt_apply_personality(struct vt_apply *a)
{
	/* 0xffffffff only asks */
	if (!vt_is_error(a->ev->ret) && (uint32_t)a->ev->a[0] != UINT32_MAX)
		a->m->personality = (uint32_t)a->ev->a[0];
	return 0;
}
