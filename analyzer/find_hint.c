/*
 * find_hint.c - hint-moved: the kernel put a mapping elsewhere than asked, and the caller goes on
 * as if it had not.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "find.h"

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
	    !vt_find_piece_at(f, lo, hi, &p) || p.birth == e->seq)
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
	if (!vt_find_touched(f, e, lo, hi, &p))
		return true;
	struct vt_birth b = vt_find_birth(f, &p);
	return b.owner && b.owner != f->actor && b.root_owner != f->actor;
}

bool vt_find_hint_relied(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if (!f->actor || (!vt_find_is_change(e->kind) && e->kind != VT_MUNMAP) ||
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
		if (e->kind == VT_MUNMAP && f->n_pieces) { /* a finding of its own */
			f->hint_seq = h->seq;
			forget_hint(f, h);
			return false;
		}
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
