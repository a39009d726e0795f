/*
 * apply.c - the door: a model's beginning and end, and one table from event kind to its rule.
 *
 * Runs inside the traced process.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

typedef int (*apply_fn)(struct vt_apply *a);

/* Kinds that are not here change nothing in the address space. */
static const apply_fn rules[VT_KIND_COUNT] = {
	[VT_MMAP] = vt_apply_mmap,
	[VT_MUNMAP] = vt_apply_munmap,
	[VT_MPROTECT] = vt_apply_mprotect,
	[VT_PKEY_MPROTECT] = vt_apply_mprotect,
	[VT_MADVISE] = vt_apply_madvise,
	[VT_PROCESS_MADVISE] = vt_apply_madvise,
	[VT_BRK] = vt_apply_brk,
	[VT_MREMAP] = vt_apply_mremap,
	[VT_REMAP_FILE_PAGES] = vt_apply_remap_file_pages,
	[VT_SHMAT] = vt_apply_shmat,
	[VT_SHMDT] = vt_apply_shmdt,
	[VT_MLOCK] = vt_apply_mlock,
	[VT_MLOCK2] = vt_apply_mlock,
	[VT_MUNLOCK] = vt_apply_munlock,
	[VT_MLOCKALL] = vt_apply_mlockall,
	[VT_MUNLOCKALL] = vt_apply_munlockall,
	[VT_MBIND] = vt_apply_mbind,
	[VT_MSEAL] = vt_apply_mseal,
	[VT_PRCTL] = vt_apply_prctl,
	[VT_SETRLIMIT] = vt_apply_setrlimit,
	[VT_PERSONALITY] = vt_apply_personality,
	[VT_IOCTL] = vt_apply_ioctl,
	[VT_UNSEEN_MAP] = vt_apply_unseen_map,
	[VT_UNSEEN_UNMAP] = vt_apply_unseen_unmap,
	[VT_UNSEEN_AREA] = vt_apply_unseen_area,
};

int vt_model_init(struct vt_model *m, const struct vt_model_config *config,
		  const struct vt_memory *memory)
{
	*m = (struct vt_model){ .config = *config,
				.memory = *memory,
				.ways = vt_kernel_ways_of(config->kernel_version) };
	return 0;
}

void vt_model_fini(struct vt_model *m)
{
	vt_slabs_free(m);
	vt_files_free(m);
	m->root = NULL;
}

int vt_model_apply(struct vt_model *m, const struct vt_event *ev, struct vt_effect *fx)
{
	*fx = (struct vt_effect){ 0 };
	if (m->broken)
		return -ENOMEM;
	apply_fn rule = ev->kind < VT_KIND_COUNT ? rules[ev->kind] : NULL;
	if (!rule || ev->flags & VT_EV_UNDONE)
		return 0;
	struct vt_apply a = { m, ev, fx };
	return rule(&a);
}
