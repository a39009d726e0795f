/*
 * make_real.h - a trace of real calls, made without the recorder.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_MAKE_REAL_H
#define VMTRAIL_TEST_MAKE_REAL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Make n_events memory calls at random (by seed) in this process, and write them to a trace at path
 * with this process's own maps before and after. live: the last events stand in the live ring, as
 * if the process had been killed.
 */
void make_real(const char *path, unsigned seed, unsigned n_events, bool live);

#endif
