/*
 * plugin.c - a small shared object for dlopen.c; large enough to have all four usual segments.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

int plugin_call(int n);

extern int plugin_bss[1 << 16];
int plugin_bss[1 << 16];

static int table[4096] = { 1, 2, 3 };
static const int constants[1024] = { 3, 2, 1 };

int plugin_call(int n)
{
	free(malloc((size_t)n));
	return ++table[n % 4096] + constants[n % 1024];
}
