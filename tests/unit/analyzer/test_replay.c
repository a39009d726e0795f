/*
 * test_replay.c - traces through the model: real calls, snapshots in flux, keyframes, maps text.
 *
 * SPDX-License-Identifier: MIT
 */
#include "make_real.h"
#include "make_trace.h"
#include "maps_text.h"
#include "replay.h"
#include "unit.h"
#include <sys/mman.h>
#include <vmtrail/abi.h>

static struct vt_trace *open_trace(void)
{
	char *error;
	struct vt_trace *t = vt_trace_open(temp_path(), &error);

	if (!t)
		fail_msg("%s", error);
	return t;
}

static void print_mismatch(void *ctx, const struct vt_snapshot *s, uint64_t start, uint64_t end,
			   const char *model, const char *kernel)
{
	(void)ctx;
	print_message("snapshot %u: %lx-%lx: replay %s; kernel %s\n", s->number, start, end, model,
		      kernel);
}

/* Replay the trace at temp_path() to its end. */
static struct vt_verdict verdict(bool tell)
{
	struct vt_trace *t = open_trace();
	struct vt_replay r;
	struct vt_item item;

	assert_int_equal(vt_replay_init(&r, t), 0);
	r.mismatch = tell ? print_mismatch : NULL;
	while (vt_replay_next(&r, &item) != VT_ITEM_END)
		;
	struct vt_verdict v = r.verdict;
	vt_replay_fini(&r);
	assert_null(t->damage);
	vt_trace_close(t);
	return v;
}

static void the_replay_of_real_calls_equals_the_kernels_view(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 6; seed++) {
		make_real(temp_path(), seed, 2000, seed & 1);
		struct vt_verdict v = verdict(true);
		assert_int_equal(v.snapshots, 2);
		assert_int_equal(v.byte_mismatches, 0);
		assert_int_equal(v.boundary_mismatches, 0);
	}
}

#define A "20000000-20004000 rw-p 00000000 00:00 0 \n"

static struct vt_event protect(uint64_t addr, uint64_t len)
{
	return (struct vt_event){
		.kind = VT_MPROTECT,
		.a = { addr, len, PROT_READ },
		.begin_ns = 1000000, /* long after any snapshot here */
	};
}

static void a_difference_is_counted_once_and_then_taken_from_the_kernel(void **state)
{
	const char *other = "20000000-20001000 rw-p 00000000 00:00 0 \n"
			    "20001000-20003000 r--p 00000000 00:00 0 \n"
			    "20010000-20011000 rw-p 00000000 00:00 0 \n";
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
	make_snapshot(&m, VT_SNAPSHOT_DEMAND, 0, 0, other, 1);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, 0, 0, other, 1);
	make_closed(&m);
	struct vt_verdict v = verdict(false);
	assert_int_equal(v.snapshots, 3);
	assert_int_equal(v.vmas, 7);
	/* two pages protected otherwise, one gone, one new */
	assert_int_equal(v.byte_mismatches, 4);
	assert_int_equal(v.boundary_mismatches, 0);
}

#define STATUS(size, data, lock)                                                                   \
	"VmPeak:\t 99 kB\nVmSize:\t " size " kB\nVmLck:\t " lock " kB\nVmData:\t " data            \
	" kB\nVmStk:\t 0 kB\nVmExe:\t 0 kB\nVmLib:\t 0 kB\n"

/* Map two pages behind A's four, locked. */
static struct vt_event map_locked(void)
{
	return (struct vt_event){ .kind = VT_MMAP,
				  .a = { 0x20004000, 8192, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_LOCKED,
					 (uint64_t)-1 },
				  .ret = 0x20004000,
				  .begin_ns = 1000000 };
}

static void what_a_snapshot_counts_is_compared(void **state)
{
	static const struct {
		const char *status;
		uint64_t compared, mismatches;
	} cases[] = {
		{ STATUS("24", "24", "8"), 1, 0 }, { STATUS("28", "24", "8"), 1, 1 },
		{ STATUS("24", "20", "8"), 1, 1 }, { STATUS("24", "24", "0"), 1, 1 },
		{ "Name:\ttest\n", 0, 0 },
	};
	struct vt_event e = map_locked();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct maker m;
		make_open(&m, temp_path(), "");
		make_snapshot_of(&m, VT_SNAPSHOT_START, 0, A, NULL, STATUS("16", "16", "0"));
		make_events(&m, &e, 1);
		make_snapshot_of(&m, VT_SNAPSHOT_EXIT, 1, A "20004000-20006000 rw-p 0 00:00 0\n",
				 NULL, cases[i].status);
		make_closed(&m);
		struct vt_verdict v = verdict(false);
		assert_int_equal(v.byte_mismatches, 0);
		assert_int_equal(v.totals_compared, cases[i].compared);
		assert_int_equal(v.total_mismatches, cases[i].mismatches);
	}
}

/* The recorder's own findings stand behind the snapshot that showed them. */
static void what_the_recorder_found_by_a_snapshot_is_counted(void **state)
{
	const char *found = A "20010000-20011000 rw-p 00000000 00:00 0 \n";
	struct vt_event e = { .kind = VT_UNSEEN_MAP,
			      .aux = VT_UNSEEN_CHANGE,
			      .a = { 0x20010000, 4096, 3, MAP_PRIVATE, 0 } };
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot_of(&m, VT_SNAPSHOT_START, 0, A, NULL, STATUS("16", "16", "0"));
	make_snapshot_of(&m, VT_SNAPSHOT_DEMAND, 0, found, NULL, STATUS("20", "20", "0"));
	make_events(&m, &e, 1);
	make_closed(&m);
	struct vt_verdict v = verdict(false);
	assert_int_equal(v.totals_compared, 1);
	assert_int_equal(v.total_mismatches, 0);
}

#define SMAPS_A(flags) A "Size: 16 kB\nTHPeligible: 0\nVmFlags:" flags "\n"

static void flags_that_only_smaps_shows_are_bytes_too(void **state)
{
	static const struct {
		const char *smaps;
		uint64_t mismatches;
	} cases[] = {
		{ SMAPS_A(" rd wr mr mw me ac dd "), 0 },
		{ SMAPS_A(" rd wr mr mw me ac "), 4 },
		/* read at another time than maps: not used */
		{ "20000000-20008000 rw-p 0 00:00 0\nVmFlags: rd wr mr mw me \n", 0 },
	};
	const struct vt_event e = { .kind = VT_MADVISE,
				    .a = { 0x20000000, 0x4000, MADV_DONTDUMP },
				    .begin_ns = 1000000 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct maker m;
		make_open(&m, temp_path(), "");
		make_snapshot_of(&m, VT_SNAPSHOT_START, 0, A, SMAPS_A(" rd wr mr mw me ac "), NULL);
		make_events(&m, &e, 1);
		make_snapshot_of(&m, VT_SNAPSHOT_EXIT, 1, A, cases[i].smaps, NULL);
		make_closed(&m);
		assert_int_equal(verdict(false).byte_mismatches, cases[i].mismatches);
	}
}

/* copy_vma: it counts from its new place if no page was touched before. */
static void the_offset_of_moved_private_zero_memory_is_open(void **state)
{
	static const char *const shown[] = { "00000000", "20008000" };
	const struct vt_event e[] = {
		{ .kind = VT_MMAP,
		  .a = { 0x20004000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, 3, 0 },
		  .ret = 0x20004000,
		  .file = 1,
		  .begin_ns = 1000000 },
		{ .kind = VT_MREMAP,
		  .a = { 0x20004000, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, 0x20008000 },
		  .ret = 0x20008000,
		  .begin_ns = 1000000 },
	};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct maker m;
		char maps[256];
		snprintf(maps, sizeof(maps), A "20008000-20009000 rw-p %s 00:05 7 /dev/zero\n",
			 shown[i]);
		make_open(&m, temp_path(), "");
		make_file(&m, 1, VT_FILE_ZERO, 5, 7, "/dev/zero");
		make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
		make_events(&m, e, 2);
		make_snapshot(&m, VT_SNAPSHOT_EXIT, 2, 2, maps, 1);
		make_closed(&m);
		assert_int_equal(verdict(true).byte_mismatches, 0);
	}
}

static void events_under_way_are_left_out_of_the_comparison(void **state)
{
	const char *during = "20000000-20001000 r--p 00000000 00:00 0 \n"
			     "20001000-20004000 rw-p 00000000 00:00 0 \n";
	struct vt_event e = protect(0x20000000, 4096);
	struct maker m;

	(void)state;
	static const struct {
		uint64_t seq_hi, begin_ns, mismatches;
	} cases[] = {
		{ .seq_hi = 0, .begin_ns = 1000000, .mismatches = 1 },
		{ .seq_hi = 1, .begin_ns = 1000000, .mismatches = 0 },
		/* it took its number late, but had begun before */
		{ .seq_hi = 0, .begin_ns = 0, .mismatches = 0 },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		e.begin_ns = cases[i].begin_ns;
		make_open(&m, temp_path(), "");
		make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
		make_snapshot(&m, VT_SNAPSHOT_DEMAND, 0, cases[i].seq_hi, during, 1);
		make_events(&m, &e, 1);
		make_snapshot(&m, VT_SNAPSHOT_EXIT, 1, 1, during, 1);
		make_closed(&m);
		struct vt_verdict v = verdict(false);
		assert_int_equal(v.byte_mismatches, cases[i].mismatches);
		assert_int_equal(v.boundary_mismatches, 0);
	}
}

/* Two calls overlapped, and behind the area that they may have made a third is mapping a page. */
static void an_area_in_doubt_that_a_call_under_way_extends_is_the_kernels(void **state)
{
	const char *maps = "20000000-20001000 rw-p 00000000 00:00 0 \n"
			   "20001000-20005000 rw-p 00000000 00:00 0 \n";
	struct vt_event e[] = { protect(0x20000000, 0x4000),
				protect(0x20000000, 0x4000),
				{ .kind = VT_MMAP,
				  .a = { 0x20004000, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINT64_MAX },
				  .ret = 0x20004000 } };
	struct maker m;

	(void)state;
	e[0].a[2] = e[1].a[2] = PROT_READ | PROT_WRITE;
	e[1].tid = e[0].tid + 1;
	e[1].span = 1;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
	make_events(&m, e, 2);
	make_snapshot(&m, VT_SNAPSHOT_DEMAND, 2, 3, maps, 1);
	make_events(&m, e + 2, 1);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, 3, 3, maps, 1);
	make_closed(&m);
	struct vt_verdict v = verdict(true);
	assert_int_equal(v.byte_mismatches, 0);
	assert_int_equal(v.boundary_mismatches, 0);
}

/* The recorder could not judge the snapshot: too much was under way. It told by the next one. */
static void what_was_told_later_of_overlapped_calls_is_no_mismatch(void **state)
{
	const char *maps = "20001000-20004000 rw-p 00000000 00:00 0 \n";
	struct vt_event e[] = {
		protect(0x20002000, 4096),
		{ .kind = VT_UNSEEN_UNMAP, .a = { 0x20000000, 4096 }, .begin_ns = 9000000 }
	};
	struct maker m;

	(void)state;
	e[0].a[2] = PROT_READ | PROT_WRITE;
	e[0].begin_ns = 8000000;
	for (unsigned aux = VT_UNSEEN_CHANGE; aux <= VT_UNSEEN_ORDER; aux += VT_UNSEEN_ORDER) {
		e[1].aux = aux;
		make_open(&m, temp_path(), "");
		make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
		make_snapshot(&m, VT_SNAPSHOT_DEMAND, 0, 0, maps, 1);
		make_events(&m, e, 2);
		make_snapshot(&m, VT_SNAPSHOT_EXIT, 2, 2, maps, 1);
		make_closed(&m);
		struct vt_verdict v = verdict(false);
		assert_int_equal(v.byte_mismatches, aux == VT_UNSEEN_CHANGE);
	}
}

static void what_the_recorder_found_by_a_snapshot_is_no_mismatch(void **state)
{
	const char *found = "20000000-20004000 rw-p 00000000 00:00 0 \n"
			    "20010000-20011000 rw-p 00000000 00:00 0 \n";
	struct vt_event e = { .kind = VT_UNSEEN_MAP,
			      .aux = VT_UNSEEN_CHANGE,
			      .a = { 0x20010000, 4096, 3, MAP_PRIVATE, 0 } };
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
	make_snapshot(&m, VT_SNAPSHOT_CONTRADICTION, 0, 0, found, 1);
	make_events(&m, &e, 1);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, 1, 1, found, 1);
	make_closed(&m);
	struct vt_verdict v = verdict(false);
	assert_int_equal(v.byte_mismatches, 0);
	assert_int_equal(v.unseen, 1);
}

static void the_inode_of_shared_anonymous_memory_is_the_first_one_seen(void **state)
{
	const char *shared = A "30000000-30001000 rw-s 00000000 00:01 5                          "
			       "/dev/zero (deleted)\n";
	const char *other = A "30000000-30001000 rw-s 00000000 00:01 6                          "
			      "/dev/zero (deleted)\n";
	struct vt_event e = { .kind = VT_MMAP,
			      .file = 1,
			      .ret = 0x30000000,
			      .a = { 0x30000000, 4096, 3, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED,
				     (uint64_t)-1, 0 } };
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
	make_file(&m, 1, VT_FILE_SHM_ANON, 0, 0, "/dev/zero (deleted)");
	make_events(&m, &e, 1);
	make_snapshot(&m, VT_SNAPSHOT_DEMAND, 1, 1, shared, 1);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, 1, 1, other, 1);
	make_closed(&m);
	assert_int_equal(verdict(false).byte_mismatches, 1);
}

static void a_keyframe_brings_births(void **state)
{
	const uint32_t rw = VT_VM(READ) | VT_VM(WRITE) | VT_VM(MAYREAD) | VT_VM(MAYWRITE) |
			    VT_VM(MAYEXEC) | VT_VM(ACCOUNT);
	const struct vt_extent x[] = {
		{ .start = 0x20000000,
		  .end = 0x20002000,
		  .pgoff = 0x20000,
		  .flags = rw,
		  .birth = 5 },
		{ .start = 0x20002000,
		  .end = 0x20003000,
		  .pgoff = 0x20002,
		  .flags = rw,
		  .birth = 9,
		  .boundary = VT_BOUNDARY_MERGED },
		{ .start = 0x20003000,
		  .end = 0x20004000,
		  .pgoff = 0x20003,
		  .flags = rw,
		  .birth = 11,
		  .boundary = VT_BOUNDARY_UNDETERMINED },
	};
	struct vt_event e = protect(0x20002000, 4096);
	struct vt_replay r;
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	m.next_seq = 12;
	make_keyframe(&m, x, 3);
	make_snapshot(&m, VT_SNAPSHOT_FORK, 11, 11, A, 1);
	make_events(&m, &e, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(vt_replay_init(&r, t), 0);
	while (vt_replay_next(&r, &item) != VT_ITEM_END)
		;
	assert_int_equal(r.verdict.byte_mismatches, 0);
	assert_int_equal(r.verdict.boundary_mismatches, 0);
	assert_int_equal(vt_model_find(&r.model, 0x20001000)->birth, 5);
	assert_int_equal(vt_model_find(&r.model, 0x20002000)->birth, 9);
	assert_int_equal(vt_model_find(&r.model, 0x20003000)->birth, 11);
	assert_int_equal(vt_model_find(&r.model, 0x20002000)->boundary, VT_BOUNDARY_SPLIT);
	vt_replay_fini(&r);
	vt_trace_close(t);
}

static void unfinished_events_do_not_change_the_model(void **state)
{
	struct vt_event e = { .kind = VT_MUNMAP, .a = { 0x20000000, 0x4000 } };
	struct vt_replay r;
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
	make_live(&m);
	make_slot(&m, 1, VT_SLOT_BEGUN, &e);
	make_killed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(vt_replay_init(&r, t), 0);
	while (vt_replay_next(&r, &item) != VT_ITEM_END)
		;
	assert_non_null(vt_model_first(&r.model));
	vt_replay_fini(&r);
	vt_trace_close(t);
}

static void calls_of_unknown_effect_are_settled_by_the_next_snapshot(void **state)
{
	const char *after = "20001000-20004000 rw-p 00000000 00:00 0 \n";
	struct vt_event e = { .kind = VT_MUNMAP, .a = { 0x20000000, 4096 }, .begin_ns = 1000000 };
	static const struct {
		uint8_t flags;
		const char *maps;
		uint64_t mismatches;
	} cases[] = { { VT_EV_UNDONE, "", 0 }, { VT_EV_UNDONE, A, 0 }, { VT_EV_LATE, "", 0 },
		      { VT_EV_LATE, A, 0 },    { 0, "", 0 },           { 0, A, 1 } };
	struct maker m;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *maps = *cases[i].maps ? cases[i].maps : after;
		e.flags = cases[i].flags;
		make_open(&m, temp_path(), "");
		make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, A, 1);
		make_events(&m, &e, 1);
		make_snapshot(&m, VT_SNAPSHOT_DEMAND, 1, 1, maps, 1);
		make_snapshot(&m, VT_SNAPSHOT_EXIT, 1, 1, maps, 1);
		make_closed(&m);
		struct vt_verdict v = verdict(false);
		assert_int_equal(v.byte_mismatches, cases[i].mismatches);
		assert_int_equal(v.boundary_mismatches, 0);
	}
}

/* Print the model's areas into a string, which the caller frees. */
static char *print_areas(const struct vt_replay *r, const struct vt_area_names *names)
{
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct vt_vma v;

	for (struct vt_extent *x = vt_model_first(&r->model); x;) {
		x = vt_model_vma(&r->model, x, &v);
		vt_print_area(f, r->trace, names, &v);
	}
	fclose(f);
	return text;
}

static void maps_text_survives_the_round_trip(void **state)
{
	const char *maps =
	    "00400000-00401000 r-xp 00001000 fe:01 77                                 /bin/a  b\n"
	    "20000000-20001000 rw-p 00000000 00:00 0 \n"
	    "20001000-20002000 rw-s 00000000 00:01 5                                  "
	    "/dev/zero (deleted)\n"
	    "55550000000-55550001000 rw-p 00000000 00:00 0                            [heap]\n"
	    "7f0000000000-7f0000001000 ---p 12345678000 103:02 18446744073709551615   /x\\012y\n"
	    "7f0000001000-7f0000002000 rw-p 00000000 00:00 0                          [anon:name]\n"
	    "7ffff7fe0000-7ffff7fe2000 r--p 00000000 00:00 0                          [vvar]\n"
	    "7ffff7fe2000-7ffff7fe4000 r--p 00000000 00:00 0                          "
	    "[vvar_vclock]\n"
	    "7ffff7ff0000-7ffff7ff2000 r-xp 00000000 00:00 0                          [vdso]\n"
	    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n";
	struct vt_area_names names = { 0 };
	struct vt_replay r;
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, maps, 1);
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(vt_replay_init(&r, t), 0);
	assert_int_equal(vt_replay_next(&r, &item), VT_ITEM_SNAPSHOT);
	vt_area_names_set(&names, item.snapshot);
	char *text = print_areas(&r, &names);
	assert_string_equal(text, maps);
	free(text);
	vt_area_names_free(&names);
	vt_replay_fini(&r);
	vt_trace_close(t);
}

static void names_of_anonymous_memory_are_shown_and_taken_away(void **state)
{
	const uint64_t at = 0x7f0000001000;
	const char *maps =
	    "7f0000001000-7f0000005000 rw-p 00000000 00:00 0                          [anon:old]\n";
#define NAME(page, id)                                                                             \
	{                                                                                          \
		.kind = VT_PRCTL, .tid = 1,                                                        \
		.a = { PR_SET_VMA,                                                                 \
		       PR_SET_VMA_ANON_NAME,                                                       \
		       at + (page)*4096,                                                           \
		       4096,                                                                       \
		       id }                                                                        \
	}
	const struct vt_event events[] = { NAME(0, 1), NAME(1, 2), NAME(2, 0), NAME(3, 1 << 20) };
	struct vt_area_names names = { 0 };
	struct vt_replay r;
	struct vt_item item;
	struct maker m;

	(void)state;
	make_open(&m, temp_path(), "");
	make_name(&m, 1, "new");
	make_name(&m, 2, "old");
	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, maps, 1);
	make_events(&m, events, sizeof(events) / sizeof(*events));
	make_closed(&m);
	struct vt_trace *t = open_trace();
	assert_int_equal(vt_replay_init(&r, t), 0);
	while (vt_replay_next(&r, &item) != VT_ITEM_END)
		if (item.type == VT_ITEM_SNAPSHOT)
			vt_area_names_set(&names, item.snapshot);
	char *text = print_areas(&r, &names);
	assert_string_equal(
	    text,
	    "7f0000001000-7f0000002000 rw-p 00000000 00:00 0                          [anon:new]\n"
	    "7f0000002000-7f0000003000 rw-p 00000000 00:00 0                          [anon:old]\n"
	    "7f0000003000-7f0000004000 rw-p 00000000 00:00 0 \n"
	    "7f0000004000-7f0000005000 rw-p 00000000 00:00 0 \n");
	free(text);
	vt_area_names_free(&names);
	vt_replay_fini(&r);
	vt_trace_close(t);
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
		cmocka_unit_test(the_replay_of_real_calls_equals_the_kernels_view),
		cmocka_unit_test(a_difference_is_counted_once_and_then_taken_from_the_kernel),
		cmocka_unit_test(what_a_snapshot_counts_is_compared),
		cmocka_unit_test(what_the_recorder_found_by_a_snapshot_is_counted),
		cmocka_unit_test(flags_that_only_smaps_shows_are_bytes_too),
		cmocka_unit_test(the_offset_of_moved_private_zero_memory_is_open),
		cmocka_unit_test(events_under_way_are_left_out_of_the_comparison),
		cmocka_unit_test(an_area_in_doubt_that_a_call_under_way_extends_is_the_kernels),
		cmocka_unit_test(what_was_told_later_of_overlapped_calls_is_no_mismatch),
		cmocka_unit_test(what_the_recorder_found_by_a_snapshot_is_no_mismatch),
		cmocka_unit_test(the_inode_of_shared_anonymous_memory_is_the_first_one_seen),
		cmocka_unit_test(a_keyframe_brings_births),
		cmocka_unit_test(unfinished_events_do_not_change_the_model),
		cmocka_unit_test(calls_of_unknown_effect_are_settled_by_the_next_snapshot),
		cmocka_unit_test(maps_text_survives_the_round_trip),
		cmocka_unit_test(names_of_anonymous_memory_are_shown_and_taken_away),
	};
	return cmocka_run_group_tests(tests, NULL, clean_up);
}
