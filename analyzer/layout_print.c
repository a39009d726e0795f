/*
 * layout_print.c - the calls of a trace in another address space, as text and as JSON; the fields
 * are described in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>

#include "alloc.h"
#include "call_text.h"
#include "dump_json.h"
#include "layout.h"
#include "report_json.h"
#include "report_style.h"
#include "units.h"

struct page {
	FILE *out;
	const struct vt_layout *l;
	const struct vt_trace *t;
	struct vt_style style;
};

static const char *const whats[] = {
	[VT_CONFLICT_HITS] = "hits",
	[VT_CONFLICT_EXISTS] = "exists",
	[VT_CONFLICT_NO_ROOM] = "no room",
};

static void print_config(const struct page *p, const char *name, const struct vt_model_config *c)
{
	fprintf(p->out, "  %-10s %s from 0x%" PRIx64 ", huge-page alignment %s, Linux %u.%u\n",
		name, c->bottomup ? "bottom-up" : "top-down", c->mmap_base,
		c->thp_align ? "on" : "off", c->kernel_version >> 16, c->kernel_version >> 8 & 255);
}

static void print_sums(const struct page *p)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT];
	const struct vt_layout *l = p->l;
	fprintf(p->out, "\n  %s places chosen by the kernel, %s of them elsewhere\n",
		vt_format_count(a, l->chosen), vt_format_count(b, l->elsewhere));
	fprintf(p->out, "  %s placements by address, ", vt_format_count(a, l->forced));
	fprintf(p->out, "%s hints that were honoured, %s of them not here\n",
		vt_format_count(a, l->hints), vt_format_count(b, l->hints_lost));
}

/* Whose the mapping is that a call meets. */
static void print_victim(const struct page *p, const struct vt_layout_conflict *c)
{
	char name[512];
	if (!c->victim) {
		fprintf(p->out, "a mapping from before the recording\n");
		return;
	}
	fprintf(p->out, "the mapping made by #%" PRIu64, c->victim);
	if (c->victim_site)
		fprintf(p->out, " (%s)",
			vt_site_short(c->victim_site, name, sizeof(name), p->style.width - 30));
	fprintf(p->out, "\n");
}

static void print_conflict(const struct page *p, const struct vt_layout_conflict *c)
{
	char buf[VT_CALL_TEXT], size[VT_UNIT_TEXT];
	struct vt_text text = { buf, 0, sizeof(buf) };
	vt_text_call(&text, &c->event, vt_event_name(p->t, &c->event));
	fprintf(p->out, "  #%" PRIu64 " %s\n      ", c->event.seq, buf);
	switch (c->what) {
	case VT_CONFLICT_HITS:
		fprintf(p->out, "at 0x%" PRIx64 " here: %s%s destroyed%s of ", c->addr,
			p->style.bad, vt_format_size(size, c->bytes), p->style.off);
		print_victim(p, c);
		break;
	case VT_CONFLICT_EXISTS:
		fprintf(p->out, "at 0x%" PRIx64 " here: EEXIST, because of ", c->addr);
		print_victim(p, c);
		break;
	default:
		fprintf(p->out, "no room here for %s: ENOMEM\n", vt_format_size(size, c->bytes));
		break;
	}
}

static void print_places(const struct page *p, size_t top)
{
	char size[VT_UNIT_TEXT], name[512];
	const struct vt_layout *l = p->l;
	fprintf(p->out, "\n%sWhere the largest mappings of the end lie%s\n", p->style.strong,
		p->style.off);
	fprintf(p->out, "%s%10s  %-14s  %-14s  %s%s\n", p->style.faint, "size", "recorded", "here",
		"made by", p->style.off);
	for (size_t i = 0; i < l->n_places && i < top; i++) {
		const struct vt_layout_place *x = &l->places[i];
		const char *path =
		    x->file && x->file < p->t->n_files ? p->t->files[x->file].path : NULL;
		vt_put_cell(p->out, vt_format_size(size, x->bytes), -10);
		fprintf(p->out, "  0x%012" PRIx64 "  0x%012" PRIx64 "  %s\n", x->recorded, x->there,
			x->site ? vt_site_short(x->site, name, sizeof(name), p->style.width - 44)
			: path && *path ? path
			: x->birth      ? "(no stack recorded)"
					: "(before the recording)");
	}
}

void vt_layout_print(FILE *out, const struct vt_layout *l, const struct vt_trace *t, size_t top)
{
	struct page p = { out, l, t, vt_style_for(out) };
	fprintf(out, "%s%s%s in another address space\n\n", p.style.strong, t->path, p.style.off);
	print_config(&p, "recorded", &l->recorded);
	print_config(&p, "here", &l->there);
	print_sums(&p);
	if (l->n_conflicts)
		fprintf(out, "\n%sCalls that meet what they did not meet in the recording: %zu%s\n",
			p.style.strong, l->n_conflicts, p.style.off);
	for (size_t i = 0; i < l->n_conflicts && i < top; i++)
		print_conflict(&p, &l->conflicts[i]);
	print_places(&p, top);
	fprintf(out,
		"\n%sAssumptions%s\n"
		"  Nothing is random here. What the kernel had placed before the recording is\n"
		"  placed in the same order, without the recorder; the program, its heap and its\n"
		"  stack stay. Addresses in mappings that the kernel placed follow them, others\n"
		"  stay as they are.\n",
		p.style.strong, p.style.off);
}

static struct json_object *config_json(const struct vt_model_config *c)
{
	char kernel[32];
	struct json_object *o = json_object_new_object();
	vt_json_text(o, "layout", c->bottomup ? "bottomup" : "topdown");
	vt_json_hex(o, "mmap_base", c->mmap_base);
	vt_json_bool(o, "thp_align", c->thp_align);
	snprintf(kernel, sizeof(kernel), "%u.%u", c->kernel_version >> 16,
		 c->kernel_version >> 8 & 255);
	vt_json_text(o, "kernel", kernel);
	return o;
}

static struct json_object *conflict_json(const struct vt_layout_conflict *c,
					 const struct vt_trace *t)
{
	struct json_object *o = vt_event_json(t, &c->event);
	vt_json_text(o, "what", whats[c->what]);
	vt_json_hex(o, "there", c->addr);
	vt_json_u64(o, "bytes", c->bytes);
	vt_json_u64(o, "victim", c->victim);
	json_object_object_add(o, "victim_site", vt_json_site(c->victim_site));
	json_object_object_add(o, "site", vt_json_site(c->site));
	return o;
}

struct json_object *vt_layout_json(const struct vt_layout *l, const struct vt_trace *t, size_t top)
{
	struct json_object *o = json_object_new_object(), *conflicts = json_object_new_array(),
			   *places = json_object_new_array();
	json_object_object_add(o, "recorded", config_json(&l->recorded));
	json_object_object_add(o, "there", config_json(&l->there));
	vt_json_u64(o, "chosen", l->chosen);
	vt_json_u64(o, "elsewhere", l->elsewhere);
	vt_json_u64(o, "forced", l->forced);
	vt_json_u64(o, "hints", l->hints);
	vt_json_u64(o, "hints_lost", l->hints_lost);
	vt_json_u64(o, "n_conflicts", l->n_conflicts);
	for (size_t i = 0; i < l->n_conflicts && i < top; i++)
		json_object_array_add(conflicts, conflict_json(&l->conflicts[i], t));
	json_object_object_add(o, "conflicts", conflicts);
	for (size_t i = 0; i < l->n_places && i < top; i++) {
		const struct vt_layout_place *x = &l->places[i];
		struct json_object *row = json_object_new_object();
		vt_json_hex(row, "recorded", x->recorded);
		vt_json_hex(row, "there", x->there);
		vt_json_u64(row, "bytes", x->bytes);
		vt_json_u64(row, "birth", x->birth);
		json_object_object_add(row, "site", vt_json_site(x->site));
		json_object_array_add(places, row);
	}
	json_object_object_add(o, "places", places);
	return o;
}
