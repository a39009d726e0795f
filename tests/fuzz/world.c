/*
 * world.c - what every worker finds when it starts: files, segments, windows, limits; and the model
 * of a worker as it is before its first operation.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fuzz.h"
#include "raw.h"

#define FILE_BYTES   (40 * VT_PAGE_SIZE + 123)
#define SEGMENT_HOME 0x28000000000
#define ARENA_HOME   0x29000000000
#define ARENA_BYTES  (64UL << 20)

struct fuzz_world world;

/* The model's memory: one private run of pages, mapped before the workers fork. */
static struct {
	char *base;
	size_t used;
} arena;

static void *arena_alloc(void *ctx, size_t bytes)
{
	(void)ctx;
	if (ARENA_BYTES - arena.used < bytes)
		return NULL;
	arena.used += bytes;
	return arena.base + arena.used - bytes;
}

static uint64_t read_number(const char *path, uint64_t otherwise)
{
	unsigned long v;
	FILE *f = fopen(path, "re");
	if (!f)
		return otherwise;
	if (fscanf(f, "%lu", &v) != 1)
		v = otherwise;
	fclose(f);
	return v;
}

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* Whether one of the policies stands in brackets in a file of THP. */
static bool thp_policy(const char *path, const char *const *policies)
{
	char line[64] = "";
	FILE *f = fopen(path, "re");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		fclose(f);
	while (*policies && !strstr(line, *policies))
		policies++;
	return *policies;
}

static bool thp_always(void)
{
	return thp_policy(THP "enabled", (const char *[]){ "[always]", NULL });
}

static bool shmem_align(void)
{
	return thp_policy(THP "shmem_enabled", (const char *[]){ "[always]", "[within_size]",
								 "[advise]", "[force]", NULL });
}

static bool have_thp(void)
{
	return access(THP "enabled", F_OK) == 0;
}

static uint64_t limit(int resource)
{
	struct rlimit r;
	getrlimit(resource, &r);
	return r.rlim_cur == RLIM_INFINITY ? UINT64_MAX : r.rlim_cur;
}

/* mmap_base: without randomization the stack's end, less its limit or 128 MiB. */
static uint64_t mmap_base(bool bottomup, uint64_t guard)
{
	uint64_t task = 0x7ffffffff000, gap = limit(RLIMIT_STACK);
	if (bottomup)
		return (task / 3 + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
	if (gap + guard > gap)
		gap += guard;
	if (gap < 128UL << 20)
		gap = 128UL << 20;
	if (gap > task / 6 * 5)
		gap = task / 6 * 5;
	return (task - gap + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
}

static void read_config(bool bottomup)
{
	struct utsname u;
	unsigned major = 0, minor = 0, patch = 0;
	uname(&u);
	sscanf(u.release, "%u.%u.%u", &major, &minor, &patch);
	uint64_t guard = 256 * VT_PAGE_SIZE;
	world.config = (struct vt_model_config){
		.kernel_version = major << 16 | minor << 8 | (patch > 255 ? 255 : patch),
		.task_size = 0x7ffffffff000,
		.mmap_base = mmap_base(bottomup, guard),
		.mmap_min_addr = read_number("/proc/sys/vm/mmap_min_addr", 65536),
		.bottomup = bottomup,
		.thp_align = have_thp(),
		.thp_always = thp_always(),
		.shmem_align = shmem_align(),
		.overcommit_memory = (uint8_t)read_number("/proc/sys/vm/overcommit_memory", 0),
		.max_map_count = read_number("/proc/sys/vm/max_map_count", 65530),
		.rlimit_as = limit(RLIMIT_AS),
		.rlimit_data = limit(RLIMIT_DATA),
		.rlimit_stack = limit(RLIMIT_STACK),
		.rlimit_memlock = limit(RLIMIT_MEMLOCK),
		.stack_guard_gap = guard,
		.start_brk = 0,
		.brk = (uint64_t)sbrk(0),
	};
	char stat[2048] = "";
	FILE *f = fopen("/proc/self/stat", "re");
	if (f && fgets(stat, sizeof(stat), f)) {
		/* the 47th field, the third being the first after the name */
		char *p = strrchr(stat, ')') + 1;
		for (int i = 3; p && i <= 47; i++)
			p = strchr(p + 1, ' ');
		world.config.start_brk = p ? strtoul(p - 0, NULL, 10) : 0;
	}
	if (f)
		fclose(f);
}

static void add_object(enum fuzz_object o, int fd, uint32_t file, enum vt_file_kind kind)
{
	world.object[o] = (struct fuzz_object_info){ fd, file, kind };
}

static bool open_objects(void)
{
	char path[] = "/tmp/fuzz_model.XXXXXX";
	int file = mkostemp(path, O_CLOEXEC);
	if (file < 0 || ftruncate(file, FILE_BYTES) != 0)
		return false;
	int again = open(path, O_RDWR | O_CLOEXEC), rdonly = open(path, O_RDONLY | O_CLOEXEC);
	int wronly = open(path, O_WRONLY | O_CLOEXEC), zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int memfd = memfd_create("fuzz", MFD_CLOEXEC);
	int pipes[2];
	world.scratch = memfd_create("fuzz-scratch", MFD_CLOEXEC);
	unlink(path);
	if (again < 0 || rdonly < 0 || wronly < 0 || zero < 0 || memfd < 0 || world.scratch < 0 ||
	    pwrite(world.scratch, "", 1, 0) != 1 || ftruncate(memfd, FILE_BYTES) != 0 ||
	    pipe2(pipes, O_CLOEXEC) != 0)
		return false;
	add_object(OBJECT_NONE, -1, 0, VT_FILE_NONE);
	add_object(OBJECT_FILE, file, 1, VT_FILE_REGULAR);
	add_object(OBJECT_FILE_DUP, dup(file), 1, VT_FILE_REGULAR);
	add_object(OBJECT_FILE_AGAIN, again, 2, VT_FILE_REGULAR);
	add_object(OBJECT_FILE_RDONLY, rdonly, 3, VT_FILE_REGULAR);
	add_object(OBJECT_FILE_WRONLY, wronly, 4, VT_FILE_REGULAR);
	add_object(OBJECT_MEMFD, memfd, 5, VT_FILE_REGULAR);
	add_object(OBJECT_ZERO, zero, 7, VT_FILE_ZERO);
	add_object(OBJECT_PIPE, pipes[0], 8, VT_FILE_DEVICE);
	add_object(OBJECT_BAD, 999, 0, VT_FILE_NONE);
	world.next_file = 9;
	return true;
}

/* Segments live while somebody is attached: the first process is, out of the windows' way. */
static bool make_segments(void)
{
	static const uint64_t bytes[FUZZ_SEGMENTS] = { 3 * VT_PAGE_SIZE, 8 * VT_PAGE_SIZE, 5000 };
	for (int i = 0; i < FUZZ_SEGMENTS; i++) {
		char *home = (char *)SEGMENT_HOME + ((uint64_t)i << 20);
		int id = shmget(IPC_PRIVATE, bytes[i], IPC_CREAT | 0666);
		if (id < 0 || shmat(id, home, 0) != home)
			return false;
		shmctl(id, IPC_RMID, NULL);
		world.segment[i] = (struct fuzz_segment){ id, world.next_file++, bytes[i] };
	}
	return true;
}

static void place_windows(void)
{
	uint64_t top = world.config.mmap_base - 700 * VT_PAGE_SIZE;
	if (world.config.bottomup)
		top = world.config.mmap_base + 16 * VT_PAGE_SIZE;
	uint64_t brk = (world.config.brk + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
	const struct fuzz_window windows[FUZZ_WINDOWS] = {
		[WINDOW_PLAIN] = { 0x100000000000, 48 },
		[WINDOW_TOP] = { top, 600 },
		[WINDOW_BRK] = { brk, 64 },
		[WINDOW_LOW] = { 0x40000000, 64 },
		[WINDOW_HUGE] = { 0x180000000000, 2048 },
		[WINDOW_SEALED] = { 0x1c0000000000, 32 },
		[WINDOW_ZERO] = { 0, 24 },
	};
	memcpy(world.window, windows, sizeof(windows));
}

/*
 * What the kernel touches by itself fails there and does not wait: no fault of user mode ever comes
 * to these.
 */
static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int64_t fd = raw_call(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
	if (fd >= 0)
		raw_call(SYS_ioctl, (uint64_t)fd, UFFDIO_API, (uint64_t)&api, 0, 0, 0);
	return (int)fd;
}

bool world_open_self(void)
{
	uint64_t pid = (uint64_t)raw_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
	world.pidfd = (int)raw_call(SYS_pidfd_open, pid, 0, 0, 0, 0, 0);
	for (int i = 0; i < FUZZ_UFFDS; i++)
		world.uffd[i] = open_uffd();
	return world.pidfd >= 0;
}

bool world_prepare(const struct fuzz_options *options)
{
	world.options = *options;
	read_config(options->bottomup);
	if (!open_objects() || !make_segments()) {
		perror("fuzz_model: cannot make its files");
		return false;
	}
	arena.base = mmap((void *)ARENA_HOME, ARENA_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (arena.base == MAP_FAILED) {
		perror("fuzz_model: cannot map the model's memory");
		return false;
	}
	place_windows();
	return true;
}

uint64_t world_base(const struct fuzz_worker *w, uint8_t base)
{
	if (base == BASE_ABS)
		return 0;
	if (base < BASE_SLOT)
		return world.window[base - BASE_WINDOW].base;
	return w->slot[base - BASE_SLOT];
}

void world_set_file(struct fuzz_worker *w, uint32_t file, enum vt_file_kind kind)
{
	shared->file_kind[file] = (uint8_t)kind;
	if (vt_model_set_file(&w->model, file, kind) != 0)
		w->model.broken = true;
}

uint32_t world_new_file(struct fuzz_worker *w, enum vt_file_kind kind)
{
	if (w->next_file == FUZZ_MAX_FILES)
		return 0;
	uint32_t file = w->next_file++;
	shared->ident[file].known = false;
	world_set_file(w, file, kind);
	return file;
}

uint32_t world_file_of(struct fuzz_worker *w, const struct kernel_area *k)
{
	if (!k->dev && !k->ino)
		return 0;
	const struct vt_extent *x = vt_model_find(&w->model, k->start);
	if (x && shared->ident[x->file].known && shared->ident[x->file].dev == k->dev &&
	    shared->ident[x->file].ino == k->ino)
		return x->file;
	for (uint32_t i = 1; i < w->next_file; i++)
		if (shared->ident[i].known && shared->ident[i].dev == k->dev &&
		    shared->ident[i].ino == k->ino)
			return i;
	bool anonymous = k->dev == 1 /* 00:01, the kernel's own tmpfs */;
	uint32_t file = world_new_file(w, anonymous ? VT_FILE_SHM_ANON : VT_FILE_REGULAR);
	shared->ident[file] = (struct fuzz_ident){ k->dev, k->ino, true };
	return file;
}

/* Note what maps shows for a mapping that is at addr. */
static void learn_ident(uint32_t file, uint64_t addr)
{
	struct kernel_area k;
	if (kernel_area_from(addr, &k) && k.start <= addr)
		shared->ident[file] = (struct fuzz_ident){ k.dev, k.ino, true };
}

/* Tell the model which files there are, and find out what maps shows for them. */
static void declare_files(struct fuzz_worker *w)
{
	for (int i = 0; i < OBJECT_COUNT; i++) {
		const struct fuzz_object_info *o = &world.object[i];
		if (!o->file)
			continue;
		world_set_file(w, o->file, o->kind);
		int64_t at =
		    raw_call(SYS_mmap, 0, VT_PAGE_SIZE, PROT_NONE, MAP_PRIVATE, (uint64_t)o->fd, 0);
		if (vt_is_error(at))
			continue;
		learn_ident(o->file, (uint64_t)at);
		/* of no block device */
		if (o->kind == VT_FILE_REGULAR && !(shared->ident[o->file].dev >> 20))
			vt_model_set_file_in_memory(&w->model, o->file);
		raw_call(SYS_munmap, (uint64_t)at, VT_PAGE_SIZE, 0, 0, 0, 0);
	}
	for (int i = 0; i < FUZZ_SEGMENTS; i++) {
		world_set_file(w, world.segment[i].file, VT_FILE_SYSV);
		learn_ident(world.segment[i].file, SEGMENT_HOME + ((uint64_t)i << 20));
	}
}

bool world_seed_model(struct fuzz_worker *w)
{
	const struct vt_memory memory = { .alloc = arena_alloc };
	w->next_file = world.next_file;
	if (vt_model_init(&w->model, &world.config, &memory) != 0)
		return false;
	w->model.forked = true;
	declare_files(w);
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, true);
	for (size_t i = 0; i < n; i++) {
		const struct kernel_area *k = &shared->areas[i];
		if (k->special == VT_SPECIAL_VSYSCALL)
			continue;
		struct vt_vma v = {
			.start = k->start,
			.end = k->end,
			.pgoff = k->offset >> VT_PAGE_SHIFT,
			.flags = k->flags,
			.file = world_file_of(w, k),
			.special = k->special,
		};
		if (vt_model_put(&w->model, &v, 0, 0) != 0)
			return false;
		world.own[world.n_own++] = (struct vt_range){ k->start, k->end };
		if (world.n_own == sizeof(world.own) / sizeof(*world.own))
			return false;
	}
	return n > 0;
}

/* Forget what the kernel does not have in r any more. */
static bool forget_holes(struct fuzz_worker *w, const struct vt_range *r, size_t n_areas)
{
	uint64_t at = r->lo;
	for (size_t i = 0; i < n_areas && at < r->hi; i++) {
		const struct kernel_area *k = &shared->areas[i];
		uint64_t hole_end = k->start < r->hi ? k->start : r->hi;
		if (hole_end > at && vt_model_forget(&w->model, at, hole_end) != 0)
			return false;
		if (k->end > at)
			at = k->end;
	}
	return at >= r->hi || vt_model_forget(&w->model, at, r->hi) == 0;
}

/* The part of a kernel's area that lies in r; empty: hi is not above lo. */
static struct vt_range part_in(const struct vt_range *r, const struct kernel_area *k)
{
	return (struct vt_range){ k->start > r->lo ? k->start : r->lo,
				  k->end < r->hi ? k->end : r->hi };
}

static bool agrees(const struct fuzz_worker *w, const struct vt_range *r,
		   const struct kernel_area *k)
{
	struct vt_range part = part_in(r, k);
	return part.lo >= part.hi || same_as_area(w, k, part.lo, part.hi);
}

/* Enter r's part of a kernel's area: born 0, as at the start, its open file not known. */
static bool put_part(struct fuzz_worker *w, const struct vt_range *r, const struct kernel_area *k)
{
	struct vt_range part = part_in(r, k);
	uint64_t offset = k->offset + (part.lo - k->start);
	struct vt_vma v = {
		.start = part.lo,
		.end = part.hi,
		.pgoff = k->dev || k->ino ? offset >> VT_PAGE_SHIFT : 0,
		.flags = k->flags,
		.file = world_file_of(w, k),
		.special = k->special,
	};
	return part.lo >= part.hi || vt_model_put(&w->model, &v, 0, 0) == 0;
}

/*
 * Whatever agrees with the kernel already stays, as the list does not tell all that the model
 * knows: which open file, which pages were touched.
 */
bool world_reread(struct fuzz_worker *w, const struct vt_range *r, bool all_flags)
{
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, all_flags), i = 0;
	if (!forget_holes(w, r, n))
		return false;
	while (i < n && agrees(w, r, &shared->areas[i]))
		i++;
	if (i == n)
		return true;
	if (!all_flags)
		n = kernel_areas(shared->areas, KERNEL_AREAS, true);
	for (i = 0; i < n; i++)
		if (!agrees(w, r, &shared->areas[i]) && !put_part(w, r, &shared->areas[i]))
			return false;
	return true;
}

bool world_renew(struct fuzz_worker *w, const struct vt_range *r)
{
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, true);
	if (!forget_holes(w, r, n))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!put_part(w, r, &shared->areas[i]))
			return false;
	return true;
}

void world_learn(struct fuzz_worker *w)
{
	size_t n = kernel_areas(shared->areas, KERNEL_AREAS, true);
	for (size_t i = 0; i < n; i++)
		same_as_area(w, &shared->areas[i], shared->areas[i].start, shared->areas[i].end);
}
