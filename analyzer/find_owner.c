/*
 * find_owner.c - the table of births, and whose call an event is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_owner.h"

#include <sys/mman.h>
#include <uthash.h>

#include "alloc.h"

/* Births are kept until this many more than there are live extents. */
#define SLACK 8192

struct vt_birth_entry {
	UT_hash_handle hh;
	struct vt_birth birth;
	bool live; /* of sweep */
};

/* What the runtime makes a mapping for, as the call itself shows. */
static enum vt_role role_of(const struct vt_module *m, const struct vt_event *e)
{
	if (e->kind == VT_MMAP && (e->a[3] & MAP_STACK))
		return VT_ROLE_STACK;
	if (strncmp(m->name, "ld-", 3) == 0 || e->file)
		return VT_ROLE_LOADER;
	return VT_ROLE_MALLOC;
}

uint32_t vt_owner_of(struct vt_owners *o, const struct vt_module *m, const struct vt_event *e,
		     enum vt_role *role)
{
	*role = VT_ROLE_MODULE;
	if (!m || !m->has_file)
		return VT_OWNER_UNKNOWN;
	if (m->role == VT_MODULE_RUNTIME) {
		*role = role_of(m, e);
		return VT_OWNER_RUNTIME;
	}
	uint32_t owner = VT_OWNER_MODULE + m->number;
	if (owner >= o->cap_names) {
		size_t cap = (size_t)owner * 2;
		o->names = vt_realloc(o->names, cap, sizeof(*o->names));
		memset(o->names + o->cap_names, 0, (cap - o->cap_names) * sizeof(*o->names));
		o->cap_names = cap;
	}
	if (!o->names[owner])
		o->names[owner] = vt_strndup(m->name, strlen(m->name));
	return owner;
}

const char *vt_owner_name(const struct vt_owners *o, uint32_t owner)
{
	if (owner == VT_OWNER_KERNEL)
		return "the kernel";
	if (owner == VT_OWNER_RUNTIME)
		return "libc";
	return owner && owner < o->cap_names && o->names[owner] ? o->names[owner] : "?";
}

const char *vt_role_name(enum vt_role role)
{
	static const char *const names[] = {
		[VT_ROLE_MODULE] = "module", [VT_ROLE_STACK] = "thread stack",
		[VT_ROLE_MALLOC] = "malloc", [VT_ROLE_LOADER] = "loader",
		[VT_ROLE_KERNEL] = "kernel",
	};
	return names[role];
}

const struct vt_birth *vt_owners_birth(const struct vt_owners *o, uint64_t seq)
{
	struct vt_birth_entry *e;
	HASH_FIND(hh, o->births, &seq, sizeof(seq), e);
	return e ? &e->birth : NULL;
}

/* Forget the births that nothing lives of. */
static void sweep(struct vt_owners *o, const struct vt_replay *r)
{
	struct vt_birth_entry *e, *next;
	for (const struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x)) {
		HASH_FIND(hh, o->births, &x->birth, sizeof(x->birth), e);
		if (e)
			e->live = true;
	}
	HASH_ITER (hh, o->births, e, next) {
		if (!e->live) {
			HASH_DEL(o->births, e);
			free(e);
			o->n--;
			continue;
		}
		e->live = false;
	}
	o->sweep_at = 2 * o->n + SLACK;
}

void vt_owners_add(struct vt_owners *o, const struct vt_replay *r, const struct vt_birth *birth)
{
	struct vt_birth_entry *e = vt_calloc(1, sizeof(*e));
	if (!o->sweep_at)
		o->sweep_at = SLACK;
	if (o->n >= o->sweep_at)
		sweep(o, r);
	e->birth = *birth;
	HASH_ADD(hh, o->births, birth.seq, sizeof(birth->seq), e);
	o->n++;
}

void vt_owners_free(struct vt_owners *o)
{
	struct vt_birth_entry *e, *next;
	HASH_ITER (hh, o->births, e, next) {
		HASH_DEL(o->births, e);
		free(e);
	}
	for (size_t i = 0; i < o->cap_names; i++)
		free(o->names[i]);
	free(o->names);
}
