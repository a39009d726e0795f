/*
 * find_change.c - stale-range and hint-moved: calls on an address that is not what its caller
 * thinks it is.
 *
 * Memory that malloc or pthread_create gave out may be advised and protected by whoever it was
 * given to; but nobody is given the first page of such a mapping.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "find.h"

static bool is_change(uint8_t kind)
{
	return kind == VT_MPROTECT || kind == VT_PKEY_MPROTECT || kind == VT_MADVISE ||
	       kind == VT_MSYNC || kind == VT_MREMAP;
}

/* What lives at addr; false: nothing. */
static bool piece_at(const struct vt_find *f, uint64_t lo, uint64_t hi, struct vt_find_piece *p)
{
	const struct vt_extent *x = vt_model_find(&f->replay->model, lo);
	if (!x || x->start >= hi || x->own)
		return false;
	*p = (struct vt_find_piece){ .lo = x->start > lo ? x->start : lo,
				     .hi = x->end < hi ? x->end : hi,
				     .birth = x->birth,
				     .flags = x->flags,
				     .file = x->file,
				     .fate = VT_PIECE_CHANGED,
				     .special = x->special };
	return true;
}

/* The part of [lo, hi) that the call touched and that lives, or lived until the call moved it. */
static bool touched(const struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi,
		    struct vt_find_piece *p)
{
	for (size_t i = 0; i < f->n_pieces; i++)
		if (f->pieces[i].fate != VT_PIECE_BORN && f->pieces[i].lo < hi &&
		    f->pieces[i].hi > lo) {
			*p = f->pieces[i];
			return true;
		}
	return e->kind != VT_MREMAP && piece_at(f, lo, hi, p);
}

/* Whether the call changes what the owner finds there. */
static bool is_harmful(const struct vt_event *e)
{
	if (e->kind == VT_MADVISE)
		return e->a[2] == MADV_DONTNEED || e->a[2] == MADV_FREE || e->a[2] == MADV_REMOVE;
	return e->kind != VT_MSYNC;
}

void vt_find_change(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	struct vt_find_piece p;
	if (!is_change(e->kind) || vt_is_error(e->ret) || !f->actor ||
	    f->actor == VT_OWNER_RUNTIME || !vt_find_range(e, &lo, &hi))
		return;
	if (!touched(f, e, lo, hi, &p))
		return;
	struct vt_birth b = vt_find_birth(f, &p);
	if (!b.owner || b.owner == f->actor || b.root_owner == f->actor || vt_find_own_text(f, &p))
		return;
	const struct vt_dead *d = vt_history_find(&f->history, lo, hi);
	if (!d || d->lo > lo || d->hi < hi || d->owner != f->actor || b.seq <= d->death)
		return;
	bool given_out = b.role == VT_ROLE_STACK || b.role == VT_ROLE_MALLOC;
	if (given_out && p.lo != b.lo)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_STALE_RANGE, lo, hi);
	bool certain = b.owner < VT_OWNER_MODULE && is_harmful(e);
	n.severity = certain ? VT_SEVERITY_ERROR : VT_SEVERITY_WARNING;
	n.proof = certain ? VT_PROOF_OWNER : VT_PROOF_NONE;
	n.race = true;
	vt_find_add_history(&n, d->birth);
	vt_find_add_history(&n, d->death);
	vt_find_add_victim(f, &n, &p, &b);
	vt_find_add(f, &n);
}

static void forget_hint(struct vt_find *f, struct vt_find_hint *h)
{
	h->owner = VT_OWNER_UNKNOWN;
	f->n_hints--;
}

static void report_hint(struct vt_find *f, struct vt_find_hint *h, const struct vt_event *relied)
{
	struct vt_finding n = { .kind = VT_FIND_HINT_MOVED,
				.severity = relied ? VT_SEVERITY_ERROR : VT_SEVERITY_INFO,
				.proof = relied ? VT_PROOF_RELIED : VT_PROOF_NONE,
				.tid = h->tid,
				.stack = h->stack,
				.owner = h->owner,
				.seq = h->seq,
				.addr = h->asked,
				.length = h->length,
				.proof_seq = relied ? relied->seq : 0,
				.n_victims = 1,
				.victims = { h->holder } };
	vt_find_add_history(&n, h->holder.birth.seq);
	vt_find_add_history(&n, h->seq);
	if (relied)
		vt_find_add_history(&n, relied->seq);
	vt_find_add(f, &n);
	forget_hint(f, h);
}

void vt_find_note_hint(struct vt_find *f, const struct vt_event *e)
{
	struct vt_find_piece p;
	uint64_t lo, hi;
	if (e->kind != VT_MMAP || vt_is_error(e->ret) || (e->a[3] & (MAP_FIXED | 0x100000)) ||
	    f->actor < VT_OWNER_MODULE || !vt_find_range(e, &lo, &hi) || (uint64_t)e->ret == lo ||
	    !piece_at(f, lo, hi, &p) || p.birth == e->seq)
		return;
	struct vt_find_hint *h = &f->hints[f->next_hint++ % VT_FIND_HINTS];
	if (h->owner)
		report_hint(f, h, NULL);
	f->n_hints++;
	*h = (struct vt_find_hint){ .seq = e->seq,
				    .asked = lo,
				    .length = hi - lo,
				    .got = (uint64_t)e->ret,
				    .tid = e->tid,
				    .owner = f->actor,
				    .stack = e->stack };
	h->holder = (struct vt_find_victim){ p.lo, p.hi, vt_find_birth(f, &p), NULL };
	if (p.file && p.file < f->replay->trace->n_files)
		h->holder.path = f->replay->trace->files[p.file].path;
}

/* Whether what a call on the hint reached was not its caller's: another owner's, or nothing. */
static bool is_not_own(const struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi)
{
	struct vt_find_piece p;
	if (!touched(f, e, lo, hi, &p))
		return true;
	struct vt_birth b = vt_find_birth(f, &p);
	return b.owner && b.owner != f->actor && b.root_owner != f->actor;
}

bool vt_find_hint_relied(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if (!f->n_hints || !f->actor || (!is_change(e->kind) && e->kind != VT_MUNMAP) ||
	    !vt_find_range(e, &lo, &hi))
		return false;
	for (size_t i = 0; i < VT_FIND_HINTS; i++) {
		struct vt_find_hint *h = &f->hints[i];
		if (h->owner != f->actor)
			continue;
		if (lo <= h->got && h->got < hi && e->kind == VT_MUNMAP) {
			forget_hint(f, h); /* noticed, and given back */
			return false;
		}
		if (lo != h->asked || hi - lo != h->length || h->tid != e->tid ||
		    !is_not_own(f, e, lo, hi))
			continue;
		report_hint(f, h, e);
		return true;
	}
	return false;
}

void vt_find_flush_hints(struct vt_find *f)
{
	for (size_t i = 0; i < VT_FIND_HINTS; i++)
		if (f->hints[i].owner)
			report_hint(f, &f->hints[i], NULL);
}
