/*
 * flags.c - the symbolic names of arguments, as strace 6.1 prints them.
 *
 * Values are spelled out where the C library's headers may be older than the kernel. The order of
 * a table is the order in which strace prints the flags.
 *
 * SPDX-License-Identifier: MIT
 */
#include "flags.h"
#include "names.h"
#include <linux/mempolicy.h>
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <vmtrail/abi.h>
#include <vmtrail/event.h>

struct name {
	uint64_t value;
	const char *name;
};

#define N(value)                                                                                   \
	{                                                                                          \
		value, #value                                                                      \
	}
#define TABLE(...) ((const struct name[]){ __VA_ARGS__, { 0, NULL } })

/*
 * How a class is printed: the bits of choice hold one of choices, the others are flags. unknown is
 * the comment behind a number without a name; zero is printed for no flag at all.
 */
struct class
{
	uint64_t choice_mask;
	const struct name *choices, *flags;
	const char *zero, *unknown;
};

#define MADV(n, v)                                                                                 \
	{                                                                                          \
		v, "MADV_" #n                                                                      \
	}
#define PER(n, v)                                                                                  \
	{                                                                                          \
		v, "PER_" #n                                                                       \
	}

static const struct class classes[] = {
	[VT_ARG_PROT] = { 0, NULL,
			  TABLE(N(PROT_READ), N(PROT_WRITE), N(PROT_EXEC), { 8, "PROT_SEM" },
				N(PROT_GROWSDOWN), N(PROT_GROWSUP)),
			  "PROT_NONE", "PROT_???" },
	[VT_ARG_MFLAGS] = { MAP_TYPE,
			    TABLE({ 0, "MAP_FILE" }, N(MAP_SHARED), N(MAP_PRIVATE),
				  { 3, "MAP_SHARED_VALIDATE" }, { 8, "MAP_DROPPABLE" }),
			    TABLE(N(MAP_FIXED), N(MAP_ANONYMOUS), { 0x40, "MAP_32BIT" },
				  N(MAP_NORESERVE), N(MAP_POPULATE), N(MAP_NONBLOCK),
				  N(MAP_GROWSDOWN), N(MAP_DENYWRITE), N(MAP_EXECUTABLE),
				  N(MAP_LOCKED), N(MAP_STACK), N(MAP_HUGETLB),
				  { 0x80000, "MAP_SYNC" }, { 0x100000, "MAP_FIXED_NOREPLACE" }),
			    NULL, "MAP_???" },
	[VT_ARG_ADVICE] = { UINT64_MAX,
			    TABLE(MADV(NORMAL, 0), MADV(RANDOM, 1), MADV(SEQUENTIAL, 2),
				  MADV(WILLNEED, 3), MADV(DONTNEED, 4), MADV(FREE, 8),
				  MADV(REMOVE, 9), MADV(DONTFORK, 10), MADV(DOFORK, 11),
				  MADV(MERGEABLE, 12), MADV(UNMERGEABLE, 13), MADV(HUGEPAGE, 14),
				  MADV(NOHUGEPAGE, 15), MADV(DONTDUMP, 16), MADV(DODUMP, 17),
				  MADV(WIPEONFORK, 18), MADV(KEEPONFORK, 19), MADV(COLD, 20),
				  MADV(PAGEOUT, 21), MADV(POPULATE_READ, 22),
				  MADV(POPULATE_WRITE, 23), MADV(DONTNEED_LOCKED, 24),
				  MADV(COLLAPSE, 25), MADV(HWPOISON, 100), MADV(SOFT_OFFLINE, 101),
				  MADV(GUARD_INSTALL, 102), MADV(GUARD_REMOVE, 103)),
			    NULL, NULL, "MADV_???" },
	[VT_ARG_REMAP] = { 0, NULL,
			   TABLE(N(MREMAP_MAYMOVE), N(MREMAP_FIXED), { 4, "MREMAP_DONTUNMAP" }),
			   "0", "MREMAP_???" },
	[VT_ARG_MSYNC] = { 0, NULL, TABLE(N(MS_SYNC), N(MS_ASYNC), N(MS_INVALIDATE)), "0",
			   "MS_???" },
	[VT_ARG_SHMFL] = { 0, NULL, TABLE(N(SHM_RDONLY), N(SHM_RND), N(SHM_REMAP), N(SHM_EXEC)),
			   "0", "SHM_???" },
	[VT_ARG_MLOCK2] = { 0, NULL, TABLE({ 1, "MLOCK_ONFAULT" }), "0", "MLOCK_???" },
	[VT_ARG_MCL] = { 0, NULL, TABLE(N(MCL_CURRENT), N(MCL_FUTURE), { 4, "MCL_ONFAULT" }), "0",
			 "MCL_???" },
	[VT_ARG_PRCTL] = { UINT64_MAX,
			   TABLE(N(PR_SET_MM), N(PR_SET_THP_DISABLE), { 0x53564d41, "PR_SET_VMA" }),
			   NULL, NULL, "PR_???" },
	[VT_ARG_RLIMIT] = { UINT64_MAX,
			    TABLE(N(RLIMIT_CPU), N(RLIMIT_FSIZE), N(RLIMIT_DATA), N(RLIMIT_STACK),
				  N(RLIMIT_CORE), { 5, "RLIMIT_RSS" }, { 6, "RLIMIT_NPROC" },
				  N(RLIMIT_NOFILE), { 8, "RLIMIT_MEMLOCK" }, N(RLIMIT_AS),
				  { 10, "RLIMIT_LOCKS" }, { 11, "RLIMIT_SIGPENDING" },
				  { 12, "RLIMIT_MSGQUEUE" }, { 13, "RLIMIT_NICE" },
				  { 14, "RLIMIT_RTPRIO" }, { 15, "RLIMIT_RTTIME" }),
			    NULL, NULL, "RLIMIT_???" },
	[VT_ARG_PERSONA] = { 0xff,
			     TABLE(PER(LINUX, 0), PER(BSD, 6), PER(LINUX32, 8), PER(RISCOS, 12),
				   PER(OSF4, 15), PER(HPUX, 16)),
			     TABLE(N(UNAME26), N(ADDR_NO_RANDOMIZE), N(FDPIC_FUNCPTRS),
				   N(MMAP_PAGE_ZERO), N(ADDR_COMPAT_LAYOUT), N(READ_IMPLIES_EXEC),
				   N(ADDR_LIMIT_32BIT), N(SHORT_INODE), N(WHOLE_SECONDS),
				   N(STICKY_TIMEOUTS), N(ADDR_LIMIT_3GB)),
			     NULL, "PER_???" },
	[VT_ARG_CLONE] = { 0, NULL,
			   TABLE(N(CLONE_VM), N(CLONE_FS), N(CLONE_FILES), N(CLONE_SIGHAND),
				 { 0x1000, "CLONE_PIDFD" }, N(CLONE_PTRACE), N(CLONE_VFORK),
				 N(CLONE_PARENT), N(CLONE_THREAD), N(CLONE_NEWNS), N(CLONE_SYSVSEM),
				 N(CLONE_SETTLS), N(CLONE_PARENT_SETTID), N(CLONE_CHILD_CLEARTID),
				 N(CLONE_UNTRACED), N(CLONE_CHILD_SETTID),
				 { 0x2000000, "CLONE_NEWCGROUP" }, N(CLONE_NEWUTS), N(CLONE_NEWIPC),
				 N(CLONE_NEWUSER), N(CLONE_NEWPID), N(CLONE_NEWNET), N(CLONE_IO)),
			   NULL, "CLONE_???" },
	[VT_ARG_UFFD] = { 0, NULL,
			  TABLE({ 1, "UFFDIO_REGISTER_MODE_MISSING" },
				{ 2, "UFFDIO_REGISTER_MODE_WP" },
				{ 4, "UFFDIO_REGISTER_MODE_MINOR" }),
			  "0", "UFFDIO_REGISTER_MODE_???" },
};

static const struct class mbind_mode = {
	0xffff1fff,
	TABLE({ 0, "MPOL_DEFAULT" }, N(MPOL_PREFERRED), N(MPOL_BIND), N(MPOL_INTERLEAVE),
	      { 4, "MPOL_LOCAL" }, { 5, "MPOL_PREFERRED_MANY" }, { 6, "MPOL_WEIGHTED_INTERLEAVE" }),
	TABLE({ 0x8000, "MPOL_F_STATIC_NODES" }, { 0x4000, "MPOL_F_RELATIVE_NODES" },
	      { 0x2000, "MPOL_F_NUMA_BALANCING" }),
	NULL,
	"MPOL_???",
};

static const struct class mbind_flags = {
	0, NULL, TABLE(N(MPOL_MF_STRICT), N(MPOL_MF_MOVE), N(MPOL_MF_MOVE_ALL)), "0", "MPOL_???",
};

static const struct class set_mm = {
	UINT64_MAX,
	TABLE(N(PR_SET_MM_START_CODE), N(PR_SET_MM_END_CODE), N(PR_SET_MM_START_DATA),
	      N(PR_SET_MM_END_DATA), N(PR_SET_MM_START_STACK), N(PR_SET_MM_START_BRK),
	      N(PR_SET_MM_BRK), N(PR_SET_MM_ARG_START), N(PR_SET_MM_ARG_END),
	      N(PR_SET_MM_ENV_START), N(PR_SET_MM_ENV_END), N(PR_SET_MM_AUXV),
	      N(PR_SET_MM_EXE_FILE), N(PR_SET_MM_MAP), N(PR_SET_MM_MAP_SIZE)),
	NULL,
	NULL,
	"PR_SET_MM_???",
};

static const struct class set_vma = {
	UINT64_MAX, TABLE({ 0, "PR_SET_VMA_ANON_NAME" }), NULL, NULL, "PR_SET_VMA_???",
};

void vt_text_add(struct vt_text *t, const char *format, ...)
{
	va_list args;

	if (t->n + 1 >= t->size)
		return;
	va_start(args, format);
	int n = vsnprintf(t->p + t->n, t->size - t->n, format, args);
	va_end(args);
	if (n > 0)
		t->n = t->n + (size_t)n < t->size ? t->n + (size_t)n : t->size - 1;
}

/* Append "|" between names. */
static void bar(struct vt_text *t, bool *first)
{
	if (!*first)
		vt_text_add(t, "|");
	*first = false;
}

static void choice(struct vt_text *t, const struct class *c, uint64_t v, bool *first)
{
	if (!c->choices)
		return;
	bar(t, first);
	for (const struct name *n = c->choices; n->name; n++) {
		if (n->value == v) {
			vt_text_add(t, "%s", n->name);
			return;
		}
	}
	vt_text_add(t, "%#llx /* %s */", (unsigned long long)v, c->unknown);
}

/* Append value as class c prints it. */
static void print_class(struct vt_text *t, const struct class *c, uint64_t value)
{
	uint64_t rest = value & ~c->choice_mask;
	bool first = true;

	choice(t, c, value & c->choice_mask, &first);
	for (const struct name *n = c->flags; n && n->name; n++) {
		if ((rest & n->value) != n->value || !n->value)
			continue;
		bar(t, &first);
		vt_text_add(t, "%s", n->name);
		rest &= ~n->value;
	}
	if (rest) {
		bool alone = first;
		bar(t, &first);
		vt_text_add(t, "%#llx", (unsigned long long)rest);
		if (alone)
			vt_text_add(t, " /* %s */", c->unknown);
	}
	if (first && c->zero)
		vt_text_add(t, "%s", c->zero);
}

/* mmap flags end with the huge page size: N<<MAP_HUGE_SHIFT. */
static void map_flags(struct vt_text *t, uint64_t value)
{
	uint64_t huge = value >> 26 & 63;

	value &= UINT32_MAX & ~(63ULL << 26);
	print_class(t, &classes[VT_ARG_MFLAGS], value);
	if (huge)
		vt_text_add(t, "|%llu<<MAP_HUGE_SHIFT", (unsigned long long)huge);
}

/* clone's flags end with the signal that the parent gets. */
static void clone_flags(struct vt_text *t, uint64_t value)
{
	uint64_t sig = value & 0xff;

	if (value > 0xff) {
		print_class(t, &classes[VT_ARG_CLONE], value & ~0xffULL);
		vt_text_add(t, sig ? "|" : "");
	}
	const char *name = vt_signal_name((int)sig);
	if (name)
		vt_text_add(t, "%s", name);
	else if (sig || value <= 0xff)
		vt_text_add(t, "%llu", (unsigned long long)sig);
}

bool vt_class_is_symbolic(unsigned class)
{
	return class < sizeof(classes) / sizeof(classes[0]) && classes[class].unknown;
}

void vt_text_flags(struct vt_text *t, unsigned class, uint64_t value)
{
	bool narrow = class == VT_ARG_ADVICE || class == VT_ARG_RLIMIT; /* an int in the kernel */

	if (class == VT_ARG_MFLAGS)
		map_flags(t, value);
	else if (class == VT_ARG_CLONE)
		clone_flags(t, value);
	else if (class == VT_ARG_PERSONA && (uint32_t)value == UINT32_MAX)
		vt_text_add(t, "0xffffffff");
	else
		print_class(t, &classes[class], narrow ? (uint32_t)value : value);
}

/* Names that other architectures and newer versions of strace print. */
static const struct {
	unsigned class;
	struct name name;
} foreign[] = {
	{ VT_ARG_PROT, { 0x10, "PROT_BTI" } },         { VT_ARG_PROT, { 0x20, "PROT_MTE" } },
	{ VT_ARG_PROT, { 0x10, "PROT_SAO" } },         { VT_ARG_MFLAGS, { 0, "MAP_RENAME" } },
	{ VT_ARG_MFLAGS, { 0, "MAP_UNINITIALIZED" } }, { VT_ARG_MFLAGS, { 0x80, "MAP_ABOVE4G" } },
	{ VT_ARG_MFLAGS, { 0x20, "MAP_ANON" } },
};

static bool named(const struct name *table, const char *text, size_t n, uint64_t *value)
{
	for (; table && table->name; table++) {
		if (!strncmp(table->name, text, n) && !table->name[n]) {
			*value = table->value;
			return true;
		}
	}
	return false;
}

bool vt_flag_value(unsigned class, const char *name, size_t n, uint64_t *value)
{
	const struct class *c = &classes[class];

	if (!vt_class_is_symbolic(class))
		return false;
	if (named(c->choices, name, n, value) || named(c->flags, name, n, value))
		return true;
	*value = 0;
	if (c->zero && !strncmp(c->zero, name, n) && !c->zero[n])
		return true;
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		const struct name *f = &foreign[i].name;
		*value = f->value;
		if (foreign[i].class == class && !strncmp(f->name, name, n) && !f->name[n])
			return true;
	}
	return false;
}

void vt_text_mbind_mode(struct vt_text *t, uint64_t mode)
{
	print_class(t, &mbind_mode, mode & UINT32_MAX);
}

void vt_text_mbind_flags(struct vt_text *t, uint64_t flags)
{
	print_class(t, &mbind_flags, flags & UINT32_MAX);
}

void vt_text_prctl_option(struct vt_text *t, uint64_t call, uint64_t option)
{
	print_class(t, call == PR_SET_MM ? &set_mm : &set_vma, option);
}

void vt_text_addr(struct vt_text *t, uint64_t addr)
{
	if (addr)
		vt_text_add(t, "%#llx", (unsigned long long)addr);
	else
		vt_text_add(t, "NULL");
}
