/*
 * whatif_holders.c - who holds what a rule counts: the program's extents by the call site that made
 * them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "whatif.h"

/* Of x's pages, so many of which are the program's, those that the rule counts. */
static uint64_t counted(const struct vt_extent *x, uint64_t pages, enum vt_rule rule,
			const struct vt_trace *t)
{
	bool shared = x->file && x->file < t->n_files &&
		      t->files[x->file].kind == VT_FILE_SHM_ANON && !(x->flags & VT_VM(NORESERVE));
	switch (rule) {
	case VT_RULE_EXPAND_DATA:
	case VT_RULE_BRK_DATA:
		return (x->flags & (VT_VM(WRITE) | VT_VM(SHARED) | VT_VM(GROWSDOWN))) ==
			       VT_VM(WRITE)
			   ? pages
			   : 0;
	case VT_RULE_CAN_MLOCK:
	case VT_RULE_MLOCK_FUTURE:
		return x->flags & VT_VM(LOCKED) ? pages : 0;
	case VT_RULE_STACK:
		return x->flags & VT_VM(GROWSDOWN) ? pages : 0;
	case VT_RULE_MAP_COUNT:
		return x->boundary == VT_BOUNDARY_SPLIT;
	case VT_RULE_COMMIT:
		return x->flags & VT_VM(ACCOUNT) || shared ? pages : 0;
	default:
		return pages;
	}
}

static uint64_t holder_of(const struct vt_whatif *w, uint64_t birth)
{
	uint64_t id;
	if (!birth)
		return VT_HOLDER_AT_START;
	return vt_births_find(&w->births, birth, &id) ? id : VT_HOLDER_NO_STACK;
}

static void add(struct vt_whatif *w, uint64_t id, uint64_t amount)
{
	static const char *const names[VT_HOLDER_SITES] = { "(before the recording)",
							    "(changes that no call explains)",
							    "(no stack recorded)" };
	const struct vt_site *site =
	    id < VT_HOLDER_SITES ? NULL : vt_sites_get(w->sites, (uint32_t)(id - VT_HOLDER_SITES));
	const char *name = site ? NULL : names[id];
	w->held += amount;
	for (size_t i = 0; i < w->n_holders; i++) {
		if (w->holders[i].site == site && w->holders[i].name == name) {
			w->holders[i].amount += amount;
			return;
		}
	}
	w->holders = vt_grow(w->holders, w->n_holders, &w->cap_holders, sizeof(*w->holders));
	w->holders[w->n_holders++] = (struct vt_whatif_holder){ site, name, amount };
}

static int by_amount(const void *pa, const void *pb)
{
	const struct vt_whatif_holder *a = pa, *b = pb;
	return a->amount == b->amount ? 0 : a->amount > b->amount ? -1 : 1;
}

void vt_whatif_hold(struct vt_whatif *w, const struct vt_replay *r, enum vt_rule rule)
{
	for (const struct vt_extent *x = vt_model_first(&r->model); x; x = vt_extent_next(x)) {
		uint64_t pages = (x->end - x->start) >> VT_PAGE_SHIFT;
		uint64_t own = vt_own_share_pages(&w->share, x);
		uint64_t amount = counted(x, pages - own, rule, r->trace);
		if (own < pages && amount && x->special != VT_SPECIAL_VSYSCALL)
			add(w, holder_of(w, x->birth), amount);
	}
	if (w->n_holders)
		qsort(w->holders, w->n_holders, sizeof(*w->holders), by_amount);
}
