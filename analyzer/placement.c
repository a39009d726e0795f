/*
 * placement.c - comparing predicted places with the kernel's, and explaining those that differ.
 *
 * A wrong prediction says that the model's address space was not the kernel's at that moment. The
 * trace knows of what can have been there: the other calls under way, and the changes that nobody
 * saw until the recorder looked. Each is tried where the model had found room.
 *
 * SPDX-License-Identifier: MIT
 */
#include "placement.h"

#include <linux/personality.h>
#include <sys/mman.h>
#include <vmtrail/abi.h>

#include "alloc.h"

/* How far ahead an explanation is looked for, and of how many parts it may be. */
#define LOOK_AHEAD 65536
#define MAX_PARTS  16
#define RELEASES   (sizeof(((struct vt_placements *)0)->release) / sizeof(struct vt_release))

const struct vt_miss_info vt_misses[VT_MISS_COUNT] = {
#define VT_MISS_ROW(e, name, text) [VT_MISS_##e] = { name, text },
	VT_MISSES(VT_MISS_ROW)
#undef VT_MISS_ROW
};

static bool meets(const struct vt_obstacle *o, const struct vt_placement *p)
{
	return o->lo < p->at + p->len && p->at < o->hi;
}

static bool is_free(const struct vt_model *m, uint64_t lo, uint64_t hi)
{
	const struct vt_extent *x = vt_model_find(m, lo);
	return lo < hi && (!x || x->start >= hi);
}

static void add(struct vt_obstacles *list, struct vt_obstacle o)
{
	if (list->first == list->n)
		list->first = list->n = 0;
	list->v = vt_grow(list->v, list->n, &list->cap, sizeof(*list->v));
	list->v[list->n++] = o;
	list->longest = o.span > list->longest ? o.span : list->longest;
}

/* Forget those that have come by now. */
static void drop(struct vt_obstacles *list, uint64_t seq)
{
	bool longest = false;
	for (; list->first < list->n && list->v[list->first].seq <= seq; list->first++)
		longest |= list->v[list->first].span == list->longest;
	if (longest) {
		list->longest = 0;
		for (size_t i = list->first; i < list->n; i++)
			if (list->v[i].span > list->longest)
				list->longest = list->v[i].span;
	}
	if (list->first > LOOK_AHEAD) {
		list->n -= list->first;
		memmove(list->v, list->v + list->first, list->n * sizeof(*list->v));
		list->first = 0;
	}
}

/* A later event may show what was in the way of an earlier call. */
static void note_coming(struct vt_placements *p, const struct vt_event *e)
{
	struct vt_obstacle o = { .seq = e->seq, .span = e->span };
	if (e->kind == VT_UNSEEN_MAP && e->aux == VT_UNSEEN_CHANGE) {
		o.lo = e->a[0];
		o.hi = o.lo + e->a[1];
		o.unseen = true;
		o.flags = vt_prot_flags(e->a[2]) | (e->a[3] & MAP_SHARED ? VT_VM(SHARED) : 0);
		o.file = e->file;
		o.pgoff = e->a[4] >> VT_PAGE_SHIFT;
		add(&p->unseen, o);
	} else if ((e->kind == VT_MMAP || e->kind == VT_SHMAT) && e->span && !vt_is_error(e->ret)) {
		o.lo = (uint64_t)e->ret;
		o.hi = o.lo + e->a[e->kind == VT_MMAP ? 1 : 3];
		add(&p->coming, o);
	}
}

/* Learn what comes after e, which is next: of each event once, for all the calls before it. */
static void look_ahead(struct vt_placements *p, struct vt_replay *r, const struct vt_event *e)
{
	const struct vt_item *later;
	if (p->looked_at <= p->items)
		p->looked_at = p->items + 1;
	for (; p->looked_at <= p->items + LOOK_AHEAD; p->looked_at++) {
		later = vt_replay_ahead(r, p->looked_at - p->items);
		if (!later)
			break;
		if (later->type == VT_ITEM_EVENT)
			note_coming(p, &later->event);
	}
	drop(&p->coming, e->seq);
	drop(&p->unseen, e->seq);
}

/*
 * The first of a list at the predicted place of e that can have been there already. The number of
 * a call was taken after it came back: its span tells how far back it began.
 */
static const struct vt_obstacle *first_at(const struct vt_obstacles *list, struct vt_model *m,
					  const struct vt_event *e, const struct vt_placement *at)
{
	for (size_t i = list->first; i < list->n; i++) {
		const struct vt_obstacle *o = &list->v[i];
		if (!o->unseen && o->seq > e->seq + list->longest)
			return NULL;
		if ((o->unseen || o->seq <= e->seq + o->span) && meets(o, at) &&
		    is_free(m, o->lo, o->hi))
			return o;
	}
	return NULL;
}

/* The obstacle at the predicted place, among what the trace knows of. */
static bool find_obstacle(struct vt_placements *p, struct vt_replay *r, const struct vt_event *e,
			  const struct vt_placement *at, struct vt_obstacle *o)
{
	uint64_t oldest = p->n_releases > RELEASES ? p->n_releases - RELEASES : 0;
	for (uint64_t i = p->n_releases; i-- > oldest;) {
		const struct vt_release *x = &p->release[i % RELEASES];
		*o = (struct vt_obstacle){ .lo = x->lo, .hi = x->hi, .seq = x->seq };
		/* read both at one number, the two may have followed each other or not */
		uint64_t end = x->last + 1, began = e->seq - e->span;
		bool both = end > began || (end == began && x->tid != e->tid);
		if (both && meets(o, at) && is_free(&r->model, o->lo, o->hi))
			return true;
	}
	look_ahead(p, r, e);
	const struct vt_obstacle *call = first_at(&p->coming, &r->model, e, at);
	const struct vt_obstacle *unseen = first_at(&p->unseen, &r->model, e, at);
	const struct vt_obstacle *first =
	    call && (!unseen || call->seq < unseen->seq) ? call : unseen;
	if (first)
		*o = *first;
	return first;
}

/* Put something in the way. It is taken out again unless it is known to be there. */
static void put(struct vt_model *m, const struct vt_obstacle *o)
{
	struct vt_vma v = {
		.start = o->lo,
		.end = (o->hi + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE,
		.flags = o->flags,
		.file = o->file,
		.pgoff = o->pgoff,
		.undetermined = o->unseen,
	};
	vt_model_put(m, &v, o->seq, 0);
}

/*
 * Leave out of the model's free space what must be taken. What [lo, hi), the kernel's own choice,
 * proves to be free is dropped, and what is taken by now.
 */
static void put_passed(struct vt_placements *p, struct vt_model *m, uint64_t lo, uint64_t hi)
{
	unsigned n = 0;
	for (unsigned i = 0; i < p->n_passed; i++) {
		const struct vt_range *x = &p->passed[i];
		if (is_free(m, x->lo, x->hi) && (x->hi <= lo || x->lo >= hi))
			p->passed[n++] = *x;
	}
	p->n_passed = n;
	for (unsigned i = 0; i < n; i++)
		put(m, &(struct vt_obstacle){ .lo = p->passed[i].lo, .hi = p->passed[i].hi });
}

static void forget_passed(const struct vt_placements *p, struct vt_model *m)
{
	for (unsigned i = 0; i < p->n_passed; i++)
		vt_model_forget(m, p->passed[i].lo, p->passed[i].hi);
}

static void add_passed(struct vt_placements *p, const struct vt_obstacle *o)
{
	const unsigned most = sizeof(p->passed) / sizeof(p->passed[0]);
	if (p->n_passed == most)
		memmove(p->passed, p->passed + 1, --p->n_passed * sizeof(p->passed[0]));
	p->passed[p->n_passed++] = (struct vt_range){ o->lo, o->hi };
}

/*
 * What the kernel must have passed over for the prediction at to end at got: all of the gap that
 * got lies in on the side where the search begins, or the predicted place itself.
 */
static struct vt_obstacle passed_over(const struct vt_model *m, const struct vt_placement *at,
				      uint64_t got)
{
	struct vt_obstacle o = { .lo = at->at, .hi = at->at + at->len };
	uint64_t lo = got < at->at ? got : at->at, hi = got < at->at ? o.hi : got + at->len;
	if (!is_free(m, lo, hi)) /* another gap */
		return o;
	if (got < at->at)
		o.lo = got + at->len;
	else
		o.hi = got;
	return o;
}

/*
 * What the kernel must have passed over for a prediction to come out where it went: into o, which
 * has room for MAX_PARTS. Returns their number; 0: that is not it.
 */
static unsigned conclude(struct vt_replay *r, const struct vt_event *e, struct vt_placement at,
			 struct vt_obstacle *o)
{
	const uint64_t got = (uint64_t)e->ret;
	const bool down = !r->model.config.bottomup;
	unsigned n = 0;
	while (at.at != got && !vt_is_error((int64_t)at.at) && down == (got < at.at) &&
	       n < MAX_PARTS) {
		o[n] = passed_over(&r->model, &at, got);
		if (!is_free(&r->model, o[n].lo, o[n].hi))
			break;
		put(&r->model, &o[n++]);
		vt_model_placement(&r->model, e, &at);
	}
	for (unsigned i = 0; i < n; i++)
		vt_model_forget(&r->model, o[i].lo, o[i].hi);
	return at.at == got ? n : 0;
}

/*
 * Whether obstacles lead the prediction to where the kernel went. Mappings among them whose events
 * are still to come are there from now on: into early, which has room for MAX_PARTS, *n of them.
 */
static enum vt_miss explain(struct vt_placements *p, struct vt_replay *r, const struct vt_event *e,
			    struct vt_placement at, uint64_t *other, struct vt_obstacle *early,
			    unsigned *n_early)
{
	const struct vt_trace *t = r->trace;
	struct vt_obstacle tried[MAX_PARTS];
	unsigned n = 0;
	enum vt_miss why = VT_MISS_UNEXPLAINED;

	if (!r->model.config.mmap_base)
		return VT_MISS_BASE;
	if (e->file && e->file < t->n_files && t->files[e->file].kind == VT_FILE_DEVICE)
		return VT_MISS_DRIVER;
	bool low = e->kind == VT_MMAP && e->a[3] & MAP_32BIT;
	if (low && !(r->model.personality & ADDR_NO_RANDOMIZE))
		return VT_MISS_RANDOM;
	uint64_t end = (uint64_t)e->ret + at.len;
	if (!is_free(&r->model, (uint64_t)e->ret, end) && e->kind != VT_MREMAP)
		return VT_MISS_FREED;
	while (at.at != (uint64_t)e->ret && !vt_is_error((int64_t)at.at) && n < MAX_PARTS &&
	       find_obstacle(p, r, e, &at, &tried[n])) {
		put(&r->model, &tried[n++]);
		vt_model_placement(&r->model, e, &at);
	}
	bool proved = at.at == (uint64_t)e->ret;
	for (unsigned i = 0; i < n; i++) {
		if (proved && tried[i].unseen) {
			why = VT_MISS_UNSEEN;
			*other = tried[i].seq;
			continue;
		}
		vt_model_forget(&r->model, tried[i].lo, tried[i].hi);
		if (proved && tried[i].seq > e->seq)
			early[(*n_early)++] = tried[i];
	}
	if (proved && n && why == VT_MISS_UNEXPLAINED) {
		why = VT_MISS_OVERLAP;
		*other = tried[0].seq;
	}
	return why;
}

/*
 * A release is announced before its call: the kernel may still hold the range at later events, and
 * at those that had begun before it.
 */
static void keep_release(struct vt_placements *p, const struct vt_event *e)
{
	if (e->kind != VT_MUNMAP && e->kind != VT_MREMAP)
		return;
	uint64_t hi = e->a[0] + ((e->a[1] + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE);
	p->release[p->n_releases++ % RELEASES] =
	    (struct vt_release){ e->a[0], hi, e->seq, e->seq + e->span, e->tid };
}

static void judge(struct vt_placements *p, struct vt_replay *r, const struct vt_event *e)
{
	struct vt_misplaced m = { .event = *e };
	struct vt_obstacle passed[MAX_PARTS];
	unsigned n = 0;
	if (!vt_model_placement(&r->model, e, &m.predicted))
		return;
	p->asked++;
	put_passed(p, &r->model, (uint64_t)e->ret, (uint64_t)e->ret + m.predicted.len);
	if (p->n_passed)
		vt_model_placement(&r->model, e, &m.predicted);
	bool hit = m.predicted.at == (uint64_t)e->ret;
	if (!hit) {
		m.why = explain(p, r, e, m.predicted, &m.other, passed, &n);
		if (m.why == VT_MISS_UNEXPLAINED)
			n = conclude(r, e, m.predicted, passed);
	}
	forget_passed(p, &r->model);
	if (hit) {
		p->hits++;
		return;
	}
	for (unsigned i = 0; i < n; i++)
		add_passed(p, &passed[i]);
	m.why = n && m.why == VT_MISS_UNEXPLAINED ? VT_MISS_PASSED : m.why;
	p->why[m.why]++;
	if (!p->listed)
		return;
	p->misses = vt_grow(p->misses, p->n, &p->cap, sizeof(*p->misses));
	p->misses[p->n++] = m;
}

void vt_placements_before(struct vt_placements *p, struct vt_replay *r)
{
	const struct vt_item *next = vt_replay_peek(r);
	if (next && next->type == VT_ITEM_EVENT) {
		struct vt_event e = next->event;
		if (r->started && !(e.flags & (VT_EV_LATE | VT_EV_OWN)))
			judge(p, r, &e);
		keep_release(p, &e);
	}
	p->items++;
}

int vt_placements_collect(struct vt_placements *p, struct vt_trace *t)
{
	struct vt_replay r;
	struct vt_item item;
	int error = vt_replay_init(&r, t);
	p->listed = true;
	if (error)
		return error;
	do
		vt_placements_before(p, &r);
	while (vt_replay_next(&r, &item) != VT_ITEM_END);
	vt_replay_fini(&r);
	return 0;
}

void vt_placements_free(struct vt_placements *p)
{
	free(p->misses);
	free(p->coming.v);
	free(p->unseen.v);
}
