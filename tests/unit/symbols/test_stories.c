/*
 * test_stories.c - whose code an address was, what became of a page, and the sums of a report: told
 * from small traces made by hand.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <sys/mman.h>

#include "make_trace.h"
#include "report_data.h"
#include "unit.h"
#include "why_history.h"

#define NOREPLACE  0x100000
#define START_MAPS "10000000-10001000 rw-p 00000000 00:00 0 \n"
#define AT         0x20000000u

static struct vt_event mmap_at(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags)
{
	return (struct vt_event){ .kind = VT_MMAP,
				  .a = { addr, len, prot, MAP_PRIVATE | flags, UINT64_MAX },
				  .ret = (int64_t)addr };
}

static struct vt_event anonymous(uint64_t addr, uint64_t len, uint64_t prot, uint64_t flags)
{
	return mmap_at(addr, len, prot, MAP_ANONYMOUS | flags);
}

static struct vt_event code_of(uint64_t addr, uint32_t file)
{
	struct vt_event e = mmap_at(addr, 0x2000, PROT_READ | PROT_EXEC, MAP_FIXED);
	e.file = file;
	e.a[4] = 3;
	return e;
}

static struct vt_event unmap(uint64_t addr, uint64_t len)
{
	return (struct vt_event){ .kind = VT_MUNMAP, .a = { addr, len } };
}

/* Begin a trace with a start snapshot. */
static void begin(struct maker *m)
{
	make_open(m, temp_path(), "max_map_count 65530\n");
	make_snapshot(m, VT_SNAPSHOT_START, 0, 0, START_MAPS, 1);
}

static struct vt_trace *finish(struct maker *m, struct vt_event *events, size_t n)
{
	char *error;
	for (size_t i = 0; i < n; i++) {
		events[i].tid = 7;
		events[i].begin_ns = 1000 * (i + 1) / VT_TIME_UNIT_NS * VT_TIME_UNIT_NS;
	}
	make_events(m, events, n);
	make_closed(m);
	struct vt_trace *t = vt_trace_open(temp_path(), &error);
	if (!t)
		fail_msg("%s", error);
	return t;
}

/* The sentences about the page at AT after these events, one a line; static buffer. */
static const char *story(struct vt_event *events, size_t n)
{
	static char text[4096];
	struct maker m;
	struct vt_why why = { .addr = AT + 16 };
	struct vt_when at = { .kind = VT_WHEN_END };
	size_t count, used = 0;

	begin(&m);
	struct vt_trace *t = finish(&m, events, n);
	assert_int_equal(vt_why_collect(&why, t, &at), 0);
	char **sentences = vt_why_sentences(&why, &count);
	for (size_t i = 0; i < count; i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s\n", sentences[i]);
		free(sentences[i]);
	}
	free(sentences);
	vt_why_free(&why);
	vt_trace_close(t);
	return text;
}

#define assert_tells(text, part)                                                                   \
	do {                                                                                       \
		if (!strstr(text, part))                                                           \
			fail_msg("\"%s\" is not told in:\n%s", part, text);                        \
	} while (0)

static void forced_mapping_replaces_the_first_page_of_another(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 819200, PROT_READ | PROT_WRITE, MAP_FIXED),
				anonymous(AT, 4096, PROT_READ | PROT_WRITE, MAP_FIXED) };
	const char *text = story(e, 2);
	assert_tells(text, "#2 (MAP_FIXED) silently replaced the first page of the mapping made by "
			   "#1: 4096 of its 819200 bytes.");
	assert_tells(text, "lies in 0x20000000-0x20001000 rw-p, made by #2.");
}

static void forced_mapping_in_a_reservation_is_no_damage(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT - 0x10000, 0x40000, PROT_NONE, MAP_FIXED),
				anonymous(AT, 0x2000, PROT_READ, MAP_FIXED) };
	const char *text = story(e, 2);
	assert_tells(text,
		     "#2 (MAP_FIXED) took 8.0 KiB from the middle of the mapping made by #1, a "
		     "reservation (PROT_NONE): 8192 of its 262144 bytes.");
	assert_null(strstr(text, "replaced"));
}

static void hint_that_is_taken_tells_who_had_it(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 10240, PROT_READ, 0),
				anonymous(AT, 1024, PROT_READ, 0) };
	e[1].ret = 0x7ffff7000000;
	const char *text = story(e, 2);
	assert_tells(text,
		     "#2 asked for 0x20000000 without MAP_FIXED (only a hint); that was taken "
		     "by #1, so the kernel chose another place: its mapping lies elsewhere, at "
		     "0x7ffff7000000.");
	assert_null(strstr(text, "replaced"));
}

static void refused_placement_tells_who_had_the_range(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 4096, PROT_READ, MAP_FIXED),
				anonymous(AT, 8192, PROT_READ, NOREPLACE) };
	e[1].ret = -EEXIST;
	assert_tells(story(e, 2),
		     "#2 (mmap 8.0 KiB r-- noreplace) failed here with EEXIST: the range "
		     "was taken by #1.");
}

static void unmapped_page_tells_who_gave_it_back(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 4096, PROT_READ, MAP_FIXED), unmap(AT, 4096) };
	assert_tells(story(e, 2), "is not mapped: #2 (munmap) gave it back; it lies in a gap");
}

static void moved_page_tells_where_it_went(void **state)
{
	(void)state;
	struct vt_event e[] = {
		anonymous(AT, 4096, PROT_READ, MAP_FIXED),
		{ .kind = VT_MREMAP, .a = { AT, 4096, 8192, MREMAP_MAYMOVE }, .ret = 0x30000000 }
	};
	assert_tells(story(e, 2), "is not mapped: #2 moved it to 0x30000000");
}

static void discarded_contents_are_told(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 0x4000, PROT_READ, MAP_FIXED),
				{ .kind = VT_MADVISE, .a = { AT, 0x2000, MADV_DONTNEED } } };
	assert_tells(story(e, 2),
		     "Its contents were last discarded by #2 (madvise 8.0 KiB DONTNEED).");
}

static void change_without_a_call_is_told_as_such(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 4096, PROT_READ, MAP_FIXED),
				{ .kind = VT_UNSEEN_UNMAP, .a = { AT, 4096 } } };
	assert_tells(
	    story(e, 2),
	    "#2: a change that no recorded call explains took it from the mapping made by #1.");
}

static void page_that_was_never_mapped(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(0x40000000, 4096, PROT_READ, MAP_FIXED) };
	assert_tells(story(e, 1), "is not mapped, and has not been while this was recorded");
}

static void state_is_the_one_of_the_moment_asked_for(void **state)
{
	(void)state;
	struct vt_event e[] = { anonymous(AT, 4096, PROT_READ, MAP_FIXED), unmap(AT, 4096) };
	struct maker m;
	begin(&m);
	struct vt_trace *t = finish(&m, e, 2);
	static const struct {
		struct vt_when at;
		bool mapped;
	} moments[] = {
		{ { .kind = VT_WHEN_START }, false },
		{ { .kind = VT_WHEN_SEQ, .seq = 1 }, true },
		{ { .kind = VT_WHEN_TIME, .ns = 1500 }, true },
		{ { .kind = VT_WHEN_TIME, .ns = 5000 }, false },
		{ { .kind = VT_WHEN_END }, false },
	};
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		struct vt_why why = { .addr = AT };
		assert_int_equal(vt_why_collect(&why, t, &moments[i].at), 0);
		assert_int_equal(why.mapped, moments[i].mapped);
		vt_why_free(&why);
	}
	vt_trace_close(t);
}

/* Replay the whole trace and give the module of frame 0 at each event that has a stack. */
static void modules_of(struct vt_trace *t, const char *out[], size_t max)
{
	static char names[8][64];
	struct vt_sites *sites = vt_sites_new();
	struct vt_replay r;
	struct vt_item item;
	size_t n = 0;
	assert_int_equal(vt_replay_init(&r, t), 0);
	for (enum vt_item_type type; (type = vt_replay_next(&r, &item)) != VT_ITEM_END;) {
		vt_sites_follow(sites, &r, &item);
		if (type != VT_ITEM_EVENT || !item.event.stack)
			continue;
		assert_true(n < max && n < 8);
		const struct vt_site *site = vt_site_of(sites, &r, &item.event);
		assert_non_null(site);
		snprintf(names[n], sizeof(names[n]), "%s", site->frame.module);
		out[n] = names[n];
		n++;
	}
	assert_int_equal(n, max);
	vt_replay_fini(&r);
	vt_sites_free(sites);
}

static void address_belongs_to_what_was_mapped_at_that_time(void **state)
{
	(void)state;
	static const uint64_t pc[] = { AT + 0x10 };
	struct vt_event e[] = {
		code_of(AT, 1),          unmap(0x50000000, 4096),
		unmap(AT, 0x2000),       code_of(AT, 2),
		unmap(0x50000000, 4096), anonymous(AT, 0x2000, PROT_READ | PROT_EXEC, MAP_FIXED),
		unmap(0x50000000, 4096), unmap(AT, 0x2000),
		unmap(0x50000000, 4096),
	};
	const char *modules[4];
	struct maker m;
	begin(&m);
	make_file(&m, 1, VT_FILE_REGULAR, 1, 1, "/nowhere/first.so");
	make_file(&m, 2, VT_FILE_REGULAR, 1, 2, "/nowhere/second.so (deleted)");
	make_stack(&m, 1, pc, 1);
	for (size_t i = 1; i < 9; i += i == 1 ? 3 : 2)
		e[i].stack = 1;
	struct vt_trace *t = finish(&m, e, 9);
	modules_of(t, modules, 4);
	vt_trace_close(t);
	assert_string_equal(modules[0], "first.so");
	assert_string_equal(modules[1], "second.so");
	assert_string_equal(modules[2], "[anon]");
	assert_string_equal(modules[3], "?");
}

static void site_is_the_first_frame_outside_the_runtime(void **state)
{
	(void)state;
	static const uint64_t through_libc[] = { 0x20000010, 0x21000010, 0x22000010, 0x23000010 };
	static const uint64_t runtime_only[] = { 0x20000010, 0x21000010 };
	struct vt_event e[] = { code_of(0x20000000, 1),  code_of(0x21000000, 2),
				code_of(0x22000000, 3),  code_of(0x23000000, 4),
				unmap(0x50000000, 4096), unmap(0x50000000, 4096) };
	const char *modules[2];
	struct maker m;
	begin(&m);
	make_file(&m, 1, VT_FILE_REGULAR, 1, 1, "/nowhere/libvmtrail.so");
	make_file(&m, 2, VT_FILE_REGULAR, 1, 2, "/nowhere/libc.so.6");
	make_file(&m, 3, VT_FILE_REGULAR, 1, 3, "/nowhere/libheap.so");
	make_file(&m, 4, VT_FILE_REGULAR, 1, 4, "/nowhere/app");
	make_stack(&m, 1, through_libc, 4);
	make_stack(&m, 2, runtime_only, 2);
	e[4].stack = 1;
	e[5].stack = 2;
	struct vt_trace *t = finish(&m, e, 6);
	modules_of(t, modules, 2);
	vt_trace_close(t);
	assert_string_equal(modules[0], "libheap.so");
	assert_string_equal(modules[1], "libc.so.6");
}

static void report_sums_calls_errors_peaks_and_sites(void **state)
{
	(void)state;
	struct vt_event e[] = {
		anonymous(AT, 0x10000, PROT_READ | PROT_WRITE, MAP_FIXED),
		anonymous(AT + 0x20000, 0x1000, PROT_READ, MAP_FIXED),
		{ .kind = VT_MUNMAP, .a = { 1, 4096 }, .ret = -EINVAL },
		unmap(AT, 0xf000),
		anonymous(0x60000000, 0x1000, PROT_READ, MAP_FIXED),
	};
	struct vt_report r = { 0 };
	struct maker m;
	uint32_t top[4];
	e[4].flags = VT_EV_OWN;
	begin(&m);
	struct vt_trace *t = finish(&m, e, 5);
	assert_int_equal(vt_report_collect(&r, t), 0);
	assert_int_equal(r.events, 5);
	assert_int_equal(r.own_events, 1);
	assert_int_equal(r.n_kinds, 2);
	assert_int_equal(r.kinds[0].kind, VT_MMAP);
	assert_int_equal(r.kinds[0].count, 2);
	assert_int_equal(r.kinds[1].errors, 1);
	assert_int_equal(r.n_errors, 1);
	assert_int_equal(r.errors[0].error, EINVAL);
	assert_int_equal(r.mapped.value, 0x12000);
	assert_int_equal(r.mapped.seq, 2);
	assert_int_equal(r.vmas.value, 4);
	assert_int_equal(r.vmas.seq, 5);
	assert_int_equal(r.own_bytes, 0x1000);
	/* none of the events has a stack */
	assert_int_equal(vt_report_top(&r, VT_BY_BYTES, top, 4), 2);
	assert_int_equal(top[0], VT_REPORT_NO_STACK);
	assert_int_equal(r.table[top[0]].bytes, 0x2000);
	assert_int_equal(r.table[top[1]].bytes, 0x1000);
	vt_report_free(&r);
	vt_trace_close(t);
}

static int remove_trace(void **state)
{
	(void)state;
	return unlink(temp_path());
}

static void test_page_the_process_died_at(void **state)
{
	struct vt_event events[] = { anonymous(AT, 0x4000, PROT_READ, 0),
				     unmap(AT, 0x4000),
				     unmap(AT, 0x4000),
				     { .kind = VT_FAULT, .a = { AT + 8, 11, 1 } } };
	(void)state;
	assert_non_null(strstr(story(events, 4),
			       "#4: the process died of SIGSEGV at 0x20000008 in thread 7 .\n"
			       "At the end 0x20000010 is not mapped: #2 (munmap) gave it back"));
}

static void test_range_of_two_mappings(void **state)
{
	struct maker m;
	struct vt_event events[] = { anonymous(AT, 0x2000, PROT_READ, 0),
				     anonymous(AT + 0x3000, 0x1000, PROT_READ, 0),
				     anonymous(AT + 0x9000, 0x1000, PROT_READ, 0) };
	struct vt_why why = { .addr = AT, .end = AT + 0x5000 };
	struct vt_when at = { .kind = VT_WHEN_END };
	(void)state;
	begin(&m);
	struct vt_trace *t = finish(&m, events, 3);
	assert_int_equal(vt_why_collect(&why, t, &at), 0);
	assert_int_equal(why.n, 2);
	assert_int_equal(why.n_held, 2);
	assert_int_equal(why.held_bytes, 0x3000);
	vt_why_free(&why);
	vt_trace_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page_the_process_died_at),
		cmocka_unit_test(test_range_of_two_mappings),
		cmocka_unit_test(forced_mapping_replaces_the_first_page_of_another),
		cmocka_unit_test(forced_mapping_in_a_reservation_is_no_damage),
		cmocka_unit_test(hint_that_is_taken_tells_who_had_it),
		cmocka_unit_test(refused_placement_tells_who_had_the_range),
		cmocka_unit_test(unmapped_page_tells_who_gave_it_back),
		cmocka_unit_test(moved_page_tells_where_it_went),
		cmocka_unit_test(discarded_contents_are_told),
		cmocka_unit_test(change_without_a_call_is_told_as_such),
		cmocka_unit_test(page_that_was_never_mapped),
		cmocka_unit_test(state_is_the_one_of_the_moment_asked_for),
		cmocka_unit_test(address_belongs_to_what_was_mapped_at_that_time),
		cmocka_unit_test(site_is_the_first_frame_outside_the_runtime),
		cmocka_unit_test(report_sums_calls_errors_peaks_and_sites),
	};
	return cmocka_run_group_tests(tests, NULL, remove_trace);
}
