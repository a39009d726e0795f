/*
 * test_length.c - lengths of instructions, beside what objdump says of a whole library.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dlfcn.h>
#include <gnu/lib-names.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "inline.h"

/* How far the instructions that begin at p come: to length exactly, or beyond. */
static size_t decode(const uint8_t *p, size_t length)
{
	size_t at = 0;
	while (at < length) {
		unsigned n = vt_instruction_length(p + at);
		if (!n)
			return 0;
		at += n;
	}
	return at;
}

/* objdump shows a wait and the instruction that follows as one. */
static void every_instruction_of_a_library_has_its_length(void **state)
{
	const char *name = *state;
	void *library = dlopen(name, RTLD_NOW);
	struct link_map *map;
	char line[512];
	unsigned long at, from = 0, n = 0;

	if (!library || dlinfo(library, RTLD_DI_LINKMAP, &map))
		skip();
	snprintf(line, sizeof(line), "objdump -d --no-show-raw-insn '%s'", map->l_name);
	FILE *f = popen(line, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		bool instruction = *line == ' ' && sscanf(line, " %lx:", &at) == 1;
		if (instruction && from) {
			size_t length = decode((const uint8_t *)map->l_addr + from, at - from);
			if (length != at - from)
				fail_msg("%s+%#lx: %zu bytes, not %lu", name, from, length,
					 at - from);
			n++;
		}
		from = instruction && !strstr(line, "(bad)") ? at : 0;
	}
	assert_int_equal(pclose(f), 0);
	assert_true(n > 50000);
	dlclose(library);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(every_instruction_of_a_library_has_its_length,
					  (void *)LIBC_SO),
		cmocka_unit_test_prestate(every_instruction_of_a_library_has_its_length,
					  (void *)LIBM_SO),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
