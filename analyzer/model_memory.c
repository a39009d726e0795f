/*
 * model_memory.c - memory for a model that may become large.
 *
 * A walk down the tree of a million extents meets a new page at almost every step: in huge pages it
 * takes a fifth less time.
 *
 * SPDX-License-Identifier: MIT
 */
#include "model_memory.h"
#include "alloc.h"
#include <sys/mman.h>

#define FIRST (256u << 10)
#define LATER (32u << 20)

struct chunk {
	struct chunk *next;
	void *start;
	size_t bytes;
};

struct vt_pool {
	struct chunk *chunks;
	char *at;
	size_t left;
};

struct vt_pool *vt_pool_new(void)
{
	return vt_calloc(1, sizeof(struct vt_pool));
}

static bool add_chunk(struct vt_pool *pool, size_t bytes)
{
	size_t size = pool->chunks ? LATER : FIRST;
	if (size < bytes)
		size = bytes;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	if (size >= LATER)
		madvise(p, size, MADV_HUGEPAGE);
	struct chunk *c = vt_calloc(1, sizeof(*c));
	*c = (struct chunk){ pool->chunks, p, size };
	pool->chunks = c;
	pool->at = p;
	pool->left = size;
	return true;
}

static void *take(void *ctx, size_t bytes)
{
	struct vt_pool *pool = ctx;
	if (bytes > pool->left && !add_chunk(pool, bytes))
		return NULL;
	void *p = pool->at;
	pool->at += bytes;
	pool->left -= bytes;
	return p;
}

struct vt_memory vt_pool_memory(struct vt_pool *pool)
{
	return (struct vt_memory){ .alloc = take, .ctx = pool };
}

void vt_pool_free(struct vt_pool *pool)
{
	while (pool && pool->chunks) {
		struct chunk *c = pool->chunks;
		pool->chunks = c->next;
		munmap(c->start, c->bytes);
		free(c);
	}
	free(pool);
}
