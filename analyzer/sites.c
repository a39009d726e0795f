/*
 * sites.c - from a stack's addresses to modules, frames and call sites.
 *
 * Keeps its own sorted list of the code that files have mapped, as the model shows it, and counts
 * its changes: what is remembered for a stack id is good for one such generation. Never looks at
 * the analyzed machine: /proc knows nothing of a process that is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sites.h"

#include <sys/mman.h>
#include <uthash.h>

#include "alloc.h"
#include "symbols.h"

enum module_role { MODULE_PLAIN, MODULE_RUNTIME, MODULE_RECORDER };

/* One file that code came from, or something without a file. */
struct module {
	UT_hash_handle hh;
	uint32_t number;
	enum module_role role;
	char *path;
	char *name;
	bool has_file;
	char key[]; /* path NUL build-id */
};

/* Code of a file in memory. */
struct code_range {
	uint64_t start, end;
	uint64_t offset; /* in the file */
	uint32_t file;   /* file id */
};

struct site_key {
	uint64_t file_offset;
	uint64_t module;
};

struct site_entry {
	UT_hash_handle hh;
	struct site_key key;
	struct vt_site site;
};

/* What is remembered for a stack id. */
struct stack_memory {
	uint64_t generation; /* 0: nothing */
	struct vt_site *site;
};

struct vt_sites {
	struct vt_symbols *symbols;
	struct module *modules;
	struct module **by_file; /* by file id; NULL: not asked for yet */
	size_t cap_files;
	uint32_t n_modules;
	struct module *anon, *nothing;

	struct code_range *code, *code_before;
	size_t n_code, cap_code, n_before, cap_before;
	uint64_t generation;
	bool dirty;

	struct site_entry *sites;
	struct vt_site **by_id;
	size_t n_sites, cap_sites;
	struct stack_memory *stacks; /* by stack id */
	size_t cap_stacks;
};

/* The parts of libc and the loader, by the beginning of their files' names. */
static enum module_role role_of(const char *name)
{
	static const char *const runtime[] = { "libc.so.6",  "libc-2.",   "ld-linux-", "ld-2.",
					       "libpthread", "libdl.so.", "libdl-2." };
	if (strncmp(name, "libvmtrail.so", 13) == 0)
		return MODULE_RECORDER;
	for (size_t i = 0; i < sizeof(runtime) / sizeof(runtime[0]); i++)
		if (strncmp(name, runtime[i], strlen(runtime[i])) == 0)
			return MODULE_RUNTIME;
	return MODULE_PLAIN;
}

/* The module of a path and build-id, made when new. */
static struct module *module_of(struct vt_sites *s, const char *path, const uint8_t *build_id,
				size_t len, bool has_file)
{
	static const char deleted[] = " (deleted)";
	size_t n = strlen(path), size = n + 1 + len;
	struct module *m;
	char *key = vt_calloc(size, 1);
	memcpy(key, path, n);
	if (len)
		memcpy(key + n + 1, build_id, len);
	HASH_FIND(hh, s->modules, key, size, m);
	if (!m) {
		m = vt_calloc(1, sizeof(*m) + size);
		memcpy(m->key, key, size);
		m->number = s->n_modules++;
		m->path = vt_strndup(path, n);
		const char *slash = has_file ? strrchr(path, '/') : NULL;
		m->name = vt_strndup(slash ? slash + 1 : path,
				     n - (slash ? (size_t)(slash + 1 - path) : 0));
		size_t name_len = strlen(m->name);
		if (has_file && name_len > sizeof(deleted) &&
		    strcmp(m->name + name_len + 1 - sizeof(deleted), deleted) == 0)
			m->name[name_len + 1 - sizeof(deleted)] = '\0';
		m->role = has_file ? role_of(m->name) : MODULE_PLAIN;
		m->has_file = has_file;
		HASH_ADD_KEYPTR(hh, s->modules, m->key, size, m);
	}
	free(key);
	return m;
}

struct vt_sites *vt_sites_new(void)
{
	struct vt_sites *s = vt_calloc(1, sizeof(*s));
	s->symbols = vt_symbols_new();
	if (!s->symbols)
		vt_out_of_memory();
	s->anon = module_of(s, "[anon]", NULL, 0, false);
	s->nothing = module_of(s, "?", NULL, 0, false);
	s->generation = 1;
	s->dirty = true;
	return s;
}

void vt_sites_free(struct vt_sites *s)
{
	if (!s)
		return;
	struct module *m, *next_m;
	HASH_ITER (hh, s->modules, m, next_m) {
		HASH_DEL(s->modules, m);
		free(m->path);
		free(m->name);
		free(m);
	}
	struct site_entry *e, *next_e;
	HASH_ITER (hh, s->sites, e, next_e) {
		HASH_DEL(s->sites, e);
		free(e);
	}
	vt_symbols_free(s->symbols);
	free(s->by_file);
	free(s->code);
	free(s->code_before);
	free(s->by_id);
	free(s->stacks);
	free(s);
}

/* The last code range that starts at or below addr, if it reaches beyond it. */
static const struct code_range *code_at(const struct vt_sites *s, uint64_t addr)
{
	size_t lo = 0, hi = s->n_code;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->code[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && addr < s->code[lo - 1].end ? &s->code[lo - 1] : NULL;
}

static bool touches_code(const struct vt_sites *s, uint64_t lo, uint64_t hi)
{
	if (lo >= hi)
		return false;
	const struct code_range *c = code_at(s, hi - 1);
	if (c)
		return true;
	/* the last one that starts below hi - 1 ends before it: does it reach above lo? */
	size_t a = 0, b = s->n_code;
	while (a < b) {
		size_t mid = a + (b - a) / 2;
		if (s->code[mid].start < hi)
			a = mid + 1;
		else
			b = mid;
	}
	return a && s->code[a - 1].end > lo;
}

/* Whether the event has made file pages executable that were not so before. */
static bool makes_code(const struct vt_replay *r, const struct vt_event *e)
{
	switch (e->kind) {
	case VT_MMAP:
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
	case VT_UNSEEN_MAP:
		if (!(e->a[2] & PROT_EXEC) || vt_is_error(e->ret))
			return false;
		if (e->kind == VT_MMAP || e->kind == VT_UNSEEN_MAP)
			return e->file != 0;
		break;
	case VT_MREMAP:
		break;
	default:
		return false;
	}
	uint64_t at = r->effect.lo2 < r->effect.hi2 ? r->effect.lo2 : r->effect.lo;
	const struct vt_extent *x = vt_model_find(&r->model, at);
	return x && x->start <= at && x->file && (x->flags & VT_VM(EXEC));
}

void vt_sites_follow(struct vt_sites *s, const struct vt_replay *r, const struct vt_item *item)
{
	if (item->type != VT_ITEM_EVENT) {
		s->dirty = true;
		return;
	}
	const struct vt_event *e = &item->event;
	if (s->dirty || e->kind == VT_MADVISE)
		return;
	s->dirty = makes_code(r, e) || touches_code(s, r->effect.lo, r->effect.hi) ||
		   touches_code(s, r->effect.lo2, r->effect.hi2);
}

/* Bring the list of code up to date; a real change begins a new generation. */
static void refresh(struct vt_sites *s, const struct vt_replay *r)
{
	if (!s->dirty)
		return;
	s->dirty = false;
	struct code_range *old = s->code;
	size_t n_old = s->n_code, cap_old = s->cap_code;
	s->code = s->code_before;
	s->cap_code = s->cap_before;
	s->n_code = 0;
	for (const struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x)) {
		if (!x->file || !(x->flags & VT_VM(EXEC)))
			continue;
		s->code = vt_grow(s->code, s->n_code, &s->cap_code, sizeof(*s->code));
		/* zeroed: ranges are compared as bytes */
		memset(&s->code[s->n_code], 0, sizeof(*s->code));
		s->code[s->n_code].start = x->start;
		s->code[s->n_code].end = x->end;
		s->code[s->n_code].offset = x->pgoff << VT_PAGE_SHIFT;
		s->code[s->n_code].file = x->file;
		s->n_code++;
	}
	s->code_before = old;
	s->cap_before = cap_old;
	if (n_old != s->n_code || (n_old && memcmp(old, s->code, n_old * sizeof(*old)) != 0))
		s->generation++;
}

/* The module behind a file id. */
static struct module *module_of_file(struct vt_sites *s, const struct vt_trace *t, uint32_t file)
{
	if (file >= t->n_files || t->files[file].kind == VT_FILE_NONE)
		return s->nothing;
	while (file >= s->cap_files) {
		size_t cap = s->cap_files ? s->cap_files * 2 : 64;
		s->by_file = vt_realloc(s->by_file, cap, sizeof(struct module *));
		memset(s->by_file + s->cap_files, 0,
		       (cap - s->cap_files) * sizeof(struct module *));
		s->cap_files = cap;
	}
	if (!s->by_file[file]) {
		const struct vt_file_def *f = &t->files[file];
		s->by_file[file] = module_of(s, f->path ? f->path : "?", f->build_id,
					     f->build_id_len, f->kind == VT_FILE_REGULAR);
	}
	return s->by_file[file];
}

/* Which module an address was in, and the offset in its file. */
static struct module *locate(struct vt_sites *s, const struct vt_replay *r, uint64_t addr,
			     uint32_t *file, uint64_t *offset)
{
	const struct code_range *c = code_at(s, addr);
	*file = 0;
	*offset = 0;
	if (c) {
		*file = c->file;
		*offset = addr - c->start + c->offset;
		return module_of_file(s, r->trace, c->file);
	}
	const struct vt_extent *x = vt_model_find(&r->model, addr);
	if (!x || x->start > addr)
		return s->nothing;
	switch (x->special) {
	case VT_SPECIAL_VDSO:
		return module_of(s, "[vdso]", NULL, 0, false);
	case VT_SPECIAL_STACK:
		return module_of(s, "[stack]", NULL, 0, false);
	default:
		return x->file ? module_of_file(s, r->trace, x->file) : s->anon;
	}
}

/* The frames of one pc; addr is where its call instruction lies. Returns their number. */
static size_t frames_of_pc(struct vt_sites *s, const struct vt_replay *r, unsigned number,
			   uint64_t pc, uint64_t addr, struct vt_frame_text *out, size_t max,
			   struct module **module)
{
	uint32_t file;
	uint64_t offset;
	struct module *m = locate(s, r, addr, &file, &offset);
	struct vt_frame_text base = {
		.number = number,
		.runtime = m->role != MODULE_PLAIN,
		.pc = pc,
		.module = m->name,
		.path = m->has_file ? m->path : "",
		.file_offset = m->has_file ? offset + (pc - addr) : 0,
	};
	const struct vt_symbol *symbols = NULL;
	size_t n = 0;
	if (file && m->has_file) {
		const struct vt_file_def *f = &r->trace->files[file];
		n = vt_symbols_resolve(s->symbols, m->path, f->build_id, f->build_id_len, offset,
				       &symbols, &base.stale);
	}
	*module = m;
	size_t count = n ? n : 1;
	for (size_t i = 0; i < count && i < max; i++) {
		out[i] = base;
		if (!n)
			break;
		out[i].function = symbols[i].function;
		out[i].offset = symbols[i].offset + (pc - addr);
		out[i].source = symbols[i].file;
		out[i].line = symbols[i].line;
		out[i].inlined = symbols[i].inlined;
	}
	return count < max ? count : max;
}

/* The address to look up for a pc: in the call that returns to it, or the faulting instruction. */
static uint64_t call_address(const struct vt_event *e, uint32_t frame, uint64_t pc)
{
	return pc && !(frame == 0 && e->kind == VT_FAULT) ? pc - 1 : pc;
}

static const struct vt_stack_def *stack_of(const struct vt_replay *r, const struct vt_event *e)
{
	const struct vt_trace *t = r->trace;
	if (!e->stack || e->stack >= t->n_stacks || !t->stacks[e->stack].pc)
		return NULL;
	return &t->stacks[e->stack];
}

size_t vt_stack_frames(struct vt_sites *s, const struct vt_replay *r, const struct vt_event *e,
		       struct vt_frame_text *out, size_t max)
{
	const struct vt_stack_def *stack = stack_of(r, e);
	struct module *m;
	size_t n = 0;
	if (!stack)
		return 0;
	refresh(s, r);
	for (uint32_t i = 0; i < stack->n && n < max; i++)
		n += frames_of_pc(s, r, i, stack->pc[i], call_address(e, i, stack->pc[i]), out + n,
				  max - n, &m);
	return n;
}

/* The site of one call instruction, made when new. */
static struct vt_site *site_at(struct vt_sites *s, const struct module *m,
			       const struct vt_frame_text *frame, const struct vt_frame_text *outer,
			       const char *via)
{
	struct site_key key = { frame->file_offset, m->number };
	struct site_entry *e;
	HASH_FIND(hh, s->sites, &key, sizeof(key), e);
	if (e)
		return &e->site;
	e = vt_calloc(1, sizeof(*e));
	e->key = key;
	e->site = (struct vt_site){ (uint32_t)s->n_sites, *frame, *outer, via };
	HASH_ADD(hh, s->sites, key, sizeof(key), e);
	s->by_id = vt_grow(s->by_id, s->n_sites, &s->cap_sites, sizeof(*s->by_id));
	s->by_id[s->n_sites++] = &e->site;
	return &e->site;
}

/* A runtime function as its callers know it. */
static const char *public_name(const char *function)
{
	static const char *const prefixes[] = { "__GI_", "__libc_", "__", "_" };
	static const char *const versioned[] = { "pthread_create_2_1",     "pthread_create",
						 "dlopen_implementation",  "dlopen",
						 "dlclose_implementation", "dlclose",
						 "libc_start_main_impl",   "libc_start_main" };
	for (size_t i = 0; function && i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (strncmp(function, prefixes[i], strlen(prefixes[i])) == 0)
			function += strlen(prefixes[i]);
	for (size_t i = 0; function && i < sizeof(versioned) / sizeof(versioned[0]); i += 2)
		if (strcmp(function, versioned[i]) == 0)
			function = versioned[i + 1];
	return function;
}

static bool starts_with(const char *text, const char *start)
{
	return text && strncmp(text, start, strlen(start)) == 0;
}

/* Whether a function makes memory calls on behalf of its callers, wherever it was linked in. */
static bool is_runtime(const struct module *m, const char *function)
{
	return m->role != MODULE_PLAIN || starts_with(function, "operator new") ||
	       starts_with(function, "operator delete");
}

/* Where every thread begins: says nothing of what it does. */
static bool is_entry(const char *function)
{
	static const char *const entries[] = { "_start",       "__libc_start_main_impl",
					       "__clone3",     "__libc_start_call_main",
					       "clone3",       "__libc_start_main",
					       "__GI___clone", "clone" };
	for (size_t i = 0; function && i < sizeof(entries) / sizeof(entries[0]); i++)
		if (strcmp(function, entries[i]) == 0)
			return true;
	return false;
}

/*
 * Find a stack's site: see vt_site_of. *lasting: only code of files was met on the way, so that the
 * answer is good for a generation; other memory comes and goes without being followed.
 */
static struct vt_site *find_site(struct vt_sites *s, const struct vt_replay *r,
				 const struct vt_event *e, const struct vt_stack_def *stack,
				 bool *lasting)
{
	struct vt_frame_text f[VT_MAX_FRAMES], inner, outer;
	struct module *m, *outermost = NULL;
	const char *via = NULL;
	for (uint32_t i = 0; i < stack->n; i++) {
		size_t n = frames_of_pc(s, r, i, stack->pc[i], call_address(e, i, stack->pc[i]), f,
					VT_MAX_FRAMES, &m);
		const char *function = f[n - 1].function;
		*lasting &= m->has_file;
		if (m->role == MODULE_RECORDER)
			continue;
		if (!is_runtime(m, function) && !is_entry(function))
			return site_at(s, m, &f[0], &f[n - 1], public_name(via));
		via = function;
		if (outermost && is_entry(function))
			continue;
		inner = f[0];
		outer = f[n - 1];
		outermost = m;
	}
	return outermost ? site_at(s, outermost, &inner, &outer, NULL) : NULL;
}

const struct vt_site *vt_site_of(struct vt_sites *s, const struct vt_replay *r,
				 const struct vt_event *e)
{
	const struct vt_stack_def *stack = stack_of(r, e);
	if (!stack)
		return NULL;
	refresh(s, r);
	if (e->stack >= s->cap_stacks) {
		size_t cap = s->cap_stacks ? s->cap_stacks : 256;
		while (cap <= e->stack)
			cap *= 2;
		s->stacks = vt_realloc(s->stacks, cap, sizeof(*s->stacks));
		memset(s->stacks + s->cap_stacks, 0, (cap - s->cap_stacks) * sizeof(*s->stacks));
		s->cap_stacks = cap;
	}
	struct stack_memory *memory = &s->stacks[e->stack];
	if (memory->generation != s->generation) {
		bool lasting = true;
		memory->site = find_site(s, r, e, stack, &lasting);
		memory->generation = lasting ? s->generation : 0;
	}
	return memory->site;
}

uint32_t vt_sites_count(const struct vt_sites *s)
{
	return (uint32_t)s->n_sites;
}

const struct vt_site *vt_sites_get(const struct vt_sites *s, uint32_t id)
{
	return s->by_id[id];
}
