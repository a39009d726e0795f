/*
 * find_kinds.c - the table of findings, and their names.
 *
 * SPDX-License-Identifier: MIT
 */
#include "find.h"

const struct vt_find_kind_info vt_find_kinds[VT_FIND_KIND_COUNT] = {
#define VT_FIND_ROW(e, name, sentence, advice) { name, sentence, advice },
	VT_FIND_KINDS(VT_FIND_ROW)
#undef VT_FIND_ROW
};

const char *vt_severity_name(enum vt_severity severity)
{
	static const char *const names[] = { "suspicion", "info", "warning", "error" };
	return names[severity];
}
