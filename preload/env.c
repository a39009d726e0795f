/*
 * env.c - the environment: what starts the recorder in the next image, kept from the program's
 * eyes.
 *
 * Runs inside the traced process. `vmtrail record` starts a program with variables of its own and
 * VMTRAIL_WAS_NAME for each one that it changed: empty where there was none, else "NAME=value" as
 * it was. The constructor takes them out of the program's environment, so that it sees, and hands
 * on to its children, what it would have without us; exec puts them back, also where a program
 * executes another one with a new environment. Both or nothing: where an exec of libc's is not
 * seen, the environment stays as it came. Programs recorded by LD_PRELOAD alone have no
 * VMTRAIL_WAS_ variables, and see what they were started with.
 *
 * SPDX-License-Identifier: MIT
 */
#include "recorder.h"
#include <sys/mman.h>

#define OURS    "VMTRAIL_"
#define WAS     "VMTRAIL_WAS_"
#define PRELOAD "LD_PRELOAD="
#define ASAN    "ASAN_OPTIONS="
/* Only the runtime looks at it, and it would refuse to start behind another preloaded library. */
#define ASAN_VALUE "verify_asan_link_order=0"
#define MAX_KEPT   32
#define MAX_VALUE  4096

extern char **environ;

static struct {
	bool handing;
	bool asan;            /* ASAN_OPTIONS was changed */
	char *preload;        /* LD_PRELOAD's value up to this library */
	char *kept[MAX_KEPT]; /* "VMTRAIL_NAME=value" */
	size_t n_kept;
} env;

static bool begins(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* The entry of a variable named up to and with its "=". */
static char *find(char **envp, const char *name)
{
	for (; *envp; envp++)
		if (begins(*envp, name))
			return *envp;
	return NULL;
}

/* The element of LD_PRELOAD that is this library, wherever it lies; false: it has none. */
static bool find_library(const char *list, const char **start, const char **end)
{
	static const char name[] = "libvmtrail.so";
	const char *first = list;
	for (; *list; list++) {
		if (*list == ':' || *list == ' ')
			first = list + 1;
		if (strncmp(list, name, sizeof(name) - 1) || (list != first && list[-1] != '/'))
			continue;
		*start = first;
		*end = list + sizeof(name) - 1;
		if (!**end || **end == ':' || **end == ' ')
			return true;
	}
	return false;
}

static char *keep(const char *text, size_t n)
{
	char *copy = vt_arena_alloc(n + 1);
	if (copy)
		memcpy(copy, text, n);
	return copy;
}

/* Remember what the next image needs. Before recording starts. False: it cannot be handed on. */
bool vt_env_keep(char **envp)
{
	const char *list = find(envp, PRELOAD), *start, *end;
	/* A name that depends on the directory is worth nothing in the next image. */
	if (!list || !find_library(list += strlen(PRELOAD), &start, &end) || *start != '/')
		return false;
	env.preload = keep(list, (size_t)(end - list));
	env.asan = find(envp, WAS ASAN);
	for (; *envp && env.n_kept < MAX_KEPT; envp++)
		if (begins(*envp, OURS) && !begins(*envp, WAS) &&
		    (env.kept[env.n_kept] = keep(*envp, strlen(*envp))))
			env.n_kept++;
	return env.handing = env.preload != NULL;
}

/* A forked child that is not to be recorded: nor are its images. */
void vt_env_stop(void)
{
	env.handing = false;
}

/* What the program gets to see of a variable that was changed; NULL: nothing. */
static char *before(char *entry, const char *name, char *was, const char *was_name)
{
	if (!was || !begins(entry, name))
		return entry;
	was += strlen(was_name);
	return *was ? was : NULL;
}

/*
 * Take out what `record` has put in. The list of entries is moved up to its end, and libc's pointer
 * to it with it: behind it stands the auxiliary vector, which some find by walking on from there.
 * What is left below for those who walk from the arguments are entries that stand above, too.
 */
void vt_env_restore(char **envp)
{
	char *preload = find(envp, WAS PRELOAD), *asan = find(envp, WAS ASAN);
	size_t n = 0, to;
	if (environ != envp || !preload)
		return;
	while (envp[n])
		n++;
	to = n;
	for (size_t i = n; i-- > 0;) {
		char *entry = begins(envp[i], OURS) ? NULL : envp[i];
		if (entry)
			entry = before(entry, PRELOAD, preload, WAS PRELOAD);
		if (entry)
			entry = before(entry, ASAN, asan, WAS ASAN);
		if (entry)
			envp[--to] = entry;
	}
	environ = envp + to;
	for (size_t i = 0; i < to; i++)
		envp[i] = to < n ? envp[to + i % (n - to)] : (char *)"";
}

/* What the program hands on itself. */
struct handed {
	size_t n;                       /* entries */
	const char *preload, *asan;     /* NULL: not there */
	size_t preload_size, asan_size; /* with name and end */
	bool kept[MAX_KEPT];            /* which of ours */
};

/* Read a string of the program, or as much of it as there is room for; false: it is not there. */
static bool peek_text(char *to, size_t size, const char *from)
{
	size_t n = 0, piece, len;
	do {
		piece = 256 - ((uintptr_t)from + n) % 256; /* never into the next page */
		piece = piece < size - 1 - n ? piece : size - 1 - n;
		if (!vt_peek(to + n, from + n, piece))
			return false;
		len = strnlen(to + n, piece);
		n += len;
	} while (len == piece && n < size - 1);
	to[n] = '\0';
	return true;
}

/* The room that a string of the program takes, 0: it is not there, or too long. */
static size_t size_of(const char *text)
{
	char piece[257];
	for (size_t n = 0; n < MAX_VALUE; n += sizeof(piece) - 1) {
		if (!peek_text(piece, sizeof(piece), text + n))
			return 0;
		size_t len = strlen(piece);
		if (len < sizeof(piece) - 1)
			return n + len + 1;
	}
	return 0;
}

static bool same_name(const char *a, const char *b)
{
	while (*a && *a == *b && *a != '=')
		a++, b++;
	return *a == '=' && *b == '=';
}

/* Whether a text that begins with these eight bytes may be a variable that we look for. */
static bool may_matter(const char *head)
{
	return !memcmp(head, PRELOAD, VT_HEAD_SIZE) || !memcmp(head, ASAN, VT_HEAD_SIZE) ||
	       !memcmp(head, OURS, VT_HEAD_SIZE);
}

/* One entry of the program's list; false: it cannot be read. */
static bool look_at(struct handed *h, const char *entry)
{
	char text[80];
	if (!peek_text(text, sizeof(text), entry))
		return false;
	if (begins(text, PRELOAD))
		h->preload = entry;
	else if (begins(text, ASAN))
		h->asan = entry;
	for (size_t i = 0; i < env.n_kept; i++)
		h->kept[i] |= same_name(text, env.kept[i]);
	return true;
}

/* The next entries of the program's list, up to the one that ends it or a page; 0: no reading. */
static size_t next_entries(const char *to[VT_HEADS], char *const *from)
{
	size_t n = (VT_PAGE_SIZE - (uintptr_t)from % VT_PAGE_SIZE) / sizeof(*from), used = 0;
	n = n < 1 ? 1 : n < VT_HEADS ? n : VT_HEADS;
	if (!vt_peek(to, from, n * sizeof(*from)))
		return 0;
	while (used < n && to[used])
		used++;
	return used < n ? used + 1 : n;
}

/*
 * Look through the program's list; false: it cannot be read, and the kernel shall say so. Most
 * entries are passed over by how they begin, many with one system call: a search of PATH comes here
 * once for each directory.
 */
static bool look(struct handed *h, char *const *envp)
{
	const char *entry[VT_HEADS];
	char head[VT_HEADS][VT_HEAD_SIZE];
	size_t n = 0;
	for (bool ended = !envp; !ended; envp += n) {
		if (!(n = next_entries(entry, envp)))
			return false;
		ended = !entry[n - 1];
		size_t texts = n - ended;
		bool told = vt_peek_heads(head, entry, texts);
		for (size_t i = 0; i < texts; i++)
			if ((!told || may_matter(head[i])) && !look_at(h, entry[i]))
				return false;
		h->n += texts;
	}
	h->preload_size = h->preload ? size_of(h->preload) : 0;
	h->asan_size = h->asan ? size_of(h->asan) : 0;
	return !h->preload == !h->preload_size && !h->asan == !h->asan_size;
}

/* Memory for the new list, which the next exec of the same task uses again. */
struct room {
	struct vt_thread *thread;
	size_t size;
};

static void make_room(void *arg)
{
	struct room *r = arg;
	r->thread->exec_block = vt_arena_last(r->size);
	r->thread->exec_size = r->thread->exec_block ? r->size : 0;
}

static char *block_of(size_t size)
{
	struct room r = { vt_me(), size };
	/* A child that is on its way to its image may have inherited a lock that nobody holds. */
	if (!atomic_load(vt.fork_guard)) {
		long p = vt_sys6(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		return vt_is_error(p) ? NULL : (char *)p;
	}
	if (r.thread->exec_size < size)
		vt_locked(make_room, &r);
	return r.thread->exec_size < size ? NULL : r.thread->exec_block;
}

/* Append "NAME=first:second", where name is "NAME=" and second may be empty. */
static char *variable(struct vt_text *t, const char *name, const char *first, const char *second)
{
	char *start = t->p;
	vt_text_str(t, name);
	vt_text_str(t, first);
	vt_text_str(t, *second ? ":" : "");
	vt_text_str(t, second);
	*t->p++ = '\0';
	return start;
}

/* A variable that is changed, and what the program has of it. */
struct change {
	const char *name, *ours, *theirs; /* name: up to and with "="; theirs: NULL: nothing */
	size_t size;                      /* of theirs */
	char **place;                     /* of theirs in the new list; NULL: it is new */
};

/* Copy what the program has behind VMTRAIL_WAS_, and put ours before it in its place. */
static bool apply(struct vt_text *t, char ***end, const struct change *c)
{
	char *was = t->p;
	vt_text_str(t, WAS);
	vt_text_str(t, c->name);
	char *copy = t->p;
	if (c->theirs && !peek_text(copy, c->size, c->theirs))
		return false;
	t->p += c->theirs ? strlen(copy) : 0;
	*t->p++ = '\0';
	char **place = c->place ? c->place : (*end)++;
	*place = variable(t, c->name, c->ours, c->theirs ? copy + strlen(c->name) : "");
	*(*end)++ = was;
	return true;
}

/* The new list in a block of memory; NULL: something does not fit. */
static char **build(const struct handed *h, char *const *envp)
{
	struct change preload = { PRELOAD, env.preload, h->preload, h->preload_size, NULL };
	struct change asan = { ASAN, ASAN_VALUE, h->asan, h->asan_size, NULL };
	size_t slots = h->n + env.n_kept + 5;
	size_t text = 2 * (h->preload_size + h->asan_size) + strlen(env.preload) + 256;
	char *block = block_of(slots * sizeof(char *) + text);
	char **list = (char **)block, **to = list;
	struct vt_text t = { block + slots * sizeof(char *), NULL };
	if (!block)
		return NULL;
	t.end = t.p + text - 1;
	if (h->n && !vt_peek(list, envp, h->n * sizeof(*list)))
		return NULL;
	for (size_t i = 0; i < h->n; i++, to++) {
		if (!*to)
			return NULL;
		if (*to == h->preload)
			preload.place = to;
		else if (*to == h->asan)
			asan.place = to;
	}
	for (size_t i = 0; i < env.n_kept; i++)
		if (!h->kept[i])
			*to++ = env.kept[i];
	if (!apply(&t, &to, &preload) || (env.asan && !apply(&t, &to, &asan)))
		return NULL;
	*to = NULL;
	return list;
}

/*
 * The environment for an exec: the program's, with what starts the recorder in the next image,
 * unless it brings that along itself. The program's list stays as it is; where it cannot be read,
 * it is handed to the kernel as it is.
 */
char *const *vt_env_hand_on(char *const *envp)
{
	struct handed h = { 0 };
	const char *start, *end;
	char **list;
	if (!env.handing || !look(&h, envp) || !(list = build(&h, envp)))
		return envp;
	/* Its own LD_PRELOAD stands behind the VMTRAIL_WAS_ that was made of it. */
	char *was = find(list, WAS PRELOAD) + strlen(WAS PRELOAD);
	return *was && find_library(was + strlen(PRELOAD), &start, &end) ? envp : list;
}
