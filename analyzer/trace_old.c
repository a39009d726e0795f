/*
 * trace_old.c - chunks of events as traces of version 1 have them, turned into today's.
 *
 * A frame of type EVENTS_1 is decoded whole and encoded anew, so that the rest of the reader knows
 * one form of columns only. What it reads may be hostile. Nothing writes this form any more.
 *
 *   chunk = varint n_events, varint first_seq, 13 times (varint length), the columns
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"

enum { KIND, FLAGS, TID, TIME, DUR, STACK, ADDR, LEN, SMALL, WIDE, RET, FILE_ID, SPAN, COLUMNS };

#define ADDR_CONTEXTS 16

struct old_chunk {
	struct vt_buf col[COLUMNS];
	uint64_t n_events, first_seq;
	uint64_t addr[ADDR_CONTEXTS]; /* the last address, by tid */
	uint64_t time;                /* when the last event ended */
	uint32_t tid;
	uint8_t flags;
};

static uint64_t get(struct old_chunk *c, int column)
{
	return vt_get_varint(&c->col[column]);
}

/*
 * An address: 0 is base itself, 1 the null address, 2 announces an absolute address, 4 and up are
 * (paged distance + 1) << 1 | sign.
 */
static uint64_t get_addr(struct old_chunk *c, int column, uint64_t base)
{
	uint64_t code = get(c, column);

	if (code == 0)
		return base;
	if (code == 1)
		return 0;
	if (code == 2)
		return get(c, column);
	uint64_t d = vt_paged_value((code >> 1) - 1);
	return code & 1 ? base - d : base + d;
}

static uint64_t get_paged(struct old_chunk *c, int column)
{
	uint64_t code = get(c, column);
	return code == VT_PAGED_WIDE ? get(c, column) : vt_paged_value(code);
}

static void get_args(struct old_chunk *c, struct vt_event *e, uint64_t *last)
{
	const uint8_t *class = vt_kinds[e->kind].arg;

	for (int i = 0; i < VT_MAX_ARGS && class[i]; i++) {
		switch (class[i]) {
		case VT_ARG_ADDR:
			e->a[i] = get_addr(c, ADDR, *last);
			if (e->a[i])
				*last = e->a[i];
			break;
		case VT_ARG_LEN:
		case VT_ARG_OFF:
			e->a[i] = get_paged(c, LEN);
			break;
		case VT_ARG_HEX:
			e->a[i] = get(c, WIDE);
			break;
		case VT_ARG_FD:
		case VT_ARG_INT:
			e->a[i] = (uint64_t)vt_unzigzag(get(c, SMALL));
			break;
		default:
			e->a[i] = get(c, SMALL);
		}
	}
}

/* The next event; nonsense leaves a column marked bad. */
static void get_event(struct old_chunk *c, struct vt_event *e)
{
	uint64_t v = get(c, KIND);

	*e = (struct vt_event){ 0 };
	if (v >> 1 >= VT_KIND_COUNT) {
		c->col[KIND].bad = true;
		return;
	}
	e->kind = (uint8_t)(v >> 1);
	if (v & 1)
		c->flags = (uint8_t)get(c, FLAGS);
	e->flags = c->flags;
	e->tid = c->tid += (uint32_t)vt_unzigzag(get(c, TID));
	uint64_t begin = c->time + (uint64_t)vt_unzigzag(get(c, TIME)), dur = get(c, DUR);
	c->time = begin + dur;
	e->begin_ns = begin * VT_TIME_UNIT_NS;
	e->dur_ns = dur * VT_TIME_UNIT_NS;
	e->stack = (uint32_t)get(c, STACK);
	e->span = (uint32_t)get(c, SPAN);

	uint64_t *last = &c->addr[e->tid % ADDR_CONTEXTS];
	get_args(c, e, last);
	if (!vt_kind_returns_address(e->kind))
		e->ret = vt_unzigzag(get(c, RET));
	else if (get(c, FLAGS))
		e->ret = -(int64_t)(get(c, RET) & 4095);
	else
		e->ret = (int64_t)(*last = get_addr(c, RET, *last));
	if (vt_kind_has_file(e->kind))
		e->file = (uint32_t)get(c, FILE_ID);
	if (e->kind >= VT_UNSEEN_MAP)
		e->aux = get(c, WIDE);
}

static bool open_old(struct old_chunk *c, struct vt_buf *in)
{
	uint64_t len[COLUMNS];

	*c = (struct old_chunk){ .n_events = vt_get_varint(in), .first_seq = vt_get_varint(in) };
	for (int i = 0; i < COLUMNS; i++)
		len[i] = vt_get_varint(in);
	for (int i = 0; i < COLUMNS; i++) {
		const uint8_t *p = vt_get_bytes(in, len[i]);
		if (!p)
			return false;
		c->col[i] = (struct vt_buf){ (uint8_t *)p, (uint8_t *)p + len[i], false };
	}
	return !in->bad && c->n_events <= len[KIND];
}

static bool encode(struct old_chunk *old, struct vt_chunk *new)
{
	for (uint64_t i = 0; i < old->n_events; i++) {
		struct vt_event e;
		get_event(old, &e);
		for (int k = 0; k < COLUMNS; k++)
			if (old->col[k].bad)
				return false;
		if (!vt_chunk_has_room(new))
			return false;
		vt_chunk_put(new, &e);
	}
	return true;
}

bool vt_chunk_upgrade(struct vt_buf *in, struct vt_scratch *out, struct vt_buf *chunk)
{
	/* No column grows beyond the whole of what it was made from; pages that are not used cost
	 * nothing. */
	size_t bytes = (size_t)VT_COL_COUNT * VT_MAX_RAW;
	struct vt_chunk *new = vt_realloc(NULL, sizeof(*new), 1);
	uint8_t *columns = vt_realloc(NULL, bytes, 1);
	struct old_chunk old;
	bool ok = open_old(&old, in);

	if (ok) {
		vt_chunk_begin(new, columns, bytes, old.first_seq, VT_TIME_EXACT);
		ok = encode(&old, new);
	}
	if (ok) {
		size_t need = (VT_COL_COUNT + 3) * 10;
		for (int i = 0; i < VT_COL_COUNT; i++)
			need += vt_chunk_column(new, i, columns, bytes);
		out->p = vt_realloc(out->p, need, 1);
		out->cap = need;
		*chunk = (struct vt_buf){ out->p, out->p + need, false };
		ok = vt_chunk_finish(new, columns, bytes, chunk);
		*chunk = (struct vt_buf){ out->p, chunk->p, false };
	}
	free(columns);
	free(new);
	return ok;
}
