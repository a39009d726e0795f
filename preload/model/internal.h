/*
 * internal.h - what the files of the model share among themselves, and with nobody else.
 *
 * Runs inside the traced process: no malloc, no stdio, no locks, no system calls.
 *
 * Layers, lower first:
 *   tree.c    order and gaps: the augmented red-black tree, knows nothing of mappings
 *   search.c  where an address lies
 *   extent.c  extents: memory, cut, fuse, walk
 *   file.c    what file ids stand for
 *   kernel.c  which kernel has which ways
 *   charge.c  the counters: total_vm and kin, accountable_mapping
 *   merge.c   the boundary between two neighbours: vma_merge's conditions
 *   anon.c    what is known of an area's anon_vma
 *   edit.c    the three edits every call is made of: unmap a range, insert a mapping, change one
 *   map.c change.c advise.c lock.c uffd.c move.c place.c snapshot.c inherit.c   the calls
 *   apply.c   the table from event kind to call
 *   order.c   what calls that overlapped in time leave open
 *   limits.c  what the kernel would refuse under other limits
 *
 * Any function that returns int returns 0, or -ENOMEM after which vt_model.broken is set.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_MODEL_INTERNAL_H
#define VMTRAIL_MODEL_INTERNAL_H

#include <errno.h>
#include <string.h>
#include <vmtrail/abi.h>
#include <vmtrail/model.h>

#define VT_HIDDEN               __attribute__((visibility("hidden")))
#define VT_PMD_SIZE             (1UL << 21)
#define VT_KERNEL(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor) << 8)

/* Flag sets under the kernel's names. */
#define VT_VM_ACCESS      (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC))
#define VT_VM_MAY         (VT_VM(MAYREAD) | VT_VM(MAYWRITE) | VT_VM(MAYEXEC))
#define VT_VM_SPECIAL     (VT_VM(IO) | VT_VM(DONTEXPAND) | VT_VM(PFNMAP) | VT_VM(MIXEDMAP))
#define VT_VM_LOCKED_MASK (VT_VM(LOCKED) | VT_VM(LOCKONFAULT))
#define VT_UFFD_UNKNOWN   127 /* of vt_extent.uffd: a snapshot shows the flags only */
#define VT_VM_UFFD        ((uint32_t)(VT_VM(UFFD_MISSING) | VT_VM(UFFD_WP) | VT_VM(UFFD_MINOR)))

/*
 * vt_extent.anon of the first and last extent of an area (those between may be stale).
 *
 * A label stands for an anon_vma nobody has seen. 0: the area certainly has none. Otherwise the
 * area has none or some anon_vma, and this holds: if an area that nobody can write to has an
 * anon_vma, every other area with the same label has the same one. TOUCHED: the area certainly has
 * one, the same in all areas with this label. FORKED: its chain may hold more than one anon_vma.
 */
#define VT_ANON_TOUCHED   0x80000000U
#define VT_ANON_FORKED    0x40000000U
#define VT_ANON_LABEL_MAX 0x3fffffffU

/*
 * vt_extent.identity: extents with equal identities agree in everything the model cannot see of
 * them. The bits say what that is; the rest is a number. KNOWN_FILE: the number stands for one open
 * file description, and another number for another one.
 */
#define VT_ID_HIDDEN_FLAGS 0x80000000U /* from a snapshot that shows protection only */
#define VT_ID_ACCOUNT      0x40000000U /* VM_ACCOUNT depends on whether a page was touched */
#define VT_ID_PGOFF        0x20000000U /* moved: the offset is vt_extent.pgoff, or its place's own */
#define VT_ID_LOCKED       0x10000000U /* MREMAP_DONTUNMAP may have unlocked it */
#define VT_ID_PGOFF_ANY    0x08000000U /* moved more than once, or before the start: any offset */
#define VT_ID_KNOWN_FILE   0x04000000U
#define VT_ID_UNSURE                                                                               \
	(VT_ID_HIDDEN_FLAGS | VT_ID_ACCOUNT | VT_ID_PGOFF | VT_ID_PGOFF_ANY | VT_ID_LOCKED)
#define VT_ID_NUMBER_MAX 0x03ffffffU

/* vt_model.files: kind, whether kept in memory, and the shift of its huge pages (0: default). */
#define VT_FILE_KIND       0x0f
#define VT_FILE_IN_MEMORY  0x10
#define VT_FILE_HUGE_SHIFT 8

/* One event being applied. */
struct vt_apply {
	struct vt_model *m;
	const struct vt_event *ev;
	struct vt_effect *fx;
};

static inline uint64_t vt_page_up(uint64_t v)
{
	return (v + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
}

static inline uint64_t vt_page_down(uint64_t v)
{
	return v & ~(VT_PAGE_SIZE - 1);
}

static inline uint64_t vt_extent_pages(const struct vt_extent *x)
{
	return (x->end - x->start) >> VT_PAGE_SHIFT;
}

static inline uint64_t vt_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t vt_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline enum vt_file_kind vt_file_kind(const struct vt_model *m, uint32_t file)
{
	return file < m->file_cap ? (enum vt_file_kind)(m->files[file] & VT_FILE_KIND)
				  : VT_FILE_REGULAR;
}

static inline bool vt_file_in_memory(const struct vt_model *m, uint32_t file)
{
	return file < m->file_cap && m->files[file] & VT_FILE_IN_MEMORY;
}

/* Whether the kernel has a way of VT_KERNEL_WAYS. */
static inline bool vt_kernel_has(const struct vt_model *m, enum vt_kernel_way way)
{
	return m->ways >> way & 1;
}

/* The size of a HUGETLB file's pages. */
static inline uint64_t vt_huge_size(const struct vt_model *m, uint32_t file)
{
	unsigned shift = file < m->file_cap ? m->files[file] >> VT_FILE_HUGE_SHIFT : 0;
	return shift ? 1UL << shift : VT_PMD_SIZE;
}

/* Whether a cut through x at addr would go through a huge page. */
static inline bool vt_cuts_huge_page(const struct vt_model *m, const struct vt_extent *x,
				     uint64_t addr)
{
	return x->flags & VT_VM(HUGETLB) && addr & (vt_huge_size(m, x->file) - 1);
}

/* vma_is_anonymous: no vm_ops. Private /dev/zero keeps its file, but is anonymous memory. */
static inline bool vt_is_anonymous(const struct vt_model *m, const struct vt_extent *x)
{
	if (x->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE)))
		return false;
	return !x->file || vt_file_kind(m, x->file) == VT_FILE_ZERO;
}

/* file.c */
VT_HIDDEN void vt_files_free(struct vt_model *m);
VT_HIDDEN void vt_file_set_huge(struct vt_model *m, uint32_t file, unsigned shift);
VT_HIDDEN int vt_segment_attached(struct vt_model *m, uint32_t file, uint64_t pages);
VT_HIDDEN uint32_t vt_segment_pages(const struct vt_model *m, uint32_t file);

/* tree.c */
#define VT_TREE_TAGS 7UL /* of vt_extent.parent_color: what is not the parent's address */
static inline struct vt_extent *vt_tree_parent(const struct vt_extent *x)
{
	return (struct vt_extent *)(x->parent_color & ~VT_TREE_TAGS);
}
VT_HIDDEN void vt_tree_insert(struct vt_model *m, struct vt_extent *next, struct vt_extent *x);
VT_HIDDEN void vt_tree_erase(struct vt_model *m, struct vt_extent *x);
VT_HIDDEN void vt_tree_set_boundary(struct vt_extent *x, enum vt_boundary b);
VT_HIDDEN uint64_t vt_end_before(const struct vt_extent *x);
VT_HIDDEN uint64_t vt_tree_gap(const struct vt_extent *x);
VT_HIDDEN void vt_tree_gap_grew(struct vt_extent *x);
VT_HIDDEN bool vt_tree_may_fit(const struct vt_extent *x, uint64_t length);
VT_HIDDEN void vt_tree_tighten(struct vt_extent *x);
VT_HIDDEN struct vt_extent *vt_area_head(struct vt_extent *x);
VT_HIDDEN struct vt_extent *vt_area_tail(struct vt_extent *x);

/* search.c */
#define VT_STRETCH (1UL << 16)

/* c ? a : b without a branch, where c depends on chance: a processor would guess wrong. */
static inline struct vt_extent *vt_choose(bool c, struct vt_extent *a, struct vt_extent *b)
{
	uintptr_t mask = -(uintptr_t)c;
	return (struct vt_extent *)(((uintptr_t)a & mask) | ((uintptr_t)b & ~mask));
}

/* Where the last search near addr ended: stretches side by side have places of their own. */
static inline struct vt_extent **vt_recent_in(struct vt_model *m, uint64_t stretch)
{
	return &m->recent[(stretch ^ stretch / VT_MODEL_RECENT) % VT_MODEL_RECENT];
}

static inline struct vt_extent **vt_recent_near(struct vt_model *m, uint64_t addr)
{
	return vt_recent_in(m, addr / VT_STRETCH);
}

/*
 * Whether a search for addr ends at x, which may have been released: then it ends nowhere. What is
 * not linked yet must not be met here: an extent is filled only when its place has been found.
 */
static inline bool vt_ends_at(const struct vt_extent *x, uint64_t addr)
{
	return x && addr < x->end && (addr >= x->start || addr >= vt_end_before(x));
}

VT_HIDDEN void vt_expect(struct vt_model *m, uint64_t before, uint64_t addr, struct vt_extent *x);
VT_HIDDEN struct vt_extent *vt_find_afresh(struct vt_model *m, uint64_t addr);
VT_HIDDEN struct vt_extent *vt_find_room(struct vt_model *m, uint64_t lo, uint64_t hi);

/* vt_model_find, trying first what is likely. */
static inline struct vt_extent *vt_find(struct vt_model *m, uint64_t addr)
{
	struct vt_extent *x = *vt_recent_near(m, addr);
	return vt_ends_at(x, addr) ? x : vt_find_afresh(m, addr);
}

/* extent.c */
VT_HIDDEN struct vt_extent *vt_extent_new(struct vt_model *m);
VT_HIDDEN void vt_extent_release(struct vt_model *m, struct vt_extent *x);
VT_HIDDEN void vt_slabs_free(struct vt_model *m);
VT_HIDDEN void vt_extent_link(struct vt_model *m, struct vt_extent *next, struct vt_extent *x);
VT_HIDDEN void vt_extent_unlink(struct vt_model *m, struct vt_extent *x);
VT_HIDDEN void vt_set_boundary(struct vt_model *m, struct vt_extent *x, enum vt_boundary b);
VT_HIDDEN int vt_cut(struct vt_model *m, struct vt_extent *x, uint64_t addr);
VT_HIDDEN void vt_trim_end(struct vt_model *m, struct vt_extent *x, uint64_t end);
VT_HIDDEN void vt_trim_start(struct vt_model *m, struct vt_extent *x, uint64_t start);
VT_HIDDEN struct vt_extent *vt_fuse(struct vt_model *m, struct vt_extent *right);
VT_HIDDEN void vt_fuse_from(struct vt_model *m, struct vt_extent *x, uint64_t hi);
VT_HIDDEN struct vt_extent *vt_adjacent_prev(const struct vt_extent *x);
VT_HIDDEN struct vt_extent *vt_adjacent_next(const struct vt_extent *x);

/* charge.c */
VT_HIDDEN void vt_charge(struct vt_model *m, const struct vt_extent *x, uint64_t pages);
VT_HIDDEN void vt_uncharge(struct vt_model *m, const struct vt_extent *x, uint64_t pages);
VT_HIDDEN bool vt_accountable_mapping(const struct vt_model *m, uint32_t file, uint32_t flags);
VT_HIDDEN bool vt_may_expand_vm(const struct vt_model *m, uint32_t flags, uint64_t pages,
				uint64_t more_data);
VT_HIDDEN uint32_t vt_lockable(uint32_t flags);

/* anon.c */
VT_HIDDEN void vt_anon_relabel_all(struct vt_model *m);
static inline uint32_t vt_anon_new_label(struct vt_model *m)
{
	if (m->next_anon >= VT_ANON_LABEL_MAX)
		vt_anon_relabel_all(m);
	return ++m->next_anon;
}
VT_HIDDEN uint32_t vt_identity_new(struct vt_model *m);
VT_HIDDEN uint32_t vt_anon_of_area(struct vt_extent *x);
VT_HIDDEN void vt_anon_set_area(struct vt_extent *x, uint32_t label);
VT_HIDDEN bool vt_anon_touchable(const struct vt_model *m, const struct vt_extent *x);
VT_HIDDEN void vt_anon_wake(struct vt_model *m, struct vt_extent *x);
VT_HIDDEN void vt_anon_touched(struct vt_model *m, uint64_t lo, uint64_t hi);
VT_HIDDEN enum vt_boundary vt_anon_compatible(const struct vt_model *m, uint32_t a,
					      bool a_touchable, uint32_t b, bool b_touchable);

/* merge.c */
struct vt_side {
	const struct vt_extent *x; /* attributes */
	uint32_t anon;             /* its area's label */
	bool touchable;            /* when the label was last true */
};
struct vt_verdict { /* about the boundaries of a piece */
	enum vt_boundary left, right;
};
enum vt_piece_place {
	VT_PLACE_NEW,
	VT_PLACE_WHOLE, /* all of an area that has changed */
	VT_PLACE_BEGINNING,
	VT_PLACE_END,
	VT_PLACE_MIDDLE,
};
VT_HIDDEN struct vt_side vt_side_of(const struct vt_model *m, struct vt_extent *x);
VT_HIDDEN enum vt_boundary vt_can_merge(const struct vt_model *m, struct vt_side l,
					struct vt_side r);
VT_HIDDEN enum vt_boundary vt_merge_right(const struct vt_model *m, struct vt_side prev,
					  enum vt_boundary lb, struct vt_side next,
					  enum vt_boundary rb);
VT_HIDDEN void vt_tell_merge(struct vt_apply *a, enum vt_piece_place place, struct vt_extent *prev,
			     struct vt_side l, struct vt_side r, struct vt_extent *next,
			     struct vt_verdict v);
VT_HIDDEN bool vt_can_remove(const struct vt_model *m, const struct vt_extent *x);
VT_HIDDEN void vt_join(struct vt_apply *a, struct vt_extent *x, enum vt_boundary b);

/* edit.c */
VT_HIDDEN int vt_unmap_range(struct vt_apply *a, uint64_t lo, uint64_t hi, enum vt_piece_fate fate);
VT_HIDDEN uint64_t vt_mapped_in(const struct vt_model *m, uint64_t lo, uint64_t hi);
VT_HIDDEN int vt_make_room(struct vt_apply *a, uint64_t lo, uint64_t hi, bool forced);
VT_HIDDEN void vt_merge_new_area(struct vt_apply *a, struct vt_extent *first,
				 struct vt_extent *last, bool with_next, bool moved);
VT_HIDDEN void vt_insert_mapping(struct vt_apply *a, struct vt_extent *x, uint64_t end,
				 bool with_next);

/* What a call makes of an area: the new flags and the rest. */
struct vt_change {
	uint32_t flags;
	uint16_t policy, name;
	uint8_t pkey, uffd;
	bool account_unsure; /* VM_ACCOUNT depends on touched pages from now on */
	uint32_t decides;    /* flags that are known afterwards, whatever they were */
};
/* Fills c for the area that x belongs to, whose label is anon; c holds what it has now. */
typedef void (*vt_change_fn)(struct vt_apply *a, const struct vt_extent *x, uint32_t anon,
			     struct vt_change *c, const void *arg);
VT_HIDDEN int vt_change_range(struct vt_apply *a, uint64_t lo, uint64_t hi, vt_change_fn change,
			      const void *arg);
VT_HIDDEN int vt_split_area(struct vt_apply *a, uint64_t addr, enum vt_boundary b);
VT_HIDDEN void vt_tell_pieces(struct vt_apply *a, uint64_t lo, uint64_t hi,
			      enum vt_piece_fate fate);
static inline void vt_observe(struct vt_apply *a, uint64_t lo, uint64_t hi, enum vt_piece_fate fate)
{
	if (a->m->observe)
		vt_tell_pieces(a, lo, hi, fate);
}
VT_HIDDEN uint64_t vt_huge_cut(struct vt_model *m, uint64_t lo, uint64_t hi);

/* map.c */
VT_HIDDEN uint64_t vt_mmap_huge_size(const struct vt_model *m, uint64_t flags, uint32_t file);
VT_HIDDEN uint32_t vt_mmap_flags(const struct vt_model *m, uint64_t prot, uint64_t flags,
				 uint32_t file);
VT_HIDDEN uint64_t vt_mmap_len(const struct vt_model *m, const struct vt_event *ev);
VT_HIDDEN int vt_apply_mmap(struct vt_apply *a);
VT_HIDDEN int vt_refused_unmap(struct vt_apply *a, uint64_t lo, uint64_t hi);
VT_HIDDEN int vt_apply_munmap(struct vt_apply *a);
VT_HIDDEN int vt_apply_brk(struct vt_apply *a);
VT_HIDDEN int vt_apply_shmat(struct vt_apply *a);
VT_HIDDEN int vt_apply_shmdt(struct vt_apply *a);
VT_HIDDEN int vt_apply_remap_file_pages(struct vt_apply *a);

/* change.c */
VT_HIDDEN int vt_apply_mprotect(struct vt_apply *a);
VT_HIDDEN int vt_apply_mbind(struct vt_apply *a);
VT_HIDDEN int vt_apply_mseal(struct vt_apply *a);
VT_HIDDEN int vt_apply_prctl(struct vt_apply *a);
VT_HIDDEN int vt_apply_setrlimit(struct vt_apply *a);
VT_HIDDEN int vt_apply_personality(struct vt_apply *a);

/* uffd.c */
VT_HIDDEN int vt_apply_ioctl(struct vt_apply *a);
VT_HIDDEN void vt_uffd_reset(struct vt_extent *x);

/* advise.c */
VT_HIDDEN int vt_apply_madvise(struct vt_apply *a);

/* lock.c */
VT_HIDDEN int vt_apply_mlock(struct vt_apply *a);
VT_HIDDEN int vt_apply_munlock(struct vt_apply *a);
VT_HIDDEN int vt_apply_mlockall(struct vt_apply *a);
VT_HIDDEN int vt_apply_munlockall(struct vt_apply *a);

/* snapshot.c */
VT_HIDDEN int vt_apply_unseen_map(struct vt_apply *a);
VT_HIDDEN int vt_apply_unseen_unmap(struct vt_apply *a);
VT_HIDDEN int vt_apply_unseen_area(struct vt_apply *a);

/* move.c */
VT_HIDDEN int vt_apply_mremap(struct vt_apply *a);

#endif
