/*
 * execute.c - one operation: resolve its addresses, refuse what would strike the worker itself,
 * make the raw call, apply the event to the model, compare.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <vmtrail/abi.h>

#include "fuzz.h"
#include "raw.h"

#define SYS_MSEAL  462
#define HUGE_BYTES (2UL << 20)

/* Larger ranges are never populated: the machine is others' too. */
#define POPULATE_MAX (16UL << 20)

/* Plain calls: the event's arguments are the system call's. 0: made by hand in execute_call. */
static const uint16_t call_numbers[VT_KIND_COUNT] = {
	[VT_MMAP] = SYS_mmap,
	[VT_MUNMAP] = SYS_munmap,
	[VT_MPROTECT] = SYS_mprotect,
	[VT_PKEY_MPROTECT] = SYS_pkey_mprotect,
	[VT_MADVISE] = SYS_madvise,
	[VT_BRK] = SYS_brk,
	[VT_MREMAP] = SYS_mremap,
	[VT_REMAP_FILE_PAGES] = SYS_remap_file_pages,
	[VT_SHMAT] = SYS_shmat,
	[VT_SHMDT] = SYS_shmdt,
	[VT_MLOCK] = SYS_mlock,
	[VT_MLOCK2] = SYS_mlock2,
	[VT_MUNLOCK] = SYS_munlock,
	[VT_MLOCKALL] = SYS_mlockall,
	[VT_MUNLOCKALL] = SYS_munlockall,
	[VT_MSYNC] = SYS_msync,
	[VT_MSEAL] = SYS_MSEAL,
	[VT_PERSONALITY] = SYS_personality,
};

int64_t execute_call(const struct vt_event *ev)
{
	const uint64_t *a = ev->a;
	switch (ev->kind) {
	case VT_PROCESS_MADVISE: {
		struct iovec range = { (void *)a[0], a[1] };
		return raw_call(SYS_process_madvise, (uint64_t)world.pidfd, (uint64_t)&range, 1,
				a[2], 0, 0);
	}
	case VT_MBIND: {
		uint64_t mask = a[3];
		return raw_call(SYS_mbind, a[0], a[1], a[2], a[3] ? (uint64_t)&mask : 0, a[4],
				a[5]);
	}
	case VT_PRCTL: {
		static const char *const names[] = { NULL, "one", "another" };
		return raw_call(SYS_prctl, a[0], a[1], a[2], a[3], (uint64_t)names[a[4]], 0);
	}
	case VT_IOCTL: {
		struct uffdio_register arg = { .range = { a[2], a[3] }, .mode = a[4] };
		return raw_call(SYS_ioctl, a[0], a[1], (uint64_t)&arg, 0, 0, 0);
	}
	case VT_SETRLIMIT: {
		uint64_t limits[2] = { a[1], a[2] };
		return raw_call(SYS_setrlimit, a[0], (uint64_t)limits, 0, 0, 0, 0);
	}
	case FUZZ_READ:
		return raw_call(SYS_pwrite64, (uint64_t)world.scratch, a[0], 1, 0, 0, 0);
	case FUZZ_WRITE:
		return raw_call(SYS_pread64, (uint64_t)world.scratch, a[0], 1, 0, 0, 0);
	default:
		return raw_call(call_numbers[ev->kind], a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}

/* Whether [addr, addr + len) holds a page of the worker's own. A range that wraps is refused by
 * every call before it does anything. */
static bool reaches_own(uint64_t addr, uint64_t len)
{
	uint64_t start = addr & -VT_PAGE_SIZE,
		 end = (addr + len + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
	if (addr + len < addr || end < start)
		return false;
	for (size_t i = 0; i < world.n_own; i++)
		if (start < world.own[i].hi && end > world.own[i].lo)
			return true;
	return false;
}

/* Whether new mappings are locked and so populated at once. */
static bool locks_future(const struct fuzz_worker *w)
{
	return (w->model.def_flags & (VT_VM(LOCKED) | VT_VM(LOCKONFAULT))) == VT_VM(LOCKED);
}

/* How long a mapping becomes: huge pages are rounded up to their size. */
static uint64_t mapping_len(const struct vt_event *ev)
{
	uint64_t shift = ev->a[3] >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
	uint64_t huge = shift ? 1UL << shift : HUGE_BYTES;
	uint64_t unit = ev->a[3] & MAP_HUGETLB ? huge : VT_PAGE_SIZE;
	uint64_t len = (ev->a[1] + unit - 1) & -unit;
	return len < ev->a[1] ? ev->a[1] : len;
}

/* Whether a range is too long to be populated; one that wraps is refused at once. */
static bool is_too_long(const uint64_t *a)
{
	return a[1] > POPULATE_MAX && a[0] + a[1] > a[0];
}

/* Whether an advice takes memory: MADV_POPULATE_READ, _WRITE, MADV_COLLAPSE, MADV_GUARD_INSTALL. */
static bool populates(uint64_t advice)
{
	return advice == 22 || advice == 23 || advice == 25 || advice == 102;
}

/* Whether the call would strike the worker, or take more memory than a test should. */
static bool is_dangerous(const struct fuzz_worker *w, const struct vt_event *ev)
{
	const uint64_t *a = ev->a;
	switch (ev->kind) {
	case VT_MMAP:
		if (a[1] > POPULATE_MAX && (a[3] & (MAP_POPULATE | MAP_LOCKED) || locks_future(w)))
			return true;
		return a[3] & MAP_FIXED && reaches_own(a[0], mapping_len(ev));
	case VT_MREMAP:
		if (a[2] > POPULATE_MAX && a[2] < 1UL << 46)
			return true;
		return reaches_own(a[0], a[1] ? a[1] : 1) ||
		       (a[3] & MREMAP_FIXED && reaches_own(a[4], a[2]));
	case VT_BRK:
		if (locks_future(w) && a[0] > w->brk + POPULATE_MAX)
			return true;
		return a[0] < world.config.brk && a[0] >= world.config.start_brk;
	case VT_SHMAT:
		return a[2] & SHM_REMAP && reaches_own(a[1], a[3] + VT_PAGE_SIZE);
	case VT_SHMDT:
		return reaches_own(a[0], 1);
	case VT_MLOCKALL:
		return w->model.totals.total_vm << VT_PAGE_SHIFT > 4 * POPULATE_MAX;
	case VT_MLOCK:
	case VT_MLOCK2:
		return reaches_own(a[0], a[1]) || (w->touched && is_too_long(a));
	case VT_MADVISE:
	case VT_PROCESS_MADVISE:
		return reaches_own(a[0], a[1]) || (populates(a[2]) && is_too_long(a));
	case VT_IOCTL:
		return reaches_own(a[2], a[3]);
	case VT_MUNLOCKALL:
	case VT_PRCTL:
	case VT_SETRLIMIT:
	case VT_PERSONALITY:
	case VT_FORK:
		return false;
	case FUZZ_READ:
	case FUZZ_WRITE:
		return reaches_own(a[0], 1);
	default:
		return reaches_own(a[0], a[1]);
	}
}

/*
 * Whether a call made without touches would touch pages by itself: droppable memory is populated
 * by mlock2 and mlockall even on fault, as it never gets VM_LOCKONFAULT.
 */
static bool is_touch(const struct fuzz_worker *w, const struct vt_event *ev)
{
	uint64_t lo = ev->a[0], hi = lo + ev->a[1];
	if (ev->kind == VT_MLOCKALL && ev->a[0] & MCL_CURRENT)
		lo = 0, hi = UINT64_MAX;
	else if (ev->kind != VT_MLOCK2)
		return false;
	const struct vt_extent *x = vt_model_find(&w->model, lo);
	for (; x && x->start < hi; x = vt_extent_next(x))
		if (x->flags & VT_VM(DROPPABLE))
			return true;
	return false;
}

/* The file id of a new mapping: shared anonymous memory and huge pages are files of their own. */
static bool choose_file(struct fuzz_worker *w, const struct fuzz_op *op, struct vt_event *ev)
{
	uint64_t flags = ev->a[3], type = flags & MAP_TYPE;
	const struct fuzz_object_info *o = &world.object[op->object];
	bool anonymous = flags & MAP_ANONYMOUS, shared_type = type == MAP_SHARED || type == 3;

	ev->a[4] = (uint64_t)(int64_t)o->fd;
	ev->flags = VT_EV_FD_KNOWN;
	if (op->object == OBJECT_FILE_RDONLY)
		ev->flags |= VT_EV_FD_RDONLY;
	if (anonymous && flags & MAP_HUGETLB)
		ev->file = world_new_file(w, VT_FILE_HUGETLB);
	else if (shared_type && (anonymous || o->kind == VT_FILE_ZERO))
		ev->file = world_new_file(w, VT_FILE_SHM_ANON);
	else
		return ev->file = anonymous ? 0 : o->file, true;
	return ev->file != 0;
}

bool execute_prepare(struct fuzz_worker *w, const struct fuzz_op *op, struct vt_event *ev)
{
	static const uint8_t touch_args[VT_MAX_ARGS] = { VT_ARG_ADDR };
	const uint8_t *class = op->kind < VT_KIND_COUNT ? vt_kinds[op->kind].arg : touch_args;
	*ev = (struct vt_event){ .kind = op->kind, .seq = w->at + 1, .tid = w->child_of ? 2 : 1 };
	for (int i = 0, n = 0; i < VT_MAX_ARGS; i++) {
		ev->a[i] = op->a[i];
		if (class[i] != VT_ARG_ADDR)
			continue;
		uint8_t base = op->base[n++];
		if (base != BASE_ABS && base >= BASE_SLOT && !w->slot[base - BASE_SLOT])
			return false;
		ev->a[i] += world_base(w, base);
	}
	if (op->kind == VT_IOCTL)
		ev->a[0] = (uint64_t)world.uffd[op->a[0] % FUZZ_UFFDS];
	if (op->kind == VT_SHMAT) {
		const struct fuzz_segment *s = &world.segment[op->object % FUZZ_SEGMENTS];
		ev->a[0] = (uint64_t)s->id;
		ev->a[3] = s->bytes;
		ev->file = s->file;
	}
	if (is_dangerous(w, ev) || (!w->touched && is_touch(w, ev)))
		return false;
	return op->kind != VT_MMAP || choose_file(w, op, ev);
}

/* What the model expects of a call that lets the kernel choose; 0: nothing to expect. */
static uint64_t predict(const struct fuzz_worker *w, const struct vt_event *ev)
{
	struct vt_placement p;
	return vt_model_placement(&w->model, ev, &p) ? p.at : 0;
}

static bool check_placement(struct fuzz_worker *w, const struct vt_event *ev, uint64_t predicted)
{
	bool stayed = ev->kind == VT_MREMAP && (uint64_t)ev->ret == ev->a[0];
	if (!predicted || vt_is_error(ev->ret) || stayed)
		return true;
	shared->stats.placements++;
	if (predicted == (uint64_t)ev->ret) {
		shared->stats.placement_hits++;
		return true;
	}
	if (!check_on(CHECK_PLACEMENT))
		return true;
	return fail_at(w, CHECK_PLACEMENT, (uint64_t)ev->ret,
		       "placed at %lx, the model expected %lx", (uint64_t)ev->ret, predicted);
}

/* The kernel grew a stack under a touched page: an event that only a snapshot tells. */
static bool notice_growth(struct fuzz_worker *w, uint64_t addr, struct vt_event *ev)
{
	struct kernel_area k;
	const struct vt_extent *x = vt_model_find(&w->model, addr);
	if (!x || x->start <= addr || !(x->flags & VT_VM(GROWSDOWN)))
		return false;
	if (!kernel_area_from(addr, &k) || k.start >= x->start)
		return false;
	*ev = (struct vt_event){
		.kind = VT_UNSEEN_MAP,
		.seq = w->at + 1,
		.tid = 1,
		.a = { k.start, x->start - k.start,
		       k.flags & (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC)), MAP_PRIVATE },
		.aux = VT_UNSEEN_STACK_GROWTH,
	};
	return true;
}

static void note_trace(const struct fuzz_worker *w, const struct vt_event *ev)
{
	if (!shared->n_replay || shared->n_trace == FUZZ_TRACE)
		return;
	shared->trace_op[shared->n_trace] = (uint32_t)w->at;
	shared->trace[shared->n_trace++] = *ev;
}

/* Compare what the call could have touched: its ranges, or everything. */
static bool compare_after(struct fuzz_worker *w, const struct vt_event *ev, uint64_t old_brk)
{
	const uint64_t *a = ev->a;
	uint64_t ret = (uint64_t)ev->ret;
	bool error = vt_is_error(ev->ret);
	struct vt_range r[2] = { { a[0], a[0] + a[1] } };
	switch (ev->kind) {
	case VT_MMAP:
		if (!error)
			r[0] = (struct vt_range){ ret, ret + mapping_len(ev) };
		break;
	case VT_MREMAP:
		r[1] = (struct vt_range){ error ? a[4] : ret, (error ? a[4] : ret) + a[2] };
		break;
	case VT_BRK:
		r[0] = old_brk < ret ? (struct vt_range){ old_brk, ret }
				     : (struct vt_range){ ret, old_brk };
		break;
	case VT_SHMAT:
		r[0] = (struct vt_range){ error ? a[1] : ret, (error ? a[1] : ret) + a[3] };
		break;
	case VT_IOCTL:
		r[0] = (struct vt_range){ a[2], a[2] + a[3] };
		break;
	case VT_SHMDT:
		r[0].hi = a[0] + 16 * VT_PAGE_SIZE;
		break;
	case VT_MLOCKALL:
	case VT_MUNLOCKALL:
		return compare_range(w, 0, world.config.task_size);
	case VT_MPROTECT:
	case VT_PKEY_MPROTECT:
		if (a[2] & PROT_GROWSDOWN)
			r[0].lo -= r[0].lo > 64 * VT_PAGE_SIZE ? 64 * VT_PAGE_SIZE : r[0].lo;
		break;
	case VT_SETRLIMIT:
	case VT_PERSONALITY:
	case VT_FORK:
	case VT_PRCTL:
		return true;
	default:
		break;
	}
	for (int i = 0; i < 2; i++) {
		r[i].lo &= -VT_PAGE_SIZE;
		r[i].hi = (r[i].hi + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE;
		if (r[i].hi > r[i].lo && !compare_range(w, r[i].lo, r[i].hi))
			return false;
	}
	return true;
}

/* Do as the recorder does at a contradiction: read both ranges again. */
static bool reread(struct fuzz_worker *w, const struct vt_effect *fx, bool all_flags)
{
	const struct vt_range r[2] = { { fx->lo, fx->hi }, { fx->lo2, fx->hi2 } };
	struct vt_range edges[2];
	shared->stats.reread++;
	for (int i = 0; i < 2; i++) {
		edges[i].lo = r[i].lo ? r[i].lo - VT_PAGE_SIZE : 0;
		edges[i].hi = r[i].hi + VT_PAGE_SIZE;
		if (r[i].lo < r[i].hi && !world_reread(w, &r[i], all_flags))
			return fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
	}
	return settle(w, edges, 2);
}

/* Apply one event to the model and compare around it. */
static bool apply(struct fuzz_worker *w, const struct vt_event *ev)
{
	struct vt_effect fx = { 0 };
	uint64_t old_brk = w->brk;
	if (ev->kind == VT_BRK)
		w->brk = (uint64_t)ev->ret;
	if (vt_model_apply(&w->model, ev, &fx) != 0 || w->model.broken)
		return fail_at(w, CHECK_CRASH, 0, "the model broke: out of memory");
	if (fx.contradiction == VT_CONTRA_OPEN)
		return reread(w, &fx, ev->kind != VT_MMAP) && compare_after(w, ev, old_brk);
	if (fx.contradiction && check_on(CHECK_CONTRADICTION))
		return fail_at(w, CHECK_CONTRADICTION, fx.lo,
			       "contradiction %x in %lx-%lx, %lx-%lx", fx.contradiction, fx.lo,
			       fx.hi, fx.lo2, fx.hi2);
	return compare_after(w, ev, old_brk);
}

static void execute_touch(struct fuzz_worker *w, const struct vt_event *touch)
{
	struct vt_event growth;
	if (notice_growth(w, touch->a[0], &growth)) {
		note_trace(w, &growth);
		apply(w, &growth);
	}
}

/*
 * Whether a call asks how far an area reaches (MREMAP_DONTUNMAP unlocks all of it): while touching
 * decides that, what the call changes is in doubt as well, and stays so where no touch decides.
 */
static bool asks_whole_area(const struct vt_event *ev)
{
	return ev->kind == VT_MREMAP && ev->a[3] & MREMAP_DONTUNMAP;
}

void execute_op(struct fuzz_worker *w, const struct fuzz_op *op)
{
	struct fuzz_stats *stats = &shared->stats;
	struct vt_event ev;

	stats->ops++;
	if (op->kind == FUZZ_SETTLE) {
		settle(w, NULL, 0);
		return;
	}
	if (!execute_prepare(w, op, &ev)) {
		stats->skipped++;
		return;
	}
	if (!w->touched && asks_whole_area(&ev) && !settle(w, NULL, 0))
		return;
	uint64_t predicted = predict(w, &ev);
	if (op->kind == VT_FORK)
		note_trace(w, &ev);
	ev.ret = op->kind == VT_FORK ? child_fork(w, &ev) : execute_call(&ev);
	if (w->failed)
		return;
	shared->last = ev;
	if (op->kind != VT_FORK)
		note_trace(w, &ev);
	++*(vt_is_error(ev.ret) ? &stats->failed[op->kind] : &stats->ok[op->kind]);
	if (op->slot && !vt_is_error(ev.ret))
		w->slot[op->slot - 1] = (uint64_t)ev.ret;
	if (op->kind >= VT_KIND_COUNT) {
		execute_touch(w, &ev);
	} else if (check_placement(w, &ev, predicted)) {
		apply(w, &ev);
	}
}
