/*
 * record_preload.c - finding the library, and its place among what else is preloaded.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record_preload.h"

#include <fcntl.h>
#include <gelf.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Join two parts of a path below dir and take it if a file is there; malloc'ed, absolute. */
static char *library_at(const char *dir, const char *below)
{
	char *path;
	if (asprintf(&path, "%s/%s", dir, below) < 0)
		return NULL;
	char *real = access(path, R_OK) == 0 ? realpath(path, NULL) : NULL;
	free(path);
	return real;
}

/* libvmtrail.so: named by the environment, beside the build, or installed. */
static char *find_library(void)
{
	static const char *const beside[] = { "../preload", VT_LIBRARY_FROM_BIN };
	const char *named = getenv("VMTRAIL_LIBRARY");
	if (named)
		return realpath(named, NULL);
	char *self = realpath("/proc/self/exe", NULL), *found = NULL;
	char *dir = self ? dirname(self) : NULL;
	for (size_t i = 0; dir && !found && i < sizeof(beside) / sizeof(beside[0]); i++) {
		char *base = library_at(dir, beside[i]);
		found = base ? library_at(base, "libvmtrail.so") : NULL;
		free(base);
	}
	free(self);
	return found ? found : library_at(VT_LIBRARY_DIR, "libvmtrail.so");
}

static bool is_sanitizer(const char *name)
{
	static const char *const runtimes[] = { "libasan.so", "libtsan.so", "libhwasan.so",
						"liblsan.so" };
	for (size_t i = 0; i < sizeof(runtimes) / sizeof(runtimes[0]); i++)
		if (strncmp(name, runtimes[i], strlen(runtimes[i])) == 0)
			return true;
	return false;
}

/* The sanitizer's runtime among the needed libraries of a dynamic section, malloc'ed. */
static char *sanitizer_in(Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Dyn dyn;
	for (int i = 0; data && header->sh_entsize && gelf_getdyn(data, i, &dyn); i++) {
		const char *name = dyn.d_tag == DT_NEEDED
				       ? elf_strptr(elf, header->sh_link, dyn.d_un.d_val)
				       : NULL;
		if (name && is_sanitizer(name))
			return strdup(name);
	}
	return NULL;
}

/* The sanitizer's runtime that an executable is linked with, malloc'ed; NULL: none. */
static char *find_sanitizer(const char *executable)
{
	char *found = NULL;
	int fd = open(executable, O_RDONLY | O_CLOEXEC);
	elf_version(EV_CURRENT);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ_MMAP, NULL) : NULL;
	GElf_Shdr header;
	for (Elf_Scn *s = NULL; elf && !found && (s = elf_nextscn(elf, s));)
		if (gelf_getshdr(s, &header) && header.sh_type == SHT_DYNAMIC)
			found = sanitizer_in(elf, s, &header);
	elf_end(elf);
	if (fd >= 0)
		close(fd);
	return found;
}

char *vt_record_preload(const char *executable, char **why)
{
	const char *named = getenv("VMTRAIL_LIBRARY"), *there = getenv("LD_PRELOAD");
	char *library = find_library(), *first = NULL, *list = NULL;
	*why = NULL;
	if (!library) {
		if (asprintf(why, "%s: not found", named ? named : "libvmtrail.so") < 0)
			*why = NULL;
		return NULL;
	}
	if (strpbrk(library, " :")) {
		if (asprintf(why, "%s: LD_PRELOAD cannot name a path with a space or colon",
			     library) < 0)
			*why = NULL;
	} else {
		first = find_sanitizer(executable);
		if (asprintf(&list, "%s%s%s%s%s", first ? first : "", first ? ":" : "", library,
			     there && *there ? ":" : "", there ? there : "") < 0)
			list = NULL;
	}
	free(first);
	free(library);
	return list;
}

char *vt_record_asan_options(void)
{
	const char *there = getenv("ASAN_OPTIONS");
	char *text;
	if (asprintf(&text, "verify_asan_link_order=0%s%s", there && *there ? ":" : "",
		     there ? there : "") < 0)
		return NULL;
	return text;
}
