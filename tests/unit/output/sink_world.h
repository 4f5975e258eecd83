/* SPDX-License-Identifier: Apache-2.0 */
/* A sink, its batches and what it acknowledged: shared by the tests of sinks. */
#ifndef SINK_WORLD_H
#define SINK_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "event/source.h"
#include "output/batch.h"
#include "output/sink.h"

#define BATCHES       8
#define STOP_MS       20000 /* a bound for what should take a moment */
#define RECORD_LEN    20
#define RECORD_FORMAT "batch %05u.%07u\n"

/* Alive to the end: a sink that could not be stopped keeps its thread. */
static struct world {
	char dir[32], file[64], spec[80];
	struct sink *sink;
	struct batch *batches[BATCHES];
	struct source *source;

	pthread_mutex_t lock;
	pthread_cond_t acked;
	struct batch *acks[BATCHES * 2];
	bool delivered[BATCHES * 2];
	unsigned n_acks, n_fails;
	int fail_err;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .acked = PTHREAD_COND_INITIALIZER};

static struct sys real_sys;

static inline void on_ack(void *ctx, struct sink *s, struct batch *b, bool delivered)
{
	struct world *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->acks[w->n_acks] = b;
	w->delivered[w->n_acks++] = delivered;
	pthread_cond_broadcast(&w->acked);
	pthread_mutex_unlock(&w->lock);
}

static inline void on_fail(void *ctx, struct sink *s, int err)
{
	struct world *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->n_fails++;
	w->fail_err = err;
	pthread_mutex_unlock(&w->lock);
}

static inline void wait_acks(struct world *w, unsigned n)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_MS / 1000;
	pthread_mutex_lock(&w->lock);
	while (w->n_acks < n && !r)
		r = pthread_cond_timedwait(&w->acked, &w->lock, &until);
	pthread_mutex_unlock(&w->lock);
	assert_int_equal(r, 0);
}

/* Record k of batch i is its own number, so that order and repetition show. */
static inline struct batch *batch_of(struct world *w, unsigned i, unsigned records)
{
	struct batch *b;

	assert_int_equal(batch_new(RECORD_LEN * BATCH_RECORDS + 64, 64, &b), 0);
	for (unsigned k = 0; k < records; k++) {
		char *text = b->arena + b->used, line[48];

		snprintf(line, sizeof(line), RECORD_FORMAT, i, k);
		memcpy(text, line, RECORD_LEN);
		*batch_next(b) = (struct record){.text = text, .text_len = RECORD_LEN - 1};
		batch_commit(b);
		b->used += RECORD_LEN;
	}
	b->spans[b->n_spans++] =
		(struct span){.source = source_ref(w->source), .count = b->n_records};
	return b;
}

static inline int world_new_in(const char *dir, void **state)
{
	struct world *w = &world;

	sys = real_sys;
	snprintf(w->dir, sizeof(w->dir), "%s/test_sink.XXXXXX", dir);
	assert_non_null(mkdtemp(w->dir));
	strcat(strcpy(w->file, w->dir), "/out");
	strcat(strcpy(w->spec, "file:"), w->file);
	assert_int_equal(source_new("/a", &w->source), 0);
	w->n_acks = w->n_fails = 0;
	w->fail_err = 0;
	w->sink = NULL;
	memset(w->batches, 0, sizeof(w->batches));
	*state = w;
	return 0;
}

static inline int world_new(void **state)
{
	return world_new_in("/tmp", state);
}

/* Where there is none, what is on a disk is tested once more. */
static inline int memory_new(void **state)
{
	return world_new_in(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", state);
}

static inline int world_free(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < BATCHES; i++)
		batch_free(w->batches[i]);
	source_unref(w->source);
	unlink(w->file);
	assert_int_equal(rmdir(w->dir), 0);
	return 0;
}

static inline void open_sink(struct world *w, const char *spec)
{
	struct sink_options o = {
		.format = ENCODE_RAW,
		.queue_max = BATCHES,
		.ctx = w,
		.on_ack = on_ack,
		.on_fail = on_fail,
	};

	assert_int_equal(sink_new(spec, &o, &w->sink), 0);
	assert_string_equal(sink_name(w->sink), spec);
}

static inline void put_batches(struct world *w, unsigned n, unsigned records)
{
	for (unsigned i = 0; i < n; i++) {
		w->batches[i] = batch_of(w, i, records);
		sink_put(w->sink, w->batches[i]);
	}
}

static inline void stop_sink(struct world *w)
{
	assert_true(sink_stop(w->sink, STOP_MS));
	sink_free(w->sink);
	w->sink = NULL;
}

static inline void check_acks(const struct world *w, unsigned n, bool delivered)
{
	assert_int_equal(w->n_acks, n);
	for (unsigned i = 0; i < n; i++) {
		assert_ptr_equal(w->acks[i], w->batches[i]);
		assert_int_equal(w->delivered[i], delivered);
	}
}

static inline void check_text(const char *data, size_t len, unsigned batches, unsigned records)
{
	size_t at = 0;

	assert_int_equal(len, (size_t)batches * records * RECORD_LEN);
	for (unsigned i = 0; i < batches; i++)
		for (unsigned k = 0; k < records; k++, at += RECORD_LEN) {
			char line[48];

			snprintf(line, sizeof(line), RECORD_FORMAT, i, k);
			assert_memory_equal(data + at, line, RECORD_LEN);
		}
}

static inline void read_all(int fd, struct buf *out)
{
	ssize_t n;

	do {
		assert_int_equal(buf_reserve(out, 65536), 0);
		n = read(fd, out->data + out->len, 65536);
		if (n > 0)
			out->len += (size_t)n;
	} while (n > 0);
	assert_int_equal(n, 0);
}

static inline void check_file(const struct world *w, unsigned batches, unsigned records)
{
	_cleanup_(buf_done) struct buf text = {0};
	_cleanup_fd_ int fd = open(w->file, O_RDONLY);

	assert_true(fd >= 0);
	read_all(fd, &text);
	check_text(text.data, text.len, batches, records);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)
#define MEMORY_TEST(f)                                            \
	{                                                         \
		"in memory: " #f, f, memory_new, world_free, NULL \
	}

#endif
