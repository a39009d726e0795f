/*
 * inline_plugin.c - a shared object that makes its memory calls by instructions of its own, also
 * while it is being loaded.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>

long plugin_map(size_t length);
long plugin_unmap(long at, size_t length);
/* The same, with the number in another register. */
long plugin_unmap_kept(long at, size_t length);

#if defined(__x86_64__)

__attribute__((noinline)) long plugin_unmap(long at, size_t length)
{
	long ret;
	__asm__ volatile("mov $11, %%eax\n\tsyscall"
			 : "=&a"(ret)
			 : "D"(at), "S"(length)
			 : "rcx", "r11", "memory");
	return ret;
}

/* mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) */
__attribute__((noinline)) long plugin_map(size_t length)
{
	register long flags __asm__("r10") = 0x22, fd __asm__("r8") = -1, offset __asm__("r9") = 0;
	long ret;
	__asm__ volatile("mov $9, %%eax\n\tsyscall"
			 : "=&a"(ret)
			 : "D"(0), "S"(length), "d"(3), "r"(flags), "r"(fd), "r"(offset)
			 : "rcx", "r11", "memory");
	return ret;
}

__asm__(".globl plugin_unmap_kept\n"
	".type plugin_unmap_kept, @function\n"
	"plugin_unmap_kept:\n"
	"	.cfi_startproc\n"
	"	push %rbx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	mov $11, %ebx\n"
	"	test %rsi, %rsi\n"
	"	je 1f\n"
	"	mov %rsi, %rsi\n"
	"	mov %ebx, %eax\n"
	"	syscall\n"
	"1:	pop %rbx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size plugin_unmap_kept, . - plugin_unmap_kept\n");

#ifdef LARGE_TEXT
/* Many windows of a search, with half an instruction where one ends. */
__asm__("	.skip 4 << 20, 0x0f\n");
#endif

#ifdef TEXT_RELOCATION
/* The loader writes an address into the middle of this site. */
__asm__(".globl plugin_relocated\n"
	"plugin_relocated:\n"
	"	mov $11, %eax\n"
	"	movabs $plugin_relocated, %rdx\n"
	"	syscall\n"
	"	ret\n");
#endif

#else

long plugin_unmap(long at, size_t length)
{
	return (long)(at + length);
}

long plugin_unmap_kept(long at, size_t length)
{
	return plugin_unmap(at, length);
}

long plugin_map(size_t length)
{
	return -(long)length;
}

#endif

__attribute__((constructor)) static void load(void)
{
	plugin_unmap_kept(plugin_map(11 * 4096), 11 * 4096);
}

__attribute__((destructor)) static void unload(void)
{
	plugin_unmap(plugin_map(17 * 4096), 17 * 4096);
}
