/*
 * snap.c - asks the recorder for a snapshot in the middle, if there is a recorder.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

__attribute__((weak)) void vmtrail_snapshot(void);

int main(void)
{
	char *p = map_anywhere(8 * PAGE);

	CHECK(!mprotect(p + 2 * PAGE, PAGE, PROT_READ));
	if (vmtrail_snapshot)
		vmtrail_snapshot();
	CHECK(!munmap(p + 4 * PAGE, 2 * PAGE));
	say("done\n");
	return 0;
}
