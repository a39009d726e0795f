/*
 * find_list.c - the list of findings: begun by a rule, kept, claimed by the ranges that died of
 * them, and put in order at the end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find.h"

#include <uthash.h>

#include "alloc.h"

/* So many findings of one kind and stack are kept; the rest are counted. */
#define GROUP_LIMIT 64
#define SUSPICION   (1u << 31)

/* Findings of one kind made by one stack. */
struct vt_find_group {
	UT_hash_handle hh;
	uint64_t key;
	uint64_t count;
	size_t first; /* index into found */
};

/*
 * A suspicion as it waits for a proof, which seldom comes. There are many, and most have one
 * victim: what comes behind that in a finding is kept only where there is something.
 */
#define BRIEF (offsetof(struct vt_finding, victims) + sizeof(struct vt_find_victim))
struct vt_suspicion {
	uint64_t seq;
	struct vt_finding *whole; /* malloc'ed; NULL: brief is all there is */
	unsigned char brief[BRIEF];
};

/* The suspicion as a finding. */
static struct vt_finding *whole_of(struct vt_suspicion *s)
{
	if (!s->whole) {
		s->whole = vt_calloc(1, sizeof(*s->whole));
		memcpy(s->whole, s->brief, BRIEF);
	}
	return s->whole;
}

static uint32_t suspect(struct vt_find *f, const struct vt_finding *n)
{
	uint32_t at = (uint32_t)(f->n_suspicions % VT_FIND_SUSPICIONS);
	f->suspicions = vt_grow(f->suspicions, at, &f->cap_suspicions, sizeof(*f->suspicions));
	struct vt_suspicion *s = &f->suspicions[at];
	if (f->n_suspicions++ >= VT_FIND_SUSPICIONS)
		free(s->whole);
	s->seq = n->seq;
	s->whole = NULL;
	memcpy(s->brief, n, BRIEF);
	if (n->n_victims > 1)
		*whole_of(s) = *n;
	return (at + 1) | SUSPICION;
}

struct vt_finding vt_find_begin(const struct vt_find *f, const struct vt_event *e,
				enum vt_find_kind kind, uint64_t lo, uint64_t hi)
{
	struct vt_finding n = { .kind = (uint8_t)kind,
				.tid = e->tid,
				.stack = e->stack,
				.owner = f->actor,
				.seq = e->seq,
				.addr = lo,
				.length = hi - lo,
				.span = e->span };
	vt_find_add_history(&n, e->seq);
	return n;
}

void vt_find_add_history(struct vt_finding *n, uint64_t seq)
{
	uint32_t at = n->n_history;
	for (uint32_t i = 0; i < n->n_history; i++)
		if (n->history[i] == seq)
			return;
	if (!seq || n->n_history == VT_FIND_HISTORY)
		return;
	for (; at && n->history[at - 1] > seq; at--)
		n->history[at] = n->history[at - 1];
	n->history[at] = seq;
	n->n_history++;
}

void vt_find_add_victim(struct vt_find *f, struct vt_finding *n, const struct vt_find_piece *p,
			const struct vt_birth *birth)
{
	struct vt_find_victim *last =
	    n->n_victims && n->n_victims <= VT_FIND_VICTIMS ? &n->victims[n->n_victims - 1] : NULL;
	if (last && last->birth.seq == birth->seq && last->hi == p->lo) {
		last->hi = p->hi;
		return;
	}
	if (n->n_victims < VT_FIND_VICTIMS) {
		n->victims[n->n_victims] =
		    (struct vt_find_victim){ p->lo, p->hi, *birth, vt_find_path(f, p->file) };
		/* room is left for the culprit's own story and the proof */
		if (n->n_victims < 2)
			vt_find_add_history(n, birth->seq);
	}
	n->n_victims++;
}

uint32_t vt_find_add(struct vt_find *f, const struct vt_finding *n)
{
	struct vt_find_group *group;
	uint64_t key = (uint64_t)n->kind << 32 | n->stack;
	if (n->severity == VT_SEVERITY_SUSPICION)
		return suspect(f, n);
	HASH_FIND(hh, f->groups, &key, sizeof(key), group);
	if (!group) {
		group = vt_calloc(1, sizeof(*group));
		group->key = key;
		group->first = f->n;
		HASH_ADD(hh, f->groups, key, sizeof(key), group);
	}
	if (group->count++ >= GROUP_LIMIT) {
		f->found[group->first].alike++;
		return 0;
	}
	f->found = vt_grow(f->found, f->n, &f->cap, sizeof(*f->found));
	f->found[f->n++] = *n;
	return (uint32_t)f->n;
}

static uint64_t kept_suspicions(const struct vt_find *f)
{
	return f->n_suspicions < VT_FIND_SUSPICIONS ? f->n_suspicions : VT_FIND_SUSPICIONS;
}

/*
 * A thread that gives back a second time what another has got since is the pattern of a double
 * unmap, and of blocks that go from hand to hand. Where no other block does, it is worth a warning.
 */
void vt_find_flush_suspicions(struct vt_find *f)
{
	if (!f->stackless || f->handovers)
		return;
	for (uint64_t i = 0; i < kept_suspicions(f); i++) {
		struct vt_finding *s = whole_of(&f->suspicions[i]);
		if (s->severity != VT_SEVERITY_SUSPICION || s->kind != VT_FIND_DOUBLE_UNMAP)
			continue;
		s->severity = VT_SEVERITY_WARNING;
		vt_find_add(f, s);
	}
}

struct vt_finding *vt_find_claimed(struct vt_find *f, const struct vt_dead *d)
{
	if (!d->claim)
		return NULL;
	if (vt_find_is_suspicion(d)) {
		struct vt_suspicion *s = &f->suspicions[(d->claim & ~SUSPICION) - 1];
		return s->seq == d->death ? whole_of(s) : NULL;
	}
	struct vt_finding *n = &f->found[d->claim - 1];
	return n->seq == d->death ? n : NULL;
}

bool vt_find_is_suspicion(const struct vt_dead *d)
{
	return d->claim & SUSPICION;
}

static int by_severity(const void *a, const void *b)
{
	const struct vt_finding *x = a, *y = b;
	if (x->severity != y->severity)
		return y->severity - x->severity;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Keep the worst of the findings that are alike in kind and stack; f->found is sorted. */
static void fold(struct vt_find *f)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->n; i++) {
		struct vt_finding *n = &f->found[i];
		size_t j = 0;
		while (j < kept && (f->found[j].kind != n->kind || f->found[j].stack != n->stack))
			j++;
		if (j < kept)
			f->found[j].alike += 1 + n->alike;
		else
			f->found[kept++] = *n;
	}
	f->n = kept;
}

void vt_find_sort(struct vt_find *f)
{
	if (f->n)
		qsort(f->found, f->n, sizeof(*f->found), by_severity);
	fold(f);
}

void vt_find_free_list(struct vt_find *f)
{
	struct vt_find_group *g, *next;
	HASH_ITER (hh, f->groups, g, next) {
		HASH_DEL(f->groups, g);
		free(g);
	}
	for (uint64_t i = 0; i < kept_suspicions(f); i++)
		free(f->suspicions[i].whole);
	free(f->found);
	free(f->suspicions);
}
