/*
 * find_unmap.c - foreign-unmap and double-unmap: an unmap that reached what was not its own.
 *
 * A block allocated in one thread and freed in another looks like a second unmap that killed a
 * stranger, and so does a mapping that one module makes for another: both are suspicions only,
 * until the victim's owner acts on the range.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find.h"

/* Whether the caller had a mapping of [lo, hi) that is dead. */
static const struct vt_dead *lost_before(const struct vt_find *f, uint64_t lo, uint64_t hi)
{
	const struct vt_dead *d = vt_history_find(&f->history, lo, hi);
	if (!d || d->lo > lo || d->hi < hi)
		return NULL;
	return d->owner == f->actor || d->killer == f->actor ? d : NULL;
}

/* The unmap found nothing at all. */
static void find_nothing_there(struct vt_find *f, const struct vt_event *e, uint64_t lo,
			       uint64_t hi)
{
	const struct vt_dead *d = lost_before(f, lo, hi);
	if (!d || d->killer != f->actor)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_DOUBLE_UNMAP, lo, hi);
	bool same = d->lo == lo && d->hi == hi;
	n.severity = same ? VT_SEVERITY_ERROR : VT_SEVERITY_WARNING;
	n.proof = same ? VT_PROOF_TWICE : VT_PROOF_NONE;
	vt_find_add_history(&n, d->birth);
	vt_find_add_history(&n, d->death);
	vt_find_add(f, &n);
}

/* A piece of the caller's own module: somebody else's new mapping in place of its own dead one? */
static enum vt_severity judge_own(const struct vt_event *e, const struct vt_birth *b,
				  const struct vt_dead *d, uint64_t lo, uint64_t hi)
{
	bool had_it = d && d->lo == lo && d->hi == hi && b->seq > d->death &&
		      (d->birth_tid == e->tid || d->death_tid == e->tid);
	return had_it && b->tid != e->tid ? VT_SEVERITY_SUSPICION : VT_SEVERITY_INFO;
}

/* A piece of another owner. */
static enum vt_severity judge_foreign(const struct vt_find *f, const struct vt_birth *b,
				      uint64_t lo, uint64_t hi)
{
	if (b->owner == VT_OWNER_RUNTIME || b->owner == VT_OWNER_KERNEL)
		return VT_SEVERITY_ERROR;
	/* handed over as a whole: two modules may have agreed on that */
	return f->actor == VT_OWNER_RUNTIME || (b->lo == lo && b->hi == hi) ? VT_SEVERITY_SUSPICION
									    : VT_SEVERITY_ERROR;
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
	const struct vt_dead *d = lost_before(f, lo, hi);
	struct vt_finding n =
	    vt_find_begin(f, e, d ? VT_FIND_DOUBLE_UNMAP : VT_FIND_FOREIGN_UNMAP, lo, hi);
	for (size_t i = 0; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		struct vt_birth b = vt_find_birth(f, p);
		if (!b.owner)
			continue;
		enum vt_severity severity = VT_SEVERITY_INFO;
		if (b.owner == f->actor || b.root_owner == f->actor)
			severity = judge_own(e, &b, d, lo, hi);
		else if (!vt_find_own_text(f, p))
			severity = judge_foreign(f, &b, lo, hi);
		if (severity == VT_SEVERITY_INFO)
			continue;
		n.severity = severity > n.severity ? severity : n.severity;
		n.proof = n.severity == VT_SEVERITY_ERROR ? VT_PROOF_OWNER : VT_PROOF_NONE;
		n.race |= d && b.seq > d->death;
		vt_find_add_victim(f, &n, p, &b);
	}
	if (!n.n_victims)
		return 0;
	if (d) {
		vt_find_add_history(&n, d->birth);
		vt_find_add_history(&n, d->death);
	}
	return vt_find_add(f, &n);
}
