/*
 * names.c - what the system calls its errors and signals.
 *
 * C libraries before glibc 2.32 keep these tables to themselves; libiberty has them, but prefers
 * another of two names for one number here and there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "names.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#ifndef VT_HAVE_NAMES
#include <libiberty/libiberty.h>
#endif

const char *vt_errno_name(int error)
{
#ifdef VT_HAVE_NAMES
	return strerrorname_np(error);
#else
	return error > 0 && error < errno_max() ? strerrno(error) : NULL;
#endif
}

const char *vt_signal_name(int signo)
{
#ifdef VT_HAVE_NAMES
	static char name[16];
	const char *abbrev = sigabbrev_np(signo);
	if (!abbrev)
		return NULL;
	snprintf(name, sizeof(name), "SIG%s", abbrev);
	return name;
#else
	return signo > 0 && signo < 32 ? strsigno(signo) : NULL;
#endif
}

static bool same(const char *known, const char *name, size_t n)
{
	return known && !strncmp(known, name, n) && !known[n];
}

int vt_errno_of_name(const char *name, size_t n)
{
	for (int i = 1; i < 256; i++)
		if (same(vt_errno_name(i), name, n))
			return i;
	return 0;
}

int vt_signal_of_name(const char *name, size_t n)
{
	for (int i = 1; i < 65; i++)
		if (same(vt_signal_name(i), name, n))
			return i;
	return 0;
}
