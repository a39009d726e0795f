/*
 * placer.c [ROUNDS] - lets the kernel choose places, in all the ways there are: with hints and
 * without, files on disk and in memory, shared memory, huge-page sizes, below 2 GB, next to a
 * stack's guard gap, moves; and opens gaps in between.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdbool.h>
#include <sys/ipc.h>
#include <sys/personality.h>
#include <sys/shm.h>

#include "program.h"

#define KEPT 64
#define HUGE (2UL << 20)

static struct {
	char *p;
	size_t len;
} kept[KEPT];

static unsigned choose(unsigned n)
{
	static uint64_t state = 88172645463325252;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

static size_t some_length(void)
{
	return choose(4) ? (1 + choose(40)) * PAGE : (1 + choose(3)) * HUGE;
}

/* Somewhere around what is mapped already. */
static void *some_hint(void)
{
	return choose(3) ? NULL : kept[choose(KEPT)].p + (choose(9) - 4L) * (long)PAGE * 16;
}

/* Where a search below 2 GB begins is random where anything is. */
static bool low_is_predictable(void)
{
	return personality(0xffffffff) & ADDR_NO_RANDOMIZE;
}

static char *map_some(size_t *len, int disk, int memory, int segment)
{
	const int prot = PROT_READ | PROT_WRITE, anonymous = MAP_ANONYMOUS;
	off_t off = choose(64) * (off_t)PAGE;
	switch (choose(8)) {
	case 0:
		return mmap(some_hint(), *len, prot, MAP_PRIVATE, disk, off);
	case 1:
		return mmap(some_hint(), *len, prot, MAP_SHARED, memory, off);
	case 2:
		return mmap(some_hint(), *len, prot, MAP_SHARED | anonymous, -1, 0);
	case 3:
		if (!low_is_predictable())
			break;
		return mmap(NULL, *len, prot, MAP_PRIVATE | anonymous | MAP_32BIT, -1, 0);
	case 4:
		*len = PAGE;
		return mmap(NULL, PAGE, prot, MAP_PRIVATE | anonymous | MAP_GROWSDOWN, -1, 0);
	case 5:
		*len = 3 * PAGE;
		return shmat(segment, NULL, 0);
	default:
		break;
	}
	return mmap(some_hint(), *len, prot, MAP_PRIVATE | anonymous, -1, 0);
}

int main(int argc, char **argv)
{
	long rounds = arg_number(argc, argv, 1, 500);
	char path[] = "./placer-XXXXXX";
	int disk = mkstemp(path), memory = memfd_create("placer", 0);
	int segment = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
	CHECK(disk >= 0 && memory >= 0 && segment >= 0 && unlink(path) == 0);
	for (long i = 0; i < rounds; i++) {
		unsigned k = choose(KEPT);
		size_t len = some_length();
		if (kept[k].p && choose(4) == 0) {
			char *p = mremap(kept[k].p, kept[k].len, len, MREMAP_MAYMOVE);
			if (p != MAP_FAILED) {
				kept[k].p = p;
				kept[k].len = len;
			}
			continue;
		}
		if (kept[k].p)
			munmap(kept[k].p, kept[k].len);
		kept[k].p = map_some(&len, disk, memory, segment);
		kept[k].len = len;
		CHECK(kept[k].p != MAP_FAILED);
	}
	CHECK(shmctl(segment, IPC_RMID, NULL) == 0);
	return 0;
}
