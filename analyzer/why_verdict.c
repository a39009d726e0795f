/*
 * why_verdict.c - what the history of a page means, in sentences.
 *
 * Says only what the events prove; whose fault it was is not decided here.
 *
 * SPDX-License-Identifier: MIT
 */
#include <inttypes.h>
#include <sys/mman.h>

#include "alloc.h"
#include "call_text.h"
#include "names.h"
#include "why_call.h"
#include "why_history.h"

/* More of one kind are summed up. */
#define MAX_TOLD 6

struct sentences {
	char **v;
	size_t n, cap;
};

static void say(struct sentences *s, const struct vt_text *t)
{
	s->v = vt_grow(s->v, s->n, &s->cap, sizeof(*s->v));
	s->v[s->n++] = vt_strndup(t->p, t->n);
}

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
}

/* "#11", or what was there before the first event. */
static void add_maker(struct vt_text *t, uint64_t birth)
{
	if (birth)
		vt_text_add(t, "#%" PRIu64, birth);
	else
		vt_text_add(t, "the program's start");
}

/* "the mapping made by #11" */
static void add_mapping(struct vt_text *t, uint64_t birth)
{
	if (birth)
		vt_text_add(t, "the mapping made by #%" PRIu64, birth);
	else
		vt_text_add(t, "a mapping from before the recording");
}

/* " (malloc block)": what the mapping is for, where that is known. */
static void add_role(struct vt_text *t, const struct vt_why *w, const struct vt_mapping_role *role)
{
	char text[VT_ROLE_TEXT];
	if (*vt_role_text(role, w->trace, text))
		vt_text_add(t, " (%s)", text);
}

/* Where its birth had placed a mapping, and how large; false: not part of this page's history. */
static bool birth_range(const struct vt_why *w, uint64_t birth, uint64_t *lo, uint64_t *bytes)
{
	const struct vt_why_entry *b = birth ? vt_why_find(w, birth) : NULL;
	if (!b || b->event.kind != VT_MMAP || vt_is_error(b->event.ret))
		return false;
	*lo = (uint64_t)b->event.ret;
	*bytes = page_up(b->event.a[1]);
	return true;
}

/* Which part of the whole mapping [lo, lo + bytes) the piece was. */
static void add_part(struct vt_text *t, const struct vt_why_mapping *piece, uint64_t lo,
		     uint64_t bytes)
{
	char size[VT_UNIT_TEXT];
	const char *which = piece->lo == lo           ? "the first"
			    : piece->hi == lo + bytes ? "the last"
						      : "part";
	if (piece->bytes >= bytes)
		vt_text_add(t, "the whole of");
	else if (piece->lo != lo && piece->hi != lo + bytes)
		vt_text_add(t, "%s from the middle of", vt_format_size(size, piece->bytes));
	else if (piece->bytes == VT_PAGE_SIZE)
		vt_text_add(t, "%s page of", which);
	else
		vt_text_add(t, "%s %s of", which, vt_format_size(size, piece->bytes));
}

/* How a placement was forced. */
static const char *force_of(const struct vt_event *e)
{
	switch (e->kind) {
	case VT_MMAP:
		return " (MAP_FIXED)";
	case VT_MREMAP:
		return " (MREMAP_FIXED)";
	case VT_SHMAT:
		return " (SHM_REMAP)";
	default:
		return "";
	}
}

static void tell_clobber(struct sentences *s, const struct vt_why *w, const struct vt_why_entry *e)
{
	char buf[512];
	struct vt_text t = { buf, 0, sizeof(buf) };
	const struct vt_why_mapping *victim = &e->victim;
	uint64_t lo = 0, bytes = 0;
	bool known = birth_range(w, victim->birth, &lo, &bytes);
	bool destructive = vt_why_is_destructive(e);

	vt_text_add(&t, "#%" PRIu64 "%s %s ", e->event.seq, force_of(&e->event),
		    destructive ? "silently replaced" : "took");
	if (known)
		add_part(&t, victim, lo, bytes);
	else
		vt_text_add(&t, "a part of");
	vt_text_add(&t, " ");
	add_mapping(&t, victim->birth);
	add_role(&t, w, &victim->role);
	if (!destructive && e->by_loader)
		vt_text_add(&t, ", as the loader does when it lays out a library");
	else if (!destructive)
		vt_text_add(&t, ", a reservation (PROT_NONE)");
	if (known && victim->bytes < bytes)
		vt_text_add(&t, ": %" PRIu64 " of its %" PRIu64 " bytes.", victim->bytes, bytes);
	else
		vt_text_add(&t, ": %" PRIu64 " bytes.", victim->bytes);
	say(s, &t);
}

static void tell_elsewhere(struct sentences *s, const struct vt_why *w,
			   const struct vt_why_entry *e)
{
	char buf[512];
	struct vt_text t = { buf, 0, sizeof(buf) };
	(void)w;
	vt_text_add(&t, "#%" PRIu64 " asked for 0x%" PRIx64 " without MAP_FIXED (only a hint)",
		    e->event.seq, e->event.a[0]);
	if (e->has_victim) {
		vt_text_add(&t, "; that was taken by ");
		add_maker(&t, e->victim.birth);
		vt_text_add(&t, ", so");
	} else {
		vt_text_add(&t, ";");
	}
	vt_text_add(
	    &t, " the kernel chose another place: its mapping lies elsewhere, at 0x%" PRIx64 ".",
	    (uint64_t)e->event.ret);
	say(s, &t);
}

static void tell_refused(struct sentences *s, const struct vt_why *w, const struct vt_why_entry *e)
{
	char buf[512];
	struct vt_text t = { buf, 0, sizeof(buf) };
	const char *name = vt_errno_name((int)-e->event.ret);
	(void)w;
	vt_text_add(&t, "#%" PRIu64 " (", e->event.seq);
	vt_text_short_call(&t, &e->event, e->path);
	vt_text_add(&t, ") failed here with %s", name ? name : "an error");
	if (e->event.kind == VT_MMAP && e->event.ret == -17 && e->has_victim) { /* EEXIST */
		vt_text_add(&t, ": the range was taken by ");
		add_maker(&t, e->victim.birth);
	}
	vt_text_add(&t, ".");
	say(s, &t);
}

static void tell_lost(struct sentences *s, const struct vt_why *w, const struct vt_why_entry *e)
{
	char buf[512];
	struct vt_text t = { buf, 0, sizeof(buf) };
	(void)w;
	vt_text_add(&t, "#%" PRIu64 ": a change that no recorded call explains took it from ",
		    e->event.seq);
	add_mapping(&t, e->victim.birth);
	vt_text_add(&t, ".");
	say(s, &t);
}

/* Whether the fault lies where the stack of its thread ends. */
static void add_overflow(struct vt_text *t, const struct vt_why *w, const struct vt_event *e)
{
	const struct vt_why_mapping *m = &w->now;
	const uint32_t access = VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC);
	char size[VT_UNIT_TEXT];
	if (w->mapped && !(m->flags & access) && m->role.use == VT_USE_THREAD_STACK &&
	    m->role.tid == e->tid)
		vt_text_add(t, " That is the guard of the thread's own stack: it overflowed.");
	else if (!w->mapped && w->beyond && e->tid == w->trace->header.pid)
		vt_text_add(t,
			    " That is beyond what RLIMIT_STACK (%s) lets the main stack grow to: "
			    "it overflowed.",
			    vt_format_size(size, w->beyond));
}

static void tell_fault(struct sentences *s, const struct vt_why *w, const struct vt_why_entry *e)
{
	char buf[512];
	struct vt_text t = { buf, 0, sizeof(buf) };
	vt_text_add(&t, "#%" PRIu64 ": the process died of ", e->event.seq);
	vt_text_short_call(&t, &e->event, NULL);
	vt_text_add(&t, " at 0x%" PRIx64 " in thread %u %s.", e->event.a[0], e->event.tid,
		    vt_trace_thread_name(w->trace, e->event.tid));
	add_overflow(&t, w, &e->event);
	say(s, &t);
}

/* Tell the last few entries that have bit what, oldest first. */
static void tell_each(struct sentences *s, const struct vt_why *w, uint32_t what,
		      void (*tell)(struct sentences *, const struct vt_why *,
				   const struct vt_why_entry *))
{
	size_t count = 0, skipped = 0;
	for (size_t i = 0; i < w->n; i++)
		count += (w->entries[i].what & what) != 0;
	for (size_t i = 0; i < w->n; i++) {
		if (!(w->entries[i].what & what))
			continue;
		if (count - skipped > MAX_TOLD)
			skipped++;
		else
			tell(s, w, &w->entries[i]);
	}
	if (!skipped)
		return;
	char buf[128];
	struct vt_text t = { buf, 0, sizeof(buf) };
	vt_text_add(&t, "(%zu earlier ones of that kind are in the history above.)", skipped);
	say(s, &t);
}

static const struct vt_why_entry *last_with(const struct vt_why *w, uint32_t what)
{
	for (size_t i = w->n; i-- > 0;)
		if (w->entries[i].what & what)
			return &w->entries[i];
	return NULL;
}

static void tell_mapped(struct vt_text *t, const struct vt_why *w)
{
	const struct vt_why_mapping *m = &w->now;
	vt_text_add(t, "0x%" PRIx64 " lies in 0x%" PRIx64 "-0x%" PRIx64 " ", w->addr, m->lo, m->hi);
	vt_text_prot(t, (m->flags & VT_VM(READ) ? PROT_READ : 0) |
			    (m->flags & VT_VM(WRITE) ? PROT_WRITE : 0) |
			    (m->flags & VT_VM(EXEC) ? PROT_EXEC : 0));
	vt_text_add(t, "%c", m->flags & VT_VM(SHARED) ? 's' : 'p');
	if (m->path && *m->path)
		vt_text_add(t, " of %s", m->path);
	add_role(t, w, &m->role);
	if (m->birth)
		vt_text_add(t, ", made by #%" PRIu64 ".", m->birth);
	else
		vt_text_add(t, ", there since before the recording.");
}

static void tell_unmapped(struct vt_text *t, const struct vt_why *w)
{
	char size[VT_UNIT_TEXT];
	const struct vt_why_entry *last =
	    last_with(w, VT_WHY_FATE(VT_PIECE_UNMAPPED) | VT_WHY_FATE(VT_PIECE_MOVED) |
			     VT_WHY_FATE(VT_PIECE_LOST));
	vt_text_add(t, "0x%" PRIx64 " is not mapped", w->addr);
	if (!last)
		vt_text_add(t, w->had_start || !w->last_seq
				   ? ""
				   : ", and has not been while this was recorded");
	else if (last->what & VT_WHY_FATE(VT_PIECE_MOVED))
		vt_text_add(t, ": #%" PRIu64 " moved it to 0x%" PRIx64, last->event.seq,
			    (uint64_t)last->event.ret);
	else if (last->what & VT_WHY_FATE(VT_PIECE_LOST))
		vt_text_add(t, " since #%" PRIu64, last->event.seq);
	else
		vt_text_add(t, ": #%" PRIu64 " (%s) gave it back", last->event.seq,
			    vt_kinds[last->event.kind].name);
	if (w->above > w->below)
		vt_text_add(t, "; it lies in a gap of %s.",
			    vt_format_size(size, w->above - w->below));
	else
		vt_text_add(t, ".");
}

/* How much of a range is mapped, where it is more than a page. */
static void tell_range(struct sentences *s, const struct vt_why *w)
{
	char buf[256], held[VT_UNIT_TEXT], whole[VT_UNIT_TEXT];
	struct vt_text t = { buf, 0, sizeof(buf) };
	if (w->end - w->page <= VT_PAGE_SIZE)
		return;
	vt_text_add(&t, "Of the range, %s of %s are mapped, in %" PRIu64 " mapping%s.",
		    vt_format_size(held, w->held_bytes), vt_format_size(whole, w->end - w->page),
		    w->n_held, w->n_held == 1 ? "" : "s");
	say(s, &t);
}

/* Who emptied the mapping last: its pages read as zeros, or as the file, since then. */
static void tell_discard(struct sentences *s, const struct vt_why *w)
{
	char buf[512];
	struct vt_text t = { buf, 0, sizeof(buf) };
	const struct vt_why_entry *last = last_with(w, VT_WHY_FATE(VT_PIECE_DISCARDED));
	if (!w->mapped || !last || last->event.seq < w->now.birth)
		return;
	vt_text_add(&t, "Its contents were last discarded by #%" PRIu64 " (", last->event.seq);
	vt_text_short_call(&t, &last->event, last->path);
	vt_text_add(&t, ").");
	say(s, &t);
}

static void tell_state(struct sentences *s, const struct vt_why *w)
{
	char buf[4400];
	struct vt_text t = { buf, 0, sizeof(buf) };
	if (w->at_end)
		vt_text_add(&t, "At the end ");
	else if (w->last_seq)
		vt_text_add(&t, "After #%" PRIu64 " ", w->last_seq);
	else
		vt_text_add(&t, "At the start ");
	if (w->mapped)
		tell_mapped(&t, w);
	else
		tell_unmapped(&t, w);
	say(s, &t);
}

/* Why the kernel put the last mapping of the page here. */
static void tell_gap(struct sentences *s, const struct vt_why *w)
{
	char buf[512], size[VT_UNIT_TEXT];
	struct vt_text t = { buf, 0, sizeof(buf) };
	const struct vt_why_entry *e = NULL;
	for (size_t i = w->n; i-- > 0 && !e;)
		if (w->entries[i].gap.chosen)
			e = &w->entries[i];
	if (!e)
		return;
	const struct vt_why_gap *g = &e->gap;
	if (g->by_hint)
		vt_text_add(&t, "#%" PRIu64 " asked for its place by a hint, and that was free: ",
			    e->event.seq);
	else
		vt_text_add(&t,
			    "The kernel chose the place of #%" PRIu64 ", the %s gap that fits: ",
			    e->event.seq, w->bottomup ? "lowest" : "highest");
	vt_text_add(&t, "0x%" PRIx64 "-0x%" PRIx64 ", %s", g->lo, g->hi,
		    vt_format_size(size, g->hi - g->lo));
	const struct vt_why_entry *opener = vt_why_find(w, g->opener);
	if (g->opener)
		vt_text_add(&t, ", opened by #%" PRIu64, g->opener);
	else
		vt_text_add(&t, ", where the recording has seen nothing before");
	if (opener)
		vt_text_add(&t, " (%s)", vt_kinds[opener->event.kind].name);
	vt_text_add(&t, ".");
	if (g->expected != (uint64_t)e->event.ret && !vt_is_error((int64_t)g->expected))
		vt_text_add(&t, " The model would have taken 0x%" PRIx64 ".", g->expected);
	say(s, &t);
}

char **vt_why_sentences(const struct vt_why *w, size_t *n)
{
	struct sentences s = { 0 };
	tell_each(&s, w, VT_WHY_FATE(VT_PIECE_CLOBBERED), tell_clobber);
	tell_each(&s, w, VT_WHY_ELSEWHERE, tell_elsewhere);
	tell_each(&s, w, VT_WHY_REFUSED, tell_refused);
	tell_each(&s, w, VT_WHY_FATE(VT_PIECE_LOST), tell_lost);
	tell_each(&s, w, VT_WHY_FAULT, tell_fault);
	tell_state(&s, w);
	tell_range(&s, w);
	tell_discard(&s, w);
	tell_gap(&s, w);
	*n = s.n;
	return s.v;
}
