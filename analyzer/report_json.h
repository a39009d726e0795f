/*
 * report_json.h - building JSON objects the way all our output looks: addresses are strings.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_REPORT_JSON_H
#define VMTRAIL_ANALYZER_REPORT_JSON_H

#include <json-c/json.h>

#include "role.h"

void vt_json_u64(struct json_object *o, const char *key, uint64_t value);
void vt_json_hex(struct json_object *o, const char *key, uint64_t value);
void vt_json_bool(struct json_object *o, const char *key, bool value);

/* A string; null when text is NULL. Bytes that are no UTF-8 become question marks. */
struct json_object *vt_json_string(const char *text);
void vt_json_text(struct json_object *o, const char *key, const char *text);

/* A frame: pc, module, file_offset, function, offset, source, line, inlined. */
struct json_object *vt_json_frame(const struct vt_frame_text *f);

/* A call site: its frame, inlined_into and via where there are such; NULL when there is no site. */
struct json_object *vt_json_site(const struct vt_site *site);

/*
 * What a mapping is for: role; role_name, role_tid and role_ended where there is such. Leaves a
 * role out that is not known.
 */
void vt_json_role(struct json_object *o, const struct vt_mapping_role *role);

/* Print the object on one line and free it. */
void vt_json_print(FILE *out, struct json_object *o);

#endif
