/*
 * report_data.c - one replay, and what is counted in it.
 *
 * The recorder's own calls are counted apart; its mappings are part of the address space.
 *
 * SPDX-License-Identifier: MIT
 */
#include "report_data.h"

#include <inttypes.h>

#include "alloc.h"

static struct vt_report_site *row(struct vt_report *r, size_t index)
{
	while (r->n_sites <= index) {
		r->table = vt_grow(r->table, r->n_sites, &r->cap_sites, sizeof(*r->table));
		r->table[r->n_sites++] = (struct vt_report_site){ 0 };
	}
	return &r->table[index];
}

/* The row of the site that an event came from. */
static size_t row_of(struct vt_report *r, const struct vt_replay *replay, const struct vt_event *e)
{
	if (!vt_kind_is_call(e->kind))
		return VT_REPORT_UNSEEN;
	const struct vt_site *site = vt_site_of(r->sites, replay, e);
	if (!site)
		return VT_REPORT_NO_STACK;
	row(r, VT_REPORT_OTHERS + site->id)->site = site;
	return VT_REPORT_OTHERS + site->id;
}

static void count_error(struct vt_report *r, const struct vt_event *e)
{
	for (size_t i = 0; i < r->n_errors; i++) {
		if (r->errors[i].kind == e->kind && r->errors[i].error == (int)-e->ret) {
			r->errors[i].count++;
			return;
		}
	}
	r->errors = vt_grow(r->errors, r->n_errors, &r->cap_errors, sizeof(*r->errors));
	r->errors[r->n_errors++] = (struct vt_report_error){ e->kind, (int)-e->ret, 1 };
}

static void count_call(struct vt_report *r, const struct vt_event *e, struct vt_report_site *site)
{
	struct vt_report_kind *k = &r->kinds[e->kind];
	bool failed = vt_is_error(e->ret) && !(e->flags & VT_EV_UNDONE);
	k->count++;
	k->errors += failed;
	k->total_ns += e->dur_ns;
	if (!site->calls)
		site->kind = e->kind;
	site->mixed |= site->kind != e->kind;
	site->calls++;
	site->errors += failed;
	site->total_ns += e->dur_ns;
	r->inner += (e->flags & VT_EV_INNER) != 0;
	r->raw += (e->flags & VT_EV_RAW) != 0;
	if (failed)
		count_error(r, e);
}

static void count_unseen(struct vt_report *r, const struct vt_event *e)
{
	const struct vt_trace *t = r->trace;
	const char *path = e->file && e->file < t->n_files ? t->files[e->file].path : NULL;
	bool appeared = e->kind == VT_UNSEEN_MAP, mapped = e->kind != VT_UNSEEN_UNMAP;
	char what[4200] = "not mapped any more";
	if (e->kind == VT_UNSEEN_AREA)
		strcpy(what, "flags that maps does not show: other areas than the calls explain");
	if (appeared)
		snprintf(what, sizeof(what), "%c%c%c%c %s", e->a[2] & 1 ? 'r' : '-',
			 e->a[2] & 2 ? 'w' : '-', e->a[2] & 4 ? 'x' : '-', e->a[3] & 1 ? 's' : 'p',
			 path && *path ? path : "anonymous");
	for (size_t i = 0; i < r->n_unseen; i++) {
		struct vt_report_unseen *u = &r->unseen[i];
		if (u->appeared == mapped && u->why == e->aux && strcmp(u->what, what) == 0) {
			u->count++;
			u->bytes += e->a[1];
			return;
		}
	}
	r->unseen = vt_grow(r->unseen, r->n_unseen, &r->cap_unseen, sizeof(*r->unseen));
	r->unseen[r->n_unseen++] = (struct vt_report_unseen){ vt_strndup(what, strlen(what)),
							      mapped, (uint8_t)e->aux, 1, e->a[1] };
}

static void raise_peak(struct vt_report_peak *p, uint64_t value, const struct vt_event *e)
{
	if (value > p->value)
		*p = (struct vt_report_peak){ value, e->seq, e->begin_ns + e->dur_ns };
}

/* Peaks of the state before the first event have number 0. */
static void raise_peaks(struct vt_report *r, const struct vt_totals *t, const struct vt_event *e)
{
	raise_peak(&r->mapped, t->total_vm << VT_PAGE_SHIFT, e);
	raise_peak(&r->committed, t->committed << VT_PAGE_SHIFT, e);
	raise_peak(&r->locked, t->locked_vm << VT_PAGE_SHIFT, e);
	raise_peak(&r->vmas, t->map_count, e);
}

static void take_event(struct vt_report *r, const struct vt_replay *replay,
		       const struct vt_event *e, uint64_t *map_count)
{
	const struct vt_totals *totals = &replay->model.totals;
	size_t index = row_of(r, replay, e);
	struct vt_report_site *site = row(r, index);
	r->events++;
	vt_ending_event(&r->ending, e);
	if (e->flags & VT_EV_OWN)
		r->own_events++;
	else if (vt_kind_is_call(e->kind))
		count_call(r, e, site);
	else if (e->kind != VT_FAULT)
		count_unseen(r, e);
	if (totals->map_count > *map_count && !(e->flags & VT_EV_OWN))
		site->vmas += totals->map_count - *map_count;
	*map_count = totals->map_count;
	raise_peaks(r, totals, e);
	if (vt_gives_birth(e))
		vt_births_add(&r->births, e->seq, index);
	uint64_t end = e->begin_ns + e->dur_ns;
	if (end > r->duration_ns)
		r->duration_ns = end;
}

/* "VmRSS:      1234 kB" in bytes, 0: not there. */
static uint64_t status_value(const char *text, const char *name)
{
	const char *p = text ? strstr(text, name) : NULL;
	return p ? strtoull(p + strlen(name), NULL, 10) << 10 : 0;
}

static void take_snapshot(struct vt_report *r, const struct vt_snapshot *s)
{
	uint64_t resident = status_value(s->status_text, "\nVmRSS:");
	if (s->time_ns > r->duration_ns)
		r->duration_ns = s->time_ns;
	if (!resident)
		return;
	r->resident = resident;
	r->resident_peak = status_value(s->status_text, "\nVmHWM:");
	r->resident_at_exit = s->reason == VT_SNAPSHOT_EXIT;
}

static size_t row_of_birth(const struct vt_report *r, uint64_t birth)
{
	uint64_t index;
	if (!birth)
		return VT_REPORT_AT_START;
	return vt_births_find(&r->births, birth, &index) ? (size_t)index : VT_REPORT_NO_STACK;
}

/* Whose the bytes are that are mapped at the end. */
static void take_end(struct vt_report *r, const struct vt_replay *replay, struct vt_roles *roles)
{
	uint64_t last_birth = 0, own_end = 0;
	r->end = replay->model.totals;
	r->verdict = replay->verdict;
	for (const struct vt_extent *x = vt_model_first(&replay->model); x; x = vt_extent_next(x)) {
		uint64_t bytes = x->end - x->start;
		if (x->own) {
			r->own_bytes += bytes;
			r->own_vmas += x->start != own_end || x->boundary == VT_BOUNDARY_SPLIT;
			own_end = x->end;
			continue;
		}
		if (x->special == VT_SPECIAL_VSYSCALL)
			continue;
		struct vt_report_site *s = row(r, row_of_birth(r, x->birth));
		struct vt_report_role *role = &r->roles[vt_role_of(roles, replay, x).use];
		/* the pieces of one mapping most often lie side by side */
		bool another = !x->birth || x->birth != last_birth;
		s->bytes += bytes;
		s->mappings += another;
		role->bytes += bytes;
		role->mappings += another;
		last_birth = x->birth;
	}
}

static int by_count(const void *pa, const void *pb)
{
	const struct vt_report_kind *a = pa, *b = pb;
	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return a->kind - b->kind;
}

static int by_role_bytes(const void *pa, const void *pb)
{
	const struct vt_report_role *a = pa, *b = pb;
	if (a->bytes != b->bytes)
		return a->bytes > b->bytes ? -1 : 1;
	return a->use - b->use;
}

static int by_error_count(const void *pa, const void *pb)
{
	const struct vt_report_error *a = pa, *b = pb;
	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return a->kind != b->kind ? a->kind - b->kind : a->error - b->error;
}

static int by_unseen_count(const void *pa, const void *pb)
{
	const struct vt_report_unseen *a = pa, *b = pb;
	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return a->bytes != b->bytes ? (a->bytes > b->bytes ? -1 : 1) : strcmp(a->what, b->what);
}

static void sort_tables(struct vt_report *r)
{
	for (uint8_t kind = 0; kind < VT_KIND_COUNT; kind++)
		r->kinds[kind].kind = kind;
	qsort(r->kinds, VT_KIND_COUNT, sizeof(r->kinds[0]), by_count);
	while (r->n_kinds < VT_KIND_COUNT && r->kinds[r->n_kinds].count)
		r->n_kinds++;
	for (uint8_t use = 0; use < VT_USE_COUNT; use++)
		r->roles[use].use = use;
	qsort(r->roles, VT_USE_COUNT, sizeof(r->roles[0]), by_role_bytes);
	if (r->n_errors)
		qsort(r->errors, r->n_errors, sizeof(*r->errors), by_error_count);
	if (r->n_unseen)
		qsort(r->unseen, r->n_unseen, sizeof(*r->unseen), by_unseen_count);
}

int vt_report_collect(struct vt_report *r, struct vt_trace *t)
{
	static const char *const names[VT_REPORT_OTHERS] = { "(before the recording)",
							     "(changes that no call explains)",
							     "(no stack recorded)" };
	struct vt_replay replay;
	struct vt_item item;
	uint64_t map_count = 0;
	int error = vt_replay_init(&replay, t);
	if (error)
		return error;
	r->trace = t;
	r->sites = vt_sites_new();
	struct vt_roles *roles = vt_roles_new(r->sites);
	for (size_t i = 0; i < VT_REPORT_OTHERS; i++)
		row(r, i)->name = names[i];
	for (;;) {
		vt_placements_before(&r->placements, &replay);
		enum vt_item_type type = vt_replay_next(&replay, &item);
		if (type == VT_ITEM_END)
			break;
		vt_sites_follow(r->sites, &replay, &item);
		vt_roles_follow(roles, &replay, &item);
		if (type == VT_ITEM_EVENT) {
			take_event(r, &replay, &item.event, &map_count);
			continue;
		}
		if (type == VT_ITEM_SNAPSHOT)
			take_snapshot(r, item.snapshot);
		map_count = replay.model.totals.map_count;
		if (!r->events)
			raise_peaks(r, &replay.model.totals, &(struct vt_event){ 0 });
	}
	vt_ending_close(&r->ending, t);
	take_end(r, &replay, roles);
	sort_tables(r);
	vt_roles_free(roles);
	vt_replay_fini(&replay);
	return 0;
}

void vt_report_free(struct vt_report *r)
{
	for (size_t i = 0; i < r->n_unseen; i++)
		free(r->unseen[i].what);
	free(r->unseen);
	free(r->errors);
	free(r->table);
	vt_births_free(&r->births);
	vt_placements_free(&r->placements);
	vt_sites_free(r->sites);
}

uint64_t vt_report_value(const struct vt_report_site *s, enum vt_report_order order)
{
	switch (order) {
	case VT_BY_BYTES:
		return s->bytes;
	case VT_BY_CALLS:
		return s->calls;
	default:
		return s->vmas;
	}
}

size_t vt_report_top(const struct vt_report *r, enum vt_report_order order, uint32_t *out,
		     size_t max)
{
	size_t n = 0;
	for (uint32_t i = 0; i < r->n_sites; i++) {
		uint64_t value = vt_report_value(&r->table[i], order);
		size_t at = n;
		if (!value)
			continue;
		while (at > 0 && vt_report_value(&r->table[out[at - 1]], order) < value)
			at--;
		if (at == max)
			continue;
		n += n < max;
		memmove(out + at + 1, out + at, (n - 1 - at) * sizeof(*out));
		out[at] = i;
	}
	return n;
}
