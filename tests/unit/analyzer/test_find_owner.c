/*
 * test_find_owner.c - the table of births knows what lives, and nothing that has been forgotten.
 *
 * SPDX-License-Identifier: MIT
 */
#include "unit.h"

#include "find_owner.h"
#include "model_memory.h"

#define SLOTS 3000u

/* Replay's model is all that the table asks for: what lives, when it is made anew. */
struct world {
	struct vt_pool *pool;
	struct vt_replay replay;
	struct vt_owners owners;
	uint64_t birth[SLOTS]; /* 0: nothing is mapped there */
};

static struct vt_vma slot(unsigned i)
{
	uint64_t start = 0x10000000 + i * 16 * VT_PAGE_SIZE;
	return (struct vt_vma){ .start = start, .end = start + (1 + i % 8) * VT_PAGE_SIZE };
}

static void be_born(struct world *w, unsigned i, uint64_t seq)
{
	struct vt_vma vma = slot(i);
	const struct vt_birth b = { .seq = seq,
				    .lo = vma.start,
				    .hi = vma.end,
				    .root = seq,
				    .owner = 3 + i % 5,
				    .root_owner = 4 + i % 5,
				    .tid = 100 + i };
	assert_int_equal(vt_model_put(&w->replay.model, &vma, seq, 0), 0);
	vt_owners_add(&w->owners, &w->replay, &b);
	w->birth[i] = seq;
}

static void die(struct world *w, unsigned i)
{
	struct vt_vma vma = slot(i);
	vt_owners_forget(&w->owners, vt_owners_holder(&w->owners, w->birth[i]));
	assert_null(vt_owners_holder(&w->owners, w->birth[i]));
	assert_int_equal(vt_model_forget(&w->replay.model, vma.start, vma.end), 0);
	w->birth[i] = 0;
}

static void check(const struct world *w)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		struct vt_vma vma = slot(i);
		const struct vt_holder *h = vt_owners_holder(&w->owners, w->birth[i]);
		const struct vt_birth *b = vt_owners_birth(&w->owners, w->birth[i]);
		if (!w->birth[i])
			continue;
		assert_non_null(h);
		assert_int_equal(h->seq, w->birth[i]);
		assert_int_equal(h->tid, 100 + i);
		assert_int_equal(h->owner, 3 + i % 5);
		assert_int_equal(h->root_owner, 4 + i % 5);
		assert_int_equal(h->pages, 1 + i % 8);
		assert_int_equal(b->seq, w->birth[i]);
		assert_int_equal(b->lo, vma.start);
		assert_int_equal(b->hi, vma.end);
	}
}

/* Through growing and shrinking, and with gaps between the numbers. */
static void test_what_lives_is_known_and_what_is_forgotten_is_not(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct vt_model_config config = { .task_size = 1ull << 47 };
	uint64_t seq = 1, random = 88172645463325252u;
	(void)state;
	w->pool = vt_pool_new();
	struct vt_memory memory = vt_pool_memory(w->pool);
	assert_int_equal(vt_model_init(&w->replay.model, &config, &memory), 0);
	for (unsigned n = 0; n < 60000; n++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		unsigned i = (unsigned)(random >> 33) % SLOTS;
		bool more = n / 10000 % 2 == 0 || (random >> 60) < 4;
		seq += 1 + (random >> 50) % 3;
		if (w->birth[i])
			die(w, i);
		else if (more)
			be_born(w, i, seq);
		if (n % 500 == 0)
			check(w);
	}
	check(w);
	/* what has been forgotten leaves no room taken */
	assert_true(w->owners.n_births <= SLOTS);
	vt_owners_free(&w->owners);
	vt_model_fini(&w->replay.model);
	vt_pool_free(w->pool);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_lives_is_known_and_what_is_forgotten_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
