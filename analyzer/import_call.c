/*
 * import_call.c - strace's arguments and results as numbers.
 *
 * The event table says of which class each argument is; flags.c knows the names. What a call's text
 * means depends on nothing but the text, so sets of flags are remembered by it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_call.h"

#include "flags.h"
#include "names.h"
#include <errno.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <vmtrail/abi.h>

static const struct {
	const char *name;
	int kind;
} calls[] = {
	{ "mmap", VT_MMAP },
	{ "mmap2", VT_MMAP },
	{ "munmap", VT_MUNMAP },
	{ "mprotect", VT_MPROTECT },
	{ "pkey_mprotect", VT_PKEY_MPROTECT },
	{ "madvise", VT_MADVISE },
	{ "brk", VT_BRK },
	{ "mremap", VT_MREMAP },
	{ "remap_file_pages", VT_REMAP_FILE_PAGES },
	{ "shmat", VT_SHMAT },
	{ "shmdt", VT_SHMDT },
	{ "mlock", VT_MLOCK },
	{ "mlock2", VT_MLOCK2 },
	{ "munlock", VT_MUNLOCK },
	{ "mlockall", VT_MLOCKALL },
	{ "munlockall", VT_MUNLOCKALL },
	{ "msync", VT_MSYNC },
	{ "mbind", VT_MBIND },
	{ "mseal", VT_MSEAL },
	{ "prctl", VT_PRCTL },
	{ "setrlimit", VT_SETRLIMIT },
	{ "prlimit64", VT_SETRLIMIT },
	{ "personality", VT_PERSONALITY },
	{ "fork", VT_FORK },
	{ "vfork", VT_VFORK },
	{ "clone", VT_CLONE },
	{ "clone2", VT_CLONE },
	{ "clone3", VT_CALL_CLONE3 },
	{ "execve", VT_EXECVE },
	{ "execveat", VT_CALL_EXECVEAT },
	{ "exit_group", VT_EXIT },
	{ "exit", VT_CALL_EXIT },
	{ "open", VT_CALL_OPEN },
	{ "creat", VT_CALL_OPEN },
	{ "openat", VT_CALL_OPENAT },
	{ "openat2", VT_CALL_OPENAT },
	{ "memfd_create", VT_CALL_MEMFD },
	{ "close", VT_CALL_CLOSE },
	{ "dup", VT_CALL_DUP },
	{ "dup2", VT_CALL_DUP2 },
	{ "dup3", VT_CALL_DUP2 },
	{ "fcntl", VT_CALL_FCNTL },
	{ "shmget", VT_CALL_SHMGET },
};

#define BUCKETS 256

static unsigned bucket_of(const char *p, size_t n)
{
	return ((unsigned)n * 31 + (uint8_t)p[0] * 7 + (uint8_t)p[n / 2] * 3 + (uint8_t)p[n - 1]) %
	       BUCKETS;
}

int vt_call_kind(struct vt_slice name)
{
	static int8_t table[BUCKETS]; /* 1 + index into calls, by open addressing */
	size_t n = (size_t)(name.end - name.p);

	if (!table[bucket_of("mmap", 4)]) {
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
			unsigned b = bucket_of(calls[i].name, strlen(calls[i].name));
			while (table[b])
				b = (b + 1) % BUCKETS;
			table[b] = (int8_t)(i + 1);
		}
	}
	if (!n)
		return VT_CALL_NONE;
	for (unsigned b = bucket_of(name.p, n); table[b]; b = (b + 1) % BUCKETS)
		if (vt_slice_is(name, calls[table[b] - 1].name))
			return calls[table[b] - 1].kind;
	return VT_CALL_NONE;
}

/* A descriptor and its file: "3</lib/libc.so.6>", "-1", "AT_FDCWD</tmp>". */
static bool descriptor(struct vt_slice s, uint64_t *fd, struct vt_slice *path)
{
	if (!vt_slice_number(&s, fd))
		return false;
	if (s.p < s.end && *s.p == '<' && s.end[-1] != '<') {
		const char *close = memrchr(s.p, '>', (size_t)(s.end - s.p));
		if (close)
			*path = (struct vt_slice){ s.p + 1, close };
	}
	return true;
}

bool vt_call_result(struct vt_slice *s, struct vt_result *r)
{
	*r = (struct vt_result){ 0 };
	if (!vt_slice_char(s, ')') || !vt_slice_char(s, '='))
		return false;
	if (s->end[-1] == '>') {
		const char *open = memrchr(s->p, '<', (size_t)(s->end - s->p));
		struct vt_slice time = { open ? open + 1 : s->end, s->end };
		if (open && open > s->p && open[-1] == ' ' && vt_slice_seconds(&time, &r->dur_ns))
			s->end = open - 1;
	}
	if (vt_slice_char(s, '?'))
		return true;
	struct vt_slice whole = *s;
	uint64_t v;
	if (!vt_slice_number(s, &v))
		return false;
	r->known = true;
	r->ret = (int64_t)v;
	if (r->ret != -1) {
		descriptor(whole, &v, &r->path);
		return true;
	}
	while (s->p < s->end && *s->p == ' ')
		s->p++;
	const char *end = s->p;
	while (end < s->end && *end != ' ')
		end++;
	int error = vt_errno_of_name(s->p, (size_t)(end - s->p));
	r->ret = -(error ? error : EINVAL);
	return true;
}

/* Sets of flags by their text. */
struct memory {
	char text[96];
	uint64_t value;
	uint8_t n, class;
};

static bool read_flags(unsigned class, struct vt_slice s, uint64_t *value)
{
	*value = 0;
	while (s.p < s.end) {
		const char *bar = memchr(s.p, '|', (size_t)(s.end - s.p));
		struct vt_slice one = { s.p, bar ? bar : s.end };
		uint64_t v, shift;
		s.p = bar ? bar + 1 : s.end;
		const char *comment = memchr(one.p, ' ', (size_t)(one.end - one.p));
		if (comment)
			one.end = comment;
		if (one.p < one.end && *one.p >= '0' && *one.p <= '9') {
			if (!vt_slice_number(&one, &v))
				return false;
			/* "21<<MAP_HUGE_SHIFT" */
			shift = one.p < one.end && *one.p == '<' ? 26 : 0;
			*value |= v << shift;
		} else if (vt_flag_value(class, one.p, (size_t)(one.end - one.p), &v)) {
			*value |= v;
		} else if (class == VT_ARG_CLONE) {
			*value |= (uint64_t)vt_signal_of_name(one.p, (size_t)(one.end - one.p));
		} else {
			return false;
		}
	}
	return true;
}

bool vt_call_flags(unsigned class, struct vt_slice s, uint64_t *value)
{
	static struct memory known[1024];
	size_t n = (size_t)(s.end - s.p);
	uint32_t hash = class;

	if (!n)
		return false;
	for (size_t i = 0; i < n; i++)
		hash = hash * 16777619u ^ (uint8_t)s.p[i];
	struct memory *m = &known[(hash ^ hash >> 16) % 1024];
	if (m->n == n && m->class == class && !memcmp(m->text, s.p, n)) {
		*value = m->value;
		return true;
	}
	if (!read_flags(class, s, value))
		return false;
	if (n <= sizeof(m->text)) {
		memcpy(m->text, s.p, n);
		*m = (struct memory){ .value = *value, .n = (uint8_t)n, .class = (uint8_t) class };
		memcpy(m->text, s.p, n);
	}
	return true;
}

/* The value behind "name=" in a structure's text; false: it is not there. */
static bool member(struct vt_slice s, const char *name, struct vt_slice *value)
{
	const char *at = memmem(s.p, (size_t)(s.end - s.p), name, strlen(name));
	if (!at)
		return false;
	*value = (struct vt_slice){ at + strlen(name), s.end };
	return true;
}

/* A limit: bytes, "8192*1024", "RLIM64_INFINITY". */
static bool limit_value(struct vt_slice s, uint64_t *v)
{
	uint64_t factor;
	if (vt_slice_starts(s, "RLIM")) {
		*v = UINT64_MAX;
		return true;
	}
	if (!vt_slice_number(&s, v))
		return false;
	if (vt_slice_char(&s, '*') && vt_slice_number(&s, &factor))
		*v *= factor;
	return true;
}

/* setrlimit(RLIMIT_AS, {..}) and prlimit64(0, RLIMIT_AS, {..}, NULL), which may only ask. */
static bool limits(struct vt_slice *s, struct vt_event *e, bool *apart)
{
	struct vt_slice first = vt_slice_argument(s), set, value;
	uint64_t pid = 0;
	e->a[3] = vt_slice_number(&first, &pid);
	if (e->a[3])
		first = vt_slice_argument(s);
	set = vt_slice_argument(s);
	if (e->a[3])
		vt_slice_argument(s);
	if (!vt_call_flags(VT_ARG_RLIMIT, first, &e->a[0]))
		return false;
	*apart = pid != 0 || vt_slice_is(set, "NULL") || vt_slice_is(set, "0");
	return *apart || (member(set, "rlim_cur=", &value) && limit_value(value, &e->a[1]) &&
			  member(set, "rlim_max=", &value) && limit_value(value, &e->a[2]));
}

static const char *const policies[] = {
	[MPOL_DEFAULT] = "MPOL_DEFAULT", [MPOL_PREFERRED] = "MPOL_PREFERRED",
	[MPOL_BIND] = "MPOL_BIND",       [MPOL_INTERLEAVE] = "MPOL_INTERLEAVE",
	[MPOL_LOCAL] = "MPOL_LOCAL",
};

/* mbind(addr, length, MPOL_BIND|flags, [0x1], 64, MPOL_MF_MOVE): two sets that have no class. */
static bool policy(struct vt_slice *s, struct vt_event *e)
{
	struct vt_slice addr = vt_slice_argument(s), len = vt_slice_argument(s),
			mode = vt_slice_argument(s), mask = vt_slice_argument(s),
			nodes = vt_slice_argument(s);
	vt_slice_argument(s);
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++)
		if (vt_slice_starts(mode, policies[i]))
			e->a[2] = i;
	if (!vt_slice_char(&mask, '[') || !vt_slice_number(&mask, &e->a[3]))
		e->a[3] = 0;
	vt_slice_number(&nodes, &e->a[4]);
	return vt_slice_number(&addr, &e->a[0]) && vt_slice_number(&len, &e->a[1]);
}

/* Of prctl only the names of areas are read; the rest is no change of the address space. */
static bool area_name(struct vt_slice *s, struct vt_event *e, struct vt_slice *name, bool *apart)
{
	struct vt_slice option = vt_slice_argument(s), what = vt_slice_argument(s),
			addr = vt_slice_argument(s), len = vt_slice_argument(s);
	*name = vt_slice_argument(s);
	while (s->p < s->end && *s->p != ')')
		vt_slice_argument(s);
	*apart = !vt_slice_is(option, "PR_SET_VMA");
	if (vt_slice_is(option, "PR_SET_NAME"))
		*name = what;
	if (*apart)
		return true;
	e->a[0] = PR_SET_VMA;
	return vt_slice_number(&addr, &e->a[2]) && vt_slice_number(&len, &e->a[3]);
}

bool vt_call_arguments(int kind, struct vt_slice *s, struct vt_event *e, struct vt_slice *path,
		       bool *apart)
{
	const uint8_t *class = vt_kinds[kind].arg;

	e->kind = (uint8_t)kind;
	*apart = false;
	if (kind == VT_SETRLIMIT)
		return limits(s, e, apart);
	if (kind == VT_MBIND)
		return policy(s, e);
	if (kind == VT_PRCTL)
		return area_name(s, e, path, apart);
	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		struct vt_slice a = vt_slice_argument(s);
		bool ok;
		if (a.p == a.end) /* mremap's fifth is printed only where it counts */
			ok = kind == VT_MREMAP && i == 4;
		else if (class[i] == VT_ARG_FD)
			ok = descriptor(a, &e->a[i], path);
		else if (vt_class_is_symbolic(class[i]))
			ok = vt_call_flags(class[i], a, &e -> a[i]);
		else
			ok = vt_slice_number(&a, &e->a[i]);
		if (kind == VT_SHMAT && i == 2)
			return ok; /* the length is none of its arguments */
		if (!ok)
			return false;
	}
	return true;
}
