/*
 * kernel_view.h - a process's areas as the kernel tells them: PROCMAP_QUERY, maps, smaps, status.
 *
 * All files are opened once, by kernel_view_open in the process to be looked at, and read by raw
 * system calls into buffers of the caller: looking changes no mapping.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef FUZZ_KERNEL_VIEW_H
#define FUZZ_KERNEL_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_AREAS 16384

/* One line of maps; with smaps also all the flags. */
struct kernel_area {
	uint64_t start, end;
	uint64_t offset;   /* bytes; 0 without a file */
	uint64_t dev, ino; /* 0: no file */
	uint32_t flags;    /* VT_VM(): READ WRITE EXEC SHARED, from smaps everything in VmFlags */
	uint8_t special;   /* enum vt_special */
};

/* The counters of /proc/self/status, in pages. */
struct kernel_status {
	uint64_t size, data, stack, locked, exec; /* exec: VmExe + VmLib */
};

/* Open this process's files. buffer: for the text files' contents. False: no /proc. */
bool kernel_view_open(char *buffer, size_t bytes);
/* The first area that ends above addr; false: there is none (the gate area is not told). */
bool kernel_area_from(uint64_t addr, struct kernel_area *k);
/*
 * All areas in order, from smaps with all flags, what is special, and the gate area; or, three
 * times as fast, without these. Returns how many, 0: did not fit.
 */
size_t kernel_areas(struct kernel_area *list, size_t room, bool smaps);
bool kernel_status(struct kernel_status *s);

#endif
