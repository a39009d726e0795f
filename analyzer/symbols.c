/*
 * symbols.c - the cache between a stack's addresses and the ELF and DWARF readers.
 *
 * One entry for each file (path and build-id) and one for each address asked for. Never opens a
 * file twice, also when it could not be opened.
 *
 * SPDX-License-Identifier: MIT
 */
#include "symbols.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "elf_module.h"

#define DEBUG_ROOT "/usr/lib/debug"

/* A file, by the key path NUL build-id. */
struct file_entry {
	UT_hash_handle hh;
	struct vt_elf *elf; /* NULL: nothing to read */
	uint32_t number;
	bool stale;
	char key[];
};

struct address_key {
	uint64_t file_offset;
	uint64_t file; /* file_entry.number */
};

struct address_entry {
	UT_hash_handle hh;
	struct address_key key;
	size_t n;
	struct vt_symbol frames[];
};

/* A linker's name and its readable form (or itself). */
struct name_entry {
	UT_hash_handle hh;
	char *readable; /* NULL: the name is readable itself */
	char name[];
};

struct vt_symbols {
	struct file_entry *files;
	struct address_entry *addresses;
	struct name_entry *names;
	struct file_entry *last; /* most questions come in runs for one file */
	uint32_t n_files;
};

struct vt_symbols *vt_symbols_new(void)
{
	return calloc(1, sizeof(struct vt_symbols));
}

void vt_symbols_free(struct vt_symbols *s)
{
	if (!s)
		return;
	struct address_entry *a, *next_a;
	HASH_ITER (hh, s->addresses, a, next_a) {
		HASH_DEL(s->addresses, a);
		free(a);
	}
	struct name_entry *n, *next_n;
	HASH_ITER (hh, s->names, n, next_n) {
		HASH_DEL(s->names, n);
		free(n->readable);
		free(n);
	}
	struct file_entry *f, *next_f;
	HASH_ITER (hh, s->files, f, next_f) {
		HASH_DEL(s->files, f);
		vt_elf_close(f->elf);
		free(f);
	}
	free(s);
}

static struct file_entry *file_entry(struct vt_symbols *s, const char *path,
				     const uint8_t *build_id, size_t len)
{
	size_t path_size = strlen(path) + 1, size = path_size + len;
	char *key = malloc(size);
	if (!key)
		return NULL;
	memcpy(key, path, path_size);
	if (len)
		memcpy(key + path_size, build_id, len);

	struct file_entry *f = s->last;
	if (!f || f->hh.keylen != size || memcmp(f->key, key, size) != 0)
		HASH_FIND(hh, s->files, key, size, f);
	if (!f && (f = calloc(1, sizeof(*f) + size))) {
		memcpy(f->key, key, size);
		f->number = s->n_files++;
		f->elf = vt_elf_open(path, build_id, len, DEBUG_ROOT, &f->stale);
		HASH_ADD_KEYPTR(hh, s->files, f->key, size, f);
	}
	free(key);
	if (f)
		s->last = f;
	return f;
}

/* The readable form of a linker's name; lives as long as the table. */
static const char *readable(struct vt_symbols *s, const char *name)
{
	struct name_entry *n;
	HASH_FIND_STR(s->names, name, n);
	if (!n) {
		size_t size = strlen(name) + 1;
		n = calloc(1, sizeof(*n) + size);
		if (!n)
			return name;
		memcpy(n->name, name, size);
		n->readable = vt_demangle(name);
		HASH_ADD_KEYPTR(hh, s->names, n->name, size - 1, n);
	}
	return n->readable ? n->readable : n->name;
}

/* Ask the ELF file; frames has room for VT_ELF_MAX_INLINE. Returns their number. */
static size_t look_up(struct vt_symbols *s, struct vt_elf *elf, uint64_t file_offset,
		      struct vt_symbol *frames)
{
	uint64_t address, start = 0;
	struct vt_elf_frame raw[VT_ELF_MAX_INLINE];
	if (!vt_elf_address(elf, file_offset, &address))
		return 0;
	size_t n = vt_elf_frames_at(elf, address, raw, &start);
	const struct vt_elf_function *symbol = vt_elf_function_at(elf, address);
	if (!n && !symbol)
		return 0;
	if (!n) {
		n = 1;
		raw[0] = (struct vt_elf_frame){ 0 };
	}
	if (!raw[n - 1].name && symbol) {
		raw[n - 1].name = symbol->name;
		raw[n - 1].linkage = true;
	}
	/* the symbol's start, where there is one: a function's cold part stands apart from it */
	if (symbol)
		start = symbol->start;
	for (size_t i = 0; i < n; i++) {
		const char *name = raw[i].name;
		frames[i] = (struct vt_symbol){
			.function = name && raw[i].linkage ? readable(s, name) : name,
			.file = raw[i].file,
			.line = raw[i].line,
			.offset = start && address >= start ? address - start : 0,
			.inlined = i + 1 < n,
		};
	}
	return n;
}

size_t vt_symbols_resolve(struct vt_symbols *s, const char *path, const uint8_t *build_id,
			  size_t build_id_len, uint64_t file_offset,
			  const struct vt_symbol **frames, bool *stale)
{
	*frames = NULL;
	*stale = false;
	struct file_entry *f = file_entry(s, path, build_id, build_id_len);
	if (!f)
		return 0;
	*stale = f->stale;
	if (!f->elf)
		return 0;

	struct address_key key = { file_offset, f->number };
	struct address_entry *a;
	HASH_FIND(hh, s->addresses, &key, sizeof(key), a);
	if (!a) {
		struct vt_symbol found[VT_ELF_MAX_INLINE];
		size_t n = look_up(s, f->elf, file_offset, found);
		a = calloc(1, sizeof(*a) + n * sizeof(*found));
		if (!a)
			return 0;
		a->key = key;
		a->n = n;
		memcpy(a->frames, found, n * sizeof(*found));
		HASH_ADD(hh, s->addresses, key, sizeof(key), a);
	}
	*frames = a->frames;
	return a->n;
}
