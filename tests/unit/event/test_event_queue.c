/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/event.h"
#include "event/event_queue.h"

struct seen {
	char order[4096];
	size_t n, batches, errors;
	int fail_next, last_error;
};

static int on_flush(void *ctx, struct event *events, size_t n)
{
	struct seen *s = ctx;
	int r = s->fail_next;

	s->fail_next = 0;
	s->batches++;
	for (size_t i = 0; i < n && s->n + 1 < sizeof(s->order); i++)
		s->order[s->n++] = events[i].actor_name[0];
	return r;
}

static void on_error(void *ctx, int err)
{
	struct seen *s = ctx;

	s->errors++;
	s->last_error = err;
}

static struct event_queue *queue(struct seen *s, size_t capacity, size_t high, int64_t interval_ns)
{
	struct event_queue_options o = {.capacity = capacity,
					.high_water = high,
					.interval_ns = interval_ns,
					.ctx = s,
					.on_flush = on_flush,
					.on_error = on_error};
	struct event_queue *q;

	assert_int_equal(event_queue_new(&o, &q), 0);
	return q;
}

static int push(struct event_queue *q, char name)
{
	struct event e = {.type = EVENT_FILE, .action = FILE_WRITTEN, .watch = -1};

	e.actor_name = strdup((char[]){name, '\0'});
	return event_queue_push(q, &e);
}

static bool ready(struct event_queue *q, int ms)
{
	struct pollfd fd = {event_queue_fd(q), POLLIN, 0};

	return poll(&fd, 1, ms) == 1;
}

static void interval_0_flushes_at_once_and_in_order(void **state)
{
	struct seen s = {0};
	struct event_queue *q = queue(&s, 16, 0, 0);

	assert_false(ready(q, 0));
	push(q, 'a');
	push(q, 'b');
	push(q, 'c');
	assert_true(ready(q, 1000));
	assert_int_equal(event_queue_flush(q), 3);
	assert_memory_equal(s.order, "abc", 3);
	assert_int_equal(s.batches, 1);
	assert_false(ready(q, 20));
	assert_int_equal(event_queue_flush(q), 0);
	push(q, 'd');
	assert_true(ready(q, 1000));
	event_queue_flush(q);
	assert_memory_equal(s.order, "abcd", 4);
	event_queue_free(q);
}

static void interval_collects_a_batch(void **state)
{
	struct seen s = {0};
	struct event_queue *q = queue(&s, 16, 0, 60 * NS_PER_MS);
	int64_t start = clock_now_ns();

	push(q, 'a');
	assert_false(ready(q, 5));
	push(q, 'b');
	assert_true(ready(q, 5000));
	assert_true(clock_now_ns() - start >= 55 * NS_PER_MS);
	assert_int_equal(event_queue_flush(q), 2);
	event_queue_free(q);
}

static void high_water_flushes_before_the_interval(void **state)
{
	struct seen s = {0};
	struct event_queue *q = queue(&s, 16, 3, 3600 * NS_PER_SEC);

	push(q, 'a');
	push(q, 'b');
	assert_false(ready(q, 20));
	push(q, 'c');
	assert_true(ready(q, 1000));
	assert_int_equal(event_queue_flush(q), 3);
	assert_false(ready(q, 20));
	event_queue_free(q);
}

struct producer {
	struct event_queue *q;
	int pushed, last;
};

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (char c = 'a'; c <= 'z'; c++) {
		p->last = push(p->q, c);
		if (p->last < 0)
			break;
		p->pushed++;
	}
	return NULL;
}

static void full_queue_blocks_the_producer_and_counts_it(void **state)
{
	struct seen s = {0};
	struct event_queue *q = queue(&s, 4, 4, 0);
	struct producer p = {.q = q};
	struct event_queue_stats stats;
	pthread_t thread;

	pthread_create(&thread, NULL, produce, &p);
	do
		event_queue_stats(q, &stats);
	while (stats.blocked == 0 && usleep(1000) == 0);
	assert_int_equal(stats.depth, 4);
	while (s.n < 26) {
		assert_true(ready(q, 5000));
		event_queue_flush(q);
	}
	pthread_join(thread, NULL);
	assert_memory_equal(s.order, "abcdefghijklmnopqrstuvwxyz", 26);
	event_queue_stats(q, &stats);
	assert_int_equal(stats.pushed, 26);
	assert_int_equal(stats.flushed, 26);
	event_queue_free(q);
}

static void failing_flush_goes_to_on_error_and_the_queue_goes_on(void **state)
{
	struct seen s = {.fail_next = -EIO};
	struct event_queue *q = queue(&s, 16, 0, 0);
	struct event_queue_stats stats;

	push(q, 'a');
	event_queue_flush(q);
	push(q, 'b');
	event_queue_flush(q);
	assert_int_equal(s.errors, 1);
	assert_int_equal(s.last_error, -EIO);
	assert_memory_equal(s.order, "ab", 2);
	event_queue_stats(q, &stats);
	assert_int_equal(stats.errors, 1);
	event_queue_free(q);
}

static void cancel_discards_and_tells_how_many(void **state)
{
	struct seen s = {0};
	struct event_queue *q = queue(&s, 4, 4, 0);
	struct producer p = {.q = q};
	struct event_queue_stats stats;
	pthread_t thread;

	pthread_create(&thread, NULL, produce, &p);
	do
		event_queue_stats(q, &stats);
	while (stats.blocked == 0 && usleep(1000) == 0);
	assert_int_equal(event_queue_cancel(q), 4);
	pthread_join(thread, NULL);
	assert_int_equal(p.last, -ECANCELED);
	assert_int_equal(p.pushed, 4);
	assert_int_equal(push(q, 'x'), -ECANCELED);
	assert_int_equal(event_queue_flush(q), 0);
	assert_int_equal(s.n, 0);
	event_queue_free(q);
}

static void classes_and_words(void **state)
{
	struct event e = {.type = EVENT_CONTAINER, .action = CONTAINER_UNPAUSE};
	char text[64];

	e.actor_name = (char *)"web";
	assert_true(event_is_container_start(&e));
	assert_false(event_is_container_stop(&e));
	assert_string_equal(event_string(&e, text, sizeof(text)), "unpause web");
	e.action = CONTAINER_DIE;
	assert_true(event_is_container_stop(&e));
	e.action = CONTAINER_PAUSE;
	assert_true(event_is_container_pause(&e));
	assert_false(event_is_container_start(&e));
	e = (struct event){.type = EVENT_FILE, .action = FILE_WRITTEN | FILE_CLOSED};
	e.actor_name = (char *)"/var/log/pods/a/0.log";
	assert_false(event_is_container_start(&e));
	assert_string_equal(event_string(&e, text, sizeof(text)),
			    "written|closed /var/log/pods/a/0.log");
	assert_int_equal(strlen(event_string(&e, text, 10)), 9);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(interval_0_flushes_at_once_and_in_order),
	cmocka_unit_test(interval_collects_a_batch),
	cmocka_unit_test(high_water_flushes_before_the_interval),
	cmocka_unit_test(full_queue_blocks_the_producer_and_counts_it),
	cmocka_unit_test(failing_flush_goes_to_on_error_and_the_queue_goes_on),
	cmocka_unit_test(cancel_discards_and_tells_how_many),
	cmocka_unit_test(classes_and_words),
};
RUN_TESTS(tests)
