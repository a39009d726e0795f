/*
 * find_story.h - the events that findings tell of, with their stacks.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_STORY_H
#define VMTRAIL_ANALYZER_FIND_STORY_H

#include "find.h"
#include "why_history.h"

struct vt_story {
	struct vt_sites *sites;       /* owner of the entries' strings */
	struct vt_why_entry *entries; /* by event number */
	size_t n, cap;
	bool bottomup; /* the layout that the kernel searched for gaps in */
};

/* Fetch the events of every finding by a second replay. 0 or -ENOMEM. */
int vt_story_collect(struct vt_story *s, const struct vt_find *f, struct vt_trace *t);
void vt_story_free(struct vt_story *s);

/* The event, NULL: no finding tells of it. */
const struct vt_why_entry *vt_story_find(const struct vt_story *s, uint64_t seq);

/* In find_text.c: each fills buf and returns it; "" where there is nothing to say. */

/* What happened; call is the name of the culprit's. */
char *vt_find_sentence(const struct vt_find *f, const struct vt_finding *n, const char *call,
		       char *buf, size_t size);
/* Why the kernel had put the victim where it was struck. */
char *vt_find_placement(const struct vt_story *s, const struct vt_finding *n, bool bottomup,
			char *buf, size_t size);
/* Why the finding is certain. */
char *vt_find_proof_text(const struct vt_find *f, const struct vt_story *s,
			 const struct vt_finding *n, char *buf, size_t size);
/* What to do about it. */
char *vt_find_advice(const struct vt_finding *n, char *buf, size_t size);

/* Print the findings of at least that severity; returns how many are worse than info. */
size_t vt_find_print(FILE *out, const struct vt_find *f, const struct vt_story *s,
		     const struct vt_trace *t, enum vt_severity least);
size_t vt_find_print_json(FILE *out, const struct vt_find *f, const struct vt_story *s,
			  const struct vt_trace *t, enum vt_severity least);

#endif
