/*
 * import_call.h - what a call in strace's output means: an event, or something about a process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_IMPORT_CALL_H
#define VMTRAIL_ANALYZER_IMPORT_CALL_H

#include "import_line.h"
#include <vmtrail/event.h>

/* What a call is to the import: an enum vt_kind, or one of these. */
enum {
	VT_CALL_NONE = -1, /* nothing that matters here */
	VT_CALL_OPEN = VT_KIND_COUNT,
	VT_CALL_OPENAT,
	VT_CALL_MEMFD,
	VT_CALL_CLOSE,
	VT_CALL_DUP,
	VT_CALL_DUP2,
	VT_CALL_FCNTL,
	VT_CALL_SHMGET,
	VT_CALL_CLONE3,
	VT_CALL_EXECVEAT,
	VT_CALL_EXIT,
};

/* The kind of the call of this name. */
int vt_call_kind(struct vt_slice name);

/* Whether a call of this kind is about memory: becomes an event. */
static inline bool vt_call_is_event(int kind)
{
	return kind >= 0 && kind <= VT_PERSONALITY;
}

/* What a call came to: "= 3", "= -1 EINVAL (Invalid argument)", "= ?", with <seconds> behind. */
struct vt_result {
	bool known;
	int64_t ret;          /* as the kernel returns it: a value, an address, or -errno */
	struct vt_slice path; /* of the descriptor returned, where -y told it */
	uint64_t dur_ns;      /* 0: not told */
};

/* Read the result, from the bracket that ends the arguments on. False: this is none. */
bool vt_call_result(struct vt_slice *s, struct vt_result *result);

/*
 * Read the arguments of a memory call into e->kind and e->a. *path is the descriptor's file, where
 * -y told it; text of a name ends up there too (prctl). False: the arguments make no sense. *apart:
 * a call that is no change of this address space and is to be left out (another process's limits).
 */
bool vt_call_arguments(int kind, struct vt_slice *s, struct vt_event *e, struct vt_slice *path,
		       bool *apart);

/* A set of flags of class (enum vt_arg_class), as "A|B|0x10". False: nonsense. */
bool vt_call_flags(unsigned class, struct vt_slice s, uint64_t *value);

#endif
