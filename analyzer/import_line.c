/*
 * import_line.c - strace's grammar: prefixes, calls cut in two, signals, stacks, arguments.
 *
 * Nothing is copied, and nothing is read twice: logs have many millions of lines.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_line.h"

#include <string.h>

#define NS_PER_S 1000000000u

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

bool vt_slice_starts(struct vt_slice s, const char *text)
{
	size_t n = strlen(text);
	return (size_t)(s.end - s.p) >= n && !memcmp(s.p, text, n);
}

bool vt_slice_is(struct vt_slice s, const char *text)
{
	return (size_t)(s.end - s.p) == strlen(text) && vt_slice_starts(s, text);
}

static void skip_spaces(struct vt_slice *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
		s->p++;
}

bool vt_slice_char(struct vt_slice *s, char c)
{
	skip_spaces(s);
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static uint64_t decimal(struct vt_slice *s)
{
	uint64_t v = 0;
	while (s->p < s->end && is_digit(*s->p))
		v = v * 10 + (uint64_t)(*s->p++ - '0');
	return v;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool vt_slice_number(struct vt_slice *s, uint64_t *value)
{
	skip_spaces(s);
	if (vt_slice_starts(*s, "NULL")) {
		s->p += 4;
		*value = 0;
		return true;
	}
	bool minus = s->p < s->end && *s->p == '-';
	struct vt_slice at = { s->p + minus, s->end };
	uint64_t v = 0;
	if (at.p == at.end || !is_digit(*at.p))
		return false;
	if (vt_slice_starts(at, "0x")) {
		at.p += 2;
		for (int d; at.p < at.end && (d = hex_digit(*at.p)) >= 0; at.p++)
			v = v << 4 | (uint64_t)d;
	} else if (*at.p == '0') {
		for (; at.p < at.end && *at.p >= '0' && *at.p <= '7'; at.p++)
			v = v << 3 | (uint64_t)(*at.p - '0');
	} else {
		v = decimal(&at);
	}
	*value = minus ? -v : v;
	s->p = at.p;
	return true;
}

/* The fraction of a second behind the dot, in nanoseconds. */
static uint64_t fraction(struct vt_slice *s)
{
	uint64_t ns = 0, unit = NS_PER_S;
	for (; s->p < s->end && is_digit(*s->p); s->p++) {
		unit /= 10;
		ns += unit * (uint64_t)(*s->p - '0');
	}
	return ns;
}

bool vt_slice_seconds(struct vt_slice *s, uint64_t *ns)
{
	skip_spaces(s);
	if (s->p == s->end || !is_digit(*s->p))
		return false;
	*ns = decimal(s) * NS_PER_S;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		*ns += fraction(s);
	}
	return true;
}

/* Skip a string in quotes; s stands at the first quote. */
static void skip_string(struct vt_slice *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
		if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
	if (s->p < s->end)
		s->p++;
}

struct vt_slice vt_slice_argument(struct vt_slice *s)
{
	int depth = 0;
	skip_spaces(s);
	struct vt_slice a = { s->p, s->p };
	while (s->p < s->end) {
		char c = *s->p;
		if (c == '"') {
			skip_string(s);
			continue;
		}
		/* a descriptor's file, as -y shows it; a shift is no bracket */
		if (c == '<' && s->p + 1 < s->end && s->p[1] != '<' && s->p > a.p &&
		    is_digit(s->p[-1])) {
			const char *close = memchr(s->p, '>', (size_t)(s->end - s->p));
			s->p = close ? close + 1 : s->end;
			continue;
		}
		if (c == '[' || c == '{' || c == '(')
			depth++;
		else if ((c == ']' || c == '}' || c == ')') && depth)
			depth--;
		else if (!depth && (c == ',' || c == ')'))
			break;
		s->p++;
	}
	a.end = s->p;
	while (a.end > a.p && a.end[-1] == ' ')
		a.end--;
	if (s->p < s->end && *s->p == ',')
		s->p++;
	return a;
}

/* One escaped character; s stands behind the backslash. */
static char unescaped(struct vt_slice *s)
{
	static const char from[] = "nrtvfae", to[] = "\n\r\t\v\f\a\033";
	char c = *s->p++;
	const char *known = strchr(from, c);
	int v = 0, n = 0;
	if (known && c)
		return to[known - from];
	if (c == 'x') {
		for (int d; n < 2 && s->p < s->end && (d = hex_digit(*s->p)) >= 0; n++, s->p++)
			v = v << 4 | d;
		return (char)v;
	}
	if (c < '0' || c > '7')
		return c;
	for (v = c - '0'; n < 2 && s->p < s->end && *s->p >= '0' && *s->p <= '7'; n++)
		v = v << 3 | (*s->p++ - '0');
	return (char)v;
}

bool vt_slice_string(struct vt_slice s, char *buf, size_t size)
{
	size_t n = 0;
	if (!vt_slice_char(&s, '"'))
		return false;
	while (s.p < s.end && *s.p != '"') {
		char c = *s.p++;
		if (c == '\\' && s.p < s.end)
			c = unescaped(&s);
		if (n + 1 < size)
			buf[n++] = c;
	}
	buf[n] = '\0';
	return true;
}

/* "1234 " or "[pid 1234] ", with the process's name in angle brackets where strace knew it. */
static bool read_pid(struct vt_line *line, struct vt_slice *s)
{
	struct vt_slice at = *s;
	bool bracket = vt_slice_starts(at, "[pid");
	at.p += bracket ? 4 : 0;
	skip_spaces(&at);
	if (at.p == at.end || !is_digit(*at.p))
		return false;
	uint64_t pid = decimal(&at);
	if (at.p < at.end && *at.p == '<') {
		const char *close = memchr(at.p, '>', (size_t)(at.end - at.p));
		if (!close)
			return false;
		line->comm = (struct vt_slice){ at.p + 1, close };
		at.p = close + 1;
	}
	if (at.p == at.end || *at.p != (bracket ? ']' : ' ') || pid >= 1u << 30)
		return false;
	at.p++;
	line->pid = (uint32_t)pid;
	*s = at;
	return true;
}

/* "12:34:56", "12:34:56.789012", "1700000000.123456", "0.000123" and "(+     0.000123)". */
static bool read_time(struct vt_line *line, struct vt_slice *s)
{
	struct vt_slice at = *s;
	uint64_t v = decimal(&at);
	if (at.end - at.p >= 6 && *at.p == ':' && at.p[3] == ':') {
		at.p++;
		v = v * 60 + decimal(&at);
		at.p++;
		v = v * 60 + decimal(&at);
		line->clock = VT_CLOCK_DAY;
	} else if (at.p < at.end && (*at.p == '.' || *at.p == ' ')) {
		line->clock = v >= 100000000 ? VT_CLOCK_EPOCH : VT_CLOCK_RELATIVE;
	} else {
		return false;
	}
	line->ns = v * NS_PER_S;
	if (at.p < at.end && *at.p == '.') {
		at.p++;
		line->ns += fraction(&at);
	}
	if (at.p == at.end || *at.p != ' ')
		return false;
	skip_spaces(&at);
	if (vt_slice_starts(at, "(+")) {
		const char *close = memchr(at.p, ')', (size_t)(at.end - at.p));
		at.p = close ? close + 1 : at.end;
	}
	*s = at;
	return true;
}

/* The instruction pointer, as -i shows it: "[00007f12a4b0c5d7] ". */
static void skip_address(struct vt_slice *s)
{
	const char *close =
	    s->p < s->end && *s->p == '[' ? memchr(s->p, ']', (size_t)(s->end - s->p)) : NULL;
	if (!close || close - s->p != 17)
		return;
	s->p = close + 1;
	skip_spaces(s);
}

static bool ends_with(struct vt_slice s, const char *text)
{
	size_t n = strlen(text);
	return (size_t)(s.end - s.p) >= n && !memcmp(s.end - n, text, n);
}

static void read_call(struct vt_line *line, struct vt_slice s)
{
	static const char unfinished[] = "<unfinished ...>";
	line->name.p = s.p;
	while (s.p < s.end && is_name(*s.p))
		s.p++;
	line->name.end = s.p;
	if (s.p == s.end || *s.p != '(' || s.p == line->name.p)
		return;
	s.p++;
	line->type = VT_LINE_CALL;
	if (s.end[-1] == '>' && ends_with(s, unfinished)) {
		line->type = VT_LINE_UNFINISHED;
		s.end -= sizeof(unfinished) - 1;
		while (s.end > s.p && s.end[-1] == ' ')
			s.end--;
	}
	line->rest = s;
}

/* "<... mmap resumed>) = 0x7f12", in older versions "<... mmap resumed> ) = 0x7f12". */
static void read_resumed(struct vt_line *line, struct vt_slice s)
{
	s.p += 5;
	line->name.p = s.p;
	while (s.p < s.end && is_name(*s.p))
		s.p++;
	line->name.end = s.p;
	if (!vt_slice_starts(s, " resumed"))
		return;
	const char *close = memchr(s.p, '>', (size_t)(s.end - s.p));
	if (!close)
		return;
	line->type = VT_LINE_RESUMED;
	line->rest = (struct vt_slice){ close + 1, s.end };
}

/* What stands between the dashes or the crosses. */
static void read_remark(struct vt_line *line, struct vt_slice s, enum vt_line_type type)
{
	s.p += 4;
	line->type = type;
	line->name.p = s.p;
	while (s.p < s.end && is_name(*s.p))
		s.p++;
	line->name.end = s.p;
	line->rest = s;
}

void vt_line_read(struct vt_line *line, const char *p, const char *end)
{
	struct vt_slice s = { p, end };
	*line = (struct vt_line){ .type = VT_LINE_STRANGE };
	if (s.p < s.end && s.end[-1] == '\r')
		s.end--;
	if (vt_slice_starts(s, " > ")) {
		line->type = VT_LINE_STACK;
		line->rest = (struct vt_slice){ s.p + 3, s.end };
		return;
	}
	if (vt_slice_starts(s, "strace: ") || s.p == s.end) {
		line->type = VT_LINE_OTHER;
		return;
	}
	read_pid(line, &s);
	skip_spaces(&s);
	if (s.p < s.end && is_digit(*s.p))
		read_time(line, &s);
	skip_spaces(&s);
	skip_address(&s);
	if (vt_slice_starts(s, "<... "))
		read_resumed(line, s);
	else if (vt_slice_starts(s, "--- "))
		read_remark(line, s, VT_LINE_SIGNAL);
	else if (vt_slice_starts(s, "+++ "))
		read_remark(line, s, VT_LINE_END);
	else if (vt_slice_starts(s, "strace: "))
		line->type = VT_LINE_OTHER;
	else
		read_call(line, s);
}
