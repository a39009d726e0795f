/*
 * own_share.c - the recorder's share of an address space.
 *
 * The trace says which memory is the recorder's own. Its library is known by name; a library that
 * it needs counts too, unless something else needs that one as well.
 *
 * SPDX-License-Identifier: MIT
 */
#include "own_share.h"

#include <fcntl.h>
#include <gelf.h>
#include <unistd.h>

#include "alloc.h"

/* A loaded file at the start. */
struct module {
	const char *path;
	uint64_t lo, bytes; /* its segments, with what follows the file's contents */
	char **needed;
	size_t n_needed, cap_needed;
	bool ours;
};

struct modules {
	struct module *v;
	size_t n, cap;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void read_needed(struct module *m, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Dyn entry;
	for (int i = 0; data && gelf_getdyn(data, i, &entry) && entry.d_tag != DT_NULL; i++) {
		const char *name = entry.d_tag == DT_NEEDED
				       ? elf_strptr(elf, header->sh_link, entry.d_un.d_val)
				       : NULL;
		if (!name)
			continue;
		m->needed = vt_grow(m->needed, m->n_needed, &m->cap_needed, sizeof(*m->needed));
		m->needed[m->n_needed++] = vt_strndup(name, strlen(name));
	}
}

static void read_module(struct module *m)
{
	GElf_Phdr segment;
	GElf_Shdr header;
	size_t n = 0;
	int fd = open(m->path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && elf_getphdrnum(elf, &n) == 0)
		for (size_t i = 0; i < n && gelf_getphdr(elf, (int)i, &segment); i++)
			if (segment.p_type == PT_LOAD &&
			    segment.p_vaddr + segment.p_memsz > m->bytes)
				m->bytes = segment.p_vaddr + segment.p_memsz;
	for (Elf_Scn *s = NULL; n && (s = elf_nextscn(elf, s));)
		if (gelf_getshdr(s, &header) && header.sh_type == SHT_DYNAMIC)
			read_needed(m, elf, s, &header);
	elf_end(elf);
	if (fd >= 0)
		close(fd);
}

static void add_module(struct modules *all, const char *path, uint64_t lo)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->v[i].path, path) == 0)
			return;
	all->v = vt_grow(all->v, all->n, &all->cap, sizeof(*all->v));
	struct module *m = &all->v[all->n++];
	*m = (struct module){ .path = path, .lo = lo };
	m->ours = strcmp(base_name(path), "libvmtrail.so") == 0;
	read_module(m);
}

/* Whether a module of one side (ours, or not) needs the one of this name. */
static bool needed_by(const struct modules *all, const char *name, bool ours)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t j = 0; all->v[i].ours == ours && j < all->v[i].n_needed; j++)
			if (strcmp(all->v[i].needed[j], name) == 0)
				return true;
	return false;
}

/* A name in a list of needs is the file's, up to what its version adds: libfoo.so.8(.0.1). */
static bool loaded_for_us(const struct modules *all, const struct module *m)
{
	char name[256];
	snprintf(name, sizeof(name), "%s", base_name(m->path));
	for (;;) {
		if (needed_by(all, name, true))
			return !needed_by(all, name, false);
		char *dot = strrchr(name, '.');
		if (!dot || strcmp(dot, ".so") == 0)
			return false;
		*dot = '\0';
	}
}

static void find_libraries(struct vt_own_share *s, const struct vt_replay *r)
{
	struct modules all = { 0 };
	const struct vt_trace *t = r->trace;
	elf_version(EV_CURRENT);
	for (struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x))
		if (x->file && x->file < t->n_files && !x->pgoff &&
		    t->files[x->file].kind == VT_FILE_REGULAR && t->files[x->file].path)
			add_module(&all, t->files[x->file].path, x->start);
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < all.n; i++)
			if (!all.v[i].ours && loaded_for_us(&all, &all.v[i]))
				all.v[i].ours = more = true;
	}
	for (size_t i = 0; i < all.n; i++) {
		struct module *m = &all.v[i];
		if (m->ours && m->bytes) {
			s->libraries = vt_grow(s->libraries, s->n, &s->cap, sizeof(*s->libraries));
			s->libraries[s->n++] = (struct vt_range){
				m->lo, m->lo + ((m->bytes + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE)
			};
		}
		for (size_t j = 0; j < m->n_needed; j++)
			free(m->needed[j]);
		free(m->needed);
	}
	free(all.v);
	s->found = true;
}

/* The part of x in a library of ours; false: none. */
static bool part_in(const struct vt_range *library, const struct vt_extent *x,
		    struct vt_extent *part)
{
	*part = *x;
	part->start = x->start > library->lo ? x->start : library->lo;
	part->end = x->end < library->hi ? x->end : library->hi;
	return part->start < part->end;
}

uint64_t vt_own_share_pages(const struct vt_own_share *s, const struct vt_extent *x)
{
	struct vt_extent part;
	uint64_t bytes = x->own ? x->end - x->start : 0;
	for (size_t i = 0; !x->own && i < s->n; i++)
		if (part_in(&s->libraries[i], x, &part))
			bytes += part.end - part.start;
	return bytes >> VT_PAGE_SHIFT;
}

struct vt_totals vt_own_share_count(struct vt_own_share *s, const struct vt_replay *r)
{
	struct vt_totals t = { 0 };
	struct vt_extent part;
	bool ours = true;
	if (!s->found)
		find_libraries(s, r);
	for (struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x)) {
		if (x->own)
			vt_totals_add(&t, x);
		for (size_t i = 0; !x->own && i < s->n; i++)
			if (part_in(&s->libraries[i], x, &part))
				vt_totals_add(&t, &part);
		/* an area counts if all of it is ours */
		ours &= vt_own_share_pages(s, x) == (x->end - x->start) >> VT_PAGE_SHIFT;
		struct vt_extent *next = vt_extent_next(x);
		if (next && next->boundary != VT_BOUNDARY_SPLIT)
			continue;
		t.map_count += ours;
		ours = true;
	}
	return t;
}

void vt_own_share_free(struct vt_own_share *s)
{
	free(s->libraries);
}
