/*
 * why_print.c - the history of a page as text.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>

#include "alloc.h"
#include "find_story.h"
#include "report_style.h"
#include "why_call.h"
#include "why_print.h"

/* The columns of a line, but for the call site, which takes what is left. */
enum column { COL_SEQ, COL_SINCE, COL_THREAD, COL_CALL, COL_COUNT };

/* No column grows beyond this for the sake of one long entry. */
static const int max_width[COL_COUNT] = { 12, 12, 24, 36 };

struct line {
	char cell[COL_COUNT][96];
	char site[256];
	char mark[160];
	bool culprit;
};

static void fill_cells(struct line *l, const struct vt_why_entry *e,
		       const struct vt_why_entry *before, const struct vt_trace *t)
{
	char time[VT_UNIT_TEXT];
	const struct vt_event *ev = &e->event;
	struct vt_text call = { l->cell[COL_CALL], 0, sizeof(l->cell[COL_CALL]) };
	/* tickets order calls that overlap; their begin times may be the other way round */
	uint64_t since = before && ev->begin_ns > before->event.begin_ns
			     ? ev->begin_ns - before->event.begin_ns
			     : 0;
	snprintf(l->cell[COL_SEQ], sizeof(l->cell[0]), "#%" PRIu64, ev->seq);
	if (since)
		snprintf(l->cell[COL_SINCE], sizeof(l->cell[0]), "+%s",
			 vt_format_duration(time, since));
	else
		snprintf(l->cell[COL_SINCE], sizeof(l->cell[0]), "+0");
	snprintf(l->cell[COL_THREAD], sizeof(l->cell[0]), "%u %s", ev->tid,
		 vt_trace_thread_name(t, ev->tid));
	vt_text_short_call(&call, ev, e->path);
}

/* The part that the event has in a finding that another one is the culprit of. */
static void mark_part(const struct vt_why *w, const struct vt_why_entry *e, struct vt_text *mark)
{
	for (size_t i = 0; w->find && i < w->find->n && !mark->n; i++) {
		const struct vt_finding *n = &w->find->found[i];
		for (uint32_t v = 0; v < n->n_victims && v < VT_FIND_VICTIMS && !mark->n; v++)
			if (n->victims[v].birth.seq == e->event.seq && vt_why_concerns(w, n))
				vt_text_add(mark, "<- victim of #%" PRIu64, n->seq);
	}
}

/* What the event meant for the page, as the arrow at its line says. */
static bool mark_fate(const struct vt_why_entry *e, struct vt_text *mark, const void *ctx)
{
	const struct vt_finding *n = vt_why_finding(ctx, e->event.seq);
	if (n)
		vt_text_add(mark, "<- %s: %s", vt_severity_name(n->severity),
			    vt_find_kinds[n->kind].name);
	else if (e->what & VT_WHY_FAULT)
		vt_text_add(mark, "<- died here");
	else if ((e->what & VT_WHY_FATE(VT_PIECE_CLOBBERED)) && e->victim.birth)
		vt_text_add(mark, "<- replaces #%" PRIu64, e->victim.birth);
	else if (e->what & VT_WHY_FATE(VT_PIECE_CLOBBERED))
		vt_text_add(mark, "<- replaces what was there");
	else if (e->what & VT_WHY_FATE(VT_PIECE_LOST))
		vt_text_add(mark, "<- found changed");
	else if (e->what & VT_WHY_FATE(VT_PIECE_MOVED))
		vt_text_add(mark, "<- moved to 0x%" PRIx64, (uint64_t)e->event.ret);
	else if (e->what & VT_WHY_ARRIVED)
		vt_text_add(mark, "<- moved here from 0x%" PRIx64, e->event.a[0]);
	else if (e->what & VT_WHY_ELSEWHERE)
		vt_text_add(mark, "<- elsewhere: 0x%" PRIx64, (uint64_t)e->event.ret);
	else if (e->what & VT_WHY_REFUSED)
		vt_text_add(mark, "<- refused");
	else if (e->what & VT_WHY_NOTHING)
		vt_text_add(mark, "<- nothing was there");
	else
		mark_part(ctx, e, mark);
	return n || vt_why_is_destructive(e) || (e->what & VT_WHY_FATE(VT_PIECE_LOST));
}

static void fill_site(struct line *l, const struct vt_why_entry *e, int width)
{
	l->site[0] = '\0';
	if (e->site)
		vt_site_short(e->site, l->site, sizeof(l->site), (unsigned)width);
}

/* The state before the first event, as a line of its own. */
static void print_start(FILE *out, const struct vt_why *w, const struct vt_style *style)
{
	char size[VT_UNIT_TEXT];
	const struct vt_why_mapping *m = &w->start;
	fprintf(out, "    %sat the start: %s %c%c%c%c%s%s%s\n", style->faint,
		vt_format_size(size, m->bytes), m->flags & VT_VM(READ) ? 'r' : '-',
		m->flags & VT_VM(WRITE) ? 'w' : '-', m->flags & VT_VM(EXEC) ? 'x' : '-',
		m->flags & VT_VM(SHARED) ? 's' : 'p', m->path && *m->path ? " of " : "",
		m->path ? m->path : "", style->off);
}

void vt_why_print_lines(FILE *out, const struct vt_why_entry *entries, size_t n,
			const struct vt_trace *t, const struct vt_style *style, vt_why_mark_fn mark,
			const void *ctx)
{
	int width[COL_COUNT] = { 0 };
	struct line l;
	for (size_t i = 0; i < n; i++) {
		fill_cells(&l, &entries[i], i ? &entries[i - 1] : NULL, t);
		for (int c = 0; c < COL_COUNT; c++) {
			int columns = vt_columns(l.cell[c]);
			if (columns > width[c])
				width[c] = columns < max_width[c] ? columns : max_width[c];
		}
	}
	int taken = 4 + 2 * COL_COUNT;
	for (int c = 0; c < COL_COUNT; c++)
		taken += width[c];
	int site_width = (int)style->width - taken > 44 ? (int)style->width - taken : 44;

	for (size_t i = 0; i < n; i++) {
		const struct vt_why_entry *e = &entries[i];
		struct vt_text arrow = { l.mark, 0, sizeof(l.mark) };
		fill_cells(&l, e, i ? e - 1 : NULL, t);
		l.mark[0] = '\0';
		l.culprit = mark(e, &arrow, ctx);
		fill_site(&l, e, l.mark[0] ? 44 : site_width);
		fprintf(out, "  %s%s ", l.culprit ? style->bad : "", l.culprit ? ">" : " ");
		for (int c = 0; c < COL_COUNT; c++) {
			bool last = c + 1 == COL_COUNT && !l.site[0] && !l.mark[0];
			vt_put_cell(out, l.cell[c], last ? 0 : width[c]);
			fputs(last ? "" : "  ", out);
		}
		fprintf(out, "%s%s%s%s\n", l.site, l.site[0] && l.mark[0] ? "  " : "", l.mark,
			l.culprit ? style->off : "");
		vt_print_frames(out, e->frames, e->n_frames, "        ", true);
	}
}

void vt_why_print_sentence(FILE *out, const char *text, unsigned width)
{
	unsigned column = 0;
	while (*text) {
		size_t n = strcspn(text, " ");
		if (column && column + 1 + n > width - 2) {
			fputc('\n', out);
			column = 0;
		}
		fprintf(out, "%s%.*s", column ? " " : "  ", (int)n, text);
		column += (unsigned)n + (column ? 1 : 0);
		text += n;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

/* What reuse says of the range; its lines are among those above. */
static void print_finding(FILE *out, const struct vt_why *w, const struct vt_finding *n,
			  const struct vt_style *style)
{
	char buf[512];
	fprintf(out, "\n%s%s %s%s #%" PRIu64 "\n",
		n->severity == VT_SEVERITY_ERROR ? style->bad : style->strong,
		vt_severity_name(n->severity), vt_find_kinds[n->kind].name, style->off, n->seq);
	vt_why_print_sentence(out, vt_find_sentence(w->find, w->story, n, buf, sizeof(buf)),
			      style->width);
	if (*vt_find_placement(w->story, n, w->story->bottomup, buf, sizeof(buf)))
		vt_why_print_sentence(out, buf, style->width);
	if (*vt_find_proof_text(w->find, w->story, n, buf, sizeof(buf)))
		fprintf(out, "  proof: %s\n", buf);
	vt_why_print_sentence(out, vt_find_advice(n, buf, sizeof(buf)), style->width);
}

void vt_why_print(FILE *out, const struct vt_why *w, const struct vt_trace *t)
{
	struct vt_style style = vt_style_for(out);
	size_t n;
	char **sentences = vt_why_sentences(w, &n);
	fprintf(out, "%s0x%" PRIx64, style.strong, w->addr);
	if (w->end - w->page > VT_PAGE_SIZE)
		fprintf(out, "-0x%" PRIx64, w->end);
	fprintf(out, "%s in %s\n\n", style.off, t->path);
	if (w->had_start)
		print_start(out, w, &style);
	vt_why_print_lines(out, w->entries, w->n, t, &style, mark_fate, w);
	if (!w->n && !w->had_start)
		fprintf(out, "    No recorded call touched this page.\n");
	fputc('\n', out);
	for (size_t i = 0; i < n; i++) {
		vt_why_print_sentence(out, sentences[i], style.width);
		free(sentences[i]);
	}
	free(sentences);
	for (size_t i = 0; w->find && i < w->find->n; i++)
		if (vt_why_concerns(w, &w->find->found[i]))
			print_finding(out, w, &w->find->found[i], &style);
}
