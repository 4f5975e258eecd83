/* SPDX-License-Identifier: Apache-2.0 */
#include <semaphore.h>

#include "test.h"

#include "state_world.h"

static void saves_and_loads_again(void **state)
{
	struct world w;
	struct buf last = text_make(3);
	struct stat st;

	world_make(&w);
	world_opened(&w);
	assert_true(!w.found && !w.bad && !w.loaded.n);
	assert_int_equal(world_stats(&w).age_ns, -1);
	assert_true(world_save(&w, 1));
	assert_int_equal(world_number(&w), 1);
	assert_true(world_save(&w, 2));
	assert_int_equal(world_number(&w), 2);
	assert_int_equal(world_stats(&w).saves, 2);
	assert_true(world_stats(&w).age_ns >= 0);
	assert_int_equal(world_close(&w, &last), 0);
	assert_int_equal(world_number(&w), 3);
	assert_int_equal(stat(w.state, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat(world_path(w.state, "checkpoint"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(access(world_path(w.state, "checkpoint.tmp"), F_OK), -1);
	world_opened(&w);
	assert_true(w.found && !w.bad);
	assert_int_equal(w.loaded.n, 3);
	assert_int_equal(world_close(&w, NULL), 0);
	assert_int_equal(world_number(&w), 3);
	buf_done(&last);
	world_remove(&w);
}

static void is_due_after_the_interval(void **state)
{
	struct state_options o = {.required = true, .interval_ns = 3600 * NS_PER_SEC};
	struct buf b = text_make(1);
	struct world w;
	int64_t before;

	world_make(&w);
	o.dir = w.state;
	assert_int_equal(state_open(&o, &w.s, &w.loaded, &w.found, &w.bad), 0);
	before = clock_now_ns();
	assert_true(state_due(w.s, before));
	state_save(w.s, &b);
	world_wait(&w);
	assert_false(state_due(w.s, clock_now_ns()));
	assert_true(state_due_ns(w.s) >= before + o.interval_ns);
	assert_true(state_due_ns(w.s) <= clock_now_ns() + o.interval_ns);
	assert_true(state_due(w.s, state_due_ns(w.s)));
	assert_false(state_due(w.s, state_due_ns(w.s) - 1));
	world_close(&w, NULL);
	world_remove(&w);
}

/* As the collector does it: the text of save n in pieces of so many bytes, the last one included.
 */
static void put_pieces(struct world *w, uint64_t n, size_t bytes)
{
	struct buf all = text_make(n);

	for (size_t at = 0; at < all.len; at += bytes) {
		struct buf piece = {0};

		assert_int_equal(buf_add(&piece, all.data + at, MIN(bytes, all.len - at)), 0);
		if (at + bytes < all.len) {
			state_put(w->s, &piece);
			assert_int_equal(state_due_ns(w->s), INT64_MAX);
		} else {
			state_save(w->s, &piece);
		}
		assert_true(!piece.data && !piece.len);
	}
	buf_done(&all);
}

static void pieces_are_one_save(void **state)
{
	const size_t sizes[] = {7, 1000, 65536};
	struct world w;

	world_make(&w);
	world_opened(&w);
	for (uint64_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		put_pieces(&w, 20 + i, sizes[i]);
		world_wait(&w);
		assert_false(state_take_failed(w.s));
		assert_int_equal(world_number(&w), 20 + i);
		assert_int_equal(world_stats(&w).saves, i + 1);
	}
	world_close(&w, NULL);
	assert_int_equal(world_count(w.state, "checkpoint.tmp"), 0);
	world_remove(&w);
}

static sem_t disk_works;

static ssize_t hanging_write(int fd, const void *data, size_t n)
{
	sem_wait(&disk_works);
	sem_post(&disk_works);
	return fake_write(fd, data, n);
}

/* Ten times what the saver is given time for: all of them gather. */
static void pieces_do_not_wait_for_a_disk_that_hangs(void **state)
{
	struct world w;

	world_make(&w);
	world_opened(&w);
	sem_init(&disk_works, 0, 0);
	sys.write = hanging_write;
	put_pieces(&w, 20000, 65536);
	assert_int_equal(world_stats(&w).saves, 0);
	sem_post(&disk_works);
	world_wait(&w);
	assert_false(state_take_failed(w.s));
	assert_int_equal(world_number(&w), 20000);
	world_close(&w, NULL);
	sem_destroy(&disk_works);
	world_remove(&w);
}

/* A piece that was put before the save is given up, or fails, does not get into the next one. */
static void pieces_without_an_end_are_dropped(void **state)
{
	struct world w;

	world_make(&w);
	world_opened(&w);
	assert_true(world_save(&w, 3));
	log_begin(&w);
	for (int how = 0; how < 3; how++) {
		struct buf piece = text_make(5);

		world_fail(how ? "write" : NULL, 1, how ? ENOSPC : 0);
		if (how < 2) {
			state_put(w.s, &piece);
			state_save(w.s, NULL);
		} else {
			buf_done(&piece);
			put_pieces(&w, 6, 100);
		}
		world_wait(&w);
		world_fail(NULL, 0, 0);
		assert_true(state_take_failed(w.s));
		assert_int_equal(world_number(&w), 3);
		assert_int_equal(world_count(w.state, "checkpoint.tmp"), 0);
		assert_int_equal(world_stats(&w).failures, how + 1);
	}
	assert_true(world_save(&w, 4));
	assert_says(log_end(&w), "saving works again");
	world_close(&w, NULL);
	assert_int_equal(world_number(&w), 4);
	world_remove(&w);
}

/* What was begun in a directory that is not there any more is no part of one made anew. */
static void pieces_do_not_cross_into_another_directory(void **state)
{
	struct buf piece = text_make(5);
	char away[160];
	struct world w;

	world_make(&w);
	world_opened(&w);
	state_put(w.s, &piece);
	while (!world_count(w.state, "checkpoint.tmp"))
		usleep(1000);
	snprintf(away, sizeof(away), "%s.away", w.state);
	assert_int_equal(rename(w.state, away), 0);
	log_begin(&w);
	piece = text_make(6);
	state_save(w.s, &piece);
	world_wait(&w);
	assert_true(state_take_failed(w.s));
	assert_int_equal(world_number(&w), -1);
	assert_true(world_save(&w, 7));
	log_end(&w);
	world_close(&w, NULL);
	assert_int_equal(world_number(&w), 7);
	world_remove(&w);
}

static void close_ends_what_was_put(void **state)
{
	struct buf piece = {0}, all = text_make(40);
	struct world w;

	world_make(&w);
	world_opened(&w);
	assert_int_equal(buf_add(&piece, all.data, 100), 0);
	state_put(w.s, &piece);
	memmove(all.data, all.data + 100, all.len -= 100);
	assert_int_equal(world_close(&w, &all), 0);
	assert_int_equal(world_number(&w), 40);
	world_opened(&w);
	piece = text_make(50);
	state_put(w.s, &piece);
	log_begin(&w);
	world_close(&w, NULL);
	log_end(&w);
	assert_int_equal(world_number(&w), 40);
	buf_done(&all);
	world_remove(&w);
}

static void end_waits_for_what_was_handed_over(void **state)
{
	struct world w;

	world_make(&w);
	for (uint64_t n = 1; n <= 50; n++) {
		struct buf b = text_make(n);

		world_opened(&w);
		state_save(w.s, &b);
		assert_int_equal(world_close(&w, NULL), 0);
		assert_int_equal(world_number(&w), n);
	}
	world_remove(&w);
}

/* A child holds it: tells when, goes on at the end of its input. */
static pid_t hold(struct world *w, int *ret_to)
{
	int to[2], from[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(to[1]);
		_exit(world_open(w) < 0 || write(from[1], "x", 1) != 1 || read(to[0], &c, 1) != 0 ||
		      world_close(w, NULL) < 0);
	}
	close(to[0]);
	close(from[1]);
	assert_int_equal(read(from[0], &c, 1), 1);
	close(from[0]);
	*ret_to = to[1];
	return pid;
}

static void second_instance_is_refused(void **state)
{
	char want[256];
	const char *log;
	struct world w;
	int to, status;
	pid_t pid;

	world_make(&w);
	pid = hold(&w, &to);
	log_begin(&w);
	assert_int_equal(world_open_as(&w, w.state, false), -EBUSY);
	assert_int_equal(world_open(&w), -EBUSY);
	log = log_end(&w);
	snprintf(want, sizeof(want),
		 "hotdrain: error: state %s: in use by another hotdrain (pid %d); name another one "
		 "with --state\n",
		 w.state, (int)pid);
	assert_says(log, want);
	assert_int_equal(count_of(log, "\n"), 2);
	close(to);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	world_opened(&w);
	world_close(&w, NULL);
	world_remove(&w);
}

static void lock_ends_with_its_process(void **state)
{
	struct world w;
	int to, status;
	pid_t pid;

	world_make(&w);
	pid = hold(&w, &to);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(to);
	world_opened(&w);
	world_close(&w, NULL);
	world_remove(&w);
}

static void removed_directory_is_made_again(void **state)
{
	struct world w;
	char command[256];
	int fd;

	world_make(&w);
	world_opened(&w);
	assert_true(world_save(&w, 1));
	snprintf(command, sizeof(command), "rm -rf '%s'", w.state);
	assert_int_equal(system(command), 0);
	assert_true(world_save(&w, 2));
	assert_int_equal(world_number(&w), 2);
	/* And the lock is where everybody looks for it. */
	fd = open(world_path(w.state, "lock"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	close(fd);
	world_close(&w, NULL);
	world_remove(&w);
}

/* Opens with this as the checkpoint: what the log says. */
static const char *open_bad(struct world *w, const char *text)
{
	mkdir(w->state, 0700);
	if (text)
		test_write(world_path(w->state, "checkpoint"), "w", text);
	log_begin(w);
	world_opened(w);
	return log_end(w);
}

static void bad_one_is_kept_aside(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "checkpoint: empty, kept as checkpoint.bad-2"},
		{"nonsense\n", "checkpoint: line 1: expected \"hotdrain checkpoint\", came"},
		{"hotdrain checkpoint 7 1\n",
		 "checkpoint: version 7, this program knows 2, kept as "
		 "checkpoint.bad-"},
	};
	struct world w;
	const char *log;

	world_make(&w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		log = open_bad(&w, cases[i].text);
		assert_true(w.bad && !w.found && !w.loaded.n);
		assert_int_equal(world_stats(&w).bad, 1);
		assert_says(log, cases[i].why);
		assert_says(log, ", starting from the beginning\n");
		assert_int_equal(count_of(log, "warning: "), 1);
		assert_int_equal(count_of(log, "\n"), 1);
		assert_int_equal(world_number(&w), -1);
		assert_int_equal(world_count(w.state, "checkpoint.bad-"), i + 1);
		world_close(&w, NULL);
	}
	world_remove(&w);
}

static void bad_one_is_kept_whole(void **state)
{
	char text[64] = "", name[64] = "";
	const char *log, *at;
	struct world w;
	FILE *f;

	world_make(&w);
	log = open_bad(&w, "what was there");
	at = strstr(log, "checkpoint.bad-");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "%63[^,]", name), 1);
	assert_int_equal(strlen(name), strlen("checkpoint.bad-YYYYmmddTHHMMSS"));
	f = fopen(world_path(w.state, name), "r");
	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text) - 1, f), 14);
	fclose(f);
	assert_string_equal(text, "what was there");
	world_close(&w, NULL);
	world_remove(&w);
}

static void ten_bad_ones_are_kept(void **state)
{
	struct world w;

	world_make(&w);
	assert_int_equal(mkdir(w.state, 0700), 0);
	test_write(world_path(w.state, "checkpoint.bad-20200101T000000"), "w", "the oldest");
	test_write(world_path(w.state, "checkpoint.bad-20200101T000001"), "w", "the next");
	for (int i = 0; i < 9; i++) {
		open_bad(&w, "bad");
		world_close(&w, NULL);
	}
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 10);
	assert_int_equal(access(world_path(w.state, "checkpoint.bad-20200101T000000"), F_OK), -1);
	assert_int_equal(access(world_path(w.state, "checkpoint.bad-20200101T000001"), F_OK), 0);
	open_bad(&w, "bad");
	world_close(&w, NULL);
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 10);
	assert_int_equal(access(world_path(w.state, "checkpoint.bad-20200101T000001"), F_OK), -1);
	world_remove(&w);
}

static void what_is_no_plain_file_is_refused(void **state)
{
	struct world w;
	const char *log;

	world_make(&w);
	assert_int_equal(mkdir(w.state, 0700), 0);
	assert_int_equal(symlink("/etc/passwd", world_path(w.state, "checkpoint")), 0);
	log = open_bad(&w, NULL);
	assert_true(w.bad);
	assert_says(log, "checkpoint: a symbolic link, kept as ");
	assert_true(world_save(&w, 1));
	world_close(&w, NULL);

	unlink(world_path(w.state, "checkpoint"));
	assert_int_equal(mkfifo(world_path(w.state, "checkpoint"), 0600), 0);
	log = open_bad(&w, NULL);
	assert_true(w.bad);
	assert_says(log, "checkpoint: not a regular file, kept as ");
	world_close(&w, NULL);

	assert_int_equal(mkdir(world_path(w.state, "checkpoint"), 0700), 0);
	open_bad(&w, NULL);
	assert_true(w.bad);
	assert_true(world_save(&w, 2));
	assert_int_equal(world_number(&w), 2);
	world_close(&w, NULL);
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 3);
	world_remove(&w);
}

static void huge_one_is_refused_unread(void **state)
{
	struct world w;
	const char *log;

	world_make(&w);
	assert_int_equal(mkdir(w.state, 0700), 0);
	test_write(world_path(w.state, "checkpoint"), "w", "x");
	assert_int_equal(truncate(world_path(w.state, "checkpoint"), INT64_C(1) << 40), 0);
	log = open_bad(&w, NULL);
	assert_true(w.bad);
	assert_says(log, "checkpoint: 1099511627776 bytes, at most 1073741824 are read, kept as ");
	world_close(&w, NULL);
	world_remove(&w);
}

static void what_is_in_the_way_of_the_new_one_is_removed(void **state)
{
	struct world w;

	world_make(&w);
	world_opened(&w);
	test_write(world_path(w.dir, "victim"), "w", "mine");
	test_write(world_path(w.state, "checkpoint.tmp"), "w", "left over");
	assert_true(world_save(&w, 1));
	assert_int_equal(symlink("../victim", world_path(w.state, "checkpoint.tmp")), 0);
	assert_true(world_save(&w, 2));
	assert_int_equal(mkfifo(world_path(w.state, "checkpoint.tmp"), 0600), 0);
	assert_true(world_save(&w, 3));
	assert_int_equal(world_number(&w), 3);
	assert_int_equal(text_number(world_path(w.dir, "victim")), -2);
	world_close(&w, NULL);
	world_remove(&w);
}

static void leftover_of_a_crash_means_nothing(void **state)
{
	struct buf b = text_make(7);
	struct world w;

	world_make(&w);
	assert_int_equal(mkdir(w.state, 0700), 0);
	assert_int_equal(buf_printf(&b, "%s", ""), 0);
	test_write(world_path(w.state, "checkpoint.tmp"), "w", b.data);
	world_opened(&w);
	assert_true(!w.found && !w.bad);
	world_close(&w, NULL);
	buf_done(&b);
	world_remove(&w);
}

static void unusable_path_is_the_users_error(void **state)
{
	struct world w;
	char file[160], below[160];
	const char *log;

	world_make(&w);
	snprintf(file, sizeof(file), "%s/file", w.dir);
	snprintf(below, sizeof(below), "%s/missing/state", w.dir);
	test_write(file, "w", "");
	log_begin(&w);
	assert_int_equal(world_open_as(&w, file, true), -ENOTDIR);
	assert_int_equal(world_open_as(&w, below, true), -ENOENT);
	assert_int_equal(world_open_as(&w, "", true), -ENOENT);
	log = log_end(&w);
	assert_int_equal(count_of(log, "error: state "), 3);
	assert_says(log, "/file: Not a directory\n");
	assert_says(log, "/missing/state: cannot be made: No such file or directory\n");
	/* Where nobody named it, the caller has the word. */
	log_begin(&w);
	assert_int_equal(world_open_as(&w, file, false), -ENOTDIR);
	assert_int_equal(world_open_as(&w, below, false), -ENOENT);
	world_fail("mkdir", -1, EACCES);
	assert_int_equal(world_open_as(&w, w.state, false), -EACCES);
	log = log_end(&w);
	assert_string_equal(log, "");
	world_remove(&w);
}

static void lock_is_no_link(void **state)
{
	struct world w;

	world_make(&w);
	assert_int_equal(mkdir(w.state, 0700), 0);
	test_write(world_path(w.dir, "victim"), "w", "mine");
	assert_int_equal(symlink("../victim", world_path(w.state, "lock")), 0);
	log_begin(&w);
	assert_int_equal(world_open(&w), -ELOOP);
	log_end(&w);
	world_remove(&w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(saves_and_loads_again),
	cmocka_unit_test(is_due_after_the_interval),
	cmocka_unit_test(pieces_are_one_save),
	cmocka_unit_test(pieces_do_not_wait_for_a_disk_that_hangs),
	cmocka_unit_test(pieces_without_an_end_are_dropped),
	cmocka_unit_test(pieces_do_not_cross_into_another_directory),
	cmocka_unit_test(close_ends_what_was_put),
	cmocka_unit_test(end_waits_for_what_was_handed_over),
	cmocka_unit_test(second_instance_is_refused),
	cmocka_unit_test(lock_ends_with_its_process),
	cmocka_unit_test(removed_directory_is_made_again),
	cmocka_unit_test(bad_one_is_kept_aside),
	cmocka_unit_test(bad_one_is_kept_whole),
	cmocka_unit_test(ten_bad_ones_are_kept),
	cmocka_unit_test(what_is_no_plain_file_is_refused),
	cmocka_unit_test(huge_one_is_refused_unread),
	cmocka_unit_test(what_is_in_the_way_of_the_new_one_is_removed),
	cmocka_unit_test(leftover_of_a_crash_means_nothing),
	cmocka_unit_test(unusable_path_is_the_users_error),
	cmocka_unit_test(lock_is_no_link),
};

RUN_TESTS(tests)
