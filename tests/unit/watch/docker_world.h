/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon of a few lines: a thread that answers one request after the other on a unix socket, with
 * bytes that are given, in pieces of a given size; and the queue that the events come out of.
 */
#ifndef DOCKER_WORLD_H
#define DOCKER_WORLD_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "test.h"
#include "watch/docker.h"

#define REQUESTS_MAX 64
#define EVENTS_MAX   2000
#define WAIT_NS      (20 * NS_PER_SEC)
#define OK_HEAD      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define CHUNKED      OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"

/* One answer. */
struct answer {
	const char *bytes; /* NULL: none at all */
	size_t len, piece; /* len 0: up to the NUL; piece 0: all at once */
	bool hold;         /* then the connection stays until the other side or the test ends it */
};

struct world {
	char *dir;
	char url[128];
	struct sockaddr_un address;
	int listener, stop;
	pthread_t thread;
	pthread_mutex_t lock;
	const struct answer *list, *events; /* in their order; the last is repeated */
	size_t n_list, n_events;
	char requests[REQUESTS_MAX][256]; /* what was asked for */
	size_t n_requests;

	struct event_queue *queue;
	struct docker *docker;
	char *seen[EVENTS_MAX]; /* "action name", "*" behind what was listed */
	size_t n_seen;
};

static bool world_stopped(struct world *w, int fd, int ms)
{
	struct pollfd fds[] = {{w->stop, POLLIN, 0}, {fd, POLLIN, 0}};

	return poll(fds, 2, ms) > 0 && fds[0].revents;
}

static bool world_request(int fd, char *line, size_t size)
{
	char text[4096];
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);

		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = '\0';
		if (!strstr(text, "\r\n\r\n"))
			continue;
		text[strcspn(text, "\r")] = '\0';
		snprintf(line, size, "%.*s", (int)size - 1, text);
		return true;
	}
	return false;
}

static const struct answer *world_next(struct world *w, const char *line)
{
	const struct answer *a;

	pthread_mutex_lock(&w->lock);
	if (w->n_requests < REQUESTS_MAX)
		snprintf(w->requests[w->n_requests++], sizeof(w->requests[0]), "%s", line);
	if (strstr(line, "/containers/json")) {
		a = w->list;
		if (w->n_list > 1) {
			w->list++;
			w->n_list--;
		}
	} else {
		a = w->events;
		if (w->n_events > 1) {
			w->events++;
			w->n_events--;
		}
	}
	pthread_mutex_unlock(&w->lock);
	return a;
}

static void world_answer(struct world *w, int fd, const struct answer *a)
{
	size_t len = a->len || !a->bytes ? a->len : strlen(a->bytes);

	for (size_t at = 0; at < len;) {
		size_t piece = a->piece ? MIN(a->piece, len - at) : len - at;
		ssize_t n = send(fd, a->bytes + at, piece, MSG_NOSIGNAL);

		if (n < 0)
			return;
		at += (size_t)n;
		if (a->piece && world_stopped(w, -1, 0))
			return;
	}
	if (a->hold)
		world_stopped(w, fd, -1);
}

static void *world_serve(void *arg)
{
	struct world *w = arg;
	char line[256];

	while (!world_stopped(w, w->listener, -1)) {
		int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0 && world_request(fd, line, sizeof(line)))
			world_answer(w, fd, world_next(w, line));
		close_fd(&fd);
	}
	return NULL;
}

static int world_flush(void *ctx, struct event *events, size_t n)
{
	struct world *w = ctx;

	for (size_t i = 0; i < n; i++) {
		bool listed = false;
		char text[256];

		for (size_t k = 0; k < events[i].n_attributes; k++)
			listed = listed ||
				 strcmp(events[i].attributes[k].key, "hotdrain.listed") == 0;
		event_string(&events[i], text, sizeof(text) - 1);
		if (listed)
			strcat(text, "*");
		assert_true(w->n_seen < EVENTS_MAX);
		w->seen[w->n_seen++] = strdup(text);
	}
	return 0;
}

static void world_listen(struct world *w)
{
	w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w->listener, (void *)&w->address, sizeof(w->address)), 0);
	assert_int_equal(listen(w->listener, 8), 0);
	w->stop = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(pthread_create(&w->thread, NULL, world_serve, w), 0);
}

/* The daemon goes away, and its connections with it. */
static void world_shut(struct world *w)
{
	eventfd_write(w->stop, 1);
	pthread_join(w->thread, NULL);
	close_fd(&w->listener);
	close_fd(&w->stop);
	unlink(w->address.sun_path);
}

static void world_init(struct world *w)
{
	struct event_queue_options o = {.capacity = 256, .ctx = w, .on_flush = world_flush};

	*w = (struct world){.dir = test_dir_make(), .listener = -1, .stop = -1};
	pthread_mutex_init(&w->lock, NULL);
	w->address.sun_family = AF_UNIX;
	snprintf(w->address.sun_path, sizeof(w->address.sun_path), "%s/d.sock", w->dir);
	snprintf(w->url, sizeof(w->url), "unix://%s/d.sock", w->dir);
	assert_int_equal(event_queue_new(&o, &w->queue), 0);
}

#define WORLD_ANSWERS(w, kind, ...)                                    \
	do {                                                           \
		static const struct answer answers_[] = {__VA_ARGS__}; \
		(w)->kind = answers_;                                  \
		(w)->n_##kind = ARRAY_SIZE(answers_);                  \
	} while (0)

static void world_follow(struct world *w, bool list)
{
	struct docker_options o = {.url = w->url, .queue = w->queue, .list = list};

	assert_int_equal(docker_new(&o, &w->docker), 0);
}

/* Lets events come until there are n, and then a little for those that are too many. */
static void world_wait(struct world *w, size_t n)
{
	struct pollfd fd = {event_queue_fd(w->queue), POLLIN, 0};
	int64_t until_ns = clock_now_ns() + WAIT_NS;

	while (w->n_seen < n && clock_now_ns() < until_ns) {
		poll(&fd, 1, 10);
		event_queue_flush(w->queue);
	}
	poll(&fd, 1, 100);
	event_queue_flush(w->queue);
	if (w->n_seen != n)
		for (size_t i = 0; i < MIN(w->n_seen, (size_t)20); i++)
			print_message("# %s\n", w->seen[i]);
	assert_int_equal(w->n_seen, n);
}

static void world_expect(struct world *w, const char *const *wanted, size_t n)
{
	world_wait(w, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(w->seen[i], wanted[i]);
}

#define EXPECT(w, ...)                                              \
	do {                                                        \
		static const char *const wanted_[] = {__VA_ARGS__}; \
		world_expect(w, wanted_, ARRAY_SIZE(wanted_));      \
	} while (0)

static void world_wait_requests(struct world *w, size_t n)
{
	int64_t until_ns = clock_now_ns() + WAIT_NS;
	size_t got = 0;

	while (got < n && clock_now_ns() < until_ns) {
		usleep(2000);
		pthread_mutex_lock(&w->lock);
		got = w->n_requests;
		pthread_mutex_unlock(&w->lock);
	}
	assert_true(got >= n);
}

static void world_done(struct world *w)
{
	int64_t began_ns = clock_now_ns();

	event_queue_cancel(w->queue);
	docker_free(w->docker);
	assert_true(clock_now_ns() - began_ns < 5 * NS_PER_SEC);
	if (w->listener >= 0)
		world_shut(w);
	event_queue_free(w->queue);
	for (size_t i = 0; i < w->n_seen; i++)
		free(w->seen[i]);
	pthread_mutex_destroy(&w->lock);
	test_dir_remove(w->dir);
}

#endif
