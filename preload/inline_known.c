/*
 * inline_known.c - what searches found, so that no text is searched twice.
 *
 * Runs inside the traced process: in the constructor, or under the search lock. A line for each
 * text, in memory and in a file that all recorded processes share (VMTRAIL_CACHE):
 *
 *	BUILD-ID PLACE SIZE RULES [OFFSET ...]
 *
 * in hexadecimal, but for the version of the rules by which sites are told (inner.c's, of libc and
 * the loader, have a word more). A line is written by one system call at the file's end, so
 * processes do not meet. An offset is only where to look: the code there is judged again each time.
 * Whatever goes wrong, the text is searched.
 *
 * SPDX-License-Identifier: MIT
 */
#include "inline.h"

#if defined(__x86_64__)

#include <fcntl.h>
#include <sys/stat.h>

#define MOST_BYTES (64u << 10) /* of lines */
#define MOST_ID    32
#define LINE_BYTES (VT_CODE_KEY + VT_MOST_CALLS * 9 + 2)
#define BUCKETS    2048
#define RULES      " v6" /* of inline_site.c: to be changed with them */
#define MOST_LINES (BUCKETS / 4 * 3)

static struct {
	char path[1024]; /* empty: there is no file */
	char line[MOST_BYTES + 1];
	size_t n, n_lines;
	uint32_t index[BUCKETS]; /* where a line begins, + 1; by its build-id, or next to that */
} known;

/* What a text goes by, from n bytes of its module's notes; left as it is if they have no build-id.
 */
void vt_known_key(char key[VT_CODE_KEY], const uint8_t *notes, size_t n, size_t align,
		  const Elf64_Phdr *text)
{
	struct vt_text t = { key, key + VT_CODE_KEY - 1 };
	Elf64_Nhdr h;
	align = align == 8 ? 8 : 4;
	for (size_t at = 0; at + sizeof(h) <= n;) {
		memcpy(&h, notes + at, sizeof(h));
		size_t desc = (at + sizeof(h) + h.n_namesz + align - 1) & ~(align - 1);
		if (h.n_namesz > n || h.n_descsz > n || desc + h.n_descsz > n)
			return;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && h.n_descsz <= MOST_ID &&
		    h.n_descsz >= 8 && !memcmp(notes + at + sizeof(h), "GNU", 4)) {
			for (size_t i = 0; i < h.n_descsz; i++) {
				vt_text_hex(&t, notes[desc + i] >> 4);
				vt_text_hex(&t, notes[desc + i] & 15);
			}
			vt_text_str(&t, " ");
			vt_text_hex(&t, text->p_offset);
			vt_text_str(&t, " ");
			vt_text_hex(&t, text->p_filesz);
			vt_text_str(&t, RULES);
			*t.p = '\0';
			return;
		}
		at = (desc + h.n_descsz + align - 1) & ~(align - 1);
	}
}

/* Whether a piece of the module is in memory, as it is in its file. */
static bool is_mapped(const struct dl_phdr_info *info, uint64_t vaddr, uint64_t size)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_R) && vaddr >= ph->p_vaddr &&
		    size <= ph->p_filesz && vaddr - ph->p_vaddr <= ph->p_filesz - size)
			return true;
	}
	return false;
}

/* The same of a module that is loaded; empty if it has no build-id. */
void vt_known_key_of(char key[VT_CODE_KEY], const struct dl_phdr_info *info, const Elf64_Phdr *text)
{
	*key = '\0';
	for (int i = 0; i < info->dlpi_phnum && !*key; i++) {
		const Elf64_Phdr *ph = &info->dlpi_phdr[i];
		if (ph->p_type == PT_NOTE && is_mapped(info, ph->p_vaddr, ph->p_filesz))
			vt_known_key(key, (const void *)(info->dlpi_addr + ph->p_vaddr),
				     ph->p_filesz, ph->p_align, text);
	}
}

/*
 * Whether the text at an address is what its file holds, and nobody has changed it before us: only
 * then others may be told what was found in it.
 */
bool vt_known_is_whole(const char *path, const Elf64_Phdr *text, const uint8_t *at)
{
	static uint8_t piece[16u << 10];
	long fd = vt_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	uint64_t done = 0;
	while (fd >= 0 && done < text->p_filesz) {
		size_t want =
		    text->p_filesz - done < sizeof(piece) ? text->p_filesz - done : sizeof(piece);
		long n = vt_sys4(SYS_pread64, fd, piece, want, text->p_offset + done);
		if (n <= 0 || memcmp(piece, at + done, (size_t)n))
			break;
		done += (uint64_t)n;
	}
	if (fd >= 0)
		vt_sys1(SYS_close, fd);
	return done == text->p_filesz;
}

/* The file, as far as it is one that only we write; -1 when it is not to be had. */
static long open_file(int flags)
{
	struct stat st;
	if (!*known.path)
		return -1;
	long fd = vt_sys4(SYS_openat, AT_FDCWD, known.path,
			  flags | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (!vt_sys2(SYS_fstat, fd, &st) && S_ISREG(st.st_mode) &&
	    st.st_uid == (uid_t)vt_sys0(SYS_geteuid)) {
		if (st.st_size > MOST_BYTES - LINE_BYTES)
			vt_sys2(SYS_ftruncate, fd, 0);
		return fd;
	}
	vt_sys1(SYS_close, fd);
	return -1;
}

/* Where the search for a key begins: any bits of a build-id will do. */
static uint32_t bucket_of(const char *key)
{
	return (uint32_t)vt_scan_hex(&key) % BUCKETS;
}

/* Enter the lines from an offset on. */
static void enter(size_t from)
{
	for (const char *p = known.line + from, *end; (end = strchr(p, '\n')); p = end + 1) {
		uint32_t b = bucket_of(p);
		if (++known.n_lines > MOST_LINES)
			return;
		while (known.index[b])
			b = (b + 1) % BUCKETS;
		known.index[b] = (uint32_t)(p - known.line) + 1;
	}
}

/* In the constructor: what earlier processes found. */
void vt_known_load(const char *path)
{
	if (*path != '/' || strlen(path) >= sizeof(known.path))
		return;
	memcpy(known.path, path, strlen(path) + 1);
	long fd = open_file(O_RDWR);
	if (fd < 0)
		return;
	long n = vt_sys4(SYS_pread64, fd, known.line, MOST_BYTES, 0);
	known.n = n > 0 ? (size_t)n : 0;
	vt_sys1(SYS_close, fd);
	enter(0);
}

/* The offsets behind a key; false: the line is not whole. */
static bool read_offsets(const char *p, struct vt_code_sites *found)
{
	found->n = 0;
	while (*p == ' ' && found->n < VT_MOST_CALLS) {
		p++;
		found->call[found->n++] = (uint32_t)vt_scan_hex(&p);
	}
	return *p == '\n';
}

/* Where a text's sites are, if it has been searched. */
bool vt_known_find(const char *key, struct vt_code_sites *found)
{
	size_t n = strlen(key);
	uint32_t b = bucket_of(key);
	for (; known.index[b]; b = (b + 1) % BUCKETS) {
		const char *p = known.line + known.index[b] - 1;
		if (!strncmp(p, key, n) && (p[n] == ' ' || p[n] == '\n') &&
		    read_offsets(p + n, found))
			return true;
	}
	return false;
}

struct addition {
	const char *text;
	size_t n;
};

static void append(void *arg)
{
	const struct addition *a = arg;
	long fd = open_file(O_WRONLY);
	if (fd < 0)
		return;
	vt_sys3(SYS_write, fd, a->text, a->n);
	vt_sys1(SYS_close, fd);
}

static void append_outside(void *arg)
{
	vt_outside(append, arg);
}

/* A text has been searched. */
void vt_known_add(const char *key, const struct vt_code_sites *found)
{
	char line[LINE_BYTES];
	struct vt_text t = { line, line + sizeof(line) - 1 };
	vt_text_str(&t, key);
	for (unsigned i = 0; i < found->n; i++) {
		vt_text_str(&t, " ");
		vt_text_hex(&t, found->call[i]);
	}
	vt_text_str(&t, "\n");
	struct addition a = { line, (size_t)(t.p - line) };
	if (known.n + a.n > MOST_BYTES) {
		known.n = known.n_lines = 0;
		memset(known.index, 0, sizeof(known.index));
	}
	memcpy(known.line + known.n, line, a.n);
	known.line[known.n + a.n] = '\0';
	enter(known.n);
	known.n += a.n;
	if (!*known.path)
		return;
	if (vt.single)
		append(&a);
	else
		vt_locked(append_outside, &a);
}

#endif
