/*
 * test_limits.c - what the kernel would refuse: may_expand_vm, mlock_future_ok, map_count,
 * __vm_enough_memory.
 *
 * A space of a few pages, drawn by calls that are not made; the limits leave room for a few more.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <vmtrail/limits.h>

#include "stage.h"

#define ANON     (MAP_PRIVATE | MAP_ANONYMOUS)
#define PAGES(n) ((n)*VT_PAGE_SIZE)

struct space {
	struct vt_model m;
	struct vt_limits l;
	struct vt_refusal why;
};

static int open_space(void **state)
{
	struct space *s = calloc(1, sizeof(*s));
	stage_model(&s->m);
	s->m.config.brk = s->m.config.start_brk = PAGES(0x1000);
	s->l = (struct vt_limits){ .as = VT_NO_LIMIT,
				   .data = VT_NO_LIMIT,
				   .memlock = VT_NO_LIMIT,
				   .stack = VT_NO_LIMIT,
				   .max_map_count = VT_NO_LIMIT };
	*state = s;
	return 0;
}

static int close_space(void **state)
{
	struct space *s = *state;
	vt_model_fini(&s->m);
	free(s);
	return 0;
}

static struct vt_event mmap_call(unsigned page, unsigned n, int prot, int flags)
{
	return (struct vt_event){
		.kind = VT_MMAP,
		.a = { addr(page), PAGES(n), (uint64_t)prot, (uint64_t)flags, UINT64_MAX, 0 },
		.ret = (int64_t)addr(page),
	};
}

static struct vt_event range_call(enum vt_kind kind, unsigned page, unsigned n, uint64_t arg)
{
	return (struct vt_event){ .kind = kind, .a = { addr(page), PAGES(n), arg } };
}

static void apply(struct space *s, struct vt_event ev)
{
	struct vt_effect fx;
	assert_int_equal(vt_model_apply(&s->m, &ev, &fx), 0);
	assert_int_equal(fx.contradiction, 0);
}

static void have(struct space *s, unsigned page, unsigned n, int prot)
{
	apply(s, mmap_call(page, n, prot, ANON | MAP_FIXED));
}

/* The rule that refuses a call; NONE: it may go on. */
static enum vt_rule refused(struct space *s, struct vt_event ev)
{
	s->why = (struct vt_refusal){ 0 };
	return vt_limits_refuse(&s->m, &s->l, &ev, &s->why) ? s->why.rule : VT_RULE_NONE;
}

static void the_address_space_may_be_filled_to_its_limit(void **state)
{
	struct space *s = *state;
	have(s, 0, 4, RW);
	s->l.as = PAGES(8);
	assert_int_equal(refused(s, mmap_call(10, 4, NONE, ANON)), VT_RULE_NONE);
	assert_int_equal(refused(s, mmap_call(10, 5, NONE, ANON)), VT_RULE_EXPAND_AS);
	assert_int_equal(s->why.error, ENOMEM);
	assert_int_equal(s->why.counted, 4);
	assert_int_equal(s->why.asked, 5);
	assert_int_equal(s->why.limit, 8);
}

static void what_a_forced_mapping_replaces_is_not_counted_twice(void **state)
{
	struct space *s = *state;
	have(s, 0, 4, RW);
	s->l.as = PAGES(6);
	assert_int_equal(refused(s, mmap_call(2, 4, RW, ANON | MAP_FIXED)), VT_RULE_NONE);
	assert_int_equal(refused(s, mmap_call(2, 5, RW, ANON | MAP_FIXED)), VT_RULE_EXPAND_AS);
}

static void memory_is_data_when_it_becomes_writable(void **state)
{
	struct space *s = *state;
	have(s, 0, 4, NONE);
	have(s, 8, 2, RW);
	s->l.data = PAGES(5);
	assert_int_equal(refused(s, range_call(VT_MPROTECT, 0, 3, RW)), VT_RULE_NONE);
	assert_int_equal(refused(s, range_call(VT_MPROTECT, 0, 4, RW)), VT_RULE_EXPAND_DATA);
	assert_int_equal(refused(s, range_call(VT_MPROTECT, 0, 4, R)), VT_RULE_NONE);
	assert_int_equal(refused(s, mmap_call(20, 9, RW, MAP_SHARED | MAP_ANONYMOUS)),
			 VT_RULE_NONE);
}

static void the_heap_counts_with_the_program_s_data(void **state)
{
	struct space *s = *state;
	struct vt_event grow = { .kind = VT_BRK, .a = { PAGES(0x1000 + 4) } };
	s->l.data = PAGES(6);
	s->l.data_segment = PAGES(2);
	assert_int_equal(refused(s, grow), VT_RULE_NONE);
	s->l.data_segment++;
	assert_int_equal(refused(s, grow), VT_RULE_BRK_DATA);
}

static void locked_pages_are_not_counted_twice(void **state)
{
	struct space *s = *state;
	have(s, 0, 8, R);
	apply(s, range_call(VT_MLOCK, 0, 4, 0));
	s->l.memlock = PAGES(6);
	assert_int_equal(refused(s, range_call(VT_MLOCK, 0, 6, 0)), VT_RULE_NONE);
	assert_int_equal(refused(s, range_call(VT_MLOCK, 1, 6, 0)), VT_RULE_MLOCK_FUTURE);
	assert_int_equal(s->why.error, ENOMEM);
	assert_int_equal(refused(s, mmap_call(20, 3, RW, ANON | MAP_LOCKED)), VT_RULE_MLOCK_FUTURE);
	assert_int_equal(s->why.error, EAGAIN);
	s->l.ipc_lock = true;
	assert_int_equal(refused(s, range_call(VT_MLOCK, 0, 8, 0)), VT_RULE_NONE);
}

static void without_any_right_to_lock_nothing_is_locked(void **state)
{
	struct space *s = *state;
	have(s, 0, 1, R);
	s->l.memlock = 0;
	assert_int_equal(refused(s, range_call(VT_MLOCK, 0, 1, 0)), VT_RULE_CAN_MLOCK);
	assert_int_equal(s->why.error, EPERM);
}

static void an_area_more_than_allowed_is_made_and_no_second_one(void **state)
{
	struct space *s = *state;
	have(s, 0, 3, RW);
	have(s, 8, 1, R);
	s->l.max_map_count = 2;
	/* do_mmap lets the count go one above */
	assert_int_equal(refused(s, mmap_call(20, 1, R, ANON)), VT_RULE_NONE);
	assert_int_equal(refused(s, range_call(VT_MUNMAP, 1, 1, 0)), VT_RULE_MAP_COUNT);
	assert_int_equal(refused(s, range_call(VT_MUNMAP, 0, 1, 0)), VT_RULE_NONE);
	have(s, 20, 1, R);
	assert_int_equal(refused(s, mmap_call(30, 1, R, ANON)), VT_RULE_MAP_COUNT);
}

static void a_split_is_judged_when_it_is_known(void **state)
{
	struct space *s = *state;
	struct vt_event ev = range_call(VT_MPROTECT, 1, 1, R);
	have(s, 0, 3, RW);
	apply(s, ev);
	s->l.max_map_count = 2;
	assert_true(vt_limits_refuse_split(&s->m, &s->l, &ev, 1, &s->why));
	assert_int_equal(s->why.rule, VT_RULE_MAP_COUNT);
	s->l.max_map_count = 3;
	assert_false(vt_limits_refuse_split(&s->m, &s->l, &ev, 1, &s->why));
}

static void guessing_refuses_only_what_exceeds_the_machine(void **state)
{
	struct space *s = *state;
	have(s, 0, 20, RW);
	s->l.commit = true;
	s->l.overcommit = VT_OVERCOMMIT_GUESS;
	s->l.ram = 10;
	s->l.swap = 2;
	assert_int_equal(refused(s, mmap_call(30, 12, RW, ANON)), VT_RULE_NONE);
	assert_int_equal(refused(s, mmap_call(30, 13, RW, ANON)), VT_RULE_COMMIT);
	assert_int_equal(refused(s, mmap_call(30, 13, R, ANON)), VT_RULE_NONE);
	assert_int_equal(refused(s, mmap_call(30, 13, RW, ANON | MAP_NORESERVE)), VT_RULE_NONE);
	s->l.overcommit = VT_OVERCOMMIT_ALWAYS;
	assert_int_equal(refused(s, mmap_call(30, 13, RW, ANON)), VT_RULE_NONE);
}

static void never_counts_what_all_processes_hold(void **state)
{
	struct space *s = *state;
	s->m.config.overcommit_memory = 2;
	have(s, 0, 20, RW);
	s->l.commit = true;
	s->l.overcommit = VT_OVERCOMMIT_NEVER;
	s->l.ram = 200;
	s->l.ratio = 50;
	s->l.others = 60;
	s->l.sys_admin = true;
	/* the limit itself is not reached */
	assert_int_equal(refused(s, mmap_call(30, 19, RW, ANON)), VT_RULE_NONE);
	assert_int_equal(refused(s, mmap_call(30, 20, RW, ANON | MAP_NORESERVE)), VT_RULE_COMMIT);
	assert_int_equal(s->why.counted, 80);
	assert_int_equal(s->why.limit, 100);
	s->l.sys_admin = false;
	s->l.admin_reserve = 5;
	assert_int_equal(refused(s, mmap_call(30, 15, RW, ANON)), VT_RULE_COMMIT);
	s->l.allowed = 500;
	assert_int_equal(refused(s, mmap_call(30, 15, RW, ANON)), VT_RULE_NONE);
}

static void what_is_left_out_does_not_count(void **state)
{
	struct space *s = *state;
	have(s, 0, 8, RW);
	s->l.as = PAGES(8);
	assert_int_equal(refused(s, mmap_call(10, 1, R, ANON)), VT_RULE_EXPAND_AS);
	s->l.leave_out.total_vm = 3;
	assert_int_equal(refused(s, mmap_call(10, 3, R, ANON)), VT_RULE_NONE);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, open_space, close_space)
	const struct CMUnitTest tests[] = {
		T(the_address_space_may_be_filled_to_its_limit),
		T(what_a_forced_mapping_replaces_is_not_counted_twice),
		T(memory_is_data_when_it_becomes_writable),
		T(the_heap_counts_with_the_program_s_data),
		T(locked_pages_are_not_counted_twice),
		T(without_any_right_to_lock_nothing_is_locked),
		T(an_area_more_than_allowed_is_made_and_no_second_one),
		T(a_split_is_judged_when_it_is_known),
		T(guessing_refuses_only_what_exceeds_the_machine),
		T(never_counts_what_all_processes_hold),
		T(what_is_left_out_does_not_count),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
