/*
 * generate.c - makes up operations: arguments as programs use them, crowded into small windows so
 * that ranges overlap, with a pinch of nonsense. Only the random numbers and the model's present
 * state go in, so a seed is a run.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <vmtrail/abi.h>

#include "fuzz.h"

#define MAP_ABOVE4G_FLAG   0x80
#define MAP_DROPPABLE_TYPE 0x08
#define MAP_VALIDATE_TYPE  0x03

#define MANY_AREAS 120

/* A choice by weight. */
struct choice {
	uint64_t value;
	unsigned weight;
};

static uint64_t choose(struct random *r, const struct choice *c, size_t n)
{
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += c[i].weight;
	uint64_t at = random_below(r, sum);
	for (size_t i = 0;; i++) {
		if (at < c[i].weight)
			return c[i].value;
		at -= c[i].weight;
	}
}
#define CHOOSE(r, ...)                                                                             \
	choose(r, (const struct choice[]){ __VA_ARGS__ },                                          \
	       sizeof((const struct choice[]){ __VA_ARGS__ }) / sizeof(struct choice))

static bool chance(struct random *r, unsigned percent)
{
	return random_below(r, 100) < percent;
}

/* An address as an operation keeps it. */
struct place {
	uint64_t offset;
	uint8_t base;
};

static struct place in_window(struct random *r, int window)
{
	uint64_t page = random_below(r, world.window[window].pages);
	return (struct place){ page * VT_PAGE_SIZE, (uint8_t)(BASE_WINDOW + window) };
}

static int random_window(struct random *r)
{
	return (int)CHOOSE(r, { WINDOW_PLAIN, 55 }, { WINDOW_TOP, 16 }, { WINDOW_BRK, 6 },
			   { WINDOW_LOW, 6 }, { WINDOW_HUGE, 5 }, { WINDOW_SEALED, 4 },
			   { WINDOW_ZERO, 3 });
}

/* Name an address by the window or slot it lies in, so that it moves with them. */
static struct place place_of(const struct fuzz_worker *w, uint64_t addr)
{
	for (int i = 0; i < FUZZ_WINDOWS; i++)
		if (addr - world.window[i].base < world.window[i].pages * VT_PAGE_SIZE)
			return (struct place){ addr - world.window[i].base,
					       (uint8_t)(BASE_WINDOW + i) };
	for (int i = 0; i < FUZZ_SLOTS; i++)
		if (w->slot[i] && addr - w->slot[i] < 256 * VT_PAGE_SIZE)
			return (struct place){ addr - w->slot[i], (uint8_t)(BASE_SLOT + i) };
	return (struct place){ addr, BASE_ABS };
}

/* Somewhere in a window near an extent; or far off at times. */
static struct place random_place(struct fuzz_worker *w, uint64_t *extent_len)
{
	struct random *r = &w->random;
	struct place p = in_window(r, random_window(r));
	*extent_len = 0;
	if (chance(r, 8) && w->slot[0])
		p = (struct place){ random_below(r, 4) * VT_PAGE_SIZE,
				    (uint8_t)(BASE_SLOT + random_below(r, FUZZ_SLOTS)) };
	if (chance(r, 45)) {
		const struct vt_extent *x =
		    vt_model_find(&w->model, world_base(w, p.base) + p.offset);
		if (x && x->start < world.config.task_size - (1UL << 30)) {
			p = place_of(w, x->start);
			*extent_len = x->end - x->start;
		}
	}
	return p;
}

/*
 * Lengths between this and the size of the address space may or may not exceed what the machine can
 * promise; the model is not told. make_mmap still asks for them where they are charged at once.
 */
#define LARGE_MIN (1UL << 31)
#define LARGE_MAX (1UL << 47)

static uint64_t sane_len(uint64_t len)
{
	return len < LARGE_MIN || len >= LARGE_MAX ? len : len % LARGE_MIN;
}

static uint64_t random_len(struct random *r)
{
	uint64_t pages;
	switch (CHOOSE(r, { 0, 70 }, { 1, 20 }, { 2, 4 }, { 3, 1 }, { 4, 1 }, { 5, 1 })) {
	case 0:
		pages = 1 + random_below(r, 6);
		break;
	case 1:
		pages = 1 + random_below(r, 40);
		break;
	case 2:
		pages = 512 * (1 + random_below(r, 3)) + (chance(r, 50) ? random_below(r, 3) : 0);
		break;
	case 3:
		pages = 0;
		break;
	case 4:
		return sane_len(VT_PAGE_SIZE << random_below(r, 52));
	default:
		return sane_len(random_next(r) >> random_below(r, 64));
	}
	return pages * VT_PAGE_SIZE - (chance(r, 5) ? random_below(r, VT_PAGE_SIZE) : 0);
}

/* A range for calls that act on what is there: often whole extents, or pieces of them. */
static struct place random_range(struct fuzz_worker *w, uint64_t *len)
{
	struct random *r = &w->random;
	uint64_t extent_len;
	struct place p = random_place(w, &extent_len);
	*len = random_len(r);
	if (extent_len && chance(r, 50)) {
		*len = extent_len;
		uint64_t pages = extent_len / VT_PAGE_SIZE;
		switch (random_below(r, 5)) {
		case 0:
			p.offset += random_below(r, pages) * VT_PAGE_SIZE;
			break;
		case 1:
			*len = (1 + random_below(r, pages)) * VT_PAGE_SIZE;
			break;
		case 2:
			*len += VT_PAGE_SIZE * random_below(r, 8);
			break;
		default:
			break;
		}
	}
	if (chance(r, 1))
		p.offset += 1 + random_below(r, VT_PAGE_SIZE - 1);
	return p;
}

static void set_range(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct place p = random_range(w, &op->a[1]);
	op->a[0] = p.offset;
	op->base[0] = p.base;
}

static uint64_t random_prot(struct random *r)
{
	return CHOOSE(r, { PROT_READ | PROT_WRITE, 45 }, { PROT_READ, 22 }, { PROT_NONE, 15 },
		      { PROT_READ | PROT_EXEC, 6 }, { PROT_READ | PROT_WRITE | PROT_EXEC, 5 },
		      { PROT_WRITE, 3 }, { PROT_EXEC, 2 }, { 8 /* PROT_SEM */ | PROT_READ, 1 });
}

static uint8_t random_object(struct random *r)
{
	return (uint8_t)CHOOSE(r, { OBJECT_FILE, 40 }, { OBJECT_FILE_DUP, 5 },
			       { OBJECT_FILE_AGAIN, 8 }, { OBJECT_FILE_RDONLY, 12 },
			       { OBJECT_FILE_WRONLY, 1 }, { OBJECT_MEMFD, 15 }, { OBJECT_ZERO, 8 },
			       { OBJECT_PIPE, 1 }, { OBJECT_BAD, 1 });
}

static uint64_t extra_map_flags(struct random *r, bool anonymous)
{
	uint64_t flags = 0;
	if (chance(r, 8))
		flags |= MAP_NORESERVE;
	if (chance(r, 3))
		flags |= MAP_STACK;
	if (chance(r, 3))
		flags |= MAP_32BIT;
	if (anonymous && chance(r, 4))
		flags |= MAP_GROWSDOWN;
	if (anonymous && chance(r, 1))
		flags |= MAP_HUGETLB | CHOOSE(r, { 0, 5 }, { 21UL << MAP_HUGE_SHIFT, 3 },
					      { 30UL << MAP_HUGE_SHIFT, 1 },
					      { 16UL << MAP_HUGE_SHIFT, 1 });
	if (chance(r, 1))
		flags |= CHOOSE(r, { MAP_NONBLOCK, 1 }, { MAP_DENYWRITE, 1 }, { MAP_EXECUTABLE, 1 },
				{ MAP_ABOVE4G_FLAG, 1 }, { 1UL << 40, 1 });
	if (world.options.touch) {
		if (chance(r, 3))
			flags |= MAP_LOCKED;
		if (chance(r, 4))
			flags |= MAP_POPULATE;
	}
	return flags;
}

static void make_mmap(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	uint64_t extent_len;
	struct place p = random_place(w, &extent_len);
	bool anonymous = chance(r, 60);
	uint64_t type = CHOOSE(r, { MAP_PRIVATE, 70 }, { MAP_SHARED, 26 }, { MAP_VALIDATE_TYPE, 2 },
			       { MAP_DROPPABLE_TYPE, 2 }, { 0, 1 });

	op->a[1] = random_len(r);
	op->a[2] = random_prot(r);
	op->a[3] = type | extra_map_flags(r, anonymous);
	if (anonymous && op->a[2] & PROT_WRITE && !(op->a[3] & MAP_NORESERVE) &&
	    type != MAP_DROPPABLE_TYPE && chance(r, 1))
		op->a[1] = LARGE_MAX >> (1 + random_below(r, 4));
	if (anonymous) {
		op->a[3] |= MAP_ANONYMOUS;
		op->a[5] = chance(r, 2) ? random_below(r, 64) * VT_PAGE_SIZE : 0;
	} else {
		op->object = random_object(r);
		/* contiguous with its neighbours more often than not */
		op->a[5] = chance(r, 75) ? p.offset & (VT_PAGE_SIZE * 64 - 1)
					 : random_below(r, 64) * VT_PAGE_SIZE;
		if (chance(r, 1))
			op->a[5] = random_next(r) >> random_below(r, 64);
	}
	if (chance(r, 1))
		p.offset += 1 + random_below(r, VT_PAGE_SIZE - 1);
	op->a[0] = p.offset;
	op->base[0] = p.base;
	switch (CHOOSE(r, { 0, 64 }, { 1, 10 }, { 2, 10 }, { 3, 16 })) {
	case 0:
		op->a[3] |= MAP_FIXED;
		break;
	case 1:
		op->a[3] |= MAP_FIXED_NOREPLACE;
		break;
	case 2:
		break;
	default:
		op->a[0] = 0;
		op->base[0] = BASE_ABS;
		break;
	}
	if (op->a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE))
		return;
	/* with MAP_FIXED the old range would be gone, though the call fails: ext4 refuses it late
	 */
	if (chance(r, 1))
		op->a[3] |= MAP_SYNC;
	op->slot = (uint8_t)(1 + random_below(r, FUZZ_SLOTS));
}

static void make_mprotect(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	set_range(w, op);
	op->a[2] = random_prot(r);
	if (chance(r, 2))
		op->a[2] |= chance(r, 70) ? PROT_GROWSDOWN : PROT_GROWSUP;
	if (op->kind == VT_PKEY_MPROTECT)
		op->a[3] = CHOOSE(r, { (uint64_t)-1, 8 }, { 0, 1 }, { 1, 1 });
}

static void make_madvise(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	set_range(w, op);
	op->a[2] = CHOOSE(
	    r, { MADV_NORMAL, 8 }, { MADV_RANDOM, 6 }, { MADV_SEQUENTIAL, 6 }, { MADV_WILLNEED, 1 },
	    { MADV_DONTNEED, 6 }, { 8 /* FREE */, 3 }, { MADV_REMOVE, 2 }, { MADV_DONTFORK, 6 },
	    { MADV_DOFORK, 6 }, { MADV_MERGEABLE, 4 }, { MADV_UNMERGEABLE, 4 },
	    { MADV_HUGEPAGE, 5 }, { MADV_NOHUGEPAGE, 5 }, { MADV_DONTDUMP, 6 }, { MADV_DODUMP, 6 },
	    { 18 /* WIPEONFORK */, 6 }, { 19 /* KEEPONFORK */, 6 }, { 20 /* COLD */, 1 },
	    { 21 /* PAGEOUT */, 1 }, { 24 /* DONTNEED_LOCKED */, 2 }, { 103 /* GUARD_REMOVE */, 4 },
	    { 77, 1 }, { (uint64_t)-1, 1 });
	if (world.options.touch && chance(r, 10))
		op->a[2] = CHOOSE(r, { 22 /* POPULATE_READ */, 3 }, { 23 /* POPULATE_WRITE */, 3 },
				  { 25 /* COLLAPSE */, 1 }, { 102 /* GUARD_INSTALL */, 8 });
}

static void make_mremap(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	uint64_t extent_len;
	set_range(w, op);
	op->a[2] = op->a[1];
	switch (CHOOSE(r, { 0, 30 }, { 1, 25 }, { 2, 30 }, { 3, 5 }, { 4, 4 })) {
	case 0:
		op->a[2] += (1 + random_below(r, 12)) * VT_PAGE_SIZE;
		break;
	case 1:
		op->a[2] -= random_below(r, op->a[2] / VT_PAGE_SIZE + 1) * VT_PAGE_SIZE;
		break;
	case 3:
		op->a[1] = 0;
		break;
	case 4:
		op->a[2] = random_len(r);
		break;
	default:
		break;
	}
	op->a[3] =
	    CHOOSE(r, { MREMAP_MAYMOVE, 40 }, { 0, 20 }, { MREMAP_MAYMOVE | MREMAP_FIXED, 25 },
		   { MREMAP_MAYMOVE | 4, 6 }, { MREMAP_MAYMOVE | MREMAP_FIXED | 4, 6 },
		   { MREMAP_FIXED, 1 }, { 4, 1 }, { 8, 1 });
	struct place p = random_place(w, &extent_len);
	if (op->a[3] & 6) {
		op->a[4] = p.offset + (chance(r, 1) ? 12 : 0);
		op->base[1] = p.base;
	}
	if (!(op->a[3] & MREMAP_FIXED))
		op->slot = (uint8_t)(1 + random_below(r, FUZZ_SLOTS));
}

static void make_brk(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	struct place p = in_window(r, WINDOW_BRK);
	op->a[0] = p.offset;
	op->base[0] = p.base;
	if (chance(r, 15))
		op->a[0] += 1 + random_below(r, VT_PAGE_SIZE - 1);
	if (chance(r, 4)) {
		op->a[0] = CHOOSE(r, { 0, 3 }, { 1, 1 }, { 1UL << 46, 1 }, { 1UL << 36, 1 },
				  { (uint64_t)-1, 1 });
		op->base[0] = BASE_ABS;
	}
}

static void make_shm(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	uint64_t extent_len;
	if (op->kind == VT_SHMDT) {
		struct place p = random_place(w, &extent_len);
		const struct vt_extent *x =
		    vt_model_find(&w->model, world_base(w, p.base) + p.offset);
		for (int i = 0; i < 64 && x; i++, x = vt_extent_next(x))
			if (x->file >= world.segment[0].file &&
			    x->file < world.segment[0].file + FUZZ_SEGMENTS)
				break;
		if (x && chance(r, 90))
			p = place_of(w, x->start - (x->pgoff << VT_PAGE_SHIFT));
		op->a[0] = p.offset + (chance(r, 2) ? 8 : 0);
		op->base[0] = p.base;
		return;
	}
	op->object = (uint8_t)random_below(r, FUZZ_SEGMENTS);
	op->a[2] = CHOOSE(r, { 0, 10 }, { SHM_RDONLY, 3 }, { SHM_RND, 2 }, { SHM_REMAP, 6 },
			  { SHM_REMAP | SHM_RDONLY, 2 }, { SHM_EXEC, 1 });
	op->slot = (uint8_t)(1 + random_below(r, FUZZ_SLOTS));
	if (chance(r, 30))
		return;
	struct place p = random_place(w, &extent_len);
	op->a[1] = p.offset + (op->a[2] & SHM_RND || chance(r, 2) ? random_below(r, 4096) : 0);
	op->base[0] = p.base;
}

static void make_mlockall(struct random *r, struct fuzz_op *op)
{
	op->a[0] = CHOOSE(r, { MCL_ONFAULT | MCL_CURRENT, 3 }, { MCL_ONFAULT | MCL_FUTURE, 3 },
			  { MCL_ONFAULT | MCL_CURRENT | MCL_FUTURE, 3 }, { MCL_ONFAULT, 1 },
			  { 0, 1 }, { 16, 1 });
	if (world.options.touch && chance(r, 40))
		op->a[0] &= ~(uint64_t)MCL_ONFAULT;
}

static void make_mbind(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	set_range(w, op);
	op->a[2] = CHOOSE(r, { 0 /* DEFAULT */, 4 }, { 1 /* PREFERRED */, 3 }, { 2 /* BIND */, 3 },
			  { 3 /* INTERLEAVE */, 3 }, { 4 /* LOCAL */, 2 }, { 9, 1 });
	op->a[3] = op->a[2] == 0 || op->a[2] == 4 ? 0 : CHOOSE(r, { 1, 8 }, { 0, 1 }, { 2, 1 });
	op->a[4] = op->a[3] ? 64 : 0;
	op->a[5] = CHOOSE(r, { 0, 8 }, { 1 /* STRICT */, 1 }, { 2 /* MOVE */, 1 },
			  { 4 /* MOVE_ALL */, 1 });
}

static void make_setrlimit(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	const struct vt_totals *t = &w->model.totals;
	op->a[0] = CHOOSE(r, { RLIMIT_AS, 3 }, { RLIMIT_DATA, 3 }, { RLIMIT_MEMLOCK, 3 });
	uint64_t now = op->a[0] == RLIMIT_AS     ? t->total_vm
		       : op->a[0] == RLIMIT_DATA ? t->data_vm
						 : t->locked_vm;
	op->a[1] = (now + random_below(r, 24)) * VT_PAGE_SIZE;
	if (chance(r, 60))
		op->a[1] = UINT64_MAX;
	op->a[2] = UINT64_MAX;
}

static void make_mseal(struct random *r, struct fuzz_op *op)
{
	struct place p = in_window(r, WINDOW_SEALED);
	op->a[0] = p.offset;
	op->base[0] = p.base;
	op->a[1] = (1 + random_below(r, 3)) * VT_PAGE_SIZE;
	op->a[2] = chance(r, 3);
}

static void make_remap_file_pages(struct fuzz_worker *w, struct fuzz_op *op)
{
	set_range(w, op);
	op->a[3] = random_below(&w->random, 48);
	op->a[2] = chance(&w->random, 3);
}

/* PR_SET_VMA_ANON_NAME: its address is no argument of class ADDR, so it stands as it is. */
static void make_prctl(struct fuzz_worker *w, struct fuzz_op *op)
{
	set_range(w, op);
	uint64_t addr = world_base(w, op->base[0]) + op->a[0];
	uint64_t name = random_below(&w->random, 3);
	*op = (struct fuzz_op){ .kind = VT_PRCTL, .a = { 0x53564d41, 0, addr, op->a[1], name } };
}

/* Registering with one of two userfaultfds, and taking it back. */
static void make_ioctl(struct fuzz_worker *w, struct fuzz_op *op)
{
	struct random *r = &w->random;
	set_range(w, op);
	op->a[2] = op->a[0];
	op->a[3] = op->a[1];
	op->a[0] = random_below(r, FUZZ_UFFDS);
	op->a[1] = chance(r, 60) ? UFFDIO_REGISTER : UFFDIO_UNREGISTER;
	if (op->a[1] == UFFDIO_REGISTER)
		op->a[4] =
		    CHOOSE(r, { UFFDIO_REGISTER_MODE_MISSING, 6 }, { UFFDIO_REGISTER_MODE_WP, 3 },
			   { UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP, 2 },
			   { UFFDIO_REGISTER_MODE_MINOR, 1 }, { 0, 1 });
}

static uint8_t random_kind(struct random *r)
{
	uint64_t sum = 0;
	for (int i = 0; i < FUZZ_KIND_COUNT; i++)
		sum += world.options.weight[i];
	uint64_t at = random_below(r, sum);
	for (uint8_t i = 0;; i++) {
		if (at < world.options.weight[i])
			return i;
		at -= world.options.weight[i];
	}
}

/* Too many areas: clear a stretch somewhere, most often where the kernel places by itself. */
static struct fuzz_op make_sweep(struct fuzz_worker *w)
{
	struct random *r = &w->random;
	const struct vt_extent *x = w->model.root;
	for (const struct vt_extent *y = x; y; y = chance(r, 50) ? y->left : y->right)
		x = y;
	struct place p = place_of(w, x->start);
	uint64_t len = (1 + random_below(r, 64)) * VT_PAGE_SIZE;
	return (struct fuzz_op){ .kind = VT_MUNMAP, .a = { p.offset, len }, .base = { p.base } };
}

struct fuzz_op generate_op(struct fuzz_worker *w)
{
	struct random *r = &w->random;
	struct fuzz_op op = { .kind = random_kind(r) };

	if (world.options.touch && w->at % world.options.settle_every == 0)
		return (struct fuzz_op){ .kind = FUZZ_SETTLE };
	if (w->model.totals.map_count > MANY_AREAS && chance(r, 30))
		return make_sweep(w);
	switch (op.kind) {
	case VT_MMAP:
		make_mmap(w, &op);
		break;
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
		make_mprotect(w, &op);
		break;
	case VT_MADVISE:
	case VT_PROCESS_MADVISE:
		make_madvise(w, &op);
		break;
	case VT_MREMAP:
		make_mremap(w, &op);
		break;
	case VT_BRK:
		make_brk(w, &op);
		break;
	case VT_SHMAT:
	case VT_SHMDT:
		make_shm(w, &op);
		break;
	case VT_MLOCK2:
		set_range(w, &op);
		op.a[2] = !world.options.touch || chance(r, 60);
		break;
	case VT_MLOCKALL:
		make_mlockall(r, &op);
		break;
	case VT_MSYNC:
		set_range(w, &op);
		op.a[2] = CHOOSE(r, { MS_ASYNC, 5 }, { MS_ASYNC | MS_INVALIDATE, 2 }, { 0, 1 });
		break;
	case VT_MBIND:
		make_mbind(w, &op);
		break;
	case VT_MSEAL:
		make_mseal(r, &op);
		break;
	case VT_REMAP_FILE_PAGES:
		make_remap_file_pages(w, &op);
		break;
	case VT_PRCTL:
		make_prctl(w, &op);
		break;
	case VT_IOCTL:
		make_ioctl(w, &op);
		break;
	case VT_FORK:
		op.a[0] = random_next(r);
		op.a[1] = random_below(r, FUZZ_CHILD_OPS + 1);
		break;
	case VT_SETRLIMIT:
		make_setrlimit(w, &op);
		break;
	case VT_PERSONALITY:
		op.a[0] =
		    world.options.persona | (chance(r, 20) ? 0x0400000 /* READ_IMPLIES_EXEC */ : 0);
		break;
	default:
		set_range(w, &op);
		break;
	}
	return op;
}
