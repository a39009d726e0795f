/*
 * test_kernel.c - kernel.c: the same call on the kernel before a change and on the one with it. No
 * live kernel plays along here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stage.h"

#include <string.h>

#define KERNEL(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor) << 8)
#define ANON                 (MAP_PRIVATE | MAP_ANONYMOUS)
#define MIB                  (1UL << 20)
#define TOP                  0x7ffff7fff000UL /* stage_model's mmap_base */

static struct vt_model m;
static struct vt_effect fx;
static uint64_t seq;

/* An empty model of a kernel's. */
static void boot(uint32_t version)
{
	struct vt_model other;
	stage_model(&other);
	other.config.kernel_version = version;
	assert_int_equal(vt_model_init(&m, &other.config, &other.memory), 0);
	vt_model_fini(&other);
	seq = 0;
}

static void happens(enum vt_kind kind, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
		    uint64_t a4, int64_t ret)
{
	struct vt_event ev = {
		.seq = ++seq, .kind = (uint8_t)kind, .a = { a0, a1, a2, a3, a4 }, .ret = ret
	};
	assert_int_equal(vt_model_apply(&m, &ev, &fx), 0);
}

static void maps(uint64_t at, uint64_t len, uint64_t prot, uint64_t flags)
{
	happens(VT_MMAP, at, len, prot, flags | MAP_FIXED, (uint64_t)-1, (int64_t)at);
}

static uint64_t place(uint64_t hint, uint64_t len)
{
	return vt_get_unmapped_area(&m, hint, len, 0, ANON, 0);
}

static int end(void **state)
{
	(void)state;
	vt_model_fini(&m);
	memset(&m, 0, sizeof(m));
	return 0;
}

static void a_kernel_has_the_ways_up_to_its_version(void **state)
{
	(void)state;
	assert_int_equal(vt_kernel_ways_of(KERNEL(6, 6)) >> VT_KERNEL_WAY_THP_ALIGN & 1, 0);
	assert_int_equal(vt_kernel_ways_of(KERNEL(6, 7)) >> VT_KERNEL_WAY_THP_ALIGN & 1, 1);
	assert_int_equal(vt_kernel_ways_of(KERNEL(5, 10)), 0);
	assert_int_equal(vt_kernel_ways_of(0), (1U << VT_KERNEL_WAY_COUNT) - 1);
}

static void stacks_of_threads_get_no_huge_pages_since_6_7(void **state)
{
	(void)state;
	for (unsigned minor = 6; minor <= 7; minor++) {
		boot(KERNEL(6, minor));
		maps(addr(0), 8 * VT_PAGE_SIZE, RW, ANON | MAP_STACK);
		bool flag = vt_model_find(&m, addr(0))->flags & VT_VM(NOHUGEPAGE);
		assert_int_equal(flag, minor == 7);
		vt_model_fini(&m);
	}
}

static void large_memory_is_placed_by_huge_pages_since_6_7_and_ever_more_rarely(void **state)
{
	static const struct {
		unsigned minor;
		uint64_t whole, odd; /* 4 MiB, 3 MiB */
	} kernels[] = {
		{ 6, TOP - 4 * MIB, TOP - 3 * MIB },
		{ 8, 0x7ffff7a00000, 0x7ffff7c00000 },
		{ 12, 0x7ffff7a00000, TOP - 3 * MIB },
	};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		boot(KERNEL(6, kernels[i].minor));
		assert_int_equal(place(0, 4 * MIB), kernels[i].whole);
		assert_int_equal(place(0, 3 * MIB), kernels[i].odd);
		vt_model_fini(&m);
	}
}

/* A hint that is free is taken as it is. */
static void a_hint_that_is_not_free_takes_part_in_alignment_up_to_6_12(void **state)
{
	(void)state;
	for (unsigned minor = 12; minor <= 13; minor++) {
		boot(KERNEL(6, minor));
		maps(0x200000000000, VT_PAGE_SIZE, R, ANON);
		uint64_t at = place(0x200000000000, 2 * MIB);
		assert_int_equal(at & (2 * MIB - 1) ? 13 : 12, minor);
		vt_model_fini(&m);
	}
}

/*
 * ...|r|..|r|.....|stack with a guard gap of ten pages: since 6.1 the gap below the stack makes the
 * search begin again below the guard gap, before that the gap of two pages was taken.
 */
static void a_guard_gap_makes_the_search_begin_again_since_6_1(void **state)
{
	const uint64_t stack = TOP - 16 * VT_PAGE_SIZE;
	(void)state;
	for (unsigned minor = 0; minor <= 1; minor++) {
		boot(KERNEL(6, minor));
		m.config.stack_guard_gap = 10 * VT_PAGE_SIZE;
		maps(stack, 16 * VT_PAGE_SIZE, RW, ANON | MAP_GROWSDOWN);
		maps(stack - 6 * VT_PAGE_SIZE, VT_PAGE_SIZE, R, ANON);
		maps(stack - 9 * VT_PAGE_SIZE, VT_PAGE_SIZE, R, ANON);
		assert_int_equal(place(0, VT_PAGE_SIZE), stack - (minor ? 11 : 7) * VT_PAGE_SIZE);
		vt_model_fini(&m);
	}
}

static void the_heap_joined_what_follows_it_up_to_6_0(void **state)
{
	const uint64_t heap = 0x500000000000;
	(void)state;
	for (unsigned minor = 0; minor <= 1; minor++) {
		boot(KERNEL(6, minor));
		m.config.brk = heap;
		maps(heap + VT_PAGE_SIZE, VT_PAGE_SIZE, RW, ANON);
		happens(VT_BRK, heap + VT_PAGE_SIZE, 0, 0, 0, 0, (int64_t)(heap + VT_PAGE_SIZE));
		assert_int_equal(m.totals.map_count, minor ? 2 : 1);
		vt_model_fini(&m);
	}
}

static void a_refused_forced_placement_splits_for_sure_since_6_12(void **state)
{
	(void)state;
	for (unsigned minor = 11; minor <= 12; minor++) {
		boot(KERNEL(6, minor));
		m.config.max_map_count = 65530;
		maps(addr(0), 8 * VT_PAGE_SIZE, R, ANON);
		happens(VT_MMAP, addr(2), 2 * VT_PAGE_SIZE, RW, ANON | MAP_FIXED, (uint64_t)-1,
			-ENOMEM);
		assert_int_equal(fx.contradiction, minor == 12 ? 0 : VT_CONTRA_OPEN);
		assert_int_equal(m.totals.map_count, minor == 12 ? 3 : 1);
		vt_model_fini(&m);
	}
}

static void a_sealed_area_stops_a_call_half_way_since_6_12(void **state)
{
	(void)state;
	for (unsigned minor = 11; minor <= 12; minor++) {
		boot(KERNEL(6, minor));
		maps(addr(0), 4 * VT_PAGE_SIZE, R, ANON);
		happens(VT_MSEAL, addr(2), VT_PAGE_SIZE, 0, 0, 0, 0);
		happens(VT_MPROTECT, addr(0), 4 * VT_PAGE_SIZE, NONE, 0, 0, -EPERM);
		bool changed = !(vt_model_find(&m, addr(0))->flags & VT_VM(READ));
		assert_int_equal(changed, minor == 12);
		vt_model_fini(&m);
	}
}

/* Left touched for sure, right never: up to 6.15 only the other way round was one area. */
static void an_anon_vma_is_taken_over_since_6_16(void **state)
{
	(void)state;
	for (unsigned minor = 15; minor <= 16; minor++) {
		boot(KERNEL(6, minor));
		maps(addr(0), VT_PAGE_SIZE, R, ANON);
		maps(addr(1), VT_PAGE_SIZE, RW, ANON | MAP_POPULATE);
		happens(VT_MPROTECT, addr(1), VT_PAGE_SIZE, R, 0, 0, 0);
		vt_model_find(&m, addr(1))->flags = vt_model_find(&m, addr(0))->flags;
		assert_int_equal(
		    vt_why_apart(&m, vt_model_find(&m, addr(0)), vt_model_find(&m, addr(1))),
		    minor == 15 ? VT_APART_ANON_VMA : VT_APART_NOT);
		vt_model_fini(&m);
	}
}

static void several_areas_move_at_once_since_6_17(void **state)
{
	(void)state;
	for (unsigned minor = 16; minor <= 17; minor++) {
		boot(KERNEL(6, minor));
		maps(addr(0), VT_PAGE_SIZE, R, ANON);
		maps(addr(1), VT_PAGE_SIZE, RW, ANON);
		happens(VT_MREMAP, addr(0), 2 * VT_PAGE_SIZE, 2 * VT_PAGE_SIZE,
			MREMAP_MAYMOVE | MREMAP_FIXED, addr(8), (int64_t)addr(8));
		assert_int_equal(fx.contradiction, minor == 17 ? 0 : VT_CONTRA_MISSING);
		vt_model_fini(&m);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, end)
	const struct CMUnitTest tests[] = {
		T(a_kernel_has_the_ways_up_to_its_version),
		T(stacks_of_threads_get_no_huge_pages_since_6_7),
		T(large_memory_is_placed_by_huge_pages_since_6_7_and_ever_more_rarely),
		T(a_hint_that_is_not_free_takes_part_in_alignment_up_to_6_12),
		T(a_guard_gap_makes_the_search_begin_again_since_6_1),
		T(the_heap_joined_what_follows_it_up_to_6_0),
		T(a_refused_forced_placement_splits_for_sure_since_6_12),
		T(a_sealed_area_stops_a_call_half_way_since_6_12),
		T(an_anon_vma_is_taken_over_since_6_16),
		T(several_areas_move_at_once_since_6_17),
	};
	return cmocka_run_group_tests_name("kernels", tests, NULL, NULL);
}
