/*
 * large_memory.h - zeroed memory for tables that may become large and are met at random: in huge
 * pages, if they are likely to fill them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_LARGE_MEMORY_H
#define VMTRAIL_ANALYZER_LARGE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* bytes of zeroes, of which no page costs anything before it is touched; huge: it will be full. */
void *vt_large_alloc(size_t bytes, bool huge);
void vt_large_free(void *p, size_t bytes);

#endif
