/*
 * framed.c - shared objects that differ in nothing but the size of one function's frame.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>

void framed(void (*fn)(void));

/* FRAME words of stack: so much lies between what fn returns to and what this returns to. */
void framed(void (*fn)(void))
{
	volatile size_t words[FRAME];
	words[FRAME - 1] = FRAME;
	fn();
	words[0] = words[FRAME - 1];
}
