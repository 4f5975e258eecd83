/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events_pods.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/sys.h"
#include "base/table.h"
#include "event/event.h"
#include "files/pod_path.h"
#include "watch/docker_event.h"
#include "watch/mirror.h"

struct container {
	struct table_node by_path;
	int restart; /* the greatest N of its N.log; -1: none yet */
	char path[]; /* of its directory */
};

struct pods {
	struct table by_path;
	void (*tell)(void *ctx, const struct event *e);
	void *ctx;
	bool listed; /* what is told now was there before */
};

int pods_new(void (*tell)(void *ctx, const struct event *e), void *ctx, struct pods **ret_pods)
{
	struct pods *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->tell = tell;
	p->ctx = ctx;
	*ret_pods = p;
	return 0;
}

void pods_free(struct pods *p)
{
	struct table_node *n;

	if (!p)
		return;
	while ((n = table_walk(&p->by_path, NULL))) {
		table_del(&p->by_path, n);
		free(container_of(n, struct container, by_path));
	}
	table_done(&p->by_path);
	free(p);
}

/* A container's directory is one whose N.log would be its log. */
static bool parse_dir(const char *dir, char log[PATH_MAX], struct pod_path *ret_path)
{
	return snprintf(log, PATH_MAX, "%s/0.log", dir) < PATH_MAX &&
	       pod_path_parse(log, ret_path) && ret_path->uid;
}

static void tell(struct pods *p, const struct container *c, uint32_t action, bool counted)
{
	char log[PATH_MAX], ns[NAME_MAX + 1], pod[NAME_MAX + 1], uid[NAME_MAX + 1];
	char container[NAME_MAX + 1], count[16], name[3 * NAME_MAX + 3];
	struct event_attribute attributes[] = {
		{(char *)"k8s.namespace.name", ns},
		{(char *)"k8s.pod.name", pod},
		{(char *)"k8s.pod.uid", uid},
		{(char *)"k8s.container.name", container},
		{(char *)(counted ? "k8s.container.restart_count" : DOCKER_LISTED),
		 counted ? count : (char *)"true"},
		{(char *)DOCKER_LISTED, (char *)"true"},
	};
	struct event e = {.type = EVENT_CONTAINER,
			  .action = action,
			  .watch = -1,
			  .actor_name = name,
			  .attributes = attributes,
			  .n_attributes = 4u + counted + p->listed};
	struct pod_path is;

	if (!parse_dir(c->path, log, &is))
		return;
	snprintf(ns, sizeof(ns), "%.*s", (int)is.ns_len, is.ns);
	snprintf(pod, sizeof(pod), "%.*s", (int)is.pod_len, is.pod);
	snprintf(uid, sizeof(uid), "%.*s", (int)is.uid_len, is.uid);
	snprintf(container, sizeof(container), "%.*s", (int)is.container_len, is.container);
	snprintf(count, sizeof(count), "%d", c->restart);
	snprintf(name, sizeof(name), "%s/%s/%s", ns, pod, container);
	p->tell(p->ctx, &e);
}

static struct container *get(const struct pods *p, const char *dir, size_t len)
{
	struct table_node *n = table_get(&p->by_path, dir, len);

	return n ? container_of(n, struct container, by_path) : NULL;
}

static struct container *appeared(struct pods *p, const char *dir, size_t len)
{
	struct container *c = get(p, dir, len);

	if (c)
		return c;
	c = calloc(1, sizeof(*c) + len + 1);
	if (!c)
		return NULL;
	memcpy(c->path, dir, len);
	c->restart = -1;
	if (table_add(&p->by_path, &c->by_path, c->path, len) < 0) {
		free(c);
		return NULL;
	}
	tell(p, c, CONTAINER_CREATE, false);
	return c;
}

static void gone(struct pods *p, struct container *c)
{
	if (c->restart >= 0)
		tell(p, c, CONTAINER_STOP, true);
	tell(p, c, CONTAINER_DESTROY, false);
	table_del(&p->by_path, &c->by_path);
	free(c);
}

static void file_appeared(struct pods *p, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct container *c;
	struct pod_path is;

	/* Not what was rotated. */
	if (!slash || !pod_path_parse(path, &is) || !is.uid ||
	    strspn(slash + 1, "0123456789") + 4 != strlen(slash + 1))
		return;
	c = appeared(p, path, (size_t)(slash - path));
	if (!c || is.restart_count <= c->restart)
		return;
	if (c->restart >= 0)
		tell(p, c, CONTAINER_STOP, true);
	c->restart = is.restart_count;
	tell(p, c, CONTAINER_START, true);
}

static void path_appeared(void *ctx, const char *path, bool is_dir)
{
	char log[PATH_MAX];
	struct pods *p = ctx;
	struct pod_path is;

	if (!is_dir)
		file_appeared(p, path);
	else if (parse_dir(path, log, &is))
		appeared(p, path, strlen(path));
}

/* The directory was renamed: what was known below its old name. */
static void gone_below(struct pods *p, const char *dir)
{
	size_t len = strlen(dir);

	for (struct table_node *n = table_walk(&p->by_path, NULL), *next; n; n = next) {
		struct container *c = container_of(n, struct container, by_path);

		next = table_walk(&p->by_path, n);
		if (strncmp(c->path, dir, len) == 0 && (!c->path[len] || c->path[len] == '/'))
			gone(p, c);
	}
}

void pods_change(struct pods *p, struct mirror *m, const struct mirror_change *c)
{
	struct container *known;

	p->listed = c->was_there;
	if (c->action == FILE_CREATED) {
		path_appeared(p, c->path, c->is_dir);
	} else if (c->action == FILE_RENAMED && c->is_dir) {
		gone_below(p, c->from);
		mirror_walk(m, c->path, path_appeared, p);
	} else if (c->action == FILE_RENAMED) {
		file_appeared(p, c->path);
	} else if (c->action == FILE_DELETED && c->is_dir) {
		known = get(p, c->path, strlen(c->path));
		if (known)
			gone(p, known);
	}
}
