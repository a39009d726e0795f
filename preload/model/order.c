/*
 * order.c - calls on one range that overlapped in time: whose order their places cannot tell.
 *
 * Runs inside the traced process. A call that takes memory has its place after the system call and
 * says how many places were taken since it began; one that gives memory up has its place before and
 * says how many were taken until it ended (vt_event.span). From that alone follows which calls may
 * have been in the kernel at once. If they changed the same pages, the kernel may have done them
 * the other way round: those bytes are doubtful until its view has been read again. If they only
 * touch, or changed what maps does not show, the boundaries between them are nobody's to tell.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>
#include <sys/shm.h>
#include <vmtrail/order.h>

#include "internal.h"

/* What few events need stands apart from what all do. */
#define SELDOM static __attribute__((noinline))

#define NOREPLACE        0x100000 /* MAP_FIXED_NOREPLACE */
#define SET_VMA          0x53564d41
#define EVERYWHERE       (UINT64_MAX & ~(VT_PAGE_SIZE - 1))
#define HUGETLB_PAGE(f)  ((f) >> 26 & 63 ? 1ULL << ((f) >> 26 & 63) : VT_PMD_SIZE)
#define MADV_BIT(advice) (1ULL << (advice))

/* Advice that changes an area's flags, or gives it an anon_vma. */
#define ADVICE_OF_AREAS                                                                            \
	(MADV_BIT(MADV_NORMAL) | MADV_BIT(MADV_RANDOM) | MADV_BIT(MADV_SEQUENTIAL) |               \
	 MADV_BIT(MADV_DONTFORK) | MADV_BIT(MADV_DOFORK) | MADV_BIT(MADV_MERGEABLE) |              \
	 MADV_BIT(MADV_UNMERGEABLE) | MADV_BIT(MADV_HUGEPAGE) | MADV_BIT(MADV_NOHUGEPAGE) |        \
	 MADV_BIT(MADV_DONTDUMP) | MADV_BIT(MADV_DODUMP) | MADV_BIT(18) /* WIPEONFORK */ |         \
	 MADV_BIT(19) /* KEEPONFORK */ | MADV_BIT(22) | MADV_BIT(23) /* POPULATE */)

/* The pages that [lo, lo + len) touches; of an address within a page also where len is 0. */
static struct vt_range pages(uint64_t lo, uint64_t len)
{
	uint64_t end = lo + len < lo ? EVERYWHERE : vt_page_up(vt_min(lo + len, EVERYWHERE));
	return (struct vt_range){ vt_page_down(lo), end };
}

static bool empty(struct vt_range r)
{
	return r.lo >= r.hi;
}

static bool overlap(struct vt_range a, struct vt_range b)
{
	return a.lo < b.hi && b.lo < a.hi;
}

uint64_t vt_attached_bytes(const struct vt_model *m, uint64_t addr)
{
	const struct vt_extent *x = vt_model_find(m, addr);
	uint64_t end = addr;

	if (!x || x->start > addr)
		return 0;
	for (uint64_t birth = x->birth; x && x->birth == birth; x = vt_extent_next(x))
		end = x->end;
	return end - addr;
}

/*
 * Whether a call may have done something. What refuses its arguments has not; but a walk over areas
 * may also end with EINVAL at one of them: MADV_WIPEONFORK at a file, any at half a huge page.
 */
static bool may_have_acted(const struct vt_event *e)
{
	return e->ret != -EINVAL || !(e->a[0] & (VT_PAGE_SIZE - 1));
}

static bool place_of_mmap(const struct vt_event *e, struct vt_placed *c)
{
	bool known = !(e->flags & VT_EV_UNDONE) && !c->failed, forced = e->a[3] & MAP_FIXED;
	uint64_t huge = e->a[3] & MAP_HUGETLB ? HUGETLB_PAGE(e->a[3]) - 1 : 0;

	if (!known && (!forced || (c->failed && e->a[3] & NOREPLACE)))
		return false;
	/* one that is refused for a limit has cut areas before (__mmap_prepare) */
	c->bytes = !c->failed;
	c->at = pages(known ? (uint64_t)e->ret : e->a[0], (e->a[1] + huge) & ~huge);
	c->chosen = !(e->a[3] & (MAP_FIXED | NOREPLACE));
	return known || may_have_acted(e);
}

/* What a mremap moves; with old length 0 it shows again what is there. */
static struct vt_range source_of(const struct vt_event *e)
{
	return pages(e->a[0], e->a[1] ? e->a[1] : e->a[2]);
}

/* MREMAP_DONTUNMAP unlocks all of the area that it moves from, however far that reaches. */
static struct vt_range unlocked_by(const struct vt_model *m, struct vt_range from)
{
	struct vt_extent *x = vt_model_find(m, from.lo);

	if (!x || x->start > from.lo || !((x->flags | vt_extent_unsure_flags(x)) & VT_VM(LOCKED)))
		return from;
	return (struct vt_range){ vt_area_head(x)->start, vt_max(from.hi, vt_area_tail(x)->end) };
}

static bool places_of_mremap(const struct vt_model *m, const struct vt_event *e,
			     struct vt_placed *c)
{
	bool known = !(e->flags & VT_EV_UNDONE) && !c->failed;

	c->from = source_of(e);
	if (e->a[3] & MREMAP_DONTUNMAP)
		c->from = unlocked_by(m, c->from);
	if (known)
		c->at = pages((uint64_t)e->ret, e->a[2]);
	else if (e->a[3] & MREMAP_FIXED)
		c->at = pages(e->a[4], e->a[2]);
	c->chosen = known && !(e->a[3] & MREMAP_FIXED) && !overlap(c->at, c->from);
	return may_have_acted(e);
}

/* The places that a call changes. False: none, as far as maps or boundaries could show. */
static bool places_of(const struct vt_model *m, const struct vt_event *e, struct vt_placed *c)
{
	uint64_t place;

	c->bytes = true;
	switch (e->kind) {
	case VT_MMAP:
		return place_of_mmap(e, c);
	case VT_MREMAP:
		return places_of_mremap(m, e, c);
	case VT_SHMAT:
		c->bytes = !c->failed;
		c->at = pages(c->failed ? e->a[1] : (uint64_t)e->ret, e->a[3]);
		c->chosen = !e->a[1];
		return c->failed ? e->a[2] & SHM_REMAP : !(e->flags & VT_EV_UNDONE);
	case VT_SHMDT:
		c->at = pages(e->a[0], vt_attached_bytes(m, e->a[0]));
		return !c->failed;
	case VT_BRK:
		place = e->flags & VT_EV_UNDONE ? e->a[0] : (uint64_t)e->ret;
		c->at.lo = vt_page_down(vt_min(place, m->config.brk));
		c->at.hi = vt_page_up(vt_max(place, m->config.brk));
		return place;
	case VT_MUNMAP:
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
	case VT_REMAP_FILE_PAGES:
		c->at = pages(e->a[0], e->a[1]);
		/* one that fails for another reason may have done a part */
		return may_have_acted(e);
	default:
		break;
	}
	c->bytes = false;
	switch (e->kind) {
	case VT_MADVISE:
	case VT_PROCESS_MADVISE:
		if (e->a[2] >= 64 || !(ADVICE_OF_AREAS >> e->a[2] & 1))
			return false;
		/* fall through */
	case VT_MLOCK:
	case VT_MLOCK2:
	case VT_MUNLOCK:
	case VT_MBIND:
	case VT_MSEAL:
		c->at = pages(e->a[0], e->a[1]);
		return may_have_acted(e);
	case VT_PRCTL:
		c->at = pages(e->a[2], e->a[3]);
		return e->a[0] == SET_VMA;
	case VT_IOCTL:
		c->at = pages(e->a[2], e->a[3]);
		return !c->failed;
	case VT_MLOCKALL:
	case VT_MUNLOCKALL:
		c->at = (struct vt_range){ 0, EVERYWHERE };
		return !c->failed;
	default:
		return false;
	}
}

int vt_event_places(const struct vt_model *m, const struct vt_event *ev, struct vt_range r[2],
		    bool *anywhere)
{
	struct vt_placed c = { .failed = vt_is_error(ev->ret) };
	int n = 0;

	bool some = places_of(m, ev, &c) && c.bytes;
	if (ev->flags & VT_EV_UNDONE)
		*anywhere |= ev->kind == VT_MREMAP || ev->kind == VT_SHMAT ||
			     (ev->kind == VT_MMAP && empty(c.at));
	if (some && !empty(c.at))
		r[n++] = c.at;
	bool moves = ev->kind == VT_MREMAP && ev->a[1];
	if (some && moves && !empty(c.from))
		r[n++] = c.from;
	return n;
}

/* Whether all of r is mapped, and not in doubt. */
static bool certainly_mapped(const struct vt_order *o, struct vt_model *m, struct vt_range r)
{
	return vt_hole_in(m, r.lo, r.hi) >= r.hi && !vt_order_doubtful(o, r.lo, r.hi);
}

void vt_ranges_add(struct vt_range *list, uint32_t *n, uint32_t max, struct vt_range r)
{
	if (*n < max) {
		list[(*n)++] = r;
		return;
	}
	struct vt_range *last = &list[max - 1];
	last->lo = vt_min(last->lo, r.lo);
	last->hi = vt_max(last->hi, r.hi);
}

SELDOM void doubt(struct vt_order *o, struct vt_range r)
{
	if (empty(r))
		return;
	o->wanted = true;
	for (uint32_t i = 0; i < o->n_doubtful; i++)
		if (o->doubtful[i].lo <= r.lo && r.hi <= o->doubtful[i].hi)
			return;
	vt_ranges_add(o->doubtful, &o->n_doubtful, VT_ORDER_DOUBTFUL, r);
}

/* What lies in another range counts, too: an area may end at its edges. */
static void blur(struct vt_order *o, struct vt_range r)
{
	for (uint32_t i = 0; i < o->n_blurred; i++)
		if (o->blurred[i].lo == r.lo && o->blurred[i].hi == r.hi)
			return;
	if (r.lo <= r.hi)
		vt_ranges_add(o->blurred, &o->n_blurred, VT_ORDER_BLURRED, r);
}

SELDOM void blur_all(struct vt_order *o, const struct vt_placed *c)
{
	if (!empty(c->at))
		blur(o, c->at);
	if (!empty(c->from))
		blur(o, c->from);
}

/* All of a call's range is in doubt, also where areas end in it, whatever it does there. */
static void doubt_range(struct vt_order *o, const struct vt_placed *c)
{
	doubt(o, c->at);
	doubt(o, c->from);
	blur_all(o, c);
}

/* All that a call touches is in doubt. */
SELDOM void doubt_all(struct vt_order *o, const struct vt_placed *c)
{
	if (c->bytes)
		doubt_range(o, c);
	else
		blur_all(o, c);
}

/* c's pages and r's, which meet, of two calls that may have been in the kernel at once. */
SELDOM void compare_met(struct vt_order *o, const struct vt_placed *c, struct vt_range x,
			const struct vt_placed *r, struct vt_range y)
{
	struct vt_range both = { vt_max(x.lo, y.lo), vt_min(x.hi, y.hi) };

	if (both.lo == both.hi) {
		blur(o, both);
		return;
	}
	blur(o, x);
	blur(o, y);
	/* what r moved away may have been c's */
	bool moved = y.lo == r->from.lo && y.hi == r->from.hi;
	if (moved)
		blur(o, r->at);
	if (!c->bytes || !r->bytes)
		return;
	/* nor is it known whether r found all of what it was to move, or how much of it remains */
	if (moved) {
		doubt(o, r->at);
		doubt(o, r->from);
	}
	/* one that failed may have gone through the whole of its range, or through none */
	doubt(o, c->failed ? x : both);
	doubt(o, r->failed ? y : both);
}

/* The same of any. */
static inline void compare_pages(struct vt_order *o, const struct vt_placed *c, struct vt_range x,
				 const struct vt_placed *r, struct vt_range y)
{
	if (!empty(x) && !empty(y) && vt_max(x.lo, y.lo) <= vt_min(x.hi, y.hi))
		compare_met(o, c, x, r, y);
}

/* Whether two calls can have met at all: of the many of many threads hardly any two do. */
static inline bool may_meet(const struct vt_placed *c, const struct vt_placed *r)
{
	uint64_t apart = (c->at.lo > r->at.hi) | (r->at.lo > c->at.hi);
	return !apart | !empty(c->from) | !empty(r->from);
}

/*
 * Two calls that may have been in the kernel at once, c placed after r. A place that the kernel
 * chose was free then: if r alone can have made it so, r came first, as it stands. If it may have
 * been free already, r may as well have struck what c mapped there.
 */
SELDOM void compare(struct vt_order *o, const struct vt_placed *c, const struct vt_placed *r)
{
	bool after = c->chosen && r->releases && r->covered;
	bool r_moves = !empty(r->from);

	if (!after || r_moves)
		compare_pages(o, c, c->at, r, r->at);
	if (!after)
		compare_pages(o, c, c->at, r, r->from);
	compare_pages(o, c, c->from, r, r->at);
	compare_pages(o, c, c->from, r, r->from);
}

/* With releases that took their place before c, and may have ended after it began. */
SELDOM void compare_with_open(struct vt_order *o, const struct vt_placed *c)
{
	uint64_t began = c->index - (c->releases ? 0 : c->span);

	for (uint32_t i = 0; o->open_end >= began && i < o->n_open; i++) {
		const struct vt_placed *r = &o->open[i];
		uint64_t end = r->index + r->span + 1;
		/* read both at one number, the two may have followed each other or not */
		bool may =
		    c->releases ? end > began : end > began || (end == began && r->tid != c->tid);
		if (may)
			compare(o, c, r);
	}
	if (o->forgot_end >= began)
		doubt_range(o, c); /* by what, nobody remembers */
}

static struct vt_placed *recent_slot(struct vt_order *o, uint64_t i)
{
	return &o->recent[i & (o->cap - 1)];
}

/*
 * A call that took its place after its end: with those that took theirs since it began, and with
 * the release right before that, which may have been under way.
 */
static void compare_with_recent(struct vt_order *o, const struct vt_placed *c)
{
	uint64_t began = c->index - c->span, n = vt_min(o->n, (uint64_t)c->span + 1);

	for (uint64_t i = 0; i < n; i++) {
		if (i == o->cap - 1) {
			doubt_range(o, c);
			return;
		}
		const struct vt_placed *r = recent_slot(o, o->n - 1 - i);
		if (r->index + 1 < began)
			return;
		if (!may_meet(c, r))
			continue;
		if (r->releases && r->span)
			continue; /* among the open ones */
		if (r->index >= began || (r->releases && r->tid != c->tid))
			compare(o, c, r);
	}
}

static void remember_release(struct vt_order *o, const struct vt_placed *c)
{
	uint32_t i = o->n_open;

	if (i == VT_ORDER_OPEN) {
		/* the one that ended first is the least likely to matter */
		i = 0;
		for (uint32_t k = 1; k < o->n_open; k++)
			if (o->open[k].index + o->open[k].span < o->open[i].index + o->open[i].span)
				i = k;
		o->forgot_end = vt_max(o->forgot_end, o->open[i].index + o->open[i].span + 1);
	} else {
		o->n_open++;
	}
	o->open[i] = *c;
	o->open_end = vt_max(o->open_end, c->index + c->span + 1);
}

/* What builds on bytes in doubt is in doubt itself, where its result does not say all. */
SELDOM void inherit_doubt(struct vt_order *o, const struct vt_event *e, const struct vt_placed *c)
{
	bool at = vt_order_doubtful(o, c->at.lo, c->at.hi);
	bool from = !empty(c->from) && vt_order_doubtful(o, c->from.lo, c->from.hi);

	if (!at && !from)
		return;
	blur(o, c->at);
	if (!empty(c->from))
		blur(o, c->from);
	if (c->bytes && (c->failed || (from && e->kind == VT_MREMAP)))
		doubt_all(o, c);
}

static void push_move(struct vt_order *o, struct vt_range at, struct vt_range from)
{
	o->moved[o->n_moves++ % VT_ORDER_MOVED] = (struct vt_placed){ .at = at, .from = from };
}

/* A move, and the moves that brought there what it takes away. */
SELDOM void remember_move(struct vt_order *o, struct vt_range at, struct vt_range from)
{
	uint64_t n = o->n_moves;

	for (uint64_t i = 0; i < VT_ORDER_MOVED && i < n; i++) {
		const struct vt_placed *before = &o->moved[(n - 1 - i) % VT_ORDER_MOVED];
		if (overlap(before->at, from) && !overlap(before->from, from))
			push_move(o, at, before->from);
	}
	push_move(o, at, from);
}

bool vt_order_moved(const struct vt_order *o, uint64_t lo, uint64_t hi,
		    bool (*changing)(struct vt_range from))
{
	for (uint64_t i = 0; i < VT_ORDER_MOVED && i < o->n_moves; i++)
		if (overlap((struct vt_range){ lo, hi }, o->moved[i].at) &&
		    changing(o->moved[i].from))
			return true;
	return false;
}

/* A call given up while it was under way may act at any time until its thread is back. */
SELDOM void remember_stuck(struct vt_order *o, const struct vt_placed *c)
{
	doubt_all(o, c);
	if (o->n_stuck == VT_ORDER_STUCK)
		memmove(o->stuck, o->stuck + 1, --o->n_stuck * sizeof(*o->stuck));
	o->stuck[o->n_stuck++] = *c;
}

SELDOM void forget_stuck(struct vt_order *o, uint32_t tid)
{
	for (uint32_t i = 0; i < o->n_stuck;)
		if (o->stuck[i].tid == tid) {
			doubt_all(o, &o->stuck[i]);
			o->stuck[i] = o->stuck[--o->n_stuck];
		} else {
			i++;
		}
}

/*
 * Compare an event with those before it, before it is applied. It is made up where it will be
 * remembered: the oldest of those is forgotten, wanted or not.
 */
static void see(struct vt_order *o, struct vt_model *m, const struct vt_event *e, uint64_t index)
{
	struct vt_placed *c = recent_slot(o, o->n);
	bool releases = vt_kind_releases(e->kind);
	/* of a release the span lies ahead; of any other call it cannot begin before the first */
	uint64_t longest = (index - 1) | -(uint64_t)releases;
	uint32_t span = (uint32_t)vt_min(e->span, longest);
	*c = (struct vt_placed){ .index = index,
				 .span = span,
				 .tid = e->tid,
				 .releases = releases,
				 .failed = vt_is_error(e->ret) };

	if (o->n_stuck && !(e->flags & VT_EV_OWN))
		forget_stuck(o, e->tid);
	if (!places_of(m, e, c))
		return;
	if (e->flags & VT_EV_UNDONE) {
		remember_stuck(o, c);
		return;
	}
	if (e->flags & VT_EV_LATE)
		doubt_all(o, c);
	if (releases)
		c->covered = certainly_mapped(o, m, empty(c->from) ? c->at : c->from);
	if (o->n_open)
		compare_with_open(o, c);
	if (!releases)
		compare_with_recent(o, c);
	if (o->n_doubtful)
		inherit_doubt(o, e, c);
	if (releases && span)
		remember_release(o, c);
	o->n++;
}

void vt_order_init(struct vt_order *o, struct vt_placed *recent, uint64_t cap)
{
	*o = (struct vt_order){ .recent = recent, .cap = cap };
}

/* The model had it otherwise than the kernel. */
SELDOM void contradicted(struct vt_order *o, const struct vt_event *e, const struct vt_effect *fx)
{
	struct vt_placed c = { .bytes = vt_is_error(e->ret),
			       .at = { fx->lo, fx->hi },
			       .from = { fx->lo2, fx->hi2 } };

	o->wanted = true;
	/* how far a call went that failed is the kernel's to tell */
	doubt_all(o, &c);
}

/* What blur has gathered of an event is in doubt from now on. */
SELDOM int doubt_blurred(const struct vt_order *o, struct vt_model *m)
{
	int rc = 0;

	for (uint32_t i = 0; !rc && i < o->n_blurred; i++)
		rc = vt_model_doubt(m, o->blurred[i].lo, o->blurred[i].hi);
	return rc;
}

int vt_order_apply(struct vt_order *o, struct vt_model *m, const struct vt_event *ev,
		   uint64_t index, struct vt_effect *fx)
{
	o->n_blurred = 0;
	if (index)
		see(o, m, ev, index);
	else if (ev->kind == VT_UNSEEN_MAP || ev->kind == VT_UNSEEN_UNMAP)
		/* what stands beside it was made with something else in its place */
		blur(o, pages(ev->a[0], ev->a[1]));
	if (ev->flags & (VT_EV_LATE | VT_EV_UNDONE)) {
		*fx = (struct vt_effect){ 0 };
		o->wanted = true;
	} else {
		if (vt_model_apply(m, ev, fx))
			return -ENOMEM;
		if (fx->contradiction)
			contradicted(o, ev, fx);
		if (ev->kind == VT_MREMAP && !vt_is_error(ev->ret))
			remember_move(o, pages((uint64_t)ev->ret, ev->a[2]), source_of(ev));
	}
	return o->n_blurred ? doubt_blurred(o, m) : 0;
}

bool vt_order_doubtful(const struct vt_order *o, uint64_t lo, uint64_t hi)
{
	for (uint32_t i = 0; i < o->n_doubtful; i++)
		if (overlap((struct vt_range){ lo, hi }, o->doubtful[i]))
			return true;
	return false;
}

void vt_order_settled(struct vt_order *o, const struct vt_range *flux, size_t n_flux)
{
	uint32_t n = o->n_doubtful;
	bool wanted = o->wanted;

	o->n_doubtful = o->n_moves = 0;
	for (uint32_t i = 0; i < n; i++)
		for (size_t k = 0; k < n_flux; k++)
			if (overlap(o->doubtful[i], flux[k])) {
				o->doubtful[o->n_doubtful++] = o->doubtful[i];
				break;
			}
	for (uint32_t i = 0; i < o->n_stuck; i++) {
		doubt(o, o->stuck[i].at);
		doubt(o, o->stuck[i].from);
	}
	o->wanted = wanted;
}
