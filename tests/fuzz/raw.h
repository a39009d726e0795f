/*
 * raw.h - system calls by hand: no errno, no wrapper, the kernel's own result.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FUZZ_RAW_H
#define FUZZ_RAW_H

#include <stdint.h>

#ifndef __x86_64__
#error "the model fuzzer makes x86-64 system calls"
#endif

/* Make system call nr; returns a value or -errno. */
static inline int64_t raw_call(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
			       uint64_t a4, uint64_t a5)
{
	int64_t ret;
	register uint64_t r10 __asm__("r10") = a3;
	register uint64_t r8 __asm__("r8") = a4;
	register uint64_t r9 __asm__("r9") = a5;
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#endif
