/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of pods comes in whole (meta/pod_feed.h), and each log's path says whose it is. What a log
 * was given it keeps: a pod that is not in the list any more is carried over from the list before
 * as long as there is a log of it, for the containers that may still be found.
 *
 * A log that is found and not (or not wholly) known makes the list be asked for again, for
 * WANTED_NS at most: the directories of pods that are long gone would otherwise ask for ever.
 * Nothing waits for an answer: records that are read before it came go without.
 */
#include "collector_pods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "collector_labels.h"
#include "config.h"
#include "files/chain.h"
#include "files/files.h"
#include "files/pod_path.h"
#include "meta/podlist.h"

#define WANTED_NS (60 * NS_PER_SEC)

struct pods_here {
	struct pod_feed *pods;
	struct podlist *list, *before; /* before: while a new one is looked through */
	struct buf text;               /* of one chain's labels */
	int64_t wanted_ns;             /* the last time something found was not known */
	bool lacking;
};

static const char *none_is_null(const char *text)
{
	return strcmp(text, "none") == 0 ? NULL : text;
}

static struct pod_names names_of(const struct config_list *list)
{
	return (struct pod_names){(const char *const *)list->items, list->n};
}

int collector_open_pods(struct collector *c)
{
	const struct config *cfg = c->cfg;
	const struct pod_feed_options o = {
		.url = cfg->pods_url,
		.token_file = none_is_null(cfg->pods_token),
		.ca_file = none_is_null(cfg->pods_ca),
		.refresh_ns = cfg->pods_refresh_ns,
		.choice = {names_of(&cfg->pods_labels), names_of(&cfg->pods_annotations)}};
	struct pods_here *here;
	int r;

	if (!none_is_null(cfg->pods_url))
		return 0;
	here = calloc(1, sizeof(*here));
	if (!here)
		return -ENOMEM;
	r = pod_feed_new(&o, &here->pods);
	if (r < 0) {
		free(here);
		return log_err(r, "kubernetes.pods_url: %s", strerror(-r));
	}
	c->pods = here;
	return 0;
}

void collector_close_pods(struct collector *c)
{
	struct pods_here *here = take_ptr(c->pods);

	if (!here)
		return;
	pod_feed_free(here->pods);
	podlist_free(here->list);
	buf_done(&here->text);
	free(here);
}

int collector_pods_fd(const struct collector *c)
{
	return c->pods ? pod_feed_fd(c->pods->pods) : -1;
}

/* The live name's path says it, or the link by which it was found. */
static bool path_of(const struct chain *chain, struct pod_path *ret)
{
	return pod_path_parse(chain->key, ret) ||
	       (chain->alias && pod_path_parse(chain->alias, ret));
}

static struct pod *find(const struct podlist *list, const struct pod_path *path)
{
	if (path->uid)
		return podlist_find(list, path->uid, path->uid_len);
	return podlist_find_name(list, path->ns, path->ns_len, path->pod, path->pod_len);
}

/* False: there is more to know, perhaps later. */
static bool label(struct collector *c, struct chain *chain, const struct pod_path *path)
{
	struct pods_here *here = c->pods;
	struct pod *p = here->list ? find(here->list, path) : NULL;
	struct pod *known = p || !here->before ? NULL : find(here->before, path);
	int r;

	if (known) {
		podlist_move(here->before, here->list, known);
		p = find(here->list, path);
	}
	if (!p)
		return false;
	here->text.len = 0;
	r = pod_labels(p, path->container, path->container_len, path->restart_count, &here->text);
	if (r >= 0)
		collector_chain_labels(c, chain, LABELS_PODS, here->text.data, here->text.len);
	return r > 0 || path->restart_count < 0;
}

void collector_pods_found(struct collector *c, struct chain *chain)
{
	struct pod_path path;

	if (!c->pods || !path_of(chain, &path) || label(c, chain, &path))
		return;
	c->pods->wanted_ns = clock_now_ns();
	pod_feed_want(c->pods->pods, true);
}

static void label_again(void *ctx, struct chain *chain)
{
	struct collector *c = ctx;
	struct pod_path path;

	if (path_of(chain, &path) && !label(c, chain, &path))
		c->pods->lacking = true;
}

void collector_take_pods(struct collector *c)
{
	struct pods_here *here = c->pods;
	struct podlist *list = pod_feed_take(here->pods);

	if (!list)
		return;
	here->before = here->list;
	here->list = list;
	here->lacking = false;
	files_each_chain(c->files, label_again, c);
	podlist_free(take_ptr(here->before));
	if (!here->lacking || clock_now_ns() - here->wanted_ns > WANTED_NS)
		pod_feed_want(here->pods, false);
}

bool collector_pods_stats(const struct collector *c, struct pod_feed_stats *ret_stats)
{
	if (c->pods)
		pod_feed_stats(c->pods->pods, ret_stats);
	return c->pods;
}
