/*
 * test_placement.c - predicted places compared with the kernel's, and why some differ.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/mman.h>

#include "make_trace.h"
#include "placement.h"
#include "unit.h"

#define BASE 0x7ffff7fff000UL
#define MAPS                                                                                       \
	"7ffff7ffd000-7ffff7fff000 r--p 00000000 00:00 0 \n"                                       \
	"7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]\n"

static uint64_t below(unsigned pages)
{
	return BASE - pages * VT_PAGE_SIZE;
}

/* An mmap of one page without a hint. */
static struct vt_event map(uint64_t at)
{
	return (struct vt_event){ .kind = VT_MMAP,
				  .a = { 0, VT_PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS },
				  .ret = (int64_t)at,
				  .tid = 1 };
}

static struct vt_event unmap(uint64_t at)
{
	return (struct vt_event){ .kind = VT_MUNMAP, .a = { at, VT_PAGE_SIZE }, .tid = 2 };
}

static struct vt_event unseen(uint64_t at)
{
	return (struct vt_event){ .kind = VT_UNSEEN_MAP,
				  .a = { at, VT_PAGE_SIZE, PROT_READ, MAP_PRIVATE } };
}

static struct vt_placements places(const struct vt_event *events, size_t n)
{
	struct vt_placements p = { 0 };
	struct maker m;
	char *error;

	make_open(&m, temp_path(), "mmap_base 0x7ffff7fff000\nlayout topdown\n");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, MAPS, 1);
	make_events(&m, events, n);
	make_closed(&m);
	struct vt_trace *t = vt_trace_open(temp_path(), &error);
	assert_non_null(t);
	assert_int_equal(vt_placements_collect(&p, t), 0);
	vt_trace_close(t);
	unlink(temp_path());
	return p;
}

static void places_chosen_by_the_kernel_are_predicted(void **state)
{
	const struct vt_event events[] = { map(below(3)), map(below(4)), unmap(below(3)),
					   map(below(3)), map(below(5)) };
	struct vt_placements p = places(events, 5);
	(void)state;
	assert_int_equal(p.asked, 4);
	assert_int_equal(p.hits, 4);
	vt_placements_free(&p);
}

static void a_call_under_way_is_named_that_took_the_place(void **state)
{
	struct vt_event events[] = { map(below(4)), map(below(3)), map(below(5)) };
	struct vt_placements p;
	(void)state;
	events[1].span = 1;
	p = places(events, 3);
	assert_int_equal(p.asked, 3);
	assert_int_equal(p.hits, 2);
	assert_int_equal(p.why[VT_MISS_OVERLAP], 1);
	assert_int_equal(p.misses[0].event.seq, 1);
	assert_int_equal(p.misses[0].other, 2);
	vt_placements_free(&p);
}

static void of_many_calls_under_way_each_is_named_where_it_was(void **state)
{
	enum { PAIRS = 500 };
	struct vt_event events[2 * PAIRS];
	struct vt_placements p;
	(void)state;
	for (unsigned i = 0; i < PAIRS; i++) {
		events[2 * i] = map(below(3 + 2 * i + 1));
		events[2 * i + 1] = map(below(3 + 2 * i));
		events[2 * i + 1].span = 1 + 2 * (i % 100 == 50); /* some reach further back */
	}
	p = places(events, 2 * PAIRS);
	assert_int_equal(p.asked, 2 * PAIRS);
	assert_int_equal(p.hits, PAIRS);
	assert_int_equal(p.why[VT_MISS_OVERLAP], PAIRS);
	for (unsigned i = 0; i < PAIRS; i++) {
		assert_int_equal(p.misses[i].event.seq, 2 * i + 1);
		assert_int_equal(p.misses[i].other, 2 * i + 2);
	}
	vt_placements_free(&p);
}

static void a_call_under_way_is_in_the_way_until_it_comes(void **state)
{
	struct vt_event events[] = { map(below(4)), map(below(5)), map(below(6)), map(below(3)),
				     map(below(7)) };
	struct vt_placements p;
	(void)state;
	events[3].span = 3;
	p = places(events, 5);
	assert_int_equal(p.asked, 5);
	assert_int_equal(p.hits, 4);
	assert_int_equal(p.misses[0].event.seq, 1);
	assert_int_equal(p.misses[0].other, 4);
	vt_placements_free(&p);
}

static void a_release_under_way_may_not_have_happened(void **state)
{
	struct vt_event events[] = { map(below(3)), unmap(below(3)), map(below(4)) };
	struct vt_placements p;
	(void)state;
	/* also where no number was taken while both were under way */
	for (events[2].span = 0; events[2].span < 2; events[2].span++) {
		p = places(events, 3);
		assert_int_equal(p.why[VT_MISS_OVERLAP], 1);
		assert_int_equal(p.misses[0].other, 2);
		vt_placements_free(&p);
	}
	/* but a thread's own calls follow each other */
	events[1].tid = events[2].tid;
	events[2].span = 0;
	p = places(events, 3);
	assert_int_equal(p.why[VT_MISS_OVERLAP], 0);
	vt_placements_free(&p);
}

static void a_mapping_found_later_is_taken_in_when_it_shows(void **state)
{
	const struct vt_event events[] = { map(below(4)), map(below(5)), unseen(below(3)),
					   map(below(6)) };
	struct vt_placements p = places(events, 4);
	(void)state;
	/* one miss: from then on it is known to be there */
	assert_int_equal(p.hits, 2);
	assert_int_equal(p.why[VT_MISS_UNSEEN], 1);
	assert_int_equal(p.misses[0].other, 3);
	vt_placements_free(&p);
}

static void what_the_kernel_passes_over_is_taken(void **state)
{
	const struct vt_event events[] = { map(below(6)), map(below(7)), map(below(8)) };
	struct vt_placements p = places(events, 3);
	(void)state;
	/* pages 3 to 5 below the top are not free, though nobody says so */
	assert_int_equal(p.hits, 2);
	assert_int_equal(p.why[VT_MISS_PASSED], 1);
	vt_placements_free(&p);
}

static void what_proves_to_be_free_is_free_again(void **state)
{
	const struct vt_event events[] = { map(below(6)), map(below(3)), map(below(7)) };
	struct vt_placements p = places(events, 3);
	(void)state;
	assert_int_equal(p.asked, 3);
	assert_int_equal(p.misses[0].why, VT_MISS_PASSED);
	assert_int_equal(p.misses[0].event.seq, 1);
	/* the second was the model's own first choice */
	assert_int_equal(p.hits + p.n, 3);
	vt_placements_free(&p);
}

static void a_place_above_the_search_stays_unexplained(void **state)
{
	const struct vt_event events[] = { map(BASE + 16 * VT_PAGE_SIZE), map(below(3)) };
	struct vt_placements p = places(events, 2);
	(void)state;
	assert_int_equal(p.hits, 1);
	assert_int_equal(p.why[VT_MISS_UNEXPLAINED], 1);
	vt_placements_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_chosen_by_the_kernel_are_predicted),
		cmocka_unit_test(a_call_under_way_is_named_that_took_the_place),
		cmocka_unit_test(of_many_calls_under_way_each_is_named_where_it_was),
		cmocka_unit_test(a_call_under_way_is_in_the_way_until_it_comes),
		cmocka_unit_test(a_release_under_way_may_not_have_happened),
		cmocka_unit_test(a_mapping_found_later_is_taken_in_when_it_shows),
		cmocka_unit_test(what_the_kernel_passes_over_is_taken),
		cmocka_unit_test(what_proves_to_be_free_is_free_again),
		cmocka_unit_test(a_place_above_the_search_stays_unexplained),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
