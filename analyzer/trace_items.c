/*
 * trace_items.c - a trace's events, snapshots and keyframes, one after the other in their order.
 *
 * Unpacks one chunk of events at a time and decodes straight into the caller's item, or some events
 * ahead where the caller asks what comes next. A snapshot comes before the first event after its
 * seq_lo, wherever its frames stand in the file.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"

/* What most events do not need stands apart from what they do. */
#define SELDOM static __attribute__((noinline))

/* A snapshot's text is bounded: 65,530 areas in smaps are some 50 MB. */
#define MAX_SNAPSHOT (256u << 20)

static void set_mark(struct vt_reader *r, size_t mark)
{
	r->next_mark = mark;
	r->mark_seq = mark < r->n_marks ? r->marks[mark].before_seq : UINT64_MAX;
}

void vt_trace_rewind(struct vt_trace *t)
{
	struct vt_reader *r = vt_reader_of(t);

	r->next_frame = r->next_live = 0;
	r->chunk.n_events = r->chunk.done = 0;
	r->next_batch = r->n_batch = 0;
	r->stopped = false;
	set_mark(r, 0);
}

static enum vt_item_type stop(struct vt_reader *r, struct vt_item *item)
{
	r->stopped = true;
	r->chunk.n_events = r->chunk.done = 0;
	r->next_batch = r->n_batch = 0;
	return item->type = VT_ITEM_END;
}

/* Text of a snapshot's parts, growing. */
struct text {
	char *p;
	size_t n;
};

static void append(struct text *text, const void *p, size_t n)
{
	text->p = vt_realloc(text->p, text->n + n + 1, 1);
	memcpy(text->p + text->n, p, n);
	text->n += n;
	text->p[text->n] = 0;
}

/* Put the texts of a snapshot together from its frames. */
static bool gather(struct vt_trace *t, const struct vt_mark *m, struct vt_snapshot *s)
{
	struct vt_reader *r = vt_reader_of(t);
	struct text text[3] = { 0 };
	size_t total = 0;
	bool ok = true;

	for (size_t i = m->first; ok && i <= m->last; i++) {
		const struct vt_frame_ref *ref = &r->frames[i];
		struct vt_snapshot_head head;
		if (ref->head.type != VT_FRAME_SNAPSHOT)
			continue;
		ok = vt_frame_unpack(t, ref, &r->mark_raw);
		if (!ok)
			break;
		memcpy(&head, r->mark_raw.p, sizeof(head));
		total += ref->head.raw_len;
		if (head.what > VT_SNAP_SMAPS || total > MAX_SNAPSHOT) {
			vt_frame_damaged(t, ref, "a snapshot's part makes no sense");
			ok = false;
			break;
		}
		append(&text[head.what], r->mark_raw.p + sizeof(head),
		       ref->head.raw_len - sizeof(head));
		s->number = head.number;
		s->reason = head.reason;
		s->seq_lo = head.seq_lo;
		s->seq_hi = head.seq_hi;
		s->time_ns = head.time_ns;
	}
	s->status_text = text[VT_SNAP_STATUS].p;
	s->maps_text = text[VT_SNAP_MAPS].p;
	s->smaps_text = text[VT_SNAP_SMAPS].p;
	return ok;
}

static enum vt_item_type next_snapshot(struct vt_trace *t, const struct vt_mark *m,
				       struct vt_item *item)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_snapshot *s = &r->snapshot;

	vt_snapshot_clear(s);
	if (!gather(t, m, s))
		return stop(r, item);
	const char *wrong = s->maps_text ? vt_snapshot_parse(t, s) : NULL;
	if (wrong) {
		vt_frame_damaged(t, &r->frames[m->first], "snapshot %u: %s", s->number, wrong);
		return stop(r, item);
	}
	item->snapshot = s;
	return item->type = VT_ITEM_SNAPSHOT;
}

struct vt_snapshot *vt_trace_take_snapshot(struct vt_trace *t)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_snapshot *s = vt_calloc(1, sizeof(*s));

	*s = r->snapshot;
	r->snapshot = (struct vt_snapshot){ 0 };
	return s;
}

void vt_snapshot_free(struct vt_snapshot *s)
{
	if (!s)
		return;
	vt_snapshot_clear(s);
	free(s);
}

/* What a keyframe says of an extent, made safe to use. */
static bool check_extent(const struct vt_trace *t, struct vt_extent *x)
{
	if (x->boundary > VT_BOUNDARY_UNDETERMINED || x->special > VT_SPECIAL_OTHER)
		return false;
	if (x->file && (x->file >= t->n_files || !t->files[x->file].kind))
		return false;
	if (x->stack >= t->n_stacks || !t->stacks[x->stack].pc)
		x->stack = 0;
	return true;
}

static enum vt_item_type next_keyframe(struct vt_trace *t, const struct vt_mark *m,
				       struct vt_item *item)
{
	struct vt_reader *r = vt_reader_of(t);
	const struct vt_frame_ref *ref = &r->frames[m->first];

	if (!vt_frame_unpack(t, ref, &r->mark_raw))
		return stop(r, item);
	struct vt_buf b = { r->mark_raw.p, r->mark_raw.p + ref->head.raw_len, false };
	uint64_t prev_end = 0;
	size_t n = 0;
	while (b.p < b.end) {
		r->extents = vt_grow(r->extents, n, &r->cap_extents, sizeof(*r->extents));
		vt_codec_extent(&b, false, &r->extents[n], &prev_end);
		if (b.bad || !check_extent(t, &r->extents[n])) {
			vt_frame_damaged(t, ref, "extent %zu makes no sense", n);
			return stop(r, item);
		}
		n++;
	}
	item->extents = r->extents;
	item->n_extents = n;
	return item->type = VT_ITEM_KEYFRAME;
}

SELDOM enum vt_item_type next_mark(struct vt_trace *t, struct vt_item *item)
{
	struct vt_reader *r = vt_reader_of(t);
	const struct vt_mark *m = &r->marks[r->next_mark];

	set_mark(r, r->next_mark + 1);
	if (m->type == VT_FRAME_SNAPSHOT)
		return next_snapshot(t, m, item);
	return next_keyframe(t, m, item);
}

static bool has_events(const struct vt_frame_ref *ref)
{
	return ref->head.type == VT_FRAME_EVENTS || ref->head.type == VT_FRAME_EVENTS_1;
}

/* Unpack the next EVENTS frame. 1: there is one, 0: there are no more, -1: damage. */
SELDOM int next_chunk(struct vt_trace *t)
{
	struct vt_reader *r = vt_reader_of(t);

	while (r->next_frame < r->n_frames && !has_events(&r->frames[r->next_frame]))
		r->next_frame++;
	if (r->next_frame == r->n_frames)
		return 0;
	r->chunk_frame = r->next_frame++;
	const struct vt_frame_ref *ref = &r->frames[r->chunk_frame];
	if (!vt_frame_unpack(t, ref, &r->chunk_raw))
		return -1;
	uint32_t len = ref->head.raw_len;
	size_t span = vt_defs_span(r->chunk_raw.p, len);
	struct vt_buf b = { r->chunk_raw.p + span, r->chunk_raw.p + len, false };
	bool old = ref->head.type == VT_FRAME_EVENTS_1;
	if ((old && !vt_chunk_upgrade(&b, &r->chunk_new, &b)) || !vt_chunk_open(&r->chunk, &b) ||
	    b.p != b.end) {
		vt_frame_damaged(t, ref, "its columns make no sense");
		return -1;
	}
	if (r->chunk.n_events != ref->head.n_events || r->chunk.first_seq != ref->head.first_seq) {
		vt_frame_damaged(t, ref, "expected %u events from %llu, found %llu from %llu",
				 ref->head.n_events, (unsigned long long)ref->head.first_seq,
				 (unsigned long long)r->chunk.n_events,
				 (unsigned long long)r->chunk.first_seq);
		return -1;
	}
	return 1;
}

/* Whether a stack has a definition. Most often all have: then the first ones are not looked up. */
SELDOM bool is_defined(const struct vt_trace *t, uint32_t stack)
{
	struct vt_reader *r = vt_reader_of(t);

	while (r->known_stacks < t->n_stacks && (!r->known_stacks || t->stacks[r->known_stacks].pc))
		r->known_stacks++;
	return !stack || (stack < t->n_stacks && t->stacks[stack].pc);
}

/*
 * Make an event's ids safe to use. A stack that no definition has (it was being written when the
 * process died) is a stack not known; a file must be known, or the replay would go wrong.
 */
static inline bool check_ids(const struct vt_trace *t, struct vt_event *e)
{
	if (e->stack >= vt_reader_of(t)->known_stacks && !is_defined(t, e->stack))
		e->stack = 0;
	return !e->file || (e->file < t->n_files && t->files[e->file].kind);
}

SELDOM enum vt_item_type unknown_file(struct vt_trace *t, struct vt_item *item, uint64_t offset)
{
	vt_trace_damaged(t, offset, "event %llu: file %u is not defined",
			 (unsigned long long)item->event.seq, item->event.file);
	return stop(vt_reader_of(t), item);
}

static enum vt_item_type next_live(struct vt_trace *t, struct vt_item *item)
{
	struct vt_reader *r = vt_reader_of(t);

	if (r->next_live == r->n_live)
		return r->next_mark < r->n_marks ? next_mark(t, item) : (item->type = VT_ITEM_END);
	if (r->mark_seq <= r->live[r->next_live].seq)
		return next_mark(t, item);
	item->event = r->live[r->next_live++];
	if (!check_ids(t, &item->event))
		return unknown_file(t, item, t->header.live_off);
	return item->type = VT_ITEM_EVENT;
}

const struct vt_event *vt_trace_upcoming(struct vt_trace *t, size_t *n)
{
	struct vt_reader *r = vt_reader_of(t);

	if (r->next_batch == r->n_batch) {
		r->next_batch = r->n_batch = 0;
		while (r->n_batch < VT_TRACE_BATCH &&
		       vt_chunk_next(&r->chunk, &r->batch[r->n_batch]) > 0)
			r->n_batch++;
	}
	*n = r->n_batch - r->next_batch;
	return &r->batch[r->next_batch];
}

SELDOM enum vt_item_type bad_event(struct vt_trace *t, struct vt_item *item)
{
	struct vt_reader *r = vt_reader_of(t);
	const struct vt_frame_ref *ref = &r->frames[r->chunk_frame];

	vt_frame_damaged(t, ref, "event %llu of %u makes no sense",
			 (unsigned long long)r->chunk.done, ref->head.n_events);
	return stop(r, item);
}

enum vt_item_type vt_trace_next(struct vt_trace *t, struct vt_item *item)
{
	struct vt_reader *r = vt_reader_of(t);

	bool ahead = r->next_batch < r->n_batch;
	while (!ahead && r->chunk.done == r->chunk.n_events) {
		int rc = r->stopped ? -1 : next_chunk(t);
		if (rc < 0)
			return stop(r, item);
		if (rc == 0)
			return next_live(t, item);
	}
	uint64_t seq = ahead ? r->batch[r->next_batch].seq : r->chunk.first_seq + r->chunk.done;
	if (r->mark_seq <= seq)
		return next_mark(t, item);
	if (ahead)
		item->event = r->batch[r->next_batch++];
	else if (!vt_chunk_get(&r->chunk, &item->event))
		return bad_event(t, item);
	if (!check_ids(t, &item->event))
		return unknown_file(t, item, r->frames[r->chunk_frame].at);
	return item->type = VT_ITEM_EVENT;
}

const char *vt_trace_meta(const struct vt_trace *t, const char *key)
{
	const struct vt_lines *lines[] = { &t->meta, &t->end };

	for (int l = 0; l < 2; l++)
		for (size_t i = 0; i < lines[l]->n; i++)
			if (!strcmp(lines[l]->v[i].key, key))
				return lines[l]->v[i].value;
	return NULL;
}

uint64_t vt_trace_meta_u64(const struct vt_trace *t, const char *key, uint64_t fallback)
{
	const char *s = vt_trace_meta(t, key);
	char *rest;

	if (!s)
		return fallback;
	if (!strncmp(s, "unlimited", 9))
		return UINT64_MAX;
	uint64_t v = strtoull(s, &rest, 0);
	return rest == s ? fallback : v;
}

const struct vt_thread_def *vt_trace_thread(const struct vt_trace *t, uint32_t tid)
{
	struct vt_thread_key *key;

	HASH_FIND(hh, vt_reader_of(t)->thread_keys, &tid, sizeof(tid), key);
	return key ? &t->threads[key->index] : NULL;
}

const char *vt_trace_thread_name(const struct vt_trace *t, uint32_t tid)
{
	const struct vt_thread_def *def = vt_trace_thread(t, tid);

	return def ? def->name : "";
}
