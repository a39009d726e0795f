/*
 * forker.c - new processes in every way; each maps a number of pages that tells it from the others.
 *
 *   forker fork|nested|vfork|spawn|raw|asm|clone3|system|popen|daemon|exec
 *   forker shared    a clone with CLONE_VM that is no thread, while its parent maps and unmaps
 *   forker outlive   such a clone whose making thread ends before it maps
 *   forker survive   the same, and it maps on after the process has ended
 *   forker killed N  N times a vfork child that calls all the time and is killed after a moment
 *   forker handler   fork by a system call of its own, in a handler that interrupts a mapping call
 *   forker threads   forks while other threads map, the last way round the C library
 *   forker empty     exec with an empty environment, after one that fails
 *   forker walk      finds the auxiliary vector behind the environment, as start-up code does
 *   forker many N M  N short-lived children, M at a time, each with an exit status of its own
 *
 * Pages: parent 11 before and 12 after, child 21, grandchild 31, the image after exec 41.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "program.h"

extern char **environ;

static void map_pages(size_t pages)
{
	char *p = map_anywhere(pages * PAGE);

	p[0] = 1;
}

static void wait_for(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_child(int depth)
{
	pid_t pid = fork();

	if (!pid) {
		map_pages(depth == 1 ? 21 : 31);
		exit(0);
	}
	wait_for(pid);
}

static void fork_nested(void)
{
	pid_t pid = fork();

	if (!pid) {
		map_pages(21);
		fork_child(2);
		exit(0);
	}
	wait_for(pid);
}

/* The child of vfork runs in the parent's memory: its mapping stays. */
static void vfork_child(void)
{
	pid_t pid = vfork();

	if (!pid) {
		if (mmap(NULL, 21 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		    MAP_FAILED)
			_exit(1);
		_exit(0);
	}
	wait_for(pid);
}

static void spawn_child(char *self)
{
	char *args[] = { self, "image", NULL };
	pid_t pid;

	CHECK(!posix_spawn(&pid, self, NULL, NULL, args, environ));
	wait_for(pid);
}

/* fork as a program does it that goes round the C library. */
static void raw_child(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid) {
		map_pages(21);
		exit(0);
	}
	wait_for(pid);
}

static void clone3_child(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (!pid) {
		map_pages(21);
		exit(0);
	}
	wait_for(pid);
}

/* fork as nobody can see it but the kernel. */
static pid_t unseen_fork(void)
{
	long ret;
#if defined(__x86_64__)
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(SYS_clone), "D"(SIGCHLD), "S"(0), "d"(0)
			 : "rcx", "r11", "memory");
#else
	ret = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
	return (pid_t)ret;
}

static void asm_child(void)
{
	pid_t pid = unseen_fork();

	if (!pid) {
		map_pages(21);
		exit(0);
	}
	wait_for(pid);
}

static void by_the_shell(const char *self, int read_output)
{
	char command[4200];

	snprintf(command, sizeof(command), "exec %s image", self);
	if (read_output) {
		FILE *f = popen(command, "r");
		CHECK(f && fgetc(f) == EOF && pclose(f) == 0);
	} else {
		CHECK(system(command) == 0);
	}
}

/* Twice forked, in a session of its own, without a descriptor; a pipe tells when it is done. */
static void make_daemon(void)
{
	int done[2];
	char byte;

	CHECK(!pipe(done));
	pid_t pid = fork();
	if (!pid) {
		if (setsid() < 0)
			_exit(1);
		if (fork())
			_exit(0);
		for (int fd = 0; fd < 1024; fd++)
			if (fd != done[1])
				close(fd);
		map_pages(21);
		exit(0);
	}
	wait_for(pid);
	close(done[1]);
	CHECK(read(done[0], &byte, 1) == 0);
}

static _Atomic int sharing, shared_pid;

static int map_shared(void *arg)
{
	long times = (long)arg;

	while (!atomic_load(&sharing))
		;
	for (long i = 0; i < times; i++) {
		void *p = mmap(NULL, 21 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || munmap(p, 21 * PAGE))
			_exit(1);
	}
	if (times == 1) {
		atomic_store(&shared_pid, 1);
		return 0;
	}
	_exit(0);
}

static pid_t start_shared(long times)
{
	char *stack = map_anywhere(64 * PAGE);
	pid_t pid = clone(map_shared, stack + 64 * PAGE, CLONE_VM | SIGCHLD, (void *)times);

	CHECK(pid > 0);
	return pid;
}

static void share_memory(void)
{
	pid_t pid = start_shared(500);

	atomic_store(&sharing, 1);
	for (int i = 0; i < 500; i++)
		CHECK(!munmap(map_anywhere(13 * PAGE), 13 * PAGE));
	wait_for(pid);
}

static void *share_and_end(void *arg)
{
	(void)arg;
	atomic_store(&shared_pid, start_shared(200));
	return NULL;
}

static void outlive(void)
{
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, share_and_end, NULL) && !pthread_join(thread, NULL));
	atomic_store(&sharing, 1);
	wait_for(atomic_load(&shared_pid));
}

static int map_and_stay(void *arg)
{
	struct timespec pause = { 0, 1000000 };

	(void)arg;
	map_shared((void *)1);
	for (int i = 0; i < 200; i++) {
		nanosleep(&pause, NULL);
		void *p = mmap(NULL, 21 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || munmap(p, 21 * PAGE))
			_exit(1);
	}
	if (write(STDOUT_FILENO, "survived\n", 9) != 9)
		_exit(1);
	_exit(0);
}

static void end_before_child(void)
{
	char *stack = map_anywhere(64 * PAGE);

	CHECK(clone(map_and_stay, stack + 64 * PAGE, CLONE_VM | SIGCHLD, NULL) > 0);
	atomic_store(&sharing, 1);
	while (!atomic_load(&shared_pid))
		;
}

/* Killed after that time, while it may be anywhere, its parent being held in vfork. */
__attribute__((noinline)) static pid_t vfork_for(long ns)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	const struct itimerspec once = { .it_value = { 0, ns } };
	int timer;
	pid_t pid = vfork();

	if (pid)
		return pid;
	if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) ||
	    syscall(SYS_timer_settime, timer, 0, &once, NULL))
		_exit(1);
	for (;;) {
		char *p = mmap(NULL, 21 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || munmap(p, 21 * PAGE))
			_exit(1);
	}
}

static void kill_children(long n)
{
	int status;

	for (long i = 0; i < n; i++) {
		pid_t pid = vfork_for(300000 + i * 377000 % 5000000);
		CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		for (int j = 0; j < 50; j++)
			CHECK(!munmap(map_anywhere(13 * PAGE), 13 * PAGE));
	}
}

static volatile sig_atomic_t handled, returned;

static void fork_in_handler(int sig)
{
	(void)sig;
	if (handled >= 20)
		return;
	handled++;
	pid_t pid = handled % 3 ? unseen_fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		returned = handled % 2;
		if (returned)
			return;
		map_pages(21);
		_exit(0);
	}
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		_exit(98);
}

/* Every other child comes back into the wrapper that was interrupted. */
static void fork_from_handler(void)
{
	struct sigaction action = { .sa_handler = fork_in_handler, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, 3000 }, { 0, 3000 } };

	CHECK(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &every, NULL));
	/* so large that most of the time is spent in the two calls */
	while (handled < 20 && !returned) {
		char *p = mmap(NULL, 1024 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		CHECK(p != MAP_FAILED && !munmap(p, 1024 * PAGE));
	}
	if (returned) {
		map_pages(21);
		_exit(0);
	}
	CHECK(!setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
}

static _Atomic int stop;
static volatile int zero;

/* Each way down is a stack that nobody has seen before. */
static int map_on_the_right(uint32_t way);

__attribute__((noinline)) static int map_on_the_left(uint32_t way)
{
	if (way == 1)
		return munmap(map_anywhere(13 * PAGE), 13 * PAGE) + zero;
	return (way & 1 ? map_on_the_right(way >> 1) : map_on_the_left(way >> 1)) + zero;
}

__attribute__((noinline)) static int map_on_the_right(uint32_t way)
{
	if (way == 1)
		return munmap(map_anywhere(13 * PAGE), 13 * PAGE) + zero;
	return (way & 1 ? map_on_the_right(way >> 1) : map_on_the_left(way >> 1)) + zero;
}

static void *map_all_the_time(void *arg)
{
	uint32_t way = (uint32_t)(uintptr_t)arg;

	while (!atomic_load(&stop)) {
		way = way * 1664525 + 1013904223;
		CHECK(!map_on_the_left(1u << 16 | way >> 16));
	}
	return NULL;
}

static void fork_among_threads(void)
{
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK(!pthread_create(&threads[i], NULL, map_all_the_time, (void *)(i + 1L)));
	for (int i = 0; i < 24; i++) {
		pid_t pid = i % 3 == 0   ? fork()
			    : i % 3 == 1 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
					 : unseen_fork();
		if (!pid) {
			map_pages(21);
			for (uint32_t way = 0; way < 200; way++)
				CHECK(!map_on_the_left(1u << 9 | way));
			_exit(0);
		}
		wait_for(pid);
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < 3; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

static void exec_with_nothing(char *self)
{
	char *args[] = { self, "image", NULL }, *none[] = { NULL };

	CHECK(execve("/nonexistent/program", args, none) < 0 && errno == ENOENT);
	char *torn[] = { (char *)8, NULL };
	CHECK(syscall(SYS_execve, 8, args, none) < 0 && errno == EFAULT);
	CHECK(syscall(SYS_execve, self, args, 8) < 0 && errno == EFAULT);
	CHECK(syscall(SYS_execve, self, args, torn) < 0 && errno == EFAULT);
	execve(self, args, none);
	CHECK(0);
}

static unsigned long page_size_behind(char **list)
{
	while (*list)
		list++;
	unsigned long *v = (unsigned long *)(list + 1);
	while (v[0] && v[0] != AT_PAGESZ)
		v += 2;
	return v[0] ? v[1] : 0;
}

static void walk(int argc, char **argv, char **envp)
{
	size_t n = 0;

	while (envp[n])
		n++;
	say("%zu variables, page size %lu, from the arguments %lu\n", n, page_size_behind(environ),
	    page_size_behind(argv + argc + 1));
	CHECK(envp == environ);
}

static void many(long n, long at_a_time)
{
	long started = 0, ended = 0, sum = 0, expected = 0;

	while (ended < n) {
		while (started < n && started - ended < at_a_time) {
			pid_t pid = fork();
			CHECK(pid >= 0);
			if (!pid) {
				map_pages(21);
				_exit((int)(started % 100));
			}
			expected += started++ % 100;
		}
		int status;
		CHECK(wait(&status) > 0 && WIFEXITED(status));
		sum += WEXITSTATUS(status);
		ended++;
	}
	CHECK(sum == expected);
}

int main(int argc, char **argv, char **envp)
{
	const char *mode = argc > 1 ? argv[1] : "fork";

	if (!strcmp(mode, "image")) {
		map_pages(41);
		return 0;
	}
	map_pages(11);
	if (!strcmp(mode, "fork"))
		fork_child(1);
	else if (!strcmp(mode, "nested"))
		fork_nested();
	else if (!strcmp(mode, "vfork"))
		vfork_child();
	else if (!strcmp(mode, "spawn"))
		spawn_child(argv[0]);
	else if (!strcmp(mode, "raw"))
		raw_child();
	else if (!strcmp(mode, "asm"))
		asm_child();
	else if (!strcmp(mode, "clone3"))
		clone3_child();
	else if (!strcmp(mode, "system") || !strcmp(mode, "popen"))
		by_the_shell(argv[0], !strcmp(mode, "popen"));
	else if (!strcmp(mode, "daemon"))
		make_daemon();
	else if (!strcmp(mode, "shared"))
		share_memory();
	else if (!strcmp(mode, "outlive"))
		outlive();
	else if (!strcmp(mode, "survive"))
		end_before_child();
	else if (!strcmp(mode, "killed"))
		kill_children(arg_number(argc, argv, 2, 10));
	else if (!strcmp(mode, "handler"))
		fork_from_handler();
	else if (!strcmp(mode, "threads"))
		fork_among_threads();
	else if (!strcmp(mode, "walk"))
		walk(argc, argv, envp);
	else if (!strcmp(mode, "many"))
		many(arg_number(argc, argv, 2, 100), arg_number(argc, argv, 3, 10));
	else
		CHECK(!strcmp(mode, "exec") || !strcmp(mode, "empty"));
	map_pages(12);
	say("%s done\n", mode);
	if (!strcmp(mode, "exec"))
		execl(argv[0], argv[0], "image", (char *)NULL);
	if (!strcmp(mode, "empty"))
		exec_with_nothing(argv[0]);
	return 0;
}
