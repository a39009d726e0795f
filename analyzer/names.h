/* names.h - the names of errors and signals. SPDX-License-Identifier: MIT */
#ifndef VMTRAIL_NAMES_H
#define VMTRAIL_NAMES_H

#include <stddef.h>

/* "EINVAL" for EINVAL; NULL for a number that is none. */
const char *vt_errno_name(int error);

/* EINVAL for "EINVAL", n bytes long; 0: none of this name. */
int vt_errno_of_name(const char *name, size_t n);

/* SIGSEGV for "SIGSEGV", n bytes long; 0: none of this name. */
int vt_signal_of_name(const char *name, size_t n);

/* "SIGSEGV" for SIGSEGV, valid until the next call; NULL for a number that has no name. */
const char *vt_signal_name(int signo);

#endif
