/* SPDX-License-Identifier: Apache-2.0 */
/* What no event asks for: roots, what could not be done at once, and what is due. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/sys.h"
#include "event/event.h"
#include "watch/mirror_impl.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define PAUSE_MAX_NS  NS_PER_SEC
#define ROOTS_NS      (NS_PER_SEC / 2)
#define FILE_RETRY_NS (2 * NS_PER_SEC)

static void put_off(struct mirror *m, struct mnode *n, struct list *list, int64_t delay_ns)
{
	n->at_ns = clock_now_ns() + delay_ns;
	list_del(&n->work);
	list_add_tail(list, &n->work);
}

static void file_refused(struct mirror *m, struct mnode *n, int r, bool shared)
{
	int64_t soon = MAX(m->opt.interval_ns, SETTLE_NS);

	if (r == -ENOENT) /* an event of that is still to come */
		return;
	if (r == -ESTALE || (r == -EEXIST && !shared)) {
		put_off(m, n, &m->due, soon);
		return;
	}
	put_off(m, n, &m->later, FILE_RETRY_NS);
	if (r == -EEXIST || !log_allow(&m->failed_limit, 10 * NS_PER_SEC) ||
	    mnode_path(n, &m->path) < 0)
		return;
	log_warn(0, "%s: no watch: %s, looking every two seconds whether it was written",
		 m->path.data, strerror(-r));
}

/* Was it written while it had no watch? A one-shot watch is spent also when a writer closes the
 * file, and what is written next is not heard. */
static void stamp_compare(struct mnode *n, int fd)
{
	uint64_t stamp;
	struct stat st;

	if (sys.fstat(fd, &st) < 0) {
		n->written = true; /* it may */
		return;
	}
	stamp = (uint64_t)(st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec) * 31 +
		(uint64_t)st.st_size;
	stamp |= 1;
	n->written = n->written || (n->stamp && n->stamp != stamp);
	n->stamp = stamp;
}

/* First watched, then looked at, then told: every write is either before what is told or seen by
 * the watch. */
void file_watch(struct mirror *m, struct mnode *n, const struct look *l, int r)
{
	list_del(&n->work);
	if (r == 0) {
		r = watch_add_file(m->watch, l->fd);
		stamp_compare(n, l->fd);
	}
	if (r >= 0) {
		node_set_wd(m, n, r);
		n->at_ns = clock_now_ns();
	} else if (n->wd < 0) {
		file_refused(m, n, r, l->shared);
	}
	if (!n->written || mnode_path(n, &m->path) < 0)
		return;
	n->written = false;
	m->opt.told(m->opt.ctx, &(struct mirror_change){.action = FILE_WRITTEN,
							.path = m->path.data,
							.type = "file",
							.ino = n->ino});
}

void file_rearm(struct mirror *m, struct mnode *n)
{
	_cleanup_(look_done) struct look l = {.fd = -1};
	int r = look_below(m, n->key->parent, n->key->name, &l);

	if (r == 0 && l.identity != n->identity && l.type != MNODE_DIR)
		node_identify(m, n, &l);
	if (r == 0 && l.type != MNODE_FILE)
		r = -ENOENT;
	file_watch(m, n, &l, r);
}

static void files_due(struct mirror *m, struct list *list, int64_t now_ns)
{
	while (list_linked(list)) {
		struct mnode *n = container_of(list->next, struct mnode, work);

		if (n->at_ns > now_ns)
			return;
		file_rearm(m, n); /* if it is put off, then behind now */
	}
}

/* A root within another is part of that one. r: its index. */
static bool root_is_within(const struct roots *rs, size_t r, const char *path)
{
	for (size_t i = 0; i < rs->n; i++) {
		const char *other = rs->items[i].path;
		size_t len = other ? strlen(other) : 0;

		if (!len || strncmp(path, other, len) != 0 || i == r)
			continue;
		if (path[len] == '/' || len == 1 || (path[len] == '\0' && i < r))
			return true;
	}
	return false;
}

static void root_scan(struct mirror *m, size_t r)
{
	const char *path = m->roots.items[r].path;

	if (path && !root_is_within(&m->roots, r, path))
		node_found(m, NULL, path, true, -1, FOUND_EVENT);
	dirs_work(m);
}

/* A root can go away by a rename of itself or of a directory above it, which no watch tells. */
void roots_look(struct mirror *m)
{
	m->roots.missing = 0;
	for (size_t i = 0; i < m->roots.n; i++) {
		struct root *r = &m->roots.items[i];
		struct mnode *n = r->path ? mnode_get(&m->nodes, NULL, r->path) : NULL;

		/* Made anew it can have the old one's inode. */
		if (r->path && (n ? node_is_there(m, n) == 0 : !root_is_there(r))) {
			log_warn(0, "root %s is gone, waiting for it to come back", r->given);
			if (n)
				node_gone(m, n);
			free(take_ptr(r->path));
		}
		if (!r->path && root_find(r) == 0) {
			log_info("root %s is back", r->given);
			root_scan(m, i);
		}
		m->roots.missing += !r->path;
	}
}

void mirror_scan(struct mirror *m)
{
	m->scanning = true;
	for (size_t i = 0; i < m->roots.n; i++)
		root_scan(m, i);
	m->scanning = false;
}

void mirror_rescan(struct mirror *m)
{
	m->rescans++;
	m->rescan_due = false;
	m->paths_short = false;
	roots_look(m);
	m->forcing = true;
	for (size_t i = 0; i < m->roots.n; i++) {
		const char *path = m->roots.items[i].path;
		struct mnode *n = path ? mnode_get(&m->nodes, NULL, path) : NULL;

		if (n)
			dir_todo(m, n, true);
	}
	dirs_work(m);
	m->forcing = false;
}

void mirror_before_flush(struct mirror *m)
{
	m->flush_ns = INT64_MAX;
	for (unsigned i = 0; i < m->n_leaving; i++)
		m->leaving[i].reached =
			m->leaving[i].reached || watch_reached(m->watch, m->leaving[i].mark);
	m->era_reached = m->era_open && watch_reached(m->watch, m->era_mark);
}

/* All events that a look may have been ahead of are in. */
static void settle(struct mirror *m, int64_t now_ns)
{
	while (m->n_leaving && m->leaving[0].reached &&
	       now_ns - m->leaving[0].since_ns >= SETTLE_NS)
		leaving_resolve(m, m->leaving[0].node);
	if (m->era_open && m->era_reached) {
		m->era_open = false;
		m->era++;
	}
}

/* What should be there and is not although nothing is to come any more: its directory knows. */
static void ask_parents(struct mirror *m)
{
	list_for_each (l, next, &m->pending) {
		struct mnode *n = container_of(l, struct mnode, work);

		m->rescan_due = m->rescan_due || (n->missing && n->key->parent);
	}
}

static void retry_pending(struct mirror *m, int64_t now_ns)
{
	int64_t pause_ns = m->pause_ns;

	while (list_linked(&m->pending))
		dir_todo(m, container_of(m->pending.next, struct mnode, work), false);
	dirs_work(m);
	if (!list_linked(&m->pending))
		return;
	m->pause_ns = MIN(pause_ns * 2, PAUSE_MAX_NS);
	m->pending_ns = now_ns + m->pause_ns;
	if (!m->era_open && !m->n_leaving)
		ask_parents(m);
}

int64_t mirror_turn(struct mirror *m, int64_t now_ns)
{
	int64_t next;

	settle(m, now_ns);
	if (now_ns >= m->roots_ns) {
		roots_look(m);
		m->roots_ns = now_ns + ROOTS_NS;
	}
	if (list_linked(&m->pending) && now_ns >= m->pending_ns)
		retry_pending(m, now_ns);
	if (m->apart && !m->era_open && !m->n_leaving) {
		m->apart = false;
		m->rescan_due = true;
	}
	files_due(m, &m->due, now_ns);
	files_due(m, &m->later, now_ns);
	if (m->rescan_due)
		mirror_rescan(m);
	next = m->roots_ns;
	if ((m->era_open || m->n_leaving) && m->flush_ns == INT64_MAX)
		m->flush_ns = now_ns + MAX(m->opt.interval_ns, SETTLE_NS);
	if (list_linked(&m->pending))
		next = MIN(next, m->pending_ns);
	if (list_linked(&m->due))
		next = MIN(next, container_of(m->due.next, struct mnode, work)->at_ns);
	if (list_linked(&m->later))
		next = MIN(next, container_of(m->later.next, struct mnode, work)->at_ns);
	return m->rescan_due ? now_ns + SETTLE_NS : next;
}

int64_t mirror_flush_ns(const struct mirror *m)
{
	return m->flush_ns;
}

bool mirror_is_settled(const struct mirror *m)
{
	/* What is still pending after a second will be so for long. */
	bool pending = list_linked(&m->pending) && m->pause_ns < PAUSE_MAX_NS;

	return !m->n_leaving && !m->era_open && !m->rescan_due && !m->apart && !pending &&
	       !list_linked(&m->due);
}

/* The node below top that rest, "/NAME/NAME", leads to. */
static struct mnode *node_at(const struct mirror *m, struct mnode *top, const char *rest)
{
	char name[NAME_MAX + 1];

	while (top && *rest) {
		size_t len = strcspn(++rest, "/");

		if (len > NAME_MAX)
			return NULL;
		memcpy(name, rest, len);
		name[len] = '\0';
		top = mnode_get(&m->nodes, top, name);
		rest += len;
	}
	return top;
}

void mirror_walk(struct mirror *m, const char *path,
		 void (*fn)(void *ctx, const char *path, bool is_dir), void *ctx)
{
	_cleanup_(buf_done) struct buf at = {0};
	struct mnode *top = NULL;

	for (size_t i = 0; i < m->roots.n && !top; i++) {
		const char *root = m->roots.items[i].path;
		size_t len = root && root[1] ? strlen(root) : 0;

		if (root && strncmp(path, root, len) == 0 && (!path[len] || path[len] == '/'))
			top = node_at(m, mnode_get(&m->nodes, NULL, root), path + len);
	}
	for (struct mnode *n = top; n; n = mnode_walk(top, n))
		if (mnode_path(n, &at) == 0)
			fn(ctx, at.data, n->type == MNODE_DIR);
}

int mirror_new(struct watch *w, const struct mirror_options *options, struct mirror **ret_mirror)
{
	struct mirror *m = calloc(1, sizeof(*m));
	char why[TREE_WHY_MAX];
	int r;

	if (!m)
		return -ENOMEM;
	m->watch = w;
	m->opt = *options;
	m->nodes.max = options->paths_max;
	m->era = 1;
	m->flush_ns = INT64_MAX;
	list_init(&m->todo);
	list_init(&m->lost);
	list_init(&m->pending);
	list_init(&m->due);
	list_init(&m->later);
	r = roots_init(&m->roots, options->roots, options->n_roots, NULL, 0, why);
	if (r < 0) {
		mirror_free(m);
		return log_err(r, "%s", why);
	}
	*ret_mirror = m;
	return 0;
}

void mirror_free(struct mirror *m)
{
	if (!m)
		return;
	mnodes_done(&m->nodes);
	roots_done(&m->roots);
	buf_done(&m->path);
	buf_done(&m->from);
	free(m);
}

void mirror_stats(const struct mirror *m, struct mirror_stats *ret_stats)
{
	*ret_stats = (struct mirror_stats){.paths = m->nodes.by_name.count,
					   .roots_missing = m->roots.missing,
					   .rescans = m->rescans};
}
