/*
 * test_trace.c - reading traces: order, live rings, damage.
 *
 * SPDX-License-Identifier: MIT
 */
#include "make_trace.h"
#include "trace.h"
#include "unit.h"
#include <fcntl.h>
#include <sys/mman.h>

static const char *const MAPS =
    "00400000-00401000 r-xp 00001000 fe:01 77                                 /bin/a b\n"
    "20000000-20001000 rw-p 00000000 00:00 0 \n"
    "20001000-20003000 rw-s 00000000 00:01 5                                  /dev/zero (deleted)\n"
    "7ffff7ff0000-7ffff7ff2000 r-xp 00000000 00:00 0                          [vdso]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

static struct vt_event event(uint64_t n)
{
	return (struct vt_event){
		.kind = VT_MUNMAP,
		.tid = 7,
		.a = { n << 12, 4096 },
		.begin_ns = n * 320,
		.dur_ns = 64,
	};
}

static void put_events(struct maker *m, size_t n)
{
	struct vt_event events[100];

	for (size_t i = 0; i < n; i++)
		events[i] = event(m->next_seq + i);
	make_events(m, events, n);
}

static struct vt_trace *open_trace(void)
{
	char *error;
	struct vt_trace *t = vt_trace_open(temp_path(), &error);

	if (!t)
		fail_msg("%s", error);
	return t;
}

static void assert_refused(const char *expected)
{
	char *error;
	struct vt_trace *t = vt_trace_open(temp_path(), &error);

	assert_null(t);
	if (!strstr(error, expected) || !strstr(error, temp_path()))
		fail_msg("expected '%s' in '%s'", expected, error);
	free(error);
}

/* Deliver everything; events must be numbered from first on. Returns how many there were. */
static size_t read_all(struct vt_trace *t, uint64_t first)
{
	struct vt_item item;
	size_t n = 0;

	while (vt_trace_next(t, &item) != VT_ITEM_END) {
		if (item.type != VT_ITEM_EVENT)
			continue;
		assert_int_equal(item.event.seq, first + n);
		n++;
	}
	return n;
}

static void meta_and_end_are_text(void **state)
{
	struct maker m;

	(void)state;
	make_open(&m, temp_path(),
		  "rlimit_as unlimited unlimited\ncwd /a\\nb\\\\c\nmem_total_kb 12\n");
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_true(t->closed);
	assert_null(t->damage);
	assert_string_equal(vt_trace_meta(t, "cmd"), "test 'a b'");
	assert_string_equal(vt_trace_meta(t, "cwd"), "/a\nb\\c");
	assert_string_equal(vt_trace_meta(t, "reason"), "exit");
	assert_null(vt_trace_meta(t, "nothing"));
	assert_int_equal(vt_trace_meta_u64(t, "rlimit_as", 1), UINT64_MAX);
	assert_int_equal(vt_trace_meta_u64(t, "mem_total_kb", 1), 12);
	assert_int_equal(vt_trace_meta_u64(t, "nothing", 5), 5);
	assert_int_equal(vt_trace_meta_u64(t, "cmd", 5), 5);
	vt_trace_close(t);
}

static void definitions_are_there_before_their_use(void **state)
{
	const uint64_t pc[] = { 0x7f0000001000, 0x400123, 0xffffffffff600000 };
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 1);
	make_stack(&m, 3, pc, 3);
	make_file(&m, 2, VT_FILE_REGULAR, 0xfe00001, 77, "/bin/a b");
	make_thread(&m, 7, "first");
	make_thread(&m, 7, "second");
	make_note(&m, "own 0x1000 0x2000");
	make_note(&m, "own 0x1000 0x2000");
	put_events(&m, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(t->n_stacks, 4);
	assert_int_equal(t->stacks[3].n, 3);
	assert_memory_equal(t->stacks[3].pc, pc, sizeof(pc));
	assert_null(t->stacks[2].pc);
	assert_string_equal(t->files[2].path, "/bin/a b");
	assert_int_equal(t->files[1].kind, VT_FILE_NONE);
	assert_string_equal(vt_trace_thread_name(t, 7), "second");
	assert_string_equal(vt_trace_thread_name(t, 8), "");
	assert_int_equal(t->notes.n, 1);
	assert_string_equal(t->notes.v[0].value, "0x1000 0x2000");
	vt_trace_close(t);
}

static void predicted_stacks_are_what_was_written(void **state)
{
	static const uint64_t pc[][4] = {
		{ 0x401000, 0x402000, 0x403000, 0x7f0000001000 },
		{ 0x401000, 0x402000, 0x403000, 0x7f0000001000 }, /* all as before */
		{ 0x401000, 0x402800, 0x403000, 0x7f0000001000 }, /* another caller */
		{ 0x401000, 0x402000, 0xffffffffffffffff, 1 },    /* the one before that */
		{ 0x999000, 0x402000, 0x403000, 0x7f0000001000 }, /* its outer half shared */
	};
	static struct vt_callers callers;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	for (uint32_t i = 0; i < 5; i++)
		make_calls(&m, &callers, i == 2 ? 9 : i + 1, pc[i], 4, i == 4 ? 1 : 0,
			   i == 4 ? 2 : 0);
	put_events(&m, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	for (uint32_t i = 0; i < 5; i++) {
		const struct vt_stack_def *s = &t->stacks[i == 2 ? 9 : i + 1];
		assert_int_equal(s->n, 4);
		assert_memory_equal(s->pc, pc[i], sizeof(pc[i]));
	}
	vt_trace_close(t);
}

/* The order of items as text: 1 2 S 3 K 4. */
static void assert_order(struct vt_trace *t, const char *expected)
{
	char order[256] = "";
	struct vt_item item;

	while (vt_trace_next(t, &item) != VT_ITEM_END) {
		size_t n = strlen(order);
		if (item.type == VT_ITEM_EVENT)
			snprintf(order + n, sizeof(order) - n, "%d ", (int)item.event.seq);
		else
			strcat(order, item.type == VT_ITEM_SNAPSHOT ? "S " : "K ");
	}
	assert_string_equal(order, expected);
}

static void snapshots_come_before_what_they_do_not_show(void **state)
{
	const struct vt_extent x = { .start = 0x1000, .end = 0x2000 };
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_keyframe(&m, &x, 1);
	make_snapshot(&m, VT_SNAPSHOT_FORK, 0, 0, MAPS, 1);
	put_events(&m, 3);
	make_snapshot(&m, VT_SNAPSHOT_DEMAND, 4, 4, MAPS, 3); /* before its events are framed */
	put_events(&m, 3);
	make_snapshot(&m, VT_SNAPSHOT_DEMAND, 2, 2, MAPS, 1); /* long after them */
	put_events(&m, 1);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, 7, 7, MAPS, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_order(t, "K S 1 2 S 3 4 S 5 6 7 S ");
	vt_trace_rewind(t);
	assert_order(t, "K S 1 2 S 3 4 S 5 6 7 S ");
	vt_trace_close(t);
}

static void a_snapshot_is_its_text_parsed(void **state)
{
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_file(&m, 9, VT_FILE_REGULAR, 0xfe00001, 77, "/bin/a b");
	put_events(&m, 1);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, 1, 1, MAPS, 4);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	vt_trace_next(t, &item);
	assert_int_equal(vt_trace_next(t, &item), VT_ITEM_SNAPSHOT);
	const struct vt_snapshot *s = item.snapshot;
	assert_string_equal(s->maps_text, MAPS);
	assert_int_equal(s->n_vmas, 5);
	assert_int_equal(s->vmas[0].start, 0x400000);
	assert_int_equal(s->vmas[0].file, 9);
	assert_int_equal(s->vmas[0].pgoff, 1);
	assert_int_equal(s->vmas[0].flags, VT_VM(READ) | VT_VM(EXEC));
	assert_string_equal(s->names[0], "/bin/a b");
	assert_int_equal(s->vmas[1].file, 0);
	assert_string_equal(s->names[1], "");
	assert_int_equal(s->vmas[2].flags & VT_VM(SHARED), VT_VM(SHARED));
	assert_int_equal(t->files[s->vmas[2].file].kind, VT_FILE_SHM_ANON);
	assert_int_equal(s->vmas[3].special, VT_SPECIAL_VDSO);
	assert_int_equal(s->vmas[4].special, VT_SPECIAL_VSYSCALL);
	vt_trace_close(t);
}

static void maps_that_make_no_sense_end_the_reading(void **state)
{
	static const char *const texts[] = {
		"hello\n",
		"1000-2000 rw-p 0 0:0 0",
		"2000-1000 rw-p 0 0:0 0 \n",
		"1001-2000 rw-p 0 0:0 0 \n",
		"1000-20000000000000000 rw-p 0 0:0 0 \n",
		"1000-2000 rw-q 0 0:0 0 \n",
		"1000-2000 rwzp 0 0:0 0 \n",
		"\n",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct vt_item item;
		struct maker m;
		make_open(&m, temp_path(), "");
		make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, texts[i], 1);
		make_closed(&m);
		struct vt_trace *t = open_trace();
		assert_int_equal(vt_trace_next(t, &item), VT_ITEM_END);
		assert_non_null(t->damage);
		vt_trace_close(t);
	}
}

static void areas_that_grew_while_they_were_printed_are_cut(void **state)
{
	const char *maps = "1000-3000 rw-p 00000000 00:00 0 \n"
			   "2000-5000 rw-s 00001000 fe:01 7 /a\n"
			   "4000-5000 r--p 00000000 00:00 0 \n";
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, maps, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(vt_trace_next(t, &item), VT_ITEM_SNAPSHOT);
	assert_int_equal(item.snapshot->n_vmas, 2);
	assert_int_equal(item.snapshot->vmas[1].start, 0x3000);
	assert_int_equal(item.snapshot->vmas[1].end, 0x5000);
	assert_int_equal(item.snapshot->vmas[1].pgoff, 2);
	vt_trace_close(t);
}

static void a_killed_process_left_its_last_events_in_the_ring(void **state)
{
	const uint64_t pc[] = { 0x1000 };
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 10);
	make_stack(&m, 1, pc, 1);
	make_live(&m);
	for (uint64_t i = 11; i < 20; i++) {
		struct vt_event e = event(i);
		e.stack = i == 11 ? 1 : i == 12 ? 99 : 0;
		make_slot(&m, i, VT_SLOT_DONE, &e);
	}
	make_killed(&m);
	struct vt_trace *t = open_trace();
	assert_false(t->closed);
	assert_null(t->damage);
	assert_int_equal(read_all(t, 1), 19);
	vt_trace_rewind(t);
	while (vt_trace_next(t, &item) != VT_ITEM_END) {
		struct vt_event expected = event(item.event.seq);
		assert_int_equal(item.event.a[0], expected.a[0]);
		assert_int_equal(item.event.begin_ns, expected.begin_ns);
		assert_int_equal(item.event.dur_ns, expected.dur_ns);
		/* a stack whose definition was not written any more is not known */
		assert_int_equal(item.event.stack, item.event.seq == 11);
	}
	vt_trace_close(t);
}

static void slots_that_are_not_done(void **state)
{
	struct vt_item item;
	struct maker m;
	struct vt_event e = event(1), old = event(1);

	(void)state;
	make_open(&m, temp_path(), "");
	make_live(&m);
	e.ret = -22;
	make_slot(&m, 1, VT_SLOT_DONE, &e);
	make_slot(&m, 2, VT_SLOT_BEGUN, &e);
	make_slot(&m, 3, VT_SLOT_FREE, &e);
	make_slot(&m, 4, VT_SLOT_FINISHING, &e);
	old.kind = VT_MMAP;
	make_slot(&m, 5, VT_SLOT_DONE, &old);
	m.ring[5].state = (5 - MAKE_SLOTS) << 2 | VT_SLOT_DONE; /* an older round's */
	make_slot(&m, 6, VT_SLOT_DONE, &e);
	m.live->ring_head = 9; /* 7 and 8 are taken and empty */
	make_killed(&m);
	struct vt_trace *t = open_trace();
	static const bool undone[] = { false, true, true, false };
	for (int i = 0; i < 4; i++) {
		assert_int_equal(vt_trace_next(t, &item), VT_ITEM_EVENT);
		assert_int_equal(item.event.kind, VT_MUNMAP);
		assert_int_equal(!!(item.event.flags & VT_EV_UNDONE), undone[i]);
		assert_int_equal(item.event.ret, undone[i] ? 0 : -22);
	}
	assert_int_equal(vt_trace_next(t, &item), VT_ITEM_END);
	assert_null(t->damage);
	vt_trace_close(t);
}

static void the_ring_wraps(void **state)
{
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	for (int i = 0; i < 15; i++)
		put_events(&m, 100);
	make_live(&m);
	for (uint64_t i = 1501; i < 1501 + MAKE_SLOTS; i++) {
		struct vt_event e = event(i);
		make_slot(&m, i, VT_SLOT_DONE, &e);
	}
	make_killed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(read_all(t, 1), 1500 + MAKE_SLOTS);
	vt_trace_close(t);
}

static void sealing_changes_nothing_but_the_file(void **state)
{
	struct vt_item a, b;
	struct maker m;
	char *error = NULL;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 10);
	make_thread(&m, 7, "late");
	m.header.pid = 0x7ffffff0; /* no such process */
	make_live(&m);
	for (uint64_t i = 11; i < 300; i++) {
		struct vt_event e = event(i);
		e.a[2] = 77; /* rubbish behind the arguments */
		make_slot(&m, i, i % 7 ? VT_SLOT_DONE : VT_SLOT_BEGUN, &e);
	}
	make_killed(&m);
	struct vt_trace *before = open_trace();
	assert_int_equal(vt_trace_seal(temp_path(), NULL, &error), 0);
	assert_null(error);
	struct vt_trace *after = open_trace();
	assert_true(after->closed);
	assert_int_equal(after->header.live_off, 0);
	assert_string_equal(vt_trace_meta(after, "reason"), "killed");
	assert_string_equal(vt_trace_thread_name(after, 7), "late");
	do {
		memset(&a, 0, sizeof(a));
		memset(&b, 0, sizeof(b));
		vt_trace_next(before, &a);
		vt_trace_next(after, &b);
		/* without the padding */
		assert_memory_equal(&a.event, &b.event, offsetof(struct vt_event, flags) + 1);
	} while (a.type != VT_ITEM_END);
	assert_int_equal(vt_trace_seal(temp_path(), NULL, &error), 0);
	vt_trace_close(before);
	vt_trace_close(after);
}

static void a_trace_in_use_is_not_sealed(void **state)
{
	struct maker m;
	char *error = NULL;

	(void)state;
	make_open(&m, temp_path(), "");
	m.header.pid = (uint32_t)getpid();
	make_killed(&m);
	int fd = open(temp_path(), O_RDWR);
	void *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_int_equal(vt_trace_seal(temp_path(), NULL, &error), -1);
	assert_non_null(strstr(error, "still records"));
	free(error);
	munmap(p, 4096);
	assert_int_equal(vt_trace_seal(temp_path(), NULL, &error), 0);
	close(fd);
}

static void patch(uint64_t offset, const void *p, size_t n)
{
	int fd = open(temp_path(), O_RDWR);

	assert_int_equal(pwrite(fd, p, n, (off_t)offset), n);
	close(fd);
}

static void damage_ends_the_reading_where_it_is(void **state)
{
	struct maker m;
	uint64_t third;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 10);
	put_events(&m, 10);
	third = m.at;
	put_events(&m, 10);
	make_closed(&m);
	patch(third + sizeof(struct vt_frame) + 5, "x", 1);
	struct vt_trace *t = open_trace();
	assert_int_equal(read_all(t, 1), 20);
	assert_non_null(strstr(t->damage, "frame 3: checksum mismatch"));
	vt_trace_close(t);
}

static void a_hole_in_the_numbers_is_damage(void **state)
{
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 10);
	m.next_seq += 5;
	put_events(&m, 10);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(read_all(t, 1), 10);
	assert_non_null(strstr(t->damage, "expected event 11 first, found 16"));
	vt_trace_close(t);
}

static void a_cut_trace_tells_so(void **state)
{
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 10);
	uint64_t end = m.at;
	make_closed(&m);
	assert_int_equal(truncate(temp_path(), (off_t)end), 0);
	struct vt_trace *t = open_trace();
	assert_false(t->closed);
	assert_int_equal(read_all(t, 1), 10);
	assert_non_null(t->damage);
	vt_trace_close(t);
	assert_int_equal(truncate(temp_path(), (off_t)end - 1), 0);
	t = open_trace();
	assert_int_equal(read_all(t, 1), 0);
	assert_non_null(t->damage);
	vt_trace_close(t);
}

static void a_file_that_is_not_defined_is_damage(void **state)
{
	struct vt_event e = { .kind = VT_MMAP, .file = 3 };
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	put_events(&m, 2);
	make_events(&m, &e, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(read_all(t, 1), 2);
	assert_non_null(strstr(t->damage, "event 3: file 3 is not defined"));
	vt_trace_close(t);
}

static void what_is_no_trace_is_refused(void **state)
{
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_closed(&m);
	patch(0, "X", 1);
	assert_refused("not a vmtrail trace");
	patch(0, "V", 1);
	patch(8, "\3", 1);
	assert_refused("format version: expected 2, found 3");
	patch(8, "\2", 1);
	patch(40, "x", 1);
	assert_refused("checksum mismatch");
	assert_int_equal(truncate(temp_path(), 100), 0);
	assert_refused("found a file of 100 bytes");
	unlink(temp_path());
	assert_refused("No such file");
}

static void a_trace_of_other_kinds_is_refused(void **state)
{
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "kind 1 frobnicate ADDR\n");
	make_closed(&m);
	assert_refused("event kind 1: expected munmap, found frobnicate");
}

static int clean_up(void **state)
{
	(void)state;
	unlink(temp_path());
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(meta_and_end_are_text),
		cmocka_unit_test(definitions_are_there_before_their_use),
		cmocka_unit_test(predicted_stacks_are_what_was_written),
		cmocka_unit_test(snapshots_come_before_what_they_do_not_show),
		cmocka_unit_test(a_snapshot_is_its_text_parsed),
		cmocka_unit_test(maps_that_make_no_sense_end_the_reading),
		cmocka_unit_test(areas_that_grew_while_they_were_printed_are_cut),
		cmocka_unit_test(a_killed_process_left_its_last_events_in_the_ring),
		cmocka_unit_test(slots_that_are_not_done),
		cmocka_unit_test(the_ring_wraps),
		cmocka_unit_test(sealing_changes_nothing_but_the_file),
		cmocka_unit_test(a_trace_in_use_is_not_sealed),
		cmocka_unit_test(damage_ends_the_reading_where_it_is),
		cmocka_unit_test(a_hole_in_the_numbers_is_damage),
		cmocka_unit_test(a_cut_trace_tells_so),
		cmocka_unit_test(a_file_that_is_not_defined_is_damage),
		cmocka_unit_test(what_is_no_trace_is_refused),
		cmocka_unit_test(a_trace_of_other_kinds_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
