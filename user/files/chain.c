/* SPDX-License-Identifier: Apache-2.0 */
#include "files/chain.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "event/labels.h"
#include "event/source.h"
#include "files/file.h"
#include "files/files_impl.h"
#include "files/pod_path.h"
#include "output/batch.h"

#define DATE_LEN 8 /* 20261121 */

/* worker.1 and worker.2 are generations only if there is, or was, a worker; a pod's 0.log.DATE is.
 */
static size_t live_len(const struct table *chains, const char *path, const char *name)
{
	size_t len = (size_t)(name - path) + pod_path_live_len(name);
	struct pod_path pod;
	char live[PATH_MAX];
	struct stat st;

	if (path[len] == '\0' || table_get(chains, path, len) || pod_path_parse(path, &pod))
		return len;
	snprintf(live, sizeof(live), "%.*s", (int)len, path);
	return sys.lstat(live, &st) == 0 || errno != ENOENT ? len : strlen(path);
}

static int chain_new(struct table *chains, const char *path, size_t len, struct source *source,
		     struct chain **ret_chain)
{
	struct chain *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	list_init(&c->queue);
	if (source && source->path_len == len && memcmp(source->path, path, len) == 0)
		c->named = source_ref(source);
	c->key = c->named ? c->named->path : strndup(path, len);
	r = c->key ? table_add(chains, &c->by_key, c->key, len) : -ENOMEM;
	if (r < 0) {
		chain_free(chains, c);
		return r;
	}
	*ret_chain = c;
	return 0;
}

int chain_get(struct table *chains, const char *path, struct source *source,
	      struct chain **ret_chain)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t len = live_len(chains, path, name);
	struct table_node *n = table_get(chains, path, len);

	if (!n)
		return chain_new(chains, path, len, source, ret_chain);
	*ret_chain = container_of(n, struct chain, by_key);
	list_del(&(*ret_chain)->in_empty);
	return 0;
}

void chain_free(struct table *chains, struct chain *c)
{
	list_del(&c->in_empty);
	table_del(chains, &c->by_key);
	if (!c->named)
		free(c->key);
	source_unref(c->named);
	labels_unref(c->labels);
	free(c->alias);
	free(c->joins);
	free(c->cut);
	free(c);
}

int chain_make_joins(struct chain *c)
{
	c->joins = calloc(BATCH_STREAMS, sizeof(*c->joins));
	c->n_joins = c->joins ? BATCH_STREAMS : 0;
	return c->joins ? 0 : -ENOMEM;
}

static int64_t mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
}

/* The part of a rotated name that counts: T of 0.log.T and 0.log.T.gz. Its length is *ret_len. */
static const char *stamp(const struct chain *c, const char *path, size_t *ret_len)
{
	size_t skip = strlen(c->key), len = path ? strlen(path) : 0;

	if (len <= skip + 1)
		return NULL;
	if (len > skip + 3 && strcmp(path + len - 3, ".gz") == 0)
		len -= 3;
	*ret_len = len - skip - 1;
	return path + skip + 1;
}

/* What two rotated names say: -1 a is older, 1 b is, 0 nothing. Numbers count down to the youngest,
 * dates go up. */
static int compare_names(const struct chain *c, const char *a, const char *b)
{
	size_t a_len, b_len;
	const char *x = stamp(c, a, &a_len), *y = stamp(c, b, &b_len);
	int order;

	if (!x || !y)
		return 0;
	order = strncmp(x, y, MIN(a_len, b_len));
	if (a_len >= DATE_LEN && b_len >= DATE_LEN)
		return order ? order : (a_len > b_len) - (a_len < b_len);
	if (strspn(x, "0123456789") < a_len || strspn(y, "0123456789") < b_len)
		return 0;
	return a_len != b_len ? (a_len < b_len) - (a_len > b_len) : -order;
}

/* Was o rotated away no later than f? By the last write, as each rotator counts names its own way;
 * but that of a compressed file can be its compression, and several rotations can fall into one
 * tick of the clock that stamps files (4 ms): then by their names. */
static bool older(const struct file *o, const struct file *f, const struct stat *st)
{
	int names = compare_names(f->chain, o->path, f->path);
	struct stat other;
	int64_t difference;

	if (names && (o->compressed || f->compressed))
		return names < 0;
	if (file_stat(o, &other) < 0)
		return false;
	difference = mtime_ns(&other) - mtime_ns(st);
	return difference ? difference < 0 : names < 0;
}

/* Is o behind whatever has a rotated name? The live one, unless it has one by now and the event
 * that says so is under way. A compressed generation is never the younger one. */
static bool is_last(const struct chain *c, const struct file *o, const struct file *f)
{
	return o == c->live && (f->compressed || (o->path && file_is_at(o, o->path)));
}

void chain_insert(struct chain *c, struct file *f, const struct stat *st)
{
	struct list *pos = c->queue.prev;

	if (strcmp(f->path, c->key) != 0) {
		for (; pos != &c->queue; pos = pos->prev) {
			struct file *o = container_of(pos, struct file, in_chain);

			/* Behind the first that is not younger; never before one that was begun. */
			if (!is_last(c, o, f) && (o->offset > 0 || older(o, f, st)))
				break;
		}
	}
	list_add_after(pos, &f->in_chain);
}

void chain_set_live(struct chain *c, struct file *f)
{
	f->displaced = f->lingering = false;
	c->live = f;
	c->had_live = true;
	f->after_gap = f->after_gap || c->gap;
	c->gap = false;
	list_del(&f->in_chain);
	list_add_tail(&c->queue, &f->in_chain);
}
