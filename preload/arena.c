/*
 * arena.c - the recorder's own memory.
 *
 * Runs inside the traced process. Memory comes from raw mmap in large pieces and is never given
 * back; every mapping made or removed here is pushed as an event marked own, so that a replay
 * still equals the kernel's view. Under the recorder lock, or before recording starts.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <sys/mman.h>

#define PIECE (256u << 10)

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
 * Anonymous memory that the kernel never joins with mappings of the program: without
 * MADV_DONTDUMP their next mapping would often become one area with ours, and every later change a
 * split (250 ns a call on the benchmark's loop). Core dumps stay as small as they were, too.
 * Returns the address or -errno.
 */
long vt_own_memory(size_t len)
{
	long p = vt_own_mmap(NULL, len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vt_is_error(p))
		return p;
	if (!vt.last_window) /* a filter may forbid it */
		vt_own_madvise((void *)p, len, MADV_DONTDUMP);
	if (!atomic_load(&vt.on) && vt.n_own < VT_MAX_OWN)
		vt.own[vt.n_own++] = (struct vt_range){ (uint64_t)p, (uint64_t)p + len };
	return p;
}

bool vt_arena_reserve(size_t bytes)
{
	if ((size_t)(vt.arena_end - vt.arena) >= bytes)
		return true;
	size_t piece = (bytes + PIECE - 1) / PIECE * PIECE;
	long p = vt_own_memory(piece);
	if (vt_is_error(p))
		return false;
	if ((uint8_t *)p != vt.arena_end)
		vt.arena = (uint8_t *)p;
	vt.arena_end = (uint8_t *)p + piece;
	return true;
}

void *vt_arena_alloc(size_t bytes)
{
	bytes = (bytes + 15) & ~(size_t)15;
	if (!vt_arena_reserve(bytes))
		return NULL;
	void *p = vt.arena;
	vt.arena += bytes;
	return p;
}
