/*
 * import_names.h - what an imported log names: files, frames of stacks, stacks. Each gets a number.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_IMPORT_NAMES_H
#define VMTRAIL_ANALYZER_IMPORT_NAMES_H

#include "import_line.h"
#include <vmtrail/codec.h>

/* A set of small numbers. */
struct vt_bits {
	uint64_t *words;
	size_t n;
};

/* Add a number; true: it is new. */
bool vt_bits_add(struct vt_bits *b, uint32_t number);
void vt_bits_free(struct vt_bits *b);

struct vt_import_file {
	char *path;
	uint8_t kind; /* enum vt_file_kind */
	uint64_t ino;
};

struct vt_import_frame {
	char *path, *function;
	uint64_t offset;
};

struct vt_import_stack {
	uint32_t *frames; /* by number, innermost first */
	uint32_t n;
};

struct vt_names;
struct vt_names *vt_names_new(void);
void vt_names_free(struct vt_names *n);

/* The number of the file at path, from 1; shared: as a shared mapping of it. */
uint32_t vt_names_file(struct vt_names *n, struct vt_slice path, bool shared);

/* A file of its own: shared anonymous memory, huge pages. */
uint32_t vt_names_nameless(struct vt_names *n, uint8_t kind, const char *path);

/* A System V segment by its id. */
uint32_t vt_names_segment(struct vt_names *n, uint32_t shmid);
const struct vt_import_file *vt_names_file_of(const struct vt_names *n, uint32_t file);

/* The number of a frame as strace -k prints it, without " > ". */
uint32_t vt_names_frame(struct vt_names *n, struct vt_slice text);
const struct vt_import_frame *vt_names_frame_of(const struct vt_names *n, uint32_t frame);

/* The number of a stack of frames, from 1; 0: there are none. */
uint32_t vt_names_stack(struct vt_names *n, const uint32_t *frames, uint32_t depth);
const struct vt_import_stack *vt_names_stack_of(const struct vt_names *n, uint32_t stack);

/* The address that stands for a frame: in the kernel's half, where no code of a process lies. */
static inline uint64_t vt_frame_address(uint32_t frame)
{
	return 0xffff800000000000u + frame;
}

#endif
