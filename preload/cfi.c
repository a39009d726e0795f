/*
 * cfi.c - the call frame information of a module, read for one place in its code.
 *
 * Runs inside the traced process, with signals blocked, on the unwinder's stack. Knows what
 * compilers write for x86-64: a return address just below the CFA, callee-saved registers at fixed
 * offsets, and the few expressions that realigned frames have. Anything else ends the stack there.
 * (None was met in Python's, Node's and Java's stacks.) The format is that of the System V ABI's
 * .eh_frame.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <link.h>

#include "cfi.h"

enum { RBX = 3, RBP = 6, RSP = 7, RA = 16 };
enum { REMEMBERED = 8 };

/* A register's rule. */
enum { SAME, AT_CFA, AT_RBP, UNDEFINED, UNKNOWN };
struct saved {
	uint8_t how;
	int64_t offset; /* bytes */
};

/* One row of the table that the instructions describe. */
struct row {
	uint64_t cfa_reg;
	int64_t cfa_offset;
	bool cfa_deref, cfa_unknown;
	struct saved rbx, rbp, ra;
};

struct code {
	const uint8_t *p, *end;
	bool bad;
};

struct cie {
	uint64_t code_align;
	int64_t data_align;
	bool signal;
	struct code initial;
};

static uint64_t byte(struct code *c)
{
	if (c->p < c->end)
		return *c->p++;
	c->bad = true;
	return 0;
}

static uint64_t fixed(struct code *c, unsigned bytes)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v |= byte(c) << 8 * i;
	return v;
}

static uint64_t uleb(struct code *c)
{
	uint64_t v = 0, b;
	unsigned shift = 0;
	do {
		b = byte(c);
		if (shift < 64)
			v |= (b & 0x7f) << shift;
		shift += 7;
	} while (b & 0x80);
	return v;
}

static int64_t sleb(struct code *c)
{
	uint64_t v = 0, b;
	unsigned shift = 0;
	do {
		b = byte(c);
		if (shift < 64)
			v |= (b & 0x7f) << shift;
		shift += 7;
	} while (b & 0x80);
	if (shift < 64 && b & 0x40)
		v |= ~0ull << shift;
	return (int64_t)v;
}

/* A block of bytes, skipped; returned for a look into it. */
static struct code block(struct code *c)
{
	uint64_t n = uleb(c);
	struct code b = { c->p, c->p, n > (uint64_t)(c->end - c->p) };
	if (b.bad) {
		c->bad = true;
		return b;
	}
	b.end = c->p += n;
	return b;
}

static bool parse_cie(const uint8_t *at, struct cie *cie)
{
	struct code c = { at + 4, at + 4 + *(const uint32_t *)at, false };
	if (*(const uint32_t *)at == 0xffffffff || fixed(&c, 4) != 0)
		return false;
	uint64_t version = byte(&c);
	const char *augmentation = (const char *)c.p;
	if ((version != 1 && version != 3) || *augmentation != 'z')
		return false;
	c.p += strlen(augmentation) + 1;
	cie->code_align = uleb(&c);
	cie->data_align = sleb(&c);
	if ((version == 1 ? byte(&c) : uleb(&c)) != RA)
		return false;
	struct code data = block(&c);
	bool relative = false;
	for (const char *a = augmentation + 1; *a; a++) {
		if (*a == 'R') {
			relative = byte(&data) == 0x1b; /* 32 bits, relative to their place */
		} else if (*a == 'P') {
			uint64_t encoding = byte(&data) & 0x0f;
			fixed(&data, encoding == 0x0b || encoding == 0x03 ? 4 : 8);
		} else if (*a == 'L') {
			byte(&data);
		} else if (*a == 'S') {
			cie->signal = true;
		} else {
			return false;
		}
	}
	cie->initial = c;
	return relative && !c.bad && !data.bad;
}

static struct saved *column(struct row *r, uint64_t reg)
{
	return reg == RBX ? &r->rbx : reg == RBP ? &r->rbp : reg == RA ? &r->ra : NULL;
}

static void set(struct row *r, uint64_t reg, uint8_t how, int64_t offset)
{
	struct saved *s = column(r, reg);
	if (s)
		*s = (struct saved){ how, offset };
}

/* breg6 (rbp) with an offset, and nothing more but what is left in the expression. */
static bool at_rbp(struct code *e, int64_t *offset)
{
	if (byte(e) != 0x70 + RBP)
		return false;
	*offset = sleb(e);
	return !e->bad;
}

static void cfa_expression(struct row *r, struct code e)
{
	r->cfa_deref = at_rbp(&e, &r->cfa_offset) && byte(&e) == 0x06 /* deref */ && e.p == e.end;
	r->cfa_unknown = !r->cfa_deref;
	r->cfa_reg = RBP;
}

static void expression(struct row *r, uint64_t reg, struct code e)
{
	int64_t offset = 0;
	bool known = at_rbp(&e, &offset) && e.p == e.end;
	set(r, reg, known ? AT_RBP : UNKNOWN, offset);
}

static void define_cfa(struct row *r, uint64_t reg, int64_t offset)
{
	r->cfa_reg = reg;
	r->cfa_offset = offset;
	r->cfa_deref = r->cfa_unknown = false;
}

/* The instructions with an operand in their own byte. False: it is none of them. */
static bool short_form(const struct cie *cie, struct code *c, uint64_t op, struct row *r,
		       const struct row *initial)
{
	uint64_t reg = op & 0x3f;
	struct saved *s = column(r, reg);
	switch (op >> 6) {
	case 2: /* offset */
		set(r, reg, AT_CFA, (int64_t)uleb(c) * cie->data_align);
		return true;
	case 3: /* restore */
		if (s)
			*s = *column((struct row *)initial, reg);
		return true;
	default:
		return false;
	}
}

/* Any other instruction that changes the row. */
static void long_form(const struct cie *cie, struct code *c, uint64_t op, struct row *r,
		      const struct row *initial)
{
	uint64_t reg;
	struct saved *s;
	switch (op) {
	case 0x00: /* nop */
		break;
	case 0x05: /* offset_extended */
		reg = uleb(c);
		set(r, reg, AT_CFA, (int64_t)uleb(c) * cie->data_align);
		break;
	case 0x06: /* restore_extended */
		reg = uleb(c);
		if ((s = column(r, reg)))
			*s = *column((struct row *)initial, reg);
		break;
	case 0x07: /* undefined */
		set(r, uleb(c), UNDEFINED, 0);
		break;
	case 0x08: /* same_value */
		set(r, uleb(c), SAME, 0);
		break;
	case 0x09: /* register */
		reg = uleb(c);
		uleb(c);
		set(r, reg, UNKNOWN, 0);
		break;
	case 0x0c: /* def_cfa */
		reg = uleb(c);
		define_cfa(r, reg, (int64_t)uleb(c));
		break;
	case 0x0d: /* def_cfa_register */
		r->cfa_reg = uleb(c);
		break;
	case 0x0e: /* def_cfa_offset */
		r->cfa_offset = (int64_t)uleb(c);
		break;
	case 0x0f: /* def_cfa_expression */
		cfa_expression(r, block(c));
		break;
	case 0x10: /* expression */
		reg = uleb(c);
		expression(r, reg, block(c));
		break;
	case 0x11: /* offset_extended_sf */
		reg = uleb(c);
		set(r, reg, AT_CFA, sleb(c) * cie->data_align);
		break;
	case 0x12: /* def_cfa_sf */
		reg = uleb(c);
		define_cfa(r, reg, sleb(c) * cie->data_align);
		break;
	case 0x13: /* def_cfa_offset_sf */
		r->cfa_offset = sleb(c) * cie->data_align;
		break;
	case 0x16: /* val_expression */
		reg = uleb(c);
		block(c);
		set(r, reg, UNKNOWN, 0);
		break;
	case 0x2e: /* GNU_args_size */
		uleb(c);
		break;
	default:
		c->bad = true;
	}
}

/* How far an instruction moves on in the code, in bytes; -1: it is no such instruction. */
static int64_t advance(const struct cie *cie, struct code *c, uint64_t op)
{
	uint64_t by;
	if (op >> 6 == 1)
		by = op & 0x3f;
	else if (op >= 0x02 && op <= 0x04)
		by = fixed(c, 1u << (op - 2));
	else
		return -1;
	return (int64_t)(by * cie->code_align);
}

/* Run instructions until they come to code behind offset. initial: the row that restore means. */
static void execute(const struct cie *cie, struct code *c, int64_t offset, struct row *r,
		    const struct row *initial)
{
	struct row remembered[REMEMBERED];
	unsigned n = 0;
	for (int64_t at = 0; c->p < c->end && !c->bad;) {
		uint64_t op = byte(c);
		int64_t by = advance(cie, c, op);
		if (by >= 0) {
			if ((at += by) > offset)
				return;
		} else if (op == 0x0a /* remember_state */ && n < REMEMBERED) {
			remembered[n++] = *r;
		} else if (op == 0x0b /* restore_state */ && n) {
			*r = remembered[--n];
		} else if (!short_form(cie, c, op, r, initial)) {
			long_form(cie, c, op, r, initial);
		}
	}
}

static bool encode(const struct saved *s, bool deref, int64_t *out)
{
	*out = s->offset / 8;
	if (s->how == SAME || s->how == UNDEFINED)
		*out = VT_REG_SAME;
	else if (s->how != (deref ? AT_RBP : AT_CFA) || s->offset % 8 || *out <= VT_REG_SAME ||
		 *out > INT16_MAX)
		return false;
	return true;
}

static union vt_frame_rule rule_of(const struct row *r)
{
	union vt_frame_rule rule = { .kind = VT_FRAME_HARD }, hard = rule;
	int64_t rbx, rbp;
	if (r->ra.how == UNDEFINED) {
		rule.kind = VT_FRAME_LAST;
		return rule;
	}
	bool far = r->ra.offset == -VT_FAR && r->cfa_reg == RBP && !r->cfa_deref;
	if (r->ra.how != AT_CFA || (r->ra.offset != -8 && !far) || r->cfa_unknown ||
	    r->cfa_offset != r->cfa_offset << 40 >> 40 || r->cfa_offset % 8 ||
	    !encode(&r->rbx, r->cfa_deref, &rbx) || !encode(&r->rbp, r->cfa_deref, &rbp))
		return hard;
	rule.rbx = rbx;
	rule.rbp = rbp;
	rule.cfa = r->cfa_offset;
	rule.kind = far                 ? VT_FRAME_FAR
		    : r->cfa_deref      ? VT_FRAME_DEREF
		    : r->cfa_reg == RSP ? VT_FRAME_RSP
		    : r->cfa_reg == RBP ? VT_FRAME_RBP
		    : r->cfa_reg == RBX ? VT_FRAME_RBX
					: VT_FRAME_HARD;
	return rule;
}

/* The FDE that may cover pc, by the sorted table behind .eh_frame_hdr; NULL: none. */
static const uint8_t *find_fde(const uint8_t *hdr, uint64_t pc, bool *hard)
{
	*hard = hdr[0] != 1 || hdr[1] != 0x1b || hdr[2] != 0x03 || hdr[3] != 0x3b;
	if (*hard)
		return NULL;
	const int32_t *table = (const int32_t *)(hdr + 12);
	size_t lo = 0, hi = *(const uint32_t *)(hdr + 8);
	int64_t offset = (int64_t)(pc - (uint64_t)hdr);
	while (lo < hi) {
		size_t middle = (lo + hi) / 2;
		if (table[2 * middle] <= offset)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo ? hdr + table[2 * lo - 1] : NULL;
}

static const uint8_t *frame_table(uint64_t pc)
{
	struct dl_phdr_info info;
	if (!vt_loaded_find((const void *)pc, &info))
		return NULL;
	for (int i = 0; i < info.dlpi_phnum; i++)
		if (info.dlpi_phdr[i].p_type == PT_GNU_EH_FRAME)
			return (const uint8_t *)info.dlpi_addr + info.dlpi_phdr[i].p_vaddr;
	return NULL;
}

/* What is known of the function that pc lies in. */
struct function {
	struct cie cie;
	struct code program;
	uint64_t start, length;
};

/* False: there is none, or (*hard) what describes it is not of the usual form. */
static bool find_function(struct function *f, uint64_t pc, bool *hard)
{
	const uint8_t *hdr = frame_table(pc), *fde;
	*hard = false;
	if (!hdr || !(fde = find_fde(hdr, pc, hard)))
		return false;
	*f = (struct function){ .program = { fde + 4, fde + 4 + *(const uint32_t *)fde, false } };
	*hard = *(const uint32_t *)fde == 0xffffffff ||
		!parse_cie(fde + 4 - *(const uint32_t *)(fde + 4), &f->cie);
	if (*hard)
		return false;
	f->program.p += 4;
	f->start = (uint64_t)f->program.p + (uint64_t)(int64_t)(int32_t)fixed(&f->program, 4);
	f->length = fixed(&f->program, 4);
	return pc - f->start < f->length;
}

bool vt_cfi_function(uint64_t pc, uint64_t *start, uint64_t *end)
{
	struct function f;
	bool hard;
	if (!find_function(&f, pc, &hard))
		return false;
	*start = f.start;
	*end = f.start + f.length;
	return true;
}

union vt_frame_rule vt_cfi_rule(uint64_t pc, bool exact)
{
	union vt_frame_rule guess = { .kind = VT_FRAME_GUESS }, hard = { .kind = VT_FRAME_HARD };
	struct row row = { .rbx = { SAME, 0 } }, initial;
	struct function f;
	bool odd;
	pc -= !exact;
	if (!find_function(&f, pc, &odd))
		return odd ? hard : guess;
	if (f.cie.signal)
		return (union vt_frame_rule){ .kind = VT_FRAME_SIGNAL };
	block(&f.program);
	execute(&f.cie, &f.cie.initial, INT64_MAX, &row, &row);
	initial = row;
	execute(&f.cie, &f.program, (int64_t)(pc - f.start), &row, &initial);
	return f.program.bad || f.cie.initial.bad ? hard : rule_of(&row);
}
