/*
 * whatif_run.c - the replay that asks of every call whether the kernel would have refused it.
 *
 * Owns the commit charge of shared anonymous memory, which belongs to the object and not to its
 * mappings: charged whole when it is made, given back when its last page is unmapped.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <sys/mman.h>

#include "alloc.h"
#include "whatif.h"

/* Shared anonymous objects by file id: pages charged, and mapped now. */
struct vt_shared_objects {
	struct {
		uint64_t charged, mapped;
	} * v;
	uint32_t n;
};

static bool is_shared_anonymous(const struct vt_trace *t, uint32_t file)
{
	return file && file < t->n_files && t->files[file].kind == VT_FILE_SHM_ANON;
}

static void hold_object(struct vt_shared_objects *s, uint32_t file)
{
	if (file < s->n)
		return;
	uint32_t n = s->n;
	s->n = file < 512 ? 1024 : file * 2;
	s->v = vt_realloc(s->v, s->n, sizeof(*s->v));
	memset(s->v + n, 0, (s->n - n) * sizeof(*s->v));
}

/* Pieces of shared anonymous memory come and go. */
static void observe(void *ctx, const struct vt_event *ev, const struct vt_extent *x, uint64_t start,
		    uint64_t end, enum vt_piece_fate fate)
{
	struct vt_whatif *w = ctx;
	struct vt_shared_objects *s = w->shared;
	uint64_t pages = (end - start) >> VT_PAGE_SHIFT;
	(void)ev;
	if (!x->file || x->file >= s->n || !s->v[x->file].charged)
		return;
	if (fate == VT_PIECE_BORN) {
		s->v[x->file].mapped += pages;
		return;
	}
	if (fate != VT_PIECE_UNMAPPED && fate != VT_PIECE_CLOBBERED && fate != VT_PIECE_LOST)
		return;
	s->v[x->file].mapped -= pages < s->v[x->file].mapped ? pages : s->v[x->file].mapped;
	if (!s->v[x->file].mapped) {
		w->limits.shared -= s->v[x->file].charged;
		s->v[x->file].charged = 0;
	}
}

/* A call that makes a shared anonymous object charges all of it. */
static void charge_object(struct vt_whatif *w, const struct vt_trace *t, const struct vt_event *e)
{
	bool noreserve = e->a[3] & MAP_NORESERVE && w->limits.overcommit != VT_OVERCOMMIT_NEVER;
	if (e->kind != VT_MMAP || vt_is_error(e->ret) || noreserve ||
	    !is_shared_anonymous(t, e->file))
		return;
	hold_object(w->shared, e->file);
	if (w->shared->v[e->file].charged)
		return;
	w->shared->v[e->file].charged = (e->a[1] + VT_PAGE_SIZE - 1) >> VT_PAGE_SHIFT;
	w->limits.shared += w->shared->v[e->file].charged;
}

static uint64_t meta_pages(const struct vt_trace *t, const char *key, uint64_t fallback_kb)
{
	return vt_trace_meta_u64(t, key, fallback_kb) >> (VT_PAGE_SHIFT - 10);
}

/* What was asked for, and for the rest of the overcommit policy what the trace has. */
static void set_limits(struct vt_whatif *w, const struct vt_trace *t)
{
	const struct vt_whatif_asked *a = &w->asked;
	const uint64_t no = VT_NO_LIMIT;
	uint64_t caps =
	    vt_trace_meta_u64(t, "cap_effective", vt_trace_meta_u64(t, "uid", 1) ? 0 : UINT64_MAX);
	struct vt_limits *l = &w->limits;
	*l = (struct vt_limits){ .as = a->as,
				 .data = a->data,
				 .memlock = a->memlock,
				 .stack = a->stack,
				 .max_map_count = a->max_map_count };
	l->commit = a->overcommit != no || a->ram != no || a->swap != no || a->ratio != no ||
		    a->kbytes != no || a->admin_reserve != no || a->user_reserve != no;
	l->overcommit = (enum vt_overcommit)(
	    a->overcommit != no ? a->overcommit : vt_trace_meta_u64(t, "overcommit_memory", 0));
	l->ram = a->ram != no ? a->ram >> VT_PAGE_SHIFT : meta_pages(t, "mem_total_kb", 0);
	l->swap = a->swap != no ? a->swap >> VT_PAGE_SHIFT : meta_pages(t, "swap_total_kb", 0);
	l->huge = meta_pages(t, "hugetlb_kb", 0);
	l->ratio = a->ratio != no ? a->ratio : vt_trace_meta_u64(t, "overcommit_ratio", 50);
	/* one of the two sysctls is 0: setting one clears the other */
	uint64_t kbytes = a->ratio != no ? 0 : vt_trace_meta_u64(t, "overcommit_kbytes", 0);
	l->allowed = (a->kbytes != no ? a->kbytes : kbytes) >> (VT_PAGE_SHIFT - 10);
	l->admin_reserve = a->admin_reserve != no ? a->admin_reserve >> VT_PAGE_SHIFT
						  : meta_pages(t, "admin_reserve_kbytes", 8192);
	l->user_reserve = a->user_reserve != no ? a->user_reserve >> VT_PAGE_SHIFT
						: meta_pages(t, "user_reserve_kbytes", 131072);
	l->ipc_lock = caps >> 14 & 1;
	l->sys_admin = caps >> 21 & 1;
	l->data_segment = vt_trace_meta_u64(t, "data_segment", 0);
}

/* Once the model shows the start: what the machine had charged to everybody else. */
static void set_others(struct vt_whatif *w, const struct vt_replay *r)
{
	uint64_t all = meta_pages(r->trace, "committed_as_kb", 0);
	uint64_t ours = r->model.totals.committed - w->limits.leave_out.committed;
	w->commit_unknown = !vt_trace_meta(r->trace, "committed_as_kb");
	w->limits.others = all > ours ? all - ours : 0;
	w->others_kb = w->limits.others << (VT_PAGE_SHIFT - 10);
}

/* A limit that the program lowers for itself holds; it cannot raise it above what was asked. */
static void follow_setrlimit(struct vt_whatif *w, const struct vt_replay *r,
			     const struct vt_event *e)
{
	const struct vt_model_config *c = &r->model.config;
	struct vt_limits *l = &w->limits;
	if (e->kind != VT_SETRLIMIT || e->ret)
		return;
#define LOWER(which, now)                                                                          \
	if (w->asked.which != VT_NO_LIMIT)                                                         \
	l->which = (now) < w->asked.which ? (now) : w->asked.which
	LOWER(as, c->rlimit_as);
	LOWER(data, c->rlimit_data);
	LOWER(memlock, c->rlimit_memlock);
	LOWER(stack, c->rlimit_stack);
#undef LOWER
}

static void keep_stack(struct vt_whatif *w, const struct vt_replay *r, const struct vt_event *e)
{
	struct vt_frame_text f[VT_MAX_FRAMES];
	size_t n = vt_stack_frames(w->sites, r, e, f, VT_MAX_FRAMES);
	w->site = vt_site_of(w->sites, r, e);
	if (!n)
		return;
	w->frames = vt_realloc(NULL, n, sizeof(*f));
	memcpy(w->frames, f, n * sizeof(*f));
	w->n_frames = n;
}

static void subtract(struct vt_totals *t, const struct vt_totals *own)
{
#define LESS(counter) t->counter -= own->counter < t->counter ? own->counter : t->counter
	LESS(total_vm);
	LESS(data_vm);
	LESS(exec_vm);
	LESS(stack_vm);
	LESS(locked_vm);
	LESS(committed);
	LESS(map_count);
#undef LESS
}

/* The state that the first call to fail met, or the end's. */
static void take_state(struct vt_whatif *w, const struct vt_replay *r, enum vt_rule rule)
{
	w->then = r->model.totals;
	subtract(&w->then, &w->limits.leave_out);
	w->own = w->limits.leave_out;
	w->shared_then = w->limits.shared;
	vt_whatif_hold(w, r, rule);
}

static void refuse(struct vt_whatif *w, const struct vt_event *e, const struct vt_refusal *why)
{
	if (!w->refused) {
		w->first = *e;
		w->why = *why;
	}
	w->refused++;
	w->failed_too += vt_is_error(e->ret);
	w->by_rule[why->rule]++;
}

/* Whether an event is a call of the program that a limit can have a say in. */
static bool is_judged(const struct vt_event *e)
{
	if (e->flags & (VT_EV_OWN | VT_EV_UNDONE | VT_EV_LATE))
		return false;
	bool other_error =
	    vt_is_error(e->ret) && e->ret != -ENOMEM && e->ret != -EAGAIN && e->ret != -EPERM;
	return !other_error;
}

static void take_event(struct vt_whatif *w, const struct vt_replay *r, const struct vt_event *e)
{
	const struct vt_site *site = vt_site_of(w->sites, r, e);
	if (vt_gives_birth(e) && !(e->flags & VT_EV_OWN))
		vt_births_add(&w->births, e->seq,
			      e->kind == VT_UNSEEN_MAP ? VT_HOLDER_UNSEEN
			      : site                   ? VT_HOLDER_SITES + site->id
						       : VT_HOLDER_NO_STACK);
	if (w->refused && w->first.seq == e->seq)
		keep_stack(w, r, e);
	follow_setrlimit(w, r, e);
}

/* Before an item is applied: whether the kernel would have refused the call. */
static bool refuses(struct vt_whatif *w, const struct vt_replay *r, const struct vt_item *next,
		    struct vt_refusal *why)
{
	bool refused = r->started && is_judged(&next->event) &&
		       vt_limits_refuse(&r->model, &w->limits, &next->event, why);
	if (refused && !w->refused)
		take_state(w, r, why->rule);
	return refused;
}

/* After it: also for splits, of which only the result is known; areas: there were before. */
static void judge(struct vt_whatif *w, const struct vt_replay *r, const struct vt_event *e,
		  bool refused, uint64_t areas, struct vt_refusal *why)
{
	w->calls += is_judged(e) && vt_kind_is_call(e->kind);
	if (!refused && is_judged(e)) {
		refused = vt_limits_refuse_split(&r->model, &w->limits, e, areas, why);
		if (refused && !w->refused)
			take_state(w, r, why->rule);
	}
	if (refused)
		refuse(w, e, why);
	take_event(w, r, e);
}

/* What is left out, and the others' charge, as the address space now is. */
static void follow_share(struct vt_whatif *w, const struct vt_replay *r, const struct vt_item *item)
{
	if (item->type == VT_ITEM_EVENT && !(item->event.flags & VT_EV_OWN))
		return;
	w->limits.leave_out = vt_own_share_count(&w->share, r);
	if (!w->others_known && r->started) {
		set_others(w, r);
		w->others_known = true;
	}
}

static bool step(struct vt_whatif *w, struct vt_replay *r)
{
	struct vt_item item;
	struct vt_refusal why;
	const struct vt_item *next = vt_replay_peek(r);
	bool call = next && next->type == VT_ITEM_EVENT;
	bool refused = call && refuses(w, r, next, &why);
	uint64_t areas = r->model.totals.map_count;
	if (call)
		charge_object(w, r->trace, &next->event);
	if (vt_replay_next(r, &item) == VT_ITEM_END)
		return false;
	vt_sites_follow(w->sites, r, &item);
	follow_share(w, r, &item);
	if (call)
		judge(w, r, &item.event, refused, areas, &why);
	return true;
}

int vt_whatif_run(struct vt_whatif *w, struct vt_trace *t)
{
	struct vt_replay r;
	int error = vt_replay_init(&r, t);
	if (error)
		return error;
	set_limits(w, t);
	w->sites = vt_sites_new();
	w->shared = vt_calloc(1, sizeof(*w->shared));
	r.model.config.overcommit_memory = (uint8_t)w->limits.overcommit;
	if (w->kernel)
		r.model.ways = vt_kernel_ways_of(w->kernel);
	r.model.observe = observe;
	r.model.observe_ctx = w;
	while (step(w, &r))
		;
	if (!w->refused)
		take_state(w, &r, VT_RULE_NONE);
	vt_replay_fini(&r);
	return 0;
}

void vt_whatif_free(struct vt_whatif *w)
{
	if (w->shared)
		free(w->shared->v);
	free(w->shared);
	free(w->frames);
	free(w->holders);
	vt_births_free(&w->births);
	vt_own_share_free(&w->share);
	vt_sites_free(w->sites);
}
