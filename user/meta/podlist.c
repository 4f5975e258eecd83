/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of a few hundred pods is megabytes of JSON, and its tree of nodes ten times that: too much
 * for a program that has 14 MiB. So the text is only followed by its brackets and quotes, and cut:
 *
 *   {"kind":"PodList","metadata":{…},"items":[{…},{…},{…}]}
 *   \________________ top __________________/ pod, pod, pod \/ top
 *
 * Each pod's piece is parsed by itself as soon as it is whole, reduced to what is kept of it (meta/
 * pod.c) and dropped; the rest, with an empty array in their place, is parsed at the page's end.
 * That the cuts are right need not be known: a piece that is no JSON by itself fails the page.
 *
 * Rejected: jansson for the whole text (above); its callbacks, which give it the text in pieces but
 * still make one tree; a parser of our own, for what the cuts do in thirty lines.
 */
#include "meta/podlist.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/sys.h"

struct podlist {
	const struct pod_choice *choice;
	struct table by_uid, by_hash, by_name;
	struct podlist_stats stats;
	size_t kept_bytes;
	struct buf top, pod; /* texts in the making */
	char *next;
	int depth;
	unsigned values; /* of the pod: its commas and opening brackets */
	bool quoted, escaped;
	bool in_items, first, large; /* first: no comma yet; large: this pod is not wanted */
};

int podlist_new(const struct pod_choice *choice, struct podlist **ret_list)
{
	struct podlist *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->choice = choice;
	*ret_list = l;
	return 0;
}

void podlist_free(struct podlist *l)
{
	struct table_node *n, *next;

	if (!l)
		return;
	for (n = table_walk(&l->by_uid, NULL); n; n = next) {
		next = table_walk(&l->by_uid, n);
		free(container_of(n, struct pod, by_uid));
	}
	table_done(&l->by_uid);
	table_done(&l->by_hash);
	table_done(&l->by_name);
	buf_done(&l->top);
	buf_done(&l->pod);
	free(l->next);
	free(l);
}

/* A static pod can be in the list a second time, as the API server knows it: then its hash is
 * taken, and only its UID must be its own. */
static int index_pod(struct podlist *l, struct pod *p)
{
	int r = table_add(&l->by_uid, &p->by_uid, p->uid, strlen(p->uid));

	if (r < 0)
		return r;
	if (*p->hash)
		r = table_add(&l->by_hash, &p->by_hash, p->hash, strlen(p->hash));
	if (r == 0 || r == -EEXIST)
		r = table_add(&l->by_name, &p->by_name, p->name, strlen(p->name));
	return r == -EEXIST ? 0 : r;
}

static void unindex_pod(struct podlist *l, struct pod *p)
{
	table_del(&l->by_uid, &p->by_uid);
	table_del(&l->by_hash, &p->by_hash);
	table_del(&l->by_name, &p->by_name);
}

/* Takes p. */
static int add_pod(struct podlist *l, struct pod *p)
{
	int r = index_pod(l, p);

	if (r < 0) {
		unindex_pod(l, p);
		free(p);
		l->stats.skipped += r == -EEXIST;
		return r == -EEXIST ? 0 : r;
	}
	l->kept_bytes += p->size;
	l->stats.pods++;
	l->stats.left_out += p->left_out;
	return 0;
}

static bool is_blank(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (!strchr(" \t\r\n", b->data[i]) || !b->data[i])
			return false;
	return true;
}

/* The text of one element of items is whole; last: it is the array's. */
static int pod_take(struct podlist *l, bool last, const char **ret_why)
{
	struct pod *p = NULL;
	json_t *object;
	int r;

	if (last && l->first && !l->large && is_blank(&l->pod))
		return 0;
	l->first = false;
	l->values = 0;
	if (l->stats.pods + l->stats.skipped >= PODLIST_PODS_MAX) {
		*ret_why = "it has too many pods";
		return -EFBIG;
	}
	if (l->large || l->kept_bytes > PODLIST_KEPT_MAX) {
		l->stats.skipped++;
		l->large = false;
		l->pod.len = 0;
		return 0;
	}
	object = json_loadb(l->pod.data ? l->pod.data : "", l->pod.len, JSON_ALLOW_NUL, NULL);
	l->pod.len = 0;
	if (!json_is_object(object)) {
		json_decref(object);
		*ret_why = "one of its items is no JSON object";
		return -EBADMSG;
	}
	r = pod_new(object, l->choice, &p);
	json_decref(object);
	if (r == -EBADMSG)
		l->stats.skipped++;
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	return add_pod(l, p);
}

static int put(struct podlist *l, const char *text, size_t len, const char **ret_why)
{
	if (!l->in_items) {
		if (l->top.len + len > PODLIST_TOP_MAX) {
			*ret_why = "it has too much that is no pod";
			return -EFBIG;
		}
		return len ? buf_add(&l->top, text, len) : 0;
	}
	if (l->pod.len + len > PODLIST_POD_MAX)
		l->large = true;
	return len && !l->large ? buf_add(&l->pod, text, len) : 0;
}

/* The array that begins now is the value of "items". */
static bool at_items(const struct podlist *l)
{
	static const char key[] = "\"items\"";
	const char *end = l->top.data + l->top.len, *p = end;

	while (p > l->top.data && strchr(" \t\r\n:", p[-1]) && p[-1])
		p--;
	if (p == end || (size_t)(p - l->top.data) < sizeof(key))
		return false;
	p -= sizeof(key) - 1;
	return memcmp(p, key, sizeof(key) - 1) == 0 && p[-1] != '\\' &&
	       memchr(p + sizeof(key) - 1, ':', (size_t)(end - p) - (sizeof(key) - 1));
}

static int open_bracket(struct podlist *l, const char *text, size_t *from, size_t i,
			const char **ret_why)
{
	int r = 0;

	if (l->depth == 1 && text[i] == '[') {
		r = put(l, text + *from, i - *from, ret_why);
		*from = i;
		if (r == 0 && at_items(l)) {
			r = put(l, text + i, 1, ret_why);
			l->in_items = l->first = true;
			*from = i + 1;
		}
	}
	l->depth++;
	return r;
}

static int close_bracket(struct podlist *l, const char *text, size_t *from, size_t i,
			 const char **ret_why)
{
	int r = 0;

	if (l->depth-- == 0) {
		*ret_why = "it goes on behind its end";
		return -EBADMSG;
	}
	if (l->in_items && l->depth == 1) {
		r = put(l, text + *from, i - *from, ret_why);
		if (r == 0)
			r = pod_take(l, true, ret_why);
		l->in_items = false;
		*from = i;
	}
	return r;
}

/* text[i], outside a string. text[from..i) is not yet put anywhere. */
static int follow(struct podlist *l, const char *text, size_t *from, size_t i, const char **ret_why)
{
	int r = 0;

	if (l->in_items && (text[i] == ',' || text[i] == '{' || text[i] == '[') &&
	    ++l->values > PODLIST_VALUES_MAX)
		l->large = true;
	switch (text[i]) {
	case '"':
		l->quoted = true;
		return 0;
	case '{':
	case '[':
		return open_bracket(l, text, from, i, ret_why);
	case '}':
	case ']':
		return close_bracket(l, text, from, i, ret_why);
	case ',':
		if (!l->in_items || l->depth != 2)
			return 0;
		r = put(l, text + *from, i - *from, ret_why);
		*from = i + 1;
		return r < 0 ? r : pod_take(l, false, ret_why);
	default:
		return 0;
	}
}

int podlist_read(struct podlist *l, const char *text, size_t len, const char **ret_why)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		int r = 0;

		if (l->escaped)
			l->escaped = false;
		else if (l->quoted && text[i] == '\\')
			l->escaped = true;
		else if (l->quoted)
			l->quoted = text[i] != '"';
		else
			r = follow(l, text, &from, i, ret_why);
		if (r < 0)
			return r;
	}
	return put(l, text + from, len - from, ret_why);
}

static int page_take(struct podlist *l, const json_t *page, const char **ret_why)
{
	const json_t *kind = json_object_get(page, "kind"), *items = json_object_get(page, "items");
	const json_t *next = json_object_get(json_object_get(page, "metadata"), "continue");
	const char *name = json_string_value(kind);

	if (!name || strcmp(name, "PodList") != 0 ||
	    (!json_is_array(items) && !json_is_null(items)) || json_array_size(items)) {
		*ret_why = "it is no PodList";
		return -EBADMSG;
	}
	free(l->next);
	l->next = NULL;
	if (!json_string_length(next))
		return 0;
	if (json_string_length(next) > PODLIST_TOKEN_MAX) {
		*ret_why = "its continue token is too long";
		return -EFBIG;
	}
	l->next = strdup(json_string_value(next));
	return l->next ? 0 : -ENOMEM;
}

int podlist_end(struct podlist *l, const char **ret_next, const char **ret_why)
{
	json_t *page;
	int r;

	if (l->depth || l->quoted || is_blank(&l->top)) {
		*ret_why = "it is cut short";
		return -EBADMSG;
	}
	page = json_loadb(l->top.data, l->top.len, 0, NULL);
	l->top.len = 0;
	if (!page) {
		*ret_why = "it is no JSON";
		return -EBADMSG;
	}
	r = page_take(l, page, ret_why);
	json_decref(page);
	if (r == 0)
		*ret_next = l->next;
	return r;
}

struct pod *podlist_find(const struct podlist *l, const char *uid, size_t len)
{
	struct table_node *n = table_get(&l->by_uid, uid, len);

	if (n)
		return container_of(n, struct pod, by_uid);
	n = table_get(&l->by_hash, uid, len);
	return n ? container_of(n, struct pod, by_hash) : NULL;
}

struct pod *podlist_find_name(const struct podlist *l, const char *ns, size_t ns_len,
			      const char *name, size_t name_len)
{
	char key[2 * POD_NAME_MAX + 1];
	struct table_node *n;

	if (ns_len > POD_NAME_MAX || name_len > POD_NAME_MAX)
		return NULL;
	memcpy(key, ns, ns_len);
	key[ns_len] = '/';
	memcpy(key + ns_len + 1, name, name_len);
	n = table_get(&l->by_name, key, ns_len + 1 + name_len);
	return n ? container_of(n, struct pod, by_name) : NULL;
}

void podlist_move(struct podlist *from, struct podlist *to, struct pod *p)
{
	unindex_pod(from, p);
	if (index_pod(to, p) == 0)
		return;
	unindex_pod(to, p);
	index_pod(from, p); /* where there was room for it */
}

void podlist_stats(const struct podlist *l, struct podlist_stats *ret_stats)
{
	*ret_stats = l->stats;
}
