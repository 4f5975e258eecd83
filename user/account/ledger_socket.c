/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question at a time goes from the thread to the event loop, and one answer back:
 *
 *   thread                                   event loop
 *   accept, read 't', 'j' or 's'
 *   IDLE -> ASKED, fd readable  ---------->  ledger_socket_wanted: notes which question
 *   ASKED -> IDLE, text taken   <----------  ledger_socket_answer: ASKED -> ANSWERED
 *   write, close
 *
 * A client that goes away while it waits takes its question back; an answer that is then on its way
 * has the number of a question nobody asks any more, and is dropped. So the thread never waits for
 * the event loop longer than a client does, and the event loop never waits at all.
 *
 * Every wait of the thread is a poll that has the eventfd by which it is told to stop beside what
 * it waits for, so that no client can hold up the end of the program.
 *
 * The socket's mode is set on its descriptor before it is bound, which is the mode its file is made
 * with (unix(7); net/unix/af_unix.c, unix_bind_bsd). Rejected: umask, which belongs to all threads;
 * chmod afterwards, which is too late; a socket for each question from the event loop itself, which
 * would have clients' timeouts between its turns.
 */
#include "account/ledger_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"

#define CLIENT_NS (5 * NS_PER_SEC)
#define RETRY_NS  (100 * NS_PER_MS) /* after an accept that failed, for want of descriptors */
#define WAITING   16                /* clients that are not yet accepted */

enum question { IDLE, ASKED, ANSWERED };

struct ledger_socket {
	int dir, listener;
	int stop, ask, answered; /* eventfds */
	struct stat bound;       /* the socket's file */
	pthread_t thread;
	bool started;
	uint64_t noted; /* the event loop's: the question it answers next */

	pthread_mutex_t lock;
	/* Under the lock: */
	enum question question;
	uint64_t number; /* of the question */
	enum ledger_format format;
	struct buf text;
	bool lost;
};

void ledger_socket_address(const char *dir, int dir_fd, struct sockaddr_un *ret_address)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/" LEDGER_SOCKET_NAME, dir);

	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" LEDGER_SOCKET_NAME,
			 dir_fd);
	*ret_address = a;
}

/* Until fd (may be -1) has one of events or an error, or other (may be -1) is readable. 0, or
 * -ECANCELED when the thread is to stop, -ETIMEDOUT at until_ns. */
static int wait_for(const struct ledger_socket *s, int fd, short events, int other,
		    int64_t until_ns)
{
	struct pollfd fds[] = {
		{.fd = s->stop, .events = POLLIN},
		{.fd = fd, .events = events},
		{.fd = other, .events = POLLIN},
	};

	for (;;) {
		int64_t left = MAX(until_ns - clock_now_ns(), INT64_C(0));
		struct timespec t = {left / NS_PER_SEC, left % NS_PER_SEC};
		int n = ppoll(fds, ARRAY_SIZE(fds), until_ns == INT64_MAX ? NULL : &t, NULL);

		if (n < 0 && errno != EINTR && errno != ENOMEM)
			return -errno;
		if (n > 0 && fds[0].revents)
			return -ECANCELED;
		if (n > 0)
			return 0;
		if (left == 0)
			return -ETIMEDOUT;
	}
}

static bool format_of(char byte, enum ledger_format *ret_format)
{
	switch (byte) {
	case 't':
		*ret_format = LEDGER_TABLE;
		return true;
	case 'j':
		*ret_format = LEDGER_JSON;
		return true;
	case 's':
		*ret_format = LEDGER_STATUS;
		return true;
	default:
		return false;
	}
}

static int read_question(const struct ledger_socket *s, int fd, enum ledger_format *ret_format)
{
	int64_t until = clock_now_ns() + CLIENT_NS;
	char byte = 0;
	ssize_t n;

	do {
		int r = wait_for(s, fd, POLLIN, -1, until);

		if (r < 0)
			return r;
		n = recv(fd, &byte, 1, MSG_DONTWAIT);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n == 1 && format_of(byte, ret_format) ? 0 : -EBADMSG;
}

static int write_all(const struct ledger_socket *s, int fd, const char *data, size_t len,
		     int64_t until)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r;

		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(s, fd, POLLOUT, -1, until);
		if (r < 0)
			return r;
	}
	return 0;
}

static void question_ask(struct ledger_socket *s, enum ledger_format format)
{
	pthread_mutex_lock(&s->lock);
	s->question = ASKED;
	s->number++;
	s->format = format;
	thread_event_set(s->ask);
	pthread_mutex_unlock(&s->lock);
}

/* With the answer if there is one: true. */
static bool question_end(struct ledger_socket *s, struct buf *ret_text, bool *ret_lost)
{
	bool answered;

	pthread_mutex_lock(&s->lock);
	answered = s->question == ANSWERED;
	s->question = IDLE;
	if (answered) {
		*ret_text = s->text;
		*ret_lost = s->lost;
		s->text = (struct buf){0};
	}
	thread_event_clear(s->ask);
	thread_event_clear(s->answered);
	pthread_mutex_unlock(&s->lock);
	return answered;
}

/* The question is the event loop's to answer, however long its turn is; the client's patience ends
 * it, which shows as POLLHUP. */
static void serve_client(struct ledger_socket *s, int fd)
{
	_cleanup_(buf_done) struct buf text = {0};
	enum ledger_format format;
	int64_t until;
	char head[32];
	bool lost;
	int n;

	if (read_question(s, fd, &format) < 0)
		return;
	question_ask(s, format);
	wait_for(s, fd, 0, s->answered, INT64_MAX);
	if (!question_end(s, &text, &lost) || !text.len)
		return;
	until = clock_now_ns() + CLIENT_NS;
	n = snprintf(head, sizeof(head), "%d %zu\n", lost, text.len);
	if (write_all(s, fd, head, (size_t)n, until) == 0)
		write_all(s, fd, text.data, text.len, until);
}

static void *socket_run(void *arg)
{
	struct ledger_socket *s = arg;

	while (wait_for(s, s->listener, POLLIN, -1, INT64_MAX) == 0) {
		_cleanup_fd_ int fd =
			accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0)
			serve_client(s, fd);
		else if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED)
			wait_for(s, -1, 0, -1, clock_now_ns() + RETRY_NS);
	}
	return NULL;
}

/* What is there is removed only when it is a socket: nothing else is ours. */
static int bind_socket(struct ledger_socket *s, const char *dir)
{
	struct sockaddr_un address;
	struct stat st;

	s->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return -errno;
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listener < 0 || fchmod(s->listener, 0600) < 0)
		return -errno;
	if (fstatat(s->dir, LEDGER_SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISSOCK(st.st_mode) && unlinkat(s->dir, LEDGER_SOCKET_NAME, 0) < 0)
		return -errno;
	ledger_socket_address(dir, s->dir, &address);
	if (bind(s->listener, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (fstatat(s->dir, LEDGER_SOCKET_NAME, &s->bound, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return listen(s->listener, WAITING) < 0 ? -errno : 0;
}

static int make_events(struct ledger_socket *s)
{
	int *const fds[] = {&s->stop, &s->ask, &s->answered};

	return thread_events(fds, ARRAY_SIZE(fds));
}

static int start_thread(struct ledger_socket *s)
{
	int r = thread_start(&s->thread, socket_run, s);

	s->started = r == 0;
	return r;
}

int ledger_socket_new(const char *dir, struct ledger_socket **ret_socket)
{
	struct ledger_socket *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return log_warn(-ENOMEM, "ledger %s: %s, ignoring", dir, strerror(ENOMEM));
	s->dir = s->listener = s->stop = s->ask = s->answered = -1;
	pthread_mutex_init(&s->lock, NULL); /* cannot fail with NULL (glibc) */
	r = make_events(s);
	if (r == 0)
		r = bind_socket(s, dir);
	if (r == 0)
		r = start_thread(s);
	if (r < 0) {
		ledger_socket_free(s);
		return log_warn(r, "ledger %s/" LEDGER_SOCKET_NAME ": %s, going on without it", dir,
				strerror(-r));
	}
	*ret_socket = s;
	return 0;
}

/* Unless another one has taken the name since. */
static void remove_file(const struct ledger_socket *s)
{
	struct stat st;

	if (s->bound.st_ino && fstatat(s->dir, LEDGER_SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == s->bound.st_ino && st.st_dev == s->bound.st_dev)
		unlinkat(s->dir, LEDGER_SOCKET_NAME, 0);
}

void ledger_socket_free(struct ledger_socket *s)
{
	if (!s)
		return;
	if (s->started) {
		thread_event_set(s->stop);
		pthread_join(s->thread, NULL);
	}
	remove_file(s);
	close_fd(&s->listener);
	close_fd(&s->dir);
	close_fd(&s->stop);
	close_fd(&s->ask);
	close_fd(&s->answered);
	buf_done(&s->text);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int ledger_socket_fd(const struct ledger_socket *s)
{
	return s->ask;
}

enum ledger_format ledger_socket_wanted(struct ledger_socket *s)
{
	enum ledger_format format;

	pthread_mutex_lock(&s->lock);
	s->noted = s->number;
	format = s->format;
	pthread_mutex_unlock(&s->lock);
	return format;
}

void ledger_socket_answer(struct ledger_socket *s, struct buf *text, bool lost)
{
	pthread_mutex_lock(&s->lock);
	if (s->question == ASKED && s->number == s->noted) {
		s->question = ANSWERED;
		s->text = *text;
		s->lost = lost;
		*text = (struct buf){0};
		thread_event_clear(s->ask);
		thread_event_set(s->answered);
	}
	pthread_mutex_unlock(&s->lock);
	buf_done(text);
}
