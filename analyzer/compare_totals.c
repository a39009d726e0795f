/*
 * compare_totals.c - what a snapshot counts against what the model counts: VmSize, VmData, VmStk,
 * VmExe + VmLib and VmLck of /proc/PID/status, and the pages of the areas with VM_ACCOUNT.
 *
 * The recorder's own findings stand right behind the snapshot that showed them: the model is asked
 * after they have been applied. Where a call was under way nothing is compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "compare.h"

/* The value of a line of status, in pages. */
static bool status_pages(const char *text, const char *name, uint64_t *pages)
{
	const char *line = text;
	size_t len = strlen(name);

	while (line && strncmp(line, name, len) != 0) {
		line = strchr(line, '\n');
		line += line != NULL;
	}
	if (!line)
		return false;
	*pages = strtoull(line + len, NULL, 10) >> (VT_PAGE_SHIFT - 10);
	return true;
}

static bool parse_status(const char *text, struct vt_counts *c)
{
	uint64_t text_pages, lib_pages;

	if (!text || !status_pages(text, "VmSize:", &c->size) ||
	    !status_pages(text, "VmData:", &c->data) || !status_pages(text, "VmStk:", &c->stack) ||
	    !status_pages(text, "VmLck:", &c->locked) ||
	    !status_pages(text, "VmExe:", &text_pages) || !status_pages(text, "VmLib:", &lib_pages))
		return false;
	c->exec = text_pages + lib_pages;
	return true;
}

/* Pages of the areas that the kernel has charged for; only smaps tells. */
static uint64_t accounted_pages(const struct vt_snapshot *s)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < s->n_vmas; i++)
		if (s->vmas[i].flags & VT_VM(ACCOUNT))
			pages += (s->vmas[i].end - s->vmas[i].start) >> VT_PAGE_SHIFT;
	return pages;
}

void vt_totals_expect(struct vt_replay *r, const struct vt_snapshot *s)
{
	struct vt_totals_due *due = &r->due;

	*due = (struct vt_totals_due){ .snapshot = *s };
	if (!parse_status(s->status_text, &due->kernel))
		return;
	due->waits = true;
	due->flags_shown = s->flags_shown;
	due->kernel.accounted = accounted_pages(s);
}

struct bounds {
	uint64_t least, most;
};

/* Pages whose area has the flag: for certain, and at most. */
static struct bounds pages_with(const struct vt_model *m, uint32_t flag)
{
	struct bounds b = { 0, 0 };

	for (const struct vt_extent *x = vt_model_first(m); x; x = vt_extent_next(x)) {
		uint64_t pages = (x->end - x->start) >> VT_PAGE_SHIFT;
		bool unsure = vt_extent_unsure_flags(x) & flag;
		if (x->special == VT_SPECIAL_VSYSCALL)
			continue;
		if (x->flags & flag || unsure)
			b.most += pages;
		if (x->flags & flag && !unsure)
			b.least += pages;
	}
	return b;
}

static void compare(struct vt_replay *r, const char *name, struct bounds model, uint64_t kernel)
{
	if (kernel >= model.least && kernel <= model.most)
		return;
	r->verdict.total_mismatches++;
	if (r->total_mismatch)
		r->total_mismatch(r->mismatch_ctx, &r->due.snapshot, name, model.least, model.most,
				  kernel);
}

static struct bounds exactly(uint64_t pages)
{
	return (struct bounds){ pages, pages };
}

/*
 * A snapshot of maps does not show what is locked. That nothing was when the recording began is
 * what VmLck then said.
 */
static struct bounds locked_pages(const struct vt_replay *r)
{
	const struct vt_totals *t = &r->model.totals;

	if (r->locks_known)
		return (struct bounds){ t->locked_vm, t->locked_vm + t->locked_unsure };
	struct bounds b = pages_with(&r->model, VT_VM(LOCKED));
	b.most += t->locked_unsure;
	return b;
}

void vt_totals_compare(struct vt_replay *r)
{
	struct vt_totals_due *due = &r->due;
	const struct vt_totals *t = &r->model.totals;
	const struct vt_counts *k = &due->kernel;

	if (!due->waits)
		return;
	due->waits = false;
	if (due->fills_model) {
		r->locks_known = k->locked == t->locked_vm;
		return;
	}
	r->verdict.totals_compared++;
	compare(r, "VmSize", exactly(t->total_vm), k->size);
	compare(r, "VmData", exactly(t->data_vm), k->data);
	compare(r, "VmStk", exactly(t->stack_vm), k->stack);
	compare(r, "VmExe + VmLib", exactly(t->exec_vm), k->exec);
	compare(r, "VmLck", locked_pages(r), k->locked);
	if (due->flags_shown)
		compare(r, "areas with ac", pages_with(&r->model, VT_VM(ACCOUNT)), k->accounted);
}

void vt_totals_compare_areas(struct vt_replay *r, const struct vt_snapshot *s, uint64_t areas)
{
	const struct vt_totals *t = &r->model.totals;

	r->due.snapshot = *s;
	compare(r, "areas", (struct bounds){ t->map_count, t->map_count + t->undetermined }, areas);
}
