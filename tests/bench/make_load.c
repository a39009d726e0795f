/*
 * make_load.c - writes a long trace of an imaginary healthy program, for measuring the analyzer.
 *
 *   make_load FILE EVENTS LIVE
 *
 * LIVE slots of address space are mapped, protected, advised and unmapped at random by the threads
 * of sixteen, through call stacks in three libraries. Nothing depends on chance but by one seed, so
 * that a trace is the same everywhere. Must not be run by many at once: it holds a chunk in memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "make_trace.h"

#define CHUNK   4096u
#define THREADS 16u
#define STACKS  256u
#define FRAMES  12u
#define KINDS   4u  /* mmap, munmap, mprotect, madvise */
#define PAGES   16u /* the most that a slot holds */
#define BASE    0x600000000000u

enum { EXE = 1, LIBC, LIBRARY_A, LIBRARY_B };

struct slot {
	uint8_t pages; /* 0: not mapped */
	uint8_t library;
	uint8_t writable;
};

static uint64_t state = 88172645463325252u;

static uint64_t chance(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % n;
}

static uint64_t code_of(unsigned file)
{
	return 0x550000000000u + file * 0x10000000u;
}

static void begin(struct maker *m, const char *path)
{
	static const char *const names[] = { "", "/bin/load", "/lib/libc.so.6", "/lib/liba.so",
					     "/lib/libb.so" };
	char maps[1024];
	size_t n = 0;
	make_open(m, path, "");
	for (unsigned file = EXE; file <= LIBRARY_B; file++) {
		make_file(m, file, VT_FILE_REGULAR, 8 << 20 | 1, 100 + file, names[file]);
		n += (size_t)snprintf(maps + n, sizeof(maps) - n,
				      "%lx-%lx r-xp 00000000 08:01 %u          %s\n", code_of(file),
				      code_of(file) + 0x100000, 100 + file, names[file]);
	}
	for (uint32_t id = 1; id <= STACKS; id++) {
		uint64_t pc[FRAMES];
		pc[0] = code_of(LIBRARY_A + id % 2) + 16 * id;
		for (unsigned i = 1; i < FRAMES; i++)
			pc[i] = code_of(i % 3 ? EXE : LIBC) + 16 * chance(STACKS);
		make_stack(m, id, pc, FRAMES);
	}
	for (uint32_t tid = 0; tid < THREADS; tid++)
		make_thread(m, 4242 + tid, "worker");
	make_snapshot(m, VT_SNAPSHOT_START, 0, 0, maps, 1);
}

/* What happens next, to which slot. */
static void next_event(struct vt_event *e, struct slot *slots, uint64_t live)
{
	uint64_t i = chance(live), addr = BASE - (i + 1) * (PAGES + 1) * VT_PAGE_SIZE;
	struct slot *s = &slots[i];
	uint64_t what = chance(8);
	/* one block of eight is used and given back by another thread than the one that took it */
	e->tid = 4242 + (uint32_t)(chance(8) ? i % THREADS : chance(THREADS));
	if (!s->pages) {
		s->pages = (uint8_t)(1 + chance(PAGES));
		s->library = (uint8_t)chance(2);
		s->writable = 1;
		e->kind = VT_MMAP;
		e->a[1] = s->pages * VT_PAGE_SIZE;
		e->a[2] = PROT_READ | PROT_WRITE;
		e->a[3] = MAP_PRIVATE | MAP_ANONYMOUS;
		e->a[4] = UINT64_MAX;
		e->ret = (int64_t)addr;
	} else {
		e->a[0] = addr;
		e->a[1] = s->pages * VT_PAGE_SIZE;
		e->kind = what < 5 ? VT_MUNMAP : what == 5 ? VT_MPROTECT : VT_MADVISE;
		if (e->kind == VT_MUNMAP)
			s->pages = 0;
		else if (e->kind == VT_MPROTECT)
			e->a[2] = (s->writable ^= 1) ? PROT_READ | PROT_WRITE : PROT_READ;
		else
			e->a[2] = MADV_DONTNEED;
	}
	/* a place in the code makes one kind of call */
	uint32_t places = STACKS / 2 / KINDS, kind = e->kind == VT_MADVISE ? KINDS - 1 : e->kind;
	e->stack = 1 + 2 * (KINDS * (uint32_t)chance(places) + kind) + (s->library ^ 1);
}

int main(int argc, char **argv)
{
	static struct vt_event events[CHUNK];
	struct maker m;
	uint64_t ns = 0;
	if (argc != 4) {
		fprintf(stderr, "usage: make_load FILE EVENTS LIVE\n");
		return 2;
	}
	uint64_t left = strtoull(argv[2], NULL, 0), live = strtoull(argv[3], NULL, 0);
	struct slot *slots = calloc(live ? live : 1, sizeof(*slots));
	if (!slots || !live)
		return 2;
	begin(&m, argv[1]);
	while (left) {
		uint64_t n = left < CHUNK ? left : CHUNK;
		for (uint64_t i = 0; i < n; i++) {
			events[i] = (struct vt_event){ .begin_ns = ns, .dur_ns = 640 };
			next_event(&events[i], slots, live);
			ns += 1280;
		}
		make_events(&m, events, n);
		left -= n;
	}
	make_closed(&m);
	free(slots);
	return 0;
}
