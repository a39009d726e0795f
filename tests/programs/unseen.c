/*
 * unseen.c - areas that change without a call: the kernel's view alone shows it.
 *
 *   unseen close    a userfaultfd is closed, which gives up the areas registered with it
 *   unseen uring    an io_uring advises MADV_DONTFORK on the middle of an area
 *
 * Exit status 77 where the kernel has no such thing.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "program.h"

static int missing(const char *what)
{
	say("no %s: %s\n", what, strerror(errno));
	return 77;
}

static int close_userfaultfd(void)
{
	char *p = map_anywhere(8 * PAGE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register r = { { (uintptr_t)p + 2 * PAGE, 4 * PAGE },
				     UFFDIO_REGISTER_MODE_MISSING,
				     0 };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		return missing("userfaultfd");

	CHECK(!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &r));
	CHECK(!close(fd));
	CHECK(!mprotect(p, 4 * PAGE, PROT_READ));
	return 0;
}

static int advise_by_uring(void)
{
	char *p = map_anywhere(8 * PAGE);
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (fd < 0)
		return missing("io_uring");

	char *sq = mmap(NULL, params.sq_off.array + 4 * sizeof(unsigned), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
	struct io_uring_sqe *sqe = mmap(NULL, 4 * sizeof(*sqe), PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
	CHECK(sq != MAP_FAILED && sqe != MAP_FAILED);
	*sqe = (struct io_uring_sqe){ .opcode = IORING_OP_MADVISE,
				      .addr = (uintptr_t)p + 2 * PAGE,
				      .len = 4 * PAGE,
				      .fadvise_advice = MADV_DONTFORK };
	*(unsigned *)(sq + params.sq_off.array) = 0;
	atomic_store((_Atomic unsigned *)(sq + params.sq_off.tail), 1);
	CHECK(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	CHECK(!close(fd));
	return 0;
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	return strcmp(argv[1], "close") ? advise_by_uring() : close_userfaultfd();
}
