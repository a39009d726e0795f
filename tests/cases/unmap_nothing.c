/*
 * unmap_nothing.c - the second unmap of a range finds nothing there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

int main(void)
{
	char *range = map_anywhere(SIZE);
	munmap(range, SIZE);
	munmap(range, SIZE);
	return 0;
}
