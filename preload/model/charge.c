/*
 * charge.c - the counters of struct mm_struct, kept by what the extents' flags say.
 *
 * Runs inside the traced process. Knows flags and pages only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/*
 * vm_stat_account: is_exec_mapping, is_stack_mapping, is_data_mapping; and locked_vm, commit. So
 * many pages more, or less.
 */
static void account(struct vt_totals *t, const struct vt_extent *x, uint64_t pages)
{
	uint32_t f = x->flags;

	if (x->special == VT_SPECIAL_VSYSCALL)
		return;
	t->total_vm += pages;
	if ((f & (VT_VM(EXEC) | VT_VM(WRITE) | VT_VM(GROWSDOWN))) == VT_VM(EXEC))
		t->exec_vm += pages;
	else if (f & VT_VM(GROWSDOWN))
		t->stack_vm += pages;
	else if ((f & (VT_VM(WRITE) | VT_VM(SHARED))) == VT_VM(WRITE))
		t->data_vm += pages;
	if (f & VT_VM(LOCKED))
		t->locked_vm += pages;
	if (f & VT_VM(ACCOUNT)) {
		t->committed += pages;
		if (x->identity & (VT_ID_ACCOUNT | VT_ID_HIDDEN_FLAGS))
			t->committed_unsure += pages;
	}
	if (f & VT_VM(HUGETLB))
		t->hugetlb += pages;
}

/* Count so many pages with x's flags. */
void vt_charge(struct vt_model *m, const struct vt_extent *x, uint64_t pages)
{
	account(&m->totals, x, pages);
}

void vt_uncharge(struct vt_model *m, const struct vt_extent *x, uint64_t pages)
{
	account(&m->totals, x, -pages);
}

void vt_totals_add(struct vt_totals *t, const struct vt_extent *x)
{
	account(t, x, vt_extent_pages(x));
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
