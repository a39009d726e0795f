/*
 * test_anon.c - what is known of touched pages: is_mergeable_anon_vma and anon_vma_compatible.
 *
 * Writable private memory may be touched at any time; then areas that were split may hold different
 * anon_vmas and stay apart. The model must say so where it cannot know, and only there.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/wait.h>
#include <unistd.h>

#include "stage.h"

static void a_hole_filled_in_writable_memory_leaves_one_boundary_in_doubt(void **state)
{
	map(*state, 0, 6, RW);
	unmap(*state, 2, 2);
	map(*state, 2, 2, RW);
	shows(*state, "wwww?ww");
}

static void a_hole_filled_in_memory_that_cannot_be_touched_leaves_none(void **state)
{
	map(*state, 0, 6, NONE);
	unmap(*state, 2, 2);
	map(*state, 2, 2, NONE);
	shows(*state, "------");
}

static void both_sides_touched_apart_stay_apart(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	touch(s, 0);
	touch(s, 5);
	map(s, 2, 2, RW);
	settle(s);
	shows(s, "wwww|ww");
}

static void both_sides_touched_before_the_hole_are_one_again(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	touch(s, 0);
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	settle(s);
	shows(s, "wwwwww");
}

static void memory_populated_at_once_leaves_no_doubt(void **state)
{
	map_flags(*state, 0, 6, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
	unmap(*state, 2, 2);
	map(*state, 2, 2, RW);
	shows(*state, "wwwwww");
}

static void locked_memory_leaves_no_doubt(void **state)
{
	map(*state, 0, 6, RW);
	lock(*state, 0, 6);
	unlock(*state, 0, 6);
	unmap(*state, 2, 2);
	map(*state, 2, 2, RW);
	shows(*state, "wwwwww");
}

static void part_made_read_only_and_writable_again_joins_its_area(void **state)
{
	struct stage *s = *state;
	map(s, 0, 3, RW);
	protect(s, 2, 1, R);
	touch(s, 0);
	protect(s, 2, 1, RW);
	shows(s, "www");
}

static void part_written_while_the_rest_could_not_be_joins_it_again(void **state)
{
	struct stage *s = *state;
	map_file(s, 0, 6, R, MAP_PRIVATE, FILE_A, 0);
	protect(s, 2, 2, RW);
	touch(s, 2);
	protect(s, 2, 2, R);
	/* made writable once, private file memory stays charged: VM_ACCOUNT differs */
	shows(s, "rr|rr|rr");
}

/* mprotect_fixup gives the charge of untouched anonymous memory back. */
static void the_charge_of_memory_made_read_only_depends_on_touches(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	map(s, 2, 2, NONE);
	protect(s, 0, 2, NONE);
	shows(s, "--?--");
	assert_int_equal(s->m.totals.committed, 2);
	assert_int_equal(s->m.totals.committed_unsure, 2);
}

static void touched_memory_made_read_only_stays_charged(void **state)
{
	struct stage *s = *state;
	map_flags(s, 0, 2, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
	map(s, 2, 2, NONE);
	protect(s, 0, 2, NONE);
	shows(s, "--|--");
	assert_int_equal(s->m.totals.committed, 2);
	assert_int_equal(s->m.totals.committed_unsure, 0);
}

static void a_reservation_never_written_gives_no_doubt(void **state)
{
	struct stage *s = *state;
	map(s, 0, 8, NONE);
	protect(s, 0, 2, RW);
	protect(s, 2, 2, RW);
	protect(s, 4, 2, RW);
	shows(s, "wwwwww|--");
}

static void doubt_stays_consistent_when_one_side_changes(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	touch(s, 0);
	touch(s, 5);
	map(s, 2, 2, RW);
	protect(s, 4, 2, R);
	shows(s, "wwww|rr");
	protect(s, 4, 2, RW);
	shows(s, "wwww?ww");
}

static void settled_doubt_is_knowledge(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	shows(s, "wwww?ww");
	assert_int_equal(settle(s), 0);
	shows(s, "wwwwww");
	assert_int_equal(s->m.totals.undetermined, 0);
}

/* madvise_guard_install prepares an anon_vma. */
static void guard_pages_touch_their_area(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	if (try_advise(s, 0, 1, 102) != 0)
		skip();
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	shows(s, "wwwwww");
}

/* Guard pages in a private file mapping do not (6.18). */
static void guard_pages_in_file_memory_leave_doubt(void **state)
{
	struct stage *s = *state;
	map_file(s, 0, 6, RW, MAP_PRIVATE, FILE_A, 0);
	if (try_advise(s, 3, 1, 102) != 0)
		skip();
	map_file(s, 2, 2, R, MAP_PRIVATE, FILE_A, 2);
	touch(s, 0);
	touch(s, 5);
	protect(s, 2, 2, RW);
	shows(s, "wwww?ww");
}

/* expand_downwards prepares an anon_vma even where the stack may not grow. */
static void a_fault_below_a_stack_touches_it_though_nobody_can_write(void **state)
{
	struct stage *s = *state;
	map_flags(s, 20, 4, R, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
	/* read(2) into the free page below faults there, and fails */
	assert_int_equal(pread(s->fd[FILE_ZERO], (void *)(addr(20) - (1UL << 30)), 1, 0), -1);
	protect(s, 22, 1, RW);
	shows(s, "....................rr|w|r");
	unmap(s, 21, 1);
	map_flags(s, 21, 1, R, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
	protect(s, 21, 1, RW);
	assert_int_equal(settle(s), 0);
}

/* In a forked child every touched area has a chain of its own: vma_is_fork_child. */
static void inherited_memory_may_refuse_new_neighbours(void **state)
{
	struct stage *s = *state;
	struct vt_vma inherited = { .start = addr(0), .end = addr(2) };
	inherited.flags = VT_VM(READ) | VT_VM(WRITE) | VT_VM(MAYREAD) | VT_VM(MAYWRITE) |
			  VT_VM(MAYEXEC) | VT_VM(ACCOUNT);
	map(s, 0, 2, RW);
	touch(s, 0);
	pid_t child = fork();
	if (child == 0) {
		s->m.forked = true;
		vt_model_put(&s->m, &inherited, 0, 0);
		map(s, 2, 2, RW);
		shows(s, "ww?ww");
		settle(s);
		shows(s, "ww|ww");
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(a_hole_filled_in_writable_memory_leaves_one_boundary_in_doubt),
		T(a_hole_filled_in_memory_that_cannot_be_touched_leaves_none),
		T(both_sides_touched_apart_stay_apart),
		T(both_sides_touched_before_the_hole_are_one_again),
		T(memory_populated_at_once_leaves_no_doubt),
		T(locked_memory_leaves_no_doubt),
		T(part_made_read_only_and_writable_again_joins_its_area),
		T(part_written_while_the_rest_could_not_be_joins_it_again),
		T(the_charge_of_memory_made_read_only_depends_on_touches),
		T(touched_memory_made_read_only_stays_charged),
		T(a_reservation_never_written_gives_no_doubt),
		T(doubt_stays_consistent_when_one_side_changes),
		T(settled_doubt_is_knowledge),
		T(guard_pages_touch_their_area),
		T(guard_pages_in_file_memory_leave_doubt),
		T(a_fault_below_a_stack_touches_it_though_nobody_can_write),
		T(inherited_memory_may_refuse_new_neighbours),
	};
	return cmocka_run_group_tests_name("is_mergeable_anon_vma", tests, NULL, NULL);
}
