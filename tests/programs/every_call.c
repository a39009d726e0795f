/*
 * every_call.c - one of every memory call, also those that fail, each with its result on a line.
 *
 *   every_call [SCRATCH_FILE]
 *
 * The output is the same with and without a recorder: addresses that the kernel chose are printed
 * as "chosen". Between the two calls munmap(0xbad1, 1) the program makes no memory call but those
 * printed, so that a trace can be compared with strace call by call.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <vmtrail/abi.h>

#include "program.h"

#define RW        (PROT_READ | PROT_WRITE)
#define ANON      (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED     (ANON | MAP_FIXED)
#define BASE      ((char *)0x30000000)
#define AT(pages) (BASE + (pages)*PAGE)
#define TOO_LONG  (1UL << 62)

#define TRY(expr) (errno = 0, report(#expr, (intptr_t)(expr)))

static intptr_t report(const char *call, intptr_t result)
{
	if (result == -1)
		say("%s = errno %d\n", call, errno);
	else if (result > 1L << 32 || result < 0)
		say("%s = chosen\n", call);
	else
		say("%s = %#lx\n", call, (long)result);
	return result;
}

static void mark(void)
{
	munmap((void *)0xbad1, 1);
}

static void place(int fd)
{
	char *p = (char *)TRY(mmap(NULL, 3 * PAGE, RW, ANON, -1, 0));

	TRY(munmap(p, 3 * PAGE));
	TRY(mmap(AT(0), 40 * PAGE, RW, FIXED, -1, 0));
	TRY(mmap64(AT(2), 100, PROT_NONE, FIXED, -1, 0));
	TRY(mmap(AT(4), 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, PAGE));
	TRY(mmap(AT(8), 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0));
	TRY(mmap(AT(12), 2 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	TRY(mmap(AT(60), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	TRY(mmap(AT(0), PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	TRY(mmap(AT(64) + 1, PAGE, RW, FIXED, -1, 0));
	TRY(mmap(NULL, 0, RW, ANON, -1, 0));
	TRY(mmap(NULL, PAGE, RW, 0, -1, 0));
	TRY(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
	TRY(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 7));
	TRY(mmap(NULL, TOO_LONG, RW, ANON, -1, 0));
	TRY(mmap(AT(66), PAGE, RW, FIXED | MAP_NORESERVE | MAP_STACK, -1, 0));
	TRY(mmap(AT(68), PAGE, RW, FIXED | MAP_POPULATE, -1, 0));
	TRY(mmap(AT(70), 4 * PAGE, RW, FIXED | MAP_GROWSDOWN, -1, 0));
}

static void change(void)
{
	TRY(mprotect(AT(1), PAGE, PROT_READ));
	TRY(mprotect(AT(1), PAGE, RW));
	TRY(mprotect(AT(39), 8 * PAGE, PROT_READ));
	TRY(mprotect(AT(0) + 1, PAGE, PROT_READ));
	TRY(mprotect(AT(0), 0, PROT_READ));
	TRY(mprotect(AT(0), PAGE, 0x7777));
	TRY(pkey_mprotect(AT(1), PAGE, PROT_READ, -1));
	TRY(pkey_mprotect(AT(1), PAGE, PROT_READ, 99));
	TRY(madvise(AT(16), 4 * PAGE, MADV_DONTNEED));
	TRY(madvise(AT(16), PAGE, MADV_DONTFORK));
	TRY(madvise(AT(16), PAGE, MADV_DOFORK));
	TRY(madvise(AT(18), PAGE, MADV_WIPEONFORK));
	TRY(madvise(AT(20), PAGE, MADV_SEQUENTIAL));
	TRY(madvise(AT(41), PAGE, MADV_DONTNEED));
	TRY(madvise(AT(16), PAGE, 9999));
	TRY(madvise(AT(16) + 1, PAGE, MADV_NORMAL));
	TRY(posix_madvise(AT(22), PAGE, POSIX_MADV_RANDOM));
	TRY(posix_madvise(AT(22), PAGE, POSIX_MADV_DONTNEED));
	TRY(posix_madvise(AT(41), PAGE, POSIX_MADV_WILLNEED));
	TRY(msync(AT(8), 2 * PAGE, MS_ASYNC));
	TRY(msync(AT(8), 2 * PAGE, MS_SYNC | MS_ASYNC));
	TRY(msync(AT(41), PAGE, MS_SYNC));
	TRY(prctl(PR_SET_VMA, 7, AT(24), PAGE, "named"));
	TRY(prctl(PR_SET_MM, PR_SET_MM_BRK, 1, 0, 0));
	TRY(remap_file_pages(AT(8), PAGE, 0, 1, 0));
	TRY(remap_file_pages(AT(0), PAGE, 0, 1, 0));
	TRY(remap_file_pages(AT(8), PAGE, 0, 1UL << 40, 0));
}

static void name(void)
{
	TRY(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(24), PAGE, "named"));
	TRY(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(25), PAGE, "a \"b\""));
	TRY(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(24), PAGE, NULL));
	TRY(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(24), PAGE, "back`slash"));
	TRY(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(24), PAGE, 16));
	TRY(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(8), PAGE, "file"));
	TRY(syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, AT(26), PAGE, "raw"));
}

static void bind(void)
{
	unsigned long one[20] = { 1 }, far[20] = { 1, [15] = 1 };

	TRY(syscall(SYS_mbind, AT(26), PAGE, MPOL_PREFERRED, NULL, 0, 0));
	TRY(syscall(SYS_mbind, AT(26), PAGE, MPOL_BIND, one, 64, 0));
	TRY(syscall(SYS_mbind, AT(27), PAGE, MPOL_BIND, one, 1024, MPOL_MF_STRICT));
	TRY(syscall(SYS_mbind, AT(27), PAGE, MPOL_INTERLEAVE, far, 1024, 0));
	TRY(syscall(SYS_mbind, AT(27), PAGE, MPOL_BIND, 16, 64, 0));
	TRY(syscall(SYS_mbind, AT(26), PAGE, 77, NULL, 0, 0));
	TRY(syscall(SYS_mbind, AT(26), 2 * PAGE, MPOL_DEFAULT, NULL, 0, 0));
	TRY(syscall(SYS_set_mempolicy, MPOL_PREFERRED, one, 64));
	TRY(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
}

static void advise_ranges(void)
{
	struct iovec v[3] = { { AT(16), PAGE }, { AT(19), PAGE }, { AT(22), 2 * PAGE } };
	struct iovec hole[3] = { { AT(16), PAGE }, { AT(41), PAGE }, { AT(22), PAGE } };
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	TRY(process_madvise(self, v, 1, MADV_COLD, 0));
	TRY(process_madvise(self, v, 3, MADV_DONTFORK, 0));
	TRY(process_madvise(self, hole, 3, MADV_DOFORK, 0));
	TRY(process_madvise(self, hole + 1, 1, MADV_COLD, 0));
	TRY(process_madvise(self, v, 3, 9999, 0));
	TRY(process_madvise(self, v, 1, MADV_COLD, 1));
	TRY(process_madvise(self, (struct iovec *)16, 1, MADV_PAGEOUT, 0));
	TRY(process_madvise(self, v, 0, MADV_COLD, 0));
	TRY(syscall(SYS_process_madvise, self, v, 2, MADV_DOFORK, 0));
	CHECK(!close(self));
}

static int ioctl_range(int fd, unsigned long request, char *at, unsigned pages, unsigned long mode)
{
	struct uffdio_register r = { { (unsigned long)at, pages * PAGE }, mode, 0 };

	return ioctl(fd, request, &r);
}

static void watch_faults(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	CHECK(fd < 0 || !ioctl(fd, UFFDIO_API, &api));
	TRY(ioctl_range(fd, UFFDIO_REGISTER, AT(36), 2, UFFDIO_REGISTER_MODE_MISSING));
	TRY(ioctl_range(fd, UFFDIO_REGISTER, AT(37), 1, UFFDIO_REGISTER_MODE_WP));
	TRY(ioctl_range(fd, UFFDIO_REGISTER, AT(37), 9, UFFDIO_REGISTER_MODE_MISSING));
	TRY(ioctl_range(fd, UFFDIO_REGISTER, AT(46), 1, UFFDIO_REGISTER_MODE_MISSING));
	TRY(ioctl_range(fd, UFFDIO_UNREGISTER, AT(36), 1, 0));
	TRY(ioctl_range(fd, UFFDIO_UNREGISTER, AT(38), 2, 0));
	TRY(ioctl(fd, UFFDIO_REGISTER, 16));
	TRY(syscall(SYS_ioctl, fd, UFFDIO_UNREGISTER,
		    &(struct uffdio_range){ (unsigned long)AT(37), PAGE }));
	TRY(ioctl(1000, UFFDIO_UNREGISTER, &api));
	CHECK(fd < 0 || !close(fd));
}

static void move(void)
{
	TRY(mremap(AT(28), 2 * PAGE, PAGE, 0));
	TRY(mremap(AT(28), PAGE, 2 * PAGE, 0));
	TRY(mremap(AT(28), PAGE, 30 * PAGE, 0));
	TRY(mremap(AT(28), PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(80)));
	TRY(mremap(AT(80), 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	TRY(mremap(AT(12), 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(84)));
	TRY(mremap(AT(88), PAGE, PAGE, 0));
	TRY(mremap(AT(80), PAGE, 0, 0));
	TRY(mremap(AT(80), PAGE, PAGE, 64));
	TRY(mremap(AT(80), PAGE, PAGE, MREMAP_FIXED, AT(90)));
}

static void lock(void)
{
	TRY(mlock(AT(30), 2 * PAGE));
	TRY(mlock2(AT(32), PAGE, MLOCK_ONFAULT));
	TRY(mlock2(AT(32), PAGE, 77));
	TRY(mlock(AT(50), PAGE));
	TRY(munlock(AT(30), 3 * PAGE));
	TRY(munlock(AT(50), PAGE));
	TRY(mlockall(0));
	TRY(mlockall(MCL_FUTURE | MCL_ONFAULT));
	TRY(mmap(AT(92), PAGE, RW, FIXED, -1, 0));
	TRY(munlockall());
}

static void attach(int id)
{
	TRY(shmat(id, AT(100), 0));
	TRY(shmat(id, AT(102), SHM_REMAP | SHM_RDONLY));
	TRY(shmat(id, AT(0), 0));
	TRY(shmat(-5, NULL, 0));
	TRY(shmdt(AT(102)));
	TRY(shmdt(AT(104)));
}

static void move_heap_end(void)
{
	char *heap = sbrk(0);

	TRY(sbrk(5 * PAGE));
	TRY(brk(heap + 2 * PAGE));
	TRY(brk((char *)1));
	TRY(sbrk(-(intptr_t)(2 * PAGE)));
	TRY(sbrk(1L << 60));
}

static void go_round_the_wrappers(void)
{
	TRY(syscall(SYS_mmap, AT(110), 2 * PAGE, RW, FIXED, -1, 0));
	TRY(syscall(SYS_mprotect, AT(110), PAGE, PROT_NONE));
	TRY(syscall(SYS_madvise, AT(111), PAGE, MADV_FREE));
	TRY(syscall(SYS_mlock, AT(111), PAGE));
	TRY(syscall(SYS_mlock2, AT(111), PAGE, MLOCK_ONFAULT));
	TRY(syscall(SYS_munlock, AT(111), PAGE));
	TRY(syscall(SYS_mlockall, MCL_FUTURE));
	TRY(syscall(SYS_munlockall));
	TRY(syscall(SYS_msync, AT(111), PAGE, MS_ASYNC));
	TRY(syscall(SYS_pkey_mprotect, AT(111), PAGE, PROT_READ, -1));
	TRY(syscall(SYS_mremap, AT(111), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(114)));
	TRY(syscall(SYS_remap_file_pages, AT(114), PAGE, 0, 0, 0));
	TRY(syscall(SYS_shmat, -5, NULL, 0));
	TRY(syscall(SYS_shmdt, AT(114)));
	TRY(syscall(SYS_brk, 0));
	TRY(syscall(SYS_munmap, AT(110), PAGE));
	TRY(syscall(SYS_munmap, AT(110) + 1, PAGE));
}

static void set_limits(void)
{
	struct rlimit old, small = { 64UL << 30, RLIM_INFINITY };

	CHECK(!getrlimit(RLIMIT_AS, &old));
	small.rlim_max = old.rlim_max;
	TRY(setrlimit(RLIMIT_AS, &small));
	TRY(mmap(NULL, 128UL << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	TRY(prlimit(0, RLIMIT_AS, &old, NULL));
	TRY(prlimit(getpid(), RLIMIT_AS, NULL, &old));
	TRY(prlimit(getpid(), RLIMIT_DATA, (struct rlimit *)16, NULL));
	TRY(setrlimit(RLIMIT_STACK, &(struct rlimit){ 2, 1 }));
	CHECK(!getrlimit(RLIMIT_MEMLOCK, &old));
	TRY(syscall(SYS_setrlimit, RLIMIT_MEMLOCK, &old));
	TRY(syscall(SYS_prlimit64, 0, RLIMIT_MEMLOCK, &old, NULL));
	TRY(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, 64 }));
	int persona = (int)TRY(personality(0xffffffff));
	TRY(personality((unsigned long)persona | READ_IMPLIES_EXEC));
	TRY(mmap(AT(96), PAGE, PROT_READ, FIXED, -1, 0));
	TRY(personality((unsigned long)persona));
	TRY(syscall(SYS_personality, 0xffffffff));
}

static void seal(void)
{
	TRY(syscall(SYS_mseal, AT(34), PAGE, 0));
	TRY(munmap(AT(34), PAGE));
	TRY(mprotect(AT(34), PAGE, PROT_READ));
	TRY(syscall(SYS_mseal, AT(34), PAGE, 5));
}

static void give_back(void)
{
	TRY(munmap(AT(5), 2 * PAGE));
	TRY(munmap(AT(5), 2 * PAGE));
	TRY(munmap(AT(0) + 5, PAGE));
	TRY(munmap(AT(0), 0));
	TRY(munmap(AT(0), 20 * PAGE));
}

int main(int argc, char **argv)
{
	int id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600);
	int fd =
	    argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : memfd_create("scratch", 0);

	CHECK(fd >= 0 && !ftruncate(fd, 8 * PAGE) && id >= 0);
	mark();
	place(fd);
	change();
	name();
	bind();
	advise_ranges();
	watch_faults();
	move();
	lock();
	attach(id);
	move_heap_end();
	go_round_the_wrappers();
	set_limits();
	seal();
	give_back();
	mark();
	CHECK(!shmctl(id, IPC_RMID, NULL));
	return 0;
}
