/*
 * inline_site.c - reading code: which instructions lead to a system call.
 *
 * Runs inside the traced process. Nothing is changed here. Decoding begins at a mov of a memory
 * call's number and must arrive at the system call by moves and arithmetic alone, so it never
 * begins at a guess.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inline.h"

#define NEAR_JUMP  130         /* how far a branch with 8 bits reaches, and with 32: */
#define FAR_JUMP   (32u << 10) /* within one function */
#define RUN_IN     128         /* bytes after which decoding has come into step, twice over */
#define LONGEST    15          /* of instructions */
#define READ_AHEAD 16

/* What an instruction writes: the register or the other operand of its ModRM byte, or no register.
 */
enum written { UNKNOWN, REGISTER, OTHER, NOTHING };

/* Of the instruction whose opcode is at p and whose ModRM byte is at modrm. */
static enum written written(const uint8_t *p, const uint8_t *modrm)
{
	unsigned group = *modrm >> 3 & 7;
	if (*p == 0x0f) /* cmov; imul; movzx, movsx */
		return (p[1] & 0xf0) == 0x40 || p[1] == 0xaf || (p[1] & 0xf6) == 0xb6 ? REGISTER
										      : UNKNOWN;
	if (*p < 0x40 && (*p & 7) < 4) /* arithmetic; cmp */
		return *p >= 0x38 ? NOTHING : *p & 2 ? REGISTER : OTHER;
	switch (*p) {
	case 0x63: /* movsxd */
	case 0x69: /* imul */
	case 0x6b:
	case 0x8b: /* mov */
		return REGISTER;
	case 0x8d: /* lea */
		return *modrm >> 6 == 3 ? UNKNOWN : REGISTER;
	case 0x81: /* arithmetic with a number; cmp */
	case 0x83:
		return group == 7 ? NOTHING : OTHER;
	case 0x85: /* test */
		return NOTHING;
	case 0x89: /* mov */
	case 0xc1: /* shifts */
	case 0xd1:
	case 0xd3:
		return OTHER;
	case 0xc7: /* mov of a number */
		return group ? UNKNOWN : OTHER;
	case 0xf7: /* not, neg */
		return group == 2 || group == 3 ? OTHER : UNKNOWN;
	default:
		return UNKNOWN;
	}
}

/*
 * Length of an instruction that moves or computes a value, does the same wherever it stands, and
 * goes on behind itself; it leaves rsp alone but for a push or a pop. 0: it is none. *writes_rax:
 * whether it may.
 */
unsigned vt_code_movable(const uint8_t *p, bool *writes_rax)
{
	unsigned rex = (*p & 0xf0) == 0x40 ? *p : 0, to;
	const uint8_t *op = p + (rex != 0), *modrm = op + (*op == 0x0f) + 1;
	bool writes, unfit = false;
	if ((*op & 0xf8) == 0xb8 || (*op & 0xf0) == 0x50) { /* mov of a number; push, pop */
		to = (*op & 7u) | (rex & 1) << 3;
		writes = (*op & 0xf8) != 0x50;
	} else {
		enum written what = written(op, modrm);
		bool in_memory = *modrm >> 6 != 3;
		to = what == REGISTER ? (*modrm >> 3 & 7u) | (rex & 4) << 1
				      : (*modrm & 7u) | (rex & 1) << 3;
		writes = what == REGISTER || (what == OTHER && !in_memory);
		/* not known; or its address is told from where it stands */
		unfit = what == UNKNOWN || (*modrm & 0xc7) == 0x05;
	}
	*writes_rax = writes && to == 0;
	return unfit || (writes && to == 4) ? 0 : vt_instruction_length(p);
}

/* Whether the moves that begin at p lead to the system call exactly. */
static bool read_moves(struct vt_code_site *s, const uint8_t *p, const uint8_t *call)
{
	while (p < call && s->n < VT_MOST_MOVES + 1) {
		bool writes_rax;
		unsigned len = vt_code_movable(p, &writes_rax);
		if (!len || writes_rax)
			return false;
		s->at[s->n++] = p;
		p += len;
	}
	s->at[s->n++] = call;
	return p == call;
}

/* Length of an instruction that puts a number into rax, 0: it is none. call: what comes after it.
 */
static unsigned number_length(const uint8_t *p, const uint8_t *call, uint32_t *nr)
{
	/* mov $NR, %eax; mov $NR, %rax */
	unsigned n = *p == 0xb8 ? 1 : call - p >= 7 && !memcmp(p, "\x48\xc7\xc0", 3) ? 3 : 0;
	if (n)
		memcpy(nr, p + n, sizeof(*nr));
	return n ? n + (unsigned)sizeof(*nr) : 0;
}

/* The site whose system call instruction is at call, of which nothing lies below text. */
bool vt_code_site(struct vt_code_site *s, const uint8_t *text, const uint8_t *call)
{
	s->n_kept = 0;
	for (const uint8_t *p = call - VT_MOV_LEN; p >= text && call - p <= VT_STRETCH; p--) {
		unsigned len = number_length(p, call, &s->nr);
		if (!len || !vt_is_memory_call(s->nr))
			continue;
		s->n = 1;
		s->at[0] = p;
		if (read_moves(s, p + len, call))
			return true;
	}
	return false;
}

/* Whether the value stands behind an instruction of the site that is not its first. */
static bool lands_inside(const struct vt_code_site *s, const uint8_t *target)
{
	for (unsigned i = 1; i < s->n; i++)
		if (s->at[i] == target)
			return true;
	return false;
}

/*
 * Whether decoding that begins at from comes to a place, on its way to another. unknown: what is
 * said when it meets an instruction that it does not know.
 */
static bool passes(const uint8_t *from, const uint8_t *place, const uint8_t *to, bool unknown,
		   const struct vt_code *m)
{
	bool met = false;
	for (unsigned length; from < to; from += length) {
		met |= from == place;
		if (m->text_end - from < READ_AHEAD || !(length = vt_instruction_length(from)))
			return unknown;
	}
	return from == to && (met || place == to);
}

/*
 * Whether an instruction may begin at p, less than NEAR_JUMP from the site. Behind it decoding is
 * in step. Before it one of so many places in a row as the longest instruction has bytes begins
 * one; decoding from there passes all that follow, and comes to the site. The others come into
 * step, miss the site, or meet what is no instruction.
 */
static bool may_begin_at(const uint8_t *p, const struct vt_code_site *s, const struct vt_code *m)
{
	const uint8_t *first = s->at[0], *end = s->at[s->n - 1] + VT_SYSCALL_LEN;
	if (p >= end)
		return passes(end, p, p, true, m);
	if (p >= first) /* in one of the site's own, which do not branch */
		return false;
	if (first - m->text < NEAR_JUMP + RUN_IN + LONGEST)
		return true;
	const uint8_t *from = first - NEAR_JUMP - RUN_IN;
	for (unsigned i = 0; i < LONGEST; i++)
		if (passes(from + i, p, first, false, m))
			return true;
	return false;
}

/* Whether some branch may jump to an instruction of the site that is not its first. */
bool vt_code_is_jumped_into(const struct vt_code_site *s, const struct vt_code *m)
{
	const uint8_t *first = s->at[0], *last = s->at[s->n - 1];
	const uint8_t *lo = first - m->text > FAR_JUMP ? first - FAR_JUMP : m->text;
	const uint8_t *hi = m->text_end - last > FAR_JUMP ? last + FAR_JUMP : m->text_end - 5;
	for (const uint8_t *p = lo; p < hi; p++) {
		bool near = p + NEAR_JUMP > first && p < last + NEAR_JUMP;
		if (near && ((*p & 0xf0) == 0x70 || *p == 0xeb || (*p & 0xfc) == 0xe0) &&
		    lands_inside(s, p + 2 + (int8_t)p[1]) && may_begin_at(p, s, m))
			return true;
		if (*p == 0xe9 || (p > lo && p[-1] == 0x0f && (*p & 0xf0) == 0x80)) {
			int32_t distance;
			memcpy(&distance, p + 1, sizeof(distance));
			if (lands_inside(s, p + 5 + distance))
				return true;
		}
	}
	return false;
}
