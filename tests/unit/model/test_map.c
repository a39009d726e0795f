/*
 * test_map.c - calls that make and remove mappings: mmap, munmap, brk, shmat, remap_file_pages.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage.h"

static void unmapping_the_middle_leaves_two_areas(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	shows(s, "ww..ww");
	assert_int_equal(s->fx.splits, 2);
	assert_int_equal(s->m.totals.map_count, 2);
	assert_int_equal(s->fate_pages[VT_PIECE_UNMAPPED], 2);
}

static void unmapping_rounds_the_length_up(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, RW);
	call(s, VT_MUNMAP, addr(1), VT_PAGE_SIZE + 1, 0, 0, 0, 0, 0);
	shows(s, "w..w");
}

static void unmapping_reaches_over_holes(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	map(s, 4, 2, R);
	unmap(s, 1, 4);
	shows(s, "w....r");
}

static void unmapping_nothing_succeeds(void **state)
{
	struct stage *s = *state;
	unmap(s, 3, 2);
	assert_int_equal(s->fx.contradiction, 0);
}

static void pieces_keep_their_birth(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	uint64_t birth = s->seq;
	unmap(s, 2, 2);
	assert_int_equal(vt_model_find(&s->m, addr(0))->birth, birth);
	assert_int_equal(vt_model_find(&s->m, addr(4))->birth, birth);
}

static void a_forced_mapping_destroys_what_was_there(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	map(s, 2, 2, R);
	shows(s, "ww|rr|ww");
	assert_int_equal(s->fx.destroyed, 2 * VT_PAGE_SIZE);
	assert_int_equal(s->fate_pages[VT_PIECE_CLOBBERED], 2);
	assert_int_equal(s->fate_pages[VT_PIECE_BORN], 2);
}

static void noreplace_destroys_nothing(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	long ret = call(s, VT_MMAP, addr(1), VT_PAGE_SIZE, R,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0, 0);
	assert_int_equal(ret, -EEXIST);
	shows(s, "ww");
}

static void a_place_the_kernel_chose_proves_the_model_wrong(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, RW);
	struct vt_event ev = { .seq = 9,
			       .kind = VT_MMAP,
			       .a = { 0, VT_PAGE_SIZE, R, MAP_PRIVATE | MAP_ANONYMOUS },
			       .ret = (int64_t)addr(1) };
	assert_int_equal(vt_model_apply(&s->m, &ev, &s->fx), 0);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_OVERLAP);
	shows(s, "w|r|ww");
}

/* A refused forced mapping has split what was in its way (vms_abort_munmap_vmas). */
static void a_forced_mapping_over_the_limit_leaves_splits(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, R);
	s->m.config.max_map_count = 65530;
	s->m.config.rlimit_as = s->m.totals.total_vm << VT_PAGE_SHIFT;
	struct rlimit old, low = { 0 };
	getrlimit(RLIMIT_AS, &old);
	low.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_AS, &low);
	long ret = call(s, VT_MMAP, addr(2), 8 * VT_PAGE_SIZE, R,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, (uint64_t)-1, 0, 0);
	setrlimit(RLIMIT_AS, &old);
	assert_int_equal(ret, -ENOMEM);
	shows(s, "rr|rrrr");
}

/* do_brk_flags never merges with what lies above. */
static void the_heap_grows_without_touching_its_upper_neighbour(void **state)
{
	struct stage *s = *state;
	struct vt_event grow = {
		.seq = 1, .kind = VT_BRK, .a = { addr(3) }, .ret = (int64_t)addr(3)
	};
	s->m.config.start_brk = s->m.config.brk = addr(1);
	struct vt_event above = { .seq = 2,
				  .kind = VT_MMAP,
				  .a = { addr(3), VT_PAGE_SIZE, RW,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED },
				  .ret = (int64_t)addr(3) };
	vt_model_apply(&s->m, &above, &s->fx);
	vt_model_apply(&s->m, &grow, &s->fx);
	shows(s, ".ww|w");
	grow.a[0] = addr(2);
	grow.ret = (int64_t)addr(2);
	vt_model_apply(&s->m, &grow, &s->fx);
	shows(s, ".w.w");
}

static void a_refused_break_stays(void **state)
{
	struct stage *s = *state;
	s->m.config.brk = addr(1);
	struct vt_event ev = {
		.seq = 1, .kind = VT_BRK, .a = { addr(3) }, .ret = (int64_t)addr(1)
	};
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, 0);
	shows(s, "");
}

static void the_real_heap_follows_its_calls(void **state)
{
	struct stage *s = *state;
	uint64_t now = (uint64_t)call(s, VT_BRK, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(s->m.config.brk, now);
	uint64_t top = ((now + 4095) & ~4095UL) + 3 * VT_PAGE_SIZE;
	assert_int_equal(call(s, VT_BRK, top, 0, 0, 0, 0, 0, 0), top);
	assert_int_equal(s->m.totals.total_vm, 3);
	assert_int_equal(call(s, VT_BRK, now, 0, 0, 0, 0, 0, 0), now);
	assert_int_equal(s->m.totals.total_vm, 0);
}

static long attach(struct stage *s, unsigned page, int flags)
{
	return call(s, VT_SHMAT, (uint64_t)s->shmid, addr(page), (uint64_t)flags, 8 * VT_PAGE_SIZE,
		    0, 0, FILE_SYSV);
}

static void a_segment_comes_and_goes(void **state)
{
	struct stage *s = *state;
	attach(s, 2, 0);
	shows(s, "..WWWWWWWW");
	call(s, VT_SHMDT, addr(2), 0, 0, 0, 0, 0, 0);
	shows(s, "");
}

static void detaching_takes_every_piece_of_the_segment(void **state)
{
	struct stage *s = *state;
	attach(s, 0, 0);
	protect(s, 2, 2, R);
	unmap(s, 5, 1);
	shows(s, "WW|RR|W.WW");
	call(s, VT_SHMDT, addr(0), 0, 0, 0, 0, 0, 0);
	shows(s, "");
}

static void a_read_only_segment_is_not_shared_for_writing(void **state)
{
	struct stage *s = *state;
	attach(s, 0, 010000 /* SHM_RDONLY */);
	shows(s, "RRRRRRRR");
	assert_int_equal(try_protect(s, 0, 2, RW), -EACCES);
	shows(s, "RRRRRRRR");
}

static void a_segment_of_unknown_length_asks_for_a_second_look(void **state)
{
	struct stage *s = *state;
	struct vt_event ev = {
		.seq = 1, .kind = VT_SHMAT, .ret = (int64_t)addr(0), .file = FILE_SYSV
	};
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_MISSING);
}

static void remap_file_pages_maps_another_part_of_the_file(void **state)
{
	struct stage *s = *state;
	map_file(s, 0, 6, RW, MAP_SHARED, FILE_A, 0);
	call(s, VT_REMAP_FILE_PAGES, addr(2), VT_PAGE_SIZE, 0, 5, 0, 0, 0);
	shows(s, "WW|W|WWW");
	assert_int_equal(vt_model_find(&s->m, addr(2))->pgoff, 5);
}

/* A sealed area refuses; what lies before it has been split already. */
static void a_refused_unmap_leaves_a_split(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, R);
	pid_t child = fork(); /* what is sealed cannot be cleaned up */
	if (child == 0) {
		if (call(s, VT_MSEAL, addr(4), VT_PAGE_SIZE, 0, 0, 0, 0, 0) != 0)
			_exit(0);
		shows(s, "rrrr|r|r");
		if (call(s, VT_MUNMAP, addr(2), 3 * VT_PAGE_SIZE, 0, 0, 0, 0, 0) != -EPERM)
			_exit(1);
		shows(s, "rr|rr|r|r");
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

/* READ_IMPLIES_EXEC of personality(2). */
static void old_programs_get_executable_memory(void **state)
{
	struct stage *s = *state;
	struct vt_event persona = { .seq = 1, .kind = VT_PERSONALITY, .a = { 0x0400000 } };
	vt_model_apply(&s->m, &persona, &s->fx);
	struct vt_event ev = { .seq = 2,
			       .kind = VT_MMAP,
			       .a = { addr(0), VT_PAGE_SIZE, RW,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED },
			       .ret = (int64_t)addr(0) };
	vt_model_apply(&s->m, &ev, &s->fx);
	shows(s, "e");
}

/* ksys_mmap_pgoff rounds to the page size that the flags encode. */
static void huge_mappings_are_rounded_to_huge_pages(void **state)
{
	struct stage *s = *state;
	struct vt_event ev = { .seq = 1,
			       .kind = VT_MMAP,
			       .a = { 0, VT_PAGE_SIZE, RW,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB },
			       .file = FILE_HUGE,
			       .ret = 0x300000000000 };
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->m.totals.hugetlb, 512);
	ev.a[3] |= 30UL << 26;
	ev.ret = 0x340000000000;
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->m.totals.hugetlb, 512 + 512 * 512);
	assert_int_equal(s->m.totals.committed, 0);
}

static void own_mappings_are_marked(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	s->event_flags |= VT_EV_OWN;
	map(s, 2, 2, RW);
	shows(s, "wwww");
	assert_false(vt_model_find(&s->m, addr(0))->own);
	assert_true(vt_model_find(&s->m, addr(2))->own);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(unmapping_the_middle_leaves_two_areas),
		T(unmapping_rounds_the_length_up),
		T(unmapping_reaches_over_holes),
		T(unmapping_nothing_succeeds),
		T(pieces_keep_their_birth),
		T(a_forced_mapping_destroys_what_was_there),
		T(noreplace_destroys_nothing),
		T(a_place_the_kernel_chose_proves_the_model_wrong),
		T(a_forced_mapping_over_the_limit_leaves_splits),
		T(the_heap_grows_without_touching_its_upper_neighbour),
		T(a_refused_break_stays),
		T(the_real_heap_follows_its_calls),
		T(a_segment_comes_and_goes),
		T(detaching_takes_every_piece_of_the_segment),
		T(a_read_only_segment_is_not_shared_for_writing),
		T(a_segment_of_unknown_length_asks_for_a_second_look),
		T(remap_file_pages_maps_another_part_of_the_file),
		T(a_refused_unmap_leaves_a_split),
		T(old_programs_get_executable_memory),
		T(huge_mappings_are_rounded_to_huge_pages),
		T(own_mappings_are_marked),
	};
	return cmocka_run_group_tests_name("mmap_region, do_munmap, do_brk_flags", tests, NULL,
					   NULL);
}
