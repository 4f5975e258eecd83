/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledged batches come back through a list under a mutex. The event loop looks at an atomic
 * flag each turn and is only woken (eventfd) when it said that it waits for one: under load it
 * finds them in passing.
 */
#include "output/outlet.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "output/batch.h"
#include "output/sink.h"

struct outlet {
	struct sink **sinks;
	size_t n_sinks;
	struct batch *pool, *current;
	unsigned out;
	int fd;
	atomic_bool want, any, any_lost;
	atomic_int failed;
	pthread_mutex_t lock;
	struct batch *acked; /* under lock */
};

static void on_ack(void *ctx, struct sink *s, struct batch *b, bool delivered)
{
	struct outlet *o = ctx;

	if (!delivered)
		atomic_store(&o->any_lost, true);
	if (atomic_fetch_sub(&b->holders, 1) != 1)
		return;
	pthread_mutex_lock(&o->lock);
	b->next = o->acked;
	o->acked = b;
	pthread_mutex_unlock(&o->lock);
	atomic_store(&o->any, true);
	if (atomic_exchange(&o->want, false))
		eventfd_write(o->fd, 1);
}

static void on_fail(void *ctx, struct sink *s, int err)
{
	struct outlet *o = ctx;
	int none = 0;

	atomic_compare_exchange_strong(&o->failed, &none, err);
	eventfd_write(o->fd, 1);
}

static int outlet_init(struct outlet *o, const struct outlet_options *opt)
{
	struct sink_options so = {.format = opt->format,
				  .queue_max = opt->batches,
				  .ctx = o,
				  .on_ack = on_ack,
				  .on_fail = on_fail};
	int r;

	o->sinks = calloc(opt->n_specs, sizeof(*o->sinks));
	o->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!o->sinks || o->fd < 0)
		return log_err(-ENOMEM, "sinks: %s", strerror(ENOMEM));
	for (unsigned i = 0; i < opt->batches; i++) {
		struct batch *b;

		r = batch_new(opt->batch_bytes, opt->longest_line, &b);
		if (r < 0)
			return log_err(r, "batches: %s", strerror(-r));
		b->next = o->pool;
		o->pool = b;
	}
	for (size_t i = 0; i < opt->n_specs; i++) {
		r = sink_new(opt->specs[i], &so, &o->sinks[i]);
		if (r == -EINVAL)
			return log_err(r, "--sink: expected stdout, file:PATH or null, got '%s'",
				       opt->specs[i]);
		if (r < 0)
			return log_err(r, "sink %s: %s", opt->specs[i], strerror(-r));
		o->n_sinks++;
	}
	return 0;
}

int outlet_new(const struct outlet_options *options, struct outlet **ret_outlet)
{
	struct outlet *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return -ENOMEM;
	o->fd = -1;
	pthread_mutex_init(&o->lock, NULL);
	r = outlet_init(o, options);
	if (r < 0) {
		outlet_stop(o, 1000);
		outlet_free(o);
		return r;
	}
	*ret_outlet = o;
	return 0;
}

static void free_batches(struct batch *b)
{
	while (b) {
		struct batch *next = b->next;

		batch_free(b);
		b = next;
	}
}

void outlet_free(struct outlet *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_sinks; i++)
		sink_free(o->sinks[i]);
	free_batches(o->acked);
	free_batches(o->pool);
	if (o->current)
		batch_free(o->current);
	close_fd(&o->fd);
	pthread_mutex_destroy(&o->lock);
	free(o->sinks);
	free(o);
}

struct batch *outlet_batch(struct outlet *o)
{
	if (!o->current && o->pool) {
		o->current = o->pool;
		o->pool = o->current->next;
		o->current->next = NULL;
	}
	return o->current;
}

void outlet_hand_on(struct outlet *o)
{
	struct batch *b = o->current;

	if (!b || !b->n_spans)
		return;
	o->current = NULL;
	o->out++;
	atomic_store(&b->holders, (unsigned)o->n_sinks);
	for (size_t i = 0; i < o->n_sinks; i++)
		sink_put(o->sinks[i], b);
}

int64_t outlet_waiting_since(const struct outlet *o)
{
	return o->current ? o->current->first_ns : 0;
}

void outlet_acks(struct outlet *o, void (*on_span)(void *ctx, const struct span *s, bool delivered),
		 void *ctx)
{
	struct batch *list = NULL, *next;
	bool delivered;

	if (!atomic_exchange(&o->any, false))
		return;
	pthread_mutex_lock(&o->lock);
	while (o->acked) { /* the last is in front */
		next = o->acked->next;
		o->acked->next = list;
		list = o->acked;
		o->acked = next;
	}
	pthread_mutex_unlock(&o->lock);
	/* A sink fails once and for all, and the collector stops then: no need to tell batches
	 * apart. */
	delivered = !atomic_load(&o->any_lost);
	for (struct batch *b = list; b; b = next) {
		next = b->next;
		for (uint32_t i = 0; i < b->n_spans; i++)
			on_span(ctx, &b->spans[i], delivered);
		batch_reset(b);
		b->next = o->pool;
		o->pool = b;
		o->out--;
	}
}

int outlet_fd(const struct outlet *o)
{
	return o->fd;
}

void outlet_clear(struct outlet *o)
{
	eventfd_t ignored;

	eventfd_read(o->fd, &ignored);
}

bool outlet_want_ack(struct outlet *o)
{
	atomic_store(&o->want, true);
	return atomic_load(&o->any);
}

bool outlet_idle(const struct outlet *o)
{
	return o->out == 0 && (!o->current || !o->current->n_spans);
}

int outlet_failed(const struct outlet *o)
{
	return atomic_load(&o->failed);
}

bool outlet_stop(struct outlet *o, int timeout_ms)
{
	int64_t deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	bool all = true;

	for (size_t i = 0; i < o->n_sinks; i++) {
		int64_t left_ns = MAX(deadline_ns - clock_now_ns(), INT64_C(0));

		all = sink_stop(o->sinks[i], (int)(left_ns / NS_PER_MS)) && all;
	}
	return all;
}

size_t outlet_sinks(const struct outlet *o)
{
	return o->n_sinks;
}

const struct sink *outlet_sink(const struct outlet *o, size_t i)
{
	return o->sinks[i];
}
