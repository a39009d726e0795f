/*
 * whatif_print.c - what would fail under other limits, as text for people.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>

#include "alloc.h"
#include "call_text.h"
#include "names.h"
#include "report_style.h"
#include "units.h"
#include "whatif.h"
#include "why_print.h"

struct page {
	FILE *out;
	const struct vt_whatif *w;
	const struct vt_trace *t;
	struct vt_style style;
};

static const char *size_of_pages(char buf[VT_UNIT_TEXT], uint64_t pages)
{
	return vt_format_size(buf, pages << VT_PAGE_SHIFT);
}

static void put_limit(const struct page *p, const char *name, uint64_t bytes)
{
	char buf[VT_UNIT_TEXT];
	if (bytes != VT_NO_LIMIT)
		fprintf(p->out, "  %-22s %s\n", name, vt_format_size(buf, bytes));
}

static void print_asked(const struct page *p)
{
	char buf[VT_UNIT_TEXT];
	const struct vt_whatif_asked *a = &p->w->asked;
	const struct vt_limits *l = &p->w->limits;
	fprintf(p->out, "%s%s%s under other limits\n\n", p->style.strong, p->t->path, p->style.off);
	put_limit(p, "RLIMIT_AS", a->as);
	put_limit(p, "RLIMIT_DATA", a->data);
	put_limit(p, "RLIMIT_MEMLOCK", a->memlock);
	put_limit(p, "RLIMIT_STACK", a->stack);
	if (a->max_map_count != VT_NO_LIMIT)
		fprintf(p->out, "  %-22s %s\n", "vm.max_map_count",
			vt_format_count(buf, a->max_map_count));
	if (!l->commit)
		return;
	fprintf(p->out, "  %-22s %d\n", "vm.overcommit_memory", l->overcommit);
	put_limit(p, "memory", l->ram << VT_PAGE_SHIFT);
	put_limit(p, "swap", l->swap << VT_PAGE_SHIFT);
	if (l->overcommit == VT_OVERCOMMIT_NEVER && l->allowed)
		put_limit(p, "vm.overcommit_kbytes", l->allowed << VT_PAGE_SHIFT);
	else if (l->overcommit == VT_OVERCOMMIT_NEVER)
		fprintf(p->out, "  %-22s %" PRIu64 "\n", "vm.overcommit_ratio", l->ratio);
}

/* An amount that the rule counts, in its unit. */
static const char *amount(enum vt_rule rule, char buf[VT_UNIT_TEXT], uint64_t n)
{
	if (rule == VT_RULE_MAP_COUNT)
		return vt_format_count(buf, n);
	return size_of_pages(buf, n);
}

static void print_reason(const struct page *p)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT], c[VT_UNIT_TEXT];
	const struct vt_refusal *why = &p->w->why;
	const struct vt_rule_info *rule = &vt_rules[why->rule];
	bool guess = why->rule == VT_RULE_COMMIT && p->w->limits.overcommit == VT_OVERCOMMIT_GUESS;
	const char *unit = why->rule == VT_RULE_MAP_COUNT ? " areas" : "";
	fprintf(p->out, "  %s%s%s says no: ", p->style.bad, rule->function, p->style.off);
	if (guess)
		fprintf(p->out, "%s at once is more than memory and swap, %s",
			size_of_pages(b, why->asked), size_of_pages(c, why->limit));
	else if (why->rule == VT_RULE_CAN_MLOCK)
		fprintf(p->out, "nothing may be locked");
	else
		fprintf(p->out, "%s%s held, %s more asked, %s allowed",
			amount(why->rule, a, why->counted), unit, amount(why->rule, b, why->asked),
			amount(why->rule, c, why->limit));
	fprintf(p->out, " (%s)\n", rule->limit);
}

static void print_first(const struct page *p)
{
	char buf[VT_CALL_TEXT], time[VT_UNIT_TEXT];
	struct vt_text text = { buf, 0, sizeof(buf) };
	const struct vt_event *e = &p->w->first;
	const char *error = vt_errno_name(p->w->why.error);
	fprintf(p->out, "\n%sThe first call that would fail%s\n", p->style.strong, p->style.off);
	vt_text_call(&text, e, vt_event_name(p->t, e));
	fprintf(p->out, "  #%" PRIu64 " at %s, thread %u %s\n", e->seq,
		vt_format_duration(time, e->begin_ns), e->tid, vt_trace_thread_name(p->t, e->tid));
	if (p->w->why.error)
		fprintf(p->out, "  %s = -1 %s\n", buf, error ? error : "?");
	else
		fprintf(p->out, "  %s: SIGSEGV, the stack cannot grow\n", buf);
	vt_print_frames(p->out, p->w->frames, p->w->n_frames, "    ", false);
	print_reason(p);
}

static void print_state(const struct page *p)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT], c[VT_UNIT_TEXT], d[VT_UNIT_TEXT], e[VT_UNIT_TEXT],
	    f[VT_UNIT_TEXT];
	const struct vt_totals *t = &p->w->then;
	fprintf(p->out, "\n%s%s%s\n", p->style.strong,
		p->w->refused ? "The state then" : "The state at the end", p->style.off);
	fprintf(p->out, "  mapped %s, data %s, stack %s, locked %s, committed %s, %s VMAs\n",
		size_of_pages(a, t->total_vm), size_of_pages(b, t->data_vm),
		size_of_pages(c, t->stack_vm), size_of_pages(d, t->locked_vm),
		size_of_pages(e, t->committed + p->w->shared_then),
		vt_format_count(f, t->map_count));
}

static void print_holders(const struct page *p, size_t top)
{
	char buf[VT_UNIT_TEXT], name[512];
	const struct vt_whatif *w = p->w;
	if (!w->n_holders)
		return;
	fprintf(p->out, "%s%10s%8s  %s%s\n", p->style.faint,
		w->why.rule == VT_RULE_MAP_COUNT ? "VMAs" : "bytes", "share", "held by call site",
		p->style.off);
	for (size_t i = 0; i < w->n_holders && i < top; i++) {
		const struct vt_whatif_holder *h = &w->holders[i];
		vt_put_cell(p->out, amount(w->why.rule, buf, h->amount), -10);
		fprintf(p->out, "%6.1f %%  %s\n", 100.0 * (double)h->amount / (double)w->held,
			h->site ? vt_site_short(h->site, name, sizeof(name), p->style.width - 21)
				: h->name);
	}
	if (w->n_holders > top)
		fprintf(p->out, "%10s and %zu more\n", "", w->n_holders - top);
}

static void print_count(const struct page *p)
{
	char buf[VT_UNIT_TEXT];
	const struct vt_whatif *w = p->w;
	if (!w->refused) {
		fprintf(p->out, "\nNone of its %s calls would fail.\n",
			vt_format_count(buf, w->calls));
		return;
	}
	fprintf(p->out, "\n%s call%s would fail in all", vt_format_count(buf, w->refused),
		w->refused == 1 ? "" : "s");
	const char *comma = ": ";
	for (int i = 0; i < VT_RULE_COUNT; i++) {
		if (!w->by_rule[i])
			continue;
		fprintf(p->out, "%s%s by %s (%s)", comma, vt_format_count(buf, w->by_rule[i]),
			vt_rules[i].function, vt_rules[i].limit);
		comma = ", ";
	}
	fprintf(p->out, ".\n");
}

void vt_whatif_print(FILE *out, const struct vt_whatif *w, const struct vt_trace *t, size_t top)
{
	struct page p = { out, w, t, vt_style_for(out) };
	print_asked(&p);
	if (w->refused)
		print_first(&p);
	print_state(&p);
	print_holders(&p, top);
	print_count(&p);
	fprintf(out, "\n%sAssumptions%s\n", p.style.strong, p.style.off);
	char **assumptions = vt_whatif_assumptions(w, t);
	for (size_t i = 0; assumptions[i]; i++) {
		vt_why_print_sentence(out, assumptions[i], p.style.width);
		free(assumptions[i]);
	}
	free(assumptions);
}

char **vt_whatif_assumptions(const struct vt_whatif *w, const struct vt_trace *t)
{
	char a[VT_UNIT_TEXT], b[VT_UNIT_TEXT];
	const struct vt_limits *l = &w->limits;
	char **s = vt_calloc(8, sizeof(*s));
	size_t n = 0;
	(void)t;
	if (w->refused)
		s[n++] =
		    vt_format("A call that would fail has succeeded in the recording; what it "
			      "mapped counts in what follows, and the program is taken to go on "
			      "as it did.");
	s[n++] = vt_format("The recorder's own share is left out: %s in %s VMAs.",
			   size_of_pages(a, w->own.total_vm), vt_format_count(b, w->own.map_count));
	if (w->asked.stack != VT_NO_LIMIT)
		s[n++] = vt_format("The C library takes the size of new threads' stacks from "
				   "RLIMIT_STACK; here they stay as they were recorded.");
	if (w->asked.memlock != VT_NO_LIMIT && l->ipc_lock)
		s[n++] =
		    vt_format("The process had CAP_IPC_LOCK: RLIMIT_MEMLOCK does not bind it.");
	if (l->commit && l->overcommit == VT_OVERCOMMIT_NEVER && w->commit_unknown)
		s[n++] =
		    vt_format("What other processes were charged was not recorded: taken to be "
			      "nothing.");
	else if (l->commit && l->overcommit == VT_OVERCOMMIT_NEVER)
		s[n++] = vt_format("Other processes stay at the %s that they were charged when the "
				   "recording began.",
				   vt_format_size(a, w->others_kb << 10));
	if (l->commit && l->overcommit == VT_OVERCOMMIT_NEVER)
		s[n++] =
		    vt_format("Children count at their fork only, files in memory not at all.");
	return s;
}
