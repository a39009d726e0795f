/*
 * walk.h - walking a call stack: walk.c for x86-64, unwinder.c elsewhere.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_WALK_H
#define VMTRAIL_WALK_H

#include <stdbool.h>
#include <stdint.h>

/* While the process still has one thread. False: there will be no stacks. */
bool vt_walk_init(void);

/*
 * The places in the code that the caller's stack returns to, innermost first, at most max of them:
 * as far out as they can be told. Returns how many.
 */
int vt_walk(void **pc, int max);

/*
 * The same for what a signal interrupted; the first is where it did. A jump to nowhere counts as a
 * call from where it says that it returns to. Only on x86-64.
 */
int vt_walk_from(const void *context, void **pc, int max);

/* Code of a file was mapped at addr: what was known of that place holds no longer. */
void vt_walk_forget(uint64_t addr, uint64_t len);

#endif
