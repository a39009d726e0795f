/*
 * test_merge.c - when the kernel holds neighbours as one area: vma_merge and its conditions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stage.h"

static void equal_neighbours_merge_after(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 2, 2, RW);
	shows(*state, "wwww");
}

static void equal_neighbours_merge_before(void **state)
{
	map(*state, 2, 2, RW);
	map(*state, 0, 2, RW);
	shows(*state, "wwww");
}

static void different_protection_keeps_areas_apart(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 2, 2, R);
	shows(*state, "ww|rr");
}

static void a_mapping_between_untouchable_neighbours_joins_both(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 4, 2, R);
	map(s, 2, 2, R);
	shows(s, "rrrrrr");
	assert_int_equal(s->fx.merges, 2);
}

static void a_mapping_between_writable_neighbours_joins_the_left_one_for_sure(void **state)
{
	map(*state, 0, 2, RW);
	map(*state, 4, 2, RW);
	map(*state, 2, 2, RW);
	shows(*state, "wwww?ww");
}

static void shared_anonymous_objects_never_merge(void **state)
{
	struct stage *s = *state;
	map_flags(s, 0, 2, RW, MAP_SHARED | MAP_ANONYMOUS);
	vt_model_set_file(&s->m, FILE_MANY, VT_FILE_SHM_ANON);
	call(s, VT_MMAP, addr(2), 2 * VT_PAGE_SIZE, RW, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS,
	     (uint64_t)-1, 0, FILE_MANY);
	shows(s, "WW|WW");
}

static void one_open_file_merges_where_offsets_continue(void **state)
{
	map_file(*state, 0, 2, R, MAP_SHARED, FILE_A, 5);
	map_file(*state, 2, 2, R, MAP_SHARED, FILE_A, 7);
	shows(*state, "RRRR");
}

static void one_open_file_stays_apart_where_offsets_do_not_continue(void **state)
{
	map_file(*state, 0, 2, R, MAP_SHARED, FILE_A, 5);
	map_file(*state, 2, 2, R, MAP_SHARED, FILE_A, 8);
	shows(*state, "RR|RR");
}

static void another_opening_of_a_file_is_another_file(void **state)
{
	map_file(*state, 0, 2, R, MAP_SHARED, FILE_A, 5);
	map_file(*state, 2, 2, R, MAP_SHARED, FILE_A_AGAIN, 7);
	shows(*state, "RR|RR");
}

static void files_not_known_to_be_one_opening_are_in_doubt(void **state)
{
	struct stage *s = *state;
	s->event_flags = 0;
	map_file(s, 0, 2, R, MAP_SHARED, FILE_A, 5);
	map_file(s, 2, 2, R, MAP_SHARED, FILE_A, 7);
	shows(s, "RR?RR");
}

static void pieces_of_one_file_mapping_merge_again(void **state)
{
	struct stage *s = *state;
	s->event_flags = 0;
	map_file(s, 0, 6, R, MAP_SHARED, FILE_A, 5);
	protect(s, 2, 2, RW);
	shows(s, "RR|WW|RR");
	protect(s, 2, 2, R);
	shows(s, "RRRRRR");
	assert_int_equal(s->m.totals.extents, 1);
}

static void stacks_do_not_merge_with_plain_memory(void **state)
{
	map_flags(*state, 2, 2, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
	map(*state, 4, 2, RW);
	shows(*state, "..ww|ww");
}

static void memory_not_reserved_does_not_merge_with_memory_charged(void **state)
{
	map_flags(*state, 0, 2, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	map(*state, 2, 2, RW);
	shows(*state, "ww|ww");
}

static void private_zero_device_memory_keeps_its_file_and_stays_apart(void **state)
{
	map_file(*state, 0, 2, RW, MAP_PRIVATE, FILE_ZERO, 0);
	map(*state, 2, 2, RW);
	shows(*state, "ww|ww");
}

static void a_segment_attached_twice_stays_two_areas(void **state)
{
	struct stage *s = *state;
	for (unsigned page = 0; page < 16; page += 8)
		call(s, VT_SHMAT, (uint64_t)s->shmid, addr(page), 0, 8 * VT_PAGE_SIZE, 0, 0,
		     FILE_SYSV);
	shows(s, "WWWWWWWW|WWWWWWWW");
}

/* can_merge_remove_vma: a segment's area has a close operation. */
static void a_segments_piece_changed_back_stays_apart(void **state)
{
	struct stage *s = *state;
	call(s, VT_SHMAT, (uint64_t)s->shmid, addr(0), 0, 8 * VT_PAGE_SIZE, 0, 0, FILE_SYSV);
	protect(s, 2, 2, R);
	protect(s, 2, 2, RW);
	shows(s, "WW|WW|WWWW");
}

static void part_of_a_segments_piece_can_go_to_its_neighbour(void **state)
{
	struct stage *s = *state;
	call(s, VT_SHMAT, (uint64_t)s->shmid, addr(0), 0, 8 * VT_PAGE_SIZE, 0, 0, FILE_SYSV);
	protect(s, 2, 4, R);
	protect(s, 2, 2, RW);
	shows(s, "WWWW|RR|WW");
}

static void policies_keep_areas_apart(void **state)
{
	struct stage *s = *state;
	unsigned long nodes = 1;
	map(s, 0, 6, R);
	/* MPOL_BIND is 2 */
	call(s, VT_MBIND, addr(2), 2 * VT_PAGE_SIZE, 2, (uint64_t)&nodes, 8, 0, 0);
	shows(s, "rr|rr|rr");
	call(s, VT_MBIND, addr(2), 2 * VT_PAGE_SIZE, 0, 0, 0, 0, 0);
	shows(s, "rrrrrr");
}

static void a_long_row_of_mappings_is_one_area_of_many_extents(void **state)
{
	struct stage *s = *state;
	for (unsigned i = 0; i < 40; i++)
		map(s, i, 1, R);
	shows(s, "rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr");
	assert_int_equal(s->m.totals.extents, 40);
	assert_int_equal(s->m.totals.map_count, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(equal_neighbours_merge_after),
		T(equal_neighbours_merge_before),
		T(different_protection_keeps_areas_apart),
		T(a_mapping_between_untouchable_neighbours_joins_both),
		T(a_mapping_between_writable_neighbours_joins_the_left_one_for_sure),
		T(shared_anonymous_objects_never_merge),
		T(one_open_file_merges_where_offsets_continue),
		T(one_open_file_stays_apart_where_offsets_do_not_continue),
		T(another_opening_of_a_file_is_another_file),
		T(files_not_known_to_be_one_opening_are_in_doubt),
		T(pieces_of_one_file_mapping_merge_again),
		T(stacks_do_not_merge_with_plain_memory),
		T(memory_not_reserved_does_not_merge_with_memory_charged),
		T(private_zero_device_memory_keeps_its_file_and_stays_apart),
		T(a_segment_attached_twice_stays_two_areas),
		T(a_segments_piece_changed_back_stays_apart),
		T(part_of_a_segments_piece_can_go_to_its_neighbour),
		T(policies_keep_areas_apart),
		T(a_long_row_of_mappings_is_one_area_of_many_extents),
	};
	return cmocka_run_group_tests_name("vma_merge", tests, NULL, NULL);
}
