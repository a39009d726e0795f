/*
 * defs.c - definitions in the trace's journal: threads and notes; files.c and stack.c have theirs.
 *
 * Runs inside the traced process. A definition is committed before the first event that uses it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hash.h"
#include <linux/prctl.h>

/* Append one definition to the journal: body runs from start to body->p. Under the lock. */
bool vt_define(uint8_t type, const struct vt_buf *body, const uint8_t *start)
{
	size_t len = (size_t)(body->p - start);
	uint8_t *room = vt_journal_room(len + 16);
	if (!room)
		return false;
	struct vt_buf b = { room, room + len + 16, false };
	*b.p++ = type;
	vt_put_varint(&b, len);
	vt_put_bytes(&b, start, len);
	vt_journal_commit((size_t)(b.p - room));
	return true;
}

/*
 * A record for a thread's pending call: that of a thread that is gone, or a new one. Under the
 * lock. Each new thread looks at two records, so that they stay about as many as threads live.
 */
static struct vt_pending *pending_record(uint32_t tid)
{
	uint32_t pid = (uint32_t)vt_sys0(SYS_getpid);
	for (int i = 0; i < 2 && vt.threads; i++) {
		struct vt_pending *p = vt.thread_hand ? vt.thread_hand : vt.threads;
		vt.thread_hand = p->next;
		if (!p->frame && p->tid != tid && (!p->tid || vt_is_gone(p->pid, p->tid))) {
			p->tid = tid;
			p->pid = pid;
			return p;
		}
	}
	struct vt_pending *p = vt_arena_last(sizeof(*p));
	if (!p)
		return NULL;
	p->kind = VT_KIND_COUNT;
	p->tid = tid;
	p->pid = pid;
	p->next = vt.threads;
	vt.threads = p;
	return p;
}

/* The number that the next call to be entered will have, if nothing unseen comes in between. */
static uint64_t next_seq(void)
{
	return vt.next_seq + atomic_load(&vt.live->ring_head) - atomic_load(&vt.drained);
}

/*
 * In another trace than before, which may be a forked child's, the thread is another one, too. Its
 * record is its own only if nobody has taken it for free meanwhile.
 */
static void begin_anew(struct vt_thread *t)
{
	uint32_t before = t->tid;
	t->tid = (uint32_t)vt_sys0(SYS_gettid);
	t->flags = (uint32_t)vt_sys0(SYS_getpid) == vt.pid ? 0 : VT_EV_SHARED_VM;
	if (!t->pending || t->pending->tid != before) {
		t->pending = pending_record(t->tid);
	} else {
		t->pending->tid = t->tid;
		t->pending->pid = (uint32_t)vt_sys0(SYS_getpid);
	}
	t->generation = vt.generation;
}

static void define_thread(void *arg)
{
	struct vt_thread *t = arg;
	if (!vt_is_known(t))
		begin_anew(t);
	char name[17] = { 0 };
	if (!atomic_load_explicit(&vt.sandboxed, memory_order_relaxed))
		vt_sys2(SYS_prctl, PR_GET_NAME, name);
	uint8_t body[64];
	struct vt_buf b = { body, body + sizeof(body), false };
	vt_put_varint(&b, t->tid);
	vt_put_str(&b, name, strnlen(name, 16));
	vt_put_varint(&b, (uint64_t)t);
	vt_put_varint(&b, next_seq());
	vt_define(VT_DEF_THREAD, &b, body);
	vt_stack_home(t);
}

/* A thread's first event, or the first after its name may have changed. */
void vt_thread_seen(struct vt_thread *t)
{
	bool known = vt_is_known(t);
	t->name_stale = false;
	vt_locked(define_thread, t);
	if (!known)
		vt_altstack_give();
}

struct made {
	uint32_t tid;
	uint64_t tls;
};

static void define_made(void *arg)
{
	const struct made *m = arg;
	uint8_t body[64];
	struct vt_buf b = { body, body + sizeof(body), false };
	if (!atomic_load(&vt.on))
		return;
	vt_put_varint(&b, m->tid);
	vt_put_str(&b, "", 0);
	vt_put_varint(&b, m->tls);
	vt_put_varint(&b, next_seq());
	vt_define(VT_DEF_THREAD, &b, body);
}

/* A thread has been made that may never make a memory call: so much is known of its stack. */
void vt_thread_made(uint32_t tid, uint64_t tls)
{
	struct made m = { tid, tls };
	vt_locked(define_made, &m);
}

/* Something the recorder has to say of itself. Under the lock, or before recording starts. */
void vt_note(const char *key, const char *value)
{
	uint8_t body[600];
	char line[512];
	struct vt_text t = { line, line + sizeof(line) };
	vt_text_str(&t, key);
	vt_text_str(&t, " ");
	vt_text_escaped(&t, value, strlen(value));
	struct vt_buf b = { body, body + sizeof(body), false };
	vt_put_str(&b, line, (size_t)(t.p - line));
	vt_define(VT_DEF_NOTE, &b, body);
}

/*
 * The same, unless the trace has it already: of what is done again each time that a library is
 * loaded. Some may come twice.
 */
void vt_note_once(const char *key, const char *value)
{
	static uint64_t told[256];
	uint64_t h = vt.generation;
	for (const char *p = value; *p; p++)
		h = vt_mix(h, (uint8_t)*p);
	uint64_t *slot = &told[h % (sizeof(told) / sizeof(*told))];
	if (*slot != h)
		vt_note(key, value);
	*slot = h;
}
