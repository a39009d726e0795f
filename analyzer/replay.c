/*
 * replay.c - a trace run through the model, item by item.
 *
 * Owns the model's configuration from the trace's META, the loading of keyframes, and the look
 * ahead that a snapshot needs: events that were under way while it was read follow it in the trace,
 * and the pages they touch must not be compared.
 *
 * SPDX-License-Identifier: MIT
 */
#include "replay.h"
#include "alloc.h"
#include "compare.h"
#include "model_memory.h"
#include <errno.h>

#define RECENT 4096 /* calls that a later one is compared with */
#define LARGE  8192 /* extents that no longer fit into the processor's nearer caches */

/* Items read ahead, oldest first. */
struct vt_queue {
	struct vt_item *items;
	size_t first, n, cap;        /* items[first .. n) are waiting */
	struct vt_snapshot *current; /* handed out last */
	struct vt_extent *extents;
};

/* "6.18.44-generic" as KERNEL_VERSION has it. */
static uint32_t kernel_version(const char *release)
{
	unsigned major = 0, minor = 0, patch = 0;

	if (release)
		sscanf(release, "%u.%u.%u", &major, &minor, &patch);
	return major << 16 | (minor & 255) << 8 | (patch > 255 ? 255 : patch);
}

static struct vt_model_config config_of(const struct vt_trace *t)
{
	const char *thp = vt_trace_meta(t, "thp"), *layout = vt_trace_meta(t, "layout");
	const char *shmem = vt_trace_meta(t, "thp_shmem");
	uint32_t kernel = kernel_version(vt_trace_meta(t, "kernel"));

	return (struct vt_model_config){
		.kernel_version = kernel,
		.task_size = vt_trace_meta_u64(t, "task_size", 0x7ffffffff000),
		.mmap_base = vt_trace_meta_u64(t, "mmap_base", 0),
		.mmap_min_addr = vt_trace_meta_u64(t, "mmap_min_addr", 65536),
		.bottomup = layout && !strcmp(layout, "bottomup"),
		/* __get_unmapped_area calls thp_get_unmapped_area for any kernel with huge pages */
		.thp_align = thp != NULL,
		.shmem_align = shmem && strcmp(shmem, "never") && strcmp(shmem, "deny"),
		.thp_always = thp && !strcmp(thp, "always"),
		.max_map_count = vt_trace_meta_u64(t, "max_map_count", 65530),
		.rlimit_as = vt_trace_meta_u64(t, "rlimit_as", UINT64_MAX),
		.rlimit_data = vt_trace_meta_u64(t, "rlimit_data", UINT64_MAX),
		.rlimit_stack = vt_trace_meta_u64(t, "rlimit_stack", 8 << 20),
		.rlimit_memlock = vt_trace_meta_u64(t, "rlimit_memlock", 8 << 20),
		.stack_guard_gap = vt_trace_meta_u64(t, "stack_guard_gap", 256 * VT_PAGE_SIZE),
		.start_brk = vt_trace_meta_u64(t, "start_brk", 0),
		.brk = vt_trace_meta_u64(t, "brk", 0),
		.overcommit_memory = (uint8_t)vt_trace_meta_u64(t, "overcommit_memory", 0),
	};
}

int vt_tell_files(const struct vt_trace *t, struct vt_model *m, uint32_t *told)
{
	for (; *told < t->n_files; ++*told) {
		const struct vt_file_def *file = &t->files[*told];
		if (file->kind && vt_model_set_file(m, *told, file->kind))
			return -ENOMEM;
		/* major 0: of no block device, as tmpfs and memfd, and file systems that stack */
		if (file->kind == VT_FILE_REGULAR && !(file->dev >> 20))
			vt_model_set_file_in_memory(m, *told);
	}
	return 0;
}

int vt_replay_init(struct vt_replay *r, struct vt_trace *t)
{
	struct vt_model_config config = config_of(t);

	*r = (struct vt_replay){ .trace = t };
	r->pool = vt_pool_new();
	r->queue = vt_calloc(1, sizeof(*r->queue));
	r->doubt = vt_calloc(1, sizeof(*r->doubt));
	r->order = vt_calloc(1, sizeof(*r->order));
	vt_order_init(r->order, vt_realloc(NULL, RECENT, sizeof(struct vt_placed)), RECENT);
	vt_trace_rewind(t);
	struct vt_memory memory = vt_pool_memory(r->pool);
	if (vt_model_init(&r->model, &config, &memory))
		return -ENOMEM;
	r->model.personality = (uint32_t)vt_trace_meta_u64(t, "personality", 0);
	return vt_tell_files(r->trace, &r->model, &r->n_files);
}

void vt_replay_fini(struct vt_replay *r)
{
	struct vt_queue *q = r->queue;

	for (size_t i = q->first; i < q->n; i++) {
		if (q->items[i].type == VT_ITEM_SNAPSHOT)
			vt_snapshot_free((struct vt_snapshot *)q->items[i].snapshot);
		else if (q->items[i].type == VT_ITEM_KEYFRAME)
			free((void *)q->items[i].extents);
	}
	vt_snapshot_free(q->current);
	free(q->extents);
	free(q->items);
	free(q);
	free(r->pending);
	free(r->doubt->v);
	free(r->doubt);
	free(r->order->recent);
	free(r->order);
	vt_model_fini(&r->model);
	vt_pool_free(r->pool);
}

static bool is_unseen(const struct vt_event *e)
{
	return e->kind == VT_UNSEEN_MAP || e->kind == VT_UNSEEN_UNMAP || e->kind == VT_UNSEEN_AREA;
}

/* Append the trace's next item to the queue, with what it points to. */
static enum vt_item_type read_ahead(struct vt_replay *r)
{
	struct vt_queue *q = r->queue;

	/* those delivered make room for as many as wait, or more */
	if (q->first > q->n / 2) {
		q->n -= q->first;
		memmove(q->items, q->items + q->first, q->n * sizeof(*q->items));
		q->first = 0;
	}
	q->items = vt_grow(q->items, q->n, &q->cap, sizeof(*q->items));
	struct vt_item *item = &q->items[q->n];
	if (vt_trace_next(r->trace, item) == VT_ITEM_END)
		return VT_ITEM_END;
	if (item->type == VT_ITEM_SNAPSHOT) {
		item->snapshot = vt_trace_take_snapshot(r->trace);
	} else if (item->type == VT_ITEM_KEYFRAME) {
		struct vt_extent *copy = vt_calloc(item->n_extents, sizeof(*copy));
		if (item->n_extents)
			memcpy(copy, item->extents, item->n_extents * sizeof(*copy));
		item->extents = copy;
	}
	q->n++;
	return item->type;
}

/* The next item, from the queue if it holds any. */
static enum vt_item_type take(struct vt_replay *r, struct vt_item *item)
{
	struct vt_queue *q = r->queue;

	if (q->first == q->n)
		return vt_trace_next(r->trace, item);
	*item = q->items[q->first++];
	if (item->type == VT_ITEM_SNAPSHOT) {
		vt_snapshot_free(q->current);
		q->current = (struct vt_snapshot *)item->snapshot;
	} else if (item->type == VT_ITEM_KEYFRAME) {
		free(q->extents);
		q->extents = (struct vt_extent *)item->extents;
	}
	return item->type;
}

/* How far behind a snapshot a call is looked for that had begun before it. */
#define LATEST_UNDER_WAY 65536
/* Times of events are interpolated between two readings of the clock. */
#define CLOCK_SLACK_NS 2000

const struct vt_item *vt_replay_ahead(struct vt_replay *r, size_t i)
{
	struct vt_queue *q = r->queue;

	while (q->n - q->first <= i)
		if (read_ahead(r) == VT_ITEM_END)
			return NULL;
	return &q->items[q->first + i];
}

/* Whether a call can change what is counted of the address space. */
static bool changes_counts(const struct vt_event *e)
{
	switch (e->kind) {
	case VT_MSYNC:
	case VT_FORK:
	case VT_VFORK:
	case VT_CLONE:
	case VT_EXECVE:
	case VT_EXIT:
	case VT_FAULT:
		return false;
	default:
		return !is_unseen(e);
	}
}

/*
 * Whether the process may have been killed before everything that was under way while the snapshot
 * was read had been entered. At its own end the recorder accounts for that.
 */
static bool may_be_cut_short(const struct vt_trace *t, const struct vt_snapshot *s)
{
	const char *reason = vt_trace_meta(t, "reason");

	if (s->reason == VT_SNAPSHOT_EXIT || s->reason == VT_SNAPSHOT_EXEC)
		return false;
	return !t->closed || (reason && strcmp(reason, "killed") == 0);
}

/*
 * What the events touch that were under way while the snapshot was read: they are read ahead for
 * it. Those are the ones up to seq_hi, and later ones that had begun before the reading ended: a
 * call takes its number when it is over. Unseen changes right behind the snapshot are what the
 * recorder found by it: they come first and are none of the numbers that seq_hi knows. Where calls
 * had overlapped it may have told only later which of them the kernel did last.
 */
static struct vt_flux flux_of(struct vt_replay *r, struct vt_item *item)
{
	struct vt_queue *q = r->queue;
	struct vt_flux flux = { 0 };
	uint64_t hi = item->snapshot->seq_hi, next = item->snapshot->seq_lo + 1;
	const struct vt_item *later;
	bool last = r->started && may_be_cut_short(r->trace, item->snapshot);

	if (item->snapshot != q->current) {
		vt_snapshot_free(q->current);
		q->current = vt_trace_take_snapshot(r->trace);
		item->snapshot = q->current;
	}
	for (size_t i = 0; (later = vt_replay_ahead(r, i)); i++) {
		const struct vt_event *e = &later->event;
		last &= later->type != VT_ITEM_SNAPSHOT;
		if (later->type != VT_ITEM_EVENT)
			continue;
		if (e->seq == next && is_unseen(e)) {
			next++;
			hi++;
		}
		if (e->seq > hi + LATEST_UNDER_WAY)
			break;
		bool settles = is_unseen(e) && e->aux == VT_UNSEEN_ORDER;
		if (settles || e->seq <= hi ||
		    e->begin_ns <= item->snapshot->time_ns + CLOCK_SLACK_NS) {
			vt_flux_add(&flux, &r->model, e);
			flux.calls |= changes_counts(e);
		}
	}
	/* a call may have been under way whose thread was killed before it could enter it */
	if (last && !later) {
		vt_flux_everything(&flux);
		flux.calls = true;
	}
	return flux;
}

/* The model has been filled: which of it the recorder had mapped for itself before. */
static int begin(struct vt_replay *r)
{
	const struct vt_lines *meta = &r->trace->meta;
	int rc = 0;

	r->started = true;
	for (size_t i = 0; !rc && i < meta->n; i++) {
		unsigned long long lo, hi;
		if (strcmp(meta->v[i].key, "own") == 0 &&
		    sscanf(meta->v[i].value, "0x%llx 0x%llx", &lo, &hi) == 2)
			rc = vt_model_own(&r->model, lo, hi);
	}
	return rc;
}

static int load_snapshot(struct vt_replay *r, struct vt_item *item)
{
	if (!item->snapshot->maps_text)
		return 0;
	struct vt_flux flux = flux_of(r, item);
	int rc = vt_tell_files(r->trace, &r->model, &r->n_files);
	if (!rc)
		rc = vt_compare(r, item->snapshot, &flux);
	free(flux.v);
	return rc || r->started ? rc : begin(r);
}

/* Boundaries in [lo, hi) are not known until the next snapshot tells. */
static void pend(struct vt_replay *r, uint64_t lo, uint64_t hi)
{
	r->pending = vt_grow(r->pending, r->n_pending, &r->cap_pending, sizeof(*r->pending));
	r->pending[r->n_pending++] = (struct vt_range){ lo, hi };
}

/*
 * A keyframe counts only before anything else has filled the model: later ones show what the
 * replay knows. It is a forked child's, whose areas share anon_vmas in ways that no call shows.
 * Boundaries that it leaves undetermined count as such at the next snapshot.
 */
static int load_keyframe(struct vt_replay *r, const struct vt_item *item)
{
	const struct vt_extent *x = item->extents;
	int rc = 0;

	if (r->started)
		return 0;
	r->model.forked = true;
	for (size_t i = 0; !rc && i < item->n_extents; i++) {
		rc = vt_model_restore(&r->model, &x[i]);
		if (x[i].boundary == VT_BOUNDARY_UNDETERMINED)
			pend(r, x[i].start, x[i].start + 1);
	}
	r->locks_known = true; /* a child inherits no locks */
	return rc ? rc : begin(r);
}

/* Where an event strikes, most often. */
static uint64_t place_of(const struct vt_event *e)
{
	return e->kind == VT_MMAP || e->kind == VT_SHMAT ? (uint64_t)e->ret : e->a[0];
}

/*
 * What the search for e's place may end at: in a large address space, looked up for all events
 * together that come next.
 */
static struct vt_extent *hint_for(struct vt_replay *r, const struct vt_event *e)
{
	uint64_t i = e->seq - r->first_hint;

	if (i >= r->n_hints) {
		uint64_t addr[VT_TRACE_BATCH];
		size_t n;
		const struct vt_event *later = vt_trace_upcoming(r->trace, &n);
		for (size_t k = 0; k < n; k++)
			addr[k] = place_of(&later[k]);
		vt_model_find_many(&r->model, addr, n, r->hints);
		r->n_hints = n;
		r->first_hint = n ? later->seq : 0;
		return NULL;
	}
	return r->hints[i];
}

/* Changes that no call made. */
static void pend_unseen(struct vt_replay *r, const struct vt_event *e)
{
	r->verdict.unseen += e->aux == VT_UNSEEN_CHANGE;
	r->verdict.stack_growth += e->aux == VT_UNSEEN_STACK_GROWTH;
	/* it may be a part of a larger area, which the event does not tell */
	if (e->a[0] + e->a[1] > e->a[0])
		pend(r, e->a[0], e->a[0] + e->a[1] + 1);
}

/*
 * What became of a call that never came back is not known, nor at which place in the order a late
 * one took effect: the recorder's model leaves both out, and looks at the kernel.
 */
static void pend_doubt(struct vt_replay *r, const struct vt_event *e)
{
	size_t i = r->doubt->n;

	vt_flux_add(r->doubt, &r->model, e);
	for (; i < r->doubt->n; i++)
		pend(r, r->doubt->v[i].lo, r->doubt->v[i].hi + 1);
}

static int apply(struct vt_replay *r, const struct vt_event *e)
{
	bool placed = e->kind < VT_EXECVE || e->kind == VT_IOCTL;

	r->model.hint = r->model.totals.extents > LARGE ? hint_for(r, e) : NULL;
	if (!placed && is_unseen(e))
		pend_unseen(r, e);
	if (e->flags & (VT_EV_UNDONE | VT_EV_LATE))
		pend_doubt(r, e);
	r->placed += placed;
	int rc = vt_order_apply(r->order, &r->model, e, placed ? r->placed : 0, &r->effect);
	/* flags in doubt may be VM_LOCKED */
	r->locks_known &= !r->order->n_blurred;
	return rc;
}

enum vt_item_type vt_replay_next(struct vt_replay *r, struct vt_item *item)
{
	int rc = 0;

	switch (take(r, item)) {
	case VT_ITEM_EVENT:
		/* a log knows of nothing but its own calls */
		if (!r->started && vt_trace_meta(r->trace, "source"))
			rc = begin(r);
		if (r->due.waits && !is_unseen(&item->event))
			vt_totals_compare(r);
		rc = rc ? rc : apply(r, &item->event);
		break;
	case VT_ITEM_SNAPSHOT:
		vt_totals_compare(r);
		rc = load_snapshot(r, item);
		break;
	case VT_ITEM_KEYFRAME:
		rc = load_keyframe(r, item);
		break;
	case VT_ITEM_END:
		vt_totals_compare(r);
		break;
	}
	if (rc)
		vt_out_of_memory();
	return item->type;
}

const struct vt_item *vt_replay_peek(struct vt_replay *r)
{
	return vt_replay_ahead(r, 0);
}
