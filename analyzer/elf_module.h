/*
 * elf_module.h - one ELF file with its debug information, as libdwfl finds it.
 *
 * Called by symbols.c only. Knows files and link-time addresses; nothing of traces, processes or
 * load addresses. Any file may be handed in: what is not ELF, or is damaged, has no symbols.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_ELF_MODULE_H
#define VMTRAIL_ANALYZER_ELF_MODULE_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function's symbol: [start, end) are link-time addresses; name is the linker's. */
struct vt_elf_function {
	uint64_t start, end;
	const char *name;
	uint8_t rank; /* among symbols of one address the highest is shown */
};

/* Code of one compilation unit or function: where the DIE at die_offset lives. */
struct vt_elf_range {
	uint64_t lo, hi;
	Dwarf_Off die_offset;
};

/* The functions of one compilation unit, indexed when first asked for. */
struct vt_elf_unit {
	Dwarf_Off die_offset;
	struct vt_elf_range *functions;
	size_t n_functions;
	struct vt_elf_unit *next;
};

struct vt_elf {
	Dwfl *dwfl;
	Dwfl_Module *module;
	Dwarf_Addr bias; /* libdwfl's address minus the link-time one */
	bool debug_only; /* a separate debug file stands in for a file that has changed */
	bool functions_loaded, units_loaded;
	struct vt_elf_function *functions; /* sorted by start */
	size_t n_functions;
	Dwarf *dwarf;
	Dwarf_Addr dwarf_bias;
	struct vt_elf_range *units; /* sorted by lo */
	size_t n_units;
	struct vt_elf_unit *unit_functions;
};

/* One source-level frame at an address; see struct vt_symbol. name is as in the debug information.
 */
struct vt_elf_frame {
	const char *name;
	bool linkage; /* name is a linker's name, to be demangled */
	const char *file;
	unsigned line;
};

#define VT_ELF_MAX_INLINE 32

/*
 * Open the ELF file at path. With build_id given (len not 0), a file of another build-id is not
 * used and *stale is set; then a debug file of that build-id under debug_root/.build-id is tried.
 * Returns NULL when there is nothing to read. Only regular files are opened.
 */
struct vt_elf *vt_elf_open(const char *path, const uint8_t *build_id, size_t len,
			   const char *debug_root, bool *stale);
void vt_elf_close(struct vt_elf *elf);

/* Link-time address of a file offset; false when no loaded segment holds it. */
bool vt_elf_address(const struct vt_elf *elf, uint64_t file_offset, uint64_t *address);

/* The function symbol over address, NULL: none. Reads the symbol table when first called. */
const struct vt_elf_function *vt_elf_function_at(struct vt_elf *elf, uint64_t address);

/*
 * The source-level frames at address, innermost first, into out (VT_ELF_MAX_INLINE of them);
 * returns their number, 0 without debug information there. *start is the address of the outermost
 * function's entry.
 */
size_t vt_elf_frames_at(struct vt_elf *elf, uint64_t address, struct vt_elf_frame *out,
			uint64_t *start);

/* Free what vt_elf_frames_at has remembered; called by vt_elf_close. */
void vt_elf_free_units(struct vt_elf *elf);

/*
 * The readable form of a linker's name (C++, Rust legacy and v0), without parameters; malloc'ed.
 * NULL: it is no such name.
 */
char *vt_demangle(const char *name);

#endif
