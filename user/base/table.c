/* SPDX-License-Identifier: Apache-2.0 */
#include "base/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define PER_BUCKET 2 /* nodes, on average, before it grows */

void table_done(struct table *t)
{
	free(t->buckets);
	*t = (struct table){0};
}

static int table_grow(struct table *t)
{
	size_t n = t->n_buckets ? t->n_buckets * 2 : 64;
	struct table_node **buckets = calloc(n, sizeof(struct table_node *));

	if (!buckets)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_buckets; i++) {
		for (struct table_node *node = t->buckets[i], *next; node; node = next) {
			struct table_node **slot = &buckets[node->hash & (n - 1)];

			next = node->next;
			node->next = *slot;
			*slot = node;
		}
	}
	free(t->buckets);
	t->buckets = buckets;
	t->n_buckets = n;
	return 0;
}

static struct table_node *find(const struct table *t, uint32_t hash, const void *key, size_t len)
{
	if (!t->n_buckets)
		return NULL;
	for (struct table_node *n = t->buckets[hash & (t->n_buckets - 1)]; n; n = n->next)
		if (n->hash == hash && n->key_len == len && memcmp(n->key, key, len) == 0)
			return n;
	return NULL;
}

int table_add(struct table *t, struct table_node *n, const void *key, size_t key_len)
{
	uint32_t hash = (uint32_t)hash_bytes(key, key_len);
	struct table_node **slot;

	if (find(t, hash, key, key_len))
		return -EEXIST;
	if (t->count >= t->n_buckets * PER_BUCKET) {
		int r = table_grow(t);

		if (r < 0)
			return r;
	}
	slot = &t->buckets[hash & (t->n_buckets - 1)];
	*n = (struct table_node){
		.next = *slot, .key = key, .key_len = (uint32_t)key_len, .hash = hash};
	*slot = n;
	t->count++;
	return 0;
}

struct table_node *table_get(const struct table *t, const void *key, size_t key_len)
{
	return find(t, (uint32_t)hash_bytes(key, key_len), key, key_len);
}

void table_del(struct table *t, struct table_node *n)
{
	if (!n->key)
		return;
	for (struct table_node **p = &t->buckets[n->hash & (t->n_buckets - 1)]; *p;
	     p = &(*p)->next) {
		if (*p == n) {
			*p = n->next;
			t->count--;
			break;
		}
	}
	*n = (struct table_node){0};
}

struct table_node *table_walk(const struct table *t, const struct table_node *n)
{
	size_t i = 0;

	if (n) {
		if (n->next)
			return n->next;
		i = (n->hash & (t->n_buckets - 1)) + 1;
	}
	for (; i < t->n_buckets; i++)
		if (t->buckets[i])
			return t->buckets[i];
	return NULL;
}

struct table_node *table_bucket(const struct table *t, size_t *cursor)
{
	return t->n_buckets ? t->buckets[(*cursor)++ & (t->n_buckets - 1)] : NULL;
}
