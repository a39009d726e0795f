/*
 * cmd_snapshot.c - vmtrail snapshot: ask a running recorder for the kernel's view.
 *
 * Talks to the recorder through two counters in the trace's header, and waits for the answer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "commands.h"
#include "options.h"
#include "units.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define POLL_NS    2000000
#define TIMEOUT_NS 5000000000

static int usage(void)
{
	puts("usage: vmtrail snapshot TRACE [--timeout=TIME]\n\n"
	     "Asks the process that records into the trace for a snapshot of the kernel's view, "
	     "and\n"
	     "waits until it is there. The process answers at its next memory call. Exit status 1\n"
	     "when there is no answer in time (5s).");
	return VT_EXIT_OK;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Raise the request and wait for the answer to reach it. */
static int ask(struct vt_trace_header *h, const char *path, uint64_t timeout_ns)
{
	const struct timespec pause = { 0, POLL_NS };
	uint64_t end = now_ns() + timeout_ns;
	uint64_t wanted = atomic_fetch_add(&h->snapshot_request, 1) + 1;

	while (atomic_load(&h->snapshot_done) < wanted) {
		if (kill((pid_t)h->pid, 0) && errno == ESRCH)
			return vt_complain("%s: process %u has ended", path, h->pid);
		if (now_ns() >= end) {
			vt_complain("%s: no answer: process %u has made no memory call since", path,
				    h->pid);
			return VT_EXIT_FOUND;
		}
		nanosleep(&pause, NULL);
	}
	return VT_EXIT_OK;
}

/* The trace must be sound and open before anything is written to it. */
static int check(int argc, char **argv)
{
	struct vt_trace *t = vt_open_operand(argc, argv);

	if (!t)
		return VT_EXIT_BAD;
	int status = VT_EXIT_OK;
	if (t->closed || !t->header.live_off)
		status = vt_complain("%s: its process has ended", t->path);
	else if (kill((pid_t)t->header.pid, 0) && errno == ESRCH)
		status = vt_complain("%s: process %u has ended", t->path, t->header.pid);
	vt_trace_close(t);
	return status;
}

int vt_cmd_snapshot(int argc, char **argv)
{
	static const struct option options[] = {
		{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct vt_when timeout = { .ns = TIMEOUT_NS };
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return usage();
		if (c == '?')
			return VT_EXIT_BAD;
		if (!vt_parse_when(optarg, &timeout) || timeout.kind != VT_WHEN_TIME)
			return vt_complain("--timeout %s: expected a time: 5s, 200ms", optarg);
	}
	int status = check(argc, argv);
	if (status)
		return status;
	const char *path = argv[optind];
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return vt_complain("%s: %s", path, strerror(errno));
	struct vt_trace_header *h =
	    mmap(NULL, VT_HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (h == MAP_FAILED)
		return vt_complain("%s: %s", path, strerror(errno));
	status = ask(h, path, timeout.ns);
	munmap(h, VT_HEADER_SIZE);
	return status;
}
