/*
 * A memory call beneath code that no unwind table describes (as code made at run time is), while
 * errno tells that some earlier call was interrupted; for as many stacks as argv[1] says.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>

#include "program.h"

static void call_with_errno(void)
{
	errno = EINTR;
	char *p = map_anywhere(PAGE);
	CHECK(errno == EINTR);
	CHECK(!munmap(p, PAGE) && errno == EINTR);
}

static void *run_uncharted(void *code)
{
#if defined(__x86_64__)
	((void (*)(void (*)(void)))(uintptr_t)code)(call_with_errno);
#else
	(void)code;
	call_with_errno();
#endif
	return NULL;
}

int main(int argc, char **argv)
{
	/* push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret */
	static const uint8_t bytes[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };
	char *code = map_anywhere(PAGE);
	pthread_t t;
	memcpy(code, bytes, sizeof(bytes));
	CHECK(!mprotect(code, PAGE, PROT_READ | PROT_EXEC));
	for (long i = arg_number(argc, argv, 1, 4); i > 0; i--) {
		CHECK(!pthread_create(&t, NULL, run_uncharted, code));
		CHECK(!pthread_join(t, NULL));
	}
	run_uncharted(code);
	return 0;
}
