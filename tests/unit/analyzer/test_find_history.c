/*
 * test_find_history.c - the dead ranges tell, for every page, who died there last.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include "find_history.h"

#define PAGES 200

#define PAGE 4096u

/* Pages [lo, hi) die. */
static void add(struct vt_history *h, uint64_t lo, uint64_t hi, uint64_t death)
{
	const struct vt_dead d = { .lo = lo * PAGE, .hi = hi * PAGE, .death = death };
	vt_history_add(h, &d);
}

static const char *text_of(bool found, const struct vt_dead *d)
{
	static char text[64];
	if (!found)
		return "nothing";
	snprintf(text, sizeof(text), "%d-%d of #%d", (int)(d->lo / PAGE), (int)(d->hi / PAGE),
		 (int)d->death);
	return text;
}

/* What died last in pages [lo, hi), lowest first. */
static const char *last(struct vt_history *h, uint64_t lo, uint64_t hi)
{
	struct vt_dead d;
	bool found = vt_history_find(h, lo * PAGE, hi * PAGE, &d);
	return text_of(found, &d);
}

/* What died before d in pages [lo, hi). */
static const char *older(struct vt_history *h, const struct vt_dead *d, uint64_t lo, uint64_t hi,
			 struct vt_dead *before)
{
	bool found = vt_history_older(h, d, lo * PAGE, hi * PAGE, before);
	return text_of(found, before);
}

/* What the thread had made or ended of just pages [lo, hi). */
static const char *same(const struct vt_history *h, uint64_t lo, uint64_t hi, uint32_t tid)
{
	struct vt_dead d;
	bool found = vt_history_same(h, lo * PAGE, hi * PAGE, tid, &d);
	return text_of(found, &d);
}

static void test_nothing_died(void **state)
{
	struct vt_history h = { 0 };
	struct vt_dead d;
	(void)state;
	assert_false(vt_history_find(&h, 0, UINT64_MAX, &d));
	vt_history_free(&h);
}

static void test_later_death_cuts_the_earlier_one(void **state)
{
	struct vt_history h = { 0 };
	(void)state;
	add(&h, 10, 40, 1);
	add(&h, 20, 30, 2);

	assert_string_equal(last(&h, 0, 100), "10-20 of #1");
	assert_string_equal(last(&h, 20, 21), "20-30 of #2");
	assert_string_equal(last(&h, 30, 100), "30-40 of #1");
	assert_string_equal(last(&h, 40, 100), "nothing");
	vt_history_free(&h);
}

static void test_what_a_death_covers_stays_beneath_it(void **state)
{
	struct vt_history h = { 0 };
	struct vt_dead d;
	(void)state;
	add(&h, 10, 20, 1);
	add(&h, 20, 30, 2);
	add(&h, 10, 30, 3);
	add(&h, 10, 30, 4);

	assert_true(vt_history_find(&h, 10 * PAGE, 30 * PAGE, &d));
	assert_int_equal(d.death, 4);
	assert_string_equal(older(&h, &d, 10, 30, &d), "10-30 of #3");
	struct vt_dead before;
	assert_string_equal(older(&h, &d, 20, 30, &before), "20-30 of #2");
	assert_string_equal(older(&h, &d, 10, 30, &before), "10-20 of #1");
	assert_string_equal(older(&h, &before, 10, 30, &before), "nothing");
	vt_history_free(&h);
}

static void test_what_is_removed_is_no_more(void **state)
{
	struct vt_history h = { .only_last = true };
	(void)state;
	add(&h, 10, 40, 1);
	vt_history_remove(&h, 20 * PAGE, 30 * PAGE);
	assert_string_equal(last(&h, 20, 30), "nothing");
	assert_string_equal(last(&h, 0, 100), "10-20 of #1");
	assert_string_equal(last(&h, 20, 100), "30-40 of #1");
	vt_history_remove(&h, 0, 100 * PAGE);
	assert_string_equal(last(&h, 0, 100), "nothing");
	add(&h, 10, 40, 2);
	assert_string_equal(last(&h, 0, 100), "10-40 of #2");
	vt_history_free(&h);
}

static void test_pieces_of_a_claim_are_claims(void **state)
{
	struct vt_history h = { .only_last = true };
	struct vt_dead d = { .lo = 10 * PAGE, .hi = 40 * PAGE, .claim = 7 };
	(void)state;
	vt_history_add(&h, &d);
	vt_history_remove(&h, 20 * PAGE, 30 * PAGE);
	assert_true(vt_history_find(&h, 10 * PAGE, 11 * PAGE, &d));
	assert_int_equal(d.claim, 7);
	assert_true(vt_history_find(&h, 39 * PAGE, 40 * PAGE, &d));
	assert_int_equal(d.claim, 7);
	vt_history_free(&h);
}

/* A set whose marks are made anew again and again, and ranges too large to be marked. */
static void test_claims_that_come_and_go_are_found(void **state)
{
	struct vt_history h = { .only_last = true };
	(void)state;
	for (uint64_t i = 0; i < 50000; i++) {
		uint64_t at = i * 7919 % 1000000, pages = i % 1000 ? 1 + i % 20 : 100000;
		vt_history_remove(&h, at * PAGE, (at + pages) * PAGE);
		add(&h, at, at + pages, i);
		struct vt_dead d;
		assert_true(vt_history_find(&h, (at + pages - 1) * PAGE, (at + pages) * PAGE, &d));
		assert_int_equal(d.death, i);
		if (i % 3)
			vt_history_remove(&h, at * PAGE, (at + pages) * PAGE);
	}
	vt_history_free(&h);
}

static void test_a_thread_finds_its_own_dead_mapping(void **state)
{
	struct vt_history h = { 0 };
	struct vt_dead d = {
		.lo = 16 * PAGE, .hi = 32 * PAGE, .death = 1, .birth_tid = 1, .death_tid = 2
	};
	(void)state;
	vt_history_add(&h, &d);
	d.death = 2;
	d.birth_tid = d.death_tid = 3;
	vt_history_add(&h, &d);

	assert_string_equal(same(&h, 16, 32, 1), "16-32 of #1");
	assert_string_equal(same(&h, 16, 32, 2), "16-32 of #1");
	assert_string_equal(same(&h, 16, 32, 3), "16-32 of #2");
	assert_string_equal(same(&h, 16, 32, 4), "nothing");
	assert_string_equal(same(&h, 16, 24, 1), "nothing");
	vt_history_free(&h);
}

/* Against a list of the last deaths of the one range, by threads that often are the same. */
static void test_a_thread_is_found_among_the_last_six_of_a_range(void **state)
{
	struct vt_history h = { 0 };
	uint32_t tids[1000];
	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		tids[i] = i % 7 ? 5 : 4200 + i * 31 % 40;
		const struct vt_dead d = { .lo = 16 * PAGE,
					   .hi = 32 * PAGE,
					   .death = i + 1,
					   .birth_tid = tids[i],
					   .death_tid = tids[i] };
		vt_history_add(&h, &d);
		for (uint32_t tid = 4200; tid < 4240; tid++) {
			const char *expected = "nothing";
			char text[32];
			for (uint32_t j = i + 1; j-- > (i < 5 ? 0 : i - 5);)
				if (tids[j] == tid) {
					snprintf(text, sizeof(text), "16-32 of #%u", j + 1);
					expected = text;
					break;
				}
			assert_string_equal(same(&h, 16, 32, tid), expected);
		}
	}
	vt_history_free(&h);
}

static void test_everything_that_a_death_says_is_kept(void **state)
{
	struct vt_history h = { 0 };
	const struct vt_dead d = { .lo = 0xfffffffffff000 - PAGE,
				   .hi = 0xfffffffffff000,
				   .birth = (1ull << 42) - 2,
				   .death = (1ull << 42) - 1,
				   .birth_tid = (1u << 22) - 2, /* PID_MAX_LIMIT */
				   .death_tid = (1u << 22) - 1,
				   .owner = UINT16_MAX,
				   .killer = UINT16_MAX - 1,
				   .exec = true,
				   .file = true };
	struct vt_dead found;
	(void)state;
	vt_history_add(&h, &d);
	assert_true(vt_history_find(&h, d.lo, d.hi, &found));
	assert_int_equal(found.lo, d.lo);
	assert_int_equal(found.hi, d.hi);
	assert_int_equal(found.birth, d.birth);
	assert_int_equal(found.death, d.death);
	assert_int_equal(found.birth_tid, d.birth_tid);
	assert_int_equal(found.death_tid, d.death_tid);
	assert_int_equal(found.owner, d.owner);
	assert_int_equal(found.killer, d.killer);
	assert_true(found.exec && found.file);
	vt_history_free(&h);
}

/* Against an array with the last death of each page; reach 0 forgets nothing. */
static void compare_with_array(uint64_t reach, uint64_t deaths)
{
	struct vt_history h = { .reach = reach };
	uint64_t last_of[PAGES] = { 0 };
	uint32_t random = 12345;
	for (uint64_t death = 1; death < deaths; death++) {
		random = random * 1664525 + 1013904223;
		uint64_t lo = (random >> 8) % PAGES, hi = lo + 1 + (random >> 24) % 16;
		hi = hi < PAGES ? hi : PAGES;
		add(&h, lo, hi, death);
		for (uint64_t page = lo; page < hi; page++)
			last_of[page] = death;
		uint64_t at = (random >> 12) % PAGES;
		if (death % 7)
			continue;
		struct vt_dead d = { 0 };
		vt_history_find(&h, at * PAGE, (at + 1) * PAGE, &d);
		if (!reach || death - last_of[at] < reach)
			assert_int_equal(d.death, last_of[at]);
	}
	if (reach)
		assert_true(h.deaths.n < 4 * 8192);
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
		cmocka_unit_test(test_pieces_of_a_claim_are_claims),
		cmocka_unit_test(test_claims_that_come_and_go_are_found),
		cmocka_unit_test(test_everything_that_a_death_says_is_kept),
		cmocka_unit_test(test_a_thread_finds_its_own_dead_mapping),
		cmocka_unit_test(test_a_thread_is_found_among_the_last_six_of_a_range),
		cmocka_unit_test(test_every_page_knows_its_last_death),
		cmocka_unit_test(test_with_a_reach_memory_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
