/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node per directory, found by watch descriptor and by path, linked to its parent, so that a
 * directory that is moved away takes its watches along.
 *
 * Paths are canonical: a root is resolved once (and again when it vanished and came back), below it
 * no symbolic link is ever followed by an open (sys.open_plain); links are resolved here, by hand,
 * and only into the allowed roots. A directory reached by a link to a file is a "linked" node: not
 * listed recursively, and only names that begin with a linked name are reported (0.log,
 * 0.log.20261121-…).
 *
 * Rejected: one watch per file for names (IN_MOVE_SELF does not tell where to); pairing MOVED_FROM
 * with MOVED_TO by cookie (the file table knows the inode, which survives a lost half).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "event/event.h"
#include "watch/tree_impl.h"
#include "watch/watch.h"

#define DANGLING_NS  (5 * NS_PER_SEC)
#define PAUSE_MIN_NS (20 * NS_PER_MS)
#define DIR_BYTES    8192
#define LIST_TRIES   4

void tree_drop(struct tree *t, struct node *n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", n->path);
	node_free(&t->nodes, n);
	t->hooks.gone_below(t->hooks.ctx, path);
}

void tree_push(struct tree *t, struct buf *todo, const char *path)
{
	if (buf_add(todo, path, strlen(path) + 1) < 0)
		t->short_of_memory = true;
}

void tree_push_new(struct tree *t, struct buf *todo, const char *path)
{
	struct node *known = node_by_path(&t->nodes, path);

	if (known && (known->round == t->round || t->relisting || (known->wd >= 0 && !t->walking)))
		return;
	if (known && t->walking)
		known->round = t->round;
	tree_push(t, todo, path);
}

void tree_push_below(struct tree *t, struct buf *todo, const char *path)
{
	struct node *known = node_by_path(&t->nodes, path);

	if (!known || !known->linked) {
		if (known) /* found before the directory above it: a root once, perhaps */
			node_adopt(&t->nodes, known);
		tree_push_new(t, todo, path);
		return;
	}
	node_adopt(&t->nodes, known);
	known->round = t->round;
	tree_push(t, todo, path);
}

/* Makes sure that the directory of a linked file is watched, and that name is reported there. */
static void add_linked(struct tree *t, const char *dir, const char *name, struct buf *todo)
{
	struct node *n = node_by_path(&t->nodes, dir);

	if (!n) {
		n = node_new(&t->nodes, NULL, dir);
		t->short_of_memory = t->short_of_memory || !n;
		if (!n)
			return;
		n->linked = true;
	}
	if (t->walking && n->round != t->round) {
		n->linked = true; /* so far nothing else leads here */
		n->round = t->round;
		node_add_name(n, name);
		tree_push(t, todo, dir);
	} else if (node_add_name(n, name) > 0) {
		tree_push(t, todo, dir); /* and finds what it was rotated to before */
	}
}

static void add_link(struct tree *t, struct node *n, const char *link, struct buf *todo)
{
	char real[PATH_MAX], alias[PATH_MAX], dir[PATH_MAX], *slash;
	struct stat st;

	if (!realpath(link, real) || sys.lstat(real, &st) < 0) {
		n->dangling = n->dangling || errno == ENOENT;
		if (!t->dangling_ns)
			t->dangling_ns = clock_now_ns() + DANGLING_NS;
		return;
	}
	if (!roots_allow(&t->roots, real)) {
		t->stats.links_refused++;
		if (log_allow(&t->refused_limit, 10 * NS_PER_SEC))
			log_warn(0, "%s leads to %s, outside the roots, ignoring", link, real);
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		tree_push_new(t, todo, real);
		return;
	}
	if (!S_ISREG(st.st_mode))
		return;
	snprintf(dir, sizeof(dir), "%s", real);
	slash = strrchr(dir, '/');
	*slash = '\0';
	link_first_step(link, real, alias);
	t->hooks.found(t->hooks.ctx, real, alias);
	add_linked(t, *dir ? dir : "/", slash + 1, todo);
}

/* e: what told of it; NULL: it was listed. */
static void look_at(struct tree *t, struct node *n, const char *name, unsigned char type,
		    const struct event *e, struct buf *todo)
{
	char path[PATH_MAX];
	struct stat st;

	if (!node_wants(n, name) || !node_path_of(path, n, name))
		return;
	if (type == DT_UNKNOWN && sys.lstat(path, &st) == 0)
		type = S_ISDIR(st.st_mode)   ? DT_DIR
		       : S_ISLNK(st.st_mode) ? DT_LNK
		       : S_ISREG(st.st_mode) ? DT_REG
					     : DT_SOCK;
	if (type == DT_DIR && !n->linked)
		tree_push_below(t, todo, path);
	else if (type == DT_LNK)
		add_link(t, n, path, todo);
	else if (type != DT_REG &&
		 type != DT_UNKNOWN) /* unknown: vanished already, to be counted */
		return;
	else if (e && t->hooks.born)
		t->hooks.born(t->hooks.ctx, path, t->moved_here ? t->moved_from : NULL);
	else if (t->looking && t->hooks.written)
		t->hooks.written(t->hooks.ctx, path);
	else
		t->hooks.found(t->hooks.ctx, path, NULL);
}

static void note_move(struct tree *t, const struct event *e, const char *path)
{
	free(t->moved_from);
	t->moved_from = strdup(path);
	t->moved_cookie = t->moved_from ? e->cookie : 0;
}

static void dir_added(struct tree *t, const struct node *n, int dir_fd)
{
	if (t->hooks.dir_added)
		t->hooks.dir_added(t->hooks.ctx, n->path, dir_fd);
}

static bool is_self_or_parent(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Most directories hold one or two names: opendir asks fstat and fcntl before, and for memory. */
static void list_dir(struct tree *t, struct node *n, int dir_fd, struct buf *todo)
{
	char names[DIR_BYTES] __attribute__((aligned(__alignof__(struct dirent64))));
	const struct dirent64 *e;
	ssize_t got;

	n->dangling = false;
	while ((got = getdents64(dir_fd, names, sizeof(names))) > 0)
		for (ssize_t at = 0; at < got; at += e->d_reclen) {
			e = (const void *)(names + at);
			if (!is_self_or_parent(e->d_name))
				look_at(t, n, e->d_name, e->d_type, NULL, todo);
		}
	if (got < 0 && errno == ENOMEM)
		t->short_of_memory = true;
}

/*
 * No event tells of a log that is rotated in between: its name leads to its successor by the time
 * that it is opened, and the name it has now may have been passed. So it is listed until nothing
 * has come or gone meanwhile (before Linux 6.13, but for what came within the same clock tick as
 * the change before).
 */
static void list_unwatched(struct tree *t, struct node *n, int dir_fd, struct buf *todo)
{
	struct stat before, after;

	for (int i = 0; i < LIST_TRIES; i++) {
		if (sys.lseek(dir_fd, 0, SEEK_SET) < 0 || sys.fstat(dir_fd, &before) < 0)
			return;
		list_dir(t, n, dir_fd, todo);
		if (sys.fstat(dir_fd, &after) < 0 ||
		    (after.st_mtim.tv_sec == before.st_mtim.tv_sec &&
		     after.st_mtim.tv_nsec == before.st_mtim.tv_nsec))
			return;
	}
}

static void open_failed(struct tree *t, const char *path, int err)
{
	struct node *n = node_by_path(&t->nodes, path);

	if (err == ENOENT || err == ENOTDIR || err == ELOOP) { /* gone, or something else by now */
		if (n)
			tree_drop(t, n);
		else if (err == ENOENT && !t->moved_here)
			t->hooks.vanished(t->hooks.ctx, path);
		return;
	}
	if (n && t->walking)
		tree_keep(t, n);
	tree_push(t, &t->failed, path);
	if (!t->pause_ns) {
		t->pause_ns = PAUSE_MIN_NS;
		t->retry_ns = clock_now_ns() + t->pause_ns;
	}
	if (log_allow(&t->failed_limit, 10 * NS_PER_SEC))
		log_warn(0, "%s: %s, retrying", path, strerror(err));
}

/* Watches and then lists a directory: new, known, or known without a watch. */
static void add_one(struct tree *t, const char *path, struct buf *todo)
{
	_cleanup_fd_ int fd = -1;
	struct node *n;
	int wd;

	do
		fd = sys.open_plain(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0) {
		open_failed(t, path, errno);
		return;
	}
	n = node_by_path(&t->nodes, path);
	if (!n)
		n = node_new(&t->nodes, node_parent_of(&t->nodes, path), path);
	t->short_of_memory = t->short_of_memory || !n;
	if (!n)
		return;
	n->round = t->round;
	wd = watch_add_dir(t->watch, fd);
	if (wd < 0 && wd != -ENOSPC && log_allow(&t->failed_limit, 10 * NS_PER_SEC))
		log_warn(0, "%s: no watch: %s, looking again and again", path, strerror(-wd));
	if (wd != n->wd)
		node_set_watch(&t->nodes, n, wd < 0 ? -1 : wd);
	dir_added(t, n, fd);
	if (wd < 0)
		list_unwatched(t, n, fd, todo);
	else
		list_dir(t, n, fd, todo);
}

void tree_work(struct tree *t, struct buf *todo)
{
	char path[PATH_MAX];

	t->round += !t->walking;
	while (todo->len) {
		const char *end = memrchr(todo->data, '\0', todo->len - 1);

		todo->len = end ? (size_t)(end + 1 - todo->data) : 0;
		snprintf(path, sizeof(path), "%s", todo->data + todo->len);
		buf_shrink(todo);
		add_one(t, path, todo);
		if (t->scanning && t->hooks.between)
			t->hooks.between(t->hooks.ctx);
	}
	buf_done(todo);
}

void tree_add_dir(struct tree *t, const char *path)
{
	struct buf todo = {0};

	tree_push(t, &todo, path);
	tree_work(t, &todo);
}

bool tree_event(struct tree *t, const struct event *e)
{
	struct node *n = node_by_wd(&t->nodes, e->watch);
	struct buf todo = {0};
	char path[PATH_MAX];
	struct node *sub;

	if (!n)
		return false;
	if (e->action & FILE_UNWATCHED) {
		node_set_watch(&t->nodes, n, -1);
		tree_drop(t, n);
		t->root_ns = 0;
		return true;
	}
	if (!e->actor_name || !node_path_of(path, n, e->actor_name))
		return true;
	if (e->action & FILE_MOVED_FROM)
		note_move(t, e, path);
	if (e->action & FILE_VANISHED) {
		sub = e->is_dir ? node_by_path(&t->nodes, path) : NULL;
		if (sub)
			tree_drop(t, sub);
		else
			t->hooks.gone(t->hooks.ctx, path);
	}
	if (e->action & FILE_APPEARED) {
		t->moved_here = e->cookie && e->cookie == t->moved_cookie;
		look_at(t, n, e->actor_name, e->is_dir ? DT_DIR : DT_UNKNOWN, e, &todo);
		tree_work(t, &todo);
		t->moved_here = false;
	}
	return true;
}

bool tree_look(struct tree *t, const char *dir, const char *name)
{
	struct node *n = node_by_path(&t->nodes, dir);
	struct buf todo = {0};
	char path[PATH_MAX];
	struct stat st;
	_cleanup_fd_ int fd = -1;

	if (!n || (*name && !node_wants(n, name)))
		return false;
	t->looking = true;
	if (*name && node_path_of(path, n, name) && sys.lstat(path, &st) == 0) {
		look_at(t, n, name, DT_UNKNOWN, NULL, &todo);
	} else {
		fd = sys.open_plain(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			list_dir(t, n, fd, &todo);
	}
	t->looking = false;
	tree_work(t, &todo);
	return fd >= 0;
}

void **tree_tag(const struct tree *t, const char *dir)
{
	struct node *n = node_by_path(&t->nodes, dir);

	return n ? &n->tag : NULL;
}

bool tree_wants(const struct tree *t, const char *path)
{
	const struct node *n = node_parent_of(&t->nodes, path);

	return n && node_wants(n, strrchr(path, '/') + 1);
}

void tree_scan(struct tree *t)
{
	t->scanning = true;
	for (size_t i = 0; i < t->roots.n; i++)
		if (t->roots.items[i].path)
			tree_add_dir(t, t->roots.items[i].path);
	t->scanning = false;
}

int tree_new(struct watch *w, char *const *roots, size_t n_roots, char *const *links,
	     size_t n_links, const struct tree_hooks *hooks, struct tree **ret_tree)
{
	struct tree *t = calloc(1, sizeof(*t));
	char why[TREE_WHY_MAX];
	int r;

	if (!t)
		return -ENOMEM;
	t->watch = w;
	t->nodes.watch = w;
	t->nodes.removed = hooks->dir_removed;
	t->nodes.ctx = hooks->ctx;
	t->hooks = *hooks;
	r = roots_init(&t->roots, roots, n_roots, links, n_links, why);
	if (r < 0) {
		tree_free(t);
		return log_err(r, "%s", why);
	}
	*ret_tree = t;
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	buf_done(&t->failed);
	free(t->moved_from);
	t->nodes.removed = NULL; /* they are there, only not followed any more */
	t->nodes.watch = NULL;   /* and watched until all watches are closed in one go */
	nodes_done(&t->nodes);
	roots_done(&t->roots);
	free(t);
}

bool tree_covers(const struct tree *t, const char *path)
{
	return roots_cover(&t->roots, path) || node_parent_of(&t->nodes, path);
}

void tree_stats(const struct tree *t, struct tree_stats *ret_stats)
{
	*ret_stats = t->stats;
	ret_stats->dirs = (unsigned)t->nodes.by_path.count;
	ret_stats->unwatched = t->nodes.unwatched;
	ret_stats->roots_missing = t->roots.missing;
}
