/*
 * trace_frames.c - one frame of a trace: read, checked, unpacked.
 *
 * Everything in a frame may be hostile until its CRC and zstd's own checksum have been verified,
 * and its contents stay so afterwards. Never reads beyond vt_reader.frames_end.
 *
 * SPDX-License-Identifier: MIT
 */
#include "trace_internal.h"
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

bool vt_pread_full(int fd, void *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p = (uint8_t *)p + got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return true;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32_sse42(uint32_t crc, const uint8_t *p,
							      size_t n)
{
	uint64_t c = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		uint64_t v;
		memcpy(&v, p, 8);
		c = __builtin_ia32_crc32di(c, v);
	}
	for (; n; n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
	return ~(uint32_t)c;
}
#endif

uint32_t vt_crc32_fast(uint32_t crc, const void *data, size_t n)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return crc32_sse42(crc, data, n);
#endif
	return vt_crc32(crc, data, n);
}

void vt_trace_damaged(struct vt_trace *t, uint64_t offset, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	char *what = vt_vformat(format, args);
	va_end(args);
	free(t->damage);
	t->damage = vt_format("%s: offset 0x%llx: %s", t->path, (unsigned long long)offset, what);
	free(what);
}

void vt_frame_damaged(struct vt_trace *t, const struct vt_frame_ref *ref, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	char *what = vt_vformat(format, args);
	va_end(args);
	vt_trace_damaged(t, ref->at, "frame %llu: %s", (unsigned long long)ref->head.number, what);
	free(what);
}

static void scratch_reserve(struct vt_scratch *s, size_t n)
{
	if (s->cap >= n)
		return;
	s->p = vt_realloc(s->p, n, 1);
	s->cap = n;
}

bool vt_frame_load(struct vt_trace *t, struct vt_frame_ref *ref, uint64_t number)
{
	struct vt_reader *r = vt_reader_of(t);
	struct vt_frame *f = &ref->head;

	f->number = number;
	if (r->frames_end - ref->at < sizeof(*f)) {
		vt_frame_damaged(t, ref, "expected a header of %zu bytes, found %llu bytes",
				 sizeof(*f), (unsigned long long)(r->frames_end - ref->at));
		return false;
	}
	if (!vt_pread_full(r->fd, f, sizeof(*f), ref->at)) {
		f->number = number;
		vt_frame_damaged(t, ref, "its header cannot be read");
		return false;
	}
	struct vt_frame found = *f;
	f->number = number;
	if (found.magic != VT_FRAME_MAGIC) {
		vt_frame_damaged(t, ref, "expected magic 0x%x, found 0x%x", VT_FRAME_MAGIC,
				 found.magic);
		return false;
	}
	if (found.number != number) {
		vt_frame_damaged(t, ref, "expected this number, found %llu",
				 (unsigned long long)found.number);
		return false;
	}
	if (found.type < VT_FRAME_META || found.type >= VT_FRAME_TYPES) {
		vt_frame_damaged(t, ref, "unknown type %u", found.type);
		return false;
	}
	if (found.raw_len > VT_MAX_RAW || found.stored_len > ZSTD_COMPRESSBOUND(VT_MAX_RAW)) {
		vt_frame_damaged(t, ref, "expected at most %u bytes, found %u", VT_MAX_RAW,
				 found.raw_len);
		return false;
	}
	uint64_t room = r->frames_end - ref->at - sizeof(*f);
	if (found.stored_len > room) {
		vt_frame_damaged(t, ref, "expected %u bytes, found %llu", found.stored_len,
				 (unsigned long long)room);
		return false;
	}
	scratch_reserve(&r->stored, found.stored_len);
	if (!vt_pread_full(r->fd, r->stored.p, found.stored_len, ref->at + sizeof(*f))) {
		vt_frame_damaged(t, ref, "its content cannot be read");
		return false;
	}
	uint32_t crc = vt_crc32_fast(0, &found, offsetof(struct vt_frame, crc));
	crc = vt_crc32_fast(crc, r->stored.p, found.stored_len);
	if (crc != found.crc) {
		vt_frame_damaged(t, ref, "checksum mismatch: expected 0x%08x, found 0x%08x",
				 found.crc, crc);
		return false;
	}
	return true;
}

bool vt_frame_unpack(struct vt_trace *t, const struct vt_frame_ref *ref, struct vt_scratch *raw)
{
	struct vt_reader *r = vt_reader_of(t);
	uint32_t stored_len = ref->head.stored_len;

	scratch_reserve(&r->stored, stored_len);
	scratch_reserve(raw, ref->head.raw_len);
	if (!vt_pread_full(r->fd, r->stored.p, stored_len, ref->at + sizeof(struct vt_frame))) {
		vt_frame_damaged(t, ref, "its content cannot be read");
		return false;
	}
	size_t got =
	    ZSTD_decompressDCtx(r->zstd, raw->p, ref->head.raw_len, r->stored.p, stored_len);
	if (ZSTD_isError(got)) {
		vt_frame_damaged(t, ref, "zstd: %s", ZSTD_getErrorName(got));
		return false;
	}
	if (got != ref->head.raw_len) {
		vt_frame_damaged(t, ref, "expected %u bytes unpacked, found %zu", ref->head.raw_len,
				 got);
		return false;
	}
	return true;
}

size_t vt_frame_unpack_head(struct vt_trace *t, const struct vt_frame_ref *ref, size_t want,
			    struct vt_scratch *raw)
{
	struct vt_reader *r = vt_reader_of(t);

	if (want > ref->head.raw_len)
		want = ref->head.raw_len;
	scratch_reserve(raw, want);
	ZSTD_DCtx_reset(r->zstd, ZSTD_reset_session_only);
	ZSTD_inBuffer in = { r->stored.p, ref->head.stored_len, 0 };
	ZSTD_outBuffer out = { raw->p, want, 0 };
	while (out.pos < want) {
		size_t before = in.pos + out.pos;
		size_t rc = ZSTD_decompressStream(r->zstd, &out, &in);
		if (ZSTD_isError(rc)) {
			vt_frame_damaged(t, ref, "zstd: %s", ZSTD_getErrorName(rc));
			return 0;
		}
		if (in.pos + out.pos == before)
			break;
	}
	if (out.pos < want || !want) {
		vt_frame_damaged(t, ref, "expected %u bytes unpacked, found %zu", ref->head.raw_len,
				 out.pos);
		return 0;
	}
	return out.pos;
}
