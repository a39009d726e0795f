/*
 * inline_bounds.c - where the function that an instruction lies in begins and ends.
 *
 * Runs inside the traced process, in the constructor or under the search lock. Of a library whose
 * code alone is mapped as yet, the table of functions (.eh_frame_hdr, .eh_frame) is read from its
 * file. Only its usual form is known.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cfi.h"
#include "inline.h"

#if defined(__x86_64__)

/* Read what is to lie at an address of the module that does not know yet where it is loaded. */
static bool read_at(const struct vt_code *m, uint64_t vaddr, void *to, size_t n)
{
	for (size_t i = 0; i < m->n_segments; i++) {
		const Elf64_Phdr *ph = &m->segments[i];
		uint64_t offset = vaddr - ph->p_vaddr;
		if (ph->p_type == PT_LOAD && offset < ph->p_filesz && n <= ph->p_filesz - offset)
			return vt_sys4(SYS_pread64, m->fd, to, n, ph->p_offset + offset) == (long)n;
	}
	return false;
}

/* The last of n entries, {where it begins, its description}, that is not above the offset. */
static bool find_entry(const struct vt_code *m, uint64_t table, uint32_t n, int64_t offset,
		       int32_t entry[2])
{
	uint32_t lo = 0, hi = n;
	while (lo < hi) {
		uint32_t middle = lo + (hi - lo) / 2;
		int32_t begin;
		if (!read_at(m, table + 8ull * middle, &begin, sizeof(begin)))
			return false;
		if (begin <= offset)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo && read_at(m, table + 8ull * (lo - 1), entry, 2 * sizeof(*entry));
}

/* The length that a description tells; 0: it is not of the usual form. */
static uint64_t length_of(const struct vt_code *m, uint64_t description)
{
	uint32_t fde[4]; /* its size, the way back to what it shares with others, begin, length */
	uint8_t shared[10];
	if (!read_at(m, description, fde, sizeof(fde)) || fde[0] == UINT32_MAX || !fde[1] ||
	    !read_at(m, description + 4 - fde[1], shared, sizeof(shared)) || shared[8] != 1 ||
	    shared[9] != 'z')
		return 0;
	return fde[3];
}

static bool find_in_file(const struct vt_code *m, uint64_t at, uint64_t *lo, uint64_t *hi)
{
	struct {
		uint8_t form[4];
		uint32_t frames, n;
	} head;
	int32_t entry[2];
	uint64_t table = 0, n;
	for (size_t i = 0; i < m->n_segments; i++)
		if (m->segments[i].p_type == PT_GNU_EH_FRAME)
			table = m->segments[i].p_vaddr;
	if (!table || !read_at(m, table, &head, sizeof(head)) ||
	    memcmp(head.form, "\x01\x1b\x03\x3b", sizeof(head.form)) ||
	    !find_entry(m, table + sizeof(head), head.n, (int64_t)(at - m->base - table), entry))
		return false;
	n = length_of(m, table + (uint64_t)(int64_t)entry[1]);
	*lo = m->base + table + (uint64_t)(int64_t)entry[0];
	*hi = *lo + n;
	return at < *hi;
}

bool vt_code_function(const struct vt_code *m, const uint8_t *at, uint64_t *lo, uint64_t *hi)
{
	return m->segments ? find_in_file(m, (uint64_t)at, lo, hi)
			   : vt_cfi_function((uint64_t)at, lo, hi);
}

#endif
