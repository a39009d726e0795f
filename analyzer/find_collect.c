/*
 * find_collect.c - one replay of a trace: each event with what it took, given to the rules.
 *
 * Events of the recorder, events out of order and events that contradict the model count for
 * nothing; what they took is entered without an owner, so that nobody is accused for it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find.h"

#include <sys/mman.h>

#include "alloc.h"

#define DONTUNMAP 4 /* MREMAP_DONTUNMAP */
#define AHEAD     8 /* so many events before it is needed memory is fetched */

static void observe(void *ctx, const struct vt_event *ev, const struct vt_extent *x, uint64_t start,
		    uint64_t end, enum vt_piece_fate fate)
{
	struct vt_find *f = ctx;
	if (!ev || x->own || (ev->flags & VT_EV_OWN))
		return;
	vt_owners_expect(&f->owners, x->birth);
	if (fate == VT_PIECE_UNMAPPED)
		vt_history_expect(&f->history, start, end);
	f->fates |= 1u << fate;
	f->files |= x->file != 0;
	f->pieces = vt_grow(f->pieces, f->n_pieces, &f->cap_pieces, sizeof(*f->pieces));
	f->pieces[f->n_pieces++] = (struct vt_find_piece){
		.lo = start,
		.hi = end,
		.birth = x->birth,
		.flags = x->flags,
		.file = x->file,
		.fate = (uint8_t)fate,
		.special = x->special,
	};
}

const char *vt_find_path(const struct vt_find *f, uint32_t file)
{
	const struct vt_trace *t = f->replay->trace;
	return file && file < t->n_files ? t->files[file].path : NULL;
}

struct vt_birth vt_find_birth(const struct vt_find *f, const struct vt_find_piece *p)
{
	const struct vt_birth *known = vt_owners_birth(&f->owners, p->birth);
	if (known)
		return *known;
	struct vt_birth b = { .seq = p->birth, .lo = p->lo, .hi = p->hi, .root = p->birth };
	if (p->special == VT_SPECIAL_HEAP) {
		b.owner = f->heap_owner;
		b.role = b.owner == VT_OWNER_RUNTIME ? VT_ROLE_MALLOC : VT_ROLE_MODULE;
	} else if (p->special != VT_SPECIAL_NONE) {
		b.owner = VT_OWNER_KERNEL;
		b.role = VT_ROLE_KERNEL;
	} else if (!p->birth && p->file) {
		b.owner = VT_OWNER_RUNTIME;
		b.role = VT_ROLE_LOADER;
	}
	b.root_owner = b.owner;
	return b;
}

/* The same of a piece whose birth is not known. */
static struct vt_holder made_up_holder(const struct vt_find *f, const struct vt_find_piece *p)
{
	struct vt_birth b = vt_find_birth(f, p);
	return (struct vt_holder){ .seq = b.seq,
				   .owner = (uint16_t)b.owner,
				   .root_owner = (uint16_t)b.root_owner };
}

struct vt_holder vt_find_holder(const struct vt_find *f, const struct vt_find_piece *p)
{
	const struct vt_holder *known = vt_owners_holder(&f->owners, p->birth);
	return known ? *known : made_up_holder(f, p);
}

bool vt_find_own_text(const struct vt_find *f, const struct vt_find_piece *p)
{
	const char *path = vt_find_path(f, p->file);
	return path && f->actor_path && strcmp(path, f->actor_path) == 0;
}

bool vt_find_piece_at(const struct vt_find *f, uint64_t lo, uint64_t hi, struct vt_find_piece *p)
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

bool vt_find_touched(const struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi,
		     struct vt_find_piece *p)
{
	for (size_t i = 0; i < f->n_pieces; i++)
		if (f->pieces[i].fate != VT_PIECE_BORN && f->pieces[i].lo < hi &&
		    f->pieces[i].hi > lo) {
			*p = f->pieces[i];
			return true;
		}
	return e->kind != VT_MREMAP && vt_find_piece_at(f, lo, hi, p);
}

/* What a new mapping was placed in: one mapping all over, or else it stands for itself. */
static void find_root(const struct vt_find *f, struct vt_birth *b)
{
	uint64_t bytes = 0;
	struct vt_birth root = { 0 };
	for (size_t i = 0; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		if (p->fate != VT_PIECE_CLOBBERED)
			continue;
		struct vt_birth under = vt_find_birth(f, p);
		if (bytes && under.root != root.root)
			return;
		root = under;
		bytes += p->hi - p->lo;
	}
	if (bytes != b->hi - b->lo)
		return;
	b->root = root.root;
	b->root_owner = root.root_owner;
	b->reserve = root.reserve;
}

static void enter_birth(struct vt_find *f, const struct vt_event *e, enum vt_role role,
			const struct vt_module *asker)
{
	struct vt_birth b = { .seq = e->seq,
			      .lo = UINT64_MAX,
			      .root = e->seq,
			      .owner = f->actor,
			      .root_owner = f->actor,
			      .asker = role == VT_ROLE_MODULE ? vt_asker_of(&f->owners, asker)
							      : VT_OWNER_UNKNOWN,
			      .tid = e->tid,
			      .role = (uint8_t)role };
	for (size_t i = 0; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		if (p->fate == VT_PIECE_BORN && p->birth != e->seq)
			vt_owners_spread(&f->owners, p->birth);
		if (p->fate != VT_PIECE_BORN || p->birth != e->seq)
			continue;
		b.lo = p->lo < b.lo ? p->lo : b.lo;
		b.hi = p->hi > b.hi ? p->hi : b.hi;
		b.reserve = !(p->flags & (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC)));
		b.placeholder = e->kind == VT_MMAP && !(e->a[3] & MAP_FIXED) &&
				!(p->flags & VT_VM(SHARED)) && !p->file;
	}
	if (!b.hi)
		return;
	b.reserve |= e->kind == VT_MMAP && (e->a[3] & MAP_NORESERVE);
	find_root(f, &b);
	vt_owners_add(&f->owners, f->replay, &b);
}

/* Where something new lives, no finding's victim lies any more. */
static void drop_claims(struct vt_find *f)
{
	for (size_t i = 0; i < f->n_pieces; i++)
		if (f->pieces[i].fate == VT_PIECE_BORN &&
		    vt_history_may_hold(&f->claims, f->pieces[i].lo, f->pieces[i].hi))
			vt_history_remove(&f->claims, f->pieces[i].lo, f->pieces[i].hi);
}

static void enter_deaths(struct vt_find *f, const struct vt_event *e, uint32_t claim)
{
	for (size_t i = 0; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		bool moved = p->fate == VT_PIECE_MOVED && !(e->a[3] & DONTUNMAP);
		if (p->fate == VT_PIECE_MOVED)
			vt_owners_spread(&f->owners, p->birth);
		if (p->fate != VT_PIECE_UNMAPPED && p->fate != VT_PIECE_CLOBBERED && !moved)
			continue;
		const struct vt_holder *known = vt_owners_holder(&f->owners, p->birth);
		struct vt_holder b = known ? *known : made_up_holder(f, p);
		struct vt_dead d = { .lo = p->lo,
				     .hi = p->hi,
				     .birth = b.seq,
				     .death = e->seq,
				     .exec = (p->flags & VT_VM(EXEC)) != 0,
				     .file = p->file != 0,
				     .owner = b.owner,
				     .killer = (uint16_t)f->actor,
				     .birth_tid = b.tid,
				     .death_tid = e->tid };
		vt_history_add(&f->history, &d);
		d.claim = claim;
		if (claim)
			vt_history_add(&f->claims, &d);
		/* an munmap asks for nothing of what is dead any more */
		if (known && e->kind == VT_MUNMAP &&
		    known->pages == (p->hi - p->lo) >> VT_PAGE_SHIFT)
			vt_owners_forget(&f->owners, known);
	}
}

/*
 * What the event proves of earlier findings, else the rules that an event of this kind can break.
 * Returns the claim of what was found, or 0.
 */
static uint32_t apply_rules(struct vt_find *f, const struct vt_event *e)
{
	/* what only takes memory proves nothing */
	if (e->kind == VT_MMAP || e->kind == VT_SHMAT)
		return vt_find_fixed(f, e);
	if ((f->claims.root && vt_find_prove(f, e)) || (f->n_hints && vt_find_hint_relied(f, e)))
		return 0;
	if (e->kind == VT_MUNMAP)
		return vt_find_unmap(f, e);
	vt_find_change(f, e);
	return e->kind == VT_MREMAP ? vt_find_fixed(f, e) : 0;
}

/*
 * Whose the heap is that was there at the start: an allocator loaded in place of libc's may have
 * made it. Who moves the break tells, and so does libc when it maps for its malloc.
 */
static void learn_heap_owner(struct vt_find *f, const struct vt_event *e, enum vt_role role)
{
	if (((e->kind == VT_BRK) | ((e->kind == VT_MMAP) & (role == VT_ROLE_MALLOC))) &&
	    !f->heap_owner && !vt_is_error(e->ret))
		f->heap_owner = f->actor;
}

static void take_event(struct vt_find *f, const struct vt_event *e)
{
	struct vt_who who = vt_who_called(f->sites, f->replay, e);
	enum vt_role role;
	f->actor = f->stackless ? vt_owner_without_stacks(&f->owners, e, &role)
				: vt_owner_of(&f->owners, who.caller, e, &role);
	f->actor_path = who.caller && who.caller->has_file ? who.caller->path : NULL;
	if ((e->flags & (VT_EV_LATE | VT_EV_UNDONE)) || f->replay->effect.contradiction)
		f->actor = VT_OWNER_UNKNOWN;
	f->hint_seq = 0;
	if (e->kind == VT_FAULT)
		vt_find_fault(f, e);
	uint32_t claim = apply_rules(f, e);
	if ((e->kind == VT_MMAP) & (e->a[0] != 0))
		vt_find_note_hint(f, e);
	if (vt_find_limits_concern(f, e))
		vt_find_limits(f, e);
	if (vt_find_files_concern(f, e))
		vt_find_files(f, e);
	if (!f->n_pieces)
		return;
	const uint32_t dying =
	    1u << VT_PIECE_UNMAPPED | 1u << VT_PIECE_CLOBBERED | 1u << VT_PIECE_MOVED;
	const uint32_t born = 1u << VT_PIECE_BORN;
	if ((f->fates & born) && f->claims.root)
		drop_claims(f);
	if (f->fates & dying)
		enter_deaths(f, e, claim);
	if (f->fates & born)
		enter_birth(f, e, role, who.asker);
	learn_heap_owner(f, e, role);
}

/*
 * Where there are many areas, all that a call asks for is somewhere else in memory, and the replay
 * looks up where a batch of calls strikes before they come. What is known of those places is
 * fetched on the way: all of the areas when the batch has come up, the rest some calls before it is
 * needed.
 */
static void look_ahead(struct vt_find *f, uint64_t seq)
{
	const struct vt_replay *r = f->replay;
	uint64_t i = seq + AHEAD - r->first_hint;
	if (f->batch != r->first_hint)
		for (uint64_t k = 0; k < r->n_hints; k++)
			if (r->hints[k])
				__builtin_prefetch(&r->hints[k]->birth);
	f->batch = r->first_hint;
	if (i >= r->n_hints || !r->hints[i])
		return;
	const struct vt_extent *x = r->hints[i];
	vt_owners_expect(&f->owners, x->birth);
	vt_owners_expect(&f->owners, seq + AHEAD);
	vt_history_expect(&f->history, x->start, x->end);
	vt_marks_expect(&f->claims.marks, x->start);
}

int vt_find_collect(struct vt_find *f, struct vt_trace *t)
{
	struct vt_replay r;
	struct vt_item item;
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	f->trace = t;
	f->replay = &r;
	f->claims.only_last = true;
	f->stackless = vt_trace_meta(t, "source") && !t->n_stacks;
	f->sites = vt_sites_new();
	r.model.observe = observe;
	r.model.observe_ctx = f;
	for (;;) {
		f->n_pieces = 0;
		f->fates = 0;
		f->files = false;
		enum vt_item_type type = vt_replay_next(&r, &item);
		if (type == VT_ITEM_END)
			break;
		vt_sites_follow(f->sites, &r, &item);
		if (type != VT_ITEM_EVENT)
			continue;
		vt_ending_event(&f->ending, &item.event);
		if (r.n_hints)
			look_ahead(f, item.event.seq);
		if (!(item.event.flags & VT_EV_OWN))
			take_event(f, &item.event);
	}
	vt_ending_close(&f->ending, t);
	vt_find_flush_hints(f);
	vt_find_flush_limits(f);
	vt_find_flush_suspicions(f);
	vt_find_sort(f);
	vt_replay_fini(&r);
	f->replay = NULL;
	return 0;
}

void vt_find_free(struct vt_find *f)
{
	vt_find_free_list(f);
	vt_owners_free(&f->owners);
	vt_history_free(&f->history);
	vt_history_free(&f->claims);
	vt_sites_free(f->sites);
	free(f->pieces);
	free(f->streams);
}
