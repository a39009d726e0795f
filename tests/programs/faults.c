/*
 * faults.c - deaths by a fault, and faults that are survived.
 *
 *   faults null|bus|abort|ill|fpe|jump|thread|kill|overflow  dies of it
 *   faults recover   the program's own handler makes the page writable
 *   faults reporter  its handler puts the default back and raises the signal again
 *   faults refault   its handler puts the default back and returns
 *   faults blocked   the fault comes while its signal is blocked
 *   faults altstack  on a small alternate stack of the thread's own
 *   faults actions   prints what sigaction, signal and the raw call answer
 *   faults child     a forked child that makes no call before its fault
 *   faults quiet     ends with status 7 by an instruction of its own
 *
 * Before it dies the program prints the address of the fault, and where the frame is that it stands
 * in.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "program.h"

static volatile int zero, one = 1;

__attribute__((noinline)) static void touch(volatile char *p)
{
	say("address %#lx\n", (unsigned long)p);
	*p = 1;
	say("not reached\n");
}

static void beyond_the_end(void)
{
	char name[] = "/tmp/vmtrail-fault-XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name) && !ftruncate(fd, 100));
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	touch(p + PAGE + 8);
}

static void *in_thread(void *arg)
{
	(void)arg;
	touch((char *)16);
	return NULL;
}

__attribute__((noinline)) static int deeper(int n)
{
	volatile char room[4000];

	room[0] = (char)n;
	return (zero ? 0 : deeper(n + 1)) + room[0];
}

static char *page;
static volatile int recovered;

static void make_writable(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (sig != SIGSEGV || info->si_addr != page || mprotect(page, PAGE, PROT_READ | PROT_WRITE))
		_exit(98);
	recovered++;
}

static void report_and_raise(int sig)
{
	say("reporter %d\n", sig);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void report_and_return(int sig)
{
	say("reporter %d\n", sig);
	signal(sig, SIG_DFL);
}

static void handle(int sig, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };

	CHECK(!sigaction(sig, &action, NULL));
}

static void recover(void)
{
	struct sigaction action = { .sa_sigaction = make_writable, .sa_flags = SA_SIGINFO };

	page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED && !sigaction(SIGSEGV, &action, NULL));
	for (int i = 0; i < 100; i++) {
		*(volatile char *)page = 1;
		CHECK(!mprotect(page, PAGE, PROT_READ));
	}
	say("recovered %d\n", recovered);
}

static void print_action(const char *what, int sig)
{
	struct sigaction old;
	/* as the kernel has it */
	struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} raw;

	CHECK(!sigaction(sig, NULL, &old) && !syscall(SYS_rt_sigaction, sig, NULL, &raw, 8));
	say("%s %d: %s flags %#x, segv %d term %d; raw %d %#lx %#lx\n", what, sig,
	    old.sa_handler == SIG_DFL   ? "default"
	    : old.sa_handler == SIG_IGN ? "ignored"
					: "handler",
	    (unsigned)old.sa_flags, sigismember(&old.sa_mask, SIGSEGV),
	    sigismember(&old.sa_mask, SIGTERM), raw.handler == NULL, raw.flags, raw.mask);
}

static void print_actions(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction action = { .sa_handler = SIG_DFL, .sa_flags = SA_RESTART };
		struct sigaction old;
		int sig = signals[i];

		print_action("at first", sig);
		sigaddset(&action.sa_mask, SIGTERM);
		CHECK(!sigaction(sig, &action, &old) && old.sa_handler == SIG_DFL);
		print_action("default with flags", sig);
		say("signal says %d\n", signal(sig, report_and_raise) == SIG_DFL);
		print_action("handler", sig);
		say("signal says %d\n", signal(sig, SIG_DFL) == report_and_raise);
		print_action("default again", sig);
		CHECK(signal(sig, SIG_IGN) == SIG_DFL && signal(sig, SIG_DFL) == SIG_IGN);
		print_action("ignored and back", sig);
		errno = 0;
		long bad = syscall(SYS_rt_sigaction, sig, 8, NULL, 8);
		say("bad %ld %d", bad, errno);
		bad = syscall(SYS_rt_sigaction, sig, NULL, 8, 8);
		say(" %ld %d", bad, errno);
		bad = syscall(SYS_rt_sigaction, sig, NULL, NULL, 4);
		say(" %ld %d\n", bad, errno);
	}
}

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
}

static void on_small_stack(void)
{
	size_t size = MINSIGSTKSZ + 4096;
	stack_t stack = { .ss_sp = map_anywhere(size), .ss_size = size };

	CHECK(!sigaltstack(&stack, NULL));
	handle(SIGUSR1, SIG_DFL);
	touch((char *)16);
}

static void end_quietly(void)
{
#if defined(__x86_64__)
	__asm__ volatile("movl $231, %%eax; movl $7, %%edi; nop; syscall" ::: "memory");
#endif
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "null";
	pthread_t thread;

	munmap(map_anywhere(7 * PAGE), 7 * PAGE);
	if (!strcmp(mode, "bus"))
		beyond_the_end();
	else if (!strcmp(mode, "abort"))
		abort();
	else if (!strcmp(mode, "ill"))
		__builtin_trap();
	else if (!strcmp(mode, "fpe"))
		say("%d\n", one / zero);
	else if (!strcmp(mode, "jump"))
		((void (*)(void))(uintptr_t)(zero + 64))();
	else if (!strcmp(mode, "kill"))
		kill(getpid(), SIGSEGV);
	else if (!strcmp(mode, "overflow"))
		say("%d\n", deeper(0));
	else if (!strcmp(mode, "thread"))
		CHECK(!pthread_create(&thread, NULL, in_thread, NULL) &&
		      !pthread_join(thread, NULL));
	else if (!strcmp(mode, "recover"))
		recover();
	else if (!strcmp(mode, "actions"))
		print_actions();
	else if (!strcmp(mode, "altstack"))
		on_small_stack();
	else if (!strcmp(mode, "quiet"))
		end_quietly();
	else if (!strcmp(mode, "child")) {
		int status;
		pid_t pid = fork();
		if (!pid)
			*(volatile char *)(uintptr_t)(zero + 24) = 1;
		CHECK(waitpid(pid, &status, 0) == pid);
		say("child died of %d\n", WTERMSIG(status));
	} else {
		if (!strcmp(mode, "reporter"))
			handle(SIGSEGV, report_and_raise);
		else if (!strcmp(mode, "refault"))
			handle(SIGSEGV, report_and_return);
		else if (!strcmp(mode, "blocked"))
			block(SIGSEGV);
		touch((char *)16);
	}
	return 0;
}
