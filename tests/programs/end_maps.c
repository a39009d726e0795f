/*
 * end_maps.c - makes some mappings, then prints its own /proc/self/maps; no memory call follows.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>

#include "program.h"

static char text[1 << 18];

static void print_maps(void)
{
	size_t used = 0;
	int fd = open("/proc/self/maps", O_RDONLY);

	CHECK(fd >= 0);
	for (ssize_t n; (n = read(fd, text + used, sizeof(text) - used)) > 0;)
		used += (size_t)n;
	CHECK(used < sizeof(text));
	close(fd);
	for (size_t done = 0; done < used;) {
		ssize_t n = write(STDOUT_FILENO, text + done, used - done);
		CHECK(n > 0);
		done += (size_t)n;
	}
}

int main(int argc, char **argv)
{
	char *p = map_anywhere(32 * PAGE);
	int fd = open(argv[0], O_RDONLY);

	(void)argc;
	CHECK(fd >= 0);
	CHECK(mmap(p + 8 * PAGE, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) ==
	      p + 8 * PAGE);
	CHECK(mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	CHECK(!mprotect(p + 20 * PAGE, 4 * PAGE, PROT_NONE));
	CHECK(!munmap(p + 28 * PAGE, PAGE));
	CHECK(mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) !=
	      MAP_FAILED);
	CHECK(mmap((void *)0x70000000, PAGE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == (void *)0x70000000);
	close(fd);
	print_maps();
	return 0;
}
