/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table by container id, filled from both sides: the daemon's events bring names and labels, the
 * tree brings logs. Whichever comes second finds the first.
 *
 *   event: create, start ──> container {labels}      <── log found: {chain}
 *                                └── both: collector_chain_labels
 *   event: kill, stop, die ──> container {chain} ──> looked at now, first in line for a while
 *   event: destroy ──> forgotten, once its log has ended and a minute has passed: a log that is
 *                      found late still gets its names
 *
 * First in line means that its claim is held to be due now, as that of a file that was removed: the
 * next thing to happen to a stopped container's log is that it goes away. Not for ever, as a signal
 * need not be the end of a container.
 */
#include "collector_docker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"
#include "base/table.h"
#include "collector_end.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_labels.h"
#include "config.h"
#include "event/event.h"
#include "event/labels.h"
#include "files/chain.h"
#include "output/escape.h"
#include "watch/docker.h"
#include "watch/docker_event.h"

#define CONTAINERS_MAX 65536
#define FIRST_NS       (10 * NS_PER_SEC) /* Docker's grace from SIGTERM to SIGKILL */
#define GONE_NS        (60 * NS_PER_SEC)
#define LABELS_MAX     4096 /* bytes in each record; labels beyond are left out */
#define FULL_LOG_NS    (600 * NS_PER_SEC)

struct container {
	struct table_node by_id;
	struct list in_gone; /* since gone_ns: it was destroyed, or never known */
	int64_t gone_ns;
	struct list in_dying; /* exited a moment ago: its last words are waited for */
	struct chain *chain;  /* its log's, NULL: not found */
	bool exited;
	int64_t first_until_ns; /* as its log's chain has it */
	struct labels *labels;  /* NULL: none, or its chain has them */
	char id[CONTAINER_ID_LEN];
};

struct containers {
	struct docker *docker;
	struct table by_id;
	struct list gone, dying;
	struct log_limit full_limit;
};

static bool is_id(const char *s)
{
	return strspn(s, "0123456789abcdef") == CONTAINER_ID_LEN;
}

/* The component before p, which points behind its slash. NULL: there is none. */
static const char *component_before(const char *path, const char *p)
{
	if (p - path < 2)
		return NULL;
	for (p--; p > path && p[-1] != '/';)
		p--;
	return p;
}

const char *container_log_id(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	const char *dir = component_before(path, name), *id;

	if (!dir)
		return NULL;
	if (is_id(dir) && strncmp(name, dir, CONTAINER_ID_LEN) == 0 &&
	    strcmp(name + CONTAINER_ID_LEN, "-json.log") == 0)
		return dir;
	if (strcmp(name, "ctr.log") != 0 || strncmp(dir, "userdata/", 9) != 0)
		return NULL;
	id = component_before(path, dir);
	return id && is_id(id) ? id : NULL;
}

static struct container *container_get(const struct containers *cs, const char *id)
{
	struct table_node *n = table_get(&cs->by_id, id, CONTAINER_ID_LEN);

	return n ? container_of(n, struct container, by_id) : NULL;
}

static struct container *container_add(struct containers *cs, const char *id)
{
	struct container *ct = container_get(cs, id);

	if (ct)
		return ct;
	if (cs->by_id.count >= CONTAINERS_MAX) {
		if (log_allow(&cs->full_limit, FULL_LOG_NS))
			log_warn(0,
				 "docker: more than %d containers, the names of others are "
				 "left out",
				 CONTAINERS_MAX);
		return NULL;
	}
	ct = calloc(1, sizeof(*ct));
	if (!ct)
		return NULL;
	list_init(&ct->in_gone);
	list_init(&ct->in_dying);
	memcpy(ct->id, id, CONTAINER_ID_LEN);
	if (table_add(&cs->by_id, &ct->by_id, ct->id, CONTAINER_ID_LEN) < 0) {
		free(ct);
		return NULL;
	}
	return ct;
}

static void container_free(struct containers *cs, struct container *ct)
{
	table_del(&cs->by_id, &ct->by_id);
	list_del(&ct->in_gone);
	list_del(&ct->in_dying);
	labels_unref(ct->labels);
	free(ct);
}

static void set_labels(struct container *ct, struct labels *labels)
{
	labels_unref(ct->labels);
	ct->labels = labels;
}

static void container_gone(struct containers *cs, struct container *ct)
{
	ct->gone_ns = clock_now_ns();
	list_del(&ct->in_gone);
	list_add_tail(&cs->gone, &ct->in_gone);
}

/* ,"KEYLABEL":"VALUE" */
static int put_member(struct buf *b, const char *key, const char *label, const char *value)
{
	size_t label_len = strlen(label), value_len = strlen(value);
	bool invalid;
	char *p;
	int r = buf_printf(b, ",\"%s", key);

	if (r == 0)
		r = buf_reserve(b, ESCAPE_ROOM(label_len) + ESCAPE_ROOM(value_len) + 8);
	if (r < 0)
		return r;
	p = escape_json(b->data + b->len, label, label_len, &invalid);
	p = mempcpy(p, "\":\"", 3);
	p = escape_json(p, value, value_len, &invalid);
	*p++ = '"';
	b->len = (size_t)(p - b->data);
	return 0;
}

/* Left out where there is no room any more. */
static int put_limited(struct buf *b, const char *key, const char *label, const char *value)
{
	size_t before = b->len;
	int r = put_member(b, key, label, value);

	if (b->len > LABELS_MAX)
		b->len = before;
	return r;
}

static bool is_label(const struct event_attribute *a)
{
	return a->value && strncmp(a->key, "hotdrain.", 9) != 0 && strcmp(a->key, "image") != 0;
}

static const char *attribute(const struct event *e, const char *key)
{
	for (size_t i = 0; i < e->n_attributes; i++)
		if (strcmp(e->attributes[i].key, key) == 0)
			return e->attributes[i].value;
	return NULL;
}

/* An event has no other attributes than these while a container is made or started. */
static int make_labels(const struct event *e, struct buf *out)
{
	const char *image = attribute(e, "image");
	int r = put_member(out, "container.id", "", e->actor_id);

	if (r == 0 && e->actor_name)
		r = put_limited(out, "container.name", "", e->actor_name);
	if (r == 0 && image)
		r = put_limited(out, "container.image.name", "", image);
	for (size_t i = 0; i < e->n_attributes && r == 0; i++) {
		const struct event_attribute *a = &e->attributes[i];

		if (is_label(a))
			r = put_limited(out, "container.label.", a->key, a->value);
	}
	return r;
}

/* The log's chain has them from then on, and no one else: they are most of what a container costs.
 */
static void apply_labels(struct collector *c, struct container *ct)
{
	if (!ct->chain || !ct->labels)
		return;
	collector_chain_labels(c, ct->chain, LABELS_DOCKER, ct->labels->json, ct->labels->len);
	if (ct->chain->labels && ct->chain->labels_split == ct->labels->len)
		set_labels(ct, NULL);
}

static void take_labels(struct collector *c, struct container *ct, const struct event *e)
{
	_cleanup_(buf_done) struct buf text = {0};
	struct labels *labels = make_labels(e, &text) < 0 ? NULL : labels_new(text.data, text.len);

	if (!labels)
		return; /* what was known stays */
	set_labels(ct, labels);
	apply_labels(c, ct);
}

/* Before its chain goes: another file may come. */
static void keep_labels(struct container *ct)
{
	const struct chain *chain = ct->chain;

	if (!ct->labels && chain->labels && chain->labels_split)
		set_labels(ct, labels_new(chain->labels->json, chain->labels_split));
}

/* What of its state its log has to know. */
static void apply_state(struct collector *c, struct container *ct)
{
	list_del(&ct->in_dying);
	if (!ct->chain)
		return;
	ct->chain->exited = ct->exited;
	ct->chain->first_until_ns = ct->first_until_ns;
	if (ct->exited && ct->first_until_ns)
		list_add_tail(&c->containers->dying, &ct->in_dying);
}

/* Its log is looked at now, and for a while drained before others. */
static void hasten(struct collector *c, struct container *ct)
{
	struct chain *chain = ct->chain;

	ct->first_until_ns = clock_now_ns() + FIRST_NS;
	apply_state(c, ct);
	if (!chain)
		return;
	list_for_each (l, next, &chain->queue)
		collector_touched(c, container_of(l, struct file, in_chain));
	if (chain->live && !list_linked(&chain->live->in_chain))
		collector_touched(c, chain->live);
}

static void stays(struct collector *c, struct container *ct, bool exited)
{
	list_del(&ct->in_gone);
	ct->exited = exited;
	ct->first_until_ns = 0;
	apply_state(c, ct);
}

void collector_docker_event(struct collector *c, const struct event *e)
{
	struct containers *cs = c->containers;
	bool is = attribute(e, DOCKER_LISTED), starts = e->action & CONTAINER_START;
	struct container *ct;

	if (!cs || !e->actor_id || !is_id(e->actor_id) || e->actor_id[CONTAINER_ID_LEN])
		return;
	if (starts || e->action & CONTAINER_CREATE) {
		ct = container_add(cs, e->actor_id);
		if (!ct)
			return;
		stays(c, ct, is && !starts);
		take_labels(c, ct, e);
		return;
	}
	ct = container_get(cs, e->actor_id);
	if (!ct || !event_is_container_stop(e))
		return;
	ct->exited = ct->exited || e->action & (CONTAINER_DIE | CONTAINER_DESTROY);
	hasten(c, ct);
	if (e->action & CONTAINER_DESTROY)
		container_gone(cs, ct);
}

void collector_docker_found(struct collector *c, struct chain *chain)
{
	const char *id = c->containers ? container_log_id(chain->key) : NULL;
	struct container *ct = id ? container_add(c->containers, id) : NULL;

	if (!ct || ct->chain)
		return;
	ct->chain = chain;
	apply_state(c, ct);
	apply_labels(c, ct);
}

void collector_docker_lost(struct collector *c, const struct chain *chain)
{
	const char *id = c->containers ? container_log_id(chain->key) : NULL;
	struct container *ct = id ? container_get(c->containers, id) : NULL;

	if (!ct || ct->chain != chain)
		return;
	keep_labels(ct);
	ct->chain = NULL;
	if (!ct->labels && !list_linked(&ct->in_gone))
		container_gone(c->containers, ct);
}

void collector_docker_turn(struct collector *c, int64_t now_ns)
{
	if (!c->containers)
		return;
	list_for_each (l, next, &c->containers->dying) {
		struct container *ct = container_of(l, struct container, in_dying);

		if (!ct->chain || now_ns > ct->first_until_ns)
			list_del(&ct->in_dying);
		else if (ct->chain->live)
			collector_flush_ended(c, ct->chain->live, now_ns);
	}
}

void collector_docker_sweep(struct collector *c, int64_t now_ns)
{
	struct containers *cs = c->containers;

	if (!cs)
		return;
	list_for_each (l, next, &cs->gone) {
		struct container *ct = container_of(l, struct container, in_gone);

		if (ct->gone_ns > now_ns - GONE_NS)
			break;
		if (!ct->chain)
			container_free(cs, ct);
	}
}

void collector_docker_state(const struct collector *c)
{
	struct docker_stats s;

	if (!c->containers)
		return;
	docker_stats(c->containers->docker, &s);
	fprintf(stderr,
		"  docker: %s, %zu containers; connected %" PRIu64 " times, events %" PRIu64
		", repeated %" PRIu64 ", bad %" PRIu64 "%s%s\n",
		s.connected ? "connected" : "not connected", c->containers->by_id.count, s.connects,
		s.events, s.repeated, s.bad, s.last_error[0] ? "; " : "", s.last_error);
}

int collector_open_docker(struct collector *c)
{
	struct docker_options o = {.url = c->cfg->docker, .queue = c->queue, .list = true};
	struct containers *cs;
	int r;

	if (strcmp(o.url, "none") == 0)
		return 0;
	cs = calloc(1, sizeof(*cs));
	if (!cs)
		return log_err(-ENOMEM, "docker: out of memory");
	list_init(&cs->gone);
	list_init(&cs->dying);
	c->containers = cs;
	r = docker_new(&o, &cs->docker);
	if (r < 0 && r != -EINVAL && r != -ENOENT)
		log_err(r, "docker: %s", strerror(-r));
	return r;
}

void collector_close_docker(struct collector *c)
{
	struct containers *cs = take_ptr(c->containers);
	struct table_node *n;

	if (!cs)
		return;
	docker_free(cs->docker);
	while ((n = table_walk(&cs->by_id, NULL)))
		container_free(cs, container_of(n, struct container, by_id));
	table_done(&cs->by_id);
	free(cs);
}
