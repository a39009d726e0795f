/*
 * file.c - what the model knows of files: their kind, and the size of System V segments.
 *
 * Ids are dense: each table is an array that doubles. Runs inside the traced process: memory comes
 * from vt_memory only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "internal.h"

/* Make a table of *cap entries hold id. New entries are zero. Returns 0 or -ENOMEM. */
static int hold(struct vt_model *m, void **table, uint32_t *cap, uint32_t id, size_t entry)
{
	if (id < *cap)
		return 0;
	uint32_t wanted = *cap ? *cap : VT_PAGE_SIZE;
	while (wanted <= id && wanted < 1U << 31)
		wanted *= 2;
	void *fresh = m->memory.alloc(m->memory.ctx, wanted * entry);
	if (!fresh) {
		m->broken = true;
		return -ENOMEM;
	}
	if (*table) {
		memcpy(fresh, *table, *cap * entry);
		if (m->memory.free)
			m->memory.free(m->memory.ctx, *table, *cap * entry);
	}
	*table = fresh;
	*cap = wanted;
	return 0;
}

int vt_model_set_file(struct vt_model *m, uint32_t file, enum vt_file_kind kind)
{
	uint32_t known = m->file_cap;
	if (hold(m, (void **)&m->files, &m->file_cap, file, sizeof(*m->files)))
		return -ENOMEM;
	for (; known < m->file_cap; known++)
		m->files[known] = VT_FILE_REGULAR;
	m->files[file] = (uint16_t)kind;
	return 0;
}

void vt_model_set_file_in_memory(struct vt_model *m, uint32_t file)
{
	if (file < m->file_cap)
		m->files[file] |= VT_FILE_IN_MEMORY;
}

/* The size that MAP_HUGETLB's flags asked for: 1 << shift, 0: the default one. */
void vt_file_set_huge(struct vt_model *m, uint32_t file, unsigned shift)
{
	if (file < m->file_cap)
		m->files[file] = (uint16_t)((m->files[file] & 0xff) | shift << VT_FILE_HUGE_SHIFT);
}

/* shmat's length is the segment's size. */
int vt_segment_attached(struct vt_model *m, uint32_t file, uint64_t pages)
{
	if (hold(m, (void **)&m->segment_pages, &m->segment_cap, file, sizeof(*m->segment_pages)))
		return -ENOMEM;
	m->segment_pages[file] = (uint32_t)vt_min(pages, UINT32_MAX);
	return 0;
}

/* Pages of a segment; UINT32_MAX where its attaching was not seen. */
uint32_t vt_segment_pages(const struct vt_model *m, uint32_t file)
{
	uint32_t pages = file < m->segment_cap ? m->segment_pages[file] : 0;
	return pages ? pages : UINT32_MAX;
}

void vt_files_free(struct vt_model *m)
{
	if (m->memory.free && m->files)
		m->memory.free(m->memory.ctx, m->files, m->file_cap * sizeof(*m->files));
	if (m->memory.free && m->segment_pages)
		m->memory.free(m->memory.ctx, m->segment_pages,
			       m->segment_cap * sizeof(*m->segment_pages));
	m->files = NULL;
	m->segment_pages = NULL;
	m->file_cap = m->segment_cap = 0;
}
