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
#define MAX_DIFFS     512         /* differences kept from one snapshot; the next finds the rest */
#define MAX_FLUX      512         /* calls under way beyond which nothing is concluded */
#define HEAL_PAUSE_NS 20000000u   /* between two snapshots for contradictions, at least */

struct diff {
	uint64_t lo, hi, pgoff;
	uint32_t file;
	uint8_t prot;
	bool shared, mapped, growth;
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
	char text[sizeof(struct vt_snapshot_head) + PIECE];
	struct diff diffs[MAX_DIFFS];
	size_t n_diffs;
	struct vt_range flux[MAX_FLUX];
	size_t n_flux;
	bool flux_overflow;
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

static uint32_t file_of(const struct area *a, uint32_t expected)
{
	if (!a->ino && (!*a->path || *a->path == '['))
		return 0;
	return vt_file_of_area(a->dev, a->ino, a->path, expected);
}

/* A difference at [lo, hi): enter it at once, or keep it for judging. */
static void differ(const struct area *a, uint64_t lo, uint64_t hi, uint32_t file, bool growth)
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
		v.flags = (a->prot & PROT_READ ? VT_VM(READ) : 0) |
			  (a->prot & PROT_WRITE ? VT_VM(WRITE) : 0) |
			  (a->prot & PROT_EXEC ? VT_VM(EXEC) : 0) | (a->shared ? VT_VM(SHARED) : 0);
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
		};
}

static uint32_t prot_of(const struct vt_extent *x)
{
	return (x->flags & VT_VM(READ) ? PROT_READ : 0) |
	       (x->flags & VT_VM(WRITE) ? PROT_WRITE : 0) |
	       (x->flags & VT_VM(EXEC) ? PROT_EXEC : 0);
}

static bool same(const struct area *a, const struct vt_extent *x, uint64_t at, uint32_t file)
{
	if (prot_of(x) != a->prot || a->shared != !!(x->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE))))
		return false;
	if (x->file != file)
		return false;
	return !file || vt_extent_unsure_offset(x) ||
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
		differ(NULL, start, lo, 0, false);
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
			differ(a, at, to, file_of(a, 0), growth);
		} else {
			to = x->end < a->end ? x->end : a->end;
			uint32_t file = file_of(a, x->file);
			if (!same(a, x, at, file))
				differ(a, at, to, file, false);
		}
		at = to;
	}
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
	compare_area(&a);
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
	if (snap.store &&
	    !vt_store_frame(VT_FRAME_SNAPSHOT, snap.text, sizeof(head) + n, vt.next_seq, 0))
		snap.failed = true;
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
		if (n || last)
			store_piece(what, n, last && !more);
	}
	vt_sys1(SYS_close, fd);
	return true;
}

static void read_all(void *arg)
{
	(void)arg;
	if (!read_one("/proc/self/maps", VT_SNAP_MAPS, false)) {
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

static void flux(uint64_t lo, uint64_t len)
{
	if (snap.n_flux == MAX_FLUX) {
		snap.flux_overflow = true;
		return;
	}
	uint64_t end = (lo + len + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
	snap.flux[snap.n_flux++] = (struct vt_range){ lo & ~(VT_PAGE_SIZE - 1), end };
}

/*
 * The ranges of all calls that were under way while maps was read: those that took their place
 * since, up to where no call can have begun before the end of the reading. False when a slot up to
 * head is taken and does not tell yet what for.
 */
static bool gather_flux(uint64_t head)
{
	snap.n_flux = 0;
	snap.flux_overflow = false;
	for (uint64_t i = snap.ring_lo; i < head; i++) {
		struct vt_slot *s = &vt.ring[i & vt.ring_mask];
		uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);
		if (state >> 2 != i || (state & 3) == VT_SLOT_FREE)
			return false;
		if (s->begin_tick > snap.end_tick)
			continue;
		switch (s->kind) {
		case VT_MMAP:
			flux((uint64_t)s->ret, s->a[1]);
			break;
		case VT_MREMAP:
			if ((state & 3) != VT_SLOT_DONE)
				return false;
			flux(s->a[0], s->a[1]);
			flux((uint64_t)s->ret, s->a[2]);
			break;
		case VT_BRK:
		case VT_SHMAT:
		case VT_SHMDT:
			snap.flux_overflow = true;
			break;
		default:
			flux(s->a[0], s->a[1]);
		}
	}
	return true;
}

/* Wait until every call that can matter has told what it was. */
static bool know_flux(void)
{
	const struct timespec pause = { 0, 300000 };
	for (int tries = 0; tries < 100; tries++) {
		/* A call may be back from the kernel and not in the ring yet: give it time. */
		if (vt_call_under_way(snap.end_tick)) {
			vt_sys2(SYS_nanosleep, &pause, 0);
			continue;
		}
		if (gather_flux(atomic_load_explicit(&vt.live->ring_head, memory_order_acquire)))
			return !snap.flux_overflow;
	}
	return false;
}

/*
 * The part of [*lo, hi) that no call under way touches, from *lo on: moves *lo to its start and
 * returns its end; *lo is hi when there is none.
 */
static uint64_t quiet_part(uint64_t *lo, uint64_t hi)
{
	uint64_t end = hi;
	for (size_t i = 0; i < snap.n_flux && *lo < hi; i++) {
		const struct vt_range *f = &snap.flux[i];
		if (f->lo <= *lo && *lo < f->hi) {
			*lo = f->hi < hi ? f->hi : hi;
			end = hi;
			i = (size_t)-1; /* another one may begin before the new place */
		} else if (f->lo > *lo && f->lo < end) {
			end = f->lo;
		}
	}
	return end;
}

/* One difference, or the part of it in [lo, hi), becomes an event. */
static void emit(const struct diff *d, uint64_t lo, uint64_t hi)
{
	bool settles = vt_order_doubtful(lo, hi);
	struct vt_event e = {
		.begin_ns = vt_clock_ns(CLOCK_MONOTONIC) - vt.start_ns,
		.a = { lo, hi - lo },
		.kind = d->mapped ? VT_UNSEEN_MAP : VT_UNSEEN_UNMAP,
		.tid = vt_me()->tid,
		.aux = d->growth ? VT_UNSEEN_STACK_GROWTH
		       : settles ? VT_UNSEEN_ORDER
				 : VT_UNSEEN_CHANGE,
	};
	if (d->mapped) {
		e.a[2] = d->prot;
		e.a[3] = d->shared ? MAP_SHARED : MAP_PRIVATE;
		e.a[4] = d->file ? (d->pgoff << VT_PAGE_SHIFT) + (lo - d->lo) : 0;
		e.file = d->file;
	}
	vt_emit(&e);
}

/*
 * Differences that no call explains become events of their own. False when not all could be
 * judged: another snapshot is needed.
 */
static bool judge(void)
{
	if (!snap.n_diffs)
		return true;
	if (!know_flux())
		return false;
	bool all = snap.n_diffs < MAX_DIFFS;
	for (size_t i = 0; i < snap.n_diffs; i++) {
		const struct diff *d = &snap.diffs[i];
		uint64_t judged = 0;
		for (uint64_t lo = d->lo; lo < d->hi;) {
			uint64_t end = quiet_part(&lo, d->hi);
			if (lo < d->hi)
				emit(d, lo, end);
			judged += end - lo;
			lo = end;
		}
		all &= judged == d->hi - d->lo;
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
	snap.n_diffs = 0;
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
	if (atomic_load(&vt.sandboxed) || vt.store_full)
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
	if (all)
		vt_order_settled();
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
