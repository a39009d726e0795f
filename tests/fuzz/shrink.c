/*
 * shrink.c - makes a failing list of operations short and plain: leaves out whatever a failure
 * does not need, then replaces arguments by simpler ones. Each attempt is a fresh worker.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "fuzz.h"

#define THOROUGH_BELOW 200 /* operations: few enough to compare everything after each */
#define TIME_LIMIT     90  /* seconds */

struct shrinker {
	uint64_t seed;
	uint32_t check;
	uint64_t n;
	time_t end;
};

/* Whether the n operations in shared->replay still fail; if so, *n is cut after the failure.
 */
static bool still_fails(const struct shrinker *s, uint64_t *n)
{
	if (!*n || time(NULL) > s->end)
		return false;
	worker_run(s->seed, shared->replay, *n, *n < THOROUGH_BELOW);
	/* the same fault may show as another difference; a crash must stay a crash */
	if (!shared->failure.check ||
	    (shared->failure.check == CHECK_CRASH) != (s->check == CHECK_CRASH))
		return false;
	if (shared->failure.op + 1 < *n)
		*n = shared->failure.op + 1;
	return true;
}

/* Leave out [at, at + count) if the rest still fails. best: the list as it stands. */
static bool leave_out(struct shrinker *s, struct fuzz_op *best, uint64_t at, uint64_t count)
{
	uint64_t n = s->n - count;
	memcpy(shared->replay, best, at * sizeof(*best));
	memcpy(shared->replay + at, best + at + count, (n - at) * sizeof(*best));
	if (!still_fails(s, &n))
		return false;
	memcpy(best, shared->replay, n * sizeof(*best));
	s->n = n;
	return true;
}

static void drop_operations(struct shrinker *s, struct fuzz_op *best)
{
	for (uint64_t chunk = s->n / 2; chunk; chunk /= 2) {
		bool again;
		do {
			again = false;
			for (uint64_t at = 0; at + chunk <= s->n;) {
				if (leave_out(s, best, at, chunk))
					again = true;
				else
					at += chunk;
			}
		} while (again && chunk == 1);
	}
}

static bool try_op(struct shrinker *s, struct fuzz_op *best, uint64_t at, const struct fuzz_op *op)
{
	uint64_t n = s->n;
	if (memcmp(&best[at], op, sizeof(*op)) == 0)
		return false;
	memcpy(shared->replay, best, n * sizeof(*best));
	shared->replay[at] = *op;
	if (!still_fails(s, &n) || n != s->n)
		return false;
	best[at] = *op;
	return true;
}

/* Try a value in place of an argument. */
static void try_arg(struct shrinker *s, struct fuzz_op *best, uint64_t at, int arg, uint64_t value)
{
	struct fuzz_op op = best[at];
	op.a[arg] = value;
	try_op(s, best, at, &op);
}

static void simplify(struct shrinker *s, struct fuzz_op *best, uint64_t at)
{
	const struct fuzz_op *op = &best[at];
	if (op->kind >= VT_KIND_COUNT)
		return;
	const uint8_t *class = vt_kinds[op->kind].arg;
	for (int i = 0; i < VT_MAX_ARGS && at < s->n; i++) {
		switch (class[i]) {
		case VT_ARG_LEN:
			try_arg(s, best, at, i, (op->a[i] + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE);
			for (uint64_t pages = 1; pages <= 3; pages++)
				if (op->a[i] > pages * VT_PAGE_SIZE)
					try_arg(s, best, at, i, pages * VT_PAGE_SIZE);
			break;
		case VT_ARG_OFF:
			try_arg(s, best, at, i, 0);
			break;
		case VT_ARG_MFLAGS:
			for (int bit = 5; bit < 48; bit++)
				if (op->a[i] >> bit & 1)
					try_arg(s, best, at, i, op->a[i] & ~(1UL << bit));
			break;
		case VT_ARG_PROT:
			try_arg(s, best, at, i, PROT_READ);
			try_arg(s, best, at, i, PROT_READ | PROT_WRITE);
			break;
		default:
			break;
		}
	}
}

/*
 * Ask for each place that the kernel chose: what only filled the gaps above can then go. The
 * results are those of the last run that failed, in shared->trace.
 */
static void pin_places(struct shrinker *s, struct fuzz_op *best)
{
	uint64_t ret[FUZZ_TRACE] = { 0 }, n = s->n;
	if (n > FUZZ_TRACE)
		return;
	memcpy(shared->replay, best, n * sizeof(*best));
	if (!still_fails(s, &n))
		return;
	for (uint64_t i = 0; i < shared->n_trace; i++)
		if (shared->trace[i].kind == VT_MMAP && !vt_is_error(shared->trace[i].ret))
			ret[shared->trace_op[i]] = (uint64_t)shared->trace[i].ret;
	for (uint64_t at = 0; at < s->n; at++) {
		struct fuzz_op op = best[at];
		if (op.kind != VT_MMAP || !ret[at] || op.a[3] & MAP_FIXED)
			continue;
		op.a[0] = ret[at];
		op.base[0] = BASE_ABS;
		op.a[3] |= MAP_FIXED;
		try_op(s, best, at, &op);
	}
}

uint64_t shrink(uint64_t seed)
{
	struct shrinker s = { .seed = seed,
			      .check = shared->failure.check,
			      .n = shared->failure.op + 1,
			      .end = time(NULL) + TIME_LIMIT };
	struct fuzz_op *best = shared->best;
	memcpy(best, shared->log, s.n * sizeof(*best));
	uint64_t n = s.n;
	memcpy(shared->replay, best, n * sizeof(*best));
	if (!still_fails(&s, &n))
		return 0;
	s.n = n;
	drop_operations(&s, best);
	pin_places(&s, best);
	drop_operations(&s, best);
	for (uint64_t i = 0; i < s.n; i++)
		simplify(&s, best, i);
	drop_operations(&s, best);
	memcpy(shared->replay, best, s.n * sizeof(*best));
	/* what a last replay does not show was no fault of the list's */
	return worker_run(seed, shared->replay, s.n, s.n < THOROUGH_BELOW) ? 0 : s.n;
}
