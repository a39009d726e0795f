/*
 * closer.c - a program that closes, reuses and overwrites every descriptor, as daemons do, and
 * prints which numbers it meets.
 *
 *   closer range|loop|dup|list|lowest
 *
 * lowest: one thread maps all the time; the other opens, and must always get the lowest number.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>

#include "program.h"

static void map_some(void)
{
	for (int i = 0; i < 100; i++)
		CHECK(!munmap(map_anywhere(5 * PAGE), 5 * PAGE));
}

static int open_null(void)
{
	int fd = open("/dev/null", O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

static void list_open(void)
{
	DIR *dir = opendir("/proc/self/fd");

	CHECK(dir);
	for (struct dirent *e; (e = readdir(dir));)
		if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(dir))
			say("open %s\n", e->d_name);
	closedir(dir);
}

static volatile int over;

static void *map_all_the_time(void *arg)
{
	while (!over)
		map_some();
	return arg;
}

static void open_lowest(void)
{
	pthread_t thread;
	int lowest = open_null();

	close(lowest);
	CHECK(!pthread_create(&thread, NULL, map_all_the_time, NULL));
	for (int i = 0; i < 20000; i++) {
		int fd = open_null();
		if (fd != lowest)
			say("got %d\n", fd);
		close(fd);
	}
	over = 1;
	CHECK(!pthread_join(thread, NULL));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "range";

	map_some();
	if (!strcmp(mode, "list")) {
		list_open();
	} else if (!strcmp(mode, "range")) {
		CHECK(!close_range(3, ~0u, 0));
	} else if (!strcmp(mode, "loop")) {
		for (int fd = 3; fd < 65536; fd++)
			say("%s", close(fd) ? "" : "closed one\n");
	} else if (!strcmp(mode, "lowest")) {
		open_lowest();
	} else {
		CHECK(!strcmp(mode, "dup"));
		for (int fd = 3; fd < 1000; fd++)
			CHECK(dup2(STDERR_FILENO, fd) == fd);
	}
	map_some();
	say("first %d\n", open_null());
	say("second %d\n", open_null());
	map_some();
	return 0;
}
