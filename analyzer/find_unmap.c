/*
 * find_unmap.c - foreign-unmap and double-unmap: an unmap that reached what was not its own.
 *
 * A block allocated in one thread and freed in another looks like a second unmap that killed a
 * stranger, and so does a mapping that one module makes for another: both are suspicions only,
 * until the victim's owner acts on the range; and so is the trimming of a mapping by the module
 * that had it made.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find.h"

#include <vmtrail/idiom.h>

/* How many deaths back a caller's own mapping of a range is looked for. */
#define LOOK_BACK 8

/* The mapping of [lo, hi) that the caller had and that is dead: its own thread's, if there is one.
 */
static bool lost_before(struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi,
			struct vt_dead *lost)
{
	struct vt_dead d;
	bool any = false, more = vt_history_find(&f->history, lo, hi, &d);
	for (int i = 0; i < LOOK_BACK && more;
	     i++, more = vt_history_older(&f->history, &d, lo, hi, &d)) {
		bool own = d.owner == f->actor || d.killer == f->actor;
		bool same_thread = d.birth_tid == e->tid || d.death_tid == e->tid;
		if (!own || d.lo > lo || d.hi < hi || (any && !same_thread))
			continue;
		*lost = d;
		any = true;
		if (same_thread)
			break;
	}
	return any;
}

/* The unmap found nothing at all. */
static void find_nothing_there(struct vt_find *f, const struct vt_event *e, uint64_t lo,
			       uint64_t hi)
{
	struct vt_dead d;
	if (!lost_before(f, e, lo, hi, &d) || d.killer != f->actor)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_DOUBLE_UNMAP, lo, hi);
	bool same = d.lo == lo && d.hi == hi;
	n.severity = same ? VT_SEVERITY_ERROR : VT_SEVERITY_WARNING;
	n.proof = same ? VT_PROOF_TWICE : VT_PROOF_NONE;
	n.opened = d.death;
	vt_find_add_history(&n, d.birth);
	vt_find_add_history(&n, d.death);
	vt_find_add(f, &n);
}

/* Whether the caller's thread had a mapping of just that range, which died before birth. */
static bool had_just_this(const struct vt_find *f, const struct vt_event *e, uint64_t birth,
			  uint64_t lo, uint64_t hi, struct vt_dead *lost)
{
	struct vt_dead d;
	if (!vt_history_same(&f->history, lo, hi, e->tid, &d) || d.death >= birth ||
	    (d.owner != f->actor && d.killer != f->actor))
		return false;
	*lost = d;
	return true;
}

/*
 * Whether the module that had b made may unmap [lo, hi) of it: all that is left, or an end that is
 * trimmed for alignment.
 */
static bool may_cut(const struct vt_find *f, const struct vt_birth *b, uint64_t lo, uint64_t hi)
{
	const struct vt_model *m = &f->replay->model;
	uint64_t start = hi, below = 0, above = 0;
	const struct vt_extent *x = vt_model_find(m, lo - 1);
	for (; x && x->start < lo && x->birth == b->seq; x = vt_extent_prev(x)) {
		below += x->end - x->start;
		start = x->start;
	}
	for (x = vt_model_find(m, hi); x && x->birth == b->seq; x = vt_extent_next(x))
		above += x->end - x->start;
	return !(below && above) &&
	       (below + above == 0 || vt_is_alignment_trim(start, b->hi - b->lo - below - above));
}

/* A piece of another owner. */
static enum vt_severity judge_foreign(const struct vt_find *f, const struct vt_birth *b,
				      uint64_t lo, uint64_t hi)
{
	if (b->owner == VT_OWNER_RUNTIME || b->owner == VT_OWNER_KERNEL)
		return VT_SEVERITY_ERROR;
	/* handed over as a whole: two modules may have agreed on that */
	if (f->actor == VT_OWNER_RUNTIME || (b->lo == lo && b->hi == hi))
		return VT_SEVERITY_SUSPICION;
	bool asked = b->asker == f->actor && lo >= b->lo && hi <= b->hi;
	return asked && may_cut(f, b, lo, hi) ? VT_SEVERITY_SUSPICION : VT_SEVERITY_ERROR;
}

/* What the caller had there itself, and who gave back the part where the victim lay. */
static void find_own_part(struct vt_find *f, struct vt_finding *n)
{
	const struct vt_find_victim *v = &n->victims[0];
	for (size_t i = 0; i < f->n_pieces && !n->mine; i++) {
		struct vt_birth b = vt_find_birth(f, &f->pieces[i]);
		if (b.owner != f->actor || b.lo != n->addr || !b.seq)
			continue;
		n->mine = b.seq;
		n->mine_length = b.hi - b.lo;
		vt_find_add_history(n, b.seq);
	}
	struct vt_dead d;
	if (!vt_history_find(&f->history, v->lo, v->hi, &d) || d.killer != f->actor ||
	    d.death >= v->birth.seq)
		return;
	n->opened = d.death;
	vt_find_add_history(n, d.death);
}

/* Whether a piece was the unmapping thread's own, or nobody's: the everyday case. */
static bool is_everyday(const struct vt_find *f, const struct vt_event *e,
			const struct vt_find_piece *p, const struct vt_holder *b)
{
	bool own = b->owner == f->actor || b->root_owner == f->actor;
	return !b->owner || (own && b->tid == e->tid) || vt_find_own_text(f, p);
}

/* Whether another thread of the same owner gives it back, as blocks go from hand to hand. */
static bool is_handover(const struct vt_find *f, const struct vt_event *e,
			const struct vt_holder *b, uint64_t lo, uint64_t hi)
{
	struct vt_dead d;
	return (b->owner == f->actor || b->root_owner == f->actor) &&
	       !had_just_this(f, e, b->seq, lo, hi, &d);
}

/* Judge the pieces from one on; those before are everyday, or handed over. */
static uint32_t find_from(struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi,
			  size_t from)
{
	struct vt_finding n = { 0 };
	struct vt_dead d;
	bool asked = false, lost = false;
	for (size_t i = from; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		struct vt_holder holder = vt_find_holder(f, p);
		if (is_everyday(f, e, p, &holder))
			continue;
		struct vt_birth b = vt_find_birth(f, p);
		bool own = b.owner == f->actor || b.root_owner == f->actor;
		enum vt_severity severity = VT_SEVERITY_SUSPICION;
		if (own && !had_just_this(f, e, b.seq, lo, hi, &d)) {
			f->handovers++;
			continue;
		}
		lost |= own;
		if (!own)
			severity = judge_foreign(f, &b, lo, hi);
		if (!own && !asked && !lost)
			lost = lost_before(f, e, lo, hi, &d);
		asked = true;
		if (!n.seq)
			n = vt_find_begin(f, e, VT_FIND_FOREIGN_UNMAP, lo, hi);
		n.severity = severity > n.severity ? severity : n.severity;
		n.proof = n.severity == VT_SEVERITY_ERROR ? VT_PROOF_OWNER : VT_PROOF_NONE;
		n.race |= lost && b.seq > d.death;
		vt_find_add_victim(f, &n, p, &b);
	}
	if (!n.n_victims)
		return 0;
	if (lost) {
		n.kind = VT_FIND_DOUBLE_UNMAP;
		n.opened = d.death;
		vt_find_add_history(&n, d.birth);
		vt_find_add_history(&n, d.death);
	}
	if (!lost)
		find_own_part(f, &n);
	n.hint = f->hint_seq;
	vt_find_add_history(&n, n.hint);
	return vt_find_add(f, &n);
}

uint32_t vt_find_unmap(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if (e->kind != VT_MUNMAP || vt_is_error(e->ret) || !f->actor || !vt_find_range(e, &lo, &hi))
		return 0;
	if (!f->n_pieces) {
		find_nothing_there(f, e, lo, hi);
		return 0;
	}
	/* nobody needs to know what died here before, then */
	for (size_t i = 0; i < f->n_pieces; i++) {
		struct vt_holder b = vt_find_holder(f, &f->pieces[i]);
		if (is_everyday(f, e, &f->pieces[i], &b))
			continue;
		if (!is_handover(f, e, &b, lo, hi))
			return find_from(f, e, lo, hi, i);
		f->handovers++;
	}
	return 0;
}
