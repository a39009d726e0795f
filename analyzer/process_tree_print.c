/*
 * process_tree_print.c - the tree of processes as a table, and as JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "process_tree.h"
#include "report_json.h"
#include "report_style.h"
#include "units.h"

const char *vt_process_end_text(const struct vt_process *p, char *buf, size_t size)
{
	switch (p->ending.end) {
	case VT_END_EXIT:
		snprintf(buf, size, "exit %d", p->ending.status);
		break;
	case VT_END_SIGNAL:
		vt_ending_signal(&(struct vt_ending){ .signal = p->ending.signal }, buf, size);
		break;
	case VT_END_EXEC:
		snprintf(buf, size, "exec");
		break;
	case VT_END_SANDBOX:
		snprintf(buf, size, "seccomp");
		break;
	case VT_END_RUNNING:
		snprintf(buf, size, "running");
		break;
	default:
		snprintf(buf, size, "killed");
	}
	return buf;
}

/* Text of any origin, fit for a terminal and cut to width columns. */
static void put_text(FILE *out, const char *text, int width)
{
	for (int n = 0; *text && n < width; text++) {
		unsigned char c = (unsigned char)*text;
		fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
		n += (text[1] & 0xc0) != 0x80;
	}
}

static void print_row(FILE *out, const struct vt_process_tree *tree, const struct vt_process *p,
		      int depth, const struct vt_style *style)
{
	char cell[VT_UNIT_TEXT], end[40];
	bool bad = p->damage || p->mismatches || p->lost || p->ending.end == VT_END_SIGNAL ||
		   p->ending.end == VT_END_UNKNOWN;
	fprintf(out, "%7u ", p->pid);
	vt_put_cell(out, vt_format_duration(cell, p->start_ns - tree->v[0].start_ns), -9);
	fputc(' ', out);
	vt_put_cell(out, vt_format_duration(cell, p->length_ns), -9);
	fputc(' ', out);
	vt_put_cell(out, vt_format_count(cell, p->events), -9);
	fputc(' ', out);
	vt_put_cell(out, vt_format_size(cell, p->peak_bytes), -9);
	fputc(' ', out);
	vt_put_cell(out, vt_format_count(cell, p->unseen), -6);
	fprintf(out, "  %s", bad ? style->bad : "");
	vt_put_cell(out, vt_process_end_text(p, end, sizeof(end)), 9);
	fprintf(out, "%s %*s", style->off, 2 * depth, "");
	int left = (int)style->width - 68 - 2 * depth;
	put_text(out, p->command, *style->off && left > 10 ? left : INT32_MAX);
	fputc('\n', out);
	if (p->lost)
		fprintf(out, "%*s%s%llu events lost%s\n", 68 + 2 * depth, "", style->bad,
			(unsigned long long)p->lost, style->off);
	if (p->mismatches)
		fprintf(out, "%*s%s%llu byte mismatches%s\n", 68 + 2 * depth, "", style->bad,
			(unsigned long long)p->mismatches, style->off);
	if (p->damage) {
		fprintf(out, "%*s%sdamaged: ", 68 + 2 * depth, "", style->bad);
		put_text(out, p->damage, INT32_MAX);
		fprintf(out, "%s\n", style->off);
	}
}

static void print_below(FILE *out, const struct vt_process_tree *tree, size_t i, int depth,
			const struct vt_style *style)
{
	print_row(out, tree, &tree->v[i], depth, style);
	for (size_t k = tree->v[i].first; k; k = tree->v[k].next)
		print_below(out, tree, k, depth + 1, style);
}

void vt_process_tree_print(FILE *out, const struct vt_process_tree *tree)
{
	struct vt_style style = vt_style_for(out);
	fprintf(out,
		"%s    PID     START      TIME    EVENTS    MAPPED UNSEEN  END       COMMAND%s\n",
		style.strong, style.off);
	for (size_t i = 0; i < tree->n; i++)
		if (tree->v[i].link == VT_LINK_NONE && tree->v[i].readable)
			print_below(out, tree, i, 0, &style);
	for (size_t i = 0; i < tree->n; i++)
		if (!tree->v[i].readable) {
			fprintf(out, "%sunreadable: ", style.bad);
			put_text(out, tree->v[i].damage, INT32_MAX);
			fprintf(out, "%s\n", style.off);
		}
}

static struct json_object *seconds(uint64_t ns)
{
	char text[40];
	snprintf(text, sizeof(text), "%llu.%09llu", (unsigned long long)(ns / 1000000000u),
		 (unsigned long long)(ns % 1000000000u));
	return json_object_new_double_s((double)ns / 1e9, text);
}

static void add_end(struct json_object *o, const struct vt_process *p)
{
	static const char *const names[] = {
		[VT_END_UNKNOWN] = "killed",  [VT_END_EXIT] = "exit",
		[VT_END_SIGNAL] = "signal",   [VT_END_EXEC] = "exec",
		[VT_END_SANDBOX] = "seccomp", [VT_END_RUNNING] = "running",
	};
	vt_json_text(o, "end", names[p->ending.end]);
	if (p->ending.end == VT_END_EXIT)
		vt_json_u64(o, "status", (uint64_t)p->ending.status);
	if (p->ending.end == VT_END_SIGNAL) {
		vt_json_u64(o, "signal", (uint64_t)p->ending.signal);
		vt_json_text(o, "signal_name", vt_signal_name(p->ending.signal));
		vt_json_bool(o, "core", p->ending.core);
	}
	if (p->ending.end == VT_END_EXEC)
		vt_json_text(o, "image", p->image);
}

static struct json_object *process(const struct vt_process_tree *tree, const struct vt_process *p)
{
	static const char *const links[] = { [VT_LINK_EXEC] = "execve", [VT_LINK_PPID] = "ppid" };
	struct json_object *o = json_object_new_object();
	vt_json_text(o, "trace", p->name);
	vt_json_text(o, "damage", p->damage);
	if (!p->readable)
		return o;
	vt_json_u64(o, "pid", p->pid);
	vt_json_u64(o, "ppid", p->ppid);
	bool linked = p->link != VT_LINK_NONE;
	vt_json_text(o, "parent", linked ? tree->v[p->parent].name : NULL);
	vt_json_text(o, "made_by",
		     !linked                   ? NULL
		     : p->link == VT_LINK_CALL ? vt_kinds[p->call].name
					       : links[p->link]);
	vt_json_text(o, "command", p->command);
	json_object_object_add(o, "started", seconds(p->start_ns));
	json_object_object_add(o, "duration", seconds(p->length_ns));
	add_end(o, p);
	vt_json_u64(o, "events", p->events);
	vt_json_u64(o, "peak_mapped", p->peak_bytes);
	vt_json_u64(o, "unseen", p->unseen);
	vt_json_u64(o, "byte_mismatches", p->mismatches);
	vt_json_u64(o, "lost", p->lost);
	return o;
}

void vt_process_tree_print_json(FILE *out, const struct vt_process_tree *tree)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	vt_json_text(o, "directory", tree->directory);
	for (size_t i = 0; i < tree->n; i++)
		json_object_array_add(list, process(tree, &tree->v[i]));
	json_object_object_add(o, "processes", list);
	vt_json_print(out, o);
}
