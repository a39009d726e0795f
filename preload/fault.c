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

static const uint8_t watched[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

enum stage { UNWINDING = 1, ENTERING };

static struct {
	volatile bool on;
	struct action view[MAX_SIGNAL + 1]; /* what the program has set where our handler stands */
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
__attribute__((visibility("hidden"))) void vt_fault_handler(int sig, siginfo_t *info,
							    void *context);

static uint64_t bit(int sig)
{
	return 1ull << (sig - 1);
}

static long set(int sig, const struct action *new, struct action *old)
{
	return vt_sys4(SYS_rt_sigaction, sig, new, old, sizeof(uint64_t));
}

/* No other signal comes in between, but for a fault of the handler itself. */
static void install(int sig)
{
	const struct action ours = {
		.handler = (uint64_t)vt_fault_handler,
		.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER,
		.restorer = (uint64_t)vt_fault_restore,
		.mask = ~(bit(SIGSEGV) | bit(SIGBUS)),
	};
	set(sig, &ours, NULL);
}

static bool is_ours(const struct action *a)
{
	return a->handler == (uint64_t)vt_fault_handler;
}

static bool is_watched(long sig)
{
	for (size_t i = 0; i < sizeof(watched); i++)
		if (watched[i] == sig)
			return true;
	return false;
}

/* A call of the program, handed to what runs under the lock. */
struct request {
	int sig;
	bool mine;
	const struct action *new;
	struct action *old;
	long ret;
};

/*
 * The kernel's own answer and its own form of what was set are what the program gets to see. A
 * vfork child has handlers of its own, and no say in what its parent is told.
 */
static void act(void *arg)
{
	struct request *r = arg;
	struct action was;
	r->ret = set(r->sig, r->new, &was);
	if (r->ret)
		return;
	if (r->old)
		*r->old = is_ours(&was) ? faults.view[r->sig] : was;
	if (r->new && r->new->handler == (uint64_t)SIG_DFL && r->mine &&faults.on) {
		set(r->sig, NULL, &faults.view[r->sig]);
		install(r->sig);
	}
}

/* rt_sigaction as the program makes it. */
long vt_sigaction(uint8_t how, long sig, long new, long old, long size)
{
	struct action copy, answer;
	struct request r = { .sig = (int)sig };
	if (!faults.on || !is_watched(sig) || size != sizeof(uint64_t))
		return vt_sys4(SYS_rt_sigaction, sig, new, old, size);
	if (new &&how == VT_EV_INNER)
		copy = *(const struct action *)new;
	else if (new && !vt_peek(&copy, (const void *)new, sizeof(copy)))
		return vt_sys4(SYS_rt_sigaction, sig, new, old, size);
	/* Whether the answer can be written is the kernel's to say, before anything is changed. */
	if (old && how != VT_EV_INNER && vt_is_error(vt_sys4(SYS_rt_sigaction, sig, 0, old, size)))
		return vt_sys4(SYS_rt_sigaction, sig, new, old, size);
	r.mine = vt_is_mine() || !atomic_load(vt.fork_guard);
	r.new = new ? &copy : NULL;
	r.old = &answer;
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
	uint64_t held = bit(f->sig);
	usual.handler = (uint64_t)SIG_DFL;
	set(f->sig, &usual, NULL);
	if (comes_again(f))
		return;
	vt_sys4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &held, 0, sizeof(held));
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
	for (size_t i = 0; i < sizeof(watched); i++) {
		struct action *view = &faults.view[watched[i]];
		if (!set(watched[i], NULL, view) && view->handler == (uint64_t)SIG_DFL)
			install(watched[i]);
	}
}

static void remove_all(void *arg)
{
	struct action now;
	(void)arg;
	for (size_t i = 0; i < sizeof(watched); i++)
		if (!set(watched[i], NULL, &now) && is_ours(&now))
			set(watched[i], &faults.view[watched[i]], NULL);
	faults.on = false;
}

/* Before a filter forbids what the handler needs. */
void vt_faults_remove(void)
{
	if (faults.on)
		vt_locked(remove_all, NULL);
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
