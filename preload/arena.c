/*
 * arena.c - the recorder's own memory.
 *
 * Runs inside the traced process. Memory comes from one area that grows where it stands and is
 * never given back; every mapping made or removed here is pushed as an event marked own, so that a
 * replay still equals the kernel's view. Under the recorder lock, or before recording starts.
 *
 * A process that has all the areas it may have gets no other, but the kernel lets an area grow
 * (mremap without MREMAP_MAYMOVE): so the arena stands where nothing follows it. Other limits
 * refuse that, too: what may be needed is therefore taken ahead, see vt_arena_keep_ahead.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <sys/mman.h>

#define FIRST (4608u << 10) /* what the recorder sets out with */
#define STEP  (256u << 10)  /* at least, when the arena grows */
#define AHEAD (256u << 10)  /* kept free, and as much again as the model holds, up to MOST */
#define MOST  (8u << 20)
#define KEPT  (32u << 10) /* of the last that there is */

/* One area of the arena; this stands at its start. */
struct vt_arena {
	size_t used, size;
};

long vt_own_mmap(void *addr, size_t len, int prot, int flags, int fd, uint64_t off)
{
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)addr,  len,          (uint64_t)prot,
					  (uint64_t)flags, (uint64_t)fd, off };
	return vt_own_call(VT_MMAP, SYS_mmap, a);
}

long vt_own_munmap(void *addr, size_t len)
{
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)addr, len };
	return vt_own_call(VT_MUNMAP, SYS_munmap, a);
}

long vt_own_madvise(void *p, size_t len, int advice)
{
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)p, len, (uint64_t)advice };
	return vt_own_call(VT_MADVISE, SYS_madvise, a);
}

/*
 * A place with room behind it, below this library by a number of strides: what the kernel places it
 * puts next to what is there already, and that is far away. The stride, 64 GiB on x86-64, is room
 * for the arena to grow; the trace's window has four of them. 0: there is no such place.
 */
void *vt_roomy_place(unsigned strides)
{
	uint64_t here = (uint64_t)&vt, stride = here >> 11;
	return (void *)((here - strides * stride) & ~((2ull << 20) - 1));
}

/*
 * Anonymous memory, at the given place if that is free, that the kernel never joins with mappings
 * of the program: without MADV_DONTDUMP their next mapping would often become one area with ours,
 * and every later change a split (250 ns a call on the benchmark's loop). Core dumps stay as small
 * as they were, too. A huge page would be more memory than all that is touched here. Returns the
 * address or -errno.
 */
static long memory_at(void *place, size_t len)
{
	long p = vt_own_mmap(place, len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vt_is_error(p))
		return p;
	/* a filter may forbid it */
	if (!vt.last_window) {
		vt_own_madvise((void *)p, len, MADV_DONTDUMP);
		vt_own_madvise((void *)p, len, MADV_NOHUGEPAGE);
	}
	if (!atomic_load(&vt.on) && vt.n_own < VT_MAX_OWN)
		vt.own[vt.n_own++] = (struct vt_range){ (uint64_t)p, (uint64_t)p + len };
	return p;
}

long vt_own_memory(size_t len)
{
	return memory_at(NULL, len);
}

/* Where the arena ends, for now. */
const void *vt_arena_end(void)
{
	return (const uint8_t *)vt.arena + vt.arena->size;
}

/* The arena's range among those that recording begins with; hi: where it ended until now. */
static void tell(uint64_t hi)
{
	struct vt_range now = { (uint64_t)vt.arena, (uint64_t)vt.arena + vt.arena->size };
	uint32_t i = 0;
	while (i < vt.n_own && vt.own[i].hi != hi)
		i++;
	if (i < vt.n_own)
		vt.own[i].hi = now.hi;
	else if (i < VT_MAX_OWN)
		vt.own[vt.n_own++] = now;
}

/* In a child: its memory is its parent's arena. */
void vt_arena_inherit(void)
{
	tell((uint64_t)vt_arena_end());
}

static bool grow(size_t more)
{
	const size_t size = vt.arena->size;
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)vt.arena, size, size + more };
	/* a filter may forbid it */
	if (vt.last_window || vt_is_error(vt_own_call(VT_MREMAP, SYS_mremap, a)))
		return false;
	vt.arena->size += more;
	if (!atomic_load(&vt.on))
		tell((uint64_t)vt.arena + size);
	return true;
}

/* Go on elsewhere; one store, for a fork may come at any time. */
static bool move_on(size_t size)
{
	void *place = vt.arena ? (uint8_t *)vt.arena - ((uint64_t)vt.arena >> 11) / 4096 * 4096
			       : vt_roomy_place(2);
	long p = memory_at(place, size);
	if (vt_is_error(p))
		return false;
	struct vt_arena *fresh = (struct vt_arena *)p;
	fresh->used = (sizeof(*fresh) + 15) & ~(size_t)15;
	fresh->size = size;
	atomic_signal_fence(memory_order_seq_cst);
	vt.arena = fresh;
	return true;
}

bool vt_arena_reserve(size_t bytes)
{
	if (vt_likely(vt.arena && vt.arena->size - vt.arena->used >= bytes))
		return true;
	size_t least = bytes + sizeof(struct vt_arena) + 15;
	size_t size = (least + STEP - 1) / STEP * STEP;
	if (!vt.arena)
		return move_on(size > FIRST ? size : FIRST);
	return grow(size) || move_on(size);
}

/*
 * After a drain: take memory ahead, in proportion to what the model holds, so that a program which
 * uses up all that it may have meets a recorder that has what it needs. Untouched, it costs
 * nothing but address space.
 */
void vt_arena_keep_ahead(void)
{
	size_t model = vt.model.totals.extents * sizeof(struct vt_extent);
	vt_arena_reserve(AHEAD + (model < MOST ? model : MOST));
}

/* Memory that little of is needed and much depends on: threads' records, what exec needs. */
void *vt_arena_last(size_t bytes)
{
	bytes = (bytes + 15) & ~(size_t)15;
	if (!vt_arena_reserve(bytes))
		return NULL;
	void *p = (uint8_t *)vt.arena + vt.arena->used;
	vt.arena->used += bytes;
	return p;
}

/* All other memory; NULL: what is left is kept for vt_arena_last. */
void *vt_arena_alloc(size_t bytes)
{
	if (vt_arena_reserve(bytes + KEPT))
		return vt_arena_last(bytes);
	vt.starved = true;
	return NULL;
}
