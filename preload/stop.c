/*
 * stop.c - --stop-on: SIGTRAP in the culprit's thread, before the destructive call is made.
 *
 * Runs inside the traced process, only where it was asked for; without the option nothing here is
 * ever called. It knows of each mapping who made it, whole, and inside which reservation, and of
 * the dead ones the last many; the rules are those of the analyzer's findings as far as they need
 * no later event. What other threads have in hand is not known yet.
 *
 * The call that would do the damage is entered as undone, and a note names the finding: without a
 * debugger the trace ends there. Under one the call is made after all when the program goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stop.h"
#include "recorder.h"
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <vmtrail/idiom.h>
#include <vmtrail/options.h>
#include <vmtrail/runtime.h>

#define BUCKETS    65536 /* a power of two */
#define DEATHS     65536
#define SLAB       1024
#define ACCESSIBLE (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC))

/* A module by its load address; libc and the loader are one, as they manage each other's memory. */
enum { OWNER_UNKNOWN, OWNER_RUNTIME };

/* A live mapping, as it was made. */
struct birth {
	struct birth *next; /* of its bucket; of the free ones */
	uint64_t seq, lo, hi;
	uint64_t live;             /* bytes of it that are left */
	uint64_t root, root_owner; /* the mapping that it was placed in */
	uint64_t owner, asker;     /* asker: the module that had the owner make it */
	uint32_t tid;
	bool reserve;     /* the root was a reservation: PROT_NONE */
	bool placeholder; /* private anonymous memory that the kernel had placed */
	bool stack;       /* a thread's: libc made it as one */
};

struct death {
	uint64_t lo, hi, birth_seq, seq;
	uint64_t owner, killer;
	uint32_t birth_tid, tid;
	uint32_t older; /* 1 + index of the one before in its bucket */
};

static struct {
	struct birth **births, *free;
	struct death *deaths;
	uint32_t *newest; /* by bucket: 1 + index into deaths */
	uint32_t next_death;
	/* The event under way. */
	uint64_t actor, asker;
	struct birth inherited; /* of what it replaced: where the new mapping is placed in */
	bool replaced;
} stop;

static uint32_t bucket_of(uint64_t v)
{
	return (uint32_t)((v * 0x9e3779b97f4a7c15ull) >> 48) & (BUCKETS - 1);
}

static struct birth *birth_of(uint64_t seq)
{
	struct birth *b = seq ? stop.births[bucket_of(seq)] : NULL;
	while (b && b->seq != seq)
		b = b->next;
	return b;
}

static struct birth *new_birth(uint64_t seq)
{
	if (!stop.free) {
		struct birth *slab = vt_arena_alloc(SLAB * sizeof(*slab));
		for (int i = 0; slab && i < SLAB; i++) {
			slab[i].next = stop.free;
			stop.free = &slab[i];
		}
	}
	struct birth *b = stop.free;
	if (!b)
		return NULL;
	stop.free = b->next;
	*b = (struct birth){ .next = stop.births[bucket_of(seq)], .seq = seq };
	stop.births[bucket_of(seq)] = b;
	return b;
}

static void drop_birth(struct birth *b)
{
	struct birth **at = &stop.births[bucket_of(b->seq)];
	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	b->next = stop.free;
	stop.free = b;
}

static bool is_runtime(const char *path)
{
	const char *name = path;
	for (const char *p = path; *p; p++)
		if (*p == '/')
			name = p + 1;
	return vt_is_runtime(name);
}

/* Whose code a frame returns to. */
static uint64_t module_at(uint64_t pc)
{
	struct dl_phdr_info info;
	if (!vt_loaded_find((const void *)(pc - 1), &info))
		return OWNER_UNKNOWN;
	if (is_runtime(info.dlpi_name))
		return OWNER_RUNTIME;
	/* a program at a fixed address is loaded at 0 */
	return info.dlpi_addr > OWNER_RUNTIME ? info.dlpi_addr : (uint64_t)info.dlpi_phdr;
}

/* Whose call a stack is: its first frame's outside this library. */
static uint64_t owner_of(uint32_t stack)
{
	const uint64_t *pc;
	return vt_stack_frames(stack, &pc) ? module_at(pc[0]) : OWNER_UNKNOWN;
}

/* The next module behind the owner's frames. */
static uint64_t asker_of(uint32_t stack, uint64_t owner)
{
	const uint64_t *pc;
	uint32_t n = vt_stack_frames(stack, &pc);
	uint64_t asker = owner;
	for (uint32_t i = 1; i < n && asker == owner; i++)
		asker = module_at(pc[i]);
	return asker == owner ? OWNER_UNKNOWN : asker;
}

static bool is_own(const struct birth *b, uint64_t actor)
{
	return b->owner == actor || b->root_owner == actor;
}

static void bury(const struct birth *b, const struct vt_event *e, uint64_t lo, uint64_t hi)
{
	uint32_t i = stop.next_death++ % DEATHS, k = bucket_of(lo);
	stop.deaths[i] = (struct death){
		.lo = lo,
		.hi = hi,
		.birth_seq = b->seq,
		.seq = e->seq,
		.owner = b->owner,
		.killer = stop.actor,
		.birth_tid = b->tid,
		.tid = e->tid,
		.older = stop.newest[k],
	};
	stop.newest[k] = i + 1;
}

/*
 * The last death of just [lo, hi) that the caller had a hand in: its thread's, where a thread is
 * named.
 */
static const struct death *had_just_this(uint64_t lo, uint64_t hi, uint32_t tid)
{
	uint32_t i = stop.newest[bucket_of(lo)];
	for (int tries = 0; i && tries < 64; tries++, i = stop.deaths[i - 1].older) {
		const struct death *d = &stop.deaths[i - 1];
		bool thread = !tid || d->birth_tid == tid || d->tid == tid;
		if (d->lo == lo && d->hi == hi && thread &&
		    (d->owner == stop.actor || d->killer == stop.actor))
			return d;
	}
	return NULL;
}

/* The model's observer: a piece of a mapping goes. */
static void piece(void *ctx, const struct vt_event *e, const struct vt_extent *x, uint64_t lo,
		  uint64_t hi, enum vt_piece_fate fate)
{
	(void)ctx;
	bool dies =
	    fate == VT_PIECE_UNMAPPED || fate == VT_PIECE_CLOBBERED || fate == VT_PIECE_LOST;
	struct birth *b = birth_of(x->birth);
	if (!b || !dies)
		return;
	if (fate == VT_PIECE_CLOBBERED && !stop.replaced) {
		stop.inherited = *b;
		stop.replaced = true;
	}
	bury(b, e, lo, hi);
	b->live -= hi - lo < b->live ? hi - lo : b->live;
	if (!b->live)
		drop_birth(b);
}

/* Before an event is applied. */
void vt_stop_before(const struct vt_event *e)
{
	stop.actor = owner_of(e->stack);
	stop.asker = e->kind == VT_MMAP && stop.actor != OWNER_RUNTIME
			 ? asker_of(e->stack, stop.actor)
			 : OWNER_UNKNOWN;
	stop.replaced = false;
}

static uint64_t forced_flag(const struct vt_event *e)
{
	return e->kind == VT_MMAP ? e->a[3] & MAP_FIXED : e->a[3] & MREMAP_FIXED;
}

/* After it: a new mapping, or one that moved. */
void vt_stop_after(const struct vt_event *e)
{
	if (vt_is_error(e->ret) || (e->kind != VT_MMAP && e->kind != VT_MREMAP))
		return;
	uint64_t lo = (uint64_t)e->ret, length = e->kind == VT_MMAP ? e->a[1] : e->a[2];
	uint64_t hi = lo + ((length + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE);
	if (e->kind == VT_MREMAP) {
		struct vt_extent *x = vt_model_find(&vt.model, lo);
		struct birth *b = x ? birth_of(x->birth) : NULL;
		if (b) {
			b->lo = lo;
			b->hi = hi;
			b->live = hi - lo;
		}
		return;
	}
	struct birth *b = new_birth(e->seq);
	if (!b)
		return;
	b->lo = lo;
	b->hi = hi;
	b->live = hi - lo;
	b->owner = b->root_owner = stop.actor;
	b->asker = stop.asker;
	b->root = e->seq;
	b->tid = e->tid;
	b->reserve = !(e->a[2] & (PROT_READ | PROT_WRITE | PROT_EXEC));
	b->placeholder = !forced_flag(e) && (e->a[3] & MAP_ANONYMOUS) && (e->a[3] & MAP_PRIVATE);
	b->stack = stop.actor == OWNER_RUNTIME && (e->a[3] & MAP_STACK);
	const struct birth *in = &stop.inherited;
	if (forced_flag(e) && stop.replaced && in->lo <= lo && hi <= in->hi) {
		b->root = in->root;
		b->root_owner = in->root_owner;
		b->reserve = in->reserve;
	}
}

/* A call that may do damage, and what it would hit. */
struct suspect {
	const struct vt_event *e;
	uint64_t lo, hi, victim; /* event that mapped what is hit, 0: there at the start */
	unsigned kind;           /* VT_STOP_*, 0: nothing */
};

/* Whether the extent is of the file that the caller's code comes from. */
static bool is_own_text(const struct vt_extent *x)
{
	struct dl_phdr_info info;
	return x->file && vt_loaded_find((const void *)x->start, &info) &&
	       info.dlpi_addr == stop.actor;
}

/* Whether an extent that no mmap made is surely another's: the kernel's, or malloc's heap. */
static bool is_sacred(const struct vt_extent *x)
{
	return x->special == VT_SPECIAL_STACK || x->special == VT_SPECIAL_VDSO ||
	       x->special == VT_SPECIAL_VVAR || (x->special == VT_SPECIAL_HEAP && !x->birth) ||
	       owner_of(x->stack) == OWNER_RUNTIME;
}

/*
 * Whether the caller, which had b made, may unmap this of it: all that is left, or an end that is
 * trimmed for alignment.
 */
static bool may_cut(const struct suspect *s, const struct birth *b)
{
	uint64_t length = s->hi - s->lo, kept = b->live > length ? b->live - length : 0;
	uint64_t start = s->hi < b->hi ? s->hi : s->lo - kept;
	return b->asker == stop.actor && s->lo >= b->lo && s->hi <= b->hi &&
	       (!kept || vt_is_alignment_trim(start, b->hi - b->lo - kept));
}

static void unmapping(struct suspect *s, const struct vt_extent *x)
{
	const struct birth *b = birth_of(x->birth);
	if (!b || !b->owner) {
		s->kind = is_sacred(x) ? VT_STOP_FOREIGN_UNMAP : 0;
		s->victim = x->birth;
		return;
	}
	bool own = is_own(b, stop.actor) || may_cut(s, b);
	bool whole = b->lo == s->lo && b->hi == s->hi;
	if ((own && b->tid == s->e->tid) || is_own_text(x))
		return;
	const struct death *d = had_just_this(s->lo, s->hi, own ? s->e->tid : 0);
	if (d && d->seq < b->seq)
		s->kind = VT_STOP_DOUBLE_UNMAP;
	else if (!own && (b->owner == OWNER_RUNTIME || !whole))
		s->kind = VT_STOP_FOREIGN_UNMAP;
	s->victim = b->seq;
}

static void replacing(struct suspect *s, const struct vt_extent *x)
{
	const struct vt_event *e = s->e;
	const struct birth *b = birth_of(x->birth);
	if (!(x->flags & ACCESSIBLE) || is_own_text(x))
		return;
	if (!b || !b->owner) {
		s->kind = is_sacred(x) ? VT_STOP_FIXED_CLOBBER : 0;
		s->victim = x->birth;
		return;
	}
	bool map = e->kind == VT_MMAP, anonymous = map && (e->a[3] & MAP_ANONYMOUS);
	bool benign;
	if (is_own(b, stop.actor) || b->asker == stop.actor)
		benign = b->reserve || (map && !(e->a[2] & (PROT_READ | PROT_WRITE | PROT_EXEC))) ||
			 (b->placeholder && !anonymous);
	else if (b->stack) /* a guard at the low end of a thread's stack */
		benign = anonymous && s->hi <= b->lo + (b->hi - b->lo) / 4;
	else /* the caller's block of malloc begins behind the mapping's first bytes */
		benign = b->owner == OWNER_RUNTIME && x->start > b->lo && s->hi <= b->hi;
	if (benign)
		return;
	s->kind = VT_STOP_FIXED_CLOBBER;
	s->victim = b->seq;
}

/* What the call would hit. */
static void judge(struct suspect *s)
{
	bool any = false, unmap = s->e->kind == VT_MUNMAP;
	struct vt_extent *x = vt_model_find(&vt.model, s->lo);
	for (; x && x->start < s->hi && !s->kind; x = vt_extent_next(x)) {
		if (x->own)
			continue;
		any = true;
		if (unmap)
			unmapping(s, x);
		else
			replacing(s, x);
	}
	const struct death *d = !any && unmap ? had_just_this(s->lo, s->hi, 0) : NULL;
	if (d && d->killer == stop.actor) {
		s->kind = VT_STOP_DOUBLE_UNMAP;
		s->victim = d->birth_seq;
	}
}

static bool range_of(struct suspect *s)
{
	const struct vt_event *e = s->e;
	uint64_t length = e->a[1];
	s->lo = e->a[0];
	if (e->kind == VT_MREMAP) {
		s->lo = e->a[4];
		length = e->a[2];
	}
	s->hi = s->lo + ((length + VT_PAGE_SIZE - 1) & -VT_PAGE_SIZE);
	bool forced =
	    e->kind == VT_MUNMAP || e->kind == VT_MMAP
		? e->kind == VT_MUNMAP || (forced_flag(e) && !(e->a[3] & MAP_FIXED_NOREPLACE))
		: e->kind == VT_MREMAP && forced_flag(e);
	return forced && s->lo < s->hi && !(s->lo & (VT_PAGE_SIZE - 1));
}

/* The finding's note, and the call as one that was not made. */
static void enter(const struct suspect *s)
{
	char buf[160];
	struct vt_text t = { buf, buf + sizeof(buf) - 1 };
	struct vt_event e = *s->e;
	e.flags |= VT_EV_UNDONE;
	e.begin_ns = vt_ns_of_tick(vt_tick());
	vt_emit(&e, 0);
	vt_text_str(&t, vt_stop_name(s->kind));
	vt_text_str(&t, " by #");
	vt_text_u64(&t, e.seq);
	vt_text_str(&t, " in thread ");
	vt_text_u64(&t, e.tid);
	if (s->victim) {
		vt_text_str(&t, ", of what #");
		vt_text_u64(&t, s->victim);
		vt_text_str(&t, " had mapped");
	}
	*t.p = '\0';
	vt_note("stopped", buf);
	vt_seal();
}

static void check(void *arg)
{
	struct suspect *s = arg;
	vt_drain(false);
	stop.actor = owner_of(s->e->stack);
	if (stop.actor != OWNER_UNKNOWN && stop.actor != OWNER_RUNTIME)
		judge(s);
	s->kind &= vt.options.stop_on;
	if (s->kind)
		enter(s);
}

void vt_stop_check(const struct vt_event *e)
{
	struct suspect s = { .e = e };
	if (!range_of(&s))
		return;
	vt_locked(check, &s);
	if (!s.kind)
		return;
#if defined(__x86_64__)
	/* Delivered here and now, also where the signal is blocked. */
	__asm__ volatile("int3");
#else
	vt_sys3(SYS_tgkill, vt_sys0(SYS_getpid), vt_sys0(SYS_gettid), SIGTRAP);
#endif
}

bool vt_stop_init(void)
{
	memset(&stop, 0, sizeof(stop));
	vt.model.observe = piece;
	stop.births = vt_arena_alloc(BUCKETS * sizeof(*stop.births));
	stop.deaths = vt_arena_alloc(DEATHS * sizeof(*stop.deaths));
	stop.newest = vt_arena_alloc(BUCKETS * sizeof(*stop.newest));
	return stop.births && stop.deaths && stop.newest;
}
