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
#include "watch/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/table.h"
#include "event/event.h"
#include "watch/tree_node.h"
#include "watch/watch.h"

#define ROOT_RETRY_NS (NS_PER_SEC / 2)
#define RELIST_NS     NS_PER_SEC
#define DANGLING_NS   (5 * NS_PER_SEC)

struct root {
	char *given, *path; /* path: resolved, NULL while it is missing */
	dev_t dev;
	ino_t ino;
};

struct tree {
	struct watch *watch;
	struct tree_hooks hooks;
	struct nodes nodes;
	struct root *roots;
	size_t n_roots;
	char **allowed; /* canonical directories that links may lead into */
	size_t n_allowed;
	struct log_limit refused_limit, failed_limit;
	int64_t root_ns, relist_ns, dangling_ns;
	struct tree_stats stats;
};

static void add_dir(struct tree *t, struct node *parent, const char *path);

static void node_drop(struct tree *t, struct node *n)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", n->path);
	node_free(&t->nodes, n);
	t->hooks.gone_below(t->hooks.ctx, path);
}

static bool below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool allowed(const struct tree *t, const char *path)
{
	for (size_t i = 0; i < t->n_allowed; i++)
		if (below(path, t->allowed[i]))
			return true;
	for (size_t i = 0; i < t->n_roots; i++)
		if (t->roots[i].path && below(path, t->roots[i].path))
			return true;
	return false;
}

/* dir "/" + name, canonical. False when it would be too long. */
static bool join_path(char *out, const char *dir, const char *name)
{
	const char *slash = strcmp(dir, "/") == 0 ? "" : "/";

	return snprintf(out, PATH_MAX, "%s%s%s", dir, slash, name) < PATH_MAX;
}

/* Makes sure that the directory of a linked file is watched, and that name is reported there. */
static void add_linked(struct tree *t, const char *dir, const char *name)
{
	struct node *n = node_by_path(&t->nodes, dir);

	if (!n) {
		n = node_new(&t->nodes, NULL, dir);
		if (!n)
			return;
		n->linked = true;
	}
	if (node_add_name(n, name) > 0)
		add_dir(t, NULL, dir); /* and finds what it was rotated to before */
}

/* Where a link leads in its first step, if it is not the final path: the name that carries the
 * pod's. */
static void first_step(const char *link, const char *final, char *out)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	snprintf(out, PATH_MAX, "%s", link);
	if (n <= 0)
		return;
	target[n] = '\0';
	if (target[0] == '/' && strcmp(target, final) != 0)
		snprintf(out, PATH_MAX, "%s", target);
}

static void add_link(struct tree *t, struct node *n, const char *link)
{
	char real[PATH_MAX], alias[PATH_MAX], dir[PATH_MAX], *slash;
	struct stat st;

	if (!realpath(link, real) || sys.lstat(real, &st) < 0) {
		if (errno == ENOENT)
			n->dangling = true;
		return;
	}
	if (!allowed(t, real)) {
		t->stats.links_refused++;
		if (log_allow(&t->refused_limit, 10 * NS_PER_SEC))
			log_warn(0, "%s leads to %s, outside the roots, ignoring", link, real);
		return;
	}
	if (S_ISDIR(st.st_mode)) {
		if (!node_by_path(&t->nodes, real))
			add_dir(t, n, real);
		return;
	}
	if (!S_ISREG(st.st_mode))
		return;
	snprintf(dir, sizeof(dir), "%s", real);
	slash = strrchr(dir, '/');
	*slash = '\0';
	first_step(link, real, alias);
	t->hooks.found(t->hooks.ctx, real, alias);
	add_linked(t, *dir ? dir : "/", slash + 1);
}

static void look_at(struct tree *t, struct node *n, const char *name, unsigned char type,
		    struct buf *subdirs)
{
	char path[PATH_MAX];
	struct stat st;

	if (!node_wants(n, name) || !join_path(path, n->path, name))
		return;
	if (type == DT_UNKNOWN && sys.lstat(path, &st) == 0)
		type = S_ISDIR(st.st_mode)   ? DT_DIR
		       : S_ISLNK(st.st_mode) ? DT_LNK
		       : S_ISREG(st.st_mode) ? DT_REG
					     : DT_SOCK;
	if (type == DT_DIR && !n->linked)
		buf_add(subdirs, path, strlen(path) + 1);
	else if (type == DT_LNK)
		add_link(t, n, path);
	else if (type == DT_REG ||
		 type == DT_UNKNOWN) /* unknown: vanished already, to be counted */
		t->hooks.found(t->hooks.ctx, path, NULL);
}

/* Takes dir_fd. */
static void list_dir(struct tree *t, struct node *n, int dir_fd)
{
	struct buf subdirs = {0};
	DIR *dir = fdopendir(dir_fd);
	struct dirent *e;

	if (!dir) {
		close_fd(&dir_fd);
		return;
	}
	n->dangling = false;
	while ((e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			look_at(t, n, e->d_name, e->d_type, &subdirs);
	closedir(dir);
	for (size_t at = 0; at < subdirs.len; at += strlen(subdirs.data + at) + 1)
		add_dir(t, n, subdirs.data + at);
	buf_done(&subdirs);
}

/* Watches and then lists a directory: new, known, or known without a watch. */
static void add_dir(struct tree *t, struct node *parent, const char *path)
{
	_cleanup_fd_ int fd = sys.open_plain(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct node *n = node_by_path(&t->nodes, path);
	int wd;

	if (fd < 0) {
		if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP &&
		    log_allow(&t->failed_limit, 10 * NS_PER_SEC))
			log_warn(0, "%s: %s, ignoring", path, strerror(errno));
		return;
	}
	if (!n)
		n = node_new(&t->nodes, parent, path);
	if (!n)
		return;
	wd = watch_add_dir(t->watch, fd);
	if (wd < 0 && wd != -ENOSPC && log_allow(&t->failed_limit, 10 * NS_PER_SEC))
		log_warn(0, "%s: no watch: %s, looking each second", path, strerror(-wd));
	if (wd != n->wd)
		node_set_watch(&t->nodes, n, wd < 0 ? -1 : wd);
	list_dir(t, n, take_fd(fd));
}

bool tree_event(struct tree *t, const struct event *e)
{
	struct node *n = node_by_wd(&t->nodes, e->watch);
	struct buf subdirs = {0};
	char path[PATH_MAX];
	struct node *sub;

	if (!n)
		return false;
	if (e->action & FILE_UNWATCHED) {
		node_set_watch(&t->nodes, n, -1);
		node_drop(t, n);
		t->root_ns = 0;
		return true;
	}
	if (!e->actor_name || !join_path(path, n->path, e->actor_name))
		return true;
	if (e->action & FILE_VANISHED) {
		sub = e->is_dir ? node_by_path(&t->nodes, path) : NULL;
		if (sub)
			node_drop(t, sub);
		else
			t->hooks.gone(t->hooks.ctx, path);
	}
	if (e->action & FILE_APPEARED) {
		look_at(t, n, e->actor_name, e->is_dir ? DT_DIR : DT_UNKNOWN, &subdirs);
		if (subdirs.len)
			add_dir(t, n, subdirs.data);
		buf_done(&subdirs);
	}
	return true;
}

/* Resolves a root that has no path yet and lists it. -errno when it is not there. */
static int root_find(struct tree *t, struct root *r)
{
	_cleanup_free_ char *path = realpath(r->given, NULL);
	struct stat st;

	if (!path)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (access(path, R_OK | X_OK) < 0)
		return -errno;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->path = take_ptr(path);
	return 0;
}

/* A root can go away by a rename of itself or of a directory above it, which no watch of ours
 * tells. */
static void roots_check(struct tree *t)
{
	t->stats.roots_missing = 0;
	for (size_t i = 0; i < t->n_roots; i++) {
		struct root *r = &t->roots[i];
		struct node *n;
		struct stat st;

		/* Made anew it can have the old one's inode: then only its node is missing. */
		n = r->path ? node_by_path(&t->nodes, r->path) : NULL;
		if (r->path && (!n || sys.lstat(r->path, &st) < 0 || st.st_dev != r->dev ||
				st.st_ino != r->ino)) {
			log_warn(0, "root %s is gone, waiting for it to come back", r->given);
			if (n)
				node_drop(t, n);
			free(take_ptr(r->path));
		}
		if (!r->path && root_find(t, r) == 0) {
			log_info("root %s is back", r->given);
			add_dir(t, NULL, r->path);
		}
		t->stats.roots_missing += !r->path;
	}
}

/* Lists again those directories that want it; collects the paths first, as listing changes the
 * table. */
static void relist(struct tree *t, bool (*want)(const struct node *n))
{
	struct buf paths = {0};

	for (struct table_node *i = NULL; (i = table_walk(&t->nodes.by_path, i));) {
		struct node *n = container_of(i, struct node, by_path);

		if (want(n))
			buf_add(&paths, n->path, strlen(n->path) + 1);
	}
	for (size_t at = 0; at < paths.len; at += strlen(paths.data + at) + 1) {
		struct node *n = node_by_path(&t->nodes, paths.data + at);
		struct stat st;

		if (n && sys.lstat(n->path, &st) < 0 && errno == ENOENT)
			node_drop(t, n);
		else if (n)
			add_dir(t, n->parent, paths.data + at);
	}
	buf_done(&paths);
}

static bool want_all(const struct node *n)
{
	return true;
}

static bool want_unwatched(const struct node *n)
{
	return n->wd < 0;
}

static bool want_dangling(const struct node *n)
{
	return n->dangling;
}

void tree_rescan(struct tree *t)
{
	t->stats.rescans++;
	roots_check(t);
	relist(t, want_all);
}

int64_t tree_turn(struct tree *t, int64_t now_ns)
{
	if (now_ns >= t->root_ns) {
		roots_check(t);
		t->root_ns = now_ns + ROOT_RETRY_NS;
	}
	if (now_ns >= t->relist_ns) {
		if (t->nodes.unwatched)
			relist(t, want_unwatched);
		t->relist_ns = now_ns + RELIST_NS;
	}
	if (now_ns >= t->dangling_ns) {
		relist(t, want_dangling);
		t->dangling_ns = now_ns + DANGLING_NS;
	}
	return MIN(t->root_ns, t->relist_ns);
}

void tree_scan(struct tree *t)
{
	for (size_t i = 0; i < t->n_roots; i++)
		if (t->roots[i].path)
			add_dir(t, NULL, t->roots[i].path);
}

static int allow(struct tree *t, const char *dir)
{
	char **more = realloc(t->allowed, (t->n_allowed + 1) * sizeof(*more));
	char *path;

	if (!more)
		return -ENOMEM;
	t->allowed = more;
	path = realpath(dir, NULL);
	if (path)
		t->allowed[t->n_allowed++] = path;
	return 0;
}

/* /var/log/containers holds links into /var/log/pods, beside it. */
static int allow_pods_beside(struct tree *t, const struct root *r)
{
	char dir[PATH_MAX], *slash;

	if (!r->path)
		return 0;
	snprintf(dir, sizeof(dir), "%s", r->path);
	slash = strrchr(dir, '/');
	if (strcmp(slash, "/containers") != 0)
		return 0;
	snprintf(slash, sizeof(dir) - (size_t)(slash - dir), "/pods");
	return allow(t, dir);
}

static int tree_init(struct tree *t, char *const *roots, size_t n_roots, char *const *links,
		     size_t n_links)
{
	int err = -ENOENT, r = 0;

	t->roots = calloc(n_roots, sizeof(*t->roots));
	if (!t->roots)
		return -ENOMEM;
	t->n_roots = n_roots;
	t->stats.roots_missing = (unsigned)n_roots;
	for (size_t i = 0; i < n_roots && r == 0; i++) {
		int missing;

		t->roots[i].given = strdup(roots[i]);
		if (!t->roots[i].given)
			return -ENOMEM;
		missing = root_find(t, &t->roots[i]);
		if (missing < 0) {
			err = log_at(n_roots == 1 ? LOG_ERR : LOG_WARN, missing, "root %s: %s",
				     roots[i], strerror(-missing));
			continue;
		}
		t->stats.roots_missing--;
		r = allow_pods_beside(t, &t->roots[i]);
	}
	if (t->stats.roots_missing == n_roots)
		return n_roots == 1 ? err : log_err(err, "none of the roots is there");
	for (size_t i = 0; i < n_links && r == 0; i++)
		r = allow(t, links[i]);
	if (r == 0)
		r = allow(t, "/var/log/pods");
	if (r == 0)
		r = allow(t, "/var/lib/docker/containers");
	return r;
}

int tree_new(struct watch *w, char *const *roots, size_t n_roots, char *const *links,
	     size_t n_links, const struct tree_hooks *hooks, struct tree **ret_tree)
{
	struct tree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->watch = w;
	t->nodes.watch = w;
	t->hooks = *hooks;
	r = tree_init(t, roots, n_roots, links, n_links);
	if (r < 0) {
		tree_free(t);
		return r;
	}
	*ret_tree = t;
	return 0;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	nodes_done(&t->nodes);
	for (size_t j = 0; j < t->n_roots; j++) {
		free(t->roots[j].given);
		free(t->roots[j].path);
	}
	free(t->roots);
	for (size_t j = 0; j < t->n_allowed; j++)
		free(t->allowed[j]);
	free(t->allowed);
	free(t);
}

void tree_stats(const struct tree *t, struct tree_stats *ret_stats)
{
	*ret_stats = t->stats;
	ret_stats->dirs = (unsigned)t->nodes.by_path.count;
	ret_stats->unwatched = t->nodes.unwatched;
}
