/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <inttypes.h>
#include <malloc.h>

#include "docker_world.h"
#include "watch/docker_http.h"

/* One event, at T seconds and N nanoseconds; as a chunk of its own. */
#define EVENT(word, id, t, n)                                                     \
	"{\"Type\":\"container\",\"Action\":\"" word "\",\"Actor\":{\"ID\":\"" id \
	"\",\"Attributes\":{\"name\":\"" id                                       \
	"\",\"label\":\"\xc3\xa5 \\\"\\u00e5\\\\\"}},\"time\":" #t ",\"timeNano\":" #t #n "}"
/* Of container aI at I nanoseconds, for sprintf: three times I. */
#define MANY                                                                                      \
	"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"a%d\",\"Attributes\":{" \
	"\"name\":\"a%d\"}},\"timeNano\":1000%09d}\n"
#define ROW(id, state) "{\"Id\":\"" id "\",\"Names\":[\"/" id "\"],\"State\":\"" state "\"}"

/* The body in chunks of that many bytes. */
static char *chunks(const char *body, size_t chunk, size_t *ret_len)
{
	size_t len = strlen(body), at = 0;
	char *text = malloc(sizeof(CHUNKED) + len + (len / chunk + 2) * 16), *end = text;

	end += sprintf(end, CHUNKED);
	for (; at < len; at += chunk) {
		size_t n = MIN(chunk, len - at);

		end += sprintf(end, "%zx\r\n", n);
		memcpy(end, body + at, n);
		end += n;
		end += sprintf(end, "\r\n");
	}
	*ret_len = (size_t)(end - text);
	return text;
}

static void chunks_may_be_cut_anywhere(void **state)
{
	static const char body[] =
		EVENT("create", "a", 100, 000000000) "\n" EVENT("start", "a", 100, 000000001)
			EVENT("die", "b", 100, 000000002) "\r\n";

	for (size_t cut = 1; cut < 9; cut++) {
		struct world w;
		struct answer a = {.hold = true, .piece = cut};

		world_init(&w);
		a.bytes = chunks(body, cut * 3 - 2, &a.len);
		w.events = &a;
		w.n_events = 1;
		world_listen(&w);
		world_follow(&w, false);
		EXPECT(&w, "create a", "start a", "die b");
		world_done(&w);
		free((char *)a.bytes);
	}
}

static void a_new_connection_asks_for_what_happened_since(void **state)
{
	struct docker_stats stats;
	struct world w;

	world_init(&w);
	/* The first ends within an object, the second repeats, the third is a restarted daemon. */
	WORLD_ANSWERS(&w, events,
		      {.bytes = OK_HEAD "\r\n" EVENT("create", "a", 1000, 000000007)
			       EVENT("start", "a", 1000, 500000000) "{\"Type\":\"contai"},
		      {.bytes = OK_HEAD "\r\n" EVENT("create", "a", 1000, 000000007) EVENT(
			       "start", "a", 1000, 500000000) EVENT("pause", "a", 1000, 500000000)
			       EVENT("die", "a", 1002, 250000000)},
		      {.bytes = OK_HEAD "\r\n" EVENT("start", "a", 1003, 000000000), .hold = true});
	world_listen(&w);
	world_follow(&w, false);
	EXPECT(&w, "create a", "start a", "pause a", "die a", "start a");
	docker_stats(w.docker, &stats);
	assert_true(stats.connected);
	assert_int_equal(stats.connects, 3);
	assert_int_equal(stats.events, 5);
	assert_int_equal(stats.repeated, 2);
	assert_int_equal(stats.bad, 1);
	assert_string_equal(stats.last_error, "");
	/* Before the first event: since the start; then since a second before the last. */
	assert_int_equal(strncmp(w.requests[0], "GET /events?since=", 18), 0);
	assert_true(strtoll(w.requests[0] + 18, NULL, 10) > 1700000000);
	assert_non_null(strstr(w.requests[1], "since=999.500000000&"));
	assert_non_null(strstr(w.requests[2], "since=1001.250000000&filters=%7B%22type%22%3A"));
	world_done(&w);
}

static void an_error_is_lived_through(void **state)
{
	struct docker_stats stats;
	struct world w;

	world_init(&w);
	WORLD_ANSWERS(&w, events,
		      {.bytes = "HTTP/1.1 500 Oh\r\nContent-Length: 99\r\n\r\n" EVENT("start", "no",
										      5, 0)},
		      {.bytes = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"},
		      {.bytes = "HTTP/1.1 301 There\r\nLocation: http://127.0.0.1:1/\r\n"
				"Content-Length: 0\r\n\r\n"},
		      {.bytes = OK_HEAD "\r\n{\"message\":\"x\"}\n" EVENT("start", "a", 7, 0),
		       .hold = true});
	world_listen(&w);
	world_follow(&w, false);
	world_wait_requests(&w, 2);
	docker_stats(w.docker, &stats);
	assert_false(stats.connected);
	assert_int_equal(strncmp(stats.last_error, "it answers with status 50", 25), 0);
	EXPECT(&w, "start a");
	docker_stats(w.docker, &stats);
	assert_true(stats.connected);
	assert_int_equal(stats.connects, 1);
	assert_int_equal(stats.bad, 1);
	world_done(&w);
}

static void garbage_is_lived_through(void **state)
{
	struct docker_stats stats;
	struct world w;

	world_init(&w);
	WORLD_ANSWERS(&w, events, {.bytes = "no HTTP at all\r\n\r\n"}, {.bytes = NULL},
		      {.bytes = OK_HEAD "Content-Length: 30\r\n\r\n<html>"},
		      {.bytes = CHUNKED "7\r\nhello\r\n\r\nzz\r\n"},
		      {.bytes = OK_HEAD "\r\n}\n" EVENT("start", "a", 7, 0), .hold = true});
	world_listen(&w);
	world_follow(&w, false);
	EXPECT(&w, "start a");
	docker_stats(w.docker, &stats);
	assert_true(stats.connected);
	assert_int_equal(stats.connects, 3);
	assert_int_equal(stats.bad, 3);
	world_done(&w);
}

static void a_huge_line_is_left_out_in_bounded_memory(void **state)
{
	static const char head[] = OK_HEAD "\r\n{\"Type\":\"",
			  tail[] = "\"}\n" EVENT("start", "a", 7, 0);
	size_t huge = 10 << 20;
	struct answer a = {.len = sizeof(head) - 1 + huge + sizeof(tail) - 1, .hold = true};
	char *bytes = malloc(a.len);
	struct docker_stats stats;
	struct mallinfo2 before, after;
	struct world w;

	memset(bytes, 'x', a.len);
	memcpy(bytes, head, sizeof(head) - 1);
	memcpy(bytes + a.len - sizeof(tail) + 1, tail, sizeof(tail) - 1);
	a.bytes = bytes;
	world_init(&w);
	w.events = &a;
	w.n_events = 1;
	world_listen(&w);
	before = mallinfo2();
	world_follow(&w, false);
	EXPECT(&w, "start a");
	after = mallinfo2();
	assert_true(after.uordblks + after.hblkhd < before.uordblks + before.hblkhd + (2 << 20));
	docker_stats(w.docker, &stats);
	assert_int_equal(stats.bad, 1);
	world_done(&w);
	free(bytes);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void the_list_comes_first_and_later_only_what_is_different(void **state)
{
	struct world w;

	world_init(&w);
	WORLD_ANSWERS(&w, list,
		      {.bytes = OK_HEAD "\r\n[" ROW("a", "running") "," ROW("b", "exited") "," ROW(
			       "c", "paused") "]\n"},
		      {.bytes = "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"},
		      {.bytes = OK_HEAD "Content-Length: 1000\r\n\r\n[" ROW("x", "running")},
		      {.bytes = OK_HEAD "\r\n[" ROW("a", "running")}, /* without a length */
		      {.bytes = OK_HEAD "\r\n<html>[]"},
		      {.bytes = OK_HEAD "\r\n[" ROW("b", "exited") "]\n\n", .piece = 1});
	WORLD_ANSWERS(&w, events,
		      {.bytes = OK_HEAD "\r\n" EVENT("destroy", "c", 1000, 0)
			       EVENT("rename", "a", 1001, 0) EVENT("start", "d", 1002, 0)},
		      {.bytes = OK_HEAD "\r\n"}, {.bytes = OK_HEAD "\r\n"},
		      {.bytes = OK_HEAD "\r\n", .hold = true});
	world_listen(&w);
	world_follow(&w, true);
	world_wait(&w, 10);
	assert_string_equal(w.seen[0], "start a*");
	assert_string_equal(w.seen[1], "create b*");
	assert_string_equal(w.seen[2], "start c*");
	assert_string_equal(w.seen[3], "destroy c");
	assert_string_equal(w.seen[4], "start a*"); /* by its new name */
	assert_string_equal(w.seen[5], "start d");
	assert_string_equal(w.seen[6], "start x*"); /* of a list that was cut off */
	qsort(w.seen + 7, 3, sizeof(w.seen[0]), by_text);
	assert_string_equal(w.seen[7], "destroy a*"); /* only by the last list, a whole one */
	assert_string_equal(w.seen[8], "destroy d*");
	assert_string_equal(w.seen[9], "destroy x*");
	assert_string_equal(w.requests[0], "GET /containers/json?all=1 HTTP/1.1");
	world_done(&w);
}

static void it_ends_at_once_whatever_it_waits_for(void **state)
{
	static const struct answer answers[] = {
		{.hold = true},                                          /* no answer */
		{.bytes = "HTTP/1.1 200", .hold = true},                 /* in the headers */
		{.bytes = OK_HEAD "\r\n", .hold = true},                 /* no event */
		{.bytes = OK_HEAD "\r\n{\"Type\":\"cont", .hold = true}, /* in one */
		{.bytes = CHUNKED "ffff\r\n{\"Type\"", .hold = true},    /* in a chunk */
		{.bytes = "HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\n", .hold = true},
		{.bytes = NULL}, /* before the next attempt */
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(answers); i++) {
		struct world w;

		world_init(&w);
		w.events = w.list = &answers[i / 2];
		w.n_events = w.n_list = 1;
		world_listen(&w);
		world_follow(&w, i % 2);
		world_wait_requests(&w, 1);
		/* One is let alone until libcurl has no timer of its own left that would end it. */
		usleep(i == 4 ? 2500000 : 10000);
		world_done(&w);
	}
}

static void it_ends_while_the_queue_is_full(void **state)
{
	struct answer a = {.hold = true};
	char *body = calloc(1, 400 * 160), *end = body;
	struct world w;

	world_init(&w); /* the queue holds 256 */
	for (int i = 0; i < 400; i++)
		end += sprintf(end, MANY, i, i, i);
	a.bytes = chunks(body, 1000, &a.len);
	w.events = &a;
	w.n_events = 1;
	world_listen(&w);
	world_follow(&w, false);
	for (struct event_queue_stats s = {0}; !s.blocked; usleep(1000))
		event_queue_stats(w.queue, &s);
	world_done(&w);
	free((char *)a.bytes);
	free(body);
}

static void a_socket_that_is_not_there_is_waited_for(void **state)
{
	struct docker_stats stats = {0};
	struct world w;

	world_init(&w);
	WORLD_ANSWERS(&w, events,
		      {.bytes = OK_HEAD "\r\n" EVENT("start", "a", 7, 0), .hold = true});
	world_follow(&w, false);
	for (int i = 0; !stats.last_error[0] && i < 2000; i++) {
		usleep(5000);
		docker_stats(w.docker, &stats);
	}
	assert_string_not_equal(stats.last_error, "");
	assert_false(stats.connected);
	world_listen(&w);
	EXPECT(&w, "start a");
	world_shut(&w);
	for (int i = 0; stats.connects != 2 && i < 10; i++) {
		usleep(100000);
		docker_stats(w.docker, &stats);
	}
	assert_false(stats.connected);
	world_listen(&w);
	world_wait_requests(&w, 2);
	world_wait(&w, 1); /* which is repeated */
	world_done(&w);
}

/* More events in a second than are remembered, a connection for every few of them: each once. */
static void many_events_over_many_connections_come_once(void **state)
{
	enum { N = 1500, CONNECTIONS = 4 };
	struct answer answers[CONNECTIONS];
	struct world w;

	world_init(&w);
	for (int k = 0; k < CONNECTIONS; k++) {
		char *body = calloc(1, N * 160), *end = body;
		int from = k ? k * N / CONNECTIONS - 300 : 0;

		for (int i = from; i < (k + 1) * N / CONNECTIONS; i++)
			end += sprintf(end, MANY, i, i, i);
		answers[k] = (struct answer){.hold = k + 1 == CONNECTIONS};
		answers[k].bytes = chunks(body, 777, &answers[k].len);
		free(body);
	}
	w.events = answers;
	w.n_events = CONNECTIONS;
	world_listen(&w);
	world_follow(&w, false);
	world_wait(&w, N);
	for (int i = 0; i < N; i++) {
		char wanted[32];

		snprintf(wanted, sizeof(wanted), "start a%d", i);
		assert_string_equal(w.seen[i], wanted);
	}
	world_done(&w);
	for (int k = 0; k < CONNECTIONS; k++)
		free((char *)answers[k].bytes);
}

static void a_host_and_port_work_too(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	struct world w;

	world_init(&w);
	WORLD_ANSWERS(&w, events,
		      {.bytes = OK_HEAD "\r\n" EVENT("start", "a", 7, 0), .hold = true});
	w.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w.listener, (void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(w.listener, 8), 0);
	assert_int_equal(getsockname(w.listener, (void *)&a, &len), 0);
	w.stop = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&w.thread, NULL, world_serve, &w), 0);
	snprintf(w.url, sizeof(w.url), "http://127.0.0.1:%d/", ntohs(a.sin_port));
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	world_follow(&w, false);
	EXPECT(&w, "start a");
	unsetenv("http_proxy");
	assert_int_equal(strncmp(w.requests[0], "GET /events?", 12), 0);
	world_done(&w);
}

static void what_is_no_url_of_a_daemon_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		"unix://",
		"unix://run/docker.sock",
		"/var/run/docker.sock",
		"unix:/run/x",
		"http://",
		"http://:80",
		"http://host",
		"http://host:",
		"http://host:0",
		"http://host:65536",
		"http://host:80x",
		"http://host:80/path",
		"http://a b:80",
		"http://user@host:80",
		"https://host:80",
		"tcp://host:80",
		"http://host:-1",
		"http://[::1:80",
		"http://host:80\nX: y",
		"none",
		"unix:///0123456789012345678901234567890123456789012345678901234567890123456789"
		"0123456789012345678901234567890123456789"};
	struct docker *d;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct docker_options o = {.url = wrong[i]};

		assert_int_equal(docker_new(&o, &d), -EINVAL);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(chunks_may_be_cut_anywhere),
	cmocka_unit_test(a_new_connection_asks_for_what_happened_since),
	cmocka_unit_test(an_error_is_lived_through),
	cmocka_unit_test(garbage_is_lived_through),
	cmocka_unit_test(a_huge_line_is_left_out_in_bounded_memory),
	cmocka_unit_test(the_list_comes_first_and_later_only_what_is_different),
	cmocka_unit_test(it_ends_at_once_whatever_it_waits_for),
	cmocka_unit_test(it_ends_while_the_queue_is_full),
	cmocka_unit_test(a_socket_that_is_not_there_is_waited_for),
	cmocka_unit_test(many_events_over_many_connections_come_once),
	cmocka_unit_test(a_host_and_port_work_too),
	cmocka_unit_test(what_is_no_url_of_a_daemon_is_refused),
};

RUN_TESTS(tests)
