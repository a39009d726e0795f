/*
 * alloc.h - memory for the analyzer: never NULL.
 *
 * The analyzer cannot do anything useful without memory, so running out ends it with one line and
 * exit status 2. Sizes that come from a file are bounded by their readers before they get here.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_ALLOC_H
#define VMTRAIL_ANALYZER_ALLOC_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline __attribute__((noreturn)) void vt_out_of_memory(void)
{
	fputs("vmtrail: out of memory\n", stderr);
	exit(2);
}

/* n zeroed objects of size bytes. */
static inline void *vt_calloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);
	if (!p)
		vt_out_of_memory();
	return p;
}

/* p with room for n objects of size bytes. */
static inline void *vt_realloc(void *p, size_t n, size_t size)
{
	p = reallocarray(p, n ? n : 1, size ? size : 1);
	if (!p)
		vt_out_of_memory();
	return p;
}

/* n bytes as a string. */
static inline char *vt_strndup(const void *s, size_t n)
{
	char *copy = vt_calloc(n + 1, 1);
	memcpy(copy, s, n);
	return copy;
}

/* A formatted string. */
static inline __attribute__((format(printf, 1, 0))) char *vt_vformat(const char *format,
								     va_list args)
{
	char *s;
	if (vasprintf(&s, format, args) < 0)
		vt_out_of_memory();
	return s;
}

static inline __attribute__((format(printf, 1, 2))) char *vt_format(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *s = vt_vformat(format, args);
	va_end(args);
	return s;
}

/* Make room for one more object in an array that holds n of cap; returns the array. */
static inline void *vt_grow(void *array, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return array;
	*cap = *cap ? *cap * 2 : 16;
	return vt_realloc(array, *cap, size);
}

#endif
