/*
 * report_print.c - the report as text, for 80 columns.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#include "alloc.h"
#include "call_text.h"
#include "find_story.h"
#include "names.h"
#include "placement_print.h"
#include "report_data.h"
#include "report_style.h"
#include "units.h"

/* Share of vm.max_map_count from which on the number of areas is shown in red. */
#define MAP_COUNT_ALARM 80

/* Findings of each severity that are listed. */
#define FINDINGS 4

/* Below this the trace's fixed parts outweigh its events. */
#define MANY_EVENTS 1000

struct page {
	FILE *out;
	const struct vt_report *r;
	const struct vt_trace *t;
	struct vt_style style;
	size_t top;
};

static void heading(const struct page *p, const char *text)
{
	fprintf(p->out, "\n%s%s%s\n", p->style.strong, text, p->style.off);
}

/* "  command      python3 demo.py", broken at the right edge. */
static void fact(const struct page *p, const char *name, const char *value)
{
	size_t room = p->style.width - 16;
	fprintf(p->out, "  %-12s ", name);
	while ((size_t)vt_columns(value) > room) {
		size_t cut = room;
		while (cut > room / 2 && value[cut] != ' ')
			cut--;
		if (cut == room / 2)
			cut = room;
		while (((unsigned char)value[cut] & 0xc0) == 0x80)
			cut--;
		fprintf(p->out, "%.*s\n%15s", (int)cut, value, "");
		value += cut + (value[cut] == ' ');
	}
	fprintf(p->out, "%s\n", value);
}

static void fact_f(const struct page *p, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fact_f(const struct page *p, const char *name, const char *format, ...)
{
	char text[8192];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fact(p, name, text);
}

static const char *meta(const struct page *p, const char *key)
{
	const char *value = vt_trace_meta(p->t, key);
	return value ? value : "?";
}

/* The signal that ended the process, and what is to be said where it left no event. */
static void print_signal(const struct page *p)
{
	const struct vt_ending *n = &p->r->ending;
	char name[48];
	vt_ending_signal(n, name, sizeof(name));
	if (n->fault == n->signal)
		fact_f(p, "ended", "by %s%s%s, its last event (vmtrail why --fault)", p->style.bad,
		       name, p->style.off);
	else
		fact_f(p, "ended", "by %s%s%s, as its parent was told", p->style.bad, name,
		       p->style.off);
	if (vt_ending_is_silent(n, p->t))
		fact(p, "", vt_ending_silence(n, p->t));
}

/* How the trace came to its end, in words. */
static void print_ending(const struct page *p)
{
	const char *reason = vt_trace_meta(p->t, "reason");
	for (size_t i = 0; i < p->t->notes.n; i++)
		if (!strcmp(p->t->notes.v[i].key, "stopped"))
			fact(p, "stopped", p->t->notes.v[i].value);
	if (p->t->damage)
		fact_f(p, "ended", "%sdamaged%s: %s", p->style.bad, p->style.off, p->t->damage);
	else if (p->r->ending.end == VT_END_SIGNAL)
		print_signal(p);
	else if (!p->t->closed)
		fact(p, "ended", "not closed: the process runs, or was killed");
	else if (reason && strcmp(reason, "exit") == 0)
		fact_f(p, "ended", "exit status %s", meta(p, "status"));
	else if (reason && strcmp(reason, "exec") == 0)
		fact(p, "ended", "replaced by another program (exec)");
	else if (reason && strcmp(reason, "seccomp") == 0)
		fact(p, "ended", "before a seccomp filter that does not allow recording");
	else if (reason && strcmp(reason, "killed") == 0)
		fact(p, "ended", "killed; the trace was closed afterwards");
	else
		fact_f(p, "ended", "by %s", reason ? reason : "an end without a reason");
}

static uint64_t lost_events(const struct vt_trace *t)
{
	return vt_trace_meta_u64(t, "lost", t->header.lost);
}

static void print_head(const struct page *p)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT], c[VT_UNIT_TEXT], when[64];
	const struct vt_report *r = p->r;
	time_t start = (time_t)(p->t->header.start_realtime_ns / 1000000000u);
	struct tm tm;
	uint64_t lost = lost_events(p->t);

	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", localtime_r(&start, &tm));
	fprintf(p->out, "%s%s%s\n\n", p->style.strong, p->t->path, p->style.off);
	fact(p, "command", meta(p, "cmd"));
	fact(p, "executable", meta(p, "exe"));
	fact_f(p, "machine", "Linux %s, %s, %s of memory", meta(p, "kernel"), meta(p, "machine"),
	       vt_format_size(a, vt_trace_meta_u64(p->t, "mem_total_kb", 0) << 10));
	fact_f(p, "process", "%u, %u thread%s, from %s for %s", p->t->header.pid,
	       p->t->n_threads ? p->t->n_threads : 1, p->t->n_threads > 1 ? "s" : "", when,
	       vt_format_duration(a, r->duration_ns));
	print_ending(p);
	if (r->events >= MANY_EVENTS)
		fact_f(p, "trace", "%s events, %s, %.1f bytes an event",
		       vt_format_count(a, r->events), vt_format_size(b, p->t->size),
		       (double)p->t->size / (double)r->events);
	else
		fact_f(p, "trace", "%s events, %s", vt_format_count(a, r->events),
		       vt_format_size(b, p->t->size));
	if (lost)
		fact_f(p, "lost", "%s%s events%s", p->style.bad, vt_format_count(c, lost),
		       p->style.off);
}

static void cell(const struct page *p, const char *text, int width)
{
	vt_put_cell(p->out, text, width);
}

static void print_call_row(const struct page *p, const char *name, uint64_t count, uint64_t errors,
			   uint64_t total_ns)
{
	char buf[VT_UNIT_TEXT], rate[VT_UNIT_TEXT + 4];
	double seconds = (double)p->r->duration_ns / 1e9;
	fprintf(p->out, "  %-17s", name);
	cell(p, vt_format_count(buf, count), -12);
	vt_format_count(buf, seconds > 0 ? (uint64_t)((double)count / seconds + 0.5) : 0);
	snprintf(rate, sizeof(rate), "%s/s", buf);
	cell(p, rate, -14);
	fprintf(p->out, "%s", errors ? p->style.bad : "");
	cell(p, errors ? vt_format_count(buf, errors) : "-", -9);
	fprintf(p->out, "%s", errors ? p->style.off : "");
	cell(p, vt_format_duration(buf, total_ns), -12);
	cell(p, vt_format_duration(buf, count ? total_ns / count : 0), -12);
	fputc('\n', p->out);
}

static void print_errors(const struct page *p)
{
	char buf[VT_UNIT_TEXT], item[96];
	int column = 10;
	if (!p->r->n_errors)
		return;
	fprintf(p->out, "\n  errors: ");
	for (size_t i = 0; i < p->r->n_errors; i++) {
		const struct vt_report_error *e = &p->r->errors[i];
		const char *name = vt_errno_name(e->error);
		int n = snprintf(item, sizeof(item), "%s %s %s%s", vt_kinds[e->kind].name,
				 name ? name : "?", vt_format_count(buf, e->count),
				 i + 1 < p->r->n_errors ? ", " : "");
		if (column + n > (int)p->style.width) {
			fprintf(p->out, "\n          ");
			column = 10;
		}
		fputs(item, p->out);
		column += n;
	}
	fputc('\n', p->out);
}

static void print_calls(const struct page *p)
{
	uint64_t count = 0, errors = 0, total_ns = 0;
	heading(p, "Calls");
	if (!p->r->n_kinds) {
		fprintf(p->out, "  none\n");
		return;
	}
	fprintf(p->out, "%s  %-17s%12s%14s%9s%12s%12s%s\n", p->style.faint, "", "calls", "rate",
		"errors", "total time", "mean time", p->style.off);
	for (size_t i = 0; i < p->r->n_kinds; i++) {
		const struct vt_report_kind *k = &p->r->kinds[i];
		print_call_row(p, vt_kinds[k->kind].name, k->count, k->errors, k->total_ns);
		count += k->count;
		errors += k->errors;
		total_ns += k->total_ns;
	}
	if (p->r->n_kinds > 1)
		print_call_row(p, "all", count, errors, total_ns);
	print_errors(p);
}

/* "#1,204 at 1.20 s" */
static void print_moment(const struct page *p, const struct vt_report_peak *peak)
{
	char seq[VT_UNIT_TEXT], time[VT_UNIT_TEXT];
	if (peak->seq)
		fprintf(p->out, "   #%-9s at %s", vt_format_count(seq, peak->seq),
			vt_format_duration(time, peak->time_ns));
	else
		fprintf(p->out, "   at the start");
}

static void print_size_row(const struct page *p, const char *name, uint64_t end,
			   const struct vt_report_peak *peak)
{
	char buf[VT_UNIT_TEXT];
	fprintf(p->out, "  %-17s", name);
	cell(p, vt_format_size(buf, end), -12);
	cell(p, vt_format_size(buf, peak->value), -14);
	print_moment(p, peak);
	fputc('\n', p->out);
}

/* In red when the peak comes near the limit. */
static void print_vma_row(const struct page *p, uint64_t limit)
{
	char buf[VT_UNIT_TEXT];
	const struct vt_report *r = p->r;
	bool alarm = limit && r->vmas.value * 100 >= limit * MAP_COUNT_ALARM;
	fprintf(p->out, "  %-17s", "VMAs");
	cell(p, vt_format_count(buf, r->end.map_count), -12);
	fputs(alarm ? p->style.bad : "", p->out);
	cell(p, vt_format_count(buf, r->vmas.value), -14);
	fputs(alarm ? p->style.off : "", p->out);
	print_moment(p, &r->vmas);
	fputc('\n', p->out);
}

static void print_space(const struct page *p)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT];
	const struct vt_report *r = p->r;
	uint64_t limit = vt_trace_meta_u64(p->t, "max_map_count", 0);
	heading(p, "Address space");
	fprintf(p->out, "%s  %-17s%12s%14s   %s%s\n", p->style.faint, "", "at the end", "peak",
		"reached by event", p->style.off);
	print_size_row(p, "mapped", r->end.total_vm << VT_PAGE_SHIFT, &r->mapped);
	if (r->resident) {
		fprintf(p->out, "  %-17s", "resident");
		cell(p, r->resident_at_exit ? vt_format_size(a, r->resident) : "-", -12);
		cell(p, vt_format_size(b, r->resident_peak), -14);
		fprintf(p->out, "   as the kernel counts it\n");
	}
	print_size_row(p, "committed", r->end.committed << VT_PAGE_SHIFT, &r->committed);
	if (r->locked.value)
		print_size_row(p, "locked", r->end.locked_vm << VT_PAGE_SHIFT, &r->locked);
	print_vma_row(p, limit);
	if (limit)
		fprintf(p->out,
			"  The most VMAs were %.1f %% of the limit, %s (vm.max_map_count).\n",
			100.0 * (double)r->vmas.value / (double)limit, vt_format_count(a, limit));
	if (r->own_bytes)
		fprintf(p->out, "  The recorder itself holds %s of this in %s VMA%s.\n",
			vt_format_size(a, r->own_bytes), vt_format_count(b, r->own_vmas),
			r->own_vmas == 1 ? "" : "s");
}

/* What the memory that is mapped at the end is for. */
static void print_roles(const struct page *p)
{
	char buf[VT_UNIT_TEXT];
	heading(p, "Roles at the end");
	fprintf(p->out, "%s  %-17s%12s%14s%s\n", p->style.faint, "", "bytes", "mappings",
		p->style.off);
	for (size_t i = 0; i < VT_USE_COUNT && p->r->roles[i].bytes; i++) {
		const struct vt_report_role *role = &p->r->roles[i];
		fprintf(p->out, "  %-17s", vt_use_name((enum vt_use)role->use));
		cell(p, vt_format_size(buf, role->bytes), -12);
		cell(p, vt_format_count(buf, role->mappings), -14);
		fputc('\n', p->out);
	}
}

/* Where the call site begins in its tables. */
#define SITE_COLUMN 31

/* The value of a site's row as its table shows it. */
static const char *value_text(enum vt_report_order order, uint64_t value, char buf[VT_UNIT_TEXT])
{
	return order == VT_BY_BYTES ? vt_format_size(buf, value) : vt_format_count(buf, value);
}

static void print_site_row(const struct page *p, const struct vt_report_site *s,
			   enum vt_report_order order, uint64_t all)
{
	char buf[VT_UNIT_TEXT], name[512];
	uint64_t value = vt_report_value(s, order);
	cell(p, value_text(order, value, buf), -10);
	fprintf(p->out, "%6.1f %%", all ? 100.0 * (double)value / (double)all : 0.0);
	if (order == VT_BY_BYTES)
		cell(p, vt_format_count(buf, s->mappings), -11);
	else
		fprintf(p->out, " %10.10s",
			!s->calls  ? ""
			: s->mixed ? "several"
				   : vt_kinds[s->kind].name);
	if (!s->site) {
		fprintf(p->out, "  %s\n", s->name);
		return;
	}
	fprintf(p->out, "  %s\n",
		vt_site_short(s->site, name, sizeof(name), p->style.width - SITE_COLUMN));
}

static void print_sites(const struct page *p, const char *title, const char *unit,
			const char *second, enum vt_report_order order)
{
	uint64_t all = 0;
	uint32_t *rows = vt_calloc(p->top, sizeof(*rows));
	size_t n = vt_report_top(p->r, order, rows, p->top);
	for (size_t i = 0; i < p->r->n_sites; i++)
		all += vt_report_value(&p->r->table[i], order);
	if (n) {
		heading(p, title);
		fprintf(p->out, "%s%10s%8s%11s  %s%s\n", p->style.faint, unit, "share", second,
			"call site", p->style.off);
		for (size_t i = 0; i < n; i++)
			print_site_row(p, &p->r->table[rows[i]], order, all);
	}
	free(rows);
}

static const char *unseen_text(const struct vt_report_unseen *u)
{
	if (u->why == VT_UNSEEN_STACK_GROWTH)
		return "stack growth";
	if (u->why == VT_UNSEEN_ORDER)
		return "order settled";
	if (u->why == VT_UNSEEN_BEFORE_START)
		return "before the start";
	return u->appeared ? "changed" : "vanished";
}

static void print_unseen(const struct page *p)
{
	char count[VT_UNIT_TEXT], size[VT_UNIT_TEXT], text[64];
	const struct vt_report *r = p->r;
	heading(p, "Unseen changes");
	if (!r->n_unseen) {
		fprintf(p->out, "  none: every change of the address space is a recorded call\n");
		return;
	}
	fprintf(p->out, "%s%12s%12s   %-17s%s%s\n", p->style.faint, "times", "bytes", "how",
		"the kernel shows", p->style.off);
	for (size_t i = 0; i < r->n_unseen && i < p->top; i++) {
		const struct vt_report_unseen *u = &r->unseen[i];
		cell(p, vt_format_count(count, u->count), -12);
		cell(p, vt_format_size(size, u->bytes), -12);
		snprintf(text, sizeof(text), "%s", unseen_text(u));
		fprintf(p->out, "   %-16s %s\n", text, u->what);
	}
	if (r->n_unseen > p->top)
		fprintf(p->out, "  and %zu more sorts\n", r->n_unseen - p->top);
}

static void print_placement(const struct page *p)
{
	char asked[VT_UNIT_TEXT], missed[VT_UNIT_TEXT];
	const struct vt_placements *places = &p->r->placements;
	if (!places->asked)
		return;
	heading(p, "Placement");
	fprintf(p->out, "  The kernel chose %s place%s; the model predicts %.2f %% of them",
		vt_format_count(asked, places->asked), places->asked == 1 ? "" : "s",
		vt_placements_rate(places));
	if (places->n)
		fprintf(p->out, ",\n  all but %s (report --placement lists them)",
			vt_format_count(missed, places->n));
	fprintf(p->out, ".\n");
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return n >= m && strcmp(text + n - m, end) == 0;
}

static void print_capture_brief(const struct page *p)
{
	char calls[VT_UNIT_TEXT], inner[VT_UNIT_TEXT], raw[VT_UNIT_TEXT];
	const struct vt_report *r = p->r;
	uint64_t count = 0, redirected = 0, alone = 0;
	for (size_t i = 0; i < r->n_kinds; i++)
		count += r->kinds[i].count;
	heading(p, "Capture");
	fprintf(p->out, "  %s calls: %s inside libc and the loader, %s through syscall()\n",
		vt_format_count(calls, count), vt_format_count(inner, r->inner),
		vt_format_count(raw, r->raw));
	for (size_t i = 0; i < p->t->notes.n; i++) {
		const struct vt_text_line *l = &p->t->notes.v[i];
		if (strcmp(l->key, "site") != 0)
			fact(p, l->key, l->value);
		else if (ends_with(l->value, ": redirected"))
			redirected++;
		else
			alone++;
	}
	if (redirected || alone)
		fprintf(p->out,
			"  %" PRIu64 " inner call sites redirected, %" PRIu64
			" left alone (report --capture lists them)\n",
			redirected, alone);
}

/* The worst findings, one line each; those that are only worth knowing are counted. */
static void print_findings(const struct page *p)
{
	const struct vt_find *f = p->r->find;
	size_t count[VT_SEVERITY_ERROR + 1] = { 0 };
	char text[600], sentence[512];
	if (!f)
		return;
	heading(p, "Findings");
	for (size_t i = 0; i < f->n; i++) {
		const struct vt_finding *n = &f->found[i];
		if (count[n->severity]++ >= FINDINGS || n->severity < VT_SEVERITY_WARNING)
			continue;
		vt_find_sentence(f, p->r->story, n, sentence, sizeof(sentence));
		snprintf(text, sizeof(text), "#%" PRIu64 " %s: %s", n->seq,
			 vt_find_kinds[n->kind].name, sentence);
		fact(p, vt_severity_name(n->severity), text);
	}
	fprintf(p->out, "  errors %zu, warnings %zu, info %zu%s\n", count[VT_SEVERITY_ERROR],
		count[VT_SEVERITY_WARNING], count[VT_SEVERITY_INFO],
		f->n ? " (vmtrail reuse tells them)" : "");
}

static void print_verdict(const struct page *p)
{
	const struct vt_verdict *v = &p->r->verdict;
	bool good = v->snapshots && !v->byte_mismatches && !v->boundary_mismatches;
	heading(p, "Verification");
	fprintf(p->out, "  %s%s%s\n", good ? p->style.good : p->style.bad,
		!v->snapshots ? "There is no snapshot to compare the replay with."
		: good        ? "The replay equals the kernel's own view at every snapshot."
			      : "The replay differs from the kernel's own view.",
		p->style.off);
	fprintf(p->out,
		"  snapshots %" PRIu64 ", VMAs %" PRIu64 ", byte mismatches %" PRIu64
		", boundary mismatches %" PRIu64 ",\n  undetermined %" PRIu64
		", unseen changes %" PRIu64 "\n",
		v->snapshots, v->vmas, v->byte_mismatches, v->boundary_mismatches, v->undetermined,
		v->unseen);
}

void vt_report_print(FILE *out, const struct vt_report *r, size_t top)
{
	struct page p = { out, r, r->trace, vt_style_for(out), top };
	print_head(&p);
	print_calls(&p);
	print_space(&p);
	print_roles(&p);
	print_sites(&p, "Top call sites by bytes still mapped at the end", "bytes", "mappings",
		    VT_BY_BYTES);
	print_sites(&p, "Top call sites by calls", "calls", "call", VT_BY_CALLS);
	print_sites(&p, "Top call sites by VMAs made", "VMAs", "call", VT_BY_VMAS);
	print_unseen(&p);
	print_placement(&p);
	print_capture_brief(&p);
	print_findings(&p);
	print_verdict(&p);
}

void vt_report_print_capture(FILE *out, const struct vt_trace *t)
{
	for (size_t i = 0; i < t->notes.n; i++)
		fprintf(out, "%-12s %s\n", t->notes.v[i].key, t->notes.v[i].value);
	if (!t->notes.n)
		fprintf(out, "The recorder left no notes.\n");
}
