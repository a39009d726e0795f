/*
 * why_history.h - the life of a page, or a range of them: what touched it, in order, and what that
 * meant.
 *
 * Collected in one replay by cmd_why.c; printed by why_print.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_WHY_HISTORY_H
#define VMTRAIL_ANALYZER_WHY_HISTORY_H

#include "range_map.h"
#include "role.h"
#include "units.h"
#include "why_gap.h"

/* What an event did to the page: bits of vt_why_entry.what. One for each enum vt_piece_fate, then
 * ours. */
#define VT_WHY_FATE(fate) (1u << (fate))
enum {
	VT_WHY_ARRIVED = 1 << 8,   /* moved here by mremap */
	VT_WHY_ELSEWHERE = 1 << 9, /* was asked for by a hint and not given */
	VT_WHY_REFUSED = 1 << 10,  /* a call on the page failed */
	VT_WHY_FAULT = 1 << 11,    /* the process died there */
	VT_WHY_NOTHING = 1 << 12,  /* an unmap that found nothing there */
};

/* A mapping, or what is left of it, as an event found it. */
struct vt_why_mapping {
	uint64_t birth;   /* event number; 0: there at the start */
	uint64_t lo, hi;  /* of the affected part: hull of its pieces */
	uint64_t bytes;   /* affected in all */
	uint32_t flags;   /* VT_VM() */
	const char *path; /* of the file, NULL: anonymous */
	struct vt_mapping_role role;
};

/* One event that had to do with the page. */
struct vt_why_entry {
	struct vt_event event;
	uint32_t what;
	struct vt_why_mapping
	    victim; /* what lost the page; of ELSEWHERE and REFUSED: what held the range */
	bool has_victim;
	const char *path;             /* of the file that was mapped, NULL: none */
	const struct vt_site *site;   /* NULL: no stack recorded */
	bool by_loader;               /* the loader's own call: laying out a library, most often */
	bool placed;                  /* the kernel chose the place, and the model says the same */
	struct vt_why_gap gap;        /* of a new mapping whose place the kernel chose */
	struct vt_frame_text *frames; /* if vt_why.stacks */
	size_t n_frames;
};

struct vt_find;
struct vt_finding;
struct vt_story;

struct vt_why {
	uint64_t addr, page;
	uint64_t end; /* of the range that begins at addr; 0: just its page */
	bool stacks;  /* keep the frames of every entry */
	bool at_end;
	uint64_t last_seq; /* the state is the one after this event */
	struct vt_why_entry *entries;
	size_t n, cap;
	bool had_start; /* the page was mapped when the recording began */
	struct vt_why_mapping start;
	/* the state at the moment asked for */
	bool mapped; /* the first page */
	struct vt_why_mapping now;
	uint64_t held_bytes, n_held; /* of a range: what is mapped of it, in how many mappings */
	bool bottomup;               /* the layout */
	uint64_t below, above;       /* of an unmapped page: the gap it lies in */
	uint64_t
	    beyond; /* RLIMIT_STACK, if the page is the first that the main stack lacks; or 0 */
	/* pieces of the event under way */
	struct vt_why_mapping *pieces;
	size_t n_pieces, cap_pieces;
	uint32_t pending; /* what */
	struct vt_why_gap gap;
	struct vt_range_map freed; /* the event that gave each address back last */
	uint64_t pending_victim;
	const struct vt_find *find; /* what was found in the trace, NULL: not looked for */
	const struct vt_story *story;
	const struct vt_trace *trace;
	struct vt_replay *replay;
	struct vt_sites *sites;
	struct vt_roles *roles;
};

/* Replay the trace up to a moment and collect what happened to the page of w->addr. 0 or -ENOMEM.
 */
int vt_why_collect(struct vt_why *w, struct vt_trace *t, const struct vt_when *at);
void vt_why_free(struct vt_why *w);

/* The entry of an event number, NULL: none. */
const struct vt_why_entry *vt_why_find(const struct vt_why *w, uint64_t seq);

/* The finding that the event is the culprit of, NULL: none. */
const struct vt_finding *vt_why_finding(const struct vt_why *w, uint64_t seq);

/* Whether a finding is about the range, and not later than the moment asked for. */
bool vt_why_concerns(const struct vt_why *w, const struct vt_finding *n);

/*
 * Whether a forced placement destroyed something that was in use: not a reservation (PROT_NONE),
 * and not by the loader, which lays a library's segments over each other.
 */
bool vt_why_is_destructive(const struct vt_why_entry *e);

/*
 * The story in plain words: a malloc'ed array of n malloc'ed sentences, what went wrong first, the
 * page's state last.
 */
char **vt_why_sentences(const struct vt_why *w, size_t *n);

void vt_why_print(FILE *out, const struct vt_why *w, const struct vt_trace *t);
void vt_why_print_json(FILE *out, const struct vt_why *w, const struct vt_trace *t);

#endif
