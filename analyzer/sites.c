/*
 * sites.c - from a stack's addresses to frames and call sites.
 *
 * What is remembered for a stack id is good for one generation of the code that files have mapped
 * (see sites_code.h).
 *
 * SPDX-License-Identifier: MIT
 */
#include "sites.h"

#include <uthash.h>

#include "alloc.h"
#include "sites_code.h"
#include "symbols.h"

struct site_key {
	uint64_t file_offset;
	uint64_t module;
};

struct site_entry {
	UT_hash_handle hh;
	struct site_key key;
	struct vt_site site;
};

/* What is remembered for a stack id; generation 0: nothing. */
struct stack_site {
	uint64_t generation;
	struct vt_site *site;
};
struct stack_who {
	uint64_t generation;
	struct vt_who who;
};

struct vt_sites {
	struct vt_symbols *symbols;
	struct vt_code code;
	struct site_entry *sites;
	struct vt_site **by_id;
	size_t n_sites, cap_sites;
	struct stack_site *stack_sites; /* by stack id */
	struct stack_who *stack_whos; /* likewise, and asked for every event: as small as can be */
	size_t cap_stacks;
};

struct vt_sites *vt_sites_new(void)
{
	struct vt_sites *s = vt_calloc(1, sizeof(*s));
	s->symbols = vt_symbols_new();
	if (!s->symbols)
		vt_out_of_memory();
	vt_code_init(&s->code);
	return s;
}

void vt_sites_free(struct vt_sites *s)
{
	struct site_entry *e, *next;
	if (!s)
		return;
	HASH_ITER (hh, s->sites, e, next) {
		HASH_DEL(s->sites, e);
		free(e);
	}
	vt_code_fini(&s->code);
	vt_symbols_free(s->symbols);
	free(s->by_id);
	free(s->stack_sites);
	free(s->stack_whos);
	free(s);
}

void vt_sites_follow(struct vt_sites *s, const struct vt_replay *r, const struct vt_item *item)
{
	vt_code_follow(&s->code, r, item);
}

/* The frame of an address that the trace itself names. */
static void named_frame(struct vt_sites *s, unsigned number, uint64_t pc,
			const struct vt_symbol_def *named, struct vt_frame_text *out,
			const struct vt_module **module)
{
	const struct vt_module *m = vt_code_named(&s->code, named->path);

	*module = m;
	*out = (struct vt_frame_text){
		.number = number,
		.runtime = m->role != VT_MODULE_PLAIN,
		.pc = pc,
		.module = m->name,
		.path = m->has_file ? m->path : "",
		.file_offset = *named->function ? pc : named->offset,
		.function = *named->function ? named->function : NULL,
		.offset = named->offset,
	};
}

/* The frames of one pc; addr is where its call instruction lies. Returns their number. */
static size_t frames_of_pc(struct vt_sites *s, const struct vt_replay *r, unsigned number,
			   uint64_t pc, uint64_t addr, struct vt_frame_text *out, size_t max,
			   const struct vt_module **module)
{
	const struct vt_symbol_def *named = vt_trace_symbol(r->trace, pc);
	uint32_t file;
	uint64_t offset;
	if (named) {
		named_frame(s, number, pc, named, out, module);
		return 1;
	}
	const struct vt_module *m = vt_code_locate(&s->code, r, addr, &file, &offset);
	struct vt_frame_text base = {
		.number = number,
		.runtime = m->role != VT_MODULE_PLAIN,
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
	const struct vt_module *m;
	size_t n = 0;
	if (!stack)
		return 0;
	vt_code_refresh(&s->code, r);
	for (uint32_t i = 0; i < stack->n && n < max; i++)
		n += frames_of_pc(s, r, i, stack->pc[i], call_address(e, i, stack->pc[i]), out + n,
				  max - n, &m);
	return n;
}

size_t vt_runtime_frames(struct vt_sites *s, const struct vt_replay *r, const struct vt_event *e,
			 struct vt_frame_text *out, size_t max)
{
	const struct vt_stack_def *stack = stack_of(r, e);
	const struct vt_module *m;
	size_t n = 0;
	if (!stack)
		return 0;
	vt_code_refresh(&s->code, r);
	for (uint32_t i = 0; i < stack->n && n < max; i++) {
		uint64_t addr = call_address(e, i, stack->pc[i]), offset;
		uint32_t file;
		if (vt_code_locate(&s->code, r, addr, &file, &offset)->role == VT_MODULE_PLAIN)
			break;
		n += frames_of_pc(s, r, i, stack->pc[i], addr, out + n, max - n, &m);
	}
	return n;
}

/* The site of one call instruction, made when new. */
static struct vt_site *site_at(struct vt_sites *s, const struct vt_module *m,
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

const char *vt_public_name(const char *function)
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
static bool is_runtime(const struct vt_module *m, const char *function)
{
	return m->role != VT_MODULE_PLAIN || starts_with(function, "operator new") ||
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
	const struct vt_module *m, *outermost = NULL;
	const char *via = NULL;
	for (uint32_t i = 0; i < stack->n; i++) {
		size_t n = frames_of_pc(s, r, i, stack->pc[i], call_address(e, i, stack->pc[i]), f,
					VT_MAX_FRAMES, &m);
		const char *function = f[n - 1].function;
		*lasting &= m->has_file;
		if (m->role == VT_MODULE_RECORDER)
			continue;
		/* a jump into what is no code tells nothing: its caller does */
		if (i == 0 && e->kind == VT_FAULT && !m->has_file && stack->n > 1)
			continue;
		if (!is_runtime(m, function) && !is_entry(function))
			return site_at(s, m, &f[0], &f[n - 1], vt_public_name(via));
		via = function;
		if (outermost && is_entry(function))
			continue;
		inner = f[0];
		outer = f[n - 1];
		outermost = m;
	}
	return outermost ? site_at(s, outermost, &inner, &outer, NULL) : NULL;
}

/* n zeroed objects behind the first old ones. */
static void *enlarge(void *array, size_t old, size_t n, size_t size)
{
	char *p = vt_realloc(array, old + n, size);
	memset(p + old * size, 0, n * size);
	return p;
}

/* Make room for what is remembered for a stack id. */
static void remember_stack(struct vt_sites *s, uint32_t stack)
{
	size_t cap = s->cap_stacks ? s->cap_stacks : 256, old = s->cap_stacks;
	while (cap <= stack)
		cap *= 2;
	if (cap == old)
		return;
	s->stack_sites = enlarge(s->stack_sites, old, cap - old, sizeof(*s->stack_sites));
	s->stack_whos = enlarge(s->stack_whos, old, cap - old, sizeof(*s->stack_whos));
	s->cap_stacks = cap;
}

const struct vt_site *vt_site_of(struct vt_sites *s, const struct vt_replay *r,
				 const struct vt_event *e)
{
	const struct vt_stack_def *stack = stack_of(r, e);
	if (!stack)
		return NULL;
	vt_code_refresh(&s->code, r);
	remember_stack(s, e->stack);
	struct stack_site *memory = &s->stack_sites[e->stack];
	if (memory->generation != s->code.generation) {
		bool lasting = true;
		memory->site = find_site(s, r, e, stack, &lasting);
		memory->generation = lasting ? s->code.generation : 0;
	}
	return memory->site;
}

/* Find who called: see vt_who_called; *lasting as in find_site. */
static struct vt_who find_who(struct vt_sites *s, const struct vt_replay *r,
			      const struct vt_event *e, const struct vt_stack_def *stack,
			      bool *lasting)
{
	struct vt_who c = { 0 };
	uint32_t file;
	uint64_t offset;
	for (uint32_t i = 0; i < stack->n; i++) {
		const struct vt_symbol_def *named = vt_trace_symbol(r->trace, stack->pc[i]);
		const struct vt_module *m =
		    named ? vt_code_named(&s->code, named->path)
			  : vt_code_locate(&s->code, r, call_address(e, i, stack->pc[i]), &file,
					   &offset);
		if (m->role == VT_MODULE_RECORDER || m == c.caller)
			continue;
		if (c.caller) {
			c.asker = m->has_file ? m : NULL;
			break;
		}
		*lasting = m->has_file;
		c.caller = m;
	}
	return c;
}

struct vt_who vt_who_called(struct vt_sites *s, const struct vt_replay *r, const struct vt_event *e)
{
	vt_code_refresh(&s->code, r);
	if (e->stack < s->cap_stacks && s->stack_whos[e->stack].generation == s->code.generation)
		return s->stack_whos[e->stack].who;
	const struct vt_stack_def *stack = stack_of(r, e);
	if (!stack)
		return (struct vt_who){ 0 };
	bool lasting = true;
	remember_stack(s, e->stack);
	struct stack_who *memory = &s->stack_whos[e->stack];
	memory->who = find_who(s, r, e, stack, &lasting);
	memory->generation = lasting ? s->code.generation : 0;
	return memory->who;
}

uint32_t vt_sites_count(const struct vt_sites *s)
{
	return (uint32_t)s->n_sites;
}

const struct vt_site *vt_sites_get(const struct vt_sites *s, uint32_t id)
{
	return s->by_id[id];
}
