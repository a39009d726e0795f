/*
 * report_json.c - the JSON of report and why, by json-c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "report_json.h"

#include <inttypes.h>

#include "alloc.h"

void vt_json_u64(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

void vt_json_hex(struct json_object *o, const char *key, uint64_t value)
{
	char text[24];
	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_object_object_add(o, key, json_object_new_string(text));
}

void vt_json_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

/* Length of the UTF-8 character at p, 0: none. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

struct json_object *vt_json_string(const char *text)
{
	if (!text)
		return NULL;
	char *copy = vt_strndup(text, strlen(text));
	for (unsigned char *p = (unsigned char *)copy; *p;) {
		size_t n = utf8_length(p);
		if (!n)
			*p = '?';
		p += n ? n : 1;
	}
	struct json_object *o = json_object_new_string(copy);
	free(copy);
	return o;
}

void vt_json_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, vt_json_string(text));
}

struct json_object *vt_json_frame(const struct vt_frame_text *f)
{
	struct json_object *o = json_object_new_object();
	vt_json_hex(o, "pc", f->pc);
	vt_json_text(o, "module", *f->path ? f->path : f->module);
	if (*f->path)
		vt_json_hex(o, "file_offset", f->file_offset);
	if (f->function) {
		vt_json_text(o, "function", f->function);
		vt_json_u64(o, "offset", f->offset);
	}
	if (f->source) {
		vt_json_text(o, "source", f->source);
		vt_json_u64(o, "line", f->line);
	}
	if (f->inlined)
		vt_json_bool(o, "inlined", true);
	if (f->stale)
		vt_json_bool(o, "stale", true);
	return o;
}

struct json_object *vt_json_site(const struct vt_site *site)
{
	if (!site)
		return NULL;
	struct json_object *o = vt_json_frame(&site->frame);
	if (site->frame.inlined)
		json_object_object_add(o, "inlined_into", vt_json_frame(&site->outer));
	if (site->via)
		vt_json_text(o, "via", site->via);
	return o;
}

void vt_json_role(struct json_object *o, const struct vt_mapping_role *role)
{
	if (role->use == VT_USE_UNKNOWN)
		return;
	vt_json_text(o, "role", vt_use_name(role->use));
	if (role->name)
		vt_json_text(o, "role_name", role->name);
	if (role->tid)
		vt_json_u64(o, "role_tid", role->tid);
	if (role->ended)
		vt_json_bool(o, "role_ended", true);
}

void vt_json_print(FILE *out, struct json_object *o)
{
	fprintf(out, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}
