/*
 * cmd_import.c - vmtrail import: traces from what other tools wrote.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "commands.h"
#include "import_process.h"
#include "options.h"
#include "record_output.h"
#include "units.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN 5 /* lines that are shown of those that cannot be read */

static int usage(void)
{
	puts(
	    "usage: vmtrail import strace LOG [-o TRACE] [options]\n\n"
	    "Makes a trace of a log that strace -f has written (LOG may be - for standard input),\n"
	    "with any of -t, -tt, -ttt, -r, -T, -k, -i, -y, --decode-pids=comm, and any other "
	    "system\n"
	    "calls between. Every command works on it; what the process had mapped before the log\n"
	    "began is not known.\n\n"
	    "  -o, --output=TRACE    the trace, with %p and %e as in record (default: "
	    "vmtrail.%e.%p.vmt);\n"
	    "                        a directory: one trace for each process and each exec in it\n"
	    "      --pid=PID         the process to import (default: the log's first), from its "
	    "last exec on\n"
	    "      --kernel=RELEASE  the kernel that ran it, for the rules of replay (6.1)\n"
	    "      --page-size=BYTES of the machine that ran it (default: 4096)\n"
	    "  -h, --help            this text");
	return VT_EXIT_OK;
}

/* The log in memory. */
struct log {
	const char *name;
	char *p;
	size_t n;
	bool mapped;
};

static bool read_stream(struct log *log, int fd)
{
	size_t cap = 0;
	for (;;) {
		if (log->n == cap)
			log->p = vt_realloc(log->p, cap = cap ? cap * 2 : 1 << 20, 1);
		ssize_t got = read(fd, log->p + log->n, cap - log->n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got == 0;
		log->n += (size_t)got;
	}
}

static bool open_log(struct log *log)
{
	struct stat st;
	int fd = strcmp(log->name, "-") ? open(log->name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	bool ok = fd >= 0 && fstat(fd, &st) == 0;

	if (ok && S_ISREG(st.st_mode) && st.st_size) {
		log->n = (size_t)st.st_size;
		log->p = mmap(NULL, log->n, PROT_READ, MAP_PRIVATE, fd, 0);
		log->mapped = log->p != MAP_FAILED;
		ok = log->mapped;
		if (ok)
			madvise(log->p, log->n, MADV_SEQUENTIAL);
	} else if (ok) {
		ok = read_stream(log, fd);
	}
	int error = errno;
	if (fd > STDIN_FILENO)
		close(fd);
	errno = error;
	return ok;
}

static void close_log(struct log *log)
{
	if (log->mapped)
		munmap(log->p, log->n);
	else
		free(log->p);
}

/* Whether the log tells, before `at`, that a call returned this pid. */
static bool is_child(const struct log *log, const char *at, uint64_t pid)
{
	char text[48];
	int n = snprintf(text, sizeof(text), " = %llu\n", (unsigned long long)pid);
	int m = snprintf(text + n + 1, sizeof(text) - (size_t)n - 1, "Process %llu ",
			 (unsigned long long)pid);
	size_t before = (size_t)(at - log->p);

	return memmem(log->p, before, text, (size_t)n) ||
	       memmem(log->p, before, text + n + 1, (size_t)m);
}

/*
 * Whose the lines without a pid are. strace -f names pids in brackets as soon as there are two of
 * them; the one that no call returned is the first process's. strace -ff puts it into the file's
 * name. Otherwise it is not known, and any number does.
 */
static uint32_t pid_of_bare_lines(const struct log *log)
{
	const char *end = log->p + log->n, *dot = strrchr(log->name, '.');
	uint64_t pid;

	if (dot && vt_parse_u64(dot + 1, &pid) && pid && pid < 1 << 30)
		return (uint32_t)pid;
	const char *at = log->p;
	for (int tries = 0; tries < 1000 && at; tries++) {
		at = memmem(at, (size_t)(end - at), "[pid ", 5);
		if (!at)
			break;
		struct vt_slice number = { at + 5, end };
		if (vt_slice_number(&number, &pid) && pid && pid < 1 << 30 &&
		    !is_child(log, at, pid))
			return (uint32_t)pid;
		at += 5;
	}
	return 1;
}

/* The pid that the log begins with; 0: its lines have none. */
static uint32_t first_pid(const struct log *log)
{
	const char *p = log->p, *end = log->p + log->n;
	struct vt_line line;

	for (int tries = 0; tries < 1000 && p < end; tries++) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		vt_line_read(&line, p, newline ? newline : end);
		if (line.type <= VT_LINE_END)
			return line.pid;
		p = newline ? newline + 1 : end;
	}
	return 0;
}

static void tell_strange(struct vt_import *im, struct vt_slice line)
{
	char text[121];
	size_t n = 0;

	if (im->n_strange++ >= SHOWN)
		return;
	for (; n + 1 < sizeof(text) && line.p + n < line.end; n++)
		text[n] = line.p[n] >= ' ' && line.p[n] <= '~' ? line.p[n] : '?';
	text[n] = '\0';
	fprintf(stderr, "vmtrail: %s:%llu: cannot be read: %s\n", im->out.source,
		(unsigned long long)im->n_lines, text);
}

static void summarize(const struct vt_import *im)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT], c[VT_UNIT_TEXT];

	printf("%s: %s lines, %s memory calls, %u process%s\n", im->out.source,
	       vt_format_count(a, im->n_lines), vt_format_count(b, im->n_calls), im->n_processes,
	       im->n_processes == 1 ? "" : "es");
	if (im->n_strange)
		printf("%s line%s could not be read\n", vt_format_count(a, im->n_strange),
		       im->n_strange == 1 ? "" : "s");
	if (im->n_orphans)
		printf("%u task%s whose beginning is not in the log: taken for threads of process "
		       "%u\n",
		       im->n_orphans, im->n_orphans == 1 ? "" : "s", im->main_pid);
	printf("%s event%s in %s%s\n", vt_format_count(c, im->out.n_events),
	       im->out.n_events == 1 ? "" : "s",
	       im->out.n_traces == 1 ? im->out.last_path : vt_format_count(a, im->out.n_traces),
	       im->out.n_traces == 1 ? "" : " traces");
	if (!im->out.several && im->n_processes > 1)
		printf("the other processes: --pid=PID, or all of them: -o DIRECTORY/\n");
}

static int import(struct vt_import *im, const struct log *log)
{
	const char *p = log->p, *end = log->p + log->n;

	im->main_pid = first_pid(log);
	if (!im->main_pid)
		im->main_pid = pid_of_bare_lines(log);
	im->out.models = im->out.several || (im->only && im->only != im->main_pid);
	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		vt_import_line(im, p, newline ? newline : end);
		p = newline ? newline + 1 : end;
	}
	vt_import_finish(im);
	if (im->out.error)
		return vt_complain("%s", im->out.error);
	if (!im->out.n_traces && im->only)
		return vt_complain("%s: holds no memory calls of process %u", log->name, im->only);
	if (!im->out.n_traces)
		return vt_complain("%s: holds no memory calls that strace has written", log->name);
	summarize(im);
	return fflush(stdout) ? vt_complain("stdout: %s", strerror(errno)) : VT_EXIT_OK;
}

static bool parse_page_size(const char *text, uint64_t *bytes)
{
	if (vt_parse_u64(text, bytes) && *bytes >= VT_PAGE_SIZE && *bytes <= 1 << 20 &&
	    !(*bytes & (*bytes - 1)))
		return true;
	vt_complain("--page-size=%s: not a power of two from 4096 to 1048576", text);
	return false;
}

/* Read the options; false after a complaint, or with *help. */
static bool parse_options(int argc, char **argv, struct vt_import *im, const char **output,
			  bool *help)
{
	static const struct option options[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "pid", required_argument, NULL, 'p' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "page-size", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint64_t pid;
	int c;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		switch (c) {
		case 'o':
			*output = optarg;
			break;
		case 'p':
			if (!vt_parse_u64(optarg, &pid) || !pid || pid >= 1 << 30) {
				vt_complain("--pid=%s: not a process ID", optarg);
				return false;
			}
			im->only = (uint32_t)pid;
			break;
		case 'k':
			im->out.kernel = optarg;
			break;
		case 's':
			if (!parse_page_size(optarg, &im->page_size))
				return false;
			break;
		case 'h':
			*help = true;
			return false;
		default:
			return false;
		}
	}
	return true;
}

int vt_cmd_import(int argc, char **argv)
{
	struct vt_import im = { .page_size = VT_PAGE_SIZE, .strange = tell_strange };
	const char *output = NULL;
	struct log log = { 0 };
	struct stat st;
	bool help = false;
	char *why = NULL;

	if (!parse_options(argc, argv, &im, &output, &help))
		return help ? usage() : VT_EXIT_BAD;
	if (argc - optind != 2 || strcmp(argv[optind], "strace"))
		return vt_complain("import strace LOG, please (%s --help)", argv[0]);
	log.name = im.out.source = argv[optind + 1];
	char *pattern = vt_record_pattern(output, &why);
	if (!pattern)
		return vt_complain("%s", why);
	im.out.pattern = pattern;
	im.out.several = output && !im.only && stat(output, &st) == 0 && S_ISDIR(st.st_mode);
	int status = VT_EXIT_BAD;
	if (!open_log(&log)) {
		vt_complain("%s: %s", log.name, strerror(errno));
	} else {
		im.out.names = vt_names_new();
		status = import(&im, &log);
		vt_names_free(im.out.names);
	}
	close_log(&log);
	free(im.out.last_path);
	free(im.out.error);
	free(pattern);
	return status;
}
