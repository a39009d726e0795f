/*
 * main.c - the vmtrail command: one table of subcommands.
 *
 * Knows the subcommands by name and help line and nothing of what they do.
 *
 * SPDX-License-Identifier: MIT
 */
#include "commands.h"
#include "options.h"
#include <stdlib.h>
#include <string.h>

static const struct vt_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *operands;
	const char *help;
} commands[] = {
	{ "record", vt_cmd_record, "[OPTIONS] -- CMD ARGS", "run a program and record it" },
	{ "dump", vt_cmd_dump, "TRACE", "print the recorded calls" },
	{ "maps", vt_cmd_maps, "TRACE [--at WHEN]", "print the address space at a moment" },
	{ "report", vt_cmd_report, "TRACE", "sum a trace up" },
	{ "verify", vt_cmd_verify, "TRACE", "compare the replay with the kernel's own view" },
	{ "reuse", vt_cmd_reuse, "TRACE", "find memory taken from its owner" },
	{ "why", vt_cmd_why, "TRACE ADDR", "tell the life of one address" },
	{ "merges", vt_cmd_merges, "TRACE", "tell which VMAs merge, and why others do not" },
	{ "whatif", vt_cmd_whatif, "TRACE OPTIONS", "tell what would fail under other limits" },
	{ "snapshot", vt_cmd_snapshot, "TRACE", "ask a running recorder for a snapshot" },
	{ "seal", vt_cmd_seal, "TRACE...", "close the traces of killed processes" },
	{ "diff", vt_cmd_diff, "A B", "compare two runs of one program" },
	{ "import", vt_cmd_import, "strace LOG [-o TRACE]", "make a trace of a log" },
};
static const size_t n_commands = sizeof(commands) / sizeof(commands[0]);

static int help(void)
{
	puts("usage: vmtrail COMMAND ...\n");
	for (size_t i = 0; i < n_commands; i++)
		printf("  %-8s %-22s  %s\n", commands[i].name, commands[i].operands,
		       commands[i].help);
	puts("\nvmtrail COMMAND --help tells its options; exit status: 0 fine, 1 something was\n"
	     "found, 2 bad usage or unreadable input.");
	return fflush(stdout) ? VT_EXIT_BAD : VT_EXIT_OK;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	char title[64];

	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h"))
		return help();
	if (!strcmp(name, "--version")) {
		puts("vmtrail " VT_VERSION);
		return VT_EXIT_OK;
	}
	for (size_t i = 0; i < n_commands; i++) {
		if (strcmp(name, commands[i].name))
			continue;
		snprintf(title, sizeof(title), "vmtrail %s", name);
		argv[1] = title;
		return commands[i].run(argc - 1, argv + 1);
	}
	if (!*name)
		return vt_complain("which command? (vmtrail help)");
	return vt_complain("no command %s (vmtrail help)", name);
}
