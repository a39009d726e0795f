/*
 * find.h - findings: who destroyed, gave back or changed memory that was not its own.
 *
 * The rules (find_unmap.c, find_fixed.c, find_change.c) look at each event with the pieces that the
 * model says it took; find_proof.c looks for later events that prove a finding; find_collect.c runs
 * them over a trace. A finding says what happened by event numbers; find_story.c fetches their
 * text.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_FIND_H
#define VMTRAIL_ANALYZER_FIND_H

#include <sys/mman.h>

#include "ending.h"
#include "find_history.h"
#include "find_owner.h"

/* X(ENUM, name, what happened, what to do about it) */
#define VT_FIND_KINDS(X)                                                                           \
	X(FIXED_CLOBBER, "fixed-clobber", "A forced placement destroyed live memory.",             \
	  "MAP_FIXED_NOREPLACE fails instead of replacing; or reserve the whole range first.")     \
	X(FOREIGN_UNMAP, "foreign-unmap", "An unmap reached live memory of another owner.",        \
	  "Check the unmapped address and length against what this code had mapped.")              \
	X(DOUBLE_UNMAP, "double-unmap", "Unmapped a range that this code had already given back.", \
	  "Of the two unmaps of this range one is too many: forget the address after the first.")  \
	X(STALE_RANGE, "stale-range",                                                              \
	  "Used a range after its mapping had died and another owner had taken the address.",      \
	  "Forget the address when its mapping goes away.")                                        \
	X(HINT_MOVED, "hint-moved", "The kernel did not honour a hint.",                           \
	  "Use the address that mmap returned, or MAP_FIXED_NOREPLACE to insist on one.")          \
	X(UNMAP_REMAP_WINDOW, "unmap-remap-window",                                                \
	  "A range was given back and then forced again: another thread can take it in between.",  \
	  "Place the new mapping over the old one, without the unmap.")                            \
	X(FOREIGN_CHANGE, "foreign-change", "Changed memory of another owner.",                    \
	  "Change only what this code has mapped: check address and length.")                      \
	X(FAILED_UNMAP, "failed-unmap", "An unmap was refused, and its mapping never went away.",  \
	  "Unmap the address that mmap returned: a mapping begins at a page.")                     \
	X(BRK_BLOCKED, "brk-blocked", "The heap could not grow.",                                  \
	  "Keep fixed addresses away from the heap; malloc goes on with mmap, in pieces.")         \
	X(MAP_COUNT, "map-count", "The process has nearly as many areas as it may have.",          \
	  "Map in larger pieces, with fewer guards and protections; or raise vm.max_map_count.")   \
	X(LOCK_LIMIT, "lock-limit", "Locking memory came to its limit.",                           \
	  "Lock less, or raise RLIMIT_MEMLOCK; MAP_LOCKED does not tell whether it has locked.")   \
	X(FILE_STREAM, "file-stream", "A file is read in order without MADV_SEQUENTIAL.",          \
	  "MADV_SEQUENTIAL, once, lets the kernel read ahead and drop what was read.")             \
	X(UNSYNCED, "unsynced", "A writable shared file mapping went away without msync.",         \
	  "msync(MS_SYNC) before the unmap, where the data must survive a crash of the machine.")  \
	X(FILE_POPULATE, "file-populate", "MAP_POPULATE on a private file mapping.",               \
	  "Leave MAP_POPULATE out, or map read-only: a writable private mapping copies every "     \
	  "page.")

enum vt_find_kind {
#define VT_FIND_ENUM(e, ...) VT_FIND_##e,
	VT_FIND_KINDS(VT_FIND_ENUM)
#undef VT_FIND_ENUM
	    VT_FIND_KIND_COUNT
};

struct vt_find_kind_info {
	const char *name, *sentence, *advice;
};
extern const struct vt_find_kind_info vt_find_kinds[VT_FIND_KIND_COUNT];

/* How sure a finding is. A suspicion is never shown: it waits for its proof. */
enum vt_severity {
	VT_SEVERITY_SUSPICION,
	VT_SEVERITY_INFO,
	VT_SEVERITY_WARNING,
	VT_SEVERITY_ERROR
};

const char *vt_severity_name(enum vt_severity severity);

/* What makes a finding certain. */
enum vt_proof {
	VT_PROOF_NONE,
	VT_PROOF_OWNER,   /* the victim is another owner's */
	VT_PROOF_TWICE,   /* one mapping was unmapped twice */
	VT_PROOF_VICTIM,  /* the victim's owner acted on the dead range later: proof_seq */
	VT_PROOF_RELIED,  /* the address that was asked for was used later: proof_seq */
	VT_PROOF_FAULT,   /* the process died there: proof_seq */
	VT_PROOF_REFUSED, /* the kernel refused the call */
	VT_PROOF_OVERLAP, /* victim and culprit were under way at the same time */
};

/* A mapping that lost bytes. */
struct vt_find_victim {
	uint64_t lo, hi; /* what it lost */
	struct vt_birth birth;
	const char *path; /* of its file, NULL: anonymous */
};

#define VT_FIND_VICTIMS 4
#define VT_FIND_HISTORY 8
#define VT_FIND_MAKERS  3

/* A call of the history that stands for many. */
struct vt_find_maker {
	uint64_t seq;   /* the last one; 0: none */
	uint64_t areas; /* that the calls of its stack have made, or split off */
	bool splits;
};

struct vt_finding {
	uint8_t kind;     /* enum vt_find_kind */
	uint8_t severity; /* enum vt_severity */
	uint8_t proof;    /* enum vt_proof */
	bool race;        /* the victim took the range after the culprit had given it back */
	uint32_t tid, stack, owner;
	bool overlap;               /* victim and culprit were under way at the same time */
	uint64_t seq, addr, length; /* the culprit's call */
	uint32_t span;
	uint64_t proof_seq;
	uint64_t opened; /* the call that had given back what the victim lay in, 0: none */
	uint64_t mine, mine_length; /* the caller's own mapping at addr, 0: none */
	uint64_t hint;              /* its mapping that had asked for addr in vain, 0: none */
	uint64_t history[VT_FIND_HISTORY]; /* event numbers, ascending; the culprit's among them */
	uint32_t n_history;
	uint32_t n_victims; /* in all; the first VT_FIND_VICTIMS are listed */
	struct vt_find_victim victims[VT_FIND_VICTIMS];

	/* what no suspicion has */
	const char *path;      /* of the file that it is about, NULL: none */
	uint64_t count, limit; /* areas, bytes or calls, as the kind has it; limit 0: none */
	struct vt_find_maker makers[VT_FIND_MAKERS]; /* of areas */
	uint64_t alike; /* more of the same kind and stack, not listed */
};

/* What the event under way took from a live mapping. */
struct vt_find_piece {
	uint64_t lo, hi;
	uint64_t birth;
	uint32_t flags; /* VT_VM() of the extent */
	uint32_t file;
	uint8_t fate; /* enum vt_piece_fate */
	uint8_t special;
};

/* A mapping that the kernel placed elsewhere than its caller had asked. */
struct vt_find_hint {
	uint64_t seq, asked, length, got;
	uint32_t tid, owner, stack; /* owner 0: nothing in this place */
	struct vt_find_victim holder;
};

/* Up to where a file has been read in order, by mapping it piece by piece or by advice. */
struct vt_find_stream {
	uint64_t next;  /* the offset that would continue it */
	uint64_t seq;   /* of the first call */
	uint32_t calls; /* in a row */
	bool advised;   /* MADV_SEQUENTIAL was given, or the stream told */
};

/* An unmap that was refused. */
struct vt_find_refusal {
	struct vt_event event;
	uint32_t owner;
	struct vt_find_victim kept; /* what it was meant for */
};
#define VT_FIND_REFUSALS   64
#define VT_FIND_HINTS      64
#define VT_FIND_SUSPICIONS 65536

struct vt_suspicion; /* of find_list.c */
struct vt_find_group;
struct vt_find_split;

struct vt_find {
	const struct vt_trace *trace;
	struct vt_replay *replay;
	struct vt_sites *sites;
	struct vt_owners owners;
	uint64_t batch;          /* of vt_replay.hints: the first event, fetched already */
	bool stackless;          /* a log without stacks: whose code called is not known */
	uint64_t handovers;      /* mappings that were unmapped by another thread than their own */
	struct vt_ending ending; /* of the process */
	struct vt_history history;
	struct vt_history
	    claims; /* the last deaths that findings stand for, and nothing lives there */
	struct vt_find_piece *pieces; /* of the event under way */
	size_t n_pieces, cap_pieces;
	bool files;             /* one of them is of a file */
	uint32_t fates;         /* theirs, as bits */
	uint32_t heap_owner;    /* of the heap that was there at the start, 0: not known yet */
	uint32_t actor;         /* its owner */
	const char *actor_path; /* of the module that made the call, NULL: no file */
	struct vt_finding *found;
	size_t n, cap;
	struct vt_suspicion *suspicions; /* a ring: the oldest is forgotten */
	uint64_t n_suspicions;
	size_t cap_suspicions;
	struct vt_find_hint hints[VT_FIND_HINTS];
	uint32_t next_hint, n_hints;
	uint64_t hint_seq; /* the hint that the call under way believes in, 0: none */
	struct vt_find_refusal refusals[VT_FIND_REFUSALS];
	uint32_t n_refusals;
	struct vt_find_stream *streams; /* by file id: [0] by mapping, [1] by advice */
	size_t cap_streams;
	struct vt_find_split *splits;                /* by stack, from where areas get many */
	struct vt_find_maker makers[VT_FIND_MAKERS]; /* of areas, as of event makers_seq; 0: none */
	uint64_t makers_seq;
	struct vt_finding areas;      /* of the moment that areas became many; seq 0: not yet */
	struct vt_finding locks;      /* of the moment that locked memory did */
	struct vt_find_group *groups; /* findings by kind and stack */
};

/* Look for findings in a trace: most severe first in f->found. 0 or -ENOMEM. */
int vt_find_collect(struct vt_find *f, struct vt_trace *t);
void vt_find_free(struct vt_find *f);

/* Of find_list.c, for the rules. */

/* A finding about event e on [lo, hi), to be filled in and given to vt_find_add. */
struct vt_finding vt_find_begin(const struct vt_find *f, const struct vt_event *e,
				enum vt_find_kind kind, uint64_t lo, uint64_t hi);
void vt_find_add_history(struct vt_finding *finding, uint64_t seq);
void vt_find_add_victim(struct vt_find *f, struct vt_finding *finding,
			const struct vt_find_piece *p, const struct vt_birth *birth);

/* Keep a finding. Returns its claim for struct vt_dead, 0: only counted, others are like it. */
uint32_t vt_find_add(struct vt_find *f, const struct vt_finding *finding);

/* The finding that a dead range's claim stands for, NULL: none, or forgotten. */
struct vt_finding *vt_find_claimed(struct vt_find *f, const struct vt_dead *d);

/* Whether that finding is a suspicion, not listed yet. */
bool vt_find_is_suspicion(const struct vt_dead *d);

/* At the end of a log without stacks: what is left of suspicions, with no proof to be had. */
void vt_find_flush_suspicions(struct vt_find *f);

/* Put the most severe first, and one in place of those that are alike. */
void vt_find_sort(struct vt_find *f);
void vt_find_free_list(struct vt_find *f);

/* Of find_collect.c, for the rules. */

/* The birth of a piece, and what is asked of it most often. */
struct vt_birth vt_find_birth(const struct vt_find *f, const struct vt_find_piece *p);
struct vt_holder vt_find_holder(const struct vt_find *f, const struct vt_find_piece *p);

/* The path of a file, NULL: none. */
const char *vt_find_path(const struct vt_find *f, uint32_t file);

/* Whether a piece is of the file that the caller's own code comes from. */
bool vt_find_own_text(const struct vt_find *f, const struct vt_find_piece *p);

/* What lives first in [lo, hi); false: nothing. */
bool vt_find_piece_at(const struct vt_find *f, uint64_t lo, uint64_t hi, struct vt_find_piece *p);

/* The part of [lo, hi) that the call touched and that lives, or lived until the call moved it. */
bool vt_find_touched(const struct vt_find *f, const struct vt_event *e, uint64_t lo, uint64_t hi,
		     struct vt_find_piece *p);

/* The pages that a call names by its first two arguments; false: it names none. */
static inline bool vt_find_range(const struct vt_event *e, uint64_t *lo, uint64_t *hi)
{
	const uint8_t *class = vt_kinds[e->kind].arg;
	uint64_t end;
	if (class[0] != VT_ARG_ADDR || class[1] != VT_ARG_LEN || !e->a[0] || !e->a[1] ||
	    __builtin_add_overflow(e->a[0], e->a[1], &end) || end > UINT64_MAX - VT_PAGE_SIZE)
		return false;
	*lo = e->a[0] & ~(VT_PAGE_SIZE - 1);
	*hi = (end + VT_PAGE_SIZE - 1) & ~(VT_PAGE_SIZE - 1);
	return true;
}

/* Whether the call changes attributes or contents of what it names by its first arguments. */
static inline bool vt_find_is_change(uint8_t kind)
{
	const uint64_t changes = VT_KIND_BIT(VT_MPROTECT) | VT_KIND_BIT(VT_PKEY_MPROTECT) |
				 VT_KIND_BIT(VT_MADVISE) | VT_KIND_BIT(VT_MSYNC) |
				 VT_KIND_BIT(VT_MREMAP);
	return vt_kind_is_in(changes, kind);
}

/* The rules: each returns the claim of what it found, or 0. */
uint32_t vt_find_unmap(struct vt_find *f, const struct vt_event *e);
uint32_t vt_find_fixed(struct vt_find *f, const struct vt_event *e);
void vt_find_change(struct vt_find *f, const struct vt_event *e);
/* Calls that the kernel refused, and how near the limits are. */
void vt_find_limits(struct vt_find *f, const struct vt_event *e);
void vt_find_flush_limits(struct vt_find *f);
/* How files are mapped. */
void vt_find_files(struct vt_find *f, const struct vt_event *e);

/*
 * Whether these two may have something to say of a call. Mostly they have not, and that is found
 * out without a branch for each kind of call: which one comes next, no processor can predict.
 */
static inline bool vt_find_limits_concern(const struct vt_find *f, const struct vt_event *e)
{
	const struct vt_model *m = &f->replay->model;
	const uint64_t kinds = VT_KIND_BIT(VT_BRK) | VT_KIND_BIT(VT_MLOCK) |
			       VT_KIND_BIT(VT_MLOCK2) | VT_KIND_BIT(VT_MLOCKALL);
	bool locks = (e->kind == VT_MMAP) & ((e->a[3] & MAP_LOCKED) != 0);
	bool many = 4 * m->totals.map_count >= m->config.max_map_count;
	return vt_kind_is_in(kinds, e->kind) | locks | vt_is_error(e->ret) | many |
	       (f->replay->effect.splits != 0);
}

static inline bool vt_find_files_concern(const struct vt_find *f, const struct vt_event *e)
{
	bool advice = (e->kind == VT_MADVISE) & (e->a[2] >= MADV_RANDOM) &
		      (e->a[2] <= MADV_WILLNEED); /* MADV_SEQUENTIAL is between them */
	return f->files | (e->file != 0) | (e->kind == VT_MSYNC) | advice;
}

/* Note a hint that was not honoured. */
void vt_find_note_hint(struct vt_find *f, const struct vt_event *e);
/* Whether the call relies on a hint that was not honoured, which is then a finding. */
bool vt_find_hint_relied(struct vt_find *f, const struct vt_event *e);
/* Report the hints that are left. */
void vt_find_flush_hints(struct vt_find *f);

/* Whether e proves an earlier finding, which is then an error. */
bool vt_find_prove(struct vt_find *f, const struct vt_event *e);
/* What killed the process: proof of an earlier finding, or one of its own. */
void vt_find_fault(struct vt_find *f, const struct vt_event *e);

#endif
