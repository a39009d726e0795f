/*
 * record_output.c - the names of traces: from -o to VMTRAIL_OUTPUT, and back to the files.
 *
 * Looks at no more of a trace than its header. Removes nothing but old traces that stand where a
 * new one is to go.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_output.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmtrail/format.h>
#include <vmtrail/options.h>

#include "trace.h"

/* The library keeps the pattern, and a trace's name, in buffers of this size. */
#define NAME_SIZE 4096

/* The command's own trace is told by its pid too, so that a clock set back a little does no harm.
 */
#define CLOCK_SLACK_NS 1000000000u

/* text with every percent sign doubled, so that it stands for itself in a pattern; malloc'ed. */
static char *literal(const char *text)
{
	char *out = malloc(2 * strlen(text) + 1), *p = out;
	for (; out && *text; text++) {
		if (*text == '%')
			*p++ = '%';
		*p++ = *text;
	}
	if (out)
		*p = '\0';
	return out;
}

/* Where a name's last part begins. */
static size_t base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The directory before a name; malloc'ed. */
static char *directory_of(const char *path)
{
	size_t n = base_of(path);
	return n > 1 ? strndup(path, n - 1) : strdup(n ? "/" : ".");
}

/* Whether output names a directory; one that ends in a slash is made. False and *why: it cannot. */
static bool is_directory(const char *output, char **why)
{
	struct stat st;
	size_t n = strlen(output);
	if (stat(output, &st) == 0)
		return S_ISDIR(st.st_mode);
	if (!n || output[n - 1] != '/')
		return false;
	if (mkdir(output, 0777) == 0)
		return true;
	if (asprintf(why, "%s: cannot be made: %s", output, strerror(errno)) < 0)
		*why = NULL;
	return false;
}

char *vt_record_pattern(const char *output, char **why)
{
	*why = NULL;
	if (!output)
		output = VT_DEFAULT_OUTPUT;
	bool dir = is_directory(output, why);
	if (*why)
		return NULL;

	char *cwd = *output == '/' ? strdup("") : getcwd(NULL, 0);
	char *before = cwd ? literal(cwd) : NULL;
	char *name = dir ? literal(output) : strdup(output);
	char *pattern = NULL;
	bool slash = !dir || !*output || output[strlen(output) - 1] == '/';
	if (!before || !name ||
	    asprintf(&pattern, "%s%s%s%s%s", before, *output == '/' ? "" : "/", name,
		     slash ? "" : "/", dir ? VT_DEFAULT_OUTPUT : "") < 0)
		pattern = NULL;
	free(cwd);
	free(before);
	free(name);
	if (pattern && strlen(pattern) < NAME_SIZE)
		return pattern;
	free(pattern);
	*why = strdup(pattern ? "the output's name is too long" : "out of memory");
	return NULL;
}

char *vt_record_name(const char *pattern, pid_t pid, const char *executable)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);
	bool unknown = false;
	for (const char *p = pattern; f && *p; p++) {
		if (*p != '%')
			fputc(*p, f);
		else if (*++p == 'p' && pid)
			fprintf(f, "%d", (int)pid);
		else if (*p == 'e')
			fputs(executable + base_of(executable), f);
		else if (*p == '%')
			fputc('%', f);
		else
			unknown = true;
	}
	if (!f || fclose(f) != 0 || unknown) {
		free(out);
		return NULL;
	}
	return out;
}

/* Read a trace's header; false when the file is none. */
static bool read_header(const char *path, struct vt_trace_header *h)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	struct stat st;
	bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		  pread(fd, h, sizeof(*h), 0) == sizeof(*h) &&
		  memcmp(h->magic, VT_MAGIC, sizeof(h->magic)) == 0;
	close(fd);
	return ok;
}

/* The directory before the name; malloc'ed, NULL where it depends on what is not known. */
static char *expand_directory(const char *pattern, pid_t pid, const char *executable)
{
	char *dir_pattern = directory_of(pattern);
	char *dir = dir_pattern ? vt_record_name(dir_pattern, pid, executable) : NULL;
	free(dir_pattern);
	return dir;
}

/* The directory must be there: the library could not tell anybody. */
static bool check_directory(const char *pattern, pid_t pid, const char *executable, char **why)
{
	char *dir = expand_directory(pattern, pid, executable);
	bool ok = !dir || access(dir, W_OK | X_OK) == 0;
	if (!ok && asprintf(why, "%s: cannot write there: %s", dir, strerror(errno)) < 0)
		*why = NULL;
	free(dir);
	return ok;
}

bool vt_record_make_room(const char *pattern, pid_t pid, const char *executable, char **why)
{
	*why = NULL;
	struct vt_trace_header h;
	struct stat st;
	char *name = vt_record_name(pattern, pid, executable);
	bool ok = check_directory(pattern, pid, executable, why);
	if (ok && name && lstat(name, &st) == 0) {
		ok = read_header(name, &h);
		const char *problem = "exists and is no vmtrail trace: not replaced";
		if (ok && unlink(name) != 0) {
			ok = false;
			problem = strerror(errno);
		}
		if (!ok && asprintf(why, "%s: %s", name, problem) < 0)
			*why = NULL;
	}
	free(name);
	return ok;
}

struct candidate {
	char *path;
	uint64_t start_ns;
	bool own, open; /* open: its process has left it so */
};

/* The command's own first, of those (it may have replaced its image) the last. */
static int by_rank(const void *pa, const void *pb)
{
	const struct candidate *a = pa, *b = pb;
	if (a->own != b->own)
		return a->own ? -1 : 1;
	if (a->start_ns != b->start_ns)
		return (a->start_ns > b->start_ns) == a->own ? -1 : 1;
	return strcmp(a->path, b->path);
}

static bool was_left_open(const struct vt_trace_header *h)
{
	return h->live_off && kill((pid_t)h->pid, 0) != 0 && errno == ESRCH;
}

/* The first is that of the command's own last image, if it has left any. */
static void seal_those_open(const struct candidate *found, size_t n, const struct vt_told *told)
{
	for (size_t i = 0; i < n; i++) {
		char *error = NULL;
		if (found[i].open)
			vt_trace_seal(found[i].path, !i && found[i].own ? told : NULL, &error);
		free(error); /* the trace stays readable as it is */
	}
}

struct vt_record_traces vt_record_collect(const char *pattern, pid_t pid, const char *executable,
					  uint64_t start_ns, const struct vt_told *told)
{
	struct vt_record_traces t = { 0 };
	struct candidate *found = NULL;
	size_t n = 0;
	/* a directory's name may hold conversions too: those of the command's own process count */
	char *dir = expand_directory(pattern, pid, executable);
	const char *base = pattern + base_of(pattern);
	size_t prefix = strcspn(base, "%");
	const char *dot = base[prefix] ? NULL : strrchr(base, '.');
	if (dot) /* a second process's trace bears its pid before the extension */
		prefix = (size_t)(dot - base);
	DIR *d = dir ? opendir(dir) : NULL;
	for (struct dirent *entry; d && (entry = readdir(d));) {
		struct vt_trace_header h;
		char *path;
		if (strncmp(entry->d_name, base, prefix) != 0 ||
		    asprintf(&path, "%s/%s", dir, entry->d_name) < 0)
			continue;
		struct candidate *bigger = realloc(found, (n + 1) * sizeof(*found));
		if (bigger)
			found = bigger;
		bool ours = bigger && read_header(path, &h);
		bool own = ours && h.pid == (uint32_t)pid;
		if (!ours || h.start_realtime_ns + (own ? CLOCK_SLACK_NS : 0) < start_ns) {
			free(path);
			continue;
		}
		found[n++] =
		    (struct candidate){ path, h.start_realtime_ns, own, was_left_open(&h) };
	}
	if (d)
		closedir(d);
	free(dir);

	if (n)
		qsort(found, n, sizeof(*found), by_rank);
	seal_those_open(found, n, told);
	t.own = n && found[0].own;
	t.path = calloc(n + 1, sizeof(*t.path));
	for (size_t i = 0; i < n; i++) {
		if (t.path)
			t.path[t.n++] = found[i].path;
		else
			free(found[i].path);
	}
	free(found);
	return t;
}

void vt_record_traces_free(struct vt_record_traces *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->path[i]);
	free(t->path);
}
