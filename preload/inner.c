/*
 * inner.c - the calls that libc and the loader make for themselves.
 *
 * Runs inside the traced process, in the constructor, while it has one thread. libc and ld.so keep
 * "mov $NR, %eax; syscall" sites for the memory calls they make (malloc, thread stacks, stdio,
 * dlopen), which no symbol wrapper sees. Each such site is exactly as long as a call and a nop, and
 * becomes "call vt_site_NR". The text is written through /proc/self/mem, which leaves its
 * protection, and so the area list, as it is.
 *
 * A site is left alone, and a note says so, when anything about it is doubtful: its function uses
 * the stack below the stack pointer (the call would overwrite it), a jump may land inside it, or
 * our code is out of a call's reach. Function bounds come from .eh_frame_hdr, never from offsets.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cfi.h"
#include "hash.h"
#include "inline.h"
#include <fcntl.h>
#include <link.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <vmtrail/options.h>

/*
 * Which system calls are ours: by number, the event kind + 1; 0: not ours. Read by syscall() in
 * thunk.S as well.
 */
#define NOT_RECORDED 255 /* ours, but with a treatment of its own */
#define NEW_TASK     254 /* makes a task: thunk.S makes the call itself */
#define INDIRECT     253 /* recorded otherwise than with its arguments: indirect.c */
#define RAW_ONLY     252 /* likewise, and not looked for in the libraries */
const uint8_t vt_known[512] __attribute__((visibility("hidden"))) = {
	[SYS_mmap] = VT_MMAP + 1,
	[SYS_munmap] = VT_MUNMAP + 1,
	[SYS_mprotect] = VT_MPROTECT + 1,
	[SYS_madvise] = VT_MADVISE + 1,
	[SYS_brk] = VT_BRK + 1,
	[SYS_mremap] = VT_MREMAP + 1,
	[SYS_remap_file_pages] = VT_REMAP_FILE_PAGES + 1,
	[SYS_shmat] = VT_SHMAT + 1,
	[SYS_shmdt] = VT_SHMDT + 1,
	[SYS_mlock] = VT_MLOCK + 1,
	[SYS_mlock2] = VT_MLOCK2 + 1,
	[SYS_munlock] = VT_MUNLOCK + 1,
	[SYS_mlockall] = VT_MLOCKALL + 1,
	[SYS_munlockall] = VT_MUNLOCKALL + 1,
	[SYS_msync] = VT_MSYNC + 1,
	[SYS_pkey_mprotect] = VT_PKEY_MPROTECT + 1,
	[SYS_mseal] = VT_MSEAL + 1,
	[SYS_mbind] = INDIRECT,
	[SYS_personality] = INDIRECT,
	[SYS_prctl] = INDIRECT,
	[SYS_process_madvise] = INDIRECT,
	[SYS_setrlimit] = INDIRECT,
	[SYS_prlimit64] = INDIRECT,
	[SYS_ioctl] = RAW_ONLY,
	[SYS_seccomp] = NOT_RECORDED,
	[SYS_execve] = NOT_RECORDED,
	[SYS_rt_sigaction] = NOT_RECORDED,
	[SYS_sigaltstack] = NOT_RECORDED,
	[SYS_execveat] = NOT_RECORDED,
	[SYS_exit_group] = NOT_RECORDED,
	[SYS_clone] = NEW_TASK,
	[SYS_clone3] = NEW_TASK,
#ifdef SYS_fork
	[SYS_fork] = NEW_TASK,
	[SYS_vfork] = NEW_TASK,
#endif
};

/* libc's fork: a clone on its own stack, in memory that both sides have for themselves. */
static long fork_call(uint8_t flags, long nr, long a, long b, long c, long d, long e, long f)
{
	vt_task_begin(flags, nr, a);
	long ret = vt_sys6(nr, a, b, c, d, e, f);
	if (ret)
		vt_task_end(flags, nr, a, ret);
	else
		vt_task_child();
	return ret;
}

/* A system call of number nr, one of ours, made where flags tells: VT_EV_INNER or VT_EV_RAW. */
long vt_known_call(uint8_t flags, long nr, long a, long b, long c, long d, long e, long f)
{
	uint8_t known = vt_known[nr];
	if (vt_likely(known < RAW_ONLY))
		return vt_call(known - 1, flags, nr, a, b, c, d, e, f);
	if (known == NEW_TASK)
		return fork_call(flags, nr, a, b, c, d, e, f);
	if (known != NOT_RECORDED)
		return vt_indirect_call(flags, nr, (const long[VT_MAX_ARGS]){ a, b, c, d, e, f });
	switch (nr) {
	case SYS_seccomp:
		if (a == SECCOMP_SET_MODE_STRICT || a == SECCOMP_SET_MODE_FILTER)
			vt_before_sandbox(a == SECCOMP_SET_MODE_STRICT, (const void *)c);
		break;
	case SYS_exit_group:
		vt_before_exit(a);
		break;
	case SYS_rt_sigaction:
		return vt_sigaction(flags, a, b, c, d);
	case SYS_sigaltstack:
		return vt_sigaltstack(a, b);
	default:
		return vt_exec(flags, nr, a, b, c, d, e);
	}
	return vt_sys6(nr, a, b, c, d, e, f);
}

/* Whether the number is that of a call that is recorded wherever it is made. */
bool vt_is_memory_call(uint32_t nr)
{
	uint8_t known = nr < sizeof(vt_known) ? vt_known[nr] : 0;
	return known && (known < RAW_ONLY || known == INDIRECT);
}

#if defined(__x86_64__)

#include <vmtrail/runtime.h>

/* The loader's: it maps code that is to be looked at before it runs, and gives it up. */
static long loader_call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret = vt_known_call(VT_EV_INNER, nr, a, b, c, d, e, f);
	if (vt_is_error(ret))
		return ret;
	if (nr == SYS_munmap)
		vt_inline_unmapped((uint64_t)a, (uint64_t)b);
	else if (nr == SYS_mmap && (c & PROT_EXEC) && !(c & PROT_WRITE) && !(d & MAP_ANONYMOUS))
		vt_inline_mapped((uint64_t)ret, (uint64_t)b, (int)e, (uint64_t)f);
	return ret;
}

/* Made at a redirected site, which ends at the given address. */
long vt_inner(long nr, long a, long b, long c, long d, long e, long f, uint64_t site_end)
{
	if (vt_unlikely(site_end - vt.loader.lo < vt.loader.hi - vt.loader.lo))
		return loader_call(nr, a, b, c, d, e, f);
	return vt_known_call(VT_EV_INNER, nr, a, b, c, d, e, f);
}

#define LOADER    "ld-linux-" /* how its name begins */
#define SITE_LEN  7           /* mov $imm32, %eax (5), syscall (2) */
#define ENTRY_LEN 16          /* of vt_site */
#define SMALL     96 /* a site this near to its function's start has no live vector registers */
#define ENDBR_LEN 4  /* what a function may begin with */

extern const uint8_t vt_site[], vt_site_full[], vt_site_clone[], vt_site_clone3[];

struct library {
	const char *name;
	uint64_t base;
	bool has_table; /* of its functions */
	uint64_t text_lo, text_hi;
	uint32_t found, redirected;
};

static int mem_fd;

/*
 * Whether any instruction may address memory below the stack pointer, or jump into the site: to its
 * second instruction, for nothing jumps into the middle of one.
 */
static bool doubtful(const uint8_t *fn, uint64_t len, uint64_t site)
{
	for (uint64_t i = 0; i + 1 < len; i++) {
		/* ModRM with an 8-bit displacement off SIB 0x24 (the stack pointer), negative. */
		if (i + 2 < len && (fn[i] & 0xc7) == 0x44 && fn[i + 1] == 0x24 && fn[i + 2] >= 0x80)
			return true;
		uint64_t target = len;
		if ((fn[i] & 0xf0) == 0x70 || fn[i] == 0xeb)
			target = i + 2 + (uint64_t)(int64_t)(int8_t)fn[i + 1];
		else if (i + 5 <= len &&
			 (fn[i] == 0xe9 || (i && fn[i - 1] == 0x0f && (fn[i] & 0xf0) == 0x80)))
			target = i + 5 +
				 (uint64_t)(int64_t)(int32_t)(fn[i + 1] | fn[i + 2] << 8 |
							      fn[i + 3] << 16 |
							      (uint32_t)fn[i + 4] << 24);
		if (target == site + SITE_LEN - 2)
			return true;
	}
	return false;
}

/*
 * Whether the full thunks can keep the vector registers (OSXSAVE). Asked once: under a hypervisor
 * the answer takes a microsecond or more.
 */
bool vt_vectors_can_be_kept(void)
{
	static enum { UNKNOWN, NO, YES } answer;
	if (answer == UNKNOWN) {
		uint32_t a = 1, b, c = 0, d;
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		answer = c & (1u << 27) ? YES : NO;
	}
	return answer == YES;
}

static bool redirect_to(const uint8_t *site, const uint8_t *entry)
{
	int64_t distance = entry - (site + 5);
	if (distance != (int32_t)distance)
		return false;
	uint8_t code[SITE_LEN] = { 0xe8, 0, 0, 0, 0, 0x66, 0x90 };
	int32_t d32 = (int32_t)distance;
	memcpy(code + 1, &d32, sizeof(d32));
	return vt_sys4(SYS_pwrite64, mem_fd, code, sizeof(code), site) == sizeof(code) &&
	       !memcmp(site, code, sizeof(code));
}

static bool redirect(const uint8_t *site, uint32_t nr, bool small)
{
	const uint8_t *entry = (small ? vt_site : vt_site_full) + (uint64_t)nr * ENTRY_LEN;
	return (small || vt_vectors_can_be_kept()) && redirect_to(site, entry);
}

/* The name of one of our calls. */
static const char *call_name(uint32_t nr)
{
	static const struct {
		uint32_t nr;
		const char *name;
	} others[] = {
		{ SYS_mbind, "mbind" },
		{ SYS_personality, "personality" },
		{ SYS_prctl, "prctl" },
		{ SYS_process_madvise, "process_madvise" },
		{ SYS_setrlimit, "setrlimit" },
		{ SYS_prlimit64, "prlimit64" },
		{ SYS_rt_sigaction, "rt_sigaction" },
		{ SYS_sigaltstack, "sigaltstack" },
		{ SYS_seccomp, "seccomp" },
		{ SYS_execve, "execve" },
		{ SYS_execveat, "execveat" },
		{ SYS_exit_group, "exit_group" },
		{ SYS_clone, "clone" },
		{ SYS_clone3, "clone3" },
	};
	if (vt_known[nr] < RAW_ONLY)
		return vt_kinds[vt_known[nr] - 1].name;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (others[i].nr == nr)
			return others[i].name;
	return "another call";
}

void vt_note_site(const char *module, uint64_t base, const uint8_t *at, uint32_t nr,
		  const char *what)
{
	char line[128];
	struct vt_text t = { line, line + sizeof(line) - 1 };
	vt_text_str(&t, module);
	vt_text_str(&t, "+0x");
	vt_text_hex(&t, (uint64_t)at - base);
	vt_text_str(&t, " ");
	vt_text_str(&t, call_name(nr));
	vt_text_str(&t, ": ");
	vt_text_str(&t, what);
	*t.p = '\0';
	vt_note_once("site", line);
}

/*
 * libc's functions clone and clone3: nothing but "test %rax, %rax; jl; je; ret" comes after their
 * system call in the parent, and their child takes what it needs from its own stack or from rdx and
 * r8. So r9 is free to hold the return address while the child gets its own stack.
 */
static bool is_clone_function(const uint8_t *site)
{
	const uint8_t *p = site + SITE_LEN;
	return p[0] == 0x48 && p[1] == 0x85 && p[2] == 0xc0 && p[3] == 0x7c && p[5] == 0x74 &&
	       p[6] == 1 && p[7] == 0xc3;
}

/* Whether the stack argument is cleared shortly before the site, as fork does: xor %esi, %esi. */
static bool is_fork(const uint8_t *fn, const uint8_t *site)
{
	for (const uint8_t *p = site; p-- > fn && p + 64 > site;)
		if (p[0] == 0x31 && p[1] == 0xf6)
			return true;
	return false;
}

/* A site that makes a task. Threads come through there too, on their way past the recorder. */
static bool redirect_task(const uint8_t *fn, uint64_t len, const uint8_t *site, uint32_t nr)
{
	uint64_t at = (uint64_t)(site - fn);
	if (nr != SYS_fork && is_clone_function(site))
		return redirect_to(site, nr == SYS_clone ? vt_site_clone : vt_site_clone3);
	if (nr != SYS_fork && (nr != SYS_clone || !is_fork(fn, site)))
		return false;
	if (doubtful(fn, len, at) || !redirect(site, nr, at < SMALL))
		return false;
	vt.sees_fork = true;
	return true;
}

/* Redirect the site at offset i of a function, if it is one of ours. */
static void consider(struct library *l, const uint8_t *fn, uint64_t len, uint64_t i)
{
	uint32_t nr;
	memcpy(&nr, fn + i + 1, sizeof(nr));
	if (nr >= sizeof(vt_known) || !vt_known[nr] || vt_known[nr] == RAW_ONLY)
		return;
	/* What is known of clone's stack ends before its system call, and so does its entry. */
	if (vt_known[nr] != NEW_TASK && i + SITE_LEN > len)
		return;
	/* The other one is in longjmp's check, which must be told the truth: where it stands. */
	if (nr == SYS_sigaltstack && (vt.options.faults != VT_FAULTS_OVERFLOW || i > ENDBR_LEN))
		return;
	if (nr == SYS_vfork) /* seen at its symbol: its caller's frame is the child's, too */
		return;
	l->found++;
	const char *what = "redirected";
	if (vt_known[nr] == NEW_TASK) {
		if (!redirect_task(fn, len, fn + i, nr))
			what = "left alone: of no known form";
	} else if (doubtful(fn, len, i)) {
		what = "left alone: its function may use what a call overwrites";
	} else if (!redirect(fn + i, nr, i < SMALL)) {
		what = "left alone: out of reach, or the text cannot be written";
	}
	bool done = *what == 'r';
	l->redirected += done;
	vt.sees_exec |= (nr == SYS_execve || nr == SYS_execveat) && done;
	vt.misses_exec |= (nr == SYS_execve || nr == SYS_execveat) && !done;
	/* The loader itself sets no handler but that of its profiler. */
	if (nr == SYS_rt_sigaction && strncmp(l->name, LOADER, strlen(LOADER))) {
		vt.sees_sigaction |= done;
		vt.misses_sigaction |= !done;
	}
	vt.sees_altstack |= nr == SYS_sigaltstack && done;
	vt_note_site(l->name, l->base, fn + i, nr, what);
}

/*
 * What the library's sites are remembered by; empty: they are not. Also by which calls are ours.
 */
static void remember_by(char key[VT_CODE_KEY], const struct dl_phdr_info *info,
			const ElfW(Phdr) * text)
{
	uint64_t ours = 0;
	vt_known_key_of(key, info, text);
	for (size_t i = 0; i < sizeof(vt_known); i++)
		ours = vt_mix(ours, vt_known[i]);
	size_t n = strlen(key);
	struct vt_text t = { key + n, key + VT_CODE_KEY - 1 };
	if (n) {
		vt_text_str(&t, " i");
		vt_text_hex(&t, ours >> 40);
		*t.p = '\0';
	}
}

/* Look at the system call instruction at call; true: it is a site. */
static bool look_at(struct library *l, const uint8_t *call)
{
	const uint8_t *site = call - (SITE_LEN - 2);
	uint64_t at = (uint64_t)site, lo, hi;
	uint32_t before = l->found;
	if (*site == 0xb8 && vt_cfi_function(at, &lo, &hi) && hi <= l->text_hi)
		consider(l, (const uint8_t *)lo, hi - lo, at - lo);
	return l->found != before;
}

/*
 * Redirect a library's sites: at the places that an earlier process found, where the code is judged
 * again, or wherever its text has them.
 */
static void scan(struct library *l, const struct dl_phdr_info *info, const ElfW(Phdr) * text)
{
	static struct vt_code_sites sites;
	char key[VT_CODE_KEY];
	if (!l->has_table || !text) {
		vt_note(l->name, "left alone: no table of its functions");
		return;
	}
	const uint8_t *lo = (const uint8_t *)l->text_lo, *end = (const uint8_t *)l->text_hi;
	remember_by(key, info, text);
	sites.n = 0;
	if (*key && vt_known_find(key, &sites)) {
		for (unsigned i = 0; i < sites.n; i++) {
			const uint8_t *at = lo + sites.call[i];
			if (sites.call[i] >= SITE_LEN - 2 && at < end - 1 && at[0] == 0x0f &&
			    at[1] == 0x05)
				look_at(l, at);
		}
	} else {
		bool all = *key && vt_known_is_whole(info->dlpi_name, text, lo);
		sites.n = 0;
		for (const uint8_t *at = lo + SITE_LEN - 2; (at = vt_next_syscall(at, end)) < end;
		     at += 2)
			if (look_at(l, at) && (all &= sites.n < VT_MOST_CALLS))
				sites.call[sites.n++] = (uint32_t)(at - lo);
		if (all)
			vt_known_add(key, &sites);
	}
	if (!l->found)
		vt_note(l->name, "no system call site of the known form");
}

/* The name a library calls itself, from its dynamic section. */
static const char *soname(const struct dl_phdr_info *info, const ElfW(Phdr) * dynamic)
{
	const char *strings = NULL;
	uint64_t offset = 0;
	for (const ElfW(Dyn) *d = (const void *)(info->dlpi_addr + dynamic->p_vaddr); d->d_tag;
	     d++) {
		if (d->d_tag == DT_STRTAB)
			strings = (const char *)d->d_un.d_ptr;
		if (d->d_tag == DT_SONAME)
			offset = d->d_un.d_val;
	}
	/* The loader relocates the pointer, but not where it cannot write (the vDSO). */
	if ((uint64_t)strings < info->dlpi_addr)
		strings += info->dlpi_addr;
	return offset ? strings + offset : "";
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	struct library l = { .base = info->dlpi_addr };
	const char *name = "";
	const ElfW(Phdr) *text = NULL;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type == PT_DYNAMIC && *info->dlpi_name)
			name = soname(info, ph);
		l.has_table |= ph->p_type == PT_GNU_EH_FRAME;
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
			text = ph;
			l.text_lo = at;
			l.text_hi = at + ph->p_memsz;
		}
	}
	l.name = name;
	if (!strncmp(name, LOADER, strlen(LOADER)))
		vt.loader = (struct vt_range){ l.text_lo, l.text_hi };
	if (vt_is_runtime(name))
		scan(&l, info, text);
	return 0;
}

/*
 * Redirect what can be redirected. cache: the file that holds what earlier processes found; empty:
 * there is none.
 */
void vt_inner_install(const char *cache)
{
	mem_fd = (int)vt_sys4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	if (mem_fd < 0) {
		vt_note("capture", "symbols only: the libraries' text cannot be written");
		return;
	}
	vt_known_load(cache);
	dl_iterate_phdr(visit, NULL);
	vt_sys1(SYS_close, mem_fd);
}

#else

void vt_inner_install(const char *cache)
{
	(void)cache;
	vt_note("capture", "symbols only: inner calls are redirected on x86-64");
}

#endif
