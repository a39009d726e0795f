/*
 * test_frames.c - frames and call sites in a column of given width.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "sites.h"

static const struct vt_frame_text with_line = {
	.module = "libheap.so",
	.path = "/lib/libheap.so",
	.function = "Heap::grow",
	.offset = 0x12,
	.source = "src/heap.cpp",
	.line = 88,
};

static const struct vt_frame_text without_line = {
	.module = "libheap.so",
	.path = "/lib/libheap.so",
	.function = "Heap::grow",
	.offset = 0x12,
	.file_offset = 0x1234,
};

static const char *short_of(const struct vt_frame_text *f, unsigned width)
{
	static char buf[256];
	return vt_frame_short(f, buf, sizeof(buf), width);
}

static const char *short_of_site(const struct vt_site *s, unsigned width)
{
	static char buf[256];
	return vt_site_short(s, buf, sizeof(buf), width);
}

static void frame_with_a_line_names_function_and_line(void **state)
{
	(void)state;
	assert_string_equal(short_of(&with_line, 40), "Heap::grow  heap.cpp:88");
}

static void frame_without_a_line_names_offset_and_module(void **state)
{
	(void)state;
	assert_string_equal(short_of(&without_line, 40), "Heap::grow+0x12  (libheap.so)");
}

static void frame_without_a_function_names_the_place_in_the_file(void **state)
{
	(void)state;
	struct vt_frame_text f = without_line;
	f.function = NULL;
	assert_string_equal(short_of(&f, 40), "libheap.so+0x1234");
	f.path = "";
	f.module = "[anon]";
	assert_string_equal(short_of(&f, 40), "code in [anon]");
}

static void outer_namespaces_go_first_when_there_is_no_room(void **state)
{
	(void)state;
	struct vt_frame_text f = with_line;
	f.function = "outer::detail<a::b>::Heap::grow";
	assert_string_equal(short_of(&f, 60), "outer::detail<a::b>::Heap::grow  heap.cpp:88");
	assert_string_equal(short_of(&f, 30), "…Heap::grow  heap.cpp:88");
	assert_string_equal(short_of(&f, 20), "…grow  heap.cpp:88");
}

static void place_goes_before_the_name_is_cut(void **state)
{
	(void)state;
	struct vt_frame_text f = with_line;
	f.function = "a_function_with_a_long_name";
	assert_string_equal(short_of(&f, 30), "a_function_with_a_long_name");
	assert_string_equal(short_of(&f, 20), "a_function_with_a_l…");
}

static void site_tells_what_it_called_and_what_it_stands_in(void **state)
{
	(void)state;
	struct vt_site s = { .frame = with_line, .outer = with_line, .via = "malloc" };
	assert_string_equal(short_of_site(&s, 60), "Heap::grow  heap.cpp:88  via malloc");
	s.frame.inlined = true;
	s.frame.function = "Heap::page";
	s.frame.line = 12;
	assert_string_equal(short_of_site(&s, 60),
			    "Heap::page in Heap::grow  heap.cpp:88  via malloc");
	assert_string_equal(short_of_site(&s, 40), "Heap::grow  heap.cpp:88  via malloc");
}

/* No width and no name may run over the column or the buffer. */
static void no_column_is_overrun(void **state)
{
	(void)state;
	char name[600], buf[200];
	for (size_t n = 1; n < sizeof(name); n += 37) {
		memset(name, n % 2 ? 'x' : ':', n);
		name[n] = '\0';
		struct vt_frame_text f = with_line;
		f.function = name;
		struct vt_site s = { .frame = f, .outer = f, .via = "malloc" };
		for (unsigned width = 16; width < 100; width++) {
			unsigned columns = 0;
			for (const char *p = vt_site_short(&s, buf, sizeof(buf), width); *p; p++)
				columns += ((unsigned char)*p & 0xc0) != 0x80;
			assert_true(columns <= width);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_with_a_line_names_function_and_line),
		cmocka_unit_test(frame_without_a_line_names_offset_and_module),
		cmocka_unit_test(frame_without_a_function_names_the_place_in_the_file),
		cmocka_unit_test(outer_namespaces_go_first_when_there_is_no_room),
		cmocka_unit_test(place_goes_before_the_name_is_cut),
		cmocka_unit_test(site_tells_what_it_called_and_what_it_stands_in),
		cmocka_unit_test(no_column_is_overrun),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
