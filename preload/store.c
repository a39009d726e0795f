/*
 * store.c - the trace file: opened once, written through shared mappings, closed by one truncate.
 *
 * Runs inside the traced process, under the recorder lock. The file's descriptor is closed before
 * the program can meet it. The file is sparse: header and frames at its start, the live region far
 * behind. Frames are written through a window that creeps along the file: mremap lets it grow where
 * it stands, its beginning is unmapped. That needs no descriptor, so that chroot, dropped
 * privileges and closed descriptors do not matter, and no area beyond the one it is, so that a
 * process that has all it may have does not matter either. Blocks are allocated before they are
 * written, so that a full disk is an error and not a SIGBUS; then the trace ends with what fits.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#define ZSTD_STATIC_LINKING_ONLY
#include "recorder.h"
#include <vmtrail/abi.h>
#include <zstd.h>

#define HEADER_PAGE 4096 /* the header, and the first frames behind it */
#define WINDOW      (128u << 10)
#define FIRST_STEP  (8u << 10)  /* bytes that become usable at first; then as many again, */
#define MOST_STEP   (32u << 10) /* until they are so many at a time */
#define END_ROOM    4096        /* behind every other frame, for the one that ends the trace */
#define LAST_WINDOW (8u << 20)  /* a million events and more */
#define LEVEL       4
#define TYPICAL_RAW (64u << 10)

/* Append to a path being built, with %p, %e and %n filled in. */
static void expand(struct vt_text *t, const char *pattern, const char *exe, uint64_t counter)
{
	for (; *pattern; pattern++) {
		if (pattern[0] != '%' || !pattern[1]) {
			vt_text_str(t, (char[]){ *pattern, 0 });
			continue;
		}
		switch (*++pattern) {
		case 'p':
			vt_text_u64(t, vt.pid);
			break;
		case 'e':
			vt_text_str(t, exe);
			break;
		case 'n':
			vt_text_u64(t, counter);
			break;
		default:
			vt_text_str(t, (char[]){ *pattern, 0 });
		}
	}
}

static bool has(const char *pattern, char what)
{
	for (; *pattern; pattern++)
		if (pattern[0] == '%' && pattern[1] == what)
			return true;
	return false;
}

/*
 * The candidate's name for the nth try: the pattern as given; then, where the pattern does not name
 * the process, with the pid before the extension; then with a number.
 */
static bool name_of(char *out, size_t size, const char *exe, unsigned attempt)
{
	struct vt_text t = { out, out + size - 1 };
	const char *pattern = vt.options.output;
	expand(&t, pattern, exe, attempt);
	if (attempt && !has(pattern, 'n')) {
		char tail[64];
		struct vt_text m = { tail, tail + sizeof(tail) - 1 };
		if (!has(pattern, 'p')) {
			vt_text_str(&m, ".");
			vt_text_u64(&m, vt.pid);
		}
		if (attempt > 1 || has(pattern, 'p')) {
			vt_text_str(&m, ".");
			vt_text_u64(&m, attempt);
		}
		size_t n = (size_t)(m.p - tail);
		char *dot = t.p;
		while (dot > out && *dot != '.' && *dot != '/')
			dot--;
		if (*dot != '.')
			dot = t.p;
		if (t.p + n > t.end)
			return false;
		memmove(dot + n, dot, (size_t)(t.p - dot));
		memcpy(dot, tail, n);
		t.p += n;
	}
	*t.p = '\0';
	return t.p < t.end;
}

static const char *executable(char *link, size_t size)
{
	long n = vt_sys4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", link, size - 1);
	link[n > 0 ? n : 0] = '\0';
	const char *slash = strrchr(link, '/');
	return slash ? slash + 1 : "unknown";
}

/*
 * Give the file a name that is free: of the nameless one fd stands for, or, fd < 0, of a new one.
 * Returns a descriptor or -errno.
 */
static long name_file(long fd)
{
	char link[PATH_MAX], self[40];
	const char *exe = executable(link, sizeof(link));
	struct vt_text t = { self, self + sizeof(self) - 1 };
	vt_text_str(&t, "/proc/thread-self/fd/");
	vt_text_u64(&t, (uint64_t)fd);
	*t.p = '\0';
	long ret = -EEXIST;
	for (unsigned attempt = 0; attempt < 1000 && ret == -EEXIST; attempt++) {
		if (!name_of(vt.path, sizeof(vt.path), exe, attempt))
			return -ENAMETOOLONG;
		if (fd < 0)
			ret = vt_sys4(SYS_openat, AT_FDCWD, vt.path,
				      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		else
			ret = vt_sys6(SYS_linkat, AT_FDCWD, (long)self, AT_FDCWD, (long)vt.path,
				      AT_SYMLINK_FOLLOW, 0);
	}
	return ret;
}

/* A file without a name yet, in the directory that the output names. */
static long nameless(void)
{
	char dir[PATH_MAX];
	struct vt_text t = { dir, dir + sizeof(dir) - 1 };
	vt_text_str(&t, vt.options.output);
	*t.p = '\0';
	char *slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	return vt_sys4(SYS_openat, AT_FDCWD, slash ? dir : ".", O_RDWR | O_TMPFILE | O_CLOEXEC,
		       0600);
}

/* Make the file as large as it may become; returns where the live region goes, 0 when it cannot. */
static uint64_t extend(int fd, uint64_t live_size)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	vt_sys4(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, &limit);
	for (uint64_t size = 256ull << 30; size >= 256u << 10; size >>= 2) {
		uint64_t total = size < limit.rlim_cur ? size : limit.rlim_cur & ~4095ull;
		if (total < live_size + VT_HEADER_SIZE + 65536)
			return 0;
		if (vt_sys2(SYS_ftruncate, fd, total) == 0)
			return total - live_size;
	}
	return 0;
}

/*
 * Allocate the blocks of [at, at + size), so that a full disk is an error here and not a SIGBUS
 * later. A kernel before 5.14 cannot do that; there the SIGBUS remains possible.
 */
static bool allocate(void *at, uint64_t size)
{
	long ret = vt_own_madvise(at, size, MADV_POPULATE_WRITE);
	return ret == 0 || ret == -EINVAL;
}

/*
 * Pieces of the mappings become usable as they are needed: a process that makes ten calls dirties
 * ten pages, and not the whole megabyte. Returns false when the disk is full.
 */
static bool ensure(uint8_t *base, size_t size, size_t *ready, size_t want)
{
	if (vt_likely(want <= *ready))
		return true;
	size_t step = *ready < FIRST_STEP ? FIRST_STEP : *ready < MOST_STEP ? *ready : MOST_STEP;
	size_t to = *ready + (want - *ready + step - 1) / step * step;
	if (to > size)
		to = size;
	if (want > size || !allocate(base + *ready, to - *ready))
		return false;
	*ready = to;
	return true;
}

/*
 * Make more of the ring usable during its first round. False: the disk is full, and the recording
 * ends with the slots there are.
 */
bool vt_store_ring(void)
{
	size_t slots = (size_t)vt.ring_mask + 1, bytes = slots * sizeof(struct vt_slot);
	if (vt.ring_ready == bytes)
		return true;
	if (!ensure((uint8_t *)vt.ring, bytes, &vt.ring_ready, vt.ring_ready + 1))
		return false;
	uint64_t usable =
	    vt.ring_ready == bytes ? UINT64_MAX : vt.ring_ready / sizeof(struct vt_slot);
	atomic_store_explicit(&vt.usable, usable, memory_order_release);
	return true;
}

static void *map(void *at, bool fixed, uint64_t size, int fd, uint64_t off)
{
	int flags = MAP_SHARED | (fixed ? MAP_FIXED_NOREPLACE : 0);
	long p =
	    vt_sys6(SYS_mmap, (long)at, (long)size, PROT_READ | PROT_WRITE, flags, fd, (long)off);
	if (vt_is_error(p))
		return NULL;
	/* Without MADV_RANDOM a first touch reads, and zeroes, 128 KiB around it. */
	vt_own_madvise((void *)p, size, MADV_RANDOM);
	vt_own_madvise((void *)p, size, MADV_DONTFORK);
	if (vt.n_own < VT_MAX_OWN)
		vt.own[vt.n_own++] = (struct vt_range){ (uint64_t)p, (uint64_t)p + size };
	return (void *)p;
}

static void write_header(uint64_t live_off, uint64_t live_size, uint32_t slots)
{
	struct vt_trace_header *h = vt.header;
	memcpy(h->magic, VT_MAGIC, sizeof(h->magic));
	h->version = VT_FORMAT_VERSION;
	h->header_size = VT_HEADER_SIZE;
	h->frames_off = VT_HEADER_SIZE;
	h->live_off = live_off;
	h->live_size = live_size;
	h->journal_size = (uint32_t)vt.journal_size;
	h->ring_slots = slots;
	h->slot_size = sizeof(struct vt_slot);
	h->pid = vt.pid;
	h->start_realtime_ns =
	    vt_clock_ns(CLOCK_REALTIME) - (vt_clock_ns(CLOCK_MONOTONIC) - vt.start_ns);
	h->crc = vt_crc32(0, h, offsetof(struct vt_trace_header, crc));
	atomic_store(&h->frames_end, VT_HEADER_SIZE);
}

static bool map_file(int fd, bool in_child)
{
	uint32_t slots = vt.options.ring_slots;
	uint64_t live_size, live_off = 0;
	/* A small RLIMIT_FSIZE gets a small ring rather than no trace. */
	for (; slots >= 256; slots /= 4) {
		vt.journal_size = slots >= 4096 ? 256u << 10 : 64u << 10;
		live_size =
		    VT_LIVE_HEAD + vt.journal_size + (uint64_t)slots * sizeof(struct vt_slot);
		live_off = extend(fd, live_size);
		if (live_off)
			break;
	}
	if (!live_off)
		return false;
	vt.window_size = WINDOW + 4096;
	if (vt.window_size > live_off)
		vt.window_size = live_off & ~4095ull;
	/* A forked child puts its region where its parent's was: see README.md, fork. */
	void *place = in_child ? vt.live : NULL;
	/* first of all: what comes next may be put there */
	void *live = map(place, place, live_size, fd, live_off);
	void *header = map(NULL, false, HEADER_PAGE, fd, 0);
	void *window = map(vt_roomy_place(6), false, vt.window_size, fd, 0);
	if (!header || !live || !window || !allocate(header, HEADER_PAGE) ||
	    !allocate(live, VT_LIVE_HEAD))
		return false;
	vt.header = header;
	vt.live = live;
	vt.window = window;
	vt.journal = (uint8_t *)vt.live + VT_LIVE_HEAD;
	vt.ring = (struct vt_slot *)(vt.journal + vt.journal_size);
	vt.ring_mask = slots - 1;
	vt.ring_ready = vt.journal_ready = vt.window_ready = 0;
	if (!vt_store_ring())
		return false;
	vt.window_off = 0;
	vt.frames_limit = live_off;
	vt.frame_number = 0;
	vt.refused = vt.last_window = false;
	vt.slotless = 0;
	atomic_store(&vt.live->ring_head, 1);
	atomic_store(&vt.sealed, 1);
	atomic_store(&vt.drained, 1);
	atomic_store(&vt.drain_after, 0);
	vt.live->tick[0] = vt.sync_tick;
	vt.live->ns[0] = vt.sync_ns;
	vt_read_clocks(&vt.live->tick[1], &vt.live->ns[1]);
	write_header(live_off, live_size, slots);
	return true;
}

/*
 * Create and map this process's trace. in_child: where its parent's was. Without a descriptor of
 * the program's: while the process has one thread, or in outside.c's task. The file gets its name
 * only when it can be read, by vt_store_publish; where the file system cannot do that, at once.
 */
bool vt_store_open(bool in_child)
{
	long fd = nameless();
	vt.nameless = fd >= 0;
	if (fd < 0)
		fd = name_file(-1);
	if (fd < 0)
		return false;
	if (map_file((int)fd, in_child)) {
		vt.fd = (int)fd;
		return true;
	}
	if (!vt.nameless)
		vt_sys3(SYS_unlinkat, AT_FDCWD, vt.path, 0);
	vt_sys1(SYS_close, fd);
	return false;
}

/* Name the file and close its descriptor; one without room for what comes first is none. */
bool vt_store_publish(void)
{
	long ret = vt.refused ? -ENOSPC : vt.nameless ? name_file(vt.fd) : 0;
	if (vt.refused && !vt.nameless)
		vt_sys3(SYS_unlinkat, AT_FDCWD, vt.path, 0);
	vt_sys1(SYS_close, vt.fd);
	vt.fd = -1;
	return ret == 0;
}

/* Let the window grow where it stands, as far as an offset, or as the frames may go. */
static bool grow(uint64_t end)
{
	uint64_t size = (end - vt.window_off + WINDOW - 1) / WINDOW * WINDOW;
	if (size > vt.frames_limit - vt.window_off)
		size = (vt.frames_limit - vt.window_off) & ~4095ull;
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)vt.window, vt.window_size, size };
	if (vt.window_off + size < end || vt_is_error(vt_own_call(VT_MREMAP, SYS_mremap, a)))
		return false;
	vt.window_size = size;
	return true;
}

/* Let it begin with the page of an offset inside it. */
static bool trim(uint64_t at)
{
	uint64_t front = (at - vt.window_off) & ~4095ull;
	if (front == vt.window_size)
		front -= 4096;
	if (!front || vt_is_error(vt_own_munmap(vt.window, front)))
		return false;
	vt.window += front;
	vt.window_off += front;
	vt.window_size -= front;
	vt.window_ready -= front < vt.window_ready ? front : vt.window_ready;
	return true;
}

/* Somebody's mapping stands behind it: go on elsewhere, with a second mapping of a page of it. */
static bool move(uint64_t at, uint64_t end)
{
	uint64_t off = at & ~4095ull, size = (end - off + WINDOW - 1) / WINDOW * WINDOW;
	if (off == vt.window_off + vt.window_size)
		off -= 4096;
	if (size > vt.frames_limit - off)
		size = (vt.frames_limit - off) & ~4095ull;
	if (off + size < end)
		return false;
	const uint64_t a[VT_MAX_ARGS] = { (uint64_t)vt.window + (off - vt.window_off), 0, size,
					  MREMAP_MAYMOVE };
	long p = vt_own_call(VT_MREMAP, SYS_mremap, a);
	if (vt_is_error(p))
		return false;
	vt_own_madvise((void *)p, size, MADV_RANDOM);
	vt_own_madvise((void *)p, size, MADV_DONTFORK);
	vt_own_munmap(vt.window, vt.window_size);
	uint64_t front = off - vt.window_off;
	vt.window_ready -= front < vt.window_ready ? front : vt.window_ready;
	vt.window = (uint8_t *)p;
	vt.window_off = off;
	vt.window_size = size;
	return true;
}

/*
 * Have [at, end) of the file in the window, with blocks. What is before at is no longer needed. A
 * limit of the address space may be reached: then what is not needed goes first.
 */
static bool reach(uint64_t at, uint64_t end)
{
	if (end > vt.window_off + vt.window_size) {
		if (vt.last_window || (!grow(end) && !(trim(at) && grow(end)) && !move(at, end)))
			return false;
		if (at - vt.window_off >= WINDOW)
			trim(at);
	}
	return ensure(vt.window, vt.window_size, &vt.window_ready, end - vt.window_off);
}

/*
 * The window will not move again, and blocks cannot be allocated any more: it becomes a large one,
 * with all its blocks and the live region's. When it is full the trace ends. False: there is no
 * room for it.
 */
bool vt_store_last_window(void)
{
	uint64_t at = atomic_load(&vt.header->frames_end);
	if (vt.last_window)
		return true;
	while (vt.ring_ready < ((size_t)vt.ring_mask + 1) * sizeof(struct vt_slot))
		if (!vt_store_ring())
			return false;
	vt.last_window = reach(at, at + LAST_WINDOW) &&
			 ensure(vt.journal, vt.journal_size, &vt.journal_ready, vt.journal_size);
	return vt.last_window;
}

/*
 * Set the compressor up in memory of ours, sized for chunks and not for streams: 1.0 MiB where the
 * level's default takes 2.6. Before recording starts.
 */
bool vt_store_init(void)
{
	ZSTD_compressionParameters c = ZSTD_getCParams(LEVEL, TYPICAL_RAW, 0);
	size_t need = ZSTD_estimateCCtxSize_usingCParams(c);
	if (!vt.zstd_space)
		vt.zstd_space = vt_arena_alloc(need);
	vt.zstd = vt.zstd_space ? ZSTD_initStaticCCtx(vt.zstd_space, need) : NULL;
	if (!vt.zstd)
		return false;
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_windowLog, (int)c.windowLog);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_hashLog, (int)c.hashLog);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_chainLog, (int)c.chainLog);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_searchLog, (int)c.searchLog);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_minMatch, (int)c.minMatch);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_strategy, (int)c.strategy);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_checksumFlag, 1);
	return true;
}

static size_t compress_whole(const void *raw, size_t len)
{
	size_t n = ZSTD_compress2(vt.zstd, vt.packed, vt.packed_bytes, raw, len);
	return ZSTD_isError(n) ? 0 : n;
}

/*
 * As one zstd frame, in which a new block begins at each of the cuts, with statistics of its own:
 * columns are little alike. In place, without zstd's buffers, which releases before 1.5.3 cannot.
 */
static size_t compress(const void *raw, size_t len, const uint32_t *cuts, size_t n_cuts)
{
	ZSTD_inBuffer in = { raw, 0, 0 };
	ZSTD_outBuffer out = { vt.packed, vt.packed_bytes, 0 };
	size_t left = 0;
	if (!n_cuts)
		return compress_whole(raw, len);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_stableInBuffer, 1);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_stableOutBuffer, 1);
	ZSTD_CCtx_setPledgedSrcSize(vt.zstd, len);
	for (size_t i = 0; i <= n_cuts && !left; i++) {
		in.size = i < n_cuts ? cuts[i] : len;
		left = ZSTD_compressStream2(vt.zstd, &out, &in,
					    i < n_cuts ? ZSTD_e_flush : ZSTD_e_end);
	}
	ZSTD_CCtx_reset(vt.zstd, ZSTD_reset_session_only);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_stableInBuffer, 0);
	ZSTD_CCtx_setParameter(vt.zstd, ZSTD_c_stableOutBuffer, 0);
	return left ? compress_whole(raw, len) : out.pos;
}

/* Append one frame and commit it. False when there is no room (disk, file size). */
bool vt_store_frame(uint8_t type, const void *raw, size_t len, uint64_t first_seq,
		    uint32_t n_events)
{
	return vt_store_cut_frame(type, raw, len, first_seq, n_events, NULL, 0);
}

/* The same, of parts that end at the cuts and are little alike. */
bool vt_store_cut_frame(uint8_t type, const void *raw, size_t len, uint64_t first_seq,
			uint32_t n_events, const uint32_t *cuts, size_t n_cuts)
{
	if (atomic_load(&vt.full))
		return false;
	size_t stored = compress(raw, len, cuts, n_cuts);
	struct vt_frame f = {
		.magic = VT_FRAME_MAGIC,
		.type = type,
		.bare = type == VT_FRAME_EVENTS && !*(const uint8_t *)raw,
		.raw_len = (uint32_t)len,
		.stored_len = (uint32_t)stored,
		.number = vt.frame_number,
		.ring_next = atomic_load(&vt.drained),
		.first_seq = first_seq,
		.n_events = n_events,
	};
	f.crc = vt_crc32(0, &f, offsetof(struct vt_frame, crc));
	f.crc = vt_crc32(f.crc, vt.packed, stored);
	uint64_t at = atomic_load_explicit(&vt.header->frames_end, memory_order_relaxed);
	uint64_t end = at + sizeof(f) + stored;
	if (!stored || !reach(at, end + (type == VT_FRAME_END ? 0 : END_ROOM))) {
		vt.refused = true;
		return false;
	}
	memcpy(vt.window + (at - vt.window_off), &f, sizeof(f));
	memcpy(vt.window + (at - vt.window_off) + sizeof(f), vt.packed, stored);
	vt.frame_number++;
	atomic_store_explicit(&vt.header->frames_end, end, memory_order_release);
	return true;
}

static bool journal_has(uint64_t used, size_t bytes)
{
	return bytes <= vt.journal_size - used &&
	       ensure(vt.journal, vt.journal_size, &vt.journal_ready, used + bytes);
}

/*
 * Room for a definition in the journal; NULL when there is none even after a seal: then the trace
 * has ended, for an event must not come before its definitions. The first frame of all is META:
 * before that nothing is sealed, and what does not fit is defined afterwards.
 */
void *vt_journal_room(size_t bytes)
{
	uint64_t used = atomic_load(&vt.live->journal_used);
	if (!journal_has(used, bytes)) {
		if (!vt.frame_number)
			return NULL;
		vt_seal();
		used = atomic_load(&vt.live->journal_used);
		if (!journal_has(used, bytes)) {
			vt_end_for_lack_of_room();
			return NULL;
		}
	}
	return vt.journal + used;
}

void vt_journal_commit(size_t bytes)
{
	uint64_t used = atomic_load_explicit(&vt.live->journal_used, memory_order_relaxed);
	atomic_store_explicit(&vt.live->journal_used, used + bytes, memory_order_release);
}

/* In a descriptor table of its own: cut the file behind its last frame. */
static void cut(void *arg)
{
	(void)arg;
	long fd = vt_sys4(SYS_openat, AT_FDCWD, vt.path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	struct vt_trace_header on_disk;
	long n = vt_sys4(SYS_pread64, fd, &on_disk, sizeof(on_disk), 0);
	if (n == sizeof(on_disk) && on_disk.crc == vt.header->crc && on_disk.pid == vt.pid)
		vt_sys2(SYS_ftruncate, fd, atomic_load(&vt.header->frames_end));
	vt_sys1(SYS_close, fd);
}

/*
 * Close the trace. Recording is off; a thread that is still between its check and its slot writes
 * into plain memory from here on, which takes the mappings' place at once.
 */
void vt_store_close(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	size_t live = VT_LIVE_HEAD + vt.journal_size + (vt.ring_mask + 1) * sizeof(struct vt_slot);
	long a = vt_sys6(SYS_mmap, (long)vt.live, (long)live, PROT_READ | PROT_WRITE, flags, -1, 0);
	long b = vt_sys6(SYS_mmap, (long)vt.window, (long)vt.window_size, PROT_READ | PROT_WRITE,
			 flags, -1, 0);
	/* A limit may forbid that; then the file keeps its tail, for somebody may still write to
	 * it. */
	if (!vt_is_error(a) && !vt_is_error(b) && !atomic_load(&vt.sandboxed))
		vt_outside(cut, NULL);
}
