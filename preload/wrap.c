/*
 * wrap.c - the exported functions that stand before libc's.
 *
 * Runs inside the traced process, in any thread and any signal handler. Each makes the system call
 * itself through vt_call and returns what libc's function would: -1 and errno, or the value.
 *
 * SPDX-License-Identifier: MIT
 */
#undef _FILE_OFFSET_BITS /* mmap and mmap64 are both defined here */
#include "recorder.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static inline long result(long ret)
{
	if (vt_is_error(ret)) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	/* libc refuses offsets that are no multiple of a page before the kernel can. */
	if (off & (off_t)(VT_PAGE_SIZE - 1)) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	return (void *)result(
	    vt_call(VT_MMAP, 0, SYS_mmap, (long)addr, (long)len, prot, flags, fd, off));
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off)
    __attribute__((alias("mmap")));

EXPORT int munmap(void *addr, size_t len)
{
	return (int)result(vt_call(VT_MUNMAP, 0, SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0));
}

EXPORT int mprotect(void *addr, size_t len, int prot)
{
	return (int)result(
	    vt_call(VT_MPROTECT, 0, SYS_mprotect, (long)addr, (long)len, prot, 0, 0, 0));
}

EXPORT int pkey_mprotect(void *addr, size_t len, int prot, int pkey)
{
	/* Without a key it is mprotect, also where the kernel has no keys. */
	if (pkey == -1)
		return mprotect(addr, len, prot);
	return (int)result(vt_call(VT_PKEY_MPROTECT, 0, SYS_pkey_mprotect, (long)addr, (long)len,
				   prot, pkey, 0, 0));
}

EXPORT int madvise(void *addr, size_t len, int advice)
{
	return (int)result(
	    vt_call(VT_MADVISE, 0, SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0));
}

EXPORT int posix_madvise(void *addr, size_t len, int advice)
{
	/* POSIX's DONTNEED keeps the contents; the kernel's does not. */
	if (advice == POSIX_MADV_DONTNEED)
		return 0;
	return (int)-vt_call(VT_MADVISE, 0, SYS_madvise, (long)addr, (long)len, advice, 0, 0, 0);
}

EXPORT void *mremap(void *addr, size_t old_len, size_t new_len, int flags, ...)
{
	void *new_addr = NULL;
	if (flags & (MREMAP_FIXED | 4 /* MREMAP_DONTUNMAP */)) {
		va_list ap;
		va_start(ap, flags);
		new_addr = va_arg(ap, void *);
		va_end(ap);
	}
	return (void *)result(vt_call(VT_MREMAP, 0, SYS_mremap, (long)addr, (long)old_len,
				      (long)new_len, flags, (long)new_addr, 0));
}

EXPORT int remap_file_pages(void *addr, size_t len, int prot, size_t pgoff, int flags)
{
	return (int)result(vt_call(VT_REMAP_FILE_PAGES, 0, SYS_remap_file_pages, (long)addr,
				   (long)len, prot, (long)pgoff, flags, 0));
}

EXPORT void *shmat(int id, const void *addr, int flags)
{
	return (void *)result(vt_call(VT_SHMAT, 0, SYS_shmat, id, (long)addr, flags, 0, 0, 0));
}

EXPORT int shmdt(const void *addr)
{
	return (int)result(vt_call(VT_SHMDT, 0, SYS_shmdt, (long)addr, 0, 0, 0, 0, 0));
}

/*
 * A cancellation point, as libc's is: while the call is made, the thread may be cancelled at once.
 */
EXPORT int msync(void *addr, size_t len, int flags)
{
	int type;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	long ret = vt_call(VT_MSYNC, 0, SYS_msync, (long)addr, (long)len, flags, 0, 0, 0);
	pthread_setcanceltype(type, &type);
	return (int)result(ret);
}

EXPORT int mlock(const void *addr, size_t len)
{
	return (int)result(vt_call(VT_MLOCK, 0, SYS_mlock, (long)addr, (long)len, 0, 0, 0, 0));
}

EXPORT int mlock2(const void *addr, size_t len, unsigned flags)
{
	return (int)result(
	    vt_call(VT_MLOCK2, 0, SYS_mlock2, (long)addr, (long)len, (long)flags, 0, 0, 0));
}

EXPORT int munlock(const void *addr, size_t len)
{
	return (int)result(vt_call(VT_MUNLOCK, 0, SYS_munlock, (long)addr, (long)len, 0, 0, 0, 0));
}

EXPORT int mlockall(int flags)
{
	return (int)result(vt_call(VT_MLOCKALL, 0, SYS_mlockall, flags, 0, 0, 0, 0, 0));
}

EXPORT int munlockall(void)
{
	return (int)result(vt_call(VT_MUNLOCKALL, 0, SYS_munlockall, 0, 0, 0, 0, 0, 0));
}

/* libc's idea of the break, which its malloc relies on. */
extern void *__curbrk;

EXPORT int brk(void *addr)
{
	__curbrk = (void *)vt_call(VT_BRK, 0, SYS_brk, (long)addr, 0, 0, 0, 0, 0);
	if (__curbrk < addr) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

EXPORT void *sbrk(intptr_t increment)
{
	if (!__curbrk && brk(NULL) < 0)
		return (void *)-1;
	uintptr_t old = (uintptr_t)__curbrk;
	if (!increment)
		return (void *)old;
	uintptr_t wanted = old + (uintptr_t)increment;
	if (increment > 0 ? wanted < old : wanted > old) {
		errno = ENOMEM;
		return (void *)-1;
	}
	return brk((void *)wanted) < 0 ? (void *)-1 : (void *)old;
}

/* A call that indirect.c enters. */
static long indirect(long nr, long a, long b, long c, long d, long e)
{
	return result(vt_indirect_call(0, nr, (const long[VT_MAX_ARGS]){ a, b, c, d, e, 0 }));
}

EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *new)
{
	return (int)result(vt_setrlimit((int)resource, new));
}

EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *new)
{
	return (int)result(vt_setrlimit((int)resource, new));
}

EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *new,
		   struct rlimit *old)
{
	return (int)indirect(SYS_prlimit64, pid, (int)resource, (long)new, (long)old, 0);
}

EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *new,
		     struct rlimit64 *old)
{
	return (int)indirect(SYS_prlimit64, pid, (int)resource, (long)new, (long)old, 0);
}

EXPORT int prctl(int option, ...)
{
	va_list ap;
	long a[4];
	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return (int)indirect(SYS_prctl, option, a[0], a[1], a[2], a[3]);
}

EXPORT int personality(unsigned long persona)
{
	return (int)indirect(SYS_personality, (long)persona, 0, 0, 0, 0);
}

EXPORT ssize_t process_madvise(int pidfd, const struct iovec *v, size_t n, int advice,
			       unsigned flags)
{
	return indirect(SYS_process_madvise, pidfd, (long)v, (long)n, advice, (long)flags);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	va_start(ap, request);
	long arg = va_arg(ap, long);
	va_end(ap);
	return (int)result(vt_ioctl(0, fd, (long)request, arg));
}

/*
 * libc's fork runs the program's handlers, so it must be called. Where the system call that it
 * makes is redirected, that is where the child is seen.
 */
EXPORT pid_t fork(void)
{
	static pid_t (*real)(void);
	if (!real)
		real = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
	if (vt.sees_fork)
		return real();
	vt_fork_prepare();
	pid_t pid = real();
	if (pid > 0)
		vt_push(VT_FORK, 0, (uint64_t[VT_MAX_ARGS]){ 0 }, pid);
	return pid;
}

EXPORT void _exit(int status)
{
	vt_before_exit(status);
	for (;;)
		vt_sys1(SYS_exit_group, status);
}

EXPORT void _Exit(int status) __attribute__((alias("_exit")));

#if defined(__x86_64__)
/* syscall() with a number of ours; the seventh argument is on the stack, as libc reads it. */
__attribute__((visibility("hidden"))) long vt_syscall_known(long nr, long a, long b, long c, long d,
							    long e, long f);
long vt_syscall_known(long nr, long a, long b, long c, long d, long e, long f)
{
	return result(vt_known_call(VT_EV_RAW, nr, a, b, c, d, e, f));
}
#endif
