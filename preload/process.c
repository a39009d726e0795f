/*
 * process.c - the recorder's life: start, a forked child's start, exit.
 *
 * Runs inside the traced process. The constructor runs after those of the libraries that the
 * program is linked with and before the program's own. It must not be the first of all (-z
 * initfirst): what it calls of libc has to find it initialised, with the program's arguments and
 * environment.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include "stop.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <vmtrail/abi.h>
#include <vmtrail/options.h>
#include <zstd.h>

#define RECENT        1024        /* calls that a later one is compared with */
#define NOT_FOR_MODEL (64u << 10) /* of the arena: for threads, files and stacks */

static uint64_t loader_start;

static const char *env_value(char **envp, const char *name)
{
	size_t n = strlen(name);
	for (; *envp; envp++)
		if (!strncmp(*envp, name, n) && (*envp)[n] == '=')
			return *envp + n + 1;
	return NULL;
}

static uint64_t option(char **envp, enum vt_option_id id)
{
	const struct vt_option *o = vt_option(id);
	const char *text = env_value(envp, o->env);
	uint64_t v = o->fallback;
	if (text)
		vt_option_value(o, text, &v);
	return v;
}

static void read_options(char **envp)
{
	struct vt_options *o = &vt.options;
	struct vt_text t = { o->output, o->output + sizeof(o->output) - 1 };
	const char *output = env_value(envp, vt_option(VT_OPT_OUTPUT)->env);
	vt_text_str(&t, output && *output ? output : VT_DEFAULT_OUTPUT);
	*t.p = '\0';
	struct stat st;
	if (output && vt_sys4(SYS_newfstatat, AT_FDCWD, output, &st, 0) == 0 &&
	    S_ISDIR(st.st_mode)) {
		vt_text_str(&t, "/" VT_DEFAULT_OUTPUT);
		*t.p = '\0';
	}
	const char *cache = env_value(envp, vt_option(VT_OPT_CACHE)->env);
	t = (struct vt_text){ o->cache, o->cache + sizeof(o->cache) - 1 };
	vt_text_str(&t, cache ? cache : "");
	*t.p = '\0';
	o->stack_depth = (uint32_t)option(envp, VT_OPT_STACKS);
	o->children = option(envp, VT_OPT_CHILDREN);
	o->snapshot_every = option(envp, VT_OPT_SNAPSHOT_EVERY);
	o->smaps = option(envp, VT_OPT_SMAPS);
	o->faults = (uint8_t)option(envp, VT_OPT_FAULTS);
	o->stop_on = (uint32_t)option(envp, VT_OPT_STOP_ON);
	o->inner = option(envp, VT_OPT_CAPTURE) == VT_CAPTURE_ALL;
	o->inline_bytes = option(envp, VT_OPT_INLINE) << 20;
	o->ring_slots = (uint32_t)option(envp, VT_OPT_RING);
	uint64_t batch = o->ring_slots / 8 < 256 ? o->ring_slots / 8 : 256;
	if (o->snapshot_every && o->snapshot_every < batch)
		batch = o->snapshot_every;
	o->batch = (uint32_t)batch;
}

static uint64_t auxv_value(char **envp, uint64_t type)
{
	while (*envp)
		envp++;
	for (const ElfW(auxv_t) *a = (const void *)(envp + 1); a->a_type != AT_NULL; a++)
		if (a->a_type == type)
			return a->a_un.a_val;
	return 0;
}

static int find_own_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	uint64_t here = (uint64_t)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t lo = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X) && here >= lo &&
		    here < lo + ph->p_memsz) {
			vt.text_lo = lo;
			vt.text_hi = lo + ph->p_memsz;
			return 1;
		}
	}
	return 0;
}

/* Memory for the model comes from the arena, but not the last of it: others need little. */
static void *model_alloc(void *ctx, size_t bytes)
{
	(void)ctx;
	return vt_arena_reserve(bytes + NOT_FOR_MODEL) ? vt_arena_alloc(bytes) : NULL;
}

static bool new_model(void)
{
	struct vt_memory memory = { .alloc = model_alloc };
	struct vt_model_config config = vt.model.config;
	return vt_model_init(&vt.model, &config, &memory) == 0 &&
	       (!vt.options.stop_on || vt_stop_init());
}

static bool allocate(void)
{
	if (!vt_lock_init())
		return false;
	vt.chunk_bytes = VT_COL_COUNT * (40u << 10);
	vt.raw_bytes = vt.chunk_bytes + (264u << 10);
	vt.packed_bytes = ZSTD_COMPRESSBOUND(vt.raw_bytes);
	vt.chunk_mem = vt_arena_alloc(vt.chunk_bytes);
	vt.raw = vt_arena_alloc(vt.raw_bytes);
	vt.packed = vt_arena_alloc(vt.packed_bytes);
	vt.file_cache = vt_arena_alloc(VT_CACHE_SLOTS * sizeof(struct vt_cache_slot));
	vt.helper_stack = vt_arena_alloc(VT_HELPER_STACK);
	vt_order_init(&vt.order, vt_arena_alloc(RECENT * sizeof(struct vt_placed)), RECENT);
	return vt.chunk_mem && vt.raw && vt.packed && vt.file_cache && vt.helper_stack &&
	       vt.order.recent && vt_store_init();
}

/* The page that tells a forked child from its parent without a system call. */
static bool guard_fork(void)
{
	if (!vt.fork_guard) {
		long p = vt_sys6(SYS_mmap, 0, VT_PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (vt_is_error(p))
			return false;
		vt.fork_guard = (_Atomic uint64_t *)p;
		vt.own[vt.n_own++] = (struct vt_range){ (uint64_t)p, (uint64_t)p + VT_PAGE_SIZE };
		if (vt_sys3(SYS_madvise, p, VT_PAGE_SIZE, MADV_WIPEONFORK))
			return false;
	}
	atomic_store(vt.fork_guard, vt.pid);
	return true;
}

static void start_clock(void)
{
	vt.start_ns = vt_clock_ns(CLOCK_MONOTONIC);
	vt_read_clocks(&vt.sync_tick, &vt.sync_ns);
	vt.last_tick = vt.sync_tick;
	vt.last_ns = vt.sync_ns;
}

/*
 * Fill the model. Room for what follows is set aside first, and nothing of libc's is called until
 * recording begins, so that the picture stays true.
 */
static void adopt(void)
{
	vt_arena_keep_ahead();
	vt_snapshot_adopt();
}

/* From here on calls are recorded. */
static void begin_recording(uint8_t reason)
{
	atomic_store_explicit(&vt.on, true, memory_order_release);
	vt_snapshot(reason);
}

/*
 * Recording cannot begin, or must not go on: nothing stays behind but memory that nobody meets.
 */
static void give_up(void)
{
	atomic_store(&vt.on, false);
	atomic_store(&vt.full, false);
	vt.single = false;
}

/* Registered before the loader's own exit function, so called after it: nothing comes later. */
static void on_exit_last(int status, void *arg)
{
	(void)arg;
	vt_before_exit(status);
}

__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	if (auxv_value(envp, AT_SECURE))
		return;
	vt.pid = (uint32_t)vt_sys0(SYS_getpid);
	const char *root = env_value(envp, "VMTRAIL_ROOT");
	uint64_t root_pid;
	read_options(envp);
	if (!vt.options.children && root && vt_parse_u64(root, &root_pid) && root_pid != vt.pid) {
		vt_env_restore(envp);
		return;
	}
	vt.single = true;
	vt.generation = 1;
	vt.next_seq = 1;
	loader_start = auxv_value(envp, AT_BASE);
	start_clock();
	dl_iterate_phdr(find_own_text, (void *)start);
	if (!allocate() || !guard_fork() || !new_model() || !vt_store_open(false)) {
		give_up();
		return;
	}
	vt_chunk_begin(&vt.chunk, vt.chunk_mem, vt.chunk_bytes, vt.next_seq, VT_TIME_DIGITS);
	vt_thread_seen(&vt_self);
	vt_stack_init();
	if (vt.options.inner) {
		vt_inner_install(vt.options.cache);
		vt_inline_install(vt.options.inline_bytes);
	}
	bool handing = vt.sees_exec && !vt.misses_exec && vt_env_keep(envp);
	on_exit(on_exit_last, NULL);
	adopt();
	vt_stack_home(&vt_self);
	vt_meta_write(loader_start, 0);
	begin_recording(VT_SNAPSHOT_START);
	vt_modules_define();
	if (vt_store_publish()) {
		vt_faults_init();
		if (handing)
			vt_env_restore(envp);
	} else {
		give_up();
	}
	vt.single = false;
}

static void define_used(void)
{
	for (struct vt_extent *x = vt_model_first(&vt.model); x; x = vt_extent_next(x)) {
		vt_stack_define(x->stack);
		vt_file_define(x->file);
		vt_name_define(x->name);
	}
}

/* The model's state, births and all, as frames before the child's first snapshot. */
static void write_keyframe(void)
{
	if (vt.model.broken)
		return;
	struct vt_buf b = { vt.raw, vt.raw + vt.raw_bytes, false };
	uint64_t prev_end = 0;
	for (struct vt_extent *x = vt_model_first(&vt.model); x; x = vt_extent_next(x))
		if (b.end - b.p >= 128)
			vt_codec_extent(&b, true, x, &prev_end);
		else
			return; /* too large for one frame: the snapshot alone must do */
	vt_store_frame(VT_FRAME_KEYFRAME, vt.raw, (size_t)(b.p - vt.raw), vt.next_seq, 0);
}

/* Forget what belongs to threads that the child does not have. */
static void drop_threads(void)
{
	vt_task_reset();
	for (struct vt_pending *p = vt.threads; p; p = p->next) {
		if (p == vt_self.pending)
			continue;
		p->kind = VT_KIND_COUNT;
		p->frame = NULL;
		p->tid = 0;
	}
}

/* Forget all tables: somebody was in the middle of changing them, and does not go on. */
static bool forget_tables(void)
{
	vt_stack_forget();
	vt_files_forget();
	return new_model() && vt_store_init();
}

/* Another trace begins, of which nothing is written yet. */
static void forget_trace(void)
{
	vt.generation++;
	vt.n_own = 0;
	vt_arena_inherit();
	for (struct vt_pending *p = vt.threads; p; p = p->next)
		p->spare[0] = p->spare[1] = 0;
	start_clock();
	atomic_store(&vt.full, false);
	vt.snapshots = 0;
	vt.snapshot_served = 0;
	vt.heal_wanted = vt.broken_noted = vt.starved = vt.starved_noted = false;
	vt.heal_not_before = 0;
	vt_order_init(&vt.order, vt.order.recent, vt.order.cap);
	atomic_store(&vt.own_calls, 0);
}

static void start_in_child(void *whole)
{
	vt.single = true;
	forget_trace();
	drop_threads();
	uint64_t parent_seq = vt.next_seq - 1;
	bool usable = *(bool *)whole && !vt.model.broken;
	/* the region first: its place must not be taken by memory for the tables */
	if (!guard_fork() || !vt_store_open(true) || (!usable && !forget_tables())) {
		give_up();
		return;
	}
	vt_chunk_begin(&vt.chunk, vt.chunk_mem, vt.chunk_bytes, vt.next_seq, VT_TIME_DIGITS);
	vt_model_become_child(&vt.model);
	adopt();
	vt_meta_write(loader_start, parent_seq ? parent_seq : 1);
	define_used();
	vt_seal();
	write_keyframe();
	begin_recording(VT_SNAPSHOT_FORK);
	if (!vt_store_publish())
		give_up();
	vt.single = false;
}

static void start_again(void *unused)
{
	(void)unused;
	vt.single = true;
	forget_trace();
	vt.next_seq = 1;
	if (!forget_tables() || !vt_store_open(false)) {
		give_up();
		return;
	}
	vt_chunk_begin(&vt.chunk, vt.chunk_mem, vt.chunk_bytes, vt.next_seq, VT_TIME_DIGITS);
	adopt();
	vt_meta_write(loader_start, 0);
	define_used();
	vt_note("shared", "a task that shared this memory died while it wrote the trace before");
	begin_recording(VT_SNAPSHOT_START);
	vt_modules_define();
	if (!vt_store_publish())
		give_up();
	vt.single = false;
}

/*
 * A task that shared our memory has died under the lock: what it was changing is torn, and stays as
 * it is. The trace ends as a killed process's does, and another one begins with the kernel's view.
 * Under the lock. Who has its slot still writes to the old region.
 */
void vt_start_over(void *unused)
{
	const struct timespec pause = { 0, 20000000 };
	(void)unused;
	if (!atomic_exchange(&vt.on, false))
		return;
	vt_sys2(SYS_nanosleep, &pause, 0);
	if (!atomic_load(&vt.sandboxed))
		vt_outside(start_again, NULL);
	atomic_store(&vt.full, !atomic_load(&vt.on));
}

static void refuse_child(void)
{
	if (!vt.options.children)
		vt_env_stop();
	atomic_store(vt.fork_guard, vt.pid);
}

/*
 * The first call in a new process finds the guard page wiped: begin a trace of its own. The
 * parent's model came along; it holds unless the fork hit somebody in the middle of changing it.
 * Events keep counting where the parent stood, so that a birth below the first event is one of the
 * parent's.
 */
void vt_after_fork(void)
{
	atomic_store(&vt.on, false);
	bool whole = vt_lock_reset();
	vt.pid = (uint32_t)vt_sys0(SYS_getpid);
	vt_self.generation = 0;
	/* In a sandbox no file can be opened; to try might end the process. */
	if (vt.options.children && !atomic_load(&vt.sandboxed))
		vt_locked(start_in_child, &whole);
	else
		refuse_child();
	vt_altstack_give();
}

static void write_end(const char *reason, long status)
{
	struct vt_text t = { (char *)vt.raw, (char *)vt.raw + vt.raw_bytes };
	vt_text_str(&t, "reason ");
	vt_text_str(&t, reason);
	vt_text_str(&t, "\nstatus ");
	vt_text_u64(&t, (uint64_t)(status & 255));
	vt_text_str(&t, "\nevents ");
	vt_text_u64(&t, vt.next_seq - 1);
	vt_text_str(&t, "\nlost ");
	vt_text_u64(&t, atomic_load(&vt.header->lost));
	vt_text_str(&t, "\n");
	vt_store_frame(VT_FRAME_END, vt.raw, (size_t)(t.p - (char *)vt.raw), vt.next_seq, 0);
}

/* Whether this task is the recorded process, and not one that only borrows its memory. */
bool vt_is_mine(void)
{
	return (uint32_t)vt_sys0(SYS_getpid) == vt.pid;
}

/* Everything into the file, the last snapshot, and the file closed. Under the lock. */
void vt_end(const char *reason, long status)
{
	const struct timespec pause = { 0, 1000000 };
	uint64_t drained = 0;
	/*
	 * A call that another thread has in hand may still come back. Slots that handlers have
	 * jumped away from are waited for one after the other.
	 */
	for (int tries = 0; tries < 60; tries++) {
		vt_drain(true);
		if (atomic_load(&vt.drained) == atomic_load(&vt.live->ring_head))
			break;
		if (atomic_load(&vt.drained) != drained)
			tries = 0;
		drained = atomic_load(&vt.drained);
		vt_sys2(SYS_nanosleep, &pause, 0);
	}
	vt_call_enter_those_away();
	vt_task_note_survivors();
	vt_snapshot(VT_SNAPSHOT_EXIT);
	vt_drain(true);
	atomic_fetch_add(&vt.header->lost,
			 atomic_load(&vt.live->ring_head) - atomic_load(&vt.drained));
	if (!strcmp(reason, "exit")) {
		struct vt_event e = {
			.kind = VT_EXIT,
			.begin_ns = vt_clock_ns(CLOCK_MONOTONIC) - vt.start_ns,
			.a = { (uint64_t)status },
			.tid = vt_self.tid,
		};
		vt_emit(&e, 0);
	}
	vt_seal();
	write_end(reason, status);
	atomic_store(&vt.on, false);
	vt_store_close();
}

static void end(void *status)
{
	if (!atomic_load(&vt.on))
		return;
	vt.single = vt_is_alone();
	vt_end("exit", *(long *)status);
}

/* The process is about to end. */
void vt_before_exit(long status)
{
	if (!atomic_load(&vt.on))
		return;
	if (!atomic_load(vt.fork_guard))
		vt_after_fork();
	if (!atomic_load(&vt.on) || !vt_is_mine())
		return;
	if (!vt_is_known(&vt_self))
		vt_thread_seen(&vt_self);
	/* A call of this thread that is still pending will not come back from here on. */
	vt_call_abandon();
	vt_locked(end, &status);
}
