/*
 * inline.c - system call instructions in the program's own text and in other libraries.
 *
 * Runs inside the traced process, in the constructor, while it has one thread. Some code makes its
 * memory calls itself: sanitizers' runtimes, crash handlers, allocators. Their text is searched, up
 * to a limit, for
 *
 *	mov $NR, %eax; moves between registers, or from memory to them; syscall
 *
 * with the number of a memory call. The last instructions of it, five bytes or more, become a jump
 * to a stub nearby, which does what they did up to the system call and then enters vt_site_far.
 * Such code need not have a frame or a table of its functions, so the stub leaves alone what lies
 * below the stack pointer, and the decoding begins at the mov, never at a guess.
 *
 * A site is left alone, and a note says so, when a branch nearby may land between the mov and the
 * end, or no place for a stub is in reach. Libraries that are loaded later are not searched.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"

#if defined(__x86_64__)

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>

#define MOV_LEN     5
#define SYSCALL_LEN 2
#define JUMP_LEN    5
#define STRETCH     48 /* bytes between the mov and the system call */
#define MOST_MOVES  10
#define NEAR_JUMP   130         /* how far a branch with 8 bits reaches, and with 32: */
#define FAR_JUMP    (32u << 10) /* within one function */
#define STUB_LEN    64
#define REACH       (((int64_t)1 << 31) - (64 << 10))
#define STUB_PAGES  8
#define MOST_SITES  128 /* of one module */

extern const uint8_t vt_site_far[];

struct module {
	const char *name;
	uint64_t base, lo; /* lo: its lowest address */
	const uint8_t *text, *text_end;
};

/* A site: at[0] is the mov, at[n - 1] the system call instruction. */
struct site {
	uint32_t nr;
	unsigned n;
	const uint8_t *at[MOST_MOVES + 2];
};

/* What stubs are in. */
static struct {
	uint8_t *at;
	size_t used;
} pages[STUB_PAGES];
static unsigned n_pages;
static uint64_t budget; /* bytes of text that may still be searched */
static int mem_fd;

/*
 * Length of an instruction that moves a value to a register other than rax and rsp, from a
 * register, the instruction itself or memory whose address does not depend on where it is run, or
 * that pushes a register. 0: it is none.
 */
static unsigned move_length(const uint8_t *p)
{
	unsigned rex = (*p & 0xf0) == 0x40 ? *p : 0, n = rex != 0;
	uint8_t op = p[n++];
	if ((op & 0xf8) == 0xb8) {
		unsigned to = (op & 7u) | (rex & 1) << 3;
		return to != 0 && to != 4 ? n + (rex & 8 ? 8 : 4) : 0;
	}
	if ((op & 0xf8) == 0x50 || (op & 0xf8) == 0x58) { /* push, pop */
		unsigned to = (op & 7u) | (rex & 1) << 3;
		return op < 0x58 || (to != 0 && to != 4) ? n : 0;
	}
	bool to_rm = op == 0x89 || op == 0x31 || op == 0xc7;
	if (!to_rm && op != 0x8b && op != 0x33 && op != 0x63 && op != 0x8d)
		return 0;
	uint8_t modrm = p[n++], mod = modrm >> 6, rm = modrm & 7;
	unsigned to = to_rm ? rm | (rex & 1) << 3 : (modrm >> 3 & 7u) | (rex & 4) << 1;
	if (to == 0 || to == 4 || (op == 0xc7 && modrm >> 3 & 7))
		return 0;
	if (mod == 3)
		return op == 0x8d ? 0 : n + (op == 0xc7 ? 4 : 0);
	if (to_rm || op == 0x33 || (mod == 0 && rm == 5))
		return 0;
	if (rm == 4 && (p[n++] & 7) == 5 && mod == 0)
		return n + 4;
	return n + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

/* Whether the moves that begin at p lead to the system call exactly. */
static bool read_moves(struct site *s, const uint8_t *p, const uint8_t *call)
{
	while (p < call && s->n < MOST_MOVES + 1) {
		unsigned len = move_length(p);
		if (!len)
			return false;
		s->at[s->n++] = p;
		p += len;
	}
	s->at[s->n++] = call;
	return p == call;
}

/* The site whose system call instruction is at call. */
static bool find_site(struct site *s, const struct module *m, const uint8_t *call)
{
	for (const uint8_t *p = call - MOV_LEN; p >= m->text && call - p <= STRETCH; p--) {
		memcpy(&s->nr, p + 1, sizeof(s->nr));
		if (*p != 0xb8 || !vt_is_memory_call(s->nr))
			continue;
		s->n = 1;
		s->at[0] = p;
		if (read_moves(s, p + MOV_LEN, call))
			return true;
	}
	return false;
}

/* Whether the value stands behind an instruction of the site that is not its first. */
static bool lands_inside(const struct site *s, const uint8_t *target)
{
	for (unsigned i = 1; i < s->n; i++)
		if (s->at[i] == target)
			return true;
	return false;
}

/* Whether some branch may jump to an instruction of the site that is not its first. */
static bool is_jumped_into(const struct site *s, const struct module *m)
{
	const uint8_t *first = s->at[0], *last = s->at[s->n - 1];
	const uint8_t *lo = first - m->text > FAR_JUMP ? first - FAR_JUMP : m->text;
	const uint8_t *hi = m->text_end - last > FAR_JUMP ? last + FAR_JUMP : m->text_end - 5;
	for (const uint8_t *p = lo; p < hi; p++) {
		bool near = p + NEAR_JUMP > first && p < last + NEAR_JUMP;
		if (near && ((*p & 0xf0) == 0x70 || *p == 0xeb || (*p & 0xfc) == 0xe0) &&
		    lands_inside(s, p + 2 + (int8_t)p[1]))
			return true;
		if (*p == 0xe9 || (p > lo && p[-1] == 0x0f && (*p & 0xf0) == 0x80)) {
			int32_t distance;
			memcpy(&distance, p + 1, sizeof(distance));
			if (lands_inside(s, p + 5 + distance))
				return true;
		}
	}
	return false;
}

static bool in_reach(const uint8_t *a, const uint8_t *b)
{
	int64_t distance = a - b;
	return distance < REACH && distance > -REACH;
}

/* A page for stubs that this address reaches: below the module, or where the kernel likes. */
static uint8_t *map_page(const struct module *m, const uint8_t *from)
{
	uint64_t hint = m->lo & ~0xffffull;
	for (int tries = 0; tries < 256; tries++) {
		bool free_choice = tries == 255 || hint < 2 << 20;
		hint -= 0x10000;
		long p =
		    vt_sys6(SYS_mmap, free_choice ? 0 : hint, VT_PAGE_SIZE, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | MAP_ANONYMOUS |
				(free_choice ? 0 : 0x100000 /* MAP_FIXED_NOREPLACE */),
			    -1, 0);
		if (vt_is_error(p) && !free_choice)
			continue;
		if (vt_is_error(p))
			return NULL;
		if (in_reach((uint8_t *)p, from))
			return (uint8_t *)p;
		vt_sys2(SYS_munmap, p, VT_PAGE_SIZE);
		if (free_choice)
			return NULL;
	}
	return NULL;
}

/* Room for a stub that this address reaches; NULL: there is none. */
static uint8_t *stub_room(const struct module *m, const uint8_t *from)
{
	for (unsigned i = 0; i < n_pages; i++)
		if (pages[i].used + STUB_LEN <= VT_PAGE_SIZE && in_reach(pages[i].at, from))
			return pages[i].at + (pages[i].used += STUB_LEN) - STUB_LEN;
	if (n_pages == STUB_PAGES || vt.n_own == VT_MAX_OWN)
		return NULL;
	uint8_t *p = map_page(m, from);
	if (!p)
		return NULL;
	vt.own[vt.n_own++] = (struct vt_range){ (uint64_t)p, (uint64_t)p + VT_PAGE_SIZE };
	pages[n_pages].at = p;
	pages[n_pages++].used = STUB_LEN;
	return p;
}

/*
 * The stub: the instructions it replaces but for the last, then past the red zone, the way back on
 * the stack, and on to vt_site_far.
 */
static bool write_stub(uint8_t *stub, const uint8_t *window, const uint8_t *call)
{
	static const uint8_t rest[] = {
		0x48, 0x8d, 0x64, 0x24, 0x80,       /* lea -128(%rsp), %rsp */
		0xff, 0x35, 0x06, 0x00, 0x00, 0x00, /* push back(%rip) */
		0xff, 0x25, 0x08, 0x00, 0x00, 0x00, /* jmp *far(%rip) */
	};
	uint64_t back = (uint64_t)call + SYSCALL_LEN, far = (uint64_t)vt_site_far;
	uint8_t code[STUB_LEN] = { 0 }, *p = code;
	memcpy(p, window, (size_t)(call - window));
	p += call - window;
	memcpy(p, rest, sizeof(rest));
	p += sizeof(rest);
	memcpy(p, &back, sizeof(back));
	memcpy(p + sizeof(back), &far, sizeof(far));
	return vt_sys4(SYS_pwrite64, mem_fd, code, STUB_LEN, stub) == STUB_LEN;
}

/* NULL, or why the site is left alone. */
static const char *redirect(const struct module *m, const struct site *s)
{
	const uint8_t *call = s->at[s->n - 1], *end = call + SYSCALL_LEN;
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
	if (!write_stub(stub, window, call) ||
	    vt_sys4(SYS_pwrite64, mem_fd, code, len, window) != (long)len)
		return "left alone: the text cannot be written";
	return NULL;
}

/*
 * All sites are judged before the first is changed: the way to a stub, which the layout of the
 * address space decides, may look like a branch.
 */
static void search(const struct module *m)
{
	static struct site found[MOST_SITES];
	static const char *why[MOST_SITES];
	const uint8_t *p = m->text + MOV_LEN;
	unsigned n = 0;
	for (; n < MOST_SITES && (p = vt_next_syscall(p, m->text_end)) < m->text_end;
	     p += SYSCALL_LEN)
		if (find_site(&found[n], m, p)) {
			why[n] = is_jumped_into(&found[n], m)
				     ? "left alone: a branch may land inside it"
				     : NULL;
			n++;
		}
	if (n == MOST_SITES)
		vt_note(m->name, "has more system call sites than are looked at");
	for (unsigned i = 0; i < n; i++) {
		const struct site *s = &found[i];
		if (!why[i])
			why[i] = redirect(m, s);
		vt_note_site(m->name, m->base, s->at[s->n - 1], s->nr,
			     why[i] ? why[i] : "redirected");
	}
}

/* Whose text inner.c has dealt with, or which is the recorder's or the kernel's. */
static bool is_done(const struct module *m)
{
	return !strcmp(m->name, "libc.so.6") || !strcmp(m->name, "libpthread.so.0") ||
	       !strncmp(m->name, "ld-linux", 8) || !strncmp(m->name, "linux-", 6) ||
	       !strncmp(m->name, "libunwind", 9) || (uint64_t)m->text == vt.text_lo;
}

/* A text that is too large for the limit. */
static void note_size(const struct module *m, uint64_t bytes)
{
	char line[128];
	struct vt_text t = { line, line + sizeof(line) - 1 };
	vt_text_str(&t, m->name);
	vt_text_str(&t, ": ");
	vt_text_u64(&t, bytes >> 20);
	vt_text_str(&t, " MiB of code are not searched for system calls of its own");
	*t.p = '\0';
	vt_note("inline", line);
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	const char *slash = NULL;
	for (const char *p = info->dlpi_name; *p; p++)
		if (*p == '/')
			slash = p;
	struct module m = { .base = info->dlpi_addr, .lo = UINT64_MAX };
	m.name = !*info->dlpi_name ? "the program" : slash ? slash + 1 : info->dlpi_name;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type != PT_LOAD)
			continue;
		m.lo = at < m.lo ? at : m.lo;
		if ((ph->p_flags & (PF_X | PF_R | PF_W)) == (PF_X | PF_R)) {
			m.text = (const uint8_t *)at;
			m.text_end = m.text + ph->p_filesz;
		}
	}
	if (!m.text || m.text_end - m.text < STRETCH || is_done(&m))
		return 0;
	uint64_t bytes = (uint64_t)(m.text_end - m.text);
	if (bytes > budget) {
		note_size(&m, bytes);
		return 0;
	}
	budget -= bytes;
	search(&m);
	return 0;
}

/* Redirect what can be redirected, in so many bytes of text at most. */
void vt_inline_install(uint64_t bytes)
{
	uint32_t a = 1, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (!bytes || !(c & 1u << 27 /* OSXSAVE: vt_site_far keeps the vector registers */))
		return;
	mem_fd = (int)vt_sys4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	if (mem_fd < 0)
		return;
	budget = bytes;
	dl_iterate_phdr(visit, NULL);
	vt_sys1(SYS_close, mem_fd);
}

#else

void vt_inline_install(uint64_t bytes)
{
	(void)bytes;
}

#endif
