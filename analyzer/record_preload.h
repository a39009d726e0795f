/*
 * record_preload.h - what a recorded program loads, and in which order.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_RECORD_PRELOAD_H
#define VMTRAIL_ANALYZER_RECORD_PRELOAD_H

/*
 * The value of LD_PRELOAD for the executable, malloc'ed: the library, then what is there already;
 * before both the sanitizer's runtime that the executable is linked with, which must come first
 * to see the calls it checks. NULL: *why is one malloc'ed line.
 */
char *vt_record_preload(const char *executable, char **why);

/*
 * ASAN_OPTIONS for a recorded program, malloc'ed: what is there, and that the sanitizer's runtime
 * need not come first in programs that this one starts. NULL: no memory.
 */
char *vt_record_asan_options(void);

#endif
