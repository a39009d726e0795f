/*
 * cmd_record.c - vmtrail record: run a command with the library preloaded.
 *
 * Checks everything that can be wrong before the command starts, then stays out of its way: same
 * process group, same terminal, same exit status.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vmtrail/options.h>

#include "commands.h"
#include "options.h"
#include "record_cache.h"
#include "record_output.h"
#include "record_preflight.h"
#include "record_preload.h"
#include "trace.h"
#include "units.h"

/* What is to be run, and how. */
struct recording {
	char **argv;
	char *file, *executable;            /* see vt_record_preflight */
	char *pattern;                      /* VMTRAIL_OUTPUT */
	char *preload;                      /* LD_PRELOAD */
	char *asan_options;                 /* ASAN_OPTIONS */
	char *cache;                        /* VMTRAIL_CACHE */
	const char *value[VT_OPTION_COUNT]; /* as text, NULL: not given */
	uint64_t start_ns;
	pid_t pid;
};

static volatile sig_atomic_t command_pid;

#define HELP_COLUMN 28

static void print_help(void)
{
	printf(
	    "Usage: vmtrail record [-o FILE] [options] -- CMD ARGS\n\n"
	    "Run CMD and record every change of its address space. The exit status is CMD's.\n\n");
	for (int id = 0; id < VT_OPTION_COUNT; id++) {
		const struct vt_option *o = vt_option(id);
		char head[64];
		if (o->letter)
			snprintf(head, sizeof(head), "-%c, --%s=%s", o->letter, o->name, o->arg);
		else
			snprintf(head, sizeof(head), "    --%s=%s", o->name, o->arg);
		/* a long one has a line of its own */
		printf("  %-*s", HELP_COLUMN - 2, head);
		if (strlen(head) > HELP_COLUMN - 3)
			printf("\n%*s", HELP_COLUMN, "");
		for (const char *p = o->help; *p; p++) {
			putchar(*p);
			if (*p == '\n')
				printf("%*s", HELP_COLUMN, "");
		}
		putchar('\n');
	}
	printf("      %-*s%s\n\n", HELP_COLUMN - 6, "--help", "show this help");
	printf("Each option has an environment variable, for use with LD_PRELOAD alone:\n ");
	int column = 1;
	for (int id = 0; id < VT_OPTION_COUNT; id++) {
		const char *env = vt_option(id)->env;
		column += 1 + (int)strlen(env);
		if (column > 78) {
			printf("\n ");
			column = 2 + (int)strlen(env);
		}
		printf(" %s", env);
	}
	putchar('\n');
}

/* What an option's value should have been. */
static const char *expectation(const struct vt_option *o, char *buf, size_t size)
{
	switch (o->type) {
	case VT_OPTION_PATTERN:
		return "a file name with %p, %e, %n or %%";
	case VT_OPTION_FILE:
		return "a file name, or no";
	case VT_OPTION_SWITCH:
		return "yes or no";
	case VT_OPTION_FAULTS:
		return "yes, no or overflow";
	case VT_OPTION_CAPTURE:
		return "all or symbols";
	case VT_OPTION_STOP:
		return "fixed-clobber, foreign-unmap, double-unmap (with commas between), or no";
	case VT_OPTION_SLOTS:
		snprintf(buf, size, "a power of two from %llu to %llu",
			 (unsigned long long)o->least, (unsigned long long)o->most);
		return buf;
	default:
		snprintf(buf, size, "a number from %llu to %llu, or no",
			 (unsigned long long)o->least, (unsigned long long)o->most);
		return buf;
	}
}

/* Check every option's value, from the command line or the environment. */
static bool check_values(const struct recording *r)
{
	for (int id = 0; id < VT_OPTION_COUNT; id++) {
		const struct vt_option *o = vt_option(id);
		const char *env = getenv(o->env), *text = r->value[id] ? r->value[id] : env;
		uint64_t value;
		char buf[80];
		if (!text || vt_option_value(o, text, &value))
			continue;
		if (r->value[id])
			vt_complain("--%s=%s: expected %s", o->name, text,
				    expectation(o, buf, sizeof(buf)));
		else
			vt_complain("%s=%s: expected %s", o->env, text,
				    expectation(o, buf, sizeof(buf)));
		return false;
	}
	return true;
}

/* Options up to the command. Returns the exit status, or -1 to go on. */
static int parse_options(struct recording *r, int argc, char **argv)
{
	struct option long_options[VT_OPTION_COUNT + 2] = { { "help", no_argument, NULL, 'h' } };
	for (int id = 0; id < VT_OPTION_COUNT; id++)
		long_options[id + 1] =
		    (struct option){ vt_option(id)->name, required_argument, NULL, 256 + id };
	opterr = 0;
	optind = 1;
	for (int c; (c = getopt_long(argc, argv, "+:o:h", long_options, NULL)) != -1;) {
		if (c == 'h') {
			print_help();
			return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
		}
		if (c == ':')
			return vt_complain("record: %s needs a value", argv[optind - 1]);
		if (c == '?')
			return vt_complain("record: unknown option %s; see vmtrail record --help",
					   argv[optind - 1]);
		r->value[c == 'o' ? VT_OPT_OUTPUT : c - 256] = optarg;
	}
	if (optind == argc)
		return vt_complain(
		    "record: no command given: vmtrail record [options] -- CMD ARGS");
	r->argv = argv + optind;
	return -1;
}

/* Everything that can be wrong before the command starts. */
static bool prepare(struct recording *r)
{
	char *why = NULL;
	const char *output = r->value[VT_OPT_OUTPUT], *cache = r->value[VT_OPT_CACHE];
	if (!check_values(r))
		return false;
	if (!vt_record_preflight(r->argv[0], &r->file, &r->executable, &why) ||
	    !(r->pattern = vt_record_pattern(output ? output : getenv("VMTRAIL_OUTPUT"), &why)) ||
	    !vt_record_make_room(r->pattern, 0, r->executable, &why) ||
	    !(r->preload = vt_record_preload(r->executable, &why)) ||
	    !(r->asan_options = vt_record_asan_options()) ||
	    !(r->cache = vt_record_cache(cache ? cache : getenv("VMTRAIL_CACHE")))) {
		vt_complain("%s", why ? why : "out of memory");
		free(why);
		return false;
	}
	return true;
}

/* Set a variable and keep in another how it was, for the library to tell the program. */
static bool change_variable(const char *name, const char *value)
{
	const char *was = getenv(name);
	char *as_it_was, *keep;
	if (asprintf(&as_it_was, "VMTRAIL_WAS_%s", name) < 0)
		return false;
	if (asprintf(&keep, "%s%s%s", was ? name : "", was ? "=" : "", was ? was : "") < 0)
		keep = NULL;
	bool ok = keep && setenv(as_it_was, keep, 1) == 0 && setenv(name, value, 1) == 0;
	free(keep);
	free(as_it_was);
	return ok;
}

/* In the child: the environment, then the command. Only returns (an errno) when it cannot run. */
static int become_command(const struct recording *r)
{
	/* with --children=no the library records this process and no other */
	char root[16];
	snprintf(root, sizeof(root), "%d", (int)getpid());
	bool ok = change_variable("LD_PRELOAD", r->preload) &&
		  change_variable("ASAN_OPTIONS", r->asan_options) &&
		  setenv("VMTRAIL_ROOT", root, 1) == 0 &&
		  setenv(vt_option(VT_OPT_OUTPUT)->env, r->pattern, 1) == 0 &&
		  setenv(vt_option(VT_OPT_CACHE)->env, r->cache, 1) == 0;
	for (int id = 0; id < VT_OPTION_COUNT; id++)
		if (id != VT_OPT_OUTPUT && id != VT_OPT_CACHE && r->value[id])
			ok = ok && setenv(vt_option(id)->env, r->value[id], 1) == 0;
	char *why;
	if (!ok)
		return ENOMEM;
	/* with the process's own number in it, the name may be taken by a trace of long ago */
	if (!vt_record_make_room(r->pattern, getpid(), r->executable, &why))
		return EEXIST;
	execvp(r->file, r->argv);
	return errno;
}

static void forward_signal(int sig)
{
	if (command_pid > 0)
		kill((pid_t)command_pid, sig);
}

static uint64_t wall_clock(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * Start the command. The terminal's signals go to both of us: it decides what they mean. Returns 0
 * or the errno of exec.
 */
static int start_command(struct recording *r)
{
	static const int held[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP };
	struct sigaction before[4];
	sigset_t all, mask;
	int report[2], error = 0;

	if (pipe2(report, O_CLOEXEC) != 0)
		return errno;
	r->start_ns = wall_clock();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &mask);
	for (int i = 0; i < 4; i++) {
		struct sigaction sa = { .sa_handler = i < 2 ? SIG_IGN : forward_signal,
					.sa_flags = SA_RESTART };
		sigaction(held[i], &sa, &before[i]);
	}
	r->pid = fork();
	if (r->pid == 0) {
		for (int i = 0; i < 4; i++)
			sigaction(held[i], &before[i], NULL);
		sigprocmask(SIG_SETMASK, &mask, NULL);
		error = become_command(r);
		if (write(report[1], &error, sizeof(error)) != sizeof(error))
			_exit(127);
		_exit(VT_EXIT_BAD);
	}
	error = r->pid < 0 ? errno : 0;
	command_pid = r->pid;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	close(report[1]);
	ssize_t n;
	while (r->pid > 0 && (n = read(report[0], &error, sizeof(error))) < 0 && errno == EINTR)
		;
	close(report[0]);
	return error;
}

static struct vt_told wait_for_command(const struct recording *r)
{
	struct vt_told told = { 0 };
	struct rusage usage = { 0 };
	while (wait4(r->pid, &told.status, 0, &usage) < 0)
		if (errno != EINTR)
			return told;
	command_pid = 0;
	told.realtime_ns = wall_clock();
	told.maxrss_kb = (uint64_t)usage.ru_maxrss;
	return told;
}

/* Die as the command did, so that a shell sees the same; without a second core file. */
static int die_of(int sig)
{
	struct rlimit none = { 0, 0 };
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigset_t one;
	setrlimit(RLIMIT_CORE, &none);
	sigaction(sig, &sa, NULL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	kill(getpid(), sig);
	return 128 + sig;
}

/* As the trace's end tells it, else by reading it. */
static uint64_t count_events(const char *path)
{
	char *error = NULL;
	struct vt_trace *t = vt_trace_open(path, &error);
	struct vt_item item;
	uint64_t n = 0;
	free(error);
	if (!t)
		return 0;
	n = vt_trace_meta_u64(t, "events", 0);
	enum vt_item_type type = VT_ITEM_END;
	while (!t->closed && (type = vt_trace_next(t, &item)) != VT_ITEM_END)
		n += type == VT_ITEM_EVENT;
	vt_trace_close(t);
	return n;
}

/* One line on what was recorded, for a person at a terminal; a warning when nothing was. */
static void tell_result(const struct recording *r, const struct vt_told *told)
{
	struct vt_record_traces t = vt_record_collect(r->pattern, r->pid, r->executable,
						      r->start_ns, told->realtime_ns ? told : NULL);
	if (!t.own) {
		vt_complain("%s wrote no trace: the library was not loaded, or could not write %s",
			    r->argv[0], r->pattern);
	} else if (isatty(STDERR_FILENO)) {
		char events[VT_UNIT_TEXT], size[VT_UNIT_TEXT];
		struct stat st = { 0 };
		char *cwd = getcwd(NULL, 0);
		size_t n = cwd ? strlen(cwd) : 0;
		const char *name = t.path[0];
		if (n && strncmp(name, cwd, n) == 0 && name[n] == '/')
			name += n + 1;
		stat(t.path[0], &st);
		uint64_t count = count_events(t.path[0]);
		vt_format_count(events, count);
		vt_format_size(size, (uint64_t)st.st_size);
		fprintf(stderr, "vmtrail: %s event%s, %s, %s", events, count == 1 ? "" : "s", size,
			name);
		if (t.n > 1)
			fprintf(stderr, " (and %zu more %s)", t.n - 1,
				t.n > 2 ? "traces" : "trace");
		fputc('\n', stderr);
		free(cwd);
	}
	vt_record_traces_free(&t);
}

int vt_cmd_record(int argc, char **argv)
{
	struct recording r = { 0 };
	int result = parse_options(&r, argc, argv);
	if (result < 0 && !prepare(&r))
		result = VT_EXIT_BAD;
	if (result < 0) {
		int error = start_command(&r);
		struct vt_told told = r.pid > 0 ? wait_for_command(&r) : (struct vt_told){ 0 };
		if (error) {
			result = vt_complain("%s: cannot be run: %s", r.argv[0], strerror(error));
		} else {
			tell_result(&r, &told);
			result = WIFSIGNALED(told.status) ? die_of(WTERMSIG(told.status))
							  : WEXITSTATUS(told.status);
		}
	}
	free(r.file);
	free(r.executable);
	free(r.pattern);
	free(r.preload);
	free(r.asan_options);
	free(r.cache);
	return result;
}
