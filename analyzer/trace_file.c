/*
 * trace_file.c - opening a trace: its header, the index of its frames, its definitions.
 *
 * Everything is read through pread, never mapped: a running process may cut its file at any moment.
 * Opening reads every frame once, to check it, to place snapshots among the events and to collect
 * the definitions; events are only unpacked while they are delivered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bounds on the live region: far above what a recorder asks for, low enough to copy. */
#define MAX_JOURNAL (256u << 20)
#define MAX_RING    (1u << 20)

static bool fail(struct vt_trace *t, char **error, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static bool fail(struct vt_trace *t, char **error, uint64_t offset, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	char *what = vt_vformat(format, args);
	va_end(args);
	*error = vt_format("%s: offset 0x%llx: %s", t->path, (unsigned long long)offset, what);
	free(what);
	return false;
}

/* One field of the header that must have a certain value. */
static bool expect(struct vt_trace *t, char **error, size_t offset, const char *field,
		   uint64_t expected, uint64_t found)
{
	if (found == expected)
		return true;
	return fail(t, error, offset, "%s: expected %llu, found %llu", field,
		    (unsigned long long)expected, (unsigned long long)found);
}

#define AT(field) offsetof(struct vt_trace_header, field)

static bool check_live(struct vt_trace *t, char **error)
{
	const struct vt_trace_header *h = &t->header;

	/* The recorder closes a trace by cutting the live region off; the header stays as it was.
	 */
	if (t->header.live_off >= vt_reader_of(t)->file_size)
		t->header.live_off = 0;
	if (!h->live_off)
		return true;
	if (h->live_off < h->frames_off || h->live_off > INT64_MAX / 2)
		return fail(t, error, AT(live_off), "live region: offset 0x%llx makes no sense",
			    (unsigned long long)h->live_off);
	if (!h->ring_slots || h->ring_slots > MAX_RING || h->ring_slots & (h->ring_slots - 1))
		return fail(t, error, AT(ring_slots),
			    "ring slots: expected a power of two up to %u, found %u", MAX_RING,
			    h->ring_slots);
	if (h->journal_size > MAX_JOURNAL)
		return fail(t, error, AT(journal_size),
			    "journal: expected at most %u bytes, found %u", MAX_JOURNAL,
			    h->journal_size);
	return expect(t, error, AT(slot_size), "slot size", sizeof(struct vt_slot), h->slot_size);
}

/* Read the header and check it. A process that is just closing its trace may be met half-way. */
static bool read_header(struct vt_trace *t, char **error)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_trace_header *h = &t->header;
	struct stat st;
	uint32_t crc = 0;

	for (int tries = 0; tries < 3; tries++) {
		if (fstat(r->fd, &st) < 0)
			return fail(t, error, 0, "%s", strerror(errno));
		if (!S_ISREG(st.st_mode))
			return fail(t, error, 0, "not a regular file");
		r->file_size = (uint64_t)st.st_size;
		if (r->file_size < VT_HEADER_SIZE)
			return fail(t, error, 0,
				    "expected a header of %u bytes, found a file of %llu bytes",
				    VT_HEADER_SIZE, (unsigned long long)r->file_size);
		if (!vt_pread_full(r->fd, h, sizeof(*h), 0))
			return fail(t, error, 0, "the header cannot be read");
		if (memcmp(h->magic, VT_MAGIC, sizeof(h->magic)))
			return fail(t, error, 0, "not a vmtrail trace: expected magic VMTRAIL");
		crc = vt_crc32(0, h, AT(crc));
		if (crc == h->crc)
			break;
		usleep(1000);
	}
	if ((h->version != 1 &&
	     !expect(t, error, AT(version), "format version", VT_FORMAT_VERSION, h->version)))
		return false;
	if (h->header_size < VT_HEADER_SIZE)
		return expect(t, error, AT(header_size), "header size", VT_HEADER_SIZE,
			      h->header_size);
	if (crc != h->crc)
		return fail(t, error, AT(crc),
			    "header checksum mismatch: expected 0x%08x, found 0x%08x", h->crc, crc);
	if (h->frames_off < h->header_size || h->frames_off > r->file_size)
		return fail(t, error, AT(frames_off), "frames: offset 0x%llx makes no sense",
			    (unsigned long long)h->frames_off);
	return check_live(t, error);
}

/* How far committed frames go; what is missing of them is damage, told when it is reached. */
static void bound_frames(struct vt_trace *t)
{
	struct vt_reader *r = vt_reader_of(t);
	uint64_t end = t->header.frames_end;
	uint64_t limit = t->header.live_off ? t->header.live_off : r->file_size;

	if (limit > r->file_size)
		limit = r->file_size;
	if (end >= t->header.frames_off && end <= limit) {
		r->frames_end = end;
		return;
	}
	vt_trace_damaged(t, AT(frames_end), "frames end: expected at most 0x%llx, found 0x%llx",
			 (unsigned long long)limit, (unsigned long long)end);
	r->frames_end = end < t->header.frames_off ? t->header.frames_off : limit;
}

static void add_mark(struct vt_reader *r, uint64_t before_seq, size_t first, size_t last,
		     uint8_t type)
{
	r->marks = vt_grow(r->marks, r->n_marks, &r->cap_marks, sizeof(*r->marks));
	r->marks[r->n_marks++] = (struct vt_mark){
		.before_seq = before_seq,
		.first = (uint32_t)first,
		.last = (uint32_t)last,
		.type = type,
	};
}

/* The snapshot whose frames are being met: counted when its last one is there. */
struct open_snapshot {
	size_t first;
	uint32_t number;
	bool open;
};

static bool index_snapshot(struct vt_trace *t, struct vt_frame_ref *ref, struct open_snapshot *o)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_snapshot_head head;

	if (ref->head.raw_len < sizeof(head)) {
		vt_frame_damaged(t, ref, "expected a snapshot of at least %zu bytes, found %u",
				 sizeof(head), ref->head.raw_len);
		return false;
	}
	if (!vt_frame_unpack_head(t, ref, sizeof(head), &r->mark_raw))
		return false;
	memcpy(&head, r->mark_raw.p, sizeof(head));
	if (!o->open || o->number != head.number)
		*o = (struct open_snapshot){ r->n_frames, head.number, true };
	if (head.last) {
		uint64_t before = head.seq_lo + 1 ? head.seq_lo + 1 : head.seq_lo;
		add_mark(r, before, o->first, r->n_frames, VT_FRAME_SNAPSHOT);
		o->open = false;
	}
	return true;
}

/* Read the definitions at the head of an EVENTS frame, unpacking no more than they need. */
static bool index_definitions(struct vt_trace *t, struct vt_frame_ref *ref)
{
	struct vt_reader *r = vt_reader_of(t);
	size_t span = 0;

	for (size_t want = 64 << 10; !span; want *= 4) {
		size_t got = vt_frame_unpack_head(t, ref, want, &r->mark_raw);
		if (!got)
			return false;
		span = vt_defs_span(r->mark_raw.p, got);
		if (got < want)
			break;
	}
	struct vt_buf defs = { r->mark_raw.p, r->mark_raw.p + span, false };
	if (!span || !vt_defs_read(t, &defs)) {
		vt_frame_damaged(t, ref, "a definition makes no sense");
		return false;
	}
	return true;
}

static bool index_events(struct vt_trace *t, struct vt_frame_ref *ref)
{
	struct vt_reader *r = vt_reader_of(t);
	const struct vt_frame *f = &ref->head;

	if (r->end_seq && f->first_seq != r->end_seq) {
		vt_frame_damaged(t, ref, "expected event %llu first, found %llu",
				 (unsigned long long)r->end_seq, (unsigned long long)f->first_seq);
		return false;
	}
	if (!f->first_seq || f->first_seq + f->n_events < f->first_seq) {
		vt_frame_damaged(t, ref, "event numbers make no sense");
		return false;
	}
	if (!f->bare && !index_definitions(t, ref))
		return false;
	r->end_seq = f->first_seq + f->n_events;
	r->ring_next = f->ring_next;
	return true;
}

static bool index_text(struct vt_trace *t, struct vt_frame_ref *ref, struct vt_lines *lines)
{
	struct vt_reader *r = vt_reader_of(t);

	if (!vt_frame_unpack(t, ref, &r->mark_raw))
		return false;
	vt_lines_read(lines, (const char *)r->mark_raw.p, ref->head.raw_len);
	return true;
}

static bool index_frame(struct vt_trace *t, struct vt_frame_ref *ref, struct open_snapshot *o)
{
	struct vt_reader *r = vt_reader_of(t);

	if (t->closed) {
		vt_frame_damaged(t, ref, "expected nothing after the END frame");
		return false;
	}
	if ((r->n_frames == 0) != (ref->head.type == VT_FRAME_META)) {
		vt_frame_damaged(t, ref, "expected a META frame first and only there");
		return false;
	}
	switch (ref->head.type) {
	case VT_FRAME_META:
		return index_text(t, ref, &t->meta);
	case VT_FRAME_EVENTS_1:
	case VT_FRAME_EVENTS:
		return index_events(t, ref);
	case VT_FRAME_SNAPSHOT:
		return index_snapshot(t, ref, o);
	case VT_FRAME_KEYFRAME:
		add_mark(r, ref->head.first_seq, r->n_frames, r->n_frames, VT_FRAME_KEYFRAME);
		return true;
	default:
		t->closed = index_text(t, ref, &t->end);
		return t->closed;
	}
}

/* Earlier events first; of those before one event, the earlier in the file. */
static int by_seq(const void *a, const void *b)
{
	const struct vt_mark *x = a, *y = b;

	if (x->before_seq != y->before_seq)
		return x->before_seq < y->before_seq ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* Walk the committed frames up to the first that is damaged. Returns whether all are sound. */
static bool index_frames(struct vt_trace *t)
{
	struct vt_reader *r = vt_reader_of(t);
	struct open_snapshot snapshot = { 0 };
	bool sound = true;

	r->ring_next = 1;
	for (uint64_t at = t->header.frames_off; at < r->frames_end;) {
		struct vt_frame_ref ref = { .at = at };
		sound = vt_frame_load(t, &ref, r->n_frames) && index_frame(t, &ref, &snapshot);
		if (!sound)
			break;
		r->frames = vt_grow(r->frames, r->n_frames, &r->cap_frames, sizeof(*r->frames));
		r->frames[r->n_frames++] = ref;
		at += sizeof(struct vt_frame) + ref.head.stored_len;
	}
	if (r->n_marks)
		qsort(r->marks, r->n_marks, sizeof(*r->marks), by_seq);
	t->size = r->frames_end + (t->header.live_off ? t->header.live_size : 0);
	if (sound && !t->closed && !t->header.live_off)
		vt_trace_damaged(t, r->frames_end, "expected an END frame, found the file's end");
	return sound;
}

/* The kinds as the recorder knew them must be those of the table here. */
static bool check_kinds(struct vt_trace *t, char **error)
{
	for (size_t i = 0; i < t->meta.n; i++) {
		char *rest;
		if (strcmp(t->meta.v[i].key, "kind"))
			continue;
		unsigned long n = strtoul(t->meta.v[i].value, &rest, 10);
		rest += *rest == ' ';
		size_t len = strcspn(rest, " ");
		if (n >= VT_KIND_COUNT)
			continue;
		if (strncmp(vt_kinds[n].name, rest, len) || vt_kinds[n].name[len])
			return fail(t, error, t->header.frames_off,
				    "event kind %lu: expected %s, found %.*s", n, vt_kinds[n].name,
				    (int)len, rest);
	}
	return true;
}

/* Read everything but the events. */
static bool load(struct vt_trace *t, char **error)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_live_copy live = { 0 };

	for (int tries = 0; tries < 3; tries++) {
		vt_live_copy_free(&live);
		live = (struct vt_live_copy){ 0 };
		free(t->damage);
		t->damage = NULL;
		if (!read_header(t, error))
			return false;
		uint64_t live_off = t->header.live_off;
		if (live_off)
			vt_live_copy(t, &live);
		if (!read_header(t, error)) {
			vt_live_copy_free(&live);
			return false;
		}
		if (live_off == t->header.live_off)
			break;
	}
	/*
	 * What is wrong with a frame ends the reading earlier, so it is told instead. A trace that
	 * was closed has lost its live region for good.
	 */
	char *cut_live = t->damage;
	t->damage = NULL;
	bound_frames(t);
	char *cut_frames = t->damage;
	t->damage = NULL;
	bool sound = index_frames(t);
	if (!t->damage && cut_frames) {
		t->damage = cut_frames;
		cut_frames = NULL;
	} else if (!t->damage && !t->closed) {
		t->damage = cut_live;
		cut_live = NULL;
	}
	free(cut_live);
	free(cut_frames);
	if (sound && t->header.live_off && !t->closed)
		vt_live_take(t, &live);
	vt_live_copy_free(&live);
	if (r->n_frames)
		return check_kinds(t, error);
	if (!t->damage)
		return fail(t, error, t->header.frames_off, "expected a META frame, found none");
	*error = t->damage;
	t->damage = NULL;
	return false;
}

struct vt_trace *vt_trace_open(const char *path, char **error)
{
	struct vt_trace *t = vt_calloc(1, sizeof(*t));
	struct vt_reader *r = vt_calloc(1, sizeof(*r));

	*error = NULL;
	t->impl = r;
	t->path = vt_strndup(path, strlen(path));
	r->zstd = ZSTD_createDCtx();
	if (!r->zstd)
		vt_out_of_memory();
	ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, 24);
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (r->fd < 0) {
		if (asprintf(error, "%s: %s", path, strerror(errno)) < 0)
			vt_out_of_memory();
	} else if (load(t, error)) {
		vt_trace_rewind(t);
		return t;
	}
	vt_trace_close(t);
	return NULL;
}

void vt_trace_close(struct vt_trace *t)
{
	if (!t)
		return;
	struct vt_reader *r = vt_reader_of(t);
	vt_defs_free(t);
	vt_snapshot_clear(&r->snapshot);
	if (r->fd >= 0)
		close(r->fd);
	ZSTD_freeDCtx(r->zstd);
	free(r->frames);
	free(r->marks);
	free(r->live);
	free(r->journal);
	free(r->stored.p);
	free(r->chunk_raw.p);
	free(r->chunk_new.p);
	free(r->mark_raw.p);
	free(r->extents);
	free(r);
	free(t->path);
	free(t->damage);
	free(t);
}
