/*
 * threads.c - the second mode: several threads make calls at once, in rounds. Each call takes a
 * ticket before and after; after a round the events are applied in the order of event.h's rule.
 * What the order leaves open (order.c) is read again from the kernel, as the recorder does.
 * Everything else must agree without help.
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
#include <vmtrail/order.h>

#include "fuzz.h"
#include "raw.h"

#define MAX_THREADS 16
#define BATCH       8 /* calls of one thread in one round */
#define STACK_BYTES (64 << 10)
#define MAX_CALLS   (MAX_THREADS * BATCH)
#define RECENT      1024 /* more than MAX_CALLS: no call is under way between rounds */
#define MAX_OPEN    1024

struct call {
	struct vt_event ev;
	uint64_t before, after;
	uint8_t thread, slot;
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
	struct vt_order doubts;
	struct vt_placed recent[RECENT];
	uint64_t placed;                /* calls that have taken a place, in all rounds */
	struct vt_range open[MAX_OPEN]; /* to be read again; the last one holds what has no room */
	uint32_t n_open;
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
	       kind != VT_SHMDT &&
	       kind != VT_MBIND; /* nothing shows a policy: it cannot be read again */
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
		return true;
	}
	return false;
}

static bool is_call(const struct call *c)
{
	return c->ev.kind < VT_KIND_COUNT;
}

static bool releases(const struct call *c)
{
	return is_call(c) && vt_kind_releases(c->ev.kind);
}

static uint64_t place_in_order(const struct call *c)
{
	return releases(c) ? c->before : c->after;
}

static void sort_calls(void)
{
	t.n_order = 0;
	for (unsigned i = 0; i < t.threads; i++)
		for (unsigned k = 0; k < t.n[i]; k++) {
			struct call *c = &t.call[i][k];
			unsigned at = t.n_order++;
			for (; at && place_in_order(t.order[at - 1]) > place_in_order(c); at--)
				t.order[at] = t.order[at - 1];
			t.order[at] = c;
		}
}

/* How many places were taken while a call was under way, besides its own: vt_event.span. */
static uint32_t span_of(const struct call *c)
{
	uint32_t n = 0;
	for (unsigned i = 0; i < t.n_order; i++) {
		uint64_t place = place_in_order(t.order[i]);
		n += is_call(t.order[i]) && place > c->before && place < c->after;
	}
	return n;
}

static void note(const struct vt_event *ev)
{
	if (shared->n_trace < FUZZ_TRACE)
		shared->trace[shared->n_trace++] = *ev;
}

static void read_again(uint64_t lo, uint64_t hi)
{
	hi = hi < world.config.task_size ? hi : world.config.task_size;
	lo &= -VT_PAGE_SIZE;
	hi = (hi + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
	if (lo < hi)
		vt_ranges_add(t.open, &t.n_open, MAX_OPEN, (struct vt_range){ lo, hi });
}

static bool is_open(uint64_t lo, uint64_t hi)
{
	for (uint32_t i = 0; i < t.n_open; i++)
		if (t.open[i].lo < hi && lo < t.open[i].hi)
			return true;
	return vt_order_doubtful(&t.doubts, lo, hi);
}

static bool apply_call(struct fuzz_worker *w, const struct call *c)
{
	struct vt_event ev = c->ev;
	struct vt_effect fx;
	ev.span = span_of(c);
	ev.tid = c->thread + 1u;
	if (vt_order_apply(&t.doubts, &w->model, &ev, ++t.placed, &fx) != 0)
		return fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
	for (uint32_t i = 0; i < t.doubts.n_blurred; i++)
		read_again(t.doubts.blurred[i].lo, t.doubts.blurred[i].hi);
	if (!fx.contradiction)
		return true;
	bool overlapped = is_open(fx.lo, fx.hi) || is_open(fx.lo2, fx.hi2);
	if (fx.contradiction != VT_CONTRA_OPEN && !overlapped && check_on(CHECK_CONTRADICTION))
		return fail_at(w, CHECK_CONTRADICTION, fx.lo, "contradiction %x at %lx",
			       fx.contradiction, fx.lo);
	read_again(fx.lo, fx.hi);
	read_again(fx.lo2, fx.hi2);
	return true;
}

static void apply_round(struct fuzz_worker *w)
{
	shared->n_trace = 0;
	t.n_open = 0;
	sort_calls();
	for (unsigned i = 0; i < t.n_order; i++) {
		struct call *c = t.order[i];
		bool error = vt_is_error(c->ev.ret);
		c->ev.seq = w->at - t.n_order + i + 1;
		note(&c->ev);
		++*(error ? &shared->stats.failed[c->ev.kind] : &shared->stats.ok[c->ev.kind]);
		shared->stats.ops++;
		if (!is_call(c))
			continue;
		if (!apply_call(w, c))
			return;
		if (c->slot && !error)
			w->slot[c->slot - 1] = (uint64_t)c->ev.ret;
	}
	for (uint32_t i = 0; i < t.doubts.n_doubtful; i++)
		read_again(t.doubts.doubtful[i].lo, t.doubts.doubtful[i].hi);
	vt_order_settled(&t.doubts, NULL, 0);
	shared->stats.unordered += t.n_open;
}

/* Before the counter of locked pages is taken over it must be certain which these are. */
static void open_unsure_locks(const struct fuzz_worker *w)
{
	if (!t.n_open)
		return;
	for (struct vt_extent *x = vt_model_first(&w->model); x; x = vt_extent_next(x))
		if (vt_extent_unsure_flags(x) & VT_VM(LOCKED))
			read_again(x->start, x->end);
}

/*
 * What MREMAP_DONTUNMAP unlocked is counted in VmLck for ever, whatever is found locked later:
 * after calls that overlapped the counter is taken over as well.
 */
static void renew_count(struct fuzz_worker *w)
{
	struct kernel_status s;
	if (!t.n_open || !kernel_status(&s))
		return;
	w->model.totals.locked_vm = s.locked;
	w->model.totals.locked_unsure = 0;
}

/* Take over from the kernel what is open, settle, compare everything. */
static void compare_round(struct fuzz_worker *w)
{
	open_unsure_locks(w);
	world_learn(w);
	for (uint32_t i = 0; i < t.n_open; i++)
		if (!world_renew(w, &t.open[i])) {
			fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
			return;
		}
	/* the boundaries at a renewed range's edges are the kernel's to tell, too */
	for (uint32_t i = 0; i < t.n_open; i++) {
		t.open[i].lo -= t.open[i].lo ? VT_PAGE_SIZE : 0;
		t.open[i].hi += VT_PAGE_SIZE;
	}
	if (!settle(w, t.open, t.n_open) || !compare_range(w, 0, world.config.task_size) ||
	    !compare_tree(w))
		return;
	renew_count(w);
	compare_flags_and_totals(w);
}

void threads_run(struct fuzz_worker *w)
{
	vt_order_init(&t.doubts, t.recent, RECENT);
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
