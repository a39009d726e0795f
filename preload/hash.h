/*
 * hash.h - uthash over the arena, and the lock-free caches before it.
 *
 * Runs inside the traced process. Tables change only under the recorder lock; the caches are read
 * and written by anybody: a slot's key is hash ^ id, so that a torn pair does not match.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_HASH_H
#define VMTRAIL_HASH_H

#include "recorder.h"

#define HASH_NONFATAL_OOM     1
#define uthash_malloc(bytes)  vt_arena_alloc(bytes)
#define uthash_free(p, bytes) ((void)(p))
#include <uthash.h>

static inline uint64_t vt_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static inline uint32_t vt_cache_get(struct vt_cache_slot *cache, uint64_t hash)
{
	struct vt_cache_slot *c = &cache[(hash >> 32) % VT_CACHE_SLOTS];
	uint64_t key = atomic_load_explicit(&c->key, memory_order_relaxed);
	uint64_t id = atomic_load_explicit(&c->id, memory_order_relaxed);
	return id && (key ^ id) == hash ? (uint32_t)id : 0;
}

static inline void vt_cache_set(struct vt_cache_slot *cache, uint64_t hash, uint32_t id)
{
	struct vt_cache_slot *c = &cache[(hash >> 32) % VT_CACHE_SLOTS];
	atomic_store_explicit(&c->key, hash ^ id, memory_order_relaxed);
	atomic_store_explicit(&c->id, id, memory_order_relaxed);
}

/*
 * Room for one more pointer behind n in a table of cap; the old table stays where it is (the arena
 * gives nothing back, and doubling wastes no more than the table itself). NULL: no memory.
 */
static inline void *vt_id_table(void *old, uint32_t n, uint32_t *cap)
{
	if (n + 1 < *cap)
		return old;
	uint32_t more = *cap ? *cap * 2 : 256;
	while (n + 1 >= more)
		more *= 2;
	void **grown = vt_arena_alloc(more * sizeof(*grown));
	if (!grown)
		return NULL;
	if (old)
		memcpy(grown, old, *cap * sizeof(*grown));
	*cap = more;
	return grown;
}

#endif
