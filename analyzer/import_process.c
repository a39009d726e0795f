/*
 * import_process.c - the lines of a log, one after the other: clocks, calls, stacks, ends.
 *
 * The order of events is that of preload/README.md: a call that gives memory up stands where it
 * began, any other where it ended; strace prints both places when other lines come between.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_process.h"

#include "alloc.h"
#include "import_task.h"
#include "names.h"
#include <sched.h>

#define DAY_NS 86400000000000u

static struct vt_task *task_of(struct vt_import *im, const struct vt_line *line)
{
	uint32_t tid = line->pid ? line->pid : im->main_pid;
	struct vt_task *t = vt_task_find(im, tid);

	if (!t)
		t = vt_task_new(im, tid);
	size_t n = (size_t)(line->comm.end - line->comm.p);
	if (n && n <= sizeof(t->comm) && strncmp(t->comm, line->comm.p, n)) {
		memset(t->comm, 0, sizeof(t->comm));
		memcpy(t->comm, line->comm.p, n);
		vt_image_thread(t->image, t->tid, line->comm);
	}
	return t;
}

/* The call whose stack could follow has none, or has it now. */
static void close_stack(struct vt_import *im)
{
	if (!im->open)
		return;
	struct vt_placed *placed = vt_image_at(im->open, im->open_seq);
	placed->event.stack = vt_names_stack(im->out.names, im->frames, im->n_frames);
	placed->done = true;
	vt_image_advance(&im->out, im->open);
	im->open = NULL;
	im->n_frames = 0;
}

static void read_clock(struct vt_import *im, const struct vt_line *line)
{
	if (line->clock == VT_CLOCK_NONE)
		return;
	uint64_t at = line->ns;
	if (line->clock == VT_CLOCK_RELATIVE) {
		im->now_ns += at;
		return;
	}
	if (im->clock == VT_CLOCK_NONE) {
		im->clock = line->clock;
		im->clock_first = im->clock_last = at;
		im->out.start_ns = at;
	}
	if (line->clock == VT_CLOCK_DAY)
		while (at + DAY_NS / 2 < im->clock_last)
			at += DAY_NS;
	im->clock_last = at;
	im->now_ns = at > im->clock_first ? at - im->clock_first : 0;
}

/* Lengths are in whole pages of the traced machine. */
static void round_lengths(const struct vt_import *im, struct vt_event *e)
{
	const uint8_t *class = vt_kinds[e->kind].arg;

	if (class[0] != VT_ARG_ADDR || e->kind == VT_SETRLIMIT)
		return;
	for (int k = 1; k < VT_MAX_ARGS && class[k]; k++)
		if (class[k] == VT_ARG_LEN)
			e->a[k] = (e->a[k] + im->page_size - 1) & -im->page_size;
}

/* A memory call's arguments as an event; false after telling of a line that makes no sense. */
static bool read_event(struct vt_import *im, struct vt_task *t, int kind, struct vt_slice *s,
		       struct vt_event *e, bool *apart)
{
	struct vt_slice path = { 0 };

	*e = (struct vt_event){ .tid = t->tid };
	if (t->process != t->image->pid)
		e->flags = VT_EV_SHARED_VM;
	if (!vt_call_arguments(kind, s, e, &path, apart))
		return false;
	if (kind == VT_MMAP)
		e->file = vt_mapped_file(im, t->image, e, path);
	else if (kind == VT_SHMAT)
		vt_attached_segment(im, e);
	else if (kind == VT_PRCTL && *apart && path.p) {
		char name[32];
		if (vt_slice_string(path, name, sizeof(name)))
			vt_image_thread(t->image, t->tid, vt_slice_of(name));
	}
	if (im->page_size > VT_PAGE_SIZE)
		round_lengths(im, e);
	return true;
}

static bool memory_call(struct vt_import *im, struct vt_task *t, const struct vt_log_call *c)
{
	struct vt_slice s = c->text;
	struct vt_event e;
	struct vt_result r;
	bool apart;

	if (!read_event(im, t, c->kind, &s, &e, &apart) || !vt_call_result(&s, &r))
		return false;
	if (apart || (c->kind == VT_SETRLIMIT && r.ret))
		return true;
	e.begin_ns = c->begin_ns;
	e.dur_ns = r.dur_ns ? r.dur_ns : im->now_ns > c->begin_ns ? im->now_ns - c->begin_ns : 0;
	e.ret = r.ret;
	if (!r.known && !c->place)
		return true; /* it never came back: nothing is known of it */
	if (!r.known)
		e.flags |= VT_EV_UNDONE;
	if (c->place) {
		e.span = (uint32_t)(vt_image_next(t->image) - 1 - c->place);
		vt_image_at(t->image, c->place)->event = e;
		im->open_seq = c->place;
	} else {
		e.span = (uint32_t)(vt_image_next(t->image) - c->next);
		im->open_seq = vt_image_place(t->image, &e, false);
	}
	im->open = t->image;
	im->n_calls++;
	return true;
}

/* An event without arguments to read: it is complete at once. */
static void plain_event(struct vt_import *im, struct vt_task *t, struct vt_event *e)
{
	e->tid = t->tid;
	e->begin_ns = im->now_ns;
	im->open_seq = vt_image_place(t->image, e, false);
	im->open = t->image;
}

static bool clone_call(struct vt_import *im, struct vt_task *t, const struct vt_log_call *c)
{
	struct vt_slice s = c->text;
	uint64_t flags = vt_clone_flags(c->kind, s);
	struct vt_result r;

	vt_skip_arguments(&s);
	if (!vt_call_result(&s, &r))
		return false;
	if (!r.known || r.ret <= 0)
		return true;
	if (!(flags & CLONE_THREAD)) {
		struct vt_event e = {
			.kind = (uint8_t)(c->kind < VT_KIND_COUNT ? c->kind : VT_CLONE),
			.a = { c->kind == VT_FORK || c->kind == VT_VFORK ? 0 : flags },
			.ret = r.ret,
		};
		plain_event(im, t, &e);
	}
	if (!t->had_child || !vt_task_find(im, (uint32_t)r.ret))
		vt_task_child(im, t, (uint32_t)r.ret, flags);
	return true;
}

/* ["./prog", "-x"] as one line. */
static char *command_of(struct vt_slice list)
{
	char *text = NULL, word[4096];
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		vt_out_of_memory();
	vt_slice_char(&list, '[');
	for (bool first = true; list.p < list.end && *list.p != ']'; first = false) {
		const char *before = list.p;
		struct vt_slice one = vt_slice_argument(&list);
		if (!vt_slice_string(one, word, sizeof(word)))
			break;
		fprintf(f, "%s%s", first ? "" : " ", word);
		if (list.p == before)
			break;
	}
	if (fclose(f))
		vt_out_of_memory();
	return text;
}

static bool exec_call(struct vt_import *im, struct vt_task *t, const struct vt_log_call *c)
{
	struct vt_slice s = c->text, path;
	char exe[4096] = "";
	struct vt_result r;

	if (c->kind == VT_CALL_EXECVEAT)
		vt_slice_argument(&s);
	path = vt_slice_argument(&s);
	struct vt_slice list = vt_slice_argument(&s);
	vt_skip_arguments(&s);
	if (!vt_call_result(&s, &r))
		return false;
	if (!r.known || r.ret)
		return true;
	vt_slice_string(path, exe, sizeof(exe));
	vt_task_exec(im, t, vt_strndup(exe, strlen(exe)), command_of(list));
	return true;
}

static void exit_call(struct vt_import *im, struct vt_task *t, struct vt_slice args)
{
	struct vt_event e = { .kind = VT_EXIT };

	if (t->process == t->image->pid && vt_slice_number(&args, &e.a[0]))
		plain_event(im, t, &e);
}

/* A call that is over. False: it makes no sense. */
static bool end_call(struct vt_import *im, struct vt_task *t, const struct vt_log_call *c)
{
	if (vt_call_is_event(c->kind))
		return memory_call(im, t, c);
	switch (c->kind) {
	case VT_FORK:
	case VT_VFORK:
	case VT_CLONE:
	case VT_CALL_CLONE3:
		return clone_call(im, t, c);
	case VT_EXECVE:
	case VT_CALL_EXECVEAT:
		return exec_call(im, t, c);
	case VT_EXIT:
		exit_call(im, t, c->text);
		return true;
	case VT_CALL_EXIT:
		return true;
	case VT_CALL_SHMGET:
		vt_segment_call(im, c);
		return true;
	default:
		vt_descriptor_call(im, t->image, c);
		return true;
	}
}

static void hold(struct vt_task *t, struct vt_slice text)
{
	size_t n = (size_t)(text.end - text.p);

	while (t->n_held + n > t->cap_held)
		t->held = vt_grow(t->held, t->cap_held, &t->cap_held, 1);
	if (n)
		memcpy(t->held + t->n_held, text.p, n);
	t->n_held += n;
}

static bool begin_call(struct vt_import *im, struct vt_task *t, int kind, struct vt_slice args)
{
	struct vt_event e;
	bool apart;

	vt_task_abandon(t);
	t->kind = kind;
	t->n_held = 0;
	t->begin_ns = im->now_ns;
	t->place = 0;
	t->next = vt_image_next(t->image);
	t->had_child = false;
	hold(t, args);
	if (kind == VT_EXIT) {
		exit_call(im, t, args);
		return true;
	}
	if (!vt_call_is_event(kind) || !vt_kind_releases((uint8_t)kind))
		return true;
	if (!read_event(im, t, kind, &args, &e, &apart))
		return false;
	e.begin_ns = t->begin_ns;
	t->place = vt_image_place(t->image, &e, false);
	return true;
}

static bool resume_call(struct vt_import *im, struct vt_task *t, int kind, struct vt_slice rest)
{
	if (t->kind != kind)
		return !vt_call_is_event(kind); /* its beginning is not in the log */
	hold(t, rest);
	struct vt_log_call c = {
		.kind = kind,
		.text = { t->held, t->held + t->n_held },
		.begin_ns = t->begin_ns,
		.place = t->place,
		.next = t->next,
	};
	t->kind = VT_CALL_NONE;
	return kind == VT_EXIT || end_call(im, t, &c);
}

/* What si_code says, by its name. */
static uint64_t code_of(struct vt_slice s)
{
	static const struct {
		const char *name;
		int code;
	} codes[] = {
		{ "SEGV_MAPERR", 1 }, { "SEGV_ACCERR", 2 }, { "BUS_ADRALN", 1 },
		{ "BUS_ADRERR", 2 },  { "BUS_OBJERR", 3 },  { "SI_KERNEL", 128 },
		{ "SI_USER", 0 },     { "SI_TKILL", -6 },
	};
	uint64_t v = 0;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (vt_slice_starts(s, codes[i].name))
			return (uint64_t)codes[i].code;
	vt_slice_number(&s, &v);
	return v;
}

/* "SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10}": kept, it may be the end. */
static void signal_line(struct vt_task *t, const struct vt_line *line)
{
	const char *p = line->rest.p;
	size_t n = (size_t)(line->rest.end - p);
	const char *code = memmem(p, n, "si_code=", 8), *addr = memmem(p, n, "si_addr=", 8);
	int signo = vt_signal_of_name(line->name.p, (size_t)(line->name.end - line->name.p));

	t->fault = (struct vt_event){ .kind = VT_FAULT, .a = { 0, (uint64_t)signo, 0 } };
	if (code)
		t->fault.a[2] = code_of((struct vt_slice){ code + 8, line->rest.end });
	if (addr) {
		struct vt_slice number = { addr + 8, line->rest.end };
		vt_slice_number(&number, &t->fault.a[0]);
	}
}

/* "+++ exited with 0 +++", "+++ killed by SIGSEGV (core dumped) +++", "+++ superseded ...". */
static void end_line(struct vt_import *im, struct vt_task *t, const struct vt_line *line)
{
	struct vt_slice s = line->rest;
	char end[64];
	uint64_t status = 0;

	if (vt_slice_is(line->name, "superseded"))
		return; /* the exec that does it removes the task */
	if (vt_slice_is(line->name, "killed") && vt_slice_starts(s, " by ")) {
		s.p += 4;
		const char *space = memchr(s.p, ' ', (size_t)(s.end - s.p));
		int signo = vt_signal_of_name(s.p, (size_t)((space ? space : s.end) - s.p));
		snprintf(end, sizeof(end), "reason killed\nsignal %d\n", signo);
		if (t->fault.kind == VT_FAULT && (int)t->fault.a[1] == signo) {
			struct vt_event e = t->fault;
			plain_event(im, t, &e);
			close_stack(im);
		}
	} else {
		s.p += vt_slice_starts(s, " with ") ? 6 : 0;
		vt_slice_number(&s, &status);
		snprintf(end, sizeof(end), "reason exit\nstatus %u\n", (unsigned)status & 255);
	}
	vt_task_remove(im, t, end);
}

static void call_line(struct vt_import *im, const struct vt_line *line, struct vt_slice whole)
{
	int kind = vt_call_kind(line->name);
	bool ok = true;

	if (kind == VT_CALL_NONE)
		return;
	struct vt_task *t = task_of(im, line);
	struct vt_log_call c = { .kind = kind, .text = line->rest, .begin_ns = im->now_ns };
	switch (line->type) {
	case VT_LINE_UNFINISHED:
		ok = begin_call(im, t, kind, line->rest);
		break;
	case VT_LINE_RESUMED:
		ok = resume_call(im, t, kind, line->rest);
		break;
	default:
		c.next = vt_image_next(t->image);
		ok = end_call(im, t, &c);
	}
	if (!ok)
		im->strange(im, whole);
}

void vt_import_line(struct vt_import *im, const char *p, const char *end)
{
	struct vt_slice whole = { p, end };
	struct vt_line line;

	im->n_lines++;
	vt_line_read(&line, p, end);
	if (line.type == VT_LINE_STACK) {
		if (im->open && im->n_frames < VT_MAX_STACK)
			im->frames[im->n_frames++] = vt_names_frame(im->out.names, line.rest);
		return;
	}
	close_stack(im);
	read_clock(im, &line);
	switch (line.type) {
	case VT_LINE_CALL:
	case VT_LINE_UNFINISHED:
	case VT_LINE_RESUMED:
		call_line(im, &line, whole);
		break;
	case VT_LINE_SIGNAL:
		signal_line(task_of(im, &line), &line);
		break;
	case VT_LINE_END:
		end_line(im, task_of(im, &line), &line);
		break;
	case VT_LINE_STRANGE:
		im->strange(im, whole);
		break;
	default:
		break;
	}
}

void vt_import_finish(struct vt_import *im)
{
	close_stack(im);
	while (im->tasks)
		vt_task_remove(im, im->tasks, "reason log\n");
	vt_segments_free(im);
}
