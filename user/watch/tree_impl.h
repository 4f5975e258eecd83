/* SPDX-License-Identifier: Apache-2.0 */
/* The tree's inside, shared by tree.c (directories and names), tree_roots.c and tree_turn.c. */
#ifndef WATCH_TREE_IMPL_H
#define WATCH_TREE_IMPL_H

#include "base/buf.h"
#include "base/log.h"
#include "watch/roots.h"
#include "watch/tree.h"
#include "watch/tree_node.h"

struct tree {
	struct watch *watch;
	struct tree_hooks hooks;
	struct nodes nodes;
	struct roots roots;
	char *moved_from; /* the path of the last half of a rename, and its cookie */
	uint32_t moved_cookie;
	bool moved_here;        /* the event being dealt with is the other half */
	bool looking, scanning; /* on behalf of tree_look; in tree_scan */
	bool walking;           /* from the roots to everything that they lead to, in one round */
	bool stale;             /* nodes that no root leads to may be left */
	bool relisting;         /* directories without a watch, each by itself */
	uint8_t round;          /* of work, against links that go round */
	bool short_of_memory;   /* something was left out: a rescan finds it */
	struct buf failed; /* directories that could not be opened: tried again after a pause */
	int64_t retry_ns, pause_ns;
	struct log_limit refused_limit, failed_limit;
	int64_t root_ns, relist_ns, dangling_ns; /* dangling_ns 0: no link is */
	int64_t relist_round_ns;
	size_t relist_at, relist_left; /* buckets of nodes.by_path; left in this round */
	struct tree_stats stats;
};

/* A directory to be watched and listed. A worklist, not a recursion: neither the depth of a tree
 * nor links that lead from one directory to the next can exhaust the stack. The last one is next:
 * so the list is short by the time that the tree is large. */
void tree_push(struct tree *t, struct buf *todo, const char *path);
/* One that is not known, has no watch, or was not reached in this walk. */
void tree_push_new(struct tree *t, struct buf *todo, const char *path);
/* Likewise a root, or a directory in a directory. If it was known for the sake of links to some of
 * its files, it is followed as a whole now. */
void tree_push_below(struct tree *t, struct buf *todo, const char *path);
/* Does what is on the list, and what that adds to it; then the list is freed. */
void tree_work(struct tree *t, struct buf *todo);
void tree_add_dir(struct tree *t, const char *path);
/* Forgets a directory that is gone, with all below it. */
void tree_drop(struct tree *t, struct node *n);

/* tree_roots.c */
/* Looks whether the roots are there. */
void tree_check_roots(struct tree *t);
/* Goes to everything that the roots lead to, and forgets the rest. */
void tree_walk(struct tree *t);
/* While walking: n could not be opened, and stays with all below it. */
void tree_keep(struct tree *t, struct node *n);

#endif
