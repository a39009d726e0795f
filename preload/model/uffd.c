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
#define CONTEXTS (VT_UFFD_UNKNOWN - 1)

struct registration {
	uint32_t flags;
	uint8_t uffd;
};

static void set_context(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
			struct vt_change *c, const void *arg)
{
	const struct registration *r = arg;
	(void)a;
	(void)anon;
	/* what has the descriptor and all the flags already is passed over */
	if (r->flags && x->uffd == r->uffd && (x->flags & r->flags) == r->flags)
		return;
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

/* An area of [lo, hi) that was registered already must have been so with the same descriptor. */
static void learn_context(struct vt_model *m, uint64_t lo, uint64_t hi, uint8_t uffd)
{
	struct vt_extent *x = vt_model_find(m, lo);
	for (; x && x->start < hi; x = vt_extent_next(x)) {
		if (x->uffd != VT_UFFD_UNKNOWN)
			continue;
		struct vt_extent *tail = vt_area_tail(x);
		for (x = vt_area_head(x); x != tail; x = vt_extent_next(x))
			x->uffd = uffd & 127;
		x->uffd = uffd & 127;
	}
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
	if (r.flags)
		learn_context(a->m, lo, hi, r.uffd);
	return vt_change_range(a, lo, hi, set_context, &r);
}

/* userfaultfd_reset_ctx: a moved area and a forked child's are not registered any more. */
void vt_uffd_reset(struct vt_extent *x)
{
	x->flags &= ~VT_VM_UFFD;
	x->uffd = 0;
}
