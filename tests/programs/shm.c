/*
 * shm.c - System V segments: attached twice, read-only, over an existing mapping, detached in
 * parts.
 *
 * SPDX-License-Identifier: MIT
 */
#include <sys/shm.h>

#include "program.h"

int main(void)
{
	char *place = (char *)0x60000000;
	int id = shmget(IPC_PRIVATE, 10 * PAGE, IPC_CREAT | 0600);

	CHECK(id >= 0);
	char *first = shmat(id, NULL, 0);
	char *second = shmat(id, NULL, SHM_RDONLY);
	CHECK(first != (void *)-1 && second != (void *)-1);
	first[5] = 42;
	say("seen through the second: %d\n", second[5]);

	CHECK(mmap(place, 20 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      place);
	CHECK(shmat(id, place, 0) == (void *)-1);
	say("over a mapping: errno %d\n", errno);
	CHECK(shmat(id, place + 4 * PAGE, SHM_REMAP) == place + 4 * PAGE);
	say("with SHM_REMAP: %d\n", place[4 * PAGE + 5]);

	CHECK(!munmap(first + 3 * PAGE, PAGE));
	CHECK(!shmdt(first));
	CHECK(shmdt(place) == -1);
	say("detached what was never attached: errno %d\n", errno);
	CHECK(!shmctl(id, IPC_RMID, NULL));
	CHECK(!shmdt(second));
	return 0;
}
