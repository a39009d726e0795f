/*
 * inline.h - what the parts of the search for system call instructions offer each other.
 *
 * Runs inside the traced process. inline.c decides which text is searched and when, inline_site.c
 * and inline_function.c read code (x86_length.c: how long instructions are), inline_stub.c changes
 * it, inline_known.c remembers what was found in which file.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_INLINE_H
#define VMTRAIL_INLINE_H

#include "recorder.h"
#include <elf.h>
#include <link.h>

#define VT_MOV_LEN      5
#define VT_SYSCALL_LEN  2
#define VT_STRETCH      48 /* bytes between the mov and the system call */
#define VT_MOST_MOVES   10
#define VT_MOST_NUMBERS 4
#define VT_MOST_SITES   128  /* of one module */
#define VT_MOST_CALLS   1024 /* of which many are of some other number */

/* The code of a module. */
struct vt_code {
	const char *name;
	uint64_t base, lo; /* what notes count addresses from; its lowest address */
	const uint8_t *text, *text_end;
	/* Of a module whose code alone is mapped as yet: its file and program headers. */
	int fd;
	const Elf64_Phdr *segments;
	size_t n_segments;
};

/*
 * A site: at[n - 1] is the system call instruction, at[0] the mov of its number, or where the
 * change begins. A number that a register has kept is one of n_kept, or that of another system
 * call.
 */
struct vt_code_site {
	uint32_t nr, kept[VT_MOST_NUMBERS];
	unsigned n_kept;
	unsigned n;
	const uint8_t *at[VT_MOST_MOVES + 2];
};

/* Where to look in one module: system call instructions, as offsets from its text. */
struct vt_code_sites {
	unsigned n;
	uint32_t call[VT_MOST_CALLS];
};

/* inline_site.c */
unsigned vt_code_movable(const uint8_t *p, bool *writes_rax);
bool vt_code_site(struct vt_code_site *s, const uint8_t *text, const uint8_t *call);
bool vt_code_is_jumped_into(const struct vt_code_site *s, const struct vt_code *m);

/* inline_function.c */
bool vt_code_may_keep_number(const uint8_t *text, const uint8_t *call);
bool vt_code_keeps_number(struct vt_code_site *s, const struct vt_code *m, const uint8_t *call,
			  const char **why);

/* inline_bounds.c */
bool vt_code_function(const struct vt_code *m, const uint8_t *at, uint64_t *lo, uint64_t *hi);

/* x86_length.c */
unsigned vt_instruction_length(const uint8_t *p);

/* inline_stub.c */
const char *vt_stub_redirect(const struct vt_code *m, const struct vt_code_site *s, int mem_fd);
void vt_stub_forget(uint64_t lo, uint64_t hi);

/* inline_known.c: a text goes by its module's build-id, its place there and its size. */
#define VT_CODE_KEY 108
void vt_known_key(char key[VT_CODE_KEY], const uint8_t *notes, size_t n, size_t align,
		  const Elf64_Phdr *text);
void vt_known_key_of(char key[VT_CODE_KEY], const struct dl_phdr_info *info,
		     const Elf64_Phdr *text);
void vt_known_load(const char *path);
bool vt_known_is_whole(const char *path, const Elf64_Phdr *text, const uint8_t *at);
bool vt_known_find(const char *key, struct vt_code_sites *found);
void vt_known_add(const char *key, const struct vt_code_sites *found);

#endif
