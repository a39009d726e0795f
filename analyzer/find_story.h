/*
 * find_story.h - the events that findings tell of, with their stacks.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_STORY_H
#define VMTRAIL_ANALYZER_FIND_STORY_H

#include "find.h"
#include "report_style.h"
#include "role.h"
#include "why_history.h"

struct json_object;

/* The roles of a finding's victims, right before it happened. */
struct vt_find_roles {
	struct vt_mapping_role victim[VT_FIND_VICTIMS];
};

struct vt_story {
	struct vt_sites *sites;       /* owner of the entries' strings */
	struct vt_why_entry *entries; /* by event number */
	size_t n, cap;
	struct vt_roles *roles;         /* owner of the roles' names */
	struct vt_find_roles *of_found; /* by index into vt_find.found */
	bool stacks;                    /* print the frames of each call */
	bool bottomup;                  /* the layout that the kernel searched for gaps in */
};

/* The role of a finding's victim i. */
const struct vt_mapping_role *vt_story_role(const struct vt_story *s, const struct vt_find *f,
					    const struct vt_finding *n, uint32_t i);

/* Fetch the events of every finding by a second replay. 0 or -ENOMEM. */
int vt_story_collect(struct vt_story *s, const struct vt_find *f, struct vt_trace *t);
void vt_story_free(struct vt_story *s);

/* The event, NULL: no finding tells of it. */
const struct vt_why_entry *vt_story_find(const struct vt_story *s, uint64_t seq);

/* In find_text.c: each fills buf and returns it; "" where there is nothing to say. */

/* What happened. */
char *vt_find_sentence(const struct vt_find *f, const struct vt_story *s,
		       const struct vt_finding *n, char *buf, size_t size);
/* Why the kernel had put the victim where it was struck. */
char *vt_find_placement(const struct vt_story *s, const struct vt_finding *n, bool bottomup,
			char *buf, size_t size);
/* Why the finding is certain. */
char *vt_find_proof_text(const struct vt_find *f, const struct vt_story *s,
			 const struct vt_finding *n, char *buf, size_t size);
/* What to do about it. */
char *vt_find_advice(const struct vt_finding *n, char *buf, size_t size);

/* One finding as it stands in the output of reuse. */
struct json_object *vt_find_json(const struct vt_find *f, const struct vt_story *s,
				 const struct vt_trace *t, const struct vt_finding *n);
void vt_find_print_one(FILE *out, const struct vt_find *f, const struct vt_story *s,
		       const struct vt_trace *t, const struct vt_finding *n,
		       const struct vt_style *style);

/* Print the findings of at least that severity; returns how many are worse than info. */
size_t vt_find_print(FILE *out, const struct vt_find *f, const struct vt_story *s,
		     const struct vt_trace *t, enum vt_severity least);
size_t vt_find_print_json(FILE *out, const struct vt_find *f, const struct vt_story *s,
			  const struct vt_trace *t, enum vt_severity least);

#endif
