/*
 * stop.h - see stop.c. Everything but the check runs under the recorder lock.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_STOP_H
#define VMTRAIL_STOP_H

#include "recorder.h"

/* With vt.options.stop_on, after the model is there. False: no memory. */
bool vt_stop_init(void);

/* Around the application of each event. */
void vt_stop_before(const struct vt_event *e);
void vt_stop_after(const struct vt_event *e);

/* Before a call is made: raise SIGTRAP if it is one of those asked for. Not under the lock. */
void vt_stop_check(const struct vt_event *e);

#endif
