/*
 * kernel_view.c - reads the kernel's view of this process; see kernel_view.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "kernel_view.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <vmtrail/model.h>

#include "raw.h"
#include <sys/syscall.h>

/* PROCMAP_QUERY, Linux 6.11: struct procmap_query of <linux/fs.h>. */
struct query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
#define QUERY            _IOWR('f', 17, struct query)
#define COVERING_OR_NEXT 0x10
#define QUERY_SHARED     0x08
#define QUERY_RWX        0x07

static struct {
	int maps, smaps, status;
	bool have_query;
	char *buffer;
	size_t bytes;
} view;

bool kernel_view_open(char *buffer, size_t bytes)
{
	view.maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	view.smaps = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	view.status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	view.buffer = buffer;
	view.bytes = bytes;
	struct query q = { .size = sizeof(q), .query_flags = COVERING_OR_NEXT };
	view.have_query =
	    raw_call(SYS_ioctl, (uint64_t)view.maps, QUERY, (uint64_t)&q, 0, 0, 0) == 0;
	return view.maps >= 0 && view.smaps >= 0 && view.status >= 0;
}

/* Read a whole file from its start into the buffer, a 0 after it. Returns its length, 0: too long.
 */
static size_t slurp(int fd)
{
	size_t n = 0;
	raw_call(SYS_lseek, (uint64_t)fd, 0, SEEK_SET, 0, 0, 0);
	while (n < view.bytes - 1) {
		int64_t got = raw_call(SYS_read, (uint64_t)fd, (uint64_t)(view.buffer + n),
				       view.bytes - 1 - n, 0, 0, 0);
		if (got < 0)
			return 0;
		if (got == 0) {
			view.buffer[n] = 0;
			return n;
		}
		n += (size_t)got;
	}
	return 0;
}

static uint64_t number(const char **p, unsigned base)
{
	uint64_t v = 0;
	for (;; ++*p) {
		unsigned c = (unsigned char)**p;
		unsigned digit = c >= 'a' ? c - 'a' + 10 : c <= '9' ? c - '0' : base;
		if (digit >= base)
			return v;
		v = v * base + digit;
	}
}

/* "start-end rwxp offset major:minor inode   path" */
static struct kernel_area parse_line(const char *p)
{
	struct kernel_area k = { 0 };
	k.start = number(&p, 16);
	p++;
	k.end = number(&p, 16);
	k.flags |= p[1] == 'r' ? VT_VM(READ) : 0;
	k.flags |= p[2] == 'w' ? VT_VM(WRITE) : 0;
	k.flags |= p[3] == 'x' ? VT_VM(EXEC) : 0;
	k.flags |= p[4] == 's' ? VT_VM(SHARED) : 0;
	p += 6;
	k.offset = number(&p, 16);
	p++;
	uint64_t major = number(&p, 16);
	p++;
	k.dev = major << 20 | number(&p, 16);
	p++;
	k.ino = number(&p, 10);
	while (*p == ' ')
		p++;
	char name[32] = "";
	size_t len = strcspn(p, "\n");
	memcpy(name, p, len < sizeof(name) ? len : sizeof(name) - 1);
	k.special = (uint8_t)vt_special_of(name);
	if (!k.dev && !k.ino)
		k.offset = 0;
	return k;
}

static uint32_t parse_flags(const char *p)
{
	static const char names[] =
#define NAME(n, s) s
	    VT_VM_FLAGS(NAME);
#undef NAME
	uint32_t flags = 0;
	while (p[0] == ' ' && p[1] > ' ') {
		for (int i = 0; i < VT_VM_FLAG_COUNT; i++)
			if (names[2 * i] == p[1] && names[2 * i + 1] == p[2])
				flags |= 1u << i;
		p += 3;
	}
	return flags;
}

bool kernel_area_from(uint64_t addr, struct kernel_area *k)
{
	if (view.have_query) {
		struct query q = { .size = sizeof(q),
				   .query_flags = COVERING_OR_NEXT,
				   .query_addr = addr };
		if (raw_call(SYS_ioctl, (uint64_t)view.maps, QUERY, (uint64_t)&q, 0, 0, 0) != 0)
			return false;
		_Static_assert(VT_VM(READ) == 1 && VT_VM(WRITE) == 2 && VT_VM(EXEC) == 4 &&
				   VT_VM(SHARED) == 8,
			       "flags as in PROCMAP_QUERY");
		*k = (struct kernel_area){
			.start = q.vma_start,
			.end = q.vma_end,
			.offset = q.vma_offset,
			.dev = (uint64_t)q.dev_major << 20 | q.dev_minor,
			.ino = q.inode,
			.flags = (uint32_t)q.vma_flags & (QUERY_RWX | QUERY_SHARED),
		};
		return true;
	}
	if (!slurp(view.maps))
		return false;
	for (const char *p = view.buffer; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : p) {
		*k = parse_line(p);
		if (k->end > addr)
			return k->special != VT_SPECIAL_VSYSCALL;
	}
	return false;
}

/* The list without maps' text: three times as fast, but nothing tells what is special. */
static size_t query_areas(struct kernel_area *list, size_t room)
{
	size_t n = 0;
	for (uint64_t at = 0; n < room && kernel_area_from(at, &list[n]); n++)
		at = list[n].end;
	return n == room ? 0 : n;
}

size_t kernel_areas(struct kernel_area *list, size_t room, bool smaps)
{
	size_t n = 0;
	if (!smaps && view.have_query)
		return query_areas(list, room);
	if (!slurp(smaps ? view.smaps : view.maps))
		return 0;
	for (const char *p = view.buffer; *p; p++) {
		if (*p < 'A' || *p >= 'a') {
			if (n == room)
				return 0;
			list[n++] = parse_line(p);
		} else if (smaps && n && strncmp(p, "VmFlags:", 8) == 0) {
			/* shared as maps shows it is VM_MAYSHARE; smaps has both */
			list[n - 1].flags = parse_flags(p + 8);
		}
		p = strchr(p, '\n');
		if (!p)
			break;
	}
	return n;
}

static uint64_t status_pages(const char *name)
{
	const char *p = strstr(view.buffer, name);
	if (!p)
		return 0;
	p += strlen(name);
	while (*p == ' ' || *p == '\t')
		p++;
	return number(&p, 10) >> (VT_PAGE_SHIFT - 10);
}

bool kernel_status(struct kernel_status *s)
{
	if (!slurp(view.status))
		return false;
	*s = (struct kernel_status){
		.size = status_pages("\nVmSize:"),
		.data = status_pages("\nVmData:"),
		.stack = status_pages("\nVmStk:"),
		.locked = status_pages("\nVmLck:"),
		.exec = status_pages("\nVmExe:") + status_pages("\nVmLib:"),
	};
	return true;
}
