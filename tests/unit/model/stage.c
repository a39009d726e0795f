/*
 * stage.c - see stage.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "stage.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PICTURE (STAGE_PAGES * 2 + 1)

/* What one page looks like, to the kernel or to the model. */
struct page {
	bool mapped, shared, file;
	uint32_t prot; /* VT_VM(READ) and so on */
	uint64_t pgoff;
	char edge; /* before it: ' ' none, '|' or '?' */
};

static void *take_memory(void *ctx, size_t bytes)
{
	(void)ctx;
	return calloc(1, bytes);
}

static void give_memory(void *ctx, void *p, size_t bytes)
{
	(void)ctx;
	(void)bytes;
	free(p);
}

void stage_model(struct vt_model *m)
{
	struct vt_model_config config = { .kernel_version = 6 << 16 | 18 << 8,
					  .task_size = 0x7ffffffff000,
					  .mmap_base = 0x7ffff7fff000,
					  .mmap_min_addr = 0x10000,
					  .thp_align = true,
					  .rlimit_as = UINT64_MAX,
					  .rlimit_data = UINT64_MAX,
					  .rlimit_memlock = UINT64_MAX,
					  .stack_guard_gap = 1UL << 20 };
	struct vt_memory memory = { take_memory, give_memory, NULL };
	assert_int_equal(vt_model_init(m, &config, &memory), 0);
	vt_model_set_file(m, FILE_ZERO, VT_FILE_ZERO);
	vt_model_set_file(m, FILE_SHM, VT_FILE_SHM_ANON);
	vt_model_set_file(m, FILE_SYSV, VT_FILE_SYSV);
	vt_model_set_file(m, FILE_HUGE, VT_FILE_HUGETLB);
}

static void count_fate(void *ctx, const struct vt_event *ev, const struct vt_extent *x,
		       uint64_t start, uint64_t end, enum vt_piece_fate fate)
{
	struct stage *s = ctx;
	(void)ev;
	assert_true(start >= x->start && end <= x->end && start < end);
	s->fate_pages[fate] += (uint32_t)((end - start) >> VT_PAGE_SHIFT);
}

int stage_open(void **state)
{
	struct stage *s = calloc(1, sizeof(*s));
	stage_model(&s->m);
	s->m.observe = count_fate;
	s->m.observe_ctx = s;
	s->event_flags = VT_EV_FD_KNOWN;
	char path[] = "/tmp/vmtrail-stage-XXXXXX";
	s->fd[FILE_A] = mkstemp(path);
	s->fd[FILE_A_AGAIN] = open(path, O_RDWR | O_CLOEXEC);
	s->fd[FILE_ZERO] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	unlink(path);
	if (ftruncate(s->fd[FILE_A], STAGE_PAGES * VT_PAGE_SIZE) < 0)
		return -1;
	s->shmid = shmget(IPC_PRIVATE, 8 * VT_PAGE_SIZE, 0600);
	*state = s;
	return s->shmid < 0;
}

int stage_close(void **state)
{
	struct stage *s = *state;
	munmap((void *)STAGE_BASE, STAGE_PAGES * VT_PAGE_SIZE);
	shmctl(s->shmid, IPC_RMID, NULL);
	for (int i = 1; i < FILE_MANY; i++)
		if (s->fd[i] > 0)
			close(s->fd[i]);
	vt_model_fini(&s->m);
	free(s);
	return 0;
}

uint64_t addr(unsigned page)
{
	return STAGE_BASE + page * VT_PAGE_SIZE;
}

static bool on_stage(uint64_t start)
{
	return start >= STAGE_BASE && start < addr(STAGE_PAGES);
}

static size_t kernel_areas(struct vt_vma *v, size_t cap)
{
	static char text[1 << 18];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t len = 0, n = 0;
	for (ssize_t got; (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0;)
		len += (size_t)got;
	close(fd);
	text[len] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long start, end, off, ino;
		char perm[5];
		if (sscanf(line, "%lx-%lx %4s %lx %*s %lu", &start, &end, perm, &off, &ino) != 5 ||
		    !on_stage(start))
			continue;
		assert_true(n < cap);
		v[n++] = (struct vt_vma){ .start = start,
					  .end = end,
					  .pgoff = off >> VT_PAGE_SHIFT,
					  .flags = (perm[0] == 'r' ? VT_VM(READ) : 0) |
						   (perm[1] == 'w' ? VT_VM(WRITE) : 0) |
						   (perm[2] == 'x' ? VT_VM(EXEC) : 0) |
						   (perm[3] == 's' ? VT_VM(SHARED) : 0),
					  .file = ino != 0 };
	}
	return n;
}

/* Lay [start, end) out in pages. */
static void lay(struct page *pages, const struct vt_vma *v, char edge)
{
	uint64_t first = (v->start - STAGE_BASE) >> VT_PAGE_SHIFT;
	uint64_t n = (v->end - v->start) >> VT_PAGE_SHIFT;
	for (uint64_t i = 0; i < n; i++)
		pages[first + i] =
		    (struct page){ .mapped = true,
				   .shared = v->flags & (VT_VM(SHARED) | VT_VM(MAYSHARE)),
				   .file = v->file != 0,
				   .prot = v->flags & 7,
				   .pgoff = v->file ? v->pgoff + i : 0,
				   .edge = i ? ' ' : edge };
}

static void draw(const struct page *pages, char *picture)
{
	static const char private_chars[] = "-r?w?x?e", shared_chars[] = "NR?W?X?E";
	char *p = picture, *last = picture;
	for (unsigned i = 0; i < STAGE_PAGES; i++) {
		bool meets = i && pages[i - 1].mapped && pages[i].mapped;
		if (meets && pages[i].edge != ' ')
			*p++ = pages[i].edge;
		*p++ = !pages[i].mapped  ? '.'
		       : pages[i].shared ? shared_chars[pages[i].prot]
					 : private_chars[pages[i].prot];
		if (pages[i].mapped)
			last = p;
	}
	*last = 0;
}

static void look(struct stage *s, struct page *kernel, struct page *model)
{
	static const char edges[] = { [VT_BOUNDARY_SPLIT] = '|',
				      [VT_BOUNDARY_MERGED] = ' ',
				      [VT_BOUNDARY_UNDETERMINED] = '?' };
	struct vt_vma v[STAGE_PAGES];
	memset(kernel, 0, sizeof(*kernel) * STAGE_PAGES);
	memset(model, 0, sizeof(*model) * STAGE_PAGES);
	size_t n = kernel_areas(v, STAGE_PAGES);
	for (size_t i = 0; i < n; i++)
		lay(kernel, &v[i], '|');
	struct vt_extent *x = vt_model_find(&s->m, STAGE_BASE);
	for (; x && on_stage(x->start); x = vt_extent_next(x)) {
		struct vt_vma e = { .start = x->start,
				    .end = x->end,
				    .pgoff = x->pgoff,
				    .flags = x->flags,
				    .file = x->file };
		lay(model, &e, edges[x->boundary]);
	}
}

/* The model must agree with the kernel, but where it says that it cannot know. */
static void compare(struct stage *s)
{
	struct page kernel[STAGE_PAGES], model[STAGE_PAGES];
	char k[PICTURE], m[PICTURE];
	look(s, kernel, model);
	draw(kernel, k);
	draw(model, m);
	for (unsigned i = 0; i < STAGE_PAGES; i++) {
		struct page a = kernel[i], b = model[i];
		bool meets = i && a.mapped && kernel[i - 1].mapped;
		bool same = a.mapped == b.mapped && a.shared == b.shared && a.file == b.file &&
			    a.prot == b.prot && a.pgoff == b.pgoff;
		if (!same || (meets && b.edge != '?' && a.edge != b.edge))
			fail_msg("page %u: the kernel shows \"%s\", the model \"%s\"", i, k, m);
	}
}

void shows(struct stage *s, const char *picture)
{
	struct page kernel[STAGE_PAGES], model[STAGE_PAGES];
	char m[PICTURE];
	look(s, kernel, model);
	draw(model, m);
	assert_string_equal(m, picture);
}

static long numbers[VT_KIND_COUNT] = {
	[VT_MMAP] = SYS_mmap,
	[VT_MUNMAP] = SYS_munmap,
	[VT_MPROTECT] = SYS_mprotect,
	[VT_PKEY_MPROTECT] = SYS_pkey_mprotect,
	[VT_MADVISE] = SYS_madvise,
	[VT_BRK] = SYS_brk,
	[VT_MREMAP] = SYS_mremap,
	[VT_REMAP_FILE_PAGES] = SYS_remap_file_pages,
	[VT_SHMAT] = SYS_shmat,
	[VT_SHMDT] = SYS_shmdt,
	[VT_MLOCK] = SYS_mlock,
	[VT_MLOCK2] = SYS_mlock2,
	[VT_MUNLOCK] = SYS_munlock,
	[VT_MBIND] = SYS_mbind,
	[VT_MSEAL] = 462,
	[VT_PRCTL] = SYS_prctl,
	[VT_IOCTL] = SYS_ioctl,
};

long call(struct stage *s, enum vt_kind kind, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
	  uint64_t a4, uint64_t a5, uint32_t file)
{
	assert_true(numbers[kind] || kind == VT_MMAP);
	/* the event holds what the ioctl's argument points to */
	struct uffdio_register registration = { { a2, a3 }, a4, 0 };
	long ret = kind == VT_IOCTL ? ioctl((int)a0, a1, &registration)
				    : syscall(numbers[kind], a0, a1, a2, a3, a4, a5);
	if (ret == -1)
		ret = -errno;
	struct vt_event ev = { .seq = ++s->seq,
			       .a = { a0, a1, a2, a3, a4, a5 },
			       .ret = ret,
			       .file = file,
			       .kind = (uint8_t)kind,
			       .flags = s->event_flags };
	memset(s->fate_pages, 0, sizeof(s->fate_pages));
	assert_int_equal(vt_model_apply(&s->m, &ev, &s->fx), 0);
	/* what the model leaves open is read again from the kernel: there is nothing to compare */
	if (s->fx.contradiction != VT_CONTRA_OPEN)
		compare(s);
	return ret;
}

static void must(long ret)
{
	if (vt_is_error(ret))
		fail_msg("the kernel refused: %s", strerror((int)-ret));
}

void map_flags(struct stage *s, unsigned page, unsigned n, int prot, int flags)
{
	must(call(s, VT_MMAP, addr(page), n * VT_PAGE_SIZE, (uint64_t)prot,
		  (uint64_t)(MAP_FIXED | flags), (uint64_t)-1, 0,
		  flags & MAP_SHARED ? FILE_SHM : 0));
}

void map(struct stage *s, unsigned page, unsigned n, int prot)
{
	map_flags(s, page, n, prot, MAP_PRIVATE | MAP_ANONYMOUS);
}

void map_file(struct stage *s, unsigned page, unsigned n, int prot, int flags, uint32_t file,
	      unsigned file_page)
{
	must(call(s, VT_MMAP, addr(page), n * VT_PAGE_SIZE, (uint64_t)prot,
		  (uint64_t)(MAP_FIXED | flags), (uint64_t)s->fd[file], file_page * VT_PAGE_SIZE,
		  file));
}

void map_huge_page(struct stage *s, uint64_t huge)
{
	long ret = call(s, VT_MMAP, huge, 2UL << 20, RW,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE | MAP_HUGETLB,
			(uint64_t)-1, 0, FILE_HUGE);
	if (vt_is_error(ret))
		skip();
}

void unmap(struct stage *s, unsigned page, unsigned n)
{
	must(call(s, VT_MUNMAP, addr(page), n * VT_PAGE_SIZE, 0, 0, 0, 0, 0));
}

long try_protect(struct stage *s, unsigned page, unsigned n, int prot)
{
	return call(s, VT_MPROTECT, addr(page), n * VT_PAGE_SIZE, (uint64_t)prot, 0, 0, 0, 0);
}

void protect(struct stage *s, unsigned page, unsigned n, int prot)
{
	must(try_protect(s, page, n, prot));
}

long try_advise(struct stage *s, unsigned page, unsigned n, int advice)
{
	return call(s, VT_MADVISE, addr(page), n * VT_PAGE_SIZE, (uint64_t)advice, 0, 0, 0, 0);
}

void advise(struct stage *s, unsigned page, unsigned n, int advice)
{
	must(try_advise(s, page, n, advice));
}

void lock(struct stage *s, unsigned page, unsigned n)
{
	must(call(s, VT_MLOCK, addr(page), n * VT_PAGE_SIZE, 0, 0, 0, 0, 0));
}

void unlock(struct stage *s, unsigned page, unsigned n)
{
	must(call(s, VT_MUNLOCK, addr(page), n * VT_PAGE_SIZE, 0, 0, 0, 0, 0));
}

void move(struct stage *s, unsigned page, unsigned n, unsigned new_n, int flags, unsigned to)
{
	must(call(s, VT_MREMAP, addr(page), n * VT_PAGE_SIZE, new_n * VT_PAGE_SIZE, (uint64_t)flags,
		  addr(to), 0, 0));
}

void touch(struct stage *s, unsigned page)
{
	(void)s;
	*(volatile char *)addr(page) = 1;
}

uint64_t settle(struct stage *s)
{
	struct vt_vma v[STAGE_PAGES];
	size_t n = kernel_areas(v, STAGE_PAGES);
	return vt_model_settle(&s->m, v, n, NULL, 0, NULL);
}
