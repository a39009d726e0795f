/*
 * runtime.h - which modules are the C library: they make memory calls on behalf of others, and
 * manage each other's memory. One owner to both halves.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_RUNTIME_H
#define VMTRAIL_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Whether a file's name (the last part of its path) is that of a part of libc, or the loader. */
static inline bool vt_is_runtime(const char *name)
{
	static const char *const beginnings[] = { "libc.so.6",  "libc-2.",   "ld-linux-", "ld-2.",
						  "libpthread", "libdl.so.", "libdl-2." };
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (!strncmp(name, beginnings[i], strlen(beginnings[i])))
			return true;
	return false;
}

#endif
