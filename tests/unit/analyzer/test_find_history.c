/*
 * test_find_history.c - the dead ranges tell, for every page, who died there last.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include "find_history.h"

#define PAGES 200

static void add(struct vt_history *h, uint64_t lo, uint64_t hi, uint64_t death)
{
	const struct vt_dead d = { .lo = lo, .hi = hi, .death = death };
	vt_history_add(h, &d);
}

static void test_nothing_died(void **state)
{
	struct vt_history h = { 0 };
	(void)state;
	assert_null(vt_history_find(&h, 0, UINT64_MAX));
	vt_history_free(&h);
}

static void test_later_death_cuts_the_earlier_one(void **state)
{
	struct vt_history h = { 0 };
	(void)state;
	add(&h, 10, 40, 1);
	add(&h, 20, 30, 2);

	const struct vt_dead *d = vt_history_find(&h, 0, 100);
	assert_int_equal(d->lo, 10);
	assert_int_equal(d->hi, 20);
	assert_int_equal(d->death, 1);
	d = vt_history_find(&h, 20, 21);
	assert_int_equal(d->hi, 30);
	assert_int_equal(d->death, 2);
	d = vt_history_find(&h, 30, 100);
	assert_int_equal(d->hi, 40);
	assert_int_equal(d->death, 1);
	assert_null(vt_history_find(&h, 40, 100));
	vt_history_free(&h);
}

static void test_what_a_death_covers_stays_beneath_it(void **state)
{
	struct vt_history h = { 0 };
	(void)state;
	add(&h, 10, 20, 1);
	add(&h, 20, 30, 2);
	add(&h, 10, 30, 3);
	add(&h, 10, 30, 4);

	const struct vt_dead *d = vt_history_find(&h, 10, 30);
	assert_int_equal(d->death, 4);
	d = vt_history_older(&h, d, 10, 30);
	assert_int_equal(d->death, 3);
	assert_int_equal(vt_history_older(&h, d, 20, 30)->death, 2);
	d = vt_history_older(&h, d, 10, 30);
	assert_int_equal(d->death, 1);
	assert_null(vt_history_older(&h, d, 10, 30));
	vt_history_free(&h);
}

static void test_what_is_removed_is_no_more(void **state)
{
	struct vt_history h = { .only_last = true };
	(void)state;
	add(&h, 10, 40, 1);
	vt_history_remove(&h, 20, 30);
	assert_null(vt_history_find(&h, 20, 30));
	assert_int_equal(vt_history_find(&h, 0, 100)->hi, 20);
	assert_int_equal(vt_history_find(&h, 20, 100)->lo, 30);
	vt_history_remove(&h, 0, 100);
	assert_null(vt_history_find(&h, 0, 100));
	add(&h, 10, 40, 2);
	assert_int_equal(vt_history_find(&h, 0, 100)->death, 2);
	vt_history_free(&h);
}

static void test_a_thread_finds_its_own_dead_mapping(void **state)
{
	struct vt_history h = { 0 };
	struct vt_dead d = {
		.lo = 0x10000, .hi = 0x20000, .death = 1, .birth_tid = 1, .death_tid = 2
	};
	(void)state;
	vt_history_add(&h, &d);
	d.death = 2;
	d.birth_tid = d.death_tid = 3;
	vt_history_add(&h, &d);

	assert_int_equal(vt_history_same(&h, 0x10000, 0x20000, 1)->death, 1);
	assert_int_equal(vt_history_same(&h, 0x10000, 0x20000, 2)->death, 1);
	assert_int_equal(vt_history_same(&h, 0x10000, 0x20000, 3)->death, 2);
	assert_null(vt_history_same(&h, 0x10000, 0x20000, 4));
	assert_null(vt_history_same(&h, 0x10000, 0x18000, 1));
	vt_history_free(&h);
}

/* Against an array with the last death of each page; reach 0 forgets nothing. */
static void compare_with_array(uint64_t reach, uint64_t deaths)
{
	struct vt_history h = { .reach = reach };
	uint64_t last[PAGES] = { 0 };
	uint32_t random = 12345;
	for (uint64_t death = 1; death < deaths; death++) {
		random = random * 1664525 + 1013904223;
		uint64_t lo = (random >> 8) % PAGES, hi = lo + 1 + (random >> 24) % 16;
		hi = hi < PAGES ? hi : PAGES;
		add(&h, lo, hi, death);
		for (uint64_t page = lo; page < hi; page++)
			last[page] = death;
		uint64_t at = (random >> 12) % PAGES;
		if (death % 7)
			continue;
		const struct vt_dead *d = vt_history_find(&h, at, at + 1);
		if (!reach || death - last[at] < reach)
			assert_int_equal(d ? d->death : 0, last[at]);
	}
	if (reach)
		assert_true(h.n < 4 * 8192);
	vt_history_free(&h);
}

static void test_every_page_knows_its_last_death(void **state)
{
	(void)state;
	compare_with_array(0, 3000);
}

static void test_with_a_reach_memory_is_bounded(void **state)
{
	(void)state;
	compare_with_array(1000, 200000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_died),
		cmocka_unit_test(test_later_death_cuts_the_earlier_one),
		cmocka_unit_test(test_what_a_death_covers_stays_beneath_it),
		cmocka_unit_test(test_what_is_removed_is_no_more),
		cmocka_unit_test(test_a_thread_finds_its_own_dead_mapping),
		cmocka_unit_test(test_every_page_knows_its_last_death),
		cmocka_unit_test(test_with_a_reach_memory_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
