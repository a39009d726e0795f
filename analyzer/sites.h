/*
 * sites.h - stacks as text, and call sites: which line of whose code made a memory call.
 *
 * Turns an event's stack into frames (through the model's view of which file lay under each pc at
 * that time), prints them in the one form that dump, why and report share, and gives each event
 * its call site: the first frame outside libvmtrail, libc and the loader.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_SITES_H
#define VMTRAIL_ANALYZER_SITES_H

#include "replay.h"

struct vt_sites;
struct vt_module;

/*
 * One source-level frame. An inlined call gives several frames of one number, innermost first; all
 * but the last of them are marked inlined. Strings live as long as the struct vt_sites.
 */
struct vt_frame_text {
	unsigned number;      /* index of the pc in the recorded stack */
	bool inlined;         /* this function was inlined into the next frame's */
	bool runtime;         /* of libvmtrail, libc or the loader */
	bool stale;           /* the module's file has changed since: names may be missing */
	uint64_t pc;          /* as recorded */
	const char *module;   /* last part of the path; "[vdso]", "[anon]"; "?": not mapped */
	const char *path;     /* of the module, "" when there is no file */
	uint64_t file_offset; /* of the pc in the module's file, 0 without one */
	const char *function; /* demangled, without parameters; NULL: not known */
	uint64_t offset;      /* of the pc from the function's start */
	const char *source;   /* source file as the debug information names it; NULL: not known */
	unsigned line;        /* 0: not known */
};

/* Where a memory call came from: one object for each call instruction, as long as the table lives.
 */
struct vt_site {
	uint32_t id;                /* dense, from 0 */
	struct vt_frame_text frame; /* see vt_site_of */
	struct vt_frame_text outer; /* the function that frame is inlined into, or frame itself */
	const char *via; /* the runtime function it called ("malloc"), NULL: none between */
};

struct vt_sites *vt_sites_new(void);
void vt_sites_free(struct vt_sites *s);

/*
 * Keep up with the replay. Call for every item that vt_replay_next delivers, before asking for its
 * frames: what is remembered about a stack holds until a mapping of code changes.
 */
void vt_sites_follow(struct vt_sites *s, const struct vt_replay *r, const struct vt_item *item);

/*
 * The frames of e's stack, innermost first, into out; returns their number, at most max. e is the
 * item that the replay has just delivered. 0: no stack was recorded. With inlined frames there may
 * be more of them than pcs; VT_MAX_FRAMES holds any stack.
 */
#define VT_MAX_FRAMES 512
size_t vt_stack_frames(struct vt_sites *s, const struct vt_replay *r, const struct vt_event *e,
		       struct vt_frame_text *out, size_t max);

/*
 * The frames of e's stack before the first one outside libvmtrail, libc and the loader. Cheaper
 * than vt_stack_frames, which names the program's functions, too.
 */
size_t vt_runtime_frames(struct vt_sites *s, const struct vt_replay *r, const struct vt_event *e,
			 struct vt_frame_text *out, size_t max);

/* A runtime function as its callers know it: "malloc" for "__GI___libc_malloc". NULL for NULL. */
const char *vt_public_name(const char *function);

/*
 * Print e's stack, one frame a line, each line after indent:
 *   #0  grow+0x12      heap.c:88   (libfoo.so)
 * Frames of libvmtrail at the top are left out. Prints nothing when no stack was recorded.
 */
void vt_print_stack(FILE *out, struct vt_sites *s, const struct vt_replay *r,
		    const struct vt_event *e, const char *indent);

/* The same for frames that vt_stack_frames gave; fold: runs of runtime frames as one line. */
void vt_print_frames(FILE *out, const struct vt_frame_text *f, size_t n, const char *indent,
		     bool fold);

/*
 * The call site of e: its first frame outside libvmtrail, libc, the loader and C++'s operator new
 * and delete; when there is none (a thread's start and end, exit), the outermost one but for the
 * entry points that every thread has. NULL when no stack was recorded.
 */
const struct vt_site *vt_site_of(struct vt_sites *s, const struct vt_replay *r,
				 const struct vt_event *e);

/* Whose call an event is. NULL: not recorded. */
struct vt_who {
	const struct vt_module *caller; /* the module of the first frame outside libvmtrail */
	const struct vt_module
	    *asker; /* the next module behind it, which called the caller: a file, or NULL */
};

/* Names no functions, so that it can be asked for every event. See sites_code.h. */
struct vt_who vt_who_called(struct vt_sites *s, const struct vt_replay *r,
			    const struct vt_event *e);

/* How many sites there are: ids are below it. The site of an id. */
uint32_t vt_sites_count(const struct vt_sites *s);
const struct vt_site *vt_sites_get(const struct vt_sites *s, uint32_t id);

/*
 * A frame in short, for a table's column: "Function  file.c:88" or "Function+0x12  (libfoo.so)",
 * cut to width columns with "…" in the function's name where needed; width is at least 16. Returns
 * buf.
 */
char *vt_frame_short(const struct vt_frame_text *f, char *buf, size_t size, unsigned width);

/*
 * A site in short: its frame, what that is inlined into, and "via malloc" where it called through
 * the runtime.
 */
char *vt_site_short(const struct vt_site *site, char *buf, size_t size, unsigned width);

#endif
