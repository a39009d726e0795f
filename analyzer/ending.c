/*
 * ending.c - how a process ended, as far as its trace tells.
 *
 * What the parent was told goes before what the process left: a signal may come while a fault is
 * being recorded.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ending.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "names.h"

void vt_ending_tell(struct vt_ending *n, const struct vt_event *e)
{
	if (e->flags & VT_EV_SHARED_VM)
		return;
	if (e->kind == VT_EXECVE && (e->flags & VT_EV_UNDONE)) {
		n->end = VT_END_EXEC;
		n->image = e->file;
	} else if (e->kind == VT_SETRLIMIT && e->a[0] == RLIMIT_STACK && !e->ret) {
		n->stack_limit = e->a[1];
	} else if (e->kind == VT_FAULT) {
		n->end = VT_END_SIGNAL;
		n->signal = n->fault = (int)e->a[1];
	}
}

void vt_ending_close(struct vt_ending *n, const struct vt_trace *t)
{
	const char *reason = vt_trace_meta(t, "reason"), *told = vt_trace_meta(t, "told");
	if (reason && !strcmp(reason, "exit")) {
		n->end = VT_END_EXIT;
		n->status = (int)vt_trace_meta_u64(t, "status", 0);
		n->told = told != NULL;
	} else if (reason && !strcmp(reason, "seccomp")) {
		n->end = VT_END_SANDBOX;
	} else if (vt_trace_meta(t, "signal")) {
		n->end = VT_END_SIGNAL;
		n->signal = (int)vt_trace_meta_u64(t, "signal", 0);
		n->told = told != NULL;
		n->core = vt_trace_meta_u64(t, "core", 0);
	} else if (n->end == VT_END_UNKNOWN && !reason && vt_trace_is_recording(t)) {
		n->end = VT_END_RUNNING;
	}
}

const char *vt_ending_signal(const struct vt_ending *n, char *buf, size_t size)
{
	const char *name = vt_signal_name(n->signal), *core = n->core ? " (core dumped)" : "";
	if (name)
		snprintf(buf, size, "%s%s", name, core);
	else
		snprintf(buf, size, "signal %d%s", n->signal, core);
	return buf;
}

/* The last note of a key, NULL: none. */
static const char *last_note(const struct vt_trace *t, const char *key)
{
	for (size_t i = t->notes.n; i-- > 0;)
		if (!strcmp(t->notes.v[i].key, key))
			return t->notes.v[i].value;
	return NULL;
}

bool vt_ending_is_silent(const struct vt_ending *n, const struct vt_trace *t)
{
	const char *faults = last_note(t, "faults");
	return n->end == VT_END_SIGNAL && n->told && n->fault != n->signal && faults &&
	       !strncmp(faults, "recorded", 8) &&
	       (n->signal == SIGSEGV || n->signal == SIGBUS || n->signal == SIGILL ||
		n->signal == SIGFPE || n->signal == SIGABRT);
}

static bool handles(const struct vt_trace *t, int sig)
{
	const char *name = vt_signal_name(sig);
	for (size_t i = 0; name && i < t->notes.n; i++)
		if (!strcmp(t->notes.v[i].key, "handles") && !strcmp(t->notes.v[i].value, name))
			return true;
	return false;
}

bool vt_ending_is_overflow(const struct vt_ending *n, const struct vt_trace *t)
{
	uint64_t resident = vt_trace_meta_u64(t, "maxrss_kb", 0) << 10;
	uint64_t limit =
	    n->stack_limit ? n->stack_limit : vt_trace_meta_u64(t, "rlimit_stack", UINT64_MAX);
	return vt_ending_is_silent(n, t) && n->signal == SIGSEGV && !handles(t, SIGSEGV) &&
	       (t->n_threads > 1 || resident >= limit);
}

const char *vt_ending_silence(const struct vt_ending *n, const struct vt_trace *t)
{
	if (vt_ending_is_overflow(n, t))
		return "No handler could run, so neither address nor stack is known: likely a "
		       "stack that overflowed, with no room left for a signal's frame; else the "
		       "signal was blocked. (record --faults=overflow records an overflow.)";
	if (n->signal == SIGSEGV && handles(t, SIGSEGV))
		return "No handler could run, so neither address nor stack is known: the signal "
		       "was blocked, as it is while the program's own handler runs, or a stack "
		       "had overflowed.";
	if (n->signal == SIGSEGV)
		return "No handler could run, so neither address nor stack is known: the signal "
		       "was blocked, or a stack overflowed that had not been filled.";
	return "No handler could run, so neither address nor stack is known: the signal was "
	       "blocked.";
}
