/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one hash table: intrusive nodes, keys are bytes owned by whoever owns the node and unchanged
 * while it is in the table. Seeded per process, so that file names cannot be chosen to collide.
 * Grows by doubling when there are twice as many nodes as buckets; -ENOMEM leaves it as it was.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_node {
	struct table_node *next;
	const void *key;
	uint32_t key_len, hash;
};

struct table {
	struct table_node **buckets;
	size_t n_buckets, count;
};

void table_done(struct table *t); /* the nodes are not touched */
int table_add(struct table *t, struct table_node *n, const void *key, size_t key_len); /* -EEXIST */
struct table_node *table_get(const struct table *t, const void *key, size_t key_len);
void table_del(struct table *t, struct table_node *n); /* a node that is in no table: no effect */
/* Walks all nodes in no order; start with NULL. To delete on the
 * way, take the next node before deleting the current one. */
struct table_node *table_walk(const struct table *t, const struct table_node *n);

/* Nodes of one bucket at a time, for work spread over many turns: *cursor goes round. */
struct table_node *table_bucket(const struct table *t, size_t *cursor);

#endif
