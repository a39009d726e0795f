/*
 * merges_print.c - merges, splits and what stays apart, as text and as JSON; the fields are
 * described in vmtrail(1).
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>

#include "alloc.h"
#include "merges.h"
#include "report_json.h"
#include "report_style.h"
#include "units.h"

static const struct {
	const char *name, *smaps;
} flags[VT_VM_FLAG_COUNT] = {
#define FLAG_ROW(n, s) [VT_VM_##n##_BIT] = { #n, s },
	VT_VM_FLAGS(FLAG_ROW)
#undef FLAG_ROW
};

static const char *const reasons[VT_APART_COUNT] = {
#define REASON_ROW(n, s) [VT_APART_##n] = s,
	VT_APARTS(REASON_ROW)
#undef REASON_ROW
};

struct page {
	FILE *out;
	const struct vt_merges *m;
	struct vt_style style;
	size_t top;
};

static void heading(const struct page *p, const char *text)
{
	fprintf(p->out, "\n%s%s%s\n", p->style.strong, text, p->style.off);
}

static void number(const struct page *p, uint64_t n, int width)
{
	char buf[VT_UNIT_TEXT];
	vt_put_cell(p->out, vt_format_count(buf, n), -width);
}

static void print_cases(const struct page *p)
{
	const struct vt_merges *m = p->m;
	fprintf(p->out, "  case       times\n");
	for (int i = 1; i <= VT_MERGE_CASES; i++) {
		int c = i % VT_MERGE_CASES; /* nothing last */
		fprintf(p->out, "  %c   ", c ? '0' + c : '-');
		number(p, m->cases[c], 12);
		fprintf(p->out, "  %s\n", vt_merge_cases[c]);
	}
}

static void print_splits(const struct page *p)
{
	char buf[VT_UNIT_TEXT];
	const struct vt_merges *m = p->m;
	const char *comma = ": ";
	fprintf(p->out, "\n  %s boundaries merged, ", vt_format_count(buf, m->merges));
	fprintf(p->out, "%s areas split", vt_format_count(buf, m->splits));
	for (int k = 0; k < VT_KIND_COUNT; k++) {
		if (!m->splits_by[k])
			continue;
		fprintf(p->out, "%s%s by %s", comma, vt_format_count(buf, m->splits_by[k]),
			vt_kinds[k].name);
		comma = ", ";
	}
	fprintf(p->out, "\n");
}

static void print_reasons(const struct page *p)
{
	heading(p, "Why neighbours stayed apart");
	bool any = false;
	for (int i = 1; i < VT_APART_COUNT; i++) {
		if (!p->m->why[i])
			continue;
		any = true;
		number(p, p->m->why[i], 12);
		fprintf(p->out, "  %s\n", reasons[i]);
	}
	if (!any)
		fprintf(p->out, "  none did\n");
}

static enum vt_apart main_reason(const struct vt_merge_site *s)
{
	enum vt_apart most = VT_APART_NOT;
	for (int i = 1; i < VT_APART_COUNT; i++)
		if (s->why[i] > s->why[most])
			most = (enum vt_apart)i;
	return most;
}

static bool is_shown(const struct vt_merge_site *s)
{
	uint64_t asked = 0;
	for (int i = 0; i < VT_MERGE_CASES; i++)
		asked += s->cases[i];
	return asked || s->merges || s->splits;
}

static void print_sites(const struct page *p)
{
	char name[512];
	heading(p, "Call sites by neighbours that they kept apart");
	fprintf(p->out, "%s%9s%9s%9s  %-17s%s%s\n", p->style.faint, "apart", "merges", "splits",
		"mostly by", "call site", p->style.off);
	for (size_t i = 0; i < p->m->n && i < p->top; i++) {
		const struct vt_merge_site *s = &p->m->table[i];
		if (!is_shown(s))
			continue;
		number(p, s->apart, 9);
		number(p, s->merges, 9);
		number(p, s->splits, 9);
		fprintf(p->out, "  %-17s%s\n", s->apart ? reasons[main_reason(s)] : "",
			s->site ? vt_site_short(s->site, name, sizeof(name), p->style.width - 46)
				: "(no stack recorded)");
	}
}

static void print_chains(const struct page *p)
{
	char name[512], buf[VT_UNIT_TEXT];
	const struct vt_merges *m = p->m;
	heading(p, "The longest chains of VMAs that differ in one flag each");
	fprintf(p->out, "  when there were most VMAs: %s", vt_format_count(buf, m->most));
	if (m->most_seq)
		fprintf(p->out, ", after #%" PRIu64 "\n", m->most_seq);
	else
		fprintf(p->out, ", at the start\n");
	for (size_t i = 0; i < m->n_chains && i < p->top; i++) {
		const struct vt_merge_chain *c = &m->chains[i];
		number(p, c->areas, 9);
		fprintf(p->out, "  %012" PRIx64 "-%012" PRIx64, c->lo, c->hi);
		for (int f = 0; f < VT_VM_FLAG_COUNT; f++)
			if (c->flags & 1u << f)
				fprintf(p->out, " %s", flags[f].smaps);
		if (c->site)
			fprintf(p->out, "  %s",
				vt_site_short(c->site, name, sizeof(name), p->style.width - 44));
		fprintf(p->out, "\n");
	}
	if (!m->n_chains)
		fprintf(p->out, "  none of three or more\n");
}

void vt_merges_print(FILE *out, const struct vt_merges *m, const struct vt_trace *t, size_t top)
{
	struct page p = { out, m, vt_style_for(out), top };
	fprintf(out, "%s%s%s\n\n", p.style.strong, t->path, p.style.off);
	print_cases(&p);
	print_splits(&p);
	print_reasons(&p);
	print_sites(&p);
	print_chains(&p);
}

static struct json_object *cases_json(const uint64_t cases[VT_MERGE_CASES])
{
	struct json_object *list = json_object_new_array();
	for (int i = 0; i < VT_MERGE_CASES; i++)
		json_object_array_add(list, json_object_new_uint64(cases[i]));
	return list;
}

static struct json_object *reasons_json(const uint64_t why[VT_APART_COUNT])
{
	struct json_object *o = json_object_new_object();
	for (int i = 1; i < VT_APART_COUNT; i++)
		if (why[i])
			vt_json_u64(o, reasons[i], why[i]);
	return o;
}

static struct json_object *sites_json(const struct vt_merges *m, size_t top)
{
	struct json_object *list = json_object_new_array();
	for (size_t i = 0; i < m->n && i < top; i++) {
		const struct vt_merge_site *s = &m->table[i];
		if (!is_shown(s))
			continue;
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "site", vt_json_site(s->site));
		vt_json_text(o, "call", s->mixed ? NULL : vt_kinds[s->kind].name);
		json_object_object_add(o, "cases", cases_json(s->cases));
		vt_json_u64(o, "merges", s->merges);
		vt_json_u64(o, "splits", s->splits);
		vt_json_u64(o, "apart", s->apart);
		json_object_object_add(o, "why", reasons_json(s->why));
		json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *chains_json(const struct vt_merges *m, size_t top)
{
	struct json_object *list = json_object_new_array();
	for (size_t i = 0; i < m->n_chains && i < top; i++) {
		const struct vt_merge_chain *c = &m->chains[i];
		struct json_object *o = json_object_new_object(), *differ = json_object_new_array();
		vt_json_hex(o, "start", c->lo);
		vt_json_hex(o, "end", c->hi);
		vt_json_u64(o, "vmas", c->areas);
		for (int f = 0; f < VT_VM_FLAG_COUNT; f++)
			if (c->flags & 1u << f)
				json_object_array_add(differ,
						      json_object_new_string(flags[f].name));
		json_object_object_add(o, "flags", differ);
		json_object_object_add(o, "site", vt_json_site(c->site));
		json_object_array_add(list, o);
	}
	return list;
}

void vt_merges_print_json(FILE *out, const struct vt_merges *m, const struct vt_trace *t,
			  size_t top)
{
	struct json_object *o = json_object_new_object(), *splits = json_object_new_object();
	vt_json_text(o, "trace", t->path);
	json_object_object_add(o, "cases", cases_json(m->cases));
	vt_json_u64(o, "merges", m->merges);
	vt_json_u64(o, "splits", m->splits);
	for (int k = 0; k < VT_KIND_COUNT; k++)
		if (m->splits_by[k])
			vt_json_u64(splits, vt_kinds[k].name, m->splits_by[k]);
	json_object_object_add(o, "splits_by", splits);
	json_object_object_add(o, "why_apart", reasons_json(m->why));
	json_object_object_add(o, "sites", sites_json(m, top));
	vt_json_u64(o, "most_vmas", m->most);
	vt_json_u64(o, "most_vmas_seq", m->most_seq);
	json_object_object_add(o, "chains", chains_json(m, top));
	vt_json_print(out, o);
}
