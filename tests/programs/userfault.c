/*
 * userfault.c - a thread that fills pages on demand, and makes memory calls before it does.
 *
 * The main thread touches registered pages itself, and makes the kernel touch them inside of calls
 * that a recorder sees: there it stays until the handler has mapped, protected and unmapped memory
 * of its own. A recorder that held a lock meanwhile would never come back. Exit status 77 without
 * userfaultfd.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <vmtrail/abi.h>

#include "program.h"

#define PAGES 64
#define CALLS 40 /* that the handler makes for each fault */

static int fd;
static unsigned filled;

static void make_calls(void)
{
	for (int i = 0; i < CALLS / 4; i++) {
		char *p = map_anywhere(3 * PAGE);
		CHECK(!mprotect(p + PAGE, PAGE, PROT_NONE));
		CHECK(!madvise(p, PAGE, MADV_DONTFORK));
		CHECK(!munmap(p, 3 * PAGE));
	}
}

static void *handle(void *arg)
{
	char *page = arg;
	struct uffd_msg message;

	while (read(fd, &message, sizeof(message)) == sizeof(message)) {
		struct uffdio_copy copy = { .dst = message.arg.pagefault.address & -PAGE,
					    .src = (uintptr_t)page,
					    .len = PAGE };
		CHECK(message.event == UFFD_EVENT_PAGEFAULT);
		make_calls();
		CHECK(!ioctl(fd, UFFDIO_COPY, &copy));
		filled++;
	}
	return NULL;
}

/* Memory whose every page faults once. */
static char *watched(void)
{
	char *p = map_anywhere(PAGES * PAGE);
	struct uffdio_register r = { { (uintptr_t)p, PAGES * PAGE },
				     UFFDIO_REGISTER_MODE_MISSING,
				     0 };

	CHECK(!ioctl(fd, UFFDIO_REGISTER, &r));
	return p;
}

static void forget(char *p)
{
	struct uffdio_range r = { (uintptr_t)p, PAGES * PAGE };

	CHECK(!ioctl(fd, UFFDIO_UNREGISTER, &r));
	CHECK(!munmap(p, PAGES * PAGE));
}

/* Reads the program's memory in the kernel, and in a recorder that wants to know what stands there.
 */
static void point_into(char *p)
{
	struct rlimit *limit = (struct rlimit *)p;
	struct uffdio_range *range = (struct uffdio_range *)(p + PAGE);

	CHECK(setrlimit(RLIMIT_AS, limit) == -1 && errno == EINVAL); /* soft above hard */
	CHECK(ioctl(fd, UFFDIO_UNREGISTER, range) == -1 && errno == EINVAL);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p + 8 * PAGE, PAGE, p + 2 * PAGE);
}

int main(void)
{
	static struct {
		unsigned long soft, hard;
		char rest[PAGE - 16];
	} __attribute__((aligned(PAGE))) content = { 2, 1, "" };
	struct uffdio_api api = { .api = UFFD_API };
	pthread_t thread;
	char *p;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api)) {
		say("no userfaultfd: %s\n", strerror(errno));
		return 77;
	}
	CHECK(!pthread_create(&thread, NULL, handle, &content));
	p = watched();
	for (int i = 0; i < PAGES; i++)
		CHECK(*(volatile char *)(p + i * PAGE) == 2);
	forget(p);
	p = watched();
	CHECK(!madvise(p, PAGES / 2 * PAGE, MADV_POPULATE_WRITE));
	CHECK(!mlock(p + PAGES / 2 * PAGE, 8 * PAGE));
	CHECK(mprotect(p, 4 * PAGE, PROT_READ) == 0);
	forget(p);
	p = watched();
	point_into(p);
	forget(p);
	CHECK(!pthread_cancel(thread) && !pthread_join(thread, NULL));
	CHECK(!close(fd));
	say("at least %d pages filled: %s\n", PAGES + PAGES / 2 + 8 + 2,
	    filled >= PAGES + PAGES / 2 + 8 + 2 ? "yes" : "no");
	return 0;
}
