/*
 * whatif.h - a trace replayed under other limits: what would fail first, and what held the budget.
 *
 * The replay goes on as the program really went: a call that would fail has succeeded in the
 * recording, and what it mapped counts from then on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_WHATIF_H
#define VMTRAIL_ANALYZER_WHATIF_H

#include <vmtrail/limits.h>

#include "births.h"
#include "own_share.h"
#include "sites.h"

/* What --option asks for; VT_NO_LIMIT: not asked. Sizes in bytes. */
struct vt_whatif_asked {
	uint64_t as, data, memlock, stack, max_map_count;
	uint64_t overcommit, ram, swap, ratio, kbytes, admin_reserve, user_reserve;
};

/* Who held what was counted when the first call failed: a call site, or what has none. */
struct vt_whatif_holder {
	const struct vt_site *site; /* NULL: name says what it is */
	const char *name;
	uint64_t amount; /* pages, or areas */
};

/* What vt_births holds for each birth: one of these, or VT_HOLDER_SITES and the site's id. */
enum { VT_HOLDER_AT_START, VT_HOLDER_UNSEEN, VT_HOLDER_NO_STACK, VT_HOLDER_SITES };

struct vt_whatif {
	struct vt_whatif_asked asked;
	uint32_t kernel; /* whose rules; 0: as recorded */
	struct vt_limits limits;
	bool commit_unknown; /* the machine's charge was not recorded */
	uint64_t others_kb;  /* charged to other processes at the start */

	uint64_t calls;      /* looked at */
	uint64_t refused;    /* would fail */
	uint64_t failed_too; /* of those: failed in the recording, too */
	uint64_t by_rule[VT_RULE_COUNT];
	struct vt_event first; /* if refused */
	struct vt_refusal why;
	struct vt_totals then; /* without the recorder's share, before the first failure */
	struct vt_totals own;  /* the recorder's share then, or at the end */
	uint64_t shared_then;  /* pages charged for shared anonymous memory */
	struct vt_frame_text *frames;
	size_t n_frames;
	const struct vt_site *site;
	struct vt_whatif_holder *holders; /* most first */
	size_t n_holders, cap_holders;
	uint64_t held; /* by all of them */

	/* of whatif_run.c */
	struct vt_sites *sites;
	struct vt_births births;
	struct vt_own_share share;
	struct vt_shared_objects *shared;
	bool others_known;
};

/* Replay the trace; fills all but asked. 0 or -ENOMEM. */
int vt_whatif_run(struct vt_whatif *w, struct vt_trace *t);
void vt_whatif_free(struct vt_whatif *w);

/* Who holds what a rule counts, at this moment (whatif_holders.c). */
void vt_whatif_hold(struct vt_whatif *w, const struct vt_replay *r, enum vt_rule rule);

/* whatif_print.c, whatif_json.c */
void vt_whatif_print(FILE *out, const struct vt_whatif *w, const struct vt_trace *t, size_t top);
struct json_object *vt_whatif_json(const struct vt_whatif *w, const struct vt_trace *t, size_t top);

/* What the answer rests on: sentences, NULL after the last; each to be freed. */
char **vt_whatif_assumptions(const struct vt_whatif *w, const struct vt_trace *t);

#endif
