/*
 * inline.c - system call instructions in the program's own text and in other libraries.
 *
 * Runs inside the traced process. Some code makes its memory calls itself: sanitizers' runtimes,
 * crash handlers, allocators. Its text is searched for
 *
 *	mov $NR, %eax (or %rax); moves and arithmetic; syscall
 *
 * with the number of a memory call. The last instructions of it, five bytes or more, become a jump
 * to a stub nearby, which does what they did up to the system call and then enters vt_site_far.
 * Such code need not have a frame or a table of its functions, so the stub leaves alone what lies
 * below the stack pointer. A number that is kept in another register, see inline_function.c.
 *
 * What is loaded with the program is searched in the constructor, while the process has one thread.
 * What the loader maps later is searched when its text has just been mapped, before the loader has
 * got its address: nobody can be running it. Then a lock of its own is held, which nobody waits for
 * but who loads a library; the recorder lock is held only while the text is changed.
 *
 * A large text is read from its file, not through its mapping: its pages stay as absent as they
 * were, and a text that is truncated meanwhile is no fault.
 *
 * A site is left alone, and a note says so, when a branch nearby may land between the mov and the
 * end, or no place for a stub is in reach.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inline.h"

#if defined(__x86_64__)

#include <emmintrin.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <vmtrail/runtime.h>

#define LARGE  (128u << 10) /* a text that is read from its file, and remembered */
#define WINDOW (64u << 10)
#define KEEP   64 /* bytes before a window that a site in it may begin in */
#define SAME   256

static uint64_t limit; /* texts of more bytes are not searched; 0: none is */

/*
 * The one search that is under way. What becomes of a site: NULL while it has not been changed.
 */
static struct {
	struct vt_code code;
	char key[VT_CODE_KEY]; /* empty: not remembered */
	struct vt_code_sites found;
	unsigned n;
	struct vt_code_site site[VT_MOST_SITES];
	const char *what[VT_MOST_SITES];
	uint8_t window[KEEP + WINDOW];
} job;

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static void note(void *what)
{
	char line[256];
	struct vt_text t = { line, line + sizeof(line) - 1 };
	vt_text_str(&t, job.code.name);
	vt_text_str(&t, ": ");
	vt_text_str(&t, what);
	*t.p = '\0';
	vt_note_once("inline", line);
}

/*
 * The next syscall instruction in [at, end), or end. By 64 bytes at a time, which is as fast as
 * memory: byte by byte, a megabyte of libc took a third of the time that recording adds to a
 * process's start.
 */
const uint8_t *vt_next_syscall(const uint8_t *at, const uint8_t *end)
{
	const __m128i first = _mm_set1_epi8(0x0f), second = _mm_set1_epi8(0x05);
	for (; end - at > 64; at += 64) {
		__m128i any = _mm_setzero_si128();
		for (int i = 0; i < 64; i += 16) {
			__m128i a = _mm_loadu_si128((const void *)(at + i));
			__m128i b = _mm_loadu_si128((const void *)(at + i + 1));
			any = _mm_or_si128(any, _mm_and_si128(_mm_cmpeq_epi8(a, first),
							      _mm_cmpeq_epi8(b, second)));
		}
		if (_mm_movemask_epi8(any))
			break;
	}
	for (; end - at > 16; at += 16) {
		__m128i a = _mm_cmpeq_epi8(_mm_loadu_si128((const void *)at), first);
		__m128i b = _mm_cmpeq_epi8(_mm_loadu_si128((const void *)(at + 1)), second);
		int found = _mm_movemask_epi8(_mm_and_si128(a, b));
		if (found)
			return at + __builtin_ctz((unsigned)found);
	}
	for (; end - at > 1; at++)
		if (at[0] == 0x0f && at[1] == 0x05)
			return at;
	return end;
}

/* Sites whose call is in [from, end), of a text of which the piece from lo on, at offset, is here.
 */
static void look(const uint8_t *from, const uint8_t *end, const uint8_t *lo, uint64_t offset)
{
	struct vt_code_site s;
	for (const uint8_t *p = from;
	     job.found.n < VT_MOST_CALLS && (p = vt_next_syscall(p, end)) < end;
	     p += VT_SYSCALL_LEN)
		if (vt_code_site(&s, lo, p) || vt_code_may_keep_number(lo, p))
			job.found.call[job.found.n++] = (uint32_t)(offset + (uint64_t)(p - lo));
}

enum looked { SEARCHED, OTHER_FILE, UNREADABLE };

/* Search the text in its file, if that is what is mapped. */
static enum looked look_in_file(int fd, uint64_t file_offset)
{
	const struct vt_code *m = &job.code;
	uint64_t size = (uint64_t)(m->text_end - m->text), at = 0;
	uint8_t *fresh = job.window + KEEP;
	size_t kept = 0;
	while (at < size) {
		size_t piece = size - at < WINDOW ? size - at : WINDOW;
		long n = vt_sys4(SYS_pread64, fd, fresh, piece, file_offset + at);
		if (n <= 0)
			return UNREADABLE;
		if (!at && memcmp(fresh, m->text, n < SAME ? (size_t)n : SAME))
			return OTHER_FILE;
		look(fresh - (kept > 0), fresh + n, fresh - kept, at - kept);
		at += (uint64_t)n;
		kept = kept + (size_t)n < KEEP ? kept + (size_t)n : KEEP;
		memmove(fresh - kept, fresh + n - kept, kept);
	}
	return SEARCHED;
}

/* Search the text; false: that cannot be done without touching what may not be there. */
static bool look_everywhere(int fd, uint64_t file_offset)
{
	const struct vt_code *m = &job.code;
	enum looked looked = fd < 0 ? OTHER_FILE : look_in_file(fd, file_offset);
	if (looked == OTHER_FILE) {
		job.found.n = 0;
		look(m->text, m->text_end, m->text, 0);
	}
	return looked != UNREADABLE;
}

/* Where the sites are, and what stands against changing them. Nothing is believed but the code. */
static void judge(void)
{
	const struct vt_code *m = &job.code;
	uint64_t size = (uint64_t)(m->text_end - m->text);
	job.n = 0;
	for (unsigned i = 0; i < job.found.n && job.n < VT_MOST_SITES; i++) {
		const uint8_t *call = m->text + job.found.call[i];
		struct vt_code_site *s = &job.site[job.n];
		const char **what = &job.what[job.n];
		if (job.found.call[i] > size - VT_SYSCALL_LEN || call[0] != 0x0f || call[1] != 0x05)
			continue;
		if (vt_code_site(s, m->text, call))
			*what = vt_code_is_jumped_into(s, m)
				    ? "left alone: a branch may land inside it"
				    : NULL;
		else if (!vt_code_keeps_number(s, m, call, what))
			continue;
		job.n++;
	}
}

/*
 * All sites are judged before the first is changed: the way to a stub, which the layout of the
 * address space decides, may look like a branch.
 */
static void change(void *arg)
{
	(void)arg;
	int mem_fd = (int)vt_sys4(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
	for (unsigned i = 0; i < job.n; i++)
		if (!job.what[i]) {
			const char *why = vt_stub_redirect(&job.code, &job.site[i], mem_fd);
			job.what[i] = why ? why : "redirected";
		}
	if (mem_fd >= 0)
		vt_sys1(SYS_close, mem_fd);
}

/* Under the recorder lock, or in the constructor. */
static void install(void *arg)
{
	(void)arg;
	if (job.found.n == VT_MOST_CALLS || job.n == VT_MOST_SITES)
		note((char *)"has more system call sites than are looked at");
	if (job.n)
		vt_outside(change, NULL);
	for (unsigned i = 0; i < job.n; i++) {
		const struct vt_code_site *s = &job.site[i];
		vt_note_site(job.code.name, job.code.base, s->at[s->n - 1], s->nr,
			     job.what[i] ? job.what[i] : "left alone: the text cannot be written");
	}
}

/* A text that is too large for the limit. */
static void note_size(void (*run)(void (*)(void *), void *))
{
	char line[80];
	struct vt_text t = { line, line + sizeof(line) - 1 };
	vt_text_u64(&t, (uint64_t)(job.code.text_end - job.code.text) >> 20);
	vt_text_str(&t, " MiB of code are not searched for system calls of its own");
	*t.p = '\0';
	run(note, line);
}

static void in_constructor(void (*fn)(void *), void *arg)
{
	fn(arg);
}

/* Find what there is in the text of job.code, and change it. run: where notes may be written. */
static void search(int fd, uint64_t file_offset, void (*run)(void (*)(void *), void *))
{
	const struct vt_code *m = &job.code;
	job.found.n = 0;
	if ((uint64_t)(m->text_end - m->text) > limit) {
		note_size(run);
		return;
	}
	if (!*job.key || !vt_known_find(job.key, &job.found)) {
		job.found.n = 0;
		if (!look_everywhere(fd, file_offset)) {
			run(note, (char *)"left alone: its code cannot be read");
			return;
		}
		if (*job.key && job.found.n < VT_MOST_CALLS)
			vt_known_add(job.key, &job.found);
	}
	judge();
	if (job.found.n)
		run(install, NULL);
}

/* In the constructor. */
static void search_large(const struct dl_phdr_info *info, const ElfW(Phdr) * text)
{
	const char *path = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
	vt_known_key_of(job.key, info, text);
	int fd = (int)vt_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	search(fd, text->p_offset, in_constructor);
	if (fd >= 0)
		vt_sys1(SYS_close, fd);
}

/* Whose text inner.c has dealt with, or which is the recorder's or the kernel's. */
static bool is_done(const struct vt_code *m)
{
	return vt_is_runtime(m->name) || !strncmp(m->name, "linux-", 6) ||
	       (uint64_t)m->text == vt.text_lo;
}

static bool is_text(const Elf64_Phdr *ph)
{
	return ph->p_type == PT_LOAD && (ph->p_flags & (PF_X | PF_R | PF_W)) == (PF_X | PF_R) &&
	       ph->p_filesz >= VT_STRETCH;
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	uint64_t lo = UINT64_MAX;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uint64_t at = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type == PT_LOAD && at < lo)
			lo = at;
	}
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const uint8_t *text = (const uint8_t *)(info->dlpi_addr + ph->p_vaddr);
		if (!is_text(ph))
			continue;
		job.code = (struct vt_code){
			.name = *info->dlpi_name ? base_name(info->dlpi_name) : "the program",
			.base = info->dlpi_addr,
			.lo = lo,
			.text = text,
			.text_end = text + ph->p_filesz,
		};
		*job.key = '\0';
		if (is_done(&job.code))
			continue;
		if (ph->p_filesz < LARGE)
			search(-1, 0, in_constructor);
		else
			search_large(info, ph);
	}
	return 0;
}

/* Redirect what can be redirected, in texts of so many bytes at most. */
void vt_inline_install(uint64_t bytes)
{
	if (!bytes || !vt_vectors_can_be_kept())
		return;
	limit = bytes;
	dl_iterate_phdr(visit, NULL);
}

/* A mapping that the loader has just made of a file, executable. */
struct mapped {
	uint64_t at, len, offset;
	int fd;
};

static bool read_at(int fd, void *to, size_t n, uint64_t offset)
{
	return vt_sys4(SYS_pread64, fd, to, n, offset) == (long)n;
}

/* Whether relocations will change the text: then nobody knows yet what it will be. */
static bool is_relocated(int fd, const Elf64_Phdr *dynamic)
{
	Elf64_Dyn d[16];
	for (uint64_t at = 0; at + sizeof(*d) <= dynamic->p_filesz; at += sizeof(d)) {
		size_t n = dynamic->p_filesz - at < sizeof(d) ? dynamic->p_filesz - at : sizeof(d);
		n -= n % sizeof(*d);
		if (!read_at(fd, d, n, dynamic->p_offset + at))
			return true;
		for (size_t i = 0; i < n / sizeof(*d); i++) {
			if (d[i].d_tag == DT_NULL)
				return false;
			if (d[i].d_tag == DT_TEXTREL ||
			    (d[i].d_tag == DT_FLAGS && d[i].d_un.d_val & DF_TEXTREL))
				return true;
		}
	}
	return false;
}

static void remember_by(int fd, const Elf64_Phdr *ph, const Elf64_Phdr *text)
{
	uint8_t notes[1024];
	size_t n = ph->p_filesz < sizeof(notes) ? ph->p_filesz : sizeof(notes);
	if (text->p_filesz >= LARGE && read_at(fd, notes, n, ph->p_offset))
		vt_known_key(job.key, notes, n, ph->p_align, text);
}

/* The segment that a mapping was made of; NULL: none that is to be searched. */
static const Elf64_Phdr *segment_of(const struct mapped *l, const Elf64_Phdr *ph, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_text(&ph[i]) && (ph[i].p_offset & -VT_PAGE_SIZE) == l->offset &&
		    ph[i].p_filesz <= l->len)
			return &ph[i];
	return NULL;
}

/* What the program headers say of a module; false: its text is not to be searched. */
static bool describe(const struct mapped *l, const Elf64_Phdr *ph, size_t n, uint64_t *offset)
{
	const Elf64_Phdr *text = segment_of(l, ph, n);
	struct vt_code *m = &job.code;
	bool relocated = false;
	if (!text)
		return false;
	m->base = l->at - (text->p_vaddr & -VT_PAGE_SIZE);
	m->lo = l->at;
	m->text = (const uint8_t *)(m->base + text->p_vaddr);
	m->text_end = m->text + text->p_filesz;
	m->fd = l->fd;
	m->segments = ph;
	m->n_segments = n;
	*offset = text->p_offset;
	for (size_t i = 0; i < n; i++) {
		if (ph[i].p_type == PT_LOAD && m->base + ph[i].p_vaddr < m->lo)
			m->lo = m->base + ph[i].p_vaddr;
		relocated |= ph[i].p_type == PT_DYNAMIC && is_relocated(l->fd, &ph[i]);
	}
	if (relocated) {
		vt_locked(note, (char *)"left alone: its code is still to be relocated");
		return false;
	}
	for (size_t i = 0; i < n; i++)
		if (ph[i].p_type == PT_NOTE && !*job.key)
			remember_by(l->fd, &ph[i], text);
	return true;
}

/* The program headers of a file; their number, 0: they are not as the loader wants them. */
static size_t read_headers(int fd, Elf64_Phdr *ph, size_t most)
{
	Elf64_Ehdr h;
	if (!read_at(fd, &h, sizeof(h), 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_phentsize != sizeof(*ph) || h.e_phnum > most ||
	    !read_at(fd, ph, h.e_phnum * sizeof(*ph), h.e_phoff))
		return 0;
	return h.e_phnum;
}

/* Under the search lock. */
static void search_mapped(void *arg)
{
	const struct mapped *l = arg;
	Elf64_Phdr ph[64];
	char path[4096];
	uint64_t offset;
	size_t n = read_headers(l->fd, ph, sizeof(ph) / sizeof(*ph));
	vt_name_of_fd(l->fd, path, sizeof(path));
	job.code.name = *path ? base_name(path) : "a library";
	*job.key = '\0';
	if (describe(l, ph, n, &offset))
		search(l->fd, offset, vt_locked);
}

static void note_sandboxed(void *arg)
{
	(void)arg;
	if (atomic_load(&vt.on))
		vt_note_once("inline", "what is loaded under a seccomp filter is not searched");
}

/*
 * The loader has mapped a file: if it is code, it is searched now, for nobody has its address yet.
 */
void vt_inline_mapped(uint64_t at, uint64_t len, int fd, uint64_t offset)
{
	struct mapped l = { at, len, offset, fd };
	if (!limit || !atomic_load(&vt.on))
		return;
	if (atomic_load(&vt.sandboxed))
		vt_locked(note_sandboxed, NULL);
	else
		vt_searching(search_mapped, &l);
}

/* The loader has unmapped a range. */
void vt_inline_unmapped(uint64_t at, uint64_t len)
{
	vt_stub_forget(at, at + len);
}

#else

void vt_inline_install(uint64_t bytes)
{
	(void)bytes;
}

#endif
