/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three tables (inode, name, watch) over the open files, and one of chains. A rename is a name lost
 * and a name found with an inode that is known: no pairing of events is needed, and a half that got
 * lost in an overflow costs nothing, because files_verify drops stale names and the rescan finds
 * the new ones.
 *
 * Order of a chain: rotated generations by modification time (the last write of an older one is
 * older), the live one always last. Rejected: the order of the rotated names, which each rotator
 * counts its own way (0.log.TIMESTAMP upwards, app.log.N downwards).
 *
 * A file without any name is forgotten only some seconds after it was drained: its new name may
 * still be on its way, and found as a stranger it would be read twice.
 */
#include "files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "files/chain.h"
#include "files/pod_path.h"

#define NAMELESS_NS (8 * NS_PER_SEC) /* longer than until the rescan that it asks for */

struct excluded {
	struct table_node by_id;
	struct file_id id;
};

struct files {
	struct files_hooks hooks;
	struct table by_id, by_path, by_wd, chains, excluded;
	char *excluded_uid; /* "_UID/" */
	bool starting, skip_existing, retry;
	size_t cursor;
	struct log_limit limit;
	struct files_stats stats;
};

int files_new(const struct files_hooks *hooks, struct files **ret_files)
{
	struct files *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return -ENOMEM;
	fs->hooks = *hooks;
	*ret_files = fs;
	return 0;
}

static void release_visit(void *ctx, struct file *f)
{
	f->inflight = 0;
	files_release(ctx, f);
}

void files_free(struct files *fs)
{
	struct table_node *n;

	if (!fs)
		return;
	files_each(fs, release_visit, fs);
	while ((n = table_walk(&fs->excluded, NULL))) {
		table_del(&fs->excluded, n);
		free(container_of(n, struct excluded, by_id));
	}
	table_done(&fs->by_id);
	table_done(&fs->by_path);
	table_done(&fs->by_wd);
	table_done(&fs->chains);
	table_done(&fs->excluded);
	free(fs->excluded_uid);
	free(fs);
}

void files_start(struct files *fs, bool skip_existing)
{
	fs->starting = true;
	fs->skip_existing = skip_existing;
}

void files_started(struct files *fs)
{
	fs->starting = false;
}

int files_exclude(struct files *fs, struct file_id id)
{
	struct excluded *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->id = id;
	r = table_add(&fs->excluded, &e->by_id, &e->id, sizeof(e->id));
	if (r < 0)
		free(e);
	return r == -EEXIST ? 0 : r;
}

void files_exclude_uid(struct files *fs, const char *uid)
{
	free(fs->excluded_uid);
	if (asprintf(&fs->excluded_uid, "_%s/", uid) < 0)
		fs->excluded_uid = NULL;
}

static struct file *file_at(const struct files *fs, const char *path)
{
	struct table_node *n = table_get(&fs->by_path, path, strlen(path));

	return n ? container_of(n, struct file, by_path) : NULL;
}

static struct file *file_of(const struct files *fs, struct file_id id)
{
	struct table_node *n = table_get(&fs->by_id, &id, sizeof(id));

	return n ? container_of(n, struct file, by_id) : NULL;
}

static struct file_id id_of(const struct stat *st)
{
	return (struct file_id){st->st_dev, st->st_ino};
}

static void set_displaced(struct file *f)
{
	if (f->displaced)
		return;
	f->displaced = true;
	f->displaced_ns = clock_now_ns();
}

static void lose_name(struct files *fs, struct file *f)
{
	struct stat st;

	table_del(&fs->by_path, &f->by_path);
	free(take_ptr(f->path));
	set_displaced(f);
	if (sys.fstat(f->fd, &st) == 0) {
		f->unlinked = st.st_nlink == 0;
		f->size = MAX(f->size, (uint64_t)st.st_size);
		if (f->chain->live == f)
			f->chain->rotate_bytes = (uint64_t)st.st_size;
	}
	if (f->chain->live == f)
		f->chain->live = NULL;
	fs->hooks.look(fs->hooks.ctx, f);
}

static int set_name(struct files *fs, struct file *f, const char *path)
{
	struct file *other = file_at(fs, path);

	if (other)
		lose_name(fs, other);
	f->path = strdup(path);
	if (!f->path)
		return -ENOMEM;
	return table_add(&fs->by_path, &f->by_path, f->path, strlen(f->path));
}

static void take_place(struct files *fs, struct file *f)
{
	if (strcmp(f->path, f->chain->key) == 0)
		chain_set_live(f->chain, f);
	else
		set_displaced(f);
}

/* Does path lead to f? An event may be about the inode that had the name before. */
static bool leads_to(const char *path, const struct file *f)
{
	struct file_id id;
	struct stat st;

	if (sys.lstat(path, &st) < 0)
		return false;
	id = id_of(&st);
	return memcmp(&id, &f->id, sizeof(id)) == 0;
}

/* A known inode has shown up under a name that is not the one we know it by. */
static void rename_known(struct files *fs, struct file *f, const char *path)
{
	if (f->path) {
		if (leads_to(f->path, f))
			return; /* a second hard link */
		table_del(&fs->by_path, &f->by_path);
		free(take_ptr(f->path));
		if (f->chain->live == f)
			f->chain->live = NULL;
	}
	if (set_name(fs, f, path) < 0)
		return;
	take_place(fs, f);
	f->unlinked = false;
	fs->hooks.look(fs->hooks.ctx, f);
}

/* Takes fd. */
static int add_new(struct files *fs, const char *path, const char *alias, int fd,
		   const struct stat *st)
{
	struct file *f;
	int r = file_new(fd, st, path, alias, &f);

	if (r < 0)
		return r;
	if (fs->starting && fs->skip_existing)
		file_skip_to_end(f);
	r = chain_get(&fs->chains, path, &f->chain);
	if (r < 0) {
		file_free(f);
		return r;
	}
	f->chain->members++;
	r = set_name(fs, f, path);
	if (r == 0)
		r = table_add(&fs->by_id, &f->by_id, &f->id, sizeof(f->id));
	if (r < 0) {
		table_del(&fs->by_path, &f->by_path);
		chain_put(&fs->chains, f->chain);
		file_free(f);
		return r;
	}
	if (strcmp(path, f->chain->key) == 0 && f->chain->had_live && !fs->starting) {
		f->chain->rotations++;
		fs->stats.rotations++;
	}
	f->maybe_copy = !fs->starting && f->chain->live && strcmp(path, f->chain->key) != 0;
	if (!f->maybe_copy)
		chain_insert(f->chain, f, st);
	take_place(fs, f);
	fs->stats.found++;
	fs->hooks.opened(fs->hooks.ctx, f);
	return 0;
}

static void open_failed(struct files *fs, const char *path, int err)
{
	if (err == ENOENT) {
		fs->stats.vanished++;
		return;
	}
	if (err == ELOOP) /* became a symbolic link meanwhile */
		return;
	fs->stats.unreadable++;
	fs->retry = true;
	if (log_allow(&fs->limit, 10 * NS_PER_SEC))
		log_warn(0, "%s: %s, retrying", path, strerror(err));
}

static void open_new(struct files *fs, const char *path, const char *alias)
{
	_cleanup_fd_ int fd = sys.open_plain(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct file *f;
	struct stat st;
	int r;

	if (fd < 0) {
		open_failed(fs, path, errno);
		return;
	}
	if (sys.fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	f = file_of(fs, id_of(&st)); /* the name changed hands since lstat */
	if (f) {
		if (!f->path || strcmp(f->path, path) != 0)
			rename_known(fs, f, path);
		return;
	}
	r = add_new(fs, path, alias, take_fd(fd), &st);
	if (r < 0)
		log_err(r, "%s: %s, ignoring", path, strerror(-r));
}

bool files_take_retry(struct files *fs)
{
	bool retry = fs->retry;

	fs->retry = false;
	return retry;
}

void files_found(struct files *fs, const char *path, const char *alias)
{
	const char *slash = strrchr(path, '/');
	struct file *at, *f;
	struct file_id id;
	struct stat st;

	if (pod_path_ignored(slash ? slash + 1 : path) ||
	    (fs->excluded_uid && strstr(path, fs->excluded_uid)))
		return;
	at = file_at(fs, path);
	if (sys.lstat(path, &st) < 0) {
		if (errno == ENOENT && !at)
			fs->stats.vanished++;
		return;
	}
	id = id_of(&st);
	if (!S_ISREG(st.st_mode)) {
		if (at)
			lose_name(fs, at);
		return;
	}
	if (table_get(&fs->excluded, &id, sizeof(id)))
		return;
	f = file_of(fs, id);
	if (!f)
		open_new(fs, path, alias);
	else if (f != at)
		rename_known(fs, f, path);
}

void files_gone(struct files *fs, const char *path)
{
	struct file *f = file_at(fs, path);

	if (f && !leads_to(path, f))
		lose_name(fs, f);
}

void files_gone_below(struct files *fs, const char *dir)
{
	size_t len = strlen(dir);
	struct table_node *n = NULL, *next;

	for (n = table_walk(&fs->by_path, NULL); n; n = next) {
		struct file *f = container_of(n, struct file, by_path);

		next = table_walk(&fs->by_path, n);
		if (strncmp(f->path, dir, len) == 0 && f->path[len] == '/')
			lose_name(fs, f);
	}
}

void files_verify(struct files *fs)
{
	struct table_node *n, *next;

	for (n = table_walk(&fs->by_id, NULL); n; n = next) {
		struct file *f = container_of(n, struct file, by_id);
		struct file_id id = {0};
		struct stat st;

		next = table_walk(&fs->by_id, n);
		if (f->path && sys.lstat(f->path, &st) == 0)
			id = id_of(&st);
		if (f->path && memcmp(&id, &f->id, sizeof(id)) != 0)
			lose_name(fs, f);
		else
			fs->hooks.look(fs->hooks.ctx, f);
	}
}

int files_set_wd(struct files *fs, struct file *f, int wd)
{
	int r;

	table_del(&fs->by_wd, &f->by_wd);
	f->wd = wd;
	if (wd < 0)
		return 0;
	r = table_add(&fs->by_wd, &f->by_wd, &f->wd, sizeof(f->wd));
	if (r < 0)
		f->wd = -1;
	return r;
}

struct file *files_by_wd(const struct files *fs, int wd)
{
	struct table_node *n = table_get(&fs->by_wd, &wd, sizeof(wd));

	return n ? container_of(n, struct file, by_wd) : NULL;
}

void files_settle_copy(struct files *fs, struct file *f, bool resumed)
{
	struct stat st;

	f->maybe_copy = false;
	if (resumed && f->chain->live)
		list_add_after(f->chain->live->in_chain.prev, &f->in_chain);
	else if (f->path && sys.fstat(f->fd, &st) == 0)
		chain_insert(f->chain, f, &st);
	fs->hooks.look(fs->hooks.ctx, f);
}

bool file_leaves(const struct file *f)
{
	return f->unlinked ||
	       (!f->path && f->sought && clock_now_ns() - f->displaced_ns > NAMELESS_NS);
}

void files_finish(struct files *fs, struct file *f)
{
	list_del(&f->in_chain);
	f->lingering = false;
	if (file_leaves(f)) {
		files_release(fs, f);
	} else if (!f->path && !f->sought) {
		f->sought = fs->retry =
			true; /* a second hard link, or a rename whose event was lost */
		f->displaced_ns = clock_now_ns();
	}
}

void files_linger(struct files *fs, struct file *f)
{
	list_del(&f->in_chain);
	f->lingering = true;
}

void files_release(struct files *fs, struct file *f)
{
	struct chain *c = f->chain;

	fs->hooks.released(fs->hooks.ctx, f);
	files_set_wd(fs, f, -1);
	table_del(&fs->by_path, &f->by_path);
	table_del(&fs->by_id, &f->by_id);
	list_del(&f->in_chain);
	if (c->live == f)
		c->live = NULL;
	f->released = true;
	close_fd(&f->fd);
	if (!f->inflight)
		files_put(fs, f);
}

static void put_chain(struct files *fs, struct chain *c)
{
	if (c->members == 1)
		fs->hooks.ended(fs->hooks.ctx, c);
	chain_put(&fs->chains, c);
}

void files_put(struct files *fs, struct file *f)
{
	if (f->inflight && --f->inflight)
		return;
	if (!f->released)
		return;
	put_chain(fs, f->chain);
	file_free(f);
}

void files_each(struct files *fs, void (*visit)(void *ctx, struct file *f), void *ctx)
{
	struct table_node *n, *next;

	for (n = table_walk(&fs->by_id, NULL); n; n = next) {
		next = table_walk(&fs->by_id, n);
		visit(ctx, container_of(n, struct file, by_id));
	}
}

void files_some(struct files *fs, unsigned count, void (*visit)(void *ctx, struct file *f),
		void *ctx)
{
	size_t buckets = MIN((size_t)count, fs->by_id.n_buckets);

	while (buckets--) {
		struct table_node *n = table_bucket(&fs->by_id, &fs->cursor), *next;

		for (; n; n = next) {
			next = n->next;
			visit(ctx, container_of(n, struct file, by_id));
		}
	}
}

void files_each_chain(struct files *fs, void (*visit)(void *ctx, struct chain *c), void *ctx)
{
	struct table_node *n, *next;

	for (n = table_walk(&fs->chains, NULL); n; n = next) {
		next = table_walk(&fs->chains, n);
		visit(ctx, container_of(n, struct chain, by_key));
	}
}

void files_stats(const struct files *fs, struct files_stats *ret_stats)
{
	*ret_stats = fs->stats;
	ret_stats->open = (unsigned)fs->by_id.count;
	ret_stats->chains = (unsigned)fs->chains.count;
}
