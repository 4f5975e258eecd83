/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread, the queue and the patience of a sink; what it writes and how is its ops'.
 *
 *          sink_put                          on_ack(true)
 *   ----> [ ring of batches ] --> begin, step, step, … -----> next batch
 *                                   | passing error      | permanent error
 *                                   v                    v
 *                            wait, step again      failed: on_fail once,
 *                                                  every batch on_ack(false)
 *
 * The ring cannot overflow: there are only as many batches as the pool has.
 *
 * While the thread has nothing to do, the one who puts may deliver a batch in its place: under a
 * steady load that saves about a tenth of all (a wake-up of another processor, to which the records
 * must come through the caches). One step is all that is tried, but where nothing is waited for.
 *
 * Stopping: what was put is still delivered, and waits for a retry become short, since the disk
 * may have room again. When the time is over the thread may sit in a write that nobody can end, so
 * it is left behind: sink_stop marks the sink abandoned, and a thread that comes back after that
 * calls nobody. sink_stop waits for a callback that is just running, so that none ever runs after
 * it has returned. Rejected: pthread_cancel (would stop in the middle of anything).
 */
#include "output/sink.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "output/batch.h"
#include "output/sink_ops.h"

#define RETRY_MIN_MS 100u
#define RETRY_MAX_MS 5000u
#define LOG_EVERY_NS (10 * NS_PER_SEC)
#define ABANDON_MS   200

struct sink {
	char *name;
	const struct sink_ops *ops;
	void *self;
	struct sink_options options;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t wake;   /* for the thread: put, stop */
	pthread_cond_t change; /* for sink_stop: ended, callback over */
	/* Under the lock: */
	struct batch **ring; /* options.queue_max */
	struct batch *taken; /* from it, and not acknowledged */
	unsigned first, count;
	bool begun; /* the first of the ring, when it was put at once */
	bool stopping, abandoned, ended, calling;
	struct sink_stats stats;

	/* The thread's own, while it has a batch: */
	int failed; /* -errno, 0 while it works */
	unsigned retry_ms, seed;
	struct log_limit retry_log;
};

static bool error_passes(int err)
{
	return err == -ENOSPC || err == -EDQUOT || err == -EIO || err == -EAGAIN || err == -EINTR ||
	       err == -ENOMEM;
}

static struct timespec time_after_ms(int64_t ms)
{
	int64_t ns = clock_now_ns() + ms * NS_PER_MS;

	return (struct timespec){.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
}

/* Waits until a batch is there; NULL when the thread is to end. *ret_begun: go on with it. */
static struct batch *sink_take(struct sink *s, bool *ret_begun)
{
	struct batch *b = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->count && !s->stopping)
		pthread_cond_wait(&s->wake, &s->lock);
	if (s->count && !s->abandoned) {
		b = s->taken = s->ring[s->first];
		s->first = (s->first + 1) % s->options.queue_max;
		s->count--;
		*ret_begun = s->begun;
		s->begun = false;
	}
	pthread_mutex_unlock(&s->lock);
	return b;
}

/* Brackets a callback: false when nobody is there any more to be called. */
static bool sink_call_begin(struct sink *s)
{
	bool go;

	pthread_mutex_lock(&s->lock);
	go = !s->abandoned;
	s->calling = go;
	pthread_mutex_unlock(&s->lock);
	return go;
}

static void sink_call_end(struct sink *s)
{
	pthread_mutex_lock(&s->lock);
	s->calling = false;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
}

/* Adds up what was done; false when the sink was abandoned meanwhile. */
static bool sink_count(struct sink *s, const struct sink_stats *done)
{
	bool go;

	pthread_mutex_lock(&s->lock);
	s->stats.batches += done->batches;
	s->stats.records += done->records;
	s->stats.bytes += done->bytes;
	s->stats.invalid_records += done->invalid_records;
	s->stats.retries += done->retries;
	if (done->retries || done->bytes)
		s->stats.failing = done->retries;
	go = !s->abandoned;
	pthread_mutex_unlock(&s->lock);
	return go;
}

/* Half of the wait is fixed and half by chance, so that sinks that failed together part. False when
 * the sink was abandoned meanwhile. */
static bool sink_wait_retry(struct sink *s, int err)
{
	unsigned ms;
	struct timespec until;
	bool was_stopping, go;

	s->retry_ms = s->retry_ms ? MIN(s->retry_ms * 2, RETRY_MAX_MS) : RETRY_MIN_MS * 2;
	ms = s->retry_ms / 2 + (unsigned)rand_r(&s->seed) % (s->retry_ms / 2 + 1);
	if (log_allow(&s->retry_log, LOG_EVERY_NS))
		log_warn(err, "sink %s: %s, retrying in %u ms", s->name, strerror(-err), ms);
	pthread_mutex_lock(&s->lock);
	was_stopping = s->stopping;
	until = time_after_ms(was_stopping ? RETRY_MIN_MS : ms);
	/* The beginning of the stop ends the wait, as does its end; a batch put does not. */
	while (s->stopping == was_stopping && !s->abandoned)
		if (pthread_cond_timedwait(&s->wake, &s->lock, &until) == ETIMEDOUT)
			break;
	go = !s->abandoned;
	pthread_mutex_unlock(&s->lock);
	return go;
}

/* 0, or the -errno it failed with for good; 1: abandoned. */
static int sink_deliver(struct sink *s, const struct batch *b, bool begun)
{
	int r;

	if (!begun)
		s->ops->begin(s->self, b);
	for (;;) {
		struct sink_stats done = {0};

		r = s->ops->step(s->self, false, &done);
		done.retries = r < 0 && error_passes(r);
		done.batches = r == 0;
		if (!sink_count(s, &done))
			return 1;
		if (s->retry_ms && done.bytes) {
			log_info("sink %s: works again", s->name);
			s->retry_ms = 0;
		}
		if (r == 0 || (r < 0 && !error_passes(r)))
			return r;
		if (r < 0 && !sink_wait_retry(s, r))
			return 1;
	}
}

static void sink_fail(struct sink *s, int err)
{
	s->failed = err;
	log_err(err, "sink %s: %s, no more is delivered to it", s->name, strerror(-err));
	if (!s->options.on_fail || !sink_call_begin(s))
		return;
	s->options.on_fail(s->options.ctx, s, err);
	sink_call_end(s);
}

static void *sink_run(void *arg)
{
	struct sink *s = arg;
	struct batch *b;
	bool begun;

	while ((b = sink_take(s, &begun))) {
		int r = s->failed ? s->failed : sink_deliver(s, b, begun);

		if (r < 0 && !s->failed)
			sink_fail(s, r);
		if (r > 0 || !sink_call_begin(s))
			break;
		s->taken = NULL; /* nobody looks at it before the call has ended */
		s->options.on_ack(s->options.ctx, s, b, r == 0);
		sink_call_end(s);
	}
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int sink_init_locks(struct sink *s)
{
	pthread_condattr_t attr;
	int r = pthread_condattr_init(&attr);

	if (r)
		return -r;
	r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!r)
		r = pthread_mutex_init(&s->lock, NULL);
	if (!r)
		r = pthread_cond_init(&s->wake, &attr);
	if (!r)
		r = pthread_cond_init(&s->change, &attr);
	pthread_condattr_destroy(&attr);
	return -r;
}

static int sink_start(struct sink *s)
{
	int r = thread_start(&s->thread, sink_run, s);

	s->started = r == 0;
	return r;
}

static void sink_drop(struct sink **s)
{
	sink_free(*s);
}

int sink_new(const char *spec, const struct sink_options *options, struct sink **ret_sink)
{
	_cleanup_(sink_drop) struct sink *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	assert(options->on_ack && options->queue_max);
	s->options = *options;
	s->seed = (unsigned)clock_now_ns();
	r = sink_init_locks(s);
	if (r < 0)
		return r;
	s->name = strdup(spec);
	s->ring = calloc(options->queue_max, sizeof(struct batch *));
	if (!s->name || !s->ring)
		return -ENOMEM;
	r = sink_stream_ops.open(spec, options->format, &s->self);
	if (r < 0)
		return r;
	s->ops = &sink_stream_ops;
	r = sink_start(s);
	if (r < 0)
		return r;
	*ret_sink = take_ptr(s);
	return 0;
}

static void put(struct sink *s, struct batch *b, bool begun)
{
	pthread_mutex_lock(&s->lock);
	assert(s->count < s->options.queue_max && !s->stopping);
	s->ring[(s->first + s->count++) % s->options.queue_max] = b;
	s->begun = s->begun || begun;
	pthread_mutex_unlock(&s->lock);
	pthread_cond_signal(&s->wake); /* it need not wait for the lock when it wakes */
}

/* The thread waits for a batch, and will for as long as the caller puts none. */
static bool sink_rests(struct sink *s)
{
	bool rests;

	pthread_mutex_lock(&s->lock);
	rests = !s->calling && !s->taken && !s->count && !s->stopping;
	pthread_mutex_unlock(&s->lock);
	return rests && !s->failed && !s->retry_ms;
}

void sink_put_at_once(struct sink *s, struct batch *b)
{
	int r;

	if (!sink_rests(s)) {
		put(s, b, false);
		return;
	}
	s->ops->begin(s->self, b);
	do {
		struct sink_stats done = {0};

		r = s->ops->step(s->self, true, &done);
		done.retries = r < 0 && r != -EAGAIN && error_passes(r);
		done.batches = r == 0;
		sink_count(s, &done);
	} while (r > 0 && !s->ops->waits(s->self));
	if (r == 0)
		s->options.on_ack(s->options.ctx, s, b, true);
	else
		put(s, b, true);
}

void sink_put(struct sink *s, struct batch *b)
{
	if (s->ops->waits(s->self))
		put(s, b, false);
	else
		sink_put_at_once(s, b);
}

void sink_end(struct sink *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
}

bool sink_ended(struct sink *s)
{
	bool ended;

	pthread_mutex_lock(&s->lock);
	ended = s->ended;
	pthread_mutex_unlock(&s->lock);
	return ended;
}

/* The thread may be reading a batch just now; if it does not end soon it is in a write, and touches
 * none any more when it comes back. */
unsigned sink_abandon(struct sink *s, struct batch **batches, unsigned *n_batches)
{
	struct timespec until = time_after_ms(ABANDON_MS);
	unsigned n = 0;

	pthread_mutex_lock(&s->lock);
	s->stopping = s->abandoned = true;
	pthread_cond_broadcast(&s->wake);
	while (s->calling)
		pthread_cond_wait(&s->change, &s->lock);
	while (!s->ended)
		if (pthread_cond_timedwait(&s->change, &s->lock, &until) == ETIMEDOUT)
			break;
	batches += *n_batches; /* the last callback may have added to them */
	if (s->taken)
		batches[n++] = take_ptr(s->taken);
	for (; s->count; s->count--) {
		batches[n++] = s->ring[s->first];
		s->first = (s->first + 1) % s->options.queue_max;
	}
	*n_batches += n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

bool sink_stop(struct sink *s, int timeout_ms)
{
	struct timespec until = time_after_ms(timeout_ms);
	bool ended;

	sink_end(s);
	pthread_mutex_lock(&s->lock);
	while (!s->ended)
		if (pthread_cond_timedwait(&s->change, &s->lock, &until) == ETIMEDOUT)
			break;
	s->abandoned = s->abandoned || !s->ended;
	pthread_cond_broadcast(&s->wake);
	while (s->calling)
		pthread_cond_wait(&s->change, &s->lock);
	ended = s->ended;
	pthread_mutex_unlock(&s->lock);
	if (s->started) {
		if (ended)
			pthread_join(s->thread, NULL);
		else
			pthread_detach(s->thread);
		s->started = false;
	}
	return ended;
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	/* With its thread still in it, it is better leaked. */
	if (s->abandoned && (!s->started || !sink_ended(s)))
		return;
	if (s->started && !sink_stop(s, 1000))
		return;
	if (s->self)
		s->ops->close(s->self);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->change);
	pthread_mutex_destroy(&s->lock);
	free(s->ring);
	free(s->name);
	free(s);
}

const char *sink_name(const struct sink *s)
{
	return s->name;
}

void sink_stats(const struct sink *s, struct sink_stats *ret_stats)
{
	/* The lock is no part of what the caller sees as constant. */
	pthread_mutex_t *lock = (pthread_mutex_t *)&s->lock;

	pthread_mutex_lock(lock);
	*ret_stats = s->stats;
	pthread_mutex_unlock(lock);
}

bool sink_inode(const struct sink *s, dev_t *ret_dev, ino_t *ret_ino, int64_t *ret_btime_ns)
{
	return s->ops->inode(s->self, ret_dev, ret_ino, ret_btime_ns);
}
