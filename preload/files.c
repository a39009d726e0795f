/*
 * files.c - what file ids in events stand for, and which of the files are code.
 *
 * Runs inside the traced process. A file is known by device and inode; its name is asked for once.
 * Under a seccomp filter nothing is asked: the file then stays nameless.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hash.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#define HUGETLBFS_MAGIC 0x958458f6
#define NO_DEV          (~0ull)

#define BUILD_ID 64 /* bytes kept of one, at most */

/*
 * A program may map shared memory for ever, and each mapping is an object of its own: what only
 * others need, a place among those that are known by device and inode and a build-id, stands apart.
 */
struct vt_file_entry {
	struct {
		uint64_t dev, ino;
	} key;
	const char *path;
	const uint8_t *build_id; /* of code: what could be read of it */
	struct vt_known_file *known;
	uint32_t id, generation;
	uint32_t alias; /* the object that a found one turned out to be */
	uint8_t kind;
	bool found;  /* in the kernel's list, before any call named it */
	bool module; /* known as code */
	uint8_t build_id_len;
};

/* A file that can be found by device and inode. */
struct vt_known_file {
	UT_hash_handle hh;
	struct vt_file_entry *entry;
};

static struct {
	struct vt_file_entry **by_id;
	uint32_t cap;
} f;

static struct vt_file_entry *entry(uint32_t id)
{
	return id && id <= vt.n_files && id < f.cap ? f.by_id[id] : NULL;
}

static void write_module(struct vt_file_entry *e)
{
	uint8_t body[128];
	struct vt_buf b = { body, body + sizeof(body), false };
	vt_put_varint(&b, e->id);
	vt_put_str(&b, e->build_id, e->build_id_len);
	vt_define(VT_DEF_MODULE, &b, body);
}

static void write_file(struct vt_file_entry *e)
{
	uint8_t body[4300];
	struct vt_buf b = { body, body + sizeof(body), false };
	vt_put_varint(&b, e->id);
	vt_put_varint(&b, e->kind);
	vt_put_varint(&b, e->key.dev);
	vt_put_varint(&b, e->key.ino);
	vt_put_str(&b, e->path, strnlen(e->path, 4096));
	if (vt_define(VT_DEF_FILE, &b, body))
		e->generation = vt.generation;
	if (e->module)
		write_module(e);
}

/* A file turns out to be code: keep and write its build-id, empty when it has none. */
static void set_module(struct vt_file_entry *e, const uint8_t *id, size_t n)
{
	e->build_id = id;
	e->build_id_len = (uint8_t)(n < BUILD_ID ? n : BUILD_ID);
	e->module = true;
	write_module(e);
	uint8_t *copy = vt_arena_alloc(e->build_id_len);
	if (copy && e->build_id_len)
		memcpy(copy, id, e->build_id_len);
	else
		e->build_id_len = 0;
	e->build_id = copy;
}

#define ZERO_PATH "/dev/zero (deleted)"

static const char *keep(const char *s)
{
	if (!strcmp(s, ZERO_PATH))
		return ZERO_PATH;
	size_t n = strnlen(s, 4096);
	char *copy = vt_arena_alloc(n + 1);
	if (copy)
		memcpy(copy, s, n);
	return copy;
}

/*
 * There is no memory for another file: it is told all the same, for its mappings are not the same
 * without it, and then forgotten. The model, which may look for it, is not believed any more.
 */
static struct vt_file_entry *tell(uint8_t kind, uint64_t dev, uint64_t ino, const char *path)
{
	static struct vt_file_entry e;
	e = (struct vt_file_entry){ .kind = kind, .path = path, .id = ++vt.n_files };
	e.key.dev = dev;
	e.key.ino = ino;
	vt.model.broken = true;
	write_file(&e);
	return &e;
}

/* Let a file be found by its device and inode. */
static bool make_known(struct vt_file_entry *e)
{
	if (!e->known && !(e->known = vt_arena_alloc(sizeof(*e->known))))
		return false;
	e->known->entry = e;
	HASH_ADD_KEYPTR(hh, vt.files, &e->key, sizeof(e->key), e->known);
	return e->known->hh.tbl;
}

/* Remember it, if there is memory for that. */
static struct vt_file_entry *put(uint8_t kind, uint64_t dev, uint64_t ino, const char *path,
				 bool keyed)
{
	void *ids = vt_id_table(f.by_id, vt.n_files, &f.cap);
	if (!ids)
		return NULL;
	f.by_id = ids;
	struct vt_file_entry *e = vt_arena_alloc(sizeof(*e));
	if (!e || !(e->path = keep(path)))
		return NULL;
	e->kind = kind;
	e->key.dev = dev;
	e->key.ino = ino;
	e->id = vt.n_files + 1;
	if (keyed && !make_known(e))
		return NULL;
	f.by_id[++vt.n_files] = e;
	return e;
}

/* A new file, under the lock. keyed: it can be found by device and inode. */
static struct vt_file_entry *add(uint8_t kind, uint64_t dev, uint64_t ino, const char *path,
				 bool keyed)
{
	struct vt_file_entry *e = put(kind, dev, ino, path, keyed);
	if (!e)
		return tell(kind, dev, ino, path);
	vt_model_set_file(&vt.model, e->id, kind);
	write_file(e);
	return e;
}

static struct vt_file_entry *find(uint64_t dev, uint64_t ino)
{
	struct vt_known_file *known = NULL;
	struct {
		uint64_t dev, ino;
	} key = { dev, ino };
	HASH_FIND(hh, vt.files, &key, sizeof(key), known);
	return known ? known->entry : NULL;
}

/* Write the definition of a file that an earlier generation's trace already had. */
void vt_file_define(uint32_t id)
{
	struct vt_file_entry *e = entry(id);
	if (e && e->generation != vt.generation)
		write_file(e);
}

/* A file as a call meets it: handed to what runs under the lock, and its id handed back. */
struct meeting {
	uint64_t dev, ino, hash;
	const char *path;
	int fd;
	uint32_t id;
	uint8_t kind;
	bool code;
	uint8_t build_id_len;
	uint8_t build_id[BUILD_ID];
};

static void meet_new(void *arg)
{
	struct meeting *m = arg;
	m->id = add(m->kind, NO_DEV, m->ino, m->path, false)->id;
}

/* A file that no device and inode identify yet: shared anonymous memory and the like. */
uint32_t vt_file_new(uint8_t kind, uint64_t ino, const char *path)
{
	struct meeting m = { .kind = kind, .ino = ino, .path = path };
	vt_locked(meet_new, &m);
	return m.id;
}

/* Begin the table anew. Under the lock. */
void vt_files_forget(void)
{
	memset(&f, 0, sizeof(f));
	vt.files = NULL;
	vt.n_files = 0;
	memset(vt.file_cache, 0, VT_CACHE_SLOTS * sizeof(*vt.file_cache));
}

static uint64_t makedev_kernel(uint64_t dev)
{
	return (uint64_t)major(dev) << 20 | minor(dev);
}

static uint8_t kind_of(int fd, const struct stat *st, uint64_t flags)
{
	if (S_ISCHR(st->st_mode)) {
		if (st->st_rdev == makedev(1, 5))
			return (flags & MAP_TYPE) == MAP_PRIVATE ? VT_FILE_ZERO : VT_FILE_SHM_ANON;
		return VT_FILE_DEVICE;
	}
	if (!(st->st_mode & S_IFMT)) /* an anonymous inode: io_uring, perf, kvm */
		return VT_FILE_DEVICE;
	if (st->st_blksize > 65536) {
		struct statfs fs;
		if (vt_sys2(SYS_fstatfs, fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
			return VT_FILE_HUGETLB;
	}
	return VT_FILE_REGULAR;
}

/* Look for the GNU build-id among notes. */
static const uint8_t *build_id_note(const uint8_t *p, size_t size, size_t *len)
{
	for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
		const ElfW(Nhdr) *n = (const void *)(p + at);
		size_t name = at + sizeof(*n);
		size_t desc = name + ((n->n_namesz + 3) & ~3u);
		if (desc + n->n_descsz > size)
			break;
		if (n->n_type == NT_GNU_BUILD_ID && n->n_namesz == 4 &&
		    !memcmp(p + name, "GNU", 4)) {
			*len = n->n_descsz;
			return p + desc;
		}
		at = desc + ((n->n_descsz + 3) & ~3u);
	}
	return NULL;
}

/* Read the build-id through the descriptor that is being mapped. */
static __attribute__((noinline)) size_t build_id_of_fd(int fd, uint8_t *out, size_t max)
{
	uint8_t head[1024], notes[512];
	long n = vt_sys4(SYS_pread64, fd, head, sizeof(head), 0);
	const ElfW(Ehdr) *eh = (const void *)head;
	if (n < (long)sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_phentsize != sizeof(ElfW(Phdr)))
		return 0;
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		size_t at = eh->e_phoff + i * sizeof(ElfW(Phdr));
		if (at + sizeof(ElfW(Phdr)) > (size_t)n)
			break;
		const ElfW(Phdr) *ph = (const void *)(head + at);
		if (ph->p_type != PT_NOTE)
			continue;
		size_t want = ph->p_filesz < sizeof(notes) ? ph->p_filesz : sizeof(notes);
		long got = vt_sys4(SYS_pread64, fd, notes, want, ph->p_offset);
		size_t len;
		const uint8_t *id = got > 0 ? build_id_note(notes, (size_t)got, &len) : NULL;
		if (id) {
			len = len < max ? len : max;
			memcpy(out, id, len);
			return len;
		}
	}
	return 0;
}

/*
 * The name of a descriptor's file, "" when it is not to be had: the kernel has it without asking
 * the file system. Returns path.
 */
const char *vt_name_of_fd(int fd, char *path, size_t size)
{
	char link[48];
	struct vt_text t = { link, link + sizeof(link) - 1 };
	vt_text_str(&t, "/proc/thread-self/fd/"); /* a thread may have descriptors of its own */
	vt_text_u64(&t, (uint64_t)fd);
	*t.p = '\0';
	long n = vt_sys4(SYS_readlinkat, AT_FDCWD, link, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
	return path;
}

/* A file met for the first time, or for the first time as code. */
static void meet(void *arg)
{
	struct meeting *m = arg;
	char path[4097];
	struct vt_file_entry *e = find(m->dev, m->ino);
	if (!e)
		e = add(m->kind, m->dev, m->ino, vt_name_of_fd(m->fd, path, sizeof(path)), true);
	if (e->generation != vt.generation)
		write_file(e);
	if (m->code && !e->module)
		set_module(e, m->build_id, m->build_id_len);
	vt_cache_set(vt.file_cache, m->hash, e->id);
	m->id = e->id;
}

/* The file behind a descriptor that is about to be mapped, 0 when that cannot be told. */
uint32_t vt_file_of_fd(int fd, uint64_t prot, uint64_t flags)
{
	struct stat st;
	if (fd < 0 || atomic_load_explicit(&vt.sandboxed, memory_order_relaxed) ||
	    vt_sys2(SYS_fstat, fd, &st) != 0)
		return 0;
	uint8_t kind = kind_of(fd, &st, flags);
	if (kind == VT_FILE_SHM_ANON)
		return vt_file_new(kind, 0, ZERO_PATH);
	bool code = (prot & PROT_EXEC) && S_ISREG(st.st_mode);
	uint64_t dev = makedev_kernel(st.st_dev);
	uint64_t hash = vt_mix(vt_mix(vt_mix(code, dev), st.st_ino), vt.generation);
	uint32_t id = vt_cache_get(vt.file_cache, hash);
	if (id)
		return id;
	struct meeting m = {
		.fd = fd, .kind = kind, .dev = dev, .ino = st.st_ino, .code = code, .hash = hash
	};
	/* Reading may have to wait for somebody: not under the lock. */
	if (code)
		m.build_id_len = (uint8_t)build_id_of_fd(fd, m.build_id, sizeof(m.build_id));
	vt_locked(meet, &m);
	return m.id;
}

static void meet_segment(void *arg)
{
	struct meeting *m = arg;
	struct vt_file_entry *e = find(m->dev, m->ino);
	if (!e)
		e = add(VT_FILE_SYSV, m->dev, m->ino, "/SYSV (deleted)", true);
	vt_file_define(e->id);
	vt_cache_set(vt.file_cache, m->hash, e->id);
	m->id = e->id;
}

/* A System V segment: the kernel shows its id as the inode. */
uint32_t vt_file_of_segment(int shmid)
{
	uint64_t hash = vt_mix(vt_mix(7, (uint64_t)shmid), vt.generation);
	uint32_t id = vt_cache_get(vt.file_cache, hash);
	if (id)
		return id;
	struct meeting m = { .dev = 1, .ino = (uint32_t)shmid, .hash = hash };
	vt_locked(meet_segment, &m);
	return m.id;
}

/* A file that is known by its name alone: an image to be executed. */
uint32_t vt_file_of_path(const char *path)
{
	uint64_t hash = vt_mix(8, vt.generation);
	for (const char *p = path; *p; p++)
		hash = vt_mix(hash, (uint8_t)*p);
	uint32_t id = vt_cache_get(vt.file_cache, hash);
	if (!id && (id = vt_file_new(VT_FILE_REGULAR, 0, path)))
		vt_cache_set(vt.file_cache, hash, id);
	return id;
}

static uint8_t kind_of_path(const char *path)
{
	if (!strncmp(path, "/SYSV", 5))
		return VT_FILE_SYSV;
	if (!strcmp(path, ZERO_PATH))
		return VT_FILE_SHM_ANON;
	if (!strcmp(path, "/dev/zero"))
		return VT_FILE_ZERO;
	if (!strcmp(path, "/anon_hugepage (deleted)"))
		return VT_FILE_HUGETLB;
	if (!strncmp(path, "anon_inode:", 11) ||
	    (!strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9)))
		return VT_FILE_DEVICE;
	return VT_FILE_REGULAR;
}

/*
 * The file of an area in the kernel's own list, under the lock. expected: what the model has there.
 * *unbound: that is an object whose inode nobody has seen yet. It may be the one shown, and is
 * taken for it; once it is certain, vt_file_bind keeps it. A file that stat and the list name by
 * different devices (overlay, btrfs) is known by the list's from then on.
 */
uint32_t vt_file_of_area(uint64_t dev, uint64_t ino, const char *path, uint32_t expected,
			 bool *unbound)
{
	struct vt_file_entry *e = find(dev, ino);
	struct vt_file_entry *x = entry(expected);
	*unbound = false;
	if (e && (!x || e == x))
		return e->id;
	if (e && x->alias == e->id)
		return x->id;
	/* an area may have been seen here before the call that made it */
	if (x && x->key.dev == NO_DEV && (!x->key.ino || x->key.ino == ino) &&
	    (!e || (e->found && e->kind == x->kind))) {
		*unbound = true;
		return x->id;
	}
	if (x && !e && x->key.ino == ino && !strcmp(x->path, path)) {
		if (x->known && x->known->hh.tbl)
			HASH_DEL(vt.files, x->known);
		x->key.dev = dev;
		make_known(x);
		write_file(x);
		return x->id;
	}
	if (!e) {
		e = add(kind_of_path(path), dev, ino, path, true);
		e->found = true;
	}
	return e->id;
}

/* An object is the one that the kernel shows with this device and inode. */
void vt_file_bind(uint32_t id, uint64_t dev, uint64_t ino)
{
	struct vt_file_entry *x = entry(id), *e = find(dev, ino);
	if (!x || x->key.dev != NO_DEV)
		return;
	if (e) {
		HASH_DEL(vt.files, e->known);
		e->key.dev = NO_DEV;
		e->alias = id;
	}
	x->key.dev = dev;
	x->key.ino = ino;
	make_known(x);
	write_file(x);
}

/* The id by which a file is known by now. */
uint32_t vt_file_current(uint32_t id)
{
	struct vt_file_entry *e = entry(id);
	return e && e->alias ? e->alias : id;
}

static int note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	uint64_t code = 0;
	const uint8_t *id = NULL;
	size_t len = 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X) && !code)
			code = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type == PT_NOTE && !id)
			id = build_id_note((const uint8_t *)info->dlpi_addr + ph->p_vaddr,
					   ph->p_memsz, &len);
	}
	struct vt_extent *x = code ? vt_model_find(&vt.model, code) : NULL;
	struct vt_file_entry *e = x && x->start <= code ? entry(x->file) : NULL;
	if (e && !e->module)
		set_module(e, id, id ? len : 0);
	return 0;
}

/* The build-ids of what is loaded already. While the process has one thread, model filled. */
void vt_modules_define(void)
{
	dl_iterate_phdr(note_module, NULL);
}
