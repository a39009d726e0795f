/*
 * find_print.c - findings as text: what happened, the story, the proof, what to do.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <string.h>

#include "call_text.h"
#include "find_story.h"
#include "why_call.h"
#include "why_print.h"

/* What the victim is called in this kind of finding. */
static const char *victim_mark(const struct vt_finding *n)
{
	switch (n->kind) {
	case VT_FIND_STALE_RANGE:
		return n->proof == VT_PROOF_FAULT ? "in its place" : "victim";
	case VT_FIND_HINT_MOVED:
	case VT_FIND_BRK_BLOCKED:
		return "in the way";
	case VT_FIND_FAILED_UNMAP:
		return "still mapped";
	default:
		return "victim";
	}
}

static bool mark_part(const struct vt_why_entry *e, struct vt_text *mark, const void *ctx)
{
	const struct vt_finding *n = ctx;
	char count[VT_UNIT_TEXT];
	for (uint32_t i = 0; i < n->n_victims && i < VT_FIND_VICTIMS; i++)
		if (e->event.seq && n->victims[i].birth.seq == e->event.seq && !mark->n)
			vt_text_add(mark, "<- %s", victim_mark(n));
	for (int i = 0; i < VT_FIND_MAKERS; i++)
		if (n->makers[i].seq && n->makers[i].seq == e->event.seq)
			vt_text_add(mark, "%s%s areas %s", mark->n ? ", " : "<- ",
				    vt_format_count(count, n->makers[i].areas),
				    n->makers[i].splits ? "split off here" : "made here");
	if (n->proof_seq && e->event.seq == n->proof_seq && n->proof_seq != n->seq)
		vt_text_add(mark, "<- proof");
	return e->event.seq == n->seq;
}

/* What died, where the story's lines do not tell it. */
static void print_victims(FILE *out, const struct vt_find *f, const struct vt_story *s,
			  const struct vt_trace *t, const struct vt_finding *n)
{
	char size[VT_UNIT_TEXT], role[VT_ROLE_TEXT];
	for (uint32_t i = 0; i < n->n_victims && i < VT_FIND_VICTIMS; i++) {
		const struct vt_find_victim *v = &n->victims[i];
		const struct vt_mapping_role *use = vt_story_role(s, f, n, i);
		fprintf(out, "  %s: 0x%" PRIx64 "-0x%" PRIx64 " (%s), ", victim_mark(n), v->lo,
			v->hi, vt_format_size(size, v->hi - v->lo));
		if (use->use == VT_USE_UNKNOWN)
			fprintf(out, "of %s", vt_owner_name(&f->owners, v->birth.owner));
		else
			fputs(vt_role_text(use, t, role), out);
		if (v->birth.seq)
			fprintf(out, ", by #%" PRIu64, v->birth.seq);
		else
			fprintf(out, ", there since the start");
		fprintf(out, "%s%s\n", v->path && *v->path ? ": " : "",
			v->path && *v->path ? v->path : "");
	}
	if (n->n_victims > VT_FIND_VICTIMS)
		fprintf(out, "  and %" PRIu32 " victims more\n", n->n_victims - VT_FIND_VICTIMS);
}

void vt_find_print_one(FILE *out, const struct vt_find *f, const struct vt_story *s,
		       const struct vt_trace *t, const struct vt_finding *n,
		       const struct vt_style *style)
{
	char size[VT_UNIT_TEXT], buf[512];
	struct vt_why_entry lines[VT_FIND_HISTORY];
	size_t n_lines = 0;
	const struct vt_why_entry *culprit = vt_story_find(s, n->seq);
	const char *call = culprit ? vt_kinds[culprit->event.kind].name : "?";
	for (uint32_t i = 0; i < n->n_history; i++) {
		const struct vt_why_entry *e = vt_story_find(s, n->history[i]);
		if (!e)
			continue;
		lines[n_lines] = *e;
		if (!s->stacks)
			lines[n_lines].n_frames = 0; /* one line each */
		n_lines++;
	}
	fprintf(out, "%s%-7s  %s%s   #%" PRIu64 "  %s(0x%" PRIx64 ", %s)   thread %" PRIu32 " %s\n",
		n->severity == VT_SEVERITY_ERROR ? style->bad : style->strong,
		vt_severity_name(n->severity), vt_find_kinds[n->kind].name, style->off, n->seq,
		call, n->addr, vt_format_size(size, n->length), n->tid,
		vt_trace_thread_name(t, n->tid));
	vt_find_sentence(f, s, n, buf, sizeof(buf));
	vt_why_print_sentence(out, buf, style->width);
	vt_why_print_lines(out, lines, n_lines, t, style, mark_part, n);
	print_victims(out, f, s, t, n);
	if (n->path)
		fprintf(out, "  file: %s\n", n->path);
	if (*vt_find_placement(s, n, s->bottomup, buf, sizeof(buf)))
		vt_why_print_sentence(out, buf, style->width);
	if (*vt_find_proof_text(f, s, n, buf, sizeof(buf)))
		fprintf(out, "  proof: %s\n", buf);
	if (n->alike)
		fprintf(out, "  %" PRIu64 " more of this kind from the same stack\n", n->alike);
	vt_find_advice(n, buf, sizeof(buf));
	vt_why_print_sentence(out, buf, style->width);
	fputc('\n', out);
}

size_t vt_find_print(FILE *out, const struct vt_find *f, const struct vt_story *s,
		     const struct vt_trace *t, enum vt_severity least)
{
	struct vt_style style = vt_style_for(out);
	size_t count[VT_SEVERITY_ERROR + 1] = { 0 };
	for (size_t i = 0; i < f->n; i++) {
		const struct vt_finding *n = &f->found[i];
		count[n->severity]++;
		if (n->severity >= least)
			vt_find_print_one(out, f, s, t, n, &style);
	}
	fprintf(out, "errors %zu, warnings %zu, info %zu\n", count[VT_SEVERITY_ERROR],
		count[VT_SEVERITY_WARNING], count[VT_SEVERITY_INFO]);
	return count[VT_SEVERITY_ERROR] + count[VT_SEVERITY_WARNING];
}
