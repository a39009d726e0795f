/*
 * find_proof.c - what the victim does afterwards: a call on its dead range proves the finding.
 *
 * Another owner's call is proof at once. Inside one module it must be the victim's own thread, and
 * the range must have been lost to a race or to a placement that went beyond it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find.h"

/* Whether the call came from the one who had the victim and does not know of its death. */
static bool is_victims(const struct vt_find *f, const struct vt_finding *n,
		       const struct vt_find_victim *v, const struct vt_event *e, uint64_t lo,
		       uint64_t hi)
{
	if (v->birth.owner != n->owner)
		return f->actor == v->birth.owner;
	if (f->actor != n->owner)
		return false;
	if (n->race)
		return v->birth.tid == e->tid && n->tid != e->tid;
	bool inside = n->addr >= v->birth.lo && n->addr + n->length <= v->birth.hi;
	return !inside && lo == v->birth.lo && hi == v->birth.hi;
}

/* Whether something in [lo, hi) is newer than the finding: the caller may mean that. */
static bool is_taken_since(const struct vt_find *f, const struct vt_finding *n, uint64_t lo,
			   uint64_t hi)
{
	for (size_t i = 0; i < f->n_pieces; i++)
		if (f->pieces[i].birth > n->seq && f->pieces[i].lo < hi && f->pieces[i].hi > lo)
			return true;
	const struct vt_extent *x = vt_model_find(&f->replay->model, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		if (x->birth > n->seq)
			return true;
	return false;
}

static bool prove_by(struct vt_find *f, struct vt_finding *n, const struct vt_dead *d,
		     const struct vt_event *e, uint64_t lo, uint64_t hi)
{
	uint64_t from = d->lo > lo ? d->lo : lo, to = d->hi < hi ? d->hi : hi;
	if (n->proof_seq || is_taken_since(f, n, from, to))
		return false;
	for (size_t i = 0; i < n->n_victims && i < VT_FIND_VICTIMS; i++) {
		const struct vt_find_victim *v = &n->victims[i];
		if (v->lo >= to || v->hi <= from || !is_victims(f, n, v, e, lo, hi))
			continue;
		n->severity = VT_SEVERITY_ERROR;
		n->proof = VT_PROOF_VICTIM;
		n->proof_seq = e->seq;
		vt_find_add_history(n, e->seq);
		return true;
	}
	return false;
}

bool vt_find_prove(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if ((!f->n && !f->n_suspicions) || !f->actor || !vt_find_range(e, &lo, &hi) ||
	    (e->kind != VT_MUNMAP && e->kind != VT_MPROTECT && e->kind != VT_MADVISE &&
	     e->kind != VT_MSYNC && e->kind != VT_MREMAP))
		return false;
	const struct vt_dead *d = vt_history_find(&f->claims, lo, hi);
	while (d) {
		struct vt_finding *n = vt_find_claimed(f, d);
		if (n && prove_by(f, n, d, e, lo, hi)) {
			if (vt_find_is_suspicion(d)) {
				struct vt_finding proven = *n;
				vt_find_add(f, &proven);
			}
			return true;
		}
		uint64_t next = d->hi;
		d = next < hi ? vt_history_find(&f->claims, next, hi) : NULL;
	}
	return false;
}
