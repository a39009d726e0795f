/*
 * make_real.c - a trace of real calls, made without the recorder.
 *
 * The calls stay inside a reservation of their own, so that libc's calls do not matter; all other
 * memory is taken before the first snapshot.
 *
 * SPDX-License-Identifier: MIT
 */
#include "make_real.h"
#include "make_trace.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define ARENA     (4u << 20)
#define MAPS_SIZE (1u << 20)

struct real {
	struct vt_event *events;
	unsigned n;
	uint64_t rng;
	uint64_t arena;
	int fd; /* of a file that is mapped */
	uint32_t file;
};

static uint64_t next_random(struct real *r)
{
	r->rng ^= r->rng << 13;
	r->rng ^= r->rng >> 7;
	r->rng ^= r->rng << 17;
	return r->rng;
}

static uint64_t below(struct real *r, uint64_t n)
{
	return next_random(r) % n;
}

/* Read this process's maps with as little change to it as possible. */
static char *read_maps(char *buf)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, buf + n, MAPS_SIZE - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	buf[n] = 0;
	return buf;
}

static void one_call(struct real *r, struct vt_event *e)
{
	static const struct {
		uint8_t kind;
		long nr;
	} calls[] = {
		{ VT_MMAP, SYS_mmap },         { VT_MMAP, SYS_mmap },
		{ VT_MPROTECT, SYS_mprotect }, { VT_MUNMAP, SYS_munmap },
		{ VT_MADVISE, SYS_madvise },   { VT_MREMAP, SYS_mremap },
	};
	size_t call = below(r, sizeof(calls) / sizeof(calls[0]));
	uint64_t page = below(r, ARENA / VT_PAGE_SIZE - 32);

	*e = (struct vt_event){ .kind = calls[call].kind, .tid = 4242, .stack = 1 };
	e->begin_ns = r->n * 1024u;
	e->dur_ns = 512;
	e->a[0] = r->arena + page * VT_PAGE_SIZE;
	e->a[1] = (1 + below(r, 16)) * VT_PAGE_SIZE;
	e->a[2] = below(r, 4);
	switch (e->kind) {
	case VT_MMAP:
		e->a[3] = MAP_PRIVATE | MAP_FIXED;
		if (below(r, 4)) {
			e->a[3] |= MAP_ANONYMOUS;
			e->a[4] = (uint64_t)-1;
		} else {
			e->a[4] = (uint64_t)r->fd;
			e->a[5] = below(r, 4) * VT_PAGE_SIZE;
			e->file = r->file;
		}
		break;
	case VT_MADVISE:
		e->a[2] = MADV_DONTNEED;
		break;
	case VT_MREMAP:
		/* shrinking stays where it is */
		e->a[2] = VT_PAGE_SIZE;
		break;
	}
	e->ret =
	    (int64_t)syscall(calls[call].nr, e->a[0], e->a[1], e->a[2], e->a[3], e->a[4], e->a[5]);
	if (e->ret == -1)
		e->ret = -errno;
}

static void meta(char *buf, size_t size)
{
	FILE *f = fopen("/proc/sys/kernel/osrelease", "r");
	char release[128] = "";

	if (f && !fscanf(f, "%127s", release))
		release[0] = 0;
	if (f)
		fclose(f);
	snprintf(buf, size, "kernel %s\n", release);
}

void make_real(const char *path, unsigned seed, unsigned n_events, bool live)
{
	struct real r = { .rng = seed * 2654435761u + 1 };
	struct maker m;
	struct stat st;
	char extra[256];
	uint64_t pc[] = { 0x401000, 0x402000, 0x403010 };

	meta(extra, sizeof(extra));
	make_open(&m, path, extra);
	char *before = mmap(NULL, 2 * MAPS_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	char *after = before + MAPS_SIZE;
	r.events = mmap(NULL, n_events * sizeof(*r.events), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	r.arena = (uint64_t)mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r.fd = open("/proc/self/exe", O_RDONLY);
	r.file = 1;
	fstat(r.fd, &st);
	read_maps(before);
	for (; r.n < n_events; r.n++)
		one_call(&r, &r.events[r.n]);
	read_maps(after);
	close(r.fd);

	make_snapshot(&m, VT_SNAPSHOT_START, 0, 0, before, 3);
	make_stack(&m, 1, pc, 3);
	make_thread(&m, 4242, "main");
	make_note(&m, "capture none");
	make_file(&m, 1, VT_FILE_REGULAR, (uint64_t)major(st.st_dev) << 20 | minor(st.st_dev),
		  st.st_ino, "/bin/test");
	unsigned in_frames = live ? n_events / 2 : n_events;
	for (unsigned i = 0; i < in_frames; i += 500)
		make_events(&m, r.events + i, in_frames - i < 500 ? in_frames - i : 500);
	make_snapshot(&m, VT_SNAPSHOT_EXIT, n_events, n_events, after, 2);
	if (live) {
		make_live(&m);
		for (unsigned i = in_frames; i < n_events; i++)
			make_slot(&m, m.ring_next + i - in_frames, VT_SLOT_DONE, &r.events[i]);
		make_killed(&m);
	} else {
		make_closed(&m);
	}
	munmap((void *)r.arena, ARENA);
	munmap(r.events, n_events * sizeof(*r.events));
	munmap(before, 2 * MAPS_SIZE);
}
