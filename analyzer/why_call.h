/*
 * why_call.h - an event in a few words: "mmap 16 MiB rw-", for tables where people follow a story.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_WHY_CALL_H
#define VMTRAIL_ANALYZER_WHY_CALL_H

#include "flags.h"
#include <vmtrail/event.h>

/* Append the event in short form. path: the file it mapped, NULL: none. */
void vt_text_short_call(struct vt_text *t, const struct vt_event *e, const char *path);

/* Append "rw-" for PROT_* bits. */
void vt_text_prot(struct vt_text *t, uint64_t prot);

#endif
