/*
 * units.c - sizes, counts and times as people read and write them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "units.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *vt_format_size(char buf[VT_UNIT_TEXT], uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double v = (double)bytes;
	size_t u = 0;

	/* 1023.5 and more would be printed with four digits before the point */
	for (; v >= 1023.5 && u + 1 < sizeof(unit) / sizeof(unit[0]); u++)
		v /= 1024;
	snprintf(buf, VT_UNIT_TEXT, "%.*f %s", u && v < 99.95 ? 1 : 0, v, unit[u]);
	return buf;
}

const char *vt_format_count(char buf[VT_UNIT_TEXT], uint64_t n)
{
	char digits[VT_UNIT_TEXT];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *out = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*out++ = ',';
		*out++ = digits[i];
	}
	*out = 0;
	return buf;
}

const char *vt_format_duration(char buf[VT_UNIT_TEXT], uint64_t ns)
{
	if (ns < 1000)
		snprintf(buf, VT_UNIT_TEXT, "%u ns", (unsigned)ns);
	else if (ns < 999950)
		snprintf(buf, VT_UNIT_TEXT, "%.1f µs", (double)ns / 1e3);
	else if (ns < 999950000)
		snprintf(buf, VT_UNIT_TEXT, "%.1f ms", (double)ns / 1e6);
	else if (ns < 59995000000)
		snprintf(buf, VT_UNIT_TEXT, "%.2f s", (double)ns / 1e9);
	else
		snprintf(buf, VT_UNIT_TEXT, "%llu m %02u s",
			 (unsigned long long)((ns + 500000000) / 60000000000),
			 (unsigned)((ns + 500000000) / 1000000000 % 60));
	return buf;
}

bool vt_parse_u64(const char *s, uint64_t *value)
{
	bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	char *rest;

	if (!(hex ? isxdigit((unsigned char)s[2]) : isdigit((unsigned char)s[0])))
		return false;
	errno = 0;
	unsigned long long v = strtoull(s, &rest, hex ? 16 : 10);
	if (*rest || errno)
		return false;
	*value = v;
	return true;
}

bool vt_parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	char number[VT_UNIT_TEXT];
	size_t n = strlen(s);
	const char *unit = n > 1 ? strchr(units, s[n - 1]) : NULL;
	if (n >= sizeof(number))
		return false;
	memcpy(number, s, n + 1);
	unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;
	if (shift)
		number[n - 1] = '\0';
	if (!vt_parse_u64(number, bytes) || *bytes > UINT64_MAX >> shift)
		return false;
	*bytes <<= shift;
	return true;
}

/* A decimal fraction and a unit of time; unit stands for one that is not there ("": needed). */
static bool parse_time(const char *s, const char *unit, uint64_t *ns)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "µs", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
	char *rest;

	if (!isdigit((unsigned char)s[0]))
		return false;
	double v = strtod(s, &rest);
	if (rest != s + strspn(s, "0123456789."))
		return false;
	if (*rest)
		unit = rest;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(unit, units[i].name) || v * units[i].ns >= 1.8e19)
			continue;
		*ns = (uint64_t)(v * units[i].ns + 0.5);
		return true;
	}
	return false;
}

bool vt_parse_when(const char *s, struct vt_when *when)
{
	*when = (struct vt_when){ 0 };
	if (!strcmp(s, "start")) {
		when->kind = VT_WHEN_START;
		return true;
	}
	if (!strcmp(s, "end")) {
		when->kind = VT_WHEN_END;
		return true;
	}
	when->kind = VT_WHEN_TIME;
	if (*s == '+')
		return parse_time(s + 1, "s", &when->ns);
	if (parse_time(s, "", &when->ns))
		return true;
	when->kind = VT_WHEN_SEQ;
	return vt_parse_u64(s + (*s == '#'), &when->seq);
}
