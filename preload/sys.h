/*
 * sys.h - system calls made by hand, and the clock.
 *
 * Runs inside the traced process: no libc, no errno, may be re-entered by a signal. Every system
 * call of the recorder and every recorded call goes through here, so that neither can come back
 * into a wrapper.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_SYS_H
#define VMTRAIL_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)

/* Returns what the kernel returned: a value, or -errno. */
static inline long vt_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* A counter that runs at one rate on all processors (the constant time stamp counter). */
static inline uint64_t vt_tick(void)
{
	return __builtin_ia32_rdtsc();
}

static inline void vt_relax(void)
{
	__builtin_ia32_pause();
}

#elif defined(__aarch64__)

static inline long vt_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

static inline uint64_t vt_tick(void)
{
	uint64_t v;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
}

static inline void vt_relax(void)
{
	__asm__ volatile("yield");
}

#else
#error "vmtrail supports x86-64 and aarch64"
#endif

#define vt_sys0(nr)             vt_sys6(nr, 0, 0, 0, 0, 0, 0)
#define vt_sys1(nr, a)          vt_sys6(nr, (long)(a), 0, 0, 0, 0, 0)
#define vt_sys2(nr, a, b)       vt_sys6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define vt_sys3(nr, a, b, c)    vt_sys6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define vt_sys4(nr, a, b, c, d) vt_sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* Whether the process has no such task any more; a zombie is one still. */
static inline bool vt_is_gone(uint32_t pid, uint32_t tid)
{
	return vt_sys3(SYS_tgkill, pid, tid, 0) == -3 /* ESRCH */;
}

/* Nanoseconds of a clock; the vDSO is not used, for it may not be there yet. */
static inline uint64_t vt_clock_ns(int clock)
{
	struct timespec ts = { 0 };
	vt_sys2(SYS_clock_gettime, clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
