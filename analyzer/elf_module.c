/*
 * elf_module.c - opening an ELF file and what belongs to it: debug file, segments, symbols.
 *
 * libdwfl finds separate debug files (build-id, .gnu_debuglink) and .gnu_debugdata. Never trusts
 * what the file says further than libelf checks it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "elf_module.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const Dwfl_Callbacks callbacks = {
	.find_elf = dwfl_build_id_find_elf,
	.find_debuginfo = dwfl_standard_find_debuginfo,
	.section_address = dwfl_offline_section_address,
};

/* Open one file, whatever its build-id. */
static struct vt_elf *open_file(const char *path)
{
	/* O_NONBLOCK: a path in a trace may name a FIFO by now */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return NULL;
	}
	struct vt_elf *elf = calloc(1, sizeof(*elf));
	if (!elf) {
		close(fd);
		return NULL;
	}
	elf->dwfl = dwfl_begin(&callbacks);
	if (elf->dwfl)
		elf->module = dwfl_report_offline(elf->dwfl, path, path, fd);
	if (!elf->module)
		close(fd); /* libdwfl has taken it otherwise */
	if (elf->module && dwfl_report_end(elf->dwfl, NULL, NULL) == 0 &&
	    dwfl_module_getelf(elf->module, &elf->bias))
		return elf;
	vt_elf_close(elf);
	return NULL;
}

static bool has_build_id(const struct vt_elf *elf, const uint8_t *build_id, size_t len)
{
	const unsigned char *bits;
	GElf_Addr where;
	int n = dwfl_module_build_id(elf->module, &bits, &where);
	return n > 0 && (size_t)n == len && memcmp(bits, build_id, len) == 0;
}

/* The debug file of a build-id, as distributions install them. */
static struct vt_elf *open_debug_file(const uint8_t *build_id, size_t len, const char *debug_root)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s/.build-id/%02x/", debug_root, build_id[0]);
	if (n < 0 || (size_t)n + 2 * len + sizeof(".debug") > sizeof(path))
		return NULL;
	for (size_t i = 1; i < len; i++)
		n += sprintf(path + n, "%02x", build_id[i]);
	memcpy(path + n, ".debug", sizeof(".debug"));

	struct vt_elf *elf = open_file(path);
	if (elf && !has_build_id(elf, build_id, len)) {
		vt_elf_close(elf);
		return NULL;
	}
	if (elf)
		elf->debug_only = true;
	return elf;
}

struct vt_elf *vt_elf_open(const char *path, const uint8_t *build_id, size_t len,
			   const char *debug_root, bool *stale)
{
	struct vt_elf *elf = open_file(path);
	*stale = elf && len && !has_build_id(elf, build_id, len);
	if (elf && !*stale)
		return elf;
	if (elf)
		vt_elf_close(elf);
	return len > 1 ? open_debug_file(build_id, len, debug_root) : NULL;
}

void vt_elf_close(struct vt_elf *elf)
{
	if (!elf)
		return;
	vt_elf_free_units(elf);
	free(elf->functions);
	dwfl_end(elf->dwfl);
	free(elf);
}

/*
 * A separate debug file keeps its segments' addresses, but no longer the file offsets that the
 * program had. GNU ld lays code out at the same distance from the start in the file and in memory;
 * other linkers do not and say so in .comment.
 */
static bool keeps_distances(Elf *file)
{
	size_t names;
	if (elf_getshdrstrndx(file, &names) != 0)
		return false;
	for (Elf_Scn *s = elf_nextscn(file, NULL); s; s = elf_nextscn(file, s)) {
		GElf_Shdr sh;
		if (!gelf_getshdr(s, &sh))
			return false;
		const char *name = elf_strptr(file, names, sh.sh_name);
		if (!name || strcmp(name, ".comment") != 0 || sh.sh_type == SHT_NOBITS)
			continue;
		Elf_Data *data = elf_getdata(s, NULL);
		return data && data->d_buf && !memmem(data->d_buf, data->d_size, "LLD", 3) &&
		       !memmem(data->d_buf, data->d_size, "mold", 4);
	}
	return false;
}

bool vt_elf_address(const struct vt_elf *elf, uint64_t file_offset, uint64_t *address)
{
	GElf_Addr bias;
	Elf *file = dwfl_module_getelf(elf->module, &bias);
	size_t n;
	if (!file || elf_getphdrnum(file, &n) != 0)
		return false;

	bool found = false, first = true, by_distance = elf->debug_only && keeps_distances(file);
	uint64_t base = 0;
	for (size_t i = 0; i < n && i < 65536; i++) {
		GElf_Phdr ph;
		if (!gelf_getphdr(file, (int)i, &ph) || ph.p_type != PT_LOAD)
			continue;
		if (first)
			base = ph.p_vaddr - ph.p_offset;
		first = false;
		uint64_t offset = ph.p_offset, size = ph.p_filesz;
		if (elf->debug_only && size < ph.p_memsz) {
			if (!by_distance)
				continue;
			offset = ph.p_vaddr - base;
			size = ph.p_memsz;
		}
		if (file_offset < offset || file_offset - offset >= size)
			continue;
		/* segments may share a page of the file: the code's is meant */
		if (!found || (ph.p_flags & PF_X))
			*address = ph.p_vaddr + (file_offset - offset);
		found = true;
	}
	return found;
}

static int by_start(const void *pa, const void *pb)
{
	const struct vt_elf_function *a = pa, *b = pb;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return (a->rank > b->rank) - (a->rank < b->rank);
}

/* How good a name this symbol is: real functions before labels, global before local. */
static uint8_t symbol_rank(const GElf_Sym *sym)
{
	uint8_t rank = GELF_ST_TYPE(sym->st_info) == STT_NOTYPE ? 0 : 4;
	if (sym->st_size)
		rank += 2;
	return rank + (GELF_ST_BIND(sym->st_info) == STB_GLOBAL);
}

static bool is_code_symbol(const struct vt_elf *elf, int i, GElf_Sym *sym, GElf_Addr *address,
			   const char **name)
{
	GElf_Word shndx;
	*name = dwfl_module_getsym_info(elf->module, i, sym, address, &shndx, NULL, NULL);
	if (!*name || !**name || shndx == SHN_UNDEF || (*name)[0] == '$')
		return false;
	int type = GELF_ST_TYPE(sym->st_info);
	return type == STT_FUNC || type == STT_GNU_IFUNC ||
	       (type == STT_NOTYPE && shndx != SHN_ABS);
}

/* Read the symbol table once, sorted; a symbol without a size reaches to the next one. */
static void load_functions(struct vt_elf *elf)
{
	elf->functions_loaded = true;
	int n = dwfl_module_getsymtab(elf->module);
	if (n <= 0)
		return;
	struct vt_elf_function *f = malloc((size_t)n * sizeof(*f));
	if (!f)
		return;
	size_t count = 0;
	for (int i = 0; i < n; i++) {
		GElf_Sym sym;
		GElf_Addr at;
		const char *name;
		if (!is_code_symbol(elf, i, &sym, &at, &name))
			continue;
		at -= elf->bias;
		uint64_t end = at + sym.st_size < at ? UINT64_MAX : at + sym.st_size;
		f[count++] = (struct vt_elf_function){ at, end, name, symbol_rank(&sym) };
	}
	qsort(f, count, sizeof(*f), by_start);
	/* of several at one address keep the last, which has the highest rank */
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (i + 1 == count || f[i + 1].start != f[i].start)
			f[kept++] = f[i];
	for (size_t i = 0; i < kept; i++)
		if (f[i].end == f[i].start && i + 1 < kept)
			f[i].end = f[i + 1].start;
	elf->functions = f;
	elf->n_functions = kept;
}

const struct vt_elf_function *vt_elf_function_at(struct vt_elf *elf, uint64_t address)
{
	if (!elf->functions_loaded)
		load_functions(elf);
	size_t lo = 0, hi = elf->n_functions;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (elf->functions[mid].start <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	/* a label inside a function may stand between it and the address: look back a little */
	for (size_t back = 0; back < 8 && lo > back; back++) {
		const struct vt_elf_function *f = &elf->functions[lo - 1 - back];
		if (address < f->end)
			return f;
	}
	return NULL;
}
