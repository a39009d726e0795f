/*
 * oneshot.c - handlers set with SA_RESETHAND: what they see, and how the process dies after them.
 *
 *   oneshot plain|siginfo|nodefer|onstack|mask|sysv  the handler tells what it sees and returns:
 * the fault comes again oneshot registers  as the handler finds them; and the return address
 *   oneshot frames   backtrace() in the handler
 *   oneshot again|inside  a fault in the handler, with SA_NODEFER and without
 *   oneshot jump     leaves by siglongjmp, 1,000 times with the handler set again, then without
 *   oneshot threads  two threads fault, and the first one's handler does not come back
 *   oneshot together  two threads fault at the same moment, in 200 processes: in how many both ran
 *   oneshot fork|vfork  the child's handler runs in the child, the parent's in the parent
 *   oneshot raise    kill() twice
 *   oneshot abort    SIGABRT
 *   oneshot answers  what sigaction answers, step by step
 *   oneshot exec     what the next image is told
 *   oneshot race     one thread sets the handler anew all the time, another one raises the signal
 *   oneshot confined a seccomp filter comes between
 *
 * What may differ from run to run is not printed.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "program.h"

#define ROUNDS 3000

static volatile int zero;
static char alternate[65536];
static sigjmp_buf back;
static volatile int entered;
static _Atomic int waiting;

static void action_now(int sig)
{
	struct sigaction now;

	CHECK(!sigaction(sig, NULL, &now));
	say("  action %s flags %#x mask segv %d usr1 %d\n",
	    now.sa_handler == SIG_DFL   ? "default"
	    : now.sa_handler == SIG_IGN ? "ignored"
					: "handler",
	    (unsigned)now.sa_flags, sigismember(&now.sa_mask, SIGSEGV),
	    sigismember(&now.sa_mask, SIGUSR1));
}

static void tell(int sig)
{
	sigset_t set;
	stack_t stack;

	say("handler %d\n", sig);
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &set) && !sigaltstack(NULL, &stack));
	say("  blocked");
	for (int i = 1; i < 32; i++)
		if (sigismember(&set, i) == 1)
			say(" %d", i);
	say("; stack flags %d, here %d\n", stack.ss_flags,
	    (char *)&set - alternate < (long)sizeof(alternate) && (char *)&set > alternate);
	action_now(sig);
}

static void tell_info(int sig, siginfo_t *info, void *context)
{
	tell(sig);
	say("  code %d address %p context %d\n", info->si_code, info->si_addr, context != NULL);
}

static void set_handler(int sig, void (*handler)(int), int flags)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = flags | SA_RESETHAND };

	if (flags & SA_SIGINFO)
		action.sa_sigaction = (void (*)(int, siginfo_t *, void *))(void *)handler;
	if (flags & SA_RESTART) { /* stands for a mask */
		sigaddset(&action.sa_mask, SIGUSR1);
		sigaddset(&action.sa_mask, SIGTERM);
	}
	CHECK(!sigaction(sig, &action, NULL));
}

__attribute__((noinline)) static void touch(void)
{
	*(volatile char *)(uintptr_t)(zero + 24) = 1;
}

#if defined(__x86_64__)
/* rbx rbp r8-r15 rax rcx rdi, rsi - rsp, rdx - rsp, flags, rsp, return address, xmm0-xmm15 */
uint64_t seen[18], vectors[32];
void save_and_tell(int);
__asm__(".globl save_and_tell\n"
	"save_and_tell:\n"
	"movq %rbx, seen+0(%rip); movq %rbp, seen+8(%rip); movq %r8, seen+16(%rip)\n"
	"movq %r9, seen+24(%rip); movq %r10, seen+32(%rip); movq %r11, seen+40(%rip)\n"
	"movq %r12, seen+48(%rip); movq %r13, seen+56(%rip); movq %r14, seen+64(%rip)\n"
	"movq %r15, seen+72(%rip); movq %rax, seen+80(%rip); movq %rcx, seen+88(%rip)\n"
	"movq %rdi, seen+96(%rip); subq %rsp, %rsi; movq %rsi, seen+104(%rip)\n"
	"subq %rsp, %rdx; movq %rdx, seen+112(%rip); pushfq; popq seen+120(%rip)\n"
	"movq %rsp, seen+128(%rip); movq (%rsp), %rax; movq %rax, seen+136(%rip)\n"
	"leaq vectors(%rip), %rax\n"
	"movups %xmm0, (%rax); movups %xmm1, 16(%rax); movups %xmm2, 32(%rax)\n"
	"movups %xmm3, 48(%rax); movups %xmm4, 64(%rax); movups %xmm5, 80(%rax)\n"
	"movups %xmm6, 96(%rax); movups %xmm7, 112(%rax); movups %xmm8, 128(%rax)\n"
	"movups %xmm9, 144(%rax); movups %xmm10, 160(%rax); movups %xmm11, 176(%rax)\n"
	"movups %xmm12, 192(%rax); movups %xmm13, 208(%rax); movups %xmm14, 224(%rax)\n"
	"movups %xmm15, 240(%rax)\n"
	"jmp tell_registers\n");

void tell_registers(int sig);
void tell_registers(int sig)
{
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} raw;
	uint64_t all = 0;

	CHECK(!syscall(SYS_rt_sigaction, sig, NULL, &raw, 8));
	for (int i = 0; i < 16; i++) /* the subtractions above have changed the arithmetic flags */
		say("  %d %#lx\n", i, i == 15 ? seen[i] & ~0x8d5ul : seen[i]);
	for (int i = 0; i < 32; i++)
		all |= vectors[i];
	say("  rsp & 15 %lu, returns to the restorer %d, vectors %#lx\n", seen[16] & 15,
	    seen[17] == (uint64_t)raw.restorer, all);
}

static void registers(void)
{
	set_handler(SIGSEGV, save_and_tell, 0);
	__asm__ volatile(
	    "movq $1, %%rbx; movq $2, %%r8; movq $3, %%r9; movq $4, %%r10\n"
	    "movq $5, %%r11; movq $6, %%r12; movq $7, %%r13; movq $8, %%r14\n"
	    "movq $9, %%r15; movq $10, %%rax; movq $11, %%rcx; movq $12, %%rdi\n"
	    "movq $13, %%rdx; movq $14, %%rsi; movq $15, %%rbp; pcmpeqd %%xmm3, %%xmm3\n"
	    "std; movb $1, 24" ::
		: "memory");
}
#else
static void registers(void)
{
}
#endif

static void show_frames(int sig)
{
	void *pc[64];
	Dl_info info;
	int n = backtrace(pc, 64);

	say("handler %d, frames %d\n", sig, n);
	for (int i = 0; i < n; i++) {
		const char *name = dladdr(pc[i], &info) && info.dli_fname ? info.dli_fname : "?";
		const char *slash = strrchr(name, '/');
		say("  %s\n", slash ? slash + 1 : name);
	}
}

static void fault_again(int sig)
{
	say("handler %d\n", sig);
	touch();
}

static void jump_out(int sig)
{
	(void)sig;
	entered++;
	siglongjmp(back, 1);
}

static void wait_for_the_other(int sig)
{
	say("handler %d\n", sig);
	atomic_store(&waiting, 1);
	for (;;)
		pause();
}

static void *fault_first(void *arg)
{
	(void)arg;
	touch();
	return NULL;
}

static void just_return(int sig)
{
	(void)sig;
	entered++;
}

static void jump(void)
{
	for (volatile int i = 0; i < 1000; i++) {
		set_handler(SIGSEGV, jump_out, SA_NODEFER);
		if (!sigsetjmp(back, 1))
			touch();
	}
	say("entered %d\n", entered);
	action_now(SIGSEGV);
	touch();
}

static _Atomic int *ran, ready;

static void count_and_wait(int sig)
{
	(void)sig;
	atomic_fetch_add(ran, 1);
	for (;;)
		pause();
}

static void *fault_together(void *arg)
{
	(void)arg;
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < 2)
		;
	touch();
	return NULL;
}

static void together(void)
{
	pthread_t thread;
	int status, both = 0;

	ran = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(ran != MAP_FAILED);
	set_handler(SIGSEGV, count_and_wait, 0);
	for (int i = 0; i < 200; i++) {
		pid_t pid = fork();
		if (!pid) {
			alarm(10);
			CHECK(!pthread_create(&thread, NULL, fault_together, NULL));
			fault_together(NULL);
		}
		CHECK(waitpid(pid, &status, 0) == pid && WTERMSIG(status) == SIGSEGV);
		both += atomic_exchange(ran, 0) > 1;
	}
	say("both handlers ran: %d\n", both);
}

static void in_children(int with_vfork)
{
	int status;

	set_handler(SIGSEGV, tell, 0);
	pid_t pid = with_vfork ? vfork() : fork();
	if (!pid) {
		touch();
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	say("child died of %d\n", WTERMSIG(status));
	action_now(SIGSEGV);
	touch();
}

static void answers(void)
{
	struct sigaction old;

	set_handler(SIGSEGV, tell, 0);
	action_now(SIGSEGV);
	set_handler(SIGSEGV, tell, SA_SIGINFO | SA_NODEFER);
	action_now(SIGSEGV);
	set_handler(SIGSEGV, just_return, SA_RESTART);
	action_now(SIGSEGV);
	raise(SIGSEGV);
	say("entered %d\n", entered);
	action_now(SIGSEGV);
	set_handler(SIGSEGV, just_return, 0);
	CHECK(!sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = just_return }, &old));
	say("old %d flags %#x\n", old.sa_handler == just_return, (unsigned)old.sa_flags);
	raise(SIGSEGV);
	raise(SIGSEGV);
	say("entered %d\n", entered);
	action_now(SIGSEGV);
	set_handler(SIGSEGV, just_return, 0);
	raise(SIGSEGV);
	CHECK(!sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = SIG_IGN }, &old));
	say("old %d flags %#x\n", old.sa_handler == SIG_DFL, (unsigned)old.sa_flags);
	raise(SIGSEGV);
	action_now(SIGSEGV);
	CHECK(signal(SIGSEGV, SIG_DFL) == SIG_IGN);
	action_now(SIGSEGV);
}

static void *keep_setting(void *arg)
{
	(void)arg;
	while (atomic_load(&waiting) != 2) {
		set_handler(SIGSEGV, just_return, SA_NODEFER);
		set_handler(SIGSEGV, just_return, SA_NODEFER | SA_SIGINFO);
		CHECK(!sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = just_return }, NULL));
		atomic_store(&waiting, 1);
		while (atomic_load(&waiting) == 1)
			sched_yield();
	}
	return NULL;
}

/* Between two signals the handler is always set anew, the last time to stay. */
static void race(void)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, keep_setting, NULL));
	for (int i = 0; i < ROUNDS; i++) {
		while (atomic_load(&waiting) != 1)
			sched_yield();
		atomic_store(&waiting, i + 1 < ROUNDS ? 0 : 2);
		for (int n = i & 63; n--;) /* sooner or later */
			atomic_load(&waiting);
		raise(SIGSEGV);
	}
	CHECK(!pthread_join(thread, NULL));
	say("entered %d\n", entered);
}

static void confined(void)
{
	struct sock_filter allow[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog program = { 1, allow };

	set_handler(SIGSEGV, tell, 0);
	set_handler(SIGBUS, just_return, 0);
	raise(SIGBUS);
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	      !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	action_now(SIGSEGV);
	action_now(SIGBUS);
	touch();
}

static void threads(void)
{
	pthread_t thread;

	set_handler(SIGSEGV, wait_for_the_other, 0);
	CHECK(!pthread_create(&thread, NULL, fault_first, NULL));
	while (!atomic_load(&waiting))
		usleep(1000);
	touch();
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "plain";
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof(alternate) };

	munmap(map_anywhere(7 * PAGE), 7 * PAGE);
	CHECK(!sigaltstack(&stack, NULL));
	if (!strcmp(mode, "plain"))
		set_handler(SIGSEGV, tell, 0);
	else if (!strcmp(mode, "siginfo"))
		set_handler(SIGSEGV, (void (*)(int))(void *)tell_info, SA_SIGINFO);
	else if (!strcmp(mode, "nodefer"))
		set_handler(SIGSEGV, tell, SA_NODEFER);
	else if (!strcmp(mode, "onstack"))
		set_handler(SIGSEGV, tell, SA_ONSTACK);
	else if (!strcmp(mode, "mask"))
		set_handler(SIGSEGV, tell, SA_RESTART);
	else if (!strcmp(mode, "sysv"))
		CHECK(sysv_signal(SIGSEGV, tell) == SIG_DFL);
	else if (!strcmp(mode, "registers"))
		registers();
	else if (!strcmp(mode, "frames"))
		set_handler(SIGSEGV, show_frames, 0);
	else if (!strcmp(mode, "again"))
		set_handler(SIGSEGV, fault_again, SA_NODEFER);
	else if (!strcmp(mode, "inside"))
		set_handler(SIGSEGV, fault_again, 0);
	else if (!strcmp(mode, "jump"))
		jump();
	else if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "fork") || !strcmp(mode, "vfork"))
		in_children(*mode == 'v');
	else if (!strcmp(mode, "confined"))
		confined();
	else if (!strcmp(mode, "together")) {
		together();
		return 0;
	} else if (!strcmp(mode, "answers") || !strcmp(mode, "race")) {
		*mode == 'a' ? answers() : race();
		return 0;
	} else if (!strcmp(mode, "raise")) {
		set_handler(SIGSEGV, tell, 0);
		raise(SIGSEGV);
		raise(SIGSEGV);
	} else if (!strcmp(mode, "abort")) {
		set_handler(SIGABRT, tell, 0);
		abort();
	} else if (!strcmp(mode, "exec")) {
		set_handler(SIGSEGV, tell, 0);
		set_handler(SIGBUS, just_return, 0);
		raise(SIGBUS);
		execv("/proc/self/exe", (char *[]){ argv[0], "told", NULL });
	} else {
		action_now(SIGSEGV);
		action_now(SIGBUS);
	}
	say("address %#lx\n", 24ul); /* so that the same is left in all registers */
	touch();
}
