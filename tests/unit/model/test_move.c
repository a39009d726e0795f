/*
 * test_move.c - mremap in all its forms: mremap_to, remap_move, copy_vma, vma_merge_extend.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stage.h"

#include <linux/mman.h>

#define TO (MREMAP_MAYMOVE | MREMAP_FIXED)

static void shrinking_unmaps_the_end(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	move(s, 0, 6, 2, 0, 0);
	shows(s, "ww");
	assert_int_equal(s->fate_pages[VT_PIECE_UNMAPPED], 4);
}

static void shrinking_in_the_middle_leaves_a_hole(void **state)
{
	map(*state, 0, 6, RW);
	move(*state, 1, 3, 1, 0, 0);
	shows(*state, "ww..ww");
}

static void growing_in_place_stays_one_area_of_two_births(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	move(s, 0, 2, 5, 0, 0);
	shows(s, "wwwww");
	assert_int_equal(s->m.totals.extents, 2);
	assert_int_equal(vt_model_find(&s->m, addr(3))->birth, s->seq);
	assert_int_equal(s->fate_pages[VT_PIECE_BORN], 3);
}

static void growing_up_to_a_neighbour_takes_it_in(void **state)
{
	map(*state, 0, 2, R);
	map(*state, 4, 2, R);
	move(*state, 0, 2, 4, 0, 0);
	shows(*state, "rrrrrr");
}

static void growing_the_tail_of_an_area_grows_the_area(void **state)
{
	map(*state, 0, 4, R);
	move(*state, 3, 1, 3, 0, 0);
	shows(*state, "rrrrrr");
}

static void moving_takes_extents_and_births_along(void **state)
{
	struct stage *s = *state;
	map(s, 0, 1, R);
	map(s, 1, 1, R);
	move(s, 0, 2, 2, TO, 6);
	shows(s, "......rr");
	assert_int_equal(vt_model_find(&s->m, addr(6))->birth, 1);
	assert_int_equal(vt_model_find(&s->m, addr(7))->birth, 2);
	assert_int_equal(s->fx.lo2, addr(6));
	assert_int_equal(s->fate_pages[VT_PIECE_MOVED], 2);
}

static void moving_the_middle_leaves_a_hole(void **state)
{
	map(*state, 0, 6, R);
	move(*state, 2, 2, 2, TO, 8);
	shows(*state, "rr..rr..rr");
}

static void moving_destroys_what_is_at_the_target(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 4, 4, RW);
	move(s, 0, 2, 2, TO, 5);
	shows(s, "....w|rr|w");
	assert_int_equal(s->fx.destroyed, 2 * VT_PAGE_SIZE);
	assert_int_equal(s->fate_pages[VT_PIECE_CLOBBERED], 2);
}

/* copy_vma gives untouched memory the offset of its new place. */
static void untouched_memory_merges_where_it_arrives(void **state)
{
	map(*state, 0, 2, R);
	map(*state, 6, 2, R);
	move(*state, 0, 2, 2, TO, 4);
	shows(*state, "....rrrr");
}

static void touched_memory_keeps_its_offset_and_stays_apart(void **state)
{
	map_flags(*state, 0, 2, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
	map(*state, 6, 2, RW);
	move(*state, 0, 2, 2, TO, 4);
	shows(*state, "....ww|ww");
}

static void memory_that_may_be_touched_is_in_doubt_where_it_arrives(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 6, 2, RW);
	move(*state, 0, 2, 2, TO, 4);
	shows(*state, "....ww?ww");
}

static void moved_twice_it_is_still_in_doubt_only(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	move(s, 0, 2, 2, TO, 4);
	touch(s, 4);
	move(s, 4, 2, 2, TO, 8);
	map(s, 10, 2, RW);
	shows(s, "........ww?ww");
	assert_int_equal(settle(s), 0);
}

static void moving_and_growing_makes_a_second_birth(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	move(s, 0, 2, 4, TO, 8);
	shows(s, "........rrrr");
	assert_int_equal(vt_model_find(&s->m, addr(8))->birth, 1);
	assert_int_equal(vt_model_find(&s->m, addr(10))->birth, 2);
}

static void moving_and_shrinking_drops_the_end(void **state)
{
	map(*state, 0, 4, R);
	move(*state, 0, 4, 2, TO, 8);
	shows(*state, "........rr");
}

static void dontunmap_leaves_the_old_place_mapped(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	move(s, 0, 2, 2, TO | MREMAP_DONTUNMAP, 4);
	shows(s, "ww..ww");
	assert_int_equal(s->m.totals.total_vm, 4);
}

/* dontunmap_complete clears VM_LOCKED of the whole old area, and merges nothing for it. */
static void dontunmap_unlocks_the_old_area(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, R);
	lock(s, 1, 2);
	move(s, 1, 1, 1, TO | MREMAP_DONTUNMAP, 8);
	shows(s, "r|rr|r....r");
	assert_false(vt_model_find(&s->m, addr(2))->flags & VT_VM(LOCKED));
	assert_true(vt_model_find(&s->m, addr(8))->flags & VT_VM(LOCKED));
}

static void length_zero_maps_shared_memory_twice(void **state)
{
	map_file(*state, 0, 4, RW, MAP_SHARED, FILE_A, 0);
	move(*state, 1, 0, 2, TO, 8);
	shows(*state, "WWWW....WW");
}

static bool moves_several(struct stage *s)
{
	return call(s, VT_MREMAP, addr(0), 6 * VT_PAGE_SIZE, 6 * VT_PAGE_SIZE, TO, addr(8), 0, 0) >
	       0;
}

/* remap_move, since 6.17. */
static void several_areas_move_at_once_with_their_gaps(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 3, 1, RW);
	map(s, 4, 2, RX);
	if (!moves_several(s))
		skip();
	shows(s, "........rr.w|xx");
}

static void of_several_areas_those_before_a_refused_one_move(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	call(s, VT_SHMAT, (uint64_t)s->shmid, addr(2), 0, 8 * VT_PAGE_SIZE, 0, 0, FILE_SYSV);
	long ret =
	    call(s, VT_MREMAP, addr(0), 4 * VT_PAGE_SIZE, 4 * VT_PAGE_SIZE, TO, addr(20), 0, 0);
	assert_int_equal(ret, -EFAULT);
	assert_int_equal(s->fx.contradiction, 0);
}

static void a_range_with_nothing_at_its_start_does_not_move(void **state)
{
	struct stage *s = *state;
	map(s, 1, 2, R);
	map(s, 8, 2, RW);
	long ret =
	    call(s, VT_MREMAP, addr(0), 2 * VT_PAGE_SIZE, 2 * VT_PAGE_SIZE, TO, addr(8), 0, 0);
	assert_int_equal(ret, -EFAULT);
	shows(s, ".rr.....ww");
	assert_int_equal(s->fx.contradiction, 0);
}

static void a_duplicate_forced_over_its_original_destroys_it(void **state)
{
	struct stage *s = *state;
	map_file(s, 0, 4, RW, MAP_SHARED, FILE_A, 0);
	long ret = call(s, VT_MREMAP, addr(1), 0, VT_PAGE_SIZE, TO, addr(1), 0, 0);
	assert_int_equal(ret, -EFAULT);
	shows(s, "W.WW");
}

static void what_the_model_does_not_hold_is_told(void **state)
{
	struct stage *s = *state;
	struct vt_event ev = { .seq = 1,
			       .kind = VT_MREMAP,
			       .a = { addr(0), VT_PAGE_SIZE, 2 * VT_PAGE_SIZE, MREMAP_MAYMOVE },
			       .ret = (int64_t)addr(4) };
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_MISSING);
	assert_int_equal(s->fx.hi2, addr(6));
	ev.a[1] = 0;
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_MISSING);
	assert_int_equal(s->fx.hi, addr(1));
}

/*
 * How far a refused move of several areas came is open where an area's end is; so is what
 * MREMAP_DONTUNMAP has unlocked without counting it.
 */
static void locks_left_behind_by_a_refused_move_stay_open(void **state)
{
	struct stage *s = *state;
	map_file(s, 11, 10, RW, MAP_PRIVATE, FILE_ZERO, 0);
	map(s, 0, 17, RW);
	map(s, 9, 1, RW);
	call(s, VT_MLOCK2, addr(12), VT_PAGE_SIZE, 1, 0, 0, 0, 0);
	long ret = call(s, VT_MREMAP, addr(5), 14 * VT_PAGE_SIZE, 14 * VT_PAGE_SIZE,
			TO | MREMAP_DONTUNMAP, addr(30), 0, 0);
	assert_int_equal(ret, -EFAULT);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_OPEN);
	assert_int_equal(s->m.totals.locked_unsure, 1);
}

/* The target's end would cut a huge page: it was split at its beginning by then. */
static void a_refused_growing_move_onto_huge_pages_splits_the_target(void **state)
{
	struct stage *s = *state;
	const uint64_t huge = STAGE_BASE + (4UL << 20);
	map(s, 0, 2, R);
	map(s, 8, 8, R);
	map_huge_page(s, huge);
	long ret = call(s, VT_MREMAP, addr(0), VT_PAGE_SIZE, 4UL << 20, TO, addr(12), 0, 0);
	assert_int_equal(ret, -EINVAL);
	shows(s, "rr......rrrr|rrrr");
	call(s, VT_MUNMAP, huge, 2UL << 20, 0, 0, 0, 0, 0);
}

/* Unmapping the target found the huge page that would be cut: nothing has moved, or been unlocked.
 */
static void a_refused_move_onto_huge_pages_leaves_what_was_locked(void **state)
{
	struct stage *s = *state;
	const uint64_t huge = STAGE_BASE + (4UL << 20);
	map(s, 0, 6, RW);
	map_huge_page(s, huge);
	call(s, VT_MLOCK2, addr(1), 4 * VT_PAGE_SIZE, 1, 0, 0, 0, 0);
	long ret = call(s, VT_MREMAP, addr(3), VT_PAGE_SIZE, VT_PAGE_SIZE, TO | MREMAP_DONTUNMAP,
			huge, 0, 0);
	assert_int_equal(ret, -EINVAL);
	assert_int_equal(s->fx.contradiction, 0);
	shows(s, "w|wwww|w");
	assert_true(vt_model_find(&s->m, addr(1))->flags & VT_VM(LOCKED));
	call(s, VT_MUNMAP, huge, 2UL << 20, 0, 0, 0, 0, 0);
}

/* A length within the last huge page is the mapping's own: nothing moves, nothing grows. */
static void huge_pages_count_in_their_own_size(void **state)
{
	struct stage *s = *state;
	const uint64_t gigantic = 1UL << 30, at = STAGE_BASE + (1UL << 40);
	long ret = call(s, VT_MMAP, at, VT_PAGE_SIZE, RW,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE | MAP_HUGETLB |
			    MAP_HUGE_1GB,
			(uint64_t)-1, 0, FILE_HUGE);
	if (vt_is_error(ret))
		skip();
	struct vt_extent *x = vt_model_find(&s->m, at);
	assert_int_equal(x->end - x->start, gigantic);
	assert_int_equal(call(s, VT_MREMAP, at, 4UL << 20, 6UL << 20, 0, 0, 0, 0), at);
	assert_int_equal(s->fx.contradiction, 0);
	assert_int_equal(call(s, VT_MUNMAP, at, 4UL << 20, 0, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(call(s, VT_MUNMAP, at, gigantic, 0, 0, 0, 0, 0), 0);
	assert_null(vt_model_find(&s->m, at));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(shrinking_unmaps_the_end),
		T(shrinking_in_the_middle_leaves_a_hole),
		T(growing_in_place_stays_one_area_of_two_births),
		T(growing_up_to_a_neighbour_takes_it_in),
		T(growing_the_tail_of_an_area_grows_the_area),
		T(moving_takes_extents_and_births_along),
		T(moving_the_middle_leaves_a_hole),
		T(moving_destroys_what_is_at_the_target),
		T(untouched_memory_merges_where_it_arrives),
		T(touched_memory_keeps_its_offset_and_stays_apart),
		T(memory_that_may_be_touched_is_in_doubt_where_it_arrives),
		T(moved_twice_it_is_still_in_doubt_only),
		T(moving_and_growing_makes_a_second_birth),
		T(moving_and_shrinking_drops_the_end),
		T(dontunmap_leaves_the_old_place_mapped),
		T(dontunmap_unlocks_the_old_area),
		T(length_zero_maps_shared_memory_twice),
		T(several_areas_move_at_once_with_their_gaps),
		T(of_several_areas_those_before_a_refused_one_move),
		T(a_range_with_nothing_at_its_start_does_not_move),
		T(a_duplicate_forced_over_its_original_destroys_it),
		T(a_refused_growing_move_onto_huge_pages_splits_the_target),
		T(a_refused_move_onto_huge_pages_leaves_what_was_locked),
		T(locks_left_behind_by_a_refused_move_stay_open),
		T(huge_pages_count_in_their_own_size),
		T(what_the_model_does_not_hold_is_told),
	};
	return cmocka_run_group_tests_name("mremap", tests, NULL, NULL);
}
