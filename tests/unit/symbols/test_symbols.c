/*
 * test_symbols.c - functions, lines and inlined frames of this very executable.
 *
 * SPDX-License-Identifier: MIT
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "elf_module.h"
#include "symbols.h"

/* libdw leaks where a damaged file makes it give up; that is not ours to mend. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libdw.so\n";
}

/* Where the executable lies, and what it calls itself. */
struct self {
	char path[4096];
	uint64_t base;
	uint8_t build_id[64];
	size_t build_id_len;
};

static struct self self;

/* The address its caller will return to. */
static __attribute__((noinline)) uint64_t here(void)
{
	return (uint64_t)__builtin_return_address(0);
}

static int inner_line, outer_line;

static inline __attribute__((always_inline)) uint64_t inner_function(void)
{
	inner_line = __LINE__ + 1;
	uint64_t pc = here();
	/* keeps the call from being the last thing the outer function does */
	__asm__ volatile("" ::"r"(pc));
	return pc;
}

static __attribute__((noinline)) uint64_t outer_function(void)
{
	outer_line = __LINE__ + 1;
	uint64_t pc = inner_function();
	__asm__ volatile("" ::"r"(pc));
	return pc;
}

/* The first object that is visited is the executable. */
static int visit_self(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	self.base = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		if (ph->p_type != PT_NOTE)
			continue;
		const uint8_t *p = (const uint8_t *)(info->dlpi_addr + ph->p_vaddr);
		for (const uint8_t *end = p + ph->p_memsz; p < end;) {
			const ElfW(Nhdr) *note = (const void *)p;
			const uint8_t *desc = p + sizeof(*note) + ((note->n_namesz + 3) & ~3u);
			if (note->n_type == NT_GNU_BUILD_ID &&
			    note->n_descsz <= sizeof(self.build_id)) {
				memcpy(self.build_id, desc, note->n_descsz);
				self.build_id_len = note->n_descsz;
			}
			p = desc + ((note->n_descsz + 3) & ~3u);
		}
	}
	return 1;
}

static int find_self(void **state)
{
	(void)state;
	ssize_t n = readlink("/proc/self/exe", self.path, sizeof(self.path) - 1);
	assert_true(n > 0);
	dl_iterate_phdr(visit_self, NULL);
	assert_true(self.build_id_len > 1);
	return 0;
}

/* The file offset of an address in the executable's code. */
static uint64_t offset_of(uint64_t pc)
{
	char line[4600], path[4200];
	unsigned long long lo, hi, offset;
	uint64_t found = 0;
	FILE *f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %4199s", &lo, &hi, &offset, path) ==
			4 &&
		    lo <= pc && pc < hi)
			found = pc - lo + offset;
	fclose(f);
	assert_true(found);
	return found;
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path;
}

static void inlined_call_gives_a_frame_for_each_function(void **state)
{
	(void)state;
	struct vt_symbols *s = vt_symbols_new();
	const struct vt_symbol *f;
	bool stale;
	uint64_t call = offset_of(outer_function()) - 1;

	assert_int_equal(
	    vt_symbols_resolve(s, self.path, self.build_id, self.build_id_len, call, &f, &stale),
	    2);
	assert_false(stale);
	assert_string_equal(f[0].function, "inner_function");
	assert_true(f[0].inlined);
	assert_int_equal(f[0].line, inner_line);
	assert_string_equal(f[1].function, "outer_function");
	assert_false(f[1].inlined);
	assert_int_equal(f[1].line, outer_line);
	assert_string_equal(base_name(f[1].file), "test_symbols.c");
	assert_true(f[1].offset > 0 && f[1].offset < 64);
	vt_symbols_free(s);
}

static void answers_are_cached(void **state)
{
	(void)state;
	struct vt_symbols *s = vt_symbols_new();
	const struct vt_symbol *first, *second;
	bool stale;
	uint64_t call = offset_of(outer_function()) - 1;

	vt_symbols_resolve(s, self.path, NULL, 0, call, &first, &stale);
	vt_symbols_resolve(s, self.path, NULL, 0, call, &second, &stale);
	assert_ptr_equal(first, second);
	vt_symbols_free(s);
}

static void file_of_another_build_id_is_not_used(void **state)
{
	(void)state;
	static const uint8_t other[20] = { 1, 2, 3 };
	struct vt_symbols *s = vt_symbols_new();
	const struct vt_symbol *f;
	bool stale;

	assert_int_equal(vt_symbols_resolve(s, self.path, other, sizeof(other),
					    offset_of(outer_function()), &f, &stale),
			 0);
	assert_true(stale);
	vt_symbols_free(s);
}

/* Run objcopy with arguments made by format. */
static void objcopy(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void objcopy(const char *format, ...)
{
	char command[16384];
	const char *program = getenv("OBJCOPY");
	int n = snprintf(command, sizeof(command), "%s ", program ? program : "objcopy");
	va_list args;
	va_start(args, format);
	vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

struct scratch {
	char dir[64];
	char debug[256]; /* debug file by build-id */
};

/* A directory with the debug information of this executable where distributions put it. */
static void make_debug_root(struct scratch *t)
{
	char dir[160];
	strcpy(t->dir, "/tmp/vmtrail-symbols-XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	snprintf(dir, sizeof(dir), "%s/.build-id", t->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(dir, sizeof(dir), "%s/.build-id/%02x", t->dir, self.build_id[0]);
	assert_int_equal(mkdir(dir, 0700), 0);
	int n = snprintf(t->debug, sizeof(t->debug), "%s/", dir);
	for (size_t i = 1; i < self.build_id_len; i++)
		n += sprintf(t->debug + n, "%02x", self.build_id[i]);
	strcpy(t->debug + n, ".debug");
	objcopy("--only-keep-debug '%s' '%s'", self.path, t->debug);
}

static void remove_scratch(const struct scratch *t)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -r '%s'", t->dir);
	assert_int_equal(system(command), 0);
}

static void changed_file_is_answered_from_the_debug_file_of_its_build_id(void **state)
{
	(void)state;
	struct scratch t;
	struct vt_elf_frame f[VT_ELF_MAX_INLINE];
	uint64_t address, start;
	bool stale;
	uint64_t call = offset_of(outer_function()) - 1;
	make_debug_root(&t);

	struct vt_elf *elf =
	    vt_elf_open("/bin/sh", self.build_id, self.build_id_len, t.dir, &stale);
	assert_true(stale);
	assert_non_null(elf);
	assert_true(vt_elf_address(elf, call, &address));
	assert_int_equal(vt_elf_frames_at(elf, address, f, &start), 2);
	assert_string_equal(f[1].name, "outer_function");
	vt_elf_close(elf);
	remove_scratch(&t);
}

static void stripped_file_is_answered_through_its_debug_link(void **state)
{
	(void)state;
	struct scratch t;
	char stripped[128], debug[128];
	struct vt_symbols *s = vt_symbols_new();
	const struct vt_symbol *f;
	bool stale;
	uint64_t call = offset_of(outer_function()) - 1;
	make_debug_root(&t);
	snprintf(stripped, sizeof(stripped), "%s/stripped", t.dir);
	snprintf(debug, sizeof(debug), "%s/linked.debug", t.dir);
	assert_int_equal(rename(t.debug, debug), 0);
	/* objcopy keeps the link's name only, so it must be asked for in that directory */
	objcopy("--strip-all --add-gnu-debuglink='%s' '%s' '%s'", debug, self.path, stripped);

	assert_int_equal(
	    vt_symbols_resolve(s, stripped, self.build_id, self.build_id_len, call, &f, &stale), 2);
	assert_string_equal(f[0].function, "inner_function");
	vt_symbols_free(s);
	remove_scratch(&t);
}

static void symbol_table_alone_gives_the_function(void **state)
{
	(void)state;
	struct scratch t;
	char bare[128];
	struct vt_symbols *s = vt_symbols_new();
	const struct vt_symbol *f;
	bool stale;
	uint64_t call = offset_of(outer_function()) - 1;
	make_debug_root(&t);
	snprintf(bare, sizeof(bare), "%s/bare", t.dir);
	objcopy("--strip-debug '%s' '%s'", self.path, bare);

	assert_int_equal(vt_symbols_resolve(s, bare, NULL, 0, call, &f, &stale), 1);
	assert_string_equal(f[0].function, "outer_function");
	assert_null(f[0].file);
	vt_symbols_free(s);
	remove_scratch(&t);
}

static void names_of_cpp_and_rust_are_readable(void **state)
{
	(void)state;
	static const char *const names[][2] = {
		{ "_ZN10CodeBuffer5allocEm", "CodeBuffer::alloc" },
		{ "_ZN5outerIiE5innerEv", "outer<int>::inner" },
		{ "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
		  "core::fmt::Write::write_fmt" },
		{ "_RNvCskwGfYPst2Cb_7mycrate3foo", "mycrate::foo" },
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *readable = vt_demangle(names[i][0]);
		assert_non_null(readable);
		assert_string_equal(readable, names[i][1]);
		free(readable);
	}
	assert_null(vt_demangle("main"));
	assert_null(vt_demangle("_start"));
}

static void what_is_no_elf_file_has_no_symbols(void **state)
{
	(void)state;
	static const char *const paths[] = { "/no/such/file", "/etc/passwd",     "/dev/null",
					     "/tmp",          "/proc/self/maps", "" };
	struct vt_symbols *s = vt_symbols_new();
	const struct vt_symbol *f;
	bool stale;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_int_equal(vt_symbols_resolve(s, paths[i], NULL, 0, 4096, &f, &stale), 0);
	vt_symbols_free(s);
}

/* Read this executable; malloc'ed. */
static uint8_t *read_self(size_t *size)
{
	struct stat st;
	int fd = open(self.path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	uint8_t *image = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, image, (size_t)st.st_size), st.st_size);
	close(fd);
	*size = (size_t)st.st_size;
	return image;
}

static void damaged_elf_files_do_no_harm(void **state)
{
	(void)state;
	struct scratch t;
	char path[128];
	size_t size;
	uint8_t *image = read_self(&size);
	uint64_t random = 88172645463325252u, call = offset_of(outer_function()) - 1;
	make_debug_root(&t);

	for (int round = 0; round < 200; round++) {
		uint8_t *copy = malloc(size);
		memcpy(copy, image, size);
		for (int k = 0; k < 1 + round % 50; k++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			/* every other one in the headers, where it hurts most */
			size_t at = k % 2 ? random % 1024 : random % size;
			copy[at] = (uint8_t)(random >> 40);
		}
		memcpy(copy, ELFMAG, SELFMAG);
		size_t length = round % 5 == 4 ? random % size : size;
		snprintf(path, sizeof(path), "%s/damaged", t.dir);
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(write(fd, copy, length), (ssize_t)length);
		close(fd);
		free(copy);

		struct vt_symbols *s = vt_symbols_new();
		const struct vt_symbol *f;
		bool stale;
		for (uint64_t off = 0; off < size; off += size / 16)
			vt_symbols_resolve(s, path, NULL, 0, off, &f, &stale);
		vt_symbols_resolve(s, path, NULL, 0, call, &f, &stale);
		vt_symbols_free(s);
	}
	free(image);
	remove_scratch(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inlined_call_gives_a_frame_for_each_function),
		cmocka_unit_test(answers_are_cached),
		cmocka_unit_test(file_of_another_build_id_is_not_used),
		cmocka_unit_test(changed_file_is_answered_from_the_debug_file_of_its_build_id),
		cmocka_unit_test(stripped_file_is_answered_through_its_debug_link),
		cmocka_unit_test(symbol_table_alone_gives_the_function),
		cmocka_unit_test(names_of_cpp_and_rust_are_readable),
		cmocka_unit_test(what_is_no_elf_file_has_no_symbols),
		cmocka_unit_test(damaged_elf_files_do_no_harm),
	};
	return cmocka_run_group_tests(tests, find_self, NULL);
}
