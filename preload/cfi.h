/*
 * cfi.h - how to get from one stack frame to its caller's, for one place in the code.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_CFI_H
#define VMTRAIL_CFI_H

#include <stdbool.h>
#include <stdint.h>

/* Where a frame's CFA (the stack pointer before its call) is found, or what else is to be done. */
enum vt_frame_kind {
	VT_FRAME_NONE,   /* not known */
	VT_FRAME_RSP,    /* stack pointer + cfa */
	VT_FRAME_RBP,    /* rbp + cfa */
	VT_FRAME_RBX,    /* rbx + cfa */
	VT_FRAME_DEREF,  /* the word at rbp + cfa; saved registers are at offsets from rbp, too */
	VT_FRAME_SIGNAL, /* a signal's: the stack pointer is the address of its ucontext */
	VT_FRAME_GUESS,  /* code without a table: it is assumed to keep rbp as frame pointer */
	VT_FRAME_LAST,   /* there is no caller */
	VT_FRAME_HARD,   /* a form that is not known: the caller cannot be told */
	VT_FRAME_FAR, /* rbp + cfa, and the return address VT_FAR bytes below that: vt_site_far */
};

#define VT_FAR 136

#define VT_REG_SAME (-32768)

/* One place's rule in a word, so that a store of it is whole. */
union vt_frame_rule {
	uint64_t word;
	struct {
		uint64_t kind : 4;
		int64_t cfa : 28; /* bytes */
		int64_t rbp : 16; /* words from the CFA (from rbp: DEREF), or VT_REG_SAME */
		int64_t rbx : 16;
	};
};

/*
 * The rule at pc. exact: pc is the next instruction of an interrupted frame and not where a call
 * returns to. Reads the module's tables; takes no lock.
 */
union vt_frame_rule vt_cfi_rule(uint64_t pc, bool exact);

/* Where the function that pc lies in begins and ends; false: not known. Takes no lock. */
bool vt_cfi_function(uint64_t pc, uint64_t *start, uint64_t *end);

#endif
