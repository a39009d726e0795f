/*
 * snapshot_parse.c - the text of /proc/PID/maps as a list of areas, with the flags that smaps
 * shows.
 *
 * Takes any text: what does not look like maps is refused, what does not look like its smaps is
 * left out. Knows nothing of the model.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"

/* Parse a hexadecimal or decimal number up to a character that ends it; false: there is none. */
static bool number(const char **s, const char *end, unsigned base, uint64_t *v)
{
	const char *at = *s;

	*v = 0;
	for (; *s < end; ++*s) {
		unsigned c = (unsigned char)**s, digit;
		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (base == 16 && c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else
			break;
		if (*v > (UINT64_MAX - digit) / base)
			return false;
		*v = *v * base + digit;
	}
	return *s > at;
}

static bool literal(const char **s, const char *end, char c)
{
	if (*s == end || **s != c)
		return false;
	++*s;
	return true;
}

/* "rwxp" and its variants. */
static bool permissions(const char **s, const char *end, uint32_t *flags)
{
	static const struct {
		char set;
		uint32_t flag;
	} letter[] = { { 'r', VT_VM(READ) }, { 'w', VT_VM(WRITE) }, { 'x', VT_VM(EXEC) } };

	*flags = 0;
	if (end - *s < 4)
		return false;
	for (int i = 0; i < 3; i++, ++*s) {
		if (**s == letter[i].set)
			*flags |= letter[i].flag;
		else if (**s != '-')
			return false;
	}
	if (**s == 's')
		*flags |= VT_VM(SHARED);
	else if (**s != 'p')
		return false;
	++*s;
	return true;
}

/* Read one line into vmas[i], names[i], dev[i], ino[i]. */
static const char *parse_line(struct vt_trace *t, struct vt_snapshot *s, size_t i, const char *line,
			      const char *end)
{
	struct vt_vma *v = &s->vmas[i];
	uint64_t offset, major, minor;

	*v = (struct vt_vma){ 0 };
	bool ok = number(&line, end, 16, &v->start) && literal(&line, end, '-') &&
		  number(&line, end, 16, &v->end) && literal(&line, end, ' ') &&
		  permissions(&line, end, &v->flags) && literal(&line, end, ' ') &&
		  number(&line, end, 16, &offset) && literal(&line, end, ' ') &&
		  number(&line, end, 16, &major) && literal(&line, end, ':') &&
		  number(&line, end, 16, &minor) && literal(&line, end, ' ') &&
		  number(&line, end, 10, &s->ino[i]);
	if (!ok)
		return "a line is not one of /proc/PID/maps";
	if (v->start >= v->end || (v->start | v->end) & (VT_PAGE_SIZE - 1))
		return "an area's addresses make no sense";
	/*
	 * The kernel prints areas a few at a time; between two times an area may have grown down
	 * over addresses that were printed already. What was printed first stays.
	 */
	uint64_t printed = i ? s->vmas[i - 1].end : 0;
	if (v->start < printed) {
		offset += printed - v->start;
		v->start = printed;
	}
	while (line < end && *line == ' ')
		line++;
	s->names[i] = vt_strndup(line, (size_t)(end - line));
	s->dev[i] = major << 20 | minor;
	v->pgoff = offset >> VT_PAGE_SHIFT;
	v->special = (uint8_t)vt_special_of(s->names[i]);
	v->name = vt_defs_name_of_area(t, s->names[i]);
	if (s->dev[i] || s->ino[i])
		v->file =
		    vt_defs_file_id(t, s->dev[i], s->ino[i], s->names[i], v->flags & VT_VM(SHARED));
	return NULL;
}

/* The flags of a line "VmFlags: rd wr mr mw me ac". */
static uint32_t parse_flags(const char *p)
{
	static const char names[] =
#define NAME(n, s) s
	    VT_VM_FLAGS(NAME);
#undef NAME
	uint32_t flags = 0;

	for (; p[0] == ' ' && p[1] > ' ' && p[2] > ' '; p += 3)
		for (unsigned i = 0; i < VT_VM_FLAG_COUNT; i++)
			if (names[2 * i] == p[1] && names[2 * i + 1] == p[2])
				flags |= 1U << i;
	return flags;
}

/*
 * Give every area the flags that smaps shows for it. smaps was read after maps: when the two lists
 * do not agree, all areas keep what maps tells.
 */
static void add_flags(struct vt_snapshot *s)
{
	const uint32_t shown = VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC);
	uint32_t *flags = vt_calloc(s->n_vmas, sizeof(*flags));
	size_t area = 0;
	bool agree = true;

	for (const char *line = s->smaps_text; line && *line && agree; line++) {
		const char *at = line;
		uint64_t start, end;
		if (!strncmp(line, "VmFlags:", 8)) {
			flags[area] = parse_flags(line + 8);
			agree = !((flags[area] ^ s->vmas[area].flags) & shown);
			area++;
		} else if (number(&at, at + strcspn(at, "\n"), 16, &start) && *at++ == '-' &&
			   number(&at, at + strcspn(at, "\n"), 16, &end)) {
			agree = area < s->n_vmas && s->vmas[area].start == start &&
				s->vmas[area].end == end;
		}
		line = strchr(line, '\n');
		if (!line)
			break;
	}
	s->flags_shown = agree && area == s->n_vmas;
	for (size_t i = 0; s->flags_shown && i < area; i++)
		s->vmas[i].flags = flags[i];
	free(flags);
}

const char *vt_snapshot_parse(struct vt_trace *t, struct vt_snapshot *s)
{
	const char *text = s->maps_text;
	size_t n = 0;

	for (const char *p = text; *p; p++)
		n += *p == '\n';
	s->vmas = vt_calloc(n, sizeof(*s->vmas));
	s->names = vt_calloc(n, sizeof(*s->names));
	s->dev = vt_calloc(n, sizeof(*s->dev));
	s->ino = vt_calloc(n, sizeof(*s->ino));
	for (size_t line = 0; line < n; line++) {
		const char *end = strchr(text, '\n');
		size_t i = s->n_vmas++;
		const char *error = parse_line(t, s, i, text, end);
		if (error)
			return error;
		if (s->vmas[i].start >= s->vmas[i].end) {
			free(s->names[i]);
			s->names[i] = NULL;
			s->n_vmas--;
		}
		text = end + 1;
	}
	if (!*text && s->smaps_text)
		add_flags(s);
	return *text ? "the last line is cut" : NULL;
}

void vt_snapshot_clear(struct vt_snapshot *s)
{
	for (size_t i = 0; i < s->n_vmas; i++)
		free(s->names[i]);
	free(s->maps_text);
	free(s->status_text);
	free(s->smaps_text);
	free(s->vmas);
	free(s->names);
	free(s->dev);
	free(s->ino);
	*s = (struct vt_snapshot){ 0 };
}
