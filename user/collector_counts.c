/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs in the kernel tell: files that were written to before anybody had them open,
 * and files that have more to read (collector_armed.c).
 *
 *   dirs        the tree's directories, whose files enrol themselves; by kernel id, and by path as
 *               the tree's tags
 *   newcomers   enrolled files by their kernel id, with the path they had then: their directory may
 *               be gone when it turns out that nobody could open them
 *   notices     paths of files counted as vanished a moment ago: such a file's bytes belong to an
 *               event that has been counted
 *
 * A newcomer's name is handed on as if it had been listed. inotify tells of it as well, in most
 * cases, and files/births.c knows what to do with the second message. Those that nobody opened
 * expire, and what was written to them is lost.
 *
 * Rejected: the newcomer's slot as its key (what a program took again cannot be told from what it
 * was), asking each second what the counters of all files say (the sum of them grows with the
 * node).
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/prefetch.h"
#include "base/sys.h"
#include "base/table.h"
#include "collector_armed.h"
#include "collector_changes.h"
#include "collector_counts.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_state.h"
#include "config.h"
#include "files/files.h"
#include "heat/warm_reads.h"
#include "heat/write_told.h"
#include "watch/tree.h"

#define EXPIRE_NS    (3 * NS_PER_SEC)
#define REMEMBER_NS  (15 * NS_PER_SEC) /* longer than until a newcomer expires */
#define REMEMBER_MAX 65536
#define SOURCE_BYTES 192 /* of struct source, with a path as the kubelet makes them */

struct id_key {
	uint32_t dev, gen; /* gen 0: a directory */
	uint64_t ino;
};

struct counted_dir {
	struct table_node by_id;
	struct id_key key;
	const char *path; /* the tree's, until it says that the directory is removed */
	unsigned listed;  /* in this round of newcomers */
};

/* A newcomer by id, or a notice by path. */
struct memory {
	struct table_node node;
	struct list in_list;
	int64_t since_ns;
	struct id_key key;
	unsigned n; /* notices that no expired file has answered */
	char path[];
};

struct memories {
	struct table table;
	struct list list; /* oldest first */
};

struct counted {
	struct table dirs;
	struct memories newcomers, notices;
	struct buf names; /* newcomers to look for: directory NUL name NUL ("": not known) */
	unsigned round;
	int64_t expire_ns; /* when next */
	struct counts_stats stats;
};

static dev_t dev_of(uint32_t kernel_dev)
{
	return makedev(kernel_dev >> 20, kernel_dev & 0xfffff);
}

static void dir_forget(struct collector *c, struct counted_dir *d)
{
	*tree_tag(c->tree, d->path) = NULL;
	table_del(&c->counted->dirs, &d->by_id);
	free(d);
}

static struct counted_dir *dir_at(const struct collector *c, const char *path)
{
	void **tag = tree_tag(c->tree, path);

	return tag ? *tag : NULL;
}

static struct counted_dir *dir_of(const struct counted *cd, const struct write_id *id)
{
	struct id_key key = {.dev = id->dev, .ino = id->ino};
	struct table_node *n = table_get(&cd->dirs, &key, sizeof(key));

	return n ? container_of(n, struct counted_dir, by_id) : NULL;
}

void collector_dir_removed(void *ctx, const char *path)
{
	struct collector *c = ctx;
	struct counted_dir *d = c->counted ? dir_at(c, path) : NULL;

	if (!d)
		return;
	write_count_del_dir(c->counts, &(struct write_id){d->key.dev, d->key.ino});
	dir_forget(c, d);
}

/* A moved directory is added at its new path before or after it is removed at the old one. */
static void dir_new(struct collector *c, const char *path, const struct write_id *id)
{
	struct counted_dir *d = dir_of(c->counted, id);

	if (d)
		dir_forget(c, d);
	d = calloc(1, sizeof(*d));
	if (!d)
		return; /* what enrols there is found by the other ways */
	d->key = (struct id_key){.dev = id->dev, .ino = id->ino};
	d->path = path;
	*tree_tag(c->tree, path) = d;
	if (table_add(&c->counted->dirs, &d->by_id, &d->key, sizeof(d->key)) < 0)
		dir_forget(c, d);
}

/* Its id is what fstat says of it. */
void collector_dir_added(void *ctx, const char *path, int fd)
{
	struct collector *c = ctx;
	struct counted_dir *d;
	struct write_id id;
	struct stat st;

	if (!c->counted)
		return;
	d = dir_at(c, path);
	if (d && sys.fstat(fd, &st) < 0)
		return;
	if (d && dev_of(d->key.dev) == st.st_dev && d->key.ino == st.st_ino)
		return;
	if (d)
		collector_dir_removed(c, path);
	if (write_count_add_dir(c->counts, fd, &id) == 0)
		dir_new(c, path, &id);
}

void collector_dirs_known(struct collector *c)
{
	if (c->counted)
		write_count_dirs_known(c->counts);
}

static void memory_forget(struct memories *ms, struct memory *m)
{
	table_del(&ms->table, &m->node);
	list_del(&m->in_list);
	free(m);
}

static void memories_age(struct memories *ms, int64_t before_ns)
{
	list_for_each (l, next, &ms->list) {
		struct memory *m = container_of(l, struct memory, in_list);

		if (m->since_ns > before_ns && ms->table.count <= REMEMBER_MAX)
			return;
		memory_forget(ms, m);
	}
}

/* key NULL: by its path. Takes the place of an older one. NULL: no memory. */
static struct memory *memory_new(struct memories *ms, const char *path, const struct id_key *key)
{
	size_t len = strlen(path);
	struct memory *m = calloc(1, sizeof(*m) + len + 1);
	struct table_node *old;

	if (!m)
		return NULL;
	memcpy(m->path, path, len);
	m->since_ns = clock_now_ns();
	if (key)
		m->key = *key;
	old = key ? table_get(&ms->table, key, sizeof(*key)) : table_get(&ms->table, path, len);
	if (old)
		memory_forget(ms, container_of(old, struct memory, node));
	memories_age(ms, m->since_ns - REMEMBER_NS);
	list_add_tail(&ms->list, &m->in_list);
	if (table_add(&ms->table, &m->node, key ? (void *)&m->key : m->path,
		      key ? sizeof(m->key) : len) == 0)
		return m;
	memory_forget(ms, m);
	return NULL;
}

static struct memory *memory_get(const struct memories *ms, const void *key, size_t len)
{
	struct table_node *n = table_get(&ms->table, key, len);

	return n ? container_of(n, struct memory, node) : NULL;
}

void collector_vanished(void *ctx, const char *path, int by)
{
	struct collector *c = ctx;
	struct memory *m;

	collector_all_changed(c); /* a log's account, or that of no log */
	if (!c->counted)
		return;
	m = memory_get(&c->counted->notices, path, strlen(path));
	if (!m && by > 0)
		m = memory_new(&c->counted->notices, path, NULL);
	if (m && (by > 0 || m->n))
		m->n += (unsigned)by;
}

/* Of what enrolled, its path; false when that is not known, or is not that of a log. */
static bool path_of(struct collector *c, const struct write_enrolled *e, char *path)
{
	const struct counted_dir *d = dir_of(c->counted, &e->dir);

	return d && *e->name &&
	       snprintf(path, PATH_MAX, "%s/%s", strcmp(d->path, "/") == 0 ? "" : d->path,
			e->name) < PATH_MAX &&
	       tree_wants(c->tree, path) && !files_ignores(c->files, path);
}

static struct id_key key_of(const struct write_enrolled *e)
{
	return (struct id_key){.dev = e->file.dev, .gen = e->gen, .ino = e->file.ino};
}

static void enrolled(void *ctx, const struct write_enrolled *e)
{
	struct collector *c = ctx;
	const struct counted_dir *d = dir_of(c->counted, &e->dir);
	struct buf *names = &c->counted->names;
	size_t before = names->len;
	struct id_key key = key_of(e);
	char path[PATH_MAX];

	c->counted->stats.enrolled++;
	if (!d || (*e->name && !path_of(c, e, path)))
		return;
	if (*e->name)
		memory_new(&c->counted->newcomers, path, &key);
	if (buf_add(names, d->path, strlen(d->path) + 1) < 0 ||
	    buf_add(names, e->name, strlen(e->name) + 1) < 0)
		names->len = before;
}

/* What a visit needs of a file; then, when that is there, what it points to, and what the kernel
 * needs. */
static void prefetch(void *const *owners, size_t n, struct warm_reads *warm)
{
	for (size_t i = 0; i < n; i++)
		cache_prefetch(owners[i], offsetof(struct file, in_open));
	for (size_t i = 0; i < n; i++) {
		const struct file *f = owners[i];

		cache_prefetch(f->chain, offsetof(struct chain, by_key));
		cache_prefetch(f->source, SOURCE_BYTES);
		warm_reads_add(warm, f->fd, f->offset);
	}
	warm_reads_run(warm);
}

static void woken(void *ctx, void *const *owners, size_t n)
{
	struct collector *c = ctx;

	c->counted->stats.woken += n;
	prefetch(owners, n, c->warm);
	for (size_t i = 0; i < n; i++)
		collector_wake(c, owners[i]);
}

/* Each directory is listed once: after the last of these records. */
static void look_for_newcomers(struct collector *c)
{
	_cleanup_(buf_done) struct buf names = c->counted->names;
	const char *dir, *name;

	c->counted->names = (struct buf){0};
	c->counted->round++;
	for (size_t at = 0; at < names.len; at += strlen(dir) + strlen(name) + 2) {
		struct counted_dir *d;

		dir = names.data + at;
		name = dir + strlen(dir) + 1;
		d = dir_at(c, dir);
		if (!d || d->listed == c->counted->round || !tree_look(c->tree, dir, name))
			continue;
		d = dir_at(c, dir); /* looking can change the tree */
		if (d)
			d->listed = c->counted->round;
	}
}

void collector_take_counts(struct collector *c)
{
	struct write_hooks_user hooks = {.ctx = c, .woken = woken, .enrolled = enrolled};

	if (!c->counted)
		return;
	write_count_take(c->counts, &hooks);
	if (c->counted->names.len)
		look_for_newcomers(c);
}

void collector_lose_bytes(struct collector *c, const char *path, uint64_t bytes)
{
	struct memory *m = memory_get(&c->counted->notices, path, strlen(path));

	collector_all_changed(c);
	files_lost_unseen(c->files, path, bytes, m && m->n);
	m = memory_get(&c->counted->notices, path, strlen(path)); /* its own, if there was none */
	if (m && m->n)
		m->n--;
}

static bool is_there(const char *path, struct file_id id)
{
	struct stat st;

	return sys.lstat(path, &st) == 0 && st.st_dev == id.dev && st.st_ino == id.ino;
}

static void expired(void *ctx, const struct write_enrolled *e)
{
	struct collector *c = ctx;
	struct id_key key = key_of(e);
	struct memory *m = memory_get(&c->counted->newcomers, &key, sizeof(key));
	struct file_id id = {dev_of(e->file.dev), e->file.ino};
	char path[PATH_MAX];
	uint64_t bytes;

	c->counted->stats.expired++;
	if (m)
		snprintf(path, sizeof(path), "%s", m->path);
	else if (!path_of(c, e, path))
		return;
	if (m)
		memory_forget(&c->counted->newcomers, m);
	if (!e->reused && (is_there(path, id) || files_knows(c->files, id)))
		return; /* it cannot be opened now, or has no counter */
	bytes = e->written > e->acked ? e->written - e->acked : 0;
	if (!bytes)
		return; /* all of it was delivered */
	collector_changed(c, clock_now_ns());
	if (e->before) /* came and went while nobody was there to be told */
		collector_lose(c, path, strlen(path), LOST_ROTATED_AWAY, bytes);
	else
		collector_lose_bytes(c, path, bytes);
}

void collector_expire_counts(struct collector *c, int64_t now_ns)
{
	struct write_hooks_user hooks = {.ctx = c, .expired = expired};

	if (!c->counted || now_ns < c->counted->expire_ns || !collector_resume_judged(c))
		return; /* what an earlier process had is asked for by then */
	write_count_expire(c->counts, now_ns == INT64_MAX ? 0 : EXPIRE_NS, &hooks);
	c->counted->expire_ns = now_ns == INT64_MAX ? now_ns : now_ns + EXPIRE_NS;
}

void collector_counts_stats(const struct collector *c, struct counts_stats *ret_stats)
{
	*ret_stats = c->counted ? c->counted->stats : (struct counts_stats){0};
}

static bool may_wake(enum rung rung)
{
	return rung != RUNG_KPROBE && rung != RUNG_OFF;
}

int collector_open_counts(struct collector *c)
{
	const char *pin = c->cfg->bpf_pin;
	int r = may_wake(c->cfg->bpf) ? warm_reads_new(&c->warm) : -EOPNOTSUPP;

	log_debug("bpf: reads are %s%s", r < 0 ? "not warmed: " : "warmed",
		  r < 0 ? strerror(-r) : "");
	r = write_count_new(c->cfg->bpf, c->cfg->files_max, strcmp(pin, "none") != 0 ? pin : NULL,
			    &c->counts);
	if (r == -EBUSY)
		return log_err(r, "bpf.pin %s: in use by another hotdrain", pin);
	if (r < 0)
		return log_err(r, "bpf: %s", strerror(-r));
	if (!may_wake(write_count_rung(c->counts)))
		c->warm = warm_reads_free(c->warm);
	if (write_count_rung(c->counts) == RUNG_OFF)
		return 0;
	c->counted = calloc(1, sizeof(*c->counted));
	if (!c->counted)
		return log_err(-ENOMEM, "bpf: %s", strerror(ENOMEM));
	list_init(&c->counted->newcomers.list);
	list_init(&c->counted->notices.list);
	return 0;
}

static void memories_done(struct memories *ms)
{
	memories_age(ms, INT64_MAX);
	table_done(&ms->table);
}

void collector_close_counts(struct collector *c)
{
	struct counted *cd = c->counted;
	struct table_node *n;

	write_count_free(c->counts);
	warm_reads_free(c->warm);
	if (!cd)
		return;
	while ((n = table_walk(&cd->dirs, NULL))) { /* the tree and its tags are gone */
		table_del(&cd->dirs, n);
		free(container_of(n, struct counted_dir, by_id));
	}
	table_done(&cd->dirs);
	memories_done(&cd->newcomers);
	memories_done(&cd->notices);
	buf_done(&cd->names);
	free(cd);
}
