/*
 * special.c - the areas that the kernel names in brackets, linked by both halves.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>
#include <vmtrail/model.h>

enum vt_special vt_special_of(const char *name)
{
	static const struct {
		const char *name;
		enum vt_special special;
	} known[] = {
		{ "[heap]", VT_SPECIAL_HEAP },        { "[stack]", VT_SPECIAL_STACK },
		{ "[vdso]", VT_SPECIAL_VDSO },        { "[vvar]", VT_SPECIAL_VVAR },
		{ "[vvar_vclock]", VT_SPECIAL_VVAR }, { "[vsyscall]", VT_SPECIAL_VSYSCALL },
	};

	if (name[0] != '[' || !strncmp(name, "[anon:", 6) || !strncmp(name, "[anon_shmem:", 12))
		return VT_SPECIAL_NONE;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(name, known[i].name))
			return known[i].special;
	return VT_SPECIAL_OTHER;
}
