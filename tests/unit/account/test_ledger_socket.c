/* SPDX-License-Identifier: Apache-2.0 */
/* The test is the event loop and the clients; the socket's own thread is in between. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "account/ledger_socket.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"

#define SOON_MS 60000 /* what must come, on the slowest machine */

static char *socket_path(const char *dir)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/" LEDGER_SOCKET_NAME, dir) > 0);
	return path;
}

static int client_open(const char *dir)
{
	_cleanup_fd_ int dir_fd = open(dir, O_PATH | O_DIRECTORY);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address;

	assert_true(dir_fd >= 0 && fd >= 0);
	ledger_socket_address(dir, dir_fd, &address);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int client_asking(const char *dir, char what)
{
	int fd = client_open(dir);

	assert_int_equal(send(fd, &what, 1, MSG_NOSIGNAL), 1);
	return fd;
}

/* Until the end; the caller frees. */
static char *client_read(int fd)
{
	struct buf b = {0};

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, SOON_MS), 1);
		assert_int_equal(buf_reserve(&b, 65536), 0);
		n = recv(fd, b.data + b.len, 65535, 0);
		if (n <= 0)
			break;
		b.len += (size_t)n;
	}
	assert_int_equal(buf_add(&b, "", 1), 0);
	close(fd);
	return b.data;
}

static bool wanted_within(const struct ledger_socket *s, int ms)
{
	struct pollfd p = {.fd = ledger_socket_fd(s), .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static void answer(struct ledger_socket *s, const char *text, bool lost)
{
	struct buf b = {0};

	assert_int_equal(buf_add(&b, text, strlen(text)), 0);
	ledger_socket_answer(s, &b, lost);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
}

/* One question and its answer. */
static void assert_served(struct ledger_socket *s, const char *dir, const char *text, bool lost)
{
	int fd = client_asking(dir, lost ? 'j' : 't');
	char want[256], *got;

	assert_true(wanted_within(s, SOON_MS));
	assert_int_equal(ledger_socket_wanted(s), lost ? LEDGER_JSON : LEDGER_TABLE);
	answer(s, text, lost);
	assert_false(wanted_within(s, 0));
	got = client_read(fd);
	snprintf(want, sizeof(want), "%d %zu\n%s", lost, strlen(text), text);
	assert_string_equal(got, want);
	free(got);
}

struct world {
	char *dir;
	struct ledger_socket *s;
};

static int world_make(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dir = test_dir_make();
	assert_int_equal(ledger_socket_new(w->dir, &w->s), 0);
	*state = w;
	return 0;
}

static int world_end(void **state)
{
	struct world *w = *state;

	ledger_socket_free(w->s);
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static void answer_comes_as_it_was_given(void **state)
{
	struct world *w = *state;

	assert_served(w->s, w->dir, "a table\n", false);
	assert_served(w->s, w->dir, "{}\n", true);
}

static void hundred_questions_are_answered_in_turn(void **state)
{
	struct world *w = *state;
	char text[32];

	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "answer %d\n", i);
		assert_served(w->s, w->dir, text, i % 2);
	}
}

static void clients_at_once_are_served_one_after_the_other(void **state)
{
	struct world *w = *state;
	int fds[10];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_asking(w->dir, i % 2 ? 'j' : 't');
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		char text[32], *got;

		assert_true(wanted_within(w->s, SOON_MS));
		assert_int_equal(ledger_socket_wanted(w->s), i % 2 ? LEDGER_JSON : LEDGER_TABLE);
		snprintf(text, sizeof(text), "for %zu\n", i);
		answer(w->s, text, false);
		got = client_read(fds[i]);
		assert_string_equal(strchr(got, '\n') + 1, text);
		free(got);
	}
}

static void each_question_is_told_from_the_others(void **state)
{
	static const struct {
		char byte;
		enum ledger_format format;
	} questions[] = {{'s', LEDGER_STATUS}, {'t', LEDGER_TABLE}, {'j', LEDGER_JSON}};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		int fd = client_asking(w->dir, questions[i].byte);
		char *got;

		assert_true(wanted_within(w->s, SOON_MS));
		assert_int_equal(ledger_socket_wanted(w->s), questions[i].format);
		answer(w->s, "{}\n", false);
		got = client_read(fd);
		assert_string_equal(got, "0 3\n{}\n");
		free(got);
	}
}

static void large_answer_comes_whole(void **state)
{
	struct world *w = *state;
	size_t n = 20 << 20;
	struct buf b = {0};
	char head[32], *got;
	int fd = client_asking(w->dir, 't');

	assert_true(wanted_within(w->s, SOON_MS));
	ledger_socket_wanted(w->s);
	assert_int_equal(buf_reserve(&b, n), 0);
	for (size_t i = 0; i < n; i++)
		b.data[i] = (char)('a' + i % 23);
	b.len = n;
	ledger_socket_answer(w->s, &b, true);
	got = client_read(fd);
	snprintf(head, sizeof(head), "1 %zu\n", n);
	assert_int_equal(strlen(got), n + strlen(head));
	assert_memory_equal(got, head, strlen(head));
	for (size_t i = 0; i < n; i++)
		if (got[strlen(head) + i] != (char)('a' + i % 23))
			fail_msg("byte %zu is another", i);
	free(got);
}

static void no_memory_for_an_answer_ends_the_connection(void **state)
{
	struct world *w = *state;
	int fd = client_asking(w->dir, 't');
	char *got;

	assert_true(wanted_within(w->s, SOON_MS));
	ledger_socket_wanted(w->s);
	answer(w->s, "", false);
	got = client_read(fd);
	assert_string_equal(got, "");
	free(got);
	assert_served(w->s, w->dir, "still there\n", false);
}

static void other_question_ends_the_connection(void **state)
{
	static const char others[] = {'T', 'J', 'x', '\0', '\n', '0', '\xff'};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		char *got = client_read(client_asking(w->dir, others[i]));

		assert_string_equal(got, "");
		free(got);
	}
	assert_served(w->s, w->dir, "still there\n", false);
}

/* As `echo t | socat - UNIX:…` does it. */
static void client_that_is_done_with_sending_is_answered(void **state)
{
	struct world *w = *state;
	int fd = client_open(w->dir);
	char *got;

	assert_int_equal(send(fd, "t\n", 2, 0), 2);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_true(wanted_within(w->s, SOON_MS));
	ledger_socket_wanted(w->s);
	usleep(50000);
	answer(w->s, "text\n", false);
	got = client_read(fd);
	assert_string_equal(got, "0 5\ntext\n");
	free(got);
}

static void client_that_goes_before_it_asks_is_nothing(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 50; i++)
		close(client_open(w->dir));
	assert_served(w->s, w->dir, "still there\n", false);
}

/* Readable may become unreadable again: the question was taken back. */
static void client_that_goes_while_it_waits_takes_its_question_back(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 20; i++) {
		int fd = client_asking(w->dir, 't');

		assert_true(wanted_within(w->s, SOON_MS));
		close(fd);
		for (int ms = 0; wanted_within(w->s, 0); ms += 10) {
			assert_true(ms < SOON_MS);
			usleep(10000);
		}
	}
	assert_served(w->s, w->dir, "still there\n", false);
}

/* The event loop is at it when its client goes: the next client gets an answer of its own. */
static void answer_to_one_that_went_is_not_given_to_the_next(void **state)
{
	struct world *w = *state;
	int first = client_asking(w->dir, 't'), second;
	char *got;

	assert_true(wanted_within(w->s, SOON_MS));
	assert_int_equal(ledger_socket_wanted(w->s), LEDGER_TABLE);
	close(first);
	for (int ms = 0; wanted_within(w->s, 0); ms += 10) {
		assert_true(ms < SOON_MS);
		usleep(10000);
	}
	second = client_asking(w->dir, 'j');
	assert_true(wanted_within(w->s, SOON_MS));
	answer(w->s, "the table\n", false);
	assert_true(wanted_within(w->s, 0)); /* that was not for this one */
	assert_int_equal(ledger_socket_wanted(w->s), LEDGER_JSON);
	answer(w->s, "{}\n", true);
	got = client_read(second);
	assert_string_equal(got, "1 3\n{}\n");
	free(got);
}

static void answer_nobody_asked_for_is_dropped(void **state)
{
	struct world *w = *state;

	answer(w->s, "unasked\n", true);
	ledger_socket_wanted(w->s);
	answer(w->s, "unasked\n", true);
	assert_served(w->s, w->dir, "asked\n", false);
	answer(w->s, "twice\n", true);
	assert_served(w->s, w->dir, "asked again\n", false);
}

/* A SIGPIPE would end this program. */
static void client_that_goes_instead_of_reading_is_nothing(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 20; i++) {
		int fd = client_asking(w->dir, 't');
		struct buf b = {0};
		char byte;

		assert_true(wanted_within(w->s, SOON_MS));
		ledger_socket_wanted(w->s);
		assert_int_equal(buf_reserve(&b, 4 << 20), 0);
		memset(b.data, 'x', 4 << 20);
		b.len = 4 << 20; /* beyond what the socket holds */
		ledger_socket_answer(w->s, &b, false);
		if (i % 2)
			assert_int_equal(recv(fd, &byte, 1, 0), 1);
		close(fd);
	}
	assert_served(w->s, w->dir, "still there\n", false);
}

/* Both are left after five seconds each, and then the one that asks is served. */
static void hanging_clients_are_left(void **state)
{
	struct world *w = *state;
	int silent = client_open(w->dir), fd, reads_nothing;
	struct buf b = {0};
	char *got;

	reads_nothing = client_asking(w->dir, 't');
	fd = client_asking(w->dir, 'j');
	assert_true(wanted_within(w->s, SOON_MS));
	assert_int_equal(ledger_socket_wanted(w->s), LEDGER_TABLE);
	got = client_read(silent);
	assert_string_equal(got, "");
	free(got);
	assert_int_equal(buf_reserve(&b, 4 << 20), 0);
	memset(b.data, 'x', 4 << 20);
	b.len = 4 << 20;
	ledger_socket_answer(w->s, &b, false);
	assert_true(wanted_within(w->s, SOON_MS));
	assert_int_equal(ledger_socket_wanted(w->s), LEDGER_JSON);
	answer(w->s, "{}\n", false);
	got = client_read(fd);
	assert_string_equal(got, "0 3\n{}\n");
	free(got);
	got = client_read(reads_nothing);
	assert_true(strlen(got) < 4 << 20); /* it was left in the middle */
	free(got);
}

enum hang { SAYS_NOTHING, WAITS, WAS_NOTED, READS_NOTHING };

static void end_is_quick_while_a_client_hangs(void **state)
{
	for (int hang = SAYS_NOTHING; hang <= READS_NOTHING; hang++) {
		struct world *w;
		struct buf b = {0};
		char *path;
		int64_t began;
		int fd, behind;

		world_make((void **)&w);
		path = socket_path(w->dir);
		fd = hang == SAYS_NOTHING ? client_open(w->dir) : client_asking(w->dir, 't');
		behind = client_asking(w->dir, 'j');
		if (hang >= WAITS)
			assert_true(wanted_within(w->s, SOON_MS));
		if (hang >= WAS_NOTED)
			ledger_socket_wanted(w->s);
		if (hang == READS_NOTHING) {
			assert_int_equal(buf_reserve(&b, 4 << 20), 0);
			memset(b.data, 'x', 4 << 20);
			b.len = 4 << 20;
			ledger_socket_answer(w->s, &b, false);
		}
		usleep(20000);
		began = clock_now_ns();
		ledger_socket_free(w->s);
		w->s = NULL;
		assert_true(clock_now_ns() - began < 4 * NS_PER_SEC);
		assert_int_equal(access(path, F_OK), -1);
		close(fd);
		close(behind);
		free(path);
		world_end((void **)&w);
	}
}

struct watcher {
	char *path;
	bool stop, seen, open_to_others;
	pthread_mutex_t lock;
};

static void *watch_mode(void *arg)
{
	struct watcher *w = arg;
	bool stop = false;

	while (!stop) {
		struct stat st;
		bool there = lstat(w->path, &st) == 0;

		pthread_mutex_lock(&w->lock);
		w->seen |= there;
		w->open_to_others |= there && (st.st_mode & 07777) != 0600;
		stop = w->stop;
		pthread_mutex_unlock(&w->lock);
	}
	return NULL;
}

static void socket_is_its_owners_from_the_first_moment(void **state)
{
	mode_t before = umask(0);
	char *dir = test_dir_make();
	struct watcher w = {.path = socket_path(dir), .lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, watch_mode, &w), 0);
	for (int i = 0; i < 300; i++) {
		struct ledger_socket *s;
		struct stat st;

		assert_int_equal(ledger_socket_new(dir, &s), 0);
		assert_int_equal(lstat(w.path, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0600);
		assert_int_equal(st.st_uid, geteuid());
		ledger_socket_free(s);
	}
	pthread_mutex_lock(&w.lock);
	w.stop = true;
	pthread_mutex_unlock(&w.lock);
	pthread_join(thread, NULL);
	assert_true(w.seen);
	assert_false(w.open_to_others);
	umask(before);
	free(w.path);
	test_dir_remove(dir);
}

static void umask_of_the_process_is_left_alone(void **state)
{
	mode_t before = umask(0027);

	world_make(state);
	assert_int_equal(umask(before), 0027);
	world_end(state);
}

static void dead_socket_is_replaced(void **state)
{
	char *dir = test_dir_make(), *path = socket_path(dir);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);
	struct ledger_socket *s;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(dead, (struct sockaddr *)&address, sizeof(address)), 0);
	close(dead);
	assert_int_equal(ledger_socket_new(dir, &s), 0);
	assert_served(s, dir, "new\n", false);
	ledger_socket_free(s);
	assert_int_equal(access(path, F_OK), -1);
	free(path);
	test_dir_remove(dir);
}

static void successors_socket_is_left_in_place(void **state)
{
	struct world *w = *state;
	struct ledger_socket *next;

	assert_int_equal(ledger_socket_new(w->dir, &next), 0);
	ledger_socket_free(w->s);
	w->s = next;
	assert_served(next, w->dir, "the successor\n", false);
}

static void what_is_no_socket_is_not_removed(void **state)
{
	char *dir = test_dir_make(), *path = socket_path(dir);
	struct ledger_socket *s = (struct ledger_socket *)8;
	struct stat st;

	test_write(path, "w", "mine");
	assert_int_equal(ledger_socket_new(dir, &s), -EADDRINUSE);
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 4);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_int_equal(ledger_socket_new(dir, &s), -EADDRINUSE);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(ledger_socket_new(dir, &s), -EADDRINUSE);
	assert_ptr_equal(s, (struct ledger_socket *)8); /* written on success only */
	free(path);
	test_dir_remove(dir);
}

static void unusable_directory_is_an_error(void **state)
{
	char *dir = test_dir_make(), path[300];
	struct ledger_socket *s;

	snprintf(path, sizeof(path), "%s/missing", dir);
	assert_int_equal(ledger_socket_new(path, &s), -ENOENT);
	test_write(path, "w", "");
	assert_int_equal(ledger_socket_new(path, &s), -ENOTDIR);
	assert_true(ledger_socket_new("/proc/self", &s) < 0); /* where nothing can be made */
	test_dir_remove(dir);
}

static void path_longer_than_an_address_will_do(void **state)
{
	char *dir = test_dir_make(), path[PATH_MAX];
	int at = snprintf(path, sizeof(path), "%s", dir);
	struct sockaddr_un address;
	struct ledger_socket *s;

	while (at < 3500) {
		at += snprintf(path + at, sizeof(path) - (size_t)at, "/%0200d", 0);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_int_equal(ledger_socket_new(path, &s), 0);
	assert_served(s, path, "from afar\n", true);
	ledger_socket_free(s);
	test_dir_remove(dir);
	/* The longest path that is an address, and one more. */
	memset(path, 'x', sizeof(path));
	path[107 - strlen("/" LEDGER_SOCKET_NAME)] = '\0';
	ledger_socket_address(path, 7, &address);
	assert_int_equal(strlen(address.sun_path), 107);
	assert_int_equal(address.sun_path[0], 'x');
	path[107 - strlen("/" LEDGER_SOCKET_NAME)] = 'x';
	path[108 - strlen("/" LEDGER_SOCKET_NAME)] = '\0';
	ledger_socket_address(path, 7, &address);
	assert_string_equal(address.sun_path, "/proc/self/fd/7/" LEDGER_SOCKET_NAME);
}

static void no_socket_can_be_freed(void **state)
{
	ledger_socket_free(NULL);
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, world_make, world_end)

static const struct CMUnitTest tests[] = {
	with_world(answer_comes_as_it_was_given),
	with_world(hundred_questions_are_answered_in_turn),
	with_world(clients_at_once_are_served_one_after_the_other),
	with_world(each_question_is_told_from_the_others),
	with_world(large_answer_comes_whole),
	with_world(no_memory_for_an_answer_ends_the_connection),
	with_world(other_question_ends_the_connection),
	with_world(client_that_is_done_with_sending_is_answered),
	with_world(client_that_goes_before_it_asks_is_nothing),
	with_world(client_that_goes_while_it_waits_takes_its_question_back),
	with_world(answer_to_one_that_went_is_not_given_to_the_next),
	with_world(answer_nobody_asked_for_is_dropped),
	with_world(client_that_goes_instead_of_reading_is_nothing),
	with_world(hanging_clients_are_left),
	cmocka_unit_test(end_is_quick_while_a_client_hangs),
	cmocka_unit_test(socket_is_its_owners_from_the_first_moment),
	cmocka_unit_test(umask_of_the_process_is_left_alone),
	cmocka_unit_test(dead_socket_is_replaced),
	with_world(successors_socket_is_left_in_place),
	cmocka_unit_test(what_is_no_socket_is_not_removed),
	cmocka_unit_test(unusable_directory_is_an_error),
	cmocka_unit_test(path_longer_than_an_address_will_do),
	cmocka_unit_test(no_socket_can_be_freed),
};

RUN_TESTS(tests)
