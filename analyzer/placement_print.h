/*
 * placement_print.h - what report says of predicted places.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_PLACEMENT_PRINT_H
#define VMTRAIL_ANALYZER_PLACEMENT_PRINT_H

#include <json-c/json.h>

#include "placement.h"

/* Percent of the places chosen by the kernel that were predicted; 100 if there were none. */
double vt_placements_rate(const struct vt_placements *p);

/* The rate, the reasons of misses, and every miss. */
void vt_placements_print(FILE *out, const struct vt_placements *p);
void vt_placements_print_json(FILE *out, const struct vt_placements *p, const struct vt_trace *t);

/* The numbers alone: chosen, predicted, missed (an object: reason to number). */
struct json_object *vt_placements_json(const struct vt_placements *p);

#endif
