/*
 * errors.c - every documented error of every recorded call, through libc and through syscall().
 *
 *   errors root|nobody|limits|count
 *
 * One verdict a line: the call, its result, errno; "errno kept" is part of it. Where the pages of a
 * stage at a fixed place look different afterwards, another line shows them, as /proc/self/maps
 * does. The output is the same with and without a recorder. nobody: as user 65534, without
 * privileges; limits: as nobody, with small limits; count: with as many areas as there may be.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/mempolicy.h>
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <vmtrail/abi.h>

#include "program.h"

#define RW        (PROT_READ | PROT_WRITE)
#define ANON      (MAP_PRIVATE | MAP_ANONYMOUS)
#define FIXED     (ANON | MAP_FIXED)
#define BASE      0x30000000UL
#define PAGES     256UL
#define AT(page)  ((void *)(BASE + (page)*PAGE))
#define NOWHERE   ((void *)16) /* nothing can be read there */
#define HIGH      ((void *)0x7ffffffff000)
#define HUGE      (1UL << 62)
#define UNTOUCHED 4711 /* errno before each call */

static bool raw;    /* make the calls through syscall() */
static bool hidden; /* there are too many areas to look at */
static int verdicts;
static char stage[4096]; /* as it was shown last */

/* Append to text what maps says of the stage, in pages from its start. */
static void show_line(const char *line, char *text, size_t size)
{
	unsigned long start, end, offset, inode;
	char perms[5];
	size_t n = strlen(text);

	if (sscanf(line, "%lx-%lx %4s %lx %*s %lu", &start, &end, perms, &offset, &inode) == 5 &&
	    start >= BASE && end <= BASE + PAGES * PAGE)
		snprintf(text + n, size - n, " %lu-%lu%s%s", (start - BASE) / PAGE,
			 (end - BASE) / PAGE, perms, inode ? "f" : "");
}

static void show_stage(void)
{
	static char maps[1 << 18], text[sizeof(stage)];
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t n = 0;

	CHECK(fd >= 0);
	for (ssize_t got; (got = read(fd, maps + n, sizeof(maps) - 1 - n)) > 0;)
		n += (size_t)got;
	CHECK(!close(fd));
	maps[n] = '\0';
	text[0] = '\0';
	for (char *line = strtok(maps, "\n"); line; line = strtok(NULL, "\n"))
		show_line(line, text, sizeof(text));
	if (strcmp(text, stage))
		say("   %s\n", *text ? text + 1 : "(empty)");
	strcpy(stage, text);
}

static void verdict(const char *call, long result)
{
	int error = errno;
	const char *how = raw ? "raw " : "";

	verdicts++;
	if (result == -1)
		say("%s%s = -1 %s\n", how, call, strerrorname_np(error));
	else if (result > 1L << 32 || result < 0)
		say("%s%s = somewhere%s\n", how, call, error == UNTOUCHED ? "" : ", errno changed");
	else
		say("%s%s = %#lx%s\n", how, call, result,
		    error == UNTOUCHED ? "" : ", errno changed");
	if (!hidden)
		show_stage();
}

#define E(call) (errno = UNTOUCHED, verdict(#call, (long)(call)))

/* The calls under test: libc's function, or the same by number. */
#define BY_NUMBER(nr, libc, ...) (raw ? syscall(nr, __VA_ARGS__) : (long)libc(__VA_ARGS__))
#define do_mmap(...)             BY_NUMBER(SYS_mmap, mmap, __VA_ARGS__)
#define do_munmap(...)           BY_NUMBER(SYS_munmap, munmap, __VA_ARGS__)
#define do_mprotect(...)         BY_NUMBER(SYS_mprotect, mprotect, __VA_ARGS__)
#define do_pkey_mprotect(...)    BY_NUMBER(SYS_pkey_mprotect, pkey_mprotect, __VA_ARGS__)
#define do_madvise(...)          BY_NUMBER(SYS_madvise, madvise, __VA_ARGS__)
#define do_process_madvise(...)  BY_NUMBER(SYS_process_madvise, process_madvise, __VA_ARGS__)
#define do_mremap(...)           BY_NUMBER(SYS_mremap, mremap, __VA_ARGS__)
#define do_remap(...)            BY_NUMBER(SYS_remap_file_pages, remap_file_pages, __VA_ARGS__)
#define do_shmat(...)            BY_NUMBER(SYS_shmat, shmat, __VA_ARGS__)
#define do_shmdt(...)            BY_NUMBER(SYS_shmdt, shmdt, __VA_ARGS__)
#define do_mlock(...)            BY_NUMBER(SYS_mlock, mlock, __VA_ARGS__)
#define do_mlock2(...)           BY_NUMBER(SYS_mlock2, mlock2, __VA_ARGS__)
#define do_munlock(...)          BY_NUMBER(SYS_munlock, munlock, __VA_ARGS__)
#define do_mlockall(...)         BY_NUMBER(SYS_mlockall, mlockall, __VA_ARGS__)
#define do_msync(...)            BY_NUMBER(SYS_msync, msync, __VA_ARGS__)
#define do_prctl(...)            BY_NUMBER(SYS_prctl, prctl, __VA_ARGS__)
#define do_setrlimit(...)        BY_NUMBER(SYS_setrlimit, setrlimit, __VA_ARGS__)
#define do_prlimit(...)          BY_NUMBER(SYS_prlimit64, prlimit, __VA_ARGS__)
#define do_personality(...)      BY_NUMBER(SYS_personality, personality, __VA_ARGS__)
#define do_ioctl(...)            BY_NUMBER(SYS_ioctl, ioctl, __VA_ARGS__)
#define do_mbind(...)            syscall(SYS_mbind, __VA_ARGS__)
#define do_mseal(...)            syscall(SYS_mseal, __VA_ARGS__)

/* What the calls are about; made before the first verdict. */
static int file, read_only, write_only, directory, sealed, piped[2], shared_id, private_id;

static void open_everything(void)
{
	char name[] = "/tmp/vmtrail-errors-XXXXXX";

	file = mkstemp(name);
	CHECK(file >= 0 && !ftruncate(file, 16 * PAGE));
	CHECK((read_only = open(name, O_RDONLY)) >= 0);
	CHECK((write_only = open(name, O_WRONLY)) >= 0);
	CHECK(!unlink(name));
	CHECK((directory = open("/", O_RDONLY | O_DIRECTORY)) >= 0);
	CHECK((sealed = memfd_create("sealed", MFD_ALLOW_SEALING)) >= 0);
	CHECK(!ftruncate(sealed, 4 * PAGE) && !fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
	CHECK(!pipe(piped));
	CHECK((shared_id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0666)) >= 0);
	CHECK((private_id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600)) >= 0);
	/* once attached, a segment lives until this process ends */
	CHECK(shmat(shared_id, NULL, 0) != (void *)-1 && !shmctl(shared_id, IPC_RMID, NULL));
	CHECK(shmat(private_id, NULL, 0) != (void *)-1 && !shmctl(private_id, IPC_RMID, NULL));
}

/* The stage as each group finds it: 32 pages of memory with a file and a shared area behind. */
static void set_stage(void)
{
	CHECK(!munmap(AT(0), PAGES * PAGE));
	CHECK(mmap(AT(0), 32 * PAGE, RW, FIXED, -1, 0) == AT(0));
	CHECK(mmap(AT(40), 4 * PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, read_only, 0) == AT(40));
	CHECK(mmap(AT(48), 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, file, 4 * PAGE) == AT(48));
	CHECK(mmap(AT(56), 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == AT(56));
	CHECK(mmap(AT(64), 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0) == AT(64));
	*(volatile char *)AT(0) = 1; /* the first area has an anon_vma from now on */
	show_stage();
}

static void map_errors(void)
{
	const int validate = MAP_SHARED | MAP_PRIVATE; /* MAP_SHARED_VALIDATE */

	E(do_mmap(AT(80), 0, RW, FIXED, -1, 0));
	E(do_mmap(AT(80) + 1, PAGE, RW, FIXED, -1, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_PRIVATE | MAP_FIXED, file, 100));
	E(do_mmap(AT(80), PAGE, RW, MAP_PRIVATE | MAP_FIXED, -1, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_PRIVATE | MAP_FIXED, 9999, 0));
	E(do_mmap(AT(80), PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, write_only, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_SHARED | MAP_FIXED, read_only, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_PRIVATE | MAP_FIXED, directory, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_SHARED | MAP_FIXED, piped[0], 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_SHARED | MAP_FIXED, sealed, 0));
	E(do_mmap(AT(80), PAGE, RW, MAP_PRIVATE | MAP_FIXED, sealed, 0));
	E(do_mmap(AT(82), PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, sealed, 0));
	E(do_mmap(AT(30), 4 * PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0));
	E(do_mmap(AT(84), PAGE, RW, validate | MAP_ANONYMOUS, -1, 0));
	E(do_mmap(AT(84), PAGE, RW, validate | MAP_FIXED | 0x80000, file, 0));
	E(do_mmap(AT(84), PAGE, RW, validate | MAP_FIXED | 0x2000000, file, 0));
	E(do_mmap(AT(84), PAGE, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0));
	E(do_mmap(AT(84), PAGE, RW, MAP_DROPPABLE | MAP_FIXED, file, 0));
	E(do_mmap(AT(84), PAGE, RW, MAP_DROPPABLE | MAP_ANONYMOUS | MAP_LOCKED | MAP_FIXED, -1, 0));
	E(do_mmap(AT(84), PAGE, RW, FIXED | MAP_HUGETLB | 63 << 26, -1, 0));
	E(do_mmap(AT(84), PAGE, RW, FIXED | MAP_HUGETLB, -1, 0));
	E(do_mmap(AT(84), PAGE, RW, MAP_PRIVATE | MAP_FIXED | MAP_HUGETLB, file, 0));
	E(do_mmap(AT(84), PAGE, RW, MAP_SHARED | MAP_FIXED, file, 1L << 62));
	E(do_mmap(AT(84), PAGE, RW, MAP_PRIVATE | MAP_FIXED, file, -4096L));
	E(do_mmap(HIGH, 2 * PAGE, RW, FIXED, -1, 0));
	E(do_mmap(NULL, HUGE, RW, ANON, -1, 0));
	E(do_mmap(NULL, -1UL, RW, ANON, -1, 0));
	E(do_mmap(NULL, 1UL << 46, RW, ANON | MAP_32BIT, -1, 0));
	/* what is forced over something destroys it only when it succeeds */
	E(do_mmap(AT(4), PAGE, RW, MAP_SHARED | MAP_FIXED, read_only, 0));
	E(do_mmap(AT(4), PAGE, RW, MAP_PRIVATE | MAP_FIXED, directory, 0));
	E(do_mmap(AT(6), 100, PROT_NONE, FIXED, -1, 0));
}

static void unmap_errors(void)
{
	E(do_munmap(AT(0) + 1, PAGE));
	E(do_munmap(AT(0), 0));
	E(do_munmap(AT(0), -1UL));
	E(do_munmap(HIGH, 2 * PAGE));
	E(do_munmap(NOWHERE, PAGE));
	E(do_munmap(AT(100), 4 * PAGE));
	E(do_munmap(AT(30), 12 * PAGE));
}

static void protect_errors(void)
{
	E(do_mprotect(AT(0) + 1, PAGE, PROT_READ));
	E(do_mprotect(AT(0), PAGE, 0x40));
	E(do_mprotect(AT(0), PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP));
	E(do_mprotect(AT(0), PAGE, PROT_READ | PROT_GROWSDOWN));
	E(do_mprotect(AT(0), PAGE, PROT_READ | PROT_GROWSUP));
	E(do_mprotect(AT(0), 0, PROT_READ));
	E(do_mprotect(AT(0), -1UL, PROT_READ));
	E(do_mprotect(AT(0), -PAGE, PROT_READ));
	E(do_mprotect(AT(100), PAGE, PROT_READ));
	E(do_mprotect(AT(30), 12 * PAGE, PROT_READ));
	E(do_mprotect(AT(40), PAGE, RW));
	E(do_mprotect(AT(41), 10 * PAGE, RW));
	E(do_mprotect(AT(64), PAGE, RW));
	E(do_pkey_mprotect(AT(2), PAGE, PROT_READ, 15));
	E(do_pkey_mprotect(AT(2), PAGE, PROT_READ, 16));
	E(do_pkey_mprotect(AT(2), PAGE, PROT_READ, -2));
	E(do_pkey_mprotect(AT(2), PAGE, PROT_READ, -1));
	E(do_pkey_mprotect(AT(2), PAGE, RW, 0));
	E(do_pkey_mprotect(AT(2) + 1, PAGE, RW, -1));
}

static void advise_errors(void)
{
	E(do_madvise(AT(0) + 1, PAGE, MADV_NORMAL));
	E(do_madvise(AT(0), -1UL, MADV_NORMAL));
	E(do_madvise(AT(0), PAGE, 77));
	E(do_madvise(AT(0), PAGE, -1));
	E(do_madvise(AT(0), 0, 77));
	E(do_madvise(AT(0), 0, MADV_DONTNEED));
	E(do_madvise(AT(100), PAGE, MADV_DONTNEED));
	E(do_madvise(AT(30), 4 * PAGE, MADV_DONTFORK));
	E(do_madvise(AT(30), 12 * PAGE, MADV_DOFORK));
	E(do_madvise(AT(4), PAGE, MADV_REMOVE));
	E(do_madvise(AT(40), PAGE, MADV_REMOVE));
	E(do_madvise(AT(48), PAGE, MADV_FREE));
	E(do_madvise(AT(30), 20 * PAGE, MADV_FREE));
	E(do_madvise(AT(48), PAGE, MADV_WIPEONFORK));
	E(do_madvise(AT(28), 22 * PAGE, MADV_WIPEONFORK));
	E(do_madvise(AT(28), 4 * PAGE, MADV_KEEPONFORK));
	E(do_madvise(AT(0), 32 * PAGE, MADV_DODUMP));
	E(do_madvise(AT(0), PAGE, MADV_COLLAPSE));
	E(do_madvise(AT(100), PAGE, MADV_POPULATE_READ));
	E(do_madvise(AT(64), PAGE, MADV_POPULATE_WRITE));
	E(do_mprotect(AT(8), PAGE, PROT_NONE));
	E(do_madvise(AT(8), PAGE, MADV_POPULATE_READ));
	E(do_madvise(AT(48), PAGE, 102 /* MADV_GUARD_INSTALL */));
	E(do_madvise(AT(10), PAGE, 102));
	E(do_madvise(AT(10), PAGE, MADV_POPULATE_WRITE));
	E(do_madvise(AT(10), PAGE, 103));
	E(posix_madvise(AT(0) + 1, PAGE, POSIX_MADV_NORMAL));
	E(posix_madvise(AT(0), PAGE, 77));
	E(posix_madvise(AT(0), PAGE, MADV_DONTFORK));
	E(posix_madvise(AT(100), PAGE, POSIX_MADV_WILLNEED));
	E(posix_madvise(AT(100) + 1, PAGE, POSIX_MADV_DONTNEED));
}

static void advise_vector_errors(void)
{
	struct iovec one = { AT(2), PAGE }, two[2] = { { AT(4), PAGE }, { AT(100), PAGE } },
		     half = { AT(3) + 1, PAGE }, empty = { AT(5), 0 }, long_one = { AT(0), -1UL };
	struct iovec three[3] = { { AT(4), PAGE }, { AT(30), 4 * PAGE }, { AT(6), PAGE } };
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t child = fork();

	if (!child)
		_exit(0);
	int dead = (int)syscall(SYS_pidfd_open, child, 0);
	CHECK(self >= 0 && dead >= 0 && waitpid(child, NULL, 0) == child);
	E(do_process_madvise(self, &one, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(self, two, 2UL, MADV_COLD, 0U));
	E(do_process_madvise(self, two, 2UL, MADV_DONTFORK, 0U));
	E(do_process_madvise(self, three, 3UL, MADV_DONTFORK, 0U));
	E(do_process_madvise(self, two + 1, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(self, &half, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(self, &empty, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(self, &long_one, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(self, &one, 1UL, 77, 0U));
	E(do_process_madvise(self, &one, 1UL, MADV_COLD, 1U));
	E(do_process_madvise(self, NOWHERE, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(self, &one, 1025UL, MADV_COLD, 0U));
	E(do_process_madvise(self, NULL, 0UL, MADV_COLD, 0U));
	E(do_process_madvise(dead, &one, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(file, &one, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(-1, &one, 1UL, MADV_COLD, 0U));
	E(do_process_madvise(-10000, &one, 1UL, MADV_DOFORK, 0U));
	CHECK(!close(self) && !close(dead));
}

static void move_errors(void)
{
	const int may = MREMAP_MAYMOVE, forced = MREMAP_MAYMOVE | MREMAP_FIXED;

	E(do_mremap(AT(0) + 1, PAGE, PAGE, may, NULL));
	E(do_mremap(AT(0), PAGE, 0, may, NULL));
	E(do_mremap(AT(0), PAGE, PAGE, 8, NULL));
	E(do_mremap(AT(0), PAGE, PAGE, MREMAP_FIXED, AT(80)));
	E(do_mremap(AT(0), PAGE, PAGE, MREMAP_DONTUNMAP, AT(80)));
	E(do_mremap(AT(0), PAGE, 2 * PAGE, MREMAP_DONTUNMAP | forced, AT(80)));
	E(do_mremap(AT(0), PAGE, PAGE, forced, AT(80) + 1));
	E(do_mremap(AT(0), 2 * PAGE, 2 * PAGE, forced, AT(1)));
	E(do_mremap(AT(0), PAGE, 2 * PAGE, forced, HIGH));
	E(do_mremap(AT(0), PAGE, HUGE, may, NULL));
	E(do_mremap(AT(0), PAGE, -1UL, may, NULL));
	E(do_mremap(AT(0), PAGE, 2 * PAGE, 0, NULL));
	E(do_mremap(AT(30), 2 * PAGE, 20 * PAGE, 0, NULL));
	E(do_mremap(AT(100), PAGE, PAGE, may, NULL));
	E(do_mremap(AT(100), PAGE, 2 * PAGE, may, NULL));
	E(do_mremap(AT(30), 12 * PAGE, 13 * PAGE, may, NULL));
	E(do_mremap(AT(30), 12 * PAGE, 12 * PAGE, forced, AT(120)));
	E(do_mremap(AT(0), 0, PAGE, may, NULL));
	E(do_mremap(AT(48), PAGE, PAGE, MREMAP_DONTUNMAP | forced, AT(90)));
	E(do_mremap(AT(4), PAGE, PAGE, forced, AT(100)));
	E(do_mremap(AT(5), 2 * PAGE, PAGE, may, NULL));
	E(do_remap(AT(0), PAGE, 0, 0UL, 0));
	E(do_remap(AT(48), PAGE, PROT_READ, 0UL, 0));
	E(do_remap(AT(48), PAGE, 0, -1UL, 0));
	E(do_remap(AT(100), PAGE, 0, 0UL, 0));
	E(do_remap(AT(48), 8 * PAGE, 0, 0UL, 0));
	E(do_remap(AT(48), 0UL, 0, 0UL, 0));
	E(do_remap(AT(48), PAGE, 0, 9UL, 0));
	E(do_remap(AT(49), PAGE, 0, 1UL << 40, 0));
}

static void attach_errors(void)
{
	E(do_shmat(-1, NULL, 0));
	E(do_shmat(0x7fffffff, NULL, 0));
	E(do_shmat(shared_id, AT(80) + 1, 0));
	E(do_shmat(shared_id, AT(30), 0));
	E(do_shmat(shared_id, NULL, SHM_REMAP));
	E(do_shmat(shared_id, HIGH, 0));
	E(do_shmat(shared_id, AT(80) + 1, SHM_RND));
	E(do_shmat(shared_id, AT(30), SHM_REMAP | SHM_RDONLY));
	E(do_shmat(private_id, AT(90), 0));
	E(do_shmat(private_id, AT(94), SHM_RDONLY));
	E(do_shmdt(AT(81)));
	E(do_shmdt(AT(80) + 1));
	E(do_shmdt(AT(0)));
	E(do_shmdt(AT(80)));
	E(do_shmdt(AT(30)));
	E(do_shmdt(AT(30)));
}

static void lock_errors(void)
{
	E(do_mlock(AT(100), PAGE));
	E(do_mlock(AT(30), 4 * PAGE));
	E(do_mlock(AT(0), -1UL));
	E(do_mlock(AT(4), 2 * PAGE));
	E(do_mlock2(AT(4), PAGE, 2));
	E(do_mlock2(AT(8), PAGE, MLOCK_ONFAULT));
	E(do_mlock2(AT(10), PAGE, 0));
	E(do_msync(AT(4), PAGE, MS_INVALIDATE));
	E(do_madvise(AT(4), PAGE, MADV_DONTNEED));
	E(do_madvise(AT(3), 2 * PAGE, 102 /* MADV_GUARD_INSTALL */));
	E(do_mremap(AT(4), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(100)));
	E(do_munlock(AT(110), PAGE));
	E(do_munlock(AT(30), 4 * PAGE));
	E(do_munlock(AT(0), -1UL));
	E(do_munlock(AT(0), 32 * PAGE));
	E(do_mlockall(0));
	E(do_mlockall(8));
	E(do_mlockall(MCL_ONFAULT));
	E(do_mlockall(MCL_FUTURE | MCL_ONFAULT));
	E(do_mmap(AT(104), PAGE, RW, FIXED, -1, 0));
	E(raw ? syscall(SYS_munlockall) : munlockall());
}

static void sync_errors(void)
{
	E(do_msync(AT(48) + 1, PAGE, MS_SYNC));
	E(do_msync(AT(48), PAGE, MS_SYNC | MS_ASYNC));
	E(do_msync(AT(48), PAGE, 8));
	E(do_msync(AT(100), PAGE, MS_ASYNC));
	E(do_msync(AT(30), 12 * PAGE, MS_ASYNC));
	E(do_msync(AT(48), -1UL, MS_ASYNC));
	E(do_msync(AT(48), 0, MS_SYNC));
	E(do_msync(AT(48), 4 * PAGE, MS_SYNC | MS_INVALIDATE));
}

static void bind_errors(void)
{
	unsigned long node[2] = { 1, 0 }, far[2] = { 0, 1UL << 40 };

	E(do_mbind(AT(4) + 1, PAGE, MPOL_BIND, node, 64, 0));
	E(do_mbind(AT(4), PAGE, 99, node, 64, 0));
	E(do_mbind(AT(4), PAGE, MPOL_BIND, node, 64, 64));
	E(do_mbind(AT(4), PAGE, MPOL_BIND, NULL, 0, 0));
	E(do_mbind(AT(4), PAGE, MPOL_DEFAULT, node, 64, 0));
	E(do_mbind(AT(4), PAGE, MPOL_BIND, NOWHERE, 64, 0));
	E(do_mbind(AT(4), PAGE, MPOL_BIND, node, 1UL << 20, 0));
	E(do_mbind(AT(4), PAGE, MPOL_BIND, far, 128, 0));
	E(do_mbind(AT(100), PAGE, MPOL_BIND, node, 64, 0));
	E(do_mbind(AT(30), 12 * PAGE, MPOL_BIND, node, 64, 0));
	E(do_mbind(AT(4), PAGE, MPOL_BIND, node, 64, MPOL_MF_MOVE_ALL));
	E(do_mbind(AT(4), 0, MPOL_BIND, node, 64, 0));
	E(do_mbind(AT(4), PAGE, MPOL_PREFERRED, node, 64, MPOL_MF_STRICT));
	E(do_mbind(AT(4), PAGE, MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, node, 64,
		   0));
	E(do_mbind(AT(0), 32 * PAGE, MPOL_DEFAULT, NULL, 0, 0));
	E(syscall(SYS_set_mempolicy, 99, NULL, 0));
	E(syscall(SYS_set_mempolicy, MPOL_BIND, NOWHERE, 64));
}

/* Sealed pages stay for good: each way of calling has its own. */
static void seal_errors(void)
{
	unsigned at = raw ? 204 : 200;

	E(do_mseal(AT(4) + 1, PAGE, 0));
	E(do_mseal(AT(4), PAGE, 1));
	E(do_mseal(AT(100), PAGE, 0));
	E(do_mseal(AT(30), 4 * PAGE, 0));
	E(do_mseal(AT(4), -1UL, 0));
	E(do_mseal(AT(4), 0, 0));
	CHECK(mmap(AT(at), 3 * PAGE, PROT_READ, FIXED, -1, 0) == AT(at));
	E(do_mseal(AT(at + 1), PAGE, 0));
	E(do_munmap(AT(at + 1), PAGE));
	E(do_munmap(AT(at), 3 * PAGE));
	E(do_mprotect(AT(at), 3 * PAGE, RW));
	E(do_mremap(AT(at + 1), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(100)));
	E(do_mremap(AT(0), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT(at + 1)));
	E(do_mmap(AT(at), 3 * PAGE, RW, FIXED, -1, 0));
	E(do_madvise(AT(at + 1), PAGE, MADV_DONTNEED));
	E(do_madvise(AT(at), 3 * PAGE, MADV_DONTFORK));
	E(do_pkey_mprotect(AT(at + 1), PAGE, PROT_NONE, -1));
	E(do_shmat(shared_id, AT(at + 1), SHM_REMAP));
	E(do_mseal(AT(at + 1), PAGE, 0));
}

static void break_errors(void)
{
	char *heap = sbrk(0);

	if (raw) {
		E(syscall(SYS_brk, 1) == (long)heap);
		E(syscall(SYS_brk, 1L << 60) == (long)heap);
		return;
	}
	E(brk((void *)1));
	E(brk((void *)(1L << 60)));
	E(brk((void *)-1L));
	E(sbrk(1L << 60));
	E(sbrk(-(1L << 60)));
	E(sbrk((intptr_t)(1UL << 63)));
	E(sbrk(PAGE) == heap);
	E(sbrk(-(intptr_t)PAGE) == heap + PAGE);
	E(sbrk(0) == heap);
	E(brk(heap));
}

static void name_errors(void)
{
	E(do_prctl(PR_SET_VMA, 1L, AT(4), PAGE, "name"));
	E(do_prctl(PR_SET_VMA, 0L, AT(4) + 1, PAGE, "name"));
	E(do_prctl(PR_SET_VMA, 0L, AT(4), PAGE, NOWHERE));
	E(do_prctl(PR_SET_VMA, 0L, AT(4), PAGE, "a\nb"));
	E(do_prctl(PR_SET_VMA, 0L, AT(100), PAGE, "name"));
	E(do_prctl(PR_SET_VMA, 0L, AT(48), PAGE, "name"));
	E(do_prctl(PR_SET_MM, 99L, 0L, 0L, 0L));
	E(do_prctl(PR_SET_MM, (long)PR_SET_MM_START_BRK, 1L, 0L, 0L));
	E(do_prctl(PR_SET_MM, (long)PR_SET_MM_BRK, 1L, 0L, 0L));
	E(do_prctl(PR_SET_MM, (long)PR_SET_MM_BRK, 1L, 1L, 1L));
	E(do_prctl(PR_SET_MM, (long)PR_SET_MM_MAP, NOWHERE, 104L, 0L));
	E(do_prctl(9999, 1L, 2L, 3L, 4L));
	E(do_prctl(PR_SET_NAME, NOWHERE, 0L, 0L, 0L));
	E(do_prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L));
	E(do_personality(0xffffffffUL));
	E(do_personality((unsigned long)READ_IMPLIES_EXEC));
	E(do_mmap(AT(120), PAGE, PROT_READ, FIXED, -1, 0));
	E(do_mprotect(AT(120), PAGE, PROT_READ | PROT_WRITE));
	E(do_personality(0UL));
}

/* What a vfork child does to its limits and its persona is not its parent's. */
static void limit_a_child(void)
{
	struct rlimit small = { 123 * PAGE, RLIM_INFINITY };
	pid_t child = vfork();

	if (!child) {
		setrlimit(RLIMIT_DATA, &small);
		personality(READ_IMPLIES_EXEC);
		_exit(0);
	}
	CHECK(waitpid(child, NULL, 0) == child);
	E(do_mmap(AT(120), 2 * PAGE, PROT_READ, FIXED, -1, 0));
}

static void limit_errors(void)
{
	struct rlimit wrong = { 2, 1 }, old, more = { RLIM_INFINITY, RLIM_INFINITY };

	limit_a_child();
	E(do_setrlimit(99, &wrong));
	E(do_setrlimit(RLIMIT_DATA, &wrong));
	E(do_setrlimit(RLIMIT_STACK, NOWHERE));
	E(do_prlimit(0, 99, &wrong, NULL));
	E(do_prlimit(0, RLIMIT_MEMLOCK, &wrong, NULL));
	E(do_prlimit(0, RLIMIT_AS, NOWHERE, NULL));
	E(do_prlimit(0, RLIMIT_AS, NULL, NOWHERE));
	E(do_prlimit(0x3fffffff, RLIMIT_AS, NULL, &old));
	E(do_prlimit(-1, RLIMIT_AS, NULL, &old));
	E(do_prlimit(1, RLIMIT_CORE, &wrong, NULL));
	E(do_prlimit(0, RLIMIT_STACK, NULL, &old));
	E(do_prlimit(getpid(), RLIMIT_STACK, &old, NULL));
	E(do_setrlimit(RLIMIT_STACK, &old));
	E(do_prlimit(0, RLIMIT_STACK, &old, NOWHERE));
	E(do_setrlimit(RLIMIT_CORE, &more));
}

static long range(int fd, unsigned long request, void *at, unsigned long len, unsigned long mode)
{
	struct uffdio_register r = { { (unsigned long)at, len }, mode, 0 };

	return do_ioctl(fd, request, &r);
}

static void userfault_errors(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	int other = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	const unsigned long missing = UFFDIO_REGISTER_MODE_MISSING;

	E(syscall(SYS_userfaultfd, 0x7000000));
	E(range(fd, UFFDIO_REGISTER, AT(4), PAGE, missing));
	CHECK(fd < 0 || !ioctl(fd, UFFDIO_API, &api));
	api.features = 0;
	CHECK(other < 0 || !ioctl(other, UFFDIO_API, &api));
	E(range(fd, UFFDIO_REGISTER, AT(4) + 1, PAGE, missing));
	E(range(fd, UFFDIO_REGISTER, AT(4), 0, missing));
	E(range(fd, UFFDIO_REGISTER, AT(4), PAGE, 0));
	E(range(fd, UFFDIO_REGISTER, AT(4), PAGE, 64));
	E(range(fd, UFFDIO_REGISTER, AT(100), PAGE, missing));
	E(range(fd, UFFDIO_REGISTER, AT(40), PAGE, missing));
	E(range(fd, UFFDIO_REGISTER, AT(30), 12 * PAGE, missing));
	E(range(fd, UFFDIO_REGISTER, HIGH, PAGE, missing));
	E(range(fd, UFFDIO_REGISTER, AT(4), 2 * PAGE, missing));
	E(range(other, UFFDIO_REGISTER, AT(5), 2 * PAGE, missing));
	E(range(other, UFFDIO_REGISTER, AT(6), 2 * PAGE, missing));
	E(range(fd, UFFDIO_UNREGISTER, AT(4), 4 * PAGE, 0));
	E(do_ioctl(fd, UFFDIO_REGISTER, NOWHERE));
	E(do_ioctl(fd, UFFDIO_UNREGISTER, NOWHERE));
	E(do_ioctl(file, UFFDIO_UNREGISTER, &api));
	E(do_ioctl(-1, UFFDIO_REGISTER, &api));
	E(do_ioctl(-1, TCGETS, NOWHERE));
	E(do_ioctl(piped[0], FIONREAD, NOWHERE));
	E(range(fd, UFFDIO_UNREGISTER, AT(4), PAGE, 0));
	E(range(fd, UFFDIO_UNREGISTER, AT(5), PAGE, 0));
	E(range(other, UFFDIO_UNREGISTER, AT(6), 2 * PAGE, 0));
	CHECK(fd < 0 || (!close(fd) && !close(other)));
}

static void odd_numbers(void)
{
	E(syscall(-1L));
	E(syscall(100000L));
	E(syscall(511L, 1, 2, 3, 4, 5, 6));
	E(syscall(0x40000009L, 0, PAGE, RW, ANON, -1, 0));
}

/* With small limits, as nobody. */
static void small_limits(void)
{
	struct rlimit as = { 64UL << 30, 64UL << 30 }, data = { 1UL << 30, 1UL << 30 };
	struct rlimit lock = { 8 * PAGE, 8 * PAGE }, none = { 0, 0 };

	E(do_setrlimit(RLIMIT_AS, &as));
	E(do_mmap(NULL, 128UL << 30, PROT_NONE, ANON | MAP_NORESERVE, -1, 0));
	E(do_mremap(AT(0), PAGE, 128UL << 30, MREMAP_MAYMOVE, NULL));
	E(do_setrlimit(RLIMIT_DATA, &data));
	E(do_mmap(NULL, 2UL << 30, RW, ANON | MAP_NORESERVE, -1, 0));
	E(do_mmap(AT(80), 2UL << 30, PROT_READ, FIXED | MAP_NORESERVE, -1, 0));
	E(do_mprotect(AT(80), 2UL << 30, RW));
	E(do_munmap(AT(80), 2UL << 30));
	E(raw ? syscall(SYS_brk, 0) < 0 : brk((char *)sbrk(0) + (2UL << 30)));
	E(do_setrlimit(RLIMIT_MEMLOCK, &lock));
	E(do_mlock(AT(0), 9 * PAGE));
	E(do_mlock(AT(0), 8 * PAGE));
	E(do_mlock(AT(8), PAGE));
	E(do_mlock(AT(4), 4 * PAGE));
	E(do_mmap(AT(80), PAGE, RW, FIXED | MAP_LOCKED, -1, 0));
	E(do_mremap(AT(0), 8 * PAGE, 9 * PAGE, MREMAP_MAYMOVE, NULL));
	E(do_mlockall(MCL_CURRENT));
	E(do_munlock(AT(0), 8 * PAGE));
	E(do_mlockall(MCL_FUTURE));
	E(do_mmap(AT(80), 16 * PAGE, RW, FIXED, -1, 0));
	E(raw ? syscall(SYS_munlockall) : munlockall());
	E(do_setrlimit(RLIMIT_MEMLOCK, &none));
	E(do_mlock(AT(0), PAGE));
	E(do_mlockall(MCL_CURRENT));
	E(do_mmap(AT(80), PAGE, RW, FIXED | MAP_LOCKED, -1, 0));
	E(do_setrlimit(RLIMIT_MEMLOCK, &lock));
	E(do_mmap((void *)PAGE, PAGE, RW, FIXED, -1, 0));
	E(do_mmap(NULL, PAGE, RW, ANON, -1, 0) > 65536);
}

/* What is between two of these can be compared with strace call by call. */
static void mark(void)
{
	munmap((void *)0xbad1, 1);
}

/* As many areas as the system allows; then each call that would make one more. */
static void no_more_areas(void)
{
	char *many = mmap(NULL, 1UL << 31, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	char *end = many;

	CHECK(many != MAP_FAILED);
	while (!mprotect(end, PAGE, PROT_READ))
		end += 2 * PAGE;
	say("too many: %s\n", strerrorname_np(errno));
	hidden = true;
	char *free_page = end + 8 * PAGE, *middle = end + 16 * PAGE;
	E(do_mprotect(middle, PAGE, RW));
	E(do_munmap(middle, PAGE));
	E(do_madvise(middle, PAGE, MADV_DONTFORK));
	E(do_mlock(middle, PAGE));
	E(do_mlock2(middle, PAGE, MLOCK_ONFAULT));
	E(do_mmap(middle, PAGE, RW, FIXED, -1, 0));
	E(do_mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	E(do_mremap(middle, PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL));
	E(do_mremap(middle, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, many));
	E(do_shmat(shared_id, NULL, 0));
	E(do_mseal(middle, PAGE, 0));
	E(do_mprotect(free_page, PAGE, PROT_NONE));
	E(do_munmap(many, 2 * PAGE));
	E(do_munmap(many + 2 * PAGE, 64 * PAGE));
	hidden = false;
	CHECK(!munmap(many, 1UL << 31));
	show_stage();
}

static void become_nobody(void)
{
	CHECK(!setgroups(0, NULL) && !setresgid(65534, 65534, 65534));
	CHECK(!setresuid(65534, 65534, 65534));
}

int main(int argc, char **argv)
{
	static void (*const groups[])(void) = {
		map_errors,   unmap_errors,  protect_errors, advise_errors,    advise_vector_errors,
		move_errors,  attach_errors, lock_errors,    sync_errors,      bind_errors,
		break_errors, name_errors,   limit_errors,   userfault_errors, odd_numbers,
	};
	const char *as = argc > 1 ? argv[1] : "root";

	open_everything();
	if (!strcmp(as, "count")) {
		no_more_areas();
		say("%d verdicts\n", verdicts);
		return 0;
	}
	if (strcmp(as, "root"))
		become_nobody();
	mark();
	for (raw = false;; raw = true) {
		if (!strcmp(as, "limits")) {
			set_stage();
			/* the limits do not come back: a child for each way */
			pid_t child = fork();
			int status;
			if (!child) {
				small_limits();
				say("%d verdicts\n", verdicts);
				exit(0);
			}
			CHECK(waitpid(child, &status, 0) == child);
			say("exit status %d\n", status);
		} else {
			for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
				set_stage();
				groups[i]();
			}
		}
		if (raw)
			break;
	}
	if (strcmp(as, "limits")) {
		for (raw = false;; raw = true) {
			CHECK(!munmap(AT(0), 192 * PAGE));
			CHECK(mmap(AT(0), 32 * PAGE, RW, FIXED, -1, 0) == AT(0));
			seal_errors();
			if (raw)
				break;
		}
	}
	mark();
	say("%d verdicts\n", verdicts);
	return 0;
}
