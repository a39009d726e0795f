/*
 * maps_text.c - areas in the form of /proc/PID/maps, byte for byte.
 *
 * SPDX-License-Identifier: MIT
 */
#include "maps_text.h"
#include "alloc.h"

/* show_vma_header_prefix pads to this width, and adds a space, where a path follows. */
#define PATH_PAD 72

void vt_area_names_free(struct vt_area_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->v[i].name);
	free(names->v);
	*names = (struct vt_area_names){ 0 };
}

void vt_area_names_set(struct vt_area_names *names, const struct vt_snapshot *s)
{
	vt_area_names_free(names);
	names->v = vt_calloc(s->n_vmas, sizeof(*names->v));
	names->n = s->n_vmas;
	for (size_t i = 0; i < s->n_vmas; i++) {
		names->v[i].vma = s->vmas[i];
		names->v[i].name = vt_strndup(s->names[i], strlen(s->names[i]));
	}
}

/* The file that is shown with device and inode. */
static const struct vt_file_def *file_of(const struct vt_trace *t, const struct vt_vma *v)
{
	if (!v->file || v->file >= t->n_files || t->files[v->file].kind == VT_FILE_SPECIAL)
		return NULL;
	return &t->files[v->file];
}

static bool same_file(const struct vt_trace *t, const struct vt_vma *a, const struct vt_vma *b)
{
	const struct vt_file_def *f = file_of(t, a), *g = file_of(t, b);

	if (!f || !g)
		return f == g;
	return f->dev == g->dev && f->ino == g->ino;
}

static const char *remembered(const struct vt_trace *t, const struct vt_area_names *names,
			      const struct vt_vma *v)
{
	size_t lo = 0, hi = names->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (names->v[mid].vma.start < v->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == names->n)
		return NULL;
	const struct vt_named_area *a = &names->v[lo];
	if (a->vma.start != v->start || a->vma.end != v->end || a->vma.special != v->special ||
	    !same_file(t, &a->vma, v))
		return NULL;
	return a->name;
}

const char *vt_area_path(const struct vt_trace *t, const struct vt_area_names *names,
			 const struct vt_vma *v)
{
	static const char *const special[] = {
		[VT_SPECIAL_HEAP] = "[heap]",
		[VT_SPECIAL_STACK] = "[stack]",
		[VT_SPECIAL_VDSO] = "[vdso]",
		[VT_SPECIAL_VVAR] = "[vvar]",
	};
	const char *name = v->name ? vt_trace_area_name(t, v->name, v->file) : NULL;

	if (name)
		return name;
	name = remembered(t, names, v);
	/* where names are defined, an area without one has lost the one that was shown once */
	if (name && !(t->n_names && !strncmp(name, "[anon", 5)))
		return name;
	if (v->file && v->file < t->n_files && t->files[v->file].path)
		return t->files[v->file].path;
	if (v->special && v->special < sizeof(special) / sizeof(special[0]))
		return special[v->special];
	return "";
}

char *vt_area_perms(const struct vt_vma *v, char buf[5])
{
	bool shared = v->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE));

	buf[0] = v->flags & VT_VM(READ) ? 'r' : '-';
	buf[1] = v->flags & VT_VM(WRITE) ? 'w' : '-';
	buf[2] = v->flags & VT_VM(EXEC) ? 'x' : '-';
	buf[3] = shared ? 's' : 'p';
	buf[4] = '\0';
	return buf;
}

void vt_print_area(FILE *out, const struct vt_trace *t, const struct vt_area_names *names,
		   const struct vt_vma *v)
{
	const struct vt_file_def *f = file_of(t, v);
	uint64_t dev = f ? f->dev : 0;
	const char *path = vt_area_path(t, names, v);
	char perms[5];

	int n = fprintf(
	    out, "%08llx-%08llx %s %08llx %02llx:%02llx %llu ", (unsigned long long)v->start,
	    (unsigned long long)v->end, vt_area_perms(v, perms),
	    f ? (unsigned long long)v->pgoff << VT_PAGE_SHIFT : 0, (unsigned long long)dev >> 20,
	    (unsigned long long)dev & 0xfffff, f ? (unsigned long long)f->ino : 0);
	if (*path)
		fprintf(out, "%*s ", n < PATH_PAD ? PATH_PAD - n : 0, "");
	/* seq_path escapes line ends */
	for (; *path; path++) {
		if (*path == '\n')
			fputs("\\012", out);
		else
			fputc(*path, out);
	}
	fputc('\n', out);
}
