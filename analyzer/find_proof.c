/*
 * find_proof.c - what happens afterwards: the victim's call on its dead range proves the finding,
 * and so does a fatal fault there.
 *
 * Another owner's call is proof at once. Inside one module it must be the victim's own thread, and
 * the range must have been lost to a race or to a placement that went beyond it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <signal.h>

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
		n->overlap |= e->seq <= n->seq + n->span;
		vt_find_add_history(n, e->seq);
		return true;
	}
	return false;
}

/* List a suspicion that has been proved. */
static void list(struct vt_find *f, const struct vt_dead *d, const struct vt_finding *n)
{
	struct vt_finding proven = *n;
	if (vt_find_is_suspicion(d))
		vt_find_add(f, &proven);
}

bool vt_find_prove(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	struct vt_dead d;
	const uint64_t kinds = VT_KIND_BIT(VT_MUNMAP) | VT_KIND_BIT(VT_MPROTECT) |
			       VT_KIND_BIT(VT_MADVISE) | VT_KIND_BIT(VT_MSYNC) |
			       VT_KIND_BIT(VT_MREMAP);
	if (!f->actor || !vt_kind_is_in(kinds, e->kind) || !vt_find_range(e, &lo, &hi) ||
	    !vt_history_may_hold(&f->claims, lo, hi))
		return false;
	for (uint64_t at = lo; at < hi && vt_history_find(&f->claims, at, hi, &d); at = d.hi) {
		struct vt_finding *n = vt_find_claimed(f, &d);
		if (n && prove_by(f, n, &d, e, lo, hi)) {
			list(f, &d, n);
			return true;
		}
	}
	return false;
}

/*
 * Who gave back what another thread had mapped may have meant the mapping before it, which was of
 * the same range and dead already.
 */
static void add_first_of_two(const struct vt_find *f, struct vt_finding *n,
			     const struct vt_dead *last)
{
	struct vt_dead first;
	if (last->birth_tid == last->death_tid ||
	    !vt_history_older(&f->history, last, last->lo, last->hi, &first) ||
	    first.lo != last->lo || first.hi != last->hi || first.owner != last->owner)
		return;
	n->opened = first.death;
	vt_find_add_history(n, first.birth);
	vt_find_add_history(n, first.death);
}

/* The process died in a range whose mapping was given back, by whoever should have known. */
static void find_use_after(struct vt_find *f, const struct vt_event *e, uint64_t page)
{
	struct vt_find_piece p;
	struct vt_dead d;
	bool died = vt_history_find(&f->history, page, page + VT_PAGE_SIZE, &d);
	bool taken = vt_find_piece_at(f, page, page + VT_PAGE_SIZE, &p);
	/* where something new lives, only code that was called there is sure to be meant */
	if (!died || (taken && (!d.exec || (p.flags & VT_VM(EXEC)) || p.birth <= d.death)))
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_STALE_RANGE, page, page + VT_PAGE_SIZE);
	n.severity = VT_SEVERITY_ERROR;
	n.proof = VT_PROOF_FAULT;
	n.proof_seq = e->seq;
	vt_find_add_history(&n, d.birth);
	vt_find_add_history(&n, d.death);
	if (!taken)
		add_first_of_two(f, &n, &d);
	if (taken) {
		struct vt_birth b = vt_find_birth(f, &p);
		vt_find_add_victim(f, &n, &p, &b);
	}
	vt_find_add(f, &n);
}

void vt_find_fault(struct vt_find *f, const struct vt_event *e)
{
	uint64_t page = e->a[0] & ~(VT_PAGE_SIZE - 1);
	bool sent = (int64_t)e->a[2] <= 0; /* by kill, not by an instruction */
	if ((e->a[1] != SIGSEGV && e->a[1] != SIGBUS && e->a[1] != SIGILL) || sent || !page)
		return;
	struct vt_dead d;
	struct vt_finding *n = vt_history_find(&f->claims, page, page + VT_PAGE_SIZE, &d)
				   ? vt_find_claimed(f, &d)
				   : NULL;
	if (!n || is_taken_since(f, n, page, page + VT_PAGE_SIZE)) {
		find_use_after(f, e, page);
		return;
	}
	n->severity = VT_SEVERITY_ERROR;
	n->proof = VT_PROOF_FAULT;
	n->proof_seq = e->seq;
	vt_find_add_history(n, e->seq);
	list(f, &d, n);
}
