/*
 * find_owner.c - the table of births, and whose call an event is.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_owner.h"

#include <sys/mman.h>

#include "alloc.h"
#include "large_memory.h"

/* The least size of the table of births, a power of two. */
#define LEAST 1024

enum vt_role vt_role_of_runtime(const struct vt_module *m, const struct vt_event *e)
{
	if (e->kind == VT_MMAP && (e->a[3] & MAP_STACK))
		return VT_ROLE_STACK;
	if (strncmp(m->name, "ld-", 3) == 0 || e->file)
		return VT_ROLE_LOADER;
	return VT_ROLE_MALLOC;
}

/* Give an owner its name, the first time that it comes up. */
static uint32_t named(struct vt_owners *o, uint32_t owner, const char *name)
{
	if (owner >= o->cap_names) {
		size_t cap = (size_t)owner * 2;
		o->names = vt_realloc(o->names, cap, sizeof(*o->names));
		memset(o->names + o->cap_names, 0, (cap - o->cap_names) * sizeof(*o->names));
		o->cap_names = cap;
	}
	if (!o->names[owner])
		o->names[owner] = vt_strndup(name, strlen(name));
	return owner;
}

uint32_t vt_owner_new(struct vt_owners *o, const struct vt_module *m)
{
	uint32_t owner = VT_OWNER_MODULE + m->number;
	if (owner > UINT16_MAX) /* as struct vt_dead has it */
		return VT_OWNER_UNKNOWN;
	return named(o, owner, m->name);
}

uint32_t vt_owner_without_stacks(struct vt_owners *o, const struct vt_event *e, enum vt_role *role)
{
	bool stack = e->kind == VT_MMAP && (e->a[3] & MAP_STACK);
	bool loader = e->kind == VT_MMAP && (e->a[3] & MAP_DENYWRITE); /* nobody else says that */
	*role = stack ? VT_ROLE_STACK : loader ? VT_ROLE_LOADER : VT_ROLE_MODULE;
	return stack || loader ? VT_OWNER_UNKNOWN : named(o, VT_OWNER_MODULE, "the program");
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

static size_t hash(uint64_t seq)
{
	return (seq * 0x9e3779b97f4a7c15u) >> 32;
}

/* Where a birth stands in the table, or would stand: the first free place after its hash. */
static size_t place_of(const struct vt_owners *o, uint64_t seq)
{
	size_t i = hash(seq) & o->mask;
	while (o->holders[i].seq && o->holders[i].seq != seq)
		i = (i + 1) & o->mask;
	return i;
}

const struct vt_holder *vt_owners_holder(const struct vt_owners *o, uint64_t seq)
{
	if (!o->holders || !seq)
		return NULL;
	const struct vt_holder *h = &o->holders[place_of(o, seq)];
	return h->seq ? h : NULL;
}

const struct vt_birth *vt_owners_birth(const struct vt_owners *o, uint64_t seq)
{
	const struct vt_holder *h = vt_owners_holder(o, seq);
	return h ? &o->births[h->birth] : NULL;
}

bool vt_owners_is_synced(const struct vt_owners *o, uint64_t seq)
{
	const struct vt_birth *b = vt_owners_birth(o, seq);
	return b && b->synced;
}

void vt_owners_set_synced(struct vt_owners *o, uint64_t seq)
{
	const struct vt_holder *h = vt_owners_holder(o, seq);
	if (h)
		o->births[h->birth].synced = true;
}

void vt_owners_spread(struct vt_owners *o, uint64_t seq)
{
	if (vt_owners_holder(o, seq))
		o->holders[place_of(o, seq)].pages = 0;
}

void vt_owners_forget(struct vt_owners *o, const struct vt_holder *holder)
{
	size_t i = (size_t)(holder - o->holders);
	const struct vt_birth *vacant = &o->births[holder->birth];
	o->vacant[o->n_vacant++] = holder->birth;
	/* the next birth comes there */
	__builtin_prefetch(vacant, 1);
	__builtin_prefetch((const char *)(vacant + 1) - 1, 1);
	/* whatever has been put behind it for want of its place moves up */
	for (size_t j = (i + 1) & o->mask; o->holders[j].seq; j = (j + 1) & o->mask) {
		size_t home = hash(o->holders[j].seq) & o->mask;
		if (((j - home) & o->mask) < ((j - i) & o->mask))
			continue;
		o->holders[i] = o->holders[j];
		i = j;
	}
	o->holders[i].seq = 0;
	o->n--;
}

void vt_owners_expect(const struct vt_owners *o, uint64_t seq)
{
	if (o->holders)
		__builtin_prefetch(&o->holders[hash(seq) & o->mask], 1);
}

static void enter(struct vt_owners *o, const struct vt_holder *holder)
{
	size_t i = place_of(o, holder->seq);
	o->n += !o->holders[i].seq;
	o->holders[i] = *holder;
}

/* A place for a birth. */
static uint32_t new_place(struct vt_owners *o)
{
	if (o->n_vacant)
		return o->vacant[--o->n_vacant];
	if (o->n_births == o->cap_births) {
		o->births = vt_grow(o->births, o->n_births, &o->cap_births, sizeof(*o->births));
		o->vacant = vt_realloc(o->vacant, o->cap_births, sizeof(*o->vacant));
	}
	return (uint32_t)o->n_births++;
}

/* A new table, of the births that something lives of. */
static void renew(struct vt_owners *o, const struct vt_replay *r)
{
	struct vt_owners old = *o;
	size_t live = r->model.totals.extents, size = LEAST;
	while (size < 8 * live)
		size *= 2;
	o->holders = vt_large_alloc(size * sizeof(*o->holders), true);
	o->mask = size - 1;
	o->n = 0;
	for (const struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x)) {
		const struct vt_holder *h = vt_owners_holder(&old, x->birth);
		if (h)
			enter(o, h);
	}
	for (size_t i = 0; old.holders && i <= old.mask; i++)
		if (old.holders[i].seq && !vt_owners_holder(o, old.holders[i].seq))
			o->vacant[o->n_vacant++] = old.holders[i].birth;
	if (old.holders)
		vt_large_free(old.holders, (old.mask + 1) * sizeof(*old.holders));
}

void vt_owners_add(struct vt_owners *o, const struct vt_replay *r, const struct vt_birth *birth)
{
	uint64_t pages = (birth->hi - birth->lo) >> VT_PAGE_SHIFT;
	if (!birth->seq) /* no event that a recorder writes */
		return;
	if (!o->holders || o->n > o->mask / 4)
		renew(o, r);
	const struct vt_holder *known = vt_owners_holder(o, birth->seq);
	const struct vt_holder holder = { .seq = birth->seq,
					  .pages = pages <= UINT32_MAX ? (uint32_t)pages : 0,
					  .tid = birth->tid,
					  .owner = (uint16_t)birth->owner,
					  .root_owner = (uint16_t)birth->root_owner,
					  .birth = known ? known->birth : new_place(o) };
	o->births[holder.birth] = *birth;
	enter(o, &holder);
}

void vt_owners_free(struct vt_owners *o)
{
	if (o->holders)
		vt_large_free(o->holders, (o->mask + 1) * sizeof(*o->holders));
	free(o->births);
	free(o->vacant);
	for (size_t i = 0; i < o->cap_names; i++)
		free(o->names[i]);
	free(o->names);
}
