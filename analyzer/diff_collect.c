/*
 * diff_collect.c - the tables of both runs, row by row under one key.
 *
 * SPDX-License-Identifier: MIT
 */
#include "diff.h"

#include "alloc.h"
#include "find_story.h"
#include <errno.h>

struct vt_diff_key {
	UT_hash_handle hh;
	size_t row;
	char text[];
};

/* The row of a key; new: there was none, and the caller appends one. */
static size_t row_of(struct vt_diff_key **keys, const char *text, size_t n_rows, bool *new)
{
	struct vt_diff_key *k;

	HASH_FIND_STR(*keys, text, k);
	*new = !k;
	if (!k) {
		size_t n = strlen(text) + 1;
		k = vt_calloc(1, sizeof(*k) + n);
		memcpy(k->text, text, n);
		k->row = n_rows;
		HASH_ADD_STR(*keys, text, k);
	}
	return k->row;
}

static void free_keys(struct vt_diff_key *keys)
{
	struct vt_diff_key *k, *next;
	HASH_ITER (hh, keys, k, next) {
		HASH_DEL(keys, k);
		free(k);
	}
}

/* A site as both runs know it: "grow (libfoo.so) via malloc", or by its place in the file. */
static char *name_of(const struct vt_site *site)
{
	const struct vt_frame_text *f = &site->outer;
	char *via = site->via ? vt_format(" via %s", site->via) : vt_strndup("", 0);
	char *name = f->function ? vt_format("%s (%s)%s", f->function, f->module, via)
				 : vt_format("%s+0x%llx%s", f->module,
					     (unsigned long long)f->file_offset, via);
	free(via);
	return name;
}

static void add_sites(struct vt_diff *d, int side, const struct vt_report *r)
{
	for (size_t i = 0; i < r->n_sites; i++) {
		const struct vt_report_site *s = &r->table[i];
		char *name = s->site ? name_of(s->site) : vt_strndup(s->name, strlen(s->name));
		bool new;
		size_t row = row_of(&d->site_keys, name, d->n_sites, &new);
		if (new) {
			d->sites = vt_grow(d->sites, d->n_sites, &d->cap_sites, sizeof(*d->sites));
			d->sites[d->n_sites++] = (struct vt_diff_site){ .name = name };
		} else {
			free(name);
		}
		d->sites[row].calls[side] += s->calls;
		d->sites[row].bytes[side] += s->bytes;
		d->sites[row].vmas[side] += s->vmas;
	}
}

static void add_totals(struct vt_diff *d, int side, const struct vt_report *r)
{
	static const struct vt_diff_total totals[VT_DIFF_TOTALS] = {
		[VT_DIFF_CALLS] = { "calls", "calls", false, { 0 } },
		[VT_DIFF_ERRORS] = { "failed calls", "errors", false, { 0 } },
		[VT_DIFF_MAPPED] = { "mapped at the end", "mapped_bytes", true, { 0 } },
		[VT_DIFF_MAPPED_PEAK] = { "mapped, peak", "mapped_peak_bytes", true, { 0 } },
		[VT_DIFF_COMMITTED_PEAK] = { "committed, peak",
					     "committed_peak_bytes",
					     true,
					     { 0 } },
		[VT_DIFF_VMAS] = { "VMAs at the end", "vmas", false, { 0 } },
		[VT_DIFF_VMAS_PEAK] = { "VMAs, peak", "vmas_peak", false, { 0 } },
	};
	if (side == VT_DIFF_A)
		memcpy(d->totals, totals, sizeof(totals));
	uint64_t errors = 0, calls = 0;
	for (size_t i = 0; i < r->n_kinds; i++) {
		calls += r->kinds[i].count;
		errors += r->kinds[i].errors;
	}
	const uint64_t values[VT_DIFF_TOTALS] = {
		[VT_DIFF_CALLS] = calls,
		[VT_DIFF_ERRORS] = errors,
		[VT_DIFF_MAPPED] = r->end.total_vm << VT_PAGE_SHIFT,
		[VT_DIFF_MAPPED_PEAK] = r->mapped.value,
		[VT_DIFF_COMMITTED_PEAK] = r->committed.value,
		[VT_DIFF_VMAS] = r->end.map_count,
		[VT_DIFF_VMAS_PEAK] = r->vmas.value,
	};
	for (int i = 0; i < VT_DIFF_TOTALS; i++)
		d->totals[i].value[side] = values[i];
}

/* The call site of an event that a finding tells of; malloc'ed, NULL: it has none. */
static char *site_name(const struct vt_story *story, uint64_t seq)
{
	const struct vt_why_entry *e = seq ? vt_story_find(story, seq) : NULL;
	return e && e->site ? name_of(e->site) : NULL;
}

static void add_finding(struct vt_diff *d, int side, const struct vt_finding *n,
			const struct vt_story *story)
{
	char *culprit = site_name(story, n->seq);
	char *victim = n->n_victims ? site_name(story, n->victims[0].birth.seq) : NULL;
	if (!culprit)
		culprit = vt_strndup("(no stack recorded)", 19);
	char *key = vt_format("%d %s %s", n->kind, culprit, victim ? victim : "");
	bool new;
	size_t row = row_of(&d->finding_keys, key, d->n_findings, &new);
	if (new) {
		d->findings =
		    vt_grow(d->findings, d->n_findings, &d->cap_findings, sizeof(*d->findings));
		d->findings[d->n_findings++] = (struct vt_diff_finding){ .kind = n->kind,
									 .culprit = culprit,
									 .victim = victim };
	} else {
		free(culprit);
		free(victim);
	}
	free(key);
	struct vt_diff_finding *f = &d->findings[row];
	f->count[side] += 1 + n->alike;
	if (!f->seq[side] || n->seq < f->seq[side])
		f->seq[side] = n->seq;
	if (n->severity > f->severity)
		f->severity = n->severity;
}

static int add_findings(struct vt_diff *d, int side, struct vt_trace *t)
{
	struct vt_find *f = vt_calloc(1, sizeof(*f));
	struct vt_story story = { 0 };
	int rc = vt_find_collect(f, t);

	if (!rc && f->n)
		rc = vt_story_collect(&story, f, t);
	for (size_t i = 0; !rc && i < f->n; i++)
		add_finding(d, side, &f->found[i], &story);
	vt_story_free(&story);
	vt_find_free(f);
	free(f);
	return rc;
}

int vt_diff_collect(struct vt_diff *d, int side, struct vt_trace *t)
{
	struct vt_report r = { 0 };
	int rc = vt_report_collect(&r, t);

	d->trace[side] = t;
	if (!rc) {
		add_totals(d, side, &r);
		add_sites(d, side, &r);
	}
	vt_report_free(&r);
	if (!rc)
		vt_trace_rewind(t);
	return rc ? rc : add_findings(d, side, t);
}

static uint64_t distance(const uint64_t v[VT_DIFF_SIDES])
{
	return v[VT_DIFF_A] > v[VT_DIFF_B] ? v[VT_DIFF_A] - v[VT_DIFF_B]
					   : v[VT_DIFF_B] - v[VT_DIFF_A];
}

bool vt_diff_site_differs(const struct vt_diff_site *s)
{
	return distance(s->bytes) || distance(s->vmas) || distance(s->calls);
}

bool vt_diff_one_sided(const struct vt_diff_finding *f)
{
	return !f->count[VT_DIFF_A] != !f->count[VT_DIFF_B];
}

static int descending(uint64_t a, uint64_t b)
{
	return a > b ? -1 : a < b;
}

static int by_difference(const void *pa, const void *pb)
{
	const struct vt_diff_site *a = pa, *b = pb;
	int c = descending(distance(a->bytes), distance(b->bytes));

	c = c ? c : descending(distance(a->vmas), distance(b->vmas));
	c = c ? c : descending(distance(a->calls), distance(b->calls));
	return c ? c : strcmp(a->name, b->name);
}

static int by_weight(const void *pa, const void *pb)
{
	const struct vt_diff_finding *a = pa, *b = pb;
	int c = descending(vt_diff_one_sided(a), vt_diff_one_sided(b));

	c = c ? c : descending(a->severity, b->severity);
	c = c ? c : a->kind - b->kind;
	return c ? c : strcmp(a->culprit, b->culprit);
}

void vt_diff_sort(struct vt_diff *d)
{
	free_keys(d->site_keys);
	free_keys(d->finding_keys);
	d->site_keys = d->finding_keys = NULL;
	if (d->n_sites)
		qsort(d->sites, d->n_sites, sizeof(*d->sites), by_difference);
	if (d->n_findings)
		qsort(d->findings, d->n_findings, sizeof(*d->findings), by_weight);
}

void vt_diff_free(struct vt_diff *d)
{
	free_keys(d->site_keys);
	free_keys(d->finding_keys);
	for (size_t i = 0; i < d->n_sites; i++)
		free(d->sites[i].name);
	for (size_t i = 0; i < d->n_findings; i++) {
		free(d->findings[i].culprit);
		free(d->findings[i].victim);
	}
	free(d->sites);
	free(d->findings);
}
