/*
 * recorder.h - the recorder's one global state and what its parts offer each other.
 *
 * Runs inside the traced process: no malloc, no stdio, no lazy TLS; may be re-entered by a signal.
 * The argument for order, re-entry, fork and crash is in README.md beside this file; the short
 * form, which every function here obeys:
 *
 *   - A call takes its ring slot, and with it its place in the order, without a lock.
 *   - Everything else (model, chunk, definitions, file) is under the recorder lock, which is taken
 *     only with all signals blocked, and never across a system call of the program.
 *   - Nothing is believed by a reader before one aligned 64-bit store commits it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_RECORDER_H
#define VMTRAIL_RECORDER_H

#include "sys.h"
#include <stdatomic.h>
#include <vmtrail/abi.h>
#include <vmtrail/chunk.h>
#include <vmtrail/order.h>

#define vt_likely(x)   __builtin_expect(!!(x), 1)
#define vt_unlikely(x) __builtin_expect(!!(x), 0)

/*
 * The call a thread is about to make, is making or has just made, until its event is committed. A
 * handler that jumps away leaves it behind; the thread's next call finds it and enters the event as
 * undone. A nested call saves the outer one and puts it back.
 */
struct vt_pending {
	struct vt_pending *next; /* of all threads' */
	uint32_t tid, pid;
	void *frame;    /* of vt_call; NULL: no call is pending */
	uint64_t index; /* of its slot, 0: none taken yet */
	uint64_t a[VT_MAX_ARGS];
	uint64_t begin; /* just before the system call */
	uint64_t since; /* begin of the outermost call that is in the kernel; VT_NOT_YET: none is */
	_Atomic uint32_t spare[2]; /* file ids for shared memory, huge pages, that no call used */
	uint32_t stack, file;
	uint8_t kind, flags;
};

#define VT_NOT_YET UINT64_MAX

/* Per thread, initial-exec: never allocated behind our back. */
struct vt_thread {
	uint32_t tid;         /* 0: not seen yet */
	bool name_stale;      /* the thread's name may have changed */
	uint8_t flags;        /* VT_EV_SHARED_VM: no thread of the process */
	uint8_t borrowed;     /* other tasks may run on this thread pointer, see task.c */
	struct vt_range home; /* the stack that is the thread's for life; empty: not known */
	uint8_t home_tries;   /* how often it was sought */
	uint32_t generation;  /* of the trace that knows the thread */
	char *exec_block;     /* memory for the next exec, see env.c */
	size_t exec_size;
	struct vt_pending *pending; /* in the arena, so that others may look at it; NULL: no room */
};
extern __thread struct vt_thread vt_self __attribute__((tls_model("initial-exec")));

/* What the environment asked for; see include/vmtrail/options.h. */
struct vt_options {
	char output[4096];
	char cache[1024]; /* see inline_known.c */
	uint32_t stack_depth;
	uint32_t batch; /* slots waiting before a drain is worth the lock */
	uint64_t snapshot_every;
	uint32_t ring_slots;
	uint32_t stop_on;      /* VT_STOP_* bits */
	uint64_t inline_bytes; /* of a text that may be searched for system calls of its own */
	uint8_t faults;        /* VT_FAULTS_* */
	bool children, smaps, inner;
};

/* vt_thread.borrowed: vfork children under way, and whether a task was made that shares for good.
 */
#define VT_BORROWED_FOR_EVER 0x80

struct vt_arena;
struct vt_stack_entry;
struct vt_known_file;
struct vt_borrower;

/* One slot of a lock-free cache from a 64-bit hash to an id: key is hash ^ id, so it checks itself.
 */
struct vt_cache_slot {
	_Atomic uint64_t key, id;
};
#define VT_CACHE_SLOTS 8192

#define VT_MAX_OWN 32

/* A lock and the stack that its holder runs on; see lock.c. */
struct vt_lock {
	_Atomic uint32_t state; /* who holds it, see lock.c */
	void *stack_top;
};
#define VT_LOCK_STACK (64u << 10)

struct vt_recorder {
	/* Read by every call. */
	_Atomic bool on;              /* recording */
	_Atomic bool full;            /* the file takes no more: calls are only counted as lost */
	_Atomic uint64_t *fork_guard; /* pid in a MADV_WIPEONFORK page: 0 in a new child */
	struct vt_live *live;
	struct vt_slot *ring;
	uint64_t ring_mask;
	struct vt_trace_header *header;
	_Atomic uint64_t usable;      /* slots below this index have their disk blocks */
	_Atomic uint64_t sealed;      /* slots below this index may be taken again */
	_Atomic uint32_t own_calls;   /* of the recorder's own, how many are not in the ring yet */
	_Atomic uint64_t drained;     /* slots below this index are in the model and the chunk */
	_Atomic uint64_t drain_after; /* no drain is worth the lock before this index is taken */
	_Atomic bool sandboxed;       /* a seccomp filter is on: only the calls a mapping needs */
	uint32_t generation;          /* of the trace: how many this memory has seen */
	struct vt_cache_slot *stack_cache, *file_cache;

	struct vt_lock lock, unwind_lock, search_lock;
	uint64_t fork_mask; /* signal mask to restore where the lock is kept, see vt_lock_keep */

	/* Under the lock. */
	struct vt_options options;
	uint32_t pid;
	struct vt_model model;
	bool starved;                     /* memory was refused to others than the model */
	bool broken_noted, starved_noted; /* either stands in the trace */
	struct vt_order order;
	struct vt_chunk chunk;
	uint8_t *chunk_mem, *raw, *packed;
	size_t chunk_bytes, raw_bytes, packed_bytes;
	void *zstd, *zstd_space;
	uint64_t next_seq;
	uint64_t frame_number;
	uint8_t *journal;
	size_t journal_size;
	uint8_t *window;     /* mapped piece of the frames area */
	uint64_t window_off; /* its file offset */
	size_t window_size;
	bool last_window; /* it will not move again: see vt_store_last_window */
	size_t ring_ready, journal_ready, window_ready; /* bytes that have their disk blocks */
	uint64_t frames_limit;
	int fd;            /* of the trace, until it is published */
	bool nameless;     /* it has no name yet */
	bool refused;      /* a frame found no room */
	uint32_t slotless; /* events of the open chunk that have no slot */
	char path[4096];   /* of the trace */
	uint64_t start_ns; /* CLOCK_MONOTONIC at time 0 */
	uint64_t sync_tick, sync_ns, last_tick, last_ns;
	uint32_t snapshots;
	uint64_t snapshot_served, next_interval, heal_not_before;
	bool heal_wanted;
	bool single; /* no other thread can be there: at the start, in a fresh child, at the end */
	struct vt_pending *threads,
	    *thread_hand;                      /* all pending records; where the next is sought */
	struct vt_borrower *_Atomic borrowers; /* tasks that share memory and thread pointer */
	struct vt_stack_entry *stacks;         /* uthash */
	uint32_t n_stacks;
	struct vt_known_file *files; /* uthash */
	uint32_t n_files;
	struct vt_arena *arena;
	uint8_t *helper_stack;
	_Atomic uint32_t helper; /* the task of outside.c, by its tid, and whom it works for */
	struct vt_thread *helper_for;
	bool foreign_pids;               /* tasks of another pid namespace may share the memory */
	struct vt_range own[VT_MAX_OWN]; /* mappings of the recorder at the start */
	uint32_t n_own;
	uint64_t stuck;              /* slot that a drain could not pass last time */
	uint64_t stuck_since;        /* when it was found so, in vt.sync_ns */
	uint64_t text_lo, text_hi;   /* of this library */
	struct vt_range loader;      /* text of the dynamic loader */
	bool sees_fork;              /* the system call that libc's fork makes is redirected */
	bool sees_exec, misses_exec; /* the calls that execute: some, not all */
	bool sees_sigaction, misses_sigaction; /* those that set handlers: some, not all */
	bool sees_altstack;                    /* libc's sigaltstack */
};
extern struct vt_recorder vt;

/* lock.c; vt_on_stack, which runs fn(arg) on the stack that ends at top, is in thunk.S. */
void vt_on_stack(void (*fn)(void *), void *arg, void *top);
void vt_locked(void (*fn)(void *), void *arg);
void vt_locked_if_free(void (*fn)(void *), void *arg);
void vt_unwinding(void (*fn)(void *), void *arg);
void vt_searching(void (*fn)(void *), void *arg);
void vt_lock_keep(void (*fn)(void *), void *arg);
void vt_lock_let_go(void);
bool vt_lock_init(void);
bool vt_lock_reset(void);
bool vt_lock_is_mine(uint32_t tid);

/* arena.c - zeroed memory that is never given back; NULL when the kernel refuses. */
void *vt_arena_alloc(size_t bytes);
void *vt_arena_last(size_t bytes);
bool vt_arena_reserve(size_t bytes);
void vt_arena_keep_ahead(void);
void vt_arena_inherit(void);
const void *vt_arena_end(void);
void *vt_roomy_place(unsigned strides);
long vt_own_mmap(void *addr, size_t len, int prot, int flags, int fd, uint64_t off);
long vt_own_memory(size_t len);
long vt_own_madvise(void *p, size_t len, int advice);
long vt_own_munmap(void *addr, size_t len);

/*
 * ring.c - slots. A claimed slot is finished by vt_slot_done. While its owner writes it for the
 * first time its state has this bit: to a reader it is no slot of any index.
 */
#define VT_SLOT_FILLING (1ull << 63)
static inline bool vt_slot_being_written(uint64_t state)
{
	return state & VT_SLOT_FILLING || (state & 3) == VT_SLOT_FINISHING;
}
struct vt_slot *vt_slot_claim(uint32_t reserve, uint64_t *index);
void vt_slot_begin(struct vt_slot *s, uint64_t index);
bool vt_slot_finish(struct vt_slot *s, uint64_t index);
static inline void vt_slot_done(struct vt_slot *s, uint64_t index)
{
	atomic_store_explicit(&s->state, index << 2 | VT_SLOT_DONE, memory_order_release);
}
long vt_own_call(uint8_t kind, long nr, const uint64_t *a);
void vt_push_with(uint8_t kind, uint8_t flags, const uint64_t *a, long ret, uint32_t stack);
void vt_push(uint8_t kind, uint8_t flags, const uint64_t *a, long ret);

/* call.c - the one path of a recorded call. */
long vt_call(uint8_t kind, uint8_t flags, long nr, long a, long b, long c, long d, long e, long f);
long vt_call_told(uint8_t kind, uint8_t flags, long nr, const long *a, const uint64_t *told);
void vt_call_abandon(void);
void vt_call_left(struct vt_pending *p);
void vt_call_bury(void);
long vt_known_call(uint8_t flags, long nr, long a, long b, long c, long d, long e, long f);
long vt_inner(long nr, long a, long b, long c, long d, long e, long f, uint64_t site_end);

/* pending.c - what other threads' calls are about. Under the lock. */
bool vt_call_may_own(uint64_t index);
const struct vt_pending *vt_call_under_way(const struct vt_pending *after, uint64_t before,
					   struct vt_event *e);
void vt_call_enter_those_away(void);

/* loaded.c - which module holds an address, without the loader's lock. */
struct dl_phdr_info;
void vt_loaded_init(void);
bool vt_loaded_find(const void *addr, struct dl_phdr_info *info);
/*
 * Whether the 8 bytes around addr can be read. The kernel copies a signal set of 8 bytes from the
 * address before it finds that the operation asked for does not exist.
 */
bool vt_readable(const void *addr);
bool vt_peek(void *to, const void *from, size_t n);
#define VT_HEADS     16
#define VT_HEAD_SIZE 8
bool vt_peek_heads(char to[][VT_HEAD_SIZE], const char *const *from, size_t n);

/* indirect.c - calls whose event holds more than their arguments. */
long vt_setrlimit(int resource, const void *new);
long vt_ioctl(uint8_t flags, long fd, long request, long arg);
long vt_indirect_call(uint8_t flags, long nr, const long *a);

/* names.c - names of anonymous memory. */
uint32_t vt_name_at(const char *from);
uint32_t vt_name_of_area(const char *path);
void vt_name_define(uint32_t id);

/* stack.c */
bool vt_abandoned(const void *frame, const void *here);
void vt_stack_init(void);
void vt_stack_home(void *thread);
uint32_t vt_stack_id(void);
uint32_t vt_stack_intern(void **pc, int n);
void vt_stack_define(uint32_t id);
uint32_t vt_stack_frames(uint32_t id, const uint64_t **pc);
void vt_stack_forget(void);

/* files.c */
const char *vt_name_of_fd(int fd, char *path, size_t size);
uint32_t vt_file_of_fd(int fd, uint64_t prot, uint64_t flags);
uint32_t vt_file_new(uint8_t kind, uint64_t ino, const char *path);
uint32_t vt_file_of_segment(int shmid);
uint32_t vt_file_of_path(const char *path);
uint32_t vt_file_of_area(uint64_t dev, uint64_t ino, const char *path, uint32_t expected,
			 bool *unbound);
void vt_file_bind(uint32_t id, uint64_t dev, uint64_t ino);
uint32_t vt_file_current(uint32_t id);
void vt_file_define(uint32_t id);
void vt_files_forget(void);
void vt_modules_define(void);

/* defs.c - definitions: threads, notes. */
bool vt_define(uint8_t type, const struct vt_buf *body, const uint8_t *start);
void vt_thread_seen(struct vt_thread *t);
void vt_thread_made(uint32_t tid, uint64_t tls);
void vt_note(const char *key, const char *value);
void vt_note_once(const char *key, const char *value);

/* store.c - the trace file. */
bool vt_store_init(void);
bool vt_store_open(bool in_child);
bool vt_store_publish(void);
bool vt_store_ring(void);
bool vt_store_last_window(void);
bool vt_store_frame(uint8_t type, const void *raw, size_t len, uint64_t first_seq, uint32_t n);
bool vt_store_cut_frame(uint8_t type, const void *raw, size_t len, uint64_t first_seq, uint32_t n,
			const uint32_t *cuts, size_t n_cuts);
void vt_store_close(void);
void *vt_journal_room(size_t bytes);
void vt_journal_commit(size_t bytes);

/* drain.c - from the ring to the model and the chunk. Under the lock. */
void vt_drain(bool force);
void vt_seal(void);
void vt_emit(struct vt_event *e, uint64_t index);
void vt_drain_if_due(uint64_t index);
void vt_drain_for_room(void);
void vt_end_for_lack_of_room(void);
uint64_t vt_ns_of_tick(uint64_t tick);
void vt_read_clocks(uint64_t *tick, uint64_t *ns);

/* outside.c - work with a descriptor table of its own. */
#define VT_HELPER_STACK (64u << 10)
bool vt_outside(void (*fn)(void *), void *arg);
bool vt_is_alone(void);
long vt_read_file(const char *path, char *buf, size_t size);

/* flux.c - what calls were doing while the kernel's view was read. */
enum vt_flux_state {
	VT_FLUX_ALL_BACK,  /* every range is known */
	VT_FLUX_SOME_AWAY, /* calls are still in the kernel: their ranges are known as far as asked
			    */
	VT_FLUX_UNKNOWN,   /* nothing can be concluded */
};
enum vt_flux_state vt_flux_gather(uint64_t ring_lo, uint64_t end_tick, bool last);
void vt_flux_add(struct vt_range r);
bool vt_flux_anywhere(void);
bool vt_flux_idle(uint64_t ring_lo, uint64_t end_tick);
const struct vt_range *vt_flux_ranges(size_t *n);
uint64_t vt_flux_quiet(uint64_t *lo, uint64_t hi);
bool vt_flux_touches(struct vt_range r);

/* snapshot.c */
void vt_snapshot(uint8_t reason);
void vt_snapshot_adopt(void);
void vt_snapshot_if_asked(void);

/* meta.c */
void vt_meta_write(uint64_t loader_start, uint64_t parent_seq);

/* process.c - start, fork, exec, exit. */
void vt_after_fork(void);
void vt_start_over(void *unused);
void vt_before_exit(long status);
void vt_end(const char *reason, long status);
bool vt_is_mine(void);

/* exec.c - the kernel reads no sixth argument of its calls: there stands the image's file id. */
#define VT_EXEC_FILE 5
long vt_exec(uint8_t how, long nr, long a, long b, long c, long d, long e);

/* env.c */
bool vt_env_keep(char **envp);
void vt_env_stop(void);
void vt_env_restore(char **envp);
char *const *vt_env_hand_on(char *const *envp);

/* fault.c */
void vt_faults_init(void);
void vt_faults_remove(void);
long vt_sigaction(uint8_t how, long sig, long action, long old, long size);

/* altstack.c */
bool vt_altstack_init(void);
void vt_altstack_give(void);
long vt_sigaltstack(long new, long old);

/* task.c - fork, vfork, clone. */
struct vt_thread *vt_borrower(void);
void vt_task_begin(uint8_t how, long nr, long a0);
void vt_task_child(void);
void vt_task_end(uint8_t how, long nr, long a0, long ret);
void vt_task_reset(void);
void vt_task_note_survivors(void);
void vt_fork_prepare(void);

/* Whether the trace knows the thread by its present number. */
static inline bool vt_is_known(const struct vt_thread *t)
{
	return t->generation == vt.generation;
}

/* The calling task's record. */
static inline struct vt_thread *vt_me(void)
{
	return vt_likely(!vt_self.borrowed) ? &vt_self : vt_borrower();
}

/* sandbox.c */
void vt_before_sandbox(bool strict, const void *filter);

/* inner.c */
void vt_inner_install(const char *cache);
bool vt_is_memory_call(uint32_t nr);
bool vt_vectors_can_be_kept(void);
const uint8_t *vt_next_syscall(const uint8_t *at, const uint8_t *end);
void vt_note_site(const char *module, uint64_t base, const uint8_t *at, uint32_t nr,
		  const char *what);

/* inline.c */
void vt_inline_install(uint64_t bytes);
void vt_inline_mapped(uint64_t at, uint64_t len, int fd, uint64_t offset);
void vt_inline_unmapped(uint64_t at, uint64_t len);

/* text.c - building small texts without stdio. */
struct vt_text {
	char *p, *end;
};
void vt_text_str(struct vt_text *t, const char *s);
void vt_text_u64(struct vt_text *t, uint64_t v);
void vt_text_hex(struct vt_text *t, uint64_t v);
void vt_text_escaped(struct vt_text *t, const char *s, size_t n);
bool vt_parse_u64(const char *s, uint64_t *v);
uint64_t vt_scan_hex(const char **p);
uint64_t vt_scan_dec(const char **p);

#endif
