/*
 * record_output.h - where a recording's traces go, and finding them afterwards.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_RECORD_OUTPUT_H
#define VMTRAIL_ANALYZER_RECORD_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The traces that one run has left. */
struct vt_record_traces {
	char **path; /* the command's own first */
	size_t n;
	bool own; /* the command's own process is among them */
};

/*
 * The absolute pattern for VMTRAIL_OUTPUT, malloc'ed: output with the current directory before it,
 * the default name below it when it is a directory (one that ends in a slash is made). NULL: *why
 * is one malloc'ed line.
 */
char *vt_record_pattern(const char *output, char **why);

/*
 * The name that the pattern gives process pid (0: not known yet) running executable; malloc'ed.
 * NULL: it depends on what is not known, or there is no memory.
 */
char *vt_record_name(const char *pattern, pid_t pid, const char *executable);

/*
 * Make room for the trace of process pid running executable: an old trace of that name is removed.
 * pid 0: not started yet; only a name without the pid in it can be looked at.
 * False: *why is one malloc'ed line, for anything else that stands there.
 */
bool vt_record_make_room(const char *pattern, pid_t pid, const char *executable, char **why);

/*
 * The traces that the pattern's directory holds of processes recorded since start_ns (wall clock);
 * pid is the command's own, told how it ended. Traces that were left open by processes that
 * are gone are sealed; how it ended goes into that of the command's own last image.
 */
struct vt_told;
struct vt_record_traces vt_record_collect(const char *pattern, pid_t pid, const char *executable,
					  uint64_t start_ns, const struct vt_told *told);
void vt_record_traces_free(struct vt_record_traces *t);

#endif
