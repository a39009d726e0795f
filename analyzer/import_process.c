/*
 * import_process.c - tasks, the address spaces they share, and the calls they have in hand.
 *
 * The order of events is that of preload/README.md: a call that gives memory up stands where it
 * began, any other where it ended; strace prints both places when other lines come between.
 *
 * SPDX-License-Identifier: MIT
 */
#include "import_process.h"

#include "alloc.h"
#include "import_call.h"
#include "names.h"
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <uthash.h>

#define DAY_NS   86400000000000u
#define MOST_FDS (1u << 20)

struct vt_task {
	UT_hash_handle hh;
	uint32_t tid, process;
	struct vt_image *image;
	char comm[16];

	/* The call cut in two by <unfinished ...>; kind is VT_CALL_NONE without one. */
	int kind;
	char *held;
	size_t n_held, cap_held;
	uint64_t begin_ns;
	uint64_t place; /* number of its event, 0: none yet */
	uint64_t next;  /* the image's next number when it began */
	bool had_child; /* its child has been seen */

	struct vt_event fault; /* the last signal's; kind VT_FAULT if it may be the end */
};

/* The size of a System V segment. */
struct vt_segment {
	UT_hash_handle hh;
	uint32_t id;
	uint64_t size;
};

/* A call whose end has been read. */
struct call {
	int kind;
	struct vt_slice text; /* arguments and result */
	uint64_t begin_ns, place, next;
};

static bool is_wanted(const struct vt_import *im, uint32_t process)
{
	return im->out.several || process == (im->only ? im->only : im->main_pid);
}

static struct vt_task *find_task(struct vt_import *im, uint32_t tid)
{
	struct vt_task *t = im->last;

	if (t && t->tid == tid)
		return t;
	HASH_FIND(hh, im->tasks, &tid, sizeof(tid), t);
	if (t)
		im->last = t;
	return t;
}

static struct vt_task *add_task(struct vt_import *im, uint32_t tid, uint32_t process,
				struct vt_image *image)
{
	struct vt_task *t = vt_calloc(1, sizeof(*t));

	t->tid = tid;
	t->process = process;
	t->image = image;
	t->kind = VT_CALL_NONE;
	image->n_tasks++;
	HASH_ADD(hh, im->tasks, tid, sizeof(t->tid), t);
	im->n_processes += tid == process;
	return t;
}

/* The task leaves its image, which ends with its last one. */
static void leave(struct vt_import *im, struct vt_image *image, const char *end)
{
	if (!--image->n_tasks)
		vt_image_finish(&im->out, image, end);
}

static void remove_task(struct vt_import *im, struct vt_task *t, const char *end)
{
	struct vt_image *image = t->image;

	if (im->last == t)
		im->last = NULL;
	HASH_DEL(im->tasks, t);
	free(t->held);
	free(t);
	leave(im, image, end);
}

static struct vt_task *child_of(struct vt_import *im, struct vt_task *parent, uint32_t tid,
				uint64_t flags)
{
	struct vt_task *old = find_task(im, tid);
	uint32_t process = flags & CLONE_THREAD ? parent->process : tid;
	struct vt_image *image = parent->image;

	if (old) /* its end is not in the log */
		remove_task(im, old, "reason log\n");
	if (!(flags & (CLONE_VM | CLONE_THREAD)))
		image = vt_image_fork(&im->out, image, tid, is_wanted(im, process));
	return add_task(im, tid, process, image);
}

/* The flags among clone's or clone3's arguments. */
static uint64_t clone_flags(int kind, struct vt_slice args)
{
	uint64_t flags = 0;
	const char *at = memmem(args.p, (size_t)(args.end - args.p), "flags=", 6);

	if (kind == VT_VFORK)
		return CLONE_VM | CLONE_VFORK | SIGCHLD;
	if (kind == VT_FORK || !at)
		return SIGCHLD;
	struct vt_slice set = { at + 6, at + 6 };
	while (set.end < args.end && !strchr(",})", *set.end))
		set.end++;
	vt_call_flags(VT_ARG_CLONE, set, &flags);
	return flags;
}

/*
 * A task whose first line is this one: the child of a clone that has not returned yet; or one that
 * was there before the log began, taken for a thread of the first process.
 */
static struct vt_task *new_task(struct vt_import *im, uint32_t tid)
{
	struct vt_task *t, *next, *parent = NULL;

	HASH_ITER (hh, im->tasks, t, next) {
		bool clones = t->kind == VT_FORK || t->kind == VT_VFORK || t->kind == VT_CLONE ||
			      t->kind == VT_CALL_CLONE3;
		if (clones && !t->had_child && (!parent || t->begin_ns >= parent->begin_ns))
			parent = t;
	}
	if (parent) {
		struct vt_slice held = { parent->held, parent->held + parent->n_held };
		parent->had_child = true;
		return child_of(im, parent, tid, clone_flags(parent->kind, held));
	}
	if (!im->main_pid)
		im->main_pid = tid;
	struct vt_task *first = find_task(im, im->main_pid);
	if (first && tid != im->main_pid) {
		im->n_orphans++;
		return add_task(im, tid, first->process, first->image);
	}
	return add_task(im, tid, tid, vt_image_new(&im->out, tid, is_wanted(im, tid)));
}

static struct vt_task *task_of(struct vt_import *im, const struct vt_line *line)
{
	uint32_t tid = line->pid ? line->pid : im->main_pid;
	struct vt_task *t = find_task(im, tid);

	if (!t)
		t = new_task(im, tid);
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

/* Files behind descriptors, where -y did not tell them. */
static void set_file(struct vt_image *i, uint64_t fd, uint64_t file)
{
	if (fd >= MOST_FDS)
		return;
	while (fd >= i->n_files) {
		i->files = vt_grow(i->files, i->n_files, &i->cap_files, sizeof(*i->files));
		i->files[i->n_files++] = 0;
	}
	i->files[fd] = file;
}

static uint64_t get_file(const struct vt_image *i, uint64_t fd)
{
	return fd < i->n_files ? i->files[fd] : 0;
}

static struct vt_slice text_slice(const char *s)
{
	return (struct vt_slice){ s, s + strlen(s) };
}

static void descriptor_call(struct vt_import *im, struct vt_image *i, const struct call *c)
{
	struct vt_slice s = c->text, first = vt_slice_argument(&s), second = { 0 };
	char path[4096], memfd[4200];
	struct vt_result r;
	uint64_t fd = 0;

	if (s.p < s.end && *s.p != ')')
		second = vt_slice_argument(&s);
	while (s.p < s.end && *s.p != ')')
		vt_slice_argument(&s);
	if (!vt_call_result(&s, &r) || !r.known || r.ret < 0)
		return;
	uint64_t out = (uint64_t)r.ret;
	vt_slice_number(&first, &fd);
	switch (c->kind) {
	case VT_CALL_CLOSE:
		set_file(i, fd, 0);
		return;
	case VT_CALL_FCNTL:
		if (!vt_slice_starts(second, "F_DUPFD"))
			return;
		/* fall through */
	case VT_CALL_DUP:
	case VT_CALL_DUP2:
		set_file(i, out, get_file(i, fd));
		return;
	case VT_CALL_MEMFD:
		if (vt_slice_string(first, path, sizeof(path))) {
			snprintf(memfd, sizeof(memfd), "/memfd:%s (deleted)", path);
			set_file(i, out, vt_names_file(im->out.names, text_slice(memfd), false));
		}
		return;
	default:
		if (r.path.p)
			set_file(i, out, vt_names_file(im->out.names, r.path, false));
		else if (vt_slice_string(c->kind == VT_CALL_OPEN ? first : second, path,
					 sizeof(path)))
			set_file(i, out, vt_names_file(im->out.names, text_slice(path), false));
	}
}

static void segment_call(struct vt_import *im, const struct call *c)
{
	struct vt_slice s = c->text;
	struct vt_result r;
	uint64_t size = 0;

	vt_slice_argument(&s);
	struct vt_slice length = vt_slice_argument(&s);
	while (s.p < s.end && *s.p != ')')
		vt_slice_argument(&s);
	if (!vt_slice_number(&length, &size) || !vt_call_result(&s, &r) || r.ret < 0)
		return;
	uint32_t id = (uint32_t)r.ret;
	struct vt_segment *g;
	HASH_FIND(hh, im->segments, &id, sizeof(id), g);
	if (!g) {
		g = vt_calloc(1, sizeof(*g));
		g->id = id;
		HASH_ADD(hh, im->segments, id, sizeof(g->id), g);
	}
	if (size) /* 0: whatever size it has */
		g->size = size;
}

/* The file that a mapping shows. */
static uint32_t file_of(struct vt_import *im, const struct vt_image *i, const struct vt_event *e,
			struct vt_slice path)
{
	bool shared = (e->a[3] & MAP_TYPE) != MAP_PRIVATE;
	char unknown[32];

	if (e->a[3] & MAP_ANONYMOUS) {
		if (e->a[3] & MAP_HUGETLB)
			return vt_names_nameless(im->out.names, VT_FILE_HUGETLB,
						 "/anon_hugepage (deleted)");
		return shared ? vt_names_nameless(im->out.names, VT_FILE_SHM_ANON,
						  "/dev/zero (deleted)")
			      : 0;
	}
	if (!path.p) {
		uint64_t file = get_file(i, e->a[4]);
		snprintf(unknown, sizeof(unknown), "(descriptor %d)", (int)e->a[4]);
		path = text_slice(file ? vt_names_file_of(im->out.names, (uint32_t)file)->path
				       : unknown);
	}
	return vt_names_file(im->out.names, path, shared);
}

static void attach_segment(struct vt_import *im, struct vt_event *e)
{
	uint32_t id = (uint32_t)e->a[0];
	struct vt_segment *g;

	HASH_FIND(hh, im->segments, &id, sizeof(id), g);
	e->a[3] = g ? g->size : 0;
	e->file = vt_names_segment(im->out.names, id);
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
		e->file = file_of(im, t->image, e, path);
	else if (kind == VT_SHMAT)
		attach_segment(im, e);
	else if (kind == VT_PRCTL && *apart && path.p) {
		char name[32];
		if (vt_slice_string(path, name, sizeof(name)))
			vt_image_thread(t->image, t->tid, text_slice(name));
	}
	if (im->page_size > VT_PAGE_SIZE)
		round_lengths(im, e);
	return true;
}

static bool memory_call(struct vt_import *im, struct vt_task *t, const struct call *c)
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

static bool clone_call(struct vt_import *im, struct vt_task *t, const struct call *c)
{
	struct vt_slice s = c->text;
	uint64_t flags = clone_flags(c->kind, s);
	struct vt_result r;

	while (s.p < s.end && *s.p != ')')
		vt_slice_argument(&s);
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
	if (!t->had_child || !find_task(im, (uint32_t)r.ret))
		child_of(im, t, (uint32_t)r.ret, flags);
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

/* The process has a new address space: its other threads are gone. */
static void new_image(struct vt_import *im, struct vt_task *t, char *exe, char *cmd)
{
	struct vt_image *old = t->image, *image;
	struct vt_task *other, *next;

	HASH_ITER (hh, im->tasks, other, next)
		if (other != t && other->process == t->process && other->image == old)
			remove_task(im, other, "reason exec\n");
	image = vt_image_new(&im->out, t->process, is_wanted(im, t->process));
	image->exe = exe;
	image->cmd = cmd;
	image->files = vt_calloc(old->cap_files, sizeof(*image->files));
	image->cap_files = old->cap_files;
	image->n_files = old->n_files;
	if (old->n_files)
		memcpy(image->files, old->files, old->n_files * sizeof(*old->files));
	if (old->pid == t->process && !im->out.several && old->n_tasks == 1)
		vt_image_discard(&im->out, old);
	else
		leave(im, old, "reason exec\n");
	t->image = image;
	image->n_tasks = 1;
	if (t->tid != t->process) { /* the thread that calls becomes the process's first */
		HASH_DEL(im->tasks, t);
		t->tid = t->process;
		HASH_ADD(hh, im->tasks, tid, sizeof(t->tid), t);
	}
}

static bool exec_call(struct vt_import *im, struct vt_task *t, const struct call *c)
{
	struct vt_slice s = c->text, path;
	char exe[4096] = "";
	struct vt_result r;

	if (c->kind == VT_CALL_EXECVEAT)
		vt_slice_argument(&s);
	path = vt_slice_argument(&s);
	struct vt_slice list = vt_slice_argument(&s);
	while (s.p < s.end && *s.p != ')')
		vt_slice_argument(&s);
	if (!vt_call_result(&s, &r))
		return false;
	if (!r.known || r.ret)
		return true;
	vt_slice_string(path, exe, sizeof(exe));
	new_image(im, t, vt_strndup(exe, strlen(exe)), command_of(list));
	return true;
}

static void exit_call(struct vt_import *im, struct vt_task *t, struct vt_slice args)
{
	struct vt_event e = { .kind = VT_EXIT };

	if (t->process == t->image->pid && vt_slice_number(&args, &e.a[0]))
		plain_event(im, t, &e);
}

/* A call that is over. False: it makes no sense. */
static bool end_call(struct vt_import *im, struct vt_task *t, const struct call *c)
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
		segment_call(im, c);
		return true;
	default:
		descriptor_call(im, t->image, c);
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
	struct call c = {
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
	remove_task(im, t, end);
}

static void call_line(struct vt_import *im, const struct vt_line *line, struct vt_slice whole)
{
	int kind = vt_call_kind(line->name);
	bool ok = true;

	if (kind == VT_CALL_NONE)
		return;
	struct vt_task *t = task_of(im, line);
	struct call c = { .kind = kind, .text = line->rest, .begin_ns = im->now_ns };
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
	struct vt_segment *g, *next;

	close_stack(im);
	while (im->tasks)
		remove_task(im, im->tasks, "reason log\n");
	HASH_ITER (hh, im->segments, g, next) {
		HASH_DEL(im->segments, g);
		free(g);
	}
}
