/*
 * test_change.c - calls that change a range: mprotect, madvise, mlock, mseal, and how far a refused
 * one gets.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage.h"

static void protecting_the_middle_splits_twice(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	protect(s, 2, 2, R);
	shows(s, "ww|rr|ww");
	assert_int_equal(s->fx.splits, 2);
	assert_int_equal(s->fate_pages[VT_PIECE_CHANGED], 2);
}

static void protecting_back_fuses_the_extents(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, NONE);
	protect(s, 2, 2, R);
	protect(s, 2, 2, NONE);
	shows(s, "------");
	assert_int_equal(s->m.totals.extents, 1);
}

static void part_of_an_area_goes_over_to_its_neighbour(void **state)
{
	map(*state, 0, 4, NONE);
	protect(*state, 0, 1, R);
	protect(*state, 1, 1, R);
	shows(*state, "rr|--");
}

static void one_protection_over_several_areas_makes_them_one(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 2, 2, NONE);
	map(s, 4, 2, RX);
	protect(s, 0, 6, R);
	shows(s, "rrrrrr");
}

static void the_same_protection_changes_nothing(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, R);
	protect(s, 1, 2, R);
	shows(s, "rrrr");
	assert_int_equal(s->fate_pages[VT_PIECE_CHANGED], 0);
}

static void a_hole_stops_mprotect(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 4, 2, R);
	assert_int_equal(try_protect(s, 1, 4, NONE), -ENOMEM);
	shows(s, "r|-..rr");
	assert_int_equal(s->fx.contradiction, 0);
}

static void nothing_at_the_start_refuses_mprotect(void **state)
{
	struct stage *s = *state;
	map(s, 1, 2, R);
	assert_int_equal(try_protect(s, 0, 3, NONE), -ENOMEM);
	shows(s, ".rr");
}

static void a_forbidden_area_stops_mprotect(void **state)
{
	struct stage *s = *state;
	s->event_flags |= VT_EV_FD_RDONLY;
	map(s, 0, 2, R);
	int fd = s->fd[FILE_A];
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	s->fd[FILE_A] = open(path, O_RDONLY | O_CLOEXEC);
	map_file(s, 2, 2, R, MAP_SHARED, FILE_A, 0);
	close(fd);
	assert_int_equal(try_protect(s, 0, 4, RW), -EACCES);
	shows(s, "ww|RR");
}

static void growsdown_reaches_to_the_stacks_beginning(void **state)
{
	map_flags(*state, 2, 4, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
	call(*state, VT_MPROTECT, addr(4), VT_PAGE_SIZE, R | PROT_GROWSDOWN, 0, 0, 0, 0);
	shows(*state, "..rrr|w");
}

static void advice_that_an_area_remembers_splits_it(void **state)
{
	map(*state, 0, 6, R);
	advise(*state, 2, 2, MADV_DONTFORK);
	shows(*state, "rr|rr|rr");
	advise(*state, 2, 2, MADV_DOFORK);
	shows(*state, "rrrrrr");
}

static void advice_that_drops_contents_splits_nothing(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	advise(s, 2, 2, MADV_DONTNEED);
	shows(s, "wwwwww");
	assert_int_equal(s->fate_pages[VT_PIECE_DISCARDED], 2);
}

/* madvise_walk_vmas goes on past a hole and then fails. */
static void advice_goes_on_past_holes(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 4, 2, R);
	assert_int_equal(try_advise(s, 0, 5, MADV_DONTFORK), -ENOMEM);
	shows(s, "rr..r|r");
}

static void advice_stops_at_an_area_that_refuses_it(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map_file(s, 2, 2, R, MAP_SHARED, FILE_A, 0);
	map(s, 4, 2, R);
	assert_int_equal(try_advise(s, 1, 4, MADV_WIPEONFORK), -EINVAL);
	shows(s, "r|r|RR|rr");
}

static void a_lock_splits_and_an_unlock_merges(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, R);
	lock(s, 2, 2);
	shows(s, "rr|rr|rr");
	assert_int_equal(s->m.totals.locked_vm, 2);
	unlock(s, 2, 2);
	shows(s, "rrrrrr");
	assert_int_equal(s->m.totals.locked_vm, 0);
}

/* apply_vma_lock_flags stops at the first hole. */
static void a_hole_stops_a_lock(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	map(s, 4, 2, R);
	long ret = call(s, VT_MLOCK, addr(1), 4 * VT_PAGE_SIZE, 0, 0, 0, 0, 0);
	assert_int_equal(ret, -ENOMEM);
	shows(s, "r|r..rr");
}

/* The pages cannot be faulted in, which is told only after the areas are locked. */
static void memory_without_access_is_locked_though_the_call_fails(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, NONE);
	long ret = call(s, VT_MLOCK, addr(1), 2 * VT_PAGE_SIZE, 0, 0, 0, 0, 0);
	assert_int_equal(ret, -ENOMEM);
	shows(s, "-|--|-");
	assert_int_equal(s->m.totals.locked_vm, 2);
}

static void an_address_inside_a_page_locks_the_page(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, R);
	call(s, VT_MLOCK, addr(1) + 5, VT_PAGE_SIZE, 0, 0, 0, 0, 0);
	shows(s, "r|rr|r");
}

static void future_memory_is_locked_by_default(void **state)
{
	struct stage *s = *state;
	struct vt_event all = { .seq = 1, .kind = VT_MLOCKALL, .a = { MCL_FUTURE } };
	struct vt_event one = { .seq = 2,
				.kind = VT_MMAP,
				.a = { addr(0), VT_PAGE_SIZE, R,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED },
				.ret = (int64_t)addr(0) };
	vt_model_apply(&s->m, &all, &s->fx);
	vt_model_apply(&s->m, &one, &s->fx);
	assert_int_equal(s->m.totals.locked_vm, 1);
	struct vt_event none = { .seq = 3, .kind = VT_MUNLOCKALL };
	vt_model_apply(&s->m, &none, &s->fx);
	assert_int_equal(s->m.totals.locked_vm, 0);
	assert_int_equal(s->m.def_flags, 0);
}

/* What is sealed stays for the process's life: in a child. */
static void sealed_memory_refuses_change(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, R);
	pid_t child = fork();
	if (child == 0) {
		if (call(s, VT_MSEAL, addr(2), VT_PAGE_SIZE, 0, 0, 0, 0, 0) != 0)
			_exit(0);
		shows(s, "rr|r|r");
		assert_int_equal(try_protect(s, 1, 3, NONE), -EPERM);
		shows(s, "r|-|r|r");
		assert_int_equal(try_advise(s, 0, 4, MADV_DONTNEED), -EPERM);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

static void a_long_area_that_needs_no_change_is_not_walked(void **state)
{
	struct stage *s = *state;
	for (unsigned i = 0; i < 40; i++)
		map(s, i, 1, R);
	protect(s, 0, 40, R);
	assert_int_equal(s->m.totals.extents, 40);
	protect(s, 0, 40, NONE);
	shows(s, "----------------------------------------");
}

/* populate_vma_page_range passes droppable memory, which is never locked, no less. */
static void locking_droppable_memory_touches_it(void **state)
{
	struct stage *s = *state;
	long ret = call(s, VT_MMAP, addr(0), 6 * VT_PAGE_SIZE, RW,
			0x08 /* MAP_DROPPABLE */ | MAP_ANONYMOUS | MAP_FIXED, (uint64_t)-1, 0, 0);
	if (vt_is_error(ret))
		skip();
	assert_int_equal(
	    call(s, VT_MLOCK2, addr(0), 6 * VT_PAGE_SIZE, 1 /* MLOCK_ONFAULT */, 0, 0, 0, 0), 0);
	assert_int_equal(s->m.totals.locked_vm, 0);
	protect(s, 2, 2, R);
	protect(s, 2, 2, RW);
	shows(s, "wwwwww");
}

/* hugetlb_vm_op_split refuses a cut inside a huge page: the areas before it are changed. */
static void a_huge_page_that_would_be_cut_stops_mprotect(void **state)
{
	struct stage *s = *state;
	const uint64_t huge = 0x300000000000;
	struct vt_event small = { .seq = 1,
				  .kind = VT_MMAP,
				  .a = { huge - VT_PAGE_SIZE, VT_PAGE_SIZE, RW,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED },
				  .ret = (int64_t)(huge - VT_PAGE_SIZE) };
	struct vt_event large = small;
	large.a[0] = huge;
	large.a[3] |= MAP_HUGETLB;
	large.ret = (int64_t)huge;
	large.file = FILE_HUGE;
	struct vt_event both = { .seq = 2,
				 .kind = VT_MPROTECT,
				 .a = { small.a[0], 2 * VT_PAGE_SIZE, R },
				 .ret = -EINVAL };
	vt_model_apply(&s->m, &small, &s->fx);
	vt_model_apply(&s->m, &large, &s->fx);
	vt_model_apply(&s->m, &both, &s->fx);
	assert_false(vt_model_find(&s->m, small.a[0])->flags & VT_VM(WRITE));
	assert_true(vt_model_find(&s->m, huge)->flags & VT_VM(WRITE));
}

/* The same where the model holds the huge page as several extents, and one begins at the cut. */
static void a_huge_page_is_one_whatever_the_model_cuts(void **state)
{
	struct stage *s = *state;
	const uint64_t huge = 0x300000000000, size = 2UL << 20, cut = huge + 16 * VT_PAGE_SIZE;
	struct vt_event small = { .seq = 1,
				  .kind = VT_MMAP,
				  .a = { huge - 4 * VT_PAGE_SIZE, 4 * VT_PAGE_SIZE, RW,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED },
				  .ret = (int64_t)(huge - 4 * VT_PAGE_SIZE) };
	struct vt_event large = { .seq = 2,
				  .kind = VT_MMAP,
				  .a = { huge, 2 * size, RW, small.a[3] | MAP_HUGETLB },
				  .ret = (int64_t)huge,
				  .file = FILE_HUGE };
	struct vt_event second = { .kind = VT_MPROTECT, .a = { huge + size, size, R } };
	struct vt_event across = { .kind = VT_MPROTECT, .a = { cut, size, 0 }, .ret = -EINVAL };
	struct vt_event gone = { .kind = VT_MUNMAP,
				 .a = { huge - 2 * VT_PAGE_SIZE, cut - huge + 2 * VT_PAGE_SIZE },
				 .ret = -EINVAL };
	struct vt_vma one = { .start = huge, .end = huge + size, .flags = RW, .file = FILE_HUGE };
	vt_model_apply(&s->m, &small, &s->fx);
	vt_model_apply(&s->m, &large, &s->fx);
	vt_model_apply(&s->m, &second, &s->fx);
	vt_model_doubt(&s->m, cut, cut + VT_PAGE_SIZE);
	vt_model_settle(&s->m, &one, 1, NULL, 0, NULL);
	assert_int_equal(vt_model_find(&s->m, cut)->start, cut);
	vt_model_apply(&s->m, &across, &s->fx);
	assert_true(vt_model_find(&s->m, cut)->flags & VT_VM(WRITE));
	vt_model_apply(&s->m, &gone, &s->fx);
	assert_int_equal(vt_model_find(&s->m, gone.a[0])->start, gone.a[0]);
	assert_int_equal(vt_model_find(&s->m, gone.a[0])->boundary, VT_BOUNDARY_SPLIT);
}

/* Which flags the kernel changes where the model cannot know what they were. */
static void a_lock_on_what_may_be_locked_already_leaves_doubt_at_its_edges(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	call(s, VT_MLOCK2, addr(0), 6 * VT_PAGE_SIZE, 1, 0, 0, 0, 0);
	shows(s, "wwww?ww");
	move(s, 0, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED | 4 /* MREMAP_DONTUNMAP */, 10);
	call(s, VT_MLOCK2, addr(5), VT_PAGE_SIZE, 1, 0, 0, 0, 0);
	shows(s, "wwww?w?w....w");
	assert_int_equal(settle(s), 0);
}

/* A key that the process does not have is found out before anything is done; a huge page later. */
static void a_key_or_a_huge_page_may_have_refused(void **state)
{
	struct stage *s = *state;
	const uint64_t huge = STAGE_BASE + (2UL << 20);
	map(s, 0, STAGE_PAGES, RW);
	map_huge_page(s, huge);
	struct vt_event ev = { .seq = ++s->seq,
			       .kind = VT_PKEY_MPROTECT,
			       .a = { addr(0), (2UL << 20) + VT_PAGE_SIZE, R, 1 },
			       .ret = -EINVAL };
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_OPEN);
	ev.a[3] = (uint64_t)-1;
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, 0);
	munmap((void *)huge, 2UL << 20);
}

/*
 * What the limit refuses depends on all that the kernel counts, also on what may be counted only.
 */
static void locks_that_may_be_counted_may_reach_the_limit(void **state)
{
	struct stage *s = *state;
	struct vt_event ev = {
		.seq = 2, .kind = VT_MLOCK2, .a = { addr(0), 4 * VT_PAGE_SIZE, 1 }, .ret = -ENOMEM
	};
	map(s, 0, 4, R);
	s->m.config.rlimit_memlock = 6 * VT_PAGE_SIZE;
	s->m.totals.locked_unsure = 3;
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_OPEN);
	assert_int_equal(s->m.totals.locked_vm, 0);
}

static void the_call_that_should_have_failed_is_told(void **state)
{
	struct stage *s = *state;
	struct vt_event ev = { .seq = 1, .kind = VT_MPROTECT, .a = { addr(0), VT_PAGE_SIZE, R } };
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->fx.contradiction, VT_CONTRA_MISSING);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(protecting_the_middle_splits_twice),
		T(protecting_back_fuses_the_extents),
		T(part_of_an_area_goes_over_to_its_neighbour),
		T(one_protection_over_several_areas_makes_them_one),
		T(the_same_protection_changes_nothing),
		T(a_hole_stops_mprotect),
		T(nothing_at_the_start_refuses_mprotect),
		T(a_forbidden_area_stops_mprotect),
		T(growsdown_reaches_to_the_stacks_beginning),
		T(advice_that_an_area_remembers_splits_it),
		T(advice_that_drops_contents_splits_nothing),
		T(advice_goes_on_past_holes),
		T(advice_stops_at_an_area_that_refuses_it),
		T(a_lock_splits_and_an_unlock_merges),
		T(a_hole_stops_a_lock),
		T(memory_without_access_is_locked_though_the_call_fails),
		T(an_address_inside_a_page_locks_the_page),
		T(future_memory_is_locked_by_default),
		T(sealed_memory_refuses_change),
		T(a_long_area_that_needs_no_change_is_not_walked),
		T(locking_droppable_memory_touches_it),
		T(a_huge_page_that_would_be_cut_stops_mprotect),
		T(a_huge_page_is_one_whatever_the_model_cuts),
		T(a_lock_on_what_may_be_locked_already_leaves_doubt_at_its_edges),
		T(a_key_or_a_huge_page_may_have_refused),
		T(locks_that_may_be_counted_may_reach_the_limit),
		T(the_call_that_should_have_failed_is_told),
	};
	return cmocka_run_group_tests_name("mprotect_fixup, madvise_walk_vmas, mlock_fixup", tests,
					   NULL, NULL);
}
