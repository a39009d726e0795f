/*
 * unwinder.h - the functions of libunwind that the recorder uses; see unwinder.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_UNWINDER_H
#define VMTRAIL_UNWINDER_H

#ifndef UNW_LOCAL_ONLY
#define UNW_LOCAL_ONLY
#endif
#include "recorder.h"
#include <libunwind.h>

struct vt_unwinder {
	int (*backtrace)(void **, int); /* NULL: unwind by steps */
#if defined(__x86_64__)
	int (*getcontext)(unw_context_t *);
#endif
	int (*init_local)(unw_cursor_t *, unw_context_t *);
	int (*init_local2)(unw_cursor_t *, unw_context_t *, int); /* NULL: an older library */
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, unw_regnum_t, unw_word_t *);
};
extern struct vt_unwinder vt_unwinder;

bool vt_unwinder_load(void);

/* The registers here. Elsewhere than on x86-64 libunwind has it as a macro, with nothing to link.
 */
#if defined(__x86_64__)
#define vt_unwinder_here(context) vt_unwinder.getcontext(context)
#else
#define vt_unwinder_here(context) unw_getcontext(context)
#endif

#endif
