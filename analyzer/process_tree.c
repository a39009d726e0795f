/*
 * process_tree.c - reading a directory of traces and finding out who came from whom.
 *
 * A parent is told by its own event of the call that made the child; where it recorded none (an
 * inline system call), by the child's ppid. An image of the same process follows the one before it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "process_tree.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "alloc.h"
#include "names.h"
#include "replay.h"

/* A child may have begun its trace before its parent was back from the call. */
#define SLACK_NS 1000000000u

/* A recorded call that made a process. */
struct birth {
	uint64_t time_ns; /* wall clock */
	uint32_t pid, maker;
	uint8_t call;
};

struct births {
	struct birth *v;
	size_t n, cap;
};

bool vt_is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void take_event(struct vt_process *p, const struct vt_trace *t, const struct vt_event *e,
		       struct births *births)
{
	bool own = e->flags & VT_EV_OWN;
	p->events += !own && e->kind < VT_UNSEEN_MAP;
	if ((e->kind == VT_FORK || e->kind == VT_VFORK || e->kind == VT_CLONE) && e->ret > 0) {
		births->v = vt_grow(births->v, births->n, &births->cap, sizeof(*births->v));
		births->v[births->n++] =
		    (struct birth){ .time_ns = t->header.start_realtime_ns + e->begin_ns,
				    .pid = (uint32_t)e->ret,
				    .maker = t->header.pid,
				    .call = e->kind };
	}
	vt_ending_event(&p->ending, e);
	if (e->begin_ns + e->dur_ns > p->length_ns)
		p->length_ns = e->begin_ns + e->dur_ns;
}

static void replay(struct vt_process *p, struct vt_trace *t, struct births *births)
{
	struct vt_replay r;
	struct vt_item item;
	if (vt_replay_init(&r, t))
		vt_out_of_memory();
	for (enum vt_item_type type; (type = vt_replay_next(&r, &item)) != VT_ITEM_END;) {
		uint64_t mapped = r.model.totals.total_vm << VT_PAGE_SHIFT;
		if (type == VT_ITEM_EVENT)
			take_event(p, t, &item.event, births);
		else if (type == VT_ITEM_SNAPSHOT && item.snapshot->time_ns > p->length_ns)
			p->length_ns = item.snapshot->time_ns;
		if (mapped > p->peak_bytes)
			p->peak_bytes = mapped;
	}
	p->unseen = r.verdict.unseen;
	p->mismatches = r.verdict.byte_mismatches;
	vt_replay_fini(&r);
}

static void read_process(struct vt_process *p, struct births *births)
{
	struct vt_trace *t = vt_trace_open(p->path, &p->damage);
	if (!t)
		return;
	p->readable = true;
	p->pid = t->header.pid;
	p->start_ns = t->header.start_realtime_ns;
	replay(p, t, births);
	vt_ending_close(&p->ending, t);
	p->lost = vt_trace_meta_u64(t, "lost", t->header.lost);
	if (p->ending.image)
		p->image = strdup(t->files[p->ending.image].path);
	const char *command = vt_trace_meta(t, "cmd");
	p->command = strdup(command ? command : "");
	p->ppid = (uint32_t)vt_trace_meta_u64(t, "ppid", 0);
	if (t->damage)
		p->damage = strdup(t->damage);
	vt_trace_close(t);
}

static bool is_trace_name(const char *name)
{
	size_t n = strlen(name);
	return n > 4 && !strcmp(name + n - 4, ".vmt");
}

/* Whether a file is to be looked at: a trace by its first bytes, or by its name. */
static bool is_candidate(const char *path, const char *name)
{
	char magic[sizeof(VT_MAGIC) - 1] = "";
	struct stat st;
	if (lstat(path, &st) || !S_ISREG(st.st_mode))
		return false;
	FILE *f = fopen(path, "re");
	bool is =
	    f && fread(magic, sizeof(magic), 1, f) == 1 && !memcmp(magic, VT_MAGIC, sizeof(magic));
	if (f)
		fclose(f);
	return is || is_trace_name(name);
}

static int by_start(const void *pa, const void *pb)
{
	const struct vt_process *a = pa, *b = pb;
	if (a->readable != b->readable)
		return a->readable ? -1 : 1;
	if (a->start_ns != b->start_ns)
		return a->start_ns < b->start_ns ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* The process with this pid that ran last before one began; n: none. */
static size_t before(const struct vt_process_tree *tree, size_t i, uint32_t pid)
{
	for (size_t k = i; k-- > 0;)
		if (tree->v[k].pid == pid)
			return k;
	return tree->n;
}

/* Which call made a process: the one nearest in time. */
static const struct birth *birth_of(const struct births *births, const struct vt_process *p)
{
	const struct birth *best = NULL;
	uint64_t nearest = UINT64_MAX;
	for (size_t i = 0; i < births->n; i++) {
		const struct birth *b = &births->v[i];
		uint64_t apart =
		    b->time_ns < p->start_ns ? p->start_ns - b->time_ns : b->time_ns - p->start_ns;
		if (b->pid == p->pid && b->time_ns <= p->start_ns + SLACK_NS && apart < nearest) {
			nearest = apart;
			best = b;
		}
	}
	return best;
}

static int birth_by_pid(const void *pa, const void *pb)
{
	const struct birth *a = pa, *b = pb;
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

/* The births of one pid: a part of the sorted list. */
static struct births births_of(const struct births *all, uint32_t pid)
{
	size_t lo = 0, hi = all->n;
	while (lo < hi) {
		size_t middle = (lo + hi) / 2;
		if (all->v[middle].pid < pid)
			lo = middle + 1;
		else
			hi = middle;
	}
	struct births found = { .v = all->v ? all->v + lo : NULL };
	while (lo + found.n < all->n && all->v[lo + found.n].pid == pid)
		found.n++;
	return found;
}

static void link_process(struct vt_process_tree *tree, size_t i, const struct births *all)
{
	struct vt_process *p = &tree->v[i];
	size_t same = before(tree, i, p->pid);
	if (same < tree->n && tree->v[same].ending.end != VT_END_EXIT) {
		p->link = VT_LINK_EXEC;
		p->parent = same;
		return;
	}
	struct births mine = births_of(all, p->pid);
	const struct birth *b = birth_of(&mine, p);
	size_t parent = before(tree, i, b ? b->maker : p->ppid);
	if (parent < tree->n) {
		p->link = b ? VT_LINK_CALL : VT_LINK_PPID;
		p->call = b ? b->call : 0;
		p->parent = parent;
	}
}

static void link_all(struct vt_process_tree *tree, const struct births *births)
{
	for (size_t i = 0; i < tree->n; i++)
		if (tree->v[i].readable)
			link_process(tree, i, births);
	/* backwards, so that children stand in the order of their start */
	for (size_t i = tree->n; i-- > 0;) {
		struct vt_process *p = &tree->v[i];
		if (p->link == VT_LINK_NONE)
			continue;
		p->next = tree->v[p->parent].first;
		tree->v[p->parent].first = i;
	}
}

bool vt_process_tree_read(struct vt_process_tree *tree, const char *directory, char **error)
{
	struct births births = { 0 };
	DIR *d = opendir(directory);
	*tree = (struct vt_process_tree){ 0 };
	if (!d) {
		*error = vt_format("%s: %s", directory, strerror(errno));
		return false;
	}
	tree->directory = strdup(directory);
	for (struct dirent *entry; (entry = readdir(d));) {
		char *path = vt_format("%s/%s", directory, entry->d_name);
		if (!is_candidate(path, entry->d_name)) {
			free(path);
			continue;
		}
		tree->v = vt_grow(tree->v, tree->n, &tree->cap, sizeof(*tree->v));
		struct vt_process *p = &tree->v[tree->n++];
		*p = (struct vt_process){ .path = path };
		p->name = path + strlen(directory) + 1;
		read_process(p, &births);
		tree->damaged += p->damage != NULL;
	}
	closedir(d);
	if (tree->n)
		qsort(tree->v, tree->n, sizeof(*tree->v), by_start);
	if (births.n)
		qsort(births.v, births.n, sizeof(*births.v), birth_by_pid);
	link_all(tree, &births);
	free(births.v);
	if (!tree->n)
		*error = vt_format("%s: no traces in this directory", directory);
	return tree->n > 0;
}

void vt_process_tree_free(struct vt_process_tree *tree)
{
	for (size_t i = 0; i < tree->n; i++) {
		free(tree->v[i].path);
		free(tree->v[i].damage);
		free(tree->v[i].command);
		free(tree->v[i].image);
	}
	free(tree->v);
	free(tree->directory);
}
