/*
 * lender.h - what borrower.c gets from lender.c.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TEST_LENDER_H
#define VMTRAIL_TEST_LENDER_H

#include <stddef.h>

/* Memory for the caller, who may unmap it as a whole. NULL: there is none. */
char *lend(size_t length);

#endif
