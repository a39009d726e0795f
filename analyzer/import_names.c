/*
 * import_names.c - tables of what an imported log names.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_names.h"

#include "alloc.h"
#include "trace.h"
#include <uthash.h>

bool vt_bits_add(struct vt_bits *b, uint32_t number)
{
	size_t word = number / 64;
	uint64_t bit = 1ull << number % 64;

	if (word >= b->n) {
		size_t n = b->n ? b->n * 2 : 4;
		while (n <= word)
			n *= 2;
		b->words = vt_realloc(b->words, n, sizeof(*b->words));
		memset(b->words + b->n, 0, (n - b->n) * sizeof(*b->words));
		b->n = n;
	}
	bool new = !(b->words[word] & bit);
	b->words[word] |= bit;
	return new;
}

void vt_bits_free(struct vt_bits *b)
{
	free(b->words);
	*b = (struct vt_bits){ 0 };
}

/* A text, or any bytes, and the number it has. */
struct entry {
	UT_hash_handle hh;
	uint32_t number;
	char key[];
};

struct vt_names {
	struct entry *file_keys, *frame_keys, *stack_keys;
	struct vt_import_file *files;
	struct vt_import_frame *frames;
	struct vt_import_stack *stacks;
	size_t n_files, n_frames, n_stacks, cap_files, cap_frames, cap_stacks;
};

/* The entry of a key, made when new, without a number yet. */
static struct entry *entry_of(struct entry **table, const void *key, size_t n)
{
	struct entry *e;
	HASH_FIND(hh, *table, key, n, e);
	if (!e) {
		e = vt_calloc(1, sizeof(*e) + n + 1);
		memcpy(e->key, key, n);
		HASH_ADD_KEYPTR(hh, *table, e->key, n, e);
	}
	return e;
}

static void free_entries(struct entry *table)
{
	struct entry *e, *next;
	HASH_ITER (hh, table, e, next) {
		HASH_DEL(table, e);
		free(e);
	}
}

struct vt_names *vt_names_new(void)
{
	struct vt_names *n = vt_calloc(1, sizeof(*n));
	/* numbers begin with 1 */
	n->files = vt_grow(n->files, n->n_files++, &n->cap_files, sizeof(*n->files));
	n->frames = vt_grow(n->frames, n->n_frames++, &n->cap_frames, sizeof(*n->frames));
	n->stacks = vt_grow(n->stacks, n->n_stacks++, &n->cap_stacks, sizeof(*n->stacks));
	return n;
}

void vt_names_free(struct vt_names *n)
{
	for (size_t i = 1; i < n->n_files; i++)
		free(n->files[i].path);
	for (size_t i = 1; i < n->n_frames; i++) {
		free(n->frames[i].path);
		free(n->frames[i].function);
	}
	for (size_t i = 1; i < n->n_stacks; i++)
		free(n->stacks[i].frames);
	free_entries(n->file_keys);
	free_entries(n->frame_keys);
	free_entries(n->stack_keys);
	free(n->files);
	free(n->frames);
	free(n->stacks);
	free(n);
}

static uint32_t add_file(struct vt_names *n, char *path, uint8_t kind, uint64_t ino)
{
	n->files = vt_grow(n->files, n->n_files, &n->cap_files, sizeof(*n->files));
	n->files[n->n_files] = (struct vt_import_file){ path, kind, ino };
	return (uint32_t)n->n_files++;
}

uint32_t vt_names_file(struct vt_names *n, struct vt_slice path, bool shared)
{
	char *text = vt_strndup(path.p, (size_t)(path.end - path.p));
	uint8_t kind = vt_guess_file_kind(1, text, shared);
	uint32_t number;

	if (kind == VT_FILE_SHM_ANON || kind == VT_FILE_HUGETLB) {
		number = add_file(n, text, kind, 0);
		return number;
	}
	struct entry *e = entry_of(&n->file_keys, path.p, (size_t)(path.end - path.p));
	if (e->number)
		free(text);
	else
		e->number = add_file(n, text, kind, 0);
	return e->number;
}

uint32_t vt_names_nameless(struct vt_names *n, uint8_t kind, const char *path)
{
	return add_file(n, vt_strndup(path, strlen(path)), kind, 0);
}

uint32_t vt_names_segment(struct vt_names *n, uint32_t shmid)
{
	char key[32];
	int len = snprintf(key, sizeof(key), "/SYSV %u", shmid);
	struct entry *e = entry_of(&n->file_keys, key, (size_t)len);

	if (!e->number)
		e->number = add_file(n, vt_strndup("/SYSV (deleted)", 15), VT_FILE_SYSV, shmid);
	return e->number;
}

const struct vt_import_file *vt_names_file_of(const struct vt_names *n, uint32_t file)
{
	return &n->files[file];
}

/*
 * "/lib/libc.so.6(mmap64+0x17) [0x1053f7]"; without a name "/lib/libc.so.6() [0x1053f7]"; what
 * strace could not find out stands there as a word.
 */
static struct vt_import_frame read_frame(struct vt_slice s)
{
	const char *open = memchr(s.p, '(', (size_t)(s.end - s.p));
	const char *bracket = memrchr(s.p, '[', (size_t)(s.end - s.p));
	struct vt_import_frame f = { 0 };

	if (!bracket)
		bracket = s.end;
	struct vt_slice number = { bracket + (bracket < s.end), s.end };
	const char *close =
	    open && open < bracket ? memrchr(open, ')', (size_t)(bracket - open)) : NULL;
	if (!close) {
		f.path = vt_strndup("", 0);
		f.function = vt_strndup("", 0);
		vt_slice_number(&number, &f.offset);
		return f;
	}
	f.path = vt_strndup(s.p, (size_t)(open - s.p));
	const char *plus = memrchr(open, '+', (size_t)(close - open));
	struct vt_slice offset = { plus ? plus + 1 : close, close };
	if (plus && vt_slice_number(&offset, &f.offset)) {
		f.function = vt_strndup(open + 1, (size_t)(plus - open - 1));
	} else {
		f.function = vt_strndup("", 0);
		vt_slice_number(&number, &f.offset);
	}
	return f;
}

uint32_t vt_names_frame(struct vt_names *n, struct vt_slice text)
{
	struct entry *e = entry_of(&n->frame_keys, text.p, (size_t)(text.end - text.p));

	if (!e->number) {
		n->frames = vt_grow(n->frames, n->n_frames, &n->cap_frames, sizeof(*n->frames));
		n->frames[n->n_frames] = read_frame(text);
		e->number = (uint32_t)n->n_frames++;
	}
	return e->number;
}

const struct vt_import_frame *vt_names_frame_of(const struct vt_names *n, uint32_t frame)
{
	return &n->frames[frame];
}

uint32_t vt_names_stack(struct vt_names *n, const uint32_t *frames, uint32_t depth)
{
	if (!depth)
		return 0;
	struct entry *e = entry_of(&n->stack_keys, frames, depth * sizeof(*frames));
	if (!e->number) {
		n->stacks = vt_grow(n->stacks, n->n_stacks, &n->cap_stacks, sizeof(*n->stacks));
		struct vt_import_stack *s = &n->stacks[n->n_stacks];
		s->n = depth;
		s->frames = vt_calloc(depth, sizeof(*frames));
		memcpy(s->frames, frames, depth * sizeof(*frames));
		e->number = (uint32_t)n->n_stacks++;
	}
	return e->number;
}

const struct vt_import_stack *vt_names_stack_of(const struct vt_names *n, uint32_t stack)
{
	return &n->stacks[stack];
}
