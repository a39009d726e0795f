/*
 * import_task.c - tasks come by clone, change their address space by exec, and end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_task.h"

#include "alloc.h"
#include <sched.h>
#include <signal.h>

static bool is_wanted(const struct vt_import *im, uint32_t process)
{
	return im->out.several || process == (im->only ? im->only : im->main_pid);
}

struct vt_task *vt_task_find(struct vt_import *im, uint32_t tid)
{
	struct vt_task *t = im->last;

	if (t && t->tid == tid)
		return t;
	HASH_FIND(hh, im->tasks, &tid, sizeof(tid), t);
	if (t)
		im->last = t;
	return t;
}

static struct vt_task *add_task(struct vt_import *im, uint32_t tid, uint32_t process,
				struct vt_image *image)
{
	struct vt_task *t = vt_calloc(1, sizeof(*t));

	t->tid = tid;
	t->process = process;
	t->image = image;
	t->kind = VT_CALL_NONE;
	image->n_tasks++;
	HASH_ADD(hh, im->tasks, tid, sizeof(t->tid), t);
	im->n_processes += tid == process;
	return t;
}

/* The task leaves its image, which ends with its last one. */
static void leave(struct vt_import *im, struct vt_image *image, const char *end)
{
	if (!--image->n_tasks)
		vt_image_finish(&im->out, image, end);
}

void vt_task_abandon(struct vt_task *t)
{
	if (t->kind != VT_CALL_NONE && t->place) {
		struct vt_placed *placed = vt_image_at(t->image, t->place);
		placed->event.flags |= VT_EV_UNDONE;
		placed->done = true;
	}
	t->kind = VT_CALL_NONE;
	t->place = 0;
}

void vt_task_remove(struct vt_import *im, struct vt_task *t, const char *end)
{
	struct vt_image *image = t->image;

	vt_task_abandon(t);
	if (im->last == t)
		im->last = NULL;
	HASH_DEL(im->tasks, t);
	free(t->held);
	free(t);
	leave(im, image, end);
}

struct vt_task *vt_task_child(struct vt_import *im, struct vt_task *parent, uint32_t tid,
			      uint64_t flags)
{
	struct vt_task *old = vt_task_find(im, tid);
	uint32_t process = flags & CLONE_THREAD ? parent->process : tid;
	struct vt_image *image = parent->image;

	if (old) /* its end is not in the log */
		vt_task_remove(im, old, "reason log\n");
	if (!(flags & (CLONE_VM | CLONE_THREAD)))
		image = vt_image_fork(&im->out, image, tid, is_wanted(im, process));
	return add_task(im, tid, process, image);
}

uint64_t vt_clone_flags(int kind, struct vt_slice args)
{
	uint64_t flags = 0;
	const char *at = memmem(args.p, (size_t)(args.end - args.p), "flags=", 6);

	if (kind == VT_VFORK)
		return CLONE_VM | CLONE_VFORK | SIGCHLD;
	if (kind == VT_FORK || !at)
		return SIGCHLD;
	struct vt_slice set = { at + 6, at + 6 };
	while (set.end < args.end && !strchr(",})", *set.end))
		set.end++;
	vt_call_flags(VT_ARG_CLONE, set, &flags);
	return flags;
}

struct vt_task *vt_task_new(struct vt_import *im, uint32_t tid)
{
	struct vt_task *t, *next, *parent = NULL;

	HASH_ITER (hh, im->tasks, t, next) {
		bool clones = t->kind == VT_FORK || t->kind == VT_VFORK || t->kind == VT_CLONE ||
			      t->kind == VT_CALL_CLONE3;
		if (clones && !t->had_child && (!parent || t->begin_ns >= parent->begin_ns))
			parent = t;
	}
	if (parent) {
		struct vt_slice held = { parent->held, parent->held + parent->n_held };
		parent->had_child = true;
		return vt_task_child(im, parent, tid, vt_clone_flags(parent->kind, held));
	}
	if (!im->main_pid)
		im->main_pid = tid;
	struct vt_task *first = vt_task_find(im, im->main_pid);
	if (first && tid != im->main_pid) {
		im->n_orphans++;
		return add_task(im, tid, first->process, first->image);
	}
	return add_task(im, tid, tid, vt_image_new(&im->out, tid, is_wanted(im, tid)));
}

void vt_task_exec(struct vt_import *im, struct vt_task *t, char *exe, char *cmd)
{
	struct vt_image *old = t->image, *image;
	struct vt_task *other, *next;

	HASH_ITER (hh, im->tasks, other, next)
		if (other != t && other->process == t->process && other->image == old)
			vt_task_remove(im, other, "reason exec\n");
	image = vt_image_new(&im->out, t->process, is_wanted(im, t->process));
	image->exe = exe;
	image->cmd = cmd;
	image->files = vt_calloc(old->cap_files, sizeof(*image->files));
	image->cap_files = old->cap_files;
	image->n_files = old->n_files;
	if (old->n_files)
		memcpy(image->files, old->files, old->n_files * sizeof(*old->files));
	vt_task_abandon(t);
	if (old->pid == t->process && !im->out.several)
		vt_image_unwanted(&im->out, old);
	leave(im, old, "reason exec\n");
	t->image = image;
	image->n_tasks = 1;
	if (t->tid != t->process) { /* the thread that calls becomes the process's first */
		HASH_DEL(im->tasks, t);
		t->tid = t->process;
		HASH_ADD(hh, im->tasks, tid, sizeof(t->tid), t);
	}
}
