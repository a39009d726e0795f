/*
 * sites_code.c - the modules of a replay and where their code lies.
 *
 * Never looks at the analyzed machine: /proc knows nothing of a process that is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sites_code.h"

#include <sys/mman.h>
#include <vmtrail/runtime.h>

#include "alloc.h"

void vt_code_init(struct vt_code *c)
{
	*c = (struct vt_code){ .generation = 1, .dirty = true };
}

void vt_code_fini(struct vt_code *c)
{
	struct vt_module *m, *next;
	HASH_ITER (hh, c->modules, m, next) {
		HASH_DEL(c->modules, m);
		free(m->path);
		free(m->name);
		free(m);
	}
	free(c->by_file);
	free(c->ranges);
	free(c->spare);
}

static enum vt_module_role role_of(const char *name)
{
	if (strncmp(name, "libvmtrail.so", 13) == 0)
		return VT_MODULE_RECORDER;
	return vt_is_runtime(name) ? VT_MODULE_RUNTIME : VT_MODULE_PLAIN;
}

/* The last part of a path, without what /proc says of a file that is gone; malloc'ed. */
static char *name_of(const char *path)
{
	static const char deleted[] = " (deleted)";
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t n = strlen(name), m = sizeof(deleted) - 1;
	if (n > m && strcmp(name + n - m, deleted) == 0)
		n -= m;
	return vt_strndup(name, n);
}

/* The module of a path and build-id, made when new. */
static struct vt_module *module_of(struct vt_code *c, const char *path, const uint8_t *build_id,
				   size_t len, bool has_file)
{
	size_t n = strlen(path), size = n + 1 + len;
	struct vt_module *m;
	char *key = vt_calloc(size, 1);
	memcpy(key, path, n);
	if (len)
		memcpy(key + n + 1, build_id, len);
	HASH_FIND(hh, c->modules, key, size, m);
	if (!m) {
		m = vt_calloc(1, sizeof(*m) + size);
		memcpy(m->key, key, size);
		m->number = c->n_modules++;
		m->path = vt_strndup(path, n);
		m->name = has_file ? name_of(path) : vt_strndup(path, n);
		m->role = has_file ? role_of(m->name) : VT_MODULE_PLAIN;
		m->has_file = has_file;
		HASH_ADD_KEYPTR(hh, c->modules, m->key, size, m);
	}
	free(key);
	return m;
}

static struct vt_module *module_without_file(struct vt_code *c, const char *name)
{
	return module_of(c, name, NULL, 0, false);
}

const struct vt_module *vt_code_named(struct vt_code *c, const char *path)
{
	return *path ? module_of(c, path, NULL, 0, true) : module_without_file(c, "?");
}

/* The module behind a file id. */
static struct vt_module *module_of_file(struct vt_code *c, const struct vt_trace *t, uint32_t file)
{
	if (file >= t->n_files || t->files[file].kind == VT_FILE_NONE)
		return module_without_file(c, "?");
	while (file >= c->cap_files) {
		size_t cap = c->cap_files ? c->cap_files * 2 : 64;
		c->by_file = vt_realloc(c->by_file, cap, sizeof(struct vt_module *));
		memset(c->by_file + c->cap_files, 0,
		       (cap - c->cap_files) * sizeof(struct vt_module *));
		c->cap_files = cap;
	}
	if (!c->by_file[file]) {
		const struct vt_file_def *f = &t->files[file];
		c->by_file[file] = module_of(c, f->path ? f->path : "?", f->build_id,
					     f->build_id_len, f->kind == VT_FILE_REGULAR);
	}
	return c->by_file[file];
}

/* The last range that starts at or below addr, NULL: none. */
static const struct vt_code_range *range_below(const struct vt_code *c, uint64_t addr)
{
	size_t lo = 0, hi = c->n_ranges;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (c->ranges[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &c->ranges[lo - 1] : NULL;
}

/* One call is seldom far from the one before: most are between the same two libraries. */
static bool touches_code(struct vt_code *c, uint64_t lo, uint64_t hi)
{
	if (lo >= hi || ((lo >= c->free_lo) & (hi <= c->free_hi)))
		return false;
	const struct vt_code_range *range = range_below(c, hi - 1);
	if (range && range->end > lo)
		return true;
	const struct vt_code_range *above = range ? range + 1 : c->ranges;
	c->free_lo = range ? range->end : 0;
	c->free_hi = above < c->ranges + c->n_ranges ? above->start : UINT64_MAX;
	return false;
}

/* Whether an event of this kind may have made pages executable. */
static bool may_make_code(const struct vt_event *e)
{
	const uint64_t kinds = VT_KIND_BIT(VT_MMAP) | VT_KIND_BIT(VT_MPROTECT) |
			       VT_KIND_BIT(VT_PKEY_MPROTECT) | VT_KIND_BIT(VT_UNSEEN_MAP);
	return (vt_kind_is_in(kinds, e->kind) & ((e->a[2] & PROT_EXEC) != 0)) |
	       (e->kind == VT_MREMAP);
}

/* Whether it has made file pages executable that were not so before. */
static bool makes_code(const struct vt_replay *r, const struct vt_event *e)
{
	if (e->kind != VT_MREMAP && vt_is_error(e->ret))
		return false;
	if (e->kind == VT_MMAP || e->kind == VT_UNSEEN_MAP)
		return e->file != 0;
	uint64_t at = r->effect.lo2 < r->effect.hi2 ? r->effect.lo2 : r->effect.lo;
	const struct vt_extent *x = vt_model_find(&r->model, at);
	return x && x->start <= at && x->file && (x->flags & VT_VM(EXEC));
}

void vt_code_follow(struct vt_code *c, const struct vt_replay *r, const struct vt_item *item)
{
	const struct vt_event *e = &item->event;
	const struct vt_effect *fx = &r->effect;
	if (item->type != VT_ITEM_EVENT)
		c->dirty = true;
	/* what is asked first does not depend on the kind of call, which nobody can predict */
	else if (touches_code(c, fx->lo, fx->hi) ||
		 (fx->lo2 < fx->hi2 && touches_code(c, fx->lo2, fx->hi2)))
		c->dirty |= e->kind != VT_MADVISE;
	else if (may_make_code(e))
		c->dirty |= makes_code(r, e);
}

void vt_code_refresh(struct vt_code *c, const struct vt_replay *r)
{
	if (!c->dirty)
		return;
	c->dirty = false;
	c->free_lo = c->free_hi = 0;
	struct vt_code_range *old = c->ranges;
	size_t n_old = c->n_ranges, cap_old = c->cap_ranges;
	c->ranges = c->spare;
	c->cap_ranges = c->cap_spare;
	c->n_ranges = 0;
	for (const struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x)) {
		if (!x->file || !(x->flags & VT_VM(EXEC)))
			continue;
		c->ranges = vt_grow(c->ranges, c->n_ranges, &c->cap_ranges, sizeof(*c->ranges));
		struct vt_code_range *range = &c->ranges[c->n_ranges++];
		memset(range, 0, sizeof(*range)); /* ranges are compared as bytes */
		range->start = x->start;
		range->end = x->end;
		range->offset = x->pgoff << VT_PAGE_SHIFT;
		range->file = x->file;
	}
	c->spare = old;
	c->cap_spare = cap_old;
	if (n_old != c->n_ranges || (n_old && memcmp(old, c->ranges, n_old * sizeof(*old)) != 0))
		c->generation++;
}

const struct vt_module *vt_code_locate(struct vt_code *c, const struct vt_replay *r, uint64_t addr,
				       uint32_t *file, uint64_t *offset)
{
	const struct vt_code_range *range = range_below(c, addr);
	*file = 0;
	*offset = 0;
	if (range && addr < range->end) {
		*file = range->file;
		*offset = addr - range->start + range->offset;
		return module_of_file(c, r->trace, range->file);
	}
	const struct vt_extent *x = vt_model_find(&r->model, addr);
	if (!x || x->start > addr)
		return module_without_file(c, "?");
	switch (x->special) {
	case VT_SPECIAL_VDSO:
		return module_without_file(c, "[vdso]");
	case VT_SPECIAL_STACK:
		return module_without_file(c, "[stack]");
	default:
		return x->file ? module_of_file(c, r->trace, x->file)
			       : module_without_file(c, "[anon]");
	}
}
