/*
 * cmd_seal.c - vmtrail seal: close the traces of killed processes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "commands.h"
#include "options.h"
#include <getopt.h>
#include <stdlib.h>

static int usage(void)
{
	puts(
	    "usage: vmtrail seal TRACE...\n\n"
	    "Closes the trace of a process that was killed: its last events, which stand in the\n"
	    "live part at the file's end, are moved into a frame, and the file is cut. Nothing is\n"
	    "lost without it; the file only stays large, and slower to copy. A trace whose "
	    "process\n"
	    "still runs is refused.");
	return VT_EXIT_OK;
}

int vt_cmd_seal(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	int c, status = VT_EXIT_OK;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		return c == 'h' ? usage() : VT_EXIT_BAD;
	if (optind == argc)
		return vt_complain("which trace? (%s --help)", argv[0]);
	for (int i = optind; i < argc; i++) {
		char *error = NULL;
		if (vt_trace_seal(argv[i], NULL, &error))
			status = vt_complain("%s", error);
		free(error);
	}
	return status;
}
