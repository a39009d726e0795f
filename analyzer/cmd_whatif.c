/*
 * cmd_whatif.c - vmtrail whatif: a trace under other limits.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <string.h>

#include "commands.h"
#include "options.h"
#include "units.h"
#include "whatif.h"

#define DEFAULT_TOP 8

static int print_help(void)
{
	printf("Usage: vmtrail whatif TRACE OPTIONS\n\n"
	       "Replay a trace under other limits: the first call that would fail, why, who held\n"
	       "what was counted then, and how many calls more would fail. Exit status 1 if one\n"
	       "would. SIZE is a number of bytes, or one with K, M, G or T.\n\n"
	       "  --rlimit-as=SIZE          the address space\n"
	       "  --rlimit-data=SIZE        private writable memory\n"
	       "  --rlimit-memlock=SIZE     locked memory\n"
	       "  --rlimit-stack=SIZE       the stack's size\n"
	       "  --max-map-count=N         VMAs (vm.max_map_count)\n"
	       "  --overcommit=0|1|2        vm.overcommit_memory\n"
	       "  --ram=SIZE --swap=SIZE    the machine's memory and swap\n"
	       "  --overcommit-ratio=N      vm.overcommit_ratio\n"
	       "  --overcommit-kbytes=N     vm.overcommit_kbytes\n"
	       "  --admin-reserve=SIZE --user-reserve=SIZE\n"
	       "                            vm.admin_reserve_kbytes, vm.user_reserve_kbytes\n"
	       "  --top=N                   rows of the table of call sites (default %d)\n"
	       "  --format=FMT              text (default) or json\n"
	       "  --help                    show this help\n",
	       DEFAULT_TOP);
	return fflush(stdout) == 0 ? VT_EXIT_OK : VT_EXIT_BAD;
}

/* An option with a number: where it goes, and what may stand there. */
struct number {
	const char *name;
	uint64_t *value;
	uint64_t most;
	bool size; /* bytes, with a unit */
};

static bool take_number(const struct number *n, const char *text)
{
	bool good = n->size ? vt_parse_size(text, n->value) : vt_parse_u64(text, n->value);
	if (good && *n->value <= n->most)
		return true;
	vt_complain("--%s=%s: expected %s", n->name, text,
		    n->size        ? "a size like 512M"
		    : n->most == 2 ? "0, 1 or 2"
				   : "a number");
	return false;
}

/* True: go on; else *status is what to leave with. */
static bool parse(int argc, char **argv, struct vt_whatif_asked *a, uint64_t *top, bool *json,
		  int *status)
{
	const uint64_t max_size = UINT64_MAX >> 1;
	const struct number numbers[] = {
		{ "rlimit-as", &a->as, max_size, true },
		{ "rlimit-data", &a->data, max_size, true },
		{ "rlimit-memlock", &a->memlock, max_size, true },
		{ "rlimit-stack", &a->stack, max_size, true },
		{ "max-map-count", &a->max_map_count, INT32_MAX, false },
		{ "overcommit", &a->overcommit, 2, false },
		{ "ram", &a->ram, max_size, true },
		{ "swap", &a->swap, max_size, true },
		{ "overcommit-ratio", &a->ratio, INT32_MAX, false },
		{ "overcommit-kbytes", &a->kbytes, max_size >> 10, false },
		{ "admin-reserve", &a->admin_reserve, max_size, true },
		{ "user-reserve", &a->user_reserve, max_size, true },
		{ "top", top, 1000000, false },
	};
	enum { N = sizeof(numbers) / sizeof(numbers[0]) };
	struct option options[N + 3] = { 0 };
	for (int i = 0; i < N; i++)
		options[i] = (struct option){ numbers[i].name, required_argument, NULL, 256 + i };
	options[N] = (struct option){ "format", required_argument, NULL, 'f' };
	options[N + 1] = (struct option){ "help", no_argument, NULL, 'h' };

	*status = VT_EXIT_BAD;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		if (c == 'h') {
			*status = print_help();
			return false;
		}
		if (c == 'f' ? !vt_parse_format(optarg, json)
			     : c < 256 || !take_number(&numbers[c - 256], optarg))
			return false;
	}
	return true;
}

static bool asks_for_anything(const struct vt_whatif_asked *a)
{
	const uint64_t *v = (const uint64_t *)a;
	for (size_t i = 0; i < sizeof(*a) / sizeof(*v); i++)
		if (v[i] != VT_NO_LIMIT)
			return true;
	return false;
}

int vt_cmd_whatif(int argc, char **argv)
{
	struct vt_whatif w = { 0 };
	uint64_t top = DEFAULT_TOP;
	bool json = false;
	int status;

	memset(&w.asked, 0xff, sizeof(w.asked)); /* VT_NO_LIMIT throughout */
	if (!parse(argc, argv, &w.asked, &top, &json, &status))
		return status;
	if (!asks_for_anything(&w.asked))
		return vt_complain("under which limits? (%s --help)", argv[0]);
	struct vt_trace *t = vt_open_operand(argc, argv);
	if (!t)
		return VT_EXIT_BAD;
	if (vt_whatif_run(&w, t) != 0)
		return vt_close_operand(t,
					vt_complain("%s: not enough memory to replay it", t->path));
	if (json)
		vt_whatif_print_json(stdout, &w, t, top);
	else
		vt_whatif_print(stdout, &w, t, top);
	status = w.refused ? VT_EXIT_FOUND : VT_EXIT_OK;
	vt_whatif_free(&w);
	return vt_close_operand(t, status);
}
