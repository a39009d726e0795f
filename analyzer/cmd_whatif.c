/*
 * cmd_whatif.c - vmtrail whatif: a trace under other limits.
 *
 * SPDX-License-Identifier: MIT
 */
#include <getopt.h>
#include <string.h>

#include "commands.h"
#include "layout.h"
#include "options.h"
#include "report_json.h"
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
	       "  --layout=topdown|bottomup where things would lie in the other layout, and what\n"
	       "                            forced placements would hit there\n"
	       "  --thp-align=on|off        the same with or without huge-page alignment\n"
	       "  --kernel=X.Y              the same as Linux X.Y places, merges and limits\n"
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

static bool take_layout(struct vt_layout_asked *l, const char *text)
{
	l->layout = strcmp(text, "topdown") == 0    ? VT_LAYOUT_TOPDOWN
		    : strcmp(text, "bottomup") == 0 ? VT_LAYOUT_BOTTOMUP
						    : VT_LAYOUT_RECORDED;
	if (!l->layout)
		vt_complain("--layout=%s: expected topdown or bottomup", text);
	return l->layout;
}

static bool take_thp(struct vt_layout_asked *l, const char *text)
{
	l->thp = strcmp(text, "on") == 0    ? VT_THP_ON
		 : strcmp(text, "off") == 0 ? VT_THP_OFF
					    : VT_THP_RECORDED;
	if (!l->thp)
		vt_complain("--thp-align=%s: expected on or off", text);
	return l->thp;
}

static bool take_kernel(struct vt_layout_asked *l, const char *text)
{
	unsigned major, minor;
	int end = 0;
	if (sscanf(text, "%3u.%3u%n", &major, &minor, &end) == 2 && !text[end] && major &&
	    minor < 256) {
		l->kernel = major << 16 | minor << 8;
		return true;
	}
	vt_complain("--kernel=%s: expected a version like 6.6", text);
	return false;
}

/* True: go on; else *status is what to leave with. */
static bool parse(int argc, char **argv, struct vt_whatif_asked *a, struct vt_layout_asked *l,
		  uint64_t *top, bool *json, int *status)
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
	struct option options[N + 6] = { 0 };
	for (int i = 0; i < N; i++)
		options[i] = (struct option){ numbers[i].name, required_argument, NULL, 256 + i };
	options[N] = (struct option){ "format", required_argument, NULL, 'f' };
	options[N + 1] = (struct option){ "help", no_argument, NULL, 'h' };
	options[N + 2] = (struct option){ "layout", required_argument, NULL, 'l' };
	options[N + 3] = (struct option){ "thp-align", required_argument, NULL, 't' };
	options[N + 4] = (struct option){ "kernel", required_argument, NULL, 'k' };

	*status = VT_EXIT_BAD;
	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		bool good = false;
		switch (c) {
		case 'h':
			*status = print_help();
			return false;
		case 'f':
			good = vt_parse_format(optarg, json);
			break;
		case 'l':
			good = take_layout(l, optarg);
			break;
		case 't':
			good = take_thp(l, optarg);
			break;
		case 'k':
			good = take_kernel(l, optarg);
			break;
		default:
			good = c >= 256 && take_number(&numbers[c - 256], optarg);
			break;
		}
		if (!good)
			return false;
	}
	l->stack = a->stack;
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

/* The answers, as text one after the other, as JSON in one object. */
static int answer(struct vt_whatif *w, struct vt_layout *l, struct vt_trace *t, bool limits,
		  bool json, size_t top)
{
	bool layout = vt_layout_is_asked(&l->asked);
	if ((limits && vt_whatif_run(w, t) != 0) || (layout && vt_layout_run(l, t) != 0))
		return vt_complain("%s: not enough memory to replay it", t->path);
	if (json) {
		struct json_object *o =
		    limits ? vt_whatif_json(w, t, top) : json_object_new_object();
		if (layout)
			json_object_object_add(o, "layout", vt_layout_json(l, t, top));
		vt_json_print(stdout, o);
	} else {
		if (limits)
			vt_whatif_print(stdout, w, t, top);
		if (limits && layout)
			printf("\n");
		if (layout)
			vt_layout_print(stdout, l, t, top);
	}
	return w->refused || l->n_conflicts ? VT_EXIT_FOUND : VT_EXIT_OK;
}

int vt_cmd_whatif(int argc, char **argv)
{
	struct vt_whatif w = { 0 };
	struct vt_layout l = { 0 };
	uint64_t top = DEFAULT_TOP;
	bool json = false;
	int status;

	memset(&w.asked, 0xff, sizeof(w.asked)); /* VT_NO_LIMIT throughout */
	if (!parse(argc, argv, &w.asked, &l.asked, &top, &json, &status))
		return status;
	bool limits = asks_for_anything(&w.asked);
	if (!limits && !vt_layout_is_asked(&l.asked))
		return vt_complain("under which limits? (%s --help)", argv[0]);
	struct vt_trace *t = vt_open_operand(argc, argv);
	if (!t)
		return VT_EXIT_BAD;
	w.kernel = l.asked.kernel;
	status = answer(&w, &l, t, limits, json, top);
	vt_whatif_free(&w);
	vt_layout_free(&l);
	return vt_close_operand(t, status);
}
