/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror's paths: one node each, a tree by parent and name, so that a directory is renamed with
 * everything below it in one step. Found by parent and name, by watch descriptor, and by identity:
 * what an object is whatever it is called.
 *
 * A node is 200 bytes, and its name with 16 more: about 250 bytes per path with the tables.
 */
#ifndef WATCH_MIRROR_NODE_H
#define WATCH_MIRROR_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/table.h"

enum mnode_type { MNODE_FILE, MNODE_DIR, MNODE_LINK, MNODE_OTHER };

struct mnode_key {            /* what by_name finds it by: no byte between the two */
	struct mnode *parent; /* NULL: a root, whose name is its path */
	char name[];
};

struct mnode {
	struct table_node by_name, by_wd, by_identity;
	struct mnode_key *key;
	struct list sibling, children;
	struct list work;  /* of one list of things to do, or none */
	uint64_t identity; /* 0: not known */
	uint64_t ino;
	uint64_t stamp; /* of size and time of the last write, when it was watched last */
	int64_t at_ns;  /* when it was watched last, or on a list: when it is due */
	int wd;         /* -1: none */
	uint32_t era;   /* of the mirror, in which a look at the directory found it */
	uint32_t round;
	uint32_t cookie; /* its name is gone by a rename, whose other half may come; 0: no */
	uint8_t type;
	bool written; /* which has not been told */
	bool force;   /* to be listed also if it is watched */
	bool missing; /* nothing was there when it was looked for */
};

struct mnodes { /* zero-initialised but for max */
	struct table by_name, by_wd, by_identity;
	size_t max;
};

/* parent NULL: a root. -ENOMEM, -EEXIST, -ENOSPC: there are max. */
int mnode_new(struct mnodes *ns, struct mnode *parent, const char *name, struct mnode **ret_node);
/* It has no children. */
void mnode_free(struct mnodes *ns, struct mnode *n);
struct mnode *mnode_get(const struct mnodes *ns, const struct mnode *parent, const char *name);
struct mnode *mnode_by_wd(const struct mnodes *ns, int wd);
struct mnode *mnode_by_identity(const struct mnodes *ns, uint64_t identity);
/* Gives it another place, where no node is; it is not an ancestor of parent. 0 or -ENOMEM. */
int mnode_move(struct mnodes *ns, struct mnode *n, struct mnode *parent, const char *name);
/* -1: none. Returns who had it before and has none now, or NULL. */
struct mnode *mnode_set_wd(struct mnodes *ns, struct mnode *n, int wd);
void mnode_set_identity(struct mnodes *ns, struct mnode *n, uint64_t identity, uint64_t ino);
/* n itself or what lies below it. */
bool mnode_is_below(const struct mnode *n, const struct mnode *top);
/* Its path, as long as it is, with a NUL behind buf's len. 0 or -ENOMEM. */
int mnode_path(const struct mnode *n, struct buf *buf);
/* The one behind n of those at and below top, parents first; NULL: none. */
struct mnode *mnode_walk(const struct mnode *top, struct mnode *n);
/* One below n, or n, that has no children. */
struct mnode *mnode_leaf(struct mnode *n);
void mnodes_done(struct mnodes *ns);

#endif
