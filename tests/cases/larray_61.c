/*
 * larray_61.c - larray #61: an array is closed by hand; when its reference comes out of the
 * collector's queue, its address is that of another array, which the collector's thread gives back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "case.h"

static void *collect(void *array)
{
	first_call();
	meet(); /* the array is garbage */
	meet();
	CHECK(munmap(array, SIZE) == 0);
	meet();
	return NULL;
}

int main(void)
{
	char *closed = map_anywhere(SIZE);
	pthread_t collector = start_thread(collect, closed);
	meet();
	munmap(closed, SIZE);
	volatile char *array = map_anywhere(SIZE);
	CHECK(array == closed);
	array[0] = 'x';
	meet();
	meet();
	pthread_join(collector, NULL);
	return array[0]; /* dies here */
}
