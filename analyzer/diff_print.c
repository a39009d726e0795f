/*
 * diff_print.c - two runs side by side, as text and as JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include "diff.h"

#include "report_json.h"
#include "report_style.h"
#include "units.h"
#include <string.h>

#define NUMBER 12 /* columns of a number */

static const char *value_text(char buf[VT_UNIT_TEXT], bool is_size, uint64_t v)
{
	return is_size ? vt_format_size(buf, v) : vt_format_count(buf, v);
}

/* "+1.2 MiB", "-3", "=". */
static void put_change(FILE *out, bool is_size, const uint64_t v[VT_DIFF_SIDES])
{
	char number[VT_UNIT_TEXT], text[VT_UNIT_TEXT + 1];
	bool more = v[VT_DIFF_B] > v[VT_DIFF_A];
	uint64_t d = more ? v[VT_DIFF_B] - v[VT_DIFF_A] : v[VT_DIFF_A] - v[VT_DIFF_B];

	snprintf(text, sizeof(text), "%s%s",
		 !d     ? "="
		 : more ? "+"
			: "-",
		 d ? value_text(number, is_size, d) : "");
	vt_put_cell(out, text, -NUMBER);
}

static void put_values(FILE *out, bool is_size, const uint64_t v[VT_DIFF_SIDES])
{
	char buf[VT_UNIT_TEXT];

	for (int i = 0; i < VT_DIFF_SIDES; i++)
		vt_put_cell(out, value_text(buf, is_size, v[i]), -NUMBER);
	put_change(out, is_size, v);
}

static void print_head(FILE *out, const struct vt_diff *d, const struct vt_style *style)
{
	for (int i = 0; i < VT_DIFF_SIDES; i++) {
		const char *cmd = vt_trace_meta(d->trace[i], "cmd");
		int n = cmd ? (int)strcspn(cmd, "\n") : 0;
		fprintf(out, "%s%c%s  %s  %.*s%s\n", style->strong, 'A' + i, style->off,
			d->trace[i]->path, n, cmd ? cmd : "", cmd && cmd[n] ? "…" : "");
	}
	fprintf(out, "\n%s%-20s%*s%*s%*s%s\n", style->faint, "", NUMBER, "A", NUMBER, "B", NUMBER,
		"change", style->off);
	for (int i = 0; i < VT_DIFF_TOTALS; i++) {
		fprintf(out, "%-20s", d->totals[i].name);
		put_values(out, d->totals[i].is_size, d->totals[i].value);
		fputc('\n', out);
	}
}

static void print_sites(FILE *out, const struct vt_diff *d, size_t top,
			const struct vt_style *style)
{
	size_t shown = 0, differ = 0;

	for (size_t i = 0; i < d->n_sites; i++)
		differ += vt_diff_site_differs(&d->sites[i]);
	if (!differ) {
		fprintf(out, "\nNo call site differs.\n");
		return;
	}
	fprintf(out, "\n%sCall sites that differ%s\n", style->strong, style->off);
	fprintf(out, "%s%*s%*s%*s%*s%*s  call site%s\n", style->faint, NUMBER, "bytes A", NUMBER,
		"bytes B", NUMBER, "change", NUMBER, "VMAs", NUMBER, "calls", style->off);
	for (size_t i = 0; i < d->n_sites && shown < top; i++) {
		const struct vt_diff_site *s = &d->sites[i];
		if (!vt_diff_site_differs(s))
			continue;
		put_values(out, true, s->bytes);
		put_change(out, false, s->vmas);
		put_change(out, false, s->calls);
		fprintf(out, "  %s\n", s->name);
		shown++;
	}
	if (differ > shown)
		fprintf(out, "and %zu more (--top)\n", differ - shown);
}

static void print_finding(FILE *out, const struct vt_diff_finding *f)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT];
	uint64_t seq = f->seq[VT_DIFF_A] ? f->seq[VT_DIFF_A] : f->seq[VT_DIFF_B];

	fprintf(out, "  %-8s %-18s ", vt_severity_name(f->severity), vt_find_kinds[f->kind].name);
	if (vt_diff_one_sided(f))
		fprintf(out, "only in %s: %s, first #%llu", f->count[VT_DIFF_A] ? "A" : "B",
			vt_format_count(a, f->count[VT_DIFF_A] + f->count[VT_DIFF_B]),
			(unsigned long long)seq);
	else
		fprintf(out, "%s in A, %s in B", vt_format_count(a, f->count[VT_DIFF_A]),
			vt_format_count(b, f->count[VT_DIFF_B]));
	fprintf(out, "\n      by %s%s%s\n", f->culprit, f->victim ? ", of " : "",
		f->victim ? f->victim : "");
}

static bool is_serious(const struct vt_diff_finding *f)
{
	return vt_diff_one_sided(f) && f->severity >= VT_SEVERITY_WARNING;
}

size_t vt_diff_print(FILE *out, const struct vt_diff *d, size_t top)
{
	struct vt_style style = vt_style_for(out);
	size_t serious = 0;

	print_head(out, d, &style);
	print_sites(out, d, top, &style);
	if (d->n_findings)
		fprintf(out, "\n%sFindings%s\n", style.strong, style.off);
	else
		fprintf(out, "\nNo findings in either.\n");
	for (size_t i = 0; i < d->n_findings; i++) {
		print_finding(out, &d->findings[i]);
		serious += is_serious(&d->findings[i]);
	}
	return serious;
}

static struct json_object *pair(const uint64_t v[VT_DIFF_SIDES])
{
	struct json_object *o = json_object_new_object();
	vt_json_u64(o, "a", v[VT_DIFF_A]);
	vt_json_u64(o, "b", v[VT_DIFF_B]);
	return o;
}

size_t vt_diff_print_json(FILE *out, const struct vt_diff *d)
{
	struct json_object *o = json_object_new_object(), *totals = json_object_new_object(),
			   *sites = json_object_new_array(), *findings = json_object_new_array();
	size_t serious = 0;

	vt_json_text(o, "a", d->trace[VT_DIFF_A]->path);
	vt_json_text(o, "b", d->trace[VT_DIFF_B]->path);
	for (int i = 0; i < VT_DIFF_TOTALS; i++)
		json_object_object_add(totals, d->totals[i].key, pair(d->totals[i].value));
	json_object_object_add(o, "totals", totals);
	for (size_t i = 0; i < d->n_sites && vt_diff_site_differs(&d->sites[i]); i++) {
		struct json_object *site = json_object_new_object();
		vt_json_text(site, "site", d->sites[i].name);
		json_object_object_add(site, "bytes", pair(d->sites[i].bytes));
		json_object_object_add(site, "vmas", pair(d->sites[i].vmas));
		json_object_object_add(site, "calls", pair(d->sites[i].calls));
		json_object_array_add(sites, site);
	}
	json_object_object_add(o, "sites", sites);
	for (size_t i = 0; i < d->n_findings; i++) {
		const struct vt_diff_finding *f = &d->findings[i];
		struct json_object *finding = json_object_new_object();
		vt_json_text(finding, "kind", vt_find_kinds[f->kind].name);
		vt_json_text(finding, "severity", vt_severity_name(f->severity));
		vt_json_text(finding, "culprit", f->culprit);
		vt_json_text(finding, "victim", f->victim);
		json_object_object_add(finding, "count", pair(f->count));
		json_object_object_add(finding, "first_seq", pair(f->seq));
		json_object_array_add(findings, finding);
		serious += is_serious(f);
	}
	json_object_object_add(o, "findings", findings);
	vt_json_print(out, o);
	return serious;
}
