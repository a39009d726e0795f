/*
 * find_deaths.c - the log of deaths and its table. Knows nothing of what the deaths cover.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find_deaths.h"

#include <vmtrail/model.h>

#include "alloc.h"
#include "large_memory.h"

/* The least size of the table, a power of two. */
#define LEAST_HEADS 8192
/* The table has so many places for each that is in use, but not more than two for an entry. */
#define SPARSE 32
/* So many entries of a range are looked at, among so many of its hash. */
#define LOOK_BACK 6
#define OF_HASH   8
/* The chain of what is no entry of the table. */
#define PIECE UINT32_MAX
/* So many entries ahead the table is fetched when it is made anew. */
#define AHEAD 16

_Static_assert(sizeof(struct vt_death) + 3 * sizeof(uint32_t) + 2 * sizeof(struct vt_deaths_head) <=
		   64,
	       "a death takes at most 64 bytes, its place in the tree and in the table included");

/*
 * vt_deaths_head.threads: whose the last entries are, in two sets of hashes and a count. The newer
 * set is of that many entries, the older one of the OF_HASH before them. Most who ask are in
 * neither, and no entry needs to be fetched, of which each is somewhere else in memory.
 */
#define SET_BITS    14u
#define SET         ((1u << SET_BITS) - 1)
#define COUNT_SHIFT (2 * SET_BITS)

static uint32_t bit_of(uint32_t tid)
{
	return 1u << tid % SET_BITS;
}

static bool may_be_of(const struct vt_deaths_head *head, uint32_t tid)
{
	return (head->threads | head->threads >> SET_BITS) & bit_of(tid);
}

static void note_threads(struct vt_deaths_head *head, uint32_t a, uint32_t b)
{
	uint32_t count = head->threads >> COUNT_SHIFT, newer = head->threads & SET,
		 older = head->threads >> SET_BITS & SET;
	if (count == OF_HASH) {
		older = newer;
		newer = count = 0;
	}
	newer |= bit_of(a) | bit_of(b);
	head->threads = (count + 1) << COUNT_SHIFT | older << SET_BITS | newer;
}

static struct vt_deaths_head *head_of(const struct vt_deaths *d, uint64_t lo, uint64_t hi)
{
	uint64_t x = (lo ^ (hi - lo) << 40) * 0x9e3779b97f4a7c15u;
	return &d->heads[(x ^ x >> 32) & (d->n_heads - 1)];
}

void vt_deaths_expect(const struct vt_deaths *d, uint64_t lo, uint64_t hi)
{
	if (d->n_heads)
		__builtin_prefetch(head_of(d, lo >> VT_PAGE_SHIFT, hi >> VT_PAGE_SHIFT), 1);
}

static uint32_t new_entry(struct vt_deaths *d)
{
	uint32_t i = d->n ? d->n : 1;
	if (i / VT_DEATHS_CHUNK >= d->n_chunks) {
		d->chunks =
		    vt_grow(d->chunks, d->n_chunks, &d->cap_chunks, sizeof(struct vt_death *));
		d->chunks[d->n_chunks] =
		    vt_large_alloc(VT_DEATHS_CHUNK * sizeof(struct vt_death), d->n_chunks > 0);
		d->n_chunks++;
	}
	d->n = i + 1;
	return i;
}

void vt_deaths_set(struct vt_deaths *d, uint32_t i, const struct vt_dead *dead)
{
	*vt_deaths_at(d, i) = (struct vt_death){ .lo = dead->lo >> VT_PAGE_SHIFT,
						 .hi = dead->hi >> VT_PAGE_SHIFT,
						 .owner = dead->owner,
						 .killer = dead->killer,
						 .exec = dead->exec,
						 .file = dead->file,
						 .birth_tid = dead->birth_tid,
						 .death_tid = dead->death_tid,
						 .chain = dead->claim,
						 .birth = dead->birth,
						 .death = dead->death };
}

uint32_t vt_deaths_add(struct vt_deaths *d, const struct vt_dead *dead)
{
	uint32_t i = new_entry(d);
	vt_deaths_set(d, i, dead);
	return i;
}

uint32_t vt_deaths_add_piece(struct vt_deaths *d, uint32_t of)
{
	uint32_t i = new_entry(d);
	*vt_deaths_at(d, i) = *vt_deaths_at(d, of);
	vt_deaths_at(d, i)->chain = PIECE;
	return i;
}

bool vt_deaths_is_piece(const struct vt_deaths *d, uint32_t i)
{
	return vt_deaths_at(d, i)->chain == PIECE;
}

static void chain(struct vt_deaths *d, uint32_t i)
{
	struct vt_death *entry = vt_deaths_at(d, i);
	struct vt_deaths_head *head = head_of(d, entry->lo, entry->hi);
	d->n_used += !head->newest;
	entry->chain = head->newest;
	head->newest = i;
	note_threads(head, entry->birth_tid, entry->death_tid);
}

/* Make the table twice as large, for the n entries that there are. */
static void grow(struct vt_deaths *d, uint32_t n)
{
	vt_large_free(d->heads, d->n_heads * sizeof(*d->heads));
	d->n_heads = d->n_heads ? 2 * d->n_heads : LEAST_HEADS;
	d->n_used = 0;
	d->heads = vt_large_alloc(d->n_heads * sizeof(*d->heads), d->n_heads > LEAST_HEADS);
	for (uint32_t i = 1; i < n; i++) {
		if (i + AHEAD < n) {
			const struct vt_death *later = vt_deaths_at(d, i + AHEAD);
			__builtin_prefetch(head_of(d, later->lo, later->hi), 1);
		}
		if (!vt_deaths_is_piece(d, i))
			chain(d, i);
	}
}

void vt_deaths_index(struct vt_deaths *d, uint32_t i)
{
	if (i >= d->n_heads && d->n_used >= d->n_heads / SPARSE)
		grow(d, i);
	chain(d, i);
}

uint32_t vt_deaths_same(const struct vt_deaths *d, uint64_t lo, uint64_t hi, uint32_t tid)
{
	lo >>= VT_PAGE_SHIFT;
	hi >>= VT_PAGE_SHIFT;
	const struct vt_deaths_head *head = d->n_heads ? head_of(d, lo, hi) : NULL;
	uint32_t i = head && may_be_of(head, tid) ? head->newest : 0;
	for (int n = 0, of_range = 0; i && n < OF_HASH && of_range < LOOK_BACK; n++) {
		const struct vt_death *entry = vt_deaths_at(d, i);
		bool same = entry->lo == lo && entry->hi == hi;
		if (same && (entry->birth_tid == tid || entry->death_tid == tid))
			return i;
		of_range += same;
		i = entry->chain;
	}
	return 0;
}

struct vt_dead vt_deaths_get(const struct vt_deaths *d, uint32_t i)
{
	const struct vt_death *entry = vt_deaths_at(d, i);
	return (struct vt_dead){ .lo = (uint64_t)entry->lo << VT_PAGE_SHIFT,
				 .hi = (uint64_t)entry->hi << VT_PAGE_SHIFT,
				 .birth = entry->birth,
				 .death = entry->death,
				 .birth_tid = entry->birth_tid,
				 .death_tid = entry->death_tid,
				 .owner = entry->owner,
				 .killer = entry->killer,
				 .exec = entry->exec,
				 .file = entry->file,
				 .claim = entry->chain };
}

void vt_deaths_free(struct vt_deaths *d)
{
	for (size_t i = 0; i < d->n_chunks; i++)
		vt_large_free(d->chunks[i], VT_DEATHS_CHUNK * sizeof(struct vt_death));
	free(d->chunks);
	vt_large_free(d->heads, d->n_heads * sizeof(*d->heads));
	*d = (struct vt_deaths){ 0 };
}
