/*
 * files.c - what mapping calls can tell of how a file is used, one way by the first argument: in a
 * file of the second argument's name, which is made.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

#include <fcntl.h>

#define WINDOW (16 * PAGE)

static char *map_file(int fd, int prot, int flags, size_t length, off_t offset)
{
	char *p = mmap(NULL, length, prot, flags, fd, offset);
	CHECK(p != MAP_FAILED);
	return p;
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	const char *way = argv[1];
	int fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
	if (strcmp(way, "windows") == 0) {
		for (size_t at = 0; at < SIZE; at += WINDOW)
			munmap(map_file(fd, PROT_READ, MAP_SHARED, WINDOW, (off_t)at), WINDOW);
	} else if (strcmp(way, "sequential") == 0) {
		for (size_t at = 0; at < SIZE; at += WINDOW) {
			char *p = map_file(fd, PROT_READ, MAP_SHARED, WINDOW, (off_t)at);
			madvise(p, WINDOW, MADV_SEQUENTIAL);
			munmap(p, WINDOW);
		}
	} else if (strcmp(way, "willneed") == 0) {
		char *p = map_file(fd, PROT_READ, MAP_SHARED, SIZE, 0);
		for (size_t at = 0; at < SIZE; at += WINDOW)
			madvise(p + at, WINDOW, MADV_WILLNEED);
	} else if (strcmp(way, "unsynced") == 0 || strcmp(way, "synced") == 0) {
		char *p = map_file(fd, PROT_READ | PROT_WRITE, MAP_SHARED, SIZE, 0);
		p[0] = 'x';
		if (way[0] == 's')
			msync(p, SIZE, MS_SYNC);
		munmap(p, SIZE);
	} else {
		map_file(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, SIZE, 0);
	}
	return 0;
}
