/*
 * walk.c - call stacks by a cache of frame rules, without a lock. For x86-64.
 *
 * Runs inside the traced process, in any thread and any signal handler, on any stack: takes 200
 * bytes of it and may be interrupted and entered again anywhere. A rule that is not in the cache is
 * worked out by cfi.c, with signals blocked and on a stack of ours. Nothing on the stack is
 * believed: an address is read only if it lies between the stack pointer and the end of a stack
 * that is known, or if the kernel says that it can be read.
 *
 * SPDX-License-Identifier: MIT
 */
#include "walk.h"
#include "cfi.h"
#include "hash.h"
#include <ucontext.h>

#define BUCKETS  1024
#define RED_ZONE 128
#define WAYS     4 /* rules in a bucket: one line of the processor's cache */

/* Filled by two stores: the rule, and the rule and the place it is for mixed. */
struct entry {
	_Atomic uint64_t rule, check;
};
static struct entry cache[BUCKETS][WAYS] __attribute__((aligned(64)));
static _Atomic uint64_t epoch;

/*
 * Blocks of 64 KiB of code that some rule was for, hashed. What is mapped elsewhere leaves all
 * rules as they are: a program that loads library after library would work out its whole stack
 * after each.
 */
#define BLOCK_SHIFT 16
#define BLOCKS      32768
#define MOST_BLOCKS 4096 /* that are looked at: 256 MiB */
static _Atomic uint64_t blocks[BLOCKS / 64];

static bool test_block(uint64_t block, bool set)
{
	uint64_t at = vt_mix(0, block) >> 32;
	_Atomic uint64_t *word = &blocks[at / 64 % (BLOCKS / 64)];
	uint64_t bit = 1ull << at % 64;
	bool was = atomic_load_explicit(word, memory_order_relaxed) & bit;
	if (set && !was)
		atomic_fetch_or(word, bit);
	return was;
}

/* Code of a file was mapped: if there are rules for places in it, they may mean another now. */
void vt_walk_forget(uint64_t addr, uint64_t len)
{
	uint64_t block = addr >> BLOCK_SHIFT, last = (addr + len - 1) >> BLOCK_SHIFT;
	bool known = last - block > MOST_BLOCKS;
	atomic_thread_fence(memory_order_seq_cst);
	for (; !known && block <= last; block++)
		known = test_block(block, false);
	if (known)
		atomic_fetch_add_explicit(&epoch, 1, memory_order_release);
}

/* A walk under way. size bytes from lo on can be read. */
struct walk {
	uint64_t pc, sp, rbp, rbx, lo, size, epoch;
	const struct vt_range *home;
	void **out; /* where the places go: n so far, at most max */
	int n, max;
	bool exact;
};

/* A rule that is not in the bucket yet. With signals blocked, on the unwinder's stack. */
static union vt_frame_rule work_out(const struct walk *w, uint64_t tag, struct entry *bucket)
{
	test_block(w->pc >> BLOCK_SHIFT, true);
	union vt_frame_rule rule = vt_cfi_rule(w->pc, w->exact);
	struct entry *e = bucket;
	while (e < bucket + WAYS && atomic_load_explicit(&e->rule, memory_order_relaxed))
		e++;
	if (e == bucket + WAYS)
		e = &bucket[vt_tick() / 16 % WAYS];
	atomic_store_explicit(&e->rule, rule.word, memory_order_relaxed);
	atomic_store_explicit(&e->check, rule.word ^ tag, memory_order_relaxed);
	return rule;
}

/* The rule for the frame that the walk has come to; kind VT_FRAME_NONE: it has to be worked out. */
static inline union vt_frame_rule rule_of(const struct walk *w, bool work)
{
	uint64_t tag = vt_mix(w->epoch << 1 | w->exact, w->pc);
	struct entry *bucket = cache[(tag >> 32) % BUCKETS];
	for (int i = 0; i < WAYS; i++) {
		uint64_t rule = atomic_load_explicit(&bucket[i].rule, memory_order_relaxed);
		uint64_t check = atomic_load_explicit(&bucket[i].check, memory_order_relaxed);
		if (vt_likely((rule ^ check) == tag && rule))
			return (union vt_frame_rule){ .word = rule };
	}
	return work ? work_out(w, tag, bucket) : (union vt_frame_rule){ .word = 0 };
}

/*
 * From here on the stack is the one that holds sp. What a function that is about to return has just
 * restored is still in the red zone below.
 */
static inline void enter_stack(struct walk *w)
{
	uint64_t end = (w->sp | (VT_PAGE_SIZE - 1)) + 1;
	w->lo = w->sp;
	if (w->sp - w->home->lo < w->home->hi - w->home->lo) {
		end = w->home->hi;
		w->lo -= RED_ZONE;
	}
	w->size = end - w->lo;
}

/* Whether the page can be read; then what can be read is that page. */
static __attribute__((noinline)) bool look_elsewhere(struct walk *w, uint64_t at)
{
	if (!vt_readable((const void *)at))
		return false;
	w->lo = at & ~(VT_PAGE_SIZE - 1);
	w->size = VT_PAGE_SIZE;
	return true;
}

/* The word at an aligned address; false: it cannot be read. */
static inline bool word(struct walk *w, uint64_t at, uint64_t *value)
{
	if (vt_unlikely(at - w->lo >= w->size) && !look_elsewhere(w, at))
		return false;
	*value = *(const uint64_t *)at;
	return true;
}

static inline bool restore(struct walk *w, int64_t slot, uint64_t base, uint64_t *reg)
{
	return slot == VT_REG_SAME || word(w, base + 8 * (uint64_t)slot, reg);
}

/* To the caller of a frame whose CFA is known. base: what saved registers are counted from. */
static inline bool leave(struct walk *w, union vt_frame_rule rule, uint64_t cfa, uint64_t base)
{
	if (vt_unlikely(cfa <= w->sp || (cfa | base) & 7))
		return false;
	w->sp = cfa;
	w->exact = false;
	return word(w, cfa - 8, &w->pc) && restore(w, rule.rbp, base, &w->rbp) &&
	       restore(w, rule.rbx, base, &w->rbx);
}

/* To the frame that a signal interrupted. */
static bool leave_signal(struct walk *w)
{
	const ucontext_t *u = (const void *)w->sp;
	uint64_t regs[4];
	static const int which[4] = { REG_RIP, REG_RSP, REG_RBP, REG_RBX };
	for (int i = 0; i < 4; i++)
		if (w->sp & 7 || !word(w, (uint64_t)&u->uc_mcontext.gregs[which[i]], &regs[i]))
			return false;
	w->pc = regs[0];
	w->sp = regs[1];
	w->rbp = regs[2];
	w->rbx = regs[3];
	w->exact = true;
	enter_stack(w);
	return true;
}

static inline bool step(struct walk *w, union vt_frame_rule rule)
{
	const union vt_frame_rule chained = { .rbp = -2, .rbx = VT_REG_SAME };
	uint64_t cfa;
	switch (rule.kind) {
	case VT_FRAME_RSP:
		cfa = w->sp + (uint64_t)(int64_t)rule.cfa;
		return leave(w, rule, cfa, cfa);
	case VT_FRAME_RBP:
		cfa = w->rbp + (uint64_t)(int64_t)rule.cfa;
		return leave(w, rule, cfa, cfa);
	case VT_FRAME_RBX:
		cfa = w->rbx + (uint64_t)(int64_t)rule.cfa;
		return leave(w, rule, cfa, cfa);
	case VT_FRAME_FAR:
		cfa = w->rbp + (uint64_t)(int64_t)rule.cfa;
		return leave(w, rule, cfa, cfa) && word(w, cfa - VT_FAR, &w->pc);
	case VT_FRAME_DEREF:
		return !(w->rbp & 7) && word(w, w->rbp + (uint64_t)(int64_t)rule.cfa, &cfa) &&
		       leave(w, rule, cfa, w->rbp);
	case VT_FRAME_GUESS:
		return leave(w, chained, w->rbp + 16, w->rbp + 16);
	case VT_FRAME_SIGNAL:
		return leave_signal(w);
	default:
		return false;
	}
}

bool vt_walk_init(void)
{
	return true;
}

/* As far as it goes; false: it goes on once the next rule has been worked out. */
static inline bool walk(struct walk *w, bool work)
{
	while (w->n < w->max && w->pc) {
		union vt_frame_rule rule = rule_of(w, work);
		if (vt_unlikely(!rule.word))
			return false;
		w->out[w->n++] = (void *)w->pc;
		if (!step(w, rule))
			break;
	}
	return true;
}

static void walk_on(void *w)
{
	walk(w, true);
}

static int walk_all(struct walk *w)
{
	w->epoch = atomic_load_explicit(&epoch, memory_order_acquire);
	if (vt_unlikely(!walk(w, false)))
		vt_unwinding(walk_on, w);
	return w->n;
}

int vt_walk(void **pc, int max)
{
	struct walk w = { .home = &vt_self.home, .out = pc, .max = max, .exact = true };
	__asm__ volatile("leaq 0(%%rip), %0\n\tmovq %%rsp, %1\n\tmovq %%rbp, %2\n\tmovq %%rbx, %3"
			 : "=&r"(w.pc), "=&r"(w.sp), "=&r"(w.rbp), "=&r"(w.rbx));
	enter_stack(&w);
	return walk_all(&w);
}

/* The stack may be what is broken: nothing of it is taken as known. */
int vt_walk_from(const void *context, void **pc, int max)
{
	static const struct vt_range nowhere;
	const union vt_frame_rule called = {
		.kind = VT_FRAME_RSP, .cfa = 8, .rbp = VT_REG_SAME, .rbx = VT_REG_SAME
	};
	struct walk w = { .home = &nowhere, .out = pc, .max = max };
	w.sp = w.lo = (uint64_t)context;
	w.size = sizeof(ucontext_t);
	if (!max || !leave_signal(&w))
		return 0;
	w.size = 0;
	if (!vt_readable((const void *)w.pc)) {
		pc[w.n++] = (void *)w.pc;
		if (!step(&w, called))
			return w.n;
	}
	return walk_all(&w);
}
