/*
 * map.c - calls that make and remove mappings: mmap, munmap, brk, shmat, shmdt, remap_file_pages.
 *
 * Turns arguments into area flags as do_mmap does, and heals what the result contradicts. Runs
 * inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/personality.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "internal.h"

#define MAP_TYPE_MASK 0x0f
#define HUGE_SHIFT    26
#define HUGE_MASK     0x3f
#define OTHERS_AREAS  64 /* that calls under way at once make or remove */

/* calc_vm_flag_bits */
static uint32_t flag_bits(const struct vt_model *m, uint64_t flags)
{
	uint32_t f = 0;
	if (!(flags & (MAP_GROWSDOWN | MAP_LOCKED | MAP_SYNC | MAP_STACK)))
		return 0;
	if (flags & MAP_GROWSDOWN)
		f |= VT_VM(GROWSDOWN);
	if (flags & MAP_LOCKED)
		f |= VT_VM(LOCKED);
	if (flags & MAP_SYNC)
		f |= VT_VM(SYNC);
	if (flags & MAP_STACK && vt_kernel_has(m, VT_KERNEL_WAY_STACK_NOHUGEPAGE))
		f |= VT_VM(NOHUGEPAGE);
	return f;
}

/* do_mmap's vm_flags, up to what the file's own mmap adds. */
uint32_t vt_mmap_flags(const struct vt_model *m, uint64_t prot, uint64_t flags, uint32_t file)
{
	uint32_t type = flags & MAP_TYPE_MASK;
	bool file_backed = file && !(flags & MAP_ANONYMOUS);
	bool huge = file && vt_file_kind(m, file) == VT_FILE_HUGETLB;

	if (prot & PROT_READ && m->personality & READ_IMPLIES_EXEC)
		prot |= PROT_EXEC;
	uint32_t f = vt_prot_flags(prot) | flag_bits(m, flags) | m->def_flags | VT_VM_MAY;
	if (type == MAP_SHARED || type == MAP_SHARED_VALIDATE)
		f |= VT_VM(SHARED) | VT_VM(MAYSHARE);
	else if (type == MAP_DROPPABLE && !file_backed)
		f |= VT_VM(DROPPABLE) | VT_VM(NORESERVE) | VT_VM(WIPEONFORK) | VT_VM(DONTDUMP);
	if (flags & MAP_NORESERVE && (m->config.overcommit_memory != 2 || huge))
		f |= VT_VM(NORESERVE);
	if (vt_accountable_mapping(m, file, f))
		f |= VT_VM(ACCOUNT);
	if (huge)
		f |= VT_VM(HUGETLB) | VT_VM(DONTEXPAND);
	if (f & VT_VM(DROPPABLE))
		f &= ~(uint32_t)VT_VM_LOCKED_MASK;
	return vt_lockable(f);
}

/* How a new mapping of the event's file relates to others of the same file id. */
static uint32_t file_identity(struct vt_apply *a, uint32_t file)
{
	if (!file)
		return 0;
	enum vt_file_kind kind = vt_file_kind(a->m, file);
	if (kind != VT_FILE_SYSV && a->ev->flags & VT_EV_FD_KNOWN && file <= VT_ID_NUMBER_MAX)
		return VT_ID_KNOWN_FILE | file;
	return vt_identity_new(a->m);
}

/* A new extent, to be filled in and given to vt_insert_mapping; NULL: no memory. */
static struct vt_extent *blank(const struct vt_apply *a, uint64_t start)
{
	static const struct vt_extent nothing; /* copied faster than cleared */
	struct vt_extent *x = vt_extent_new(a->m);

	if (!x)
		return NULL;
	*x = nothing;
	x->start = start;
	x->birth = a->ev->seq;
	x->stack = a->ev->stack;
	x->own = (a->ev->flags & VT_EV_OWN) != 0;
	return x;
}

/* The shift of the huge pages that the flags ask for; 0: the default size. */
static unsigned huge_shift(uint64_t flags)
{
	return flags & MAP_HUGETLB ? flags >> HUGE_SHIFT & HUGE_MASK : 0;
}

/* ksys_mmap_pgoff: how many bytes an mmap maps; whole huge pages where it is made of them. */
uint64_t vt_mmap_len(const struct vt_model *m, const struct vt_event *ev)
{
	bool huge =
	    ev->a[3] & MAP_HUGETLB || (ev->file && vt_file_kind(m, ev->file) == VT_FILE_HUGETLB);
	uint64_t size = vt_mmap_huge_size(m, ev->a[3], ev->file);
	return huge ? (ev->a[1] + size - 1) & ~(size - 1) : vt_page_up(ev->a[1]);
}

/* The size of the huge pages that an mmap of such a file would take. */
uint64_t vt_mmap_huge_size(const struct vt_model *m, uint64_t flags, uint32_t file)
{
	unsigned shift = huge_shift(flags);
	return shift ? 1UL << shift : vt_huge_size(m, file);
}

/* Whether do_mmap finds nothing wrong with the arguments themselves. */
static bool valid_mmap(const struct vt_event *ev)
{
	uint64_t flags = ev->a[3], type = flags & MAP_TYPE_MASK;
	bool anonymous = flags & MAP_ANONYMOUS;
	bool shared = type == MAP_SHARED || (type == MAP_SHARED_VALIDATE && !anonymous);
	if (ev->a[5] & (VT_PAGE_SIZE - 1) || (shared && flags & (MAP_GROWSDOWN)))
		return false;
	return shared || type == MAP_PRIVATE || (type == MAP_DROPPABLE && anonymous);
}

/*
 * vms_gather_munmap_vmas splits the first area at lo, then may meet a reason to give up: what it
 * split stays split.
 */
int vt_refused_unmap(struct vt_apply *a, uint64_t lo, uint64_t hi)
{
	/* /dev is mounted noexec as a rule: refused early, that looks the same */
	const struct vt_event *ev = a->ev;
	bool file = ev->kind == VT_MMAP && ev->file && ev->a[2] & PROT_EXEC &&
		    vt_file_kind(a->m, ev->file) == VT_FILE_DEVICE;
	enum vt_boundary split = file ? VT_BOUNDARY_UNDETERMINED : VT_BOUNDARY_SPLIT;
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_model_find(m, lo);
	if (!x || x->start >= hi)
		return 0;
	struct vt_extent *last = vt_model_find(m, hi - 1);
	bool huge = last && last->start < hi && vt_cuts_huge_page(m, last, hi);
	switch (a->ev->ret) {
	case -EPERM:
		if (x->flags & VT_VM(SEALED))
			return 0;
		while (x && x->start < hi && !(x->flags & VT_VM(SEALED)))
			x = vt_extent_next(x);
		if (!vt_kernel_has(m, VT_KERNEL_WAY_SEAL_BY_AREA))
			return 0;
		return x && x->start < hi ? vt_split_area(a, lo, split) : 0;
	case -ENOMEM:
		return vt_split_area(a, lo, VT_BOUNDARY_UNDETERMINED);
	case -EINVAL: /* a huge page would be split at hi; at lo nothing has happened yet */
		if (!huge || vt_cuts_huge_page(m, x, lo) ||
		    (ev->kind == VT_MMAP && !valid_mmap(ev)))
			return 0;
		return vt_split_area(a, lo, VT_BOUNDARY_SPLIT);
	default:
		return 0;
	}
}

/* Limits are looked at when the areas in the way have been split already (__mmap_prepare). */
static int refused_placement(struct vt_apply *a, uint64_t lo, uint64_t hi)
{
	const struct vt_model *m = a->m;
	if (a->ev->ret != -ENOMEM)
		return vt_refused_unmap(a, lo, hi);
	const struct vt_model_config *c = &m->config;
	uint64_t areas = m->totals.map_count + m->totals.undetermined;
	/* older kernels looked at may_expand_vm first, and unmapped before they charged */
	if (!vt_kernel_has(m, VT_KERNEL_WAY_LIMITS_LATE)) {
		a->fx->contradiction |= VT_CONTRA_OPEN;
		return 0;
	}
	/*
	 * With room for two more areas it was may_expand_vm or the commit limit: both come late.
	 * How much room there was is not certain to an area while other threads make theirs.
	 */
	bool late = hi <= c->task_size && areas + 2 + OTHERS_AREAS < c->max_map_count;
	enum vt_boundary b = late ? VT_BOUNDARY_SPLIT : VT_BOUNDARY_UNDETERMINED;
	return vt_split_area(a, lo, b) || vt_split_area(a, hi, b) ? -ENOMEM : 0;
}

/* Whether what the file's or the shared object's own mmap refuses can look like this error. */
static bool late_error(const struct vt_apply *a, uint64_t lo, uint64_t hi)
{
	const struct vt_event *ev = a->ev;
	const struct vt_model *m = a->m;
	uint64_t flags = ev->a[3], type = flags & MAP_TYPE_MASK;
	enum vt_file_kind kind = ev->file ? vt_file_kind(m, ev->file) : VT_FILE_NONE;
	bool driver = flags & MAP_HUGETLB || kind == VT_FILE_HUGETLB || kind == VT_FILE_DEVICE;

	if (ev->ret == -EBADF || ev->ret == -EACCES || ev->ret == -EPERM || ev->ret == -EAGAIN)
		return false;
	if (ev->ret != -ENOMEM)
		return driver;
	uint64_t pages = ((hi - lo) - vt_mapped_in(m, lo, hi)) >> VT_PAGE_SHIFT;
	if (!vt_may_expand_vm(m, vt_mmap_flags(m, ev->a[2], flags, ev->file), pages, 0))
		return false;
	return !(flags & MAP_ANONYMOUS) || driver || type == MAP_SHARED ||
	       type == MAP_SHARED_VALIDATE;
}

/*
 * A refused forced placement: memory limits are looked at when the areas are split already; what a
 * file's own mmap refuses, when they are gone (__mmap_prepare, vms_abort_munmap_vmas).
 */
static int refused_mmap(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[0], hi = lo + vt_mmap_len(a->m, ev), flags = ev->a[3];

	if (!(flags & MAP_FIXED) || (flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE ||
	    lo & (VT_PAGE_SIZE - 1) || hi <= lo || !vt_mapped_in(a->m, lo, hi))
		return 0;
	a->fx->lo = lo;
	a->fx->hi = hi;
	if (late_error(a, lo, hi))
		a->fx->contradiction |= VT_CONTRA_OPEN;
	return refused_placement(a, lo, hi);
}

int vt_apply_mmap(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t start = (uint64_t)ev->ret, flags = ev->a[3];
	uint32_t file = ev->file;

	if (vt_is_error(ev->ret))
		return refused_mmap(a);
	uint64_t end = start + vt_mmap_len(m, ev);
	a->fx->lo = start;
	a->fx->hi = end;
	bool forced = flags & MAP_FIXED && (flags & MAP_FIXED_NOREPLACE) != MAP_FIXED_NOREPLACE;
	struct vt_extent *x = vt_make_room(a, start, end, forced) ? NULL : blank(a, start);
	if (!x)
		return -ENOMEM;

	if (flags & MAP_HUGETLB && flags & MAP_ANONYMOUS)
		vt_file_set_huge(m, file, huge_shift(flags));
	x->flags = vt_mmap_flags(m, ev->a[2], flags, file);
	if (x->flags & VT_VM(SHARED) && ev->flags & VT_EV_FD_RDONLY)
		x->flags &= ~(uint32_t)(VT_VM(SHARED) | VT_VM(MAYWRITE));
	x->file = file;
	x->identity = file_identity(a, file);
	bool anonymous = flags & MAP_ANONYMOUS;
	if (!anonymous)
		x->pgoff = ev->a[5] >> VT_PAGE_SHIFT;
	else if (!(x->flags & VT_VM(SHARED)) && !file)
		x->pgoff = start >> VT_PAGE_SHIFT;
	vt_insert_mapping(a, x, end, true);
	bool locked = (x->flags & VT_VM_LOCKED_MASK) == VT_VM(LOCKED);
	if (locked || (flags & MAP_POPULATE && !(flags & MAP_NONBLOCK)))
		vt_anon_touched(m, x->start, x->end);
	return 0;
}

static int unmap(struct vt_apply *a, uint64_t lo, uint64_t hi)
{
	a->fx->lo = lo;
	a->fx->hi = hi;
	return vt_unmap_range(a, lo, hi, VT_PIECE_UNMAPPED);
}

int vt_apply_munmap(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[0], hi = lo + vt_page_up(ev->a[1]);
	if (ev->ret)
		return lo & (VT_PAGE_SIZE - 1) || hi <= lo ? 0 : vt_refused_unmap(a, lo, hi);
	return unmap(a, lo, hi);
}

static int grow_brk(struct vt_apply *a, uint64_t lo, uint64_t hi)
{
	struct vt_model *m = a->m;
	struct vt_extent *x = vt_make_room(a, lo, hi, false) ? NULL : blank(a, lo);
	if (!x)
		return -ENOMEM;
	x->pgoff = lo >> VT_PAGE_SHIFT;
	x->special = VT_SPECIAL_HEAP;
	x->flags = VT_VM(READ) | VT_VM(WRITE) | VT_VM_MAY | VT_VM(ACCOUNT) | m->def_flags;
	if (m->personality & READ_IMPLIES_EXEC)
		x->flags |= VT_VM(EXEC);
	vt_insert_mapping(a, x, hi, !vt_kernel_has(m, VT_KERNEL_WAY_BRK_JOINS_PREVIOUS));
	if ((x->flags & VT_VM_LOCKED_MASK) == VT_VM(LOCKED))
		vt_anon_touched(m, lo, hi);
	return 0;
}

/* The raw system call: returns the break that now holds, also when it refused. */
int vt_apply_brk(struct vt_apply *a)
{
	struct vt_model *m = a->m;
	uint64_t asked = a->ev->a[0], now = (uint64_t)a->ev->ret;
	uint64_t before = m->config.brk;

	if (!before)
		before = m->config.brk = asked == now && asked ? 0 : now;
	if (!before || now == before) {
		m->config.brk = now;
		return 0;
	}
	if (now != asked)
		a->fx->contradiction |= VT_CONTRA_BRK;
	uint64_t old_top = vt_page_up(before), top = vt_page_up(now);
	m->config.brk = now;
	a->fx->lo = vt_min(old_top, top);
	a->fx->hi = vt_max(old_top, top);
	if (top > old_top)
		return grow_brk(a, old_top, top);
	if (top < old_top)
		return unmap(a, top, old_top);
	return 0;
}

/* A refused forced attach: like a forced mmap, that splits before it looks at limits. */
static int refused_shmat(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[1], hi;
	if (ev->a[2] & SHM_RND)
		lo = vt_page_down(lo);
	hi = lo + vt_page_up(ev->a[3]);
	if (!(ev->a[2] & SHM_REMAP) || lo & (VT_PAGE_SIZE - 1) || hi <= lo)
		return 0;
	a->fx->lo = lo;
	a->fx->hi = hi;
	return refused_placement(a, lo, hi);
}

int vt_apply_shmat(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	if (vt_is_error(ev->ret))
		return refused_shmat(a);
	uint64_t start = (uint64_t)ev->ret, len = vt_page_up(ev->a[3]);
	a->fx->lo = start;
	a->fx->hi = start + len;
	if (!len) {
		a->fx->hi = start + VT_PAGE_SIZE;
		a->fx->contradiction |= VT_CONTRA_MISSING;
		return 0;
	}
	/* an address that is rounded down to 0 is forced without a look at what is there (do_shmat)
	 */
	bool forced = ev->a[2] & SHM_REMAP || (ev->a[1] && !start);
	if (vt_make_room(a, start, start + len, forced) ||
	    vt_segment_attached(a->m, ev->file, len >> VT_PAGE_SHIFT))
		return -ENOMEM;
	struct vt_extent *x = blank(a, start);
	if (!x)
		return -ENOMEM;
	uint64_t prot = PROT_READ;
	if (!(ev->a[2] & SHM_RDONLY))
		prot |= PROT_WRITE;
	if (ev->a[2] & SHM_EXEC)
		prot |= PROT_EXEC;
	x->flags = vt_mmap_flags(a->m, prot, MAP_SHARED, ev->file);
	if (ev->a[2] & SHM_RDONLY)
		x->flags &= ~(uint32_t)(VT_VM(SHARED) | VT_VM(MAYWRITE));
	x->file = ev->file;
	/* every attachment opens the segment anew: known to be nobody else's file */
	x->identity = VT_ID_KNOWN_FILE | vt_identity_new(a->m);
	vt_insert_mapping(a, x, start + len, true);
	return 0;
}

/* The extent of the area that shmdt(addr) begins with, at or after x. */
static struct vt_extent *attached_from(const struct vt_model *m, struct vt_extent *x, uint64_t addr)
{
	while (x && !(x->file && vt_file_kind(m, x->file) == VT_FILE_SYSV &&
		      x->start - addr == x->pgoff << VT_PAGE_SHIFT))
		x = vt_extent_next(x);
	return x;
}

/*
 * shmdt: the first area that maps a segment from the place where the address would be its
 * beginning, and every further area of that attachment within the segment's size.
 */
int vt_apply_shmdt(struct vt_apply *a)
{
	struct vt_model *m = a->m;
	uint64_t addr = a->ev->a[0];
	if (a->ev->ret)
		return 0;
	struct vt_extent *x = attached_from(m, vt_model_find(m, addr), addr);
	a->fx->lo = a->fx->hi = addr;
	if (!x) {
		a->fx->hi = addr + VT_PAGE_SIZE;
		a->fx->contradiction |= VT_CONTRA_MISSING;
		return 0;
	}
	uint32_t identity = x->identity;
	uint64_t size = (uint64_t)vt_segment_pages(m, x->file) << VT_PAGE_SHIFT;
	bool first = true;
	for (; x; x = attached_from(m, x, addr)) {
		uint64_t lo = x->start, hi = vt_area_tail(x)->end;
		if (!first && hi - addr > size)
			break;
		first = false;
		/* a sealed area stays, and nobody is told */
		if (x->identity == identity && !(x->flags & VT_VM(SEALED))) {
			if (vt_unmap_range(a, lo, hi, VT_PIECE_UNMAPPED))
				return -ENOMEM;
			a->fx->hi = hi;
		}
		x = vt_model_find(m, hi);
	}
	return 0;
}

/* Emulated by the kernel as a forced shared mmap of the same file at the same protection. */
int vt_apply_remap_file_pages(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	struct vt_model *m = a->m;
	uint64_t start = vt_page_down(ev->a[0]), end = start + vt_page_down(ev->a[1]);
	if (end <= start)
		return 0;
	struct vt_extent *x = vt_model_find(m, start);
	a->fx->lo = start;
	a->fx->hi = end;
	/* huge pages refuse the offset when what was mapped is gone */
	if (ev->ret == -EINVAL && x && x->start <= start && x->flags & VT_VM(HUGETLB))
		a->fx->contradiction |= VT_CONTRA_OPEN;
	if (ev->ret)
		return ev->ret == -ENOMEM ? refused_placement(a, start, end) : 0;
	if (!x || x->start > start || !(x->flags & VT_VM(MAYSHARE))) {
		a->fx->contradiction |= VT_CONTRA_MISSING;
		return 0;
	}
	struct vt_extent *n = blank(a, start);
	if (!n)
		return -ENOMEM;
	n->file = x->file;
	n->identity = x->identity;
	n->pgoff = ev->a[3];
	uint64_t prot = (x->flags & VT_VM(READ) ? PROT_READ : 0) |
			(x->flags & VT_VM(WRITE) ? PROT_WRITE : 0) |
			(x->flags & VT_VM(EXEC) ? PROT_EXEC : 0);
	uint64_t flags = MAP_SHARED | (x->flags & VT_VM(LOCKED) ? MAP_LOCKED : 0);
	n->flags = vt_mmap_flags(m, prot, flags, x->file);
	if (!(x->flags & VT_VM(SHARED)))
		n->flags &= ~(uint32_t)(VT_VM(SHARED) | VT_VM(MAYWRITE));
	if (vt_make_room(a, start, end, true))
		return -ENOMEM;
	vt_insert_mapping(a, n, end, true);
	return 0;
}
