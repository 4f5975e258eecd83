/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring under a mutex. The flush deadline is a timerfd that the producer arms: with the interval
 * when the first event enters an empty queue, with the smallest possible time when the high-water
 * mark is reached. So the event loop polls one descriptor, an idle queue costs nothing, and no
 * thread of its own is needed. Rejected: a lock-free ring (one producer and a few hundred events a
 * second do not need it), an eventfd beside a timer in the loop (two wake-ups for one flush).
 *
 * The batch is copied out before on_flush runs, so that a slow flush does not hold the producer's
 * lock.
 */
#include "event/event_queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "event/event.h"

struct event_queue {
	struct event_queue_options opt;
	pthread_mutex_t lock;
	pthread_cond_t room;
	int timer_fd;
	bool cancelled;
	struct event *ring, *batch; /* capacity each */
	size_t first, depth;
	struct event_queue_stats stats;
};

int event_queue_new(const struct event_queue_options *options, struct event_queue **ret_queue)
{
	struct event_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->opt = *options;
	if (!q->opt.high_water)
		q->opt.high_water = q->opt.capacity - q->opt.capacity / 4;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->room, NULL);
	q->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	q->ring = calloc(q->opt.capacity, sizeof(*q->ring));
	q->batch = calloc(q->opt.capacity, sizeof(*q->batch));
	if (q->timer_fd < 0 || !q->ring || !q->batch) {
		int r = q->timer_fd < 0 ? -errno : -ENOMEM;

		event_queue_free(q);
		return r;
	}
	*ret_queue = q;
	return 0;
}

void event_queue_free(struct event_queue *q)
{
	if (!q)
		return;
	if (q->ring)
		event_queue_cancel(q);
	close_fd(&q->timer_fd);
	pthread_cond_destroy(&q->room);
	pthread_mutex_destroy(&q->lock);
	free(q->ring);
	free(q->batch);
	free(q);
}

static void arm(struct event_queue *q, int64_t ns)
{
	struct itimerspec at = {.it_value = {ns / NS_PER_SEC, ns % NS_PER_SEC}};

	if (ns == 0)
		at.it_value.tv_nsec = 1; /* 0 would disarm */
	timerfd_settime(q->timer_fd, 0, &at, NULL);
}

int event_queue_push(struct event_queue *q, struct event *e)
{
	pthread_mutex_lock(&q->lock);
	if (q->depth == q->opt.capacity && !q->cancelled)
		q->stats.blocked++;
	while (q->depth == q->opt.capacity && !q->cancelled)
		pthread_cond_wait(&q->room, &q->lock);
	if (q->cancelled) {
		pthread_mutex_unlock(&q->lock);
		event_done(e);
		return -ECANCELED;
	}
	q->ring[(q->first + q->depth++) % q->opt.capacity] = *e;
	q->stats.pushed++;
	if (q->depth == q->opt.high_water)
		arm(q, 0);
	else if (q->depth == 1)
		arm(q, q->opt.interval_ns);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

int event_queue_fd(const struct event_queue *q)
{
	return q->timer_fd;
}

/* Moves the queue's content to batch; the timer is read so that the descriptor is quiet again. */
static size_t take_all(struct event_queue *q)
{
	uint64_t expirations;
	size_t n;

	pthread_mutex_lock(&q->lock);
	n = q->depth;
	for (size_t i = 0; i < n; i++)
		q->batch[i] = q->ring[(q->first + i) % q->opt.capacity];
	q->first = q->depth = 0;
	if (read(q->timer_fd, &expirations, sizeof(expirations)) < 0 && n)
		arm(q, INT64_C(1) << 60); /* flushed early: what was armed for it is void */
	pthread_cond_broadcast(&q->room);
	pthread_mutex_unlock(&q->lock);
	return n;
}

size_t event_queue_flush(struct event_queue *q)
{
	size_t n = take_all(q);
	int r = 0;

	if (!n)
		return 0;
	r = q->opt.on_flush(q->opt.ctx, q->batch, n);
	for (size_t i = 0; i < n; i++)
		event_done(&q->batch[i]);
	pthread_mutex_lock(&q->lock);
	q->stats.batches++;
	q->stats.flushed += n;
	q->stats.errors += r < 0;
	pthread_mutex_unlock(&q->lock);
	if (r < 0 && q->opt.on_error)
		q->opt.on_error(q->opt.ctx, r);
	return n;
}

size_t event_queue_cancel(struct event_queue *q)
{
	size_t n;

	pthread_mutex_lock(&q->lock);
	q->cancelled = true;
	n = q->depth;
	for (size_t i = 0; i < n; i++)
		event_done(&q->ring[(q->first + i) % q->opt.capacity]);
	q->first = q->depth = 0;
	pthread_cond_broadcast(&q->room);
	pthread_mutex_unlock(&q->lock);
	return n;
}

void event_queue_stats(struct event_queue *q, struct event_queue_stats *ret_stats)
{
	pthread_mutex_lock(&q->lock);
	*ret_stats = q->stats;
	ret_stats->depth = q->depth;
	pthread_mutex_unlock(&q->lock);
}
