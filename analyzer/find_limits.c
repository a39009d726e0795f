/*
 * find_limits.c - map-count, brk-blocked, lock-limit and failed-unmap: what the kernel refused, and
 * what stood in the way.
 *
 * Counts are the model's: areas as the kernel counts them, the recorder's own among them. Who makes
 * the areas is asked once, when there are many: it takes a walk over all of them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <uthash.h>

#include "alloc.h"
#include "find.h"

/* Areas are many from here on, in percent of the limit. */
#define MANY 90

/* Events between two countings of them, for a program that is refused again and again. */
#define WHILE 1000

/* How many areas the calls of a stack have split off, or have made. */
struct vt_find_split {
	UT_hash_handle hh;
	uint32_t stack;
	uint64_t areas, seq;
};

static void count(struct vt_find_split **table, uint32_t stack, uint64_t areas, uint64_t seq)
{
	struct vt_find_split *s;
	HASH_FIND(hh, *table, &stack, sizeof(stack), s);
	if (!s) {
		s = vt_calloc(1, sizeof(*s));
		s->stack = stack;
		HASH_ADD(hh, *table, stack, sizeof(stack), s);
	}
	s->areas += areas;
	s->seq = seq > s->seq ? seq : s->seq;
}

static void free_counts(struct vt_find_split **table)
{
	struct vt_find_split *s, *next;
	HASH_ITER (hh, *table, s, next) {
		HASH_DEL(*table, s);
		free(s);
	}
}

/* Keep s among the makers if it is one of the largest. */
static void rank(struct vt_finding *n, const struct vt_find_split *s, bool splits)
{
	struct vt_find_maker m = { s->seq, s->areas, splits };
	for (int i = 0; i < VT_FIND_MAKERS; i++) {
		if (n->makers[i].areas >= m.areas)
			continue;
		struct vt_find_maker smaller = n->makers[i];
		n->makers[i] = m;
		m = smaller;
	}
}

/* The calls that the areas come from: those that map them, and those that cut them. */
static void count_makers(struct vt_find *f, struct vt_finding *n)
{
	struct vt_find_split *made = NULL, *s, *next;
	for (const struct vt_extent *x = vt_model_first(&f->replay->model); x;
	     x = vt_extent_next(x))
		if (x->boundary != VT_BOUNDARY_MERGED && !x->own && x->birth)
			count(&made, x->stack, 1, x->birth);
	HASH_ITER (hh, made, s, next)
		rank(n, s, false);
	HASH_ITER (hh, f->splits, s, next)
		rank(n, s, true);
	free_counts(&made);
}

/* Those that were found a short while ago are still the ones. */
static void find_makers(struct vt_find *f, const struct vt_event *e, struct vt_finding *n)
{
	if (!f->makers_seq || e->seq - f->makers_seq > WHILE) {
		count_makers(f, n);
		memcpy(f->makers, n->makers, sizeof(f->makers));
		f->makers_seq = e->seq;
	}
	memcpy(n->makers, f->makers, sizeof(f->makers));
	for (int i = 0; i < VT_FIND_MAKERS; i++)
		if (n->makers[i].areas * 20 < n->count)
			n->makers[i] = (struct vt_find_maker){ 0 };
		else
			vt_find_add_history(n, n->makers[i].seq);
}

static struct vt_finding begin_areas(struct vt_find *f, const struct vt_event *e, uint64_t areas)
{
	const struct vt_effect *fx = &f->replay->effect;
	uint64_t lo = fx->lo, hi = fx->hi;
	if (vt_is_error(e->ret)) {
		lo = e->a[0];
		hi = lo + e->a[1];
	}
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_MAP_COUNT, lo, hi);
	n.limit = f->replay->model.config.max_map_count;
	n.count = areas < n.limit ? areas : n.limit; /* beyond it the model is in doubt */
	find_makers(f, e, &n);
	return n;
}

static bool may_need_areas(uint8_t kind)
{
	return kind == VT_MMAP || kind == VT_MUNMAP || kind == VT_BRK || kind == VT_SHMAT ||
	       kind == VT_MLOCK || kind == VT_MLOCK2 || vt_find_is_change(kind);
}

/* Areas against vm.max_map_count: the kernel refuses what would need one more. */
static void find_areas(struct vt_find *f, const struct vt_event *e)
{
	const struct vt_model *m = &f->replay->model;
	uint64_t limit = m->config.max_map_count, areas = m->totals.map_count;
	/* madvise says EAGAIN for want of kernel memory, an area among it */
	bool refused = e->ret == -ENOMEM || (e->kind == VT_MADVISE && e->ret == -EAGAIN);
	if (f->replay->effect.splits && !vt_is_error(e->ret))
		count(&f->splits, e->stack, f->replay->effect.splits, e->seq);
	if (!limit || 4 * areas < limit)
		return;
	if (refused && may_need_areas(e->kind) && areas + m->totals.undetermined + 1 >= limit) {
		struct vt_finding n = begin_areas(f, e, areas + m->totals.undetermined);
		n.severity = VT_SEVERITY_ERROR;
		n.proof = VT_PROOF_REFUSED;
		f->areas.severity = VT_SEVERITY_ERROR;
		vt_find_add(f, &n);
	} else if (!f->areas.seq && areas >= limit / 100 * MANY) {
		uint8_t severity = f->areas.severity;
		f->areas = begin_areas(f, e, areas);
		f->areas.severity = severity;
	}
	if (f->areas.seq && areas > f->areas.count)
		f->areas.count = areas;
}

/* The heap asked to grow, and did not. */
static void find_blocked_heap(struct vt_find *f, const struct vt_event *e)
{
	struct vt_find_piece p;
	uint64_t top = (uint64_t)e->ret, asked = e->a[0];
	uint64_t lo = (top + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
	uint64_t hi = (asked + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
	if (asked <= top || vt_is_error(e->ret) || asked - top > UINT64_MAX / 4)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_BRK_BLOCKED, lo, hi);
	n.proof = VT_PROOF_REFUSED;
	n.severity = VT_SEVERITY_INFO;
	if (vt_find_piece_at(f, lo, hi, &p)) {
		struct vt_birth b = vt_find_birth(f, &p);
		n.severity = VT_SEVERITY_WARNING;
		vt_find_add_victim(f, &n, &p, &b);
	}
	vt_find_add(f, &n);
}

static bool locks(const struct vt_event *e)
{
	return e->kind == VT_MLOCK || e->kind == VT_MLOCK2 || e->kind == VT_MLOCKALL ||
	       (e->kind == VT_MMAP && (e->a[3] & MAP_LOCKED));
}

/* Locked memory against RLIMIT_MEMLOCK; who is above it is privileged. */
static void find_locks(struct vt_find *f, const struct vt_event *e)
{
	const struct vt_model *m = &f->replay->model;
	uint64_t limit = m->config.rlimit_memlock, locked = m->totals.locked_vm << VT_PAGE_SHIFT;
	bool refused = e->ret == -ENOMEM || e->ret == -EAGAIN || e->ret == -EPERM;
	uint64_t lo = 0, hi = 0;
	vt_find_range(e, &lo, &hi);
	if (limit == UINT64_MAX || locked > limit)
		return;
	if (refused ? locked + (hi - lo) <= limit && e->kind != VT_MLOCKALL
		    : locked < limit / 100 * MANY || f->locks.seq)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_LOCK_LIMIT, lo, hi);
	n.severity = refused ? VT_SEVERITY_WARNING : VT_SEVERITY_INFO;
	n.proof = refused ? VT_PROOF_REFUSED : VT_PROOF_NONE;
	n.count = locked;
	n.limit = limit;
	if (!f->locks.severity || refused)
		f->locks = n;
}

/* An address that is no page's, inside a mapping of the caller's own. */
static void note_refusal(struct vt_find *f, const struct vt_event *e)
{
	struct vt_find_piece p;
	uint64_t page = e->a[0] & ~(VT_PAGE_SIZE - 1);
	if (f->n_refusals == VT_FIND_REFUSALS ||
	    !vt_find_piece_at(f, page, page + VT_PAGE_SIZE, &p) ||
	    (page == e->a[0] && !(p.flags & VT_VM(HUGETLB))))
		return;
	struct vt_birth b = vt_find_birth(f, &p);
	if (!b.seq || b.owner != f->actor)
		return;
	f->refusals[f->n_refusals++] = (struct vt_find_refusal){
		.event = *e,
		.owner = f->actor,
		.kept = { b.lo, b.hi, b, vt_find_path(f, p.file) },
	};
}

void vt_find_limits(struct vt_find *f, const struct vt_event *e)
{
	find_areas(f, e);
	if (e->kind == VT_BRK)
		find_blocked_heap(f, e);
	else if (locks(e))
		find_locks(f, e);
	else if (e->kind == VT_MUNMAP && e->ret == -EINVAL)
		note_refusal(f, e);
}

/* Report the unmaps that were refused, where the mapping is there at the end. */
static void flush_refusals(struct vt_find *f)
{
	for (uint32_t i = 0; i < f->n_refusals; i++) {
		struct vt_find_refusal *r = &f->refusals[i];
		struct vt_find_piece p;
		uint64_t page = r->event.a[0] & ~(VT_PAGE_SIZE - 1);
		if (!vt_find_piece_at(f, page, page + VT_PAGE_SIZE, &p) ||
		    p.birth != r->kept.birth.seq)
			continue;
		f->actor = r->owner;
		struct vt_finding n = vt_find_begin(f, &r->event, VT_FIND_FAILED_UNMAP,
						    r->event.a[0], r->event.a[0] + r->event.a[1]);
		n.severity = VT_SEVERITY_WARNING;
		n.proof = VT_PROOF_REFUSED;
		n.victims[n.n_victims++] = r->kept;
		vt_find_add_history(&n, r->kept.birth.seq);
		vt_find_add(f, &n);
	}
}

void vt_find_flush_limits(struct vt_find *f)
{
	flush_refusals(f);
	if (f->areas.seq && f->areas.severity != VT_SEVERITY_ERROR) {
		f->areas.severity = VT_SEVERITY_WARNING;
		vt_find_add(f, &f->areas);
	}
	if (f->locks.seq)
		vt_find_add(f, &f->locks);
	free_counts(&f->splits);
}
