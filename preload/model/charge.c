/*
 * charge.c - the counters of struct mm_struct, kept by what the extents' flags say.
 *
 * Runs inside the traced process. Knows flags and pages only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

static inline void add(uint64_t *counter, uint64_t pages, bool sub)
{
	*counter += sub ? -pages : pages;
}

/* vm_stat_account: is_exec_mapping, is_stack_mapping, is_data_mapping; and locked_vm, commit. */
static void account(struct vt_totals *t, const struct vt_extent *x, uint64_t pages, bool sub)
{
	uint32_t f = x->flags;

	if (x->special == VT_SPECIAL_VSYSCALL)
		return;
	add(&t->total_vm, pages, sub);
	if ((f & (VT_VM(EXEC) | VT_VM(WRITE) | VT_VM(GROWSDOWN))) == VT_VM(EXEC))
		add(&t->exec_vm, pages, sub);
	else if (f & VT_VM(GROWSDOWN))
		add(&t->stack_vm, pages, sub);
	else if ((f & (VT_VM(WRITE) | VT_VM(SHARED))) == VT_VM(WRITE))
		add(&t->data_vm, pages, sub);
	if (f & VT_VM(LOCKED))
		add(&t->locked_vm, pages, sub);
	if (f & VT_VM(ACCOUNT)) {
		add(&t->committed, pages, sub);
		if (x->identity & (VT_ID_ACCOUNT | VT_ID_HIDDEN_FLAGS))
			add(&t->committed_unsure, pages, sub);
	}
	if (f & VT_VM(HUGETLB))
		add(&t->hugetlb, pages, sub);
}

/* Count so many pages with x's flags. */
void vt_charge(struct vt_model *m, const struct vt_extent *x, uint64_t pages)
{
	account(&m->totals, x, pages, false);
}

void vt_uncharge(struct vt_model *m, const struct vt_extent *x, uint64_t pages)
{
	account(&m->totals, x, pages, true);
}

void vt_totals_add(struct vt_totals *t, const struct vt_extent *x)
{
	account(t, x, vt_extent_pages(x), false);
}

/*
 * may_expand_vm: whether so many more pages with these flags stay within RLIMIT_AS and
 * RLIMIT_DATA. more_data: pages of data added since the counters were last right.
 */
bool vt_may_expand_vm(const struct vt_model *m, uint32_t flags, uint64_t pages, uint64_t more_data)
{
	const struct vt_totals *t = &m->totals;
	if (t->total_vm + pages > m->config.rlimit_as >> VT_PAGE_SHIFT)
		return false;
	bool data = (flags & (VT_VM(WRITE) | VT_VM(SHARED) | VT_VM(GROWSDOWN))) == VT_VM(WRITE);
	return !data || t->data_vm + more_data + pages <= m->config.rlimit_data >> VT_PAGE_SHIFT;
}

/* accountable_mapping: whether the commit limit is charged for a new mapping. */
bool vt_accountable_mapping(const struct vt_model *m, uint32_t file, uint32_t flags)
{
	if (file && vt_file_kind(m, file) == VT_FILE_HUGETLB)
		return false;
	return (flags & (VT_VM(NORESERVE) | VT_VM(SHARED) | VT_VM(WRITE))) == VT_VM(WRITE);
}

/* The flags without VM_LOCKED where the kernel refuses it (mlock_fixup, __mmap_complete). */
uint32_t vt_lockable(uint32_t flags)
{
	if (flags & (VT_VM_SPECIAL | VT_VM(HUGETLB)))
		flags &= ~(uint32_t)VT_VM_LOCKED_MASK;
	return flags;
}
