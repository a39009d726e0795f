/*
 * meta.c - the META frame: what process this is, on what kernel, under what limits.
 *
 * Runs inside the traced process, once per trace, while it has one thread. No values of the
 * environment are recorded. The model's configuration comes from the same readings.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <vmtrail/options.h>

#ifndef VMTRAIL_VERSION
#define VMTRAIL_VERSION "0"
#endif
#define TASK_SIZE          0x7ffffffff000u
#define ADDR_COMPAT_LAYOUT 0x0200000

static struct vt_text out;
static char scratch[65536];

static void text(const char *key, const char *value, size_t n)
{
	vt_text_str(&out, key);
	vt_text_str(&out, " ");
	vt_text_escaped(&out, value, n);
	vt_text_str(&out, "\n");
}

static void number(const char *key, uint64_t value)
{
	vt_text_str(&out, key);
	vt_text_str(&out, " ");
	vt_text_u64(&out, value);
	vt_text_str(&out, "\n");
}

static void address(const char *key, uint64_t value)
{
	vt_text_str(&out, key);
	vt_text_str(&out, " 0x");
	vt_text_hex(&out, value);
	vt_text_str(&out, "\n");
}

static uint64_t sysctl(const char *key, const char *path)
{
	uint64_t v = 0;
	char buf[64];
	if (vt_read_file(path, buf, sizeof(buf)) > 0 && vt_parse_u64(buf, &v))
		number(key, v);
	return v;
}

static uint64_t limit(const char *key, int resource)
{
	struct rlimit l = { RLIM_INFINITY, RLIM_INFINITY };
	vt_sys4(SYS_prlimit64, 0, resource, 0, &l);
	vt_text_str(&out, key);
	for (int i = 0; i < 2; i++) {
		rlim_t v = i ? l.rlim_max : l.rlim_cur;
		vt_text_str(&out, " ");
		if (v == RLIM_INFINITY)
			vt_text_str(&out, "unlimited");
		else
			vt_text_u64(&out, v);
	}
	vt_text_str(&out, "\n");
	return l.rlim_cur;
}

static void link_target(const char *key, const char *path)
{
	long n = vt_sys4(SYS_readlinkat, AT_FDCWD, path, scratch, sizeof(scratch));
	if (n > 0)
		text(key, scratch, (size_t)n);
}

static bool plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       strchr("_-./=:,+@%", c);
}

/* One argument as a shell would need it. */
static void quoted(struct vt_text *t, const char *arg)
{
	bool bare = *arg != '\0';
	for (const char *p = arg; *p; p++)
		bare &= plain(*p);
	if (bare) {
		vt_text_str(t, arg);
		return;
	}
	vt_text_str(t, "'");
	for (; *arg; arg++)
		vt_text_str(t, *arg == '\'' ? "'\\''" : (char[]){ *arg, 0 });
	vt_text_str(t, "'");
}

static void command_line(void)
{
	static char joined[32768];
	long n = vt_read_file("/proc/self/cmdline", scratch, sizeof(scratch) / 2);
	struct vt_text t = { joined, joined + sizeof(joined) };
	for (long at = 0; at < n; at += (long)strlen(scratch + at) + 1) {
		if (at)
			vt_text_str(&t, " ");
		quoted(&t, scratch + at);
	}
	text("cmd", joined, (size_t)(t.p - joined));
}

/* A line "Name:   123 kB" of a proc file. */
static void kilobytes(const char *key, const char *name)
{
	const char *p = strstr(scratch, name);
	if (!p)
		return;
	p += strlen(name);
	while (*p == ' ')
		p++;
	number(key, vt_scan_dec(&p));
}

/* The policy in brackets among those of a file of transparent_hugepage; true: it is always. */
static bool huge_page_policy(const char *key, const char *path)
{
	char buf[64];
	if (vt_read_file(path, buf, sizeof(buf)) <= 0)
		return false;
	char *open = strchr(buf, '['), *close = open ? strchr(open, ']') : NULL;
	if (close)
		text(key, open + 1, (size_t)(close - open - 1));
	return close && !strncmp(open, "[always", 7);
}

/*
 * Where the search for a free place begins. The kernel does not tell mmap_base; the first mapping
 * it placed, the loader's, touches it: below the stack in the usual layout, above the program in
 * the legacy one.
 */
static uint64_t find_mmap_base(bool bottomup, uint64_t loader_start)
{
	if (bottomup)
		return loader_start;
	struct vt_extent *stack = vt_model_first(&vt.model);
	while (stack && stack->special != VT_SPECIAL_STACK)
		stack = vt_extent_next(stack);
	struct vt_extent *below = stack ? vt_extent_prev(stack) : NULL;
	while (below && below->special)
		below = vt_extent_prev(below);
	return below ? below->end : 0;
}

static uint32_t version_code(const char *p)
{
	uint64_t a = vt_scan_dec(&p), b = 0, c = 0;
	if (*p++ == '.') {
		b = vt_scan_dec(&p);
		if (*p++ == '.')
			c = vt_scan_dec(&p);
	}
	return (uint32_t)(a << 16 | (b & 255) << 8 | (c & 255));
}

static void kinds(void)
{
	static const char *const names[] = { "-",      "addr",   "len",   "off",    "prot",
					     "mflags", "advice", "remap", "msync",  "shmfl",
					     "mlock2", "mcl",    "prctl", "rlimit", "persona",
					     "clone",  "fd",     "int",   "hex",    "uffd" };
	_Static_assert(sizeof(names) / sizeof(*names) == VT_ARG_UFFD + 1, "a class without a name");
	for (int k = 0; k < VT_KIND_COUNT; k++) {
		vt_text_str(&out, "kind ");
		vt_text_u64(&out, (uint64_t)k);
		vt_text_str(&out, " ");
		vt_text_str(&out, vt_kinds[k].name);
		for (int i = 0; i < VT_MAX_ARGS && vt_kinds[k].arg[i]; i++) {
			vt_text_str(&out, " ");
			vt_text_str(&out, names[vt_kinds[k].arg[i]]);
		}
		vt_text_str(&out, "\n");
	}
}

static void options(void)
{
	number("stacks", vt.options.stack_depth);
	number("snapshot_every", vt.options.snapshot_every);
	text("capture", vt.options.inner ? "all" : "symbols", vt.options.inner ? 3 : 7);
	for (uint32_t i = 0; i < vt.n_own; i++) {
		vt_text_str(&out, "own 0x");
		vt_text_hex(&out, vt.own[i].lo);
		vt_text_str(&out, " 0x");
		vt_text_hex(&out, vt.own[i].hi);
		vt_text_str(&out, "\n");
	}
}

/* What limits do not bind: CAP_IPC_LOCK, CAP_SYS_ADMIN. */
static void capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };
	if (!vt_sys2(SYS_capget, &head, caps))
		address("cap_effective", (uint64_t)caps[1].effective << 32 | caps[0].effective);
}

/* Fields of /proc/self/stat, counted from the state behind the command's closing bracket. */
static void stat_fields(struct vt_model_config *c)
{
	uint64_t start_data = 0, end_data = 0;
	const char *p = strrchr(scratch, ')');
	for (int field = 2; p && *p && field < 47; p++) {
		field += *p == ' ';
		const char *value = p + 1;
		if (*p == ' ' && field == 45)
			start_data = vt_scan_dec(&value);
		else if (*p == ' ' && field == 46)
			end_data = vt_scan_dec(&value);
	}
	if (end_data > start_data)
		number("data_segment", end_data - start_data);
	if (p && (c->start_brk = vt_scan_dec(&p)))
		address("start_brk", c->start_brk);
}

/* Write the META frame and configure the model, which has been filled already. */
void vt_meta_write(uint64_t loader_start, uint64_t parent_seq)
{
	struct vt_model_config *c = &vt.model.config;
	struct utsname uts = { 0 };
	out = (struct vt_text){ (char *)vt.raw, (char *)vt.raw + vt.raw_bytes };
	text("version", VMTRAIL_VERSION, strlen(VMTRAIL_VERSION));
	number("pid", vt.pid);
	number("ppid", (uint64_t)vt_sys0(SYS_getppid));
	if (parent_seq)
		number("forked_after", parent_seq);
	number("uid", (uint64_t)vt_sys0(SYS_getuid));
	capabilities();
	link_target("exe", "/proc/self/exe");
	command_line();
	link_target("cwd", "/proc/self/cwd");
	vt_sys1(SYS_uname, &uts);
	text("kernel", uts.release, strlen(uts.release));
	text("machine", uts.machine, strlen(uts.machine));
	number("page_size", VT_PAGE_SIZE);

	c->kernel_version = version_code(uts.release);
	c->task_size = TASK_SIZE;
	address("task_size", c->task_size);
	c->rlimit_as = limit("rlimit_as", RLIMIT_AS);
	c->rlimit_data = limit("rlimit_data", RLIMIT_DATA);
	c->rlimit_stack = limit("rlimit_stack", RLIMIT_STACK);
	c->rlimit_memlock = limit("rlimit_memlock", RLIMIT_MEMLOCK);
	long persona = vt_sys1(SYS_personality, 0xffffffff);
	number("personality", (uint64_t)persona);
	char legacy[8] = { 0 };
	vt_read_file("/proc/sys/vm/legacy_va_layout", legacy, sizeof(legacy));
	c->bottomup =
	    (persona & ADDR_COMPAT_LAYOUT) || c->rlimit_stack == RLIM_INFINITY || legacy[0] == '1';
	text("layout", c->bottomup ? "bottomup" : "topdown", c->bottomup ? 8 : 7);
	if (!c->mmap_base)
		c->mmap_base = find_mmap_base(c->bottomup, loader_start);
	address("mmap_base", c->mmap_base);
	c->stack_guard_gap = 256 * VT_PAGE_SIZE;
	number("stack_guard_gap", c->stack_guard_gap);
	c->brk = (uint64_t)vt_sys1(SYS_brk, 0);
	address("brk", c->brk);
	if (vt_read_file("/proc/self/stat", scratch, sizeof(scratch)) > 0)
		stat_fields(c);
	c->mmap_min_addr = sysctl("mmap_min_addr", "/proc/sys/vm/mmap_min_addr");
	c->max_map_count = sysctl("max_map_count", "/proc/sys/vm/max_map_count");
	sysctl("overcommit_memory", "/proc/sys/vm/overcommit_memory");
	sysctl("overcommit_ratio", "/proc/sys/vm/overcommit_ratio");
	sysctl("overcommit_kbytes", "/proc/sys/vm/overcommit_kbytes");
	sysctl("admin_reserve_kbytes", "/proc/sys/vm/admin_reserve_kbytes");
	sysctl("user_reserve_kbytes", "/proc/sys/vm/user_reserve_kbytes");
	if (vt_read_file("/proc/meminfo", scratch, sizeof(scratch)) > 0) {
		kilobytes("mem_total_kb", "MemTotal:");
		kilobytes("swap_total_kb", "SwapTotal:");
		kilobytes("committed_as_kb", "Committed_AS:");
		kilobytes("hugepage_kb", "Hugepagesize:");
		kilobytes("hugetlb_kb", "Hugetlb:");
	}
	c->thp_always = huge_page_policy("thp", "/sys/kernel/mm/transparent_hugepage/enabled");
	huge_page_policy("thp_shmem", "/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	c->thp_align = true;
	options();
	kinds();
	vt_store_frame(VT_FRAME_META, vt.raw, (size_t)(out.p - (char *)vt.raw), vt.next_seq, 0);
}
