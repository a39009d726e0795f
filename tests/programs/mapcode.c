/*
 * mapcode.c - maps a shared object's code without the loader, by libc's own mmap, and looks whether
 * it stays what the file says.
 *
 *   mapcode FILE
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "program.h"

int main(int argc, char **argv)
{
	static char bytes[1 << 20];
	struct stat st;
	CHECK(argc > 1);
	int fd = open(argv[1], O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &st) && st.st_size <= (off_t)sizeof(bytes));
	CHECK(read(fd, bytes, sizeof(bytes)) == st.st_size);
	__typeof__(&mmap) map = (__typeof__(&mmap))dlsym(dlopen("libc.so.6", RTLD_LAZY), "mmap");
	CHECK(map);
	char *code = map(NULL, (size_t)st.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	CHECK(code != MAP_FAILED);
	say("%s\n", memcmp(code, bytes, (size_t)st.st_size) ? "changed" : "as in its file");
	return 0;
}
