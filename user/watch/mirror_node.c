/* SPDX-License-Identifier: Apache-2.0 */
#include "watch/mirror_node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

static size_t key_len(const char *name)
{
	return sizeof(struct mnode_key) + strlen(name);
}

static struct mnode_key *key_new(struct mnode *parent, const char *name)
{
	struct mnode_key *key = malloc(key_len(name) + 1);

	if (!key)
		return NULL;
	key->parent = parent;
	memcpy(key->name, name, strlen(name) + 1);
	return key;
}

int mnode_new(struct mnodes *ns, struct mnode *parent, const char *name, struct mnode **ret_node)
{
	struct mnode *n;
	int r;

	if (ns->by_name.count >= ns->max)
		return -ENOSPC;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->key = key_new(parent, name);
	r = n->key ? table_add(&ns->by_name, &n->by_name, n->key, key_len(name)) : -ENOMEM;
	if (r < 0) {
		free(n->key);
		free(n);
		return r;
	}
	n->wd = -1;
	list_init(&n->children);
	list_init(&n->work);
	list_init(&n->sibling);
	if (parent)
		list_add_tail(&parent->children, &n->sibling);
	*ret_node = n;
	return 0;
}

void mnode_free(struct mnodes *ns, struct mnode *n)
{
	mnode_set_wd(ns, n, -1);
	mnode_set_identity(ns, n, 0, 0);
	table_del(&ns->by_name, &n->by_name);
	list_del(&n->sibling);
	list_del(&n->work);
	free(n->key);
	free(n);
}

struct mnode *mnode_get(const struct mnodes *ns, const struct mnode *parent, const char *name)
{
	char bytes[sizeof(struct mnode_key) + 4096];
	size_t len = strlen(name);
	struct table_node *found;

	if (len > 4096)
		return NULL;
	memcpy(bytes, &parent, sizeof(parent));
	memcpy(bytes + offsetof(struct mnode_key, name), name, len);
	found = table_get(&ns->by_name, bytes, key_len(name));
	return found ? container_of(found, struct mnode, by_name) : NULL;
}

struct mnode *mnode_by_wd(const struct mnodes *ns, int wd)
{
	struct table_node *found = table_get(&ns->by_wd, &wd, sizeof(wd));

	return found ? container_of(found, struct mnode, by_wd) : NULL;
}

struct mnode *mnode_by_identity(const struct mnodes *ns, uint64_t identity)
{
	struct table_node *found = table_get(&ns->by_identity, &identity, sizeof(identity));

	return found ? container_of(found, struct mnode, by_identity) : NULL;
}

int mnode_move(struct mnodes *ns, struct mnode *n, struct mnode *parent, const char *name)
{
	struct mnode_key *key = key_new(parent, name);

	if (!key)
		return -ENOMEM;
	table_del(&ns->by_name, &n->by_name);
	free(n->key);
	n->key = key;
	/* There is room: one was taken out. */
	table_add(&ns->by_name, &n->by_name, key, key_len(name));
	list_del(&n->sibling);
	list_add_tail(&parent->children, &n->sibling);
	return 0;
}

struct mnode *mnode_set_wd(struct mnodes *ns, struct mnode *n, int wd)
{
	struct mnode *old = wd >= 0 ? mnode_by_wd(ns, wd) : NULL;

	if (old == n)
		return NULL;
	if (n->wd >= 0)
		table_del(&ns->by_wd, &n->by_wd);
	if (old)
		mnode_set_wd(ns, old, -1);
	n->wd = wd;
	if (wd >= 0 && table_add(&ns->by_wd, &n->by_wd, &n->wd, sizeof(n->wd)) < 0)
		n->wd = -1;
	return old;
}

void mnode_set_identity(struct mnodes *ns, struct mnode *n, uint64_t identity, uint64_t ino)
{
	table_del(&ns->by_identity, &n->by_identity);
	n->identity = identity;
	n->ino = ino;
	/* Another name of the same is not found by it; nor is one for which there is no memory,
	 * which costs no more than the name of a rename. */
	if (identity)
		table_add(&ns->by_identity, &n->by_identity, &n->identity, sizeof(n->identity));
}

bool mnode_is_below(const struct mnode *n, const struct mnode *top)
{
	while (n && n != top)
		n = n->key->parent;
	return n;
}

int mnode_path(const struct mnode *n, struct buf *buf)
{
	size_t len = 0, part;
	char *end;
	int r;

	for (const struct mnode *i = n; i; i = i->key->parent)
		len += strlen(i->key->name) + 1;
	buf->len = 0;
	r = buf_reserve(buf, len + 1);
	if (r < 0)
		return r;
	buf->len = len - 1;
	end = buf->data + len - 1;
	*end = '\0';
	for (const struct mnode *i = n; i; i = i->key->parent) {
		part = strlen(i->key->name);
		end -= part;
		memcpy(end, i->key->name, part);
		if (i->key->parent)
			*--end = '/';
	}
	if (buf->len > 1 && buf->data[0] == '/' && buf->data[1] == '/') /* the root is "/" */
		memmove(buf->data, buf->data + 1, buf->len--);
	return 0;
}

struct mnode *mnode_walk(const struct mnode *top, struct mnode *n)
{
	if (list_linked(&n->children))
		return container_of(n->children.next, struct mnode, sibling);
	while (n != top && n->sibling.next == &n->key->parent->children)
		n = n->key->parent;
	return n == top ? NULL : container_of(n->sibling.next, struct mnode, sibling);
}

struct mnode *mnode_leaf(struct mnode *n)
{
	while (list_linked(&n->children))
		n = container_of(n->children.next, struct mnode, sibling);
	return n;
}

void mnodes_done(struct mnodes *ns)
{
	struct table_node *first;

	while ((first = table_walk(&ns->by_name, NULL))) {
		struct mnode *n = container_of(first, struct mnode, by_name), *parent;

		while (n->key->parent)
			n = n->key->parent;
		for (; n; n = parent) {
			n = mnode_leaf(n);
			parent = n->key->parent;
			mnode_free(ns, n);
		}
	}
	table_done(&ns->by_name);
	table_done(&ns->by_wd);
	table_done(&ns->by_identity);
}
