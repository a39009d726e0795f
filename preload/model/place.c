/*
 * place.c - where the kernel puts a mapping: get_unmapped_area and its searches.
 *
 * Asks the tree for gaps; changes nothing. x86-64's layout: top-down from mmap_base, bottom-up
 * where that fails or the layout is the legacy one. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "internal.h"

#define NOWHERE            ((uint64_t)-ENOMEM)
#define DEFAULT_MAP_WINDOW (0x800000000000UL - VT_PAGE_SIZE)

/* CONFIG_LSM_MMAP_MIN_ADDR of x86: vm.mmap_min_addr cannot go below it (update_mmap_min_addr). */
#define LSM_MMAP_MIN_ADDR 65536

static uint64_t min_addr(const struct vt_model *m)
{
	return vt_max(m->config.mmap_min_addr, LSM_MMAP_MIN_ADDR);
}

/* struct vm_unmapped_area_info: what is looked for. */
struct search {
	uint64_t length, low, high;
	uint64_t align_mask, align_offset;
};

/* vm_start_gap: a stack keeps its guard gap free below it. */
static uint64_t start_gap(const struct vt_model *m, const struct vt_extent *x)
{
	if (!(x->flags & VT_VM(GROWSDOWN)) || x->boundary == VT_BOUNDARY_MERGED)
		return x->start;
	uint64_t gap = m->config.stack_guard_gap;
	return x->start > gap ? x->start - gap : 0;
}

/* Whether a stack's guard gap is looked at when a gap has been chosen, and not before. */
static bool retries(const struct vt_model *m)
{
	return vt_kernel_has(m, VT_KERNEL_WAY_GUARD_GAP_RETRY);
}

/* The free range before x within the search; false: shorter than is asked of a gap. */
static bool gap_before(const struct vt_model *m, const struct search *s, const struct vt_extent *x,
		       uint64_t *lo, uint64_t *hi)
{
	*lo = vt_max(vt_end_before(x), s->low);
	*hi = vt_min(retries(m) ? x->start : start_gap(m, x), s->high);
	return *hi > *lo && *hi - *lo >= s->length + s->align_mask;
}

static uint64_t lowest_in(const struct search *s, uint64_t lo, uint64_t hi)
{
	uint64_t at = lo + ((s->align_offset - lo) & s->align_mask);
	return at >= lo && at <= hi && hi - at >= s->length ? at : NOWHERE;
}

static uint64_t highest_in(const struct search *s, uint64_t lo, uint64_t hi)
{
	uint64_t at = hi - s->length;
	at -= (at - s->align_offset) & s->align_mask;
	return at >= lo && at < hi ? at : NOWHERE;
}

/*
 * The first extent of x's subtree (last: the last one) with a gap of length before it. Subtrees
 * whose bound is too low are passed over; a bound that promised too much is lowered.
 */
static struct vt_extent *fit_in(struct vt_extent *x, uint64_t length, bool last)
{
	if (!vt_tree_may_fit(x, length))
		return NULL;
	struct vt_extent *found = fit_in(last ? x->right : x->left, length, last);
	if (!found && vt_tree_gap(x) >= length)
		found = x;
	if (!found)
		found = fit_in(last ? x->left : x->right, length, last);
	if (!found)
		vt_tree_tighten(x);
	return found;
}

/* The nearest extent after x in address order (last: before x) with a gap of length before it. */
static struct vt_extent *fit_from(struct vt_extent *x, uint64_t length, bool last)
{
	struct vt_extent *found = fit_in(last ? x->left : x->right, length, last);
	for (struct vt_extent *p = vt_tree_parent(x); p && !found; x = p, p = vt_tree_parent(p)) {
		if (x != (last ? p->right : p->left))
			continue;
		found =
		    vt_tree_gap(p) >= length ? p : fit_in(last ? p->left : p->right, length, last);
	}
	return found;
}

/*
 * unmapped_area: the lowest place. Where it would reach into a stack's guard gap the kernel begins
 * again above that stack.
 */
static uint64_t unmapped_area(const struct vt_model *m, const struct search *asked)
{
	struct search s = *asked;
	uint64_t want = s.length + s.align_mask;
	struct vt_extent *x = vt_model_find(m, s.low);
	if (x && x->start <= s.low)
		x = vt_extent_next(x);
	while (x && vt_end_before(x) < s.high) {
		uint64_t lo, hi;
		if (!gap_before(m, &s, x, &lo, &hi)) {
			x = fit_from(x, want, false);
			continue;
		}
		uint64_t at = lowest_in(&s, lo, hi);
		/* a stack's gap is asked for with what was looked for to align, too */
		if (!retries(m) || !(x->flags & VT_VM(GROWSDOWN)) ||
		    start_gap(m, x) >= at + want - 1)
			return at;
		s.low = vt_area_tail(x)->end;
		x = vt_extent_next(vt_area_tail(x));
	}
	struct vt_extent *last = vt_model_last(m);
	uint64_t lo = vt_max(last ? last->end : 0, s.low);
	return lo + want <= s.high ? lowest_in(&s, lo, s.high) : NOWHERE;
}

/*
 * unmapped_area_topdown: the highest place. A gap that ends within a stack's guard gap makes the
 * kernel begin again below the guard gap, whatever lies between.
 */
static uint64_t unmapped_area_topdown(const struct vt_model *m, const struct search *asked)
{
	struct search s = *asked;
	uint64_t want = s.length + s.align_mask, lo, hi;
	struct vt_extent *x = vt_model_find(m, s.high - 1);
	if (!x) {
		x = vt_model_last(m);
		lo = vt_max(x ? x->end : 0, s.low);
		if (lo + want <= s.high)
			return highest_in(&s, lo, s.high);
	}
	while (x && x->end > s.low) {
		if (!gap_before(m, &s, x, &lo, &hi)) {
			x = fit_from(x, want, true);
			continue;
		}
		if (!retries(m) || start_gap(m, x) >= hi)
			return highest_in(&s, lo, hi);
		s.high = start_gap(m, x);
		x = s.high ? vt_model_find(m, s.high - 1) : NULL;
	}
	return NOWHERE;
}

/* Whether [addr, addr + len) is free and clear of a stack's guard gap. */
static bool hint_is_free(const struct vt_model *m, uint64_t addr, uint64_t len)
{
	struct vt_extent *x = vt_model_find(m, addr);
	return !x || (x->start > addr && addr + len <= start_gap(m, x));
}

static uint64_t bottomup(const struct vt_model *m, uint64_t hint, struct search *s,
			 uint64_t mmap_flags)
{
	uint64_t task_size = m->config.task_size;
	s->low = vt_page_up(task_size / 3);
	s->high = task_size;
	if (mmap_flags & MAP_32BIT) {
		s->low = 0x40000000;
		s->high = 0x80000000;
	} else if (m->config.bottomup && m->config.mmap_base) {
		s->low = m->config.mmap_base;
	}
	if (hint && s->length <= s->high && hint <= s->high - s->length &&
	    hint_is_free(m, hint, s->length))
		return hint;
	s->low = vt_max(s->low, min_addr(m));
	return unmapped_area(m, s);
}

/* arch_get_unmapped_area_topdown */
static uint64_t topdown(const struct vt_model *m, uint64_t hint, struct search *s,
			uint64_t mmap_flags)
{
	uint64_t task_size = m->config.task_size;
	if (mmap_flags & MAP_32BIT || m->config.bottomup)
		return bottomup(m, hint, s, mmap_flags);
	if (hint && s->length <= task_size && hint <= task_size - s->length &&
	    hint_is_free(m, hint, s->length))
		return hint;
	if (!m->config.mmap_base)
		return NOWHERE;
	s->low = mmap_flags & MAP_ABOVE4G ? 1UL << 32 : min_addr(m);
	s->high = m->config.mmap_base;
	if (hint > DEFAULT_MAP_WINDOW)
		s->high += task_size - DEFAULT_MAP_WINDOW;
	uint64_t at = unmapped_area_topdown(m, s);
	return at != NOWHERE ? at : bottomup(m, hint, s, mmap_flags);
}

/* Whether anonymous memory is placed by huge pages: newer kernels do it ever more rarely. */
static bool thp_placed_anonymous(const struct vt_model *m, uint64_t hint, uint64_t len,
				 uint64_t mmap_flags)
{
	if (mmap_flags & MAP_SHARED || !vt_kernel_has(m, VT_KERNEL_WAY_THP_ALIGN))
		return false;
	if (hint && vt_kernel_has(m, VT_KERNEL_WAY_THP_NO_HINT))
		return false;
	return vt_kernel_has(m, VT_KERNEL_WAY_THP_WHOLE) ? !(len & (VT_PMD_SIZE - 1))
							 : len >= VT_PMD_SIZE;
}

/*
 * Whether the placement goes through thp_get_unmapped_area: anonymous memory as above, files of
 * file systems that ask for it and private /dev/zero that span one.
 */
static bool thp_placed(const struct vt_model *m, uint64_t hint, uint64_t len, uint64_t off,
		       uint64_t mmap_flags, uint32_t file)
{
	if (!m->config.thp_align)
		return false;
	if (!file)
		return thp_placed_anonymous(m, hint, len, mmap_flags);
	enum vt_file_kind kind = vt_file_kind(m, file);
	uint64_t aligned = (off + VT_PMD_SIZE - 1) & ~(VT_PMD_SIZE - 1);
	bool asks =
	    kind == VT_FILE_ZERO || (kind == VT_FILE_REGULAR && !vt_file_in_memory(m, file));
	return asks && off + len >= aligned + VT_PMD_SIZE;
}

/* Whether shmem_get_unmapped_area may move the placement to a huge page's offset. */
static bool shmem_aligns(const struct vt_model *m, uint64_t mmap_flags, uint32_t file)
{
	if (!m->config.shmem_align)
		return false;
	if (!file)
		return mmap_flags & MAP_SHARED;
	enum vt_file_kind kind = vt_file_kind(m, file);
	return kind == VT_FILE_SHM_ANON || kind == VT_FILE_SYSV ||
	       (kind == VT_FILE_REGULAR && vt_file_in_memory(m, file));
}

/* __thp_get_unmapped_area: look for one huge page more, then align the offset within it. */
static uint64_t thp_area(const struct vt_model *m, uint64_t hint, uint64_t len, uint64_t off,
			 uint64_t mmap_flags)
{
	struct search s = { .length = len + VT_PMD_SIZE };
	uint64_t at = topdown(m, hint, &s, mmap_flags);
	if (at == NOWHERE || at == hint)
		return at;
	uint64_t off_sub = (off - at) & (VT_PMD_SIZE - 1);
	if (!m->config.bottomup && !off_sub && vt_kernel_has(m, VT_KERNEL_WAY_THP_TOPDOWN))
		return at + VT_PMD_SIZE;
	return at + off_sub;
}

/* shmem_get_unmapped_area: the usual place at, unless one at the offset's place in a huge page is
 * free.
 */
static uint64_t shmem_area(const struct vt_model *m, uint64_t at, uint64_t hint, uint64_t len,
			   uint64_t off, uint64_t mmap_flags)
{
	const uint64_t in_page = VT_PMD_SIZE - 1;
	off &= in_page;
	if (at == NOWHERE || at == hint || len < VT_PMD_SIZE || (at & in_page) == off ||
	    (off && off + len < 2 * VT_PMD_SIZE))
		return at;
	struct search s = { .length = len + VT_PMD_SIZE - VT_PAGE_SIZE };
	uint64_t wide = topdown(m, hint, &s, mmap_flags);
	if (wide == NOWHERE)
		return at;
	return wide + ((off - wide) & in_page);
}

/* __get_unmapped_area */
static uint64_t area_for(const struct vt_model *m, uint64_t hint, uint64_t len, uint64_t pgoff,
			 uint64_t mmap_flags, uint32_t file)
{
	uint64_t task_size = m->config.task_size;
	struct search s = { .length = len };

	if (!len || len > task_size)
		return NOWHERE;
	uint64_t off = file ? pgoff << VT_PAGE_SHIFT : 0;
	if (file && vt_file_kind(m, file) == VT_FILE_HUGETLB) {
		uint64_t size = vt_mmap_huge_size(m, mmap_flags, file);
		s.align_mask = size - VT_PAGE_SIZE;
		hint = (hint + size - 1) & ~(size - 1);
	} else if (thp_placed(m, hint, len, off, mmap_flags, file)) {
		uint64_t at = thp_area(m, hint, len, off, mmap_flags);
		if (at != NOWHERE)
			return at;
	}
	uint64_t at = topdown(m, hint, &s, mmap_flags);
	if (shmem_aligns(m, mmap_flags, file))
		at = shmem_area(m, at, hint, len, off, mmap_flags);
	return at != NOWHERE && at <= task_size - len ? at : NOWHERE;
}

uint64_t vt_get_unmapped_area(const struct vt_model *m, uint64_t hint, uint64_t len, uint64_t pgoff,
			      uint64_t mmap_flags, uint32_t file)
{
	uint64_t task_size = m->config.task_size;
	if (mmap_flags & MAP_FIXED || (mmap_flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE)
		return len && len <= task_size && hint <= task_size - len ? hint : NOWHERE;
	/* round_hint_to_min */
	hint = vt_page_down(hint);
	if (hint && hint < min_addr(m))
		hint = vt_page_up(min_addr(m));
	return area_for(m, hint, len, pgoff, mmap_flags, file);
}

/* mremap moves: MREMAP_DONTUNMAP takes the new address as a hint as it is (vrm_set_new_addr). */
static bool moved_to(const struct vt_model *m, const struct vt_event *ev, struct vt_placement *p)
{
	const uint64_t *a = ev->a;
	const struct vt_extent *x = vt_model_find(m, a[0]);
	if (a[3] & MREMAP_FIXED || !(a[3] & MREMAP_MAYMOVE) || !x || x->start > a[0] ||
	    (uint64_t)ev->ret == a[0])
		return false;
	/* private /dev/zero that has been moved: aligned by its offset, which touched pages decide
	 */
	if (x->file && vt_extent_unsure_offset(x))
		return false;
	uint64_t unit = x->flags & VT_VM(HUGETLB) ? vt_huge_size(m, x->file) : VT_PAGE_SIZE;
	p->hint = a[3] & MREMAP_DONTUNMAP ? a[4] : 0;
	p->len = (a[2] + unit - 1) & ~(unit - 1);
	p->at = area_for(m, p->hint, p->len, x->pgoff + ((a[0] - x->start) >> VT_PAGE_SHIFT),
			 x->flags & VT_VM(MAYSHARE) ? MAP_SHARED : MAP_PRIVATE, x->file);
	return true;
}

bool vt_model_placement(const struct vt_model *m, const struct vt_event *ev, struct vt_placement *p)
{
	const uint64_t *a = ev->a;
	uint64_t pgoff;
	*p = (struct vt_placement){ 0 };
	if (vt_is_error(ev->ret) || ev->flags & VT_EV_UNDONE)
		return false;
	switch (ev->kind) {
	case VT_MMAP:
		if (a[3] & MAP_FIXED || (a[3] & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE)
			return false;
		p->hint = a[0];
		p->len = vt_mmap_len(m, ev);
		/* __get_unmapped_area: anonymous memory has no offset, whatever is asked for */
		pgoff = a[3] & MAP_ANONYMOUS ? 0 : a[5] >> VT_PAGE_SHIFT;
		p->at = vt_get_unmapped_area(m, p->hint, p->len, pgoff, a[3], ev->file);
		return true;
	case VT_SHMAT:
		p->len = vt_page_up(a[3]);
		if (a[1] || !p->len)
			return false;
		p->at = vt_get_unmapped_area(m, 0, p->len, 0, MAP_SHARED, ev->file);
		return true;
	case VT_MREMAP:
		return moved_to(m, ev, p);
	default:
		return false;
	}
}
