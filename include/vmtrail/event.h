/*
 * event.h - what one recorded event is: the table of event kinds and the decoded event.
 *
 * Owned by nobody: both halves include it. One line of VT_KINDS is all there is to know about the
 * arguments of a call; the codec, the dump, the JSON and the recorder read the same table.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_EVENT_H
#define VMTRAIL_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VT_MAX_ARGS 6

/*
 * Class of an argument: how it is packed by the codec and how it is printed.
 *   ADDR  an address               LEN   a length or size in bytes     OFF  a file offset in bytes
 *   PROT MFLAGS ADVICE REMAP MSYNC SHMFL MLOCK2 MCL PRCTL RLIMIT PERSONA CLONE UFFD  small sets,
 *         symbolic
 *   FD    a descriptor, signed     INT   signed decimal                HEX  anything else
 */
enum vt_arg_class {
	VT_ARG_NONE,
	VT_ARG_ADDR,
	VT_ARG_LEN,
	VT_ARG_OFF,
	VT_ARG_PROT,
	VT_ARG_MFLAGS,
	VT_ARG_ADVICE,
	VT_ARG_REMAP,
	VT_ARG_MSYNC,
	VT_ARG_SHMFL,
	VT_ARG_MLOCK2,
	VT_ARG_MCL,
	VT_ARG_PRCTL,
	VT_ARG_RLIMIT,
	VT_ARG_PERSONA,
	VT_ARG_CLONE,
	VT_ARG_FD,
	VT_ARG_INT,
	VT_ARG_HEX,
	VT_ARG_UFFD,
};

/*
 * X(ENUM, name as strace prints it, class of each argument). Values are part of the trace format:
 * append only. Kinds from UNSEEN_MAP on carry vt_event.aux; see vt_kind_is_call.
 *
 * shmat's a[3] is the segment's length in bytes as shmctl(IPC_STAT) tells it (0: not known).
 * unseen_map: the kernel holds [addr, addr+len) with attributes that no recorded call explains:
 *   a[0] addr, a[1] len, a[2] prot, a[3] MAP_SHARED or MAP_PRIVATE, a[4] file offset; the file is
 *   vt_event.file; its aux is an enum vt_unseen. unseen_unmap: nothing is mapped there any more.
 *   unseen_area: the kernel holds [addr, addr+len) as one area and the calls do not explain it:
 *   what maps does not show of it has been changed.
 * fork, vfork, clone: a new process; ret is its pid, a[0] clone's flags with the exit signal in the
 *   lowest byte. execve: the image in vt_event.file; announced, so that one that succeeded stands
 *   as undone, the last event of the trace. exit: a[0] status. fault: a[0] address, a[1] signal,
 * a[2] si_code. setrlimit: a[0] resource, a[1] soft, a[2] hard (prlimit on oneself is recorded as
 * the same kind with a[3] = 1).
 * ioctl: a[1] is UFFDIO_REGISTER or UFFDIO_UNREGISTER, a[2] and a[3] the range, a[4] the mode.
 * mbind: a[3] is the first word of the node mask; where more words follow that are not empty, the
 *   upper half of a[4] is a digest of them.
 * prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): a[4] is the number of a NAME definition; 0 takes the
 *   name away, and what is above UINT16_MAX is the address of a name that could not be read.
 * process_madvise: one event for each range; ret is how much of it was done, or the error.
 */
#define VT_KINDS(X)                                                                                \
	X(MMAP, "mmap", ADDR, LEN, PROT, MFLAGS, FD, OFF)                                          \
	X(MUNMAP, "munmap", ADDR, LEN, NONE, NONE, NONE, NONE)                                     \
	X(MPROTECT, "mprotect", ADDR, LEN, PROT, NONE, NONE, NONE)                                 \
	X(PKEY_MPROTECT, "pkey_mprotect", ADDR, LEN, PROT, INT, NONE, NONE)                        \
	X(MADVISE, "madvise", ADDR, LEN, ADVICE, NONE, NONE, NONE)                                 \
	X(PROCESS_MADVISE, "process_madvise", ADDR, LEN, ADVICE, NONE, NONE, NONE)                 \
	X(BRK, "brk", ADDR, NONE, NONE, NONE, NONE, NONE)                                          \
	X(MREMAP, "mremap", ADDR, LEN, LEN, REMAP, ADDR, NONE)                                     \
	X(REMAP_FILE_PAGES, "remap_file_pages", ADDR, LEN, PROT, INT, MFLAGS, NONE)                \
	X(SHMAT, "shmat", INT, ADDR, SHMFL, LEN, NONE, NONE)                                       \
	X(SHMDT, "shmdt", ADDR, NONE, NONE, NONE, NONE, NONE)                                      \
	X(MLOCK, "mlock", ADDR, LEN, NONE, NONE, NONE, NONE)                                       \
	X(MLOCK2, "mlock2", ADDR, LEN, MLOCK2, NONE, NONE, NONE)                                   \
	X(MUNLOCK, "munlock", ADDR, LEN, NONE, NONE, NONE, NONE)                                   \
	X(MLOCKALL, "mlockall", MCL, NONE, NONE, NONE, NONE, NONE)                                 \
	X(MUNLOCKALL, "munlockall", NONE, NONE, NONE, NONE, NONE, NONE)                            \
	X(MSYNC, "msync", ADDR, LEN, MSYNC, NONE, NONE, NONE)                                      \
	X(MBIND, "mbind", ADDR, LEN, INT, HEX, INT, HEX)                                           \
	X(MSEAL, "mseal", ADDR, LEN, HEX, NONE, NONE, NONE)                                        \
	X(PRCTL, "prctl", PRCTL, HEX, HEX, HEX, HEX, NONE)                                         \
	X(SETRLIMIT, "setrlimit", RLIMIT, LEN, LEN, INT, NONE, NONE)                               \
	X(PERSONALITY, "personality", PERSONA, NONE, NONE, NONE, NONE, NONE)                       \
	X(FORK, "fork", NONE, NONE, NONE, NONE, NONE, NONE)                                        \
	X(VFORK, "vfork", NONE, NONE, NONE, NONE, NONE, NONE)                                      \
	X(CLONE, "clone", CLONE, NONE, NONE, NONE, NONE, NONE)                                     \
	X(EXECVE, "execve", NONE, NONE, NONE, NONE, NONE, NONE)                                    \
	X(EXIT, "exit_group", INT, NONE, NONE, NONE, NONE, NONE)                                   \
	X(UNSEEN_MAP, "unseen_map", ADDR, LEN, PROT, MFLAGS, OFF, NONE)                            \
	X(UNSEEN_UNMAP, "unseen_unmap", ADDR, LEN, NONE, NONE, NONE, NONE)                         \
	X(FAULT, "fault", ADDR, INT, INT, NONE, NONE, NONE)                                        \
	X(IOCTL, "ioctl", FD, HEX, ADDR, LEN, UFFD, NONE)                                          \
	X(UNSEEN_AREA, "unseen_area", ADDR, LEN, NONE, NONE, NONE, NONE)

enum vt_kind {
#define VT_KIND_ENUM(e, ...) VT_##e,
	VT_KINDS(VT_KIND_ENUM)
#undef VT_KIND_ENUM
	    VT_KIND_COUNT
};

struct vt_kind_info {
	const char *name;
	uint8_t arg[VT_MAX_ARGS]; /* enum vt_arg_class; the first VT_ARG_NONE ends the list */
};

extern const struct vt_kind_info vt_kinds[VT_KIND_COUNT];

/* vt_event.flags: where the call came from and what is known of it. */
enum {
	VT_EV_OWN = 1 << 0,   /* made by the recorder for itself */
	VT_EV_INNER = 1 << 1, /* seen at libc's or the loader's own system call site */
	VT_EV_RAW = 1 << 2,   /* made through syscall() */
	VT_EV_LATE = 1 << 3,  /* its place in the order is not certain: entered after a long wait */
	VT_EV_UNDONE = 1 << 4, /* announced, but the process ended before the result was stored */
	VT_EV_SHARED_VM = 1 << 5, /* made by a vfork child or another task that shares the memory */
	VT_EV_FD_KNOWN = 1 << 6,  /* equal file ids mean one open file description (see model.h) */
	VT_EV_FD_RDONLY = 1 << 7, /* mmap: the descriptor was not open for writing */
};

/* Why the kernel's view differs from the calls seen: vt_event.aux of unseen_map, unseen_unmap. */
enum vt_unseen {
	VT_UNSEEN_CHANGE,       /* a change nobody saw: an inline system call, another process */
	VT_UNSEEN_STACK_GROWTH, /* the kernel grew a stack */
	VT_UNSEEN_BEFORE_START, /* settled at the first snapshot */
	VT_UNSEEN_ORDER, /* calls that overlapped in time: the kernel's view tells which won */
};

/*
 * One event, decoded. Times are nanoseconds of CLOCK_MONOTONIC since the trace's start, rounded
 * down to VT_TIME_UNIT_NS.
 */
struct vt_event {
	uint64_t seq;      /* place in the total order of the process, from 1; "event number" */
	uint64_t begin_ns; /* just before the system call */
	uint64_t dur_ns;   /* the system call's duration as seen from user space */
	uint64_t a[VT_MAX_ARGS];
	int64_t ret;    /* what the kernel returned: a value, an address or -errno */
	uint64_t aux;   /* enum vt_unseen for the unseen kinds, else 0 */
	uint32_t file;  /* file id of a file mapping (struct vt_file), 0: none */
	uint32_t stack; /* stack id, 0: none recorded */
	uint32_t tid;   /* kernel thread id */
	uint32_t span;  /* how many events took their place while this call was under way */
	uint8_t kind;   /* enum vt_kind */
	uint8_t flags;  /* VT_EV_* */
};

/* Whether a return value is the kernel's way to say -errno. */
static inline bool vt_is_error(int64_t ret)
{
	return (uint64_t)ret >= (uint64_t)-4095;
}

/* Sets of kinds. Which kind comes next depends on chance: no branch asks. */
#define VT_KIND_BIT(kind) (1ULL << (kind))
_Static_assert(VT_KIND_COUNT <= 64, "a set of kinds is a word");
static inline bool vt_kind_is_in(uint64_t set, uint8_t kind)
{
	return set >> (kind & 63) & 1;
}

/* Whether calls of this kind return an address. */
#define VT_KINDS_RETURNING_ADDRESS                                                                 \
	(VT_KIND_BIT(VT_MMAP) | VT_KIND_BIT(VT_MREMAP) | VT_KIND_BIT(VT_BRK) |                     \
	 VT_KIND_BIT(VT_SHMAT))
static inline bool vt_kind_returns_address(uint8_t kind)
{
	return vt_kind_is_in(VT_KINDS_RETURNING_ADDRESS, kind);
}

/* Whether an event of this kind names a file in vt_event.file. */
#define VT_KINDS_WITH_FILE                                                                         \
	(VT_KIND_BIT(VT_MMAP) | VT_KIND_BIT(VT_SHMAT) | VT_KIND_BIT(VT_UNSEEN_MAP) |               \
	 VT_KIND_BIT(VT_EXECVE))
static inline bool vt_kind_has_file(uint8_t kind)
{
	return vt_kind_is_in(VT_KINDS_WITH_FILE, kind);
}

/* What lies behind a file id. Regular: any file of a file system, also memfd and tmpfs. */
enum vt_file_kind {
	VT_FILE_NONE,
	VT_FILE_REGULAR,
	VT_FILE_SHM_ANON, /* shared anonymous memory and /dev/zero mapped shared; inode not known */
	VT_FILE_SYSV,     /* System V segment: ino is the segment's id */
	VT_FILE_HUGETLB,  /* hugetlbfs, and anonymous MAP_HUGETLB memory */
	VT_FILE_ZERO,     /* /dev/zero mapped private: anonymous to the kernel's rules */
	VT_FILE_DEVICE,   /* any other character device: rules of its driver */
	VT_FILE_SPECIAL,  /* [vdso], [vvar], [vsyscall] and the like: name in path */
};

/* Whether a kind is a call of the program, and not what the recorder has to say. */
static inline bool vt_kind_is_call(uint8_t kind)
{
	return kind < VT_UNSEEN_MAP || kind == VT_IOCTL;
}

/*
 * How events are ordered. An event that gives memory up takes its place before the system call, any
 * other one after it; see preload/README.md for the argument.
 */
static inline bool vt_kind_releases(uint8_t kind)
{
	return vt_kind_is_in(VT_KIND_BIT(VT_MUNMAP) | VT_KIND_BIT(VT_SHMDT) |
				 VT_KIND_BIT(VT_MREMAP) | VT_KIND_BIT(VT_EXECVE),
			     kind);
}

#endif
