/*
 * trace_defs.c - the definitions of a trace: stacks, files, threads, modules, and lines of text.
 *
 * Owns the tables of struct vt_trace. Ids come from the file: each is bounded by the number of
 * definitions read so far, so that a hostile one cannot make a table grow without limit. The first
 * definition of an id stays, because a killed process's journal repeats what a frame holds already.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"
#include <vmtrail/abi.h>

/* How far ids may run ahead of the definitions: a fork's child goes on with its parent's ids. */
#define ID_HEADROOM (1u << 20)
#define ID_PER_DEF  64

size_t vt_defs_span(const uint8_t *p, size_t n)
{
	struct vt_buf b = { (uint8_t *)p, (uint8_t *)p + n, false };

	while (b.p < b.end) {
		if (*b.p++ == VT_DEF_NONE)
			return (size_t)(b.p - p);
		size_t len;
		vt_get_str(&b, &len);
		if (b.bad)
			break;
	}
	return 0;
}

/* Read an id and check it against the bound. */
static bool is_plausible_id(const struct vt_trace *t, uint64_t v)
{
	return v && v < UINT32_MAX &&
	       v < ID_HEADROOM + ID_PER_DEF * (uint64_t)vt_reader_of(t)->n_defs;
}

static bool get_id(struct vt_trace *t, struct vt_buf *in, uint32_t *id)
{
	uint64_t v = vt_get_varint(in);
	*id = (uint32_t)v;
	return !in->bad && is_plausible_id(t, v);
}

/* Make room for table[id]; new entries are zeroed. */
static void *reserve_id(void *table, uint32_t *n, size_t *cap, uint32_t id, size_t size)
{
	if (id < *n)
		return table;
	if (id >= *cap) {
		size_t want = *cap * 2 > (size_t)id + 1 ? *cap * 2 : (size_t)id + 1;
		table = vt_realloc(table, want, size);
		*cap = want;
	}
	memset((uint8_t *)table + *n * size, 0, ((size_t)id + 1 - *n) * size);
	*n = id + 1;
	return table;
}

/* The frames of its own of a stack definition. */
static void read_frames(struct vt_trace *t, struct vt_buf *in, bool predicted, uint64_t *pc,
			uint64_t n)
{
	uint64_t prev = 0;
	for (uint64_t i = 0; i < n; i++) {
		if (predicted)
			vt_codec_frame(in, false, vt_reader_of(t)->callers, prev, &pc[i]);
		else
			pc[i] = prev + (uint64_t)vt_unzigzag(vt_get_varint(in));
		prev = pc[i];
	}
}

static bool read_any_stack(struct vt_trace *t, struct vt_buf *in, bool predicted)
{
	uint32_t id = 0, reference = 0;
	uint64_t n, shared;
	if (predicted) {
		vt_codec_calls(in, false, vt_reader_of(t)->callers, &id, &n, &reference, &shared);
	} else {
		id = (uint32_t)vt_get_varint(in);
		n = vt_get_varint(in);
		reference = (uint32_t)vt_get_varint(in);
		shared = vt_get_varint(in);
	}
	if (in->bad || !is_plausible_id(t, id) || n > VT_MAX_STACK || shared > n)
		return false;
	if (shared && (reference >= t->n_stacks || shared > t->stacks[reference].n))
		return false;
	t->stacks = reserve_id(t->stacks, &t->n_stacks, &vt_reader_of(t)->cap_stacks, id,
			       sizeof(*t->stacks));
	struct vt_stack_def *s = &t->stacks[id];
	uint64_t *pc = vt_calloc(n, sizeof(*pc));
	read_frames(t, in, predicted, pc, n - shared);
	if (shared) {
		const struct vt_stack_def *outer = &t->stacks[reference];
		memcpy(pc + n - shared, outer->pc + outer->n - shared, shared * sizeof(*pc));
	}
	if (in->bad || s->pc) {
		free(pc);
		return !in->bad;
	}
	s->n = (uint32_t)n;
	s->pc = pc;
	return true;
}

static bool read_stack(struct vt_trace *t, struct vt_buf *in)
{
	return read_any_stack(t, in, false);
}

static bool read_calls(struct vt_trace *t, struct vt_buf *in)
{
	struct vt_reader *r = vt_reader_of(t);
	if (!r->callers)
		r->callers = vt_calloc(1, sizeof(*r->callers));
	return read_any_stack(t, in, true);
}

/* A System V segment is known by its id alone. */
#define DEV_SYSV UINT64_MAX

static struct vt_file_key *find_file(struct vt_reader *r, uint64_t dev, uint64_t ino)
{
	struct {
		uint64_t dev, ino;
	} key = { dev, ino };
	struct vt_file_key *found;

	HASH_FIND(hh, r->file_keys, &key, sizeof(key), found);
	return found;
}

/* Remember which id stands for a file; the first one wins. */
static void index_file(struct vt_reader *r, const struct vt_file_def *f, uint32_t id)
{
	uint64_t dev = f->kind == VT_FILE_SYSV ? DEV_SYSV : f->dev;

	if ((!f->ino && f->kind != VT_FILE_SYSV) || find_file(r, dev, f->ino))
		return;
	struct vt_file_key *key = vt_calloc(1, sizeof(*key));
	key->dev = dev;
	key->ino = f->ino;
	key->id = id;
	HASH_ADD(hh, r->file_keys, dev, sizeof(key->dev) + sizeof(key->ino), key);
}

static bool read_file(struct vt_trace *t, struct vt_buf *in)
{
	struct vt_reader *r = vt_reader_of(t);
	uint32_t id;
	if (!get_id(t, in, &id))
		return false;
	uint64_t kind = vt_get_varint(in), dev = vt_get_varint(in), ino = vt_get_varint(in);
	size_t len;
	const uint8_t *path = vt_get_str(in, &len);
	if (in->bad || kind == VT_FILE_NONE || kind > VT_FILE_SPECIAL)
		return false;
	t->files = reserve_id(t->files, &t->n_files, &r->cap_files, id, sizeof(*t->files));
	struct vt_file_def *f = &t->files[id];
	if (f->kind)
		return true;
	f->kind = (uint8_t)kind;
	f->dev = dev;
	f->ino = ino;
	f->path = vt_strndup(path, len);
	index_file(r, f, id);
	return true;
}

static bool read_thread(struct vt_trace *t, struct vt_buf *in)
{
	struct vt_reader *r = vt_reader_of(t);
	uint32_t tid = (uint32_t)vt_get_varint(in);
	size_t len;
	const uint8_t *name = vt_get_str(in, &len);
	struct vt_thread_key *key;

	if (in->bad)
		return false;
	HASH_FIND(hh, r->thread_keys, &tid, sizeof(tid), key);
	if (!key) {
		key = vt_calloc(1, sizeof(*key));
		key->tid = tid;
		key->index = t->n_threads;
		HASH_ADD(hh, r->thread_keys, tid, sizeof(tid), key);
		t->threads =
		    vt_grow(t->threads, t->n_threads, &r->cap_threads, sizeof(*t->threads));
		t->threads[t->n_threads++] = (struct vt_thread_def){ .tid = tid };
	}
	struct vt_thread_def *def = &t->threads[key->index];
	if (len || !def->name) { /* who makes a thread does not know its name */
		free(def->name);
		def->name = vt_strndup(name, len);
	}
	uint64_t tls = in->p < in->end ? vt_get_varint(in) : 0;
	uint64_t made = in->p < in->end ? vt_get_varint(in) : 0;
	if (def->tls >> 12 != tls >> 12 || made < def->made) {
		def->tls = tls;
		def->made = made;
	}
	return !in->bad;
}

static bool read_module(struct vt_trace *t, struct vt_buf *in)
{
	uint64_t id = vt_get_varint(in);
	size_t len;
	const uint8_t *build_id = vt_get_str(in, &len);

	if (in->bad || id >= t->n_files || !t->files[id].kind || len > 64)
		return false;
	struct vt_file_def *f = &t->files[id];
	free(f->build_id);
	f->build_id = (uint8_t *)vt_strndup(build_id, len);
	f->build_id_len = (uint32_t)len;
	return true;
}

/* The text of "key value" with \n and \\ undone. */
static char *unescaped(const char *s, size_t n)
{
	char *out = vt_calloc(n + 1, 1), *o = out;

	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\\' && i + 1 < n)
			*o++ = s[++i] == 'n' ? '\n' : s[i];
		else
			*o++ = s[i];
	}
	return out;
}

static void read_line(struct vt_lines *lines, const char *s, size_t n)
{
	const char *space = memchr(s, ' ', n);
	size_t key_len = space ? (size_t)(space - s) : n;

	lines->v = vt_grow(lines->v, lines->n, &lines->cap, sizeof(*lines->v));
	struct vt_text_line *l = &lines->v[lines->n++];
	l->key = vt_strndup(s, key_len);
	l->value = space ? unescaped(space + 1, n - key_len - 1) : vt_strndup("", 0);
}

void vt_lines_read(struct vt_lines *lines, const char *text, size_t n)
{
	while (n) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;
		if (len)
			read_line(lines, text, len);
		len += end != NULL;
		text += len;
		n -= len;
	}
}

static bool read_note(struct vt_trace *t, struct vt_buf *in)
{
	size_t len;
	const uint8_t *text = vt_get_str(in, &len);
	struct vt_lines *notes = &t->notes;

	if (in->bad || !len)
		return !in->bad;
	read_line(notes, (const char *)text, len);
	struct vt_text_line *last = &notes->v[notes->n - 1];
	for (size_t i = 0; i + 1 < notes->n; i++) {
		if (strcmp(notes->v[i].key, last->key) || strcmp(notes->v[i].value, last->value))
			continue;
		free(last->key);
		free(last->value);
		notes->n--;
		break;
	}
	return true;
}

static bool read_symbol(struct vt_trace *t, struct vt_buf *in)
{
	struct vt_reader *r = vt_reader_of(t);
	uint64_t pc = vt_get_varint(in);
	size_t path_len, function_len;
	const uint8_t *path = vt_get_str(in, &path_len);
	const uint8_t *function = vt_get_str(in, &function_len);
	uint64_t offset = vt_get_varint(in);
	struct vt_symbol_key *key;

	if (in->bad)
		return false;
	HASH_FIND(hh, r->symbol_keys, &pc, sizeof(pc), key);
	if (key)
		return true;
	key = vt_calloc(1, sizeof(*key) + path_len + function_len + 2);
	memcpy(key->text, path, path_len);
	memcpy(key->text + path_len + 1, function, function_len);
	key->pc = pc;
	key->def = (struct vt_symbol_def){ key->text, key->text + path_len + 1, offset };
	HASH_ADD(hh, r->symbol_keys, pc, sizeof(key->pc), key);
	return true;
}

const struct vt_symbol_def *vt_trace_symbol(const struct vt_trace *t, uint64_t pc)
{
	const struct vt_reader *r = vt_reader_of(t);
	struct vt_symbol_key *key;

	if (!r->symbol_keys)
		return NULL;
	HASH_FIND(hh, r->symbol_keys, &pc, sizeof(pc), key);
	return key ? &key->def : NULL;
}

static bool read_name(struct vt_trace *t, struct vt_buf *in)
{
	uint64_t number = vt_get_varint(in);
	size_t len;
	const uint8_t *text = vt_get_str(in, &len);

	if (in->bad || !number || number > UINT16_MAX)
		return false;
	t->names = reserve_id(t->names, &t->n_names, &vt_reader_of(t)->cap_names, (uint32_t)number,
			      sizeof(*t->names));
	struct vt_name_def *def = &t->names[number];
	if (def->name)
		return true;
	def->name = vt_strndup(text, len);
	def->area = vt_format("[anon:%s]", def->name);
	def->shared_area = vt_format("[anon_shmem:%s]", def->name);
	return true;
}

const char *vt_trace_area_name(const struct vt_trace *t, uint32_t number, bool shared)
{
	if (number >= t->n_names)
		return NULL;
	return shared ? t->names[number].shared_area : t->names[number].area;
}

const char *vt_event_name(const struct vt_trace *t, const struct vt_event *e)
{
	bool named =
	    e->kind == VT_PRCTL && e->a[0] == PR_SET_VMA && e->a[1] == PR_SET_VMA_ANON_NAME;

	return named && e->a[4] < t->n_names ? t->names[e->a[4]].name : NULL;
}

/* The number of the name that a line of maps shows in brackets, 0: none that is defined. */
uint16_t vt_defs_name_of_area(const struct vt_trace *t, const char *path)
{
	for (uint32_t i = 1; *path == '[' && i < t->n_names; i++)
		if (t->names[i].name &&
		    (!strcmp(t->names[i].area, path) || !strcmp(t->names[i].shared_area, path)))
			return (uint16_t)i;
	return 0;
}

bool vt_defs_read(struct vt_trace *t, struct vt_buf *in)
{
	static bool (*const read[])(struct vt_trace *, struct vt_buf *) = {
		[VT_DEF_STACK] = read_stack,   [VT_DEF_FILE] = read_file,
		[VT_DEF_THREAD] = read_thread, [VT_DEF_MODULE] = read_module,
		[VT_DEF_NOTE] = read_note,     [VT_DEF_SYMBOL] = read_symbol,
		[VT_DEF_NAME] = read_name,     [VT_DEF_CALLS] = read_calls,
	};

	while (in->p < in->end) {
		uint8_t type = *in->p++;
		if (type == VT_DEF_NONE)
			return true;
		size_t len;
		const uint8_t *body = vt_get_str(in, &len);
		if (in->bad || type >= sizeof(read) / sizeof(read[0]))
			return false;
		struct vt_buf b = { (uint8_t *)body, (uint8_t *)body + len, false };
		if (!read[type](t, &b))
			return false;
		vt_reader_of(t)->n_defs++;
	}
	return true;
}

enum vt_file_kind vt_guess_file_kind(uint64_t dev, const char *path, bool shared)
{
	if (path[0] == '[' && !dev)
		return VT_FILE_SPECIAL;
	if (!strncmp(path, "/SYSV", 5) && strlen(path) >= 13)
		return VT_FILE_SYSV;
	if (!strcmp(path, "/dev/zero (deleted)") || !strncmp(path, "[anon_shmem:", 12))
		return VT_FILE_SHM_ANON;
	if (!strncmp(path, "/anon_hugepage", 14))
		return VT_FILE_HUGETLB;
	if (!strcmp(path, "/dev/zero"))
		return shared ? VT_FILE_SHM_ANON : VT_FILE_ZERO;
	if (!strncmp(path, "anon_inode:", 11) ||
	    (!strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9)))
		return VT_FILE_DEVICE;
	return VT_FILE_REGULAR;
}

uint32_t vt_defs_file_id(struct vt_trace *t, uint64_t dev, uint64_t ino, const char *path,
			 bool shared)
{
	struct vt_reader *r = vt_reader_of(t);
	enum vt_file_kind kind = vt_guess_file_kind(dev, path, shared);
	struct vt_file_key *found = find_file(r, kind == VT_FILE_SYSV ? DEV_SYSV : dev, ino);

	if (found)
		return found->id;
	uint32_t id = t->n_files ? t->n_files : 1;
	t->files = reserve_id(t->files, &t->n_files, &r->cap_files, id, sizeof(*t->files));
	t->files[id] = (struct vt_file_def){
		.kind = (uint8_t)kind,
		.dev = dev,
		.ino = ino,
		.path = vt_strndup(path, strlen(path)),
	};
	index_file(r, &t->files[id], id);
	return id;
}

static void free_lines(struct vt_lines *lines)
{
	for (size_t i = 0; i < lines->n; i++) {
		free(lines->v[i].key);
		free(lines->v[i].value);
	}
	free(lines->v);
}

void vt_defs_free(struct vt_trace *t)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_file_key *file, *next_file;
	struct vt_thread_key *thread, *next_thread;
	struct vt_symbol_key *symbol, *next_symbol;

	free_lines(&t->meta);
	free_lines(&t->end);
	free_lines(&t->notes);
	for (uint32_t i = 0; i < t->n_stacks; i++)
		free(t->stacks[i].pc);
	for (uint32_t i = 0; i < t->n_files; i++) {
		free(t->files[i].path);
		free(t->files[i].build_id);
	}
	for (uint32_t i = 0; i < t->n_threads; i++)
		free(t->threads[i].name);
	for (uint32_t i = 0; i < t->n_names; i++) {
		free(t->names[i].name);
		free(t->names[i].area);
		free(t->names[i].shared_area);
	}
	free(t->names);
	free(r->callers);
	free(t->stacks);
	free(t->files);
	free(t->threads);
	HASH_ITER (hh, r->file_keys, file, next_file) {
		HASH_DEL(r->file_keys, file);
		free(file);
	}
	HASH_ITER (hh, r->symbol_keys, symbol, next_symbol) {
		HASH_DEL(r->symbol_keys, symbol);
		free(symbol);
	}
	HASH_ITER (hh, r->thread_keys, thread, next_thread) {
		HASH_DEL(r->thread_keys, thread);
		free(thread);
	}
}
