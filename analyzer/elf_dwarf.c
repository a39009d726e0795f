/*
 * elf_dwarf.c - source lines and inlined functions of a code address, from DWARF.
 *
 * Indexes the units by address once, and a unit's functions when one of them is asked for: neither
 * .debug_aranges (not every compiler writes it) nor a walk over all DIEs for each address is
 * needed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "elf_module.h"

struct range_list {
	struct vt_elf_range *v;
	size_t n, cap;
};

static void add_range(struct range_list *l, uint64_t lo, uint64_t hi, Dwarf_Off die)
{
	if (lo >= hi)
		return;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct vt_elf_range *v = realloc(l->v, cap * sizeof(*v));
		if (!v)
			return;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = (struct vt_elf_range){ lo, hi, die };
}

static void add_die_ranges(struct range_list *l, Dwarf_Die *die, Dwarf_Off name_offset)
{
	Dwarf_Addr base, lo, hi;
	for (ptrdiff_t off = 0; (off = dwarf_ranges(die, off, &base, &lo, &hi)) > 0;)
		add_range(l, lo, hi, name_offset);
}

static int by_lo(const void *pa, const void *pb)
{
	const struct vt_elf_range *a = pa, *b = pb;
	return (a->lo > b->lo) - (a->lo < b->lo);
}

/* The last range that starts at or below address and holds it. */
static const struct vt_elf_range *find_range(const struct vt_elf_range *v, size_t n,
					     uint64_t address)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v[mid].lo <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo > 0 && v[lo - 1].hi <= address; lo--)
		if (address - v[lo - 1].lo > (64u << 20)) /* no overlapping range is that far */
			return NULL;
	return lo ? &v[lo - 1] : NULL;
}

static void load_units(struct vt_elf *elf)
{
	elf->units_loaded = true;
	elf->dwarf = dwfl_module_getdwarf(elf->module, &elf->dwarf_bias);
	if (!elf->dwarf)
		return;
	struct range_list l = { 0 };
	Dwarf_CU *cu = NULL;
	Dwarf_Half version;
	uint8_t type;
	Dwarf_Die die, sub;
	while (dwarf_get_units(elf->dwarf, cu, &cu, &version, &type, &die, &sub) == 0)
		if (type == DW_UT_compile || type == DW_UT_skeleton)
			add_die_ranges(&l, &die, dwarf_dieoffset(&die));
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_lo);
	elf->units = l.v;
	elf->n_units = l.n;
}

/* Where functions with code may stand below the unit itself. */
static bool holds_functions(int tag)
{
	return tag == DW_TAG_namespace || tag == DW_TAG_module || tag == DW_TAG_class_type ||
	       tag == DW_TAG_structure_type;
}

static void collect_functions(struct range_list *l, Dwarf_Die *parent, int depth)
{
	Dwarf_Die die;
	if (depth > 16 || dwarf_child(parent, &die) != 0)
		return;
	do {
		int tag = dwarf_tag(&die);
		if (tag == DW_TAG_subprogram) {
			add_die_ranges(l, &die, dwarf_dieoffset(&die));
			/* Rust and Ada nest functions */
			if (dwarf_haschildren(&die))
				collect_functions(l, &die, depth + 1);
		} else if (holds_functions(tag)) {
			collect_functions(l, &die, depth + 1);
		}
	} while (dwarf_siblingof(&die, &die) == 0);
}

/* The unit's DIE that has functions and lines: for split DWARF the one in the .dwo file. */
static bool unit_die(struct vt_elf *elf, Dwarf_Off offset, Dwarf_Die *cu)
{
	Dwarf_Die die, sub;
	uint8_t type;
	if (!dwarf_offdie(elf->dwarf, offset, &die))
		return false;
	*cu = die;
	if (dwarf_cu_info(die.cu, NULL, &type, NULL, &sub, NULL, NULL, NULL) == 0 &&
	    type == DW_UT_skeleton && sub.addr)
		*cu = sub;
	return true;
}

static struct vt_elf_unit *load_unit(struct vt_elf *elf, Dwarf_Off offset, Dwarf_Die *cu)
{
	for (struct vt_elf_unit *u = elf->unit_functions; u; u = u->next)
		if (u->die_offset == offset)
			return u;
	struct vt_elf_unit *u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	struct range_list l = { 0 };
	collect_functions(&l, cu, 0);
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_lo);
	*u = (struct vt_elf_unit){ offset, l.v, l.n, elf->unit_functions };
	elf->unit_functions = u;
	return u;
}

void vt_elf_free_units(struct vt_elf *elf)
{
	while (elf->unit_functions) {
		struct vt_elf_unit *u = elf->unit_functions;
		elf->unit_functions = u->next;
		free(u->functions);
		free(u);
	}
	free(elf->units);
}

/* The name of a function's DIE, through its abstract origin and specification. */
static void name_frame(Dwarf_Die *die, struct vt_elf_frame *f)
{
	Dwarf_Attribute at;
	f->name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &at));
	if (!f->name)
		f->name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &at));
	f->linkage = f->name != NULL;
	if (!f->name)
		f->name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_name, &at));
}

/* Where an inlined function was called. */
static void call_line(Dwarf_Die *cu, Dwarf_Die *die, struct vt_elf_frame *f)
{
	Dwarf_Attribute at;
	Dwarf_Word file, line;
	Dwarf_Files *files;
	size_t n;
	f->file = NULL;
	f->line = 0;
	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_line, &at), &line) == 0)
		f->line = (unsigned)line;
	if (dwarf_formudata(dwarf_attr(die, DW_AT_call_file, &at), &file) == 0 &&
	    dwarf_getsrcfiles(cu, &files, &n) == 0 && file < n)
		f->file = dwarf_filesrc(files, file, NULL, NULL);
}

/* The child through which address is reached: a block or an inlined call. */
static bool child_at(Dwarf_Die *parent, uint64_t address, Dwarf_Die *child)
{
	if (dwarf_child(parent, child) != 0)
		return false;
	do {
		int tag = dwarf_tag(child);
		if ((tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine) &&
		    dwarf_haspc(child, address) == 1)
			return true;
	} while (dwarf_siblingof(child, child) == 0);
	return false;
}

size_t vt_elf_frames_at(struct vt_elf *elf, uint64_t address, struct vt_elf_frame *out,
			uint64_t *start)
{
	if (!elf->units_loaded)
		load_units(elf);
	/* the debug file has link-time addresses too; the biases differ after prelinking only */
	uint64_t pc = address + elf->bias - elf->dwarf_bias;
	const struct vt_elf_range *unit = find_range(elf->units, elf->n_units, pc);
	Dwarf_Die cu, die, child;
	if (!unit || !unit_die(elf, unit->die_offset, &cu))
		return 0;

	/* outermost first, then turned round */
	struct vt_elf_frame chain[VT_ELF_MAX_INLINE] = { 0 };
	size_t n = 0;
	struct vt_elf_unit *u = load_unit(elf, unit->die_offset, &cu);
	const struct vt_elf_range *fn = u ? find_range(u->functions, u->n_functions, pc) : NULL;
	if (fn && dwarf_offdie(dwarf_cu_getdwarf(cu.cu), fn->die_offset, &die)) {
		Dwarf_Addr entry;
		name_frame(&die, &chain[n++]);
		*start = address - (pc - (dwarf_entrypc(&die, &entry) == 0 ? entry : fn->lo));
		for (int depth = 0; depth < 256 && child_at(&die, pc, &child); depth++) {
			die = child;
			if (dwarf_tag(&die) != DW_TAG_inlined_subroutine)
				continue;
			if (n == VT_ELF_MAX_INLINE)
				break;
			call_line(&cu, &die, &chain[n - 1]);
			name_frame(&die, &chain[n++]);
		}
	} else {
		n = 1;
		*start = 0;
	}
	Dwarf_Line *line = dwarf_getsrc_die(&cu, pc);
	int number;
	if (line) {
		chain[n - 1].file = dwarf_linesrc(line, NULL, NULL);
		chain[n - 1].line = dwarf_lineno(line, &number) == 0 ? (unsigned)number : 0;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = chain[n - 1 - i];
	return n;
}
