/*
 * test_call_text.c - calls, flags and results as strace 6.1 prints them.
 *
 * The expected lines were taken from strace's own output for the same calls.
 *
 * SPDX-License-Identifier: MIT
 */
#include "call_text.h"
#include "unit.h"

static const struct {
	struct vt_event event;
	const char *text;
} lines[] = {
	{ { .kind = VT_MMAP, .a = { 0, 8192, 3, 0x22, -1 }, .ret = 0x7fcb4df55000 },
	  "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = "
	  "0x7fcb4df55000" },
	{ { .kind = VT_MMAP,
	    .a = { 0x7fcb4dd8e000, 1400832, 5, 0x812, 3, 0x26000 },
	    .ret = 0x7fcb4dd8e000 },
	  "mmap(0x7fcb4dd8e000, 1400832, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|"
	  "MAP_DENYWRITE, 3, 0x26000) = 0x7fcb4dd8e000" },
	{ { .kind = VT_MMAP, .a = { 0x20000000, 4096, 0, 0xc011, 3, 0 }, .ret = 0x20000000 },
	  "mmap(0x20000000, 4096, PROT_NONE, MAP_SHARED|MAP_FIXED|MAP_NORESERVE|MAP_POPULATE, 3, "
	  "0) = 0x20000000" },
	{ { .kind = VT_MMAP, .a = { 0, 4096, 0x1000005, 0x80003, 3, 0x1234000 }, .ret = -95 },
	  "mmap(NULL, 4096, PROT_READ|PROT_EXEC|PROT_GROWSDOWN, MAP_SHARED_VALIDATE|MAP_SYNC, 3, "
	  "0x1234000) = -1 EOPNOTSUPP (Operation not supported)" },
	{ { .kind = VT_MMAP, .a = { 0, 2097152, 1, 0x54040022, -1, 0 }, .ret = -12 },
	  "mmap(NULL, 2097152, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|"
	  "21<<MAP_HUGE_SHIFT, -1, 0) = -1 ENOMEM (Cannot allocate memory)" },
	{ { .kind = VT_MMAP, .a = { 0, 4096, 1, 0x20, -1, 0 }, .ret = -22 },
	  "mmap(NULL, 4096, PROT_READ, MAP_FILE|MAP_ANONYMOUS, -1, 0) = -1 EINVAL (Invalid "
	  "argument)" },
	{ { .kind = VT_MMAP, .a = { 0, 4096, 0x100, 0x14130962, -2, 0 }, .ret = 0 },
	  "mmap(NULL, 4096, 0x100 /* PROT_??? */, MAP_PRIVATE|MAP_ANONYMOUS|MAP_32BIT|"
	  "MAP_NONBLOCK|MAP_GROWSDOWN|MAP_DENYWRITE|MAP_STACK|MAP_FIXED_NOREPLACE|"
	  "5<<MAP_HUGE_SHIFT, -2, 0) = 0" },
	{ { .kind = VT_MMAP, .a = { 0, 0, 0, 0x8000004, -1, 0 }, .ret = -9 },
	  "mmap(NULL, 0, PROT_NONE, 0x4 /* MAP_??? */|2<<MAP_HUGE_SHIFT, -1, 0) = -1 EBADF (Bad "
	  "file descriptor)" },
	{ { .kind = VT_MMAP, .a = { 0, -1, 0x101, 0x200022, -1, 0xfffffffffffff000 }, .ret = -12 },
	  "mmap(NULL, 18446744073709551615, PROT_READ|0x100, MAP_PRIVATE|MAP_ANONYMOUS|0x200000, "
	  "-1, 0xfffffffffffff000) = -1 ENOMEM (Cannot allocate memory)" },
	{ { .kind = VT_MUNMAP, .a = { 0x7fcb4df53000, 4096 } },
	  "munmap(0x7fcb4df53000, 4096) = 0" },
	{ { .kind = VT_MPROTECT, .a = { 0x7fcb4df54000, 4096, 0x2004009 }, .ret = -22 },
	  "mprotect(0x7fcb4df54000, 4096, PROT_READ|PROT_SEM|PROT_GROWSUP|0x4000) = -1 EINVAL "
	  "(Invalid argument)" },
	{ { .kind = VT_PKEY_MPROTECT, .a = { 0x1000, 4096, 1, -1 }, .ret = -12 },
	  "pkey_mprotect(0x1000, 4096, PROT_READ, -1) = -1 ENOMEM (Cannot allocate memory)" },
	{ { .kind = VT_MADVISE, .a = { 0x1000, 4096, 4 } },
	  "madvise(0x1000, 4096, MADV_DONTNEED) = 0" },
	{ { .kind = VT_MADVISE, .a = { 0x1000, 4096, 0xffffffff }, .ret = -22 },
	  "madvise(0x1000, 4096, 0xffffffff /* MADV_??? */) = -1 EINVAL (Invalid argument)" },
	{ { .kind = VT_BRK, .a = { 0 }, .ret = 0x55648c2ad000 }, "brk(NULL) = 0x55648c2ad000" },
	{ { .kind = VT_BRK, .a = { 1 }, .ret = 0x55648c2ae000 }, "brk(0x1) = 0x55648c2ae000" },
	{ { .kind = VT_MREMAP, .a = { 0x7fcb4df54000, 4096, 8192, 1 }, .ret = 0x7fcb4df4e000 },
	  "mremap(0x7fcb4df54000, 4096, 8192, MREMAP_MAYMOVE) = 0x7fcb4df4e000" },
	{ { .kind = VT_MREMAP, .a = { 0x7fcb4df54000, 4096, 8192, 3, 0x30000000 }, .ret = -14 },
	  "mremap(0x7fcb4df54000, 4096, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x30000000) = -1 "
	  "EFAULT (Bad address)" },
	{ { .kind = VT_MREMAP, .a = { 1, 1, 1, 2, 5 }, .ret = -22 },
	  "mremap(0x1, 1, 1, MREMAP_FIXED) = -1 EINVAL (Invalid argument)" },
	{ { .kind = VT_MREMAP, .a = { 1, 1, 1, 16 }, .ret = -22 },
	  "mremap(0x1, 1, 1, 0x10 /* MREMAP_??? */) = -1 EINVAL (Invalid argument)" },
	{ { .kind = VT_REMAP_FILE_PAGES, .a = { 0x1000, 4096, 0, 3, 0x10000 }, .ret = -22 },
	  "remap_file_pages(0x1000, 4096, PROT_NONE, 3, MAP_FILE|MAP_NONBLOCK) = -1 EINVAL "
	  "(Invalid argument)" },
	{ { .kind = VT_SHMAT, .a = { 2, 0, 0, 8192 }, .ret = 0x7fcb4df53000 },
	  "shmat(2, NULL, 0) = 0x7fcb4df53000" },
	{ { .kind = VT_SHMAT, .a = { 2, 0x40000000, 0xf000, 0 }, .ret = 0x40000000 },
	  "shmat(2, 0x40000000, SHM_RDONLY|SHM_RND|SHM_REMAP|SHM_EXEC) = 0x40000000" },
	{ { .kind = VT_SHMAT, .a = { 2, 0x50000001, 1 }, .ret = -22 },
	  "shmat(2, 0x50000001, 0x1 /* SHM_??? */) = -1 EINVAL (Invalid argument)" },
	{ { .kind = VT_MLOCK2, .a = { 0x1000, 4096, 0 } }, "mlock2(0x1000, 4096, 0) = 0" },
	{ { .kind = VT_MLOCK2, .a = { 0x1000, 4096, 6 }, .ret = -22 },
	  "mlock2(0x1000, 4096, 0x6 /* MLOCK_??? */) = -1 EINVAL (Invalid argument)" },
	{ { .kind = VT_MLOCKALL, .a = { 7 } }, "mlockall(MCL_CURRENT|MCL_FUTURE|MCL_ONFAULT) = 0" },
	{ { .kind = VT_MUNLOCKALL }, "munlockall() = 0" },
	{ { .kind = VT_MSYNC, .a = { 0x1000, 4096, 3 } },
	  "msync(0x1000, 4096, MS_ASYNC|MS_INVALIDATE) = 0" },
	{ { .kind = VT_MSYNC, .a = { 0x1000, 4096, 0 } }, "msync(0x1000, 4096, 0) = 0" },
	{ { .kind = VT_MBIND, .a = { 0x1000, 4096, 0, 0, 0, 0 }, .ret = -14 },
	  "mbind(0x1000, 4096, MPOL_DEFAULT, NULL, 0, 0) = -1 EFAULT (Bad address)" },
	{ { .kind = VT_MBIND, .a = { 1, 1, 0x6003, 0, 0, 8 }, .ret = -22 },
	  "mbind(0x1, 1, MPOL_INTERLEAVE|MPOL_F_RELATIVE_NODES|MPOL_F_NUMA_BALANCING, NULL, 0, 0x8 "
	  "/* MPOL_??? */) = -1 EINVAL (Invalid argument)" },
	{ { .kind = VT_PRCTL, .a = { 0x53564d41, 0, 0x1000, 4096, 0 }, .ret = -22 },
	  "prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x1000, 4096, NULL) = -1 EINVAL (Invalid "
	  "argument)" },
	{ { .kind = VT_PRCTL, .a = { 35, 7, 0x1000, 0, 0 }, .ret = -1 },
	  "prctl(PR_SET_MM, PR_SET_MM_BRK, 0x1000, 0, 0) = -1 EPERM (Operation not permitted)" },
	{ { .kind = VT_PRCTL, .a = { 41, 1, 0, 0, 0 } },
	  "prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) = 0" },
	{ { .kind = VT_SETRLIMIT, .a = { 9, 8192 * 1024, UINT64_MAX, 0 } },
	  "setrlimit(RLIMIT_AS, {rlim_cur=8192*1024, rlim_max=RLIM_INFINITY}) = 0" },
	{ { .kind = VT_SETRLIMIT, .a = { 3, 8192 * 1024, 1000, 1 }, .ret = -22 },
	  "prlimit64(0, RLIMIT_STACK, {rlim_cur=8192*1024, rlim_max=1000}, NULL) = -1 EINVAL "
	  "(Invalid argument)" },
	{ { .kind = VT_PERSONALITY, .a = { 0x440000 }, .ret = 0 },
	  "personality(PER_LINUX|ADDR_NO_RANDOMIZE|READ_IMPLIES_EXEC) = 0 (PER_LINUX)" },
	{ { .kind = VT_PERSONALITY, .a = { 0xffffffff }, .ret = 0x200008 },
	  "personality(0xffffffff) = 0x200008 (PER_LINUX32|ADDR_COMPAT_LAYOUT)" },
	{ { .kind = VT_IOCTL, .a = { 4, 0xc020aa00, 0x30024000, 0x2000, 3 } },
	  "ioctl(4, UFFDIO_REGISTER, {range={start=0x30024000, len=0x2000}, "
	  "mode=UFFDIO_REGISTER_MODE_MISSING|UFFDIO_REGISTER_MODE_WP}) = 0" },
	{ { .kind = VT_IOCTL, .a = { 4, 0x8010aa01, 0x30024000, 0x1000 }, .ret = -22 },
	  "ioctl(4, UFFDIO_UNREGISTER, {start=0x30024000, len=0x1000}) = -1 EINVAL (Invalid "
	  "argument)" },
	{ { .kind = VT_FORK, .ret = 18620 }, "fork() = 18620" },
	{ { .kind = VT_CLONE, .a = { 0x4111 }, .ret = 18622 },
	  "clone(flags=CLONE_VM|CLONE_VFORK|SIGCHLD) = 18622" },
	{ { .kind = VT_EXIT, .a = { 300 } }, "exit_group(300) = ?" },
	{ { .kind = VT_MUNMAP, .a = { 0x1000, 4096 }, .flags = VT_EV_UNDONE },
	  "munmap(0x1000, 4096) = ? <unfinished>" },
};

static void calls_look_as_in_strace(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		char buf[VT_CALL_TEXT] = "";
		struct vt_text t = { buf, 0, sizeof(buf) };
		vt_text_call(&t, &lines[i].event, NULL);
		vt_text_add(&t, " = ");
		vt_text_result(&t, &lines[i].event);
		assert_string_equal(buf, lines[i].text);
	}
}

static void a_name_that_is_known_is_quoted(void **state)
{
	char buf[VT_CALL_TEXT] = "";
	struct vt_text t = { buf, 0, sizeof(buf) };
	const struct vt_event e = { .kind = VT_PRCTL, .a = { 0x53564d41, 0, 0x30018000, 4096, 1 } };
	(void)state;
	vt_text_call(&t, &e, "a \"b\"");
	assert_string_equal(
	    buf, "prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, 0x30018000, 4096, \"a \\\"b\\\"\")");
}

static void assert_remark(const struct vt_event *e, const char *expected)
{
	char buf[VT_CALL_TEXT] = "";
	struct vt_text t = { buf, 0, sizeof(buf) };

	assert_true(vt_is_remark(e));
	vt_text_call(&t, e, NULL);
	assert_string_equal(buf, expected);
}

static void remarks_look_like_signals_in_strace(void **state)
{
	(void)state;
	assert_remark(&(struct vt_event){ .kind = VT_FAULT, .a = { 0x10, 11, 1 } },
		      "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---");
	assert_remark(&(struct vt_event){ .kind = VT_FAULT, .a = { 0, 7, 2 } },
		      "--- SIGBUS {si_signo=SIGBUS, si_code=BUS_ADRERR, si_addr=NULL} ---");
	assert_remark(&(struct vt_event){ .kind = VT_FAULT, .a = { 0, 99, -7 } },
		      "--- 99 {si_signo=99, si_code=-7} ---");
	assert_remark(&(struct vt_event){ .kind = VT_FAULT, .a = { 0, 6, (uint64_t)-6 } },
		      "--- SIGABRT {si_signo=SIGABRT, si_code=SI_TKILL} ---");
	assert_remark(&(struct vt_event){ .kind = VT_UNSEEN_UNMAP, .a = { 0x1000, 4096 } },
		      "--- unseen_unmap {addr=0x1000, length=4096} /* no call seen */ ---");
	assert_remark(&(struct vt_event){ .kind = VT_UNSEEN_MAP,
					  .a = { 0x1000, 4096, 3, 2, 0 },
					  .aux = VT_UNSEEN_STACK_GROWTH },
		      "--- unseen_map {addr=0x1000, length=4096, prot=PROT_READ|PROT_WRITE, "
		      "flags=MAP_PRIVATE, offset=0} /* the kernel grew a stack */ ---");
}

static void every_argument_has_a_name(void **state)
{
	(void)state;
	for (int kind = 0; kind < VT_KIND_COUNT; kind++)
		for (int i = 0; i < VT_MAX_ARGS; i++)
			assert_int_equal(vt_kinds[kind].arg[i] != VT_ARG_NONE,
					 vt_arg_name((uint8_t)kind, i) != NULL);
}

static void long_text_is_cut(void **state)
{
	char buf[16];
	struct vt_text t = { buf, 0, sizeof(buf) };

	(void)state;
	for (int i = 0; i < 10; i++)
		vt_text_add(&t, "abc%d", i);
	assert_string_equal(buf, "abc0abc1abc2abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_look_as_in_strace),
		cmocka_unit_test(a_name_that_is_known_is_quoted),
		cmocka_unit_test(remarks_look_like_signals_in_strace),
		cmocka_unit_test(every_argument_has_a_name),
		cmocka_unit_test(long_text_is_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
