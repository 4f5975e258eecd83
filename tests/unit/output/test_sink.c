/* SPDX-License-Identifier: Apache-2.0 */
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

static void on_ack(void *ctx, struct sink *s, struct batch *b, bool delivered)
{
	struct world *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->acks[w->n_acks] = b;
	w->delivered[w->n_acks++] = delivered;
	pthread_cond_broadcast(&w->acked);
	pthread_mutex_unlock(&w->lock);
}

static void on_fail(void *ctx, struct sink *s, int err)
{
	struct world *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->n_fails++;
	w->fail_err = err;
	pthread_mutex_unlock(&w->lock);
}

static void wait_acks(struct world *w, unsigned n)
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
static struct batch *batch_of(struct world *w, unsigned i, unsigned records)
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

static int world_new(void **state)
{
	struct world *w = &world;

	sys = real_sys;
	strcpy(w->dir, "/tmp/test_sink.XXXXXX");
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

static int world_free(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < BATCHES; i++)
		batch_free(w->batches[i]);
	source_unref(w->source);
	unlink(w->file);
	assert_int_equal(rmdir(w->dir), 0);
	return 0;
}

static void open_sink(struct world *w, const char *spec)
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

static void put_batches(struct world *w, unsigned n, unsigned records)
{
	for (unsigned i = 0; i < n; i++) {
		w->batches[i] = batch_of(w, i, records);
		sink_put(w->sink, w->batches[i]);
	}
}

static void stop_sink(struct world *w)
{
	assert_true(sink_stop(w->sink, STOP_MS));
	sink_free(w->sink);
	w->sink = NULL;
}

static void check_acks(const struct world *w, unsigned n, bool delivered)
{
	assert_int_equal(w->n_acks, n);
	for (unsigned i = 0; i < n; i++) {
		assert_ptr_equal(w->acks[i], w->batches[i]);
		assert_int_equal(w->delivered[i], delivered);
	}
}

static void check_text(const char *data, size_t len, unsigned batches, unsigned records)
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

static void read_all(int fd, struct buf *out)
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

static void check_file(const struct world *w, unsigned batches, unsigned records)
{
	_cleanup_(buf_done) struct buf text = {0};
	_cleanup_fd_ int fd = open(w->file, O_RDONLY);

	assert_true(fd >= 0);
	read_all(fd, &text);
	check_text(text.data, text.len, batches, records);
}

static void bad_spec_is_refused(void **state)
{
	static const struct {
		const char *spec;
		int err;
	} cases[] = {
		{"", -EINVAL},
		{"file", -EINVAL},
		{"file:", -EINVAL},
		{"stderr", -EINVAL},
		{"stdout:", -EINVAL},
		{"null ", -EINVAL},
		{"File:x", -EINVAL},
		{"file:/", -EISDIR},
		{"file:/nonexistent/x", -ENOENT},
		{"file:/dev/null/x", -ENOTDIR},
	};
	struct sink_options o = {.queue_max = 1, .on_ack = on_ack};
	struct sink *s = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(sink_new(cases[i].spec, &o, &s), cases[i].err);
	assert_null(s);
	sink_free(NULL);
}

static void fifo_without_reader_does_not_hang(void **state)
{
	struct world *w = *state;
	struct sink_options o = {.queue_max = 1, .on_ack = on_ack};
	struct sink *s;

	assert_int_equal(mkfifo(w->file, 0600), 0);
	assert_int_equal(sink_new(w->spec, &o, &s), -ENXIO);
}

static void file_gets_everything_in_order(void **state)
{
	struct world *w = *state;
	struct sink_stats stats;
	struct stat st;
	dev_t dev;
	ino_t ino;

	open_sink(w, w->spec);
	assert_int_equal(stat(w->file, &st), 0);
	assert_int_equal(st.st_mode & 0133, 0);
	assert_true(sink_inode(w->sink, &dev, &ino));
	assert_true(dev == st.st_dev && ino == st.st_ino);
	put_batches(w, BATCHES, BATCH_RECORDS);
	wait_acks(w, BATCHES);
	sink_stats(w->sink, &stats);
	assert_int_equal(stats.batches, BATCHES);
	assert_int_equal(stats.records, BATCHES * BATCH_RECORDS);
	assert_int_equal(stats.bytes, BATCHES * BATCH_RECORDS * RECORD_LEN);
	assert_int_equal(stats.retries, 0);
	stop_sink(w);
	check_acks(w, BATCHES, true);
	assert_int_equal(w->n_fails, 0);
	check_file(w, BATCHES, BATCH_RECORDS);
}

static void file_is_appended_to(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 2; i++) {
		struct stat st;

		batch_free(w->batches[0]);
		w->n_acks = 0;
		open_sink(w, w->spec);
		put_batches(w, 1, 10);
		stop_sink(w);
		assert_int_equal(stat(w->file, &st), 0);
		assert_int_equal(st.st_size, (i + 1) * 10 * RECORD_LEN);
	}
}

static void stop_delivers_what_was_put(void **state)
{
	struct world *w = *state;

	open_sink(w, w->spec);
	put_batches(w, BATCHES, 1000);
	stop_sink(w);
	check_acks(w, BATCHES, true);
	check_file(w, BATCHES, 1000);
}

static void empty_batch_is_acknowledged(void **state)
{
	struct world *w = *state;

	open_sink(w, w->spec);
	put_batches(w, 2, 0);
	stop_sink(w);
	check_acks(w, 2, true);
	check_file(w, 0, 0);
}

static void null_counts_and_drops(void **state)
{
	struct world *w = *state;
	struct sink_stats stats;
	dev_t dev;
	ino_t ino;

	open_sink(w, "null");
	assert_false(sink_inode(w->sink, &dev, &ino));
	put_batches(w, 2, 100);
	wait_acks(w, 2);
	sink_stats(w->sink, &stats);
	assert_int_equal(stats.bytes, 2 * 100 * RECORD_LEN);
	stop_sink(w);
	check_acks(w, 2, true);
}

/* A write that takes what it likes, is interrupted, and finds the disk full now and then. */
#define FAILS_FOREVER UINT32_MAX
static atomic_uint write_calls, write_fails;
static _Atomic int write_err;

static ssize_t write_in_pieces(int fd, const void *data, size_t n)
{
	unsigned call = atomic_fetch_add(&write_calls, 1);

	if (call % 5 == 1) {
		errno = EINTR;
		return -1;
	}
	if (call % 1000 == 502) {
		errno = ENOSPC;
		return -1;
	}
	return real_sys.write(fd, data, MIN(n, (size_t)(1 + call % 97)));
}

static void short_writes_go_on_where_they_ended(void **state)
{
	struct world *w = *state;
	struct sink_stats stats;

	sys.write = write_in_pieces;
	open_sink(w, w->spec);
	put_batches(w, 3, 700);
	wait_acks(w, 3);
	sink_stats(w->sink, &stats);
	assert_in_range(stats.retries, 1, 3);
	stop_sink(w);
	check_acks(w, 3, true);
	check_file(w, 3, 700);
}

/* Fails write_fails times with write_err, having taken half of the first. */
static ssize_t write_failing(int fd, const void *data, size_t n)
{
	unsigned left = atomic_load(&write_fails);

	if (atomic_fetch_add(&write_calls, 1) == 0)
		return real_sys.write(fd, data, n / 2);
	if (left) {
		if (left != FAILS_FOREVER)
			atomic_fetch_sub(&write_fails, 1);
		errno = atomic_load(&write_err);
		return errno ? -1 : 0;
	}
	return real_sys.write(fd, data, n);
}

static void passing_errors_are_tried_again(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT, EIO, 0 /* write returns 0 */};
	struct world *w = *state;

	sys.write = write_failing;
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct sink_stats stats;

		unlink(w->file);
		batch_free(w->batches[0]);
		w->n_acks = 0;
		atomic_store(&write_calls, 0);
		atomic_store(&write_fails, 1);
		atomic_store(&write_err, errors[i]);
		open_sink(w, w->spec);
		put_batches(w, 1, 500);
		wait_acks(w, 1);
		sink_stats(w->sink, &stats);
		assert_int_equal(stats.retries, 1);
		stop_sink(w);
		check_acks(w, 1, true);
		check_file(w, 1, 500);
	}
	assert_int_equal(w->n_fails, 0);
}

static void permanent_error_fails_once(void **state)
{
	struct world *w = *state;

	sys.write = write_failing;
	atomic_store(&write_calls, 0);
	atomic_store(&write_fails, FAILS_FOREVER);
	atomic_store(&write_err, EFBIG);
	open_sink(w, w->spec);
	put_batches(w, 3, 10);
	wait_acks(w, 3);
	stop_sink(w);
	check_acks(w, 3, false);
	assert_int_equal(w->n_fails, 1);
	assert_int_equal(w->fail_err, -EFBIG);
}

/* A backoff of seconds ends when the sink is stopped, and the batch is delivered after all. */
static void stop_ends_the_backoff(void **state)
{
	struct world *w = *state;
	struct sink_stats stats = {0};
	int64_t begin;

	sys.write = write_failing;
	atomic_store(&write_calls, 0);
	atomic_store(&write_fails, FAILS_FOREVER);
	atomic_store(&write_err, ENOSPC);
	open_sink(w, w->spec);
	put_batches(w, 1, 10);
	while (stats.retries < 4) {
		usleep(10000);
		sink_stats(w->sink, &stats);
	}
	assert_int_equal(w->n_acks, 0);
	atomic_store(&write_fails, 0);
	begin = clock_now_ns();
	stop_sink(w);
	assert_true(clock_now_ns() - begin < 700 * NS_PER_MS);
	check_acks(w, 1, true);
	check_file(w, 1, 10);
}

/* stdout for the time of a test. */
static int stdout_swap(int fd)
{
	int saved;

	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	assert_true(saved >= 0);
	assert_true(dup2(fd, STDOUT_FILENO) >= 0);
	return saved;
}

static void stdout_restore(int saved)
{
	assert_true(dup2(saved, STDOUT_FILENO) >= 0);
	close(saved);
}

struct pipe_reader {
	pthread_t thread;
	int fd;
	struct buf text;
};

static void *pipe_read(void *arg)
{
	struct pipe_reader *r = arg;

	usleep(150000); /* the pipe is full by then */
	read_all(r->fd, &r->text);
	return NULL;
}

static void check_pipe(struct world *w, int flags)
{
	struct pipe_reader r = {0};
	int fds[2], saved;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
	r.fd = fds[0];
	assert_int_equal(pthread_create(&r.thread, NULL, pipe_read, &r), 0);
	saved = stdout_swap(fds[1]);
	close(fds[1]);
	open_sink(w, "stdout");
	put_batches(w, 3, BATCH_RECORDS);
	stop_sink(w);
	stdout_restore(saved); /* was the last writer: the reader sees the end */
	pthread_join(r.thread, NULL);
	close(fds[0]);
	check_acks(w, 3, true);
	check_text(r.text.data, r.text.len, 3, BATCH_RECORDS);
	buf_done(&r.text);
}

static void slow_pipe_is_waited_for(void **state)
{
	check_pipe(*state, 0);
}

static void nonblocking_pipe_is_waited_for(void **state)
{
	check_pipe(*state, O_NONBLOCK);
}

static void closed_pipe_fails_once(void **state)
{
	struct world *w = *state;
	int fds[2], saved;

	assert_int_equal(pipe(fds), 0);
	saved = stdout_swap(fds[1]);
	open_sink(w, "stdout");
	put_batches(w, 1, 1);
	wait_acks(w, 1);
	close(fds[0]);
	for (unsigned i = 1; i < 4; i++) {
		w->batches[i] = batch_of(w, i, 10);
		sink_put(w->sink, w->batches[i]);
		if (i == 2)
			wait_acks(w, 3);
	}
	stop_sink(w);
	stdout_restore(saved);
	close(fds[1]);
	assert_int_equal(w->n_acks, 4);
	assert_true(w->delivered[0]);
	assert_false(w->delivered[1] || w->delivered[2] || w->delivered[3]);
	assert_int_equal(w->n_fails, 1);
	assert_int_equal(w->fail_err, -EPIPE);
}

static void closed_stdout_is_refused(void **state)
{
	struct sink_options o = {.queue_max = 1, .on_ack = on_ack};
	struct sink *s;
	int saved, null = open("/dev/null", O_RDONLY), r, r_read;

	saved = stdout_swap(null);
	r_read = sink_new("stdout", &o, &s);
	close(STDOUT_FILENO);
	r = sink_new("stdout", &o, &s);
	stdout_restore(saved);
	close(null);
	assert_int_equal(r_read, -EBADF);
	assert_int_equal(r, -EBADF);
}

/* Waits for what must not come: nobody is called after the stop. The batches stay the thread's. */
static void check_abandoned(struct world *w, int64_t began_ns, void (*provoke)(int), int arg)
{
	static struct batch *kept[4];
	static unsigned n_kept;

	for (unsigned i = 0; i < 2; i++)
		kept[n_kept++] = take_ptr(w->batches[i]);
	assert_non_null(kept[0]);
	assert_true(clock_now_ns() - began_ns < 5 * NS_PER_SEC);
	assert_int_equal(w->n_acks, 0);
	if (provoke)
		provoke(arg);
	usleep(300000);
	assert_int_equal(w->n_acks, 0);
	assert_int_equal(w->n_fails, 0);
}

static void full_disk_does_not_hold_up_the_stop(void **state)
{
	static struct sink *kept;
	struct world *w = *state;
	struct sink_stats stats = {0};
	int64_t began;

	if (access("/dev/full", W_OK) < 0) {
		print_message("# /dev/full: %s\n", strerror(errno));
		skip();
	}
	open_sink(w, "file:/dev/full");
	kept = w->sink;
	put_batches(w, 2, 10);
	while (!stats.retries) {
		usleep(1000);
		sink_stats(w->sink, &stats);
	}
	began = clock_now_ns();
	assert_false(sink_stop(kept, 250));
	assert_true(clock_now_ns() - began >= 250 * NS_PER_MS);
	check_abandoned(w, began, NULL, 0);
	sink_free(kept); /* does nothing: the thread may still be in it */
}

static void pipe_close(int fd)
{
	close(fd);
}

static void blocked_pipe_does_not_hold_up_the_stop(void **state)
{
	static struct sink *kept;
	struct world *w = *state;
	int64_t began;
	int fds[2], saved;

	assert_int_equal(pipe(fds), 0);
	saved = stdout_swap(fds[1]);
	open_sink(w, "stdout");
	kept = w->sink;
	put_batches(w, 2, BATCH_RECORDS);
	began = clock_now_ns();
	assert_false(sink_stop(kept, 250));
	stdout_restore(saved);
	close(fds[1]);
	/* The blocked write comes back with EPIPE, and calls nobody. */
	check_abandoned(w, began, pipe_close, fds[0]);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(bad_spec_is_refused),
		WORLD_TEST(fifo_without_reader_does_not_hang),
		WORLD_TEST(file_gets_everything_in_order),
		WORLD_TEST(file_is_appended_to),
		WORLD_TEST(stop_delivers_what_was_put),
		WORLD_TEST(empty_batch_is_acknowledged),
		WORLD_TEST(null_counts_and_drops),
		WORLD_TEST(short_writes_go_on_where_they_ended),
		WORLD_TEST(passing_errors_are_tried_again),
		WORLD_TEST(permanent_error_fails_once),
		WORLD_TEST(stop_ends_the_backoff),
		WORLD_TEST(slow_pipe_is_waited_for),
		WORLD_TEST(nonblocking_pipe_is_waited_for),
		WORLD_TEST(closed_pipe_fails_once),
		WORLD_TEST(closed_stdout_is_refused),
		WORLD_TEST(full_disk_does_not_hold_up_the_stop),
		WORLD_TEST(blocked_pipe_does_not_hold_up_the_stop),
	};

	real_sys = sys;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
