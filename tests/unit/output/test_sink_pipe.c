/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks that wait for somebody: pipes, and the end of a sink that cannot get rid of its bytes. */
#include "sink_world.h"

#define SMALL_PIPE 4096

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
	assert_true(fcntl(fds[0], F_SETPIPE_SZ, SMALL_PIPE) > 0);
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
	assert_true(fcntl(fds[0], F_SETPIPE_SZ, SMALL_PIPE) > 0);
	put_batches(w, 2, BATCH_RECORDS);
	began = clock_now_ns();
	assert_false(sink_stop(kept, 250));
	stdout_restore(saved);
	close(fds[1]);
	/* The blocked write comes back with EPIPE, and calls nobody. */
	check_abandoned(w, began, pipe_close, fds[0]);
}

/* An own end of the sink's pipe, so that what is in it can be read while the sink is open. */
struct at_once {
	int in, saved;
	struct buf text;
};

static void at_once_begin(struct world *w, struct at_once *a, int flags)
{
	int fds[2];

	*a = (struct at_once){0};
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
	a->in = fds[0];
	a->saved = stdout_swap(fds[1]);
	close(fds[1]);
	open_sink(w, "stdout");
}

static void at_once_put(struct world *w, unsigned i, unsigned records)
{
	w->batches[i] = batch_of(w, i, records);
	sink_put_at_once(w->sink, w->batches[i]);
}

static void at_once_read(struct at_once *a)
{
	ssize_t n;

	do {
		assert_int_equal(buf_reserve(&a->text, 65536), 0);
		n = read(a->in, a->text.data + a->text.len, 65536);
		a->text.len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
}

static void at_once_end(struct world *w, struct at_once *a)
{
	stop_sink(w);
	stdout_restore(a->saved);
	at_once_read(a);
	close(a->in);
}

static void check_at_once(struct world *w, int flags)
{
	struct sink_stats stats;
	struct at_once a;

	at_once_begin(w, &a, flags);
	for (unsigned i = 0; i < 3; i++) {
		at_once_put(w, i, 100);
		assert_int_equal(w->n_acks, i + 1); /* nobody was waited for */
	}
	/* Who shares it sees no difference. */
	assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK, flags);
	sink_stats(w->sink, &stats);
	at_once_end(w, &a);
	check_acks(w, 3, true);
	check_text(a.text.data, a.text.len, 3, 100);
	assert_int_equal(stats.batches, 3);
	assert_int_equal(stats.records, 300);
	assert_int_equal(stats.bytes, a.text.len);
	buf_done(&a.text);
}

static void a_pipe_takes_a_small_batch_at_once(void **state)
{
	check_at_once(*state, 0);
}

static void a_nonblocking_pipe_takes_it_too(void **state)
{
	check_at_once(*state, O_NONBLOCK);
}

static void what_a_full_pipe_does_not_take_is_the_threads(void **state)
{
	struct world *w = *state;
	struct at_once a;

	at_once_begin(w, &a, 0);
	assert_true(fcntl(a.in, F_SETPIPE_SZ, 2 * SMALL_PIPE) > 0);
	at_once_put(w, 0, 300); /* 6,000 of 8,192 bytes */
	assert_int_equal(w->n_acks, 1);
	at_once_put(w, 1, 300); /* taken in part */
	at_once_put(w, 2, 300); /* behind it, though the thread may not have begun */
	assert_int_equal(w->n_acks, 1);
	for (int64_t until = clock_now_ns() + STOP_MS * NS_PER_MS;
	     w->n_acks < 3 && clock_now_ns() < until;) {
		at_once_read(&a);
		usleep(1000);
	}
	wait_acks(w, 3);
	at_once_read(&a);
	at_once_put(w, 3, 300); /* the thread rests, or takes it */
	wait_acks(w, 4);
	at_once_end(w, &a);
	check_acks(w, 4, true);
	check_text(a.text.data, a.text.len, 4, 300);
	buf_done(&a.text);
}

static void a_batch_taken_in_part_comes_back(void **state)
{
	struct world *w = *state;
	struct batch *back[BATCHES];
	struct at_once a;
	unsigned n = 0;

	at_once_begin(w, &a, 0);
	assert_true(fcntl(a.in, F_SETPIPE_SZ, SMALL_PIPE) > 0);
	at_once_put(w, 0, 300);
	at_once_put(w, 1, 300);
	assert_int_equal(sink_abandon(w->sink, back, &n), 2);
	assert_int_equal(n, 2);
	assert_ptr_equal(back[0], w->batches[0]);
	assert_ptr_equal(back[1], w->batches[1]);
	at_once_read(&a);
	while (!sink_ended(w->sink)) {
		at_once_read(&a);
		usleep(1000);
	}
	sink_free(w->sink);
	stdout_restore(a.saved);
	close(a.in);
	buf_done(&a.text);
	assert_int_equal(w->n_acks, 0);
}

static void a_file_is_left_to_the_thread(void **state)
{
	struct world *w = *state;

	open_sink(w, w->spec);
	for (unsigned i = 0; i < 3; i++)
		at_once_put(w, i, 100);
	stop_sink(w);
	check_acks(w, 3, true);
	check_file(w, 3, 100);
}

static void a_closed_pipe_fails_once_at_once(void **state)
{
	struct world *w = *state;
	struct at_once a;

	at_once_begin(w, &a, 0);
	at_once_put(w, 0, 10);
	close(a.in);
	for (unsigned i = 1; i < 4; i++) {
		at_once_put(w, i, 10);
		wait_acks(w, i + 1);
	}
	stop_sink(w);
	stdout_restore(a.saved);
	assert_true(w->delivered[0]);
	assert_false(w->delivered[1] || w->delivered[2] || w->delivered[3]);
	assert_int_equal(w->n_fails, 1);
	assert_int_equal(w->fail_err, -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(slow_pipe_is_waited_for),
		WORLD_TEST(nonblocking_pipe_is_waited_for),
		WORLD_TEST(closed_pipe_fails_once),
		WORLD_TEST(closed_stdout_is_refused),
		WORLD_TEST(full_disk_does_not_hold_up_the_stop),
		WORLD_TEST(blocked_pipe_does_not_hold_up_the_stop),
		WORLD_TEST(a_pipe_takes_a_small_batch_at_once),
		WORLD_TEST(a_nonblocking_pipe_takes_it_too),
		WORLD_TEST(what_a_full_pipe_does_not_take_is_the_threads),
		WORLD_TEST(a_batch_taken_in_part_comes_back),
		WORLD_TEST(a_file_is_left_to_the_thread),
		WORLD_TEST(a_closed_pipe_fails_once_at_once),
	};

	real_sys = sys;
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERR);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
