/*
 * inline_stub.c - redirecting a site: the stub it jumps to, and the jump.
 *
 * Runs inside the traced process: in the constructor, or under the recorder lock where the loader
 * has just mapped the code, which nobody runs yet. Text is written through /proc/self/mem, which
 * leaves its protection as it is. The page of a stub is never given back, for it may be in the
 * middle of being used; a stub is used again once the code that jumps to it is gone.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inline.h"

#if defined(__x86_64__)

#include <sys/mman.h>

#define JUMP_LEN   5
#define STUB_LEN   128
#define REACH      (((int64_t)1 << 31) - (64 << 10))
#define STUB_PAGES 32
#define PAGE_STUBS (VT_PAGE_SIZE / STUB_LEN)

extern const uint8_t vt_site_far[];

/* What stubs are in, and for each the site that jumps to it; NULL: it is free. */
static struct {
	uint8_t *at;
	const uint8_t *site[PAGE_STUBS];
} pages[STUB_PAGES];
static unsigned n_pages;

static bool in_reach(const uint8_t *a, const uint8_t *b)
{
	int64_t distance = a - b;
	return distance < REACH && distance > -REACH;
}

/* A page for stubs that this address reaches: below the module, or where the kernel likes. */
static uint8_t *map_page(const struct vt_code *m, const uint8_t *from)
{
	uint64_t hint = m->lo & ~0xffffull;
	for (int tries = 0; tries < 256; tries++) {
		bool free_choice = tries == 255 || hint < 2 << 20;
		hint -= 0x10000;
		long p = vt_own_mmap(free_choice ? NULL : (void *)hint, VT_PAGE_SIZE,
				     PROT_READ | PROT_EXEC,
				     MAP_PRIVATE | MAP_ANONYMOUS |
					 (free_choice ? 0 : 0x100000 /* MAP_FIXED_NOREPLACE */),
				     -1, 0);
		if (vt_is_error(p) && !free_choice)
			continue;
		if (vt_is_error(p))
			return NULL;
		if (in_reach((uint8_t *)p, from))
			return (uint8_t *)p;
		vt_own_munmap((void *)p, VT_PAGE_SIZE);
		if (free_choice)
			return NULL;
	}
	return NULL;
}

/* The page whose stubs this address reaches and one of which is free; NULL: there is none. */
static uint8_t *free_stub(const uint8_t *site)
{
	for (unsigned i = 0; i < n_pages; i++)
		for (unsigned k = 0; k < PAGE_STUBS && in_reach(pages[i].at, site); k++)
			if (!pages[i].site[k]) {
				pages[i].site[k] = site;
				return pages[i].at + k * STUB_LEN;
			}
	return NULL;
}

/* Room for the stub of a site; NULL: there is none within reach. */
static uint8_t *stub_room(const struct vt_code *m, const uint8_t *site)
{
	uint8_t *stub = free_stub(site), *p;
	bool early = !atomic_load(&vt.on); /* such a page is told with the recorder's others */
	if (stub || n_pages == STUB_PAGES || (early && vt.n_own == VT_MAX_OWN) ||
	    !(p = map_page(m, site)))
		return stub;
	if (early)
		vt.own[vt.n_own++] = (struct vt_range){ (uint64_t)p, (uint64_t)p + VT_PAGE_SIZE };
	pages[n_pages++].at = p;
	return free_stub(site);
}

/*
 * To the code behind all this if the number is one of those kept; else the system call as it was,
 * and back. Returns the end.
 */
static uint8_t *write_choice(uint8_t *p, const struct vt_code_site *s, const uint8_t *code,
			     const uint8_t *stub, const uint8_t *back)
{
	static const uint8_t compare[] = { 0x48, 0x3d };    /* cmp $NR, %rax */
	static const uint8_t call[] = { 0x0f, 0x05, 0xe9 }; /* syscall; jmp */
	for (unsigned i = 0; i < s->n_kept; i++) {
		memcpy(p, compare, sizeof(compare));
		memcpy(p + sizeof(compare), &s->kept[i], sizeof(s->kept[i]));
		p += sizeof(compare) + sizeof(s->kept[i]);
		*p++ = 0x74; /* je, past the other comparisons, of 8 bytes, and these 7 */
		*p++ = (uint8_t)((s->n_kept - i - 1) * 8 + 7);
	}
	if (s->n_kept) {
		memcpy(p, call, sizeof(call));
		p += sizeof(call) + sizeof(int32_t);
		int32_t distance = (int32_t)(back - (stub + (p - code)));
		memcpy(p - sizeof(distance), &distance, sizeof(distance));
	}
	return p;
}

/*
 * The stub: the instructions it replaces but for the last, then past the red zone, the way back on
 * the stack, and on to vt_site_far.
 */
static bool write_stub(uint8_t *stub, const struct vt_code_site *s, const uint8_t *window,
		       const uint8_t *call, int mem_fd)
{
	static const uint8_t rest[] = {
		0x48, 0x8d, 0x64, 0x24, 0x80,       /* lea -128(%rsp), %rsp */
		0xff, 0x35, 0x06, 0x00, 0x00, 0x00, /* push back(%rip) */
		0xff, 0x25, 0x08, 0x00, 0x00, 0x00, /* jmp *far(%rip) */
	};
	uint64_t back = (uint64_t)call + VT_SYSCALL_LEN, far = (uint64_t)vt_site_far;
	uint8_t code[STUB_LEN] = { 0 }, *p = code;
	memcpy(p, window, (size_t)(call - window));
	p += call - window;
	p = write_choice(p, s, code, stub, call + VT_SYSCALL_LEN);
	memcpy(p, rest, sizeof(rest));
	p += sizeof(rest);
	memcpy(p, &back, sizeof(back));
	memcpy(p + sizeof(back), &far, sizeof(far));
	return vt_sys4(SYS_pwrite64, mem_fd, code, STUB_LEN, stub) == STUB_LEN;
}

/* Make the site jump to a stub of its own; NULL, or why it is left alone. */
const char *vt_stub_redirect(const struct vt_code *m, const struct vt_code_site *s, int mem_fd)
{
	const uint8_t *call = s->at[s->n - 1], *end = call + VT_SYSCALL_LEN;
	unsigned first = s->n - 1;
	while (end - s->at[first] < JUMP_LEN)
		first--;
	const uint8_t *window = s->at[first];
	size_t len = (size_t)(end - window);
	uint8_t *stub = stub_room(m, window);
	if (!stub)
		return "left alone: no place for a stub within reach";
	uint8_t code[STUB_LEN] = { 0xe9 };
	int32_t distance = (int32_t)(stub - (window + JUMP_LEN));
	memcpy(code + 1, &distance, sizeof(distance));
	memset(code + JUMP_LEN, 0x90, len - JUMP_LEN);
	if (mem_fd >= 0 && write_stub(stub, s, window, call, mem_fd) &&
	    vt_sys4(SYS_pwrite64, mem_fd, code, len, window) == (long)len)
		return NULL;
	vt_stub_forget((uint64_t)window, (uint64_t)end);
	return "left alone: the text cannot be written";
}

/* The code in a range is gone: so is what jumped to its stubs. */
void vt_stub_forget(uint64_t lo, uint64_t hi)
{
	for (unsigned i = 0; i < n_pages; i++)
		for (unsigned k = 0; k < PAGE_STUBS; k++) {
			uint64_t site = (uint64_t)pages[i].site[k];
			if (site >= lo && site < hi)
				pages[i].site[k] = NULL;
		}
}

#endif
