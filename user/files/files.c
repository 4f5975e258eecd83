/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the files in the table: three tables (inode, name, watch) and one of chains.
 *
 * A file without any name is forgotten only some seconds after it was drained: its new name may
 * still be on its way, and found as a stranger it would be read twice.
 */
#include "files/files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "files/chain.h"
#include "files/files_impl.h"

int files_new(const struct files_hooks *hooks, struct files **ret_files)
{
	struct files *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return -ENOMEM;
	fs->hooks = *hooks;
	fs->open_max = UINT_MAX;
	list_init(&fs->leaving);
	list_init(&fs->empty);
	list_init(&fs->open);
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
	list_for_each (l, next, &fs->leaving) {
		struct file *f = container_of(l, struct file, in_chain);

		f->inflight = 0;
		files_put(fs, f);
	}
	files_end_chains(fs, INT64_MAX);
	while ((n = table_walk(&fs->excluded, NULL))) {
		table_del(&fs->excluded, n);
		free(container_of(n, struct excluded, by_id));
	}
	table_done(&fs->by_id);
	table_done(&fs->by_path);
	table_done(&fs->by_wd);
	table_done(&fs->chains);
	table_done(&fs->excluded);
	buf_done(&fs->postponed);
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

int files_exclude(struct files *fs, struct file_id id, int64_t btime_ns)
{
	struct table_node *n = table_get(&fs->excluded, &id, sizeof(id));
	struct excluded *e;
	int r;

	if (n) {
		container_of(n, struct excluded, by_id)->btime_ns = btime_ns;
		return 0;
	}
	e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->id = id;
	e->btime_ns = btime_ns;
	r = table_add(&fs->excluded, &e->by_id, &e->id, sizeof(e->id));
	if (r < 0)
		free(e);
	return r;
}

void files_exclude_uid(struct files *fs, const char *uid)
{
	free(fs->excluded_uid);
	if (asprintf(&fs->excluded_uid, "_%s/", uid) < 0)
		fs->excluded_uid = NULL;
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

static void settled(struct file *f)
{
	struct chain *c = f->chain;

	c->copies -= f->maybe_copy;
	c->unsettled = c->unsettled && c->copies;
	f->maybe_copy = false;
}

void files_settle_copy(struct files *fs, struct file *f, bool resumed)
{
	struct stat st;

	settled(f);
	if (resumed && f->chain->live)
		list_add_after(f->chain->live->in_chain.prev, &f->in_chain);
	else if (f->path && sys.fstat(f->fd, &st) == 0)
		chain_insert(f->chain, f, &st);
	if (!resumed && !f->resumed)
		files_found_late(fs, f->chain);
	fs->hooks.look(fs->hooks.ctx, f);
}

bool file_leaves(const struct file *f)
{
	return f->unlinked || f->compressed ||
	       (!f->path && f->sought && clock_now_ns() - f->displaced_ns > FILES_NAMELESS_NS);
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
	settled(f);
	table_del(&fs->by_path, &f->by_path);
	table_del(&fs->by_id, &f->by_id);
	list_del(&f->in_chain);
	if (c->live == f)
		c->live = NULL;
	f->released = true;
	files_close(fs, f);
	if (f->inflight)
		list_add_tail(&fs->leaving, &f->in_chain);
	else
		files_put(fs, f);
}

void files_leave_chain(struct files *fs, struct chain *c)
{
	if (--c->members)
		return;
	c->empty_ns = clock_now_ns();
	list_add_tail(&fs->empty, &c->in_empty);
}

void files_end_chains(struct files *fs, int64_t before_ns)
{
	list_for_each (l, next, &fs->empty) {
		struct chain *c = container_of(l, struct chain, in_empty);

		if (c->empty_ns > before_ns)
			return;
		fs->hooks.ended(fs->hooks.ctx, c);
		chain_free(&fs->chains, c);
	}
}

void files_put(struct files *fs, struct file *f)
{
	if (f->inflight && --f->inflight)
		return;
	if (!f->released)
		return;
	list_del(&f->in_chain);
	if (fs->hooks.freed)
		fs->hooks.freed(fs->hooks.ctx, f);
	files_leave_chain(fs, f->chain);
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

void files_each_leaving(struct files *fs, void (*visit)(void *ctx, struct file *f), void *ctx)
{
	list_for_each (l, next, &fs->leaving)
		visit(ctx, container_of(l, struct file, in_chain));
}

void files_stats(const struct files *fs, struct files_stats *ret_stats)
{
	*ret_stats = fs->stats;
	ret_stats->open = (unsigned)fs->by_id.count;
	ret_stats->closed = ret_stats->open - fs->n_open;
	ret_stats->chains = (unsigned)fs->chains.count;
}
