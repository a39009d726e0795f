/*
 * Maps memory in every role that libc and the loader have for it, and says where: one line
 * "ROLE ADDRESS [THREAD NAME]" each, with tabs between. argv[1] is a library to load.
 *
 * SPDX-License-Identifier: MIT
 */
#include "program.h"
#include <dlfcn.h>
#include <langinfo.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/wait.h>

#define THREADS 10
#define LARGE   (1 << 20)

extern char **environ;
static __thread int of_thread;
static int in_bss;
static pthread_barrier_t barrier;

static void tell(const char *role, const void *address)
{
	say("%s\t%p\n", role, address);
}

/* Tell this thread's stack, and make a memory call, so that the thread's name is met. */
static void tell_stack(const char *name)
{
	int here = 0;
	pthread_setname_np(pthread_self(), name);
	munmap(map_anywhere(PAGE), PAGE);
	say("thread stack\t%p\t%d\t%s\n", (void *)&here, (int)gettid(), name);
}

static void *named(void *arg)
{
	char name[16];
	snprintf(name, sizeof(name), "worker-%ld", (long)arg);
	tell_stack(name);
	pthread_barrier_wait(&barrier);
	pause();
	return NULL;
}

/* It makes no memory call. */
static void *idle(void *arg)
{
	int here = 0;
	say("idle stack\t%p\t%d\n", (void *)&here, (int)gettid());
	pthread_barrier_wait(arg);
	pause();
	return NULL;
}

static void *short_lived(void *arg)
{
	if (arg)
		tell_stack("second");
	return arg;
}

/* A thread that gets the stack of one that has ended. */
static void reuse_stack(void)
{
	pthread_t t;
	for (long i = 0; i < 2; i++) {
		CHECK(!pthread_create(&t, NULL, short_lived, (void *)i));
		pthread_join(t, NULL);
	}
}

static void start_threads(void)
{
	pthread_t t;
	pthread_barrier_init(&barrier, NULL, THREADS + 1);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t, NULL, named, (void *)i));
	pthread_barrier_wait(&barrier);
	pthread_barrier_destroy(&barrier);
	pthread_barrier_init(&barrier, NULL, 2);
	CHECK(!pthread_create(&t, NULL, idle, &barrier));
	pthread_barrier_wait(&barrier);
}

static void *arena(void *arg)
{
	(void)arg;
	return malloc(1000);
}

static void tell_malloc(void)
{
	void *of_arena, *p;
	pthread_t t;
	tell("malloc heap", malloc(1000));
	CHECK(!pthread_create(&t, NULL, arena, NULL));
	pthread_join(t, &of_arena);
	tell("malloc heap", of_arena);
	tell("malloc block", malloc(LARGE));
	tell("malloc block", calloc(1, LARGE));
	tell("malloc block", realloc(malloc(LARGE), 3 * LARGE));
	CHECK(!posix_memalign(&p, 1 << 16, LARGE));
	tell("malloc block", p);
	tell("malloc block", memalign(1 << 16, LARGE));
}

static void tell_library(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	CHECK(library);
	tell("library segment", dlsym(library, "plugin_call"));
	tell("library segment", dlsym(library, "plugin_bss"));
	tell("program segment", (void *)tell_library);
	tell("program segment", &in_bss);
}

static void tell_files(void)
{
	char line[64];
	FILE *file = fopen("/etc/passwd", "rm");
	CHECK(file && fgets(line, sizeof(line), file));
	tell("stdio buffer", file->_IO_read_base);
	if (setlocale(LC_CTYPE, "C.UTF-8"))
		tell("locale", nl_langinfo(CODESET));
}

int main(int argc, char **argv)
{
	char *const child[] = { "true", NULL };
	pid_t pid;
	int here;
	CHECK(argc == 2);
	tell_malloc();
	reuse_stack();
	start_threads();
	tell_library(argv[1]);
	tell_files();
	tell("main stack", &here);
	tell("TLS", &of_thread);
	tell("kernel", (void *)getauxval(AT_SYSINFO_EHDR));
	tell("module", mmap(NULL, LARGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	CHECK(!posix_spawnp(&pid, "true", NULL, NULL, child, environ));
	waitpid(pid, NULL, 0);
	return 0;
}
