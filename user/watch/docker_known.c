/* SPDX-License-Identifier: Apache-2.0 */
#include "watch/docker_known.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/sys.h"
#include "event/event.h"
#include "watch/docker_event.h"

struct known {
	struct table_node by_id;
	unsigned round; /* the last list it was in, or before which an event told of it */
	bool running;
	char *name;
	char id[];
};

static void known_free(struct docker_known *k, struct known *n)
{
	table_del(&k->by_id, &n->by_id);
	free(n->name);
	free(n);
}

void docker_known_done(struct docker_known *k)
{
	struct table_node *at, *next;

	for (at = table_walk(&k->by_id, NULL); at; at = next) {
		next = table_walk(&k->by_id, at);
		known_free(k, container_of(at, struct known, by_id));
	}
	table_done(&k->by_id);
}

static struct known *known_get(const struct docker_known *k, const struct event *e)
{
	struct table_node *n = table_get(&k->by_id, e->actor_id, strlen(e->actor_id));

	return n ? container_of(n, struct known, by_id) : NULL;
}

/* NULL: no memory or no room, then it stays unknown. */
static struct known *known_add(struct docker_known *k, const struct event *e)
{
	size_t len = strlen(e->actor_id);
	struct known *n;

	if (k->by_id.count >= DOCKER_KNOWN_MAX)
		return NULL;
	n = calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return NULL;
	memcpy(n->id, e->actor_id, len);
	n->name = strdup(e->actor_name);
	if (!n->name || table_add(&k->by_id, &n->by_id, n->id, len) < 0) {
		free(n->name);
		free(n);
		return NULL;
	}
	return n;
}

static void known_rename(struct known *n, const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		return;
	free(n->name);
	n->name = copy;
}

void docker_known_event(struct docker_known *k, const struct event *e)
{
	struct known *n = known_get(k, e);

	if (e->action == CONTAINER_DESTROY) {
		if (n)
			known_free(k, n);
		return;
	}
	if (!n)
		n = known_add(k, e);
	if (!n)
		return;
	n->round = k->round;
	if (strcmp(n->name, e->actor_name) != 0)
		known_rename(n, e->actor_name);
	if (e->action == CONTAINER_START)
		n->running = true;
	else if (e->action == CONTAINER_DIE)
		n->running = false;
}

bool docker_known_running(const struct docker_known *k, const struct event *e)
{
	const struct known *n = known_get(k, e);

	return n && n->running;
}

void docker_known_list(struct docker_known *k)
{
	k->round++;
}

bool docker_known_row(struct docker_known *k, struct event *e, bool running)
{
	struct known *n = known_get(k, e);
	bool renamed = n && strcmp(n->name, e->actor_name) != 0;
	bool news = !n || renamed || n->running != running;

	if (n && n->running && !running)
		e->action = CONTAINER_DIE;
	if (!n)
		n = known_add(k, e);
	if (n) {
		n->round = k->round;
		n->running = running;
	}
	if (renamed)
		known_rename(n, e->actor_name);
	return news;
}

bool docker_known_lost(struct docker_known *k, struct event *ret_event)
{
	_cleanup_(event_done) struct event e = {
		.type = EVENT_CONTAINER, .action = CONTAINER_DESTROY, .watch = -1};
	struct table_node *at = NULL;
	struct known *n;

	while ((at = table_walk(&k->by_id, at))) {
		n = container_of(at, struct known, by_id);
		if (n->round == k->round)
			continue;
		e.actor_id = strdup(n->id);
		e.actor_name = take_ptr(n->name);
		known_free(k, n);
		if (!e.actor_id || docker_event_add(&e, DOCKER_LISTED, "true") < 0)
			return false;
		*ret_event = e;
		e = (struct event){0};
		return true;
	}
	return false;
}
