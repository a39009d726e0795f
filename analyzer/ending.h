/*
 * ending.h - how a process ended, as far as its trace tells: by its events, by its own end, and by
 * what `vmtrail record`, its parent, was told.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_ENDING_H
#define VMTRAIL_ANALYZER_ENDING_H

#include "trace.h"

/* How a process's image came to its end. */
enum vt_end {
	VT_END_UNKNOWN, /* killed, or the trace stops: nothing tells why */
	VT_END_EXIT,    /* status */
	VT_END_SIGNAL,  /* died of a fault of its own, or of what `record` saw: signal */
	VT_END_EXEC,    /* replaced by image */
	VT_END_SANDBOX, /* went on under a seccomp filter that forbids recording */
	VT_END_RUNNING,
};

struct vt_ending {
	enum vt_end end;
	int status, signal;
	bool told;            /* status or signal is what the parent was told */
	bool core;            /* and that a core file was written */
	int fault;            /* the signal of the last fault event, 0: there is none */
	uint32_t image;       /* file id, 0: not known */
	uint64_t last_seq;    /* of the last event seen */
	uint64_t stack_limit; /* RLIMIT_STACK as set last, 0: as at the start */
};

/* Take one of the few events that tell of the end. */
void vt_ending_tell(struct vt_ending *n, const struct vt_event *e);

/* Take an event of the trace, in order. */
static inline void vt_ending_event(struct vt_ending *n, const struct vt_event *e)
{
	const uint64_t telling =
	    VT_KIND_BIT(VT_EXECVE) | VT_KIND_BIT(VT_SETRLIMIT) | VT_KIND_BIT(VT_FAULT);
	n->last_seq = e->seq;
	if (vt_kind_is_in(telling, e->kind))
		vt_ending_tell(n, e);
}

/* What the trace's own end tells, after its last event. */
void vt_ending_close(struct vt_ending *n, const struct vt_trace *t);

/* "SIGSEGV", "SIGSEGV (core dumped)", "signal 40": into buf, which is returned. */
const char *vt_ending_signal(const struct vt_ending *n, char *buf, size_t size);

/*
 * Whether the signal came from a fault that left no event, though faults were recorded: there was
 * nothing that a handler could have been run on.
 */
bool vt_ending_is_silent(const struct vt_ending *n, const struct vt_trace *t);

/*
 * Whether that was most likely a stack that overflowed: SIGSEGV in a program that does not handle
 * it itself, and there is another stack than the main one, or as much memory was resident as that
 * one may take.
 */
bool vt_ending_is_overflow(const struct vt_ending *n, const struct vt_trace *t);

/* Why there was no event, for one that is silent. */
const char *vt_ending_silence(const struct vt_ending *n, const struct vt_trace *t);

#endif
