/*
 * stack.c - call stacks: taking them, and keeping each one once.
 *
 * Runs inside the traced process, before the system call, without the recorder lock. A known stack
 * is found in a lock-free cache; only a new one takes the recorder lock.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hash.h"
#include "walk.h"
#include <signal.h>
#include <sys/resource.h>

#define HOME_TRIES 4
#define REFERENCES 16 /* stacks written last whose outer frames a new one may share */

struct vt_stack_entry {
	UT_hash_handle hh;
	uint32_t id, n;
	uint32_t generation; /* of the trace that holds its definition */
	uint64_t pc[];
};

static struct {
	struct vt_stack_entry **by_id;
	uint32_t cap, written;
	const struct vt_stack_entry *last[REFERENCES];
	struct vt_callers callers;
	uint32_t callers_of; /* the generation whose trace they are of */
} table;

/*
 * Whether a frame of this thread is gone, because a handler that interrupted it left by siglongjmp;
 * here is the frame of a call that is made now. On the normal stack a frame at ours or below it is
 * gone, and so is one on the alternate stack; from the alternate stack, or from any other while the
 * frame is on the thread's own, nothing is concluded.
 */
bool vt_abandoned(const void *frame, const void *here)
{
	stack_t alt = { 0 };
	const struct vt_range *home = &vt_me()->home;
	uintptr_t there = (uintptr_t)frame, now = (uintptr_t)here;
	vt_sys2(SYS_sigaltstack, 0, &alt);
	bool in_alt = there - (uintptr_t)alt.ss_sp < alt.ss_size;
	if (alt.ss_flags & SS_ONSTACK)
		return in_alt && there <= now;
	if (there - home->lo < home->hi - home->lo && now - home->lo >= home->hi - home->lo)
		return false;
	return there <= now || (in_alt && !(alt.ss_flags & SS_DISABLE));
}

/*
 * Find the stack that is a thread's for as long as it lives, under the lock: the main stack as far
 * as it may grow, or what pthread_create mapped, with its guard below and the thread's own block
 * at its top. Of any other (a fibre's, one that the program made) nothing is known.
 */
void vt_stack_home(void *thread)
{
	struct vt_thread *t = thread;
	struct rlimit limit = { 0, 0 };
	vt_drain(false);
	struct vt_extent *x = vt_model_find(&vt.model, (uint64_t)__builtin_thread_pointer());
	struct vt_extent *guard = x ? vt_extent_prev(x) : NULL;
	t->home = (struct vt_range){ 0, 0 };
	if (guard && guard->end == x->start && guard->birth == x->birth && x->birth &&
	    !(guard->flags & (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC)))) {
		t->home = (struct vt_range){ x->start, x->end };
	} else if (t->tid == vt.pid) {
		for (x = vt_model_last(&vt.model); x && x->special != VT_SPECIAL_STACK;)
			x = vt_extent_prev(x);
		if (!x)
			return;
		guard = vt_extent_prev(x);
		vt_sys4(SYS_prlimit64, 0, RLIMIT_STACK, 0, &limit);
		t->home.hi = x->end;
		t->home.lo = guard ? guard->end : 0;
		if (limit.rlim_cur < t->home.hi - t->home.lo)
			t->home.lo = t->home.hi - limit.rlim_cur;
	}
}

/* A stack as it was taken: pc[skip] is the innermost frame that is not ours. */
struct taking {
	void *pc[VT_MAX_STACK + 8];
	int depth, n, skip;
	uint64_t hash;
	uint32_t id;
};

/* While the process still has one thread. */
void vt_stack_init(void)
{
	if (!vt.options.stack_depth)
		return;
	vt_loaded_init();
	if (!vt_walk_init())
		vt_note("stacks", "none: libunwind could not be loaded");
	vt.stack_cache = vt_arena_alloc(VT_CACHE_SLOTS * sizeof(struct vt_cache_slot));
	if (!vt.stack_cache)
		vt.options.stack_depth = 0;
}

/* Begin the table anew. Under the lock. */
void vt_stack_forget(void)
{
	memset(&table, 0, sizeof(table));
	vt.stacks = NULL;
	vt.n_stacks = 0;
}

/* How many outermost frames two stacks have in common. */
static uint32_t common_frames(const struct vt_stack_entry *a, const struct vt_stack_entry *b)
{
	uint32_t n = 0;
	while (n < a->n && n < b->n && a->pc[a->n - 1 - n] == b->pc[b->n - 1 - n])
		n++;
	return n;
}

/* Of the stacks written last, the one that shares most frames with e; NULL: none shares any. */
static const struct vt_stack_entry *reference_of(const struct vt_stack_entry *e, uint32_t *shared)
{
	const struct vt_stack_entry *best = NULL;
	*shared = 0;
	for (uint32_t i = 0; i < REFERENCES; i++) {
		const struct vt_stack_entry *r = table.last[i];
		uint32_t n = r && r->generation == vt.generation ? common_frames(e, r) : 0;
		if (n > *shared) {
			*shared = n;
			best = r;
		}
	}
	return best;
}

static bool write_definition(struct vt_stack_entry *e)
{
	uint32_t shared;
	const struct vt_stack_entry *reference = reference_of(e, &shared);
	uint8_t *room = vt_journal_room(64 + 10 * (size_t)e->n);
	if (!room)
		return false;
	struct vt_buf body = { room + 16, room + 64 + 10 * (size_t)e->n, false };
	if (table.callers_of != vt.generation)
		memset(&table.callers, 0, sizeof(table.callers));
	table.callers_of = vt.generation;
	uint32_t from = reference ? reference->id : e->id;
	uint64_t inner = 0, n = e->n, n_shared = shared;
	vt_codec_calls(&body, true, &table.callers, &e->id, &n, &from, &n_shared);
	for (uint32_t i = 0; i < e->n - shared; i++) {
		vt_codec_frame(&body, true, &table.callers, inner, &e->pc[i]);
		inner = e->pc[i];
	}
	size_t len = (size_t)(body.p - (room + 16));
	struct vt_buf head = { room, room + 16, false };
	*head.p++ = VT_DEF_CALLS;
	vt_put_varint(&head, len);
	memmove(head.p, room + 16, len);
	vt_journal_commit((size_t)(head.p - room) + len);
	e->generation = vt.generation;
	table.last[table.written++ % REFERENCES] = e;
	return true;
}

/* Write the definition of a stack that an earlier generation's trace already had. */
void vt_stack_define(uint32_t id)
{
	if (id && id <= vt.n_stacks && table.by_id[id]->generation != vt.generation)
		write_definition(table.by_id[id]);
}

/* The frames of a stack, innermost first; their number, 0 for none. Under the lock. */
uint32_t vt_stack_frames(uint32_t id, const uint64_t **pc)
{
	if (!id || id > vt.n_stacks)
		return 0;
	*pc = table.by_id[id]->pc;
	return table.by_id[id]->n;
}

static struct vt_stack_entry *add(const uint64_t *pc, uint32_t n, unsigned hash)
{
	void *ids = vt_id_table(table.by_id, vt.n_stacks, &table.cap);
	if (!ids)
		return NULL;
	table.by_id = ids;
	struct vt_stack_entry *e = vt_arena_alloc(sizeof(*e) + n * sizeof(e->pc[0]));
	if (!e)
		return NULL;
	e->n = n;
	e->id = vt.n_stacks + 1;
	memcpy(e->pc, pc, n * sizeof(*pc));
	if (!write_definition(e))
		return NULL;
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, vt.stacks, e->pc, n * sizeof(*pc), hash, e);
	if (!e->hh.tbl)
		return NULL;
	table.by_id[++vt.n_stacks] = e;
	return e;
}

/* What a parent's trace holds is not in its child's: a forked child finds nothing of before. */
static inline uint64_t cache_key(const struct taking *k)
{
	return k->hash ^ (uint64_t)vt.generation << 32;
}

static void intern(void *arg)
{
	struct taking *k = arg;
	const uint64_t *pc = (const uint64_t *)&k->pc[k->skip];
	struct vt_stack_entry *e = NULL;
	HASH_FIND_BYHASHVALUE(hh, vt.stacks, pc, (uint32_t)k->n * sizeof(*pc), (unsigned)k->hash,
			      e);
	if (!e)
		e = add(pc, (uint32_t)k->n, (unsigned)k->hash);
	else if (e->generation != vt.generation && !write_definition(e))
		e = NULL;
	if (e)
		vt_cache_set(vt.stack_cache, cache_key(k), e->id);
	k->id = e ? e->id : 0;
}

static void take(struct taking *k)
{
	struct vt_thread *t = vt_me();
	if (vt_unlikely(!t->home.hi) && t->home_tries < HOME_TRIES) {
		/* Perhaps the drain had not got that far yet. */
		t->home_tries++;
		vt_locked(vt_stack_home, t);
	}
	k->n = vt_walk(k->pc, k->depth + 4);
}

/* The id of the stack that stands in k. */
static uint32_t identify(struct taking *k)
{
	if (k->n <= 0)
		return 0;
	if (k->n > k->depth)
		k->n = k->depth;
	k->hash = (uint64_t)k->n;
	for (int i = 0; i < k->n; i++)
		k->hash = vt_mix(k->hash, (uint64_t)k->pc[k->skip + i]);
	k->id = vt_cache_get(vt.stack_cache, cache_key(k));
	if (vt_unlikely(!k->id))
		vt_locked(intern, k);
	return k->id;
}

/* The id of a stack that somebody else has taken, of n frames. */
uint32_t vt_stack_intern(void **pc, int n)
{
	struct taking k = { .depth = (int)vt.options.stack_depth, .n = n };
	memcpy(k.pc, pc, (size_t)n * sizeof(*pc));
	return identify(&k);
}

/* The id of the caller's stack, 0 when there is none to be had. May change errno. */
uint32_t vt_stack_id(void)
{
	struct taking k;
	k.depth = (int)vt.options.stack_depth;
	if (!k.depth)
		return 0;
	take(&k);
	k.skip = 0;
	while (k.skip < k.n && (uint64_t)k.pc[k.skip] - vt.text_lo < vt.text_hi - vt.text_lo)
		k.skip++;
	k.n -= k.skip;
	return identify(&k);
}
