/*
 * placement_print.c - the hit rate of predicted places, and the list of misses, as text and JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>

#include "call_text.h"
#include "dump_json.h"
#include "placement_print.h"
#include "report_json.h"
#include "units.h"

double vt_placements_rate(const struct vt_placements *p)
{
	return p->asked ? 100.0 * (double)p->hits / (double)p->asked : 100.0;
}

static void print_miss(FILE *out, const struct vt_misplaced *m)
{
	char buf[VT_CALL_TEXT];
	struct vt_text text = { buf, 0, sizeof(buf) };
	vt_text_call(&text, &m->event, NULL);
	fprintf(out, "  #%" PRIu64 " %s = 0x%" PRIx64 "\n", m->event.seq, buf,
		(uint64_t)m->event.ret);
	if (vt_is_error((int64_t)m->predicted.at))
		fprintf(out, "      expected nowhere; ");
	else
		fprintf(out, "      expected 0x%" PRIx64 "; ", m->predicted.at);
	if (m->why == VT_MISS_OVERLAP)
		fprintf(out, "#%" PRIu64 " was under way, and the kernel took it first\n",
			m->other);
	else if (m->why == VT_MISS_UNSEEN)
		fprintf(out, "the mapping that #%" PRIu64 " found was there already\n", m->other);
	else
		fprintf(out, "%s\n", vt_misses[m->why].text);
}

void vt_placements_print(FILE *out, const struct vt_placements *p)
{
	char asked[VT_UNIT_TEXT], hits[VT_UNIT_TEXT];
	fprintf(out, "%s places chosen by the kernel, %s predicted (%.2f %%)\n",
		vt_format_count(asked, p->asked), vt_format_count(hits, p->hits),
		vt_placements_rate(p));
	for (int i = 0; i < VT_MISS_COUNT; i++)
		if (p->why[i])
			fprintf(out, "  %" PRIu64 " %s: %s\n", p->why[i], vt_misses[i].name,
				vt_misses[i].text);
	if (p->n)
		fprintf(out, "\n");
	for (size_t i = 0; i < p->n; i++)
		print_miss(out, &p->misses[i]);
}

struct json_object *vt_placements_json(const struct vt_placements *p)
{
	struct json_object *o = json_object_new_object(), *why = json_object_new_object();
	vt_json_u64(o, "chosen", p->asked);
	vt_json_u64(o, "predicted", p->hits);
	for (int i = 0; i < VT_MISS_COUNT; i++)
		vt_json_u64(why, vt_misses[i].name, p->why[i]);
	json_object_object_add(o, "missed", why);
	return o;
}

void vt_placements_print_json(FILE *out, const struct vt_placements *p, const struct vt_trace *t)
{
	struct json_object *o = vt_placements_json(p), *list = json_object_new_array();
	for (size_t i = 0; i < p->n; i++) {
		const struct vt_misplaced *m = &p->misses[i];
		struct json_object *row = vt_event_json(t, &m->event);
		if (vt_is_error((int64_t)m->predicted.at))
			json_object_object_add(row, "expected", NULL);
		else
			vt_json_hex(row, "expected", m->predicted.at);
		vt_json_text(row, "why", vt_misses[m->why].name);
		if (m->other)
			vt_json_u64(row, "other", m->other);
		json_object_array_add(list, row);
	}
	json_object_object_add(o, "misses", list);
	vt_json_print(out, o);
}
