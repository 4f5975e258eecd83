/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is there now, and how the mirror is made to agree with it.
 *
 * A path that the mirror has may lead elsewhere by now: a directory above was renamed, and the
 * event is still to come. So nothing is looked at by its path alone: the directory it is in is
 * opened by path, must be the one the mirror means (its identity is compared), and the name is
 * looked up in that. What then can be wrong is only the name itself, and an event of that name is
 * still to come which sets it right.
 *
 * An identity is device, inode and time of birth: filesystems hand the inode of what was just
 * removed to what is made next.
 *
 * A directory is listed after its watch is in place. Names in it that are not known are created,
 * known ones that are missing deleted, and one whose object is known from a place where it is no
 * longer was renamed: "mkdir d; mv f d" is over before d can be watched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/sys.h"
#include "event/event.h"
#include "watch/mirror_impl.h"
#include "watch/watch.h"

#define DIR_BYTES 8192

static enum mnode_type type_of(mode_t mode)
{
	return S_ISDIR(mode)   ? MNODE_DIR
	       : S_ISREG(mode) ? MNODE_FILE
	       : S_ISLNK(mode) ? MNODE_LINK
			       : MNODE_OTHER;
}

/* Takes the descriptor. */
static int look_at(int fd, struct look *ret_look)
{
	struct {
		uint64_t dev, ino;
		int64_t birth_ns;
	} is = {0};
	struct look l = {.fd = fd};
	struct stat st;

	if (fd < 0)
		return -errno;
	if (sys.fstat(fd, &st) < 0 || sys.birth(fd, "", &is.birth_ns) < 0) {
		int r = -errno;

		look_done(&l);
		return r;
	}
	is.dev = st.st_dev;
	is.ino = st.st_ino;
	l.identity = hash_bytes(&is, sizeof(is)) | 1;
	l.certain = is.birth_ns != 0;
	l.ino = st.st_ino;
	l.type = type_of(st.st_mode);
	l.shared = l.type != MNODE_DIR && st.st_nlink > 1;
	*ret_look = l;
	return 0;
}

int look_in(int dir_fd, const char *name, struct look *ret_look)
{
	char path[32 + NAME_MAX];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir_fd, name);
	return look_at(sys.open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), ret_look);
}

static int look_dir(struct mirror *m, const struct mnode *dir, struct look *ret_look)
{
	_cleanup_(look_done) struct look l = {.fd = -1};
	int r = mnode_path(dir, &m->path);

	if (r < 0)
		return r;
	r = look_at(sys.open_plain(m->path.data, O_PATH | O_DIRECTORY | O_CLOEXEC), &l);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		return -ESTALE;
	if (r < 0)
		return r;
	if (l.identity != dir->identity)
		return -ESTALE;
	*ret_look = l;
	l.fd = -1;
	return 0;
}

int look_below(struct mirror *m, const struct mnode *parent, const char *name,
	       struct look *ret_look)
{
	_cleanup_(look_done) struct look dir = {.fd = -1};
	int r;

	if (!parent)
		return look_at(sys.open_plain(name, O_PATH | O_DIRECTORY | O_CLOEXEC), ret_look);
	r = look_dir(m, parent, &dir);
	return r < 0 ? r : look_in(dir.fd, name, ret_look);
}

int node_is_there(struct mirror *m, const struct mnode *n)
{
	_cleanup_(look_done) struct look l = {.fd = -1};
	int r = look_below(m, n->key->parent, n->key->name, &l);

	if (r == 0 && !n->identity)
		return -ESTALE;
	if (r == 0)
		return l.identity == n->identity;
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP ? 0 : r;
}

bool node_is_ahead(struct mirror *m, const struct mnode *n)
{
	return n->era == m->era && node_is_there(m, n) == 1;
}

void era_open(struct mirror *m)
{
	m->era_mark = watch_mark(m->watch);
	m->era_open = true;
	m->era_reached = false;
}

void dir_todo(struct mirror *m, struct mnode *n, bool force)
{
	n->force = n->force || force;
	list_del(&n->work);
	list_add_tail(&m->todo, &n->work);
}

void dir_pending(struct mirror *m, struct mnode *n)
{
	if (!list_linked(&m->pending)) {
		m->pause_ns = SETTLE_NS;
		m->pending_ns = clock_now_ns() + m->pause_ns;
	}
	list_del(&n->work);
	list_add_tail(&m->pending, &n->work);
}

struct mnode *renamed_from(struct mirror *m, const struct mnode *dir, const struct look *l)
{
	struct mnode *n = l->certain ? mnode_by_identity(&m->nodes, l->identity) : NULL;

	int there;

	if (!n || !n->key->parent || n->type != l->type || mnode_is_below(dir, n))
		return NULL;
	there = node_is_there(m, n); /* a link, or a mount of the same */
	return there == 1 || (there != 0 && l->shared) ? NULL : n;
}

/* The same name is known: is it still the same? */
static bool entry_is_same(struct mirror *m, int dir_fd, const struct dirent64 *e, struct mnode *n)
{
	_cleanup_(look_done) struct look l = {.fd = -1};

	if (e->d_ino == n->ino &&
	    (e->d_type == DT_UNKNOWN || (e->d_type == DT_DIR) == (n->type == MNODE_DIR)))
		return true;
	if (look_in(dir_fd, e->d_name, &l) < 0)
		return false;
	if (!n->identity && (l.type == MNODE_DIR) == (n->type == MNODE_DIR))
		node_identify(m, n, &l); /* an event told of it, and no more */
	return l.identity == n->identity;
}

static void entry_look(struct mirror *m, struct mnode *dir, int dir_fd, const struct dirent64 *e)
{
	struct mnode *n = mnode_get(&m->nodes, dir, e->d_name);

	if (n && !entry_is_same(m, dir_fd, e, n)) {
		node_gone(m, n);
		n = NULL;
	}
	if (!n) {
		node_found(m, dir, e->d_name, false, dir_fd, FOUND_LOOK);
		n = mnode_get(&m->nodes, dir, e->d_name);
		if (n)
			n->round = m->round;
		return;
	}
	n->round = m->round;
	n->era = m->era;
	if (n->cookie)
		leaving_forget(m, n);
	if (n->type == MNODE_DIR && (m->forcing || n->wd < 0))
		dir_todo(m, n, m->forcing);
	else if (n->type == MNODE_FILE && m->forcing && m->opt.writes)
		file_rearm(m, n);
}

static bool is_self_or_parent(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int dir_list(struct mirror *m, struct mnode *dir, int path_fd)
{
	char names[DIR_BYTES] __attribute__((aligned(__alignof__(struct dirent64))));
	_cleanup_fd_ int fd = -1;
	const struct dirent64 *e;
	ssize_t got;

	snprintf(names, sizeof(names), "/proc/self/fd/%d/.", path_fd);
	fd = sys.open(names, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	m->round++;
	while ((got = getdents64(fd, names, sizeof(names))) > 0)
		for (ssize_t at = 0; at < got; at += e->d_reclen) {
			e = (const void *)(names + at);
			if (!is_self_or_parent(e->d_name))
				entry_look(m, dir, fd, e);
		}
	era_open(m);
	if (got < 0)
		return -errno;
	list_for_each (l, next, &dir->children) {
		struct mnode *n = container_of(l, struct mnode, sibling);

		if (n->round == m->round)
			continue;
		list_del(&n->work);
		list_add_tail(&m->lost, &n->work);
	}
	return 0;
}

/* 0; -ENOENT or -ESTALE: not there at the moment; -ENOSPC: it got no watch; or another -errno. */
static int dir_sync(struct mirror *m, struct mnode *n)
{
	_cleanup_(look_done) struct look l = {.fd = -1};
	bool force = n->force;
	int r = look_below(m, n->key->parent, n->key->name, &l), wd;

	if (r == 0 && l.type != MNODE_DIR)
		r = -ENOENT;
	if (r == 0 && !n->key->parent && n->identity && l.identity != n->identity)
		r = -ESTALE; /* another root: roots_look makes it known */
	if (r < 0)
		return r;
	n->force = false;
	m->apart = m->apart || (n->identity && l.identity != n->identity);
	if (l.identity != n->identity)
		mnode_set_identity(&m->nodes, n, l.identity, l.ino);
	wd = watch_add_dir(m->watch, l.fd);
	if (wd >= 0 && wd == n->wd && !force)
		return 0;
	if (wd != n->wd)
		node_set_wd(m, n, wd < 0 ? -1 : wd);
	r = dir_list(m, n, l.fd);
	return r < 0 ? r : MIN(wd, 0);
}

static void dir_failed(struct mirror *m, struct mnode *n, int r)
{
	dir_pending(m, n);
	n->missing = r == -ENOENT || r == -ESTALE;
	if (n->missing)
		return;
	if (log_allow(&m->failed_limit, 10 * NS_PER_SEC) && mnode_path(n, &m->path) == 0)
		log_warn(0, "%s: %s%s, looking each second", m->path.data,
			 r == -ENOSPC ? "no watch: " : "", strerror(-r));
}

/* A worklist, not a recursion: the depth of a tree cannot exhaust the stack. */
void dirs_work(struct mirror *m)
{
	while (list_linked(&m->todo)) {
		struct mnode *n = container_of(m->todo.next, struct mnode, work);
		int r;

		list_del(&n->work);
		r = dir_sync(m, n);
		if (r < 0)
			dir_failed(m, n, r);
	}
	while (list_linked(&m->lost))
		node_gone(m, container_of(m->lost.next, struct mnode, work));
}

void node_set_wd(struct mirror *m, struct mnode *n, int wd)
{
	struct mnode *old = mnode_set_wd(&m->nodes, n, wd);

	m->apart = m->apart || (old && old->type == MNODE_DIR);
	if (old && old->type == MNODE_DIR)
		dir_pending(m, old);
	else if (old)
		file_rearm_soon(m, old);
}

static void wait_on(struct list *list, struct mnode *n, int64_t at_ns)
{
	n->at_ns = at_ns;
	list_del(&n->work);
	list_add_tail(list, &n->work);
}

/* At most one event per interval: else it waits for at least one. */
void file_rearm_soon(struct mirror *m, struct mnode *n)
{
	int64_t now = clock_now_ns();

	if (now - n->at_ns >= m->opt.interval_ns)
		file_rearm(m, n);
	else
		wait_on(&m->due, n, now + MAX(m->opt.interval_ns, NS_PER_MS));
}
