/*
 * large_memory.c - zeroed memory in huge pages.
 *
 * SPDX-License-Identifier: MIT
 */
#include "large_memory.h"

#include <sys/mman.h>

#include "alloc.h"

/* Below this it is no large memory: what is made anew often must not be faulted in anew. */
#define LARGE (2u << 20)

void *vt_large_alloc(size_t bytes, bool huge)
{
	if (bytes < LARGE)
		return vt_calloc(1, bytes);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		vt_out_of_memory();
	if (huge)
		madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

void vt_large_free(void *p, size_t bytes)
{
	if (bytes < LARGE)
		free(p);
	else if (p)
		munmap(p, bytes);
}
