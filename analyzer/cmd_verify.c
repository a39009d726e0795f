/*
 * cmd_verify.c - vmtrail verify: does the replay equal every snapshot of the kernel's?
 *
 * SPDX-License-Identifier: MIT
 */
#include "alloc.h"
#include "commands.h"
#include "options.h"
#include "replay.h"
#include "units.h"
#include <getopt.h>

static const char *const reasons[] = {
	[VT_SNAPSHOT_START] = "start",
	[VT_SNAPSHOT_EXIT] = "exit",
	[VT_SNAPSHOT_DEMAND] = "demand",
	[VT_SNAPSHOT_INTERVAL] = "interval",
	[VT_SNAPSHOT_CONTRADICTION] = "contradiction",
	[VT_SNAPSHOT_EXEC] = "exec",
	[VT_SNAPSHOT_FORK] = "fork",
};

static void print_snapshot(const struct vt_snapshot *s)
{
	const char *reason =
	    s->reason < sizeof(reasons) / sizeof(reasons[0]) ? reasons[s->reason] : "?";

	printf("snapshot %u (%s, after event %llu): ", s->number, reason,
	       (unsigned long long)s->seq_lo);
}

static void print_mismatch(void *ctx, const struct vt_snapshot *s, uint64_t start, uint64_t end,
			   const char *model, const char *kernel)
{
	(void)ctx;
	print_snapshot(s);
	printf("%llx", (unsigned long long)start);
	if (start != end)
		printf("-%llx", (unsigned long long)end);
	printf(": replay %s; kernel %s\n", model, kernel);
}

static void print_total(void *ctx, const struct vt_snapshot *s, const char *name, uint64_t least,
			uint64_t most, uint64_t kernel)
{
	(void)ctx;
	print_snapshot(s);
	printf("%s: replay %llu", name, (unsigned long long)least);
	if (most != least)
		printf(" to %llu", (unsigned long long)most);
	printf(" pages; kernel %llu\n", (unsigned long long)kernel);
}

static int usage(void)
{
	puts("usage: vmtrail verify TRACE\n\n"
	     "Replays the trace and compares it with every snapshot that it holds: bytes,\n"
	     "boundaries of areas, and the counts of /proc/PID/status. Prints what differs, and a\n"
	     "last line of sums. Exit status 1 when anything does.");
	return VT_EXIT_OK;
}

int vt_cmd_verify(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	struct vt_replay replay;
	struct vt_item item;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		return c == 'h' ? usage() : VT_EXIT_BAD;
	struct vt_trace *t = vt_open_operand(argc, argv);
	if (!t)
		return VT_EXIT_BAD;
	if (vt_replay_init(&replay, t))
		vt_out_of_memory();
	replay.mismatch = print_mismatch;
	replay.total_mismatch = print_total;
	while (vt_replay_next(&replay, &item) != VT_ITEM_END)
		;
	struct vt_verdict v = replay.verdict;
	vt_replay_fini(&replay);
	if (!v.snapshots)
		puts("no snapshot to compare with");
	printf("counts compared at %llu snapshots, mismatches %llu\n",
	       (unsigned long long)v.totals_compared, (unsigned long long)v.total_mismatches);
	printf("snapshots %llu, VMAs %llu, byte mismatches %llu, boundary mismatches %llu, "
	       "undetermined %llu, unseen changes %llu\n",
	       (unsigned long long)v.snapshots, (unsigned long long)v.vmas,
	       (unsigned long long)v.byte_mismatches, (unsigned long long)v.boundary_mismatches,
	       (unsigned long long)v.undetermined, (unsigned long long)v.unseen);
	bool good =
	    v.snapshots && !v.byte_mismatches && !v.boundary_mismatches && !v.total_mismatches;
	return vt_close_operand(t, good ? VT_EXIT_OK : VT_EXIT_FOUND);
}
