/*
 * tree.c - a red-black tree of extents ordered by address.
 *
 * Owns the links, the colours and what every subtree keeps of its members: whether one of them
 * begins an area, and a bound of the largest gap before any of them (as vma_compute_gap kept it in
 * the kernel's tree). A gap that grows raises the bounds above it; one that shrinks leaves them:
 * the search that finds nothing where a bound promised something lowers it (vt_tree_tighten). So
 * who never asks for a place pays next to nothing. No bound is higher than its parent's.
 * Knows nothing of what a mapping is. Runs inside the traced process: allocates nothing.
 *
 * parent_color holds the parent's address, RED in bit 0, and STARTS in bit 1: some extent of this
 * subtree has a boundary that is not merged.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#define RED    1UL
#define STARTS 2UL

static inline void set_parent(struct vt_extent *x, struct vt_extent *p)
{
	x->parent_color = (uintptr_t)p | (x->parent_color & VT_TREE_TAGS);
}

static inline bool is_red(const struct vt_extent *x)
{
	return x && x->parent_color & RED;
}

static inline void set_red(struct vt_extent *x, bool red)
{
	x->parent_color = (x->parent_color & ~RED) | (red ? RED : 0);
}

static inline bool subtree_starts(const struct vt_extent *x)
{
	return x && x->parent_color & STARTS;
}

static struct vt_extent *leftmost(struct vt_extent *x)
{
	while (x->left)
		x = x->left;
	return x;
}

static struct vt_extent *rightmost(struct vt_extent *x)
{
	while (x->right)
		x = x->right;
	return x;
}

struct vt_extent *vt_model_first(const struct vt_model *m)
{
	return m->root ? leftmost(m->root) : NULL;
}

struct vt_extent *vt_model_last(const struct vt_model *m)
{
	return m->root ? rightmost(m->root) : NULL;
}

/*
 * Neighbours know each other by how far apart they lie in memory, in units of what extents are
 * aligned to. NONE: there is no neighbour. FAR: that far is more than fits, the tree tells.
 */
#define UNIT_SHIFT 4
#define NONE       0
#define FAR        INT32_MIN

_Static_assert(sizeof(struct vt_extent) % (1 << UNIT_SHIFT) == 0, "extents lie units apart");

/* Whether a link is neither NONE nor FAR: both are 0 but for the sign. */
static inline bool is_near(int32_t link)
{
	return (uint32_t)link << 1;
}

static inline struct vt_extent *linked(const struct vt_extent *x, int32_t link)
{
	intptr_t at = (intptr_t)x + (intptr_t)link * (1 << UNIT_SHIFT);
	if (!at)
		__builtin_unreachable();
	return (struct vt_extent *)at;
}

/* What stands before and after one another from now on; one of them may be NULL. */
static void join(struct vt_extent *before, struct vt_extent *after)
{
	intptr_t units = ((intptr_t)after - (intptr_t)before) >> UNIT_SHIFT;
	int32_t link = units == (int32_t)units ? (int32_t)units : FAR;

	if (!before || !after)
		link = NONE;
	if (before)
		before->next = link;
	if (after)
		after->prev = (int32_t)(0u - (uint32_t)link); /* FAR remains FAR */
}

static struct vt_extent *walk_to_next(const struct vt_extent *x)
{
	if (x->right)
		return leftmost(x->right);
	struct vt_extent *p = vt_tree_parent(x);
	while (p && x == p->right) {
		x = p;
		p = vt_tree_parent(p);
	}
	return p;
}

static struct vt_extent *walk_to_prev(const struct vt_extent *x)
{
	if (x->left)
		return rightmost(x->left);
	struct vt_extent *p = vt_tree_parent(x);
	while (p && x == p->left) {
		x = p;
		p = vt_tree_parent(p);
	}
	return p;
}

struct vt_extent *vt_extent_next(const struct vt_extent *x)
{
	if (is_near(x->next))
		return linked(x, x->next);
	return x->next == NONE ? NULL : walk_to_next(x);
}

struct vt_extent *vt_extent_prev(const struct vt_extent *x)
{
	if (is_near(x->prev))
		return linked(x, x->prev);
	return x->prev == NONE ? NULL : walk_to_prev(x);
}

/* Where the extent before x ends; 0 if there is none. */
uint64_t vt_end_before(const struct vt_extent *x)
{
	const struct vt_extent *prev = vt_extent_prev(x);
	return prev ? prev->end : 0;
}

uint64_t vt_tree_gap(const struct vt_extent *x)
{
	return x->start - vt_end_before(x);
}

static uint32_t pages_of(uint64_t gap)
{
	return (uint32_t)vt_min(gap >> VT_PAGE_SHIFT, UINT32_MAX);
}

/* The gap before x has become larger: so may be the largest of all subtrees that x is in. */
void vt_tree_gap_grew(struct vt_extent *x)
{
	uint32_t pages = pages_of(vt_tree_gap(x));
	for (; x && x->subtree_gap < pages; x = vt_tree_parent(x))
		x->subtree_gap = pages;
}

bool vt_tree_may_fit(const struct vt_extent *x, uint64_t length)
{
	return x && x->subtree_gap >= pages_of(length);
}

void vt_tree_tighten(struct vt_extent *x)
{
	uint32_t pages = pages_of(vt_tree_gap(x));
	if (x->left && x->left->subtree_gap > pages)
		pages = x->left->subtree_gap;
	if (x->right && x->right->subtree_gap > pages)
		pages = x->right->subtree_gap;
	x->subtree_gap = pages;
}

/* Bring up to date whether an area begins in x's subtree; returns whether that changed. */
static bool pull_starts(struct vt_extent *x)
{
	bool starts = x->boundary != VT_BOUNDARY_MERGED || subtree_starts(x->left) ||
		      subtree_starts(x->right);
	if (starts == subtree_starts(x))
		return false;
	x->parent_color ^= STARTS;
	return true;
}

static void refresh_starts(struct vt_extent *x)
{
	while (x && pull_starts(x))
		x = vt_tree_parent(x);
}

void vt_tree_set_boundary(struct vt_extent *x, enum vt_boundary b)
{
	x->boundary = (uint8_t)b;
	refresh_starts(x);
}

static void replace_child(struct vt_model *m, struct vt_extent *p, struct vt_extent *old,
			  struct vt_extent *new)
{
	*(p ? &p->child[p->right == old] : &m->root) = new;
}

/*
 * Turn the edge between x and its child so that the child stands above; left: x goes left. Here and
 * below child[left] is the one on the other side: which side it is depends on chance, so that it is
 * no branch but an index.
 */
static void rotate(struct vt_model *m, struct vt_extent *x, bool left)
{
	struct vt_extent *p = vt_tree_parent(x);
	struct vt_extent *up = x->child[left], *across = up->child[!left];

	x->child[left] = across;
	up->child[!left] = x;
	if (across)
		set_parent(across, x);
	set_parent(x, up);
	set_parent(up, p);
	replace_child(m, p, x, up);
	/* x's bound still holds below */
	up->subtree_gap = x->subtree_gap;
	up->parent_color = (up->parent_color & ~STARTS) | (x->parent_color & STARTS);
	pull_starts(x);
}

static void insert_fixup(struct vt_model *m, struct vt_extent *x)
{
	struct vt_extent *p;
	while (is_red(p = vt_tree_parent(x))) {
		struct vt_extent *g = vt_tree_parent(p);
		bool on_left = p == g->left;
		struct vt_extent *uncle = g->child[on_left];
		if (is_red(uncle)) {
			set_red(p, false);
			set_red(uncle, false);
			set_red(g, true);
			x = g;
			continue;
		}
		if (x == p->child[on_left]) {
			rotate(m, p, on_left);
			p = x;
		}
		set_red(p, false);
		set_red(g, true);
		rotate(m, g, !on_left);
		break;
	}
	set_red(m->root, false);
}

/* Link x before next; NULL: it comes last. */
void vt_tree_insert(struct vt_model *m, struct vt_extent *next, struct vt_extent *x)
{
	struct vt_extent *prev = next ? vt_extent_prev(next) : vt_model_last(m), *p;

	join(prev, x);
	join(x, next);
	x->left = x->right = NULL;
	bool right = !next;
	if (next)
		right = next->left != NULL;
	p = vt_choose(right, prev, next);
	*(p ? &p->child[right] : &m->root) = x;
	x->parent_color = (uintptr_t)p | RED;
	x->subtree_gap = 0;
	vt_tree_gap_grew(x);
	refresh_starts(x);
	insert_fixup(m, x);
}

/* x (maybe NULL), child of p, stands for a black node too few. */
static void erase_fixup(struct vt_model *m, struct vt_extent *x, struct vt_extent *p)
{
	while (p && !is_red(x)) {
		bool on_left = x == p->left;
		struct vt_extent *s = p->child[on_left];
		if (is_red(s)) {
			set_red(s, false);
			set_red(p, true);
			rotate(m, p, on_left);
			s = p->child[on_left];
		}
		struct vt_extent *near = s->child[!on_left], *far = s->child[on_left];
		if (!is_red(near) && !is_red(far)) {
			set_red(s, true);
			x = p;
			p = vt_tree_parent(p);
			continue;
		}
		if (!is_red(far)) {
			set_red(near, false);
			set_red(s, true);
			rotate(m, s, !on_left);
			s = p->child[on_left];
			far = s->child[on_left];
		}
		set_red(s, is_red(p));
		set_red(p, false);
		set_red(far, false);
		rotate(m, p, on_left);
		return;
	}
	if (x)
		set_red(x, false);
}

/* Take x out. */
void vt_tree_erase(struct vt_model *m, struct vt_extent *x)
{
	struct vt_extent *prev = vt_extent_prev(x), *next = vt_extent_next(x);
	struct vt_extent *child, *p, *s = NULL;
	bool red;

	if (x->left && x->right) {
		/* the successor takes x's place */
		s = next;
		red = is_red(s);
		child = s->right;
		p = vt_tree_parent(s);
		if (p == x) {
			p = s;
		} else {
			p->left = child;
			if (child)
				set_parent(child, p);
			s->right = x->right;
			set_parent(s->right, s);
		}
		s->left = x->left;
		set_parent(s->left, s);
		replace_child(m, vt_tree_parent(x), x, s);
		/* with x's place it takes over what x's subtree kept */
		s->parent_color = x->parent_color;
		s->subtree_gap = x->subtree_gap;
	} else {
		red = is_red(x);
		child = x->child[!x->left];
		p = vt_tree_parent(x);
		replace_child(m, p, x, child);
		if (child)
			set_parent(child, p);
	}
	refresh_starts(p);
	refresh_starts(s);
	join(prev, next);
	if (next)
		vt_tree_gap_grew(next);
	if (!red)
		erase_fixup(m, child, p);
}

/* Most areas are a few extents: so far their ends are looked for step by step. */
#define FEW 4

/* The first extent of the area that x belongs to: the nearest at or before x not merged back. */
struct vt_extent *vt_area_head(struct vt_extent *x)
{
	for (int i = 0; i < FEW && x->boundary == VT_BOUNDARY_MERGED; i++)
		x = vt_extent_prev(x);
	while (x->boundary == VT_BOUNDARY_MERGED) {
		if (!subtree_starts(x->left)) {
			/* nothing on the left below x: up, until x lies to the right of its parent
			 */
			struct vt_extent *p = vt_tree_parent(x);
			while (x == p->left) {
				x = p;
				p = vt_tree_parent(p);
			}
			x = p;
			continue;
		}
		x = x->left;
		for (;;) {
			if (subtree_starts(x->right))
				x = x->right;
			else if (x->boundary != VT_BOUNDARY_MERGED)
				return x;
			else
				x = x->left;
		}
	}
	return x;
}

/* The last extent of the area that x belongs to. */
struct vt_extent *vt_area_tail(struct vt_extent *x)
{
	for (int i = 0; i < FEW; i++) {
		struct vt_extent *next = vt_extent_next(x);
		if (!next || next->boundary != VT_BOUNDARY_MERGED)
			return x;
		x = next;
	}
	for (;;) {
		if (subtree_starts(x->right)) {
			x = x->right;
			for (;;) {
				if (subtree_starts(x->left))
					x = x->left;
				else if (x->boundary != VT_BOUNDARY_MERGED)
					return vt_extent_prev(x);
				else
					x = x->right;
			}
		}
		/* up, until x lies to the left of its parent */
		struct vt_extent *p = vt_tree_parent(x);
		while (p && x == p->right) {
			x = p;
			p = vt_tree_parent(p);
		}
		if (!p)
			return rightmost(x);
		x = p;
		if (x->boundary != VT_BOUNDARY_MERGED)
			return vt_extent_prev(x);
	}
}
