/*
 * kinds.c - the one table of event kinds, linked by both halves.
 *
 * SPDX-License-Identifier: MIT
 */
#include <vmtrail/event.h>

const struct vt_kind_info vt_kinds[VT_KIND_COUNT] = {
#define VT_KIND_ROW(e, name, a0, a1, a2, a3, a4, a5)                                               \
	[VT_##e] = { name,                                                                         \
		     { VT_ARG_##a0, VT_ARG_##a1, VT_ARG_##a2, VT_ARG_##a3, VT_ARG_##a4,            \
		       VT_ARG_##a5 } },
	VT_KINDS(VT_KIND_ROW)
#undef VT_KIND_ROW
};
