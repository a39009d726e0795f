/*
 * process_tree.h - the traces of a directory as what they are: the processes of one run.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_PROCESS_TREE_H
#define VMTRAIL_ANALYZER_PROCESS_TREE_H

#include "ending.h"

/* How a trace's process came from its parent's. */
enum vt_process_link {
	VT_LINK_NONE, /* the parent has no trace here */
	VT_LINK_EXEC, /* the same process, its image before */
	VT_LINK_CALL, /* a recorded fork, vfork or clone: vt_process.call */
	VT_LINK_PPID, /* only its parent's number is known */
};

/* One trace. */
struct vt_process {
	char *path, *name; /* name: the path's last part */
	char *damage;  /* NULL, or what is wrong with it; then the numbers are what can be read */
	bool readable; /* the header at least */
	uint32_t pid, ppid;
	char *command;       /* as a shell would take it, "" when not known */
	uint64_t start_ns;   /* wall clock */
	uint64_t length_ns;  /* up to the last thing recorded */
	uint64_t events;     /* without the recorder's own */
	uint64_t peak_bytes; /* mapped */
	uint64_t unseen, mismatches, lost;
	struct vt_ending ending;
	char *image; /* that replaced it */
	enum vt_process_link link;
	uint8_t call;       /* enum vt_kind, for VT_LINK_CALL */
	size_t parent;      /* index, below its own; with VT_LINK_NONE: meaningless */
	size_t first, next; /* child and sibling: indexes, 0: none */
};

struct vt_process_tree {
	char *directory;
	struct vt_process *v; /* by start time; those without a header last */
	size_t n, cap;
	size_t damaged;
};

/* Whether path is a directory. */
bool vt_is_directory(const char *path);

/*
 * Read all traces of a directory. False and *error, a malloc'ed line: it cannot be read, or holds
 * none.
 */
bool vt_process_tree_read(struct vt_process_tree *tree, const char *directory, char **error);
void vt_process_tree_free(struct vt_process_tree *tree);

/* "exit 0", "SIGSEGV", "exec /bin/true", "?". */
const char *vt_process_end_text(const struct vt_process *p, char *buf, size_t size);

void vt_process_tree_print(FILE *out, const struct vt_process_tree *tree);
void vt_process_tree_print_json(FILE *out, const struct vt_process_tree *tree);

#endif
