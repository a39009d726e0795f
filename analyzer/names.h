/* names.h - the names of errors and signals. SPDX-License-Identifier: MIT */
#ifndef VMTRAIL_NAMES_H
#define VMTRAIL_NAMES_H

/* "EINVAL" for EINVAL; NULL for a number that is none. */
const char *vt_errno_name(int error);

/* "SIGSEGV" for SIGSEGV, valid until the next call; NULL for a number that has no name. */
const char *vt_signal_name(int signo);

#endif
