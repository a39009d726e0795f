/*
 * find_owner.h - who owns a mapping: whose code asked for it, in what role, and inside what.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_OWNER_H
#define VMTRAIL_ANALYZER_FIND_OWNER_H

#include "sites.h"
#include "sites_code.h"

/*
 * An owner is a module: the first frame outside libvmtrail. libc and the loader are one, because
 * they manage each other's memory. Modules are VT_OWNER_MODULE + their number.
 */
enum { VT_OWNER_UNKNOWN, VT_OWNER_KERNEL, VT_OWNER_RUNTIME, VT_OWNER_MODULE };

/* What the runtime keeps in a mapping. */
enum vt_role {
	VT_ROLE_MODULE, /* not the runtime's, or not known */
	VT_ROLE_STACK,  /* a thread's stack */
	VT_ROLE_MALLOC,
	VT_ROLE_LOADER, /* a library, or the loader's own */
	VT_ROLE_KERNEL, /* the first thread's stack, vdso */
};

/* What is known of the event that made a mapping. */
struct vt_birth {
	uint64_t seq;    /* 0: there at the start */
	uint64_t lo, hi; /* where it was made */
	uint64_t root;   /* the birth of the mapping that it was placed in, and so on; or seq */
	uint32_t owner, root_owner;
	uint32_t asker; /* the module that called a module for it, VT_OWNER_UNKNOWN: none */
	uint32_t tid;
	uint8_t role;     /* enum vt_role */
	bool reserve;     /* the root was a reservation: PROT_NONE */
	bool placeholder; /* private anonymous memory that the kernel had placed */
	bool synced;      /* msync has been called on it */
};

/* What is asked of a birth most often. */
struct vt_holder {
	uint64_t seq;
	uint32_t pages; /* that it made, all there is of it; 0: there may be more, elsewhere */
	uint32_t tid;
	uint16_t owner, root_owner;
	uint32_t birth; /* where the rest stands */
};

struct vt_owners {
	struct vt_holder *holders; /* of live mappings, and some dead ones: a hash table by seq */
	size_t n, mask;
	struct vt_birth *births; /* close together: who comes takes the place of who went last */
	size_t n_births, cap_births;
	uint32_t *vacant; /* places of births that went; as many as there are places */
	size_t n_vacant;
	char **names; /* by owner */
	size_t cap_names;
};

/* The owner that a module is, named when it is new. */
uint32_t vt_owner_new(struct vt_owners *o, const struct vt_module *m);

/* The module that had the call made, VT_OWNER_UNKNOWN: none that owns anything by itself. */
static inline uint32_t vt_asker_of(struct vt_owners *o, const struct vt_module *asker)
{
	if (!asker || !asker->has_file || asker->role == VT_MODULE_RUNTIME)
		return VT_OWNER_UNKNOWN;
	uint32_t owner = VT_OWNER_MODULE + asker->number;
	return owner < o->cap_names && o->names[owner] ? owner : vt_owner_new(o, asker);
}

/* What the runtime makes a mapping for, as the call itself shows. */
enum vt_role vt_role_of_runtime(const struct vt_module *caller, const struct vt_event *e);

/* Whose call e is: that of the caller that vt_who_called tells, and what for. */
static inline uint32_t vt_owner_of(struct vt_owners *o, const struct vt_module *caller,
				   const struct vt_event *e, enum vt_role *role)
{
	*role = VT_ROLE_MODULE;
	if (!caller || !caller->has_file || caller->role != VT_MODULE_RUNTIME)
		return vt_asker_of(o, caller);
	*role = vt_role_of_runtime(caller, e);
	return VT_OWNER_RUNTIME;
}

/*
 * The same for a log without stacks: the program is one owner. Thread stacks and libraries are
 * nobody's: libc makes them in one thread and gives them back in another, the loader lays segments
 * over its own mappings.
 */
uint32_t vt_owner_without_stacks(struct vt_owners *o, const struct vt_event *e, enum vt_role *role);

/* A module's name, "libc", "the kernel", "?". */
const char *vt_owner_name(const struct vt_owners *o, uint32_t owner);
const char *vt_role_name(enum vt_role role);

/* The birth of an event number, NULL: not known. */
const struct vt_holder *vt_owners_holder(const struct vt_owners *o, uint64_t seq);
const struct vt_birth *vt_owners_birth(const struct vt_owners *o, uint64_t seq);
/* Whether msync has been called on a part of it. */
bool vt_owners_is_synced(const struct vt_owners *o, uint64_t seq);
void vt_owners_set_synced(struct vt_owners *o, uint64_t seq);

/* The birth will be asked for soon, or be added. */
void vt_owners_expect(const struct vt_owners *o, uint64_t seq);
/* A birth has been moved, or has grown: what dies of it need not be all. */
void vt_owners_spread(struct vt_owners *o, uint64_t seq);
/* All of it has died. */
void vt_owners_forget(struct vt_owners *o, const struct vt_holder *holder);
void vt_owners_add(struct vt_owners *o, const struct vt_replay *r, const struct vt_birth *birth);
void vt_owners_free(struct vt_owners *o);

#endif
