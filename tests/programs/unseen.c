/*
 * unseen.c - areas that change without a call: the kernel's view alone shows it.
 *
 *   unseen close    a userfaultfd is closed, which gives up the areas registered with it
 *   unseen uring    an io_uring advises MADV_DONTFORK on the middle of an area
 *   unseen inject   another process makes this one map a place and unmap another, by ptrace
 *
 * Exit status 77 where the kernel has no such thing.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "program.h"

static int missing(const char *what)
{
	say("no %s: %s\n", what, strerror(errno));
	return 77;
}

static int close_userfaultfd(void)
{
	char *p = map_anywhere(8 * PAGE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { { (uintptr_t)p + 2 * PAGE, 4 * PAGE },
				     UFFDIO_REGISTER_MODE_MISSING,
				     0 };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		return missing("userfaultfd");

	CHECK(!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &r));
	CHECK(!close(fd));
	CHECK(!mprotect(p, 4 * PAGE, PROT_READ));
	return 0;
}

static int advise_by_uring(void)
{
	char *p = map_anywhere(8 * PAGE);
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (fd < 0)
		return missing("io_uring");

	char *sq = mmap(NULL, params.sq_off.array + 4 * sizeof(unsigned), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, 4 * sizeof(*sqe), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
	CHECK(sq != MAP_FAILED && sqe != MAP_FAILED);
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_MADVISE,
				      .addr = (uintptr_t)p + 2 * PAGE,
				      .len = 4 * PAGE,
				      .fadvise_advice = MADV_DONTFORK };
	*(unsigned *)(sq + params.sq_off.array) = 0;
	atomic_store((_Atomic unsigned *)(sq + params.sq_off.tail), 1);
	CHECK(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	CHECK(!close(fd));
	return 0;
}

#if defined(__x86_64__)
/* The memory that both sides know of, before the one becomes two. */
static char *known;

static void use_what_was_changed(int go)
{
	char c, *first = map_anywhere(PAGE); /* with this a trace begins */

	CHECK(!munmap(first, PAGE));
	CHECK(read(go, &c, 1) == 1); /* here it is made to do other things */
	CHECK(known[9 * PAGE] == 0); /* mapped for it meanwhile */
	CHECK(mprotect(known + 3 * PAGE, 3 * PAGE, PROT_READ) == -1 && errno == ENOMEM);
	known[5 * PAGE] = 1; /* behind the hole nothing was protected */
	exit(0);
}

/* Let the tracee, which waits in a system call, make another one instead. */
static long inject(pid_t pid, long nr, const unsigned long *a)
{
	struct user_regs_struct old, regs;
	int status;

	CHECK(!ptrace(PTRACE_GETREGS, pid, NULL, &old));
	regs = old;
	regs.rip -= 2; /* the instruction that it is in */
	regs.rax = (unsigned long)nr;
	regs.orig_rax = -1UL;
	regs.rdi = a[0];
	regs.rsi = a[1];
	regs.rdx = a[2];
	regs.r10 = a[3];
	regs.r8 = a[4];
	regs.r9 = a[5];
	CHECK(!ptrace(PTRACE_SETREGS, pid, NULL, &regs));
	CHECK(!ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL));
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	CHECK(!ptrace(PTRACE_GETREGS, pid, NULL, &regs));
	CHECK(!ptrace(PTRACE_SETREGS, pid, NULL, &old));
	return (long)regs.rax;
}

static int be_injected(void)
{
	int go[2], status;

	known = map_anywhere(16 * PAGE);
	CHECK(!munmap(known + 8 * PAGE, 8 * PAGE) && !pipe(go));
	pid_t pid = fork();
	if (!pid)
		use_what_was_changed(go[0]);
	nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL)) {
		kill(pid, SIGKILL);
		return missing("ptrace");
	}
	CHECK(!ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) && waitpid(pid, &status, 0) == pid);
	CHECK(!inject(pid, SYS_munmap, (unsigned long[6]){ (uintptr_t)known + 4 * PAGE, PAGE }));
	CHECK(inject(pid, SYS_mmap,
		     (unsigned long[6]){ (uintptr_t)known + 9 * PAGE, 2 * PAGE, PROT_READ,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1UL, 0 }) > 0);
	CHECK(!ptrace(PTRACE_DETACH, pid, NULL, NULL));
	CHECK(write(go[1], "", 1) == 1 && waitpid(pid, &status, 0) == pid);
	say("exit status %d\n", WEXITSTATUS(status));
	return WEXITSTATUS(status);
}
#else
static int be_injected(void)
{
	return 77;
}
#endif

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	if (!strcmp(argv[1], "inject"))
		return be_injected();
	return strcmp(argv[1], "close") ? advise_by_uring() : close_userfaultfd();
}
