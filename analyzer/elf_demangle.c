/*
 * elf_demangle.c - readable names of C++ and Rust functions, by libiberty.
 *
 * Apart from its neighbours because libiberty.h declares much that nobody else here wants.
 *
 * SPDX-License-Identifier: MIT
 */
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "elf_module.h"

char *vt_demangle(const char *name)
{
	/* other than with these, AUTO takes some C names for the old Rust or D schemes */
	if (strncmp(name, "_Z", 2) != 0 && strncmp(name, "_R", 2) != 0)
		return NULL;
	return cplus_demangle(name, DMGL_AUTO | DMGL_ANSI);
}
