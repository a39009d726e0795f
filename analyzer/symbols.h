/*
 * symbols.h - from a code address in a mapped file to function, file:line and inlined frames.
 *
 * Uses libdw. The caller knows from the model which file and offset an address belonged to at the
 * time of the event; nothing here depends on load addresses.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_SYMBOLS_H
#define VMTRAIL_ANALYZER_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vt_symbols;

/* One source-level frame; an inlined call gives several, innermost first. Strings live as long as
 * the table. */
struct vt_symbol {
	const char *function; /* demangled (C++, Rust), NULL: not known */
	const char *file;     /* source file as in the debug info, NULL: not known */
	unsigned line;        /* 0: not known */
	uint64_t offset;      /* from the start of the function, of the outermost frame */
	bool inlined;
};

struct vt_symbols *vt_symbols_new(void);
void vt_symbols_free(struct vt_symbols *s);

/*
 * Resolve file_offset inside the ELF file at path. build_id (may be empty) is what the recorder
 * saw: a file that has another one now is not used, unless a debug file of that build-id is found
 * (/usr/lib/debug/.build-id). Returns the number of frames (0: nothing known) and sets *frames,
 * valid until the table is freed; results are cached. *stale is set when the file has changed.
 */
size_t vt_symbols_resolve(struct vt_symbols *s, const char *path, const uint8_t *build_id,
			  size_t build_id_len, uint64_t file_offset,
			  const struct vt_symbol **frames, bool *stale);

#endif
