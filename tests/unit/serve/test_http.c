/* SPDX-License-Identifier: Apache-2.0 */
/* The test is the clients, and the event loop where it says so; the thread is in between. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "serve/http.h"
#include "serve/http_impl.h"
#include "serve/prometheus.h"
#include "status_world.h"

#define SOON_MS 60000 /* what must come, on the slowest machine */

struct world {
	struct http *h;
	uint16_t port;
	pthread_t loop;
	bool loop_runs;
	atomic_bool stop;
	atomic_uint answers;
	atomic_int rows;     /* extra ones in each answer */
	atomic_bool failing; /* a sink */
};

static uint16_t port_of(const struct http *h)
{
	struct sockaddr_in a;
	socklen_t size = sizeof(a);

	assert_int_equal(getsockname(h->listener, (struct sockaddr *)&a, &size), 0);
	return ntohs(a.sin_port);
}

static void world_start(struct world *w, const struct http_limits *limits)
{
	assert_int_equal(http_new_limited("127.0.0.1:0", limits, &w->h), 0);
	w->port = port_of(w->h);
}

/* What takes time takes less. */
static const struct http_limits hasty = {.answer_ns = 2 * NS_PER_SEC,
					 .young_ns = NS_PER_MS,
					 .client_ns = 1500 * NS_PER_MS,
					 .idle_s = 1,
					 .memory_bytes = 16384};

/* Nothing takes its end by itself. */
static const struct http_limits patient = {.answer_ns = 3600 * NS_PER_SEC,
					   .young_ns = 3600 * NS_PER_SEC,
					   .client_ns = 3600 * NS_PER_SEC,
					   .idle_s = 3600,
					   .memory_bytes = 16384};

static int world_make(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	world_start(w, &http_limits);
	*state = w;
	return 0;
}

static void loop_end(struct world *w)
{
	if (!w->loop_runs)
		return;
	w->stop = true;
	pthread_join(w->loop, NULL);
	w->loop_runs = false;
}

static int world_end(void **state)
{
	struct world *w = *state;

	loop_end(w);
	http_free(w->h);
	free(w);
	return 0;
}

/* A new start with other limits. */
static void world_limit(struct world *w, const struct http_limits *limits)
{
	http_free(w->h);
	world_start(w, limits);
}

static void answer(struct world *w)
{
	struct status s;

	status_sample(&s);
	s.sinks[1].failing = w->failing;
	for (int i = 0; i < w->rows; i++) {
		char path[64];

		snprintf(path, sizeof(path), PODS "n_p%d_u/c/0.log", i);
		row_of(&s, path, 20);
	}
	http_answer(w->h, &s);
	assert_null(s.rows);
	assert_null(s.text.data);
	w->answers++;
}

static void *loop_run(void *arg)
{
	struct world *w = arg;

	while (!w->stop) {
		struct pollfd p = {.fd = http_fd(w->h), .events = POLLIN};

		if (poll(&p, 1, 10) == 1 && http_wants(w->h))
			answer(w);
	}
	return NULL;
}

static void loop_start(struct world *w)
{
	w->stop = false;
	assert_int_equal(pthread_create(&w->loop, NULL, loop_run, w), 0);
	w->loop_runs = true;
}

static bool wanted_within(const struct world *w, int ms)
{
	struct pollfd p = {.fd = http_fd(w->h), .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

/* Clients */

static int client_open(const struct world *w)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(w->port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void client_send(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static int client_asking(const struct world *w, const char *method, const char *path)
{
	char request[300];
	int fd = client_open(w);

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", method,
		 path);
	client_send(fd, request);
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

static int code_of(const char *reply)
{
	assert_true(strlen(reply) > 12);
	return (int)strtol(reply + 9, NULL, 10);
}

static const char *body_of(const char *reply)
{
	const char *body = strstr(reply, "\r\n\r\n");

	assert_non_null(body);
	return body + 4;
}

static void assert_reply(int fd, int code, const char *part)
{
	char *reply = client_read(fd);

	if (code_of(reply) != code || !strstr(reply, part))
		fail_msg("wanted %d and %s, got: %s", code, part, reply);
	free(reply);
}

static void assert_get(const struct world *w, const char *path, int code, const char *part)
{
	assert_reply(client_asking(w, "GET", path), code, part);
}

/* Tests */

static void each_path_says_its_own(void **state)
{
	struct world *w = *state;

	loop_start(w);
	assert_get(w, "/metrics", 200, "Content-Type: text/plain; version=0.0.4");
	assert_get(w, "/metrics", 200, "\nhotdrain_node_written_bytes_total 5000\n");
	assert_get(w, "/healthz", 200, "\r\n\r\nok\n");
	assert_get(w, "/status.json", 200, "Content-Type: application/json");
	assert_get(w, "/status.json", 200, "\"containers_total\":3,");
	assert_get(w, "/status.json?limit=1", 200, "\"containers_total\":3,");
	assert_get(w, "/", 200, "Content-Type: text/html; charset=utf-8");
	assert_get(w, "/?x=y", 200, "<!DOCTYPE html>");
}

/* Chunked for a client of HTTP 1.1, up to the end of the connection for one of 1.0. */
static void metrics_come_whole(void **state)
{
	struct world *w = *state;
	struct buf want = {0};
	struct status s;
	char *reply;
	int fd;

	loop_start(w);
	status_sample(&s);
	s.sinks[1].failing = false;
	assert_int_equal(status_merge(&s), 0);
	assert_int_equal(prometheus_text(&s, &want), 0);
	assert_int_equal(buf_add(&want, "", 1), 0);
	fd = client_open(w);
	client_send(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	reply = client_read(fd);
	assert_string_equal(body_of(reply), want.data);
	free(reply);
	buf_done(&want);
	status_done(&s);

	w->rows = 3000;
	usleep(300 * 1000);
	reply = client_read(client_asking(w, "GET", "/metrics"));
	assert_true(strlen(reply) > 1024 * 1024);
	assert_string_equal(reply + strlen(reply) - 7, "\r\n0\r\n\r\n");
	free(reply);
}

static void ready_says_why_not(void **state)
{
	struct world *w = *state;

	loop_start(w);
	assert_get(w, "/readyz", 200, "\r\n\r\nready\n");
	w->failing = true;
	usleep(300 * 1000);
	assert_get(w, "/readyz", 503, "sink stdout#2 is failing\n");
	assert_get(w, "/healthz", 200, "ok");
}

static void not_ready_before_the_first_scan(void **state)
{
	struct world *w = *state;
	int fd = client_asking(w, "GET", "/readyz");
	struct status s;

	assert_true(wanted_within(w, SOON_MS));
	assert_true(http_wants(w->h));
	status_sample(&s);
	s.scanned = false;
	http_answer(w->h, &s);
	assert_reply(fd, 503, "the first scan is not over\nsink stdout#2 is failing\n");
}

static void every_reply_has_the_headers(void **state)
{
	static const char *const all[] = {"/", "/metrics", "/healthz", "/status.json", "/nowhere"};
	struct world *w = *state;

	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		assert_get(w, all[i], i == 4 ? 404 : 200,
			   "\r\nX-Content-Type-Options: nosniff\r\n");
		assert_get(w, all[i], i == 4 ? 404 : 200,
			   "\r\nContent-Security-Policy: default-src 'self' 'unsafe-inline'");
		assert_get(w, all[i], i == 4 ? 404 : 200, "\r\nConnection: close\r\n");
	}
}

static void head_has_no_body(void **state)
{
	static const char *const all[] = {"/", "/metrics", "/healthz", "/status.json"};
	struct world *w = *state;

	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		char *reply = client_read(client_asking(w, "HEAD", all[i]));

		assert_int_equal(code_of(reply), 200);
		assert_string_equal(body_of(reply), "");
		assert_non_null(strstr(reply, "Content-Type: "));
		free(reply);
	}
}

static void what_is_not_there(void **state)
{
	static const char *const nowhere[] = {
		"/metrics/", "//metrics",  "/..",           "/../etc/passwd",
		"/metricsx", "/%2e%2e/x",  "/index.html",   "/metrics%20",
		"/METRICS",  "/page.html", "/status.json/", "/healthz/x",
		"/user/",    "*",          "metrics"};
	static const char *const methods[] = {"POST",  "PUT",   "DELETE",  "OPTIONS",
					      "PATCH", "TRACE", "CONNECT", "get"};
	struct world *w = *state;

	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++)
		assert_get(w, nowhere[i], 404, "there are / /metrics");
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		assert_reply(client_asking(w, methods[i], "/metrics"), 405,
			     "\r\nAllow: GET, HEAD\r\n");
	assert_get(w, "/status.json?limit=-1", 400, "limit: expected a number");
	assert_get(w, "/status.json?limit=", 400, "limit: expected a number");
	assert_get(w, "/status.json?limit=99999999999999999999", 400, "limit: expected");
}

/* Nothing of this may end the program, nor keep the next one from its reply. */
static void strange_requests(void **state)
{
	static const char *const strange[] = {
		"\r\n\r\n",
		"GET\r\n\r\n",
		"GET /metrics\r\n\r\n",
		"\x16\x03\x01\x02\x01\x01\xfc\x03\x03",
		"GET /metrics HTTP/9.9\r\n\r\n",
		"GET /metrics HTTP/1.1\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"POST /metrics HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
		"999999999\r\n\r\n",
		"GET /metrics?limit=%zz&&&===&limit HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	};
	struct world *w = *state;

	world_limit(w, &hasty);
	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
		int fd = client_open(w);

		client_send(fd, strange[i]);
		shutdown(fd, SHUT_WR);
		free(client_read(fd));
		assert_get(w, "/healthz", 200, "ok");
	}
	for (size_t size = 1000; size < 300000; size *= 3) { /* a path, and a header, that long */
		for (int header = 0; header < 2; header++) {
			char *request = calloc(1, size + 100);
			int fd = client_open(w), n;

			n = sprintf(request, header ? "GET / HTTP/1.1\r\nHost: x\r\nX: " : "GET /");
			memset(request + n, 'a', size);
			strcpy(request + n + size, header ? "\r\n\r\n" : " HTTP/1.1\r\n\r\n");
			if (send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
				shutdown(fd, SHUT_WR);
			free(client_read(fd));
			free(request);
			assert_get(w, "/healthz", 200, "ok");
		}
	}
}

static void one_status_serves_all_who_wait(void **state)
{
	struct world *w = *state;
	int fds[10];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_asking(w, "GET", "/healthz");
	assert_true(wanted_within(w, SOON_MS));
	usleep(300 * 1000); /* so that all of them have come */
	assert_true(http_wants(w->h));
	assert_false(wanted_within(w, 0));
	answer(w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_reply(fds[i], 200, "ok");
	assert_false(wanted_within(w, 0));
	assert_false(http_wants(w->h));
}

/* However many ask: a status each 250 ms and no more. */
static void young_statuses_are_shared(void **state)
{
	struct world *w = *state;
	int64_t began = clock_now_ns(), ms;

	loop_start(w);
	for (int i = 0; i < 200; i++)
		assert_get(w, "/healthz", 200, "ok");
	ms = (clock_now_ns() - began) / NS_PER_MS;
	assert_in_range(w->answers, 1, 1 + (uint64_t)ms / 250);
	usleep(300 * 1000);
	began = w->answers;
	assert_get(w, "/healthz", 200, "ok");
	assert_int_equal(w->answers, began + 1);
}

static void a_loop_that_does_not_answer(void **state)
{
	struct world *w = *state;
	int64_t began = clock_now_ns();
	int metrics = client_asking(w, "GET", "/metrics"), ready;

	ready = client_asking(w, "GET", "/readyz");
	assert_get(w, "/", 200, "<!DOCTYPE html>"); /* needs no status */
	assert_get(w, "/healthz", 503, "the event loop does not answer");
	assert_reply(metrics, 503, "the event loop does not answer");
	assert_reply(ready, 503, "the event loop does not answer");
	assert_true(clock_now_ns() - began >= 2 * NS_PER_SEC);
	assert_true(wanted_within(w, 0));
	loop_start(w); /* it comes to itself */
	assert_get(w, "/healthz", 200, "ok");
}

/* A late answer is for those who ask then. */
static void an_answer_too_late_is_good_for_the_next(void **state)
{
	const struct http_limits impatient = {.answer_ns = 50 * NS_PER_MS,
					      .young_ns = 3600 * NS_PER_SEC,
					      .client_ns = 30 * NS_PER_SEC,
					      .idle_s = 10,
					      .memory_bytes = 16384};
	struct world *w = *state;

	world_limit(w, &impatient);
	assert_get(w, "/healthz", 503, "does not answer");
	assert_true(http_wants(w->h));
	answer(w);
	answer(w); /* nobody asked for a second */
	for (int i = 0; i < 100; i++) {
		char *reply = client_read(client_asking(w, "GET", "/healthz"));
		int code = code_of(reply);

		free(reply);
		if (code == 200)
			return;
	}
	fail_msg("the status was never used");
}

/* All places but one: that is free again as soon as its client has gone. */
static void clients_that_say_nothing(void **state)
{
	struct world *w = *state;
	int fds[HTTP_CLIENTS - 1];

	world_limit(w, &patient);
	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client_open(w);
		if (i % 2)
			client_send(fds[i], "GET /metr");
	}
	for (int i = 0; i < 20; i++)
		assert_get(w, "/metrics", 200, "hotdrain");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* All places and more who wait for one, with limits that end nobody soon: who asks is answered. */
static void clients_that_say_nothing_make_room(void **state)
{
	struct world *w = *state;
	int fds[2 * HTTP_CLIENTS];
	int64_t began_ns;

	world_limit(w, &patient);
	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_open(w);
	began_ns = clock_now_ns();
	assert_get(w, "/healthz", 200, "ok");
	assert_true(clock_now_ns() - began_ns < 20 * NS_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* Megabytes for each, of which none reads a byte. */
static void clients_that_never_read(void **state)
{
	struct world *w = *state;
	int fds[HTTP_CLIENTS - 1];

	w->rows = 5000;
	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_asking(w, "GET", i % 2 ? "/metrics" : "/status.json");
	for (int i = 0; i < 5; i++)
		assert_get(w, "/healthz", 200, "ok");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* All places taken: those who come wait, and get their reply when the others are thrown out, be
 * it that they do nothing or that they do it slowly. */
static void clients_are_thrown_out(void **state)
{
	struct world *w = *state;
	int fds[HTTP_CLIENTS], last;
	static char bytes[1 << 20];

	world_limit(w, &hasty);
	w->rows = 5000;
	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client_open(w);
		client_send(fds[i], i % 3 == 0   ? "GET /metr"
				    : i % 3 == 1 ? "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
						 : "GET / HTTP/1.1\r\nX: ");
	}
	usleep(200 * 1000);
	last = client_asking(w, "GET", "/healthz");
	for (int k = 0; k < 40; k++) { /* "slowly" is: never silent for long */
		for (size_t i = 2; i < ARRAY_SIZE(fds); i += 3)
			if (send(fds[i], "x", 1, MSG_NOSIGNAL) < 0)
				break;
		usleep(100 * 1000);
	}
	assert_reply(last, 200, "ok");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		while (recv(fds[i], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		assert_false(recv(fds[i], bytes, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
		close(fds[i]);
	}
}

static void *hammer(void *arg)
{
	static const char *const all[] = {"/", "/metrics", "/healthz", "/status.json", "/readyz"};
	struct world *w = arg;

	for (int i = 0; i < 60; i++) {
		int fd = client_asking(w, i % 7 ? "GET" : "HEAD", all[i % 5]);
		char *reply;

		if (i % 11 == 5) { /* away before there is a reply */
			close(fd);
			continue;
		}
		reply = client_read(fd);
		if (code_of(reply) != 200)
			w->failing = true;
		free(reply);
	}
	return NULL;
}

static void many_clients_at_once(void **state)
{
	struct world *w = *state;
	pthread_t threads[40];

	w->rows = 50;
	loop_start(w);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, w), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_false(w->failing);
}

/* Whatever they are at: waiting for a status, for a place, in the middle of a reply. */
static void the_end_does_not_wait_for_clients(void **state)
{
	struct world *w = *state;
	int fds[HTTP_CLIENTS + 5];
	int64_t began;

	w->rows = 5000;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_asking(w, "GET", i % 3 ? "/metrics" : "/metr");
	assert_true(wanted_within(w, SOON_MS));
	assert_true(http_wants(w->h));
	answer(w);
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
	usleep(100 * 1000);
	for (size_t i = 0; i < 4; i++)
		fds[i] = client_asking(w, "GET", "/healthz");
	began = clock_now_ns();
	http_free(w->h);
	w->h = NULL;
	assert_true(clock_now_ns() - began < NS_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

static void the_end_while_requests_wait(void **state)
{
	struct world *w = *state;
	int fds[5];
	int64_t began;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client_asking(w, "GET", "/healthz");
	assert_true(wanted_within(w, SOON_MS));
	began = clock_now_ns();
	http_free(w->h);
	w->h = NULL;
	assert_true(clock_now_ns() - began < NS_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* Addresses */

/* Standard error of http_new; the caller frees. */
static char *said_by_new(const char *address, int *ret_r, struct http **ret_http)
{
	char *dir = test_dir_make(), path[100], *text = calloc(1, 1000);
	int err = dup(2), fd;
	FILE *f;

	snprintf(path, sizeof(path), "%s/err", dir);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	dup2(fd, 2);
	*ret_r = http_new(address, ret_http);
	dup2(err, 2);
	close(err);
	close(fd);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, 999, f) > 0);
	fclose(f);
	test_dir_remove(dir);
	return text;
}

static void wrong_addresses_are_named(void **state)
{
	static const char *const wrong[] = {
		"",
		"2112",
		"127.0.0.1",
		":",
		"127.0.0.1:",
		":99999",
		":65536",
		":-1",
		":http",
		": 2112",
		"host:2112",
		"::1:2112",
		"[::1]",
		"[]:2112",
		"[::1:2112",
		"1.2.3:21",
		"127.0.0.1:1x",
		"[127.0.0.1]:21",
		"http://x:1",
		"256.1.1.1:1",
		"0x7f.1:21",
		"[::1]2112:1",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1"};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct http *h = NULL;
		char *text, got[100];
		int r;

		text = said_by_new(wrong[i], &r, &h);
		assert_int_equal(r, -EINVAL);
		assert_null(h);
		snprintf(got, sizeof(got), "got '%s'\n", wrong[i]);
		assert_non_null(strstr(text, "--metrics: expected an address and port such as "));
		assert_non_null(strstr(text, got));
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
		free(text);
	}
}

static void a_port_in_use_is_named(void **state)
{
	struct world *w = *state;
	struct http *h = NULL;
	char address[40], *text;
	int r;

	snprintf(address, sizeof(address), "127.0.0.1:%u", w->port);
	text = said_by_new(address, &r, &h);
	assert_int_equal(r, -EADDRINUSE);
	if (!strstr(text, address))
		fail_msg("want %s got %s", address, text);
	assert_non_null(strstr(text, "Address already in use"));
	free(text);
	loop_start(w);
	assert_get(w, "/healthz", 200, "ok"); /* the first one does not mind */
}

static void where_it_listens_is_said(void **state)
{
	static const struct {
		const char *address, *said;
	} good[] = {{":0", "http://127.0.0.1:"},
		    {"localhost:0", "http://127.0.0.1:"},
		    {"127.0.0.2:0", "http://127.0.0.2:"},
		    {"[::1]:0", "http://[::1]:"},
		    {"0.0.0.0:0", "http://0.0.0.0:"}};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct http *h = NULL;
		char *text;
		int r;

		text = said_by_new(good[i].address, &r, &h);
		if (r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT) { /* no IPv6 here */
			free(text);
			continue;
		}
		assert_int_equal(r, 0);
		assert_non_null(strstr(text, good[i].said));
		assert_int_equal(!!strstr(text, "whoever can reach it"), i == 4);
		free(text);
		http_free(h);
	}
	http_free(NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, world_make, world_end)

static const struct CMUnitTest tests[] = {
	T(each_path_says_its_own),
	T(metrics_come_whole),
	T(ready_says_why_not),
	T(not_ready_before_the_first_scan),
	T(every_reply_has_the_headers),
	T(head_has_no_body),
	T(what_is_not_there),
	T(strange_requests),
	T(one_status_serves_all_who_wait),
	T(young_statuses_are_shared),
	T(a_loop_that_does_not_answer),
	T(an_answer_too_late_is_good_for_the_next),
	T(clients_that_say_nothing),
	T(clients_that_say_nothing_make_room),
	T(clients_that_never_read),
	T(clients_are_thrown_out),
	T(many_clients_at_once),
	T(the_end_does_not_wait_for_clients),
	T(the_end_while_requests_wait),
	cmocka_unit_test(wrong_addresses_are_named),
	T(a_port_in_use_is_named),
	cmocka_unit_test(where_it_listens_is_said),
};

RUN_TESTS(tests)
