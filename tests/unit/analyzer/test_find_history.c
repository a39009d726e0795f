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

/* Against an array with the last death of each page. */
static void test_every_page_knows_its_last_death(void **state)
{
	struct vt_history h = { 0 };
	uint64_t last[PAGES] = { 0 };
	uint32_t random = 12345;
	(void)state;
	for (uint64_t death = 1; death < 3000; death++) {
		random = random * 1664525 + 1013904223;
		uint64_t lo = (random >> 8) % PAGES, hi = lo + 1 + (random >> 24) % 16;
		hi = hi < PAGES ? hi : PAGES;
		add(&h, lo, hi, death);
		for (uint64_t page = lo; page < hi; page++)
			last[page] = death;
		uint64_t at = (random >> 12) % PAGES;
		const struct vt_dead *d = vt_history_find(&h, at, at + 1);
		assert_int_equal(d ? d->death : 0, last[at]);
	}
	assert_true(h.n <= 2 * PAGES + 2);
	for (uint64_t page = 0; page < PAGES; page++) {
		const struct vt_dead *d = vt_history_find(&h, page, page + 1);
		assert_int_equal(d ? d->death : 0, last[page]);
	}
	vt_history_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_died),
		cmocka_unit_test(test_later_death_cuts_the_earlier_one),
		cmocka_unit_test(test_every_page_knows_its_last_death),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
