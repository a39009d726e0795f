/*
 * loaded.c - which loaded module holds an address, asked without the loader's lock.
 *
 * Runs inside the traced process, anywhere in it: a thread that holds the loader's lock may be
 * waiting for a lock that our caller holds (malloc's, for one), so dl_iterate_phdr is never called
 * once the program runs. glibc 2.35 and later have a lock-free table, _dl_find_object. Before, the
 * list that the loader keeps for debuggers is walked; another thread may be unloading a module, so
 * nothing of it is read but through a system call that fails where memory is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/uio.h>

#define MAX_MODULES 4096 /* a list that has more is a loop that another thread made */

/* glibc's struct dl_find_object, as far as it is needed. */
struct found_object {
	unsigned long long flags;
	void *map_start, *map_end;
	struct link_map *map;
	void *eh_frame;
	unsigned long long reserved[8];
};

static int (*find_object)(void *, void *);

void vt_loaded_init(void)
{
	find_object = (int (*)(void *, void *))dlsym(RTLD_DEFAULT, "_dl_find_object");
}

bool vt_readable(const void *addr)
{
	return vt_sys4(SYS_rt_sigprocmask, ~0, (uint64_t)addr & ~7ull, 0, 8) != -EFAULT;
}

/*
 * Copy what may not be there, or may vanish meanwhile. In a sandbox, and where the system call is
 * not to be had, by a look before. False where it cannot be read.
 */
bool vt_peek(void *to, const void *from, size_t n)
{
	if (!atomic_load_explicit(&vt.sandboxed, memory_order_relaxed)) {
		struct iovec local = { to, n }, remote = { (void *)from, n };
		long ret = vt_sys6(SYS_process_vm_readv, (long)vt_sys0(SYS_getpid), (long)&local, 1,
				   (long)&remote, 1, 0);
		if (ret != -EPERM && ret != -ENOSYS)
			return ret == (long)n;
	}
	for (size_t done = 0; done < n;) {
		uintptr_t at = (uintptr_t)from + done;
		size_t piece = VT_PAGE_SIZE - (at & (VT_PAGE_SIZE - 1));
		if (!vt_readable((const void *)at))
			return false;
		piece = piece < n - done ? piece : n - done;
		memcpy((char *)to + done, (const void *)at, piece);
		done += piece;
	}
	return true;
}

/*
 * Copy the beginnings of n texts, VT_HEADS at most. False: not all of them can be told so, for one
 * is shorter and ends where memory ends, or nobody may be asked.
 */
bool vt_peek_heads(char to[][VT_HEAD_SIZE], const char *const *from, size_t n)
{
	struct iovec local = { to, n * VT_HEAD_SIZE }, remote[VT_HEADS];
	if (atomic_load_explicit(&vt.sandboxed, memory_order_relaxed))
		return false;
	for (size_t i = 0; i < n; i++)
		remote[i] = (struct iovec){ (void *)from[i], VT_HEAD_SIZE };
	return vt_sys6(SYS_process_vm_readv, (long)vt_sys0(SYS_getpid), (long)&local, 1,
		       (long)remote, (long)n, 0) == (long)local.iov_len;
}

/* Whether the program headers, of a module loaded at base, cover addr. */
static bool covers(const struct dl_phdr_info *info, uint64_t addr)
{
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		ElfW(Phdr) ph;
		if (vt_peek(&ph, &info->dlpi_phdr[i], sizeof(ph)) && ph.p_type == PT_LOAD &&
		    addr - info->dlpi_addr - ph.p_vaddr < ph.p_memsz)
			return true;
	}
	return false;
}

/* The program itself, as the kernel told the loader. */
static void program(struct dl_phdr_info *info)
{
	info->dlpi_addr = _r_debug.r_map->l_addr;
	info->dlpi_name = _r_debug.r_map->l_name;
	info->dlpi_phdr = (const void *)getauxval(AT_PHDR);
	info->dlpi_phnum = (ElfW(Half))getauxval(AT_PHNUM);
}

/* A library, whose first segment starts with its ELF header; eh is that or a copy. */
static bool library(const struct link_map *m, const ElfW(Ehdr) * eh, const void *start,
		    struct dl_phdr_info *info)
{
	if (memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return false;
	info->dlpi_addr = m->l_addr;
	info->dlpi_name = m->l_name;
	info->dlpi_phdr = (const void *)((const char *)start + eh->e_phoff);
	info->dlpi_phnum = eh->e_phnum;
	return true;
}

/* Modules do not overlap: the one that starts last before the address, or none but the program. */
static bool find_in_list(uint64_t addr, struct dl_phdr_info *info)
{
	struct link_map m, best = { 0 };
	const struct link_map *next = _r_debug.r_map->l_next;
	for (int i = 0; next && i < MAX_MODULES && vt_peek(&m, next, sizeof(m));
	     i++, next = m.l_next)
		if (m.l_addr <= addr && m.l_addr > best.l_addr)
			best = m;
	const void *start = (const void *)best.l_addr;
	ElfW(Ehdr) eh;
	if (start && vt_peek(&eh, start, sizeof(eh)) && library(&best, &eh, start, info) &&
	    covers(info, addr))
		return true;
	program(info);
	return covers(info, addr);
}

bool vt_loaded_find(const void *addr, struct dl_phdr_info *info)
{
	*info = (struct dl_phdr_info){ .dlpi_adds = 1 };
	if (!find_object)
		return find_in_list((uint64_t)addr, info);
	struct found_object o;
	if (find_object((void *)addr, &o) != 0)
		return false;
	if (library(o.map, o.map_start, o.map_start, info))
		return true;
	program(info);
	return o.map == _r_debug.r_map;
}
