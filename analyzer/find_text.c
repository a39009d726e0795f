/*
 * find_text.c - findings in words: what happened, what proves it, what to do about it.
 *
 * Every sentence says only what the finding's fields prove.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <string.h>

#include "find_story.h"
#include "flags.h"
#include "units.h"

/* Whose the first victim is, as the object of a sentence. */
static void add_victim(struct vt_text *t, const struct vt_find *f, const struct vt_story *s,
		       const struct vt_finding *n)
{
	char role[VT_ROLE_TEXT];
	const struct vt_find_victim *v = &n->victims[0];
	const struct vt_mapping_role *use = vt_story_role(s, f, n, 0);
	if (use->use != VT_USE_UNKNOWN && use->use != VT_USE_MODULE)
		vt_text_add(t, "%s", vt_role_text(use, f->trace, role));
	else if (v->birth.owner != n->owner)
		vt_text_add(t, "memory of %s", vt_owner_name(&f->owners, v->birth.owner));
	else if (v->birth.tid != n->tid)
		vt_text_add(t, "another thread's %smapping", n->race ? "new " : "");
	else
		vt_text_add(t, "a mapping of its own");
	if (n->n_victims > 1)
		vt_text_add(t, " and %" PRIu32 " more", n->n_victims - 1);
}

static uint64_t bytes_lost(const struct vt_finding *n)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < n->n_victims && i < VT_FIND_VICTIMS; i++)
		bytes += n->victims[i].hi - n->victims[i].lo;
	return bytes;
}

/* "65,531 of 65,530" */
static void add_share(struct vt_text *t, const struct vt_finding *n)
{
	char count[VT_UNIT_TEXT], limit[VT_UNIT_TEXT];
	if (n->kind == VT_FIND_LOCK_LIMIT)
		vt_text_add(t, "%s of %s", vt_format_size(count, n->count),
			    vt_format_size(limit, n->limit));
	else
		vt_text_add(t, "%s of %s", vt_format_count(count, n->count),
			    vt_format_count(limit, n->limit));
}

static void tell_destroyed(struct vt_text *t, const struct vt_find *f, const struct vt_story *s,
			   const struct vt_finding *n, const char *call)
{
	char size[VT_UNIT_TEXT];
	if (n->kind == VT_FIND_FIXED_CLOBBER)
		vt_text_add(t, "A forced placement (%s) destroyed %s of live memory: ",
			    strcmp(call, "mmap") == 0     ? "MAP_FIXED"
			    : strcmp(call, "mremap") == 0 ? "MREMAP_FIXED"
							  : "SHM_REMAP",
			    vt_format_size(size, bytes_lost(n)));
	else if (n->kind == VT_FIND_FOREIGN_UNMAP)
		vt_text_add(t, "An unmap of %s reached live memory that is not its own: ",
			    vt_format_size(size, n->length));
	else
		vt_text_add(t, "Unmapped a range that this code had already given back; ");
	if (n->n_victims)
		add_victim(t, f, s, n);
	else
		vt_text_add(t, "nothing was there any more");
	vt_text_add(t, n->kind == VT_FIND_DOUBLE_UNMAP && n->n_victims ? " died." : ".");
}

static void tell_changed(struct vt_text *t, const struct vt_find *f, const struct vt_story *s,
			 const struct vt_finding *n, const char *call)
{
	if (n->proof == VT_PROOF_FAULT && n->proof_seq == n->seq)
		vt_text_add(t, "The process died in memory that had been given back");
	else if (n->kind == VT_FIND_STALE_RANGE)
		vt_text_add(t, "%s on a range whose mapping had died", call);
	else
		vt_text_add(t, "%s changed ", call);
	if (n->n_victims && n->kind == VT_FIND_STALE_RANGE)
		vt_text_add(t, "; ");
	if (n->n_victims)
		add_victim(t, f, s, n);
	vt_text_add(t,
		    n->n_victims && n->kind == VT_FIND_STALE_RANGE ? " has the address now." : ".");
}

static void tell_refused(struct vt_text *t, const struct vt_find *f, const struct vt_story *s,
			 const struct vt_finding *n)
{
	char size[VT_UNIT_TEXT];
	switch (n->kind) {
	case VT_FIND_BRK_BLOCKED:
		vt_text_add(t, "The heap could not grow by %s: ", vt_format_size(size, n->length));
		if (n->n_victims)
			add_victim(t, f, s, n);
		vt_text_add(t, n->n_victims ? " stands in its way."
					    : "nothing stands in its way but a limit.");
		break;
	case VT_FIND_MAP_COUNT:
		vt_text_add(t, n->proof == VT_PROOF_REFUSED ? "The call failed for want of areas: "
							    : "The process comes near its limit: ");
		add_share(t, n);
		vt_text_add(t, " areas (vm.max_map_count).");
		break;
	case VT_FIND_LOCK_LIMIT:
		vt_text_add(t, n->proof == VT_PROOF_REFUSED
				   ? "Locking was refused: "
				   : "Locked memory comes near its limit: ");
		add_share(t, n);
		vt_text_add(t, " locked (RLIMIT_MEMLOCK).");
		break;
	default:
		vt_text_add(t, "%s", vt_find_kinds[n->kind].sentence);
	}
}

static void tell_file(struct vt_text *t, const struct vt_finding *n, const char *call)
{
	char size[VT_UNIT_TEXT];
	if (n->kind == VT_FIND_FILE_STREAM && strcmp(call, "mmap") == 0)
		vt_text_add(
		    t,
		    "A file is mapped piece by piece, each where the last one ended (%" PRIu64
		    " times), without MADV_SEQUENTIAL.",
		    n->count);
	else if (n->kind == VT_FIND_FILE_STREAM)
		vt_text_add(t,
			    "MADV_WILLNEED for one piece of a file after the other (%" PRIu64
			    " times): that is streaming.",
			    n->count);
	else
		vt_text_add(t, "MAP_POPULATE on a private file mapping: %s %s at once.",
			    vt_format_size(size, n->length), n->count ? "are copied" : "are read");
}

char *vt_find_sentence(const struct vt_find *f, const struct vt_story *s,
		       const struct vt_finding *n, char *buf, size_t size)
{
	const struct vt_why_entry *culprit = vt_story_find(s, n->seq);
	const char *call = culprit ? vt_kinds[culprit->event.kind].name : "?";
	struct vt_text t = { buf, 0, size };
	*buf = '\0';
	switch (n->kind) {
	case VT_FIND_FIXED_CLOBBER:
	case VT_FIND_FOREIGN_UNMAP:
	case VT_FIND_DOUBLE_UNMAP:
		tell_destroyed(&t, f, s, n, call);
		break;
	case VT_FIND_STALE_RANGE:
	case VT_FIND_FOREIGN_CHANGE:
		tell_changed(&t, f, s, n, call);
		break;
	case VT_FIND_BRK_BLOCKED:
	case VT_FIND_MAP_COUNT:
	case VT_FIND_LOCK_LIMIT:
		tell_refused(&t, f, s, n);
		break;
	case VT_FIND_FILE_STREAM:
	case VT_FIND_FILE_POPULATE:
		tell_file(&t, n, call);
		break;
	case VT_FIND_HINT_MOVED:
		vt_text_add(&t, n->proof == VT_PROOF_RELIED
				    ? "The kernel did not honour a hint, and the address was used "
				      "all the same."
				    : "The kernel did not honour a hint.");
		break;
	default:
		vt_text_add(&t, "%s", vt_find_kinds[n->kind].sentence);
	}
	return buf;
}

char *vt_find_advice(const struct vt_finding *n, char *buf, size_t size)
{
	char mapped[VT_UNIT_TEXT], unmapped[VT_UNIT_TEXT];
	struct vt_text t = { buf, 0, size };
	*buf = '\0';
	bool unmap = n->kind == VT_FIND_FOREIGN_UNMAP;
	if (n->kind == VT_FIND_DOUBLE_UNMAP && n->opened)
		vt_text_add(&t,
			    "Of #%" PRIu64 " and #%" PRIu64
			    " one is too many: forget the address after the first.",
			    n->opened, n->seq);
	else if (unmap && n->mine && n->length > n->mine_length)
		vt_text_add(&t,
			    "The length is wrong: #%" PRIu64 " mapped %s there, this unmaps %s.",
			    n->mine, vt_format_size(mapped, n->mine_length),
			    vt_format_size(unmapped, n->length));
	else if (unmap && n->hint)
		vt_text_add(&t,
			    "#%" PRIu64 " asked for that address and was given another: unmap the "
			    "one that mmap returned.",
			    n->hint);
	else if (unmap && n->opened)
		vt_text_add(
		    &t, "What #%" PRIu64 " gave back is no longer its own: unmap only the rest.",
		    n->opened);
	else if (n->kind == VT_FIND_FAILED_UNMAP && !(n->addr & (VT_PAGE_SIZE - 1)))
		vt_text_add(
		    &t,
		    "Huge pages are unmapped whole: round the length up, as mmap had done "
		    "(to %s).",
		    vt_format_size(mapped, n->victims[0].birth.hi - n->victims[0].birth.lo));
	else if (n->kind == VT_FIND_STALE_RANGE && n->proof_seq == n->seq && n->opened)
		vt_text_add(
		    &t,
		    "Another thread than had mapped it gave it back, as #%" PRIu64
		    " had given back the mapping before it, of the same range: one unmap may "
		    "be too many.",
		    n->opened);
	else
		vt_text_add(&t, "%s", vt_find_kinds[n->kind].advice);
	return buf;
}

char *vt_find_placement(const struct vt_story *s, const struct vt_finding *n, bool bottomup,
			char *buf, size_t size)
{
	const struct vt_find_victim *v = &n->victims[0];
	const struct vt_why_entry *born = n->n_victims ? vt_story_find(s, v->birth.seq) : NULL;
	struct vt_text t = { buf, 0, size };
	*buf = '\0';
	if (!born || !n->opened || born->event.kind != VT_MMAP || n->opened > v->birth.seq)
		return buf;
	if (born->placed)
		vt_text_add(&t,
			    "#%" PRIu64 " was placed there because #%" PRIu64
			    " had opened the %s gap that fits.",
			    v->birth.seq, n->opened, bottomup ? "lowest" : "highest");
	else if (born->event.a[0] && born->event.a[0] == (uint64_t)born->event.ret)
		vt_text_add(
		    &t, "#%" PRIu64 " asked for that address, which #%" PRIu64 " had made free.",
		    v->birth.seq, n->opened);
	return buf;
}

/* The signal and its place, and where that lies. */
static void add_fault(struct vt_text *t, const struct vt_story *s, const struct vt_finding *n)
{
	const struct vt_why_entry *e = vt_story_find(s, n->proof_seq);
	if (!e) {
		vt_text_add(t, "#%" PRIu64 ": the process died there.", n->proof_seq);
		return;
	}
	const char *name = sigabbrev_np((int)e->event.a[1]);
	vt_text_add(
	    t, "#%" PRIu64 " SIG%s at 0x%" PRIx64 " in thread %" PRIu32 ", inside the dead %s.",
	    n->proof_seq, name ? name : "?", e->event.a[0], e->event.tid,
	    n->proof_seq == n->seq ? "range" : "mapping");
}

char *vt_find_proof_text(const struct vt_find *f, const struct vt_story *s,
			 const struct vt_finding *n, char *buf, size_t size)
{
	const struct vt_birth *b = &n->victims[0].birth;
	struct vt_text t = { buf, 0, size };
	*buf = '\0';
	switch (n->proof) {
	case VT_PROOF_OWNER:
		vt_text_add(&t, "the memory belongs to %s", vt_owner_name(&f->owners, b->owner));
		if (b->role == VT_ROLE_STACK || b->role == VT_ROLE_MALLOC ||
		    b->role == VT_ROLE_LOADER)
			vt_text_add(&t, " (%s)", vt_role_name(b->role));
		vt_text_add(&t, ", not to %s.", vt_owner_name(&f->owners, n->owner));
		break;
	case VT_PROOF_TWICE:
		vt_text_add(&t,
			    "one mapping was unmapped twice: nothing had been mapped there since.");
		break;
	case VT_PROOF_VICTIM:
		vt_text_add(
		    &t, "#%" PRIu64 " is the victim's owner, at work on the range that is dead.",
		    n->proof_seq);
		break;
	case VT_PROOF_RELIED:
		vt_text_add(&t, "#%" PRIu64 " used the address all the same.", n->proof_seq);
		break;
	case VT_PROOF_FAULT:
		add_fault(&t, s, n);
		break;
	case VT_PROOF_REFUSED:
		vt_text_add(&t, "the kernel refused #%" PRIu64 ".", n->seq);
		break;
	default:
		break;
	}
	if (n->overlap)
		vt_text_add(&t, "%sThe two calls were under way at the same time.", t.n ? " " : "");
	return buf;
}
