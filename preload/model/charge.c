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
static void account(struct vt_model *m, const struct vt_extent *x, uint64_t pages, bool sub)
{
	uint32_t f = x->flags;

	if (x->special == VT_SPECIAL_VSYSCALL)
		return;
	add(&m->totals.total_vm, pages, sub);
	if ((f & (VT_VM(EXEC) | VT_VM(WRITE) | VT_VM(GROWSDOWN))) == VT_VM(EXEC))
		add(&m->totals.exec_vm, pages, sub);
	else if (f & VT_VM(GROWSDOWN))
		add(&m->totals.stack_vm, pages, sub);
	else if ((f & (VT_VM(WRITE) | VT_VM(SHARED))) == VT_VM(WRITE))
		add(&m->totals.data_vm, pages, sub);
	if (f & VT_VM(LOCKED))
		add(&m->totals.locked_vm, pages, sub);
	if (f & VT_VM(ACCOUNT))
		add(&m->totals.committed, pages, sub);
	if (f & VT_VM(HUGETLB))
		add(&m->totals.hugetlb, pages, sub);
}

/* Count so many pages with x's flags. */
void vt_charge(struct vt_model *m, const struct vt_extent *x, uint64_t pages)
{
	account(m, x, pages, false);
}

void vt_uncharge(struct vt_model *m, const struct vt_extent *x, uint64_t pages)
{
	account(m, x, pages, true);
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
