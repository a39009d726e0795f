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
	int (*backtrace)(void **, int);
	int (*getcontext)(unw_context_t *);
	int (*init_local)(unw_cursor_t *, unw_context_t *);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, unw_regnum_t, unw_word_t *);
};
extern struct vt_unwinder vt_unwinder;

bool vt_unwinder_load(void);

#endif
