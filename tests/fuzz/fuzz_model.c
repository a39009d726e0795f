/*
 * fuzz_model.c - random memory calls on a live process; the kernel judges the shadow model.
 *
 * Usage and method: README.md. Exit 0: every comparison held; 1: one did not, printed as a test
 * case; 2: bad usage.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define SHARED_HOME 0x2a000000000

struct fuzz_shared *shared;

/* What is done how often; --kinds changes it. Kinds that touch pages are left out without touch. */
static const struct {
	uint8_t kind;
	uint16_t weight;
	bool touches;
} kinds[] = {
	{ VT_MMAP, 260, false },
	{ VT_MUNMAP, 130, false },
	{ VT_MPROTECT, 130, false },
	{ VT_PKEY_MPROTECT, 8, false },
	{ VT_MADVISE, 100, false },
	{ VT_PROCESS_MADVISE, 8, false },
	{ VT_BRK, 20, false },
	{ VT_MREMAP, 90, false },
	{ VT_REMAP_FILE_PAGES, 8, false },
	{ VT_SHMAT, 16, false },
	{ VT_SHMDT, 14, false },
	{ VT_MLOCK, 12, true },
	{ VT_MLOCK2, 24, false },
	{ VT_MUNLOCK, 20, false },
	{ VT_MLOCKALL, 3, false },
	{ VT_MUNLOCKALL, 6, false },
	{ VT_MSYNC, 6, false },
	{ VT_MBIND, 14, false },
	{ VT_MSEAL, 1, false },
	{ VT_PRCTL, 2, false },
	{ VT_IOCTL, 10, false },
	{ VT_SETRLIMIT, 4, false },
	{ VT_PERSONALITY, 4, false },
	{ VT_FORK, 1, false },
	{ FUZZ_READ, 60, true },
	{ FUZZ_WRITE, 120, true },
};

static const char *kind_name(uint8_t kind)
{
	return kind == FUZZ_READ     ? "read"
	       : kind == FUZZ_WRITE  ? "write"
	       : kind == FUZZ_SETTLE ? "settle"
				     : vt_kinds[kind].name;
}

static int usage(const char *what)
{
	fprintf(
	    stderr,
	    "fuzz_model: %s\n"
	    "usage: fuzz_model [--seed=N] [--seeds=N] [--ops=N] [--seconds=N] [--touch=yes|no]\n"
	    "  [--layout=topdown|bottomup] [--placement=strict|count] [--checks=NAME,...]\n"
	    "  [--kinds=NAME[:WEIGHT],...] [--full-every=N] [--smaps-every=N] [--settle-every=N]\n"
	    "  [--threads=N] [--shrink=yes|no] [--verbose]\n",
	    what);
	return 2;
}

static bool parse_number(const char *s, uint64_t *v)
{
	char *end;
	*v = strtoull(s, &end, 0);
	return *s && !*end && *s != '-';
}

/* yes|no, or two other words: the first means true. */
static bool parse_either(const char *s, const char *yes, const char *no, bool *v)
{
	*v = strcmp(s, yes) == 0;
	return *v || strcmp(s, no) == 0;
}

static bool parse_checks(const char *list, uint32_t *checks)
{
	char s[1024]; /* argv must stay whole: the program executes itself again */
	snprintf(s, sizeof(s), "%s", list);
	*checks = 1 << CHECK_CRASH;
	for (char *save, *name = strtok_r(s, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		int i = 1;
		while (i < CHECK_COUNT && strcmp(name, fuzz_check_names[i]) != 0)
			i++;
		if (i == CHECK_COUNT)
			return false;
		*checks |= 1u << i;
	}
	return true;
}

static bool parse_kinds(const char *list, uint32_t *weight)
{
	char s[1024];
	snprintf(s, sizeof(s), "%s", list);
	memset(weight, 0, FUZZ_KIND_COUNT * sizeof(*weight));
	for (char *save, *name = strtok_r(s, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(name, ':');
		uint64_t w = 0;
		size_t i = 0;
		if (colon)
			*colon = 0;
		while (i < sizeof(kinds) / sizeof(*kinds) &&
		       strcmp(name, kind_name(kinds[i].kind)) != 0)
			i++;
		if (i == sizeof(kinds) / sizeof(*kinds) ||
		    (colon && (!parse_number(colon + 1, &w) || w > 1000000)))
			return false;
		weight[kinds[i].kind] = colon ? (uint32_t)w : kinds[i].weight;
	}
	return true;
}

static void default_weights(struct fuzz_options *o)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (o->touch || !kinds[i].touches)
			o->weight[kinds[i].kind] = kinds[i].weight;
}

enum option_key {
	OPT_SEED = 256,
	OPT_SEEDS,
	OPT_OPS,
	OPT_SECONDS,
	OPT_FULL,
	OPT_SMAPS,
	OPT_SETTLE,
	OPT_THREADS,
	OPT_TOUCH,
	OPT_LAYOUT,
	OPT_PLACEMENT,
	OPT_CHECKS,
	OPT_KINDS,
	OPT_SHRINK,
	OPT_VERBOSE,
};

static const struct option long_options[] = {
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "seeds", required_argument, NULL, OPT_SEEDS },
	{ "ops", required_argument, NULL, OPT_OPS },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "full-every", required_argument, NULL, OPT_FULL },
	{ "smaps-every", required_argument, NULL, OPT_SMAPS },
	{ "settle-every", required_argument, NULL, OPT_SETTLE },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "touch", required_argument, NULL, OPT_TOUCH },
	{ "layout", required_argument, NULL, OPT_LAYOUT },
	{ "placement", required_argument, NULL, OPT_PLACEMENT },
	{ "checks", required_argument, NULL, OPT_CHECKS },
	{ "kinds", required_argument, NULL, OPT_KINDS },
	{ "shrink", required_argument, NULL, OPT_SHRINK },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ 0 },
};

static bool parse_count(struct fuzz_options *o, int key, const char *s)
{
	uint64_t v;
	if (!parse_number(s, &v))
		return false;
	switch (key) {
	case OPT_SEED:
		o->seed = v;
		return true;
	case OPT_SEEDS:
		o->seeds = v;
		return v > 0;
	case OPT_OPS:
		o->ops = v;
		return v > 0 && v <= 10000000;
	case OPT_SECONDS:
		o->seconds = v;
		return true;
	case OPT_FULL:
		o->full_every = v;
		return v > 0;
	case OPT_SMAPS:
		o->smaps_every = v;
		return v > 0;
	case OPT_SETTLE:
		o->settle_every = v;
		return v > 0;
	default:
		o->threads = (unsigned)v;
		return v > 0 && v <= 16;
	}
}

static bool parse_option(struct fuzz_options *o, int key, char *arg)
{
	bool flag;
	switch (key) {
	case OPT_TOUCH:
		return parse_either(arg, "yes", "no", &o->touch);
	case OPT_LAYOUT:
		return parse_either(arg, "bottomup", "topdown", &o->bottomup);
	case OPT_PLACEMENT:
		if (!parse_either(arg, "strict", "count", &flag))
			return false;
		o->checks =
		    flag ? o->checks | 1 << CHECK_PLACEMENT : o->checks & ~(1u << CHECK_PLACEMENT);
		return true;
	case OPT_CHECKS:
		return parse_checks(arg, &o->checks);
	case OPT_SHRINK:
		return parse_either(arg, "yes", "no", &o->shrink);
	case OPT_VERBOSE:
		return o->verbose = true;
	default:
		return parse_count(o, key, arg);
	}
}

/* Parse everything; --kinds last, as its default depends on --touch. */
static const char *parse_options(struct fuzz_options *o, int argc, char **argv)
{
	char *chosen_kinds = NULL;
	for (int key; (key = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
		if (key == '?')
			return "unknown option";
		if (key == OPT_KINDS)
			chosen_kinds = optarg;
		else if (!parse_option(o, key, optarg))
			return argv[optind - 1];
	}
	if (optind != argc)
		return argv[optind];
	default_weights(o);
	if (chosen_kinds && !parse_kinds(chosen_kinds, o->weight))
		return "unknown kind in --kinds";
	return NULL;
}

/* Addresses are to be the same in every run: no randomization, and the layout asked for. */
static void fix_layout(struct fuzz_options *o, char **argv)
{
	int now = personality(0xffffffff);
	int want = now | ADDR_NO_RANDOMIZE | (o->bottomup ? ADDR_COMPAT_LAYOUT : 0);
	if (now != want && personality((unsigned long)want) != -1)
		execv("/proc/self/exe", argv);
	o->persona = (uint64_t)personality(0xffffffff);
	o->bottomup = o->persona & ADDR_COMPAT_LAYOUT;
}

static bool map_shared(uint64_t ops)
{
	size_t list = ops * sizeof(struct fuzz_op), head = sizeof(struct fuzz_shared);
	void *p = mmap((void *)SHARED_HOME, head + 3 * list, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return false;
	shared = p;
	shared->log = (struct fuzz_op *)((char *)p + head);
	shared->replay = shared->log + ops;
	shared->best = shared->replay + ops;
	return true;
}

static void print_stats(const struct fuzz_stats *s)
{
	printf("%-18s %10s %10s\n", "kind", "succeeded", "failed");
	for (int i = 0; i < FUZZ_KIND_COUNT; i++)
		if (s->ok[i] || s->failed[i])
			printf("%-18s %10lu %10lu\n", kind_name((uint8_t)i), s->ok[i],
			       s->failed[i]);
	printf("%-18s %10lu\n", "not made", s->skipped);
	printf("%-18s %10lu\n", "read again", s->reread);
	if (world.options.threads > 1)
		printf("%-18s %10lu\n", "unordered ranges", s->unordered);
}

/*
 * Tell a failure, shrunk. False: its replay did not show it, so it came from something that the
 * sequence does not hold (memory reclaimed under load, a worker killed, vm.overcommit_memory
 * changed meanwhile).
 */
static bool report_failure(uint64_t seed)
{
	const struct fuzz_failure *f = &shared->failure;
	printf("fuzz: seed %lu, operation %lu: %s", seed, f->op, f->text);
	if (world.options.threads > 1) {
		print_case(seed, shared->n_trace);
		return true;
	}
	print_event(&shared->last);
	if (!world.options.shrink)
		return true;
	fflush(stdout);
	uint64_t n = shrink(seed);
	if (n)
		print_case(seed, n);
	else
		printf("fuzz: replayed, the same failure did not show: %s\n",
		       f->check ? f->text : "none");
	return n != 0;
}

#define MAX_UNREPEATED 3 /* failures of one run that a replay does not show */

int main(int argc, char **argv)
{
	struct fuzz_options o = {
		.seed = 1,
		.seeds = 200,
		.ops = 50000,
		.full_every = 128,
		.smaps_every = 1024,
		.settle_every = 64,
		.checks = ((1u << CHECK_COUNT) - 1) & ~(1u << CHECK_PLACEMENT),
		.shrink = true,
		.threads = 1,
	};
	const char *wrong = parse_options(&o, argc, argv);
	if (wrong)
		return usage(wrong);
	fix_layout(&o, argv);
	const struct rlimit lock_limit = { 8 << 20, RLIM_INFINITY };
	setrlimit(RLIMIT_MEMLOCK, &lock_limit);
	if (!map_shared(o.ops) || !world_prepare(&o))
		return 2;

	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (o.seconds)
		shared->deadline_ns =
		    ((uint64_t)start.tv_sec + o.seconds) * 1000000000 + (uint64_t)start.tv_nsec;
	uint64_t seed = o.seed, unrepeated = 0;
	for (; seed < o.seed + o.seeds; seed++) {
		/* what no replay shows: the seed has its run once more */
		while (!worker_run(seed, NULL, 0, false))
			if (report_failure(seed) || ++unrepeated > MAX_UNREPEATED)
				return 1;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (o.seconds && (uint64_t)(now.tv_sec - start.tv_sec) >= o.seconds) {
			seed++;
			break;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	const struct fuzz_stats *s = &shared->stats;
	if (o.verbose) {
		print_stats(s);
		double t = (double)(now.tv_sec - start.tv_sec) +
			   (double)(now.tv_nsec - start.tv_nsec) / 1e9;
		printf("%.1f s, %.0f operations a second\n", t, (double)s->ops / t);
	}
	if (unrepeated)
		printf("fuzz: %lu failures did not show again when replayed\n", unrepeated);
	printf("fuzz: seeds %lu, operations %lu, byte mismatches 0, boundary mismatches 0, "
	       "undetermined settled %lu, placements hit %lu of %lu\n",
	       seed - o.seed, s->ops, s->settled, s->placement_hits, s->placements);
	return 0;
}
