/*
 * brim.c THREADS [LAST [LIMIT]] - a program that makes all the areas it may have, and goes on
 * there.
 *
 * THREADS threads make areas until the kernel refuses one. Then, while each of them unmaps and maps
 * again and asks for what it cannot get, the first one forks children that do the same, and
 * executes itself. Says how many areas it has made, and how each child ended.
 *
 *   LAST   return (default), _exit, or exec: how it ends, still without an area to spare
 *   LIMIT  address or data: before it makes any, it allows itself no byte more of that than it has
 *          (and 16 MiB of data)
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "program.h"

#define PAGES  400000L /* of the reservation: more than vm.max_map_count twice */
#define ROUNDS 2000
#define RW     (PROT_READ | PROT_WRITE)

static char *reserve;
static atomic_long next, made;
static long threads;
static pthread_barrier_t full, topped_up;

/* A page of its own in the reservation: two areas more. */
static char *place(long i)
{
	return mmap(reserve + (2 * i + 1) * (long)PAGE, PAGE, RW,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* Shared memory never joins its neighbours: one area more. */
static char *one_more(void)
{
	return mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* The index of the last page that could be had. */
static long make_areas(void)
{
	long mine = -1;

	for (;;) {
		long i = atomic_fetch_add(&next, 1);

		CHECK(2 * i + 2 < PAGES);
		if (place(i) == MAP_FAILED)
			return mine;
		mine = i;
		atomic_fetch_add(&made, 2);
	}
}

/* Give an area back and take it again, and ask for more than there is. */
static void at_the_brim(long mine, int rounds)
{
	char *page = reserve + (2 * mine + 1) * (long)PAGE;

	for (int r = 0; r < rounds && mine >= 0; r++) {
		CHECK(!munmap(page, PAGE) && !munmap(page, PAGE));
		int tries = 0;
		while (place(mine) == MAP_FAILED && ++tries < 20)
			CHECK(errno == ENOMEM);
		if (threads == 1 && !tries)
			CHECK(one_more() == MAP_FAILED && errno == ENOMEM);
	}
}

static void *work(void *arg)
{
	long mine = make_areas();

	(void)arg;
	pthread_barrier_wait(&full);
	pthread_barrier_wait(&topped_up);
	at_the_brim(mine, ROUNDS);
	return NULL;
}

static void child(char **argv, long mine, bool image)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		at_the_brim(mine, 20);
		if (image)
			execl("/proc/self/exe", argv[0], "image", NULL);
		_exit(image ? 98 : 7);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	say("child: %x\n", (unsigned)status);
}

static void limit_oneself(const char *what)
{
	unsigned long all, data;
	FILE *f = fopen("/proc/self/statm", "r");

	CHECK(f && fscanf(f, "%lu %*u %*u %*u %*u %lu", &all, &data) == 2 && !fclose(f));
	bool address = !strcmp(what, "address");
	rlim_t most = address ? all * PAGE : data * PAGE + (16UL << 20);
	CHECK(!setrlimit(address ? RLIMIT_AS : RLIMIT_DATA, &(struct rlimit){ most, most }));
}

int main(int argc, char **argv)
{
	const char *last = argc > 2 ? argv[2] : "return";
	pthread_t thread[16];

	threads = arg_number(argc, argv, 1, 1);
	if (argc > 1 && !strcmp(argv[1], "image"))
		return 5;
	CHECK(threads > 0 && threads <= 16);
	reserve = mmap(NULL, (size_t)PAGES * PAGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(reserve != MAP_FAILED);
	CHECK(!pthread_barrier_init(&full, NULL, (unsigned)threads));
	CHECK(!pthread_barrier_init(&topped_up, NULL, (unsigned)threads));
	for (long i = 1; i < threads; i++)
		CHECK(!pthread_create(&thread[i], NULL, work, NULL));

	if (argc > 3)
		limit_oneself(argv[3]);
	long mine = make_areas();
	pthread_barrier_wait(&full);
	while (one_more() != MAP_FAILED)
		atomic_fetch_add(&made, 1);
	say("made %ld: %s\n", atomic_load(&made), strerror(errno));
	pthread_barrier_wait(&topped_up);
	child(argv, mine, false);
	at_the_brim(mine, ROUNDS);
	child(argv, mine, true);
	for (long i = 1; i < threads; i++)
		CHECK(!pthread_join(thread[i], NULL));
	child(argv, mine, false);
	if (!strcmp(last, "exec"))
		execl("/proc/self/exe", argv[0], "image", NULL);
	if (!strcmp(last, "_exit"))
		_exit(6);
	return 4;
}
