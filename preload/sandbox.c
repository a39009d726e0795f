/*
 * sandbox.c - before a seccomp filter comes: what still needs files is done, and whether the
 * recorder's own system calls will be allowed is found out.
 *
 * Runs inside the traced process. The filter is a program that we are given before the kernel is:
 * it is run here on every system call that the recorder makes while it records. Those that move the
 * trace file's window along are made in advance where it refuses them. If it refuses another one,
 * the trace ends before the filter is set, for a refused call may kill the process; otherwise
 * recording goes on, but nothing is opened any more. What stands in memory when the kernel reads
 * the filter is the program's affair; what is read here is copied first.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <vmtrail/abi.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define MAX_INSTRUCTIONS 4096

/* Stands for this process's pid: filters let a process signal itself, and nobody else. */
#define OWN_PID 0x100000000ull

/* A system call as it is made: filters look at arguments, too. */
struct sample {
	const char *name; /* NULL: the last */
	uint64_t nr, a[6];
};

/* Those made after a call is recorded, and in any thread that makes its first one. */
static const struct sample needed[] = {
	{ "rt_sigprocmask", SYS_rt_sigprocmask, { 0, 1, 1, 8 } },
	{ "rt_sigprocmask", SYS_rt_sigprocmask, { 2, 1, 0, 8 } },
	{ "rt_sigprocmask", SYS_rt_sigprocmask, { ~0u, 1, 0, 8 } },
	{ "clock_gettime", SYS_clock_gettime, { CLOCK_MONOTONIC, 1 } },
	{ "futex", SYS_futex, { 1, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2 } },
	{ "futex", SYS_futex, { 1, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1 } },
	{ "nanosleep", SYS_nanosleep, { 1, 0 } },
	{ "gettid", SYS_gettid, { 0 } },
	{ "getpid", SYS_getpid, { 0 } },
	{ "tgkill", SYS_tgkill, { OWN_PID, 1, 0 } },
	{ "sigaltstack", SYS_sigaltstack, { 0, 1 } },
	{ "mmap",
	  SYS_mmap,
	  { 0, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	    ~0ull } },
	{ "mmap",
	  SYS_mmap,
	  { 1 << 20, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	    ~0ull } },
	{ "munmap", SYS_munmap, { 1 << 20, 1 << 17 } },
	{ 0 },
};

/* Those that can be made in advance. */
static const struct sample spared[] = {
	{ "mremap", SYS_mremap, { 1 << 20, 0, 1 << 17, MREMAP_MAYMOVE } },
	{ "mremap", SYS_mremap, { 1 << 20, 1 << 17, 1 << 18, 0 } },
	{ "madvise", SYS_madvise, { 1 << 20, 1 << 15, MADV_POPULATE_WRITE } },
	{ "madvise", SYS_madvise, { 1 << 20, 1 << 15, MADV_DONTDUMP } },
	{ "madvise", SYS_madvise, { 1 << 20, 1 << 15, MADV_NOHUGEPAGE } },
	{ "madvise", SYS_madvise, { 1 << 20, 1 << 15, MADV_DONTFORK } },
	{ "madvise", SYS_madvise, { 1 << 20, 1 << 15, MADV_RANDOM } },
	{ 0 },
};

/* Those with which a new process or image begins its own trace. */
static const uint16_t starting[] = {
	SYS_openat,       SYS_close,
	SYS_read,         SYS_pread64,
	SYS_pwrite64,     SYS_fstat,
	SYS_newfstatat,   SYS_fstatfs,
	SYS_readlinkat,   SYS_linkat,
	SYS_unlinkat,     SYS_ftruncate,
	SYS_prlimit64,    SYS_getppid,
	SYS_getuid,       SYS_capget,
	SYS_uname,        SYS_personality,
	SYS_prctl,        SYS_fcntl,
	SYS_clone,        SYS_close_range,
	SYS_unshare,      SYS_exit,
	SYS_brk,          SYS_process_vm_readv,
	SYS_rt_sigaction,
};

/* A filter's registers and memory while it runs. */
struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
};

static bool load(struct machine *m, const struct sock_filter *i, const struct seccomp_data *data,
		 uint32_t *to)
{
	switch (BPF_MODE(i->code)) {
	case BPF_IMM:
		*to = i->k;
		return true;
	case BPF_LEN:
		*to = sizeof(*data);
		return true;
	case BPF_MEM:
		*to = m->mem[i->k % BPF_MEMWORDS];
		return true;
	case BPF_ABS:
		if (i->k > sizeof(*data) - 4 || i->k % 4)
			return false;
		memcpy(to, (const char *)data + i->k, 4);
		return true;
	default:
		return false;
	}
}

static uint32_t compute(uint16_t code, uint32_t a, uint32_t b)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return b ? a / b : 0;
	case BPF_OR:
		return a | b;
	case BPF_AND:
		return a & b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return b < 32 ? a << b : 0;
	case BPF_RSH:
		return b < 32 ? a >> b : 0;
	default:
		return -a; /* BPF_NEG */
	}
}

static bool holds(uint16_t code, uint32_t a, uint32_t b)
{
	switch (BPF_OP(code)) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	default:
		return a & b; /* BPF_JSET */
	}
}

/* The filter's verdict on a system call; a filter that the kernel would refuse allows nothing. */
static uint32_t verdict(const struct sock_filter *code, size_t n, const struct seccomp_data *data)
{
	struct machine m = { 0 };
	for (size_t at = 0; at < n; at++) {
		const struct sock_filter *i = &code[at];
		uint32_t operand = BPF_SRC(i->code) == BPF_X ? m.x : i->k;
		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			if (!load(&m, i, data, &m.a))
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_LDX:
			if (!load(&m, i, data, &m.x))
				return SECCOMP_RET_KILL_PROCESS;
			break;
		case BPF_ST:
			m.mem[i->k % BPF_MEMWORDS] = m.a;
			break;
		case BPF_STX:
			m.mem[i->k % BPF_MEMWORDS] = m.x;
			break;
		case BPF_ALU:
			m.a = compute(i->code, m.a, operand);
			break;
		case BPF_JMP:
			if (BPF_OP(i->code) == BPF_JA)
				at += i->k;
			else
				at += holds(i->code, m.a, operand) ? i->jt : i->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
		default:
			if (BPF_MISCOP(i->code) == BPF_TXA)
				m.a = m.x;
			else
				m.x = m.a;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

static bool allows(const struct sock_filter *code, size_t n, struct seccomp_data *data)
{
	data->arch = ARCH;
	data->instruction_pointer = (uint64_t)allows;
	uint32_t action = verdict(code, n, data) & SECCOMP_RET_ACTION_FULL;
	return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}

/* The first of the calls that the filter does not let pass; NULL: it allows all. */
static const char *refused(const struct sock_filter *code, size_t n, const struct sample *s)
{
	for (; s->name; s++) {
		struct seccomp_data data = { .nr = (int)s->nr };
		for (size_t i = 0; i < 6; i++)
			data.args[i] = s->a[i] == OWN_PID ? (uint64_t)vt_sys0(SYS_getpid) : s->a[i];
		if (!allows(code, n, &data))
			return s->name;
	}
	return NULL;
}

static bool refuses_start(const struct sock_filter *code, size_t n)
{
	for (size_t k = 0; k < sizeof(starting) / sizeof(starting[0]); k++)
		if (!allows(code, n, &(struct seccomp_data){ .nr = starting[k] }))
			return true;
	return false;
}

/* What comes after this process would do under the filter what it forbids: it is left alone. */
static void end_family(void)
{
	if (!vt.options.children)
		return;
	vt.options.children = false;
	vt_env_stop();
	vt_note("sandbox", "under the seccomp filter no child or new image is recorded");
}

/* What of ours the filter that the program hands over forbids, so that recording must end. */
static const char *refused_by(const struct sock_fprog *filter)
{
	static struct sock_filter code[MAX_INSTRUCTIONS];
	struct sock_fprog f;
	if (!vt_readable(filter) || !vt_readable((const char *)(filter + 1) - 1))
		return NULL; /* as the kernel will find */
	memcpy(&f, filter, sizeof(f));
	if (!f.len || f.len > MAX_INSTRUCTIONS)
		return NULL;
	for (size_t at = 0; at < f.len * sizeof(*code); at += VT_PAGE_SIZE)
		if (!vt_readable((const char *)f.filter + at))
			return NULL;
	if (!vt_readable((const char *)(f.filter + f.len) - 1))
		return NULL;
	memcpy(code, f.filter, f.len * sizeof(*code));
	if (refuses_start(code, f.len))
		end_family();
	const char *what = refused(code, f.len, needed);
	if (what || !refused(code, f.len, spared))
		return what;
	return vt_store_last_window() ? NULL : refused(code, f.len, spared);
}

/* A filter, or strict mode, about to be set. */
struct sandbox {
	bool strict;
	const struct sock_fprog *filter;
};

static void enter(void *arg)
{
	const struct sandbox *s = arg;
	if (!atomic_load(&vt.on))
		return;
	const char *what = s->strict ? "nearly everything" : refused_by(s->filter);
	if (what) {
		char line[128];
		struct vt_text t = { line, line + sizeof(line) - 1 };
		vt_text_str(&t, "a seccomp filter that forbids ");
		vt_text_str(&t, what);
		vt_text_str(&t, " was set: the recording ends before it");
		*t.p = '\0';
		vt_note("sandbox", line);
		vt_end("seccomp", 0);
	} else if (!atomic_load(&vt.sandboxed)) {
		vt_snapshot(VT_SNAPSHOT_DEMAND);
		vt_note("sandbox", "a seccomp filter was set: no snapshots from here on");
		atomic_store(&vt.sandboxed, true);
	}
}

/*
 * Strict mode or a filter is about to be set. Without a filter the kernel will only say whether it
 * knows filters.
 */
void vt_before_sandbox(bool strict, const void *filter)
{
	struct sandbox s = { strict, filter };
	if (strict || filter)
		vt_faults_remove();
	if ((strict || filter) && atomic_load(&vt.on) && atomic_load(vt.fork_guard))
		vt_locked(enter, &s);
}
