/*
 * exec.c - the end of an image: the exec family.
 *
 * Runs inside the traced process, also in a vfork child, which shares its parent's memory. The
 * event is announced, for a call that succeeds does not come back.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PATH_SIZE 1024 /* on the caller's stack: a longer name is not told */

/* A string of the program that may not be there, page by page. */
static bool peek_string(char *to, size_t size, const char *from)
{
	for (size_t n = 0; n < size;) {
		size_t piece = VT_PAGE_SIZE - ((uintptr_t)from + n) % VT_PAGE_SIZE;
		if (piece > size - n)
			piece = size - n;
		if (!vt_peek(to + n, from + n, piece))
			return false;
		if (strnlen(to + n, piece) < piece)
			return true;
		n += piece;
	}
	return false;
}

/* What is to be executed; false when that cannot be told. */
static bool image_path(char path[PATH_SIZE], long nr, long a, long b, long flags)
{
	bool at = nr == SYS_execveat;
	if (!peek_string(path, PATH_SIZE, (const char *)(at ? b : a)))
		return false;
	if (at && !*path && (flags & AT_EMPTY_PATH))
		vt_name_of_fd((int)a, path, PATH_SIZE);
	return *path != '\0';
}

/* Everything into the file, which then stands complete. */
static void settle(void *arg)
{
	(void)arg;
	if (!atomic_load(&vt.on))
		return;
	vt_drain(true);
	vt_snapshot(VT_SNAPSHOT_EXEC);
}

/*
 * Most calls that search PATH can but fail: the kernel looks for the file before anything else. Not
 * so where it may be there for others than the real user, which is what is asked for here.
 */
static bool is_hopeless(long nr, long path)
{
	/* A filter may forbid to ask. */
	if (nr != SYS_execve || !atomic_load(&vt.on) || atomic_load(&vt.sandboxed))
		return false;
	long ret = vt_sys3(SYS_faccessat, AT_FDCWD, path, F_OK);
	return ret == -ENOENT || ret == -ENOTDIR;
}

/* The image as a file id; 0 when that cannot be told. */
static __attribute__((noinline)) uint32_t prepare(long nr, long a, long b, long flags,
						  bool hopeless)
{
	char path[PATH_SIZE];
	if (atomic_load(&vt.sandboxed))
		return 0;
	bool known = image_path(path, nr, a, b, flags);
	if (vt_is_mine() && !hopeless)
		vt_locked(settle, NULL);
	return known ? vt_file_of_path(path) : 0;
}

/*
 * execve or execveat. Comes back only if it fails; then recording goes on. A forked child that has
 * made no call yet has no trace, and needs none.
 */
long vt_exec(uint8_t how, long nr, long a, long b, long c, long d, long e)
{
	long *envp = nr == SYS_execve ? &c : &d;
	bool hopeless = is_hopeless(nr, a);
	if (!hopeless)
		*envp = (long)vt_env_hand_on((char *const *)*envp);
	if (!atomic_load(&vt.on) || !atomic_load(vt.fork_guard))
		return vt_sys6(nr, a, b, c, d, e, 0);
	return vt_call(VT_EXECVE, how, nr, a, b, c, d, e, prepare(nr, a, b, e, hopeless));
}
