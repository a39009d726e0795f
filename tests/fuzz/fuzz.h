/*
 * fuzz.h - the model fuzzer's shared words.
 *
 * A worker process (a fork of the fuzzer, one for each seed) makes random memory calls on itself by
 * raw system calls, applies each to a shadow model of itself and compares the model with what the
 * kernel shows. The first process only starts workers, and shrinks what they find: it hands a list
 * of operations to fresh workers. Operations name addresses relative to windows and to earlier
 * results, so that a list keeps its meaning when some of it is left out.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <vmtrail/model.h>

#include "kernel_view.h"
#include "random.h"

#define FUZZ_WINDOWS   7
#define FUZZ_SLOTS     8
#define FUZZ_SEGMENTS  3
#define FUZZ_UFFDS     2
#define FUZZ_MAX_FILES 65536
#define FUZZ_CHILD_OPS 24   /* operations of a forked child, at most */
#define FUZZ_TRACE     4096 /* events kept of a replay, for printing */
#define FUZZ_TEXT      65536

/* What an operation's addresses count from. */
enum fuzz_base {
	BASE_ABS,
	BASE_WINDOW,
	BASE_SLOT = BASE_WINDOW + FUZZ_WINDOWS, /* where the kernel put an earlier mapping */
	BASE_COUNT = BASE_SLOT + FUZZ_SLOTS,
};

/* Operations beside the event kinds: what no call shows, and settling by the kernel's list. */
enum fuzz_kind {
	FUZZ_READ = VT_KIND_COUNT,
	FUZZ_WRITE,
	FUZZ_SETTLE,
	FUZZ_KIND_COUNT,
};

/* The files that mappings are made of; the order is that of fuzz_world.object. */
enum fuzz_object {
	OBJECT_NONE, /* anonymous */
	OBJECT_FILE,
	OBJECT_FILE_DUP,   /* the same open file description under another number */
	OBJECT_FILE_AGAIN, /* the same file, opened a second time */
	OBJECT_FILE_RDONLY,
	OBJECT_FILE_WRONLY,
	OBJECT_MEMFD,
	OBJECT_ZERO, /* /dev/zero */
	OBJECT_PIPE,
	OBJECT_BAD, /* a closed descriptor */
	OBJECT_COUNT,
};

/*
 * One operation. a[] as in struct vt_event, but that the first argument of class ADDR counts from
 * base[0] and the second from base[1]. object: a descriptor (mmap) or segment (shmat).
 */
struct fuzz_op {
	uint64_t a[VT_MAX_ARGS];
	uint8_t kind; /* enum vt_kind or fuzz_kind */
	uint8_t object;
	uint8_t base[2]; /* enum fuzz_base */
	uint8_t slot;    /* where to keep the address returned: its number + 1, 0: nowhere */
};

/* What can be found wrong; bits of fuzz_options.checks by 1 << value. */
enum fuzz_check {
	CHECK_NONE,
	CHECK_BYTES,
	CHECK_BOUNDARIES,
	CHECK_FLAGS,
	CHECK_TOTALS,
	CHECK_TREE,
	CHECK_CONTRADICTION,
	CHECK_PLACEMENT,
	CHECK_CRASH, /* the worker died or hung; also a broken model */
	CHECK_COUNT,
};
extern const char *const fuzz_check_names[CHECK_COUNT];

struct fuzz_options {
	uint64_t seed, seeds, ops, seconds;
	uint64_t full_every;   /* operations between comparisons of the whole map */
	uint64_t smaps_every;  /* between those of flags and totals */
	uint64_t settle_every; /* between settlings, with touches */
	uint32_t checks;
	uint64_t persona; /* personality(2) of the run */
	bool touch, verbose, shrink, bottomup;
	unsigned threads;
	uint32_t weight[FUZZ_KIND_COUNT];
};

struct fuzz_window {
	uint64_t base, pages;
};

struct fuzz_object_info {
	int fd;
	uint32_t file; /* file id: one for each open file description */
	enum vt_file_kind kind;
};

struct fuzz_segment {
	int id;
	uint32_t file;
	uint64_t bytes;
};

/* What all workers find when they start. Written before the first fork only. */
struct fuzz_world {
	struct fuzz_options options;
	struct fuzz_window window[FUZZ_WINDOWS];
	struct fuzz_object_info object[OBJECT_COUNT];
	struct fuzz_segment segment[FUZZ_SEGMENTS];
	struct vt_model_config config;
	struct vt_range own[32]; /* the worker itself: no operation may reach it */
	size_t n_own;
	uint32_t next_file;
	int scratch;          /* a file of one byte: reading or writing it touches a page of ours */
	int pidfd;            /* of the worker */
	int uffd[FUZZ_UFFDS]; /* the worker's */
};

enum {
	WINDOW_PLAIN,
	WINDOW_TOP, /* where the kernel places things by itself */
	WINDOW_BRK, /* right above the heap */
	WINDOW_LOW, /* where MAP_32BIT searches */
	WINDOW_HUGE,
	WINDOW_SEALED, /* the only one that mseal strikes */
	WINDOW_ZERO,   /* the bottom of the address space */
};

/* Which file a mapping must show, by file id. */
struct fuzz_ident {
	uint64_t dev, ino;
	bool known;
};

/* One of the model's boundaries before it was settled. */
struct fuzz_boundary {
	uint64_t addr;
	uint8_t boundary; /* enum vt_boundary */
};

struct fuzz_stats {
	uint64_t ops, skipped, settled, undetermined;
	uint64_t placements, placement_hits;
	uint64_t reread;    /* ranges read again, as the model could not know */
	uint64_t unordered; /* ranges that tickets could not order */
	uint64_t ok[FUZZ_KIND_COUNT], failed[FUZZ_KIND_COUNT];
};

struct fuzz_failure {
	uint32_t check;       /* enum fuzz_check */
	uint64_t op;          /* index of the operation */
	char text[FUZZ_TEXT]; /* what is wrong, and both lists */
};

/* The page run that workers and the first process share. */
struct fuzz_shared {
	/* to the worker */
	uint64_t seed, deadline_ns;
	uint64_t n_replay; /* 0: make up operations; else those in replay[] */
	bool thorough;     /* every comparison after every operation */
	/* from the worker */
	_Atomic uint64_t done;
	struct fuzz_failure failure;
	struct fuzz_stats stats;
	struct vt_event last; /* the event under way */
	uint64_t n_trace;
	struct vt_event trace[FUZZ_TRACE];
	uint32_t trace_op[FUZZ_TRACE];
	char buffer[1 << 20]; /* the kernel's text files are read into it */
	struct kernel_area areas[KERNEL_AREAS];
	struct vt_vma vmas[KERNEL_AREAS];
	struct fuzz_boundary noted[KERNEL_AREAS];
	struct fuzz_ident ident[FUZZ_MAX_FILES];
	uint8_t file_kind[FUZZ_MAX_FILES];   /* enum vt_file_kind */
	struct fuzz_op *log, *replay, *best; /* fuzz_options.ops each; best: shrink.c's */
};

/* One worker's state. */
struct fuzz_worker {
	struct vt_model model;
	struct random random;
	uint64_t at; /* index of the operation */
	uint64_t slot[FUZZ_SLOTS];
	uint64_t brk; /* as the kernel last said */
	uint32_t next_file;
	uint64_t child_of; /* in a forked child: the fork's index + 1 */
	bool touched;      /* a page may have been touched: boundaries may be undetermined */
	bool failed;
};

extern struct fuzz_world world;
extern struct fuzz_shared *shared;

/* world.c: open the files, place the windows, read limits and layout. False: told on stderr. */
bool world_prepare(const struct fuzz_options *options);
/*
 * world.c: in a new worker, or a forked child: the descriptors that stand for the process itself.
 */
bool world_open_self(void);
/* world.c: in a new worker: an empty model, then everything the kernel shows. */
bool world_seed_model(struct fuzz_worker *w);
/* world.c: read a range again from the kernel; with all flags, or what maps shows unless it
 * differs. */
bool world_reread(struct fuzz_worker *w, const struct vt_range *r, bool all_flags);
/* world.c: the same, but take all of it from the kernel, also what agrees: nothing is known of it.
 */
bool world_renew(struct fuzz_worker *w, const struct vt_range *r);
/* world.c: learn from all that agrees what the kernel calls objects that have just been made. */
void world_learn(struct fuzz_worker *w);
uint64_t world_base(const struct fuzz_worker *w, uint8_t base);
/* world.c: the file id of a mapping seen in the kernel's list, a new one if need be. */
uint32_t world_file_of(struct fuzz_worker *w, const struct kernel_area *k);
/* world.c: tell the model a file's kind. */
void world_set_file(struct fuzz_worker *w, uint32_t file, enum vt_file_kind kind);
/* world.c: a fresh id, its kind told to the model. 0: no more. */
uint32_t world_new_file(struct fuzz_worker *w, enum vt_file_kind kind);

/* generate.c: make up the next operation. */
struct fuzz_op generate_op(struct fuzz_worker *w);

/* execute.c: do it, apply it, compare. Sets w->failed and shared->failure. */
void execute_op(struct fuzz_worker *w, const struct fuzz_op *op);
/*
 * execute.c: the call alone. execute_prepare fills ev but for its result, and is false when the
 * call must not be made; execute_call makes it and returns its result.
 */
bool execute_prepare(struct fuzz_worker *w, const struct fuzz_op *op, struct vt_event *ev);
int64_t execute_call(const struct vt_event *ev);

/*
 * child.c: fork; the child compares itself with the model's idea of a child and goes on with
 * ev->a[1] calls made up from ev->a[0]. Returns the fork's result when the child has ended.
 */
int64_t child_fork(struct fuzz_worker *w, const struct vt_event *ev);

/* compare.c: each returns false and fills shared->failure at a difference. */
bool compare_range(struct fuzz_worker *w, uint64_t lo, uint64_t hi);
/* Whether the model holds [lo, hi) just as the kernel's area k, which covers it, as far as k tells.
 */
bool same_as_area(const struct fuzz_worker *w, const struct kernel_area *k, uint64_t lo,
		  uint64_t hi);
bool compare_tree(struct fuzz_worker *w);
bool compare_flags_and_totals(struct fuzz_worker *w);
/* Take the kernel's boundaries; in the exempt ranges the model may have been wrong. */
bool settle(struct fuzz_worker *w, const struct vt_range *exempt, size_t n_exempt);
/* compare.c: note a failure; lists both sides' areas around addr. Returns false. */
bool fail_at(struct fuzz_worker *w, enum fuzz_check check, uint64_t addr, const char *what, ...)
    __attribute__((format(printf, 4, 5)));

/* worker.c: run a worker to its end in a child process; true: it found nothing. */
bool worker_run(uint64_t seed, const struct fuzz_op *replay, uint64_t n_replay, bool thorough);

/* shrink.c: find a shorter list that fails the same way; returns its length in shared->replay. */
uint64_t shrink(uint64_t seed);
/* print.c: one event as an initializer; the last replay as a test case in source. */
void print_event(const struct vt_event *ev);
void print_case(uint64_t seed, uint64_t n);

/* worker.c: whether the run's time is over; a replay takes what it takes. */
bool worker_is_late(void);

/* threads.c: the second mode, in a worker: start the threads before the model is seeded. */
void threads_start(unsigned threads);
void threads_run(struct fuzz_worker *w);

static inline bool check_on(enum fuzz_check check)
{
	return world.options.checks & 1u << check;
}

#endif
