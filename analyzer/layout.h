/*
 * layout.h - a trace's calls in another address space: the other layout, with or without huge-page
 * alignment, placed by another kernel.
 *
 * A second model runs beside the replay. Where the kernel chose a place it chooses anew there; the
 * addresses that the program computed from it follow, those that it never got from the kernel stay.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_LAYOUT_H
#define VMTRAIL_ANALYZER_LAYOUT_H

#include "births.h"
#include "sites.h"

/* What is asked to be otherwise. */
struct vt_layout_asked {
	enum { VT_LAYOUT_RECORDED, VT_LAYOUT_TOPDOWN, VT_LAYOUT_BOTTOMUP } layout;
	enum { VT_THP_RECORDED, VT_THP_OFF, VT_THP_ON } thp;
	uint32_t kernel; /* as vt_model_config.kernel_version; 0: recorded */
	uint64_t stack;  /* RLIMIT_STACK in bytes; UINT64_MAX: recorded */
};

/* A call that meets in the other space what it did not meet in the recording. */
struct vt_layout_conflict {
	struct vt_event event;
	enum { VT_CONFLICT_HITS, VT_CONFLICT_EXISTS, VT_CONFLICT_NO_ROOM } what;
	uint64_t addr, bytes;       /* there; bytes: destroyed more than in the recording */
	uint64_t victim;            /* birth of what it meets */
	const struct vt_site *site; /* of the call; NULL: no stack recorded */
	const struct vt_site *victim_site;
};

/* A mapping at the end, in both spaces. */
struct vt_layout_place {
	uint64_t recorded, there, bytes, birth;
	uint32_t flags, file;
	const struct vt_site *site;
};

struct vt_layout {
	struct vt_layout_asked asked;
	struct vt_model_config recorded, there;
	uint64_t chosen, elsewhere; /* places chosen by the kernel; those at another address */
	uint64_t forced;            /* placements by address */
	uint64_t hints, hints_lost; /* honoured in the recording; of those, not there */
	struct vt_layout_conflict *conflicts;
	size_t n_conflicts, cap_conflicts;
	struct vt_layout_place *places; /* largest first */
	size_t n_places, cap_places;
	struct vt_sites *sites;
	struct vt_births births;
};

/* Whether anything is asked at all. */
bool vt_layout_is_asked(const struct vt_layout_asked *a);

/* Replay the trace in both spaces. 0 or -ENOMEM. */
int vt_layout_run(struct vt_layout *l, struct vt_trace *t);
void vt_layout_free(struct vt_layout *l);

/* layout_print.c */
void vt_layout_print(FILE *out, const struct vt_layout *l, const struct vt_trace *t, size_t top);
struct json_object *vt_layout_json(const struct vt_layout *l, const struct vt_trace *t, size_t top);

#endif
