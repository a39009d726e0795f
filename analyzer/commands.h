/*
 * commands.h - the subcommands of vmtrail.
 *
 * Each has a file of its own, cmd_NAME.c, and is one row of the table in main.c. argv[0] is
 * "vmtrail NAME", for messages. The return value is the exit status: VT_EXIT_*; record passes on
 * its command's own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_COMMANDS_H
#define VMTRAIL_ANALYZER_COMMANDS_H

enum {
	VT_EXIT_OK = 0,
	VT_EXIT_FOUND =
	    1,           /* fine, and something was found: a mismatch, a failing call, a timeout */
	VT_EXIT_BAD = 2, /* bad usage, or input that cannot be read to its end */
};

int vt_cmd_record(int argc, char **argv);
int vt_cmd_dump(int argc, char **argv);
int vt_cmd_maps(int argc, char **argv);
int vt_cmd_report(int argc, char **argv);
int vt_cmd_verify(int argc, char **argv);
int vt_cmd_reuse(int argc, char **argv);
int vt_cmd_merges(int argc, char **argv);
int vt_cmd_whatif(int argc, char **argv);
int vt_cmd_why(int argc, char **argv);
int vt_cmd_snapshot(int argc, char **argv);
int vt_cmd_seal(int argc, char **argv);
int vt_cmd_diff(int argc, char **argv);
int vt_cmd_import(int argc, char **argv);

#endif
