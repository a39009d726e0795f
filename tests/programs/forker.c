/*
 * forker.c - new processes in every way; each maps a number of pages that tells it from the others.
 *
 *   forker fork|nested|vfork|spawn|raw|exec
 *
 * Pages: parent 11 before and 12 after, child 21, grandchild 31, the image after exec 41.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
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

int main(int argc, char **argv)
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
	else
		CHECK(!strcmp(mode, "exec"));
	map_pages(12);
	say("%s done\n", mode);
	if (!strcmp(mode, "exec"))
		execl(argv[0], argv[0], "image", (char *)NULL);
	return 0;
}
