/*
 * unit.h - what every unit test of the analyzer needs.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_UNIT_H
#define VMTRAIL_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A path for this test program's trace; one at a time. */
static inline const char *temp_path(void)
{
	static char path[256];
	const char *dir = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%s/vmtrail-unit-%d.vmt", dir ? dir : "/tmp", (int)getpid());
	return path;
}

#endif
