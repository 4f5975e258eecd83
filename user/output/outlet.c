/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledged batches come back through a list under a mutex. The event loop looks at an atomic
 * flag each turn and is only woken (eventfd) when it said that it waits for some: under load it
 * finds them in passing.
 *
 * How fast the sinks are is told by full batches alone (what a small one takes is overhead), over
 * the time in which they had something to do. A pool of eight batches of 256 KiB before a sink that
 * takes 30 MB/s would be 70 ms in which a quiet file's line waits behind a busy one's; rejected: a
 * second queue for quiet files (their lines would overtake their own), fewer batches (two are the
 * least that keep a sink busy, and are still 17 ms).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "output/batch.h"
#include "output/outlet_impl.h"

#define FILL_MIN_BYTES   ((size_t)16 << 10)
#define FILL_START_BYTES ((size_t)64 << 10)
#define PACE_NS          (50 * NS_PER_MS)
#define CHANGING_MS      5
#define LEAVING_MS       100

void outlet_let_go(struct outlet *o, struct batch *b)
{
	bool wake;

	if (atomic_fetch_sub(&b->holders, 1) != 1)
		return;
	b->acked_ns = clock_now_ns();
	pthread_mutex_lock(&o->lock);
	b->next = o->acked;
	o->acked = b;
	wake = ++o->n_acked >= o->want && o->want;
	if (wake)
		o->want = 0;
	pthread_mutex_unlock(&o->lock);
	atomic_store(&o->any, true);
	if (wake)
		eventfd_write(o->fd, 1);
}

static void on_ack(void *ctx, struct sink *s, struct batch *b, bool delivered)
{
	struct outlet_sink *os = ctx;
	struct outlet *o = os->o;
	bool leaving = atomic_load(&os->leaving);

	if (!delivered && leaving) {
		os->back[os->n_back++] = b;
	} else {
		if (!delivered)
			atomic_store(&o->any_lost, true);
		outlet_let_go(o, b);
	}
	atomic_fetch_add(&os->answered, 1);
	if (leaving)
		eventfd_write(o->fd, 1);
}

static void on_fail(void *ctx, struct sink *s, int err)
{
	struct outlet_sink *os = ctx;
	int none = 0;

	if (atomic_load(&os->leaving))
		return;
	atomic_compare_exchange_strong(&os->o->failed, &none, err);
	eventfd_write(os->o->fd, 1);
}

int outlet_sink_new(struct outlet *o, const char *spec, struct outlet_sink **ret_sink, char *why)
{
	struct outlet_sink *os = calloc(1, sizeof(*os));
	struct sink_options so = {.format = o->format,
				  .queue_max = o->batches,
				  .ctx = os,
				  .on_ack = on_ack,
				  .on_fail = on_fail};
	int r = -ENOMEM;

	if (os) {
		os->o = o;
		os->back = calloc(o->batches, sizeof(*os->back));
	}
	if (os && os->back)
		r = sink_new(spec, &so, &os->sink);
	if (r == 0) {
		*ret_sink = os;
		return 0;
	}
	if (r == -EINVAL)
		snprintf(why, OUTLET_WHY_MAX,
			 "--sink: expected stdout, file:PATH or null, got '%s'", spec);
	else
		snprintf(why, OUTLET_WHY_MAX, "sink %s: %s", spec, strerror(-r));
	outlet_sink_free(os);
	return r;
}

void outlet_sink_free(struct outlet_sink *os)
{
	if (!os)
		return;
	sink_free(os->sink);
	free(os->back);
	free(os);
}

static int outlet_init(struct outlet *o, const struct outlet_options *opt)
{
	char why[OUTLET_WHY_MAX];
	int r;

	o->batches = opt->batches;
	o->format = opt->format;
	o->batch_bytes = opt->batch_bytes;
	o->longest_line = opt->longest_line;
	o->fill_bytes = MIN(FILL_START_BYTES, opt->batch_bytes);
	o->sinks = calloc(opt->n_specs, sizeof(struct outlet_sink *));
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
		r = outlet_sink_new(o, opt->specs[i], &o->sinks[i], why);
		if (r != 0)
			return log_err(r, "%s", why);
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

/* Its thread was in a write, which may be over by now. */
static bool has_left(const struct outlet_sink *os)
{
	for (int ms = 0; ms < LEAVING_MS && !sink_ended(os->sink); ms += CHANGING_MS)
		poll(NULL, 0, CHANGING_MS);
	return sink_ended(os->sink);
}

void outlet_free(struct outlet *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_sinks; i++)
		outlet_sink_free(o->sinks[i]);
	while (o->leaving) {
		struct outlet_sink *os = o->leaving;

		if (!has_left(os))
			return; /* its thread may still ask whose it is: better leaked */
		o->leaving = os->next;
		outlet_sink_free(os);
	}
	free_batches(o->acked);
	free_batches(o->pool);
	if (o->current)
		batch_free(o->current);
	close_fd(&o->fd);
	pthread_mutex_destroy(&o->lock);
	free(o->sinks);
	free(o);
}

void outlet_resize(struct outlet *o, size_t batch_bytes, size_t longest_line)
{
	outlet_hand_on(o);
	if (o->current) { /* empty */
		o->current->next = o->pool;
		o->pool = take_ptr(o->current);
	}
	o->batch_bytes = batch_bytes;
	o->longest_line = longest_line;
	o->fill_bytes = MIN(o->fill_bytes, batch_bytes);
}

struct batch *outlet_batch(struct outlet *o)
{
	struct batch *b = o->changing ? NULL : o->pool;

	if (!o->current && b && batch_fit(b, o->batch_bytes, o->longest_line) == 0) {
		o->pool = b->next;
		b->next = NULL;
		b->fill_bytes = o->fill_bytes;
		o->current = b;
	}
	return o->current;
}

static void hand_on(struct outlet *o, void (*put)(struct sink *s, struct batch *b))
{
	struct batch *b = o->current;

	if (!b || !b->n_spans)
		return;
	o->current = NULL;
	o->out++;
	b->handed_ns = clock_now_ns();
	atomic_store(&b->holders, (unsigned)o->n_sinks);
	for (size_t i = 0; i < o->n_sinks; i++) {
		o->sinks[i]->given++;
		put(o->sinks[i]->sink, b);
	}
}

void outlet_hand_on(struct outlet *o)
{
	hand_on(o, sink_put);
}

void outlet_hand_on_at_once(struct outlet *o)
{
	hand_on(o, sink_put_at_once);
}

int64_t outlet_waiting_since(const struct outlet *o)
{
	return o->current ? o->current->first_ns : 0;
}

static void pace_take(struct outlet *o, const struct batch *b)
{
	struct pace *p = &o->pace;
	size_t fill;

	if (b->used >= b->fill_bytes / 2) {
		p->bytes += b->used;
		p->busy_ns += b->acked_ns - MAX(b->handed_ns, p->last_ns);
	}
	p->last_ns = b->acked_ns;
	if (p->busy_ns < PACE_NS)
		return;
	fill = (size_t)((double)p->bytes / (double)p->busy_ns * OUTLET_QUEUE_NS / o->batches);
	fill = MAX(fill, FILL_MIN_BYTES);
	o->fill_bytes = MIN(fill, o->batch_bytes);
	p->bytes /= 2;
	p->busy_ns /= 2;
}

void outlet_acks(struct outlet *o,
		 void (*on_span)(void *ctx, const struct span *s, int64_t acked_ns, bool delivered),
		 void *ctx)
{
	struct batch *list = NULL, *next;
	bool delivered;

	if (o->leaving)
		outlet_reap(o);
	if (!atomic_exchange(&o->any, false))
		return;
	pthread_mutex_lock(&o->lock);
	while (o->acked) { /* the last is in front */
		next = o->acked->next;
		o->acked->next = list;
		list = o->acked;
		o->acked = next;
	}
	o->n_acked = o->want = 0;
	pthread_mutex_unlock(&o->lock);
	/* A sink fails once and for all, and the collector stops then: no need to tell batches
	 * apart. */
	delivered = !atomic_load(&o->any_lost);
	for (struct batch *b = list; b; b = next) {
		next = b->next;
		for (uint32_t i = 0; i < b->n_spans; i++)
			on_span(ctx, &b->spans[i], b->acked_ns, delivered);
		pace_take(o, b);
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
	bool home;

	pthread_mutex_lock(&o->lock);
	o->want = o->fill_bytes < o->batch_bytes ? 1 : MAX(o->out / 2, 1u);
	home = o->n_acked >= o->want;
	pthread_mutex_unlock(&o->lock);
	return home;
}

unsigned outlet_out(const struct outlet *o)
{
	return o->out;
}

bool outlet_idle(const struct outlet *o)
{
	return o->out == 0 && (!o->current || !o->current->n_spans);
}

int outlet_failed(const struct outlet *o)
{
	return atomic_load(&o->failed);
}

static bool stop(struct outlet_sink *os, int timeout_ms)
{
	return !os || sink_stop(os->sink, timeout_ms);
}

bool outlet_stop(struct outlet *o, int timeout_ms)
{
	int64_t deadline_ns = clock_now_ns() + timeout_ms * NS_PER_MS;
	bool all = true;

	while (o->changing && clock_now_ns() < deadline_ns) {
		struct pollfd fd = {o->fd, POLLIN, 0};

		outlet_reap(o);
		if (o->changing)
			poll(&fd, 1, CHANGING_MS);
	}
	all = !o->changing;
	for (size_t i = 0; i < o->n_sinks; i++) {
		int64_t left_ns = MAX(deadline_ns - clock_now_ns(), INT64_C(0));

		all = stop(o->sinks[i], (int)(left_ns / NS_PER_MS)) && all;
	}
	return all;
}

size_t outlet_sinks(const struct outlet *o)
{
	return o->n_sinks;
}

const struct sink *outlet_sink(const struct outlet *o, size_t i)
{
	return o->sinks[i]->sink;
}
