/*
 * later.c - loads a shared object with memory calls of its own again and again, while threads make
 * such calls in another one, and shows how it was mapped.
 *
 *   later PLUGIN STEADY ROUNDS THREADS
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "program.h"

typedef long map_function(size_t), unmap_function(long, size_t);

struct plugin {
	void *handle;
	map_function *map;
	unmap_function *unmap;
};

static atomic_bool stop;

static struct plugin load(const char *path)
{
	struct plugin p = { dlopen(path, RTLD_LAZY), NULL, NULL };
	if (!p.handle)
		say("%s\n", dlerror());
	CHECK(p.handle);
	p.map = (map_function *)dlsym(p.handle, "plugin_map");
	p.unmap = (unmap_function *)dlsym(p.handle, "plugin_unmap");
	CHECK(p.map && p.unmap);
	return p;
}

static void use(const struct plugin *p, size_t pages)
{
	long at = p->map(pages * PAGE);
	CHECK(at > 0);
	*(volatile char *)at = 1;
	CHECK(p->unmap(at, pages * PAGE) == 0);
}

static void *run(void *arg)
{
	while (!stop)
		use(arg, 13);
	return NULL;
}

/* Protections and offsets of a file's mappings. */
static void show(const char *path)
{
	char line[512], protection[8], offset[32];
	const char *name = strrchr(path, '/');
	FILE *maps = fopen("/proc/self/maps", "r");
	CHECK(maps && name);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, name) && sscanf(line, "%*s %7s %31s", protection, offset) == 2)
			say("%s %s\n", protection, offset);
	fclose(maps);
}

int main(int argc, char **argv)
{
	long rounds = arg_number(argc, argv, 3, 10), threads = arg_number(argc, argv, 4, 4);
	pthread_t thread[16];
	CHECK(argc > 2 && threads <= 16);
	struct plugin steady = load(argv[2]);
	for (long i = 0; i < threads; i++)
		CHECK(!pthread_create(&thread[i], NULL, run, &steady));
	for (long i = 0; i < rounds; i++) {
		struct plugin p = load(argv[1]);
		if (i == rounds - 1)
			show(argv[1]);
		use(&p, 7);
		CHECK(!dlclose(p.handle));
	}
	stop = true;
	for (long i = 0; i < threads; i++)
		CHECK(!pthread_join(thread[i], NULL));
	say("%ld rounds\n", rounds);
	return 0;
}
