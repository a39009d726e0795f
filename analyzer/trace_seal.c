/*
 * trace_seal.c - closing the trace of a process that was killed.
 *
 * The one place that writes to a trace which is there already. The order of writing is that of the
 * recorder: what is new stands behind the committed frames until the header says otherwise, so
 * that being interrupted changes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"
#include "trace_write.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEVEL 3

/* Note what went wrong with the trace at path; returns -1. */
static int fail(const char *path, char **error, const char *what)
{
	*error = vt_format("%s: %s", path, what);
	return -1;
}

/* Whether process pid has the file of this inode mapped; true also when that cannot be seen. */
static bool maps_file(uint32_t pid, ino_t inode)
{
	char path[64], *line = NULL;
	unsigned long long ino;
	size_t cap = 0;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%u/maps", pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		return errno != ENOENT && errno != ESRCH;
	while (!found && getline(&line, &cap, maps) > 0)
		found = sscanf(line, "%*s %*s %*s %*s %llu", &ino) == 1 && ino == inode;
	/* what no longer has an address space reads as empty; what we may not look at fails */
	if (ferror(maps) && errno != ESRCH)
		found = true;
	free(line);
	fclose(maps);
	return found;
}

bool vt_trace_is_recording(const struct vt_trace *t)
{
	struct stat st;
	return t->header.live_off && stat(t->path, &st) == 0 && maps_file(t->header.pid, st.st_ino);
}

/* Whether the image was replaced: an execve that succeeds stands as announced for ever. */
static bool ends_by_exec(const struct vt_reader *r)
{
	const uint8_t flags = VT_EV_UNDONE | VT_EV_SHARED_VM;
	for (size_t i = r->n_live; i-- > 0;)
		if (r->live[i].kind == VT_EXECVE && (r->live[i].flags & flags) == VT_EV_UNDONE)
			return true;
	return false;
}

/* What its parent was told of the end of the process. */
static int put_told(const struct vt_trace *t, const struct vt_told *told, char *text, size_t size)
{
	uint64_t start = t->header.start_realtime_ns;
	uint64_t ns = told->realtime_ns > start ? told->realtime_ns - start : 0;
	int n = snprintf(text, size, "told %llu\nmaxrss_kb %llu\n", (unsigned long long)ns,
			 (unsigned long long)told->maxrss_kb);
	if (WIFEXITED(told->status))
		n += snprintf(text + n, size - (size_t)n, "status %d\n", WEXITSTATUS(told->status));
	else
		n += snprintf(text + n, size - (size_t)n, "signal %d\ncore %d\n",
			      WTERMSIG(told->status), !!WCOREDUMP(told->status));
	return n;
}

static void put_end(const struct vt_trace *t, struct vt_writer *w, const struct vt_told *told)
{
	char text[256];
	bool exec = ends_by_exec(vt_reader_of(t));
	bool known = told && !exec;
	int n = snprintf(text, sizeof(text), "reason %s\nevents %llu\nlost %llu\n",
			 exec                               ? "exec"
			 : known && WIFEXITED(told->status) ? "exit"
							    : "killed",
			 (unsigned long long)w->next_seq - 1, (unsigned long long)t->header.lost);
	if (known)
		n += put_told(t, told, text + n, sizeof(text) - (size_t)n);
	vt_writer_frame(w, VT_FRAME_END, text, (size_t)n, w->next_seq, 0);
}

/* The live region's definitions and events as frames, behind those that are there. */
static void put_live(const struct vt_trace *t, struct vt_writer *w, const struct vt_told *told)
{
	const struct vt_reader *r = vt_reader_of(t);

	w->limit = t->header.live_off;
	w->ring_next = r->ring_head;
	vt_writer_definitions(w, r->journal, r->journal_len);
	for (size_t i = 0; i < r->n_live; i++)
		vt_writer_event(w, &r->live[i]);
	vt_writer_flush(w);
	put_end(t, w, told);
}

/* Make what was written count: one write of the header's page, then the cut at end. */
static bool commit(const struct vt_trace *t, int fd, uint64_t end)
{
	struct vt_trace_header h = t->header;

	h.live_off = 0;
	h.frames_end = end;
	h.crc = vt_crc32(0, &h, offsetof(struct vt_trace_header, crc));
	return vt_pwrite_full(fd, &h, sizeof(h), 0) && !ftruncate(fd, (off_t)end);
}

static int seal(struct vt_trace *t, int fd, const struct vt_told *told, char **error)
{
	const struct vt_reader *r = vt_reader_of(t);
	uint64_t first = r->n_live ? r->live[0].seq : r->end_seq ? r->end_seq : 1;
	struct vt_writer w;
	struct stat st;
	int rc = 0;

	if (fd < 0 || fstat(fd, &st))
		return fail(t->path, error, strerror(errno));
	if (maps_file(t->header.pid, st.st_ino)) {
		*error = vt_format("%s: process %u still records into it", t->path, t->header.pid);
		return -1;
	}
	vt_writer_init(&w, fd, r->frames_end, r->n_frames, first, LEVEL);
	if (!t->closed)
		put_live(t, &w, told);
	if (w.error)
		rc = fail(t->path, error, w.error);
	else if (!commit(t, fd, w.at))
		rc = fail(t->path, error, strerror(errno));
	vt_writer_fini(&w);
	return rc;
}

int vt_trace_seal(const char *path, const struct vt_told *told, char **error)
{
	struct vt_trace *t = vt_trace_open(path, error);
	int rc = 0;

	if (!t)
		return -1;
	if (t->damage && t->header.live_off) {
		*error = t->damage;
		t->damage = NULL;
		rc = -1;
	} else if (t->header.live_off) {
		int fd = open(t->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		rc = seal(t, fd, told, error);
		if (fd >= 0)
			close(fd);
	}
	vt_trace_close(t);
	return rc;
}
