/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd does not have a thread here: it is run by ours, which waits for its descriptor
 * beside those by which the event loop hands over a status and the program ends. So everything of
 * a request happens on one thread, a request that waits costs nothing and gets its time limit, and
 * the event loop takes one lock for the moves of a few words.
 *
 *   thread                                    event loop
 *   request: suspend it, wanted, fd readable  ->  http_wants
 *   merge, resume all that wait  <--------------  http_answer: fresh
 *   reply
 *
 * Every wait is one epoll with an end: nothing a client does or leaves undone can hold up the
 * others or the end of the program. There are places for a fixed number of clients, one request
 * each (no keep-alive: an idle one would keep its place), and whoever takes too long is cut off by
 * shutdown(2), since libmicrohttpd itself only knows a time of doing nothing.
 *
 * Rejected: its own thread, which has no place for our time limits; a thread for each client, which
 * is a stack each; a server of our own, which would be the parser of what strangers send.
 */
#include "serve/http.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "serve/http_address.h"
#include "serve/http_impl.h"

#define FULL_READING_NS  (500 * NS_PER_MS)
#define FULL_ANSWERED_NS (3 * NS_PER_SEC)

const struct http_limits http_limits = {
	.answer_ns = 2 * NS_PER_SEC,
	.young_ns = 250 * NS_PER_MS,
	.client_ns = 30 * NS_PER_SEC,
	.idle_s = 10,
	.memory_bytes = 16 * 1024,
};

struct http_status *http_status_ref(struct http_status *s)
{
	if (s)
		s->refs++;
	return s;
}

void http_status_unref(struct http_status *s)
{
	if (!s || --s->refs)
		return;
	status_done(&s->s);
	free(s);
}

/* Clients */

struct http_client *http_client_of(struct http *h, const struct MHD_Connection *connection)
{
	for (size_t i = 0; i < HTTP_CLIENTS; i++)
		if (h->clients[i].connection == connection)
			return &h->clients[i];
	return NULL;
}

/* libmicrohttpd's callback. One for whom there is no place gets no reply. */
static void client_noted(void *cls, struct MHD_Connection *connection, void **context,
			 enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info;
	struct http *h = cls;
	struct http_client *c;

	c = http_client_of(h, what == MHD_CONNECTION_NOTIFY_STARTED ? NULL : connection);
	if (!c)
		return;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
		http_status_unref(c->status);
		*c = (struct http_client){.fd = -1};
		h->taken--;
		return;
	}
	h->taken++;
	info = mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	*c = (struct http_client){.connection = connection,
				  .fd = info ? info->connect_fd : -1,
				  .began_ns = clock_now_ns()};
}

void http_ask(struct http *h, struct http_client *c)
{
	c->state = WAITING;
	c->asked_ns = clock_now_ns();
	mhd.suspend_connection(c->connection);
	pthread_mutex_lock(&h->lock);
	h->wanted = true;
	thread_event_set(h->ask);
	pthread_mutex_unlock(&h->lock);
}

/* With what there is, which may be nothing. */
static void client_resume(struct http_client *c, struct http_status *s)
{
	c->state = ANSWERED;
	c->status = http_status_ref(s);
	mhd.resume_connection(c->connection);
}

/* Where all places are taken, whoever keeps one for nothing makes room: probes come here too. */
static int64_t client_end(const struct http *h, const struct http_client *c)
{
	int64_t ns = h->limits.client_ns;

	if (h->taken == HTTP_CLIENTS)
		ns = MIN(ns, c->state == READING ? FULL_READING_NS : FULL_ANSWERED_NS);
	return c->began_ns + ns;
}

static void clients_expire(struct http *h, int64_t now)
{
	for (size_t i = 0; i < HTTP_CLIENTS; i++) {
		struct http_client *c = &h->clients[i];

		if (!c->connection)
			continue;
		if (c->state == WAITING && now >= c->asked_ns + h->limits.answer_ns)
			client_resume(c, NULL);
		if (c->state != WAITING && c->fd >= 0 && now >= client_end(h, c)) {
			shutdown(c->fd, SHUT_RDWR);
			c->fd = -1;
		}
	}
}

/* When there is something to do though nothing happens. */
static int64_t clients_until(const struct http *h)
{
	int64_t until = INT64_MAX;

	for (size_t i = 0; i < HTTP_CLIENTS; i++) {
		const struct http_client *c = &h->clients[i];

		if (c->connection && c->state == WAITING)
			until = MIN(until, c->asked_ns + h->limits.answer_ns);
		else if (c->connection && c->fd >= 0)
			until = MIN(until, client_end(h, c));
	}
	return until;
}

/* The thread */

/* What the event loop has handed over; false when there is nothing. */
static bool fresh_take(struct http *h, struct status *ret_status)
{
	bool there;

	pthread_mutex_lock(&h->lock);
	thread_event_clear(h->answered);
	there = h->fresh_there;
	if (there) {
		*ret_status = h->fresh;
		h->fresh = (struct status){0};
		h->fresh_there = false;
	}
	pthread_mutex_unlock(&h->lock);
	return there;
}

/* Takes over what s owns. NULL: no memory. */
static struct http_status *status_share(struct status *s)
{
	struct http_status *shared = calloc(1, sizeof(*shared));

	if (!shared || status_merge(s) < 0) {
		status_done(s);
		free(shared);
		return NULL;
	}
	*shared = (struct http_status){.refs = 1, .s = *s};
	return shared;
}

static void fresh_hand_out(struct http *h)
{
	struct http_status *s;
	struct status fresh;

	if (!fresh_take(h, &fresh))
		return;
	s = status_share(&fresh);
	http_status_unref(h->young);
	h->young = s;
	h->young_until_ns = clock_now_ns() + h->limits.young_ns;
	for (size_t i = 0; i < HTTP_CLIENTS; i++)
		if (h->clients[i].connection && h->clients[i].state == WAITING)
			client_resume(&h->clients[i], s);
}

/* A status that is not young any more is no use to anybody. */
static void young_expire(struct http *h, int64_t now)
{
	if (!h->young || now < h->young_until_ns)
		return;
	http_status_unref(h->young);
	h->young = NULL;
}

/* Until something happens or is due. False: the end. */
static bool wait_on(struct http *h, bool *ret_answered)
{
	struct pollfd fds[] = {
		{.fd = h->stop, .events = POLLIN},
		{.fd = h->answered, .events = POLLIN},
		{.fd = h->epoll, .events = POLLIN},
	};
	int64_t until = clients_until(h), left;
	MHD_UNSIGNED_LONG_LONG ms;
	struct timespec t;

	if (h->young)
		until = MIN(until, h->young_until_ns);
	left = until == INT64_MAX ? INT64_MAX : MAX(until - clock_now_ns(), INT64_C(0));
	if (mhd.get_timeout(h->daemon, &ms) == MHD_YES && ms < INT64_MAX / NS_PER_MS)
		left = MIN(left, (int64_t)ms * NS_PER_MS);
	t = (struct timespec){left / NS_PER_SEC, left % NS_PER_SEC};
	if (ppoll(fds, ARRAY_SIZE(fds), left == INT64_MAX ? NULL : &t, NULL) < 0)
		return true;
	*ret_answered = fds[1].revents;
	return !fds[0].revents;
}

/* When all places were taken, that there is one again is only noticed at the next run. */
static void run_daemon(struct http *h)
{
	size_t taken;

	do {
		taken = h->taken;
		mhd.run(h->daemon);
	} while (taken == HTTP_CLIENTS && h->taken < taken);
}

static void *http_run(void *arg)
{
	struct http *h = arg;

	for (;;) {
		bool answered = false;
		int64_t now;

		if (!wait_on(h, &answered))
			return NULL;
		if (answered)
			fresh_hand_out(h);
		now = clock_now_ns();
		young_expire(h, now);
		clients_expire(h, now);
		run_daemon(h);
	}
}

/* Beginning and end */

static int make_events(struct http *h)
{
	int *const fds[] = {&h->stop, &h->ask, &h->answered};

	return thread_events(fds, ARRAY_SIZE(fds));
}

static int start_daemon(struct http *h)
{
	const union MHD_DaemonInfo *info;

	h->daemon = mhd.start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
				     http_reply, h, MHD_OPTION_LISTEN_SOCKET, h->listener,
				     MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CLIENTS,
				     MHD_OPTION_CONNECTION_MEMORY_LIMIT, h->limits.memory_bytes,
				     MHD_OPTION_CONNECTION_TIMEOUT, h->limits.idle_s,
				     MHD_OPTION_NOTIFY_CONNECTION, client_noted, h, MHD_OPTION_END);
	info = h->daemon ? mhd.get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return log_err(-ENOMEM, "--metrics: libmicrohttpd cannot be started");
	h->epoll = info->epoll_fd;
	return 0;
}

static int start_thread(struct http *h)
{
	int r = thread_start(&h->thread, http_run, h);

	h->started = r == 0;
	return r;
}

int http_new_limited(const char *address, const struct http_limits *limits, struct http **ret_http)
{
	struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return log_err(-ENOMEM, "--metrics: %s", strerror(ENOMEM));
	h->limits = *limits;
	h->listener = h->epoll = h->stop = h->ask = h->answered = -1;
	pthread_mutex_init(&h->lock, NULL); /* cannot fail with NULL (glibc) */
	r = mhd_load();
	if (r == 0)
		r = http_listen(address, &h->listener);
	if (r == 0) {
		r = make_events(h);
		if (r < 0)
			log_err(r, "--metrics: %s", strerror(-r));
	}
	if (r == 0)
		r = start_daemon(h);
	if (r == 0) {
		r = start_thread(h);
		if (r < 0)
			log_err(r, "--metrics: %s", strerror(-r));
	}
	if (r < 0) {
		http_free(h);
		return r;
	}
	*ret_http = h;
	return 0;
}

int http_new(const char *address, struct http **ret_http)
{
	return http_new_limited(address, &http_limits, ret_http);
}

/* Requests that wait go on first: a suspended one must not be there when the daemon ends. */
static void stop_daemon(struct http *h)
{
	for (size_t i = 0; i < HTTP_CLIENTS; i++)
		if (h->clients[i].connection && h->clients[i].state == WAITING)
			client_resume(&h->clients[i], NULL);
	mhd.stop_daemon(h->daemon); /* closes the listener */
	h->listener = -1;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	if (h->started) {
		thread_event_set(h->stop);
		pthread_join(h->thread, NULL);
	}
	if (h->daemon)
		stop_daemon(h);
	http_status_unref(h->young);
	status_done(&h->fresh);
	close_fd(&h->listener);
	close_fd(&h->stop);
	close_fd(&h->ask);
	close_fd(&h->answered);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* The event loop's side */

int http_fd(const struct http *h)
{
	return h->ask;
}

bool http_wants(struct http *h)
{
	bool wanted;

	pthread_mutex_lock(&h->lock);
	wanted = h->wanted;
	h->wanted = false;
	thread_event_clear(h->ask);
	pthread_mutex_unlock(&h->lock);
	return wanted;
}

void http_answer(struct http *h, struct status *s)
{
	struct status old;

	pthread_mutex_lock(&h->lock);
	old = h->fresh;
	h->fresh = *s;
	h->fresh_there = true;
	thread_event_set(h->answered);
	pthread_mutex_unlock(&h->lock);
	*s = (struct status){0};
	status_done(&old);
}
