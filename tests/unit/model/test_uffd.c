/*
 * test_uffd.c - areas registered with a userfaultfd: who may merge, and what takes it off again.
 *
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stage.h"

#define MISSING UFFDIO_REGISTER_MODE_MISSING
#define WP      UFFDIO_REGISTER_MODE_WP

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd >= 0)
		assert_int_equal(ioctl(fd, UFFDIO_API, &api), 0);
	return fd;
}

static int uffd, other;

static int open_both(void **state)
{
	uffd = open_uffd();
	other = open_uffd();
	return stage_open(state);
}

static int close_both(void **state)
{
	if (uffd >= 0)
		close(uffd);
	if (other >= 0)
		close(other);
	return stage_close(state);
}

static long try_set(struct stage *s, int fd, unsigned page, unsigned n, int mode)
{
	if (fd < 0)
		skip();
	return call(s, VT_IOCTL, (uint64_t)fd, UFFDIO_REGISTER, addr(page), n * VT_PAGE_SIZE,
		    (uint64_t)mode, 0, 0);
}

static void set(struct stage *s, int fd, unsigned page, unsigned n, int mode)
{
	assert_int_equal(try_set(s, fd, page, n, mode), 0);
}

static void take_off(struct stage *s, int fd, unsigned page, unsigned n)
{
	assert_int_equal(call(s, VT_IOCTL, (uint64_t)fd, UFFDIO_UNREGISTER, addr(page),
			      n * VT_PAGE_SIZE, 0, 0, 0),
			 0);
}

static void registering_the_middle_splits_twice(void **state)
{
	map(*state, 0, 6, NONE);
	set(*state, uffd, 2, 2, MISSING);
	shows(*state, "--|--|--");
	assert_int_equal(((struct stage *)*state)->fx.splits, 2);
}

static void registering_again_for_less_changes_nothing(void **state)
{
	map(*state, 0, 6, NONE);
	set(*state, uffd, 0, 4, MISSING | WP);
	set(*state, uffd, 2, 4, WP);
	shows(*state, "----|--");
	assert_int_equal(((struct stage *)*state)->fx.splits, 0);
}

/* A snapshot shows the flags, but not whose they are; the next registering tells. */
static void whose_registration_it_is_the_next_one_tells(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, NONE);
	set(s, uffd, 2, 4, MISSING);
	struct vt_vma v = vt_extent_vma(vt_model_find(&s->m, addr(2)));
	assert_int_equal(vt_model_put(&s->m, &v, 0, 0), 0);
	set(s, uffd, 2, 1, MISSING);
	shows(s, "--|----");
	assert_int_equal(s->fx.splits, 0);
}

static void unregistering_makes_one_area_again(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, NONE);
	set(s, uffd, 2, 2, MISSING);
	take_off(s, uffd, 2, 2);
	shows(s, "------");
	assert_int_equal(s->m.totals.extents, 1);
}

static void two_userfaultfds_stay_apart(void **state)
{
	map(*state, 0, 4, NONE);
	set(*state, uffd, 0, 2, MISSING);
	set(*state, other, 2, 2, MISSING);
	shows(*state, "--|--");
}

static void one_userfaultfd_merges_what_is_registered_alike(void **state)
{
	map(*state, 0, 4, NONE);
	set(*state, uffd, 0, 2, MISSING);
	set(*state, uffd, 2, 2, MISSING);
	shows(*state, "----");
}

static void another_mode_splits(void **state)
{
	map(*state, 0, 4, NONE);
	set(*state, uffd, 0, 4, MISSING);
	set(*state, uffd, 2, 2, WP);
	shows(*state, "--|--");
	set(*state, uffd, 0, 2, WP);
	shows(*state, "--?--"); /* the handler may have filled pages of either */
}

static void a_refused_registration_changes_nothing(void **state)
{
	map(*state, 0, 6, NONE);
	set(*state, other, 4, 2, MISSING);
	assert_int_equal(try_set(*state, uffd, 0, 6, MISSING), -EBUSY);
	assert_int_equal(try_set(*state, uffd, 0, 2, 0), -EINVAL);
	assert_int_equal(try_set(*state, uffd, 10, 2, MISSING), -EINVAL);
	shows(*state, "----|--");
}

static void a_new_mapping_beside_is_not_registered(void **state)
{
	map(*state, 0, 2, NONE);
	set(*state, uffd, 0, 2, MISSING);
	map(*state, 2, 2, NONE);
	shows(*state, "--|--");
}

static void protection_keeps_the_registration(void **state)
{
	map(*state, 0, 4, NONE);
	set(*state, uffd, 0, 2, MISSING);
	protect(*state, 0, 1, R);
	shows(*state, "r|-|--");
	protect(*state, 0, 4, R);
	shows(*state, "r?r|rr");
}

static void a_moved_area_is_not_registered(void **state)
{
	map(*state, 0, 2, NONE);
	set(*state, uffd, 0, 2, MISSING);
	move(*state, 0, 2, 2, MREMAP_MAYMOVE | MREMAP_FIXED, 10);
	map(*state, 12, 2, NONE);
	shows(*state, "..........--?--");
}

/* What it merges with where it arrives loses its registration, too. */
static void a_moved_area_takes_its_neighbours_registration_off(void **state)
{
	struct stage *s = *state;
	map_flags(s, 0, 4, RW, MAP_SHARED | MAP_ANONYMOUS);
	move(s, 3, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, 11);
	set(s, uffd, 0, 3, MISSING);
	set(s, uffd, 11, 1, MISSING);
	move(s, 2, 1, 1, MREMAP_MAYMOVE | MREMAP_FIXED, 10);
	shows(s, "WW........WW");
	set(s, other, 11, 1, MISSING);
	shows(s, "WW........W|W");
}

/* ... so that what moved was one area, whatever was in doubt. */
static void a_registered_area_that_moved_was_one(void **state)
{
	struct stage *s = *state;
	map(s, 0, 6, R);
	set(s, uffd, 0, 6, MISSING);
	protect(s, 3, 1, RW);
	protect(s, 0, 3, RW);
	shows(s, "www?w|rr");
	move(s, 1, 3, 3, MREMAP_MAYMOVE | MREMAP_FIXED, 20);
	shows(s, "w...rr..............www");
}

/* vma_multi_allowed */
static void a_registered_area_moves_alone_only(void **state)
{
	struct stage *s = *state;
	map(s, 0, 4, NONE);
	set(s, uffd, 0, 2, MISSING);
	assert_int_equal(call(s, VT_MREMAP, addr(0), 4 * VT_PAGE_SIZE, 4 * VT_PAGE_SIZE,
			      MREMAP_MAYMOVE | MREMAP_FIXED, addr(10), 0, 0),
			 -EFAULT);
	shows(s, "--|--");
}

static void an_area_that_grows_in_place_stays_registered(void **state)
{
	map(*state, 0, 2, NONE);
	set(*state, uffd, 0, 2, MISSING);
	move(*state, 0, 2, 3, 0, 0);
	map(*state, 3, 1, NONE);
	shows(*state, "---|-");
}

static void a_handler_may_fill_what_nobody_can_write_to(void **state)
{
	struct stage *s = *state;
	map(s, 0, 2, R);
	set(s, uffd, 0, 2, MISSING);
	map(s, 4, 2, R);
	set(s, uffd, 4, 2, MISSING);
	char page[VT_PAGE_SIZE] = { 1 };
	struct uffdio_copy copy = { .dst = addr(0), .src = (uint64_t)page, .len = VT_PAGE_SIZE };
	assert_int_equal(ioctl(uffd, UFFDIO_COPY, &copy), 0);
	copy.dst = addr(4);
	copy.copy = 0;
	assert_int_equal(ioctl(uffd, UFFDIO_COPY, &copy), 0);
	take_off(s, uffd, 0, 2);
	take_off(s, uffd, 4, 2);
	map(s, 2, 2, R);
	shows(s, "rrrr?rr");
}

#define STAGED(f) cmocka_unit_test_setup_teardown(f, open_both, close_both)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STAGED(registering_the_middle_splits_twice),
		STAGED(a_moved_area_takes_its_neighbours_registration_off),
		STAGED(a_registered_area_moves_alone_only),
		STAGED(a_registered_area_that_moved_was_one),
		STAGED(registering_again_for_less_changes_nothing),
		STAGED(whose_registration_it_is_the_next_one_tells),
		STAGED(unregistering_makes_one_area_again),
		STAGED(two_userfaultfds_stay_apart),
		STAGED(one_userfaultfd_merges_what_is_registered_alike),
		STAGED(another_mode_splits),
		STAGED(a_refused_registration_changes_nothing),
		STAGED(a_new_mapping_beside_is_not_registered),
		STAGED(protection_keeps_the_registration),
		STAGED(a_moved_area_is_not_registered),
		STAGED(an_area_that_grows_in_place_stays_registered),
		STAGED(a_handler_may_fill_what_nobody_can_write_to),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
