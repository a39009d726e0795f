/*
 * bench_model.c - what one event costs the shadow model, by the number of areas; and what decoding
 * it from a chunk costs.
 *
 *   bench_model [AREAS...]        1000, 65000, a million, ten million by default
 *
 * The areas lie in slots of 16 pages in random order of events. "far" events strike a random slot,
 * "ahead" ones too, but are looked up together before, as the replay does; "near" ones strike the
 * slots around the last, as programs do. Prints nanoseconds of processor time an event, how much
 * faster than the logarithm of the number of areas the mix has grown since the first line of its
 * sort (at most 1: no faster), and bytes of the model's memory for each extent.
 *
 * SPDX-License-Identifier: MIT
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <vmtrail/chunk.h>

#include "model_memory.h"

#define BASE   0x100000000000UL
#define SLOT   (16 * VT_PAGE_SIZE)
#define ROUNDS 200000u
#define CHUNK  4096u
#define RW     (PROT_READ | PROT_WRITE)

static struct vt_model model;
static uint64_t areas, memory_used, seq;
static uint64_t state = 88172645463325252u;
static struct vt_event log_events[CHUNK];
static size_t n_log;

/* The analyzer's memory for models, counted. */
static struct vt_pool *pool;

static void *take(void *ctx, size_t bytes)
{
	(void)ctx;
	struct vt_memory memory = vt_pool_memory(pool);
	memory_used += bytes;
	return memory.alloc(memory.ctx, bytes);
}

static uint64_t chance(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void apply(struct vt_event ev)
{
	struct vt_effect fx;
	ev.seq = ++seq;
	ev.tid = 1;
	if (n_log < CHUNK)
		log_events[n_log++] = ev;
	if (vt_model_apply(&model, &ev, &fx) || fx.contradiction) {
		fprintf(stderr, "bench_model: event %lu of kind %u: contradiction %u\n", ev.seq,
			ev.kind, fx.contradiction);
		exit(1);
	}
}

static void map(uint64_t at, uint64_t pages, uint64_t prot)
{
	apply((struct vt_event){ .kind = VT_MMAP,
				 .a = { at, pages * VT_PAGE_SIZE, prot,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
					(uint64_t)-1 },
				 .ret = (int64_t)at });
}

static void unmap(uint64_t at, uint64_t pages)
{
	apply((struct vt_event){ .kind = VT_MUNMAP, .a = { at, pages * VT_PAGE_SIZE } });
}

static void protect(uint64_t at, uint64_t pages, uint64_t prot)
{
	apply((struct vt_event){ .kind = VT_MPROTECT, .a = { at, pages * VT_PAGE_SIZE, prot } });
}

static void advise(uint64_t at, uint64_t pages, uint64_t advice)
{
	apply((struct vt_event){ .kind = VT_MADVISE, .a = { at, pages * VT_PAGE_SIZE, advice } });
}

/* The slot of a round: its area's first page; the last page of every slot is free. */
static uint64_t slot(bool near, unsigned round)
{
	uint64_t i = near ? (round / 8 + chance(32)) % areas : chance(areas);
	return BASE + i * SLOT;
}

/* A mapping that touches nobody, and its end. */
static void alone(uint64_t at)
{
	map(at + 14 * VT_PAGE_SIZE, 1, RW);
	unmap(at + 14 * VT_PAGE_SIZE, 1);
}

/* The same beside an area that it merges with. */
static void merging(uint64_t at)
{
	map(at + 8 * VT_PAGE_SIZE, 2, RW);
	unmap(at + 8 * VT_PAGE_SIZE, 2);
}

/* The middle of an area becomes one of its own, and part of it again. */
static void toggling(uint64_t at)
{
	protect(at + 2 * VT_PAGE_SIZE, 2, PROT_NONE);
	protect(at + 2 * VT_PAGE_SIZE, 2, RW);
}

/* A flag of a whole area. */
static void advising(uint64_t at)
{
	advise(at, 8, MADV_DONTDUMP);
	advise(at, 8, MADV_DODUMP);
}

/* An advice that changes no area. */
static void dropping(uint64_t at)
{
	advise(at, 4, MADV_DONTNEED);
	advise(at + 4 * VT_PAGE_SIZE, 4, MADV_DONTNEED);
}

/* What an allocator does: reserve, commit, trim, drop, give back. */
static void mixed(uint64_t at)
{
	map(at + 9 * VT_PAGE_SIZE, 6, PROT_NONE);
	protect(at + 9 * VT_PAGE_SIZE, 4, RW);
	advise(at + 10 * VT_PAGE_SIZE, 2, MADV_DONTNEED);
	unmap(at + 13 * VT_PAGE_SIZE, 2);
	protect(at + 9 * VT_PAGE_SIZE, 2, PROT_READ);
	unmap(at + 9 * VT_PAGE_SIZE, 4);
}

static const struct {
	const char *name;
	void (*run)(uint64_t at);
} parts[] = {
	{ "mmap, munmap", alone },    { "... merging", merging },   { "mprotect toggle", toggling },
	{ "madvise flag", advising }, { "madvise drop", dropping }, { "mixed", mixed },
};

static void fill(uint64_t n)
{
	const struct vt_model_config config = { .task_size = 0x7ffffffff000,
						.mmap_base = 0x7ffff7fff000,
						.rlimit_as = UINT64_MAX,
						.rlimit_data = UINT64_MAX,
						.rlimit_memlock = UINT64_MAX };
	const struct vt_memory memory = { .alloc = take };
	pool = vt_pool_new();
	memory_used = 0;
	areas = n;
	seq = 0;
	if (vt_model_init(&model, &config, &memory))
		exit(1);
	for (uint64_t i = 0; i < n; i++)
		map(BASE + i * SLOT, 8, RW);
}

enum order { NEAR, FAR, AHEAD, ORDERS };

/* So many rounds of a part. */
static void run_rounds(void (*run)(uint64_t at), enum order order, unsigned rounds)
{
	uint64_t at[VT_FIND_MANY], first[VT_FIND_MANY];
	struct vt_extent *found[VT_FIND_MANY] = { NULL };
	for (unsigned i = 0; i < rounds; i += VT_FIND_MANY) {
		for (unsigned k = 0; k < VT_FIND_MANY; k++) {
			at[k] = slot(order == NEAR, i + k);
			first[k] = at[k] + 9 * VT_PAGE_SIZE;
		}
		if (order == AHEAD)
			vt_model_find_many(&model, first, VT_FIND_MANY, found);
		for (unsigned k = 0; k < VT_FIND_MANY; k++) {
			model.hint = found[k];
			run(at[k]);
		}
	}
}

static double measure(void (*run)(uint64_t at), enum order order)
{
	run_rounds(run, order, ROUNDS / 10);
	uint64_t before = seq;
	double start = now_ns();
	run_rounds(run, order, ROUNDS);
	return (now_ns() - start) / (double)(seq - before);
}

/* Nanoseconds to decode an event of the mix. */
static double decoding(void)
{
	static uint8_t columns[1 << 20], bytes[1 << 20];
	struct vt_buf out = { bytes, bytes + sizeof(bytes), false };
	struct vt_chunk chunk;
	struct vt_event ev;
	uint64_t n = 0;

	fill(1000);
	n_log = 0;
	while (n_log < CHUNK)
		mixed(slot(false, 0));
	vt_pool_free(pool);
	vt_chunk_begin(&chunk, columns, sizeof(columns), log_events[0].seq, VT_TIME_DIGITS);
	for (size_t i = 0; i < n_log && vt_chunk_has_room(&chunk); i++)
		vt_chunk_put(&chunk, &log_events[i]);
	if (!vt_chunk_finish(&chunk, columns, sizeof(columns), &out))
		exit(1);
	double start = now_ns();
	for (int round = 0; round < 500; round++) {
		struct vt_buf in = { bytes, out.p, false };
		if (!vt_chunk_open(&chunk, &in))
			exit(1);
		while (vt_chunk_next(&chunk, &ev) > 0)
			n++;
	}
	return (now_ns() - start) / (double)n;
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = { 1000, 65000, 1000000, 10000000 };
	int n = argc > 1 ? argc - 1 : 4;
	printf("%-20s", "ns an event");
	for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
		printf(" %16s", parts[p].name);
	printf(" %16s %16s\n", "mixed over log", "bytes an extent");
	double first[ORDERS] = { 0 }; /* nanoseconds of the mix, less the logarithm's growth */
	for (int i = 0; i < n; i++) {
		static const char *const names[] = { "near", " far", "ahead" };
		fill(argc > 1 ? strtoull(argv[i + 1], NULL, 0) : sizes[i]);
		for (enum order order = NEAR; order < ORDERS; order++) {
			double ns = 0;
			printf("%11lu %5s   ", areas, names[order]);
			for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
				printf(" %16.1f", ns = measure(parts[p].run, order));
			double each = ns / log2((double)areas + 1);
			first[order] = first[order] ? first[order] : each;
			printf(" %16.2f %16.1f\n", each / first[order],
			       (double)memory_used / (double)model.totals.extents);
			fflush(stdout);
		}
		vt_pool_free(pool);
	}
	printf("decoding: %.1f ns an event\n", decoding());
	return 0;
}
