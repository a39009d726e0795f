/*
 * fault.c - the signal that a process dies of, as its last event.
 *
 * Runs inside the traced process, in a handler that stands only where the program has none: where
 * its action is SIG_DFL. The program is told so by vt_sigaction, through which all of libc's own
 * calls and syscall() go; without them no handler is installed. The handler enters the event, puts
 * SIG_DFL back and returns: the faulting instruction runs again and the kernel does what it would
 * have done, with the same registers in the core file and the same line in its log. A signal that
 * was sent is sent again with what came with it, and arrives when the handler has returned.
 *
 * A handler that the program sets with SA_RESETHAND is entered through vt_fault_once (thunk.S),
 * which puts our handler where the kernel would put SIG_DFL, and goes on to the program's as if it
 * had not been there.
 *
 * What it finds may be broken: it runs on a stack of its own, and a fault of its own (a stack that
 * cannot be unwound) ends the attempt, not the process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"

#if defined(__x86_64__)

#include "walk.h"
#include <signal.h>
#include <ucontext.h>
#include <vmtrail/options.h>

#define MAX_SIGNAL   64
#define STACK        (48u << 10)
#define NESTED_STACK (32u << 10)
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif

/* As the kernel has it. */
struct action {
	uint64_t handler, flags, restorer, mask;
};

static const struct {
	int sig;
	const char *name;
} watched[] = {
	{ SIGSEGV, "SIGSEGV" }, { SIGBUS, "SIGBUS" },   { SIGILL, "SIGILL" },
	{ SIGFPE, "SIGFPE" },   { SIGABRT, "SIGABRT" },
};
#define N_WATCHED (sizeof(watched) / sizeof(watched[0]))

/* A handler to be entered once: by who finds it armed. It stays known for a vfork child's copy. */
struct once {
	_Atomic uint64_t handler;
	_Atomic bool armed;
};

enum stage { UNWINDING = 1, ENTERING };

static struct {
	volatile bool on;
	struct action view[MAX_SIGNAL + 1]; /* what the program has set where one of ours stands */
	struct once once[MAX_SIGNAL + 1];
	uint64_t told; /* signals that the program handles, noted */
	uint8_t *stack, *nested_stack;
	/* One thread at a time; it may be the last thing that the process does. */
	_Atomic uint32_t busy; /* its tid */
	volatile int stage;
	void *again[5];
	void *pc[VT_MAX_STACK + 8];
	int n;
} faults;

struct fault {
	int sig;
	siginfo_t *info;
	ucontext_t *context;
};

void vt_fault_restore(void);
void vt_fault_once(void);
__attribute__((visibility("hidden"))) void vt_fault_handler(int sig, siginfo_t *info,
							    void *context);
__attribute__((visibility("hidden"))) void vt_fault_late(int sig, siginfo_t *info, void *context);
__attribute__((visibility("hidden"))) uint64_t vt_fault_shot(int sig);

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

static long set(int sig, const struct action *new, struct action *old)
{
	return vt_sys4(SYS_rt_sigaction, sig, new, old, sizeof(uint64_t));
}

/* No other signal comes in between, but for a fault of the handler itself. */
static const uint64_t held = ~(1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1));

static void install(int sig)
{
	const struct action ours = {
		.handler = (uint64_t)vt_fault_handler,
		.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER,
		.restorer = (uint64_t)vt_fault_restore,
		.mask = held,
	};
	set(sig, &ours, NULL);
}

static bool is_ours(const struct action *a)
{
	return a->handler == (uint64_t)vt_fault_handler;
}

static bool is_once(const struct action *a)
{
	return a->handler == (uint64_t)vt_fault_once;
}

static bool is_handler(const struct action *a)
{
	return a->handler != (uint64_t)SIG_DFL && a->handler != (uint64_t)SIG_IGN;
}

static bool is_one_shot(const struct action *a)
{
	return is_handler(a) && (a->flags & SA_RESETHAND);
}

static const char *watched_name(long sig)
{
	for (size_t i = 0; i < N_WATCHED; i++)
		if (watched[i].sig == sig)
			return watched[i].name;
	return NULL;
}

/* A call of the program, handed to what runs under the lock. */
struct request {
	int sig;
	bool mine;
	const struct action *new;
	struct action *old;
	long ret;
};

/* Where a process that dies without a word may have been: in a handler of its own. */
static void note_handler(int sig)
{
	if ((faults.told & bit(sig)) || !atomic_load(&vt.on) || !atomic_load(vt.fork_guard))
		return;
	faults.told |= bit(sig);
	vt_note("handles", watched_name(sig));
}

/*
 * The kernel's own answer and its own form of what was set are what the program gets to see. A
 * vfork child has handlers of its own, and no say in what its parent is told.
 */
static void act(void *arg)
{
	struct request *r = arg;
	struct once *once = &faults.once[r->sig];
	struct action *view = &faults.view[r->sig], told = *view, was;
	bool armed = atomic_load(&once->armed);
	bool keep = faults.on && r->mine && r->new;
	if (keep && is_one_shot(r->new)) {
		/* who is still on the way to the one before it takes this one */
		struct action ours = *r->new;
		ours.handler = (uint64_t)vt_fault_once;
		ours.flags = (ours.flags & ~(uint64_t)SA_RESETHAND) | SA_SIGINFO;
		atomic_store(&once->handler, r->new->handler);
		armed = atomic_exchange(&once->armed, true);
		r->ret = set(r->sig, &ours, &was);
		set(r->sig, NULL, view);
		view->handler = r->new->handler;
		view->flags &= ~(uint64_t)SA_SIGINFO;
		view->flags |= r->new->flags &(SA_RESETHAND | SA_SIGINFO);
	} else {
		r->ret = set(r->sig, r->new, &was);
	}
	if (r->ret)
		return;
	if (is_once(&was) && !armed)
		told.handler = (uint64_t)SIG_DFL;
	if (r->old)
		*r->old = is_ours(&was) || is_once(&was) ? told : was;
	if (keep && r->new->handler == (uint64_t)SIG_DFL) {
		set(r->sig, NULL, view);
		install(r->sig);
	}
	if (keep && is_handler(r->new))
		note_handler(r->sig);
}

/* rt_sigaction as the program makes it. */
long vt_sigaction(uint8_t how, long sig, long new, long old, long size)
{
	struct action copy, answer;
	struct request r = { .sig = (int)sig };
	if (!faults.on || !watched_name(sig) || size != sizeof(uint64_t))
		return vt_sys4(SYS_rt_sigaction, sig, new, old, size);
	if (new &&how == VT_EV_INNER)
		copy = *(const struct action *)new;
	else if (new && !vt_peek(&copy, (const void *)new, sizeof(copy)))
		return vt_sys4(SYS_rt_sigaction, sig, new, old, size);
	/* Whether the answer can be written is the kernel's to say, before anything is changed. */
	if (old && how != VT_EV_INNER && vt_is_error(vt_sys4(SYS_rt_sigaction, sig, 0, old, size)))
		return vt_sys4(SYS_rt_sigaction, sig, new, old, size);
	bool fresh = !atomic_load(vt.fork_guard);
	r.mine = fresh || vt_is_mine();
	r.new = new ? &copy : NULL;
	r.old = &answer;
	/* in a new child the lock may be that of a thread which is not there */
	if (fresh)
		act(&r);
	else
		vt_locked(act, &r);
	if (!r.ret && old)
		*(struct action *)old = answer;
	return r.ret;
}

static void enter(const struct fault *f)
{
	int code = f->info->si_code;
	uint64_t addr = code > 0 ? (uint64_t)f->info->si_addr : 0;
	if (!atomic_load(&vt.on))
		return;
	if (!atomic_load(vt.fork_guard))
		vt_after_fork();
	uint32_t stack = vt.options.stack_depth ? vt_stack_intern(faults.pc, faults.n) : 0;
	vt_push_with(VT_FAULT, 0,
		     (uint64_t[VT_MAX_ARGS]){ addr, (uint64_t)f->sig, (uint64_t)(int64_t)code }, 0,
		     stack);
}

/* Enter the event, as far as that can be done. Comes back here from a fault of its own. */
static __attribute__((noinline)) void record(void *arg)
{
	const struct fault *f = arg;
	/* Whatever the program has set there comes back with the interrupted context. */
	const stack_t nested = { .ss_sp = faults.nested_stack, .ss_size = NESTED_STACK };
	vt_sys2(SYS_sigaltstack, &nested, 0);
	__builtin_setjmp(faults.again);
	if (faults.stage < UNWINDING) {
		faults.stage = UNWINDING;
		faults.n = vt_walk_from(f->context, faults.pc, (int)vt.options.stack_depth);
	}
	if (faults.stage < ENTERING) {
		faults.stage = ENTERING;
		enter(f);
	}
}

/* Whether the instruction that was interrupted brings the signal again. */
static bool comes_again(const struct fault *f)
{
	return f->info->si_code > 0 && f->sig != SIGABRT &&
	       !(f->sig == SIGBUS && f->info->si_code == BUS_MCEERR_AO);
}

/* Nobody handles the signal any more when the handler returns. */
static void let_die(const struct fault *f)
{
	struct action usual = faults.view[f->sig];
	uint64_t mask = bit(f->sig);
	usual.handler = (uint64_t)SIG_DFL;
	set(f->sig, &usual, NULL);
	if (comes_again(f))
		return;
	vt_sys4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &mask, 0, sizeof(mask));
	vt_sys4(SYS_rt_tgsigqueueinfo, vt_sys0(SYS_getpid), vt_sys0(SYS_gettid), f->sig, f->info);
}

void vt_fault_handler(int sig, siginfo_t *info, void *context)
{
	const struct timespec pause = { 0, 1000000 };
	struct fault f = { sig, info, context };
	uint32_t tid = (uint32_t)vt_sys0(SYS_gettid), nobody = 0;
	if (atomic_load(&faults.busy) == tid)
		__builtin_longjmp(faults.again, 1);
	/* Another thread that is here is about to end us all. */
	for (int tries = 0; tries < 1000; tries++) {
		if (atomic_compare_exchange_strong(&faults.busy, &nobody, tid)) {
			faults.stage = faults.n = 0;
			vt_on_stack(record, &f, faults.stack + STACK);
			let_die(&f);
			atomic_store(&faults.busy, 0);
			return;
		}
		nobody = 0;
		vt_sys2(SYS_nanosleep, &pause, 0);
	}
	let_die(&f);
}

/* The one handler that was to be entered has been. */
static void reset(void *arg)
{
	int sig = *(int *)arg;
	struct action now;
	if (set(sig, NULL, &now) || !is_once(&now) || atomic_load(&faults.once[sig].armed))
		return;
	faults.view[sig].handler = (uint64_t)SIG_DFL;
	install(sig);
}

/*
 * A signal whose handler was set with SA_RESETHAND: where to go on. The moment at which the kernel
 * would have taken the handler away is that of the exchange.
 */
uint64_t vt_fault_shot(int sig)
{
	struct once *once = &faults.once[sig];
	bool fresh = !atomic_load(vt.fork_guard);
	if (!fresh && !vt_is_mine()) {
		struct action usual = faults.view[sig];
		usual.handler = (uint64_t)SIG_DFL;
		set(sig, &usual, NULL);
		return atomic_load(&once->handler);
	}
	bool won = atomic_exchange(&once->armed, false);
	if (fresh)
		reset(&sig);
	else
		vt_locked(reset, &sig);
	return won ? atomic_load(&once->handler) : (uint64_t)vt_fault_late;
}

/* As vt_fault_handler, entered with the flags of a handler that had been taken away by then. */
void vt_fault_late(int sig, siginfo_t *info, void *context)
{
	vt_sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &held, 0, sizeof(held));
	vt_fault_handler(sig, info, context);
}

/* While the process has one thread. */
void vt_faults_init(void)
{
	if (!vt.options.faults)
		return;
	if (!vt.sees_sigaction || vt.misses_sigaction) {
		vt_note("faults", "not recorded: not every call that sets a handler is seen");
		return;
	}
	faults.stack = vt_arena_alloc(STACK);
	faults.nested_stack = vt_arena_alloc(NESTED_STACK);
	if (!faults.stack || !faults.nested_stack)
		return;
	faults.on = true;
	for (size_t i = 0; i < N_WATCHED; i++) {
		struct action now;
		struct request r = { .sig = watched[i].sig, .mine = true, .new = &now };
		if (!set(r.sig, NULL, &now))
			act(&r);
	}
	if (vt.options.faults != VT_FAULTS_OVERFLOW)
		vt_note("faults", "recorded");
	else if (vt_altstack_init())
		vt_note("faults", "recorded, overflows of stacks too");
	else
		vt_note("faults", "recorded, but for overflows: sigaltstack is not seen");
}

/* A vfork child takes away its own. */
static void remove_all(void *mine)
{
	struct action now;
	for (size_t i = 0; i < N_WATCHED; i++) {
		int sig = watched[i].sig;
		if (set(sig, NULL, &now) || (!is_ours(&now) && !is_once(&now)))
			continue;
		struct action view = faults.view[sig];
		if (is_once(&now) && !atomic_load(&faults.once[sig].armed))
			view.handler = (uint64_t)SIG_DFL;
		set(sig, &view, NULL);
	}
	if (!*(bool *)mine)
		return;
	faults.on = false;
	if (atomic_load(&vt.on) && atomic_load(vt.fork_guard))
		vt_note("faults", "not recorded from here on: a seccomp filter comes");
}

/* Before a filter forbids what the handler needs. */
void vt_faults_remove(void)
{
	if (!faults.on)
		return;
	bool fresh = !atomic_load(vt.fork_guard), mine = fresh || vt_is_mine();
	if (fresh)
		remove_all(&mine);
	else
		vt_locked(remove_all, &mine);
}

#else

void vt_faults_init(void)
{
}

void vt_faults_remove(void)
{
}

long vt_sigaction(uint8_t how, long sig, long action, long old, long size)
{
	(void)how;
	return vt_sys4(SYS_rt_sigaction, sig, action, old, size);
}

#endif
