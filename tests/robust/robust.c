/*
 * robust.c - damaged traces must end in a clean exit status, never in a crash.
 *
 *   robust cut-closed, cut-killed  a trace, cut at every byte of its last 4 KiB
 *   robust change  1,000 traces with random bytes changed; half of them under valid checksums
 *
 * The subcommands run in a child. Each must end by itself within 10 seconds, with exit
 * status 0, 1 or 2 and at most one line on stderr; a sanitizer's report breaks each of these. The
 * seed is printed, and taken from TEST_SEED if that is set.
 *
 * SPDX-License-Identifier: MIT
 */
#include "commands.h"
#include "make_real.h"
#include "mutate.h"
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT 10
#define CUT_BYTES  4096
#define CHANGES    1000

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arg; /* behind the trace */
} commands[] = {
	{ "dump", vt_cmd_dump, "--format=json" },
	{ "maps", vt_cmd_maps, "--births" },
	{ "verify", vt_cmd_verify, NULL },
	{ "report", vt_cmd_report, NULL },
	{ "reuse", vt_cmd_reuse, "--format=json" },
	{ "why", vt_cmd_why, "0x7ffff7ff0000" },
	{ "merges", vt_cmd_merges, "--format=json" },
	{ "whatif", vt_cmd_whatif, "--rlimit-as=1M" },
	{ "seal", vt_cmd_seal, NULL }, /* last: it may change the file */
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static unsigned failures;

/* Stands behind each subcommand's stderr, before its exit status. */
#define MARK '\1'

/* Run all subcommands in this child, stdout thrown away, stderr to fd. */
static _Noreturn void child(const char *path, int fd)
{
	int null = open("/dev/null", O_WRONLY);

	dup2(null, 1);
	dup2(fd, 2);
	for (size_t i = 0; i < N_COMMANDS; i++) {
		char *argv[] = { (char *)commands[i].name, (char *)path, (char *)commands[i].arg,
				 NULL };
		alarm(TIME_LIMIT);
		optind = 1;
		int status = commands[i].run(commands[i].arg ? 3 : 2, argv);
		fprintf(stderr, "%c%c", MARK, '0' + status);
	}
	_exit(0);
}

/* Everything that the children say; what does not fit is wrong anyway. */
static size_t run_child(const char *path, char *text, size_t size, int *status)
{
	size_t n = 0;
	ssize_t got;
	int fd[2];

	if (pipe(fd)) {
		perror("pipe");
		exit(99);
	}
	fflush(NULL);
	pid_t pid = fork();
	if (!pid)
		child(path, fd[1]);
	close(fd[1]);
	while (n < size - 1 && (got = read(fd[0], text + n, size - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	close(fd[0]);
	waitpid(pid, status, 0);
	return n;
}

/* Run the subcommands on the trace at path; what names it in a complaint. */
static void run(const char *path, const char *what)
{
	char text[16384], *at = text;
	int status;

	run_child(path, text, sizeof(text), &status);
	for (size_t i = 0; i < N_COMMANDS; i++) {
		char *mark = strchr(at, MARK);
		if (!mark) {
			failures++;
			printf("%s: %s: status 0x%x\n%s\n", what, commands[i].name,
			       (unsigned)status, at);
			return;
		}
		*mark = 0;
		char *end = strchr(at, '\n');
		bool one_line = !*at || (end && !end[1]);
		/* a line and exit status 2 come together */
		if (mark[1] < '0' || mark[1] > '2' || !one_line || (mark[1] == '2') != (*at != 0)) {
			failures++;
			printf("%s: %s: exit status %c\n%s\n", what, commands[i].name, mark[1], at);
		}
		at = mark + 2;
	}
}

static void cut(const char *dir, bool live)
{
	char path[512], copy[512], what[128];

	snprintf(path, sizeof(path), "%s/whole.vmt", dir);
	snprintf(copy, sizeof(copy), "%s/cut.vmt", dir);
	make_real(path, 7, 200, live);
	struct bytes whole = bytes_read(path);
	run(path, "whole");
	size_t from = whole.n > CUT_BYTES ? whole.n - CUT_BYTES : 0;
	for (size_t n = whole.n - 1; n >= from && n < whole.n; n--) {
		snprintf(what, sizeof(what), "%s trace cut at byte %zu of %zu",
			 live ? "killed" : "closed", n, whole.n);
		bytes_write(copy, whole.p, n);
		run(copy, what);
	}
	free(whole.p);
	unlink(path);
	unlink(copy);
}

static void change(const char *dir, uint64_t seed)
{
	char path[512], what[64];

	snprintf(path, sizeof(path), "%s/changed.vmt", dir);
	make_real(path, 11, 300, false);
	struct bytes closed = bytes_read(path);
	make_real(path, 12, 300, true);
	struct bytes killed = bytes_read(path);
	for (unsigned i = 0; i < CHANGES; i++) {
		struct bytes *from = i & 1 ? &killed : &closed;
		snprintf(what, sizeof(what), "seed %llu, change %u", (unsigned long long)seed, i);
		struct bytes changed =
		    i & 2 ? mutate_inside(from, seed + i) : mutate_bytes(from, seed + i);
		bytes_write(path, changed.p, changed.n);
		run(path, what);
		free(changed.p);
	}
	free(closed.p);
	free(killed.p);
	unlink(path);
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR"), *given = getenv("TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000;
	char dir[256];

	snprintf(dir, sizeof(dir), "%s/vmtrail-robust-XXXXXX", tmp ? tmp : "/tmp");
	if (argc != 2 || !mkdtemp(dir)) {
		fputs("usage: robust cut-closed | cut-killed | change\n", stderr);
		return 99;
	}
	if (!strncmp(argv[1], "cut-", 4)) {
		cut(dir, !strcmp(argv[1], "cut-killed"));
	} else {
		printf("TEST_SEED=%llu\n", (unsigned long long)seed);
		change(dir, seed);
	}
	rmdir(dir);
	printf("%u failures\n", failures);
	return failures != 0;
}
