/*
 * stress.c - threads that make every kind of call at once on ranges that all of them share: in one
 * window by force, and at places that the kernel chose for any of them.
 *
 *   stress [THREADS [CALLS [SEED]]]
 *
 * Places that the kernel chooses are asked for below 4 GiB (MAP_32BIT): a late munmap of one thread
 * may strike what another was given since, and there that is never memory of libc or the recorder.
 * Memory is touched by read() of zeroes, which answers EFAULT where another thread was faster.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "program.h"

#define WINDOW       ((char *)0x10000000)
#define WINDOW_PAGES 48
#define PLACES       24
#define MAX_PAGES    12
#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))

static long calls;
static uint64_t seed;
static int zero, file;
static pthread_barrier_t together;
/* Where something was mapped lately, length in the low bits: address | pages. */
static _Atomic uintptr_t place[PLACES];

/* A small generator of its own: rand() takes a lock that would order the threads. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state >> 11;
}

static uint64_t below(uint64_t *state, uint64_t n)
{
	return next_random(state) % n;
}

#define PICK(state, array) ((array)[below(state, COUNT(array))])

struct range {
	char *p;
	size_t length;
};

/* Some pages of the window, or of a place. */
static struct range some_range(uint64_t *state)
{
	size_t pages = 1 + below(state, MAX_PAGES);
	uintptr_t known = place[below(state, PLACES)];

	if (!known || below(state, 2))
		return (struct range){ WINDOW + below(state, WINDOW_PAGES) * PAGE, pages * PAGE };
	size_t first = below(state, 3);
	return (struct range){ (char *)(known & -PAGE) + first * PAGE,
			       (known & (PAGE - 1)) * PAGE };
}

static void keep(uint64_t *state, void *p, size_t length)
{
	if (p != MAP_FAILED)
		place[below(state, PLACES)] = (uintptr_t)p | length / PAGE;
}

static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
			     PROT_READ | PROT_EXEC };

static void map(uint64_t *state)
{
	static const int placement[] = { MAP_32BIT, MAP_32BIT,           MAP_32BIT, MAP_FIXED,
					 MAP_FIXED, MAP_FIXED_NOREPLACE, 0 };
	struct range r = some_range(state);
	int where = PICK(state, placement), prot = PICK(state, prots);
	bool of_file = below(state, 6) == 0;
	int type = below(state, 5) ? MAP_PRIVATE : MAP_SHARED;

	if (of_file && type == MAP_SHARED)
		prot &= ~PROT_EXEC;
	int flags = type | where | (of_file ? 0 : MAP_ANONYMOUS) |
		    (below(state, 10) ? 0 : MAP_POPULATE) | (below(state, 12) ? 0 : MAP_NORESERVE);
	/* a hint of 0 with MAP_32BIT leaves the choice to the kernel */
	char *at = where == MAP_32BIT && below(state, 4) ? NULL : r.p;
	if (!where)
		flags |= MAP_32BIT;
	keep(state,
	     mmap(at, r.length, prot, flags, of_file ? file : -1,
		  of_file ? (off_t)(below(state, 8) * PAGE) : 0),
	     r.length);
}

static void move(uint64_t *state)
{
	struct range from = some_range(state), to = some_range(state);
	size_t length = below(state, 8) ? to.length : from.length;

	switch (below(state, 4)) {
	case 0:
		keep(state, mremap(from.p, from.length, length, 0), length);
		break;
	case 1:
		/* no MAYMOVE to a place of the kernel's choice: that would be among libc's memory
		 */
		keep(state,
		     mremap(from.p, from.length, from.length,
			    MREMAP_MAYMOVE | MREMAP_FIXED | 4 /* _DONTUNMAP */, to.p),
		     from.length);
		break;
	default:
		keep(state,
		     mremap(from.p, from.length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to.p),
		     length);
	}
}

static const int advice[] = { MADV_DONTNEED,   MADV_FREE,       MADV_DONTDUMP,  MADV_DODUMP,
			      MADV_DONTFORK,   MADV_DOFORK,     MADV_RANDOM,    MADV_NORMAL,
			      MADV_SEQUENTIAL, MADV_WIPEONFORK, MADV_KEEPONFORK };

static void call(uint64_t *state)
{
	struct range r = some_range(state);

	switch (below(state, 16)) {
	case 0 ... 4:
		map(state);
		break;
	case 5 ... 7:
		munmap(r.p, r.length);
		break;
	case 8 ... 9:
		mprotect(r.p, r.length, PICK(state, prots));
		break;
	case 10:
		madvise(r.p, r.length, PICK(state, advice));
		break;
	case 11:
		move(state);
		break;
	case 12:
		mlock(r.p, r.length);
		break;
	case 13:
		munlock(r.p, r.length);
		break;
	default:
		(void)!read(zero, r.p + below(state, 4) * PAGE, 1);
	}
}

static void *work(void *arg)
{
	uint64_t state = seed * 1000003 + (uintptr_t)arg * 7919 + 1;

	for (int i = 0; i < 8; i++)
		next_random(&state);
	pthread_barrier_wait(&together);
	for (long i = 0; i < calls; i++)
		call(&state);
	return NULL;
}

int main(int argc, char **argv)
{
	long n = arg_number(argc, argv, 1, 16);
	pthread_t thread[64];

	calls = arg_number(argc, argv, 2, 1000);
	seed = (uint64_t)arg_number(argc, argv, 3, 1);
	CHECK(n >= 1 && n <= 64);
	CHECK((zero = open("/dev/zero", O_RDONLY)) >= 0);
	CHECK((file = memfd_create("stress", 0)) >= 0 && !ftruncate(file, 64 * PAGE));
	CHECK(!pthread_barrier_init(&together, NULL, (unsigned)n));
	for (long i = 0; i < n; i++)
		CHECK(!pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i));
	for (long i = 0; i < n; i++)
		CHECK(!pthread_join(thread[i], NULL));
	say("%ld threads, %ld calls\n", n, calls);
	return 0;
}
