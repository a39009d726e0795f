/*
 * test_order.c - calls that overlapped in time: which bytes and boundaries their places leave open.
 *
 * Events are made up, as threads would have entered them: each has a thread, a place and a span. A
 * release took its place before the system call, and its span says how many places were taken until
 * it ended; any other call took it after, and its span says how many were taken since it began.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>
#include <vmtrail/order.h>

#include "stage.h"

#define ROOM 64

static struct {
	struct vt_model m;
	struct vt_order o;
	struct vt_effect fx;
	uint64_t index;
} t;

static int begin(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	stage_model(&t.m);
	vt_order_init(&t.o, calloc(ROOM, sizeof(struct vt_placed)), ROOM);
	return 0;
}

static int end(void **state)
{
	(void)state;
	vt_model_fini(&t.m);
	free(t.o.recent);
	return 0;
}

static void enter(uint32_t tid, uint32_t span, struct vt_event e)
{
	e.seq = ++t.index;
	e.tid = tid;
	e.span = span;
	assert_int_equal(vt_order_apply(&t.o, &t.m, &e, t.index, &t.fx), 0);
}

#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define CALL(kind_, ret_, ...)                                                                     \
	((struct vt_event){ .kind = (kind_), .ret = (int64_t)(ret_), .a = { __VA_ARGS__ } })
#define LEN(pages) ((pages)*VT_PAGE_SIZE)

static struct vt_event chosen(unsigned page, unsigned n)
{
	return CALL(VT_MMAP, addr(page), 0, LEN(n), RW, PRIVATE);
}

static struct vt_event forced(unsigned page, unsigned n, int prot)
{
	return CALL(VT_MMAP, addr(page), addr(page), LEN(n), (uint64_t)prot, PRIVATE | MAP_FIXED);
}

static struct vt_event unmapped(unsigned page, unsigned n)
{
	return CALL(VT_MUNMAP, 0, addr(page), LEN(n));
}

static struct vt_event protected(unsigned page, unsigned n, int prot, int64_t ret)
{
	return CALL(VT_MPROTECT, ret, addr(page), LEN(n), (uint64_t)prot);
}

static struct vt_event locked(unsigned page, unsigned n)
{
	return CALL(VT_MLOCK, 0, addr(page), LEN(n));
}

static struct vt_event moved(unsigned page, unsigned n, unsigned to)
{
	return CALL(VT_MREMAP, addr(to), addr(page), LEN(n), LEN(n), MREMAP_MAYMOVE | MREMAP_FIXED,
		    addr(to));
}

/* The pages in doubt, as a picture: '?' doubtful, '.' not. */
static void doubt_is(const char *picture)
{
	for (unsigned i = 0; picture[i]; i++)
		assert_int_equal(vt_order_doubtful(&t.o, addr(i), addr(i + 1)), picture[i] == '?');
	assert_int_equal(t.o.wanted, strchr(picture, '?') != NULL);
}

static void boundary_is(unsigned page, enum vt_boundary b)
{
	const struct vt_extent *x = vt_model_find(&t.m, addr(page));
	assert_int_equal(x->start, addr(page));
	assert_int_equal(x->boundary, b);
}

static void calls_one_after_the_other_leave_no_doubt(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 4, RW));
	enter(1, 0, unmapped(1, 1));
	enter(2, 0, protected(2, 2, R, 0));
	enter(1, 0, forced(1, 2, RW));
	doubt_is("....");
}

static void two_forced_mappings_at_once_are_in_doubt_where_both_reach(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 3, R));
	enter(2, 1, forced(2, 3, RW)); /* began before the first was entered */
	doubt_is("..?...");
}

static void calls_on_other_ranges_are_not_in_doubt(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 2, R));
	enter(2, 1, forced(4, 2, RW));
	doubt_is("......");
}

static void a_release_still_under_way_when_the_place_is_taken_is_in_doubt(void **state)
{
	(void)state;
	enter(3, 0, forced(0, 4, RW));
	enter(1, 1, unmapped(0, 4)); /* ended after the next was entered */
	enter(2, 0, forced(1, 1, R));
	doubt_is(".?..");
}

/* Announced, then the other began and was entered; it ended before the next place was taken. */
static void a_release_right_before_it_may_have_been_under_way(void **state)
{
	(void)state;
	enter(3, 0, forced(0, 4, RW));
	enter(1, 0, unmapped(0, 4));
	enter(2, 0, forced(1, 1, R));
	doubt_is(".?..");
}

static void but_not_when_it_is_the_same_threads(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 4, RW));
	enter(1, 0, unmapped(0, 4));
	enter(1, 0, forced(1, 1, R));
	doubt_is("....");
}

/* One began during the release and went on for long: the release's span does not reach it. */
static void a_release_that_ended_long_ago_counts_for_who_began_before_that(void **state)
{
	(void)state;
	enter(3, 0, forced(0, 4, RW));
	enter(1, 2, unmapped(0, 4));
	for (unsigned i = 0; i < 9; i++)
		enter(3, 0, forced(20 + 2 * i, 1, R));
	enter(2, 8, forced(1, 1, R));
	doubt_is(".?..");
}

static void a_place_the_kernel_chose_was_free_after_the_release_that_covered_it(void **state)
{
	(void)state;
	enter(3, 0, forced(0, 4, RW));
	enter(1, 1, unmapped(0, 4));
	enter(2, 0, chosen(0, 4));
	doubt_is("....");
}

/* Nothing was there before: the release may as well have struck the new mapping. */
static void a_release_of_nothing_may_have_struck_what_the_kernel_placed_there(void **state)
{
	(void)state;
	enter(1, 1, unmapped(0, 4));
	enter(2, 0, chosen(0, 4));
	doubt_is("????");
}

static void two_releases_and_a_reuse_are_in_doubt(void **state)
{
	(void)state;
	enter(3, 0, forced(0, 4, RW));
	enter(1, 2, unmapped(0, 4));
	enter(2, 1, unmapped(0, 4));
	enter(3, 0, chosen(0, 4));
	doubt_is("????");
}

static void a_move_takes_doubt_along(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 2, R));
	enter(2, 1, forced(0, 2, RW));
	enter(2, 0, moved(0, 2, 4));
	doubt_is("??..??");
}

/* The mapping was made before the move and entered after it. */
static void what_was_moved_away_meanwhile_is_in_doubt_at_its_new_place(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 2, R));
	enter(1, 0, moved(0, 2, 4));
	enter(2, 1, forced(0, 2, RW));
	doubt_is("??..??");
}

static bool everywhere(struct vt_range from)
{
	return from.lo == addr(0);
}

static void a_move_is_remembered_for_calls_not_entered_yet(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 2, R));
	enter(1, 0, moved(0, 2, 4));
	enter(1, 0, moved(4, 2, 8));
	assert_true(vt_order_moved(&t.o, addr(8), addr(9), everywhere));
	assert_false(vt_order_moved(&t.o, addr(12), addr(13), everywhere));
}

static void a_call_that_failed_in_doubt_is_in_doubt_as_a_whole(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 8, RW));
	enter(1, 1, unmapped(2, 1));
	enter(2, 0, protected(0, 6, R, -ENOMEM));
	doubt_is("??????..");
}

/* What a lock overlapped with is certain in bytes; where areas end is not. */
static void a_lock_at_the_same_time_leaves_boundaries_open(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 4, RW));
	enter(1, 0, protected(0, 4, R, 0));
	enter(1, 0, locked(1, 2));
	boundary_is(1, VT_BOUNDARY_SPLIT);
	enter(2, 1, protected(0, 4, RW, 0));
	doubt_is("....");
	boundary_is(1, VT_BOUNDARY_UNDETERMINED);
	boundary_is(3, VT_BOUNDARY_UNDETERMINED);
}

/* do_mlock takes the page of an address within it, though nothing was asked for. */
static void a_lock_of_no_bytes_within_a_page_is_one_of_the_page(void **state)
{
	(void)state;
	enter(1, 0, forced(8, 8, RW));
	enter(1, 0, CALL(VT_MLOCK, 0, addr(10) + 1, 0));
	boundary_is(10, VT_BOUNDARY_SPLIT);
	enter(2, 1, forced(8, 8, RW));
	boundary_is(10, VT_BOUNDARY_UNDETERMINED);
	boundary_is(11, VT_BOUNDARY_UNDETERMINED);
}

/* MADV_WIPEONFORK goes from area to area until it meets a file, and says EINVAL then. */
static void advice_that_ended_with_an_error_is_compared_too(void **state)
{
	(void)state;
	enter(1, 0, forced(8, 8, RW));
	enter(1, 0, CALL(VT_MADVISE, -EINVAL, addr(10), LEN(8), MADV_WIPEONFORK));
	enter(2, 1, forced(8, 4, RW));
	assert_true(vt_extent_unsure_flags(vt_model_find(&t.m, addr(10))));
}

/* __mmap_prepare has cut what is in the way before a limit refuses the new mapping. */
static void a_refused_placement_is_compared_too(void **state)
{
	(void)state;
	t.m.config.max_map_count = 65530;
	enter(1, 0, forced(0, 8, R));
	struct vt_event refused = forced(4, 2, R);
	refused.ret = -ENOMEM;
	enter(1, 0, refused);
	enter(2, 1, protected(2, 6, PROT_EXEC, 0));
	doubt_is("........");
	boundary_is(4, VT_BOUNDARY_UNDETERMINED);
}

/* What lies behind the range is unlocked, too, unless another call cuts the area there first. */
static void a_move_that_unlocks_the_whole_area_leaves_all_of_it_open(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 8, RW));
	enter(1, 0, locked(0, 8));
	struct vt_event move = moved(0, 2, 20);
	move.a[3] |= 4; /* MREMAP_DONTUNMAP */
	enter(1, 1, move);
	enter(2, 1, protected(0, 4, R, 0));
	assert_true(vt_extent_unsure_flags(vt_model_find(&t.m, addr(6))) & VT_VM(LOCKED));
}

/* The edges of both count, also of one that lies in the other. */
static void an_overlapping_call_leaves_the_edges_of_both_open(void **state)
{
	(void)state;
	enter(1, 0, forced(8, 8, R));
	enter(1, 0, CALL(VT_MADVISE, 0, addr(10), LEN(2), MADV_DONTDUMP));
	enter(2, 1, forced(8, 8, R));
	boundary_is(10, VT_BOUNDARY_UNDETERMINED);
	boundary_is(12, VT_BOUNDARY_UNDETERMINED);
}

static void neighbours_made_at_once_leave_the_boundary_between_them_open(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 2, RW));
	enter(2, 1, forced(2, 2, RW));
	boundary_is(2, VT_BOUNDARY_UNDETERMINED);
	doubt_is("....");
}

static void an_undone_call_is_in_doubt_until_its_thread_is_back(void **state)
{
	(void)state;
	struct vt_event undone = unmapped(0, 2), late = unmapped(0, 2);
	undone.flags = VT_EV_UNDONE;
	late.flags = VT_EV_LATE;
	enter(1, 0, forced(0, 4, RW));
	enter(1, 0, undone);
	t.o.wanted = false;
	vt_order_settled(&t.o, NULL, 0);
	assert_true(vt_order_doubtful(&t.o, addr(0), addr(1)));
	enter(2, 0, forced(8, 1, R));
	vt_order_settled(&t.o, NULL, 0);
	assert_true(vt_order_doubtful(&t.o, addr(0), addr(1)));
	enter(1, 3, late);
	assert_true(t.o.wanted);
	assert_true(vt_order_doubtful(&t.o, addr(0), addr(1)));
	vt_order_settled(&t.o, NULL, 0);
	assert_false(vt_order_doubtful(&t.o, addr(0), addr(1)));
}

/* Neither takes effect at its place: the kernel's view is read instead. */
static void undone_and_late_calls_do_not_touch_the_model(void **state)
{
	(void)state;
	struct vt_event undone = unmapped(0, 2), late = forced(0, 4, R);
	undone.flags = VT_EV_UNDONE;
	late.flags = VT_EV_LATE;
	enter(1, 0, forced(0, 4, RW));
	enter(1, 0, undone);
	enter(1, 1, late);
	const struct vt_extent *x = vt_model_find(&t.m, addr(0));
	assert_int_equal(x->birth, 1);
	assert_true(x->flags & VT_VM(WRITE));
}

/* Announced as the process's first calls, and slow: it may act on what is mapped long after. */
static void a_release_may_last_longer_than_the_process_had_lived(void **state)
{
	(void)state;
	enter(1, 9, unmapped(0, 4));
	for (unsigned i = 0; i < 5; i++)
		enter(2, 0, forced(8, 1, R));
	enter(3, 0, chosen(1, 2));
	doubt_is(".??.");
}

static void the_kernels_view_settles_all_but_what_is_under_way(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 6, R));
	enter(2, 1, forced(0, 2, RW));
	enter(3, 2, forced(4, 2, RW));
	doubt_is("??..??");
	t.o.wanted = false;
	const struct vt_range flux = { addr(5), addr(9) };
	vt_order_settled(&t.o, &flux, 1);
	assert_false(vt_order_doubtful(&t.o, addr(0), addr(2)));
	assert_true(vt_order_doubtful(&t.o, addr(4), addr(6)));
}

static void a_call_that_overlapped_more_than_is_remembered_is_in_doubt(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2 * ROOM; i++)
		enter(1, 0, forced(20 + 2 * (i % 8), 1, R));
	enter(2, 2 * ROOM, forced(0, 2, RW));
	doubt_is("??..");
}

/* It changes no bytes, but those forgotten may have made areas end in the middle of its range. */
static void a_lock_that_overlapped_more_than_is_remembered_is_in_doubt(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 4, RW));
	for (unsigned i = 0; i < 2 * ROOM; i++)
		enter(1, 0, forced(20 + 2 * (i % 8), 1, R));
	enter(2, 2 * ROOM, locked(0, 2));
	doubt_is("??..");
}

/* Where it began there was nothing yet to move: how much it unmapped of the rest, nobody knows. */
static void all_that_a_move_may_have_found_is_in_doubt(void **state)
{
	(void)state;
	enter(9, 0, forced(3, 1, R));
	enter(1, 3, moved(0, 4, 8));
	enter(2, 0, forced(0, 2, RW));
	doubt_is("????....????");
}

static void releases_too_many_to_remember_leave_later_ones_in_doubt(void **state)
{
	(void)state;
	enter(9, 0, forced(0, 4, RW));
	enter(1, 200, unmapped(0, 4));
	for (uint32_t i = 0; i < 2 * VT_ORDER_OPEN; i++)
		enter(2, 300, unmapped(20, 1));
	t.o.n_doubtful = 0;
	enter(3, 0, forced(1, 1, R));
	assert_true(vt_order_doubtful(&t.o, addr(1), addr(2)));
}

/* What a move of length 0 shows a second time is what lay there when the kernel looked. */
static void what_a_duplicate_shows_may_have_been_replaced_before(void **state)
{
	struct vt_event shared = forced(0, 2, RW);
	(void)state;
	shared.a[3] = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
	enter(1, 0, shared);
	enter(1, 1,
	      CALL(VT_MREMAP, addr(8), addr(0), 0, LEN(2), MREMAP_MAYMOVE | MREMAP_FIXED, addr(8)));
	enter(2, 1, forced(0, 2, R));
	doubt_is("??......??");
}

/* Two calls met at a page inside of what has become one extent. */
static void a_boundary_in_doubt_cuts_an_extent_in_two(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 4, RW));
	assert_int_equal(vt_model_doubt(&t.m, addr(2), addr(2)), 0);
	assert_int_equal(t.m.totals.extents, 2);
	assert_int_equal(vt_model_find(&t.m, addr(0))->end, addr(2));
	boundary_is(2, VT_BOUNDARY_UNDETERMINED);
}

/* A segment of n pages, of which the first are locked. */
static void attach_locked(unsigned n, unsigned first)
{
	struct vt_event attached = CALL(VT_SHMAT, addr(0), 7, 0, 0, LEN(n));
	attached.file = FILE_SYSV;
	enter(1, 0, attached);
	enter(1, 0, locked(0, first));
}

/*
 * A segment's area is never merged away, only its part: what becomes of it at its other end depends
 * on whether a call right beside it was first (vma_merge_existing_range, can_merge_remove_vma).
 */
static void a_call_beside_it_leaves_the_far_end_of_a_segment_open(void **state)
{
	(void)state;
	attach_locked(8, 2);
	enter(1, 0, protected(6, 2, R, 0));
	enter(2, 1, locked(2, 4));
	boundary_is(2, VT_BOUNDARY_UNDETERMINED);
}

/* The same of a boundary in doubt: behind it the area may go on, and then it is a part. */
static void a_segment_that_may_go_on_behind_a_doubt_may_be_joined(void **state)
{
	(void)state;
	attach_locked(8, 2);
	assert_int_equal(vt_model_doubt(&t.m, addr(6), addr(7)), 0);
	boundary_is(2, VT_BOUNDARY_SPLIT);
	enter(1, 0, locked(2, 4));
	boundary_is(2, VT_BOUNDARY_UNDETERMINED);
}

/* A huge page is never cut; an area of several may have been, though no two would be joined. */
static void a_doubt_cuts_between_huge_pages_only(void **state)
{
	(void)state;
	const uint64_t huge = 0x300000000000, size = 2UL << 20;
	struct vt_event e =
	    CALL(VT_MMAP, huge, huge, 2 * size, RW, PRIVATE | MAP_FIXED | MAP_HUGETLB);
	e.file = FILE_HUGE;
	enter(1, 0, e);
	assert_int_equal(vt_model_doubt(&t.m, huge + VT_PAGE_SIZE, huge + size), 0);
	assert_int_equal(vt_model_find(&t.m, huge + VT_PAGE_SIZE)->start, huge + VT_PAGE_SIZE);
	assert_int_equal(vt_model_find(&t.m, huge + VT_PAGE_SIZE)->boundary, VT_BOUNDARY_MERGED);
	assert_int_equal(vt_model_find(&t.m, huge + size)->start, huge + size);
	assert_int_equal(vt_model_find(&t.m, huge + size)->boundary, VT_BOUNDARY_UNDETERMINED);
}

static void what_was_in_doubt_is_not_counted_when_it_is_gone(void **state)
{
	(void)state;
	enter(1, 0, forced(0, 4, RW));
	assert_int_equal(vt_model_doubt(&t.m, addr(1), addr(3)), 0);
	assert_int_equal(t.m.totals.committed_unsure, 2);
	enter(1, 0, unmapped(0, 4));
	assert_int_equal(t.m.totals.committed_unsure, 0);
	assert_int_equal(t.m.totals.committed, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(calls_one_after_the_other_leave_no_doubt),
		TEST(two_forced_mappings_at_once_are_in_doubt_where_both_reach),
		TEST(calls_on_other_ranges_are_not_in_doubt),
		TEST(a_release_still_under_way_when_the_place_is_taken_is_in_doubt),
		TEST(a_release_right_before_it_may_have_been_under_way),
		TEST(but_not_when_it_is_the_same_threads),
		TEST(a_release_that_ended_long_ago_counts_for_who_began_before_that),
		TEST(a_place_the_kernel_chose_was_free_after_the_release_that_covered_it),
		TEST(a_release_of_nothing_may_have_struck_what_the_kernel_placed_there),
		TEST(two_releases_and_a_reuse_are_in_doubt),
		TEST(a_move_takes_doubt_along),
		TEST(what_was_moved_away_meanwhile_is_in_doubt_at_its_new_place),
		TEST(a_move_is_remembered_for_calls_not_entered_yet),
		TEST(a_call_that_failed_in_doubt_is_in_doubt_as_a_whole),
		TEST(a_lock_at_the_same_time_leaves_boundaries_open),
		TEST(a_lock_of_no_bytes_within_a_page_is_one_of_the_page),
		TEST(advice_that_ended_with_an_error_is_compared_too),
		TEST(a_refused_placement_is_compared_too),
		TEST(a_move_that_unlocks_the_whole_area_leaves_all_of_it_open),
		TEST(an_overlapping_call_leaves_the_edges_of_both_open),
		TEST(neighbours_made_at_once_leave_the_boundary_between_them_open),
		TEST(an_undone_call_is_in_doubt_until_its_thread_is_back),
		TEST(undone_and_late_calls_do_not_touch_the_model),
		TEST(a_release_may_last_longer_than_the_process_had_lived),
		TEST(the_kernels_view_settles_all_but_what_is_under_way),
		TEST(a_call_that_overlapped_more_than_is_remembered_is_in_doubt),
		TEST(a_lock_that_overlapped_more_than_is_remembered_is_in_doubt),
		TEST(all_that_a_move_may_have_found_is_in_doubt),
		TEST(releases_too_many_to_remember_leave_later_ones_in_doubt),
		TEST(what_a_duplicate_shows_may_have_been_replaced_before),
		TEST(a_boundary_in_doubt_cuts_an_extent_in_two),
		TEST(a_call_beside_it_leaves_the_far_end_of_a_segment_open),
		TEST(a_segment_that_may_go_on_behind_a_doubt_may_be_joined),
		TEST(a_doubt_cuts_between_huge_pages_only),
		TEST(what_was_in_doubt_is_not_counted_when_it_is_gone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
