/*
 * import_task.h - the tasks of a log: which process each belongs to, in which address space it
 * runs, and the call it has in hand.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_IMPORT_TASK_H
#define VMTRAIL_ANALYZER_IMPORT_TASK_H

#include "import_call.h"
#include "import_process.h"
#include <uthash.h>

struct vt_task {
	UT_hash_handle hh;
	uint32_t tid, process;
	struct vt_image *image;
	char comm[16];

	/* The call cut in two by <unfinished ...>; kind is VT_CALL_NONE without one. */
	int kind;
	char *held;
	size_t n_held, cap_held;
	uint64_t begin_ns;
	uint64_t place; /* number of its event, 0: none yet */
	uint64_t next;  /* the image's next number when it began */
	bool had_child; /* its child has been seen */

	struct vt_event fault; /* the last signal's; kind VT_FAULT if it may be the end */
};

/* A call whose end has been read. */
struct vt_log_call {
	int kind;
	struct vt_slice text; /* arguments and result */
	uint64_t begin_ns, place, next;
};

/* The task of a tid, NULL: none has been seen. */
struct vt_task *vt_task_find(struct vt_import *im, uint32_t tid);

/*
 * A task whose first line is this one: the child of a clone that has not returned yet; or one that
 * was there before the log began, taken for a thread of the first process.
 */
struct vt_task *vt_task_new(struct vt_import *im, uint32_t tid);

/* What clone with these flags makes of parent. */
struct vt_task *vt_task_child(struct vt_import *im, struct vt_task *parent, uint32_t tid,
			      uint64_t flags);

/* The call that the task has in hand does not come back: it must not hold up those behind it. */
void vt_task_abandon(struct vt_task *t);

/* The task has ended; end is the END frame's text for the image that ends with it. */
void vt_task_remove(struct vt_import *im, struct vt_task *t, const char *end);

/* The process has a new address space, with no task but this one. Takes over exe and cmd. */
void vt_task_exec(struct vt_import *im, struct vt_task *t, char *exe, char *cmd);

/* The flags among the arguments of fork, vfork, clone or clone3. */
uint64_t vt_clone_flags(int kind, struct vt_slice args);

/* import_files.c */

/* A call that makes, copies or closes a descriptor. */
void vt_descriptor_call(struct vt_import *im, struct vt_image *i, const struct vt_log_call *c);

/* shmget: the size of a segment. */
void vt_segment_call(struct vt_import *im, const struct vt_log_call *c);

/* The file that a mapping shows; path is what -y told. */
uint32_t vt_mapped_file(struct vt_import *im, const struct vt_image *i, const struct vt_event *e,
			struct vt_slice path);

/* What shmat attaches: its file, and its length where it is known. */
void vt_attached_segment(struct vt_import *im, struct vt_event *e);

void vt_segments_free(struct vt_import *im);

static inline struct vt_slice vt_slice_of(const char *s)
{
	return (struct vt_slice){ s, s + strlen(s) };
}

/* Skip the arguments that nobody asks for. */
static inline void vt_skip_arguments(struct vt_slice *s)
{
	while (s->p < s->end && *s->p != ')')
		vt_slice_argument(s);
}

#endif
