/*
 * order.c - calls on one range that overlapped in time: whose order the tickets cannot tell.
 *
 * Runs inside the traced process, under the recorder lock. Two calls overlapped if one took its
 * place while the other was under way: a call that takes memory says how many tickets were taken
 * before its own since it began, one that gives memory up how many after (vt_event.span). If they
 * change the same pages, the kernel may have done them the other way round; the range is then
 * doubtful until the kernel's view has been read again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <sys/mman.h>

#define RECENT   2048 /* calls remembered; a span that reaches further back counts as doubtful */
#define OPEN     64   /* releases that later calls may overlap */
#define DOUBTFUL 64   /* ranges; when they run out, they are joined */

struct call {
	uint64_t index;
	uint32_t span;
	bool releases;
	bool chosen; /* the kernel chose the place: it was free then */
	struct vt_range at, from;
};

static struct {
	struct call recent[RECENT], open[OPEN];
	uint64_t n;
	uint32_t n_open;
	struct vt_range doubtful[DOUBTFUL];
	uint32_t n_doubtful;
} order;

static struct vt_range pages(uint64_t lo, uint64_t len)
{
	return (struct vt_range){ lo & ~(VT_PAGE_SIZE - 1),
				  (lo + len + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1) };
}

/*
 * The pages whose mapping a call changes: at, and for mremap the old place in from. False for
 * calls that change no bytes of the map (advice, locks), and for those that failed outright.
 */
bool vt_event_range(const struct vt_event *e, struct vt_range *at, struct vt_range *from)
{
	*from = (struct vt_range){ 0, 0 };
	bool failed = vt_is_error(e->ret);
	switch (e->kind) {
	case VT_MMAP:
		*at = pages(failed ? e->a[0] : (uint64_t)e->ret, e->a[1]);
		return !failed;
	case VT_MUNMAP:
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
		*at = pages(e->a[0], e->a[1]);
		return !failed || e->ret == -12 /* ENOMEM: the part before a hole was changed */;
	case VT_MREMAP:
		*at = pages((uint64_t)e->ret, e->a[2]);
		*from = pages(e->a[0], e->a[1]);
		return !failed;
	case VT_SHMAT:
		*at = pages((uint64_t)e->ret, e->a[3]);
		return !failed;
	default:
		return false;
	}
}

static bool overlap(struct vt_range a, struct vt_range b)
{
	return a.lo < b.hi && b.lo < a.hi;
}

static void doubt(struct vt_range r)
{
	if (r.lo >= r.hi)
		return;
	vt.heal_wanted = true;
	for (uint32_t i = 0; i < order.n_doubtful; i++)
		if (order.doubtful[i].lo <= r.lo && r.hi <= order.doubtful[i].hi)
			return;
	if (order.n_doubtful < DOUBTFUL) {
		order.doubtful[order.n_doubtful++] = r;
		return;
	}
	struct vt_range *last = &order.doubtful[DOUBTFUL - 1];
	last->lo = r.lo < last->lo ? r.lo : last->lo;
	last->hi = r.hi > last->hi ? r.hi : last->hi;
}

/*
 * Two calls that overlapped in time, a entered after b: what both touch is doubtful. But a place
 * that the kernel chose was free then, so what released it came first, as it stands.
 */
static void compare(const struct call *a, const struct call *b)
{
	if (a->chosen && b->releases)
		return;
	if (overlap(a->at, b->at) || overlap(a->at, b->from))
		doubt(a->at);
	if (overlap(a->from, b->at) || overlap(a->from, b->from))
		doubt(a->from);
}

static void compare_with_open(const struct call *c)
{
	for (uint32_t i = 0; i < order.n_open;) {
		struct call *o = &order.open[i];
		if (o->index + o->span < c->index) {
			*o = order.open[--order.n_open];
			continue;
		}
		compare(c, o);
		i++;
	}
}

/* A call that took its place after its end: with those that took theirs since its beginning. */
static void compare_with_recent(const struct call *c)
{
	for (uint64_t i = 0; i < RECENT && i < order.n; i++) {
		const struct call *r = &order.recent[(order.n - 1 - i) % RECENT];
		if (c->index - r->index > c->span)
			return;
		compare(c, r);
	}
	if (c->span > RECENT && !c->chosen) {
		doubt(c->at);
		doubt(c->from);
	}
}

/*
 * Look at an event that takes its place in the model; index: of its slot. Nearly all calls overlap
 * no other, and cost no more than being remembered.
 */
void vt_order_see(const struct vt_event *e, uint64_t index)
{
	struct call c = { .index = index, .span = e->span, .releases = vt_kind_releases(e->kind) };
	if (!vt_event_range(e, &c.at, &c.from))
		return;
	c.chosen = e->kind == VT_MMAP && !(e->a[3] & (MAP_FIXED | 0x100000 /* _NOREPLACE */));
	if (order.n_open)
		compare_with_open(&c);
	if (c.span && !c.releases)
		compare_with_recent(&c);
	if (c.span && c.releases) {
		if (order.n_open < OPEN)
			order.open[order.n_open++] = c;
		else
			doubt(c.at);
	}
	order.recent[order.n++ % RECENT] = c;
}

/* Whether [lo, hi) touches a range whose order is in doubt. */
bool vt_order_doubtful(uint64_t lo, uint64_t hi)
{
	for (uint32_t i = 0; i < order.n_doubtful; i++)
		if (overlap((struct vt_range){ lo, hi }, order.doubtful[i]))
			return true;
	return false;
}

/* The kernel's view has been compared: nothing is in doubt any more. */
void vt_order_settled(void)
{
	order.n_doubtful = 0;
}
