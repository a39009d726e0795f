/*
 * find_files.c - file-stream, unsynced and file-populate: how files are mapped, as far as mapping
 * calls alone can prove it. What was read, and whether it was written to, they do not show.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "alloc.h"
#include "find.h"

/* So many pieces in a row, each where the last one ended, are a stream. */
#define STREAM_CALLS 8

enum { BY_MAPPING, BY_ADVICE };

static bool is_regular(const struct vt_find *f, uint32_t file)
{
	const struct vt_trace *t = f->replay->trace;
	return file && file < t->n_files && t->files[file].kind == VT_FILE_REGULAR;
}

/* Whether the file outlives the machine: not in memory, and not deleted. */
static bool is_lasting(const struct vt_find *f, uint32_t file)
{
	static const char *const fleeting[] = { "/dev/shm/", "/memfd:", "memfd:", "/run/",
						"/SYSV" };
	const char *path = vt_find_path(f, file);
	if (!is_regular(f, file) || !path || strstr(path, " (deleted)"))
		return false;
	for (size_t i = 0; i < sizeof(fleeting) / sizeof(fleeting[0]); i++)
		if (strncmp(path, fleeting[i], strlen(fleeting[i])) == 0)
			return false;
	return true;
}

static struct vt_find_stream *stream_of(struct vt_find *f, uint32_t file, int by)
{
	size_t i = 2 * (size_t)file + (size_t)by, old = f->cap_streams;
	if (i >= old) {
		f->cap_streams = 2 * i + 64;
		f->streams = vt_realloc(f->streams, f->cap_streams, sizeof(*f->streams));
		memset(f->streams + old, 0, (f->cap_streams - old) * sizeof(*f->streams));
	}
	return &f->streams[i];
}

/* The next piece of a file, by a mapping or by MADV_WILLNEED. */
static void follow(struct vt_find *f, const struct vt_event *e, uint32_t file, int by,
		   uint64_t offset, uint64_t length)
{
	struct vt_find_stream *s = stream_of(f, file, by);
	bool goes_on = s->calls && offset == s->next;
	if (!goes_on) {
		s->calls = 0;
		s->seq = e->seq;
	}
	s->calls++;
	s->next = offset + length;
	if (s->calls < STREAM_CALLS || s->advised)
		return;
	uint64_t lo = e->kind == VT_MMAP ? (uint64_t)e->ret : e->a[0];
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_FILE_STREAM, lo, lo + length);
	n.severity = VT_SEVERITY_INFO;
	n.count = s->calls;
	n.path = vt_find_path(f, file);
	vt_find_add_history(&n, s->seq);
	vt_find_add(f, &n);
	s->advised = true;
}

static void find_mapping(struct vt_find *f, const struct vt_event *e)
{
	uint64_t length = (e->a[1] + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
	uint64_t at = (uint64_t)e->ret;
	bool private = (e->a[3] & (MAP_SHARED | MAP_PRIVATE)) == MAP_PRIVATE;
	/* segments of libraries are laid out one behind the other, too */
	if (!(e->a[2] & PROT_EXEC) && !(e->a[3] & MAP_FIXED))
		follow(f, e, e->file, BY_MAPPING, e->a[5], length);
	if (!(e->a[3] & MAP_POPULATE) || !private)
		return;
	struct vt_finding n = vt_find_begin(f, e, VT_FIND_FILE_POPULATE, at, at + length);
	n.severity = VT_SEVERITY_INFO;
	n.count = e->a[2] & PROT_WRITE ? length : 0; /* copied at once */
	n.path = vt_find_path(f, e->file);
	vt_find_add(f, &n);
}

static void find_advice(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if ((e->a[2] != MADV_WILLNEED && e->a[2] != MADV_SEQUENTIAL && e->a[2] != MADV_RANDOM) ||
	    !vt_find_range(e, &lo, &hi))
		return;
	const struct vt_extent *x = vt_model_find(&f->replay->model, lo);
	if (!x || x->start > lo || !is_regular(f, x->file))
		return;
	if (e->a[2] == MADV_WILLNEED) {
		follow(f, e, x->file, BY_ADVICE, (x->pgoff << VT_PAGE_SHIFT) + (lo - x->start),
		       hi - lo);
		return;
	}
	stream_of(f, x->file, BY_MAPPING)->advised = true;
	stream_of(f, x->file, BY_ADVICE)->advised = true;
}

/* Shared file mappings that the event took away, and that nobody had synchronized. */
static void find_unsynced(struct vt_find *f, const struct vt_event *e)
{
	for (size_t i = 0; i < f->n_pieces; i++) {
		const struct vt_find_piece *p = &f->pieces[i];
		if (!p->file || (p->fate != VT_PIECE_UNMAPPED && p->fate != VT_PIECE_CLOBBERED) ||
		    (p->flags & (VT_VM(SHARED) | VT_VM(WRITE))) != (VT_VM(SHARED) | VT_VM(WRITE)) ||
		    !is_lasting(f, p->file) || vt_owners_is_synced(&f->owners, p->birth))
			continue;
		struct vt_finding n = vt_find_begin(f, e, VT_FIND_UNSYNCED, p->lo, p->hi);
		n.severity = VT_SEVERITY_INFO;
		n.path = vt_find_path(f, p->file);
		vt_find_add_history(&n, p->birth);
		vt_find_add(f, &n);
		return;
	}
}

static void note_sync(struct vt_find *f, const struct vt_event *e)
{
	uint64_t lo, hi;
	if (!vt_find_range(e, &lo, &hi))
		return;
	const struct vt_extent *x = vt_model_find(&f->replay->model, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		vt_owners_set_synced(&f->owners, x->birth);
}

void vt_find_files(struct vt_find *f, const struct vt_event *e)
{
	if (e->kind == VT_MSYNC)
		note_sync(f, e);
	if (!f->actor || f->actor == VT_OWNER_RUNTIME || vt_is_error(e->ret))
		return;
	if (e->kind == VT_MMAP && is_regular(f, e->file))
		find_mapping(f, e);
	else if (e->kind == VT_MADVISE)
		find_advice(f, e);
	if (f->n_pieces)
		find_unsynced(f, e);
}
