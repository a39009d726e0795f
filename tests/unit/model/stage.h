/*
 * stage.h - a stage of some pages on which the live kernel and the model play the same calls.
 *
 * Every call is made for real and applied to the model; after each, what the kernel shows of the
 * stage must be what the model says. A test then claims what that is, as a picture: one character a
 * page, a mark where an area ends.
 *
 *   .  nothing mapped       -  no access    r  read    w  read, write    x  read, execute
 *   R W X N  the same shared (N: no access)             e  read, write, execute
 *   |  two areas meet       ?  the model cannot know whether they are two
 *
 * "ww|r|ww" is a writable area of two pages, a read-only page, two writable pages. Pages after the
 * picture's end must be unmapped.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef VMTRAIL_TESTS_STAGE_H
#define VMTRAIL_TESTS_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/mman.h>
#include <vmtrail/abi.h>
#include <vmtrail/model.h>

#define STAGE_BASE  0x200000000000UL
#define STAGE_PAGES 64
#define NONE        PROT_NONE
#define R           PROT_READ
#define RW          (PROT_READ | PROT_WRITE)
#define RX          (PROT_READ | PROT_EXEC)

enum { FILE_A = 1, FILE_A_AGAIN, FILE_ZERO, FILE_SHM, FILE_SYSV, FILE_HUGE, FILE_MANY };

struct stage {
	struct vt_model m;
	struct vt_effect fx; /* of the last call */
	uint64_t seq;
	int fd[FILE_MANY];
	int shmid;
	uint8_t event_flags;    /* VT_EV_* of the next calls; VT_EV_FD_KNOWN at first */
	uint32_t fate_pages[8]; /* pages told to the observer, by fate */
};

/* cmocka's set-up and tear-down: *state is the stage. */
int stage_open(void **state);
int stage_close(void **state);
/* An empty model like the stage's, for tests that need no kernel. */
void stage_model(struct vt_model *m);

/* Make a call, apply it, compare. Returns the kernel's result, -errno for an error. */
long call(struct stage *s, enum vt_kind kind, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
	  uint64_t a4, uint64_t a5, uint32_t file);

/* Pages count from the stage's beginning. The first group must succeed. */
void map(struct stage *s, unsigned page, unsigned n, int prot);
void map_flags(struct stage *s, unsigned page, unsigned n, int prot, int flags);
void map_file(struct stage *s, unsigned page, unsigned n, int prot, int flags, uint32_t file,
	      unsigned file_page);
void unmap(struct stage *s, unsigned page, unsigned n);
void protect(struct stage *s, unsigned page, unsigned n, int prot);
void advise(struct stage *s, unsigned page, unsigned n, int advice);
void lock(struct stage *s, unsigned page, unsigned n);
void unlock(struct stage *s, unsigned page, unsigned n);
void move(struct stage *s, unsigned page, unsigned n, unsigned new_n, int flags, unsigned to);
long try_protect(struct stage *s, unsigned page, unsigned n, int prot);
long try_advise(struct stage *s, unsigned page, unsigned n, int advice);
/* Write to a page: the kernel gives its area an anon_vma, and no call tells. */
void touch(struct stage *s, unsigned page);
/* Map a huge page at an address of its size; where the machine gives none the test is skipped. */
void map_huge_page(struct stage *s, uint64_t huge);
/* Take the kernel's list as a snapshot: returns wrong determined boundaries. */
uint64_t settle(struct stage *s);
uint64_t addr(unsigned page);

/* The claim. */
void shows(struct stage *s, const char *picture);

#endif
