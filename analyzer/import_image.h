/*
 * import_image.h - one address space on its way from a log into a trace.
 *
 * A process has a new image after each exec. Events come in the order of their places; a call that
 * gives memory up has its place when it begins, and holds up those behind it until it is over.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_IMPORT_IMAGE_H
#define VMTRAIL_ANALYZER_IMPORT_IMAGE_H

#include "import_names.h"
#include "trace_write.h"

struct vt_import_thread {
	uint32_t tid;
	char name[16]; /* as long as the kernel's, without its NUL where it is full */
};

/* An event that has its place, and perhaps no result yet. */
struct vt_placed {
	struct vt_event event;
	bool done;
};

struct vt_image {
	uint32_t pid;
	char *exe, *cmd;  /* NULL: not known */
	uint32_t n_tasks; /* that run in it */
	uint64_t *files;  /* by descriptor: file name id, 0: not known */
	size_t n_files, cap_files;
	uint64_t first_brk; /* what the first brk told, 0: nothing yet */

	struct vt_placed *queue; /* events from number `first` on */
	size_t n_queue, cap_queue, head;
	uint64_t first;        /* number of queue[0] */
	uint64_t forked_after; /* the parent's last event, 0: not forked in this log */

	struct vt_import_thread *threads; /* named, and not defined in the trace yet */
	size_t n_threads, cap_threads;

	bool wanted; /* a trace is to be written */
	char *path;  /* of the trace, NULL: not begun */
	int fd;
	struct vt_writer writer;
	struct vt_bits known_files, known_stacks, known_frames; /* defined in the trace */
	struct vt_model *model;                                 /* NULL: nobody needs it */
	struct vt_pool *pool;                                   /* the model's memory */
};

/* What all images of a run share. */
struct vt_import_output {
	struct vt_names *names;
	const char *pattern; /* of the traces' names */
	const char *kernel;  /* release, NULL: not known */
	const char *source;  /* the log's name */
	uint64_t start_ns;   /* wall clock at time 0 */
	bool several;        /* a trace for each image */
	bool models;         /* children may be asked for: keep models */
	size_t n_traces;
	uint64_t n_events;
	char *last_path;
	char *error; /* the first failure, malloc'ed */
};

struct vt_image *vt_image_new(struct vt_import_output *out, uint32_t pid, bool wanted);

/* The image of a forked child. */
struct vt_image *vt_image_fork(struct vt_import_output *out, const struct vt_image *parent,
			       uint32_t pid, bool wanted);

/* Give the next place to e. Returns its number. done: it is complete. */
uint64_t vt_image_place(struct vt_image *i, const struct vt_event *e, bool done);

/* The event of a number that has not been written yet. */
struct vt_placed *vt_image_at(struct vt_image *i, uint64_t seq);

/* The number that the next event will get. */
uint64_t vt_image_next(const struct vt_image *i);

/* Write what is complete. */
void vt_image_advance(struct vt_import_output *out, struct vt_image *i);

/* Name a thread. */
void vt_image_thread(struct vt_image *i, uint32_t tid, struct vt_slice name);

/* No trace is wanted any more: take away what has been written of it. */
void vt_image_unwanted(struct vt_import_output *out, struct vt_image *i);

/* End the image: what never came back is undone; end is the text of the END frame. Frees it. */
void vt_image_finish(struct vt_import_output *out, struct vt_image *i, const char *end);

#endif
