/*
 * compare.c - a snapshot of the kernel's against the model, page range by page range.
 *
 * Bytes first: mapped or not, protection, shared or private, file and offset, all flags where smaps
 * shows them. Then the boundaries between areas. Paths are not compared: files are renamed and
 * deleted under living mappings.
 *
 * SPDX-License-Identifier: MIT
 */
#include "compare.h"
#include "alloc.h"
#include <sys/mman.h>

static void append(struct vt_flux *flux, uint64_t lo, uint64_t hi)
{
	flux->v = vt_grow(flux->v, flux->n, &flux->cap, sizeof(*flux->v));
	flux->v[flux->n++] = (struct vt_range){ lo, hi };
}

/* Add the pages of [start, start + len). */
static void add_range(struct vt_flux *flux, uint64_t start, uint64_t len)
{
	uint64_t lo = start & ~(VT_PAGE_SIZE - 1);
	uint64_t hi = (start + len + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);

	if (len && hi > lo)
		append(flux, lo, hi);
}

/* Whether a call whose result is not known says itself which addresses it can have changed. */
static bool tells_where(const struct vt_event *e)
{
	if (e->kind == VT_MMAP)
		return e->a[3] & MAP_FIXED;
	return e->kind != VT_MREMAP && e->kind != VT_BRK && e->kind != VT_SHMAT;
}

/* What a mapping's length may be rounded up by. */
static uint64_t huge_page(uint64_t mmap_flags)
{
	unsigned shift = mmap_flags >> 26 & 63;

	if (!(mmap_flags & MAP_HUGETLB))
		return 0;
	return shift ? 1ULL << shift : 2 << 20;
}

void vt_flux_everything(struct vt_flux *flux)
{
	append(flux, 0, UINT64_MAX & ~(VT_PAGE_SIZE - 1));
}

void vt_flux_add(struct vt_flux *flux, const struct vt_model *m, const struct vt_event *e)
{
	const uint64_t *a = e->a, ret = vt_is_error(e->ret) ? 0 : (uint64_t)e->ret;
	uint64_t huge = e->kind == VT_MMAP ? huge_page(a[3]) : 0;

	if (e->flags & VT_EV_UNDONE && !tells_where(e)) {
		vt_flux_everything(flux);
		return;
	}
	switch (e->kind) {
	case VT_MMAP:
		add_range(flux, ret, ret ? a[1] + huge : 0);
		add_range(flux, a[0], a[3] & MAP_FIXED ? a[1] + huge : 0);
		break;
	case VT_BRK:
		add_range(flux, m->config.start_brk,
			  (a[0] > ret ? a[0] : ret) - m->config.start_brk);
		break;
	case VT_MREMAP:
		add_range(flux, a[0], a[1] > a[2] ? a[1] : a[2]);
		add_range(flux, ret, ret ? a[2] : 0);
		add_range(flux, a[4], a[3] & MREMAP_FIXED ? a[2] : 0);
		break;
	case VT_SHMAT:
		add_range(flux, ret, ret ? a[3] : 0);
		break;
	case VT_SHMDT:
		add_range(flux, a[0], vt_attached_bytes(m, a[0]));
		break;
	case VT_PRCTL:
	case VT_IOCTL:
		add_range(flux, a[2], a[3]);
		break;
	case VT_MLOCKALL:
	case VT_MUNLOCKALL:
		flux->all_boundaries = true;
		break;
	default:
		if (vt_kinds[e->kind].arg[0] == VT_ARG_ADDR &&
		    vt_kinds[e->kind].arg[1] == VT_ARG_LEN)
			add_range(flux, a[0], a[1]);
	}
}

static int by_lo(const void *a, const void *b)
{
	const struct vt_range *x = a, *y = b;

	return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sort the ranges and join those that overlap or touch. */
static void tidy(struct vt_flux *flux)
{
	size_t n = 0;

	if (!flux->n)
		return;
	qsort(flux->v, flux->n, sizeof(*flux->v), by_lo);
	for (size_t i = 1; i < flux->n; i++) {
		if (flux->v[i].lo > flux->v[n].hi)
			flux->v[++n] = flux->v[i];
		else if (flux->v[i].hi > flux->v[n].hi)
			flux->v[n].hi = flux->v[i].hi;
	}
	flux->n = n + 1;
}

/* One side at one place: what is mapped from here up to where it changes. */
struct side {
	bool mapped;
	uint32_t prot; /* READ, WRITE, EXEC */
	bool shared;
	uint32_t file; /* 0: anonymous */
	uint64_t pgoff;
	bool pgoff_open;       /* no call shows it */
	uint32_t flags, known; /* VT_VM(); of which these are for certain */
};

/* Ranges being walked, in order. */
struct cursor {
	const struct vt_flux *ranges;
	size_t i; /* at or above the walk's place */
	bool here;
};

/* The two lists being walked, and the range under the eye. */
struct walk {
	struct vt_replay *r;
	const struct vt_snapshot *s;
	const struct vt_extent *x; /* at or above at */
	size_t vma;                /* likewise */
	uint64_t at, next;
	struct side model, kernel;
	struct cursor flux, doubt;
};

static const uint32_t PROT_FLAGS = VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC);

static struct side side_of(uint64_t at, uint64_t start, uint64_t pgoff, uint32_t flags,
			   uint32_t file)
{
	return (struct side){
		.mapped = true,
		.prot = flags & PROT_FLAGS,
		.shared = flags & (VT_VM(SHARED) | VT_VM(MAYSHARE)),
		.file = file,
		.pgoff = file ? pgoff + ((at - start) >> VT_PAGE_SHIFT) : 0,
		.flags = flags,
	};
}

/* The flags of x that the model knows: those of drivers' and the kernel's own areas are theirs. */
static uint32_t known_flags(const struct vt_trace *t, const struct vt_extent *x)
{
	enum vt_file_kind kind = x->file ? t->files[x->file].kind : VT_FILE_NONE;

	if (x->special || kind == VT_FILE_DEVICE || kind == VT_FILE_SPECIAL)
		return 0;
	return ~vt_extent_unsure_flags(x);
}

static void limit_next(struct walk *w, uint64_t edge)
{
	if (edge > w->at && edge < w->next)
		w->next = edge;
}

/* The gate area is in maps, but no area of the process. */
static bool is_gate(const struct vt_vma *v)
{
	return v->special == VT_SPECIAL_VSYSCALL;
}

static void follow(struct walk *w, struct cursor *c)
{
	const struct vt_flux *f = c->ranges;

	while (c->i < f->n && f->v[c->i].hi <= w->at)
		c->i++;
	c->here = c->i < f->n && f->v[c->i].lo <= w->at;
	if (c->i < f->n) {
		limit_next(w, f->v[c->i].lo);
		limit_next(w, f->v[c->i].hi);
	}
}

/* Move on to the next range over which everything stays the same; false at the end. */
static bool step(struct walk *w)
{
	const struct vt_snapshot *s = w->s;

	w->at = w->next;
	w->next = UINT64_MAX;
	while (w->x && w->x->end <= w->at)
		w->x = vt_extent_next(w->x);
	while (w->vma < s->n_vmas && (s->vmas[w->vma].end <= w->at || is_gate(&s->vmas[w->vma])))
		w->vma++;
	if (!w->x && w->vma == s->n_vmas)
		return false;
	w->model = w->kernel = (struct side){ 0 };
	if (w->x) {
		limit_next(w, w->x->start);
		limit_next(w, w->x->end);
		if (w->x->start <= w->at) {
			w->model =
			    side_of(w->at, w->x->start, w->x->pgoff, w->x->flags, w->x->file);
			w->model.known = known_flags(w->r->trace, w->x);
			w->model.pgoff_open = vt_extent_unsure_offset(w->x);
		}
	}
	if (w->vma < s->n_vmas) {
		const struct vt_vma *v = &s->vmas[w->vma];
		limit_next(w, v->start);
		limit_next(w, v->end);
		if (v->start <= w->at) {
			w->kernel = side_of(w->at, v->start, v->pgoff, v->flags, v->file);
			w->kernel.known = s->flags_shown ? UINT32_MAX : 0;
		}
	}
	follow(w, &w->flux);
	follow(w, &w->doubt);
	return true;
}

/*
 * Whether the model's file is the one that the kernel shows. The inode of shared anonymous memory
 * is not known when it is mapped: the first one seen is it, where nothing is in doubt.
 */
static bool same_file(struct vt_trace *t, uint32_t model, uint32_t kernel, bool certain)
{
	if (model == kernel)
		return true;
	struct vt_file_def *m = model ? &t->files[model] : NULL;
	const struct vt_file_def *k = kernel ? &t->files[kernel] : NULL;
	if (m && m->kind == VT_FILE_SPECIAL)
		m = NULL;
	if (k && k->kind == VT_FILE_SPECIAL)
		k = NULL;
	if (!m || !k)
		return m == k;
	if (m->kind == VT_FILE_SYSV)
		return k->kind == VT_FILE_SYSV && m->ino == k->ino;
	bool nameless = m->kind == VT_FILE_SHM_ANON || m->kind == VT_FILE_HUGETLB;
	if (nameless && !m->ino && k->kind == m->kind) {
		if (!certain)
			return true;
		m->dev = k->dev;
		m->ino = k->ino;
	}
	return m->dev == k->dev && m->ino == k->ino;
}

static bool same(struct walk *w)
{
	const struct side *m = &w->model, *k = &w->kernel;

	if (!m->mapped || !k->mapped)
		return m->mapped == k->mapped;
	bool certain = !w->doubt.here && !vt_order_doubtful(w->r->order, w->at, w->next);
	if (m->prot != k->prot || m->shared != k->shared ||
	    !same_file(w->r->trace, m->file, k->file, certain))
		return false;
	if ((m->flags ^ k->flags) & m->known & k->known)
		return false;
	return !k->file || m->pgoff == k->pgoff || m->pgoff_open;
}

/* The names of flags, each with a space before it. */
static void flag_names(char *buf, size_t size, uint32_t flags)
{
	static const char *const names[] = {
#define NAME(n, s) s,
		VT_VM_FLAGS(NAME)
#undef NAME
	};
	size_t n = 0;

	for (unsigned i = 0; i < VT_VM_FLAG_COUNT && n + 4 < size; i++)
		if (flags >> i & 1)
			n += (size_t)snprintf(buf + n, size - n, " %s", names[i]);
}

static void describe(char *buf, size_t size, const struct vt_trace *t, const struct side *s)
{
	if (!s->mapped) {
		snprintf(buf, size, "not mapped");
		return;
	}
	const struct vt_file_def *f = s->file ? &t->files[s->file] : NULL;
	int n = snprintf(buf, size, "%c%c%c%c", s->prot & VT_VM(READ) ? 'r' : '-',
			 s->prot & VT_VM(WRITE) ? 'w' : '-', s->prot & VT_VM(EXEC) ? 'x' : '-',
			 s->shared ? 's' : 'p');
	if (f)
		snprintf(buf + n, size - (size_t)n, " %08llx %02llx:%02llx %llu %s",
			 (unsigned long long)s->pgoff << VT_PAGE_SHIFT,
			 (unsigned long long)f->dev >> 20, (unsigned long long)f->dev & 0xfffff,
			 (unsigned long long)f->ino, f->path);
	else
		snprintf(buf + n, size - (size_t)n, " anonymous");
}

/* A range that differs, kept until the walk is over: healing changes what is walked. */
struct repair {
	uint64_t start, end;
	size_t vma; /* SIZE_MAX: the kernel has nothing there */
};

struct repairs {
	struct repair *v;
	size_t n, cap;
};

static void note_repair(struct repairs *repairs, const struct walk *w)
{
	size_t vma = w->kernel.mapped ? w->vma : SIZE_MAX;

	if (repairs->n) {
		struct repair *last = &repairs->v[repairs->n - 1];
		if (last->end == w->at && last->vma == vma) {
			last->end = w->next;
			return;
		}
	}
	repairs->v = vt_grow(repairs->v, repairs->n, &repairs->cap, sizeof(*repairs->v));
	repairs->v[repairs->n++] = (struct repair){ w->at, w->next, vma };
}

static void count(struct walk *w)
{
	struct vt_replay *r = w->r;
	char model[512], kernel[512];

	r->verdict.byte_mismatches += (w->next - w->at) >> VT_PAGE_SHIFT;
	if (!r->mismatch)
		return;
	describe(model, sizeof(model), r->trace, &w->model);
	describe(kernel, sizeof(kernel), r->trace, &w->kernel);
	uint32_t differ = (w->model.flags ^ w->kernel.flags) & w->model.known & w->kernel.known;
	if (differ) {
		size_t m = strlen(model), k = strlen(kernel);
		flag_names(model + m, sizeof(model) - m, w->model.flags & differ);
		flag_names(kernel + k, sizeof(kernel) - k, w->kernel.flags & differ);
	}
	r->mismatch(r->mismatch_ctx, w->s, w->at, w->next, model, kernel);
}

/* Give the model what the kernel shows in one range. */
static int heal(struct vt_replay *r, const struct vt_snapshot *s, const struct repair *repair)
{
	if (repair->vma == SIZE_MAX)
		return vt_model_forget(&r->model, repair->start, repair->end);
	struct vt_vma v = s->vmas[repair->vma];
	if (v.file)
		v.pgoff += (repair->start - v.start) >> VT_PAGE_SHIFT;
	v.start = repair->start;
	v.end = repair->end;
	return vt_model_put(&r->model, &v, 0, 0);
}

/*
 * What differs is counted, unless a call whose effect is not known was about it; or unless this is
 * the first snapshot, which fills the model with whatever it shows.
 */
static void compare_bytes(struct walk *w, struct repairs *repairs)
{
	while (step(w)) {
		if ((w->flux.here && w->r->started) || same(w))
			continue;
		if (w->r->started && !w->doubt.here)
			count(w);
		note_repair(repairs, w);
	}
}

/* Doubts about what was in flux stay; the others are settled by this snapshot. */
static void keep_doubts(struct vt_flux *doubt, const struct vt_flux *flux)
{
	size_t kept = 0, j = 0;

	for (size_t i = 0; i < doubt->n; i++) {
		while (j < flux->n && flux->v[j].hi <= doubt->v[i].lo)
			j++;
		if (j < flux->n && flux->v[j].lo < doubt->v[i].hi)
			doubt->v[kept++] = doubt->v[i];
	}
	doubt->n = kept;
}

static bool is_in(const struct vt_flux *flux, uint64_t addr)
{
	for (size_t i = 0; i < flux->n && flux->v[i].lo <= addr; i++)
		if (addr < flux->v[i].hi)
			return true;
	return false;
}

/* Areas that begin in the middle of what the model holds as one extent. */
static void tell_cuts(struct vt_replay *r, const struct vt_snapshot *s, const struct vt_vma *areas,
		      size_t n, const struct vt_flux *flux)
{
	for (size_t i = 0; i < n; i++) {
		const struct vt_extent *x = vt_model_find(&r->model, areas[i].start);
		if (x && x->start < areas[i].start && !is_in(flux, areas[i].start))
			r->mismatch(r->mismatch_ctx, s, areas[i].start, areas[i].start,
				    "one extent", "two areas");
	}
}

/* Tell the determined boundaries that differ; vt_model_settle counts the same ones. */
static void tell_boundaries(struct vt_replay *r, const struct vt_snapshot *s,
			    const struct vt_vma *areas, size_t n, const struct vt_flux *flux)
{
	const struct vt_extent *prev = NULL, *x = vt_model_first(&r->model);
	size_t area = 0, range = 0;

	for (; x; prev = x, x = vt_extent_next(x)) {
		while (area < n && areas[area].start < x->start)
			area++;
		while (range < flux->n && flux->v[range].hi <= x->start)
			range++;
		bool in_flux = range < flux->n && flux->v[range].lo <= x->start;
		bool split = area < n && areas[area].start == x->start;
		if (!prev || prev->end < x->start || in_flux ||
		    x->boundary == VT_BOUNDARY_UNDETERMINED ||
		    (x->boundary == VT_BOUNDARY_SPLIT) == split)
			continue;
		r->mismatch(r->mismatch_ctx, s, x->start, x->start,
			    split ? "one area" : "two areas", split ? "two areas" : "one area");
	}
}

/*
 * Where calls overlapped in time, a move may have brought areas that the calls' places do not tell;
 * their bytes may be like those that the model has there. The kernel's areas count: what the
 * recorder enters as an unseen area when nothing is under way.
 */
static uint64_t take_areas_in_doubt(struct vt_replay *r, const struct vt_vma *areas, size_t n,
				    const struct vt_flux *flux, const struct vt_flux *doubt)
{
	uint64_t taken = 0;

	for (size_t i = 0; i < n && doubt->n; i++) {
		const struct vt_vma *v = &areas[i];
		const struct vt_extent *x = vt_model_find(&r->model, v->start);
		if (!x || x->start >= v->start || is_in(flux, v->start) || !is_in(doubt, v->start))
			continue;
		/* as far as the model holds it: a call under way may be mapping the rest */
		uint64_t bytes = vt_hole_in(&r->model, v->start, v->end) - v->start;
		struct vt_event e = { .kind = VT_UNSEEN_AREA, .a = { v->start, bytes } };
		struct vt_effect effect;
		taken += vt_model_apply(&r->model, &e, &effect) == 0;
	}
	return taken;
}

static void settle(struct vt_replay *r, const struct vt_snapshot *s, struct vt_flux *flux,
		   const struct vt_flux *doubt)
{
	struct vt_vma *areas = vt_calloc(s->n_vmas, sizeof(*areas));
	uint64_t settled = 0;
	size_t n = 0;

	for (size_t i = 0; i < s->n_vmas; i++)
		if (!is_gate(&s->vmas[i]))
			areas[n++] = s->vmas[i];
	/* a call's range may change the boundary right behind it as well */
	for (size_t i = 0; i < flux->n; i++)
		flux->v[i].hi++;
	for (size_t i = 0; i < r->n_pending; i++)
		append(flux, r->pending[i].lo, r->pending[i].hi);
	r->n_pending = 0;
	if (!r->started || flux->all_boundaries)
		append(flux, 0, UINT64_MAX);
	tidy(flux);
	if (!flux->n && r->started)
		vt_totals_compare_areas(r, s, n);
	r->verdict.undetermined += take_areas_in_doubt(r, areas, n, flux, doubt);
	if (r->mismatch) {
		tell_boundaries(r, s, areas, n, flux);
		tell_cuts(r, s, areas, n, flux);
	}
	uint64_t wrong = vt_model_settle(&r->model, areas, n, flux->v, flux->n, &settled);
	free(areas);
	r->verdict.vmas += n;
	r->verdict.undetermined += settled;
	r->verdict.boundary_mismatches += wrong;
}

int vt_compare(struct vt_replay *r, const struct vt_snapshot *s, struct vt_flux *flux)
{
	struct repairs repairs = { 0 };
	bool first = !r->started;
	int rc = 0;

	tidy(flux);
	tidy(r->doubt);
	struct walk w = {
		.r = r,
		.s = s,
		.x = vt_model_first(&r->model),
		.flux.ranges = flux,
		.doubt.ranges = r->doubt,
	};
	compare_bytes(&w, &repairs);
	keep_doubts(r->doubt, flux);
	struct vt_flux order = { 0 };
	for (uint32_t i = 0; i < r->order->n_doubtful; i++)
		append(&order, r->order->doubtful[i].lo, r->order->doubtful[i].hi);
	tidy(&order);
	vt_order_settled(r->order, flux->v, flux->n);
	for (size_t i = 0; !rc && i < repairs.n; i++) {
		rc = heal(r, s, &repairs.v[i]);
		add_range(flux, repairs.v[i].start, repairs.v[i].end - repairs.v[i].start);
	}
	free(repairs.v);
	if (rc) {
		free(order.v);
		return rc;
	}
	r->verdict.snapshots++;
	r->locks_known &= !repairs.n;
	if (!flux->calls && !r->doubt->n) {
		vt_totals_expect(r, s);
		r->due.fills_model = first;
	}
	settle(r, s, flux, &order);
	free(order.v);
	return 0;
}
