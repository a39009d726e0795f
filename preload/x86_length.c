/*
 * x86_length.c - how long an x86-64 instruction is.
 *
 * Runs inside the traced process; reads code and changes nothing. What is not known for certain has
 * no length. Follows the opcode maps of the processors' manuals.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inline.h"

/*
 * What follows an opcode: M a ModRM byte, b an immediate byte, w two, v two or four, d four, i four
 * or eight, o an address, e three bytes; B and V a ModRM byte and b or v; t and T a ModRM byte, and
 * b or v if it says 0 or 1; . nothing; x: no such instruction, or a prefix.
 */
static const char one_byte[] = "MMMMbvxxMMMMbvxx"
			       "MMMMbvxxMMMMbvxx"
			       "MMMMbvxxMMMMbvxx"
			       "MMMMbvxxMMMMbvxx"
			       "xxxxxxxxxxxxxxxx"
			       "................"
			       "xxxMxxxxvVbB...."
			       "bbbbbbbbbbbbbbbb"
			       "BVxBMMMMMMMMMMMM"
			       "..........x....."
			       "oooo....bv......"
			       "bbbbbbbbiiiiiiii"
			       "BBw.xxBVe.w..bx."
			       "MMMMxxx.MMMMMMMM"
			       "bbbbbbbbddxb...."
			       "x.xx..tT......MM";
static const char two_byte[] = "MMMMx.....x.xM.B"
			       "MMMMMMMMMMMMMMMM"
			       "xxxxxxxxMMMMMMMM"
			       "......x.xxxxxxxx"
			       "MMMMMMMMMMMMMMMM"
			       "MMMMMMMMMMMMMMMM"
			       "MMMMMMMMMMMMMMMM"
			       "BBBBMMM.MMxxMMMM"
			       "dddddddddddddddd"
			       "MMMMMMMMMMMMMMMM"
			       "...MBMxx...MBMMM"
			       "MMMMMMMMMMBMMMMM"
			       "MMBMBBBM........"
			       "MMMMMMMMMMMMMMMM"
			       "MMMMMMMMMMMMMMMM"
			       "MMMMMMMMMMMMMMMM";

static bool is_prefix(uint8_t b)
{
	return (b & 0xe7) == 0x26 || (b >= 0x64 && b <= 0x67) || b == 0xf0 || b == 0xf2 ||
	       b == 0xf3;
}

/* Bytes of a ModRM byte and what it brings: a SIB byte, a displacement. */
static unsigned modrm_length(const uint8_t *p)
{
	unsigned mod = *p >> 6, rm = *p & 7, n = 1;
	if (mod == 3)
		return n;
	bool no_base = mod == 0 && rm == 5;
	if (rm == 4) {
		no_base = mod == 0 && (p[1] & 7) == 5;
		n++;
	}
	return n + (mod == 1 ? 1 : mod == 2 || no_base ? 4 : 0);
}

/* What follows the opcode, whose ModRM byte, if it has one, is at p. */
static unsigned rest_length(char what, const uint8_t *p, bool small, bool wide, bool short_address)
{
	unsigned v = small && !wide ? 2 : 4;
	switch (what) {
	case '.':
		return 0;
	case 'b':
		return 1;
	case 'w':
		return 2;
	case 'e':
		return 3;
	case 'd':
		return 4;
	case 'v':
		return v;
	case 'i':
		return wide ? 8 : v;
	case 'o':
		return short_address ? 4 : 8;
	case 'B':
		return modrm_length(p) + 1;
	case 'V':
		return modrm_length(p) + v;
	case 't':
		return modrm_length(p) + (*p >> 3 & 6 ? 0 : 1);
	case 'T':
		return modrm_length(p) + (*p >> 3 & 6 ? 0 : v);
	default:
		return modrm_length(p);
	}
}

/* An instruction behind a VEX or EVEX prefix: the opcode is at p, in this map. */
static unsigned vector_length(const uint8_t *p, unsigned map)
{
	bool plain = map == 1 && *p == 0x77;
	bool immediate = map == 3 || (map == 1 && two_byte[*p] == 'B');
	if (!map || map > 6 || map == 4 || (map == 1 && two_byte[*p] == 'x'))
		return 0;
	return 1 + (plain ? 0 : modrm_length(p + 1)) + immediate;
}

/* The length of the instruction at p, of which 16 bytes can be read; 0: not known. */
unsigned vt_instruction_length(const uint8_t *p)
{
	const uint8_t *begin = p;
	bool small = false, short_address = false;
	for (; is_prefix(*p) && p - begin < 8; p++) {
		small |= *p == 0x66;
		short_address |= *p == 0x67;
	}
	unsigned rex = (*p & 0xf0) == 0x40 ? *p++ : 0, n;
	if (*p == 0xc5)
		n = vector_length(p + 2, 1), p += 2;
	else if (*p == 0xc4)
		n = vector_length(p + 3, p[1] & 0x1f), p += 3;
	else if (*p == 0x62)
		n = vector_length(p + 4, p[1] & 7), p += 4;
	else if (*p == 0x0f && p[1] == 0x38)
		n = modrm_length(p + 3), p += 3;
	else if (*p == 0x0f && p[1] == 0x3a)
		n = modrm_length(p + 3) + 1, p += 3;
	else {
		const char *map = *p == 0x0f ? two_byte : one_byte;
		p += *p == 0x0f;
		char what = map[*p++];
		/* XOP; a branch with a prefix for 16 bits, which makers of processors see
		 * differently */
		if (what == 'x' || (p[-1] == 0x8f && map == one_byte && *p & 0x38) ||
		    (what == 'd' && small && !(rex & 8)))
			return 0;
		return (unsigned)(p - begin) +
		       rest_length(what, p, small, (rex & 8) != 0, short_address);
	}
	return n ? (unsigned)(p - begin) + n : 0;
}
