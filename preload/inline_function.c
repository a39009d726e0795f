/*
 * inline_function.c - reading code: a system call whose number comes from another register.
 *
 * Runs inside the traced process. Nothing is changed here. A compiler that needs a number twice
 * keeps it:
 *
 *	mov $NR, %r12d; ...; mov %r12d, %eax; ...; syscall
 *
 * The whole function is read from its beginning, which .eh_frame tells, so that where instructions
 * begin and where branches lead is known and not guessed. The number is known only when the call is
 * made: the stub compares it with the memory calls' numbers that occur in the function.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inline.h"

#if defined(__x86_64__)

#define MOST_CODE (64u << 10)

/* The register that the instruction in [p, end), "mov %REG, %eax" or rax, reads; -1: it is none. */
static int moved_to_rax(const uint8_t *p, const uint8_t *end)
{
	int rex = end - p == 3 && (*p & 0xf0) == 0x40 ? *p++ : 0;
	if (end - p != 2)
		return -1;
	if (*p == 0x89 && (p[1] & 0xc7) == 0xc0 && !(rex & 1))
		return (p[1] >> 3 & 7) | (rex & 4) << 1;
	return *p == 0x8b && (p[1] & 0xf8) == 0xc0 && !(rex & 4) ? (p[1] & 7) | (rex & 1) << 3 : -1;
}

/*
 * Whether there may be such a system call, of which nothing lies below text; where the instructions
 * before it begin is not known.
 */
bool vt_code_may_keep_number(const uint8_t *text, const uint8_t *call)
{
	for (const uint8_t *p = call - 2; p >= text && call - p <= VT_STRETCH; p--)
		if (moved_to_rax(p, p + 2) >= 0)
			return true;
	return false;
}

/* The register that an instruction loads with a number; -1: it is none. */
static int loaded(const uint8_t *p, uint32_t *nr)
{
	int high = *p == 0x41 ? 8 : 0;
	p += *p == 0x41;
	memcpy(nr, p + 1, sizeof(*nr));
	return (*p & 0xf8) == 0xb8 ? (*p & 7) | high : -1;
}

static bool add_number(struct vt_code_site *s, uint32_t nr)
{
	for (unsigned i = 0; i < s->n_kept; i++)
		if (s->kept[i] == nr)
			return true;
	if (s->n_kept == VT_MOST_NUMBERS)
		return false;
	s->kept[s->n_kept++] = nr;
	return true;
}

/* Where an instruction goes on behind what branches are prefixed with: hints, bnd, REX. */
static const uint8_t *behind_prefixes(const uint8_t *p)
{
	while (*p == 0x2e || *p == 0x3e || *p == 0xf2 || (*p & 0xf0) == 0x40)
		p++;
	return p;
}

/* Where a branch of this length leads, NULL: it is none, or goes by a register or memory. */
static const uint8_t *target(const uint8_t *p, unsigned len)
{
	const uint8_t *end = p + len;
	int32_t distance;
	p = behind_prefixes(p);
	if ((*p & 0xf0) == 0x70 || *p == 0xeb || (*p & 0xfc) == 0xe0)
		return end + (int8_t)end[-1];
	if ((*p & 0xfe) != 0xe8 && (*p != 0x0f || (p[1] & 0xf0) != 0x80))
		return NULL;
	memcpy(&distance, end - sizeof(distance), sizeof(distance));
	return end + distance;
}

/* A jump through a table, or the like. */
static bool is_indirect_jump(const uint8_t *p)
{
	p = behind_prefixes(p);
	return *p == 0xff && (p[1] >> 3 & 7) == 4;
}

/* The last instructions before the call, as many as a jump needs. False: one cannot be moved. */
static bool take_window(struct vt_code_site *s, const uint8_t *const *before, unsigned n,
			const uint8_t *call)
{
	unsigned first = n;
	bool writes_rax;
	do {
		if (!first-- || !vt_code_movable(before[first], &writes_rax))
			return false;
	} while (call + VT_SYSCALL_LEN - before[first] < VT_MOV_LEN);
	for (s->n = 0; first < n; first++)
		s->at[s->n++] = before[first];
	s->at[s->n++] = call;
	return true;
}

/* Read the function: its numbers, and the window before the call. False: it is no such site. */
static bool read_function(struct vt_code_site *s, const uint8_t *lo, const uint8_t *hi,
			  const uint8_t *call, const char **why)
{
	const uint8_t *before[VT_MOST_MOVES];
	unsigned n = 0, len;
	int last[16] = { 0 }; /* the memory call's number that was loaded last, by register */
	bool kept = false, movable = false, indirect = false, few = true;
	for (const uint8_t *p = lo; p < hi; p += len) {
		uint32_t nr;
		int to = loaded(p, &nr), from;
		len = vt_instruction_length(p);
		if (!len || (p < call && p + len > call) || (p == call && !kept))
			return false;
		if (to >= 0 && vt_is_memory_call(nr)) {
			few &= add_number(s, nr);
			last[to] = (int)nr;
		}
		indirect |= is_indirect_jump(p);
		if (p == call)
			movable = take_window(s, before, n, call);
		if (p >= call)
			continue;
		from = moved_to_rax(p, p + len);
		if (from >= 0)
			s->nr = (uint32_t)last[from];
		kept = from >= 0 || (kept && to != 0);
		if (n == VT_MOST_MOVES)
			memmove(before, before + 1, --n * sizeof(*before));
		before[n++] = p;
	}
	*why = !movable               ? "left alone: what comes before it cannot be moved"
	       : !few                 ? "left alone: its function has too many numbers"
	       : indirect && s->n > 2 ? "left alone: a jump through a table may land inside it"
				      : NULL;
	if (s->n_kept && !s->nr)
		s->nr = s->kept[0];
	return s->n_kept;
}

/*
 * Whether call is a system call whose number a register has kept, in a function that makes memory
 * calls; then *why tells what stands against changing it, or is NULL.
 */
bool vt_code_keeps_number(struct vt_code_site *s, const struct vt_code *m, const uint8_t *call,
			  const char **why)
{
	uint64_t lo, hi;
	*s = (struct vt_code_site){ .n = 1, .at = { call } };
	if (!vt_code_may_keep_number(m->text, call) || !vt_code_function(m, call, &lo, &hi) ||
	    lo < (uint64_t)m->text || hi + 16 > (uint64_t)m->text_end || hi - lo > MOST_CODE ||
	    !read_function(s, (const uint8_t *)lo, (const uint8_t *)hi, call, why))
		return false;
	unsigned len;
	for (const uint8_t *p = (const uint8_t *)lo; p < (const uint8_t *)hi; p += len) {
		len = vt_instruction_length(p);
		const uint8_t *to = target(p, len);
		if (to > s->at[0] && to < call + VT_SYSCALL_LEN)
			*why = "left alone: a branch lands inside it";
	}
	return true;
}

#endif
