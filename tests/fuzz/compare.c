/*
 * compare.c - the model against the kernel's view: bytes and boundaries, flags, totals, the tree's
 * own invariants. Changes neither side, but for settle.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "fuzz.h"

const char *const fuzz_check_names[CHECK_COUNT] = {
	[CHECK_NONE] = "none",
	[CHECK_BYTES] = "bytes",
	[CHECK_BOUNDARIES] = "boundaries",
	[CHECK_FLAGS] = "flags",
	[CHECK_TOTALS] = "totals",
	[CHECK_TREE] = "tree",
	[CHECK_CONTRADICTION] = "contradictions",
	[CHECK_PLACEMENT] = "placement",
	[CHECK_CRASH] = "crash",
};

/* The flags that PROCMAP_QUERY and maps show. */
#define SHOWN (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC) | VT_VM(SHARED))

/* Of these each area has one at least: without them the flags are not from smaps. */
#define ALWAYS_SOME (VT_VM(MAYREAD) | VT_VM(MAYWRITE) | VT_VM(MAYEXEC))

static uint32_t shown_flags(const struct vt_extent *x)
{
	uint32_t flags = x->flags & SHOWN;
	if (x->flags & VT_VM(MAYSHARE))
		flags |= VT_VM(SHARED);
	return flags;
}

static void flag_names(char *out, uint32_t flags)
{
	static const char names[] =
#define NAME(n, s) s
	    VT_VM_FLAGS(NAME);
#undef NAME
	for (int i = 0; i < VT_VM_FLAG_COUNT; i++)
		if (flags & 1u << i)
			out += sprintf(out, " %.2s", names + 2 * i);
	*out = 0;
}

/* Both sides' lists around addr, row by row, the same start on the same row. */
static void list_both(struct fuzz_worker *w, uint64_t addr, char *out, size_t room)
{
	static const char bounds[] = { [VT_BOUNDARY_SPLIT] = ' ',
				       [VT_BOUNDARY_MERGED] = '+',
				       [VT_BOUNDARY_UNDETERMINED] = '?' };
	uint64_t lo = addr > 16 * VT_PAGE_SIZE ? addr - 16 * VT_PAGE_SIZE : 0;
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, true), i = 0;
	const struct kernel_area *k = shared->areas;
	const struct vt_extent *x = vt_model_find(&w->model, lo);
	char left[256], right[256], flags[128];
	int used = snprintf(out, room, "  %-72s | %s\n", "kernel",
			    "model ('+' merged with the one before, '?' undetermined)");

	while (i < n && k[i].end <= lo)
		i++;
	for (int rows = 0; rows < 40 && (i < n || x); rows++) {
		uint64_t kstart = i < n ? k[i].start : UINT64_MAX;
		uint64_t xstart = x ? x->start : UINT64_MAX;
		left[0] = right[0] = 0;
		if (kstart <= xstart) {
			flag_names(flags, k[i].flags);
			snprintf(left, sizeof(left), "%012lx-%012lx %lx %lu%s", k[i].start,
				 k[i].end, k[i].offset, k[i].ino, flags);
			i++;
		}
		if (xstart <= kstart) {
			flag_names(flags, x->flags);
			snprintf(right, sizeof(right), "%c%012lx-%012lx %lx file %u birth %lu%s",
				 bounds[x->boundary % 3], x->start, x->end,
				 x->file ? x->pgoff << VT_PAGE_SHIFT : 0, x->file, x->birth, flags);
			x = vt_extent_next(x);
		}
		if ((kstart < xstart ? kstart : xstart) > addr + 16 * VT_PAGE_SIZE)
			break;
		used += snprintf(out + used, room - (size_t)used, "  %-72s | %s\n", left, right);
		if ((size_t)used > room - 1024)
			break;
	}
}

bool fail_at(struct fuzz_worker *w, enum fuzz_check check, uint64_t addr, const char *what, ...)
{
	struct fuzz_failure *f = &shared->failure;
	va_list args;
	if (w->failed)
		return false;
	w->failed = true;
	f->op = w->child_of ? w->child_of - 1 : w->at;
	int n = snprintf(f->text, sizeof(f->text), "%s: ", fuzz_check_names[check]);
	va_start(args, what);
	n += vsnprintf(f->text + n, sizeof(f->text) - (size_t)n, what, args);
	va_end(args);
	n += snprintf(f->text + n, sizeof(f->text) - (size_t)n, "\n");
	list_both(w, addr, f->text + n, sizeof(f->text) - (size_t)n);
	f->check = check;
	return false;
}

/* NULL, or how the byte at address at differs. */
static const char *differs(const struct fuzz_worker *w, const struct kernel_area *k,
			   const struct vt_extent *x, uint64_t at)
{
	if ((k->flags & SHOWN) != shown_flags(x))
		return "protection or sharing";
	if (!x->file)
		return k->dev || k->ino ? "a file, the model has none" : NULL;
	struct fuzz_ident *file = &shared->ident[x->file];
	/* what a new shared memory object is called, its first sight tells */
	if (!file->known && (k->dev || k->ino))
		*file = (struct fuzz_ident){ k->dev, k->ino, true };
	if (x->file >= w->next_file || file->dev != k->dev || file->ino != k->ino)
		return "another file";
	uint64_t koff = k->offset + (at - k->start);
	uint64_t xoff = (x->pgoff << VT_PAGE_SHIFT) + (at - x->start);
	return koff != xoff && !vt_extent_unsure_offset(x) ? "another file offset" : NULL;
}

/* The flags in which an extent differs from the kernel's, but for those the model leaves open. */
static uint32_t wrong_flags(uint32_t kernel, const struct vt_extent *x)
{
	return (kernel ^ x->flags) & ~vt_extent_unsure_flags(x);
}

bool same_as_area(const struct fuzz_worker *w, const struct kernel_area *k, uint64_t lo,
		  uint64_t hi)
{
	bool all_flags = k->flags & ALWAYS_SOME;
	struct kernel_area shown = *k;
	if (shown.flags & VT_VM(MAYSHARE))
		shown.flags |= VT_VM(SHARED);
	const struct vt_extent *x = vt_model_find(&w->model, lo);
	for (; lo < hi; x = vt_extent_next(x)) {
		if (!x || x->start > lo || differs(w, &shown, x, lo))
			return false;
		if (all_flags && wrong_flags(k->flags, x))
			return false;
		lo = x->end;
	}
	return true;
}

/*
 * What a boundary must be in the kernel; an undetermined one as it happens to be there. Where no
 * page was touched nothing is left of what touching decides.
 */
static bool expected_split(const struct fuzz_worker *w, struct vt_extent *x, bool kernel_split)
{
	if (x->boundary != VT_BOUNDARY_UNDETERMINED)
		return x->boundary == VT_BOUNDARY_SPLIT;
	/* what was there at the start has been touched, and by the fork is shared */
	struct vt_extent *prev = vt_extent_prev(x);
	bool inherited = !x->birth || !prev->birth;
	bool touch_decides = vt_why_apart(&w->model, prev, x) == VT_APART_ANON_VMA_UNSURE;
	return kernel_split && (w->touched || inherited || !touch_decides);
}

/* The model's boundary at an extent's start against whether the kernel has one there. */
static bool same_boundary(struct fuzz_worker *w, struct vt_extent *x, bool kernel_split)
{
	if (expected_split(w, x, kernel_split) == kernel_split || !check_on(CHECK_BOUNDARIES))
		return true;
	return fail_at(w, CHECK_BOUNDARIES, x->start, "at %lx the kernel %s, the model says %s",
		       x->start, kernel_split ? "keeps two areas" : "has one area",
		       x->boundary == VT_BOUNDARY_SPLIT ? "two"
		       : x->boundary == VT_BOUNDARY_MERGED
			   ? "one"
			   : "not determined, though nothing was touched");
}

/*
 * Walk both lists over [lo, hi) and what touches it. Boundaries at the first area's start are not
 * looked at: begin below what changed.
 */
bool compare_range(struct fuzz_worker *w, uint64_t lo, uint64_t hi)
{
	uint64_t at = lo ? lo - VT_PAGE_SIZE : 0;
	struct kernel_area k;
	bool have = kernel_area_from(at, &k);
	struct vt_extent *x = vt_model_find(&w->model, at);

	hi = hi > UINT64_MAX - VT_PAGE_SIZE ? hi : hi + VT_PAGE_SIZE;
	while ((have && k.start < hi) || (x && x->start < hi)) {
		uint64_t kstart = !have ? UINT64_MAX : k.start > at ? k.start : at;
		uint64_t xstart = !x ? UINT64_MAX : x->start > at ? x->start : at;
		if (kstart != xstart)
			return !check_on(CHECK_BYTES) ||
			       fail_at(w, CHECK_BYTES, kstart < xstart ? kstart : xstart,
				       kstart < xstart ? "mapped at %lx, the model has nothing"
						       : "nothing at %lx, the model has it mapped",
				       kstart < xstart ? kstart : xstart);
		at = kstart;
		const char *how = check_on(CHECK_BYTES) ? differs(w, &k, x, at) : NULL;
		if (how)
			return fail_at(w, CHECK_BYTES, at, "%s at %lx", how, at);
		uint64_t kend = k.end, xend = x->end;
		at = kend < xend ? kend : xend;
		if (xend == at)
			x = vt_extent_next(x);
		if (kend == at)
			have = kernel_area_from(at, &k);
		bool kernel_split = kend == at, touching = !kernel_split || (have && k.start == at);
		if (!touching)
			continue;
		if (xend != at) {
			if (check_on(CHECK_BOUNDARIES))
				return fail_at(
				    w, CHECK_BOUNDARIES, at,
				    "at %lx the kernel keeps two areas, the model has one"
				    " extent",
				    at);
		} else if (x && x->start == at && !same_boundary(w, x, kernel_split)) {
			return false;
		}
	}
	return true;
}

/* The tree below x: order, gaps. Returns the number of extents, or UINT64_MAX. */
static uint64_t check_subtree(struct fuzz_worker *w, const struct vt_extent *x, uint64_t *gap)
{
	if (!x) {
		*gap = 0;
		return 0;
	}
	uint64_t left_gap, right_gap;
	uint64_t left = check_subtree(w, x->left, &left_gap);
	uint64_t right = check_subtree(w, x->right, &right_gap);
	const struct vt_extent *prev = vt_extent_prev(x);
	uint64_t prev_end = prev ? prev->end : 0;
	*gap = x->start - prev_end;
	if (left_gap > *gap)
		*gap = left_gap;
	if (right_gap > *gap)
		*gap = right_gap;
	if (x->start >= x->end || prev_end > x->start || (x->start | x->end) % VT_PAGE_SIZE) {
		fail_at(w, CHECK_TREE, x->start, "the extent at %lx is out of order", x->start);
	} else if (x->subtree_gap != UINT32_MAX && x->subtree_gap < *gap >> VT_PAGE_SHIFT) {
		fail_at(w, CHECK_TREE, x->start,
			"subtree gap at %lx: at most %x pages, but there are %lx", x->start,
			x->subtree_gap, *gap >> VT_PAGE_SHIFT);
	} else if ((x->left && x->left->subtree_gap > x->subtree_gap) ||
		   (x->right && x->right->subtree_gap > x->subtree_gap)) {
		fail_at(w, CHECK_TREE, x->start, "subtree gap at %lx: lower than below", x->start);
	} else if (prev_end < x->start && x->boundary != VT_BOUNDARY_SPLIT) {
		fail_at(w, CHECK_TREE, x->start, "a merge over a gap before %lx", x->start);
	}
	return left + right + 1;
}

/* vt_model_vma's areas must be the runs of extents whose boundaries are not split. */
static bool check_walk(struct fuzz_worker *w, uint64_t *areas)
{
	struct vt_extent *x = vt_model_first(&w->model);
	*areas = 0;
	while (x) {
		struct vt_vma v;
		struct vt_extent *next = vt_model_vma(&w->model, x, &v), *last = x, *y;
		bool undetermined = false;
		for (y = vt_extent_next(x);
		     y && y->start == last->end && y->boundary != VT_BOUNDARY_SPLIT;
		     y = vt_extent_next(y)) {
			undetermined |= y->boundary == VT_BOUNDARY_UNDETERMINED;
			last = y;
		}
		if (v.start != x->start || v.end != last->end || next != y ||
		    !v.undetermined != !undetermined)
			return fail_at(w, CHECK_TREE, x->start,
				       "vt_model_vma at %lx: %lx-%lx, should be %lx-%lx", x->start,
				       v.start, v.end, x->start, last->end);
		x = next;
		++*areas;
	}
	return true;
}

bool compare_tree(struct fuzz_worker *w)
{
	uint64_t gap, areas;
	uint64_t n = check_subtree(w, w->model.root, &gap);
	const struct vt_totals *t = &w->model.totals;
	if (w->failed || !check_walk(w, &areas))
		return false;
	if (n != t->extents)
		return fail_at(w, CHECK_TREE, 0, "%lu extents, the totals say %lu", n, t->extents);
	if (areas != t->map_count)
		return fail_at(w, CHECK_TREE, 0, "%lu areas, the totals say %lu", areas,
			       t->map_count);
	return true;
}

static bool same_count(struct fuzz_worker *w, const char *name, uint64_t kernel, uint64_t model,
		       uint64_t more)
{
	if (kernel >= model && kernel <= model + more)
		return true;
	return fail_at(w, CHECK_TOTALS, 0, "%s: %lu pages, the model has %lu (+%lu)", name, kernel,
		       model, more);
}

/* Pages that the kernel may have charged, though the model counts them as not charged. */
static uint64_t maybe_charged(const struct fuzz_worker *w)
{
	uint64_t pages = 0;
	for (const struct vt_extent *x = vt_model_first(&w->model); x; x = vt_extent_next(x))
		if (vt_extent_unsure_flags(x) & ~x->flags & VT_VM(ACCOUNT))
			pages += (x->end - x->start) >> VT_PAGE_SHIFT;
	return pages;
}

static bool compare_totals(struct fuzz_worker *w, uint64_t areas, uint64_t accounted)
{
	const struct vt_totals *t = &w->model.totals;
	struct kernel_status s;
	if (!kernel_status(&s))
		return true;
	uint64_t open = t->committed_unsure;
	return same_count(w, "areas", areas, t->map_count, t->undetermined) &&
	       same_count(w, "VmSize", s.size, t->total_vm, 0) &&
	       same_count(w, "VmData", s.data, t->data_vm, 0) &&
	       same_count(w, "VmStk", s.stack, t->stack_vm, 0) &&
	       same_count(w, "VmExe + VmLib", s.exec, t->exec_vm, 0) &&
	       same_count(w, "VmLck", s.locked, t->locked_vm, t->locked_unsure) &&
	       same_count(w, "areas with ac", accounted, t->committed - open,
			  open + maybe_charged(w));
}

static bool same_flags(struct fuzz_worker *w, const struct kernel_area *k)
{
	if (!check_on(CHECK_FLAGS))
		return true;
	const struct vt_extent *x = vt_model_find(&w->model, k->start);
	for (; x && x->start < k->end; x = vt_extent_next(x)) {
		uint32_t wrong = wrong_flags(k->flags, x);
		if (!wrong)
			continue;
		char more[128], less[128];
		flag_names(more, k->flags & wrong);
		flag_names(less, x->flags & wrong);
		return fail_at(w, CHECK_FLAGS, x->start,
			       "flags at %lx: only the kernel's:%s; only the model's:%s", x->start,
			       more, less);
	}
	return true;
}

/* Flags of every area, from smaps; then the counters. */
bool compare_flags_and_totals(struct fuzz_worker *w)
{
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, true), areas = 0;
	uint64_t accounted = 0;
	if (!n)
		return true;
	for (size_t i = 0; i < n; i++) {
		const struct kernel_area *k = &shared->areas[i];
		if (k->special == VT_SPECIAL_VSYSCALL)
			continue;
		areas++;
		if (k->flags & VT_VM(ACCOUNT))
			accounted += (k->end - k->start) >> VT_PAGE_SHIFT;
		if (!same_flags(w, k))
			return false;
	}
	return !check_on(CHECK_TOTALS) || compare_totals(w, areas, accounted);
}

/* The boundaries as they are now, for find_wrong. */
static size_t note_boundaries(const struct fuzz_worker *w)
{
	size_t n = 0;
	for (const struct vt_extent *x = vt_model_first(&w->model); x && n < KERNEL_AREAS;
	     x = vt_extent_next(x))
		shared->noted[n++] = (struct fuzz_boundary){ x->start, x->boundary };
	return n;
}

/* The first boundary that was determined and that settling has changed, out of the exempt ranges.
 */
static uint64_t find_wrong(const struct fuzz_worker *w, size_t n, const struct vt_range *exempt,
			   size_t n_exempt)
{
	size_t i = 0;
	for (const struct vt_extent *x = vt_model_first(&w->model); x; x = vt_extent_next(x)) {
		bool free = false;
		for (size_t k = 0; k < n_exempt; k++)
			free |= x->start >= exempt[k].lo && x->start < exempt[k].hi;
		while (i < n && shared->noted[i].addr < x->start)
			i++;
		bool was_there = i < n && shared->noted[i].addr == x->start;
		uint8_t was = was_there ? shared->noted[i].boundary : VT_BOUNDARY_MERGED;
		if (!free && was != VT_BOUNDARY_UNDETERMINED && was != x->boundary)
			return x->start;
	}
	return 0;
}

bool settle(struct fuzz_worker *w, const struct vt_range *exempt, size_t n_exempt)
{
	uint64_t settled = 0;
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, false), m = 0;
	for (size_t i = 0; i < n; i++) {
		const struct kernel_area *k = &shared->areas[i];
		if (k->special == VT_SPECIAL_VSYSCALL)
			continue;
		shared->vmas[m++] = (struct vt_vma){ .start = k->start,
						     .end = k->end,
						     .pgoff = k->offset >> VT_PAGE_SHIFT,
						     .flags = k->flags,
						     .file = world_file_of(w, k),
						     .special = k->special };
	}
	size_t noted = note_boundaries(w);
	uint64_t wrong = vt_model_settle(&w->model, shared->vmas, m, NULL, 0, &settled);
	shared->stats.settled += settled;
	uint64_t at = wrong ? find_wrong(w, noted, exempt, n_exempt) : 0;
	if (at && check_on(CHECK_BOUNDARIES))
		return fail_at(w, CHECK_BOUNDARIES, at,
			       "vt_model_settle: %lu boundaries wrong, one of them at %lx", wrong,
			       at);
	if (w->model.totals.undetermined)
		return fail_at(w, CHECK_TREE, 0, "%lu boundaries undetermined after settling",
			       w->model.totals.undetermined);
	return true;
}
