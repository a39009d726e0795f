/*
 * role.h - what a mapping is for: a thread's stack, malloc's heap, a library's segment, ...
 *
 * Decided by what the call that made it was made for: the innermost function of libc or the loader
 * on its stack that says so, else the file it maps, else what was at its place at the start.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_ROLE_H
#define VMTRAIL_ANALYZER_ROLE_H

#include "sites.h"

/* X(ENUM, name in JSON, text; %s is the name that belongs to it) */
#define VT_USES(X)                                                                                 \
	X(UNKNOWN, "unknown", "")                                                                  \
	X(MODULE, "module", "mapped by %s")                                                        \
	X(THREAD_STACK, "thread stack", "thread stack")                                            \
	X(SPAWN_STACK, "posix_spawn stack", "posix_spawn stack")                                   \
	X(HEAP, "malloc heap", "malloc heap (%s)")                                                 \
	X(BLOCK, "malloc block", "malloc block")                                                   \
	X(PROGRAM, "program segment", "segment of %s")                                             \
	X(LIBRARY, "library segment", "segment of %s")                                             \
	X(LOADER, "loader", "the loader's memory")                                                 \
	X(LD_CACHE, "ld.so cache", "ld.so cache")                                                  \
	X(TLS, "TLS", "thread-local storage")                                                      \
	X(STDIO, "stdio buffer", "stdio buffer")                                                   \
	X(LOCALE, "locale", "locale data")                                                         \
	X(LIBC, "libc", "libc's memory")                                                           \
	X(MAIN_STACK, "main stack", "main stack")                                                  \
	X(KERNEL, "kernel", "the kernel's %s")                                                     \
	X(RECORDER, "recorder", "the recorder's own")

enum vt_use {
#define VT_USE_ENUM(e, ...) VT_USE_##e,
	VT_USES(VT_USE_ENUM)
#undef VT_USE_ENUM
	    VT_USE_COUNT
};

struct vt_mapping_role {
	enum vt_use use;
	uint32_t tid; /* of a stack or thread-local storage: the last thread met there, 0: none */
	bool ended;   /* it has given its stack up; another one may have it now */
	const char *name; /* module, library, kind of heap; good as long as the sites; or NULL */
};

struct vt_roles;

/* Both must follow the same replay, the sites first. */
struct vt_roles *vt_roles_new(struct vt_sites *sites);
void vt_roles_free(struct vt_roles *o);

/* Keep up with the replay. Call for every item that vt_replay_next delivers. */
void vt_roles_follow(struct vt_roles *o, const struct vt_replay *r, const struct vt_item *item);

/*
 * To ask again in another replay, once all of the trace has been followed: the moment is that of
 * event seq. A thread that is not met yet is known, then.
 */
void vt_roles_at(struct vt_roles *o, uint64_t seq);

/* The role of a piece of the address space, as of now. */
struct vt_mapping_role vt_role_of(struct vt_roles *o, const struct vt_replay *r,
				  const struct vt_extent *x);

/* The name of a use, as JSON has it. */
const char *vt_use_name(enum vt_use use);

/* "thread stack of 1234 (worker)", "thread stack, last of 1234 (worker)", "segment of libc.so.6";
 * "" when it is not known. Returns buf. */
#define VT_ROLE_TEXT 160
char *vt_role_text(const struct vt_mapping_role *role, const struct vt_trace *t,
		   char buf[VT_ROLE_TEXT]);

#endif
