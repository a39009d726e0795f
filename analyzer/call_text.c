/*
 * call_text.c - an event as text, in strace's own form.
 *
 * Checked against strace 6.1. Where strace would read the process's memory (names, structures),
 * the address is printed instead: traces hold no memory contents.
 *
 * SPDX-License-Identifier: MIT
 */
#include "call_text.h"
#include "names.h"
#include <linux/prctl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PR_SET_VMA_CALL 0x53564d41

/* Names of the arguments, in the order of VT_KINDS. */
static const char *const arg_names[VT_KIND_COUNT][VT_MAX_ARGS] = {
	[VT_MMAP] = { "addr", "length", "prot", "flags", "fd", "offset" },
	[VT_MUNMAP] = { "addr", "length" },
	[VT_MPROTECT] = { "addr", "length", "prot" },
	[VT_PKEY_MPROTECT] = { "addr", "length", "prot", "pkey" },
	[VT_MADVISE] = { "addr", "length", "advice" },
	[VT_PROCESS_MADVISE] = { "addr", "length", "advice" },
	[VT_BRK] = { "addr" },
	[VT_MREMAP] = { "old_address", "old_size", "new_size", "flags", "new_address" },
	[VT_REMAP_FILE_PAGES] = { "addr", "size", "prot", "pgoff", "flags" },
	[VT_SHMAT] = { "shmid", "shmaddr", "shmflg", "size" },
	[VT_SHMDT] = { "shmaddr" },
	[VT_MLOCK] = { "addr", "length" },
	[VT_MLOCK2] = { "addr", "length", "flags" },
	[VT_MUNLOCK] = { "addr", "length" },
	[VT_MLOCKALL] = { "flags" },
	[VT_MSYNC] = { "addr", "length", "flags" },
	[VT_MBIND] = { "addr", "length", "mode", "nodemask", "maxnode", "flags" },
	[VT_MSEAL] = { "addr", "length", "flags" },
	[VT_PRCTL] = { "option", "arg2", "arg3", "arg4", "arg5" },
	[VT_SETRLIMIT] = { "resource", "rlim_cur", "rlim_max", "prlimit" },
	[VT_PERSONALITY] = { "persona" },
	[VT_CLONE] = { "flags" },
	[VT_EXIT] = { "status" },
	[VT_UNSEEN_MAP] = { "addr", "length", "prot", "flags", "offset" },
	[VT_UNSEEN_UNMAP] = { "addr", "length" },
	[VT_FAULT] = { "addr", "signo", "code" },
	[VT_UNSEEN_AREA] = { "addr", "length" },
	[VT_IOCTL] = { "fd", "request", "addr", "length", "mode" },
};

const char *vt_arg_name(uint8_t kind, int i)
{
	return arg_names[kind][i];
}

bool vt_is_remark(const struct vt_event *e)
{
	return !vt_kind_is_call(e->kind);
}

/* Classes whose numbers strace prints as they are. */
static void number(struct vt_text *t, unsigned class, uint64_t v)
{
	switch (class) {
	case VT_ARG_ADDR:
		vt_text_addr(t, v);
		break;
	case VT_ARG_LEN:
		vt_text_add(t, "%llu", (unsigned long long)v);
		break;
	case VT_ARG_FD:
	case VT_ARG_INT:
		vt_text_add(t, "%d", (int)v);
		break;
	default:
		vt_text_add(t, "%#llx", (unsigned long long)v);
	}
}

void vt_text_arg(struct vt_text *t, const struct vt_event *e, int i)
{
	unsigned class = vt_kinds[e->kind].arg[i];

	if (e->kind == VT_MBIND && i == 2)
		vt_text_mbind_mode(t, e->a[i]);
	else if (e->kind == VT_MBIND && i == 3)
		vt_text_addr(t, e->a[i]);
	else if (e->kind == VT_MBIND && i == 5)
		vt_text_mbind_flags(t, e->a[i]);
	else if (vt_class_is_symbolic(class))
		vt_text_flags(t, class, e->a[i]);
	else
		number(t, class, e->a[i]);
}

/* Arguments first to last (excluded), with commas. */
static void args(struct vt_text *t, const struct vt_event *e, int last)
{
	for (int i = 0; i < last && vt_kinds[e->kind].arg[i]; i++) {
		if (i)
			vt_text_add(t, ", ");
		vt_text_arg(t, e, i);
	}
}

static void mremap_args(struct vt_text *t, const struct vt_event *e)
{
	const uint64_t forced = MREMAP_MAYMOVE | MREMAP_FIXED;

	args(t, e, (e->a[3] & forced) == forced ? 5 : 4);
}

static void shmat_args(struct vt_text *t, const struct vt_event *e)
{
	args(t, e, 3);
}

/* A string as strace quotes it. */
static void quoted(struct vt_text *t, const char *s)
{
	vt_text_add(t, "\"");
	for (; *s; s++)
		vt_text_add(t, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	vt_text_add(t, "\"");
}

/* strace knows which prctl has how many arguments, and which are numbers. */
static void prctl_args(struct vt_text *t, const struct vt_event *e, const char *name)
{
	args(t, e, 1);
	if (e->a[0] == PR_SET_MM || e->a[0] == PR_SET_VMA_CALL) {
		vt_text_add(t, ", ");
		vt_text_prctl_option(t, e->a[0], e->a[1]);
	} else if (e->a[0] == PR_SET_THP_DISABLE) {
		vt_text_add(t, ", %llu", (unsigned long long)e->a[1]);
	} else {
		vt_text_add(t, ", %#llx", (unsigned long long)e->a[1]);
	}
	vt_text_add(t, ", %#llx", (unsigned long long)e->a[2]);
	if (e->a[0] == PR_SET_VMA_CALL && e->a[1] == 0) {
		vt_text_add(t, ", %llu, ", (unsigned long long)e->a[3]);
		if (name)
			quoted(t, name);
		else
			vt_text_addr(t, e->a[4]);
		return;
	}
	vt_text_add(t, ", %#llx, %#llx", (unsigned long long)e->a[3], (unsigned long long)e->a[4]);
}

static void limit(struct vt_text *t, const char *infinity, uint64_t v)
{
	if (v == UINT64_MAX)
		vt_text_add(t, "%s", infinity);
	else if (v > 1024 && v % 1024 == 0)
		vt_text_add(t, "%llu*1024", (unsigned long long)v / 1024);
	else
		vt_text_add(t, "%llu", (unsigned long long)v);
}

static void setrlimit_args(struct vt_text *t, const struct vt_event *e)
{
	const char *infinity = e->a[3] ? "RLIM64_INFINITY" : "RLIM_INFINITY";

	if (e->a[3])
		vt_text_add(t, "0, ");
	vt_text_arg(t, e, 0);
	vt_text_add(t, ", {rlim_cur=");
	limit(t, infinity, e->a[1]);
	vt_text_add(t, ", rlim_max=");
	limit(t, infinity, e->a[2]);
	vt_text_add(t, e->a[3] ? "}, NULL" : "}");
}

static void clone_args(struct vt_text *t, const struct vt_event *e)
{
	vt_text_add(t, "flags=");
	args(t, e, 1);
}

/* userfaultfd's: the structure that the program points to, as far as it goes in. */
static void ioctl_args(struct vt_text *t, const struct vt_event *e)
{
	bool on = e->a[1] == UFFDIO_REGISTER;

	vt_text_add(t, "%d, %s, {%sstart=", (int)e->a[0],
		    on ? "UFFDIO_REGISTER" : "UFFDIO_UNREGISTER", on ? "range={" : "");
	vt_text_add(t, "%#llx, len=%#llx}", (unsigned long long)e->a[2],
		    (unsigned long long)e->a[3]);
	if (!on)
		return;
	vt_text_add(t, ", mode=");
	vt_text_arg(t, e, 4);
	vt_text_add(t, "}");
}

static void execve_args(struct vt_text *t, const struct vt_event *e)
{
	(void)e;
	vt_text_add(t, "...");
}

/* Kinds whose arguments are not simply printed one after the other. */
static void (*const special_args[VT_KIND_COUNT])(struct vt_text *, const struct vt_event *) = {
	[VT_MREMAP] = mremap_args,       [VT_SHMAT] = shmat_args, [VT_IOCTL] = ioctl_args,
	[VT_SETRLIMIT] = setrlimit_args, [VT_CLONE] = clone_args, [VT_EXECVE] = execve_args,
};

/* The name of a signal's si_code, NULL: none that is known. */
static const char *fault_code(int sig, int code)
{
	static const struct {
		int sig, code;
		const char *name;
	} names[] = {
		{ SIGSEGV, 1, "SEGV_MAPERR" },  { SIGSEGV, 2, "SEGV_ACCERR" },
		{ SIGSEGV, 3, "SEGV_BNDERR" },  { SIGSEGV, 4, "SEGV_PKUERR" },
		{ SIGBUS, 1, "BUS_ADRALN" },    { SIGBUS, 2, "BUS_ADRERR" },
		{ SIGBUS, 3, "BUS_OBJERR" },    { SIGBUS, 4, "BUS_MCEERR_AR" },
		{ SIGBUS, 5, "BUS_MCEERR_AO" }, { SIGILL, 1, "ILL_ILLOPC" },
		{ SIGILL, 2, "ILL_ILLOPN" },    { SIGILL, 5, "ILL_PRVOPC" },
		{ SIGFPE, 1, "FPE_INTDIV" },    { SIGFPE, 2, "FPE_INTOVF" },
		{ SIGFPE, 3, "FPE_FLTDIV" },    { SIGFPE, 7, "FPE_FLTINV" },
		{ 0, SI_KERNEL, "SI_KERNEL" },  { 0, SI_USER, "SI_USER" },
		{ 0, SI_QUEUE, "SI_QUEUE" },    { 0, SI_TKILL, "SI_TKILL" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((!names[i].sig || names[i].sig == sig) && names[i].code == code)
			return names[i].name;
	return NULL;
}

/* A signal that somebody sent has no address. */
static void fault(struct vt_text *t, const struct vt_event *e)
{
	int sig = (int)e->a[1], code = (int)e->a[2];
	const char *name = vt_signal_name(sig), *why = fault_code(sig, code);

	if (name)
		vt_text_add(t, "--- %s {si_signo=%s, si_code=", name, name);
	else
		vt_text_add(t, "--- %d {si_signo=%d, si_code=", sig, sig);
	if (why)
		vt_text_add(t, "%s", why);
	else
		vt_text_add(t, "%d", code);
	if (code > 0) {
		vt_text_add(t, ", si_addr=");
		vt_text_addr(t, e->a[0]);
	}
	vt_text_add(t, "} ---");
}

static void unseen(struct vt_text *t, const struct vt_event *e)
{
	static const char *const why[] = {
		[VT_UNSEEN_CHANGE] = "no call seen",
		[VT_UNSEEN_STACK_GROWTH] = "the kernel grew a stack",
		[VT_UNSEEN_BEFORE_START] = "before the first snapshot",
		[VT_UNSEEN_ORDER] = "which of the calls that overlapped came last",
	};

	vt_text_add(t, "--- %s {", vt_kinds[e->kind].name);
	for (int i = 0; i < VT_MAX_ARGS && vt_kinds[e->kind].arg[i]; i++) {
		vt_text_add(t, "%s%s=", i ? ", " : "", vt_arg_name(e->kind, i));
		vt_text_arg(t, e, i);
	}
	vt_text_add(t, "} /* %s */ ---", e->aux < sizeof(why) / sizeof(why[0]) ? why[e->aux] : "?");
}

void vt_text_call(struct vt_text *t, const struct vt_event *e, const char *name)
{
	if (e->kind == VT_FAULT) {
		fault(t, e);
		return;
	}
	if (vt_is_remark(e)) {
		unseen(t, e);
		return;
	}
	if (e->kind == VT_SETRLIMIT && e->a[3])
		vt_text_add(t, "prlimit64(");
	else
		vt_text_add(t, "%s(", vt_kinds[e->kind].name);
	if (e->kind == VT_PRCTL)
		prctl_args(t, e, name);
	else if (special_args[e->kind])
		special_args[e->kind](t, e);
	else
		args(t, e, VT_MAX_ARGS);
	vt_text_add(t, ")");
}

void vt_text_result(struct vt_text *t, const struct vt_event *e)
{
	if (e->flags & VT_EV_UNDONE) {
		vt_text_add(t, "? <unfinished>");
	} else if (e->kind == VT_EXIT) {
		vt_text_add(t, "?");
	} else if (vt_is_error(e->ret)) {
		int error = (int)-e->ret;
		const char *name = vt_errno_name(error);
		if (name)
			vt_text_add(t, "-1 %s (%s)", name, strerror(error));
		else
			vt_text_add(t, "-1 (errno %d)", error);
	} else if (vt_kind_returns_address(e->kind)) {
		vt_text_add(t, "%#llx", (unsigned long long)e->ret);
	} else if (e->kind == VT_PERSONALITY) {
		vt_text_add(t, "%#llx (", (unsigned long long)e->ret);
		vt_text_flags(t, VT_ARG_PERSONA, (uint64_t)e->ret);
		vt_text_add(t, ")");
	} else {
		vt_text_add(t, "%lld", (long long)e->ret);
	}
}
