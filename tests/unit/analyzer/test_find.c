/*
 * test_find.c - findings in small traces made by hand: what a live program cannot be made to do on
 * demand. A program with its own code, one library and libc.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

#include "find.h"
#include "make_trace.h"

#define AT   0x20000000u
#define HEAP 0x13000000u
#define SIZE 0x4000u

/* Whose call it is: the stacks of the traces made here. */
enum { PROGRAM = 1, LIBRARY, LIBC };

static const char start_maps[] = "10000000-10001000 r-xp 00000000 08:01 101 /bin/test\n"
				 "11000000-11001000 r-xp 00000000 08:01 102 /lib/liba.so\n"
				 "12000000-12001000 r-xp 00000000 08:01 103 /lib/libc.so.6\n"
				 "13000000-13010000 rw-p 00000000 00:00 0 [heap]\n";

static struct vt_event call(uint32_t tid, uint32_t who, uint8_t kind, uint64_t addr, uint64_t len)
{
	return (struct vt_event){ .kind = kind, .tid = tid, .stack = who, .a = { addr, len } };
}

static struct vt_event map(uint32_t tid, uint32_t who, uint64_t addr, uint64_t len, uint64_t flags)
{
	struct vt_event e = call(tid, who, VT_MMAP, flags & MAP_FIXED ? addr : 0, len);
	e.a[2] = PROT_READ | PROT_WRITE;
	e.a[3] = MAP_PRIVATE | MAP_ANONYMOUS | flags;
	e.a[4] = UINT64_MAX;
	e.ret = (int64_t)addr;
	return e;
}

static struct vt_event unmap(uint32_t tid, uint32_t who, uint64_t addr, uint64_t len)
{
	return call(tid, who, VT_MUNMAP, addr, len);
}

static struct vt_event fault(uint32_t tid, uint64_t addr)
{
	struct vt_event e = call(tid, PROGRAM, VT_FAULT, addr, SIGSEGV);
	e.a[2] = SEGV_MAPERR;
	return e;
}

/* What is found: "severity kind proof history", one finding a line; static buffer. */
static const char *found(struct vt_event *events, size_t n, uint64_t reach)
{
	static char text[2048];
	static const uint64_t pc[] = { 0, 0x10000100, 0x11000100, 0x12000100 };
	static const char *const path[] = { "", "/bin/test", "/lib/liba.so", "/lib/libc.so.6" };
	struct maker m;
	char *error;
	size_t used = 0;
	make_open(&m, temp_path(), "");
	for (uint32_t i = PROGRAM; i <= LIBC; i++) {
		make_file(&m, i, VT_FILE_REGULAR, 8 << 20 | 1, 100 + i, path[i]);
		make_stack(&m, i, &pc[i], 1);
	}
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, start_maps, 1);
	make_events(&m, events, n);
	make_closed(&m);
	struct vt_trace *t = vt_trace_open(temp_path(), &error);
	struct vt_find *f = calloc(1, sizeof(*f));
	if (!t || !f)
		fail_msg("%s", error);
	f->history.reach = reach;
	assert_int_equal(vt_find_collect(f, t), 0);
	*text = '\0';
	for (size_t i = 0; i < f->n; i++) {
		const struct vt_finding *x = &f->found[i];
		used += (size_t)snprintf(
		    text + used, sizeof(text) - used, "%s %s %d%s:", vt_severity_name(x->severity),
		    vt_find_kinds[x->kind].name, (int)x->proof_seq, x->overlap ? " overlap" : "");
		for (uint32_t h = 0; h < x->n_history; h++)
			used += (size_t)snprintf(text + used, sizeof(text) - used, " %s%d",
						 x->history[h] == x->seq ? ">" : "",
						 (int)x->history[h]);
		used += (size_t)snprintf(text + used, sizeof(text) - used, "\n");
	}
	vt_find_free(f);
	free(f);
	vt_trace_close(t);
	return text;
}

#define FOUND(events) found(events, sizeof(events) / sizeof(*(events)), 0)

/* Two threads use one address in turns, and the first one unmaps it once too often. */
#define SECOND_UNMAP                                                                               \
	map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE), map(2, PROGRAM, AT, SIZE, 0),   \
	    unmap(1, PROGRAM, AT, SIZE)

static void test_block_freed_by_another_thread_is_nothing(void **state)
{
	struct vt_event events[] = { SECOND_UNMAP };
	(void)state;
	assert_string_equal(FOUND(events), "");
}

static void test_fault_in_the_victim_proves_the_second_unmap(void **state)
{
	struct vt_event events[] = { SECOND_UNMAP, fault(2, AT + 64) };
	(void)state;
	assert_string_equal(FOUND(events), "error double-unmap 5: 1 2 3 >4 5\n");
}

static void test_fault_after_the_range_was_taken_again_proves_nothing(void **state)
{
	struct vt_event events[] = { SECOND_UNMAP, map(3, PROGRAM, AT, SIZE, 0),
				     fault(2, AT + 64) };
	(void)state;
	assert_string_equal(FOUND(events), "");
}

static void test_signal_that_was_sent_proves_nothing(void **state)
{
	struct vt_event events[] = { SECOND_UNMAP, fault(2, AT + 64) };
	(void)state;
	events[4].a[2] = (uint64_t)SI_USER;
	assert_string_equal(FOUND(events), "");
}

static void test_second_unmap_is_told_beside_the_first_of_its_thread(void **state)
{
	struct vt_event events[] = { map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE),
				     map(2, PROGRAM, AT, SIZE, 0), unmap(2, PROGRAM, AT, SIZE),
				     unmap(1, PROGRAM, AT, SIZE) };
	(void)state;
	assert_string_equal(FOUND(events), "error double-unmap 0: 1 2 >5\n");
}

static void test_what_lies_out_of_reach_is_forgotten(void **state)
{
	struct vt_event events[32768];
	size_t n = 0;
	(void)state;
	events[n++] = map(1, PROGRAM, AT, SIZE, 0);
	events[n++] = unmap(1, PROGRAM, AT, SIZE);
	while (n + 2 < 32768) {
		uint64_t at = AT + SIZE * (1 + n);
		events[n++] = map(1, PROGRAM, at, SIZE, 0);
		events[n++] = unmap(1, PROGRAM, at, SIZE);
	}
	events[n++] = unmap(1, PROGRAM, AT, SIZE);
	assert_string_equal(found(events, n, 0), "error double-unmap 0: 1 2 >32767\n");
	assert_string_equal(found(events, n, 1000), "");
}

static void test_death_by_use_after_unmap(void **state)
{
	struct vt_event events[] = { map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE),
				     fault(1, AT + 8) };
	(void)state;
	assert_string_equal(FOUND(events), "error stale-range 3: 1 2 >3\n");
}

static void test_death_in_what_another_thread_gave_back_tells_the_mapping_before(void **state)
{
	struct vt_event events[] = { map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE),
				     map(1, PROGRAM, AT, SIZE, 0), unmap(2, PROGRAM, AT, SIZE),
				     fault(1, AT + 64) };
	(void)state;
	assert_string_equal(FOUND(events), "error stale-range 5: 1 2 3 4 >5\n");
	events[3].tid = 1;
	assert_string_equal(FOUND(events), "error stale-range 5: 3 4 >5\n");
}

static void test_call_into_code_that_data_has_replaced(void **state)
{
	struct vt_event events[] = { map(1, LIBC, AT, SIZE, 0), unmap(1, LIBC, AT, SIZE),
				     map(1, PROGRAM, AT, SIZE, 0), fault(1, AT + 8) };
	(void)state;
	events[0].a[2] = PROT_READ | PROT_EXEC;
	assert_string_equal(FOUND(events), "error stale-range 4: 1 2 3 >4\n");
}

static void test_data_used_where_something_new_lives_proves_nothing(void **state)
{
	struct vt_event events[] = { map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE),
				     map(1, LIBRARY, AT, SIZE, 0), fault(1, AT + 8) };
	(void)state;
	assert_string_equal(FOUND(events), "");
}

static void test_calls_that_overlapped_are_told(void **state)
{
	struct vt_event events[] = { map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE),
				     map(2, PROGRAM, AT, SIZE, 0),
				     map(1, PROGRAM, AT, SIZE, MAP_FIXED),
				     unmap(2, PROGRAM, AT, SIZE) };
	(void)state;
	events[3].span = 1;
	assert_string_equal(FOUND(events), "error fixed-clobber 5 overlap: 1 2 3 >4 5\n");
}

static void test_overlap_is_proof_of_a_race_within_one_module(void **state)
{
	struct vt_event events[] = { map(2, PROGRAM, AT, SIZE, 0),
				     map(1, PROGRAM, AT, SIZE, MAP_FIXED) };
	(void)state;
	assert_string_equal(FOUND(events), "warning fixed-clobber 0: 1 >2\n");
	events[1].span = 1;
	assert_string_equal(FOUND(events), "error fixed-clobber 0 overlap: 1 >2\n");
}

static void test_first_page_of_a_block_of_malloc_is_nobodys_to_discard(void **state)
{
	struct vt_event events[] = { map(1, LIBC, AT, SIZE, 0),
				     call(1, PROGRAM, VT_MADVISE, AT, SIZE) };
	(void)state;
	events[1].a[2] = MADV_DONTNEED;
	assert_string_equal(FOUND(events), "error foreign-change 0: 1 >2\n");
}

static void test_pages_inside_a_block_of_malloc_are(void **state)
{
	struct vt_event events[] = { map(1, LIBC, AT, SIZE, 0),
				     call(1, PROGRAM, VT_MADVISE, AT + 0x1000, 0x1000) };
	(void)state;
	events[1].a[2] = MADV_DONTNEED;
	assert_string_equal(FOUND(events), "");
}

static void test_stale_range_with_a_hole_discards_the_rest(void **state)
{
	struct vt_event events[] = { map(1, PROGRAM, AT, SIZE, 0), unmap(1, PROGRAM, AT, SIZE),
				     map(1, LIBC, AT + 0x2000, 0x2000, 0),
				     call(1, PROGRAM, VT_MADVISE, AT, SIZE) };
	(void)state;
	events[3].a[2] = MADV_DONTNEED;
	events[3].ret = -ENOMEM;
	assert_string_equal(FOUND(events), "error stale-range 0: 1 2 3 >4\n");
}

static void test_heap_of_the_start_may_be_another_allocators(void **state)
{
	struct vt_event events[] = { call(1, LIBRARY, VT_MADVISE, HEAP, SIZE),
				     map(1, LIBRARY, AT, SIZE, 0),
				     call(1, LIBRARY, VT_MADVISE, HEAP, SIZE) };
	(void)state;
	events[0].a[2] = events[2].a[2] = MADV_DONTNEED;
	assert_string_equal(FOUND(events), "");
}

static void test_heap_of_the_start_is_libcs_whose_malloc_is_seen_at_work(void **state)
{
	struct vt_event events[] = { map(1, LIBC, AT, SIZE, 0),
				     call(1, LIBRARY, VT_MADVISE, HEAP, SIZE) };
	(void)state;
	events[1].a[2] = MADV_DONTNEED;
	assert_string_equal(FOUND(events), "error foreign-change 0: >2\n");
}

static void test_part_of_another_modules_mapping_discarded(void **state)
{
	struct vt_event events[] = { map(1, LIBRARY, AT, SIZE, 0),
				     call(1, PROGRAM, VT_MADVISE, AT, SIZE),
				     call(1, PROGRAM, VT_MADVISE, AT, 0x1000) };
	(void)state;
	events[1].a[2] = events[2].a[2] = MADV_DONTNEED;
	assert_string_equal(FOUND(events), "warning foreign-change 0: 1 >3\n");
}

/* All that the mapping was has died, and yet it lives elsewhere. */
static void test_what_was_moved_away_keeps_its_owner(void **state)
{
	struct vt_event events[] = { map(1, LIBC, AT, SIZE, 0), call(1, LIBC, VT_MREMAP, AT, SIZE),
				     unmap(1, LIBC, AT, SIZE),
				     unmap(1, PROGRAM, AT + 2 * SIZE, SIZE) };
	(void)state;
	events[1].a[2] = SIZE;
	events[1].a[3] = MREMAP_MAYMOVE | 4; /* MREMAP_DONTUNMAP */
	events[1].ret = AT + 2 * SIZE;
	assert_string_equal(FOUND(events), "error foreign-unmap 0: 1 >4\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block_freed_by_another_thread_is_nothing),
		cmocka_unit_test(test_fault_in_the_victim_proves_the_second_unmap),
		cmocka_unit_test(test_fault_after_the_range_was_taken_again_proves_nothing),
		cmocka_unit_test(test_signal_that_was_sent_proves_nothing),
		cmocka_unit_test(test_second_unmap_is_told_beside_the_first_of_its_thread),
		cmocka_unit_test(test_what_lies_out_of_reach_is_forgotten),
		cmocka_unit_test(test_death_by_use_after_unmap),
		cmocka_unit_test(
		    test_death_in_what_another_thread_gave_back_tells_the_mapping_before),
		cmocka_unit_test(test_call_into_code_that_data_has_replaced),
		cmocka_unit_test(test_data_used_where_something_new_lives_proves_nothing),
		cmocka_unit_test(test_calls_that_overlapped_are_told),
		cmocka_unit_test(test_overlap_is_proof_of_a_race_within_one_module),
		cmocka_unit_test(test_first_page_of_a_block_of_malloc_is_nobodys_to_discard),
		cmocka_unit_test(test_pages_inside_a_block_of_malloc_are),
		cmocka_unit_test(test_stale_range_with_a_hole_discards_the_rest),
		cmocka_unit_test(test_heap_of_the_start_may_be_another_allocators),
		cmocka_unit_test(test_heap_of_the_start_is_libcs_whose_malloc_is_seen_at_work),
		cmocka_unit_test(test_part_of_another_modules_mapping_discarded),
		cmocka_unit_test(test_what_was_moved_away_keeps_its_owner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
