/*
 * text.c - small texts without stdio or locale: building them, and reading numbers out of them.
 *
 * Runs inside the traced process. A text that does not fit is cut, never overrun.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"

void vt_text_str(struct vt_text *t, const char *s)
{
	while (*s && t->p < t->end)
		*t->p++ = *s++;
}

void vt_text_u64(struct vt_text *t, uint64_t v)
{
	char digits[20];
	int n = 0;
	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n && t->p < t->end)
		*t->p++ = digits[--n];
}

void vt_text_hex(struct vt_text *t, uint64_t v)
{
	int shift = 60;
	while (shift && !(v >> shift))
		shift -= 4;
	for (; shift >= 0 && t->p < t->end; shift -= 4)
		*t->p++ = "0123456789abcdef"[v >> shift & 15];
}

/* With newline and backslash escaped, as META and NOTE values are. */
void vt_text_escaped(struct vt_text *t, const char *s, size_t n)
{
	for (; n && t->end - t->p >= 2; s++, n--) {
		if (*s == '\n' || *s == '\\') {
			*t->p++ = '\\';
			*t->p++ = *s == '\n' ? 'n' : '\\';
		} else {
			*t->p++ = *s;
		}
	}
}

bool vt_parse_u64(const char *s, uint64_t *v)
{
	if (*s < '0' || *s > '9')
		return false;
	*v = vt_scan_dec(&s);
	return *s == '\0' || *s == '\n' || *s == ' ';
}

uint64_t vt_scan_hex(const char **p)
{
	uint64_t v = 0;
	for (;; (*p)++) {
		unsigned c = (unsigned char)**p;
		unsigned d = c - '0' < 10 ? c - '0' : (c | 32) - 'a' < 6 ? (c | 32) - 'a' + 10 : 16;
		if (d == 16)
			return v;
		v = v << 4 | d;
	}
}

uint64_t vt_scan_dec(const char **p)
{
	uint64_t v = 0;
	for (; (unsigned)(**p - '0') < 10; (*p)++)
		v = v * 10 + (uint64_t)(**p - '0');
	return v;
}
