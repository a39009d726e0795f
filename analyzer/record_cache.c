/*
 * record_cache.c - the file in which recorded processes keep which code they have looked through.
 *
 * Only says where it is and makes its directory: the library writes it. Without it a large program
 * is searched at each start, so nothing here is an error.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_cache.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether a directory is there, or could be made, and is ours: root leaves nothing in another's. */
static bool is_own_directory(const char *path)
{
	struct stat st;
	mkdir(path, 0700);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* first/second, malloc'ed; NULL: no memory. */
static char *join(const char *first, const char *second)
{
	char *path;
	return asprintf(&path, "%s/%s", first, second) < 0 ? NULL : path;
}

static char *in_cache_directory(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	struct stat st;
	char *base = NULL, *directory = NULL, *path = NULL;
	if (xdg && *xdg == '/')
		base = strdup(xdg);
	else if (home && *home == '/' && stat(home, &st) == 0 && st.st_uid == geteuid())
		base = join(home, ".cache");
	if (base && is_own_directory(base))
		directory = join(base, "vmtrail");
	if (directory && is_own_directory(directory))
		path = join(directory, "code");
	free(directory);
	free(base);
	return path ? path : strdup("no");
}

char *vt_record_cache(const char *asked)
{
	if (!asked)
		return in_cache_directory();
	if (*asked == '/' || strcmp(asked, "no") == 0)
		return strdup(asked);
	char *cwd = getcwd(NULL, 0), *path = cwd ? join(cwd, asked) : strdup("no");
	free(cwd);
	return path;
}
