/*
 * merge.c - whether the kernel would hold two neighbours as one area.
 *
 * Owns the conditions of vma_merge: is_mergeable_vma, can_vma_merge_before, can_vma_merge_after,
 * and what joining two areas does to their anon_vma label. Who may merge with whom at which call
 * is edit.c's business. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/* Flags that /proc/PID/maps does not show. */
#define HIDDEN_FLAGS                                                                               \
	(~(uint32_t)(VT_VM_ACCESS | VT_VM(SHARED) | VT_VM(MAYSHARE) | VT_VM(GROWSDOWN)))

/* The flags that a set of VT_ID_UNSURE bits leaves open. */
static uint32_t open_flags(uint32_t unsure)
{
	return (unsure & VT_ID_HIDDEN_FLAGS ? HIDDEN_FLAGS : 0) |
	       (unsure & VT_ID_ACCOUNT ? VT_VM(ACCOUNT) : 0) |
	       (unsure & VT_ID_LOCKED ? VT_VM_LOCKED_MASK : 0);
}

uint32_t vt_extent_unsure_flags(const struct vt_extent *x)
{
	return open_flags(x->identity);
}

bool vt_extent_unsure_offset(const struct vt_extent *x)
{
	return x->identity & (VT_ID_PGOFF | VT_ID_PGOFF_ANY);
}

/* x's edge of its area as one side of a question; x must be the area's first or last extent. */
struct vt_side vt_side_of(const struct vt_model *m, struct vt_extent *x)
{
	return (struct vt_side){ x, x->anon, vt_anon_touchable(m, x) };
}

/* can_merge_remove_vma: an area with a close operation is never merged away. */
bool vt_can_remove(const struct vt_model *m, const struct vt_extent *x)
{
	return !x->file || vt_file_kind(m, x->file) != VT_FILE_SYSV;
}

static bool offset_can_be(const struct vt_extent *x, uint64_t pgoff)
{
	return x->pgoff == pgoff || x->identity & VT_ID_PGOFF_ANY ||
	       (x->identity & VT_ID_PGOFF && x->start >> VT_PAGE_SHIFT == pgoff);
}

/* Whether r's offset can be where l's ends. */
static bool offsets_meet(const struct vt_extent *l, const struct vt_extent *r, bool agree)
{
	uint64_t pages = vt_extent_pages(l);
	if (agree)
		return l->pgoff + pages == r->pgoff;
	if (l->identity & VT_ID_PGOFF_ANY || offset_can_be(r, l->pgoff + pages))
		return true;
	return l->identity & VT_ID_PGOFF && offset_can_be(r, (l->start >> VT_PAGE_SHIFT) + pages);
}

/*
 * A snapshot tells a file by its inode: each opening of it may have an id of its own. So may an
 * object whose inode was met before the call that made it.
 */
static bool may_be_one_file(const struct vt_model *m, const struct vt_extent *l,
			    const struct vt_extent *r)
{
	if (!l->file || !r->file || vt_file_kind(m, l->file) != vt_file_kind(m, r->file))
		return false;
	return vt_file_kind(m, l->file) == VT_FILE_REGULAR ||
	       (l->identity | r->identity) & VT_ID_HIDDEN_FLAGS;
}

/* The flags of both sides differ, and nothing leaves that open. */
static enum vt_apart flags_apart(uint32_t differ)
{
	if (!(differ & ~VT_VM_UFFD))
		return VT_APART_USERFAULTFD;
	return differ == VT_VM(SEALED) ? VT_APART_SEALED : VT_APART_FLAGS;
}

/* is_mergeable_vma and the offsets: everything but the anon_vma. */
static enum vt_apart area_apart(const struct vt_model *m, const struct vt_extent *l,
				const struct vt_extent *r)
{
	if ((l->flags | r->flags) & VT_VM_SPECIAL)
		return VT_APART_SPECIAL;
	if (l->policy != r->policy)
		return VT_APART_POLICY;
	bool agree = l->file == r->file && l->identity == r->identity && (l->identity || !l->file);
	uint32_t unsure = agree ? 0 : (l->identity | r->identity) & VT_ID_UNSURE;
	uint32_t differ = (l->flags ^ r->flags) & ~open_flags(unsure);
	if (differ)
		return flags_apart(differ);
	bool unknown =
	    l->uffd != r->uffd && (l->uffd == VT_UFFD_UNKNOWN || r->uffd == VT_UFFD_UNKNOWN);
	if (l->uffd != r->uffd && !unknown && !(unsure & VT_ID_HIDDEN_FLAGS))
		return VT_APART_USERFAULTFD;
	if (l->pkey != r->pkey)
		return VT_APART_PKEY;
	bool known = l->file && l->identity & r->identity & VT_ID_KNOWN_FILE;
	if (known && (l->identity ^ r->identity) & VT_ID_NUMBER_MAX)
		return VT_APART_FILE;
	if (l->file != r->file && (known || !may_be_one_file(m, l, r)))
		return VT_APART_FILE;
	if (l->name != r->name)
		return VT_APART_NAME;
	if (!offsets_meet(l, r, agree))
		return VT_APART_OFFSET;

	/* a driver may have set flags of its own; another opening of a file is another file */
	bool driver = l->file && vt_file_kind(m, l->file) == VT_FILE_DEVICE;
	if (unsure || unknown || driver)
		return VT_APART_HIDDEN;
	return l->file && !agree ? VT_APART_FILE_UNSURE : VT_APART_NOT;
}

static enum vt_boundary boundary_of(enum vt_apart apart)
{
	return apart == VT_APART_NOT     ? VT_BOUNDARY_MERGED
	       : apart < VT_APART_HIDDEN ? VT_BOUNDARY_SPLIT
					 : VT_BOUNDARY_UNDETERMINED;
}

static enum vt_boundary weaker(enum vt_boundary a, enum vt_boundary b)
{
	if (a == VT_BOUNDARY_SPLIT || b == VT_BOUNDARY_SPLIT)
		return VT_BOUNDARY_SPLIT;
	return a == VT_BOUNDARY_UNDETERMINED ? a : b;
}

/*
 * Whether l's and r's areas, which touch, can be one (can_vma_merge_before, can_vma_merge_after).
 * The one that is new or changing is given as it will be, with label and touchable as they were.
 */
enum vt_boundary vt_can_merge(const struct vt_model *m, struct vt_side l, struct vt_side r)
{
	enum vt_boundary b = boundary_of(area_apart(m, l.x, r.x));
	if (b == VT_BOUNDARY_SPLIT)
		return b;
	return weaker(b, vt_anon_compatible(m, l.anon, l.touchable, r.anon, r.touchable));
}

/*
 * can_vma_merge_right: left and right of a middle piece can each join it as lb and rb say; what
 * becomes of the right boundary when they must also agree with each other.
 */
enum vt_boundary vt_merge_right(const struct vt_model *m, struct vt_side prev, enum vt_boundary lb,
				struct vt_side next, enum vt_boundary rb)
{
	if (lb == VT_BOUNDARY_SPLIT || rb == VT_BOUNDARY_SPLIT)
		return rb;
	if (!vt_can_remove(m, next.x))
		return lb == VT_BOUNDARY_MERGED ? VT_BOUNDARY_SPLIT : VT_BOUNDARY_UNDETERMINED;
	return weaker(rb,
		      vt_anon_compatible(m, prev.anon, prev.touchable, next.anon, next.touchable));
}

/* The reason of vt_can_merge's answer. */
static enum vt_apart sides_apart(const struct vt_model *m, struct vt_side l, struct vt_side r)
{
	enum vt_apart apart = area_apart(m, l.x, r.x);
	if (boundary_of(apart) == VT_BOUNDARY_SPLIT)
		return apart;
	switch (vt_anon_compatible(m, l.anon, l.touchable, r.anon, r.touchable)) {
	case VT_BOUNDARY_SPLIT:
		return VT_APART_ANON_VMA;
	case VT_BOUNDARY_UNDETERMINED:
		return apart == VT_APART_NOT ? VT_APART_ANON_VMA_UNSURE : apart;
	default:
		return apart;
	}
}

enum vt_apart vt_why_apart(const struct vt_model *m, struct vt_extent *l, struct vt_extent *r)
{
	enum vt_apart apart = sides_apart(m, vt_side_of(m, l), vt_side_of(m, r));
	return apart == VT_APART_NOT && !vt_can_remove(m, r) ? VT_APART_CLOSE : apart;
}

/* The reason of an answer that was not the two sides' alone: can_vma_merge_right, a close
 * operation. */
static uint8_t told_apart(const struct vt_model *m, struct vt_side l, struct vt_side r,
			  const struct vt_extent *removed, enum vt_boundary b)
{
	if (b == VT_BOUNDARY_MERGED)
		return VT_APART_NOT;
	enum vt_apart apart = sides_apart(m, l, r);
	if (apart != VT_APART_NOT)
		return (uint8_t)apart;
	if (!vt_can_remove(m, removed))
		return VT_APART_CLOSE;
	return b == VT_BOUNDARY_SPLIT ? VT_APART_ANON_VMA : VT_APART_ANON_VMA_UNSURE;
}

/* The number of vma_merge's case. */
static uint8_t case_number(enum vt_piece_place place, bool left, bool right)
{
	static const uint8_t numbers[][2][2] = {
		[VT_PLACE_NEW] = { { 0, 3 }, { 2, 1 } },
		[VT_PLACE_WHOLE] = { { 0, 8 }, { 7, 6 } },
		[VT_PLACE_BEGINNING] = { { 0, 0 }, { 5, 5 } },
		[VT_PLACE_END] = { { 0, 4 }, { 0, 4 } },
		[VT_PLACE_MIDDLE] = { { 0, 0 }, { 0, 0 } },
	};
	return numbers[place][left][right];
}

/* Tell who wants to know what [l, r] between prev and next met; see struct vt_merge. */
void vt_tell_merge(struct vt_apply *a, enum vt_piece_place place, struct vt_extent *prev,
		   struct vt_side l, struct vt_side r, struct vt_extent *next, struct vt_verdict v)
{
	const struct vt_model *m = a->m;
	struct vt_merge q = { .ev = a->ev,
			      .first = l.x,
			      .last = r.x,
			      .prev = prev,
			      .next = next,
			      .left = (uint8_t)v.left,
			      .right = (uint8_t)v.right };
	if (prev)
		q.left_apart = told_apart(m, vt_side_of(m, prev), l, l.x, v.left);
	if (next)
		q.right_apart = told_apart(m, r, vt_side_of(m, next), next, v.right);
	q.number = case_number(place, v.left == VT_BOUNDARY_MERGED, v.right == VT_BOUNDARY_MERGED);
	m->merge(m->merge_ctx, &q);
}

static uint32_t joined_label(struct vt_model *m, uint32_t l, uint32_t r)
{
	if (!l || !r || l == r)
		return l | r;
	if (l & VT_ANON_TOUCHED)
		return l;
	if (r & VT_ANON_TOUCHED)
		return r;
	return vt_anon_new_label(m) | ((l | r) & VT_ANON_FORKED);
}

/* The two may be one area: neither can keep what was known of it alone. */
static void doubt(struct vt_model *m, struct vt_extent *x, uint32_t forked)
{
	if (!(vt_anon_of_area(x) & VT_ANON_TOUCHED))
		vt_anon_set_area(x, vt_anon_new_label(m) | forked);
}

/* What two areas that proved to be one have in common. */
struct common {
	uint32_t flags, identity;
	bool offsets;   /* pgoff is to be set */
	uint64_t pgoff; /* less the page number of the address */
	uint8_t uffd;
};

static uint64_t offset_base(const struct vt_extent *x)
{
	return x->pgoff - (x->start >> VT_PAGE_SHIFT);
}

/* Where only one side is sure, it is right. */
static struct common in_common(struct vt_model *m, const struct vt_extent *l,
			       const struct vt_extent *r)
{
	uint32_t lu = l->identity & VT_ID_UNSURE, ru = r->identity & VT_ID_UNSURE;
	uint32_t open_l = open_flags(lu), both = open_l & open_flags(ru);
	struct common c = { .flags = (l->flags & ~open_l) | (r->flags & open_l & ~both) |
				     (l->flags & both) };
	uint32_t unsure = lu & ru & VT_ID_HIDDEN_FLAGS;
	unsure |= both & VT_VM(ACCOUNT) ? VT_ID_ACCOUNT : 0;
	unsure |= both & VT_VM(LOCKED) ? VT_ID_LOCKED : 0;
	const uint32_t offset = VT_ID_PGOFF | VT_ID_PGOFF_ANY;
	c.offsets = (lu | ru) & offset;
	c.uffd = !(c.flags & VT_VM_UFFD) ? 0 : l->uffd == VT_UFFD_UNKNOWN ? r->uffd : l->uffd;
	c.pgoff = offset_base(lu & offset ? r : l);
	if (lu & offset && ru & offset)
		unsure |= offset;
	if (l->identity & VT_ID_KNOWN_FILE && !unsure)
		c.identity = l->identity & ~VT_ID_UNSURE;
	else if (r->identity & VT_ID_KNOWN_FILE && !unsure)
		c.identity = r->identity & ~VT_ID_UNSURE;
	else if (l->file || unsure)
		c.identity = unsure | vt_identity_new(m);
	return c;
}

static void apply_common(struct vt_model *m, struct vt_extent *head, struct vt_extent *tail,
			 const struct common *c)
{
	for (struct vt_extent *x = head;; x = vt_extent_next(x)) {
		vt_uncharge(m, x, vt_extent_pages(x));
		x->flags = c->flags;
		x->uffd = c->uffd & 127;
		x->identity = c->identity;
		vt_charge(m, x, vt_extent_pages(x));
		if (c->offsets)
			x->pgoff = c->pgoff + (x->start >> VT_PAGE_SHIFT);
		if (x == tail)
			return;
	}
}

/* l's and r's areas proved to be one: each learns what the other is sure of. */
static void reconcile(struct vt_model *m, struct vt_extent *l, struct vt_extent *r)
{
	if (l->identity == r->identity && l->flags == r->flags && l->uffd == r->uffd)
		return;
	struct common c = in_common(m, l, r);
	apply_common(m, vt_area_head(l), l, &c);
	apply_common(m, r, vt_area_tail(r), &c);
}

/* Set the boundary between x and the extent it touches before it, and join their labels. */
void vt_join(struct vt_apply *a, struct vt_extent *x, enum vt_boundary b)
{
	struct vt_model *m = a->m;
	if (b == VT_BOUNDARY_SPLIT || x->boundary == VT_BOUNDARY_MERGED) {
		vt_set_boundary(m, x, b);
		return;
	}
	struct vt_extent *prev = vt_extent_prev(x);
	uint32_t l = prev->anon, r = x->anon;
	if (b == VT_BOUNDARY_MERGED)
		reconcile(m, prev, x);
	vt_set_boundary(m, x, b);
	if (b == VT_BOUNDARY_UNDETERMINED) {
		if (l | r) {
			doubt(m, prev, (l | r) & VT_ANON_FORKED);
			doubt(m, x, (l | r) & VT_ANON_FORKED);
		}
		return;
	}
	a->fx->merges++;
	uint32_t label = joined_label(m, l, r);
	if (label != l)
		vt_area_head(prev)->anon = label;
	if (label != r)
		vt_area_tail(x)->anon = label;
}
