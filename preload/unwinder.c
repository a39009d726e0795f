/*
 * unwinder.c - call stacks by libunwind, loaded privately and rewired. Not for x86-64, see walk.c.
 *
 * Runs inside the traced process. Loaded with RTLD_LOCAL: linked in, its _Unwind_* symbols would
 * stand before libgcc's in the program's scope and take over its exceptions.
 *
 * What libunwind imports is replaced where it would disturb the program: it probes memory through a
 * pipe (two descriptors that the program could meet), maps memory through the wrapped functions,
 * and finds modules by dl_iterate_phdr, which takes the loader's lock - a thread that holds that
 * lock may be waiting for a lock that our caller holds. The replacements probe by a system call
 * that only reads, map memory as the recorder's own, and ask the loader's lock-free table. Its fast
 * way, unw_backtrace, is not used: it takes 512 KiB a thread and cannot be entered twice.
 * Locks and copying are ours too: a sanitizer intercepts libc's, and may have finished with a
 * thread whose exit still runs through here.
 *
 * SPDX-License-Identifier: MIT
 */
#define UNW_LOCAL_ONLY
#include "recorder.h"
#include "walk.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <libunwind.h>
#include <link.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/mman.h>

#define STR2(x) #x
#define STR(x)  STR2(x)

static struct {
	int (*init_local)(unw_cursor_t *, unw_context_t *);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, unw_regnum_t, unw_word_t *);
} unwinder;

static int no_open(const char *path, int flags, ...)
{
	(void)path;
	(void)flags;
	errno = ENOENT;
	return -1;
}

static int no_stat(void)
{
	errno = ENOENT;
	return -1;
}

static void *no_malloc(size_t n)
{
	(void)n;
	return NULL;
}

static void no_free(void *p)
{
	(void)p;
}

static long no_syscall(long nr, ...)
{
	va_list ap;
	va_start(ap, nr);
	va_arg(ap, int);
	const void *addr = va_arg(ap, const void *);
	va_end(ap);
	bool readable = nr == SYS_write && vt_readable(addr);
	errno = readable ? 0 : EFAULT;
	return readable ? 1 : -1;
}

/* libunwind asks errno even after success, for EINTR: it must not find the program's. */
static ssize_t no_read(int fd, void *buf, size_t n)
{
	(void)fd;
	(void)buf;
	errno = 0;
	return (ssize_t)n;
}

static ssize_t probe_write(int fd, const void *addr, size_t n)
{
	(void)fd;
	(void)n;
	return no_syscall(SYS_write, 0, addr);
}

static int no_pipe(int fd[2], int flags)
{
	(void)flags;
	fd[0] = fd[1] = -1;
	return 0;
}

static int no_close(int fd)
{
	(void)fd;
	return 0;
}

static int probe_mincore(void *addr, size_t len, unsigned char *vec)
{
	memset(vec, 1, (len + VT_PAGE_SIZE - 1) / VT_PAGE_SIZE);
	return vt_readable(addr) ? 0 : -1;
}

static int probe_msync(void *addr, size_t len, int flags)
{
	(void)len;
	(void)flags;
	return vt_readable(addr) ? 0 : -1;
}

static void *own_map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	bool plain = !addr && fd < 0 && prot == (PROT_READ | PROT_WRITE);
	long p =
	    plain ? vt_own_memory(len) : vt_own_mmap(addr, len, prot, flags, fd, (uint64_t)off);
	return vt_is_error(p) ? MAP_FAILED : (void *)p;
}

static int own_unmap(void *addr, size_t len)
{
	return (int)vt_own_munmap(addr, len);
}

/*
 * A mutex of the unwinder: one word, the generation of the trace and whether it is held. What a
 * thread of the parent held at a fork is free in the child.
 */
static uint32_t mutex_value(uint32_t state)
{
	return vt.generation << 2 | state;
}

static int own_mutex_lock(_Atomic uint32_t *m)
{
	for (;;) {
		uint32_t seen = atomic_load(m);
		bool held = (seen & 3) && seen >> 2 == (mutex_value(0) >> 2);
		if (!held && atomic_compare_exchange_strong(m, &seen, mutex_value(1)))
			return 0;
		if (held && (seen == mutex_value(2) ||
			     atomic_compare_exchange_strong(m, &seen, mutex_value(2))))
			vt_sys4(SYS_futex, m, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, mutex_value(2), 0);
	}
}

static int own_mutex_unlock(_Atomic uint32_t *m)
{
	if (atomic_exchange(m, 0) & 2)
		vt_sys3(SYS_futex, m, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
	return 0;
}

static int own_mutex_init(_Atomic uint32_t *m, const void *attributes)
{
	(void)attributes;
	atomic_store(m, 0);
	return 0;
}

/* First called while the process has one thread. */
static int own_once(int *done, void (*fn)(void))
{
	if (!*done)
		fn();
	*done = 1;
	return 0;
}

/*
 * libunwind sets a mask that libc's sigfillset has filled, but for the two signals that libc keeps
 * for itself: with that, a cancellation that we had blocked would come, under a lock.
 */
static int own_sigprocmask(int how, const uint64_t *new, void *old)
{
	const uint64_t all = ~0ull, kept = 3ull << 31; /* SIGCANCEL, SIGSETXID */
	if (new && (*new | kept) == all)
		new = &all;
	return (int)vt_sys4(SYS_rt_sigprocmask, how, new, old, 8);
}

/* Show libunwind the one module that holds the address it looks for: the first word of its data. */
static int iterate(int (*callback)(struct dl_phdr_info *, size_t, void *), void *data)
{
	struct dl_phdr_info info;
	return vt_loaded_find(*(void **)data, &info) ? callback(&info, sizeof(info), data) : 0;
}

static const struct {
	const char *name;
	void *replacement;
} rewired[] = {
	{ "pipe2", no_pipe },
	{ "pipe", no_pipe },
	{ "read", no_read },
	{ "write", probe_write },
	{ "close", no_close },
	{ "syscall", no_syscall },
	{ "mincore", probe_mincore },
	{ "msync", probe_msync },
	{ "mmap", own_map },
	{ "munmap", own_unmap },
	{ "dl_iterate_phdr", iterate },
	{ "open", no_open },
	{ "stat", no_stat },
	{ "fstat", no_stat },
	{ "malloc", no_malloc },
	{ "free", no_free },
	{ "pthread_mutex_init", own_mutex_init },
	{ "pthread_mutex_lock", own_mutex_lock },
	{ "pthread_mutex_unlock", own_mutex_unlock },
	{ "pthread_once", own_once },
	{ "sigprocmask", own_sigprocmask },
	{ "memcpy", memcpy },
	{ "memmove", memmove },
	{ "memset", memset },
	{ "strcmp", strcmp },
	{ "strlen", strlen },
};

static uint64_t dynamic(const struct link_map *m, int64_t tag)
{
	for (const ElfW(Dyn) *d = m->l_ld; d->d_tag; d++)
		if (d->d_tag == tag)
			return d->d_un.d_val;
	return 0;
}

/* Point the library's imports of these names at the replacements; all of them, or say no. */
static bool rewire_table(const struct link_map *m, int fd, uint64_t table, uint64_t size)
{
	const ElfW(Sym) *symbols = (const void *)dynamic(m, DT_SYMTAB);
	const char *strings = (const void *)dynamic(m, DT_STRTAB);
	const ElfW(Rela) *rela = (const void *)table;
	for (size_t i = 0; i < size / sizeof(*rela); i++) {
		const char *name = strings + symbols[ELF64_R_SYM(rela[i].r_info)].st_name;
		uint64_t slot = m->l_addr + rela[i].r_offset;
		for (size_t k = 0; k < sizeof(rewired) / sizeof(*rewired); k++) {
			const void *to = rewired[k].replacement;
			if (strcmp(name, rewired[k].name))
				continue;
			if (vt_sys4(SYS_pwrite64, fd, &to, sizeof(to), slot) != sizeof(to))
				return false;
		}
	}
	return true;
}

static bool rewire(void *lib)
{
	struct link_map *m = NULL;
	if (dlinfo(lib, RTLD_DI_LINKMAP, &m) || !m)
		return false;
	long fd = vt_sys4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	bool ok = rewire_table(m, (int)fd, dynamic(m, DT_JMPREL), dynamic(m, DT_PLTRELSZ)) &&
		  rewire_table(m, (int)fd, dynamic(m, DT_RELA), dynamic(m, DT_RELASZ));
	vt_sys1(SYS_close, fd);
	return ok;
}

/* Load and rewire. */
static bool load(void)
{
	/* Bound now: a lazily bound import would be looked up at its first use. */
	void *lib = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
	if (!lib || !rewire(lib))
		return false;
	*(void **)&unwinder.init_local = dlsym(lib, STR(UNW_OBJ(init_local)));
	*(void **)&unwinder.step = dlsym(lib, STR(UNW_OBJ(step)));
	*(void **)&unwinder.get_reg = dlsym(lib, STR(UNW_OBJ(get_reg)));
	return unwinder.init_local && unwinder.step && unwinder.get_reg;
}

struct walk {
	void **pc;
	int max, n;
};

static void walk(void *arg)
{
	struct walk *w = arg;
	unw_context_t context;
	unw_cursor_t cursor;
	unw_getcontext(&context);
	if (unwinder.init_local(&cursor, &context) < 0)
		return;
	do {
		unw_word_t ip = 0;
		if (unwinder.get_reg(&cursor, UNW_REG_IP, &ip) < 0 || !ip)
			break;
		w->pc[w->n++] = (void *)ip;
	} while (w->n < w->max && unwinder.step(&cursor) > 0);
}

static bool loaded;

bool vt_walk_init(void)
{
	void *warm[8];
	loaded = load();
	/* The first use allocates what the unwinder needs for ever. */
	vt_walk(warm, 8);
	return loaded;
}

int vt_walk(void **pc, int max)
{
	struct walk w = { pc, max, 0 };
	if (loaded)
		vt_unwinding(walk, &w);
	return w.n;
}

void vt_walk_forget(uint64_t addr, uint64_t len)
{
	(void)addr;
	(void)len;
}
