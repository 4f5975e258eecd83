/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root was removed: what its files held by then is still delivered, then they are let go, and
 * where each was left is remembered, as its root may come back.
 *
 *   followed --no directory leads to it--> leaving --read to leave_at, all acknowledged--> left
 *       ^                                     |                                             |
 *       +------------its root is back---------+        its root is back: goes on there      |
 *       +-----------------------------------------------------------------------------------+
 *
 * A leaving file stays in all tables. So one whose root comes back meanwhile has not moved, and one
 * that leaves has no batch under way: no place is ever known in two ways. It leaves at the end of a
 * line and of a record if such a moment comes soon, else within one: then the place is that of the
 * record's beginning, as in a checkpoint, whose lines these places share.
 *
 * What is written behind leave_at is nobody's: neither written nor lost, as far as the ledger goes.
 *
 * Rejected: releasing at once, with the place that is acknowledged (what is in batches would be
 * read again), keeping the files open (the descriptor and the inode of a log that nobody follows).
 */
#include "collector_leave.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "account/checkpoint.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"
#include "base/table.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_resume_impl.h"
#include "collector_state.h"
#include "drain/account.h"
#include "drain/join.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "watch/tree.h"

#define LOOK_NS       (5 * NS_PER_MS)
#define LOOK_LATER_NS (250 * NS_PER_MS) /* a sink may be stuck for hours */
#define PATIENCE_NS   (2 * NS_PER_SEC)  /* for the end of a line, of a record, of a generation */
#define LEFT_MAX      16384             /* places; the oldest are forgotten */

struct left {
	struct table_node by_inode;
	struct list in_left;
	struct {
		uint64_t ino;
		int64_t btime_ns;
	} key;
	struct checkpoint_entry e;
	char path[];
};

struct leave {
	unsigned n_leaving; /* at the last look */
	int64_t look_ns, patience_ns;
	struct table by_inode;
	struct list left; /* oldest first */
};

int collector_leave_new(struct collector *c)
{
	c->leave = calloc(1, sizeof(*c->leave));
	if (!c->leave)
		return -ENOMEM;
	list_init(&c->leave->left);
	return 0;
}

static void forget(struct leave *lv, struct left *l)
{
	table_del(&lv->by_inode, &l->by_inode);
	list_del(&l->in_left);
	free(l);
}

void collector_leave_free(struct collector *c)
{
	struct leave *lv = take_ptr(c->leave);

	if (!lv)
		return;
	list_for_each (i, next, &lv->left)
		forget(lv, container_of(i, struct left, in_left));
	table_done(&lv->by_inode);
	free(lv);
}

/* A compressed one, and one without a name, has an end anyway. */
static void look_whether_followed(void *ctx, struct file *f)
{
	struct collector *c = ctx;

	if (!f->path || f->compressed || tree_wants(c->tree, f->path)) {
		f->leave_at = 0;
		return;
	}
	c->leave->n_leaving++;
	if (f->leave_at)
		return;
	heat_look_size(f, clock_now_ns());
	f->leave_at = f->size + 1;
	if (file_dirty(f))
		collector_touched(c, f);
}

static bool is_followed(void *ctx, const char *path)
{
	return tree_wants(((struct collector *)ctx)->tree, path);
}

void collector_unfollowed(void *ctx)
{
	struct collector *c = ctx;
	int64_t now = clock_now_ns();

	files_keep_postponed(c->files, is_followed, c);
	c->leave->n_leaving = 0;
	files_each(c->files, look_whether_followed, c);
	c->leave->look_ns = now;
	c->leave->patience_ns = now + PATIENCE_NS;
}

int64_t collector_leave_ns(const struct collector *c)
{
	return c->leave->n_leaving ? c->leave->look_ns : INT64_MAX;
}

/* Records that began in f and are not whole yet. */
static unsigned count_joins(const struct file *f)
{
	unsigned n = 0;

	for (size_t i = 0; i < f->chain->n_joins; i++)
		n += f->chain->joins[i].file == f;
	return n;
}

bool collector_has_left(const struct collector *c, const struct file *f)
{
	if (!f->leave_at || f->offset + 1 < f->leave_at)
		return false;
	/* A rotated one has an end, and the next may go on with its last record. */
	if (list_linked(&f->in_chain) && f != f->chain->live)
		return false;
	return !chain_joins_pending(f->chain) || clock_now_ns() >= c->leave->patience_ns;
}

static bool can_leave(const struct collector *c, const struct file *f, int64_t now_ns)
{
	bool queued = list_linked(&f->in_chain);
	unsigned joins = count_joins(f);

	if (f->maybe_copy || f->inflight != joins || (file_dirty(f) && f->offset + 1 < f->leave_at))
		return false;
	if (now_ns >= c->leave->patience_ns)
		return true;
	if (joins || f->torn || (queued && f != f->chain->live))
		return false;
	return !queued || (file_eligible(f) && !chain_joins_pending(f->chain));
}

static struct left *find(const struct leave *lv, uint64_t ino, int64_t btime_ns)
{
	struct left key = {.key = {ino, btime_ns}};
	struct table_node *n = table_get(&lv->by_inode, &key.key, sizeof(key.key));

	return n ? container_of(n, struct left, by_inode) : NULL;
}

/* Without memory for it, the file is read from its beginning when it comes back. */
static void remember(struct leave *lv, const struct checkpoint_entry *e)
{
	size_t len = strlen(e->path) + 1;
	struct left *l = find(lv, e->ino, e->btime_ns);

	if (l)
		forget(lv, l);
	if (lv->by_inode.count == LEFT_MAX)
		forget(lv, container_of(lv->left.next, struct left, in_left));
	l = calloc(1, sizeof(*l) + len);
	if (!l)
		return;
	l->key.ino = e->ino;
	l->key.btime_ns = e->btime_ns;
	l->e = *e;
	memcpy(l->path, e->path, len);
	l->e.path = l->path;
	if (table_add(&lv->by_inode, &l->by_inode, &l->key, sizeof(l->key)) < 0)
		free(l);
	else
		list_add_tail(&lv->left, &l->in_left);
}

static void leave(struct collector *c, struct file *f)
{
	struct checkpoint_entry e;

	if (!f->identity.head_len && f->fd < 0 && files_open(c->files, f) == -ESTALE)
		return; /* it has lost its name */
	collector_identify(f);
	collector_entry(f, &e);
	remember(c->leave, &e);
	for (size_t i = 0; i < f->chain->n_joins; i++) {
		struct join *j = &f->chain->joins[i];

		if (j->file != f)
			continue;
		join_done(j, &c->joins);
		f->inflight--;
	}
	files_release(c->files, f);
}

static void leave_if_ready(void *ctx, struct file *f)
{
	struct collector *c = ctx;

	if (!f->leave_at)
		return;
	if (f->path && tree_wants(c->tree, f->path)) {
		f->leave_at = 0;
		return;
	}
	if (can_leave(c, f, clock_now_ns()))
		leave(c, f);
	else
		c->leave->n_leaving++;
}

void collector_leave_turn(struct collector *c, int64_t now_ns)
{
	if (now_ns < collector_leave_ns(c))
		return;
	c->leave->n_leaving = 0;
	files_each(c->files, leave_if_ready, c);
	c->leave->look_ns =
		clock_now_ns() + (now_ns < c->leave->patience_ns ? LOOK_NS : LOOK_LATER_NS);
	collector_changed(c, now_ns);
}

bool collector_back_file(struct collector *c, struct file *f)
{
	struct left *l = find(c->leave, f->id.ino, f->identity.btime_ns);
	bool same;

	if (!l || f->compressed)
		return false;
	same = l->e.dev == f->id.dev && resume_is_of(f, &l->e);
	if (same) {
		resume_set_place(f, &l->e);
		account_begin(f, c->counts, ACCOUNT_UNKNOWN);
	}
	forget(c->leave, l);
	return same;
}

int collector_put_left(struct collector *c, struct buf *text, uint64_t *n)
{
	list_for_each (i, next, &c->leave->left) {
		int r = checkpoint_add(text, &container_of(i, struct left, in_left)->e);

		if (r == -ENOMEM)
			return r;
		*n += r == 0;
	}
	return 0;
}
