/*
 * test_units.c - sizes, counts and times as people read and write them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"
#include "units.h"

static void sizes_have_binary_units(void **state)
{
	char buf[VT_UNIT_TEXT];

	(void)state;
	assert_string_equal(vt_format_size(buf, 0), "0 B");
	assert_string_equal(vt_format_size(buf, 820), "820 B");
	assert_string_equal(vt_format_size(buf, 1023), "1023 B");
	assert_string_equal(vt_format_size(buf, 4096), "4.0 KiB");
	assert_string_equal(vt_format_size(buf, 819200), "800 KiB");
	assert_string_equal(vt_format_size(buf, (1 << 20) - 1), "1.0 MiB");
	assert_string_equal(vt_format_size(buf, 1610612736), "1.5 GiB");
	assert_string_equal(vt_format_size(buf, UINT64_MAX), "16.0 EiB");
}

static void counts_have_commas(void **state)
{
	char buf[VT_UNIT_TEXT];

	(void)state;
	assert_string_equal(vt_format_count(buf, 0), "0");
	assert_string_equal(vt_format_count(buf, 999), "999");
	assert_string_equal(vt_format_count(buf, 1000), "1,000");
	assert_string_equal(vt_format_count(buf, 1234567), "1,234,567");
	assert_string_equal(vt_format_count(buf, UINT64_MAX), "18,446,744,073,709,551,615");
}

static void durations_have_the_unit_that_suits(void **state)
{
	char buf[VT_UNIT_TEXT];

	(void)state;
	assert_string_equal(vt_format_duration(buf, 96), "96 ns");
	assert_string_equal(vt_format_duration(buf, 1800), "1.8 µs");
	assert_string_equal(vt_format_duration(buf, 12300000), "12.3 ms");
	assert_string_equal(vt_format_duration(buf, 999999999), "1.00 s");
	assert_string_equal(vt_format_duration(buf, 4560000000), "4.56 s");
	assert_string_equal(vt_format_duration(buf, 59999999999), "1 m 00 s");
	assert_string_equal(vt_format_duration(buf, 125000000000), "2 m 05 s");
}

static void numbers_are_decimal_or_hexadecimal(void **state)
{
	uint64_t v;

	(void)state;
	assert_true(vt_parse_u64("0", &v) && v == 0);
	assert_true(vt_parse_u64("0123", &v) && v == 123);
	assert_true(vt_parse_u64("0x20000000", &v) && v == 0x20000000);
	assert_true(vt_parse_u64("0xffffffffffffffff", &v) && v == UINT64_MAX);
	assert_false(vt_parse_u64("", &v));
	assert_false(vt_parse_u64("0x", &v));
	assert_false(vt_parse_u64("-1", &v));
	assert_false(vt_parse_u64(" 1", &v));
	assert_false(vt_parse_u64("12a", &v));
	assert_false(vt_parse_u64("18446744073709551616", &v));
}

static void assert_when(const char *text, int kind, uint64_t value)
{
	struct vt_when w;

	if (!vt_parse_when(text, &w))
		fail_msg("%s is refused", text);
	assert_int_equal(w.kind, kind);
	assert_int_equal(kind == VT_WHEN_SEQ ? w.seq : w.ns, value);
}

static void moments(void **state)
{
	(void)state;
	assert_when("start", VT_WHEN_START, 0);
	assert_when("end", VT_WHEN_END, 0);
	assert_when("123", VT_WHEN_SEQ, 123);
	assert_when("#123", VT_WHEN_SEQ, 123);
	assert_when("1.5s", VT_WHEN_TIME, 1500000000);
	assert_when("20ms", VT_WHEN_TIME, 20000000);
	assert_when("1.5ms", VT_WHEN_TIME, 1500000);
	assert_when("7us", VT_WHEN_TIME, 7000);
	assert_when("7µs", VT_WHEN_TIME, 7000);
	assert_when("90ns", VT_WHEN_TIME, 90);
	assert_when("+1.5", VT_WHEN_TIME, 1500000000);
	assert_when("+20ms", VT_WHEN_TIME, 20000000);
}

static void no_moments(void **state)
{
	static const char *const texts[] = { "",     "yesterday", "#",      "#x",   "1.5",
					     "+",    "-1s",       "1.5.2s", "1 s",  "1m",
					     "1e9s", "+1x",       "nans",   "infs", "99999999999s",
					     "s",    "0x1p3s" };
	struct vt_when w;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (vt_parse_when(texts[i], &w))
			fail_msg("%s is accepted", texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_binary_units),
		cmocka_unit_test(counts_have_commas),
		cmocka_unit_test(durations_have_the_unit_that_suits),
		cmocka_unit_test(numbers_are_decimal_or_hexadecimal),
		cmocka_unit_test(moments),
		cmocka_unit_test(no_moments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
