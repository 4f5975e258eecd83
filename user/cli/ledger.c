/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reply is read as a whole before any of it is printed: a pager that waits for its user would
 * otherwise keep the daemon waiting, and half a ledger is none.
 */
#include "cli/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "account/ledger_socket.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "config.h"

#define EXIT_LOST  1
#define EXIT_USER  2
#define PATIENCE_S 30 /* the daemon may have other clients, five seconds each */
#define READ_BYTES 65536

struct question {
	const char *dir;
	char format; /* as the socket's protocol has it */
};

static void usage(void)
{
	puts("usage: hotdrain ledger [OPTION...]\n\n"
	     "Asks the running hotdrain what became of every byte that was written to the\n"
	     "containers' logs. The exit status is 1 when something was lost.\n\n"
	     "  -s, --state DIR  the state directory it runs with (default\n"
	     "                   " CONFIG_STATE_DEFAULT ")\n"
	     "  -j, --json       print one JSON object instead of a table\n"
	     "  -h, --help       this text");
}

/* *ret holds the defaults. 0: go on; 1: --help was printed; -EINVAL after one line on standard
 * error. */
static int options_parse(int argc, char **argv, struct question *ret)
{
	static const struct option options[] = {
		{"state", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	struct question q = *ret;
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":s:jh", options, NULL)) != -1)
		switch (c) {
		case 's':
			q.dir = optarg;
			break;
		case 'j':
			q.format = 'j';
			break;
		case 'h':
			usage();
			return 1;
		case ':':
			return log_err(-EINVAL, "%s needs a value; see 'hotdrain ledger --help'",
				       argv[optind - 1]);
		default:
			return log_err(-EINVAL, "unknown option '%s'; see 'hotdrain ledger --help'",
				       argv[optind - 1]);
		}
	if (optind < argc)
		return log_err(-EINVAL, "unexpected argument '%s'; see 'hotdrain ledger --help'",
			       argv[optind]);
	if (!*q.dir)
		return log_err(-EINVAL, "--state: the directory's name is empty");
	if (strcmp(q.dir, "none") == 0)
		return log_err(-EINVAL,
			       "--state none: expected a directory; a hotdrain without one cannot "
			       "be asked");
	*ret = q;
	return 0;
}

static int connect_error(const char *dir, int err)
{
	if (err == ENOENT || err == ECONNREFUSED)
		return log_err(-err,
			       "ledger: %s/" LEDGER_SOCKET_NAME
			       ": no hotdrain runs with this state directory",
			       dir);
	if (err == EACCES || err == EPERM)
		return log_err(-err,
			       "ledger: %s/" LEDGER_SOCKET_NAME
			       ": %s, expected to run as root or as hotdrain's own user",
			       dir, strerror(err));
	return log_err(-err, "ledger: %s/" LEDGER_SOCKET_NAME ": %s, expected hotdrain's socket",
		       dir, err == EAGAIN ? "too many are asking" : strerror(err));
}

static int connect_to(const char *dir, int *ret_fd)
{
	_cleanup_fd_ int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_fd_ int fd = -1;
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un address;

	if (dir_fd < 0)
		return log_err(-errno, "ledger: %s: %s, expected the state directory of a hotdrain",
			       dir, strerror(errno));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return log_err(-errno, "ledger: socket: %s", strerror(errno));
	/* Of a connect, too. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	ledger_socket_address(dir, dir_fd, &address);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return connect_error(dir, errno);
	*ret_fd = take_fd(fd);
	return 0;
}

/* All that comes until the daemon closes. 0 or -errno: -EAGAIN after PATIENCE_S. */
static int read_reply(int fd, struct buf *reply)
{
	int64_t until = clock_now_ns() + PATIENCE_S * NS_PER_SEC;

	for (;;) {
		int64_t left = until - clock_now_ns();
		struct timeval patience = {.tv_sec = left / NS_PER_SEC,
					   .tv_usec = left % NS_PER_SEC / 1000};
		ssize_t n;
		int r;

		if (left < NS_PER_MS)
			return -EAGAIN;
		r = buf_reserve(reply, READ_BYTES);
		if (r < 0)
			return r;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		n = recv(fd, reply->data + reply->len, READ_BYTES, 0);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		reply->len += n > 0 ? (size_t)n : 0;
	}
}

/* "0 LENGTH\n" or "1 LENGTH\n", then the text: false unless it is all of that. */
static bool reply_parse(const struct buf *reply, bool *ret_lost, const char **ret_text,
			size_t *ret_len)
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
	*ret_lost = reply->data[0] == '1';
	*ret_text = newline + 1;
	*ret_len = rest;
	return true;
}

static int ask(const struct question *q, struct buf *reply)
{
	_cleanup_fd_ int fd = -1;
	int r = connect_to(q->dir, &fd);

	if (r < 0)
		return r;
	/* That nobody is there any more shows in the reply. */
	send(fd, &q->format, 1, MSG_NOSIGNAL);
	r = read_reply(fd, reply);
	if (r == -EAGAIN)
		return log_err(r,
			       "ledger: %s/" LEDGER_SOCKET_NAME ": expected an answer within %d s",
			       q->dir, PATIENCE_S);
	if (r < 0 && r != -ECONNRESET)
		return log_err(r, "ledger: %s/" LEDGER_SOCKET_NAME ": %s", q->dir, strerror(-r));
	return 0;
}

int ledger_main(int argc, char **argv)
{
	_cleanup_(buf_done) struct buf reply = {0};
	struct question q = {.dir = CONFIG_STATE_DEFAULT, .format = 't'};
	const char *text;
	size_t len;
	bool lost;
	int r = options_parse(argc, argv, &q);

	if (r != 0)
		return r < 0 ? EXIT_USER : 0;
	if (ask(&q, &reply) < 0)
		return EXIT_USER;
	if (!reply_parse(&reply, &lost, &text, &len))
		return log_err(
			EXIT_USER,
			"ledger: %s/" LEDGER_SOCKET_NAME
			": expected a whole answer, came %zu bytes: has hotdrain just ended?",
			q.dir, reply.len);
	if (fwrite(text, 1, len, stdout) != len || fflush(stdout) != 0)
		return log_err(EXIT_USER, "ledger: standard output: %s", strerror(errno));
	return lost ? EXIT_LOST : 0;
}
