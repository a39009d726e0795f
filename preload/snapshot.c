/*
 * snapshot.c - the kernel's own view: stored in the trace, and compared with the model.
 *
 * Runs inside the traced process, under the recorder lock; reading happens in outside.c's task.
 * The text of /proc/self/maps is stored as it is and read along with the model, piece by piece, so
 * that its length does not matter. A difference is believed only when no call that was under way
 * touches it; then it becomes an unseen event of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <fcntl.h>
#include <sys/mman.h>

#define PIECE         (60u << 10) /* text in one frame */
#define MAX_DIFFS     2048        /* differences kept from one snapshot; the next finds the rest */
#define MAX_MEETS     256         /* likewise, objects and inodes */
#define HEAL_PAUSE_NS 20000000u   /* between two snapshots for contradictions, at least */

struct diff {
	uint64_t lo, hi, pgoff;
	uint32_t file;
	uint8_t prot;
	bool shared, mapped, growth;
	bool fresh; /* the model has nothing there */
	bool area;  /* it is one area, which the calls do not explain */
	bool later; /* nothing can be said of it yet */
};

/* An object of the model's and an inode of the kernel's at one place: they may be the same. */
struct meet {
	uint64_t lo, hi, dev, ino;
	uint32_t file;
};

struct area {
	uint64_t start, end, pgoff, dev, ino;
	uint32_t prot;
	bool shared;
	uint8_t special;
	const char *path;
};

static struct {
	uint8_t reason;
	bool store; /* write frames */
	bool adopt; /* enter differences into the model at once: start, fresh child */
	bool compare;
	bool failed, noted;
	uint64_t seq_lo, ring_lo;
	uint16_t part;
	uint64_t end;      /* of the last area seen */
	uint64_t end_tick; /* when the reading of maps ended */
	char line[4400];
	size_t line_len;
	struct { /* what adopting has read, for the snapshot that follows; n 0: nothing */
		size_t n;
		const void *window, *arena_end; /* the recorder's mappings then */
		size_t window_size;
	} kept;
	char text[sizeof(struct vt_snapshot_head) + PIECE];
	struct diff diffs[MAX_DIFFS];
	size_t n_diffs;
	struct meet meets[MAX_MEETS];
	size_t n_meets;
} snap;

/* One line of maps. */
static bool parse(const char *p, struct area *a)
{
	a->start = vt_scan_hex(&p);
	if (*p++ != '-')
		return false;
	a->end = vt_scan_hex(&p);
	if (*p++ != ' ' || a->end <= a->start || strnlen(p, 5) < 5)
		return false;
	a->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
		  (p[2] == 'x' ? PROT_EXEC : 0);
	a->shared = p[3] == 's';
	p += 5;
	a->pgoff = vt_scan_hex(&p) >> VT_PAGE_SHIFT;
	p++;
	uint64_t major = vt_scan_hex(&p);
	p++;
	a->dev = major << 20 | vt_scan_hex(&p);
	p++;
	a->ino = vt_scan_dec(&p);
	while (*p == ' ')
		p++;
	a->path = p;
	a->special = (uint8_t)vt_special_of(p);
	return true;
}

static uint32_t file_of(const struct area *a, uint32_t expected, uint64_t lo, uint64_t hi)
{
	bool unbound;
	if (!a->ino && (!*a->path || *a->path == '['))
		return 0;
	uint32_t id = vt_file_of_area(a->dev, a->ino, a->path, expected, &unbound);
	if (unbound && snap.adopt)
		vt_file_bind(id, a->dev, a->ino);
	else if (unbound && snap.n_meets < MAX_MEETS)
		snap.meets[snap.n_meets++] = (struct meet){ lo, hi, a->dev, a->ino, id };
	return id;
}

/* A difference at [lo, hi): enter it at once, or keep it for judging. */
static void differ(const struct area *a, uint64_t lo, uint64_t hi, uint32_t file, bool fresh,
		   bool growth)
{
	if (!a) {
		if (snap.adopt)
			vt_model_forget(&vt.model, lo, hi);
		else if (snap.n_diffs < MAX_DIFFS)
			snap.diffs[snap.n_diffs++] = (struct diff){ .lo = lo, .hi = hi };
		return;
	}
	uint64_t pgoff = a->pgoff + ((lo - a->start) >> VT_PAGE_SHIFT);
	if (snap.adopt) {
		struct vt_vma v = { .start = lo, .end = hi, .pgoff = pgoff, .file = file };
		v.special = a->special;
		v.name = (uint16_t)vt_name_of_area(a->path);
		v.undetermined = lo != a->start || hi != a->end;
		v.flags = vt_prot_flags(a->prot) | (a->shared ? VT_VM(SHARED) : 0);
		vt_model_put(&vt.model, &v, 0, 0);
		return;
	}
	if (snap.n_diffs < MAX_DIFFS)
		snap.diffs[snap.n_diffs++] = (struct diff){
			.lo = lo,
			.hi = hi,
			.pgoff = pgoff,
			.file = file,
			.prot = (uint8_t)a->prot,
			.shared = a->shared,
			.mapped = true,
			.growth = growth,
			.fresh = fresh,
		};
}

static uint32_t prot_of(const struct vt_extent *x)
{
	return (x->flags & VT_VM(READ) ? PROT_READ : 0) |
	       (x->flags & VT_VM(WRITE) ? PROT_WRITE : 0) |
	       (x->flags & VT_VM(EXEC) ? PROT_EXEC : 0);
}

/* Everything but which file it is. */
static bool alike(const struct area *a, const struct vt_extent *x, uint64_t at)
{
	if (prot_of(x) != a->prot || a->shared != !!(x->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE))))
		return false;
	return !x->file || vt_extent_unsure_offset(x) ||
	       x->pgoff + ((at - x->start) >> VT_PAGE_SHIFT) ==
		   a->pgoff + ((at - a->start) >> VT_PAGE_SHIFT);
}

/* Compare [lo, hi), where nothing is mapped, with the model. */
static void compare_hole(uint64_t lo, uint64_t hi)
{
	while (lo < hi) {
		struct vt_extent *x = vt_model_find(&vt.model, lo);
		if (!x || x->start >= hi)
			return;
		uint64_t start = x->start > lo ? x->start : lo;
		lo = x->end < hi ? x->end : hi;
		differ(NULL, start, lo, 0, false, false);
	}
}

static void compare_area(const struct area *a)
{
	uint64_t at = a->start;
	while (at < a->end) {
		struct vt_extent *x = vt_model_find(&vt.model, at);
		uint64_t to = !x || x->start >= a->end ? a->end : x->start > at ? x->start : 0;
		if (to) {
			bool growth =
			    x && x->start == to && to < a->end &&
			    (x->special == VT_SPECIAL_STACK || x->flags & VT_VM(GROWSDOWN));
			differ(a, at, to, file_of(a, 0, at, to), true, growth);
		} else {
			to = x->end < a->end ? x->end : a->end;
			bool may_be = alike(a, x, at);
			uint32_t file = file_of(a, may_be ? x->file : 0, at, to);
			if (!may_be || file != x->file)
				differ(a, at, to, file, false, false);
		}
		at = to;
	}
}

/* Whether the model is sure that an area goes on across the start of a, or ends inside of a. */
static bool ends_otherwise(const struct area *a, bool begins_rightly)
{
	struct vt_extent *x = vt_model_find(&vt.model, a->start);
	if (!begins_rightly && x &&
	    (x->start < a->start || (x->start == a->start && x->boundary == VT_BOUNDARY_MERGED)))
		return true;
	while (x && (x = vt_extent_next(x)) && x->start < a->end)
		if (x->boundary == VT_BOUNDARY_SPLIT)
			return true;
	return false;
}

/*
 * Where the bytes are the model's, but not the areas, flags must have changed that are not shown.
 * That an area begins where the last difference ends needs no other explanation.
 */
static void compare_ends(const struct area *a)
{
	bool explained = snap.n_diffs && snap.diffs[snap.n_diffs - 1].hi == a->start;
	if (!snap.adopt && snap.n_diffs < MAX_DIFFS && ends_otherwise(a, explained))
		snap.diffs[snap.n_diffs++] =
		    (struct diff){ .lo = a->start, .hi = a->end, .area = true };
}

static void line(const char *text)
{
	struct area a;
	if (!parse(text, &a) || a.special == VT_SPECIAL_VSYSCALL)
		return;
	if (!snap.compare)
		return;
	/* Between two readings of the text an area may have grown down over what was read. */
	if (a.start < snap.end) {
		a.pgoff += (snap.end - a.start) >> VT_PAGE_SHIFT;
		a.start = snap.end;
	}
	if (a.start >= a.end)
		return;
	compare_hole(snap.end, a.start);
	size_t diffs = snap.n_diffs;
	compare_area(&a);
	if (snap.n_diffs == diffs)
		compare_ends(&a);
	/* A fork may have come between a call and its place in the order: the kernel's areas count.
	 */
	if (snap.adopt)
		vt_model_settle(&vt.model, &(struct vt_vma){ .start = a.start, .end = a.end }, 1,
				NULL, 0, NULL);
	snap.end = a.end;
}

/* Split a piece of text into lines; one that is cut goes on in the next piece. */
static void lines(const char *p, size_t n)
{
	for (; n; p++, n--) {
		if (*p != '\n') {
			if (snap.line_len < sizeof(snap.line) - 1)
				snap.line[snap.line_len++] = *p;
			continue;
		}
		snap.line[snap.line_len] = '\0';
		snap.line_len = 0;
		line(snap.line);
	}
}

static void store_piece(uint8_t what, size_t n, bool last)
{
	struct vt_snapshot_head head = {
		.seq_lo = snap.seq_lo,
		.seq_hi = snap.seq_lo + (atomic_load(&vt.live->ring_head) - snap.ring_lo),
		.time_ns = vt_clock_ns(CLOCK_MONOTONIC) - vt.start_ns,
		.number = vt.snapshots,
		.part = snap.part++,
		.reason = snap.reason,
		.what = what,
		.last = last,
	};
	memcpy(snap.text, &head, sizeof(head));
	if (snap.store && !snap.failed &&
	    !vt_store_frame(VT_FRAME_SNAPSHOT, snap.text, sizeof(head) + n, vt.next_seq, 0))
		snap.failed = true;
}

/* Keep the text of maps, if this is all of it. */
static void keep_piece(size_t n, bool ended)
{
	bool all = !snap.part++ && ended;
	snap.kept.n = all ? n : 0;
	snap.kept.window = vt.window;
	snap.kept.window_size = vt.window_size;
	snap.kept.arena_end = vt_arena_end();
}

/* Whether the areas are still those that were read: nobody but the recorder can have changed one.
 */
static bool is_kept(void)
{
	return snap.kept.n && vt.single && snap.kept.window == vt.window &&
	       snap.kept.window_size == vt.window_size && snap.kept.arena_end == vt_arena_end();
}

/* Read one file to its end, storing it piece by piece. */
static bool read_one(const char *path, uint8_t what, bool last)
{
	long fd = vt_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	char *text = snap.text + sizeof(struct vt_snapshot_head);
	bool more = true;
	snap.part = 0;
	while (more) {
		size_t n = 0;
		while (n < PIECE) {
			long got = vt_sys3(SYS_read, fd, text + n, PIECE - n);
			if (got <= 0) {
				more = false;
				break;
			}
			n += (size_t)got;
		}
		if (what == VT_SNAP_MAPS)
			lines(text, n);
		if (snap.adopt)
			keep_piece(n, !more);
		else if (n || last)
			store_piece(what, n, last && !more);
	}
	vt_sys1(SYS_close, fd);
	return true;
}

static bool read_maps(void)
{
	if (snap.adopt || !is_kept())
		return read_one("/proc/self/maps", VT_SNAP_MAPS, false);
	snap.part = 0;
	store_piece(VT_SNAP_MAPS, snap.kept.n, false);
	snap.compare = false;
	return true;
}

static void read_all(void *arg)
{
	(void)arg;
	bool told = read_maps();
	if (!snap.adopt)
		snap.kept.n = 0;
	if (!told) {
		snap.failed = true;
		if (!snap.noted)
			vt_note("snapshot", "not taken: /proc/self/maps cannot be opened");
		snap.noted = true;
		return;
	}
	snap.end_tick = vt_tick();
	if (snap.compare)
		compare_hole(snap.end, UINT64_MAX & ~(VT_PAGE_SIZE - 1));
	if (!snap.store)
		return;
	if (vt.options.smaps)
		read_one("/proc/self/smaps", VT_SNAP_SMAPS, false);
	if (!read_one("/proc/self/status", VT_SNAP_STATUS, true))
		store_piece(VT_SNAP_STATUS, 0, true);
}

/* One difference, or the part of it in [lo, hi), becomes an event. */
static void emit(const struct diff *d, uint64_t lo, uint64_t hi, bool away)
{
	/* where a call is away that nobody will hear of again, it may be the one */
	bool settles = away || vt_order_doubtful(&vt.order, lo, hi) ||
		       vt_order_moved(&vt.order, lo, hi, vt_flux_touches);
	struct vt_event e = {
		.begin_ns = vt_clock_ns(CLOCK_MONOTONIC) - vt.start_ns,
		.a = { lo, hi - lo },
		.kind = d->area     ? VT_UNSEEN_AREA
			: d->mapped ? VT_UNSEEN_MAP
				    : VT_UNSEEN_UNMAP,
		.tid = vt_me()->tid,
		.aux = d->growth ? VT_UNSEEN_STACK_GROWTH
		       : settles ? VT_UNSEEN_ORDER
				 : VT_UNSEEN_CHANGE,
	};
	if (d->mapped) {
		e.a[2] = d->prot;
		e.a[3] = d->shared ? MAP_SHARED : MAP_PRIVATE;
		e.a[4] = d->file ? (d->pgoff << VT_PAGE_SHIFT) + (lo - d->lo) : 0;
		e.file = vt_file_current(d->file);
	}
	vt_emit(&e, 0);
}

/* Nothing comes after this snapshot. */
static bool is_last(void)
{
	return snap.reason == VT_SNAPSHOT_EXIT || snap.reason == VT_SNAPSHOT_EXEC;
}

/*
 * Whether calls that overlapped in time may have made an area what it is. This snapshot settles
 * that doubt, so it must not wait for the next one; no call under way is at its edges.
 */
static bool is_area_in_doubt(const struct diff *d)
{
	struct vt_range around = { d->lo - VT_PAGE_SIZE, d->hi + VT_PAGE_SIZE };
	return vt_order_doubtful(&vt.order, d->lo, d->hi) && !vt_flux_anywhere() &&
	       !vt_flux_touches(around);
}

/* One difference: what of it no call explains becomes events. False when that is not all of it. */
static bool judge_one(struct diff *d, bool away)
{
	uint64_t judged = 0;
	if (d->area) {
		/* a call anywhere can have moved an area's end; the next snapshot shows it again */
		d->later = !vt_flux_idle(snap.ring_lo, snap.end_tick) && !is_area_in_doubt(d);
		if (!d->later)
			emit(d, d->lo, d->hi, false);
		return true;
	}
	if (d->fresh && !d->growth && away && !is_last() && vt_flux_anywhere())
		return false;
	for (uint64_t lo = d->lo; lo < d->hi;) {
		uint64_t end = vt_flux_quiet(&lo, d->hi);
		if (lo < d->hi)
			emit(d, lo, end, away && is_last());
		judged += end - lo;
		lo = end;
	}
	return judged == d->hi - d->lo;
}

/* Objects whose inodes are certain by now: no call was under way there, and none is in doubt. */
static void bind_objects(void)
{
	for (size_t i = 0; i < snap.n_meets; i++) {
		const struct meet *m = &snap.meets[i];
		uint64_t lo = m->lo;
		if (vt_flux_quiet(&lo, m->hi) == m->hi && lo == m->lo &&
		    !vt_order_doubtful(&vt.order, m->lo, m->hi))
			vt_file_bind(m->file, m->dev, m->ino);
	}
}

/*
 * Differences that no call explains become events of their own. False when not all could be
 * judged: another snapshot is needed.
 */
static bool judge(void)
{
	if (!snap.n_diffs && !snap.n_meets && !vt.order.n_doubtful)
		return true;
	enum vt_flux_state state = vt_flux_gather(snap.ring_lo, snap.end_tick, is_last());
	if (state == VT_FLUX_UNKNOWN)
		return false;
	bool all = snap.n_diffs < MAX_DIFFS;
	bind_objects();
	for (size_t i = 0; i < snap.n_diffs; i++)
		all &= judge_one(&snap.diffs[i], state == VT_FLUX_SOME_AWAY);
	/* what is in doubt there, and may be the reason, must not be settled before */
	for (size_t i = 0; i < snap.n_diffs; i++)
		if (snap.diffs[i].later)
			vt_flux_add((struct vt_range){ snap.diffs[i].lo, snap.diffs[i].hi });
	if (all) {
		size_t n;
		const struct vt_range *flux = vt_flux_ranges(&n);
		vt_order_settled(&vt.order, flux, n);
	}
	return all;
}

static void begin(uint8_t reason, bool store, bool adopt)
{
	snap.reason = reason;
	snap.store = store;
	snap.adopt = adopt;
	snap.compare = !vt.model.broken;
	snap.failed = false;
	snap.seq_lo = vt.next_seq - 1;
	snap.ring_lo = atomic_load(&vt.drained);
	snap.end = 0;
	snap.line_len = 0;
	snap.n_diffs = snap.n_meets = 0;
}

/* Bring the model to what the kernel shows, without a trace of it: before recording starts. */
void vt_snapshot_adopt(void)
{
	begin(VT_SNAPSHOT_START, false, true);
	vt_outside(read_all, NULL);
	for (uint32_t i = 0; i < vt.n_own; i++)
		vt_model_own(&vt.model, vt.own[i].lo, vt.own[i].hi);
}

/*
 * Read the kernel's view again, under the lock, after draining what is there, and let differences
 * become events. Unless it is only to settle a doubt, the view itself is stored: a snapshot.
 */
void vt_snapshot(uint8_t reason)
{
	bool store = reason != VT_SNAPSHOT_CONTRADICTION;
	if (atomic_load(&vt.sandboxed) || atomic_load(&vt.full))
		return;
	uint64_t started = vt_clock_ns(CLOCK_MONOTONIC);
	vt_drain(false);
	if (store)
		vt_seal();
	begin(reason, store, false);
	if (!vt_outside(read_all, NULL) || snap.failed)
		return;
	vt.snapshots += store;
	uint64_t before = vt.next_seq;
	bool all = judge();
	/* These events are in no ring slot: they must not wait. */
	if (vt.next_seq != before)
		vt_seal();
	if (vt.options.snapshot_every && store)
		vt.next_interval = vt.next_seq + vt.options.snapshot_every;
	vt.heal_wanted = !all;
	uint64_t cost = vt_clock_ns(CLOCK_MONOTONIC) - started;
	uint64_t pause = cost * 20 > HEAL_PAUSE_NS ? cost * 20 : HEAL_PAUSE_NS;
	vt.heal_not_before = started + cost + pause - vt.start_ns;
}

static void serve(void *arg)
{
	(void)arg;
	if (!atomic_load(&vt.on))
		return;
	uint64_t asked = atomic_load_explicit(&vt.header->snapshot_request, memory_order_relaxed);
	vt.snapshot_served = asked;
	vt_snapshot(VT_SNAPSHOT_DEMAND);
	atomic_store(&vt.header->snapshot_done, asked);
}

/* After a call: serve a snapshot that another process asked for through the header. */
void vt_snapshot_if_asked(void)
{
	uint64_t asked = atomic_load_explicit(&vt.header->snapshot_request, memory_order_relaxed);
	if (vt_unlikely(asked != vt.snapshot_served))
		vt_locked_if_free(serve, NULL);
}

static void on_demand(void *arg)
{
	(void)arg;
	if (atomic_load(&vt.on))
		vt_snapshot(VT_SNAPSHOT_DEMAND);
}

/* For programs that want a snapshot at a point of their choice. */
__attribute__((visibility("default"))) void vmtrail_snapshot(void);
void vmtrail_snapshot(void)
{
	if (atomic_load(&vt.on) && atomic_load(vt.fork_guard))
		vt_locked(on_demand, NULL);
}
