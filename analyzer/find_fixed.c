/*
 * find_fixed.c - fixed-clobber and unmap-remap-window: forced placements.
 *
 * Benign and silent: committing and decommitting inside one's own reservation, giving pages up by a
 * forced PROT_NONE, filling a placeholder with a file (ring buffers), the loader laying out a
 * library, a module replacing its own text, a guard at the low end of a thread's stack.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "find.h"

#define ACCESSIBLE (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC))

/* Whether everything that was replaced goes back to one reservation, and fills the range. */
static bool in_one_reservation(const struct vt_find *f, uint64_t lo, uint64_t hi)
{
	uint64_t root = 0, bytes = 0;
	for (size_t i = 0; i < f->n_pieces; i++) {
		struct vt_birth b = vt_find_birth(f, &f->pieces[i]);
		if (f->pieces[i].fate != VT_PIECE_CLOBBERED)
			continue;
		if (!b.reserve || (root && b.root != root))
			return false;
		root = b.root;
		bytes += f->pieces[i].hi - f->pieces[i].lo;
	}
	return bytes == hi - lo;
}

static bool is_anonymous_mmap(const struct vt_event *e)
{
	return e->kind == VT_MMAP && (e->a[3] & MAP_ANONYMOUS) && (e->a[3] & MAP_PRIVATE);
}

/* The caller replaced memory of its own module. */
static enum vt_severity judge_own(const struct vt_find *f, const struct vt_event *e,
				  const struct vt_find_piece *p, const struct vt_birth *b,
				  bool committing)
{
	/* a segment goes by shmdt: nobody gives its pages up one by one */
	if (f->replay->trace->n_files > p->file &&
	    f->replay->trace->files[p->file].kind == VT_FILE_SYSV && (p->flags & ACCESSIBLE))
		return VT_SEVERITY_WARNING;
	if (committing || !(p->flags & ACCESSIBLE))
		return VT_SEVERITY_INFO;
	if (e->kind == VT_MMAP && !(e->a[2] & (PROT_READ | PROT_WRITE | PROT_EXEC)))
		return VT_SEVERITY_INFO;
	if (b->placeholder && !is_anonymous_mmap(e))
		return VT_SEVERITY_INFO;
	return b->owner == VT_OWNER_RUNTIME ? VT_SEVERITY_INFO : VT_SEVERITY_WARNING;
}

/* The caller replaced memory of another owner. */
static enum vt_severity judge_foreign(const struct vt_event *e, const struct vt_find_piece *p,
				      const struct vt_birth *b, uint64_t hi)
{
	uint64_t low_end = b->lo + (b->hi - b->lo) / 4;
	if (b->role == VT_ROLE_STACK && is_anonymous_mmap(e) && hi <= low_end)
		return VT_SEVERITY_INFO;
	/* a block of malloc begins behind the first bytes of its mapping: that page is not its own
	 */
	if (b->role == VT_ROLE_MALLOC && p->lo > b->lo && hi <= b->hi)
		return VT_SEVERITY_WARNING;
	if (b->owner >= VT_OWNER_MODULE && !(p->flags & ACCESSIBLE))
		return VT_SEVERITY_WARNING;
	return VT_SEVERITY_ERROR;
}

/* Nothing was replaced: was there something of the caller's own just before? */
static void find_window(struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi)
{
	struct vt_dead d;
	if (f->actor == VT_OWNER_RUNTIME || !vt_history_find(&f->history, lo, hi, &d) ||
	    d.lo > lo || d.hi < hi || d.death_tid != e->tid || d.killer != f->actor ||
	    d.owner != f->actor)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_UNMAP_REMAP_WINDOW, lo, hi);
	n.severity = VT_SEVERITY_INFO;
	vt_find_add_history(&n, d.birth);
	vt_find_add_history(&n, d.death);
	vt_find_add(f, &n);
}

/* Where the call forced its mapping to; false: it did not. */
static bool forced_range(const struct vt_event *e, uint64_t *lo, uint64_t *hi)
{
	uint64_t length = e->kind == VT_MMAP ? e->a[1] : e->kind == VT_MREMAP ? e->a[2] : e->a[3];
	bool forced = (e->kind == VT_MMAP && (e->a[3] & MAP_FIXED)) ||
		      (e->kind == VT_MREMAP && (e->a[3] & MREMAP_FIXED)) ||
		      (e->kind == VT_SHMAT && (e->a[2] & 040000)); /* SHM_REMAP */
	if (!forced || vt_is_error(e->ret))
		return false;
	*lo = (uint64_t)e->ret;
	*hi = *lo + ((length + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1));
	return true;
}

uint32_t vt_find_fixed(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if (!f->actor || !forced_range(e, &lo, &hi))
		return 0;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_FIXED_CLOBBER, lo, hi);
	bool committing = in_one_reservation(f, lo, hi), replaced = false;
	for (size_t i = 0; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		struct vt_birth b = vt_find_birth(f, p);
		if (p->fate != VT_PIECE_CLOBBERED)
			continue;
		replaced = true;
		if (!b.owner || vt_find_own_text(f, p))
			continue;
		bool own = b.owner == f->actor || b.root_owner == f->actor;
		enum vt_severity severity = judge_own(f, e, p, &b, committing);
		/* what was made for the caller may be filled and given up as what it made itself */
		if (!own && (b.asker != f->actor || severity != VT_SEVERITY_INFO))
			severity = judge_foreign(e, p, &b, hi);
		if (severity == VT_SEVERITY_INFO)
			continue;
		struct vt_dead d;
		if (vt_history_find(&f->history, p->lo, p->hi, &d) && d.death_tid == e->tid &&
		    d.killer == f->actor && b.seq > d.death) {
			n.race = b.tid != e->tid;
			n.opened = d.death;
			vt_find_add_history(&n, d.birth);
			vt_find_add_history(&n, d.death);
		}
		n.overlap |= b.tid != e->tid && b.seq + e->span >= e->seq;
		n.severity = severity > n.severity ? severity : n.severity;
		n.proof = n.severity == VT_SEVERITY_ERROR ? VT_PROOF_OWNER : VT_PROOF_NONE;
		vt_find_add_victim(f, &n, p, &b);
	}
	if (n.overlap && n.severity == VT_SEVERITY_WARNING) {
		n.severity = VT_SEVERITY_ERROR;
		n.proof = VT_PROOF_OVERLAP;
	}
	if (!replaced)
		find_window(f, e, lo, hi);
	return n.n_victims ? vt_find_add(f, &n) : 0;
}
