/*
 * test_range_map.c - numbers for ranges.
 *
 * SPDX-License-Identifier: MIT
 */
#include "range_map.h"
#include "unit.h"

/* "0-4:7 4-6:-2": the ranges with their numbers. */
static void shows(const struct vt_range_map *s, const char *expected)
{
	char text[256] = "";
	for (size_t i = 0; i < s->n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%lu-%lu:%ld",
			 i ? " " : "", s->v[i].lo, s->v[i].hi, s->v[i].value);
	assert_string_equal(text, expected);
}

static void later_numbers_replace_earlier_ones(void **state)
{
	struct vt_range_map s = { 0 };
	(void)state;
	vt_range_map_set(&s, 10, 20, 5);
	vt_range_map_set(&s, 30, 40, 7);
	shows(&s, "10-20:5 30-40:7");
	vt_range_map_set(&s, 12, 15, 1);
	shows(&s, "10-12:5 12-15:1 15-20:5 30-40:7");
	vt_range_map_set(&s, 14, 35, -3);
	shows(&s, "10-12:5 12-14:1 14-35:-3 35-40:7");
	vt_range_map_set(&s, 0, 50, 2);
	shows(&s, "0-50:2");
	vt_range_map_free(&s);
}

static void neighbours_of_one_number_are_one_range(void **state)
{
	struct vt_range_map s = { 0 };
	(void)state;
	vt_range_map_set(&s, 10, 20, 5);
	vt_range_map_set(&s, 30, 40, 5);
	vt_range_map_set(&s, 20, 30, 5);
	shows(&s, "10-40:5");
	vt_range_map_set(&s, 12, 14, 5);
	shows(&s, "10-40:5");
	vt_range_map_set(&s, 40, 40, 9);
	shows(&s, "10-40:5");
	vt_range_map_free(&s);
}

static void an_address_without_a_number_is_told(void **state)
{
	struct vt_range_map s = { 0 };
	uint64_t end;
	(void)state;
	vt_range_map_set(&s, 10, 20, 100);
	assert_int_equal(vt_range_map_get(&s, 5, -1, &end), -1);
	assert_int_equal(end, 10);
	assert_int_equal(vt_range_map_get(&s, 19, -1, &end), 100);
	assert_int_equal(end, 20);
	assert_int_equal(vt_range_map_get(&s, 20, -1, &end), -1);
	assert_true(end == UINT64_MAX);
	vt_range_map_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(later_numbers_replace_earlier_ones),
		cmocka_unit_test(neighbours_of_one_number_are_one_range),
		cmocka_unit_test(an_address_without_a_number_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
