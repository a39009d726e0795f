/*
 * names.c - the names that the program gives its anonymous memory (PR_SET_VMA_ANON_NAME).
 *
 * Runs inside the traced process. Each name is kept and written once; areas know it by a number.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hash.h"

#define NAME_SIZE  80     /* with the final NUL: what the kernel takes */
#define MANY_NAMES 0xffff /* numbers fit into vt_extent.name */

struct name {
	UT_hash_handle hh;
	uint32_t id, generation;
	uint32_t length;
	char text[];
};

static struct {
	struct name **by_id, *table;
	uint32_t n, cap;
} names;

static void write_name(struct name *e)
{
	uint8_t body[NAME_SIZE + 16];
	struct vt_buf b = { body, body + sizeof(body), false };
	vt_put_varint(&b, e->id);
	vt_put_str(&b, e->text, e->length);
	if (vt_define(VT_DEF_NAME, &b, body))
		e->generation = vt.generation;
}

static struct name *add(const char *text, size_t n)
{
	void *ids = names.n < MANY_NAMES ? vt_id_table(names.by_id, names.n, &names.cap) : NULL;
	if (!ids)
		return NULL;
	names.by_id = ids;
	struct name *e = vt_arena_alloc(sizeof(*e) + n);
	if (!e)
		return NULL;
	e->id = names.n + 1;
	e->length = (uint32_t)n;
	memcpy(e->text, text, n);
	HASH_ADD_KEYPTR(hh, names.table, e->text, n, e);
	if (!e->hh.tbl)
		return NULL;
	names.by_id[++names.n] = e;
	return e;
}

/* The number of a name, 0: there are too many. Under the lock. */
static uint32_t number(const char *text, size_t n)
{
	struct name *e = NULL;
	HASH_FIND(hh, names.table, text, n, e);
	if (!e)
		e = add(text, n);
	if (e && e->generation != vt.generation)
		write_name(e);
	return e ? e->id : 0;
}

struct request {
	const char *text;
	size_t n;
	uint32_t id;
};

static void answer(void *arg)
{
	struct request *r = arg;
	r->id = number(r->text, r->n);
}

/* The number of the name that the program points to, 0: the kernel would not take it either. */
uint32_t vt_name_at(const char *from)
{
	char text[NAME_SIZE + 1] = "";
	size_t piece;
	if (!atomic_load(&vt.on) || !atomic_load(vt.fork_guard))
		return 0;
	for (size_t n = 0; n < NAME_SIZE && strlen(text) == n; n += piece) {
		piece = VT_PAGE_SIZE - ((uintptr_t)(from + n) & (VT_PAGE_SIZE - 1));
		piece = piece < NAME_SIZE - n ? piece : NAME_SIZE - n;
		if (!vt_peek(text + n, from + n, piece))
			return 0;
	}
	if (strlen(text) >= NAME_SIZE)
		return 0;
	struct request r = { text, strlen(text), 0 };
	vt_locked(answer, &r);
	return r.id;
}

/* The number of the name that a line of maps shows, 0: none. Under the lock. */
uint32_t vt_name_of_area(const char *path)
{
	size_t n = strnlen(path, NAME_SIZE + 16), skip = 0;
	if (!strncmp(path, "[anon:", 6))
		skip = 6;
	else if (!strncmp(path, "[anon_shmem:", 12))
		skip = 12;
	if (!skip || path[n - 1] != ']' || n - 1 - skip >= NAME_SIZE)
		return 0;
	return number(path + skip, n - 1 - skip);
}

/* Write the definition of a name that an earlier generation's trace already had. */
void vt_name_define(uint32_t id)
{
	if (id && id <= names.n && names.by_id[id]->generation != vt.generation)
		write_name(names.by_id[id]);
}
