/*
 * suppress.c - reading rules, matching them against the culprit's stack, writing them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "suppress.h"

#include "alloc.h"
#include <errno.h>
#include <fnmatch.h>

#define MOST_FRAMES 64 /* of a rule */
#define TOOL        "vmtrail:"

enum frame_type { FRAME_FUN, FRAME_OBJ, FRAME_ANY };

struct rule_frame {
	enum frame_type type;
	char *glob; /* NULL for FRAME_ANY */
};

struct rule {
	char *kind; /* glob */
	struct rule_frame frames[MOST_FRAMES];
	size_t n;
};

struct vt_suppressions {
	struct rule *rules;
	size_t n, cap;
};

void vt_suppressions_free(struct vt_suppressions *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		free(s->rules[i].kind);
		for (size_t k = 0; k < s->rules[i].n; k++)
			free(s->rules[i].frames[k].glob);
	}
	free(s->rules);
	free(s);
}

/* What the next line of a file has to be. */
enum state { OUTSIDE, NAME, KIND, FRAMES };

struct reader {
	struct vt_suppressions *s;
	enum state state;
};

static struct rule *last_rule(struct vt_suppressions *s)
{
	return &s->rules[s->n - 1];
}

/* A pattern in which only * and ? mean something: C++ names have brackets. */
static char *pattern_of(const char *text)
{
	char *out = vt_calloc(2 * strlen(text) + 1, 1), *p = out;

	for (; *text; *p++ = *text++)
		if (*text == '[' || *text == '\\')
			*p++ = '\\';
	return out;
}

static const char *read_frame(struct rule *r, const char *line)
{
	struct rule_frame f = { .type = FRAME_ANY };

	if (r->n == MOST_FRAMES)
		return "more frames than a rule may have";
	if (!strncmp(line, "fun:", 4))
		f.type = FRAME_FUN;
	else if (!strncmp(line, "obj:", 4))
		f.type = FRAME_OBJ;
	else if (strcmp(line, "...") != 0)
		return "expected fun:, obj:, ... or }";
	if (f.type != FRAME_ANY)
		f.glob = pattern_of(line + 4);
	r->frames[r->n++] = f;
	return NULL;
}

/* Take in a line without its blanks. Returns what is wrong with it, or NULL. */
static const char *read_line(struct reader *r, const char *line)
{
	struct vt_suppressions *s = r->s;

	switch (r->state) {
	case OUTSIDE:
		if (strcmp(line, "{") != 0)
			return "expected {";
		s->rules = vt_grow(s->rules, s->n, &s->cap, sizeof(*s->rules));
		s->rules[s->n++] = (struct rule){ 0 };
		r->state = NAME;
		return NULL;
	case NAME:
		r->state = KIND;
		return NULL;
	case KIND:
		if (strncmp(line, TOOL, strlen(TOOL)) != 0)
			return "expected " TOOL "KIND";
		last_rule(s)->kind = pattern_of(line + strlen(TOOL));
		r->state = FRAMES;
		return NULL;
	default:
		if (strcmp(line, "}") != 0)
			return read_frame(last_rule(s), line);
		r->state = OUTSIDE;
		return NULL;
	}
}

/* The line without blanks around it; it is cut in place. */
static char *trimmed(char *line)
{
	char *end = line + strlen(line);

	while (end > line && strchr(" \t\r\n", end[-1]))
		*--end = '\0';
	return line + strspn(line, " \t");
}

bool vt_suppressions_read(struct vt_suppressions **s, const char *path, char **error)
{
	FILE *in = fopen(path, "re");
	const char *wrong = NULL;
	char *buf = NULL;
	size_t cap = 0, number = 0;

	if (!*s)
		*s = vt_calloc(1, sizeof(**s));
	struct reader r = { .s = *s };
	while (in && !wrong && getline(&buf, &cap, in) >= 0) {
		char *line = trimmed(buf);
		number++;
		if (*line && *line != '#')
			wrong = read_line(&r, line);
	}
	free(buf);
	if (in && !wrong && !ferror(in) && r.state != OUTSIDE)
		wrong = "the last rule has no }";
	if (wrong)
		*error = vt_format("%s:%zu: %s", path, number, wrong);
	else if (!in || ferror(in))
		*error = vt_format("%s: %s", path, strerror(errno));
	if (in)
		fclose(in);
	return !*error;
}

static bool frame_matches(const struct rule_frame *rule, const struct vt_frame_text *f)
{
	const char *text = rule->type == FRAME_FUN ? f->function : *f->path ? f->path : f->module;
	return text && fnmatch(rule->glob, text, 0) == 0;
}

/* Whether the rule's frames match the stack's; after a mismatch the last ... takes one more. */
static bool frames_match(const struct rule *r, const struct vt_frame_text *f, size_t n)
{
	size_t i = 0, k = 0, after_any = SIZE_MAX, any_to = 0;

	while (i < r->n) {
		if (r->frames[i].type == FRAME_ANY) {
			after_any = ++i;
			any_to = k;
		} else if (k < n && frame_matches(&r->frames[i], &f[k])) {
			i++;
			k++;
		} else if (after_any != SIZE_MAX && any_to < n) {
			i = after_any;
			k = ++any_to;
		} else {
			return false;
		}
	}
	return true;
}

static bool matches(const struct rule *r, const struct vt_finding *n, const struct vt_why_entry *e)
{
	return fnmatch(r->kind, vt_find_kinds[n->kind].name, 0) == 0 &&
	       frames_match(r, e ? e->frames : NULL, e ? e->n_frames : 0);
}

size_t vt_suppress(const struct vt_suppressions *s, struct vt_find *f, const struct vt_story *story)
{
	size_t kept = 0, all = f->n;

	for (size_t i = 0; i < all; i++) {
		const struct vt_why_entry *e = vt_story_find(story, f->found[i].seq);
		bool quiet = false;
		for (size_t k = 0; s && !quiet && k < s->n; k++)
			quiet = matches(&s->rules[k], &f->found[i], e);
		if (!quiet)
			f->found[kept++] = f->found[i];
	}
	f->n = kept;
	return all - kept;
}

static void print_rule(FILE *out, const struct vt_finding *n, const struct vt_why_entry *e)
{
	fprintf(out, "{\n   <%s of #%llu>\n   " TOOL "%s\n", vt_find_kinds[n->kind].name,
		(unsigned long long)n->seq, vt_find_kinds[n->kind].name);
	for (size_t i = 0; e && i < e->n_frames && i < MOST_FRAMES; i++) {
		const struct vt_frame_text *f = &e->frames[i];
		if (f->function)
			fprintf(out, "   fun:%s\n", f->function);
		else
			fprintf(out, "   obj:%s\n", *f->path ? f->path : f->module);
	}
	fputs("}\n", out);
}

size_t vt_suppressions_print(FILE *out, const struct vt_find *f, const struct vt_story *story,
			     enum vt_severity least)
{
	size_t serious = 0;

	for (size_t i = 0; i < f->n; i++) {
		const struct vt_finding *n = &f->found[i];
		serious += n->severity >= VT_SEVERITY_WARNING;
		if (n->severity >= least)
			print_rule(out, n, vt_story_find(story, n->seq));
	}
	return serious;
}
