/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reply is read as a whole before any of it is used: a pager that waits for its user would
 * otherwise keep the daemon waiting, and half an answer is none.
 */
#include "cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "account/ledger_socket.h"
#include "base/clock.h"
#include "base/sys.h"

#define READ_BYTES 65536

#define SAY(why, ...) snprintf((why), ASK_WHY_MAX, __VA_ARGS__)

static int connect_error(const char *dir, int err, char *why)
{
	const char *name = LEDGER_SOCKET_NAME;

	if (err == ENOENT || err == ECONNREFUSED)
		SAY(why, "%s/%s: no hotdrain runs with this state directory", dir, name);
	else if (err == EACCES || err == EPERM)
		SAY(why, "%s/%s: %s, expected to run as root or as hotdrain's own user", dir, name,
		    strerror(err));
	else
		SAY(why, "%s/%s: %s, expected hotdrain's socket", dir, name,
		    err == EAGAIN ? "too many are asking" : strerror(err));
	return -err;
}

static int connect_to(const char *dir, int64_t patience_ns, int *ret_fd, char *why)
{
	_cleanup_fd_ int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int fd = -1;
	const struct timeval patience = {.tv_sec = patience_ns / NS_PER_SEC,
					 .tv_usec = patience_ns % NS_PER_SEC / 1000};
	struct sockaddr_un address;
	int r = -errno;

	if (dir_fd < 0) {
		SAY(why, "%s: %s, expected the state directory of a hotdrain", dir, strerror(-r));
		return r;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = -errno;
		SAY(why, "socket: %s", strerror(-r));
		return r;
	}
	/* Of a connect, too. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	ledger_socket_address(dir, dir_fd, &address);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return connect_error(dir, errno, why);
	*ret_fd = take_fd(fd);
	return 0;
}

int ask_open(struct ask *a, const char *dir, char question, int64_t patience_ns,
	     char why[ASK_WHY_MAX])
{
	int r;

	ask_close(a);
	a->dir = dir;
	r = connect_to(dir, patience_ns, &a->fd, why);
	if (r < 0)
		return r;
	/* That nobody is there any more shows in the reply. */
	send(a->fd, &question, 1, MSG_NOSIGNAL);
	a->patience_ns = patience_ns;
	a->until_ns = clock_now_ns() + patience_ns;
	return 0;
}

/* "0 LENGTH\n" or "1 LENGTH\n", then the text: false unless it is all of that. */
static bool reply_parse(const struct buf *reply, struct ask_answer *ret)
{
	const char *newline = reply->len ? memchr(reply->data, '\n', reply->len) : NULL;
	size_t rest = newline ? (size_t)(reply->data + reply->len - newline - 1) : 0;
	char head[32];
	int n;

	if (!rest || (reply->data[0] != '0' && reply->data[0] != '1'))
		return false;
	n = snprintf(head, sizeof(head), "%c %zu\n", reply->data[0], rest);
	if (reply->len - rest != (size_t)n || memcmp(reply->data, head, (size_t)n) != 0)
		return false;
	*ret = (struct ask_answer){.text = newline + 1, .len = rest, .lost = reply->data[0] == '1'};
	return true;
}

/* All that comes until the daemon closes: 0, -EAGAIN at until_ns, or another -errno. */
static int read_until(struct ask *a, int64_t until_ns)
{
	for (;;) {
		struct pollfd p = {.fd = a->fd, .events = POLLIN};
		int64_t left = MAX(until_ns - clock_now_ns(), INT64_C(0));
		struct timespec t = {left / NS_PER_SEC, left % NS_PER_SEC};
		ssize_t n;
		int r = buf_reserve(&a->reply, READ_BYTES);

		if (r < 0)
			return r;
		if (ppoll(&p, 1, &t, NULL) == 0)
			return -EAGAIN;
		n = recv(a->fd, a->reply.data + a->reply.len, READ_BYTES, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		a->reply.len += n > 0 ? (size_t)n : 0;
	}
}

int ask_read(struct ask *a, int64_t until_ns, struct ask_answer *ret_answer, char why[ASK_WHY_MAX])
{
	const char *name = LEDGER_SOCKET_NAME;
	int r = read_until(a, MIN(until_ns, a->until_ns));

	if (r == -EAGAIN && clock_now_ns() < a->until_ns)
		return r;
	if (r == -EAGAIN) {
		SAY(why, "%s/%s: expected an answer within %d s", a->dir, name,
		    (int)(a->patience_ns / NS_PER_SEC));
		return -ETIMEDOUT;
	}
	if (r < 0) {
		SAY(why, "%s/%s: %s", a->dir, name, strerror(-r));
		return r;
	}
	if (reply_parse(&a->reply, ret_answer))
		return 0;
	SAY(why, "%s/%s: expected a whole answer, came %zu bytes: has hotdrain just ended?", a->dir,
	    name, a->reply.len);
	return -EBADMSG;
}

void ask_close(struct ask *a)
{
	close_fd(&a->fd);
	buf_done(&a->reply);
}
