/*
 * confined.c - a program that takes rights away from itself, and then goes on working.
 *
 *   confined chroot|nobody|address|files|descriptors|none|no-open|killed-at-open|
 *            no-questions|browser|memory-only
 *
 * chroot DIR    changes its root to DIR
 * nobody        becomes another user
 * address       leaves itself 8 MiB more of address space, and runs into that
 * files         allows itself files of 4 KiB, and runs into that
 * descriptors   allows itself 5 descriptors, none none at all
 * no-open       has a seccomp filter that forbids every open; killed-at-open: that kills for it
 * no-questions  has one that kills it for asking what it has no need to know, forks and executes
 * browser       has one as browsers set: that kills it for mremap, for signalling others and for
 * most advice; maps more than a window of the trace takes memory-only   has one that kills it for
 * anything but a few calls
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "program.h"

static void map_some(void)
{
	for (int i = 0; i < 5000; i++) {
		char *p = map_anywhere(5 * PAGE);
		*p = 1;
		CHECK(!mprotect(p + PAGE, PAGE, PROT_READ) && !munmap(p, 5 * PAGE));
	}
}

static void limit(int resource, rlim_t value)
{
	CHECK(!setrlimit((__rlimit_resource_t)resource, &(struct rlimit){ value, value }));
}

static void address_space(void)
{
	unsigned long pages;
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(f && fscanf(f, "%lu", &pages) == 1 && !fclose(f));
	limit(RLIMIT_AS, pages * PAGE + (8UL << 20));
	say("16 MiB: %s\n",
	    mmap(NULL, 16UL << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		? strerror(errno)
		: "mapped");
}

static void file_size(void)
{
	char block[8192] = { 0 };
	FILE *f = tmpfile();
	CHECK(f && signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	limit(RLIMIT_FSIZE, 4096);
	say("wrote %zd\n", write(fileno(f), block, sizeof(block)));
	say("wrote %zd\n", write(fileno(f), block, sizeof(block)));
}

static void filter(const struct sock_filter *code, size_t n)
{
	struct sock_fprog program = { (unsigned short)n, (struct sock_filter *)code };
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	/* Are filters known? */
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
	map_some();
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

#define LOAD_NR           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define IF_NR(n, verdict) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##n, 0, 1), RETURN(verdict)
#define LOAD_ARG(n)       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define RETURN(verdict)   BPF_STMT(BPF_RET | BPF_K, verdict)
#define REFUSE            (SECCOMP_RET_ERRNO | EPERM)

static void no_open(uint32_t verdict)
{
	const struct sock_filter code[] = {
		LOAD_NR,
		IF_NR(openat, verdict),
#ifdef SYS_open
		IF_NR(open, verdict),
#endif
		RETURN(SECCOMP_RET_ALLOW),
	};
	filter(code, sizeof(code) / sizeof(code[0]));
	CHECK(verdict != REFUSE || (open("/dev/null", O_RDONLY) == -1 && errno == EPERM));
}

static void no_questions(void)
{
	static const struct sock_filter code[] = {
		LOAD_NR,
		IF_NR(faccessat, SECCOMP_RET_KILL_PROCESS),
		IF_NR(readlinkat, SECCOMP_RET_KILL_PROCESS),
		IF_NR(linkat, SECCOMP_RET_KILL_PROCESS),
		IF_NR(ftruncate, SECCOMP_RET_KILL_PROCESS),
		IF_NR(process_vm_readv, SECCOMP_RET_KILL_PROCESS),
		IF_NR(getppid, SECCOMP_RET_KILL_PROCESS),
		RETURN(SECCOMP_RET_ALLOW),
	};
	int status;

	filter(code, sizeof(code) / sizeof(code[0]));
	CHECK(execl("/nonexistent", "nonexistent", NULL) < 0 && errno == ENOENT);
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (!pid) {
			map_some();
			execl("/nonexistent", "nonexistent", NULL);
			if (i)
				execl("/bin/true", "true", NULL);
			_exit(3);
		}
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		say("child %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	}
}

/* The call is allowed if an argument has this value. */
#define ONLY_WITH(n, arg, value)                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##n, 0, 4), LOAD_ARG(arg),                         \
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), RETURN(SECCOMP_RET_ALLOW),           \
	    RETURN(SECCOMP_RET_KILL_PROCESS)

static void browser(void)
{
	const struct sock_filter code[] = {
		LOAD_NR,
		IF_NR(mremap, SECCOMP_RET_KILL_PROCESS),
		ONLY_WITH(tgkill, 0, (uint32_t)getpid()),
		ONLY_WITH(madvise, 2, MADV_DONTNEED),
		RETURN(SECCOMP_RET_ALLOW),
	};
	filter(code, sizeof(code) / sizeof(code[0]));
	for (int i = 0; i < 8; i++)
		map_some();
}

static void memory_only(void)
{
	static const struct sock_filter code[] = {
		LOAD_NR,
		IF_NR(mmap, SECCOMP_RET_ALLOW),
		IF_NR(munmap, SECCOMP_RET_ALLOW),
		IF_NR(mprotect, SECCOMP_RET_ALLOW),
		IF_NR(write, SECCOMP_RET_ALLOW),
		IF_NR(exit_group, SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_KILL_PROCESS),
	};
	filter(code, sizeof(code) / sizeof(code[0]));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	map_some();
	if (!strcmp(mode, "chroot"))
		CHECK(argc > 2 && !chroot(argv[2]) && !chdir("/"));
	else if (!strcmp(mode, "nobody"))
		CHECK(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534));
	else if (!strcmp(mode, "address"))
		address_space();
	else if (!strcmp(mode, "files"))
		file_size();
	else if (!strcmp(mode, "descriptors"))
		limit(RLIMIT_NOFILE, 5);
	else if (!strcmp(mode, "none"))
		limit(RLIMIT_NOFILE, 0);
	else if (!strcmp(mode, "no-open"))
		no_open(REFUSE);
	else if (!strcmp(mode, "killed-at-open"))
		no_open(SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(mode, "no-questions"))
		no_questions();
	else if (!strcmp(mode, "browser"))
		browser();
	else if (!strcmp(mode, "memory-only"))
		memory_only();
	else
		CHECK(!"a mode that is known");
	map_some();
	say("done\n");
	return 7;
}
