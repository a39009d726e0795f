/*
 * role.c - what a mapping is for.
 *
 * What a stack says is decided once, when the first call with it is met, and kept by stack id. The
 * threads are found by their thread-local storage, which lies at the top of their stacks.
 *
 * SPDX-License-Identifier: MIT
 */
#include "role.h"

#include <sys/mman.h>

#include "alloc.h"
#include "sites_code.h"

/* How much later than noted a thread may turn up, in events. */
#define LATE 4096

/* More pieces than that no segment's anonymous memory has. */
#define SEGMENT_PIECES 64

/* What the calls of one stack are for. */
struct stack_use {
	bool known;
	uint8_t use;
	const char *name;
};

/* A thread, and the mapping that its thread-local storage is in. */
struct thread_place {
	uint32_t tid;
	uint64_t tls, birth;
	uint64_t met, ended; /* event numbers; ended: UINT64_MAX while it has not */
};

struct vt_roles {
	struct vt_sites *sites;
	struct stack_use *stacks; /* by stack id */
	size_t cap_stacks;
	struct thread_place *threads; /* in the order of their first events */
	size_t n_threads, cap_threads;
	bool *seen; /* by index of the trace's threads */
	size_t cap_seen;
	uint32_t last_tid, next_thread; /* next_thread: of the trace's, not looked at yet */
	uint64_t now;                   /* event number */
};

static const char *const use_names[] = {
#define VT_USE_NAME(e, name, text) [VT_USE_##e] = name,
	VT_USES(VT_USE_NAME)
#undef VT_USE_NAME
};

static const char *const use_texts[] = {
#define VT_USE_TEXT(e, name, text) [VT_USE_##e] = text,
	VT_USES(VT_USE_TEXT)
#undef VT_USE_TEXT
};

/* Functions of libc and the loader that say what memory is for, without leading underscores. */
static const struct {
	const char *function;
	uint8_t use;
} functions[] = {
	{ "pthread_create", VT_USE_THREAD_STACK },
	{ "spawni", VT_USE_SPAWN_STACK },
	{ "spawnix", VT_USE_SPAWN_STACK },
	{ "posix_spawn", VT_USE_SPAWN_STACK },
	{ "posix_spawnp", VT_USE_SPAWN_STACK },
	{ "sysmalloc_mmap_fallback", VT_USE_HEAP },
	{ "malloc", VT_USE_BLOCK },
	{ "calloc", VT_USE_BLOCK },
	{ "realloc", VT_USE_BLOCK },
	{ "memalign", VT_USE_BLOCK },
	{ "mid_memalign", VT_USE_BLOCK },
	{ "aligned_alloc", VT_USE_BLOCK },
	{ "posix_memalign", VT_USE_BLOCK },
	{ "valloc", VT_USE_BLOCK },
	{ "pvalloc", VT_USE_BLOCK },
	{ "free", VT_USE_BLOCK },
	{ "setlocale", VT_USE_LOCALE },
	{ "newlocale", VT_USE_LOCALE },
	{ "gconv_load_cache", VT_USE_LOCALE },
	{ "iconv_open", VT_USE_LOCALE },
};

struct vt_roles *vt_roles_new(struct vt_sites *sites)
{
	struct vt_roles *o = vt_calloc(1, sizeof(*o));
	o->sites = sites;
	return o;
}

void vt_roles_free(struct vt_roles *o)
{
	if (!o)
		return;
	free(o->stacks);
	free(o->threads);
	free(o->seen);
	free(o);
}

static const struct vt_file_def *file_of(const struct vt_trace *t, uint32_t file)
{
	return file && file < t->n_files && t->files[file].path ? &t->files[file] : NULL;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash[1] ? slash + 1 : path;
}

/* What a file is for that libc or the loader maps, or that was there at the start. */
static enum vt_use use_of_file(const struct vt_trace *t, const struct vt_file_def *f)
{
	const char *name = last_part(f->path), *exe = vt_trace_meta(t, "exe");
	if (f->kind != VT_FILE_REGULAR)
		return VT_USE_UNKNOWN;
	if (strcmp(name, "ld.so.cache") == 0)
		return VT_USE_LD_CACHE;
	if (!f->build_id_len &&
	    (strstr(f->path, "/locale/") || strcmp(name, "gconv-modules.cache") == 0))
		return VT_USE_LOCALE;
	return exe && strcmp(f->path, exe) == 0 ? VT_USE_PROGRAM : VT_USE_LIBRARY;
}

/* malloc reserves its further heaps without access, and maps large blocks for use at once. */
static enum vt_use heap_or_block(const struct vt_event *e)
{
	if (e->kind == VT_BRK)
		return VT_USE_HEAP;
	return e->kind == VT_MMAP && (e->a[3] & MAP_NORESERVE || !e->a[2]) ? VT_USE_HEAP
									   : VT_USE_BLOCK;
}

/* What a function of libc or the loader is for; VT_USE_UNKNOWN: it does not say. */
static enum vt_use use_of_function(const char *function)
{
	function = vt_public_name(function);
	for (size_t i = 0; function && i < sizeof(functions) / sizeof(functions[0]); i++)
		if (strcmp(function, functions[i].function) == 0)
			return functions[i].use;
	return function && strncmp(function, "IO_", 3) == 0 ? VT_USE_STDIO : VT_USE_UNKNOWN;
}

/*
 * libc without names of its inner functions: for private memory that can be written at once it asks
 * for nothing but malloc's blocks, beside the stacks that pthread_create and posix_spawn map.
 */
static bool is_nameless_block(const struct vt_event *e)
{
	return e->kind == VT_MMAP && e->a[2] == (PROT_READ | PROT_WRITE) &&
	       e->a[3] == (MAP_PRIVATE | MAP_ANONYMOUS);
}

static struct stack_use use_of_stack(struct vt_roles *o, const struct vt_replay *r,
				     const struct vt_event *e)
{
	struct vt_frame_text f[VT_MAX_FRAMES];
	const struct vt_module *caller = vt_who_called(o->sites, r, e).caller;
	struct stack_use u = { .known = true, .use = VT_USE_UNKNOWN };
	if (!caller)
		return u;
	if (caller->role != VT_MODULE_RUNTIME) {
		u.use = VT_USE_MODULE;
		u.name = caller->name;
		return u;
	}
	size_t n = vt_runtime_frames(o->sites, r, e, f, VT_MAX_FRAMES);
	for (size_t i = 0; i < n && !u.use; i++)
		u.use = (uint8_t)use_of_function(f[i].function);
	if (u.use == VT_USE_BLOCK)
		u.use = (uint8_t)heap_or_block(e);
	if (!u.use && strncmp(caller->name, "ld-", 3) == 0)
		u.use = VT_USE_LOADER;
	if (!u.use)
		u.use = is_nameless_block(e) ? VT_USE_BLOCK : VT_USE_LIBC;
	return u;
}

static const struct stack_use *stack_use(struct vt_roles *o, const struct vt_replay *r,
					 const struct vt_event *e)
{
	if (e->stack >= o->cap_stacks) {
		size_t cap = o->cap_stacks ? o->cap_stacks : 256;
		while (cap <= e->stack)
			cap *= 2;
		o->stacks = vt_realloc(o->stacks, cap, sizeof(*o->stacks));
		memset(o->stacks + o->cap_stacks, 0, (cap - o->cap_stacks) * sizeof(*o->stacks));
		o->cap_stacks = cap;
	}
	struct stack_use *u = &o->stacks[e->stack];
	if (!u->known)
		*u = use_of_stack(o, r, e);
	return u;
}

/* A thread's thread-local storage tells which mapping is its stack. False: none is there yet. */
static bool place_thread(struct vt_roles *o, const struct vt_replay *r,
			 const struct vt_thread_def *def, uint64_t met)
{
	size_t index = (size_t)(def - r->trace->threads);
	if (index >= o->cap_seen) {
		o->seen = vt_realloc(o->seen, index * 2 + 64, sizeof(*o->seen));
		memset(o->seen + o->cap_seen, 0, index * 2 + 64 - o->cap_seen);
		o->cap_seen = index * 2 + 64;
	}
	const struct vt_extent *x = vt_model_find(&r->model, def->tls);
	if (o->seen[index] || !def->tls)
		return true;
	if (!x || x->start > def->tls)
		return false;
	o->seen[index] = true;
	o->threads = vt_grow(o->threads, o->n_threads, &o->cap_threads, sizeof(*o->threads));
	o->threads[o->n_threads++] =
	    (struct thread_place){ def->tid, def->tls, x->birth, met, UINT64_MAX };
	return true;
}

/* Threads that are there by now, though they may have made no call. */
static void see_made(struct vt_roles *o, const struct vt_replay *r, uint64_t seq)
{
	const struct vt_trace *t = r->trace;
	for (; o->next_thread < t->n_threads; o->next_thread++) {
		const struct vt_thread_def *def = &t->threads[o->next_thread];
		if (!def->made)
			continue;
		if (def->made > seq)
			return;
		/* the number is too low by the unseen changes that came in between */
		if (!place_thread(o, r, def, seq) && seq < def->made + LATE)
			return;
	}
}

/*
 * A thread's last call: it gives up the contents of its own stack. Whoever gets the stack next may
 * never be met.
 */
static void see_end(struct vt_roles *o, const struct vt_replay *r, const struct vt_event *e)
{
	const struct vt_extent *x = vt_model_find(&r->model, e->a[0]);
	if (!x || x->start > e->a[0] || !x->birth)
		return;
	struct vt_event birth = { .kind = VT_MMAP, .stack = x->stack };
	for (size_t i = o->n_threads; i-- > 0;) {
		struct thread_place *p = &o->threads[i];
		if (p->birth != x->birth)
			continue;
		const struct vt_module *caller = vt_who_called(o->sites, r, e).caller;
		if (p->tid == e->tid && caller && caller->role == VT_MODULE_RUNTIME && x->stack &&
		    stack_use(o, r, &birth)->use == VT_USE_THREAD_STACK)
			p->ended = e->seq;
		return;
	}
}

void vt_roles_follow(struct vt_roles *o, const struct vt_replay *r, const struct vt_item *item)
{
	const struct vt_event *e = &item->event;
	if (item->type != VT_ITEM_EVENT)
		return;
	o->now = e->seq;
	const struct vt_thread_def *def;
	see_made(o, r, e->seq);
	if (e->tid && e->tid != o->last_tid) {
		if ((def = vt_trace_thread(r->trace, e->tid)))
			place_thread(o, r, def, e->seq);
		o->last_tid = e->tid;
	}
	if (e->kind == VT_MADVISE && e->a[2] == MADV_DONTNEED)
		see_end(o, r, e);
	if (e->stack && !vt_is_error(e->ret) && !(e->flags & VT_EV_OWN) &&
	    (e->kind == VT_MMAP || e->kind == VT_BRK || e->kind == VT_MREMAP ||
	     e->kind == VT_SHMAT))
		stack_use(o, r, e);
}

void vt_roles_at(struct vt_roles *o, uint64_t seq)
{
	o->now = seq;
}

/*
 * The last thread whose thread-local storage is in the mapping, of those met so far; else the first
 * one that will be met. NULL: none is known.
 */
static const struct thread_place *thread_in(const struct vt_roles *o, const struct vt_extent *x)
{
	const struct thread_place *later = NULL;
	for (size_t i = o->n_threads; i-- > 0;) {
		const struct thread_place *p = &o->threads[i];
		if (p->birth != x->birth || (!x->birth && (p->tls < x->start || p->tls >= x->end)))
			continue;
		if (p->met <= o->now)
			return p;
		later = p;
	}
	return later;
}

/* Whether x was mapped by the loader, or was there at the start. */
static bool by_loader(struct vt_roles *o, const struct vt_replay *r, const struct vt_extent *x)
{
	if (!x->birth)
		return x->special == VT_SPECIAL_NONE;
	struct vt_event e = { .kind = VT_MMAP, .stack = x->stack };
	enum vt_use use = x->stack ? stack_use(o, r, &e)->use : VT_USE_UNKNOWN;
	return use == VT_USE_LOADER || use == VT_USE_LOCALE;
}

/* The file of the segment that anonymous memory right behind it belongs to. */
static const struct vt_file_def *file_in_front(struct vt_roles *o, const struct vt_replay *r,
					       const struct vt_extent *x)
{
	const struct vt_extent *p = x;
	int pieces = 0;
	do {
		const struct vt_extent *before = vt_extent_prev(p);
		if (!before || pieces++ == SEGMENT_PIECES || before->end != p->start ||
		    before->own || !by_loader(o, r, before))
			return NULL;
		p = before;
	} while (!p->file);
	return file_of(r->trace, p->file);
}

static struct vt_mapping_role of_file(const struct vt_trace *t, const struct vt_file_def *f,
				      enum vt_use otherwise)
{
	struct vt_mapping_role role = { .use = f ? use_of_file(t, f) : otherwise };
	if (role.use == VT_USE_LIBRARY || role.use == VT_USE_PROGRAM)
		role.name = last_part(f->path);
	return role.use == VT_USE_UNKNOWN ? (struct vt_mapping_role){ .use = otherwise } : role;
}

static struct vt_mapping_role of_special(struct vt_roles *o, const struct vt_replay *r,
					 const struct vt_extent *x)
{
	struct vt_event e = { .kind = VT_BRK, .stack = x->stack };
	switch (x->special) {
	case VT_SPECIAL_HEAP:
		if (x->stack && stack_use(o, r, &e)->use == VT_USE_MODULE)
			return (struct vt_mapping_role){ .use = VT_USE_MODULE,
							 .name = stack_use(o, r, &e)->name };
		return (struct vt_mapping_role){ .use = VT_USE_HEAP, .name = "main" };
	case VT_SPECIAL_STACK:
		return (struct vt_mapping_role){ .use = VT_USE_MAIN_STACK };
	case VT_SPECIAL_VDSO:
		return (struct vt_mapping_role){ .use = VT_USE_KERNEL, .name = "vdso" };
	case VT_SPECIAL_VVAR:
		return (struct vt_mapping_role){ .use = VT_USE_KERNEL, .name = "vvar" };
	case VT_SPECIAL_VSYSCALL:
		return (struct vt_mapping_role){ .use = VT_USE_KERNEL, .name = "vsyscall" };
	default:
		return (struct vt_mapping_role){ .use = VT_USE_KERNEL, .name = "special area" };
	}
}

/* Memory that was there when the recording began. */
static struct vt_mapping_role of_start(struct vt_roles *o, const struct vt_replay *r,
				       const struct vt_extent *x)
{
	const struct thread_place *thread = x->file ? NULL : thread_in(o, x);
	if (thread)
		return (struct vt_mapping_role){ .use = VT_USE_TLS, .tid = thread->tid };
	const struct vt_file_def *f = x->file ? file_of(r->trace, x->file) : file_in_front(o, r, x);
	return of_file(r->trace, f, VT_USE_UNKNOWN);
}

struct vt_mapping_role vt_role_of(struct vt_roles *o, const struct vt_replay *r,
				  const struct vt_extent *x)
{
	struct vt_event e = { .kind = VT_MMAP, .stack = x->stack };
	if (x->own)
		return (struct vt_mapping_role){ .use = VT_USE_RECORDER };
	if (x->special)
		return of_special(o, r, x);
	if (!x->birth)
		return of_start(o, r, x);
	if (!x->stack)
		return (struct vt_mapping_role){ .use = VT_USE_UNKNOWN };
	/* A stack that was met in the parent only: its arguments are not known, its flags are. */
	e.a[2] = 1;
	e.a[3] = x->flags & VT_VM(NORESERVE) ? MAP_NORESERVE : 0;
	const struct thread_place *thread;
	const struct stack_use *u = stack_use(o, r, &e);
	struct vt_mapping_role role = { .use = u->use, .name = u->name };
	switch (u->use) {
	case VT_USE_LOCALE: /* it loads conversions, too */
		return of_file(r->trace, file_of(r->trace, x->file), VT_USE_LOCALE);
	case VT_USE_THREAD_STACK:
	case VT_USE_MODULE:
		if (!x->file && (thread = thread_in(o, x)))
			role = (struct vt_mapping_role){ .use = VT_USE_THREAD_STACK,
							 .tid = thread->tid,
							 .ended = thread->ended < o->now };
		return role;
	case VT_USE_LOADER:
		return of_file(r->trace,
			       x->file ? file_of(r->trace, x->file) : file_in_front(o, r, x),
			       VT_USE_LOADER);
	case VT_USE_LIBC:
		if (x->file)
			role = of_file(r->trace, file_of(r->trace, x->file), VT_USE_LIBC);
		return role.use == VT_USE_LIBRARY ? (struct vt_mapping_role){ .use = VT_USE_LIBC }
						  : role;
	case VT_USE_HEAP:
		role.name = "arena";
		return role;
	default:
		return role;
	}
}

const char *vt_use_name(enum vt_use use)
{
	return use_names[use];
}

char *vt_role_text(const struct vt_mapping_role *role, const struct vt_trace *t,
		   char buf[VT_ROLE_TEXT])
{
	const char *name = role->tid ? vt_trace_thread_name(t, role->tid) : "";
	const char *text = use_texts[role->use], *hole = strstr(text, "%s");
	int n = hole ? snprintf(buf, VT_ROLE_TEXT, "%.*s%s%s", (int)(hole - text), text,
				role->name ? role->name : "?", hole + 2)
		     : snprintf(buf, VT_ROLE_TEXT, "%s", text);
	if (role->tid && n >= 0 && n < VT_ROLE_TEXT)
		snprintf(buf + n, (size_t)(VT_ROLE_TEXT - n), *name ? "%s of %u (%s)" : "%s of %u",
			 role->ended ? ", last" : "", role->tid, name);
	return buf;
}
