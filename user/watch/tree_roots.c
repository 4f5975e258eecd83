/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree's roots: whether they are there, and others in their place.
 *
 * With other roots, or other directories that links may lead into, everything is walked once more,
 * from the roots along links, in one round; what was not reached is followed no longer. A directory
 * that is reached keeps its node and its watch, whichever root it was reached from before, so no
 * event of it is lost. Rejected: taking away what lies below a removed root (another root may lie
 * in it, or a link lead into it, and what its links led to would stay).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "base/table.h"
#include "watch/tree_impl.h"

/* A root can go away by a rename of itself or of a directory above it, which no watch of ours
 * tells. */
void tree_check_roots(struct tree *t)
{
	t->roots.missing = 0;
	for (size_t i = 0; i < t->roots.n; i++) {
		struct root *r = &t->roots.items[i];
		struct node *n = r->path ? node_by_path(&t->nodes, r->path) : NULL;

		/* Made anew it can have the old one's inode: then only its node is missing. */
		if (r->path && (!n || !root_is_there(r))) {
			log_warn(0, "root %s is gone, waiting for it to come back", r->given);
			if (n)
				tree_drop(t, n);
			free(take_ptr(r->path));
		}
		if (!r->path && root_find(r) == 0) {
			log_info("root %s is back", r->given);
			tree_add_dir(t, r->path);
		}
		t->roots.missing += !r->path;
	}
}

static bool is_reached(const struct tree *t, const struct node *n)
{
	return n->round == t->round;
}

void tree_keep(struct tree *t, struct node *n)
{
	n->round = t->round;
	list_for_each (l, next, &n->children)
		tree_keep(t, container_of(l, struct node, sibling));
}

/* The round is a small number that comes again: no node may have it before it is reached. */
static void begin(struct tree *t)
{
	t->round++;
	for (struct table_node *i = NULL; (i = table_walk(&t->nodes.by_path, i));)
		container_of(i, struct node, by_path)->round = (uint8_t)(t->round - 1);
	t->walking = true;
}

/* Nothing is told of what is below: it is there, only not followed any more. */
static void sweep(struct tree *t)
{
	struct buf left = {0};
	const char *path;

	for (struct table_node *i = NULL; (i = table_walk(&t->nodes.by_path, i));) {
		struct node *n = container_of(i, struct node, by_path);

		if (!is_reached(t, n))
			tree_push(t, &left, n->path);
		else if (n->parent && !is_reached(t, n->parent))
			node_leave_parent(n);
	}
	for (size_t at = 0; at < left.len; at += strlen(path) + 1) {
		struct node *n;

		path = left.data + at;
		n = node_by_path(&t->nodes, path);
		if (n)
			node_free(&t->nodes, n);
	}
	buf_done(&left);
}

static void walk_roots(struct tree *t, bool added)
{
	struct buf todo = {0};

	for (size_t i = 0; i < t->roots.n; i++)
		if (t->roots.items[i].path && t->roots.items[i].added == added)
			tree_push_below(t, &todo, t->roots.items[i].path);
	tree_work(t, &todo);
}

void tree_walk(struct tree *t)
{
	begin(t);
	for (size_t i = 0; i < t->roots.n; i++) {
		struct root *r = &t->roots.items[i];

		r->added = r->path && !node_by_path(&t->nodes, r->path);
	}
	walk_roots(t, false);
	if (t->hooks.starting)
		t->hooks.starting(t->hooks.ctx, true);
	walk_roots(t, true);
	if (t->hooks.starting)
		t->hooks.starting(t->hooks.ctx, false);
	t->walking = false;
	t->stale = t->short_of_memory;
	if (t->stale)
		return; /* what could not be noted was not reached: again, soon */
	sweep(t);
	t->stale = t->short_of_memory;
	if (t->hooks.unfollowed)
		t->hooks.unfollowed(t->hooks.ctx);
}

int tree_prepare(char *const *roots, size_t n_roots, char *const *links, size_t n_links,
		 struct roots **ret_roots, char *why)
{
	struct roots *rs = calloc(1, sizeof(*rs));
	int r = -ENOMEM;

	if (rs)
		r = roots_init(rs, roots, n_roots, links, n_links, why);
	else
		snprintf(why, TREE_WHY_MAX, "roots: %s", strerror(ENOMEM));
	if (r < 0) {
		tree_prepare_free(rs);
		return r;
	}
	*ret_roots = rs;
	return 0;
}

void tree_prepare_free(struct roots *rs)
{
	if (!rs)
		return;
	roots_done(rs);
	free(rs);
}

void tree_change(struct tree *t, struct roots *rs)
{
	roots_done(&t->roots);
	t->roots = *rs;
	free(rs);
	buf_done(&t->failed); /* those that are still wanted are tried again now */
	t->pause_ns = 0;
	tree_walk(t);
}
