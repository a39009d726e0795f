/*
 * test_tree.c - the augmented red-black tree under random calls: order, colours, gaps, and what
 * every subtree keeps must be right at each step.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "stage.h"

#define RED    1
#define STARTS 2
#define PAGES  4096

static int open_model(void **state)
{
	struct vt_model *m = calloc(1, sizeof(*m));
	stage_model(m);
	*state = m;
	return 0;
}

static int close_model(void **state)
{
	vt_model_fini(*state);
	free(*state);
	return 0;
}

/* What a subtree really holds; gaps in pages, as many as vt_extent.subtree_gap can tell. */
struct truth {
	uint64_t gap, bound;
	const struct vt_extent *last;
	bool starts;
	unsigned black; /* black extents on the way down */
};

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t pages_of(uint64_t gap)
{
	return gap >> VT_PAGE_SHIFT < UINT32_MAX ? gap >> VT_PAGE_SHIFT : UINT32_MAX;
}

/* x's subtree, which stands after prev. */
static struct truth check(const struct vt_extent *x, const struct vt_extent *parent,
			  const struct vt_extent *prev)
{
	if (!x)
		return (struct truth){ .last = prev, .black = 1 };
	assert_ptr_equal((const void *)(x->parent_color & ~7UL), parent);
	bool red = x->parent_color & RED;
	if (red && parent)
		assert_false(parent->parent_color & RED);
	struct truth left = check(x->left, x, prev);
	prev = left.last;
	assert_true(x->start >= (prev ? prev->end : 0) && x->start < x->end);
	assert_ptr_equal(vt_extent_prev(x), prev);
	if (prev)
		assert_ptr_equal(vt_extent_next(prev), x);
	uint64_t gap = x->start - (prev ? prev->end : 0);
	if (gap)
		assert_int_equal(x->boundary, VT_BOUNDARY_SPLIT);
	struct truth right = check(x->right, x, x);
	assert_int_equal(left.black, right.black);
	struct truth all = {
		.gap = larger(pages_of(gap), larger(left.gap, right.gap)),
		.bound = x->subtree_gap,
		.last = right.last,
		.starts = left.starts || right.starts || x->boundary != VT_BOUNDARY_MERGED,
		.black = left.black + !red,
	};
	assert_true(all.bound >= all.gap);
	assert_true(all.bound >= left.bound && all.bound >= right.bound);
	assert_int_equal((x->parent_color & STARTS) != 0, all.starts);
	return all;
}

static uint64_t seed = 88172645463325252;

static unsigned below(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

static void random_call(struct vt_model *m, uint64_t base, uint64_t seq)
{
	static const uint64_t prots[] = { NONE, R, RW, RW, RX };
	struct vt_effect fx;
	struct vt_event ev = { .seq = seq };
	uint64_t at = base + below(PAGES) * VT_PAGE_SIZE;
	uint64_t len = (1 + below(below(8) ? 8 : 512)) * VT_PAGE_SIZE;
	ev.a[0] = at;
	ev.a[1] = len;
	ev.a[2] = prots[below(5)];
	switch (below(4)) {
	case 0:
		ev.kind = VT_MUNMAP;
		break;
	case 1:
		ev.kind = VT_MPROTECT;
		break;
	default:
		ev.kind = VT_MMAP;
		ev.a[3] = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
		ev.ret = (int64_t)at;
		break;
	}
	assert_int_equal(vt_model_apply(m, &ev, &fx), 0);
}

static void the_tree_is_right_at_every_step(void **state)
{
	struct vt_model *m = *state;
	for (unsigned i = 0; i < 4000; i++) {
		random_call(m, STAGE_BASE, i + 1);
		check(m->root, NULL, NULL);
	}
}

/* Two windows further apart than vt_extent.subtree_gap can tell. */
static void gaps_too_large_for_their_field_are_right_too(void **state)
{
	struct vt_model *m = *state;
	for (unsigned i = 0; i < 2000; i++) {
		random_call(m, below(2) ? 0x10000 : 0x7f0000000000, i + 1);
		check(m->root, NULL, NULL);
	}
}

/* Memory for extents, further apart than vt_extent.next can tell. */
static void *take_far_memory(void *ctx, size_t bytes)
{
	unsigned *n = ctx;
	void *at = (void *)(0x100000000000 + ++*n * 0x1000000000);
	void *p = mmap(at, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(p, at);
	return p;
}

static void give_far_memory(void *ctx, void *p, size_t bytes)
{
	(void)ctx;
	munmap(p, bytes);
}

static void neighbours_far_apart_in_memory_are_neighbours(void **state)
{
	struct vt_model *m = *state;
	unsigned n = 0;
	struct vt_memory far = { take_far_memory, give_far_memory, &n };
	struct vt_model_config config = m->config;
	vt_model_fini(m);
	assert_int_equal(vt_model_init(m, &config, &far), 0);
	for (unsigned i = 0; i < 4000; i++) {
		random_call(m, STAGE_BASE, i + 1);
		check(m->root, NULL, NULL);
	}
	assert_true(n > 2);
}

static void searching_finds_what_walking_finds(void **state)
{
	struct vt_model *m = *state;
	for (unsigned i = 0; i < 1000; i++)
		random_call(m, STAGE_BASE, i + 1);
	for (unsigned page = 0; page < PAGES; page += 3) {
		struct vt_extent *x = vt_model_first(m);
		while (x && x->end <= addr(page))
			x = vt_extent_next(x);
		assert_ptr_equal(vt_model_find(m, addr(page)), x);
	}
}

/* The highest free place below the top, and the lowest above the bottom. */
static uint64_t highest_by_walking(const struct vt_model *m, uint64_t top, uint64_t len)
{
	for (struct vt_extent *x = vt_model_last(m); x; x = vt_extent_prev(x)) {
		if (x->end + len <= top)
			break;
		top = x->start < top ? x->start : top;
	}
	return top - len;
}

static uint64_t lowest_by_walking(const struct vt_model *m, uint64_t bottom, uint64_t len)
{
	for (struct vt_extent *x = vt_model_first(m); x; x = vt_extent_next(x)) {
		if (bottom + len <= x->start)
			break;
		bottom = x->end > bottom ? x->end : bottom;
	}
	return bottom;
}

/* What no search has asked for since it shrank is found out by the one that does. */
static void places_are_those_that_walking_finds(void **state)
{
	struct vt_model *m = *state;
	for (unsigned i = 0; i < 3000; i++) {
		random_call(m, STAGE_BASE, i + 1);
		uint64_t len = (1 + below(below(4) ? 8 : 300)) * VT_PAGE_SIZE;
		m->config.bottomup = below(2);
		m->config.mmap_base = addr(m->config.bottomup ? below(PAGES) : PAGES);
		uint64_t at = vt_get_unmapped_area(m, 0, len, 0, MAP_PRIVATE | MAP_ANONYMOUS, 0);
		if (m->config.bottomup)
			assert_int_equal(at, lowest_by_walking(m, m->config.mmap_base, len));
		else
			assert_int_equal(at, highest_by_walking(m, m->config.mmap_base, len));
		if (i % 8 == 0)
			check(m->root, NULL, NULL);
	}
}

static void many_searches_at_once_find_what_one_finds(void **state)
{
	struct vt_model *m = *state;
	uint64_t at[VT_FIND_MANY];
	struct vt_extent *found[VT_FIND_MANY];
	for (unsigned i = 0; i < 500; i++) {
		for (unsigned k = 0; k < VT_FIND_MANY; k++)
			at[k] = addr(below(PAGES + 100));
		vt_model_find_many(m, at, VT_FIND_MANY, found);
		for (unsigned k = 0; k < VT_FIND_MANY; k++)
			assert_ptr_equal(found[k], vt_model_find(m, at[k]));
		random_call(m, STAGE_BASE, i + 1);
	}
}

/* One model is told where the next search may end, by what was so some calls ago. */
static void a_hint_that_no_longer_holds_does_no_harm(void **state)
{
	struct vt_model *told = *state, other;
	struct vt_extent *old[16] = { 0 };
	stage_model(&other);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t before = seed;
		random_call(&other, STAGE_BASE, i + 1);
		seed = before;
		told->hint = old[i % 16];
		random_call(told, STAGE_BASE, i + 1);
		old[i % 16] = vt_model_find(told, addr(below(PAGES)));
		assert_memory_equal(&told->totals, &other.totals, sizeof(other.totals));
	}
	check(told->root, NULL, NULL);
	vt_model_fini(&other);
}

static void walking_back_is_walking_forth_reversed(void **state)
{
	struct vt_model *m = *state;
	for (unsigned i = 0; i < 1000; i++)
		random_call(m, STAGE_BASE, i + 1);
	struct vt_extent *x = vt_model_first(m), *prev = NULL;
	for (; x; prev = x, x = vt_extent_next(x))
		assert_ptr_equal(vt_extent_prev(x), prev);
	assert_ptr_equal(vt_model_last(m), prev);
}

static void extents_are_used_again(void **state)
{
	static size_t taken;
	struct vt_model *m = *state;
	struct vt_effect fx;
	for (unsigned i = 0; i < 100000; i++) {
		struct vt_event ev = { .seq = i + 1,
				       .kind = VT_MMAP,
				       .a = { 0, VT_PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS },
				       .ret = (int64_t)addr(i % 7 * 2) };
		vt_model_apply(m, &ev, &fx);
		struct vt_event gone = { .seq = i + 1,
					 .kind = VT_MUNMAP,
					 .a = { addr(i % 7 * 2), VT_PAGE_SIZE } };
		vt_model_apply(m, &gone, &fx);
	}
	for (struct vt_extent *x = m->free_list; x; x = x->right)
		taken++;
	assert_true(taken < 100);
	assert_null(m->root);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_model, close_model)
	const struct CMUnitTest tests[] = {
		T(the_tree_is_right_at_every_step),
		T(gaps_too_large_for_their_field_are_right_too),
		T(neighbours_far_apart_in_memory_are_neighbours),
		T(searching_finds_what_walking_finds),
		T(places_are_those_that_walking_finds),
		T(many_searches_at_once_find_what_one_finds),
		T(a_hint_that_no_longer_holds_does_no_harm),
		T(walking_back_is_walking_forth_reversed),
		T(extents_are_used_again),
	};
	return cmocka_run_group_tests_name("rb_tree, vma_compute_gap", tests, NULL, NULL);
}
