/*
 * print.c - prints a replayed list as a test case in C: the events with the kernel's results, as
 * the model's unit tests take them. Symbols for what people read, numbers for the rest.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"

struct symbol {
	uint64_t value;
	const char *name;
};

static const struct symbol prot_names[] = {
	{ PROT_READ, "PROT_READ" },       { PROT_WRITE, "PROT_WRITE" },
	{ PROT_EXEC, "PROT_EXEC" },       { PROT_GROWSDOWN, "PROT_GROWSDOWN" },
	{ PROT_GROWSUP, "PROT_GROWSUP" }, { 0, NULL },
};

static const struct symbol map_names[] = {
	{ MAP_SHARED, "MAP_SHARED" },
	{ MAP_PRIVATE, "MAP_PRIVATE" },
	{ 0x08, "0x8 /* MAP_DROPPABLE */" },
	{ MAP_FIXED, "MAP_FIXED" },
	{ MAP_ANONYMOUS, "MAP_ANONYMOUS" },
	{ MAP_32BIT, "MAP_32BIT" },
	{ MAP_GROWSDOWN, "MAP_GROWSDOWN" },
	{ MAP_LOCKED, "MAP_LOCKED" },
	{ MAP_NORESERVE, "MAP_NORESERVE" },
	{ MAP_POPULATE, "MAP_POPULATE" },
	{ MAP_NONBLOCK, "MAP_NONBLOCK" },
	{ MAP_STACK, "MAP_STACK" },
	{ MAP_HUGETLB, "MAP_HUGETLB" },
	{ 0x100000, "MAP_FIXED_NOREPLACE" },
	{ 0, NULL },
};

static const struct symbol remap_names[] = {
	{ MREMAP_MAYMOVE, "MREMAP_MAYMOVE" },
	{ MREMAP_FIXED, "MREMAP_FIXED" },
	{ 4, "MREMAP_DONTUNMAP" },
	{ 0, NULL },
};

static const char *const advice_names[128] = {
	[MADV_RANDOM] = "MADV_RANDOM",
	[MADV_SEQUENTIAL] = "MADV_SEQUENTIAL",
	[MADV_DONTNEED] = "MADV_DONTNEED",
	[8] = "MADV_FREE",
	[MADV_REMOVE] = "MADV_REMOVE",
	[MADV_DONTFORK] = "MADV_DONTFORK",
	[MADV_DOFORK] = "MADV_DOFORK",
	[MADV_MERGEABLE] = "MADV_MERGEABLE",
	[13] = "MADV_UNMERGEABLE",
	[MADV_HUGEPAGE] = "MADV_HUGEPAGE",
	[MADV_NOHUGEPAGE] = "MADV_NOHUGEPAGE",
	[MADV_DONTDUMP] = "MADV_DONTDUMP",
	[MADV_DODUMP] = "MADV_DODUMP",
	[18] = "MADV_WIPEONFORK",
	[19] = "MADV_KEEPONFORK",
	[102] = "102 /* MADV_GUARD_INSTALL */",
	[103] = "103 /* MADV_GUARD_REMOVE */",
};

static const char *const file_kind_names[] = {
	"none", "regular", "shm_anon", "sysv", "hugetlb", "zero", "device", "special",
};

static void print_set(uint64_t value, const struct symbol *names)
{
	const char *bar = "";
	for (; names->name; names++) {
		if (!(value & names->value))
			continue;
		printf("%s%s", bar, names->name);
		value &= ~names->value;
		bar = " | ";
	}
	if (value || !*bar)
		printf("%s%#lx", bar, value);
}

static void print_arg(uint8_t class, uint64_t value)
{
	switch (class) {
	case VT_ARG_PROT:
		print_set(value, prot_names);
		break;
	case VT_ARG_MFLAGS:
		print_set(value, map_names);
		break;
	case VT_ARG_REMAP:
		print_set(value, remap_names);
		break;
	case VT_ARG_ADVICE:
		if (value < 128 && advice_names[value])
			printf("%s", advice_names[value]);
		else
			printf("%#lx", value);
		break;
	case VT_ARG_FD:
	case VT_ARG_INT:
		printf("%ld", (long)value);
		break;
	default:
		printf("%#lx", value);
	}
}

static const char *kind_symbol(uint8_t kind)
{
	static const char *const symbols[VT_KIND_COUNT] = {
#define SYMBOL(e, ...) [VT_##e] = "VT_" #e,
		VT_KINDS(SYMBOL)
#undef SYMBOL
	};
	return symbols[kind];
}

void print_event(const struct vt_event *ev)
{
	if (ev->kind >= VT_KIND_COUNT) {
		printf("\t/* page %#lx is %s%s */\n", ev->a[0] & -VT_PAGE_SIZE,
		       ev->kind == FUZZ_READ ? "read" : "written",
		       vt_is_error(ev->ret) ? ": not accessible" : "");
		return;
	}
	const uint8_t *class = vt_kinds[ev->kind].arg;
	printf("\t{ .seq = %lu, .kind = %s, .a = { ", ev->seq, kind_symbol(ev->kind));
	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		printf("%s", i ? ", " : "");
		print_arg(class[i], ev -> a[i]);
	}
	printf(" }, .ret = ");
	if (vt_is_error(ev->ret))
		printf("%ld /* %s */", (long)ev->ret, strerror((int)-ev->ret));
	else
		printf("%#lx", (unsigned long)ev->ret);
	if (ev->file)
		printf(", .file = %u /* %s */", ev->file,
		       file_kind_names[shared->file_kind[ev->file]]);
	if (ev->flags & VT_EV_FD_KNOWN)
		printf(", .flags = VT_EV_FD_KNOWN%s",
		       ev->flags & VT_EV_FD_RDONLY ? " | VT_EV_FD_RDONLY" : "");
	if (ev->tid != 1)
		printf(", .tid = %u /* in the forked child */", ev->tid);
	if (ev->aux)
		printf(", .aux = %lu", ev->aux);
	printf(" },\n");
}

void print_case(uint64_t seed, uint64_t n)
{
	printf("/* seed %lu%s, %lu operations: %s*/\n", seed, shared->seed & 1 ? "" : ", root", n,
	       shared->failure.text);
	printf("static const struct vt_event events[] = {\n");
	for (uint64_t i = 0; i < shared->n_trace; i++)
		print_event(&shared->trace[i]);
	printf("};\n");
}
