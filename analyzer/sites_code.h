/*
 * sites_code.h - which file an address of code belonged to, at each moment of a replay.
 *
 * Keeps its own sorted list of the code that files have mapped, as the model shows it, and counts
 * its changes. Used by sites.c only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_SITES_CODE_H
#define VMTRAIL_ANALYZER_SITES_CODE_H

#include <uthash.h>

#include "replay.h"

enum vt_module_role {
	VT_MODULE_PLAIN,
	VT_MODULE_RUNTIME,  /* libc, the loader */
	VT_MODULE_RECORDER, /* libvmtrail */
};

/* One file that code came from, or something without a file: "[vdso]", "[anon]", "?". */
struct vt_module {
	UT_hash_handle hh;
	uint32_t number; /* dense, from 0 */
	enum vt_module_role role;
	char *path; /* as in the trace */
	char *name; /* last part of it */
	bool has_file;
	char key[]; /* path NUL build-id */
};

/* Code of a file in memory. */
struct vt_code_range {
	uint64_t start, end;
	uint64_t offset; /* in the file */
	uint32_t file;   /* file id */
};

struct vt_code {
	struct vt_module *modules;
	struct vt_module **by_file; /* by file id; NULL: not asked for yet */
	size_t cap_files;
	uint32_t n_modules;
	struct vt_code_range *ranges, *spare; /* sorted; spare takes the next version */
	size_t n_ranges, cap_ranges, cap_spare;
	uint64_t free_lo, free_hi; /* where code was looked for last, and there is none */
	uint64_t generation;       /* of the ranges, from 1 */
	bool dirty;
};

void vt_code_init(struct vt_code *c);
void vt_code_fini(struct vt_code *c);

/* Keep up with the replay: note whether the item has changed the code that files have mapped. */
void vt_code_follow(struct vt_code *c, const struct vt_replay *r, const struct vt_item *item);

/* Bring the list of code up to date; a real change begins a new generation. */
void vt_code_refresh(struct vt_code *c, const struct vt_replay *r);

/* The module of a path that the trace itself names; "" is none. */
const struct vt_module *vt_code_named(struct vt_code *c, const char *path);

/*
 * The module that addr lies in, after vt_code_refresh. *file is the file id and *offset the place
 * in it, both 0 for what is not code of a file.
 */
const struct vt_module *vt_code_locate(struct vt_code *c, const struct vt_replay *r, uint64_t addr,
				       uint32_t *file, uint64_t *offset);

#endif
