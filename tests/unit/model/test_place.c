/*
 * test_place.c - where the kernel puts a mapping: get_unmapped_area, unmapped_area,
 * unmapped_area_topdown.
 *
 * The model of these tests knows the whole address space of the test's own process, so that the
 * kernel can be asked where it puts things. The small ones draw a space of their own.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stage.h"

#define TOP  0x7ffff7fff000UL
#define HUGE (2UL << 20)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

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

/* An area of so many pages that ends so many pages below the top. */
static void area(struct vt_model *m, uint64_t end, unsigned pages, uint32_t more_flags)
{
	struct vt_vma v = { .start = TOP - (end + pages) * VT_PAGE_SIZE,
			    .end = TOP - end * VT_PAGE_SIZE,
			    .flags = VT_VM(READ) | more_flags };
	assert_int_equal(vt_model_put(m, &v, 0, 0), 0);
}

static uint64_t below_top(uint64_t pages)
{
	return TOP - pages * VT_PAGE_SIZE;
}

static uint64_t place(struct vt_model *m, uint64_t pages)
{
	return vt_get_unmapped_area(m, 0, pages * VT_PAGE_SIZE, 0, ANON, 0);
}

static void the_highest_gap_that_fits_is_taken(void **state)
{
	area(*state, 0, 2, 0);
	area(*state, 3, 2, 0);
	area(*state, 8, 2, 0);
	assert_int_equal(place(*state, 1), below_top(3));
	assert_int_equal(place(*state, 2), below_top(7));
	assert_int_equal(place(*state, 4), below_top(14));
}

static void the_top_of_an_empty_space_is_taken(void **state)
{
	assert_int_equal(place(*state, 5), below_top(5));
}

static void nothing_is_placed_above_mmap_base(void **state)
{
	struct vt_vma stack = { .start = 0x7ffffffde000, .end = 0x7ffffffff000 };
	vt_model_put(*state, &stack, 0, 0);
	assert_int_equal(place(*state, 5), below_top(5));
}

static void a_stack_keeps_its_guard_gap_free(void **state)
{
	struct vt_model *m = *state;
	area(m, 2, 2, VT_VM(GROWSDOWN) | VT_VM(MAYREAD));
	assert_int_equal(place(m, 2), below_top(2));
	assert_int_equal(place(m, 3), below_top(4 + 256 + 3));
}

static void a_free_hint_is_honoured(void **state)
{
	assert_int_equal(vt_get_unmapped_area(*state, 0x10000000, VT_PAGE_SIZE, 0, ANON, 0),
			 0x10000000);
}

static void a_taken_hint_is_not(void **state)
{
	area(*state, 4, 2, 0);
	assert_int_equal(vt_get_unmapped_area(*state, below_top(5), VT_PAGE_SIZE, 0, ANON, 0),
			 below_top(1));
}

static void a_hint_below_the_lowest_address_is_rounded_up(void **state)
{
	assert_int_equal(vt_get_unmapped_area(*state, VT_PAGE_SIZE, VT_PAGE_SIZE, 0, ANON, 0),
			 0x10000);
}

static void a_forced_place_is_taken_as_it_is(void **state)
{
	area(*state, 4, 2, 0);
	assert_int_equal(
	    vt_get_unmapped_area(*state, below_top(5), VT_PAGE_SIZE, 0, ANON | MAP_FIXED, 0),
	    below_top(5));
}

static void the_legacy_layout_searches_upwards(void **state)
{
	struct vt_model *m = *state;
	m->config.bottomup = true;
	m->config.mmap_base = 0x2aaaaaaab000;
	struct vt_vma v = { .start = 0x2aaaaaaab000, .end = 0x2aaaaaaad000 };
	vt_model_put(m, &v, 0, 0);
	assert_int_equal(place(m, 2), 0x2aaaaaaad000);
}

static void low_memory_is_searched_upwards(void **state)
{
	uint64_t at = vt_get_unmapped_area(*state, 0, VT_PAGE_SIZE, 0, ANON | MAP_32BIT, 0);
	assert_int_equal(at, 0x40000000);
}

static void whole_huge_pages_are_aligned(void **state)
{
	assert_int_equal(place(*state, 512) & (HUGE - 1), 0);
	assert_int_not_equal(place(*state, 513) & (HUGE - 1), 0);
}

/* Where an mmap without a hint is expected to lie. */
static uint64_t expected(const struct vt_model *m, uint64_t len, uint64_t offset, uint64_t flags,
			 uint32_t file)
{
	struct vt_event ev = { .kind = VT_MMAP,
			       .a = { 0, len, 0, flags, 0, offset },
			       .file = file };
	struct vt_placement p;
	assert_true(vt_model_placement(m, &ev, &p));
	assert_int_equal(p.len, len);
	return p.at;
}

static void a_disk_file_is_aligned_by_its_offset(void **state)
{
	uint64_t at = expected(*state, HUGE + HUGE, 0x3000, MAP_SHARED, FILE_A);
	assert_int_equal((at - 0x3000) & (HUGE - 1), 0);
}

static void a_file_in_memory_is_not_aligned(void **state)
{
	vt_model_set_file(*state, FILE_A, VT_FILE_REGULAR);
	vt_model_set_file_in_memory(*state, FILE_A);
	assert_int_equal(expected(*state, 3 * HUGE, 0, MAP_SHARED, FILE_A), below_top(3 * 512));
}

static void shared_memory_is_aligned_where_it_may_have_huge_pages(void **state)
{
	struct vt_model *m = *state;
	const uint64_t shared = MAP_SHARED | MAP_ANONYMOUS;
	assert_int_equal(expected(m, 3 * HUGE, 0, shared, FILE_SHM), below_top(3 * 512));
	m->config.shmem_align = true;
	/* an offset means nothing to anonymous memory */
	assert_int_equal(expected(m, 3 * HUGE, 0x5000, shared, FILE_SHM) & (HUGE - 1), 0);
	assert_int_equal(expected(m, HUGE / 2, 0, shared, FILE_SHM), below_top(256));
}

static void a_forced_placement_is_not_the_kernels_choice(void **state)
{
	struct vt_event ev = { .kind = VT_MMAP,
			       .a = { STAGE_BASE, HUGE, 0, ANON | MAP_FIXED },
			       .ret = STAGE_BASE };
	struct vt_placement p;
	assert_false(vt_model_placement(*state, &ev, &p));
}

/* mremap asks for the area without the rounding that mmap does to a hint first. */
static void the_low_hint_of_a_move_is_not_rounded(void **state)
{
	struct vt_vma v = { .start = STAGE_BASE,
			    .end = STAGE_BASE + 4 * VT_PAGE_SIZE,
			    .flags = VT_VM(READ) | VT_VM(MAYREAD) };
	assert_int_equal(vt_model_put(*state, &v, 0, 0), 0);
	struct vt_event ev = { .kind = VT_MREMAP,
			       .a = { STAGE_BASE, VT_PAGE_SIZE, VT_PAGE_SIZE,
				      MREMAP_MAYMOVE | MREMAP_DONTUNMAP, 0x4000 },
			       .ret = 0x4000 };
	struct vt_placement p;
	assert_true(vt_model_placement(*state, &ev, &p));
	assert_int_equal(p.at, 0x4000);
}

/* Moved private /dev/zero has its old offset, or its place's own if no page of it was touched. */
static void where_zero_memory_that_was_moved_goes_next_depends_on_its_pages(void **state)
{
	struct vt_model *m = *state;
	struct vt_effect fx;
	struct vt_event map = { .seq = 1,
				.kind = VT_MMAP,
				.a = { 0x629000, 0x4000, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_FIXED, 7 },
				.ret = 0x629000,
				.file = FILE_ZERO };
	struct vt_event grow = { .seq = 2,
				 .kind = VT_MREMAP,
				 .a = { 0x629000, 0x1000, HUGE, MREMAP_MAYMOVE },
				 .ret = 0x7ffff7a00000 };
	struct vt_event move = { .seq = 3,
				 .kind = VT_MREMAP,
				 .a = { 0x629000, 0x1000, 0x4000, MREMAP_MAYMOVE | MREMAP_FIXED,
					STAGE_BASE + 0x2000 },
				 .ret = STAGE_BASE + 0x2000 };
	struct vt_placement p;
	assert_int_equal(vt_model_apply(m, &map, &fx), 0);
	assert_true(vt_model_placement(m, &grow, &p));
	assert_int_equal(vt_model_apply(m, &move, &fx), 0);
	grow.a[0] = STAGE_BASE + 0x2000;
	assert_false(vt_model_placement(m, &grow, &p));
}

/* unmapped_area asks for the guard gap with the length that it looked for, alignment and all. */
static void below_a_stack_upwards_huge_pages_need_room_to_align(void **state)
{
	struct vt_model *m = *state;
	const uint64_t base = 0x2aaaaaa00000, stack = base + 3 * HUGE;
	m->config.bottomup = true;
	m->config.mmap_base = base;
	struct vt_vma v = { .start = stack,
			    .end = stack + VT_PAGE_SIZE,
			    .flags = VT_VM(READ) | VT_VM(GROWSDOWN) | VT_VM(MAYREAD) };
	assert_int_equal(vt_model_put(m, &v, 0, 0), 0);
	vt_model_set_file(m, FILE_HUGE, VT_FILE_HUGETLB);
	/* two huge pages and the guard gap would fit, but not with room to align them */
	assert_int_equal(expected(m, 2 * HUGE, 0, MAP_PRIVATE, FILE_HUGE),
			 (stack + HUGE) & ~(HUGE - 1));
	/* any other area is none to keep away from */
	v.flags = VT_VM(READ) | VT_VM(MAYREAD);
	assert_int_equal(vt_model_put(m, &v, 0, 0), 0);
	m->config.mmap_base = base + VT_PAGE_SIZE;
	assert_int_equal(expected(m, 2 * HUGE, 0, MAP_PRIVATE, FILE_HUGE), base + HUGE);
}

static void without_mmap_base_nothing_is_known(void **state)
{
	struct vt_model *m = *state;
	m->config.mmap_base = 0;
	assert_int_equal((int64_t)place(m, 1), -ENOMEM);
}

static void more_than_the_space_does_not_fit(void **state)
{
	assert_int_equal((int64_t)place(*state, 1UL << 36), -ENOMEM);
}

/* Enter everything that the kernel shows of this process. */
static void enter_everything(struct vt_model *m)
{
	static char text[1 << 18];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	for (ssize_t got; (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0;)
		len += (size_t)got;
	close(fd);
	text[len] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		struct vt_vma v = { .special = strstr(line, "[stack]")      ? VT_SPECIAL_STACK
					       : strstr(line, "[vsyscall]") ? VT_SPECIAL_VSYSCALL
									    : VT_SPECIAL_NONE };
		unsigned long start, end;
		assert_int_equal(sscanf(line, "%lx-%lx", &start, &end), 2);
		v.start = start;
		v.end = end;
		assert_int_equal(vt_model_put(m, &v, 0, 0), 0);
	}
}

/* Maps and unmaps at once, so that the process stays as the model knows it. */
static uint64_t kernel_place(uint64_t hint, uint64_t len, int flags, int fd)
{
	long at = syscall(SYS_mmap, hint, len, PROT_READ, flags, fd, 0);
	assert_int_not_equal(at, -1);
	syscall(SYS_munmap, at, len);
	return (uint64_t)at;
}

/* The kernel's mmap_base is where its first choice in this process ends. */
static void learn_base(struct vt_model *m)
{
	struct vt_extent *x = vt_model_last(m);
	while (x && x->start > 0x7f0000000000 &&
	       (x->special || x->flags & VT_VM(GROWSDOWN) || x->end > 0x7fff00000000))
		x = vt_extent_prev(x);
	m->config.mmap_base = x ? x->end : 0;
}

static void the_live_kernel_agrees(void **state)
{
	static const uint64_t lens[] = { 0x1000, 0x5000, 0x100000, HUGE, HUGE + 0x1000, 4 * HUGE };
	struct vt_model *m = *state;
	enter_everything(m);
	learn_base(m);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint64_t expected = vt_get_unmapped_area(m, 0, lens[i], 0, ANON, 0);
		uint64_t hinted = vt_get_unmapped_area(m, STAGE_BASE, lens[i], 0, ANON, 0);
		uint64_t at = kernel_place(0, lens[i], ANON, -1);
		assert_int_equal(kernel_place(STAGE_BASE, lens[i], ANON, -1), hinted);
		/* above the highest area there may be room that this test cannot know of */
		if (at < m->config.mmap_base)
			assert_int_equal(at, expected);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_model, close_model)
	const struct CMUnitTest tests[] = {
		T(the_highest_gap_that_fits_is_taken),
		T(the_top_of_an_empty_space_is_taken),
		T(nothing_is_placed_above_mmap_base),
		T(a_stack_keeps_its_guard_gap_free),
		T(a_free_hint_is_honoured),
		T(a_taken_hint_is_not),
		T(a_hint_below_the_lowest_address_is_rounded_up),
		T(a_forced_place_is_taken_as_it_is),
		T(the_legacy_layout_searches_upwards),
		T(low_memory_is_searched_upwards),
		T(whole_huge_pages_are_aligned),
		T(a_disk_file_is_aligned_by_its_offset),
		T(a_file_in_memory_is_not_aligned),
		T(shared_memory_is_aligned_where_it_may_have_huge_pages),
		T(a_forced_placement_is_not_the_kernels_choice),
		T(the_low_hint_of_a_move_is_not_rounded),
		T(where_zero_memory_that_was_moved_goes_next_depends_on_its_pages),
		T(below_a_stack_upwards_huge_pages_need_room_to_align),
		T(without_mmap_base_nothing_is_known),
		T(more_than_the_space_does_not_fit),
		T(the_live_kernel_agrees),
	};
	return cmocka_run_group_tests_name("get_unmapped_area", tests, NULL, NULL);
}
