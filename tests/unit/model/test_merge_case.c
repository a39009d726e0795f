/*
 * test_merge_case.c - which of vma_merge's eight cases a call meets, and why neighbours stay apart:
 * what vt_model.merge is told.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stage.h"

#include <string.h>

/* The last question told. */
static struct vt_merge told;
static unsigned questions;

static void hear(void *ctx, const struct vt_merge *merge)
{
	(void)ctx;
	told = *merge;
	questions++;
}

static int open_and_listen(void **state)
{
	int err = stage_open(state);
	if (err)
		return err;
	struct stage *s = *state;
	memset(&told, 0, sizeof(told));
	questions = 0;
	s->m.merge = hear;
	return 0;
}

static void case_1_a_new_mapping_fills_the_gap(void **state)
{
	map(*state, 0, 2, R);
	map(*state, 4, 2, R);
	map(*state, 2, 2, R);
	shows(*state, "rrrrrr");
	assert_int_equal(told.number, 1);
}

static void case_2_a_new_mapping_joins_the_area_before(void **state)
{
	map(*state, 0, 2, R);
	map(*state, 2, 2, R);
	shows(*state, "rrrr");
	assert_int_equal(told.number, 2);
}

static void case_3_a_new_mapping_joins_the_area_after(void **state)
{
	map(*state, 2, 2, R);
	map(*state, 0, 2, R);
	shows(*state, "rrrr");
	assert_int_equal(told.number, 3);
}

static void case_4_an_end_goes_over_to_the_area_after(void **state)
{
	map(*state, 0, 4, R);
	map(*state, 4, 2, NONE);
	protect(*state, 2, 2, NONE);
	shows(*state, "rr|----");
	assert_int_equal(told.number, 4);
}

static void case_5_a_beginning_goes_over_to_the_area_before(void **state)
{
	map(*state, 0, 2, NONE);
	map(*state, 2, 4, R);
	protect(*state, 2, 2, NONE);
	shows(*state, "----|rr");
	assert_int_equal(told.number, 5);
}

static void case_6_a_whole_area_joins_both(void **state)
{
	map(*state, 0, 6, R);
	protect(*state, 2, 2, NONE);
	shows(*state, "rr|--|rr");
	assert_int_equal(told.number, 0);
	protect(*state, 2, 2, R);
	shows(*state, "rrrrrr");
	assert_int_equal(told.number, 6);
}

static void case_7_a_whole_area_joins_the_one_before(void **state)
{
	map(*state, 0, 2, NONE);
	map(*state, 2, 2, R);
	protect(*state, 2, 2, NONE);
	shows(*state, "----");
	assert_int_equal(told.number, 7);
}

static void case_8_a_whole_area_joins_the_one_after(void **state)
{
	map(*state, 0, 2, R);
	map(*state, 2, 2, NONE);
	protect(*state, 0, 2, NONE);
	shows(*state, "----");
	assert_int_equal(told.number, 8);
}

static void nobody_is_asked_where_nothing_touches(void **state)
{
	map(*state, 0, 2, R);
	map(*state, 4, 2, R);
	assert_int_equal(questions, 0);
}

static void growing_in_place_up_to_the_next_area_is_case_1(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 4, 2, R);
	call(s, VT_MREMAP, addr(0), 2 * VT_PAGE_SIZE, 4 * VT_PAGE_SIZE, 0, 0, 0, 0);
	shows(s, "rrrrrr");
	assert_int_equal(told.number, 1);
}

static void protection_is_a_reason_among_the_flags(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 2, 2, R);
	assert_int_equal(told.left_apart, VT_APART_FLAGS);
}

static void another_opening_of_the_file_is_a_reason(void **state)
{
	map_file(*state, 0, 2, R, MAP_SHARED, FILE_A, 5);
	map_file(*state, 2, 2, R, MAP_SHARED, FILE_A_AGAIN, 7);
	assert_int_equal(told.left_apart, VT_APART_FILE);
}

static void offsets_that_do_not_continue_are_a_reason(void **state)
{
	map_file(*state, 0, 2, R, MAP_SHARED, FILE_A, 5);
	map_file(*state, 2, 2, R, MAP_SHARED, FILE_A, 8);
	assert_int_equal(told.left_apart, VT_APART_OFFSET);
}

static void a_policy_is_a_reason(void **state)
{
	struct stage *s = *state;
	unsigned long nodes = 1;
	map(s, 0, 4, R);
	call(s, VT_MBIND, addr(2), 2 * VT_PAGE_SIZE, 2, (uint64_t)&nodes, 8, 0, 0);
	map(s, 4, 2, R);
	shows(s, "rr|rr|rr");
	assert_int_equal(told.left_apart, VT_APART_POLICY);
}

static void a_seal_alone_is_a_reason_of_its_own(void **state)
{
	struct stage *s = *state;
	map(s, 40, 2, R);
	if (call(s, VT_MSEAL, addr(40), 2 * VT_PAGE_SIZE, 0, 0, 0, 0, 0) == -ENOSYS)
		skip();
	map(s, 42, 2, R);
	assert_int_equal(told.left_apart, VT_APART_SEALED);
}

static void a_segments_close_operation_is_a_reason(void **state)
{
	struct stage *s = *state;
	call(s, VT_SHMAT, (uint64_t)s->shmid, addr(0), 0, 8 * VT_PAGE_SIZE, 0, 0, FILE_SYSV);
	protect(s, 2, 2, R);
	protect(s, 2, 2, RW);
	shows(s, "WW|WW|WWWW");
	assert_int_equal(told.left_apart, VT_APART_CLOSE);
	assert_int_equal(told.right_apart, VT_APART_CLOSE);
	assert_int_equal(told.number, 0);
}

static void touched_pages_may_be_the_reason(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 4, 2, RW);
	map(*state, 2, 2, RW);
	shows(*state, "wwww?ww");
	assert_int_equal(told.right_apart, VT_APART_ANON_VMA_UNSURE);
	assert_int_equal(told.number, 2);
}

/* Whether it was touched decides about its offset: both answers are asked for. */
static void a_moved_area_may_have_been_touched(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 10, 2, RW);
	move(*state, 10, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 2);
	assert_int_equal(told.left, VT_BOUNDARY_UNDETERMINED);
	assert_true(told.left_apart >= VT_APART_HIDDEN || told.left_apart == VT_APART_OFFSET);
	assert_int_equal(told.number, 0);
}

static void two_areas_that_nobody_asked_about_could_be_one(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 2, 2, RW);
	assert_int_equal(
	    vt_why_apart(&s->m, vt_model_find(&s->m, addr(0)), vt_model_find(&s->m, addr(2))),
	    VT_APART_FLAGS);
	vt_model_find(&s->m, addr(2))->flags = vt_model_find(&s->m, addr(0))->flags;
	assert_int_equal(
	    vt_why_apart(&s->m, vt_model_find(&s->m, addr(0)), vt_model_find(&s->m, addr(2))),
	    VT_APART_NOT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_and_listen, stage_close)
	const struct CMUnitTest tests[] = {
		T(case_1_a_new_mapping_fills_the_gap),
		T(case_2_a_new_mapping_joins_the_area_before),
		T(case_3_a_new_mapping_joins_the_area_after),
		T(case_4_an_end_goes_over_to_the_area_after),
		T(case_5_a_beginning_goes_over_to_the_area_before),
		T(case_6_a_whole_area_joins_both),
		T(case_7_a_whole_area_joins_the_one_before),
		T(case_8_a_whole_area_joins_the_one_after),
		T(nobody_is_asked_where_nothing_touches),
		T(growing_in_place_up_to_the_next_area_is_case_1),
		T(protection_is_a_reason_among_the_flags),
		T(another_opening_of_the_file_is_a_reason),
		T(offsets_that_do_not_continue_are_a_reason),
		T(a_policy_is_a_reason),
		T(a_segments_close_operation_is_a_reason),
		T(touched_pages_may_be_the_reason),
		T(a_moved_area_may_have_been_touched),
		T(two_areas_that_nobody_asked_about_could_be_one),
		T(a_seal_alone_is_a_reason_of_its_own), /* last: nothing removes it */
	};
	return cmocka_run_group_tests_name("merge cases", tests, NULL, NULL);
}
