/*
 * dump_json.h - an event as one JSON object; its fields are described in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_DUMP_JSON_H
#define VMTRAIL_ANALYZER_DUMP_JSON_H

#include "ending.h"
#include <json-c/json.h>

/*
 * The event: seq, time and duration (seconds), tid, thread, call, args (by parameter's name:
 * addresses as hexadecimal strings, the rest numbers), text (the symbolic form of flags, by the
 * same names), ret (as the kernel returned it; null when it never did), errno, file, and what is
 * known of the call: own, inner, raw, late, undone, shared_vm. The caller frees it.
 */
struct json_object *vt_event_json(const struct vt_trace *t, const struct vt_event *e);

/* The signal that the parent was told of, ns after the start, as if it were one more event. */
struct json_object *vt_ending_json(const struct vt_trace *t, const struct vt_ending *n,
				   uint64_t ns);

#endif
