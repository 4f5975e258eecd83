/* SPDX-License-Identifier: Apache-2.0 */
#include "watch/tree_node.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "watch/watch.h"

#define NAMES_MAX 4096 /* linked names per directory; beyond it every name there is reported */

struct node_names {
	size_t n;
	char *all[];
};

bool node_path_of(char *out, const struct node *n, const char *name)
{
	const char *slash = strcmp(n->path, "/") == 0 ? "" : "/";

	return snprintf(out, PATH_MAX, "%s%s%s", n->path, slash, name) < PATH_MAX;
}

struct node *node_new(struct nodes *ns, struct node *parent, const char *path)
{
	size_t len = strlen(path);
	struct node *n = calloc(1, MAX(sizeof(*n), offsetof(struct node, path) + len + 1));

	if (!n)
		return NULL;
	memcpy(n->path, path, len);
	n->wd = -1;
	list_init(&n->children);
	if (table_add(&ns->by_path, &n->by_path, n->path, len) < 0) {
		free(n);
		return NULL;
	}
	n->parent = parent;
	if (parent)
		list_add_tail(&parent->children, &n->sibling);
	ns->unwatched++;
	return n;
}

void node_free(struct nodes *ns, struct node *n)
{
	int wd = n->wd;

	list_for_each (l, next, &n->children)
		node_free(ns, container_of(l, struct node, sibling));
	if (ns->removed)
		ns->removed(ns->ctx, n->path);
	node_set_watch(ns, n, -1);
	if (ns->watch)
		watch_del(ns->watch, wd);
	ns->unwatched--;
	table_del(&ns->by_path, &n->by_path);
	list_del(&n->sibling);
	for (size_t i = 0; n->names && i < n->names->n; i++)
		free(n->names->all[i]);
	free(n->names);
	free(n);
}

void node_leave_parent(struct node *n)
{
	list_del(&n->sibling);
	n->parent = NULL;
}

void node_adopt(struct nodes *ns, struct node *n)
{
	n->linked = false;
	if (n->parent)
		return;
	n->parent = node_parent_of(ns, n->path);
	if (n->parent)
		list_add_tail(&n->parent->children, &n->sibling);
}

struct node *node_by_path(const struct nodes *ns, const char *path)
{
	struct table_node *n = table_get(&ns->by_path, path, strlen(path));

	return n ? container_of(n, struct node, by_path) : NULL;
}

struct node *node_parent_of(const struct nodes *ns, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct table_node *n;

	if (!slash || slash == path)
		return NULL;
	n = table_get(&ns->by_path, path, (size_t)(slash - path));
	return n ? container_of(n, struct node, by_path) : NULL;
}

struct node *node_by_wd(const struct nodes *ns, int wd)
{
	struct table_node *n = table_get(&ns->by_wd, &wd, sizeof(wd));

	return n ? container_of(n, struct node, by_wd) : NULL;
}

void node_set_watch(struct nodes *ns, struct node *n, int wd)
{
	struct node *old;

	if (n->wd >= 0) {
		table_del(&ns->by_wd, &n->by_wd);
		ns->unwatched++;
	}
	n->wd = -1;
	if (wd < 0)
		return;
	/* A directory that was moved keeps its watch descriptor: the node at its old path loses it.
	 */
	old = node_by_wd(ns, wd);
	if (old)
		node_set_watch(ns, old, -1);
	n->wd = wd;
	if (table_add(&ns->by_wd, &n->by_wd, &n->wd, sizeof(n->wd)) < 0)
		n->wd = -1;
	else
		ns->unwatched--;
}

static size_t names_of(const struct node *n)
{
	return n->names ? n->names->n : 0;
}

bool node_wants(const struct node *n, const char *name)
{
	if (!n->linked || names_of(n) >= NAMES_MAX)
		return true;
	for (size_t i = 0; i < names_of(n); i++)
		if (strncmp(name, n->names->all[i], strlen(n->names->all[i])) == 0)
			return true;
	return false;
}

int node_add_name(struct node *n, const char *name)
{
	size_t count = names_of(n);
	struct node_names *names;

	if (!n->linked || count >= NAMES_MAX)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (strcmp(n->names->all[i], name) == 0)
			return 0;
	names = realloc(n->names, sizeof(*names) + (count + 1) * sizeof(*names->all));
	if (!names)
		return -ENOMEM;
	n->names = names;
	names->n = count;
	names->all[count] = strdup(name);
	if (!names->all[count])
		return -ENOMEM;
	names->n++;
	return 1;
}

void nodes_done(struct nodes *ns)
{
	struct table_node *first;

	while ((first = table_walk(&ns->by_path, NULL))) {
		struct node *n = container_of(first, struct node, by_path);

		while (n->parent)
			n = n->parent;
		node_free(ns, n);
	}
	table_done(&ns->by_path);
	table_done(&ns->by_wd);
}
