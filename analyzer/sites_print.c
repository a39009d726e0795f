/*
 * sites_print.c - frames and stacks as text.
 *
 * The one printer of stacks; it knows of frames only what struct vt_frame_text says.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <string.h>

#include "sites.h"

/* Names wider than this do not push the other frames' columns to the right. */
#define NAME_COLUMN 48

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool is_recorder(const struct vt_frame_text *f)
{
	return strncmp(f->module, "libvmtrail.so", 13) == 0;
}

/* "Function+0x12", "libfoo.so+0x1234" or the bare address; returns its length. */
static int frame_name(const struct vt_frame_text *f, char *buf, size_t size)
{
	if (f->function && f->inlined)
		return snprintf(buf, size, "%s", f->function);
	if (f->function)
		return snprintf(buf, size, "%s+0x%" PRIx64, f->function, f->offset);
	if (*f->path)
		return snprintf(buf, size, "%s+0x%" PRIx64, f->module, f->file_offset);
	return snprintf(buf, size, "0x%" PRIx64, f->pc);
}

/* "file.c:88", or "" when the source is not known. */
static int frame_source(const struct vt_frame_text *f, char *buf, size_t size)
{
	if (!f->source)
		return snprintf(buf, size, "%s", "");
	if (!f->line)
		return snprintf(buf, size, "%s", base_name(f->source));
	return snprintf(buf, size, "%s:%u", base_name(f->source), f->line);
}

/* How many frames from i on are of the runtime and can be told in one line; 0 or 1: not worth it.
 */
static size_t runtime_run(const struct vt_frame_text *f, size_t i, size_t n)
{
	size_t end = i;
	while (end < n && f[end].runtime)
		end++;
	return end - i;
}

void vt_print_frames(FILE *out, const struct vt_frame_text *f, size_t n, const char *indent,
		     bool fold)
{
	char name[1024], source[512];
	int name_width = 0, source_width = 0;
	size_t first = 0;
	while (first < n && is_recorder(&f[first]))
		first++;
	for (size_t i = first; i < n; i++) {
		int name_len = frame_name(&f[i], name, sizeof(name));
		int source_len = frame_source(&f[i], source, sizeof(source));
		if (name_len <= NAME_COLUMN && name_len > name_width)
			name_width = name_len;
		if (source_len <= NAME_COLUMN && source_len > source_width)
			source_width = source_len;
	}
	for (size_t i = first; i < n; i++) {
		size_t run = fold ? runtime_run(f, i, n) : 0;
		if (run > 1) {
			fprintf(out, "%s     ... %zu frames in %s\n", indent, run, f[i].module);
			i += run - 1;
			continue;
		}
		frame_name(&f[i], name, sizeof(name));
		frame_source(&f[i], source, sizeof(source));
		fprintf(out, "%s#%-3zu %-*s  ", indent, i - first, name_width, name);
		if (source_width)
			fprintf(out, "%-*s  ", source_width, source);
		fprintf(out, "(%s)%s%s\n", f[i].module, f[i].inlined ? " inlined" : "",
			f[i].stale ? " changed since" : "");
	}
}

void vt_print_stack(FILE *out, struct vt_sites *s, const struct vt_replay *r,
		    const struct vt_event *e, const char *indent)
{
	struct vt_frame_text f[VT_MAX_FRAMES];
	size_t n = vt_stack_frames(s, r, e, f, VT_MAX_FRAMES);
	vt_print_frames(out, f, n, indent, false);
}

/* Where the next part of a qualified name begins; template arguments are skipped. NULL: none. */
static const char *next_part(const char *name)
{
	int depth = 0;
	for (; *name; name++) {
		if (*name == '<' || *name == '(' || *name == '{')
			depth++;
		else if ((*name == '>' || *name == ')' || *name == '}') && depth)
			depth--;
		else if (!depth && name[0] == ':' && name[1] == ':')
			return name + 2;
	}
	return NULL;
}

/* Fit a function's name into width: without its outer namespaces, then cut at the end. */
static void fit_name(const char *name, char *buf, size_t size, size_t width)
{
	const char *rest = name;
	for (const char *next; strlen(rest) > width - (rest > name) && (next = next_part(rest));)
		rest = next;
	size_t room = width - (rest > name), len = strlen(rest);
	bool cut = len > room;
	if (cut) {
		len = room - 1;
		while (len && ((unsigned char)rest[len] & 0xc0) == 0x80)
			len--; /* not through the middle of a character */
	}
	snprintf(buf, size, "%s%.*s%s", rest > name ? "…" : "", (int)len, rest, cut ? "…" : "");
}

/* The columns that a qualified name's last part needs, with the mark of what is left out. */
static size_t least_width(const char *name)
{
	const char *rest = name;
	for (const char *next; (next = next_part(rest));)
		rest = next;
	return strlen(rest) + (rest > name);
}

/* A frame's function; calls of one function are told apart by line or else by offset. */
static void full_name(const struct vt_frame_text *f, char *buf, size_t size)
{
	if (f->function && !f->line && !f->inlined)
		snprintf(buf, size, "%s+0x%" PRIx64, f->function, f->offset);
	else if (f->function)
		snprintf(buf, size, "%s", f->function);
	else if (*f->path)
		snprintf(buf, size, "%s+0x%" PRIx64, f->module, f->file_offset);
	else
		snprintf(buf, size, "code in %s",
			 strcmp(f->module, "?") == 0 ? "no mapping" : f->module);
}

/* "  file.c:88" or "  (libfoo.so)"; nothing where the name says as much. */
static void full_place(const struct vt_frame_text *f, char *buf, size_t size)
{
	char source[256];
	frame_source(f, source, sizeof(source));
	if (!f->function)
		*buf = '\0';
	else if (*source)
		snprintf(buf, size, "  %s", source);
	else
		snprintf(buf, size, "  (%s)", f->module);
}

/* Put name, place and via together: outer namespaces go first, then the place, then the name's end.
 */
static void compose(const char *name, const char *place, const char *via, char *buf, size_t size,
		    unsigned width)
{
	char cut[1024];
	size_t least = least_width(name);
	if (least + strlen(place) + strlen(via) > width)
		place = "";
	if ((least < 16 ? least : 16) + strlen(place) + strlen(via) > width)
		via = "";
	fit_name(name, cut, sizeof(cut), width - strlen(place) - strlen(via));
	snprintf(buf, size, "%s%s%s", cut, place, via);
}

char *vt_frame_short(const struct vt_frame_text *f, char *buf, size_t size, unsigned width)
{
	char place[300], name[1024];
	full_name(f, name, sizeof(name));
	full_place(f, place, sizeof(place));
	compose(name, place, "", buf, size, width);
	return buf;
}

char *vt_site_short(const struct vt_site *site, char *buf, size_t size, unsigned width)
{
	char place[300], name[1024], outer[512], via[80] = "";
	full_name(&site->outer, outer, sizeof(outer));
	full_place(&site->outer, place, sizeof(place));
	if (site->via)
		snprintf(via, sizeof(via), "  via %.70s", site->via);
	snprintf(name, sizeof(name), "%s", outer);
	if (site->frame.inlined && site->frame.function &&
	    strcmp(site->frame.function, outer) != 0) {
		snprintf(name, sizeof(name), "%.500s in %s", site->frame.function, outer);
		if (strlen(name) + strlen(place) + strlen(via) > width)
			snprintf(name, sizeof(name), "%s", outer);
	}
	compose(name, place, via, buf, size, width);
	return buf;
}
