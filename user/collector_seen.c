/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter that went back would be read as a restart by whoever collects it, and all of it counted
 * again. So what a log had stays in its container's row: logs that ended are summed up by the
 * container's directory, for as long as that is there and --series-keep after. Where a path is not
 * of a pod, by the path.
 */
#include "collector_seen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "collector_status.h"
#include "config.h"
#include "files/chain.h"
#include "files/files.h"
#include "files/pod_path.h"
#include "serve/http.h"

#define ENDED_MAX 4096

int collector_open_status(struct collector *c)
{
	struct seen *seen = calloc(1, sizeof(*seen));

	if (!seen)
		return -ENOMEM;
	c->seen = seen;
	list_init(&seen->ended);
	return strcmp(c->cfg->metrics, "none") ? http_new(c->cfg->metrics, &seen->http) : 0;
}

static void ended_forget(struct seen *seen, struct ended *e)
{
	table_del(&seen->by_name, &e->by_name);
	list_del(&e->in_ended);
	free(e);
}

void collector_close_status(struct collector *c)
{
	struct seen *seen = c->seen;

	if (!seen)
		return;
	http_free(seen->http);
	list_for_each (l, next, &seen->ended)
		ended_forget(seen, container_of(l, struct ended, in_ended));
	table_done(&seen->by_name);
	free(seen);
	c->seen = NULL;
}

static size_t name_len_of(const char *path)
{
	struct pod_path pod;
	const char *slash = strrchr(path, '/');

	return pod_path_parse(path, &pod) && pod.uid && slash ? (size_t)(slash - path)
							      : strlen(path);
}

static struct ended *ended_new(struct seen *seen, const char *path, size_t name_len)
{
	size_t len = strlen(path);
	struct ended *e = calloc(1, sizeof(*e) + len + 1);

	if (!e)
		return NULL;
	memcpy(e->path, path, len);
	e->name_len = name_len;
	if (table_add(&seen->by_name, &e->by_name, e->path, name_len) < 0) {
		free(e);
		return NULL;
	}
	if (seen->by_name.count > ENDED_MAX)
		ended_forget(seen, container_of(seen->ended.next, struct ended, in_ended));
	return e;
}

void collector_status_ended(struct collector *c, const struct chain *chain)
{
	size_t len = name_len_of(chain->key);
	struct table_node *n = table_get(&c->seen->by_name, chain->key, len);
	struct ended *e =
		n ? container_of(n, struct ended, by_name) : ended_new(c->seen, chain->key, len);

	if (!e)
		return; /* it is in the totals */
	tally_add(&e->tally, &chain->tally);
	e->rotations += chain->rotations;
	e->since_ns = clock_now_ns();
	list_del(&e->in_ended);
	list_add_tail(&c->seen->ended, &e->in_ended);
}

static bool is_still_there(struct collector *c, const struct ended *e)
{
	return e->path[e->name_len] ? files_directory_is_there(e->path)
				    : files_chain(c->files, e->path, e->name_len) != NULL;
}

void collector_status_sweep(struct collector *c, int64_t now_ns)
{
	list_for_each (l, next, &c->seen->ended) {
		struct ended *e = container_of(l, struct ended, in_ended);

		/* At 0 too, those put last again in this round are its end. */
		if (now_ns - e->since_ns < MAX(c->cfg->series_keep_ns, INT64_C(1)))
			return;
		if (!is_still_there(c, e)) {
			ended_forget(c->seen, e);
			continue;
		}
		e->since_ns = now_ns;
		list_del(l);
		list_add_tail(&c->seen->ended, l);
	}
}

void collector_status_acked(struct collector *c, int64_t after_ns)
{
	static const double bounds[] = STATUS_LATENCY_BOUNDS;
	double seconds = (double)after_ns / (double)NS_PER_SEC;
	size_t i = 0;

	while (i < ARRAY_SIZE(bounds) && seconds > bounds[i])
		i++;
	c->seen->latency[i]++;
	c->seen->latency_sum_s += seconds;
}

void collector_status_blocked(struct collector *c, bool blocked, int64_t now_ns)
{
	struct seen *seen = c->seen;

	if (blocked == (seen->blocked_since_ns != 0))
		return;
	if (!blocked)
		seen->blocked_ns += now_ns - seen->blocked_since_ns;
	seen->blocked_since_ns = blocked ? now_ns : 0;
}

int collector_status_fd(const struct collector *c)
{
	return c->seen->http ? http_fd(c->seen->http) : -1;
}

void collector_answer_status(struct collector *c)
{
	struct status s;

	if (c->seen->http && http_wants(c->seen->http) && collector_status(c, &s) == 0)
		http_answer(c->seen->http, &s);
}
