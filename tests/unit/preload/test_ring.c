/*
 * test_ring.c - slots and the drain: who owns a slot, when it is passed over, when it is free
 * again.
 *
 * ring.c and drain.c as they are; the rest of the recorder is played by the test. Owners that are
 * halted between two instructions are played by doing only the first.
 *
 * SPDX-License-Identifier: MIT
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "recorder.h"
#include "stop.h"

#define SLOTS 256

struct vt_recorder vt;
__thread struct vt_thread vt_self;

static struct {
	struct vt_event ev[4 * SLOTS]; /* as they came out of the drain */
	uint32_t n, frames;
	bool owner_lives;
	bool claimed_while_sealing;
} seen;

int vt_order_apply(struct vt_order *o, struct vt_model *m, const struct vt_event *ev,
		   uint64_t index, struct vt_effect *fx)
{
	(void)o;
	(void)m;
	(void)index;
	*fx = (struct vt_effect){ 0 };
	seen.ev[seen.n++] = *ev;
	return 0;
}

void vt_stop_before(const struct vt_event *e)
{
	(void)e;
}

void vt_stop_after(const struct vt_event *e)
{
	(void)e;
}

bool vt_store_cut_frame(uint8_t type, const void *raw, size_t len, uint64_t first_seq, uint32_t n,
			const uint32_t *cuts, size_t n_cuts)
{
	uint64_t index;
	(void)type;
	(void)raw;
	(void)len;
	(void)first_seq;
	(void)n;
	(void)cuts;
	(void)n_cuts;
	seen.frames++;
	/* not committed yet: a full ring has no room */
	seen.claimed_while_sealing |= vt_slot_claim(0, &index) != NULL;
	return true;
}

bool vt_call_may_own(uint64_t index)
{
	(void)index;
	return seen.owner_lives;
}

void vt_call_bury(void)
{
}

void vt_locked(void (*fn)(void *), void *arg)
{
	fn(arg);
}

void vt_locked_if_free(void (*fn)(void *), void *arg)
{
	fn(arg);
}

void vt_snapshot(uint8_t reason)
{
	(void)reason;
}

void vt_note(const char *key, const char *value)
{
	(void)key;
	(void)value;
}

void vt_arena_keep_ahead(void)
{
}

bool vt_store_ring(void)
{
	return true;
}

struct vt_thread *vt_borrower(void)
{
	return &vt_self;
}

uint32_t vt_stack_id(void)
{
	return 0;
}

void vt_thread_seen(struct vt_thread *t)
{
	(void)t;
}

static int begin(void **state)
{
	static _Atomic uint64_t guard = 1;
	vt = (struct vt_recorder){ .ring_mask = SLOTS - 1, .usable = UINT64_MAX, .drained = 1 };
	memset(&seen, 0, sizeof(seen));
	vt.on = true;
	vt.fork_guard = &guard;
	vt.sealed = 1;
	vt.live = calloc(1, sizeof(*vt.live));
	vt.header = calloc(1, sizeof(*vt.header));
	vt.ring = calloc(SLOTS, sizeof(*vt.ring));
	vt.live->ring_head = 1;
	vt.chunk_bytes = VT_COL_COUNT * (40u << 10);
	vt.chunk_mem = malloc(vt.chunk_bytes);
	vt.raw_bytes = vt.chunk_bytes + (264u << 10);
	vt.raw = malloc(vt.raw_bytes);
	vt.journal = vt.raw; /* empty */
	vt.next_seq = 1;
	vt_chunk_begin(&vt.chunk, vt.chunk_mem, vt.chunk_bytes, 1, VT_TIME_DIGITS);
	vt.start_ns = vt_clock_ns(CLOCK_MONOTONIC) - 60000000000; /* long ago */
	vt_read_clocks(&vt.sync_tick, &vt.sync_ns);
	vt.last_tick = vt.sync_tick;
	vt.last_ns = vt.sync_ns;
	*state = NULL;
	return 0;
}

static int end(void **state)
{
	(void)state;
	free(vt.live);
	free(vt.header);
	free(vt.ring);
	free(vt.chunk_mem);
	free(vt.raw);
	return 0;
}

/* Write a call's arguments, its number in the first. */
static void fill(struct vt_slot *s, uint8_t kind, uint64_t number)
{
	memset(s->a, 0, sizeof(s->a));
	s->a[0] = number * VT_PAGE_SIZE;
	s->a[1] = VT_PAGE_SIZE;
	s->begin_tick = s->end_tick = vt_tick();
	s->ret = 0;
	s->kind = kind;
	s->flags = 0;
}

static uint64_t finished(uint64_t number)
{
	uint64_t index;
	struct vt_slot *s = vt_slot_claim(0, &index);
	assert_non_null(s);
	fill(s, VT_MADVISE, number);
	vt_slot_done(s, index);
	return index;
}

static struct vt_slot *announced(uint64_t number, uint64_t *index)
{
	struct vt_slot *s = vt_slot_claim(0, index);
	assert_non_null(s);
	fill(s, VT_MUNMAP, number);
	vt_slot_begin(s, *index);
	return s;
}

/* What came out of the drain, by number, undone ones negative. */
static void came(const int *numbers, uint32_t n)
{
	assert_int_equal(seen.n, n);
	for (uint32_t i = 0; i < n; i++) {
		int number = (int)(seen.ev[i].a[0] / VT_PAGE_SIZE);
		assert_int_equal(seen.ev[i].flags & VT_EV_UNDONE ? -number : number, numbers[i]);
	}
}
#define CAME(...) came((const int[]){ __VA_ARGS__ }, sizeof((int[]){ __VA_ARGS__ }) / sizeof(int))

/* Drain as if the slot that holds everybody up had done so for that long already. */
static void drain_after_ms(uint64_t ms)
{
	const struct timespec pause = { 0, 2000000 };
	vt_drain(true);
	vt.stuck_since -= ms * 1000000;
	vt.ring[vt.drained & vt.ring_mask].begin_tick -= ms * 10000000;
	vt_sys2(SYS_nanosleep, &pause, 0);
	vt_drain(true);
}

static void events_come_in_the_order_of_their_tickets(void **state)
{
	uint64_t a, b;
	(void)state;
	struct vt_slot *first = announced(1, &a), *second = announced(2, &b);
	finished(3);
	assert_true(vt_slot_finish(second, b));
	vt_slot_done(second, b);
	vt_drain(false);
	assert_int_equal(seen.n, 0);
	assert_true(vt_slot_finish(first, a));
	vt_slot_done(first, a);
	vt_drain(false);
	CAME(1, 2, 3);
}

static void an_announced_call_is_given_up_after_a_while_and_its_owner_finds_out(void **state)
{
	uint64_t index;
	(void)state;
	struct vt_slot *s = announced(1, &index);
	finished(2);
	vt_drain(true);
	assert_int_equal(seen.n, 0);
	drain_after_ms(60);
	CAME(-1, 2);
	assert_false(vt_slot_finish(s, index));
}

static void nothing_is_given_up_while_there_is_room(void **state)
{
	uint64_t index;
	(void)state;
	struct vt_slot *s = announced(1, &index);
	s->begin_tick -= 10000000000;
	vt_drain(false);
	assert_int_equal(seen.n, 0);
	assert_true(vt_slot_finish(s, index));
}

/* Its owner was halted right behind the ticket; sixteen others look for room a hundred times. */
static void a_ticket_that_nobody_came_to_is_not_passed_over_at_once(void **state)
{
	(void)state;
	atomic_fetch_add(&vt.live->ring_head, 1);
	finished(2);
	for (int i = 0; i < 100; i++)
		vt_drain(true);
	assert_int_equal(seen.n, 0);
}

static void an_owner_that_came_too_late_takes_another_ticket(void **state)
{
	uint64_t index;
	(void)state;
	atomic_fetch_add(&vt.live->ring_head, 1); /* ticket 1, halted */
	finished(2);
	drain_after_ms(60);
	CAME(2);
	/* it goes on: what it does next is what vt_slot_claim does behind its ticket */
	atomic_store(&vt.live->ring_head, 1);
	struct vt_slot *s = vt_slot_claim(0, &index);
	assert_non_null(s);
	assert_int_not_equal(index, 1);
	assert_int_equal(atomic_load(&vt.header->lost), 0);
}

static void who_is_in_the_middle_of_writing_is_waited_for(void **state)
{
	uint64_t index;
	(void)state;
	seen.owner_lives = true;
	struct vt_slot *s = vt_slot_claim(0, &index);
	finished(2);
	drain_after_ms(1000);
	assert_int_equal(seen.n, 0);
	fill(s, VT_MADVISE, 1);
	vt_slot_done(s, index);
	vt_drain(true);
	CAME(1, 2);
}

static void who_has_the_result_in_hand_is_waited_for(void **state)
{
	uint64_t index;
	(void)state;
	seen.owner_lives = true;
	struct vt_slot *s = announced(1, &index);
	finished(2);
	assert_true(vt_slot_finish(s, index));
	drain_after_ms(1000);
	assert_int_equal(seen.n, 0);
	vt_slot_done(s, index);
	vt_drain(true);
	CAME(1, 2);
}

static void a_slot_left_in_the_middle_is_lost_and_counted(void **state)
{
	uint64_t index;
	(void)state;
	vt_slot_claim(0, &index);
	finished(2);
	drain_after_ms(60);
	CAME(2);
	assert_int_equal(atomic_load(&vt.header->lost), 1);
}

static void go_round(uint64_t from)
{
	for (uint64_t i = from; i < from + SLOTS; i++) {
		vt.sealed = vt.drained = vt.live->ring_head;
		finished(i);
	}
}

/* Its owner may still write into it: the next rounds go past it, until that one is through. */
static void a_slot_left_in_the_middle_is_not_used_again(void **state)
{
	uint64_t index;
	(void)state;
	struct vt_slot *s = vt_slot_claim(0, &index);
	fill(s, VT_MADVISE, 77);
	go_round(100);
	assert_int_equal(s->a[0] / VT_PAGE_SIZE, 77);
	vt_slot_done(s, index);
	go_round(1000);
	assert_int_not_equal(s->a[0] / VT_PAGE_SIZE, 77);
}

static void a_full_ring_has_no_slot_and_keeps_a_reserve(void **state)
{
	uint64_t index;
	(void)state;
	for (int i = 0; i < SLOTS - 24; i++)
		assert_non_null(vt_slot_claim(24, &index));
	assert_null(vt_slot_claim(24, &index));
	assert_non_null(vt_slot_claim(0, &index));
}

static void slots_are_free_again_only_when_a_frame_holds_their_events(void **state)
{
	uint64_t index;
	(void)state;
	for (int i = 1; i <= SLOTS; i++)
		finished((uint64_t)i);
	assert_null(vt_slot_claim(0, &index));
	vt_drain(true);
	vt_seal();
	assert_int_equal(seen.n, SLOTS);
	assert_true(seen.frames > 0);
	assert_false(seen.claimed_while_sealing);
	assert_non_null(vt_slot_claim(0, &index));
}

/* Between its ticket and its end another one was under way. */
static void a_release_of_the_recorders_own_is_announced_before_it_is_made(void **state)
{
	(void)state;
	long p = vt_sys6(SYS_mmap, 0, VT_PAGE_SIZE, 3, 0x22, -1, 0);
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)p, VT_PAGE_SIZE };
	assert_int_equal(vt_own_call(VT_MUNMAP, SYS_munmap, a), 0);
	vt_drain(false);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.ev[0].flags, VT_EV_OWN);
	assert_int_equal(atomic_load(&vt.own_calls), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(events_come_in_the_order_of_their_tickets),
		TEST(an_announced_call_is_given_up_after_a_while_and_its_owner_finds_out),
		TEST(nothing_is_given_up_while_there_is_room),
		TEST(a_ticket_that_nobody_came_to_is_not_passed_over_at_once),
		TEST(an_owner_that_came_too_late_takes_another_ticket),
		TEST(who_is_in_the_middle_of_writing_is_waited_for),
		TEST(who_has_the_result_in_hand_is_waited_for),
		TEST(a_slot_left_in_the_middle_is_lost_and_counted),
		TEST(a_slot_left_in_the_middle_is_not_used_again),
		TEST(a_full_ring_has_no_slot_and_keeps_a_reserve),
		TEST(slots_are_free_again_only_when_a_frame_holds_their_events),
		TEST(a_release_of_the_recorders_own_is_announced_before_it_is_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
