/*
 * random.h - the fuzzers' random numbers: a seed names a run for ever, on every machine.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FUZZ_RANDOM_H
#define FUZZ_RANDOM_H

#include <stdint.h>

struct random {
	uint64_t state;
};

/* The next 64 random bits (SplitMix64). */
static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Seeds that follow one another must not give the same sequence one step apart. */
static inline struct random random_seed(uint64_t seed)
{
	struct random r = { seed };
	r.state = random_next(&r) ^ 0x5851f42d4c957f2d;
	return r;
}

/* A number below n; n must not be 0. The bias is far below what a test could notice. */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)random_next(r) * n >> 64);
}

#endif
