/*
 * births.h - which event's call made a mapping: a value for each birth, found by its number.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_BIRTHS_H
#define VMTRAIL_ANALYZER_BIRTHS_H

#include <vmtrail/event.h>

struct vt_births {
	uint64_t *v; /* pairs: event number, value */
	size_t n, cap;
};

/* Whether mappings may bear the event's number as their birth. */
bool vt_gives_birth(const struct vt_event *e);

/* Remember a value; event numbers ascend. */
void vt_births_add(struct vt_births *b, uint64_t seq, uint64_t value);

/* The value of a birth; false: none was given. */
bool vt_births_find(const struct vt_births *b, uint64_t seq, uint64_t *value);
void vt_births_free(struct vt_births *b);

#endif
