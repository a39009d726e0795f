/*
 * extent.c - extents: where their memory comes from, how they are linked, cut and fused.
 *
 * Owns the free list and the slabs, the counters of extents and boundaries, and the rule that every
 * change of the list keeps gaps and counters exact. Decides nothing about merging. Runs inside the
 * traced process: memory comes from vt_memory only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/* Slabs grow from one page, for small processes, to this. */
#define SLAB_MAX (16 * VT_PAGE_SIZE)

/* The head of a slab; extents follow at the next multiple of their size. */
struct slab {
	struct slab *next;
	size_t bytes;
};

_Static_assert(sizeof(struct vt_extent) <= 96, "the contract of model.h");
_Static_assert(sizeof(struct slab) <= sizeof(struct vt_extent), "a slab's head takes one extent");

static __attribute__((noinline)) void add_slab(struct vt_model *m)
{
	struct slab *last = m->slabs;
	size_t bytes = last ? vt_min(last->bytes * 2, SLAB_MAX) : VT_PAGE_SIZE;
	struct slab *s = m->memory.alloc(m->memory.ctx, bytes);
	if (!s)
		return;
	*s = (struct slab){ .next = last, .bytes = bytes };
	m->slabs = s;
	struct vt_extent *x = (struct vt_extent *)s;
	for (size_t i = bytes / sizeof(*x) - 1; i > 0; i--)
		vt_extent_release(m, x + i);
}

/* An extent with undefined contents, or NULL: the model is broken from now on. */
struct vt_extent *vt_extent_new(struct vt_model *m)
{
	if (!m->free_list)
		add_slab(m);
	struct vt_extent *x = m->free_list;
	if (!x) {
		m->broken = true;
		return NULL;
	}
	m->free_list = x->right;
	return x;
}

/* What may still point to x (vt_model.recent, hint) finds no address there. */
void vt_extent_release(struct vt_model *m, struct vt_extent *x)
{
	x->end = 0;
	x->right = m->free_list;
	m->free_list = x;
}

void vt_slabs_free(struct vt_model *m)
{
	struct slab *s = m->slabs;
	while (s && m->memory.free) {
		struct slab *next = s->next;
		m->memory.free(m->memory.ctx, s, s->bytes);
		s = next;
	}
	m->slabs = NULL;
	m->free_list = NULL;
}

struct vt_extent *vt_adjacent_prev(const struct vt_extent *x)
{
	struct vt_extent *prev = vt_extent_prev(x);
	return prev && prev->end == x->start ? prev : NULL;
}

struct vt_extent *vt_adjacent_next(const struct vt_extent *x)
{
	struct vt_extent *next = vt_extent_next(x);
	return next && next->start == x->end ? next : NULL;
}

/* The gate area stands in maps, but is no area of the process. */
static uint64_t counts(const struct vt_extent *x)
{
	return x->special != VT_SPECIAL_VSYSCALL;
}

static void count_boundary(struct vt_model *m, const struct vt_extent *x, uint64_t n)
{
	if (x->boundary == VT_BOUNDARY_SPLIT)
		m->totals.map_count += n & -counts(x);
	else if (x->boundary == VT_BOUNDARY_UNDETERMINED)
		m->totals.undetermined += n;
}

void vt_set_boundary(struct vt_model *m, struct vt_extent *x, enum vt_boundary b)
{
	if (x->boundary == b)
		return;
	count_boundary(m, x, UINT64_MAX);
	vt_tree_set_boundary(x, b);
	count_boundary(m, x, 1);
}

/* Put x, complete with its boundary, before next (NULL: last). */
void vt_extent_link(struct vt_model *m, struct vt_extent *next, struct vt_extent *x)
{
	vt_tree_insert(m, next, x);
	m->totals.extents++;
	count_boundary(m, x, 1);
	vt_charge(m, x, vt_extent_pages(x));
	vt_expect(m, vt_end_before(x), x->start, x);
}

/* Take x out and give its memory back. The next extent's boundary is the caller's business. */
void vt_extent_unlink(struct vt_model *m, struct vt_extent *x)
{
	vt_tree_erase(m, x);
	m->totals.extents--;
	count_boundary(m, x, UINT64_MAX);
	vt_uncharge(m, x, vt_extent_pages(x));
	vt_extent_release(m, x);
}

/* Let x end earlier. The gap after it is the caller's business. */
void vt_trim_end(struct vt_model *m, struct vt_extent *x, uint64_t end)
{
	vt_uncharge(m, x, (x->end - end) >> VT_PAGE_SHIFT);
	x->end = end;
}

/* Let x start later. The gap before it is the caller's business. */
void vt_trim_start(struct vt_model *m, struct vt_extent *x, uint64_t start)
{
	uint64_t pages = (start - x->start) >> VT_PAGE_SHIFT;
	vt_uncharge(m, x, pages);
	x->pgoff += pages;
	x->start = start;
}

/* Cut x in two at addr, which lies inside it. The area stays one. */
int vt_cut(struct vt_model *m, struct vt_extent *x, uint64_t addr)
{
	struct vt_extent *tail = vt_extent_new(m);
	if (!tail)
		return -ENOMEM;
	*tail = *x;
	tail->start = addr;
	tail->pgoff += (addr - x->start) >> VT_PAGE_SHIFT;
	tail->boundary = VT_BOUNDARY_MERGED;
	vt_trim_end(m, x, addr);
	vt_extent_link(m, vt_extent_next(x), tail);
	return 0;
}

static bool same_attributes(const struct vt_extent *a, const struct vt_extent *b)
{
	return a->birth == b->birth && a->flags == b->flags && a->file == b->file &&
	       a->stack == b->stack && a->identity == b->identity && a->policy == b->policy &&
	       a->name == b->name && a->pkey == b->pkey && a->own == b->own && a->uffd == b->uffd &&
	       a->special == b->special;
}

/*
 * Fuse right with the extent before it, if nothing tells them apart any more. Returns the extent
 * that now holds right's pages.
 */
struct vt_extent *vt_fuse(struct vt_model *m, struct vt_extent *right)
{
	if (right->boundary != VT_BOUNDARY_MERGED)
		return right;
	struct vt_extent *x = vt_extent_prev(right);
	if (!same_attributes(x, right) || x->pgoff + vt_extent_pages(x) != right->pgoff)
		return right;
	uint64_t end = right->end, pages = vt_extent_pages(right);
	/* the label is true at the area's edges: keep it */
	uint32_t anon = x->boundary != VT_BOUNDARY_MERGED ? x->anon : right->anon;
	x->end = end;
	x->anon = anon;
	vt_extent_unlink(m, right);
	vt_charge(m, x, pages);
	return x;
}

/* Fuse what can be fused at every edge from x's beginning to hi. */
void vt_fuse_from(struct vt_model *m, struct vt_extent *x, uint64_t hi)
{
	for (; x && x->start <= hi; x = vt_extent_next(x))
		x = vt_fuse(m, x);
}
