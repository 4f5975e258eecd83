/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, one connection at a time:
 *
 *   --> GET /containers/json --> GET /events?since=… --ends--> wait --+
 *    |  (with list)              (until it breaks)                    |
 *    +----------------------------------------------------------------+
 *
 * The list comes first and the events since before it behind it, so that what happens meanwhile is
 * told in its order: rejected was the other way round, where a row that was overtaken by an event
 * would bring back a container that is gone. The first `since` is when docker_new was called, by
 * this machine's clock: a daemon subscribes a moment after it has answered, and what happens in
 * that moment is only in what it repeats.
 */
#include "watch/docker.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "watch/docker_event.h"
#include "watch/docker_http.h"
#include "watch/docker_known.h"
#include "watch/docker_seen.h"
#include "watch/docker_stream.h"

#define EXPECTED    "unix:///PATH or http://HOST:PORT"
#define UNIX        "unix://"
#define HTTP        "http://"
#define BACKOFF_NS  (100 * NS_PER_MS)
#define BACKOFF_MAX (5 * NS_PER_SEC)
#define STEADY_NS   NS_PER_SEC /* a connection that lived so long was a good one */
#define LOG_NS      (60 * NS_PER_SEC)
#define FILTER      "%7B%22type%22%3A%5B%22container%22%5D%7D" /* {"type":["container"]} */

struct docker {
	struct event_queue *queue;
	bool list;
	char *url;
	const char *path; /* of the socket, in url; NULL: none */
	struct docker_http *http;
	pthread_t thread;
	bool running;
	/* The thread's: */
	int64_t start_ns; /* on the wall clock */
	struct docker_stream stream;
	struct docker_seen seen;
	struct docker_known known;
	char row_end; /* the last character of a list that is no blank */
	struct log_limit limit;
	bool complained; /* about the connection */

	pthread_mutex_t lock;
	struct docker_stats stats; /* under the lock */
};

static void count(struct docker *d, uint64_t *counter, uint64_t n)
{
	pthread_mutex_lock(&d->lock);
	*counter += n;
	pthread_mutex_unlock(&d->lock);
}

static void connected(void *ctx)
{
	struct docker *d = ctx;

	pthread_mutex_lock(&d->lock);
	d->stats.connected = true;
	d->stats.connects++;
	d->stats.last_error[0] = '\0';
	pthread_mutex_unlock(&d->lock);
	if (d->complained)
		log_info("docker: %s: connected", d->url);
	d->complained = false;
}

static void disconnected(struct docker *d, const char *why)
{
	pthread_mutex_lock(&d->lock);
	d->stats.connected = false;
	snprintf(d->stats.last_error, sizeof(d->stats.last_error), "%s", why);
	pthread_mutex_unlock(&d->lock);
	if (!log_allow(&d->limit, LOG_NS))
		return;
	log_warn(0, "docker: %s: %s, retrying", d->url, why);
	d->complained = true;
}

static int push(struct docker *d, struct event *e)
{
	count(d, &d->stats.events, 1);
	return event_queue_push(d->queue, e);
}

static int bad_object(struct docker *d, int r)
{
	if (r == -EBADMSG)
		count(d, &d->stats.bad, 1);
	return r == -EBADMSG ? 0 : r;
}

/* A name is no action of its own: the container is told of again, by its new one. */
static int take_rename(struct docker *d, struct event *e)
{
	int r = d->list ? docker_event_add(e, DOCKER_LISTED, "true") : 0;

	if (r < 0 || !d->list) {
		event_done(e);
		return r;
	}
	e->action = docker_known_running(&d->known, e) ? CONTAINER_START : CONTAINER_CREATE;
	docker_known_event(&d->known, e);
	return push(d, e);
}

static int take_event(void *ctx, const char *text, size_t len)
{
	struct docker *d = ctx;
	struct docker_notice n;
	struct event e;
	int r = docker_event_parse(text, len, &e, &n);

	if (r <= 0)
		return bad_object(d, r);
	if (n.cut)
		count(d, &d->stats.cut, n.cut);
	if (!docker_seen_add(&d->seen, &e, n.time_ns)) {
		count(d, &d->stats.repeated, 1);
		event_done(&e);
		return 0;
	}
	if (n.renamed)
		return take_rename(d, &e);
	if (d->list)
		docker_known_event(&d->known, &e);
	return push(d, &e);
}

static int take_row(void *ctx, const char *text, size_t len)
{
	struct docker *d = ctx;
	struct docker_notice n;
	struct event e;
	int r = docker_event_parse_row(text, len, &e, &n);

	if (r <= 0)
		return bad_object(d, r);
	if (!docker_known_row(&d->known, &e, n.running)) {
		event_done(&e);
		return 0;
	}
	if (n.cut)
		count(d, &d->stats.cut, n.cut);
	return push(d, &e);
}

static void publish_bad(struct docker *d)
{
	if (d->stream.bad)
		count(d, &d->stats.bad, d->stream.bad);
	d->stream.bad = 0;
}

static int feed(struct docker *d, const char *data, size_t len,
		int (*on_object)(void *ctx, const char *text, size_t len))
{
	int r = docker_stream_feed(&d->stream, data, len, on_object, d);

	publish_bad(d);
	return r;
}

static int feed_rows(void *ctx, const char *data, size_t len)
{
	struct docker *d = ctx;

	for (size_t i = len; i; i--) {
		if (strchr(" \t\r\n", data[i - 1]) && data[i - 1])
			continue;
		d->row_end = data[i - 1];
		break;
	}
	return feed(ctx, data, len, take_row);
}

static int feed_events(void *ctx, const char *data, size_t len)
{
	return feed(ctx, data, len, take_event);
}

static int get_all(struct docker *d, const struct docker_get *get, char *error, size_t size)
{
	int r = docker_http_get(d->http, get, error, size);

	docker_stream_end(&d->stream);
	publish_bad(d);
	return r;
}

/* Who is not in a list is gone, but only when that is a whole list and nothing else: an answer
 * without a length may be cut anywhere. */
static int tell_lost(struct docker *d, uint64_t bad_before)
{
	struct event e;
	int r = 0;

	if (d->row_end != ']' || d->stats.bad != bad_before)
		return 0;
	while (r == 0 && docker_known_lost(&d->known, &e))
		r = push(d, &e);
	return r;
}

static int list_containers(struct docker *d)
{
	struct docker_get get = {.what = "/containers/json?all=1", .ctx = d, .on_body = feed_rows};
	uint64_t bad = d->stats.bad; /* which this thread alone changes */
	char error[128];
	int r;

	d->row_end = '\0';
	docker_known_list(&d->known);
	r = get_all(d, &get, error, sizeof(error));
	if (r < 0 && r != -ECANCELED)
		disconnected(d, error);
	return r == 0 ? tell_lost(d, bad) : r;
}

static int follow_events(struct docker *d)
{
	int64_t since_ns = docker_seen_since(&d->seen, d->start_ns);
	struct docker_get get = {
		.endless = true, .ctx = d, .on_answer = connected, .on_body = feed_events};
	char what[160], error[128] = "it ended the connection";
	int r;

	snprintf(what, sizeof(what), "/events?since=%" PRId64 ".%09" PRId64 "&filters=%s",
		 since_ns / NS_PER_SEC, since_ns % NS_PER_SEC, FILTER);
	get.what = what;
	r = get_all(d, &get, error, sizeof(error));
	if (r != -ECANCELED)
		disconnected(d, error);
	return r;
}

static void *follow(void *arg)
{
	struct docker *d = arg;
	int64_t backoff_ns = BACKOFF_NS;
	int r;

	do {
		int64_t began_ns;

		r = d->list ? list_containers(d) : 0;
		began_ns = clock_now_ns();
		if (r == 0)
			r = follow_events(d);
		if (r == -ECANCELED)
			break;
		if (clock_now_ns() - began_ns >= STEADY_NS)
			backoff_ns = BACKOFF_NS;
		r = docker_http_wait(d->http, backoff_ns);
		backoff_ns = MIN(2 * backoff_ns, BACKOFF_MAX);
	} while (r == 0);
	return NULL;
}

/* HOST:PORT[/]; the host may be an IPv6 address in brackets. */
static bool is_authority(const char *text)
{
	size_t host = text[0] == '[' ? strcspn(text, "]") + (strchr(text, ']') != NULL)
				     : strcspn(text, ":/?#@ ");
	char *end;
	unsigned long port;

	if (!host || text[host] != ':' || strlen(text) > 300 ||
	    strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_[]:%") <
		    host)
		return false;
	text += host + 1;
	if (*text < '0' || *text > '9')
		return false;
	port = strtoul(text, &end, 10);
	return port > 0 && port < 65536 && (!*end || strcmp(end, "/") == 0);
}

static int set_url(struct docker *d, const char *url)
{
	size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	const char *path = url + strlen(UNIX);
	bool is_unix = strncmp(url, UNIX, strlen(UNIX)) == 0;

	if (is_unix ? *path != '/'
		    : strncmp(url, HTTP, strlen(HTTP)) != 0 || !is_authority(url + strlen(HTTP)))
		return log_err(-EINVAL, "--docker: expected " EXPECTED ", got '%s'", url);
	if (is_unix && strlen(path) > path_max)
		return log_err(-EINVAL, "--docker: expected a path of at most %zu bytes, got '%s'",
			       path_max, url);
	d->url = strdup(url);
	if (!d->url)
		return -ENOMEM;
	if (is_unix)
		d->path = d->url + strlen(UNIX);
	else if (d->url[strlen(d->url) - 1] == '/')
		d->url[strlen(d->url) - 1] = '\0';
	return 0;
}

static int start_thread(struct docker *d)
{
	int r = thread_start(&d->thread, follow, d);

	d->running = r == 0;
	return r;
}

int docker_new(const struct docker_options *options, struct docker **ret_docker)
{
	struct docker *d = calloc(1, sizeof(*d));
	struct timespec now;
	int r;

	if (!d)
		return -ENOMEM;
	d->queue = options->queue;
	d->list = options->list;
	pthread_mutex_init(&d->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &now);
	d->start_ns = now.tv_sec * NS_PER_SEC + now.tv_nsec;
	r = set_url(d, options->url);
	if (r == 0)
		r = docker_http_new(d->path ? "http://localhost" : d->url, d->path, &d->http);
	if (r == 0)
		r = start_thread(d);
	if (r < 0) {
		docker_free(d);
		return r;
	}
	*ret_docker = d;
	return 0;
}

void docker_free(struct docker *d)
{
	if (!d)
		return;
	if (d->running) {
		docker_http_stop(d->http);
		pthread_join(d->thread, NULL);
	}
	docker_http_free(d->http);
	docker_stream_done(&d->stream);
	docker_known_done(&d->known);
	pthread_mutex_destroy(&d->lock);
	free(d->url);
	free(d);
}

void docker_stats(struct docker *d, struct docker_stats *ret_stats)
{
	pthread_mutex_lock(&d->lock);
	*ret_stats = d->stats;
	pthread_mutex_unlock(&d->lock);
}
