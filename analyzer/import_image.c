/*
 * import_image.c - the queue of an image's events, its model, and its trace.
 *
 * The trace is begun with the first event that is complete, so that what is learnt on the way (the
 * heap's start) can stand in its metadata.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_image.h"

#include "alloc.h"
#include "model_memory.h"
#include "record_output.h"
#include "trace_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define LEVEL 1 /* of zstd: a log has to be read in this time, too */

static struct vt_model *new_model(struct vt_pool *pool)
{
	const struct vt_memory memory = vt_pool_memory(pool);
	const struct vt_model_config config = {
		.task_size = 0x7ffffffff000,
		.max_map_count = 65530,
		.rlimit_as = UINT64_MAX,
		.rlimit_data = UINT64_MAX,
		.rlimit_stack = 8 << 20,
		.rlimit_memlock = 8 << 20,
		.stack_guard_gap = 256 * VT_PAGE_SIZE,
	};
	struct vt_model *m = vt_calloc(1, sizeof(*m));

	if (vt_model_init(m, &config, &memory))
		vt_out_of_memory();
	return m;
}

struct vt_image *vt_image_new(struct vt_import_output *out, uint32_t pid, bool wanted)
{
	struct vt_image *i = vt_calloc(1, sizeof(*i));

	i->pid = pid;
	i->first = 1;
	i->wanted = wanted;
	i->fd = -1;
	if (out->models) {
		i->pool = vt_pool_new();
		i->model = new_model(i->pool);
	}
	return i;
}

/* Tell a model of a file before it is used. */
static void tell_file(const struct vt_import_output *out, struct vt_model *m, uint32_t file)
{
	enum vt_file_kind kind = vt_names_file_of(out->names, file)->kind;
	if (file && vt_model_set_file(m, file, kind))
		vt_out_of_memory();
}

struct vt_image *vt_image_fork(struct vt_import_output *out, const struct vt_image *parent,
			       uint32_t pid, bool wanted)
{
	struct vt_image *i = vt_image_new(out, pid, wanted);

	i->exe = parent->exe ? vt_strndup(parent->exe, strlen(parent->exe)) : NULL;
	i->cmd = parent->cmd ? vt_strndup(parent->cmd, strlen(parent->cmd)) : NULL;
	i->files = vt_calloc(parent->cap_files, sizeof(*i->files));
	i->cap_files = parent->cap_files;
	i->n_files = parent->n_files;
	if (i->n_files)
		memcpy(i->files, parent->files, i->n_files * sizeof(*i->files));
	i->first_brk = parent->first_brk;
	i->first = vt_image_next(parent);
	i->forked_after = i->first - 1;
	if (!parent->model)
		return i;
	i->model->config = parent->model->config;
	for (struct vt_extent *x = vt_model_first(parent->model); x; x = vt_extent_next(x)) {
		tell_file(out, i->model, x->file);
		if (vt_model_restore(i->model, x))
			vt_out_of_memory();
	}
	if (vt_model_become_child(i->model))
		vt_out_of_memory();
	return i;
}

uint64_t vt_image_next(const struct vt_image *i)
{
	return i->first + i->n_queue;
}

struct vt_placed *vt_image_at(struct vt_image *i, uint64_t seq)
{
	return &i->queue[seq - i->first];
}

uint64_t vt_image_place(struct vt_image *i, const struct vt_event *e, bool done)
{
	i->queue = vt_grow(i->queue, i->n_queue, &i->cap_queue, sizeof(*i->queue));
	i->queue[i->n_queue] = (struct vt_placed){ *e, done };
	return i->first + i->n_queue++;
}

/* A definition being put together. */
struct body {
	uint8_t bytes[16384];
	struct vt_buf b;
};

static struct body *begin(struct body *d)
{
	d->b = (struct vt_buf){ d->bytes, d->bytes + sizeof(d->bytes), false };
	return d;
}

static void put_text(struct body *d, const char *text)
{
	size_t n = strlen(text);
	vt_put_str(&d->b, text, n < 4096 ? n : 4096);
}

static void end(struct vt_image *i, uint8_t type, struct body *d)
{
	vt_writer_define(&i->writer, type, &d->b, d->bytes);
}

static void define_file(const struct vt_import_output *out, struct vt_image *i, uint32_t file)
{
	struct body d;
	if (!file || !vt_bits_add(&i->known_files, file))
		return;
	const struct vt_import_file *f = vt_names_file_of(out->names, file);
	begin(&d);
	vt_put_varint(&d.b, file);
	vt_put_varint(&d.b, f->kind);
	vt_put_varint(&d.b, 0);
	vt_put_varint(&d.b, f->ino);
	put_text(&d, f->path);
	end(i, VT_DEF_FILE, &d);
}

static void define_frame(const struct vt_import_output *out, struct vt_image *i, uint32_t frame)
{
	struct body d;
	if (!vt_bits_add(&i->known_frames, frame))
		return;
	const struct vt_import_frame *f = vt_names_frame_of(out->names, frame);
	begin(&d);
	vt_put_varint(&d.b, vt_frame_address(frame));
	put_text(&d, f->path);
	put_text(&d, f->function);
	vt_put_varint(&d.b, f->offset);
	end(i, VT_DEF_SYMBOL, &d);
}

static void define_stack(const struct vt_import_output *out, struct vt_image *i, uint32_t stack)
{
	struct body d;
	uint64_t previous = 0;
	if (!stack || !vt_bits_add(&i->known_stacks, stack))
		return;
	const struct vt_import_stack *s = vt_names_stack_of(out->names, stack);
	for (uint32_t k = 0; k < s->n; k++)
		define_frame(out, i, s->frames[k]);
	begin(&d);
	vt_put_varint(&d.b, stack);
	vt_put_varint(&d.b, s->n);
	vt_put_varint(&d.b, 0);
	vt_put_varint(&d.b, 0);
	for (uint32_t k = 0; k < s->n; k++) {
		uint64_t pc = vt_frame_address(s->frames[k]);
		vt_put_varint(&d.b, vt_zigzag((int64_t)(pc - previous)));
		previous = pc;
	}
	end(i, VT_DEF_STACK, &d);
}

void vt_image_thread(struct vt_image *i, uint32_t tid, struct vt_slice name)
{
	size_t n = (size_t)(name.end - name.p);
	struct vt_import_thread t = { .tid = tid };

	memcpy(t.name, name.p, n < sizeof(t.name) ? n : sizeof(t.name));
	i->threads = vt_grow(i->threads, i->n_threads, &i->cap_threads, sizeof(*i->threads));
	i->threads[i->n_threads++] = t;
}

static void define_threads(struct vt_image *i)
{
	for (size_t k = 0; k < i->n_threads; k++) {
		const struct vt_import_thread *t = &i->threads[k];
		struct body d;
		begin(&d);
		vt_put_varint(&d.b, t->tid);
		vt_put_str(&d.b, t->name, strnlen(t->name, sizeof(t->name)));
		end(i, VT_DEF_THREAD, &d);
	}
	i->n_threads = 0;
}

static void fail(struct vt_import_output *out, const char *path, const char *why)
{
	if (!out->error)
		out->error = vt_format("%s: %s", path, why);
}

/* A line of META; what could break it is escaped. */
static void meta(FILE *f, const char *key, const char *value)
{
	fprintf(f, "%s ", key);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", f);
		else if (*value == '\\')
			fputs("\\\\", f);
		else
			fputc(*value, f);
	}
	fputc('\n', f);
}

static void write_meta(const struct vt_import_output *out, struct vt_image *i)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		vt_out_of_memory();
	meta(f, "source", out->source);
	fprintf(f, "pid %u\n", i->pid);
	if (i->forked_after)
		fprintf(f, "forked_after %llu\n", (unsigned long long)i->forked_after);
	if (i->exe)
		meta(f, "exe", i->exe);
	if (i->cmd)
		meta(f, "cmd", i->cmd);
	if (out->kernel)
		meta(f, "kernel", out->kernel);
	fprintf(f, "page_size %lu\n", VT_PAGE_SIZE);
	if (i->first_brk)
		fprintf(f, "start_brk %#llx\nbrk %#llx\n", (unsigned long long)i->first_brk,
			(unsigned long long)i->first_brk);
	for (int k = 0; k < VT_KIND_COUNT; k++)
		fprintf(f, "kind %d %s\n", k, vt_kinds[k].name);
	if (fclose(f))
		vt_out_of_memory();
	vt_writer_frame(&i->writer, VT_FRAME_META, text, n, i->writer.next_seq, 0);
	free(text);
}

static void define_all(const struct vt_import_output *out, struct vt_image *i)
{
	for (struct vt_extent *x = vt_model_first(i->model); x; x = vt_extent_next(x)) {
		define_file(out, i, x->file);
		define_stack(out, i, x->stack);
	}
	vt_writer_flush(&i->writer);
}

/* A forked child begins with what its parent had. */
static void write_keyframe(struct vt_image *i)
{
	uint8_t *raw = vt_calloc(VT_MAX_RAW, 1);
	struct vt_buf b = { raw, raw + VT_MAX_RAW, false };
	uint64_t previous = 0;

	for (struct vt_extent *x = vt_model_first(i->model); x && b.end - b.p >= 128;
	     x = vt_extent_next(x))
		vt_codec_extent(&b, true, x, &previous);
	vt_writer_frame(&i->writer, VT_FRAME_KEYFRAME, raw, (size_t)(b.p - raw), i->writer.next_seq,
			0);
	free(raw);
}

/* The name for the image's trace: this process may have left one already, before an exec. */
static char *choose_name(const struct vt_import_output *out, const struct vt_image *i)
{
	char *name = vt_record_name(out->pattern, (pid_t)i->pid, i->exe ? i->exe : "unknown");

	if (!name)
		vt_out_of_memory();
	size_t n = strlen(name), stem = n > 4 && !strcmp(name + n - 4, ".vmt") ? n - 4 : n;
	char *next = vt_strndup(name, n);
	for (int k = 2; out->several && access(next, F_OK) == 0; k++) {
		free(next);
		next = vt_format("%.*s.%d%s", (int)stem, name, k, name + stem);
	}
	free(name);
	return next;
}

/* Begin the trace: header room, metadata, the state that a child starts with. */
static void begin_trace(struct vt_import_output *out, struct vt_image *i)
{
	char *why = NULL, *name;

	if (!out->several &&
	    !vt_record_make_room(out->pattern, (pid_t)i->pid, i->exe ? i->exe : "unknown", &why)) {
		if (out->error)
			free(why);
		else
			out->error = why ? why : vt_format("out of memory");
		i->wanted = false;
		return;
	}
	name = choose_name(out, i);
	i->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (i->fd < 0) {
		fail(out, name, strerror(errno));
		i->wanted = false;
		free(name);
		return;
	}
	i->path = name;
	vt_writer_init(&i->writer, i->fd, VT_HEADER_SIZE, 0, i->forked_after + 1, LEVEL);
	write_meta(out, i);
	if (i->forked_after && i->model) {
		define_all(out, i);
		write_keyframe(i);
	}
}

/* What can be known of the heap comes with the first brk, which is the process's or the loader's.
 */
static void learn(struct vt_image *i, const struct vt_event *e)
{
	if (e->kind != VT_BRK || i->first_brk || vt_is_error(e->ret) || e->a[0])
		return;
	i->first_brk = (uint64_t)e->ret;
	if (i->model)
		i->model->config.start_brk = i->model->config.brk = i->first_brk;
}

static void write_event(struct vt_import_output *out, struct vt_image *i, struct vt_event *e)
{
	learn(i, e);
	if (i->wanted && !i->path)
		begin_trace(out, i);
	if (i->wanted) {
		define_threads(i);
		define_file(out, i, e->file);
		define_stack(out, i, e->stack);
		vt_writer_event(&i->writer, e);
		out->n_events++;
	}
	if (i->model) {
		struct vt_effect effect;
		tell_file(out, i->model, e->file);
		if (!(e->flags & VT_EV_UNDONE) && vt_model_apply(i->model, e, &effect))
			vt_out_of_memory();
	}
}

void vt_image_advance(struct vt_import_output *out, struct vt_image *i)
{
	while (i->head < i->n_queue && i->queue[i->head].done) {
		struct vt_event *e = &i->queue[i->head].event;
		e->seq = i->first + i->head++;
		write_event(out, i, e);
	}
	if (i->head && (i->head == i->n_queue || i->head > 65536)) {
		i->first += i->head;
		i->n_queue -= i->head;
		memmove(i->queue, i->queue + i->head, i->n_queue * sizeof(*i->queue));
		i->head = 0;
	}
}

/* The header last: before, the file is no trace. */
static void write_header(struct vt_import_output *out, struct vt_image *i)
{
	struct vt_trace_header h = {
		.version = VT_FORMAT_VERSION,
		.header_size = VT_HEADER_SIZE,
		.frames_off = VT_HEADER_SIZE,
		.slot_size = sizeof(struct vt_slot),
		.pid = i->pid,
		.start_realtime_ns = out->start_ns,
	};

	memcpy(h.magic, VT_MAGIC, sizeof(h.magic));
	h.crc = vt_crc32(0, &h, offsetof(struct vt_trace_header, crc));
	h.frames_end = i->writer.at;
	if (i->writer.error)
		fail(out, i->path, i->writer.error);
	else if (!vt_pwrite_full(i->fd, &h, sizeof(h), 0))
		fail(out, i->path, strerror(errno));
}

static void close_trace(struct vt_image *i)
{
	vt_writer_fini(&i->writer);
	close(i->fd);
	free(i->path);
	i->path = NULL;
}

static void free_image(struct vt_image *i)
{
	if (i->path)
		close_trace(i);
	if (i->model)
		vt_model_fini(i->model);
	free(i->model);
	vt_pool_free(i->pool);
	vt_bits_free(&i->known_files);
	vt_bits_free(&i->known_stacks);
	vt_bits_free(&i->known_frames);
	free(i->threads);
	free(i->queue);
	free(i->files);
	free(i->exe);
	free(i->cmd);
	free(i);
}

void vt_image_unwanted(struct vt_import_output *out, struct vt_image *i)
{
	i->wanted = false;
	if (!i->path)
		return;
	unlink(i->path);
	out->n_events -= i->writer.next_seq - 1 - i->forked_after;
	close_trace(i);
}

void vt_image_finish(struct vt_import_output *out, struct vt_image *i, const char *end_text)
{
	for (size_t k = i->head; k < i->n_queue; k++) {
		if (!i->queue[k].done)
			i->queue[k].event.flags |= VT_EV_UNDONE;
		i->queue[k].done = true;
	}
	vt_image_advance(out, i);
	if (i->path) {
		char *text = vt_format("%sevents %llu\nlost 0\n", end_text,
				       (unsigned long long)i->writer.next_seq - 1);
		vt_writer_flush(&i->writer);
		vt_writer_frame(&i->writer, VT_FRAME_END, text, strlen(text), i->writer.next_seq,
				0);
		free(text);
		write_header(out, i);
		out->n_traces++;
		free(out->last_path);
		out->last_path = vt_strndup(i->path, strlen(i->path));
	}
	free_image(i);
}
