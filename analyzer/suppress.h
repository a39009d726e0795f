/*
 * suppress.h - rules that keep known findings quiet, in the form that valgrind's users know.
 *
 *	{
 *	   the allocator's own business
 *	   vmtrail:fixed-clobber
 *	   fun:commit_*
 *	   ...
 *	   obj:*libarena.so*
 *	}
 *
 * A name; the kind of finding; then the frames of the culprit's stack, innermost first: fun: a
 * function, obj: a module's path, ... any number of frames. All three may hold * and ?. Frames
 * beyond the rule's last do not count. A line that begins with # is a comment.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_SUPPRESS_H
#define VMTRAIL_ANALYZER_SUPPRESS_H

#include "find_story.h"

struct vt_suppressions;

/* Read a file of rules, adding to those in *s (NULL at first). False: *error is one line. */
bool vt_suppressions_read(struct vt_suppressions **s, const char *path, char **error);
void vt_suppressions_free(struct vt_suppressions *s);

/* Take the findings that a rule names out of f->found. Returns how many there were. */
size_t vt_suppress(const struct vt_suppressions *s, struct vt_find *f,
		   const struct vt_story *story);

/* Print a rule for each finding of at least that severity. Returns how many are worse than info. */
size_t vt_suppressions_print(FILE *out, const struct vt_find *f, const struct vt_story *story,
			     enum vt_severity least);

#endif
