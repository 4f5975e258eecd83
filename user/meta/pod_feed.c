/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When is the server asked?
 *
 *   it answered       refresh after the last time, a tenth more or less
 *   something is      at once; then 1 s after the last time, 2 s, 4 s, … up to refresh: a kubelet
 *   wanted            knows a pod before its log is there, but the container's id often only later
 *   it failed         1 s, 2 s, 4 s, … up to 30 s, half of it by chance, whatever is wanted
 *
 * A list is read into a new podlist, all its pages, and handed over whole: half an answer says
 * nothing about which pods are gone.
 *
 * Rejected: watching the API server (?watch=1), which is for who must know at once and costs it a
 * connection per node; the kubelet has none.
 */
#include "meta/pod_feed.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "meta/fetch.h"
#include "meta/podlist.h"

#define RESPONSE_MAX ((size_t)64 << 20) /* all pages together */
#define PAGES_MAX    1000
#define SILENCE_NS   (15 * NS_PER_SEC)
#define TIMEOUT_NS   (60 * NS_PER_SEC)
#define SOON_NS      NS_PER_SEC
#define BACKOFF_NS   (30 * NS_PER_SEC)
#define LOG_NS       (60 * NS_PER_SEC)

struct pod_feed {
	struct pod_feed_options o;
	struct fetch *fetch;
	int event;
	pthread_t thread;
	bool started;
	unsigned seed;
	struct log_limit limit;

	pthread_mutex_t lock;
	/* Under the lock: */
	struct podlist *ready;
	bool want;
	int64_t soon_ns; /* while something is wanted: from one request to the next */
	struct pod_feed_stats stats;
};

/* One list in the making. */
struct reading {
	struct podlist *list;
	size_t bytes;
	const char *wrong;
};

static int take_piece(void *ctx, const char *data, size_t n)
{
	struct reading *r = ctx;

	r->bytes += n;
	if (r->bytes > RESPONSE_MAX) {
		r->wrong = "its pages are too large together";
		return -EFBIG;
	}
	return podlist_read(r->list, data, n, &r->wrong);
}

static int read_pages(struct pod_feed *p, struct reading *rd, char *why)
{
	const char *next = NULL;
	_cleanup_free_ char *token = NULL;
	int r = 0;

	for (unsigned page = 0; page < PAGES_MAX; page++) {
		rd->wrong = NULL;
		r = fetch_get(p->fetch, token, take_piece, rd, why);
		if (r == 0)
			r = podlist_end(rd->list, &next, &rd->wrong);
		if (r < 0 || !next)
			break;
		free(token);
		token = strdup(next);
		if (!token)
			return -ENOMEM;
	}
	if (r == 0 && next) {
		rd->wrong = "it has too many pages";
		r = -EFBIG;
	}
	if (r < 0 && rd->wrong)
		snprintf(why, FETCH_WHY_MAX, "the answer is not to be used, %s", rd->wrong);
	else if (r == -ENOMEM)
		snprintf(why, FETCH_WHY_MAX, "%s", strerror(ENOMEM));
	return r;
}

static void hand_over(struct pod_feed *p, struct podlist *list)
{
	struct podlist_stats s;
	const uint64_t one = 1;
	struct podlist *old;
	bool first;

	podlist_stats(list, &s);
	pthread_mutex_lock(&p->lock);
	first = p->stats.requests == p->stats.failures + 1 || p->stats.failing;
	old = p->ready;
	p->ready = list;
	p->stats.pods = s.pods;
	p->stats.skipped = s.skipped;
	p->stats.left_out = s.left_out;
	p->stats.failing = false;
	pthread_mutex_unlock(&p->lock);
	podlist_free(old);
	if (write(p->event, &one, sizeof(one)) < 0)
		log_debug("pods: the event is set already");
	if (first)
		log_info("pods: %u, from %s", s.pods, p->o.url);
	if (first && s.skipped)
		log_warn(0, "pods: %llu more without a UID or beyond a limit, ignoring",
			 (unsigned long long)s.skipped);
}

/* 0 or -errno; counted. */
static int ask(struct pod_feed *p)
{
	struct reading rd = {0};
	char why[FETCH_WHY_MAX];
	int r = podlist_new(&p->o.choice, &rd.list);

	pthread_mutex_lock(&p->lock);
	p->stats.requests++;
	pthread_mutex_unlock(&p->lock);
	snprintf(why, sizeof(why), "%s", strerror(ENOMEM));
	if (r == 0)
		r = read_pages(p, &rd, why);
	if (r == 0) {
		hand_over(p, rd.list);
		return 0;
	}
	podlist_free(rd.list);
	if (r == -ECANCELED)
		return r;
	pthread_mutex_lock(&p->lock);
	p->stats.failures++;
	p->stats.failing = true;
	pthread_mutex_unlock(&p->lock);
	if (log_allow(&p->limit, LOG_NS))
		log_warn(0, "%s: %s, retrying", p->o.url, why);
	return r;
}

/* From ns - ns * part / 100 up to ns. */
static int64_t less_by_chance(struct pod_feed *p, int64_t ns, int part)
{
	return ns - ns / 100 * (int64_t)((double)part * rand_r(&p->seed) / RAND_MAX);
}

/* When it is asked next: after the last time, which began at last_ns. */
static int64_t next_ns(struct pod_feed *p, int64_t last_ns, int64_t regular_ns, bool failed)
{
	int64_t ns = regular_ns;

	pthread_mutex_lock(&p->lock);
	if (p->want && !failed)
		ns = MIN(ns, p->soon_ns);
	pthread_mutex_unlock(&p->lock);
	return last_ns + ns;
}

static void later(struct pod_feed *p)
{
	pthread_mutex_lock(&p->lock);
	p->soon_ns = MIN(2 * p->soon_ns, p->o.refresh_ns);
	pthread_mutex_unlock(&p->lock);
}

static void *pod_feed_loop(void *arg)
{
	struct pod_feed *p = arg;
	int64_t most_ns = MAX(p->o.refresh_ns, SOON_NS);
	int64_t backoff_ns = 0, regular_ns, last_ns;

	most_ns = MIN(most_ns, BACKOFF_NS);
	while (!fetch_stopped(p->fetch)) {
		last_ns = clock_now_ns();
		if (ask(p) < 0) {
			backoff_ns = backoff_ns ? MIN(2 * backoff_ns, most_ns) : SOON_NS;
			regular_ns = less_by_chance(p, backoff_ns, 50);
		} else {
			backoff_ns = 0;
			regular_ns = less_by_chance(p, p->o.refresh_ns, 10);
			malloc_trim(0);
		}
		later(p);
		while (!fetch_stopped(p->fetch) &&
		       clock_now_ns() < next_ns(p, last_ns, regular_ns, backoff_ns))
			fetch_wait(p->fetch, next_ns(p, last_ns, regular_ns, backoff_ns));
	}
	return NULL;
}

int pod_feed_new(const struct pod_feed_options *o, struct pod_feed **ret_feed)
{
	const struct fetch_options fo = {.url = o->url,
					 .token_file = o->token_file,
					 .ca_file = o->ca_file,
					 .max_bytes = RESPONSE_MAX,
					 .silence_ns = SILENCE_NS,
					 .timeout_ns = TIMEOUT_NS};
	struct pod_feed *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->o = *o;
	p->seed = (unsigned)getpid() ^ (unsigned)clock_now_ns();
	p->soon_ns = MIN(SOON_NS, o->refresh_ns);
	pthread_mutex_init(&p->lock, NULL);
	p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->event < 0 ? -errno : fetch_new(&fo, &p->fetch);
	if (r == 0)
		r = thread_start(&p->thread, pod_feed_loop, p);
	if (r < 0) {
		pod_feed_free(p);
		return r;
	}
	p->started = true;
	*ret_feed = p;
	return 0;
}

void pod_feed_free(struct pod_feed *p)
{
	if (!p)
		return;
	if (p->started) {
		fetch_stop(p->fetch);
		pthread_join(p->thread, NULL);
	}
	fetch_free(p->fetch);
	podlist_free(p->ready);
	close_fd(&p->event);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int pod_feed_fd(const struct pod_feed *p)
{
	return p->event;
}

struct podlist *pod_feed_take(struct pod_feed *p)
{
	struct podlist *list;
	uint64_t n;

	if (read(p->event, &n, sizeof(n)) < 0)
		return NULL;
	pthread_mutex_lock(&p->lock);
	list = take_ptr(p->ready);
	pthread_mutex_unlock(&p->lock);
	return list;
}

void pod_feed_want(struct pod_feed *p, bool want)
{
	int64_t soon_ns = MIN(SOON_NS, p->o.refresh_ns);
	bool wake;

	pthread_mutex_lock(&p->lock);
	wake = want && (!p->want || p->soon_ns > soon_ns);
	p->want = want;
	if (want)
		p->soon_ns = soon_ns;
	pthread_mutex_unlock(&p->lock);
	if (wake)
		fetch_wake(p->fetch);
}

void pod_feed_stats(struct pod_feed *p, struct pod_feed_stats *ret_stats)
{
	pthread_mutex_lock(&p->lock);
	*ret_stats = p->stats;
	pthread_mutex_unlock(&p->lock);
}
