/*
 * maps_text.h - areas in the form of /proc/PID/maps.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_MAPS_TEXT_H
#define VMTRAIL_ANALYZER_MAPS_TEXT_H

#include "trace.h"

/* What an area of the last snapshot was called: later areas that equal it keep the name. */
struct vt_named_area {
	struct vt_vma vma;
	char *name;
};

struct vt_area_names {
	struct vt_named_area *v; /* sorted by address */
	size_t n;
};

/* Remember the names of snapshot s instead of those before. */
void vt_area_names_set(struct vt_area_names *names, const struct vt_snapshot *s);
void vt_area_names_free(struct vt_area_names *names);

/*
 * Its path: that of the last snapshot if it has not changed since (files are renamed and deleted),
 * else that of the definition; "" for none.
 */
const char *vt_area_path(const struct vt_trace *t, const struct vt_area_names *names,
			 const struct vt_vma *v);

/* "rw-p". Returns buf. */
char *vt_area_perms(const struct vt_vma *v, char buf[5]);

/*
 * Print area v as the kernel's show_map_vma does.
 */
void vt_print_area(FILE *out, const struct vt_trace *t, const struct vt_area_names *names,
		   const struct vt_vma *v);

#endif
