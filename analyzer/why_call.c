/*
 * why_call.c - the short form of calls.
 *
 * SPDX-License-Identifier: MIT
 */
#include "why_call.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "names.h"
#include "units.h"

#define MAP_NOREPLACE 0x100000 /* MAP_FIXED_NOREPLACE */

void vt_text_prot(struct vt_text *t, uint64_t prot)
{
	vt_text_add(t, "%c%c%c", prot & PROT_READ ? 'r' : '-', prot & PROT_WRITE ? 'w' : '-',
		    prot & PROT_EXEC ? 'x' : '-');
}

static void add_size(struct vt_text *t, uint64_t bytes)
{
	char buf[VT_UNIT_TEXT];
	vt_text_add(t, " %s", vt_format_size(buf, bytes));
}

static void add_file(struct vt_text *t, const char *path)
{
	const char *slash = path && *path == '/' ? strrchr(path, '/') : NULL;
	if (path && *path)
		vt_text_add(t, " %s", slash ? slash + 1 : path);
}

static void add_mmap(struct vt_text *t, const struct vt_event *e, const char *path)
{
	static const struct {
		uint64_t flag;
		const char *word;
	} words[] = { { MAP_SHARED, "shared" },       { MAP_NOREPLACE, "noreplace" },
		      { MAP_FIXED, "fixed" },         { MAP_STACK, "stack" },
		      { MAP_NORESERVE, "noreserve" }, { MAP_HUGETLB, "huge" } };
	vt_text_add(t, "mmap");
	add_size(t, e->a[1]);
	vt_text_add(t, " ");
	vt_text_prot(t, e->a[2]);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (e->a[3] & words[i].flag)
			vt_text_add(t, " %s", words[i].word);
	add_file(t, path);
}

static void add_unseen(struct vt_text *t, const struct vt_event *e, const char *path)
{
	if (e->kind != VT_UNSEEN_MAP) {
		vt_text_add(t, e->kind == VT_UNSEEN_UNMAP ? "unseen unmap" : "unseen change of");
		add_size(t, e->a[1]);
		return;
	}
	vt_text_add(t, e->aux == VT_UNSEEN_STACK_GROWTH ? "stack grew to" : "unseen map");
	add_size(t, e->a[1]);
	vt_text_add(t, " ");
	vt_text_prot(t, e->a[2]);
	add_file(t, path);
}

static void add_advice(struct vt_text *t, const struct vt_event *e)
{
	char buf[64];
	struct vt_text name = { buf, 0, sizeof(buf) };
	vt_text_flags(&name, VT_ARG_ADVICE, e->a[2]);
	vt_text_add(t, " %s", strncmp(buf, "MADV_", 5) == 0 ? buf + 5 : buf);
}

void vt_text_short_call(struct vt_text *t, const struct vt_event *e, const char *path)
{
	const char *name = vt_kinds[e->kind].name;
	switch (e->kind) {
	case VT_MMAP:
		add_mmap(t, e, path);
		return;
	case VT_UNSEEN_MAP:
	case VT_UNSEEN_UNMAP:
	case VT_UNSEEN_AREA:
		add_unseen(t, e, path);
		return;
	case VT_FAULT:
		name = vt_signal_name((int)e->a[1]);
		vt_text_add(t, "%s", name ? name : "a signal");
		return;
	case VT_BRK:
		vt_text_add(t, "brk %#llx", (unsigned long long)e->ret);
		return;
	case VT_MREMAP:
		vt_text_add(t, "mremap");
		add_size(t, e->a[1]);
		if (e->a[1] != e->a[2]) {
			vt_text_add(t, " ->");
			add_size(t, e->a[2]);
		}
		return;
	case VT_SHMAT:
		vt_text_add(t, "shmat");
		add_size(t, e->a[3]);
		return;
	default:
		break;
	}
	vt_text_add(t, "%s", name);
	if (vt_kinds[e->kind].arg[1] != VT_ARG_LEN || vt_kinds[e->kind].arg[0] != VT_ARG_ADDR)
		return;
	add_size(t, e->a[1]);
	if (vt_kinds[e->kind].arg[2] == VT_ARG_PROT) {
		vt_text_add(t, " ");
		vt_text_prot(t, e->a[2]);
	} else if (vt_kinds[e->kind].arg[2] == VT_ARG_ADVICE) {
		add_advice(t, e);
	}
}
