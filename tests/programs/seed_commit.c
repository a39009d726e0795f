/*
 * seed_commit.c GB private|noreserve|shared - maps a file of so many GB, all of it a hole, and says
 * what mmap answered.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"

int main(int argc, char **argv)
{
	size_t size = (size_t)arg_number(argc, argv, 1, 1) << 30;
	const char *how = argc > 2 ? argv[2] : "private";
	char path[] = "./seed-commit-XXXXXX";
	int fd = mkstemp(path), flags = strcmp(how, "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
	if (strcmp(how, "noreserve") == 0)
		flags |= MAP_NORESERVE;
	CHECK(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)size) == 0);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	say("%s\n", p == MAP_FAILED ? strerror(errno) : "mapped");
	return 0;
}
