/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sources say what is there: events, each exact but some time ago, and looks at a directory,
 * which are now but not at one instant. The events of a directory's watch are applied in order, to
 * whatever node has that watch, and applying one is idempotent: created is nothing if the name is
 * known, deleted nothing if it is not. A listing may be ahead of the events; but for each name the
 * last event is right, and a name without one is as listed, so that when all are in, the names are.
 * That alone would tell of things twice: where a node was found by such a look, an event that
 * contradicts it is believed only if the object is not there now (node_is_ahead).
 *
 * The halves of a rename are joined by their cookie. Until the second has come the node stays where
 * it is; if none does it was moved away. A renamed node is checked to be what is at the new name,
 * and the old name to be free: by the time of the look the one may have been another object, and
 * the other be taken again, by an exchange even without an event of its own.
 *
 * What does not fit at all ends in looking at everything, as after an overflow; so does, once it is
 * quiet, that a directory turned out to be another one than it was taken for: directories that are
 * exchanged again and again, faster than their events are read, can be told apart in no other way.
 *
 * Rejected: to look at each name that an event mentions and believe only that (a chain of renames
 * would be a deletion and a creation); to tell of the events as they are (an observer would have
 * to do all this); descriptors of all directories, so that no path is needed.
 */
#include "watch/mirror.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "event/event.h"
#include "watch/mirror_impl.h"
#include "watch/watch.h"

static const char *type_name(const struct mnode *n)
{
	static const char *const names[] = {"file", "directory", "link", "other"};

	return names[n->type];
}

/* from: NULL, or where it was. */
static void tell(struct mirror *m, uint32_t action, const struct mnode *n, const char *from)
{
	struct mirror_change c = {.action = action,
				  .from = from,
				  .type = type_name(n),
				  .ino = n->ino,
				  .is_dir = n->type == MNODE_DIR,
				  .was_there = m->scanning};

	if (mnode_path(n, &m->path) < 0) {
		m->rescan_due = true; /* no memory: and what is told next is not exact */
		return;
	}
	c.path = m->path.data;
	m->opt.told(m->opt.ctx, &c);
}

static void tell_written(struct mirror *m, struct mnode *n)
{
	n->written = false;
	tell(m, FILE_WRITTEN, n, NULL);
}

void leaving_forget(struct mirror *m, const struct mnode *n)
{
	for (unsigned i = 0; i < m->n_leaving; i++) {
		if (m->leaving[i].node != n)
			continue;
		m->leaving[i].node->cookie = 0;
		memmove(m->leaving + i, m->leaving + i + 1,
			(--m->n_leaving - i) * sizeof(m->leaving[0]));
		return;
	}
}

void node_gone(struct mirror *m, struct mnode *top)
{
	struct mnode *parent;
	bool last;

	for (struct mnode *n = top;; n = parent) {
		n = mnode_leaf(n);
		parent = n->key->parent;
		last = n == top;
		if (n->written)
			tell_written(m, n);
		tell(m, FILE_DELETED, n, NULL);
		if (n->cookie)
			leaving_forget(m, n);
		watch_del(m->watch, n->wd);
		mnode_free(&m->nodes, n);
		if (last)
			return;
	}
}

/* What is in dir cannot be looked at now: as a whole, when that is possible again. */
static void doubt(struct mirror *m, struct mnode *dir)
{
	dir->force = true;
	dir_pending(m, dir);
}

void leaving_resolve(struct mirror *m, struct mnode *n)
{
	int there = node_is_there(m, n);

	leaving_forget(m, n);
	if (there == 0)
		node_gone(m, n);
	else if (there < 0 && n->key->parent)
		doubt(m, n->key->parent);
}

static void leaving_add(struct mirror *m, struct mnode *n, uint32_t cookie)
{
	if (n->cookie)
		leaving_forget(m, n);
	if (m->n_leaving == LEAVING_MAX)
		leaving_resolve(m, m->leaving[0].node);
	n->cookie = cookie;
	m->leaving[m->n_leaving++] = (struct leaving){
		.node = n, .mark = watch_mark(m->watch), .since_ns = clock_now_ns()};
}

static struct mnode *leaving_get(const struct mirror *m, uint32_t cookie)
{
	for (unsigned i = 0; i < m->n_leaving; i++)
		if (m->leaving[i].node->cookie == cookie)
			return m->leaving[i].node;
	return NULL;
}

void node_identify(struct mirror *m, struct mnode *n, const struct look *l)
{
	n->type = (uint8_t)l->type;
	n->stamp = n->identity == l->identity ? n->stamp : 0;
	mnode_set_identity(&m->nodes, n, l->identity, l->ino);
}

static struct mnode *new_node(struct mirror *m, struct mnode *dir, const char *name)
{
	struct mnode *n = NULL;
	int r = mnode_new(&m->nodes, dir, name, &n);

	if (r == -ENOMEM)
		m->rescan_due = true;
	if (r == -ENOSPC && !m->paths_short)
		log_warn(0, "more than %zu paths, what is beyond is not told of", m->nodes.max);
	m->paths_short = m->paths_short || r == -ENOSPC;
	return n;
}

/* Now that it is watched: what is written next is heard. */
static bool has_content(const struct look *l)
{
	struct stat st;

	return sys.fstat(l->fd, &st) == 0 && st.st_size > 0;
}

/* r: of the look at it. */
static void node_born(struct mirror *m, struct mnode *n, const struct look *l, int r,
		      enum found_by by)
{
	if (n->type == MNODE_DIR) {
		tell(m, FILE_CREATED, n, NULL);
		if (n->identity)
			dir_todo(m, n, false);
		else
			dir_pending(m, n);
		return;
	}
	if (n->type == MNODE_FILE && m->opt.writes)
		file_watch(m, n, l, r);
	tell(m, FILE_CREATED, n, NULL);
	if (m->opt.writes && by != FOUND_MOVED_IN && !m->scanning && n->type == MNODE_FILE &&
	    r == 0 && has_content(l))
		tell_written(m, n);
}

/* May what is there now be what an event has told of? If that was a directory and this is one that
 * is elsewhere, it will be renamed to this name. */
static bool is_it(const struct mirror *m, bool is_dir, const struct look *l)
{
	if (l->type != MNODE_DIR)
		return !is_dir;
	return is_dir && !mnode_by_identity(&m->nodes, l->identity);
}

void node_found(struct mirror *m, struct mnode *dir, const char *name, bool is_dir, int dir_fd,
		enum found_by by)
{
	_cleanup_(look_done) struct look l = {.fd = -1};
	struct mnode *n;
	int r = dir_fd >= 0 ? look_in(dir_fd, name, &l) : look_below(m, dir, name, &l);

	if (by == FOUND_LOOK && r < 0) { /* if it is gone, an event will tell */
		if (r != -ENOENT && dir_fd < 0)
			doubt(m, dir);
		return;
	}
	if (by == FOUND_MOVED_IN && r == -ENOENT)
		return;
	n = by == FOUND_LOOK ? renamed_from(m, dir, &l) : NULL;
	if (n) {
		node_moved(m, n, dir, name, true);
		return;
	}
	n = new_node(m, dir, name);
	if (!n)
		return;
	n->type = is_dir ? MNODE_DIR : MNODE_FILE;
	if (r == 0 && by != FOUND_LOOK && !is_it(m, is_dir, &l))
		r = -ENOENT;
	if (r == 0)
		node_identify(m, n, &l);
	if (by == FOUND_LOOK)
		n->era = m->era;
	if (by == FOUND_LOOK && dir_fd < 0)
		era_open(m);
	node_born(m, n, &l, r, by);
}

/* What is there under the new name is another object, or none, or cannot be looked at yet. r: of
 * the look. */
static void node_verify(struct mirror *m, struct mnode *n, const struct look *l, int r)
{
	bool same = r == 0 && l->identity == n->identity;

	if (n->type == MNODE_DIR) {
		if (!same || n->wd < 0)
			dir_todo(m, n, false);
		return;
	}
	if (same && (n->wd >= 0 || list_linked(&n->work)))
		return;
	watch_del(m->watch, n->wd);
	mnode_set_wd(&m->nodes, n, -1);
	if (r == 0 && l->type != MNODE_DIR)
		node_identify(m, n, l);
	if (n->type == MNODE_FILE && m->opt.writes)
		file_watch(m, n, l, r);
}

void node_moved(struct mirror *m, struct mnode *n, struct mnode *dir, const char *name, bool known)
{
	_cleanup_(look_done) struct look l = {.fd = -1};
	int r = known ? 0 : look_below(m, dir, name, &l);

	leaving_forget(m, n);
	if (mnode_path(n, &m->from) < 0 || mnode_move(&m->nodes, n, dir, name) < 0) {
		m->rescan_due = true;
		return;
	}
	if (!n->identity && l.fd >= 0 && (n->type == MNODE_DIR) == (l.type == MNODE_DIR))
		node_identify(m, n, &l); /* it had left its first name before it could be asked */
	tell(m, FILE_RENAMED, n, m->from.data);
	if (!known) {
		node_verify(m, n, &l, r);
		return;
	}
	n->era = m->era;
	list_del(&n->work); /* not lost */
	if (n->type == MNODE_DIR)
		dir_todo(m, n, m->forcing);
	else if (n->type == MNODE_FILE && m->opt.writes && (n->wd < 0 || m->forcing))
		file_rearm(m, n);
}

/* Both halves of a rename: n is what was called so before, there what the mirror has at the name
 * now, or NULL. */
static void renamed(struct mirror *m, struct mnode *n, struct mnode *dir, const char *name,
		    struct mnode *there)
{
	struct mnode *old_dir = n->key->parent;
	_cleanup_free_ char *old_name = NULL;

	if (there == n || mnode_is_below(dir, n) || (there && mnode_is_below(n, there))) {
		leaving_forget(m, n);
		m->rescan_due = m->rescan_due || there != n;
		return;
	}
	if (there && node_is_ahead(m, there)) { /* so this is in already */
		leaving_resolve(m, n);
		return;
	}
	old_name = strdup(n->key->name);
	if (there)
		node_gone(m, there);
	node_moved(m, n, dir, name, false);
	dirs_work(m);
	if (old_name && !mnode_get(&m->nodes, old_dir, old_name))
		node_found(m, old_dir, old_name, false, -1, FOUND_LOOK);
	/* It is there again: then something else is at the new name. */
	if (!mnode_get(&m->nodes, dir, name))
		node_found(m, dir, name, false, -1, FOUND_LOOK);
}

static void moved_to(struct mirror *m, struct mnode *dir, const struct event *e)
{
	struct mnode *there = mnode_get(&m->nodes, dir, e->actor_name);
	struct mnode *n = leaving_get(m, e->cookie);

	if (n && e->is_dir == (n->type == MNODE_DIR)) {
		renamed(m, n, dir, e->actor_name, there);
		return;
	}
	if (there && node_is_there(m, there) == 1) {
		if (there->cookie)
			leaving_forget(m, there);
		return;
	}
	if (there)
		node_gone(m, there);
	node_found(m, dir, e->actor_name, e->is_dir, -1, FOUND_MOVED_IN);
}

static void created(struct mirror *m, struct mnode *dir, const struct event *e)
{
	struct mnode *n = mnode_get(&m->nodes, dir, e->actor_name);

	if (n && n->cookie) {
		leaving_resolve(m, n);
		n = mnode_get(&m->nodes, dir, e->actor_name);
	}
	if (!n)
		node_found(m, dir, e->actor_name, e->is_dir, -1, FOUND_EVENT);
	else if (e->is_dir != (n->type == MNODE_DIR))
		m->rescan_due = m->rescan_due || n->era != m->era;
	else if (e->is_dir && n->wd < 0)
		dir_todo(m, n, false);
}

static void vanished(struct mirror *m, struct mnode *dir, const struct event *e)
{
	struct mnode *n = mnode_get(&m->nodes, dir, e->actor_name);

	if (!n)
		return;
	if (e->is_dir != (n->type == MNODE_DIR)) {
		/* Only a look that was ahead can have found something of another kind. */
		m->rescan_due = m->rescan_due || n->era != m->era;
		return;
	}
	if (e->action & FILE_MOVED_FROM)
		leaving_add(m, n, e->cookie);
	else if (!node_is_ahead(m, n))
		node_gone(m, n);
}

static void file_event(struct mirror *m, struct mnode *n, const struct event *e)
{
	if (e->action & FILE_WRITTEN)
		n->written = true;
	if (!(e->action & FILE_UNWATCHED))
		return;
	mnode_set_wd(&m->nodes, n, -1);
	file_rearm_soon(m, n);
}

void mirror_event(struct mirror *m, const struct event *e)
{
	struct mnode *n = mnode_by_wd(&m->nodes, e->watch);

	if (!n)
		return;
	if (n->type != MNODE_DIR) {
		file_event(m, n, e);
		return;
	}
	if (e->action & FILE_UNWATCHED) {
		mnode_set_wd(&m->nodes, n, -1);
		dir_pending(m, n);
		if (!n->key->parent)
			roots_look(m);
	} else if (e->actor_name) {
		if (e->action & FILE_VANISHED)
			vanished(m, n, e);
		if (e->action & FILE_CREATED)
			created(m, n, e);
		if (e->action & FILE_MOVED_TO)
			moved_to(m, n, e);
	}
	dirs_work(m);
}

void mirror_check(const struct mirror *m)
{
	unsigned leaving = 0;
	size_t watched = 0;

	for (struct table_node *i = NULL; (i = table_walk(&m->nodes.by_name, i));) {
		const struct mnode *n = container_of(i, struct mnode, by_name);

		assert(mnode_get(&m->nodes, n->key->parent, n->key->name) == n);
		assert(!n->key->parent || n->key->parent->type == MNODE_DIR);
		assert(n->type == MNODE_DIR || !list_linked(&n->children));
		assert(n->wd < 0 || mnode_by_wd(&m->nodes, n->wd) == n);
		assert(n->type != MNODE_DIR || n->wd >= 0 || list_linked(&n->work));
		leaving += n->cookie != 0;
		watched += n->wd >= 0;
	}
	assert(leaving == m->n_leaving);
	assert(watched == m->nodes.by_wd.count);
	for (unsigned i = 0; i < m->n_leaving; i++)
		assert(leaving_get(m, m->leaving[i].node->cookie) == m->leaving[i].node);
}
