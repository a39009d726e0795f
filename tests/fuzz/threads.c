/*
 * threads.c - the second mode: several threads make calls at once, in rounds. Each call takes a
 * ticket before and after; after a round the events are applied in the order of event.h's rule.
 * What two calls touched that overlapped in time no ticket can order: it is read again from the
 * kernel, as the recorder does. Everything else must agree without help.
 *
 * The threads share the worker's thread-local storage and run on stacks of the worker's data: they
 * make raw system calls and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "fuzz.h"
#include "raw.h"

#define MAX_THREADS 16
#define BATCH       8 /* calls of one thread in one round */
#define STACK_BYTES (64 << 10)
#define MAX_CALLS   (MAX_THREADS * BATCH)
#define HUGE_BYTES  (2UL << 20)

struct call {
	struct vt_event ev;
	uint64_t before, after;
	struct vt_range range[2];
	uint8_t thread, slot;
	bool flux; /* the tickets cannot tell what it did */
};

static struct {
	_Atomic uint64_t ticket;
	_Atomic uint64_t round;
	_Atomic unsigned running;
	unsigned threads;
	struct call call[MAX_THREADS][BATCH];
	unsigned n[MAX_THREADS];
	struct call *order[MAX_CALLS];
	unsigned n_order;
	struct vt_range flux[6 * MAX_CALLS];
	size_t n_flux;
	_Alignas(4096) char stack[MAX_THREADS][STACK_BYTES];
} t;

static int thread_main(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	for (uint64_t round = 1;; round++) {
		while (t.round != round)
			raw_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		for (unsigned i = 0; i < t.n[me]; i++) {
			struct call *c = &t.call[me][i];
			c->before = t.ticket++;
			c->ev.ret = execute_call(&c->ev);
			c->after = t.ticket++;
		}
		t.running--;
	}
	return 0;
}

void threads_start(unsigned threads)
{
	t.threads = threads;
	for (unsigned i = 0; i < threads; i++) {
		memset(t.stack[i], 0, STACK_BYTES);
		clone(thread_main, t.stack[i] + STACK_BYTES,
		      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM,
		      (void *)(uintptr_t)i);
	}
}

/* Calls whose effect stays within their ranges; the others would make every round one conflict. */
static bool is_local(uint8_t kind)
{
	return kind != VT_MLOCKALL && kind != VT_MUNLOCKALL && kind != VT_SETRLIMIT &&
	       kind != VT_PERSONALITY && kind != VT_FORK && kind != FUZZ_SETTLE && kind != VT_BRK &&
	       kind != VT_SHMDT;
}

/* A call for a thread, four times of five in windows of its own. False: this time none. */
static bool make_call(struct fuzz_worker *w, unsigned thread, struct call *c)
{
	bool own = random_below(&w->random, 5) != 0;
	for (int attempt = 0; attempt < 12; attempt++) {
		w->at++;
		struct fuzz_op op = generate_op(w);
		if (!is_local(op.kind) || op.a[2] & PROT_GROWSDOWN)
			continue;
		if (own && op.base[0] != BASE_ABS && op.base[0] % t.threads != thread)
			continue;
		if (op.kind == VT_MMAP) /* a touch under way could grow a stack, unseen */
			op.a[3] &= ~(uint64_t)MAP_GROWSDOWN;
		if (!execute_prepare(w, &op, &c->ev))
			continue;
		/* after a conflict the kernel's list shows the file, not which open one */
		c->ev.flags &= (uint8_t)~VT_EV_FD_KNOWN;
		const struct fuzz_ident *id = &shared->ident[c->ev.file];
		if (c->ev.file && id->known)
			c->ev.file = world_file_of(
			    w, &(struct kernel_area){ .dev = id->dev, .ino = id->ino });
		c->thread = (uint8_t)thread;
		c->slot = op.slot;
		c->flux = false;
		return true;
	}
	return false;
}

static struct vt_range range_of(uint64_t addr, uint64_t len)
{
	uint64_t lo = addr & -VT_PAGE_SIZE, hi = (addr + len + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
	if (addr + len < addr || hi < lo)
		return (struct vt_range){ 0, 0 };
	return (struct vt_range){ lo, hi > world.config.task_size ? world.config.task_size : hi };
}

static void find_ranges(struct call *c)
{
	const struct vt_event *ev = &c->ev;
	uint64_t ret = vt_is_error(ev->ret) ? 0 : (uint64_t)ev->ret;
	c->range[0] = c->range[1] = (struct vt_range){ 0, 0 };
	uint64_t huge = ev->a[3] & MAP_HUGETLB ? HUGE_BYTES - 1 : 0;
	if (ev->kind == VT_MMAP)
		c->range[0] = range_of(ret ? ret : ev->a[0], (ev->a[1] + huge) & ~huge);
	else if (ev->kind == VT_SHMAT)
		c->range[0] = range_of(ret ? ret : ev->a[1], ev->a[3]);
	else if (ev->kind >= VT_KIND_COUNT)
		c->range[0] = range_of(ev->a[0], 1);
	else
		c->range[0] = range_of(ev->a[0], ev->a[1]);
	if (ev->kind == VT_MREMAP)
		c->range[1] = range_of(ret ? ret : ev->a[4], ev->a[2]);
}

static bool ranges_meet(const struct call *x, const struct call *y)
{
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < 2; k++)
			if (x->range[i].lo < y->range[k].hi && y->range[k].lo < x->range[i].hi)
				return true;
	return false;
}

static uint64_t place_in_order(const struct call *c)
{
	return c->ev.kind < VT_KIND_COUNT && vt_kind_releases(c->ev.kind) ? c->before : c->after;
}

static void sort_calls(void)
{
	t.n_order = 0;
	for (unsigned i = 0; i < t.threads; i++)
		for (unsigned k = 0; k < t.n[i]; k++) {
			struct call *c = &t.call[i][k];
			unsigned at = t.n_order++;
			find_ranges(c);
			for (; at && place_in_order(t.order[at - 1]) > place_in_order(c); at--)
				t.order[at] = t.order[at - 1];
			t.order[at] = c;
		}
}

/* Whether all of r was mapped when the round began. */
static bool was_mapped(const struct fuzz_worker *w, const struct vt_range *r)
{
	uint64_t at = r->lo;
	const struct vt_extent *x = vt_model_find(&w->model, at);
	for (; x && x->start <= at && at < r->hi; x = vt_extent_next(x))
		at = x->end;
	return at >= r->hi;
}

/*
 * A place that the kernel chose was free. If it was mapped before, whoever gave it up had done so,
 * just as the order says. If it was not, the release may as well have struck the new mapping.
 */
static bool chosen_after_release(const struct fuzz_worker *w, const struct call *x,
				 const struct call *y)
{
	return x->ev.kind == VT_MUNMAP && y->ev.kind == VT_MMAP &&
	       !(y->ev.a[3] & (MAP_FIXED | 0x100000)) && place_in_order(x) < place_in_order(y) &&
	       was_mapped(w, &y->range[0]);
}

static void add_flux(uint64_t lo, uint64_t hi)
{
	if (lo < hi)
		t.flux[t.n_flux++] = (struct vt_range){ lo, hi };
}

static bool in_flux(uint64_t lo, uint64_t hi)
{
	for (size_t i = 0; i < t.n_flux; i++)
		if (t.flux[i].lo < hi && lo < t.flux[i].hi)
			return true;
	return false;
}

/* Mark what the tickets leave open, and whatever then builds on it. */
static void find_flux(const struct fuzz_worker *w)
{
	for (unsigned i = 0; i < t.n_order; i++)
		for (unsigned k = 0; k < i; k++) {
			struct call *x = t.order[k], *y = t.order[i];
			if (x->thread == y->thread || x->after < y->before || y->after < x->before)
				continue;
			if (ranges_meet(x, y) && !chosen_after_release(w, x, y))
				x->flux = y->flux = true;
		}
	for (bool again = true; again;) {
		again = false;
		for (unsigned i = 0; i < t.n_order; i++)
			for (unsigned k = 0; k < t.n_order && !t.order[i]->flux; k++)
				if (t.order[k]->flux && ranges_meet(t.order[i], t.order[k]))
					again = t.order[i]->flux = true;
	}
	t.n_flux = 0;
	for (unsigned i = 0; i < t.n_order; i++)
		for (int k = 0; t.order[i]->flux && k < 2; k++)
			add_flux(t.order[i]->range[k].lo, t.order[i]->range[k].hi);
}

static void note(const struct vt_event *ev)
{
	if (shared->n_trace < FUZZ_TRACE)
		shared->trace[shared->n_trace++] = *ev;
}

static void apply_round(struct fuzz_worker *w)
{
	shared->n_trace = 0;
	sort_calls();
	find_flux(w);
	for (unsigned i = 0; i < t.n_order; i++) {
		struct call *c = t.order[i];
		struct vt_effect fx = { 0 };
		bool error = vt_is_error(c->ev.ret);
		c->ev.seq = w->at - t.n_order + i + 1;
		note(&c->ev);
		++*(error ? &shared->stats.failed[c->ev.kind] : &shared->stats.ok[c->ev.kind]);
		shared->stats.ops++;
		if (c->ev.kind >= VT_KIND_COUNT)
			continue;
		/* what builds on an open place is open, too */
		if (in_flux(c->range[0].lo, c->range[0].hi) ||
		    in_flux(c->range[1].lo, c->range[1].hi))
			for (int k = 0; k < 2; k++)
				add_flux(c->range[k].lo, c->range[k].hi);
		if (c->slot && !error)
			w->slot[c->slot - 1] = (uint64_t)c->ev.ret;
		if (vt_model_apply(&w->model, &c->ev, &fx) != 0) {
			fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
			return;
		}
		if (fx.contradiction == VT_CONTRA_OPEN) {
			add_flux(fx.lo, fx.hi);
			add_flux(fx.lo2, fx.hi2);
		} else if (fx.contradiction && !in_flux(fx.lo, fx.hi) &&
			   check_on(CHECK_CONTRADICTION)) {
			fail_at(w, CHECK_CONTRADICTION, fx.lo, "contradiction %x at %lx",
				fx.contradiction, fx.lo);
			return;
		}
	}
	shared->stats.unordered += t.n_flux;
}

/* Heal what was in flux, settle, compare everything. */
static void compare_round(struct fuzz_worker *w)
{
	for (size_t i = 0; i < t.n_flux; i++)
		if (!world_reread(w, &t.flux[i], true)) {
			fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
			return;
		}
	/* the boundaries at a healed range's edges are the kernel's to tell, too */
	for (size_t i = 0; i < t.n_flux; i++) {
		t.flux[i].lo -= t.flux[i].lo ? VT_PAGE_SIZE : 0;
		t.flux[i].hi += VT_PAGE_SIZE;
	}
	if (settle(w, t.flux, t.n_flux) && compare_range(w, 0, world.config.task_size) &&
	    compare_tree(w))
		compare_flags_and_totals(w);
}

void threads_run(struct fuzz_worker *w)
{
	while (!w->failed && w->at < world.options.ops && !worker_is_late()) {
		for (unsigned i = 0; i < t.threads; i++)
			for (t.n[i] = 0; t.n[i] < BATCH; t.n[i]++)
				if (!make_call(w, i, &t.call[i][t.n[i]]))
					break;
		t.running = t.threads;
		t.round++;
		while (t.running)
			raw_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		shared->done = w->at;
		apply_round(w);
		if (!w->failed)
			compare_round(w);
	}
}
