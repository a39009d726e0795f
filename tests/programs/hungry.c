/*
 * hungry.c WHAT STEP COUNT - asks for STEP bytes COUNT times, in the several ways that one limit
 * counts, one call at a time after the marker madvise(NULL, 0, MADV_NORMAL). Says which call was
 * refused first, and why.
 *
 *   as      address space: reservations, memory, shared memory, a mapping that grows
 *   data    private writable memory: mapped, made writable, the heap
 *   lock    locked memory: mlock, MAP_LOCKED
 *   areas   VMAs: pages of another protection than their neighbours, mapped and changed
 *   commit  promised memory: private, shared, made writable, MAP_NORESERVE
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/syscall.h>

#include "program.h"

#define RW (PROT_READ | PROT_WRITE)

static size_t step;
static char *grows, *reserve;
static size_t grown;

static void *map(int prot, int flags)
{
	return mmap(NULL, step, prot, flags | MAP_ANONYMOUS, -1, 0);
}

static int result(void *p)
{
	return p == MAP_FAILED ? -1 : 0;
}

static int eat_space(long i)
{
	switch (i % 4) {
	case 0:
		return result(map(PROT_NONE, MAP_PRIVATE));
	case 1:
		return result(map(RW, MAP_PRIVATE));
	case 2:
		return result(map(PROT_READ, MAP_SHARED));
	default: {
		char *p = mremap(grows, grown, grown + step, MREMAP_MAYMOVE);
		if (p == MAP_FAILED)
			return -1;
		grows = p;
		grown += step;
		return 0;
	}
	}
}

static int eat_data(long i)
{
	switch (i % 4) {
	case 0:
		return result(map(RW, MAP_PRIVATE));
	case 1:
		return mprotect(reserve + i * (long)step, step, RW);
	case 2: /* counts as address space only */
		return result(map(RW, MAP_SHARED));
	default: {
		/* the raw call: one event, whatever malloc does with its heap */
		static char *top;
		top = top ? top : sbrk(0);
		char *now = (char *)syscall(SYS_brk, top + step);
		if (now != top + step) {
			errno = ENOMEM;
			return -1;
		}
		top = now;
		return 0;
	}
	}
}

static int eat_locks(long i)
{
	if (i % 2)
		return result(map(RW, MAP_PRIVATE | MAP_LOCKED));
	return mlock(reserve + i * (long)step, step);
}

/* Two areas more each time: a page inside the reservation that its neighbours differ from. */
static int eat_areas(long i)
{
	char *page = reserve + (2 * i + 1) * (long)PAGE;
	switch (i % 3) {
	case 0:
		return mprotect(page, PAGE, PROT_READ);
	case 1:
		return munmap(page, PAGE);
	default:
		return result(mmap(page, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	}
}

static int eat_promises(long i)
{
	switch (i % 4) {
	case 0:
		return result(map(RW, MAP_PRIVATE));
	case 1:
		return result(map(RW, MAP_SHARED));
	case 2:
		return mprotect(reserve + i * (long)step, step, RW);
	default:
		return result(map(RW, MAP_PRIVATE | MAP_NORESERVE));
	}
}

static const struct {
	const char *name;
	int (*eat)(long i);
} ways[] = {
	{ "as", eat_space },    { "data", eat_data },       { "lock", eat_locks },
	{ "areas", eat_areas }, { "commit", eat_promises },
};

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	long count = arg_number(argc, argv, 3, 0), i = 0;
	size_t way = 0;
	step = (size_t)arg_number(argc, argv, 2, 0);
	while (way < sizeof(ways) / sizeof(ways[0]) && strcmp(ways[way].name, what) != 0)
		way++;
	CHECK(way < sizeof(ways) / sizeof(ways[0]));
	size_t reserved = way == 3 ? 2 * PAGE * (size_t)(count + 1) : step * (size_t)(count + 1);
	if (way == 0) {
		grows = map_anywhere(PAGE);
		grown = PAGE;
	} else {
		/* read-only memory can be locked without being touched, and is no data yet */
		reserve = mmap(NULL, reserved, way == 2 ? PROT_READ : PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(reserve != MAP_FAILED);
	}
	/* there is a heap, as in any program */
	void *volatile heap = malloc(1);
	CHECK(heap);
	CHECK(madvise(NULL, 0, MADV_NORMAL) == 0);
	while (i < count && ways[way].eat(i) == 0)
		i++;
	if (i < count)
		say("%ld %d\n", i, errno);
	else
		say("none\n");
	return 0;
}
