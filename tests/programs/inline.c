/*
 * Memory calls by system call instructions in the program's own text, as some libraries make them.
 * Exits with 99 when a register, a flag of the result or memory below the stack pointer is not as a
 * system call leaves it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

#if defined(__x86_64__)

/* The number right before the instruction. */
__attribute__((noinline)) static long unmap_inline(void *p, size_t length)
{
	long ret;
	__asm__ volatile("mov $11, %%eax\n\tsyscall"
			 : "=&a"(ret)
			 : "D"(p), "S"(length)
			 : "rcx", "r11", "memory");
	return ret;
}

/* One that is told otherwise than with its arguments: mbind(p, length, MPOL_LOCAL, NULL, 0, 0). */
__attribute__((noinline)) static void bind_inline(void *p, size_t length)
{
	register long mask __asm__("r10") = 0, bits __asm__("r8") = 0, flags __asm__("r9") = 0;
	long ret;
	__asm__ volatile("mov $237, %%eax\n\tsyscall"
			 : "=&a"(ret)
			 : "D"(p), "S"(length), "d"(4), "r"(mask), "r"(bits), "r"(flags)
			 : "rcx", "r11", "memory");
	(void)ret;
}

/* The number first, then the arguments: mmap(0, 16 pages, RW, PRIVATE | ANONYMOUS, -1, 0). */
long map_moves(long length);
/* The same in a leaf that keeps values below the stack pointer: their sum, the address in *where.
 */
long map_leaf(long length, void **where);
/* Every register that a system call keeps holds a value of its own; 0, or which of them changed. */
long map_registers(long length, void **where);
/* The number as a 64-bit one. */
long map_wide(long length);
/* With arithmetic and a store between the number and the instruction, also right before it. */
long map_computed(long length, long *where);
/* Before and behind it numbers whose bytes look like branches into it. */
long map_lookalike(long length);
/* A branch leads to the instruction itself. */
long map_branch(long length, long other);

__asm__(".text\n"
	".globl map_moves\n"
	"map_moves:\n"
	"	mov %rdi, %rsi\n"
	"	mov $9, %eax\n"
	"	xor %edi, %edi\n"
	"	mov $3, %edx\n"
	"	mov $0x22, %r10d\n"
	"	mov $-1, %r8\n"
	"	xor %r9d, %r9d\n"
	"	syscall\n"
	"	ret\n"
	".globl map_wide\n"
	"map_wide:\n"
	"	mov %rdi, %rsi\n"
	"	xor %edi, %edi\n"
	"	mov $3, %edx\n"
	"	mov $0x22, %r10d\n"
	"	mov $-1, %r8\n"
	"	xor %r9d, %r9d\n"
	"	mov $9, %rax\n"
	"	syscall\n"
	"	ret\n"
	".globl map_computed\n"
	"map_computed:\n"
	"	mov %rsi, %r11\n"
	"	lea (%rdi, %rdi, 4), %rsi\n"
	"	mov $9, %eax\n"
	"	sub %rdi, %rsi\n"
	"	cmp %rdi, %rdi\n"
	"	mov $0x22, %r10d\n"
	"	sbb %r9, %r9\n"
	"	cmove %r9, %rdi\n"
	"	mov $-1, %r8\n"
	"	movzbl %r8b, %edx\n"
	"	and $3, %edx\n"
	"	movq $55, (%r11)\n"
	"	syscall\n"
	"	ret\n"
	"	.skip 512, 0x90\n"
	".globl map_lookalike\n"
	"map_lookalike:\n"
	"	mov %rdi, %rsi\n"
	"	mov $3, %edx\n"
	"	mov $0x22, %r10d\n"
	"	mov $-1, %r8\n"
	"	mov $0x07eb, %ecx\n"
	"	mov $9, %eax\n"
	"	xor %edi, %edi\n"
	"	xor %r9d, %r9d\n"
	"	syscall\n"
	"	mov $0xfbeb, %ecx\n"
	"	ret\n"
	".globl map_leaf\n"
	"map_leaf:\n"
	"	movq $1, -8(%rsp)\n"
	"	movq $20, -64(%rsp)\n"
	"	movq $300, -128(%rsp)\n"
	"	push %rbx\n"
	"	mov %rsi, %rbx\n"
	"	pop -16(%rsp)\n"
	"	movq $1, -8(%rsp)\n"
	"	mov %rdi, %rsi\n"
	"	mov $3, %edx\n"
	"	mov $0x22, %r10d\n"
	"	mov $-1, %r8\n"
	"	mov $9, %eax\n"
	"	xor %edi, %edi\n"
	"	xor %r9d, %r9d\n"
	"	syscall\n"
	"	mov %rax, (%rbx)\n"
	"	mov -16(%rsp), %rbx\n"
	"	mov -8(%rsp), %rax\n"
	"	add -64(%rsp), %rax\n"
	"	add -128(%rsp), %rax\n"
	"	ret\n"
	".globl map_registers\n"
	"map_registers:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	push %rsi\n"
	"	mov %rdi, %rsi\n"
	"	mov $0x1001, %rbx\n"
	"	mov $0x1002, %rbp\n"
	"	mov $0x1003, %r12\n"
	"	mov $0x1004, %r13\n"
	"	mov $0x1005, %r14\n"
	"	movq %rbx, %xmm0\n"
	"	movq %rbp, %xmm7\n"
	"	movq %r12, %xmm15\n"
	"	mov $9, %eax\n"
	"	xor %edi, %edi\n"
	"	mov $3, %edx\n"
	"	mov $0x22, %r10d\n"
	"	mov $-1, %r8\n"
	"	xor %r9d, %r9d\n"
	"	mov $0x1006, %r15\n"
	"	syscall\n"
	"	pop %rcx\n"
	"	mov %rax, (%rcx)\n"
	"	mov $1, %eax\n"
	"	cmp $0x1001, %rbx\n"
	"	jne 1f\n"
	"	cmp $0x1002, %rbp\n"
	"	jne 1f\n"
	"	cmp $0x1003, %r12\n"
	"	jne 1f\n"
	"	cmp $0x1004, %r13\n"
	"	jne 1f\n"
	"	cmp $0x1005, %r14\n"
	"	jne 1f\n"
	"	cmp $0x1006, %r15\n"
	"	jne 1f\n"
	"	mov $2, %eax\n"
	"	test %rdi, %rdi\n"
	"	jne 1f\n"
	"	cmp $3, %rdx\n"
	"	jne 1f\n"
	"	cmp $0x22, %r10\n"
	"	jne 1f\n"
	"	cmp $-1, %r8\n"
	"	jne 1f\n"
	"	mov $3, %eax\n"
	"	movq %xmm0, %rcx\n"
	"	cmp %rcx, %rbx\n"
	"	jne 1f\n"
	"	movq %xmm7, %rcx\n"
	"	cmp %rcx, %rbp\n"
	"	jne 1f\n"
	"	movq %xmm15, %rcx\n"
	"	cmp %rcx, %r12\n"
	"	jne 1f\n"
	"	xor %eax, %eax\n"
	"1:	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".globl map_branch\n"
	"map_branch:\n"
	"	mov %rsi, %rcx\n"
	"	mov %rdi, %rsi\n"
	"	mov $3, %edx\n"
	"	mov $0x22, %r10d\n"
	"	mov $-1, %r8\n"
	"	xor %r9d, %r9d\n"
	"	mov $39, %eax\n"
	"	test %rcx, %rcx\n"
	"	jne 2f\n"
	"	mov $9, %eax\n"
	"	xor %edi, %edi\n"
	"2:	syscall\n"
	"	ret\n");

/*
 * A number that a register keeps, for two calls; arithmetic between that and the call, and another
 * number (getpid's) by the same instruction. Returns the sum of: the process's number, and 0 if
 * mapping and unmapping went well.
 */
long map_kept(long length);

__asm__(".text\n"
	".globl map_kept\n"
	".type map_kept, @function\n"
	"map_kept:\n"
	"	.cfi_startproc\n"
	"	push %rbx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	push %r12\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	mov %rdi, %rbx\n"
	"	xor %r12d, %r12d\n"
	"	mov $39, %r9d\n"
	"	jmp 2f\n"
	"1:	mov %rax, %r12\n"
	"	mov $9, %r9d\n"
	"2:	mov $0x22, %r10d\n"
	"	mov $3, %edx\n"
	"	xor %edi, %edi\n"
	"	mov %r9d, %eax\n"
	"	mov $-1, %r8\n"
	"	xor %r9d, %r9d\n"
	"	lea 4096(%rbx), %rsi\n"
	"	sub $4096, %rsi\n"
	"	syscall\n"
	"	test %r12, %r12\n"
	"	jz 1b\n"
	"	mov $11, %r8d\n"
	"	mov %rax, %rdi\n"
	"	lea -4096(%rbx), %rsi\n"
	"	mov %r8d, %eax\n"
	"	syscall\n"
	"	add %rax, %r12\n"
	"	lea -4096(%rdi, %rbx), %rdi\n"
	"	mov $4096, %esi\n"
	"	mov %r8d, %eax\n"
	"	syscall\n"
	"	add %r12, %rax\n"
	"	pop %r12\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	pop %rbx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"	.size map_kept, . - map_kept\n");

int main(void)
{
	void *p;

	p = map_anywhere(PAGE);
	bind_inline(p, PAGE);
	CHECK(unmap_inline(p, PAGE) == 0);
	CHECK(unmap_inline((void *)1, PAGE) == -EINVAL);
	long at = map_moves(3 * PAGE);
	CHECK(at > 0 && unmap_inline((void *)at, 3 * PAGE) == 0);
	CHECK(map_leaf(5 * PAGE, &p) == 321);
	CHECK(unmap_inline(p, 5 * PAGE) == 0);
	long changed = map_registers(7 * PAGE, &p);
	if (changed)
		say("registers of kind %ld have changed\n", changed);
	CHECK(!changed && unmap_inline(p, 7 * PAGE) == 0);
	at = map_wide(8 * PAGE);
	CHECK(at > 0 && unmap_inline((void *)at, 8 * PAGE) == 0);
	long stored = 0;
	at = map_computed(3 * PAGE, &stored);
	CHECK(at > 0 && unmap_inline((void *)at, 12 * PAGE) == 0);
	CHECK(stored == 55);
	at = map_lookalike(10 * PAGE);
	CHECK(at > 0 && unmap_inline((void *)at, 10 * PAGE) == 0);
	CHECK(map_branch(9 * PAGE, 1) == getpid());
	CHECK(map_kept(11 * PAGE) == getpid());
	at = map_branch(9 * PAGE, 0);
	CHECK(at > 0 && !munmap((void *)at, 9 * PAGE));
	return 0;
}

#else

int main(void)
{
	return 0;
}

#endif
