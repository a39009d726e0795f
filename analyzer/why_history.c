/*
 * why_history.c - collecting the events of one page, through the model's observer.
 *
 * What the model changes on the page it tells itself; calls that left it alone but were about it
 * (a hint not honoured, a refusal) are found by their arguments.
 *
 * SPDX-License-Identifier: MIT
 */
#include "why_history.h"

#include <sys/mman.h>

#include "alloc.h"
#include "find.h"

/* The kernel keeps so much free below a stack; a frame that skips more is not looked for. */
#define STACK_GUARD_GAP (1u << 20)

#define MAP_NOREPLACE 0x100000 /* MAP_FIXED_NOREPLACE */

static const char *path_of(const struct vt_trace *t, uint32_t file)
{
	return file && file < t->n_files ? t->files[file].path : NULL;
}

static struct vt_why_mapping mapping_of(const struct vt_why *w, const struct vt_extent *x)
{
	return (struct vt_why_mapping){
		.birth = x->birth,
		.lo = x->start,
		.hi = x->end,
		.bytes = x->end - x->start,
		.flags = x->flags,
		.path = path_of(w->replay->trace, x->file),
		.role = vt_role_of(w->roles, w->replay, x),
	};
}

/* Add a piece that the event under way takes from a birth. */
static void add_piece(struct vt_why *w, const struct vt_extent *x, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < w->n_pieces; i++) {
		struct vt_why_mapping *p = &w->pieces[i];
		if (p->birth != x->birth || (!x->birth && p->hi != start))
			continue;
		p->lo = start < p->lo ? start : p->lo;
		p->hi = end > p->hi ? end : p->hi;
		p->bytes += end - start;
		p->flags |= x->flags;
		return;
	}
	w->pieces = vt_grow(w->pieces, w->n_pieces, &w->cap_pieces, sizeof(*w->pieces));
	struct vt_why_mapping *p = &w->pieces[w->n_pieces++];
	*p = mapping_of(w, x);
	p->lo = start;
	p->hi = end;
	p->bytes = end - start;
}

static void observe(void *ctx, const struct vt_event *ev, const struct vt_extent *x, uint64_t start,
		    uint64_t end, enum vt_piece_fate fate)
{
	struct vt_why *w = ctx;
	bool here = start < w->end && end > w->page;
	vt_why_gap_freed(w, ev, start, end, fate);
	if (fate != VT_PIECE_BORN)
		add_piece(w, x, start, end);
	if (!here)
		return;
	w->pending |= VT_WHY_FATE(fate);
	if (fate != VT_PIECE_BORN)
		w->pending_victim = x->birth;
}

/* The address range that a call names by its arguments; false: none. */
static bool asked_range(const struct vt_event *e, uint64_t *lo, uint64_t *hi)
{
	const uint8_t *class = vt_kinds[e->kind].arg;
	if (class[0] != VT_ARG_ADDR || class[1] != VT_ARG_LEN || !e->a[0])
		return false;
	*lo = e->a[0] & ~(VT_PAGE_SIZE - 1);
	return !__builtin_add_overflow(e->a[0], e->a[1], hi);
}

/* Calls that were about the page and did nothing to it. */
static uint32_t asked_in_vain(const struct vt_why *w, const struct vt_event *e)
{
	uint64_t lo, hi;
	if (e->kind == VT_FAULT && e->a[0] >= w->page && e->a[0] < w->end)
		return VT_WHY_FAULT;
	if (!vt_kind_is_call(e->kind) || (e->flags & VT_EV_UNDONE) || !asked_range(e, &lo, &hi) ||
	    w->end <= lo || w->page >= hi)
		return 0;
	if (vt_is_error(e->ret))
		return VT_WHY_REFUSED;
	if (e->kind == VT_MUNMAP)
		return VT_WHY_NOTHING;
	if (e->kind == VT_MMAP && !(e->a[3] & (MAP_FIXED | MAP_NOREPLACE)) &&
	    (uint64_t)e->ret != lo)
		return VT_WHY_ELSEWHERE;
	return 0;
}

/* What held a range that was asked for; the part on the page counts most. */
static bool find_holder(const struct vt_why *w, const struct vt_event *e,
			struct vt_why_mapping *holder)
{
	uint64_t lo, hi;
	if (!asked_range(e, &lo, &hi))
		return false;
	const struct vt_extent *x = vt_model_find(&w->replay->model, w->page);
	if (!x || x->start > w->page)
		x = vt_model_find(&w->replay->model, lo);
	if (!x || x->start >= hi)
		return false;
	*holder = mapping_of(w, x);
	return true;
}

static void keep_stack(struct vt_why *w, struct vt_why_entry *entry)
{
	struct vt_frame_text f[VT_MAX_FRAMES];
	size_t n = vt_stack_frames(w->sites, w->replay, &entry->event, f, VT_MAX_FRAMES),
	       caller = 0;
	if (!n)
		return;
	while (caller < n && strncmp(f[caller].module, "libvmtrail.so", 13) == 0)
		caller++;
	entry->by_loader = caller < n && strncmp(f[caller].module, "ld-", 3) == 0;
	entry->site = vt_site_of(w->sites, w->replay, &entry->event);
	if (!w->stacks)
		return;
	entry->frames = vt_realloc(NULL, n, sizeof(*f));
	memcpy(entry->frames, f, n * sizeof(*f));
	entry->n_frames = n;
}

/* After the model has taken an event in: keep it if it had to do with the page. */
static void after_event(struct vt_why *w, const struct vt_event *e)
{
	const struct vt_effect *fx = &w->replay->effect;
	uint32_t what = w->pending;
	if (e->kind == VT_MREMAP && !vt_is_error(e->ret) && fx->lo2 < w->end && fx->hi2 > w->page)
		what |= VT_WHY_ARRIVED;
	if (!what)
		what = asked_in_vain(w, e);
	if (what) {
		w->entries = vt_grow(w->entries, w->n, &w->cap, sizeof(*w->entries));
		struct vt_why_entry *entry = &w->entries[w->n++];
		*entry = (struct vt_why_entry){ .event = *e, .what = what, .gap = w->gap };
		entry->path = path_of(w->replay->trace, e->file);
		for (size_t i = 0; i < w->n_pieces; i++)
			if (w->pieces[i].birth == w->pending_victim && w->pieces[i].lo < w->end &&
			    w->pieces[i].hi > w->page) {
				entry->victim = w->pieces[i];
				entry->has_victim = true;
			}
		if (what & (VT_WHY_ELSEWHERE | VT_WHY_REFUSED))
			entry->has_victim = find_holder(w, e, &entry->victim);
		keep_stack(w, entry);
	}
	w->pending = 0;
	w->n_pieces = 0;
}

/* The last event of the moment asked for; every event, if it is the end. */
static uint64_t last_event(struct vt_trace *t, const struct vt_when *at)
{
	struct vt_item item;
	uint64_t last = 0;
	if (at->kind != VT_WHEN_TIME)
		return at->kind == VT_WHEN_END ? UINT64_MAX : at->kind == VT_WHEN_SEQ ? at->seq : 0;
	vt_trace_rewind(t);
	for (enum vt_item_type type; (type = vt_trace_next(t, &item)) != VT_ITEM_END;) {
		if (type != VT_ITEM_EVENT)
			continue;
		if (item.event.begin_ns + item.event.dur_ns > at->ns)
			break;
		last = item.event.seq;
	}
	return last;
}

static bool find_mapping(const struct vt_why *w, struct vt_why_mapping *m)
{
	const struct vt_extent *x = vt_model_find(&w->replay->model, w->page);
	if (!x || x->start > w->page)
		return false;
	*m = mapping_of(w, x);
	return true;
}

static void find_state(struct vt_why *w)
{
	const struct vt_extent *x = vt_model_find(&w->replay->model, w->page);
	for (uint64_t birth = UINT64_MAX; x && x->start < w->end; x = vt_extent_next(x)) {
		uint64_t lo = x->start > w->page ? x->start : w->page;
		w->held_bytes += (x->end < w->end ? x->end : w->end) - lo;
		w->n_held += x->birth != birth;
		birth = x->birth;
	}
	w->mapped = find_mapping(w, &w->now);
	if (w->mapped)
		return;
	const struct vt_extent *above = vt_model_find(&w->replay->model, w->page);
	const struct vt_extent *below =
	    above ? vt_extent_prev(above) : vt_model_last(&w->replay->model);
	w->below = below ? below->end : 0;
	w->above = above ? above->start : w->replay->model.config.task_size;
	uint64_t limit = w->replay->model.config.rlimit_stack;
	if (above && above->special == VT_SPECIAL_STACK && above->end - w->page > limit &&
	    above->end - w->page - limit <= STACK_GUARD_GAP)
		w->beyond = limit;
}

int vt_why_collect(struct vt_why *w, struct vt_trace *t, const struct vt_when *at)
{
	struct vt_replay r;
	struct vt_item item;
	bool begun = false;
	uint64_t last = last_event(t, at);
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	w->page = w->addr & ~(VT_PAGE_SIZE - 1);
	if (w->end <= w->addr)
		w->end = w->page + VT_PAGE_SIZE;
	w->at_end = at->kind == VT_WHEN_END;
	w->trace = t;
	w->replay = &r;
	w->sites = vt_sites_new();
	w->roles = vt_roles_new(w->sites);
	w->bottomup = r.model.config.bottomup;
	r.model.observe = observe;
	r.model.observe_ctx = w;
	while (!begun || w->last_seq < last) {
		vt_why_gap_before(w);
		enum vt_item_type type = vt_replay_next(&r, &item);
		if (type == VT_ITEM_END)
			break;
		vt_sites_follow(w->sites, &r, &item);
		vt_roles_follow(w->roles, &r, &item);
		if (!begun && type != VT_ITEM_EVENT)
			w->had_start = find_mapping(w, &w->start);
		begun = true;
		if (type == VT_ITEM_EVENT) {
			w->last_seq = item.event.seq;
			after_event(w, &item.event);
		}
	}
	find_state(w);
	vt_replay_fini(&r);
	w->replay = NULL;
	return 0;
}

void vt_why_free(struct vt_why *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->entries[i].frames);
	free(w->entries);
	free(w->pieces);
	vt_range_map_free(&w->freed);
	vt_roles_free(w->roles);
	vt_sites_free(w->sites);
}

const struct vt_why_entry *vt_why_find(const struct vt_why *w, uint64_t seq)
{
	for (size_t i = w->n; i-- > 0;)
		if (w->entries[i].event.seq == seq)
			return &w->entries[i];
	return NULL;
}

const struct vt_finding *vt_why_finding(const struct vt_why *w, uint64_t seq)
{
	for (size_t i = 0; w->find && i < w->find->n; i++)
		if (w->find->found[i].seq == seq)
			return &w->find->found[i];
	return NULL;
}

bool vt_why_concerns(const struct vt_why *w, const struct vt_finding *n)
{
	if (n->seq > w->last_seq)
		return false;
	for (uint32_t i = 0; i < n->n_victims && i < VT_FIND_VICTIMS; i++)
		if (n->victims[i].lo < w->end && n->victims[i].hi > w->page)
			return true;
	return n->addr < w->end && n->addr + n->length > w->page;
}

bool vt_why_is_destructive(const struct vt_why_entry *e)
{
	return (e->what & VT_WHY_FATE(VT_PIECE_CLOBBERED)) &&
	       (e->victim.flags & (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC))) && !e->by_loader;
}
