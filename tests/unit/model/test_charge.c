/*
 * test_charge.c - the counters of struct mm_struct: vm_stat_account, accountable_mapping,
 * may_expand_vm's totals, locked_vm; and the limits as calls change them.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/resource.h>

#include "stage.h"

static void writable_private_memory_is_data(void **state)
{
	struct stage *s = *state;
	map(s, 0, 3, RW);
	assert_int_equal(s->m.totals.total_vm, 3);
	assert_int_equal(s->m.totals.data_vm, 3);
	assert_int_equal(s->m.totals.committed, 3);
}

static void executable_memory_is_code_unless_writable(void **state)
{
	struct stage *s = *state;
	map(s, 0, 3, RX);
	map(s, 3, 2, RX | PROT_WRITE);
	assert_int_equal(s->m.totals.exec_vm, 3);
	assert_int_equal(s->m.totals.data_vm, 2);
}

static void growing_down_is_stack(void **state)
{
	struct stage *s = *state;
	map_flags(s, 0, 3, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN);
	assert_int_equal(s->m.totals.stack_vm, 3);
	assert_int_equal(s->m.totals.data_vm, 0);
}

static void shared_memory_is_neither_data_nor_charged(void **state)
{
	struct stage *s = *state;
	map_flags(s, 0, 3, RW, MAP_SHARED | MAP_ANONYMOUS);
	assert_int_equal(s->m.totals.total_vm, 3);
	assert_int_equal(s->m.totals.data_vm, 0);
	assert_int_equal(s->m.totals.committed, 0);
}

static void a_reservation_is_charged_when_it_becomes_writable(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, NONE);
	assert_int_equal(s->m.totals.committed, 0);
	protect(s, 1, 2, RW);
	assert_int_equal(s->m.totals.committed, 2);
	assert_int_equal(s->m.totals.data_vm, 2);
}

static void memory_not_reserved_is_not_charged(void **state)
{
	struct stage *s = *state;
	map_flags(s, 0, 3, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
	assert_int_equal(s->m.totals.committed, 0);
}

static void strict_overcommit_charges_it_all_the_same(void **state)
{
	struct stage *s = *state;
	s->m.config.overcommit_memory = 2;
	struct vt_event ev = { .seq = 1,
			       .kind = VT_MMAP,
			       .a = { addr(0), VT_PAGE_SIZE, RW,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE },
			       .ret = (int64_t)addr(0) };
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->m.totals.committed, 1);
}

static void an_overlap_is_not_counted_twice(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, RW);
	map(s, 2, 4, RW);
	assert_int_equal(s->m.totals.total_vm, 6);
	assert_int_equal(s->m.totals.committed, 6);
}

static void everything_unmapped_leaves_nothing_counted(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, RW);
	map_file(s, 4, 4, RX, MAP_PRIVATE, FILE_A, 0);
	map_flags(s, 8, 2, RW, MAP_SHARED | MAP_ANONYMOUS);
	lock(s, 1, 6);
	protect(s, 2, 3, NONE);
	unmap(s, 0, STAGE_PAGES);
	const struct vt_totals none = { 0 };
	assert_memory_equal(&s->m.totals, &none, sizeof(none));
}

static void map_count_is_at_most_the_open_boundaries_higher(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, RW);
	unmap(s, 2, 2);
	map(s, 2, 2, RW);
	assert_int_equal(s->m.totals.map_count, 1);
	assert_int_equal(s->m.totals.undetermined, 1);
	assert_int_equal(s->m.totals.extents, 3);
}

static void calls_change_the_limits_they_name(void **state)
{
	struct stage *s = *state;
	struct vt_event ev = { .seq = 1, .kind = VT_SETRLIMIT, .a = { RLIMIT_AS, 4096, 8192 } };
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->m.config.rlimit_as, 4096);
	ev.a[0] = RLIMIT_NOFILE;
	ev.a[1] = 5;
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->m.config.rlimit_data, UINT64_MAX);
	ev.a[0] = RLIMIT_DATA;
	ev.ret = -EPERM;
	vt_model_apply(&s->m, &ev, &s->fx);
	assert_int_equal(s->m.config.rlimit_data, UINT64_MAX);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, stage_open, stage_close)
	const struct CMUnitTest tests[] = {
		T(writable_private_memory_is_data),
		T(executable_memory_is_code_unless_writable),
		T(growing_down_is_stack),
		T(shared_memory_is_neither_data_nor_charged),
		T(a_reservation_is_charged_when_it_becomes_writable),
		T(memory_not_reserved_is_not_charged),
		T(strict_overcommit_charges_it_all_the_same),
		T(an_overlap_is_not_counted_twice),
		T(everything_unmapped_leaves_nothing_counted),
		T(map_count_is_at_most_the_open_boundaries_higher),
		T(calls_change_the_limits_they_name),
	};
	return cmocka_run_group_tests_name("vm_stat_account, accountable_mapping", tests, NULL,
					   NULL);
}
