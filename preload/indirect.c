/*
 * indirect.c - calls whose event holds more than their arguments: what those point to, or which
 * process they are about.
 *
 * Runs inside the traced process, before the system call, in any thread and any signal handler.
 * What the program points to may not be there: it is touched only after the kernel has said that it
 * can be read. Nothing but numbers and the names of areas is taken from it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <errno.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define WORD_BITS  64
#define MASK_WORDS 64          /* of a node mask: more nodes than any kernel has */
#define MAX_RANGES 1024        /* UIO_MAXIOV */
#define MAX_BYTES  0x7ffff000u /* that one vector may address: the kernel's MAX_RW_COUNT */

/* Whether pid, as a system call takes it, names the process that is recorded, or a thread of it. */
static bool is_recorded(long pid)
{
	if (!vt.fork_guard)
		return false;
	long self = vt_sys0(SYS_getpid);
	/* a fresh child is noticed by the call itself; a vfork child is another process */
	long recorded = atomic_load(vt.fork_guard) ? (long)vt.pid : self;
	if ((pid ? pid : self) == recorded)
		return true;
	return pid > 0 && !atomic_load(&vt.sandboxed) && vt_sys3(SYS_tgkill, recorded, pid, 0) == 0;
}

/*
 * setrlimit, and prlimit on oneself. nr is the system call to make; direct: it is told as prlimit.
 */
static long limit(uint8_t flags, long nr, bool told_as_prlimit, const long *a)
{
	bool prlimit = nr == SYS_prlimit64;
	long pid = prlimit ? a[0] : 0, resource = (int)(prlimit ? a[1] : a[0]);
	const void *new = (const void *)(prlimit ? a[2] : a[1]);
	bool followed = resource == RLIMIT_AS || resource == RLIMIT_DATA ||
			resource == RLIMIT_STACK || resource == RLIMIT_MEMLOCK;
	struct rlimit to = { 0, 0 };
	if (!new || !followed || !is_recorded((int)pid))
		return vt_sys4(nr, a[0], a[1], a[2], a[3]);
	vt_peek(&to, new, sizeof(to));
	const uint64_t told[VT_MAX_ARGS] = { (uint64_t)resource, to.rlim_cur, to.rlim_max,
					     told_as_prlimit };
	return vt_call_told(VT_SETRLIMIT, flags, nr, a, told);
}

/* libc's setrlimit, which is prlimit on oneself to the kernel. */
long vt_setrlimit(int resource, const void *new)
{
	const long a[VT_MAX_ARGS] = { 0, resource, (long)new };
	return limit(0, SYS_prlimit64, false, a);
}

/* Each thread has a persona of its own; that of another process in our memory is not ours. */
static long personality_call(uint8_t flags, const long *a)
{
	if (!is_recorded(0))
		return vt_sys1(SYS_personality, a[0]);
	return vt_call(VT_PERSONALITY, flags, SYS_personality, a[0], 0, 0, 0, 0, 0);
}

/* A name is told by its number; one that cannot be read, by its address. */
static long name_call(uint8_t flags, const long *a)
{
	uint64_t told[VT_MAX_ARGS] = { (uint64_t)a[0], (uint64_t)a[1], (uint64_t)a[2],
				       (uint64_t)a[3], (uint64_t)a[4] };
	uint32_t name = a[4] ? vt_name_at((const char *)a[4]) : 0;
	if (name)
		told[4] = name;
	return vt_call_told(VT_PRCTL, flags, SYS_prctl, a, told);
}

static long prctl_call(uint8_t flags, const long *a)
{
	int option = (int)a[0];
	if (option == PR_SET_VMA && a[1] == PR_SET_VMA_ANON_NAME)
		return name_call(flags, a);
	if (option == PR_SET_VMA || option == PR_SET_MM)
		return vt_call(VT_PRCTL, flags, SYS_prctl, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (option == PR_SET_SECCOMP)
		vt_before_sandbox(a[1] == SECCOMP_MODE_STRICT, (const void *)a[2]);
	if (option == PR_SET_NAME)
		vt_me()->name_stale = true;
	return vt_sys6(SYS_prctl, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/*
 * A node mask of so many bits: its first word, and in *rest 31 bits that stand for the words behind
 * it, 0 when they are empty.
 */
static uint64_t node_mask(const void *mask, uint64_t bits, uint64_t *rest)
{
	uint64_t first = 0, h = 0, word;
	size_t n = (bits + WORD_BITS - 1) / WORD_BITS;
	for (size_t i = 0; i < n && i < MASK_WORDS; i++) {
		if (!vt_peek(&word, (const uint64_t *)mask + i, sizeof(word)))
			break;
		if (i == n - 1 && bits % WORD_BITS)
			word &= (1ull << bits % WORD_BITS) - 1;
		if (!i)
			first = word;
		else if (word)
			h = (h ^ word ^ i) * 0x9e3779b97f4a7c15u;
	}
	*rest = h ? h >> 34 | 1 : 0;
	return first;
}

/* The node mask is told by its first word; the others go into the upper half of its length. */
static long mbind_call(uint8_t flags, const long *a)
{
	uint64_t first = 0, rest = 0;
	if (a[3] && a[4] > 0)
		first = node_mask((const void *)a[3], (uint64_t)a[4] - 1, &rest);
	const uint64_t told[VT_MAX_ARGS] = {
		(uint64_t)a[0], (uint64_t)a[1], (uint64_t)a[2], first, (uint32_t)a[4] | rest << 32,
		(uint64_t)a[5]
	};
	return vt_call_told(VT_MBIND, flags, SYS_mbind, a, told);
}

struct pidfd_text {
	int fd;
	long pid;
	char text[256];
};

static void read_pidfd(void *arg)
{
	struct pidfd_text *p = arg;
	char path[80];
	struct vt_text t = { path, path + sizeof(path) - 1 };
	vt_text_str(&t, "/proc/");
	vt_text_u64(&t, vt.pid);
	vt_text_str(&t, "/task/");
	vt_text_u64(&t, vt_me()->tid);
	vt_text_str(&t, "/fdinfo/");
	vt_text_u64(&t, (uint64_t)p->fd);
	*t.p = '\0';
	if (vt_read_file(path, p->text, sizeof(p->text)) < 0)
		return;
	const char *at = strstr(p->text, "Pid:\t");
	if (at) {
		at += strlen("Pid:\t");
		p->pid = (long)vt_scan_dec(&at);
	}
}

static void read_pidfd_outside(void *arg)
{
	vt_outside(read_pidfd, arg);
}

/* The process behind a descriptor, before Linux 6.13: 0 when it cannot be told. */
static long pid_from_text(int fd)
{
	struct pidfd_text p = { .fd = fd };
	if (!vt_is_known(vt_me()))
		vt_thread_seen(vt_me());
	vt_locked(read_pidfd_outside, &p);
	return p.pid;
}

/* Whether a pidfd names this process. It is asked without opening anything where that can be. */
static bool is_own_pidfd(int fd, long advice)
{
	struct {
		uint64_t mask, cgroup;
		uint32_t pid, tgid;
		uint64_t more[5];
	} info = { .mask = 1 /* PIDFD_INFO_PID */ };
	bool remote = advice == MADV_WILLNEED || advice == MADV_COLD || advice == MADV_PAGEOUT ||
		      advice == MADV_COLLAPSE;
	if (fd == -10000 || fd == -10001) /* PIDFD_SELF_THREAD, PIDFD_SELF_THREAD_GROUP */
		return true;
	if (fd < 0)
		return false;
	if (atomic_load(&vt.sandboxed)) /* other advice is for oneself only */
		return !remote;
	long ret =
	    vt_sys3(SYS_ioctl, fd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, sizeof(info)), &info);
	long pid = ret == 0 ? (long)info.tgid : ret == -ENOTTY ? pid_from_text(fd) : 0;
	return pid && is_recorded(pid);
}

/*
 * One event for each range of the vector, as many as the kernel came to: it says how many bytes it
 * has done, in whole ranges. The one where it stopped has done 0 bytes; the error is the first's.
 */
static void tell_ranges(uint8_t flags, const struct iovec *v, size_t n, long advice, long ret)
{
	uint64_t left = ret > 0 ? (uint64_t)ret : 0, all = 0;
	for (size_t i = 0; i < n; i++) {
		uint64_t len = v[i].iov_len < MAX_BYTES - all ? v[i].iov_len : MAX_BYTES - all;
		uint64_t done = len <= left ? len : 0;
		const uint64_t told[VT_MAX_ARGS] = { (uint64_t)v[i].iov_base, len,
						     (uint64_t)advice };
		vt_drain_for_room();
		vt_push(VT_PROCESS_MADVISE, flags, told, ret < 0 ? ret : (long)done);
		all += len;
		left -= done;
		if (ret < 0 || done < len)
			return;
	}
}

static long advise_ranges(uint8_t flags, const long *a, size_t n)
{
	struct iovec v[8];
	const char *vector = (const char *)a[1];
	long ret = vt_sys6(SYS_process_madvise, a[0], a[1], a[2], a[3], a[4], a[5]);
	uint64_t left = ret > 0 ? (uint64_t)ret : 0;
	int saved = errno;
	for (size_t at = 0; at < n; at += sizeof(v) / sizeof(v[0])) {
		size_t some = n - at < sizeof(v) / sizeof(v[0]) ? n - at : sizeof(v) / sizeof(v[0]);
		uint64_t bytes = 0;
		if (!vt_peek(v, vector + at * sizeof(v[0]), some * sizeof(v[0])))
			break;
		for (size_t i = 0; i < some; i++)
			bytes += v[i].iov_len;
		tell_ranges(flags, v, some, a[3], ret < 0 ? ret : (long)left);
		if (ret < 0 || bytes > left)
			break;
		left -= bytes;
	}
	errno = saved;
	return ret;
}

static long process_madvise_call(uint8_t flags, const long *a)
{
	struct iovec first = { NULL, 0 };
	size_t n = (size_t)a[2];
	if (!atomic_load(&vt.on) || !is_own_pidfd((int)a[0], (int)a[3]))
		return vt_sys6(SYS_process_madvise, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (n > 1 && n <= MAX_RANGES)
		return advise_ranges(flags, a, n);
	if (n == 1)
		vt_peek(&first, (const void *)a[1], sizeof(first));
	const uint64_t told[VT_MAX_ARGS] = { (uint64_t)first.iov_base, first.iov_len,
					     (uint64_t)a[3] };
	return vt_call_told(VT_PROCESS_MADVISE, flags, SYS_process_madvise, a, told);
}

/* ioctl: only what userfaultfd does to areas is recorded. */
long vt_ioctl(uint8_t flags, long fd, long request, long arg)
{
	const long a[VT_MAX_ARGS] = { fd, request, arg };
	struct uffdio_register r = { 0 };
	bool on = (unsigned)request == UFFDIO_REGISTER;
	if (vt_likely(!on && (unsigned)request != UFFDIO_UNREGISTER))
		return vt_sys3(SYS_ioctl, fd, request, arg);
	vt_peek(&r, (const void *)arg,
		on ? offsetof(struct uffdio_register, ioctls) : sizeof(r.range));
	const uint64_t told[VT_MAX_ARGS] = { (uint64_t)fd, (unsigned)request, r.range.start,
					     r.range.len, r.mode };
	return vt_call_told(VT_IOCTL, flags, SYS_ioctl, a, told);
}

/* A call that is entered otherwise than with its own arguments, by number. */
long vt_indirect_call(uint8_t flags, long nr, const long *a)
{
	if (atomic_load(&vt.on) && vt_unlikely(!atomic_load(vt.fork_guard)))
		vt_after_fork();
	switch (nr) {
	case SYS_prctl:
		return prctl_call(flags, a);
	case SYS_mbind:
		return mbind_call(flags, a);
	case SYS_process_madvise:
		return process_madvise_call(flags, a);
	case SYS_personality:
		return personality_call(flags, a);
	case SYS_ioctl:
		return vt_ioctl(flags, a[0], a[1], a[2]);
	default:
		return limit(flags, nr, nr == SYS_prlimit64, a);
	}
}
