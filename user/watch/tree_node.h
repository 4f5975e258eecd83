/* SPDX-License-Identifier: Apache-2.0 */
/* The directories that the tree watches: found by watch and by path, linked to their parents. */
#ifndef WATCH_TREE_NODE_H
#define WATCH_TREE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"

struct watch;

struct nodes { /* zero-initialised but for watch and removed */
	struct watch *watch;
	void (*removed)(void *ctx, const char *path); /* may be NULL: a node is being freed */
	void *ctx;
	struct table by_wd, by_path;
	unsigned unwatched;
};

struct node {
	struct table_node by_wd, by_path;
	struct list sibling, children;
	struct node *parent;
	struct node_names *names; /* NULL: none yet */
	void *tag;                /* see tree_tag */
	int wd;
	bool linked;   /* reached by links to files: not recursive, and only names in names */
	bool dangling; /* holds a link that leads nowhere yet */
	uint8_t round; /* of the tree's work, in which it was last listed */
	char path[];   /* there are two of these per log: no byte between */
};

/* The path of name in n, canonical; PATH_MAX bytes. False when it would be too long. */
bool node_path_of(char *out, const struct node *n, const char *name);
/* parent may be NULL: a root, or a directory that links lead to. NULL: no memory, or path is known.
 */
struct node *node_new(struct nodes *ns, struct node *parent, const char *path);
/* Forgets a directory and all below it, and takes their watches away. */
void node_free(struct nodes *ns, struct node *n);
void node_leave_parent(struct node *n);
/* One reached by links has a parent now, and is a directory like others. */
void node_adopt(struct nodes *ns, struct node *n);
struct node *node_by_path(const struct nodes *ns, const char *path);
struct node *node_by_wd(const struct nodes *ns, int wd);
/* The node of the directory that path is in; NULL: there is none. */
struct node *node_parent_of(const struct nodes *ns, const char *path);
/* wd -1: it has none (any more). */
void node_set_watch(struct nodes *ns, struct node *n, int wd);
/* Is a name in this directory to be reported? In a linked one: the linked names and those that
 * begin so. */
bool node_wants(const struct node *n, const char *name);
/* 1: added to a linked node; 0: nothing to do; -ENOMEM. */
int node_add_name(struct node *n, const char *name);
void nodes_done(struct nodes *ns);

#endif
