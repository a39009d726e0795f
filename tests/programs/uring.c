/*
 * uring.c - an io_uring's rings mapped, used for a thousand empty operations, and unmapped.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "program.h"

#define ENTRIES 64

static void *map_ring(int fd, size_t size, off_t what)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
	CHECK(p != MAP_FAILED);
	return p;
}

int main(void)
{
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (fd < 0) {
		say("no io_uring: %s\n", strerror(errno));
		return 77;
	}
	size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	size_t cq_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	size_t sqes_size = params.sq_entries * sizeof(struct io_uring_sqe);
	char *sq = map_ring(fd, sq_size, IORING_OFF_SQ_RING);
	char *cq = map_ring(fd, cq_size, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqes = map_ring(fd, sqes_size, IORING_OFF_SQES);
	_Atomic unsigned *tail = (void *)(sq + params.sq_off.tail);
	_Atomic unsigned *cq_head = (void *)(cq + params.cq_off.head);
	_Atomic unsigned *cq_tail = (void *)(cq + params.cq_off.tail);
	unsigned *array = (void *)(sq + params.sq_off.array), seen = 0;

	for (unsigned i = 0; i < 1000; i++) {
		sqes[i % ENTRIES] = (struct io_uring_sqe){ .opcode = IORING_OP_NOP };
		array[i % ENTRIES] = i % ENTRIES;
		*tail = i + 1;
		CHECK(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
		seen += *cq_tail - *cq_head;
		*cq_head = *cq_tail;
		char *p = map_anywhere(PAGE);
		CHECK(!munmap(p, PAGE));
	}
	CHECK(!munmap(sq, sq_size) && !munmap(cq, cq_size) && !munmap(sqes, sqes_size));
	CHECK(!close(fd));
	say("%u completions\n", seen);
	return 0;
}
