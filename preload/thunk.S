/*
 * thunk.S - the few instructions that C cannot express.
 *
 * Runs inside the traced process.
 *
 * vt_site_N     where a redirected system call site lands: "mov $N, %eax; syscall" in libc or the
 *               loader has become "call vt_site_N; nop". Keeps every register that a system call
 *               keeps, hands the arguments to vt_inner and returns its result in rax. Entries are
 *               VT_SITE_SIZE bytes apart, one for each system call number. vt_site_full_N also
 *               keeps the vector registers, for sites in the middle of larger functions.
 * vt_site_far   the same for a site elsewhere, whose stub has set %eax, kept the 128 bytes below the
 *               stack pointer, and put the address behind the site on the stack (inline.c).
 * vt_site_clone, vt_site_clone3  the same for the two functions of libc that start a task on another
 *               stack: the return address waits in r9, which they do not use.
 * vt_clone_task starts a task on a stack of its own.
 * vt_on_stack   calls a function on another stack. A debugger sees the caller through it.
 * vfork         libc's function of that name: the return address waits in rdi, as there.
 * syscall       libc's function of that name: numbers of ours go to vt_inner.
 * vt_fault_restore  where a handler of ours returns to.
 * vt_fault_once where the kernel enters a handler that the program has set with SA_RESETHAND.
 *
 * SPDX-License-Identifier: MIT
 */
#define VT_SITES 512

#if defined(__x86_64__)

	.text

	.macro sites name, common
	.balign 64
	.globl \name
	.hidden \name
	.type \name, @function
\name:
	.cfi_startproc
	.set nr, 0
	.rept VT_SITES
	.balign 16
	movl $nr, %eax
	jmp \common
	.set nr, nr + 1
	.endr
	.cfi_endproc
	.size \name, . - \name
	.endm

	.macro save
	pushq %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %r8
	pushq %r9
	pushq %r10
	.endm

	.macro hand_over
	pushq 8(%rbp)			/* where the site ends */
	pushq %r9
	movq %r8, %r9
	movq %r10, %r8
	movq %rdx, %rcx
	movq %rsi, %rdx
	movq %rdi, %rsi
	movl %eax, %edi
	call vt_inner
	.endm

	.macro unsave
	leaq -48(%rbp), %rsp
	popq %r10
	popq %r9
	popq %r8
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rbp
	.endm

	.macro restore
	unsave
	.cfi_def_cfa %rsp, 8
	ret
	.endm

	.type common, @function
common:
	.cfi_startproc
	save
	andq $-16, %rsp
	hand_over
	restore
	.cfi_endproc
	.size common, . - common

	/* The vector state: x87, SSE, AVX and AVX-512, in at most 2,752 bytes. */
	.macro hand_over_full
	subq $3072, %rsp
	andq $-64, %rsp
	movq %rsp, %r11
	movl %eax, %ecx
	movq %rdx, %r10
	xorl %eax, %eax
	movq %rax, 512(%r11)
	movq %rax, 520(%r11)
	movq %rax, 528(%r11)
	movq %rax, 536(%r11)
	movq %rax, 544(%r11)
	movq %rax, 552(%r11)
	movq %rax, 560(%r11)
	movq %rax, 568(%r11)
	movl $0xe7, %eax
	xorl %edx, %edx
	xsave64 (%r11)
	movl %ecx, %eax
	movq %r10, %rdx
	movq -48(%rbp), %r10
	pushq %r11
	pushq $0
	hand_over
	addq $24, %rsp
	popq %r11
	movq %rax, %rcx
	movl $0xe7, %eax
	xorl %edx, %edx
	xrstor64 (%r11)
	movq %rcx, %rax
	.endm

	.type common_full, @function
common_full:
	.cfi_startproc
	save
	hand_over_full
	restore
	.cfi_endproc
	.size common_full, . - common_full

	.globl vt_site_far
	.hidden vt_site_far
	.type vt_site_far, @function
vt_site_far:
	.cfi_startproc
	.cfi_def_cfa %rsp, 136
	.cfi_offset %rip, -136
	save
	hand_over_full
	unsave
	.cfi_def_cfa %rsp, 136
	ret $128
	.cfi_endproc
	.size vt_site_far, . - vt_site_far

	sites vt_site, common
	sites vt_site_full, common_full

	/* Around a call to C: what a system call keeps, and rax. */
	.macro keep
	pushq %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq %rdi
	pushq %rsi
	pushq %rdx
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %rax
	andq $-16, %rsp
	.endm

	.macro unkeep
	leaq -56(%rbp), %rsp
	popq %rax
	popq %r10
	popq %r9
	popq %r8
	popq %rdx
	popq %rsi
	popq %rdi
	popq %rbp
	.cfi_def_cfa %rsp, 8
	.cfi_restore %rbp
	.endm

	.macro clone_site name, nr
	.globl \name
	.hidden \name
	.type \name, @function
\name:
	.cfi_startproc
	keep
	movq %rdi, %rdx
	movl $2, %edi			/* VT_EV_INNER */
	movl $\nr, %esi
	call vt_task_begin
	unkeep
	popq %r9
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %r9
	movl $\nr, %eax
	syscall
	pushq %r9
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rip, -8
	keep
	testq %rax, %rax
	jz 1f
	movq %rax, %rcx
	movq %rdi, %rdx
	movl $2, %edi
	movl $\nr, %esi
	call vt_task_end
	jmp 2f
1:
	call vt_task_child
2:
	unkeep
	ret
	.cfi_endproc
	.size \name, . - \name
	.endm

	clone_site vt_site_clone, 56
	clone_site vt_site_clone3, 435

	.globl vfork
	.type vfork, @function
vfork:
	.cfi_startproc
	keep
	xorl %edi, %edi
	movl $58, %esi
	xorl %edx, %edx
	call vt_task_begin
	unkeep
	popq %rdi
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdi
	movl $58, %eax
	syscall
	pushq %rdi
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rip, -8
	testq %rax, %rax
	jz 1f
	movq %rax, %rcx
	xorl %edi, %edi
	movl $58, %esi
	xorl %edx, %edx
	jmp vt_task_result
1:
	ret
	.cfi_endproc
	.size vfork, . - vfork

	/* long vt_clone_task(long flags, void *stack, tid *, void (*body)(void *), void *arg) */
	.globl vt_clone_task
	.hidden vt_clone_task
	.type vt_clone_task, @function
vt_clone_task:
	.cfi_startproc
	movq %rcx, -8(%rsi)
	movq %r8, -16(%rsi)
	subq $16, %rsi
	movq %rdx, %r10
	xorl %edx, %edx
	xorl %r8d, %r8d
	movl $56, %eax
	syscall
	testq %rax, %rax
	jz 1f
	ret
1:
	.cfi_undefined %rip
	popq %rdi
	popq %rax
	andq $-16, %rsp
	call *%rax
	hlt
	.cfi_endproc
	.size vt_clone_task, . - vt_clone_task

	/* void vt_on_stack(void (*fn)(void *), void *arg, void *top) */
	.globl vt_on_stack
	.hidden vt_on_stack
	.type vt_on_stack, @function
vt_on_stack:
	.cfi_startproc
	pushq %rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsp
	call *%rax
	movq %rbp, %rsp
	popq %rbp
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size vt_on_stack, . - vt_on_stack

	/* The end of a handler of ours: rt_sigreturn. */
	.globl vt_fault_restore
	.hidden vt_fault_restore
	.type vt_fault_restore, @function
vt_fault_restore:
	movl $15, %eax
	syscall
	.size vt_fault_restore, . - vt_fault_restore

	/* Asks where to go, and goes there as the kernel came here: every register, and the stack. */
	.globl vt_fault_once
	.hidden vt_fault_once
	.type vt_fault_once, @function
vt_fault_once:
	.cfi_startproc
	leaq -8(%rsp), %rsp		/* where to go */
	pushfq
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	.cfi_adjust_cfa_offset 88
	call vt_fault_shot
	movq %rax, 80(%rsp)
	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	pxor %xmm\n, %xmm\n
	.endr
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rax
	popfq
	leaq 8(%rsp), %rsp
	.cfi_adjust_cfa_offset -88
	jmp *-8(%rsp)
	.cfi_endproc
	.size vt_fault_once, . - vt_fault_once

	/* As libc's: fork-like numbers must not meet a frame of ours, so only known ones go to C. */
	.globl syscall
	.type syscall, @function
syscall:
	.cfi_startproc
	leaq vt_known(%rip), %rax
	cmpq $VT_SITES, %rdi
	jae 2f
	cmpb $254, (%rax, %rdi)
	je vt_syscall_task
	cmpb $0, (%rax, %rdi)
	jne vt_syscall_known
2:
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	movq %r8, %r10
	movq %r9, %r8
	movq 8(%rsp), %r9
	syscall
	cmpq $-4095, %rax
	jae 3f
	ret
3:
	negl %eax
	pushq %rax
	.cfi_adjust_cfa_offset 8
	call __errno_location@PLT
	popq %rcx
	.cfi_adjust_cfa_offset -8
	movl %ecx, (%rax)
	movq $-1, %rax
	ret
	.cfi_endproc
	.size syscall, . - syscall

	/* syscall() with a number that makes a task; the number waits in r9, which none of them uses. */
	.type vt_syscall_task, @function
vt_syscall_task:
	.cfi_startproc
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	movq %r8, %r10
	movq %r9, %r8
	movl %eax, %r9d
	keep
	movq %rdi, %rdx
	movl $4, %edi			/* VT_EV_RAW */
	movl %eax, %esi
	call vt_task_begin
	unkeep
	syscall
	testq %rax, %rax
	jz 1f
	movq %rax, %rcx
	movq %rdi, %rdx
	movl $4, %edi
	movl %r9d, %esi
	jmp vt_task_result
1:
	keep
	call vt_task_child
	unkeep
	ret
	.cfi_endproc
	.size vt_syscall_task, . - vt_syscall_task

#elif defined(__aarch64__)

	.text
	/* long vt_clone_task(long flags, void *stack, tid *, void (*body)(void *), void *arg) */
	.globl vt_clone_task
	.hidden vt_clone_task
	.type vt_clone_task, %function
vt_clone_task:
	.cfi_startproc
	stp x3, x4, [x1, #-16]!
	mov x5, x2
	mov x2, #0
	mov x3, #0
	mov x4, x5
	mov x8, #220
	svc #0
	cbz x0, 1f
	ret
1:
	ldp x1, x0, [sp], #16
	blr x1
	brk #0
	.cfi_endproc
	.size vt_clone_task, . - vt_clone_task

	/* void vt_on_stack(void (*fn)(void *), void *arg, void *top) */
	.globl vt_on_stack
	.hidden vt_on_stack
	.type vt_on_stack, %function
vt_on_stack:
	.cfi_startproc
	stp x29, x30, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	mov x29, sp
	.cfi_def_cfa_register x29
	mov x9, x0
	mov x0, x1
	mov sp, x2
	blr x9
	mov sp, x29
	.cfi_def_cfa_register sp
	ldp x29, x30, [sp], #16
	.cfi_restore x29
	.cfi_restore x30
	.cfi_adjust_cfa_offset -16
	ret
	.cfi_endproc
	.size vt_on_stack, . - vt_on_stack

#endif

	.section .note.GNU-stack, "", %progbits
