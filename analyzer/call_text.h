/*
 * call_text.h - an event as text, in strace's own form.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_CALL_TEXT_H
#define VMTRAIL_ANALYZER_CALL_TEXT_H

#include "flags.h"
#include <vmtrail/event.h>

/* Room for any call or result below. */
#define VT_CALL_TEXT 2048

/*
 * The name of argument i, below VT_MAX_ARGS, of a kind as manual pages have it ("addr", "length");
 * NULL: it has no such one.
 */
const char *vt_arg_name(uint8_t kind, int i);

/* Append argument i as strace prints it. */
void vt_text_arg(struct vt_text *t, const struct vt_event *e, int i);

/* Append "mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)". */
void vt_text_call(struct vt_text *t, const struct vt_event *e, const char *name);

/* Append what stands after "= ": "0x7f0000000000", "0", "-1 ENOMEM (Cannot allocate memory)". */
void vt_text_result(struct vt_text *t, const struct vt_event *e);

/*
 * Whether the event is no call but something that the recorder has to say; vt_text_call then
 * gives the whole line, as strace shows a signal: "--- SIGSEGV {...} ---".
 */
bool vt_is_remark(const struct vt_event *e);

#endif
