/*
 * flags.h - the symbolic names of arguments, as strace prints them.
 *
 * One table a set of flags, shared by the text and the JSON output.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FLAGS_H
#define VMTRAIL_ANALYZER_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Text being put together in a buffer of fixed size; what does not fit is cut. */
struct vt_text {
	char *p;
	size_t n, size; /* used without the NUL, and in all */
};

void vt_text_add(struct vt_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Append the value of an argument of class (enum vt_arg_class) by name: "PROT_READ|PROT_WRITE". */
void vt_text_flags(struct vt_text *t, unsigned class, uint64_t value);

/*
 * The value of a flag of class by its name, n bytes long: what vt_text_flags prints, and names that
 * other systems print. False: there is none of this name.
 */
bool vt_flag_value(unsigned class, const char *name, size_t n, uint64_t *value);

/* Whether arguments of class have symbolic names at all. */
bool vt_class_is_symbolic(unsigned class);

/* mbind's mode and flags, which the event table knows only as numbers. */
void vt_text_mbind_mode(struct vt_text *t, uint64_t mode);
void vt_text_mbind_flags(struct vt_text *t, uint64_t flags);

/* The second argument of prctl(PR_SET_MM) and prctl(PR_SET_VMA). */
void vt_text_prctl_option(struct vt_text *t, uint64_t call, uint64_t option);

/* An address: "NULL" or hexadecimal. */
void vt_text_addr(struct vt_text *t, uint64_t addr);

#endif
