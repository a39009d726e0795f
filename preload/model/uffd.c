/*
 * uffd.c - areas registered with a userfaultfd.
 *
 * Follows userfaultfd_register and userfaultfd_unregister, which check the whole range before they
 * change anything. A userfaultfd that is closed gives its areas up without a call that we see:
 * then the kernel's view shows it. Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "internal.h"

/* How many descriptors are told apart by vt_extent.uffd. */
#define CONTEXTS 127

struct registration {
	uint32_t flags;
	uint8_t uffd;
};

static void set_context(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
			struct vt_change *c, const void *arg)
{
	const struct registration *r = arg;
	(void)a;
	(void)x;
	(void)anon;
	c->flags = (c->flags & ~VT_VM_UFFD) | r->flags;
	c->uffd = r->uffd;
	c->decides = VT_VM_UFFD;
}

static uint32_t flags_of(uint64_t mode)
{
	return (mode & UFFDIO_REGISTER_MODE_MISSING ? VT_VM(UFFD_MISSING) : 0) |
	       (mode & UFFDIO_REGISTER_MODE_WP ? VT_VM(UFFD_WP) : 0) |
	       (mode & UFFDIO_REGISTER_MODE_MINOR ? VT_VM(UFFD_MINOR) : 0);
}

int vt_apply_ioctl(struct vt_apply *a)
{
	const struct vt_event *ev = a->ev;
	uint64_t lo = ev->a[2], hi = lo + vt_page_up(ev->a[3]);
	struct registration r = { 0, 0 };
	if (ev->ret || hi <= lo)
		return 0;
	if ((uint32_t)ev->a[1] == UFFDIO_REGISTER)
		r = (struct registration){ flags_of(ev->a[4]), (uint8_t)(ev->a[0] % CONTEXTS + 1) };
	a->fx->lo = lo;
	a->fx->hi = hi;
	return vt_change_range(a, lo, hi, set_context, &r);
}

/* userfaultfd_reset_ctx: a moved area and a forked child's are not registered any more. */
void vt_uffd_reset(struct vt_extent *x)
{
	x->flags &= ~VT_VM_UFFD;
	x->uffd = 0;
}
