/*
 * model_memory.h - memory for a model that may become large: carved from chunks in huge pages.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_ANALYZER_MODEL_MEMORY_H
#define VMTRAIL_ANALYZER_MODEL_MEMORY_H

#include <vmtrail/model.h>

struct vt_pool;

struct vt_pool *vt_pool_new(void);
/* What a model takes from the pool. What one model gives back serves no other. */
struct vt_memory vt_pool_memory(struct vt_pool *pool);
/* Give all of it back, after the models that use it. NULL is allowed. */
void vt_pool_free(struct vt_pool *pool);

#endif
