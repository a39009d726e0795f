/*
 * model.h - the shadow address space: one process's mappings as the kernel keeps them.
 *
 * One implementation (preload/model/), linked by the recorder and by the analyzer. It lives in the
 * traced process too: it allocates only through struct vt_memory, never fails half-way (an
 * operation that cannot get memory sets vt_model.broken and changes nothing more), takes no lock
 * and makes no system call.
 *
 * The unit is the extent: a run of pages with one birth (the event that mapped them) and one set of
 * attributes. Neighbouring extents are never fused unless birth, attributes and offset agree; that
 * the kernel holds two neighbours as one vm_area_struct is a flag on the boundary between them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_MODEL_H
#define VMTRAIL_MODEL_H

#include <sys/mman.h>
#include <vmtrail/event.h>

#define VT_PAGE_SHIFT 12
#define VT_PAGE_SIZE  (1UL << VT_PAGE_SHIFT)

/* Area flags: the kernel's VM_* of the same name, in our own numbering (part of keyframes). */
#define VT_VM_FLAGS(X)                                                                             \
	X(READ, "rd")                                                                              \
	X(WRITE, "wr")                                                                             \
	X(EXEC, "ex")                                                                              \
	X(SHARED, "sh")                                                                            \
	X(MAYREAD, "mr")                                                                           \
	X(MAYWRITE, "mw")                                                                          \
	X(MAYEXEC, "me")                                                                           \
	X(MAYSHARE, "ms")                                                                          \
	X(GROWSDOWN, "gd")                                                                         \
	X(PFNMAP, "pf")                                                                            \
	X(LOCKED, "lo")                                                                            \
	X(IO, "io")                                                                                \
	X(SEQ_READ, "sr")                                                                          \
	X(RAND_READ, "rr")                                                                         \
	X(DONTCOPY, "dc")                                                                          \
	X(DONTEXPAND, "de")                                                                        \
	X(ACCOUNT, "ac")                                                                           \
	X(NORESERVE, "nr")                                                                         \
	X(HUGETLB, "ht")                                                                           \
	X(SYNC, "sf")                                                                              \
	X(WIPEONFORK, "wf")                                                                        \
	X(DONTDUMP, "dd")                                                                          \
	X(MIXEDMAP, "mm")                                                                          \
	X(HUGEPAGE, "hg")                                                                          \
	X(NOHUGEPAGE, "nh")                                                                        \
	X(MERGEABLE, "mg")                                                                         \
	X(UFFD_MISSING, "um")                                                                      \
	X(UFFD_WP, "uw")                                                                           \
	X(UFFD_MINOR, "ui")                                                                        \
	X(SEALED, "sl")                                                                            \
	X(DROPPABLE, "dp")                                                                         \
	X(LOCKONFAULT, "lf")

enum vt_vm_flag_bit {
#define VT_VM_BIT(n, s) VT_VM_##n##_BIT,
	VT_VM_FLAGS(VT_VM_BIT)
#undef VT_VM_BIT
	    VT_VM_FLAG_COUNT
};
#define VT_VM(n) (1ULL << VT_VM_##n##_BIT)

/* PROT_* as VT_VM(), bit for bit. */
static inline uint32_t vt_prot_flags(uint64_t prot)
{
	_Static_assert(VT_VM(READ) == PROT_READ && VT_VM(WRITE) == PROT_WRITE &&
			   VT_VM(EXEC) == PROT_EXEC,
		       "the numbering begins with them");
	return (uint32_t)(prot & (VT_VM(READ) | VT_VM(WRITE) | VT_VM(EXEC)));
}

/* How the boundary between an extent and the one before it (touching it) looks to the kernel. */
enum vt_boundary {
	VT_BOUNDARY_SPLIT,        /* two areas, or nothing mapped right before */
	VT_BOUNDARY_MERGED,       /* one area spans both */
	VT_BOUNDARY_UNDETERMINED, /* depends on what no call shows: touched pages, open files */
};

/*
 * A run of pages with one birth and one set of attributes. At most 96 bytes, in three parts that
 * lie in a cache line each: what a search reads, what a change of its neighbours reads, the rest.
 * Read only outside.
 */
struct vt_extent {
	union {
		struct {
			struct vt_extent *left, *right;
		};
		struct vt_extent *child[2]; /* the same two */
	};
	uint64_t start, end; /* bytes, page aligned, end excluded */

	uintptr_t parent_color;
	int32_t next, prev;   /* its neighbours, see vt_extent_next; no copy of it has them */
	uint32_t subtree_gap; /* no gap before an extent of this subtree has more pages */
	uint32_t anon;        /* what is known of its area's anon_vma; model's own */
	uint32_t identity;    /* whose unknowns it shares: open file, hidden flags; model's own */
	uint8_t boundary;     /* enum vt_boundary with the extent before it */
	uint8_t pkey;
	uint8_t own : 1;  /* belongs to the recorder */
	uint8_t uffd : 7; /* which userfaultfd it is registered with, 0: none; model's own */
	uint8_t special;  /* enum vt_special */

	uint64_t pgoff;  /* offset into the file, or the virtual page number, in pages */
	uint64_t birth;  /* vt_event.seq of the call that mapped it; 0: there at the start */
	uint32_t flags;  /* VT_VM() bits */
	uint32_t file;   /* file id, 0: anonymous */
	uint32_t stack;  /* stack id of the birth */
	uint16_t policy; /* memory policy id, 0: the default */
	uint16_t name;   /* number of a NAME definition, 0: none */
};

/* What the kernel prints in brackets, known from the snapshot's path. */
enum vt_special {
	VT_SPECIAL_NONE,
	VT_SPECIAL_HEAP,
	VT_SPECIAL_STACK,
	VT_SPECIAL_VDSO,
	VT_SPECIAL_VVAR,     /* [vvar], [vvar_vclock] */
	VT_SPECIAL_VSYSCALL, /* gate area: in maps, but no area of the process */
	VT_SPECIAL_OTHER,
};

/* Which special area the last column of a line of maps names; "[anon:...]" is none. */
enum vt_special vt_special_of(const char *name);

/* One vm_area_struct as /proc/PID/maps shows it; also how a snapshot enters the model. */
struct vt_vma {
	uint64_t start, end;
	uint64_t pgoff;       /* pages; 0 for anonymous memory */
	uint32_t flags;       /* READ WRITE EXEC SHARED from maps; more where smaps was read */
	uint32_t file;        /* file id, 0: anonymous */
	uint8_t special;      /* enum vt_special */
	uint16_t name;        /* number of a NAME definition, 0: none */
	uint8_t undetermined; /* of the boundary with the area before; for vt_model_put: of both */
};

/* The model's counters, in pages unless said otherwise; names as in struct mm_struct. */
struct vt_totals {
	uint64_t total_vm, data_vm, exec_vm, stack_vm, locked_vm;
	uint64_t committed;    /* pages charged by accountable_mapping */
	uint64_t map_count;    /* areas, taking every undetermined boundary as merged */
	uint64_t undetermined; /* undetermined boundaries: map_count is at most this much higher */
	uint64_t extents;
	uint64_t hugetlb;          /* pages of huge page mappings, not in committed */
	uint64_t committed_unsure; /* of committed, pages that may not be charged (untouched) */
	uint64_t locked_unsure; /* locked_vm may be that much higher (MREMAP_DONTUNMAP, touched?) */
};

/*
 * What kernels differ in: X(NAME, the version since which it is so, what it is). Versions are
 * mainline's; a stable branch may have taken a way over.
 */
#define VT_KERNEL_WAYS(X)                                                                          \
	X(GUARD_GAP_RETRY, 6, 1,                                                                   \
	  "a gap that ends in a stack's guard gap makes unmapped_area begin again behind it")      \
	X(BRK_JOINS_PREVIOUS, 6, 1, "do_brk_flags joins new memory to the area before it only")    \
	X(THP_ALIGN, 6, 7, "large anonymous memory is placed by huge pages")                       \
	X(STACK_NOHUGEPAGE, 6, 7, "MAP_STACK sets VM_NOHUGEPAGE")                                  \
	X(THP_TOPDOWN, 6, 8, "... and as high as it can be (__thp_get_unmapped_area)")             \
	X(THP_WHOLE, 6, 12, "... only where it is made of whole huge pages")                       \
	X(SEAL_BY_AREA, 6, 12, "a sealed area refuses a call when the call comes to it")           \
	X(LIMITS_LATE, 6, 12, "a forced placement looks at limits when areas are split already")   \
	X(THP_NO_HINT, 6, 13, "... and only without a hint")                                       \
	X(ANON_VMA_TAKEN_OVER, 6, 16, "an area without anon_vma merges with one that has one")     \
	X(MOVE_SEVERAL, 6, 17, "mremap moves several areas at once (remap_move)")                  \
	X(GUARD_FILES_BARE, 6, 18, "guard markers give private file mappings no anon_vma")

enum vt_kernel_way {
#define VT_KERNEL_WAY_ENUM(n, major, minor, text) VT_KERNEL_WAY_##n,
	VT_KERNEL_WAYS(VT_KERNEL_WAY_ENUM)
#undef VT_KERNEL_WAY_ENUM
	    VT_KERNEL_WAY_COUNT
};

struct vt_kernel_way_info {
	uint32_t since; /* as vt_model_config.kernel_version */
	const char *text;
};

extern const struct vt_kernel_way_info vt_kernel_ways[VT_KERNEL_WAY_COUNT];

/* The ways of a kernel, as bits 1 << enum vt_kernel_way; version 0: all there are. */
uint32_t vt_kernel_ways_of(uint32_t version);

/* Memory for extents: pages in multiples of VT_PAGE_SIZE; never given back before the model ends.
 */
struct vt_memory {
	void *(*alloc)(void *ctx, size_t bytes);        /* zeroed, aligned as malloc; or NULL */
	void (*free)(void *ctx, void *p, size_t bytes); /* may be NULL */
	void *ctx;
};

/* Kernel, limits and layout of the traced process: where rules depend on them. */
struct vt_model_config {
	uint32_t kernel_version; /* KERNEL_VERSION-like: major << 16 | minor << 8 | patch */
	uint64_t task_size;      /* first address above user space */
	uint64_t mmap_base;      /* top of the top-down search, 0: not known */
	uint64_t mmap_min_addr;  /* vm.mmap_min_addr */
	bool bottomup;           /* legacy layout */
	bool thp_align;   /* there are transparent huge pages: large placements are aligned */
	bool shmem_align; /* ... also those of shared and tmpfs memory (shmem_enabled) */
	bool thp_always;  /* transparent huge pages on for every mapping: reads may set anon_vma */
	uint64_t max_map_count;
	uint64_t rlimit_as, rlimit_data, rlimit_stack, rlimit_memlock; /* bytes; UINT64_MAX none */
	uint64_t stack_guard_gap;                                      /* bytes */
	uint64_t start_brk, brk;
	uint8_t overcommit_memory; /* vm.overcommit_memory: 2 makes MAP_NORESERVE mean nothing */
};

/* What happened to a piece of an extent; given to the observer before it happens. */
enum vt_piece_fate {
	VT_PIECE_UNMAPPED,  /* munmap, shmdt, brk shrink, mremap shrink */
	VT_PIECE_CLOBBERED, /* destroyed by a forced placement */
	VT_PIECE_MOVED,     /* mremap takes it away to vt_effect.moved_to */
	VT_PIECE_CHANGED,   /* protection or flags change */
	VT_PIECE_DISCARDED, /* contents dropped by madvise, the mapping stays */
	VT_PIECE_BORN,      /* newly mapped */
	VT_PIECE_LOST,      /* found gone, or different, by an unseen change */
};

/*
 * Optional observer: called for every affected piece [start, end) of extent x while ev is applied.
 * The extent is as before the change, except for BORN. Must not call the model back to change it.
 */
typedef void (*vt_piece_fn)(void *ctx, const struct vt_event *ev, const struct vt_extent *x,
			    uint64_t start, uint64_t end, enum vt_piece_fate fate);

/*
 * Why the kernel keeps two neighbours apart: the first of its conditions that they do not meet
 * (is_mergeable_vma, can_vma_merge_before and _after, can_vma_merge_right). Those from HIDDEN on
 * are no refusal for certain: something that no call shows decides.
 */
#define VT_APARTS(X)                                                                               \
	X(NOT, "one area")                                                                         \
	X(SPECIAL, "special") /* VM_SPECIAL: the area is never merged */                           \
	X(POLICY, "policy")   /* memory policy */                                                  \
	X(FLAGS, "flags")     /* area flags other than those below */                              \
	X(PKEY, "protection key")                                                                  \
	X(SEALED, "sealed")             /* VM_SEALED alone */                                      \
	X(USERFAULTFD, "userfaultfd")   /* registered otherwise */                                 \
	X(FILE, "file")                 /* another file, another opening of it, or none */         \
	X(CLOSE, "close operation")     /* a System V segment's area cannot be merged away */      \
	X(NAME, "name")                 /* PR_SET_VMA */                                           \
	X(OFFSET, "offset")             /* the file's offsets do not continue */                   \
	X(ANON_VMA, "anon_vma")         /* both have one and they differ (or one, before 6.16) */  \
	X(HIDDEN, "hidden flags")       /* flags or offset of one are not known */                 \
	X(FILE_UNSURE, "file?")         /* one opening of the file, or two */                      \
	X(ANON_VMA_UNSURE, "anon_vma?") /* which of their pages have been touched decides */

enum vt_apart {
#define VT_APART_ENUM(n, s) VT_APART_##n,
	VT_APARTS(VT_APART_ENUM)
#undef VT_APART_ENUM
	    VT_APART_COUNT
};

/*
 * One question of vma_merge: a piece that is new, or that a call has just changed, between the
 * areas that touch it. number is the kernel's of the eight cases, by what is certain:
 *   1 a new piece joins both neighbours   2 the one before   3 the one after
 *   4 an area's end goes over to the area after it, 5 its beginning to the one before it
 *   6 a whole area joins both neighbours   7 the one before   8 the one after   0 nothing merges
 */
struct vt_merge {
	const struct vt_event *ev;
	const struct vt_extent *first, *last; /* the piece as it is now */
	const struct vt_extent *prev, *next;  /* what touches it; NULL: nothing, or not asked */
	uint8_t left, right;                  /* enum vt_boundary: the answers */
	uint8_t left_apart, right_apart;      /* enum vt_apart: the reasons, where not merged */
	uint8_t number;
};

/* Optional: called for every question, before the answer is carried out. May look, not change. */
typedef void (*vt_merge_fn)(void *ctx, const struct vt_merge *merge);

/* How an event and the model contradict each other: bits of vt_effect.contradiction. */
enum {
	VT_CONTRA_OVERLAP = 1 << 0, /* a place the kernel chose holds live extents here */
	VT_CONTRA_MISSING = 1 << 1, /* the call succeeded through memory not mapped here */
	VT_CONTRA_OPEN = 1 << 2,    /* what the call did depends on something that no call shows */
	VT_CONTRA_BRK = 1 << 3,     /* brk's result does not follow from the model's brk */
};

/* What applying one event did. */
struct vt_effect {
	uint32_t
	    contradiction;  /* VT_CONTRA_*: the range below should be read again from the kernel */
	uint64_t lo, hi;    /* the range that the event touched (mremap: hull of old place) */
	uint64_t lo2, hi2;  /* mremap's new place, else empty */
	uint64_t destroyed; /* live bytes that a forced placement clobbered */
	uint32_t merges;    /* boundaries that became merged */
	uint32_t splits;    /* boundaries that became split inside what was one area */
};

#define VT_MODEL_RECENT 4096

struct vt_model {
	struct vt_model_config config;
	struct vt_memory memory;
	struct vt_extent *root;
	struct vt_extent *free_list;
	struct vt_totals totals;
	vt_piece_fn observe;
	void *observe_ctx;
	vt_merge_fn merge; /* NULL: nobody asks which cases there are */
	void *merge_ctx;
	uint16_t *files; /* what is known of each file id; model's own */
	uint32_t file_cap;
	uint32_t ways;      /* the kernel's, by config.kernel_version */
	uint32_t def_flags; /* mlockall(MCL_FUTURE): VT_VM(LOCKED), VT_VM(LOCKONFAULT) */
	uint32_t next_anon;
	uint32_t next_identity;
	uint32_t personality;   /* as personality(2) last set it */
	void *slabs;            /* memory that extents are carved from */
	struct vt_extent *hint; /* where somebody thinks that the next search ends; or NULL */
	/* where the last search in a stretch of addresses ended: the next one often does, too */
	struct vt_extent *recent[VT_MODEL_RECENT];
	uint32_t *segment_pages; /* size of System V segments by file id; NULL: none attached yet */
	uint32_t segment_cap;
	bool forked; /* the process has forked, or was forked: anon_vma chains may be shared */
	bool broken; /* memory ran out: the model no longer follows */
};

/*
 * Prepare an empty model. memory and config are copied. Returns 0 or -ENOMEM.
 */
int vt_model_init(struct vt_model *m, const struct vt_model_config *config,
		  const struct vt_memory *memory);

/* Give all memory back through vt_memory.free, where there is one. */
void vt_model_fini(struct vt_model *m);

/* Tell the model what kind of file an id stands for, before an event uses it. 0 or -ENOMEM. */
int vt_model_set_file(struct vt_model *m, uint32_t file, enum vt_file_kind kind);

/*
 * Tell the model that a regular file, already told of, is kept in memory (tmpfs, memfd): the kernel
 * places its mappings by other rules. Needed for predicted placements only.
 */
void vt_model_set_file_in_memory(struct vt_model *m, uint32_t file);

/*
 * Enter an area as the kernel shows it (snapshot, unseen change), replacing whatever the model has
 * there. birth, stack: as in struct vt_extent. The boundaries to both neighbours become SPLIT: the
 * kernel showed them as areas of their own; with vma->undetermined they stay open where the two
 * could be one area, because only part of an area is entered. Returns 0 or -ENOMEM.
 */
int vt_model_put(struct vt_model *m, const struct vt_vma *vma, uint64_t birth, uint32_t stack);

/* Forget [start, end): the kernel has nothing there. Returns 0 or -ENOMEM (splitting). */
int vt_model_forget(struct vt_model *m, uint64_t start, uint64_t end);

/*
 * Enter one extent of a keyframe, in the order of addresses, into a model that holds nothing at or
 * above it: all attributes and the boundary are taken over, what a keyframe does not tell is in
 * doubt. Returns 0 or -ENOMEM.
 */
int vt_model_restore(struct vt_model *m, const struct vt_extent *x);

/* Mark what [lo, hi) holds as the recorder's own; areas stay as they are. Returns 0 or -ENOMEM. */
int vt_model_own(struct vt_model *m, uint64_t lo, uint64_t hi);

/*
 * The model of a process becomes that of its forked child (dup_mmap): areas not copied are gone,
 * nothing is locked, and every touched area has an anon_vma chain of its own. Sets vt_model.forked.
 * Returns 0 or -ENOMEM.
 */
int vt_model_become_child(struct vt_model *m);

/*
 * Apply one completed event, whatever its kind (kinds that change nothing are accepted). A failed
 * call changes the model only where the kernel's does (a munmap that failed half-way, mprotect up
 * to the first hole, and so on). Contradictions are healed by what the result proves, and told in
 * fx. Returns 0, or -ENOMEM when the model broke.
 */
int vt_model_apply(struct vt_model *m, const struct vt_event *ev, struct vt_effect *fx);

/*
 * Settle the boundaries by a snapshot: vmas is the kernel's list, sorted. Every undetermined
 * boundary becomes what the list shows. Where a determined boundary differs from the list it is
 * corrected too and counted. Bytes are not changed. Boundaries inside the ranges of flux, where
 * calls were under way, are not counted and stay undetermined. Returns the number of determined
 * boundaries that were wrong.
 */
struct vt_range {
	uint64_t lo, hi;
};
uint64_t vt_model_settle(struct vt_model *m, const struct vt_vma *vmas, size_t n,
			 const struct vt_range *flux, size_t n_flux, uint64_t *settled);

/*
 * What calls that overlapped in time did to [lo, hi) cannot be told from their order: what maps
 * does not show of it is not known any more, and the boundaries in it and at its edges are open
 * where the two could be one area. lo == hi: only the boundary there. Returns 0 or -ENOMEM.
 */
int vt_model_doubt(struct vt_model *m, uint64_t lo, uint64_t hi);

/* The extent that holds addr, or the first one above it; NULL: none. */
struct vt_extent *vt_model_find(const struct vt_model *m, uint64_t addr);

/*
 * The same for n addresses at once, n at most VT_FIND_MANY: the processor fetches for all together
 * what one search after the other waits for. An answer remains good as vt_model.hint while the
 * model changes.
 */
#define VT_FIND_MANY 32
void vt_model_find_many(const struct vt_model *m, const uint64_t *addr, size_t n,
			struct vt_extent **found);
struct vt_extent *vt_model_first(const struct vt_model *m);
struct vt_extent *vt_model_last(const struct vt_model *m);
struct vt_extent *vt_extent_next(const struct vt_extent *x);
struct vt_extent *vt_extent_prev(const struct vt_extent *x);

/*
 * The flags of x that no call shows: they may differ from x->flags. VM_ACCOUNT goes from private
 * memory made read-only if none of it was touched; a snapshot of maps shows protection only.
 */
uint32_t vt_extent_unsure_flags(const struct vt_extent *x);

/* The first address in [lo, hi) that nothing is mapped at; hi if there is none. */
uint64_t vt_hole_in(struct vt_model *m, uint64_t lo, uint64_t hi);

/*
 * Whether no call shows x's offset: memory that is anonymous to the kernel (also private /dev/zero,
 * whose offset maps shows) keeps it when it is moved only if a page was touched before.
 */
bool vt_extent_unsure_offset(const struct vt_extent *x);

/*
 * Why the kernel would keep two areas apart that touch: l is the last extent of the one, r the
 * first of the next. VT_APART_NOT: they could be one, and no call has made the kernel ask.
 */
enum vt_apart vt_why_apart(const struct vt_model *m, struct vt_extent *l, struct vt_extent *r);

/* Add x's pages to the counters that they count in; areas and extents are not counted. */
void vt_totals_add(struct vt_totals *t, const struct vt_extent *x);

/* One extent as an area of its own, with its own offset. */
static inline struct vt_vma vt_extent_vma(const struct vt_extent *x)
{
	return (struct vt_vma){ .start = x->start,
				.end = x->end,
				.pgoff = x->pgoff,
				.flags = x->flags,
				.file = x->file,
				.name = x->name,
				.special = x->special };
}

/*
 * Walk the areas: fills vma with the one that begins at x (x must begin an area: the first extent,
 * or one whose boundary is not MERGED; undetermined counts as merged and sets vma->undetermined of
 * the merged area) and returns the extent that begins the next one, or NULL at the end.
 */
struct vt_extent *vt_model_vma(const struct vt_model *m, struct vt_extent *x, struct vt_vma *vma);

/*
 * Where the kernel would place a mapping of len bytes (page aligned) that asks for hint (0: no
 * hint) with these mmap flags and file; vt_unmapped_area and kin. Returns the address, or
 * (uint64_t)-ENOMEM.
 */
uint64_t vt_get_unmapped_area(const struct vt_model *m, uint64_t hint, uint64_t len, uint64_t pgoff,
			      uint64_t mmap_flags, uint32_t file);

/* What a call asked for that left the choice of the place to the kernel, and the model's choice. */
struct vt_placement {
	uint64_t hint, len; /* bytes */
	uint64_t at;        /* (uint64_t)-ENOMEM: nowhere */
};

/*
 * Whether ev, which has not been applied yet, succeeded and let the kernel choose a place (mmap and
 * shmat without a forced address, mremap that moved); then where the kernel would have put it.
 * False, too, where that depends on what no call shows.
 */
bool vt_model_placement(const struct vt_model *m, const struct vt_event *ev,
			struct vt_placement *p);

#endif
