/*
 * test_snapshot.c - what the kernel showed enters the model: put, forget, settle, unseen changes,
 * and the walk over areas.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage.h"

static struct vt_vma vma(unsigned page, unsigned n, uint32_t flags)
{
	return (struct vt_vma){ .start = addr(page), .end = addr(page + n), .flags = flags };
}

static void put(struct stage *s, unsigned page, unsigned n, uint32_t flags)
{
	struct vt_vma v = vma(page, n, flags);
	assert_int_equal(vt_model_put(&s->m, &v, 7, 0), 0);
}

#define RD VT_VM(READ)
#define WR (VT_VM(READ) | VT_VM(WRITE))

static void areas_put_side_by_side_are_two(void **state)
{
	put(*state, 0, 2, RD);
	put(*state, 2, 2, RD);
	shows(*state, "rr|rr");
}

static void putting_replaces_what_was_there(void **state)
{
	put(*state, 0, 6, WR);
	put(*state, 2, 2, RD);
	shows(*state, "ww|rr|ww");
}

static void forgetting_leaves_a_hole(void **state)
{
	struct stage *s = *state;
	put(s, 0, 6, WR);
	assert_int_equal(vt_model_forget(&s->m, addr(2), addr(4)), 0);
	shows(s, "ww..ww");
}

static void the_observer_hears_nothing_of_a_snapshot(void **state)
{
	struct stage *s = *state;
	put(s, 0, 6, WR);
	put(s, 2, 2, RD);
	assert_int_equal(s->fate_pages[VT_PIECE_LOST], 0);
	assert_int_equal(s->fate_pages[VT_PIECE_BORN], 0);
}

static void what_is_the_recorders_stays_one_area_with_its_neighbours(void **state)
{
	struct stage *s = *state;
	put(s, 0, 6, WR);
	assert_int_equal(vt_model_own(&s->m, addr(2), addr(4)), 0);
	shows(s, "wwwwww");
	assert_false(vt_model_find(&s->m, addr(1))->own);
	assert_true(vt_model_find(&s->m, addr(2))->own);
	assert_true(vt_model_find(&s->m, addr(3))->own);
	assert_false(vt_model_find(&s->m, addr(4))->own);
}

/* maps shows neither the hidden flags nor where anonymous memory was mapped first. */
static void what_maps_does_not_show_leaves_doubt(void **state)
{
	struct stage *s = *state;
	put(s, 0, 2, RD);
	struct vt_event ev = { .seq = 8,
			       .kind = VT_MMAP,
			       .a = { addr(2), 2 * VT_PAGE_SIZE, R,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED },
			       .ret = (int64_t)addr(2) };
	vt_model_apply(&s->m, &ev, &s->fx);
	shows(s, "rr?rr");
}

static void the_heap_is_known_well_enough_to_grow_without_doubt(void **state)
{
	struct stage *s = *state;
	struct vt_vma heap = vma(0, 2, WR);
	heap.special = VT_SPECIAL_HEAP;
	vt_model_put(&s->m, &heap, 0, 0);
	s->m.config.brk = addr(2);
	struct vt_event ev = {
		.seq = 1, .kind = VT_BRK, .a = { addr(4) }, .ret = (int64_t)addr(4)
	};
	vt_model_apply(&s->m, &ev, &s->fx);
	shows(s, "wwww");
}

static struct vt_event unseen(unsigned page, unsigned n, int prot, uint64_t why)
{
	return (
	    struct vt_event){ .seq = 9,
			      .kind = VT_UNSEEN_MAP,
			      .a = { addr(page), n * VT_PAGE_SIZE, (uint64_t)prot, MAP_PRIVATE, 0 },
			      .aux = why };
}

static void an_unseen_mapping_tells_what_it_replaced(void **state)
{
	struct stage *s = *state;
	put(s, 0, 4, WR);
	struct vt_event ev = unseen(1, 2, R, VT_UNSEEN_CHANGE);
	vt_model_apply(&s->m, &ev, &s->fx);
	shows(s, "w|rr|w");
	assert_int_equal(s->fate_pages[VT_PIECE_LOST], 2);
	assert_int_equal(s->fate_pages[VT_PIECE_BORN], 2);
	assert_int_equal(vt_model_find(&s->m, addr(1))->birth, 9);
}

static void unseen_area(struct stage *s, unsigned page, unsigned n)
{
	struct vt_event ev = { .seq = 9,
			       .kind = VT_UNSEEN_AREA,
			       .a = { addr(page), n * VT_PAGE_SIZE } };
	assert_int_equal(vt_model_apply(&s->m, &ev, &s->fx), 0);
}

static void an_area_that_no_call_made_is_one_from_then_on(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, NONE);
	assert_int_equal(madvise((void *)addr(2), 2 * VT_PAGE_SIZE, MADV_DONTFORK), 0);
	unseen_area(s, 2, 2);
	shows(s, "--|--|--");
	assert_int_equal(s->fate_pages[VT_PIECE_LOST], 0);
	protect(s, 0, 6, R);
	shows(s, "rr?rr?rr"); /* whatever was changed may have been changed back */
}

static void areas_that_became_one_without_a_call_are_one(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, NONE);
	advise(s, 2, 2, MADV_DONTFORK);
	shows(s, "--|--|--");
	assert_int_equal(madvise((void *)addr(2), 2 * VT_PAGE_SIZE, MADV_DOFORK), 0);
	unseen_area(s, 0, 6);
	shows(s, "------");
	protect(s, 0, 6, R);
	shows(s, "rrrrrr");
}

static void an_unseen_unmapping_takes_away(void **state)
{
	struct stage *s = *state;
	put(s, 0, 4, WR);
	struct vt_event ev = { .seq = 9,
			       .kind = VT_UNSEEN_UNMAP,
			       .a = { addr(1), 2 * VT_PAGE_SIZE } };
	vt_model_apply(&s->m, &ev, &s->fx);
	shows(s, "w..w");
	assert_int_equal(s->fate_pages[VT_PIECE_LOST], 2);
}

static void a_grown_stack_is_one_area_of_two_births(void **state)
{
	struct stage *s = *state;
	struct vt_vma stack = vma(10, 2, WR);
	stack.special = VT_SPECIAL_STACK;
	vt_model_put(&s->m, &stack, 0, 0);
	struct vt_event ev = unseen(8, 2, RW, VT_UNSEEN_STACK_GROWTH);
	vt_model_apply(&s->m, &ev, &s->fx);
	shows(s, "........wwww");
	assert_int_equal(vt_model_find(&s->m, addr(8))->birth, 9);
	assert_int_equal(vt_model_find(&s->m, addr(10))->birth, 0);
	assert_int_equal(s->m.totals.stack_vm, 4);
}

static void settling_answers_what_was_open(void **state)
{
	struct stage *s = *state;
	uint64_t settled = 0;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	shows(s, "wwww?ww");
	struct vt_vma two[] = { vma(0, 4, WR), vma(4, 2, WR) };
	assert_int_equal(vt_model_settle(&s->m, two, 2, NULL, 0, &settled), 0);
	assert_int_equal(settled, 1);
	shows(s, "wwww|ww");
}

static void settling_counts_what_was_wrong(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, R);
	struct vt_vma three[] = { vma(0, 2, RD), vma(2, 2, RD), vma(4, 2, RD) };
	assert_int_equal(vt_model_settle(&s->m, three, 3, NULL, 0, NULL), 2);
	shows(s, "rr|rr|rr");
	struct vt_vma one[] = { vma(0, 6, RD) };
	assert_int_equal(vt_model_settle(&s->m, one, 1, NULL, 0, NULL), 2);
	shows(s, "rrrrrr");
}

static void settling_does_not_blame_what_was_in_flux(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, R);
	struct vt_vma two[] = { vma(0, 2, RD), vma(2, 4, RD) };
	struct vt_range flux = { addr(1), addr(3) };
	assert_int_equal(vt_model_settle(&s->m, two, 2, &flux, 1, NULL), 0);
}

/* The open flags of an area that proves to be one with a known one are known. */
static void areas_that_prove_to_be_one_learn_from_each_other(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	map(s, 2, 2, NONE);
	protect(s, 0, 2, NONE);
	shows(s, "--?--");
	assert_int_equal(settle(s), 0);
	shows(s, "----");
	assert_int_equal(s->m.totals.committed, 0);
	assert_int_equal(s->m.totals.committed_unsure, 0);
}

/* The same where the model was sure that they are two. */
static void areas_wrongly_held_apart_learn_from_each_other_too(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, R);
	put(s, 0, 2, RD);
	shows(s, "rr|rr");
	assert_true(vt_extent_unsure_flags(vt_model_first(&s->m)));
	assert_int_equal(settle(s), 1);
	shows(s, "rrrr");
	assert_false(vt_extent_unsure_flags(vt_model_first(&s->m)));
}

static void the_walk_joins_extents_to_areas(void **state)
{
	struct stage *s = *state;
	struct vt_vma v;
	map(s, 0, 2, R);
	map(s, 2, 2, R);
	map(s, 4, 2, RW);
	struct vt_extent *x = vt_model_vma(&s->m, vt_model_first(&s->m), &v);
	assert_int_equal(v.start, addr(0));
	assert_int_equal(v.end, addr(4));
	assert_int_equal(v.undetermined, 0);
	assert_null(vt_model_vma(&s->m, x, &v));
	assert_int_equal(v.start, addr(4));
}

static void the_walk_takes_what_is_open_as_one_and_says_so(void **state)
{
	struct stage *s = *state;
	struct vt_vma v;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	assert_null(vt_model_vma(&s->m, vt_model_first(&s->m), &v));
	assert_int_equal(v.end, addr(6));
	assert_int_equal(v.undetermined, 1);
}

static void the_gate_area_is_no_area_of_the_process(void **state)
{
	struct stage *s = *state;
	struct vt_vma v = { .start = 0xffffffffff600000,
			    .end = 0xffffffffff601000,
			    .special = VT_SPECIAL_VSYSCALL };
	vt_model_put(&s->m, &v, 0, 0);
	assert_int_equal(s->m.totals.map_count, 0);
	assert_int_equal(s->m.totals.total_vm, 0);
}

static void a_keyframes_extents_enter_with_all_they_are(void **state)
{
	struct stage *s = *state;
	struct vt_model m;
	map(s, 0, 4, NONE);
	map(s, 4, 2, R);
	map(s, 6, 2, R);
	stage_model(&m);
	for (struct vt_extent *x = vt_model_first(&s->m); x; x = vt_extent_next(x))
		assert_int_equal(vt_model_restore(&m, x), 0);
	assert_int_equal(m.totals.map_count, s->m.totals.map_count);
	assert_int_equal(m.totals.extents, s->m.totals.extents);
	assert_int_equal(vt_model_find(&m, addr(6))->birth, 3);
	assert_int_equal(vt_model_find(&m, addr(6))->boundary, VT_BOUNDARY_MERGED);
	vt_model_fini(&m);
}

/* dup_mmap: VM_DONTCOPY, VM_WIPEONFORK, no lock, chains of anon_vmas. */
static void a_forked_child_has_its_own_view(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, RW);
	advise(s, 0, 2, MADV_DONTFORK);
	map(s, 2, 2, RW);
	lock(s, 2, 1);
	map(s, 6, 2, RW);
	advise(s, 6, 2, MADV_WIPEONFORK);
	map(s, 10, 2, RW);
	touch(s, 10);
	pid_t child = fork();
	if (child == 0) {
		assert_int_equal(vt_model_become_child(&s->m), 0);
		shows(s, "..w|w..ww..ww");
		assert_int_equal(s->m.totals.locked_vm, 0);
		map(s, 5, 1, RW);
		shows(s, "..w|w.w|ww..ww");
		map(s, 12, 2, RW);
		shows(s, "..w|w.w|ww..ww?ww");
		assert_int_equal(settle(s), 0);
		shows(s, "..w|w.w|ww..ww|ww");
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

static void *no_memory(void *ctx, size_t bytes)
{
	(void)ctx;
	(void)bytes;
	return NULL;
}

static void without_memory_the_model_breaks_and_says_so(void **state)
{
	struct stage *s = *state;
	struct vt_model m;
	struct vt_memory memory = { no_memory, NULL, NULL };
	vt_model_init(&m, &s->m.config, &memory);
	struct vt_vma v = vma(0, 2, RD);
	assert_int_equal(vt_model_put(&m, &v, 0, 0), -ENOMEM);
	assert_true(m.broken);
	assert_int_equal(m.totals.extents, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(areas_put_side_by_side_are_two),
		T(putting_replaces_what_was_there),
		T(forgetting_leaves_a_hole),
		T(the_observer_hears_nothing_of_a_snapshot),
		T(what_is_the_recorders_stays_one_area_with_its_neighbours),
		T(what_maps_does_not_show_leaves_doubt),
		T(the_heap_is_known_well_enough_to_grow_without_doubt),
		T(an_unseen_mapping_tells_what_it_replaced),
		T(an_area_that_no_call_made_is_one_from_then_on),
		T(areas_that_became_one_without_a_call_are_one),
		T(an_unseen_unmapping_takes_away),
		T(a_grown_stack_is_one_area_of_two_births),
		T(settling_answers_what_was_open),
		T(settling_counts_what_was_wrong),
		T(settling_does_not_blame_what_was_in_flux),
		T(areas_that_prove_to_be_one_learn_from_each_other),
		T(areas_wrongly_held_apart_learn_from_each_other_too),
		T(the_walk_joins_extents_to_areas),
		T(the_walk_takes_what_is_open_as_one_and_says_so),
		T(the_gate_area_is_no_area_of_the_process),
		T(a_keyframes_extents_enter_with_all_they_are),
		T(a_forked_child_has_its_own_view),
		T(without_memory_the_model_breaks_and_says_so),
	};
	return cmocka_run_group_tests_name("snapshots", tests, NULL, NULL);
}
