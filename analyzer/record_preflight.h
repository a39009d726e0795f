/*
 * record_preflight.h - whether a program can be preloaded, told before it starts.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_RECORD_PREFLIGHT_H
#define VMTRAIL_ANALYZER_RECORD_PREFLIGHT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Find command as execvp(3) does, follow interpreters of scripts, and look at the ELF file that
 * will run in the end. True: the library can be loaded into it; file is the command's own file,
 * executable the ELF file (both malloc'ed). False: *why is one malloc'ed line.
 */
bool vt_record_preflight(const char *command, char **file, char **executable, char **why);

#endif
