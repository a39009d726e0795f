/*
 * lind_1062.c - lind-wasm #1062: an unmap is made by forcing PROT_NONE over a length that was
 * rounded up, and reaches a shared memory segment that begins in the next page.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#include <sys/ipc.h>
#include <sys/shm.h>

int main(void)
{
	char *range = map_anywhere(2 * SIZE);
	int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
	CHECK(id >= 0);
	munmap(range + SIZE, SIZE);
	char *segment = shmat(id, range + SIZE, 0);
	shmctl(id, IPC_RMID, NULL);
	CHECK(segment == range + SIZE);
	/* one page too many */
	CHECK(mmap(range + SIZE - PAGE, 2 * PAGE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == range + SIZE - PAGE);
	return 0;
}
