/* SPDX-License-Identifier: Apache-2.0 */
#include "sink_world.h"

#include <linux/magic.h>
#include <sys/vfs.h>

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
	int64_t btime;

	open_sink(w, w->spec);
	assert_int_equal(stat(w->file, &st), 0);
	assert_int_equal(st.st_mode & 0133, 0);
	assert_true(sink_inode(w->sink, &dev, &ino, &btime));
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

/* Half a line of an earlier process stays one, and takes no record with it. */
static void half_a_line_is_ended_first(void **state)
{
	struct world *w = *state;
	FILE *f = fopen(w->file, "w");
	char line[64];

	fputs("half", f);
	fclose(f);
	open_sink(w, w->spec);
	put_batches(w, 1, 10);
	stop_sink(w);
	f = fopen(w->file, "r");
	assert_non_null(fgets(line, sizeof(line), f));
	assert_string_equal(line, "half\n");
	fseek(f, 0, SEEK_END);
	assert_int_equal(ftell(f), 5 + 10 * RECORD_LEN);
	fclose(f);
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
	int64_t btime;

	open_sink(w, "null");
	assert_false(sink_inode(w->sink, &dev, &ino, &btime));
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

/* A file in memory has it when the call returns; what the memory has no room for is the thread's.
 */
static void memory_takes_all_at_once(void **state)
{
	struct world *w = *state;
	struct statfs fs;

	if (statfs(w->dir, &fs) < 0 || fs.f_type != TMPFS_MAGIC) {
		print_message("# no tmpfs at /dev/shm\n");
		skip();
	}
	open_sink(w, w->spec);
	for (unsigned i = 0; i < 3; i++) {
		w->batches[i] = batch_of(w, i, BATCH_RECORDS);
		sink_put(w->sink, w->batches[i]);
		assert_int_equal(w->n_acks, i + 1);
	}
	sys.write = write_failing;
	atomic_store(&write_calls, 0);
	atomic_store(&write_fails, FAILS_FOREVER);
	atomic_store(&write_err, ENOSPC);
	for (unsigned i = 3; i < 6; i++) {
		w->batches[i] = batch_of(w, i, BATCH_RECORDS);
		sink_put(w->sink, w->batches[i]);
		assert_int_equal(w->n_acks, 3);
	}
	atomic_store(&write_fails, 0);
	wait_acks(w, 6);
	stop_sink(w);
	check_acks(w, 6, true);
	check_file(w, 6, BATCH_RECORDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(bad_spec_is_refused),
		WORLD_TEST(fifo_without_reader_does_not_hang),
		WORLD_TEST(file_gets_everything_in_order),
		WORLD_TEST(file_is_appended_to),
		WORLD_TEST(half_a_line_is_ended_first),
		WORLD_TEST(stop_delivers_what_was_put),
		WORLD_TEST(empty_batch_is_acknowledged),
		WORLD_TEST(null_counts_and_drops),
		WORLD_TEST(short_writes_go_on_where_they_ended),
		WORLD_TEST(passing_errors_are_tried_again),
		WORLD_TEST(permanent_error_fails_once),
		WORLD_TEST(stop_ends_the_backoff),
		MEMORY_TEST(memory_takes_all_at_once),
		MEMORY_TEST(file_gets_everything_in_order),
		MEMORY_TEST(stop_delivers_what_was_put),
		MEMORY_TEST(short_writes_go_on_where_they_ended),
		MEMORY_TEST(passing_errors_are_tried_again),
		MEMORY_TEST(permanent_error_fails_once),
		MEMORY_TEST(stop_ends_the_backoff),
	};

	real_sys = sys;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
