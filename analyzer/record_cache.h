/*
 * record_cache.h - the file in which recorded processes keep which code they have looked through.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_RECORD_CACHE_H
#define VMTRAIL_ANALYZER_RECORD_CACHE_H

/*
 * The value of VMTRAIL_CACHE, malloc'ed: the file that was asked for, with the current directory
 * before it, else one in the user's cache directory, whose directory is made; "no" where there is
 * none of our own. NULL: no memory.
 */
char *vt_record_cache(const char *asked);

#endif
