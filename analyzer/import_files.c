/*
 * import_files.c - which file lies behind a descriptor, where the log does not say it at once.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_task.h"

#include "alloc.h"
#include <sys/mman.h>

#define MOST_FDS (1u << 20)

/* The size of a System V segment. */
struct vt_segment {
	UT_hash_handle hh;
	uint32_t id;
	uint64_t size;
};

/* Files behind descriptors, where -y did not tell them. */
static void set_file(struct vt_image *i, uint64_t fd, uint64_t file)
{
	if (fd >= MOST_FDS)
		return;
	while (fd >= i->n_files) {
		i->files = vt_grow(i->files, i->n_files, &i->cap_files, sizeof(*i->files));
		i->files[i->n_files++] = 0;
	}
	i->files[fd] = file;
}

static uint64_t get_file(const struct vt_image *i, uint64_t fd)
{
	return fd < i->n_files ? i->files[fd] : 0;
}

void vt_descriptor_call(struct vt_import *im, struct vt_image *i, const struct vt_log_call *c)
{
	struct vt_slice s = c->text, first = vt_slice_argument(&s), second = { 0 };
	char path[4096], memfd[4200];
	struct vt_result r;
	uint64_t fd = 0;

	if (s.p < s.end && *s.p != ')')
		second = vt_slice_argument(&s);
	vt_skip_arguments(&s);
	if (!vt_call_result(&s, &r) || !r.known || r.ret < 0)
		return;
	uint64_t out = (uint64_t)r.ret;
	vt_slice_number(&first, &fd);
	switch (c->kind) {
	case VT_CALL_CLOSE:
		set_file(i, fd, 0);
		return;
	case VT_CALL_FCNTL:
		if (!vt_slice_starts(second, "F_DUPFD"))
			return;
		/* fall through */
	case VT_CALL_DUP:
	case VT_CALL_DUP2:
		set_file(i, out, get_file(i, fd));
		return;
	case VT_CALL_MEMFD:
		if (vt_slice_string(first, path, sizeof(path))) {
			snprintf(memfd, sizeof(memfd), "/memfd:%s (deleted)", path);
			set_file(i, out, vt_names_file(im->out.names, vt_slice_of(memfd), false));
		}
		return;
	default:
		if (r.path.p)
			set_file(i, out, vt_names_file(im->out.names, r.path, false));
		else if (vt_slice_string(c->kind == VT_CALL_OPEN ? first : second, path,
					 sizeof(path)))
			set_file(i, out, vt_names_file(im->out.names, vt_slice_of(path), false));
	}
}

void vt_segment_call(struct vt_import *im, const struct vt_log_call *c)
{
	struct vt_slice s = c->text;
	struct vt_result r;
	uint64_t size = 0;

	vt_slice_argument(&s);
	struct vt_slice length = vt_slice_argument(&s);
	vt_skip_arguments(&s);
	if (!vt_slice_number(&length, &size) || !vt_call_result(&s, &r) || r.ret < 0)
		return;
	uint32_t id = (uint32_t)r.ret;
	struct vt_segment *g;
	HASH_FIND(hh, im->segments, &id, sizeof(id), g);
	if (!g) {
		g = vt_calloc(1, sizeof(*g));
		g->id = id;
		HASH_ADD(hh, im->segments, id, sizeof(g->id), g);
	}
	if (size) /* 0: whatever size it has */
		g->size = size;
}

uint32_t vt_mapped_file(struct vt_import *im, const struct vt_image *i, const struct vt_event *e,
			struct vt_slice path)
{
	bool shared = (e->a[3] & MAP_TYPE) != MAP_PRIVATE;
	char unknown[32];

	if (e->a[3] & MAP_ANONYMOUS) {
		if (e->a[3] & MAP_HUGETLB)
			return vt_names_nameless(im->out.names, VT_FILE_HUGETLB,
						 "/anon_hugepage (deleted)");
		return shared ? vt_names_nameless(im->out.names, VT_FILE_SHM_ANON,
						  "/dev/zero (deleted)")
			      : 0;
	}
	if (!path.p) {
		uint64_t file = get_file(i, e->a[4]);
		snprintf(unknown, sizeof(unknown), "(descriptor %d)", (int)e->a[4]);
		path = vt_slice_of(file ? vt_names_file_of(im->out.names, (uint32_t)file)->path
					: unknown);
	}
	return vt_names_file(im->out.names, path, shared);
}

void vt_attached_segment(struct vt_import *im, struct vt_event *e)
{
	uint32_t id = (uint32_t)e->a[0];
	struct vt_segment *g;

	HASH_FIND(hh, im->segments, &id, sizeof(id), g);
	e->a[3] = g ? g->size : 0;
	e->file = vt_names_segment(im->out.names, id);
}

void vt_segments_free(struct vt_import *im)
{
	struct vt_segment *g, *next;

	HASH_ITER (hh, im->segments, g, next) {
		HASH_DEL(im->segments, g);
		free(g);
	}
}
