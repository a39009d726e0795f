/*
 * tree.c - a red-black tree of extents ordered by address.
 *
 * Owns the links, the colours and what every subtree keeps of its members: the largest gap before
 * any of them (vma_compute_gap, as the kernel's tree did), and whether one of them begins an area.
 * Knows nothing of what a mapping is. Runs inside the traced process: allocates nothing.
 *
 * parent_color holds the parent's address, RED in bit 0, and STARTS in bit 1: some extent of this
 * subtree has a boundary that is not merged.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

#define RED      1UL
#define STARTS   2UL
#define TAG_MASK 7UL

static inline struct vt_extent *parent_of(const struct vt_extent *x)
{
	return (struct vt_extent *)(x->parent_color & ~TAG_MASK);
}

static inline void set_parent(struct vt_extent *x, struct vt_extent *p)
{
	x->parent_color = (uintptr_t)p | (x->parent_color & TAG_MASK);
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

struct vt_extent *vt_extent_next(const struct vt_extent *x)
{
	if (x->right)
		return leftmost(x->right);
	struct vt_extent *p = parent_of(x);
	while (p && x == p->right) {
		x = p;
		p = parent_of(p);
	}
	return p;
}

struct vt_extent *vt_extent_prev(const struct vt_extent *x)
{
	if (x->left)
		return rightmost(x->left);
	struct vt_extent *p = parent_of(x);
	while (p && x == p->left) {
		x = p;
		p = parent_of(p);
	}
	return p;
}

struct vt_extent *vt_model_find(const struct vt_model *m, uint64_t addr)
{
	struct vt_extent *x = m->root, *best = NULL;
	while (x) {
		if (addr < x->end) {
			best = x;
			if (addr >= x->start)
				break;
			x = x->left;
		} else {
			x = x->right;
		}
	}
	return best;
}

/* Where a search that is over goes on: every address lies to its right, which is itself. */
static struct vt_extent nowhere = { .right = &nowhere };

/* c ? a : b without a branch: which way a search turns, a processor would guess wrong. */
static inline struct vt_extent *choose(bool c, struct vt_extent *a, struct vt_extent *b)
{
	uintptr_t mask = -(uintptr_t)c;
	return (struct vt_extent *)(((uintptr_t)a & mask) | ((uintptr_t)b & ~mask));
}

void vt_model_find_many(const struct vt_model *m, const uint64_t *addr, size_t n,
			struct vt_extent **found)
{
	struct vt_extent *at[VT_FIND_MANY], *root = m->root ? m->root : &nowhere;
	uintptr_t on = n;

	for (size_t i = 0; i < n; i++) {
		at[i] = root;
		found[i] = NULL;
	}
	while (on) {
		on = 0;
		for (size_t i = 0; i < n; i++) {
			struct vt_extent *x = at[i], *child;
			bool right = addr[i] >= x->end;
			found[i] = choose(right, found[i], x);
			child = choose(right, x->right, x->left);
			at[i] = choose(child, child, &nowhere);
			on |= (uintptr_t)at[i] ^ (uintptr_t)&nowhere;
		}
	}
}

/*
 * Whether a search for addr ends at x, which may have been released: then it ends nowhere. What is
 * not linked yet must not be met here: an extent is filled only when its place has been found.
 */
static inline bool ends_at(const struct vt_extent *x, uint64_t addr)
{
	return x && addr < x->end && x->gap != UINT32_MAX &&
	       addr >= x->start - ((uint64_t)x->gap << VT_PAGE_SHIFT);
}

/* Where the last search near addr ended: stretches side by side have places of their own. */
static inline struct vt_extent **recent_near(struct vt_model *m, uint64_t addr)
{
	uint64_t stretch = addr >> 16;
	return &m->recent[(stretch ^ stretch >> 10) % VT_MODEL_RECENT];
}

/* x is where a search for addr is likely to end. */
void vt_expect(struct vt_model *m, uint64_t addr, struct vt_extent *x)
{
	*recent_near(m, addr) = x;
}

/* vt_model_find, trying first what is likely. */
struct vt_extent *vt_find(struct vt_model *m, uint64_t addr)
{
	struct vt_extent **recent = recent_near(m, addr);
	if (!ends_at(*recent, addr))
		*recent = ends_at(m->hint, addr) ? m->hint : vt_model_find(m, addr);
	return *recent;
}

uint64_t vt_tree_gap(const struct vt_extent *x)
{
	if (x->gap != UINT32_MAX)
		return (uint64_t)x->gap << VT_PAGE_SHIFT;
	const struct vt_extent *prev = vt_extent_prev(x);
	return x->start - (prev ? prev->end : 0);
}

/* Compute what x's subtree keeps; returns whether it changed. */
static bool pull(struct vt_extent *x)
{
	uint64_t gap = vt_tree_gap(x);
	uintptr_t starts = x->boundary != VT_BOUNDARY_MERGED ? STARTS : 0;
	if (x->left) {
		gap = vt_max(gap, x->left->subtree_gap);
		starts |= x->left->parent_color & STARTS;
	}
	if (x->right) {
		gap = vt_max(gap, x->right->subtree_gap);
		starts |= x->right->parent_color & STARTS;
	}
	if (gap == x->subtree_gap && starts == (x->parent_color & STARTS))
		return false;
	x->subtree_gap = gap;
	x->parent_color = (x->parent_color & ~STARTS) | starts;
	return true;
}

/*
 * Bring x and its ancestors up to date: through top, which has changed, too, and from there on as
 * long as something changes. &nowhere: to the root.
 */
static void refresh_through(struct vt_extent *x, const struct vt_extent *top)
{
	for (; x; x = parent_of(x)) {
		bool changed = pull(x);
		if (x == top)
			top = NULL;
		if (!changed && !top)
			return;
	}
}

/*
 * Set x's own gap; returns whether it is, or was, too large for its field: such a gap is looked up
 * whenever it is needed, so ancestors may have seen it change early.
 */
static bool put_gap(struct vt_extent *x, uint64_t bytes)
{
	bool looked_up = x->gap == UINT32_MAX;
	x->gap = (uint32_t)vt_min(bytes >> VT_PAGE_SHIFT, UINT32_MAX);
	return looked_up || x->gap == UINT32_MAX;
}

void vt_tree_set_gap(struct vt_extent *x, uint64_t bytes)
{
	uint32_t before = x->gap;
	bool far = put_gap(x, bytes);
	if (far || x->gap != before)
		refresh_through(x, far ? &nowhere : NULL);
}

void vt_tree_set_boundary(struct vt_extent *x, enum vt_boundary b)
{
	x->boundary = (uint8_t)b;
	refresh_through(x, NULL);
}

static void replace_child(struct vt_model *m, struct vt_extent *p, struct vt_extent *old,
			  struct vt_extent *new)
{
	if (!p)
		m->root = new;
	else if (p->left == old)
		p->left = new;
	else
		p->right = new;
}

/* Turn the edge between x and its child so that the child stands above; left: x goes left. */
static void rotate(struct vt_model *m, struct vt_extent *x, bool left)
{
	struct vt_extent *p = parent_of(x);
	struct vt_extent *up = left ? x->right : x->left;
	struct vt_extent *across = left ? up->left : up->right;

	if (left) {
		x->right = across;
		up->left = x;
	} else {
		x->left = across;
		up->right = x;
	}
	if (across)
		set_parent(across, x);
	set_parent(x, up);
	set_parent(up, p);
	replace_child(m, p, x, up);
	pull(x);
	pull(up);
}

static void insert_fixup(struct vt_model *m, struct vt_extent *x)
{
	struct vt_extent *p;
	while (is_red(p = parent_of(x))) {
		struct vt_extent *g = parent_of(p);
		bool on_left = p == g->left;
		struct vt_extent *uncle = on_left ? g->right : g->left;
		if (is_red(uncle)) {
			set_red(p, false);
			set_red(uncle, false);
			set_red(g, true);
			x = g;
			continue;
		}
		if (x == (on_left ? p->right : p->left)) {
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

/*
 * Link x before next, which may be NULL: then it comes last. prev_end: where the extent before it
 * ends, 0 if there is none.
 */
void vt_tree_insert(struct vt_model *m, uint64_t prev_end, struct vt_extent *next,
		    struct vt_extent *x)
{
	struct vt_extent *p = next;
	x->left = x->right = NULL;
	x->subtree_gap = x->gap = 0;
	bool far = put_gap(x, x->start - prev_end);
	if (next)
		far |= put_gap(next, next->start - x->end);
	if (next && !next->left) {
		next->left = x;
	} else if (m->root) {
		p = rightmost(next ? next->left : m->root);
		p->right = x;
	} else {
		m->root = x;
	}
	x->parent_color = (uintptr_t)p | RED;
	/* next is an ancestor: one way up for both gaps */
	refresh_through(x, far ? &nowhere : next);
	insert_fixup(m, x);
}

/* x (maybe NULL), child of p, stands for a black node too few. */
static void erase_fixup(struct vt_model *m, struct vt_extent *x, struct vt_extent *p)
{
	while (p && !is_red(x)) {
		bool on_left = x == p->left;
		struct vt_extent *s = on_left ? p->right : p->left;
		if (is_red(s)) {
			set_red(s, false);
			set_red(p, true);
			rotate(m, p, on_left);
			s = on_left ? p->right : p->left;
		}
		struct vt_extent *near = on_left ? s->left : s->right;
		struct vt_extent *far = on_left ? s->right : s->left;
		if (!is_red(near) && !is_red(far)) {
			set_red(s, true);
			x = p;
			p = parent_of(p);
			continue;
		}
		if (!is_red(far)) {
			set_red(near, false);
			set_red(s, true);
			rotate(m, s, !on_left);
			s = on_left ? p->right : p->left;
			far = on_left ? s->right : s->left;
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

/* Take x out, which stands before next (NULL: last) and after an extent that ends at prev_end. */
void vt_tree_erase(struct vt_model *m, uint64_t prev_end, struct vt_extent *next,
		   struct vt_extent *x)
{
	struct vt_extent *child, *p;
	bool far = next && put_gap(next, next->start - prev_end), red;

	if (x->left && x->right) {
		/* the successor takes x's place */
		struct vt_extent *s = next;
		red = is_red(s);
		child = s->right;
		p = parent_of(s);
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
		replace_child(m, parent_of(x), x, s);
		/* with x's place it takes over what x's subtree kept, to be brought up to date
		 * below */
		s->parent_color = x->parent_color;
		s->subtree_gap = x->subtree_gap;
	} else {
		red = is_red(x);
		child = x->left ? x->left : x->right;
		p = parent_of(x);
		replace_child(m, p, x, child);
		if (child)
			set_parent(child, p);
	}
	/* an only child has none itself: to the right of x, it is next; else an ancestor is */
	if (child && child == next) {
		pull(child);
		next = NULL;
	}
	refresh_through(p, far ? &nowhere : next);
	if (!red)
		erase_fixup(m, child, p);
}

/* The first extent of the area that x belongs to: the nearest at or before x not merged back. */
struct vt_extent *vt_area_head(struct vt_extent *x)
{
	while (x->boundary == VT_BOUNDARY_MERGED) {
		if (!subtree_starts(x->left)) {
			/* nothing on the left below x: up, until x lies to the right of its parent
			 */
			struct vt_extent *p = parent_of(x);
			while (x == p->left) {
				x = p;
				p = parent_of(p);
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
		struct vt_extent *p = parent_of(x);
		while (p && x == p->right) {
			x = p;
			p = parent_of(p);
		}
		if (!p)
			return rightmost(x);
		x = p;
		if (x->boundary != VT_BOUNDARY_MERGED)
			return vt_extent_prev(x);
	}
}
