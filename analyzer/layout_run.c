/*
 * layout_run.c - two models side by side: what the program did, and the same in another space.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <linux/personality.h>
#include <sys/shm.h>
#include <vmtrail/abi.h>

#include "alloc.h"
#include "layout.h"
#include "own_share.h"
#include "range_map.h"

/* What was mapped at the start lies within so much of mmap_base, or is the program, its heap or its
 * stack, which have places of their own. */
#define REGION (1UL << 44)

/* Both spaces while the replay runs. */
struct spaces {
	struct vt_layout *l;
	struct vt_replay r;
	struct vt_model there;
	/* how far each recorded address lies from its counterpart; kept when it is unmapped: the
	 * program may come back to it */
	struct vt_range_map shifts;
	struct vt_own_share share;
	uint32_t n_files;
	uint64_t victim; /* of the event under way */
	bool started;
};

bool vt_layout_is_asked(const struct vt_layout_asked *a)
{
	return a->layout || a->thp || a->kernel;
}

static uint64_t page_up(uint64_t v)
{
	return (v + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
}

/* mmap_base's gap for the stack, whose beginning is random or not (stack_maxrandom_size). */
static uint64_t stack_gap(const struct vt_model_config *c, uint64_t stack, bool random)
{
	uint64_t gap = stack, pad = (random ? 16UL << 30 : 0) + c->stack_guard_gap;
	if (gap + pad > gap)
		gap += pad;
	if (gap < 128UL << 20)
		gap = 128UL << 20;
	return gap < c->task_size / 6 * 5 ? gap : c->task_size / 6 * 5;
}

/* The other space's rules, and where its searches begin. */
static void choose_config(struct vt_layout *l, const struct vt_model *recorded)
{
	const struct vt_layout_asked *a = &l->asked;
	struct vt_model_config *c = &l->there;
	l->recorded = *c = recorded->config;
	uint64_t before = c->rlimit_stack, stack = a->stack != UINT64_MAX ? a->stack : before;
	bool random = !(recorded->personality & ADDR_NO_RANDOMIZE);
	if (a->kernel)
		c->kernel_version = a->kernel;
	if (a->thp)
		c->thp_align = a->thp == VT_THP_ON;
	if (a->layout)
		c->bottomup = a->layout == VT_LAYOUT_BOTTOMUP;
	if (c->bottomup && !l->recorded.bottomup)
		c->mmap_base = page_up(c->task_size / 3);
	else if (!c->bottomup && l->recorded.bottomup)
		/* the legacy layout may come from a stack without limit */
		c->mmap_base = page_up(
		    c->task_size - stack_gap(c, stack == UINT64_MAX ? 8UL << 20 : stack, false));
	else if (!c->bottomup && c->mmap_base)
		c->mmap_base = page_up(c->mmap_base + stack_gap(c, before, random) -
				       stack_gap(c, stack, random));
}

static void on_piece(void *ctx, const struct vt_event *ev, const struct vt_extent *x,
		     uint64_t start, uint64_t end, enum vt_piece_fate fate)
{
	struct spaces *s = ctx;
	(void)ev;
	(void)start;
	(void)end;
	if (fate == VT_PIECE_CLOBBERED)
		s->victim = x->birth;
}

static int open_there(struct spaces *s)
{
	choose_config(s->l, &s->r.model);
	if (vt_model_init(&s->there, &s->l->there, &s->r.model.memory))
		return -ENOMEM;
	s->there.personality = s->r.model.personality;
	s->there.observe = on_piece;
	s->there.observe_ctx = s;
	return 0;
}

static bool in_region(const struct vt_model_config *c, uint64_t addr)
{
	if (c->bottomup)
		return addr >= c->mmap_base && addr - c->mmap_base < REGION;
	return addr < c->mmap_base && c->mmap_base - addr < REGION;
}

static bool is_ours(const struct spaces *s, const struct vt_extent *x)
{
	return vt_own_share_pages(&s->share, x) == (x->end - x->start) >> VT_PAGE_SHIFT;
}

/* What the kernel had placed as one: a library with what follows its contents, or a mapping. */
struct object {
	uint64_t lo, hi;
	uint32_t file;
};

struct objects {
	struct object *v;
	size_t n, cap;
};

static struct objects find_objects(const struct spaces *s)
{
	struct objects all = { 0 };
	for (struct vt_extent *x = vt_model_first(&s->r.model); x; x = vt_extent_next(x)) {
		if (!in_region(&s->l->recorded, x->start) || is_ours(s, x))
			continue;
		struct object *last = all.n ? &all.v[all.n - 1] : NULL;
		if (last && last->hi == x->start && (x->file == last->file || !x->file)) {
			last->hi = x->end;
			continue;
		}
		all.v = vt_grow(all.v, all.n, &all.cap, sizeof(*all.v));
		all.v[all.n++] = (struct object){ x->start, x->end, x->file };
	}
	return all;
}

/* The recorder's bytes, and those that are free, of what lies between two objects. */
static uint64_t free_between(const struct spaces *s, uint64_t lo, uint64_t hi)
{
	uint64_t bytes = hi - lo;
	for (struct vt_extent *x = vt_model_find(&s->r.model, lo); x && x->start < hi;
	     x = vt_extent_next(x))
		bytes -= x->end - x->start;
	return bytes;
}

/* Object by object in the order in which they were placed, one after the other from mmap_base on.
 */
static void shift_start(struct spaces *s)
{
	struct objects all = find_objects(s);
	bool down = !s->l->recorded.bottomup;
	uint64_t at = s->l->there.mmap_base;
	for (size_t i = 0; i < all.n; i++) {
		size_t k = down ? all.n - 1 - i : i;
		const struct object *o = &all.v[k],
				    *before = i ? &all.v[down ? k + 1 : k - 1] : NULL;
		uint64_t size = o->hi - o->lo;
		uint64_t gap = !before ? 0
			       : down  ? free_between(s, o->hi, before->lo)
				       : free_between(s, before->hi, o->lo);
		if (s->l->there.bottomup)
			at += gap;
		else
			at -= gap + size;
		vt_range_map_set(&s->shifts, o->lo, o->hi, (int64_t)(at - o->lo));
		if (s->l->there.bottomup)
			at += size;
	}
	free(all.v);
}

/* The start: what the kernel had placed lies elsewhere, the program, its heap and its stack not. */
static int enter_start(struct spaces *s)
{
	uint64_t end;
	shift_start(s);
	for (struct vt_extent *x = vt_model_first(&s->r.model); x; x = vt_extent_next(x)) {
		struct vt_vma v = vt_extent_vma(x);
		if (is_ours(s, x))
			continue;
		v.start = x->start + (uint64_t)vt_range_map_get(&s->shifts, x->start, 0, &end);
		v.end = v.start + (x->end - x->start);
		if (vt_model_put(&s->there, &v, x->birth, x->stack))
			return -ENOMEM;
	}
	s->started = true;
	return 0;
}

/* The counterpart of addr, and where the range that it belongs to ends. */
static uint64_t there_up_to(const struct spaces *s, uint64_t addr, uint64_t *end)
{
	return addr + (uint64_t)vt_range_map_get(&s->shifts, addr, 0, end);
}

static uint64_t there(const struct spaces *s, uint64_t addr)
{
	uint64_t end;
	return addr ? there_up_to(s, addr, &end) : 0;
}

static void conflict(struct spaces *s, const struct vt_event *e, int what, uint64_t addr,
		     uint64_t bytes)
{
	struct vt_layout *l = s->l;
	l->conflicts =
	    vt_grow(l->conflicts, l->n_conflicts, &l->cap_conflicts, sizeof(*l->conflicts));
	struct vt_layout_conflict *c = &l->conflicts[l->n_conflicts++];
	*c = (struct vt_layout_conflict){ .event = *e, .addr = addr, .bytes = bytes };
	c->what = what;
	c->victim = s->victim;
	c->site = vt_site_of(l->sites, &s->r, e);
	uint64_t id;
	if (c->victim && vt_births_find(&l->births, c->victim, &id) && id != UINT64_MAX)
		c->victim_site = vt_sites_get(l->sites, (uint32_t)id);
}

static int apply(struct spaces *s, const struct vt_event *e, struct vt_effect *fx)
{
	s->victim = 0;
	return vt_model_apply(&s->there, e, fx);
}

/* A new mapping of len bytes that stands at e->ret in the recording and at t->ret there. */
static int place(struct spaces *s, const struct vt_event *e, const struct vt_event *t, uint64_t len)
{
	struct vt_effect fx;
	int error = apply(s, t, &fx);
	if (fx.destroyed > s->r.effect.destroyed)
		conflict(s, e, VT_CONFLICT_HITS, (uint64_t)t->ret,
			 fx.destroyed - s->r.effect.destroyed);
	uint64_t at = (uint64_t)e->ret;
	vt_range_map_set(&s->shifts, at, at + page_up(len),
			 (int64_t)((uint64_t)t->ret - (uint64_t)e->ret));
	return error;
}

static uint64_t taken_by(const struct vt_model *m, uint64_t lo, uint64_t hi)
{
	const struct vt_extent *x = vt_model_find(m, lo);
	return x && x->start < hi ? x->birth ? x->birth : UINT64_MAX : 0;
}

/* A call that let the kernel choose: it chooses there. */
static int place_freely(struct spaces *s, const struct vt_event *e, struct vt_event *t)
{
	struct vt_placement p;
	struct vt_layout *l = s->l;
	if (!vt_model_placement(&s->there, t, &p))
		return 0;
	l->chosen++;
	if (vt_is_error((int64_t)p.at)) {
		conflict(s, e, VT_CONFLICT_NO_ROOM, 0, p.len);
		return 0;
	}
	bool honoured = e->kind == VT_MMAP && e->a[0] && (uint64_t)e->ret == e->a[0];
	l->hints += honoured;
	l->hints_lost += honoured && p.at != t->a[0];
	l->elsewhere += p.at != (uint64_t)e->ret;
	t->ret = (int64_t)p.at;
	return place(s, e, t, p.len);
}

static int do_mmap(struct spaces *s, const struct vt_event *e)
{
	struct vt_event t = *e;
	const uint64_t noreplace = MAP_FIXED_NOREPLACE;
	t.a[0] = there(s, e->a[0]);
	if (!(e->a[3] & MAP_FIXED) && (e->a[3] & noreplace) != noreplace)
		return place_freely(s, e, &t);
	s->l->forced++;
	t.ret = (int64_t)t.a[0];
	uint64_t taken = taken_by(&s->there, t.a[0], t.a[0] + page_up(e->a[1]));
	if ((e->a[3] & noreplace) == noreplace && taken) {
		s->victim = taken == UINT64_MAX ? 0 : taken;
		conflict(s, e, VT_CONFLICT_EXISTS, t.a[0], 0);
		return 0;
	}
	return place(s, e, &t, e->a[1]);
}

static int do_shmat(struct spaces *s, const struct vt_event *e)
{
	struct vt_event t = *e;
	if (!e->a[1])
		return place_freely(s, e, &t);
	s->l->forced++;
	t.a[1] = there(s, e->a[1]);
	t.ret = e->ret - (int64_t)e->a[1] + (int64_t)t.a[1];
	return place(s, e, &t, e->a[3]);
}

/* vma_expandable: whether the area that ends at end can grow by so many bytes where it is. */
static bool can_grow(const struct spaces *s, uint64_t end, uint64_t bytes)
{
	const struct vt_extent *x = vt_model_find(&s->there, end - 1);
	return x && x->start < end && x->end == end && end + bytes <= s->there.config.task_size &&
	       !taken_by(&s->there, end, end + bytes);
}

static int do_mremap(struct spaces *s, const struct vt_event *e)
{
	struct vt_event t = *e;
	uint64_t old_len = page_up(e->a[1]), new_len = page_up(e->a[2]);
	t.a[0] = there(s, e->a[0]);
	t.a[4] = there(s, e->a[4]);
	if (e->a[3] & MREMAP_FIXED) {
		s->l->forced++;
		t.ret = (int64_t)t.a[4];
		return place(s, e, &t, new_len);
	}
	bool stays = !(e->a[3] & MREMAP_DONTUNMAP) && old_len &&
		     (new_len <= old_len || can_grow(s, t.a[0] + old_len, new_len - old_len));
	if (stays) {
		t.ret = (int64_t)t.a[0];
		return place(s, e, &t, new_len);
	}
	if (!(e->a[3] & MREMAP_MAYMOVE)) {
		s->victim = 0;
		conflict(s, e, VT_CONFLICT_NO_ROOM, t.a[0], new_len - old_len);
		return 0;
	}
	t.ret = 0; /* it moves, wherever it was in the recording */
	return place_freely(s, e, &t);
}

/* A call on a range: piece by piece, where the pieces lie apart there. */
static int do_range(struct spaces *s, const struct vt_event *e)
{
	struct vt_effect fx;
	uint64_t at = e->a[0] & -VT_PAGE_SIZE, hi = page_up(e->a[0] + e->a[1]), end;
	int error = 0;
	while (!error && at < hi) {
		struct vt_event t = *e;
		t.a[0] = there_up_to(s, at, &end);
		end = end < hi ? end : hi;
		t.a[1] = end - at;
		error = apply(s, &t, &fx);
		at = end;
	}
	return error;
}

static int follow(struct spaces *s, const struct vt_event *e)
{
	struct vt_effect fx;
	struct vt_event t = *e;
	if (e->flags & (VT_EV_OWN | VT_EV_UNDONE | VT_EV_LATE) || vt_is_error(e->ret))
		return 0;
	switch (e->kind) {
	case VT_MMAP:
		return do_mmap(s, e);
	case VT_SHMAT:
		return do_shmat(s, e);
	case VT_MREMAP:
		return do_mremap(s, e);
	case VT_SHMDT:
		t.a[0] = there(s, e->a[0]);
		return apply(s, &t, &fx);
	case VT_MUNMAP:
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
	case VT_MADVISE:
	case VT_PROCESS_MADVISE:
	case VT_MLOCK:
	case VT_MLOCK2:
	case VT_MUNLOCK:
	case VT_MBIND:
	case VT_MSEAL:
		return do_range(s, e);
	case VT_UNSEEN_MAP:
		return e->aux == VT_UNSEEN_STACK_GROWTH ? apply(s, e, &fx) : 0;
	case VT_BRK:
	case VT_MLOCKALL:
	case VT_MUNLOCKALL:
	case VT_PERSONALITY:
		return apply(s, e, &fx);
	default:
		return 0;
	}
}

static int by_size(const void *pa, const void *pb)
{
	const struct vt_layout_place *a = pa, *b = pb;
	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->recorded > b->recorded ? 1 : -1;
}

/* Where the mappings of the end lie in both spaces. */
static void find_places(struct spaces *s)
{
	struct vt_layout *l = s->l;
	for (struct vt_extent *x = vt_model_first(&s->r.model); x; x = vt_extent_next(x)) {
		uint64_t id;
		if (is_ours(s, x) || x->special == VT_SPECIAL_VSYSCALL)
			continue;
		struct vt_layout_place *last = l->n_places ? &l->places[l->n_places - 1] : NULL;
		if (last && x->birth && last->birth == x->birth &&
		    last->recorded + last->bytes == x->start) {
			last->bytes += x->end - x->start;
			continue;
		}
		l->places = vt_grow(l->places, l->n_places, &l->cap_places, sizeof(*l->places));
		struct vt_layout_place *p = &l->places[l->n_places++];
		*p = (struct vt_layout_place){ .recorded = x->start,
					       .there = there(s, x->start),
					       .bytes = x->end - x->start,
					       .birth = x->birth,
					       .flags = x->flags,
					       .file = x->file };
		if (vt_births_find(&l->births, x->birth, &id) && id != UINT64_MAX)
			p->site = vt_sites_get(l->sites, (uint32_t)id);
	}
	if (l->n_places)
		qsort(l->places, l->n_places, sizeof(*l->places), by_size);
}

int vt_layout_run(struct vt_layout *l, struct vt_trace *t)
{
	struct spaces s = { .l = l };
	struct vt_item item;
	int error = vt_replay_init(&s.r, t);
	if (error)
		return error;
	l->sites = vt_sites_new();
	error = open_there(&s);
	while (!error) {
		enum vt_item_type type = vt_replay_next(&s.r, &item);
		if (type == VT_ITEM_END)
			break;
		vt_sites_follow(l->sites, &s.r, &item);
		if (vt_tell_files(t, &s.there, &s.n_files))
			error = -ENOMEM;
		if (!error && s.r.started && !s.started) {
			vt_own_share_count(&s.share, &s.r);
			error = enter_start(&s);
		}
		if (type != VT_ITEM_EVENT || !s.started || error)
			continue;
		const struct vt_event *e = &item.event;
		if (vt_gives_birth(e)) {
			const struct vt_site *site = vt_site_of(l->sites, &s.r, e);
			vt_births_add(&l->births, e->seq, site ? site->id : UINT64_MAX);
		}
		error = follow(&s, e);
	}
	find_places(&s);
	vt_range_map_free(&s.shifts);
	vt_own_share_free(&s.share);
	vt_model_fini(&s.there);
	vt_replay_fini(&s.r);
	return error;
}

void vt_layout_free(struct vt_layout *l)
{
	free(l->conflicts);
	free(l->places);
	vt_births_free(&l->births);
	vt_sites_free(l->sites);
}
