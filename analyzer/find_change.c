/*
 * find_change.c - stale-range and foreign-change: calls that change what another owner has.
 *
 * Memory that malloc or pthread_create gave out may be advised and protected by whoever it was
 * given to; but nobody is given the first page of such a mapping. Modules hand mappings to each
 * other as a whole: only a part of one is a finding, and not by the module that had it made (a
 * program's own name for mmap, which its libraries call).
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <sys/mman.h>

#include "find.h"

static bool discards(const struct vt_event *e)
{
	return e->kind == VT_MADVISE &&
	       (e->a[2] == MADV_DONTNEED || e->a[2] == MADV_FREE || e->a[2] == MADV_REMOVE);
}

static bool protects(const struct vt_event *e)
{
	return e->kind == VT_MPROTECT || e->kind == VT_PKEY_MPROTECT;
}

/* Whether the call changes what the owner finds there. */
static bool is_harmful(const struct vt_event *e)
{
	return discards(e) || protects(e) || e->kind == VT_MREMAP;
}

/* Whether the call has done something: one that meets a hole fails, and has changed the rest. */
static bool has_changed(const struct vt_find *f, const struct vt_event *e)
{
	return !vt_is_error(e->ret) || (e->ret == -ENOMEM && f->n_pieces);
}

/* The mapping of [lo, hi) that the caller had, and that died before birth. */
static bool had_before(struct vt_find *f, uint64_t lo, uint64_t hi, uint64_t birth,
		       struct vt_dead *had)
{
	return vt_history_find(&f->history, lo, hi, had) && had->lo <= lo && had->hi >= hi &&
	       had->owner == f->actor && had->death < birth;
}

/* How bad a change of foreign memory is that nothing in the history explains. */
static enum vt_severity judge(const struct vt_event *e, const struct vt_find_piece *p,
			      const struct vt_birth *b, uint64_t lo, uint64_t hi)
{
	bool takes_write = protects(e) && (p->flags & VT_VM(WRITE)) && !(e->a[2] & PROT_WRITE);
	switch (b->role) {
	case VT_ROLE_STACK:
	case VT_ROLE_MALLOC:
		/* the first page holds malloc's own data, or the guard */
		return discards(e) || (b->role == VT_ROLE_MALLOC && takes_write)
			   ? VT_SEVERITY_ERROR
			   : VT_SEVERITY_SUSPICION;
	case VT_ROLE_LOADER:
		if (discards(e) && (p->flags & VT_VM(WRITE)))
			return VT_SEVERITY_ERROR;
		return protects(e) ? VT_SEVERITY_INFO : VT_SEVERITY_SUSPICION;
	case VT_ROLE_KERNEL:
		return protects(e) ? VT_SEVERITY_INFO : VT_SEVERITY_SUSPICION;
	default:
		if (b->lo == lo && b->hi == hi)
			return VT_SEVERITY_SUSPICION;
		return discards(e) && (p->flags & VT_VM(WRITE)) ? VT_SEVERITY_WARNING
								: VT_SEVERITY_SUSPICION;
	}
}

void vt_find_change(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	struct vt_find_piece p;
	if (!vt_find_is_change(e->kind) || !has_changed(f, e) || !f->actor ||
	    f->actor == VT_OWNER_RUNTIME || !vt_find_range(e, &lo, &hi) ||
	    !vt_find_touched(f, e, lo, hi, &p))
		return;
	struct vt_holder holder = vt_find_holder(f, &p);
	if (!holder.owner || holder.owner == f->actor || holder.root_owner == f->actor)
		return;
	struct vt_birth b = vt_find_birth(f, &p);
	if (b.asker == f->actor || vt_find_own_text(f, &p))
		return;
	bool given_out = b.role == VT_ROLE_STACK || b.role == VT_ROLE_MALLOC;
	if (given_out && p.lo != b.lo)
		return;
	struct vt_dead d;
	bool stale = had_before(f, lo, hi, b.seq, &d);
	struct vt_finding n =
	    vt_find_begin(f, e, stale ? VT_FIND_STALE_RANGE : VT_FIND_FOREIGN_CHANGE, lo, hi);
	if (stale)
		n.severity = b.owner < VT_OWNER_MODULE && is_harmful(e) ? VT_SEVERITY_ERROR
									: VT_SEVERITY_WARNING;
	else
		n.severity = (uint8_t)judge(e, &p, &b, lo, hi);
	if (n.severity == VT_SEVERITY_SUSPICION)
		return;
	n.proof = n.severity == VT_SEVERITY_ERROR ? VT_PROOF_OWNER : VT_PROOF_NONE;
	n.race = stale;
	if (stale) {
		n.opened = d.death;
		vt_find_add_history(&n, d.birth);
		vt_find_add_history(&n, d.death);
	}
	vt_find_add_victim(f, &n, &p, &b);
	vt_find_add(f, &n);
}
