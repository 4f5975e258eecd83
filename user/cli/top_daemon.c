/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_daemon.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "cli/ask.h"
#include "cli/top_frame.h"
#include "cli/top_status.h"

#define ANSWER_NS (10 * NS_PER_SEC)

_Static_assert(TOP_WHY_MAX >= ASK_WHY_MAX, "whatever asking says has room");

struct daemon {
	struct ask ask;
	const char *dir;
	int failed; /* to be told by the next take */
	char why[TOP_WHY_MAX];
};

static size_t daemon_fds(const void *ctx, struct pollfd fds[TOP_FDS])
{
	const struct daemon *d = ctx;

	fds[0] = (struct pollfd){.fd = d->ask.fd, .events = POLLIN};
	return d->ask.fd >= 0;
}

static int64_t daemon_turn(void *ctx, int64_t now_ns)
{
	const struct daemon *d = ctx;

	return d->ask.fd >= 0 ? d->ask.until_ns : INT64_MAX;
}

/* One question at a time: a daemon that is slow gets no second one. */
static void daemon_want(void *ctx)
{
	struct daemon *d = ctx;

	if (d->ask.fd < 0)
		d->failed = ask_open(&d->ask, d->dir, 's', ANSWER_NS, d->why);
}

static int daemon_take(void *ctx, struct top_frame *f, char why[TOP_WHY_MAX])
{
	struct daemon *d = ctx;
	struct ask_answer answer;
	int r = d->failed;

	if (r < 0) {
		snprintf(why, TOP_WHY_MAX, "%s", d->why);
		d->failed = 0;
		return r;
	}
	if (d->ask.fd < 0)
		return -EAGAIN;
	r = ask_read(&d->ask, 0, &answer, why);
	if (r == -EAGAIN)
		return r;
	if (r == 0)
		r = top_status_parse(answer.text, answer.len, f, why);
	ask_close(&d->ask);
	return r;
}

static void daemon_free(void *ctx)
{
	struct daemon *d = ctx;

	ask_close(&d->ask);
	free(d);
}

int top_daemon_open(const char *dir, struct top_source *ret_source, char why[TOP_WHY_MAX])
{
	static const struct top_source_ops ops = {.fds = daemon_fds,
						  .turn = daemon_turn,
						  .want = daemon_want,
						  .take = daemon_take,
						  .free = daemon_free};
	struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		snprintf(why, TOP_WHY_MAX, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	d->ask = ASK_INIT;
	d->dir = dir;
	r = ask_open(&d->ask, dir, 's', ANSWER_NS, why);
	if (r < 0) {
		free(d);
		return r;
	}
	*ret_source = (struct top_source){.ops = &ops, .ctx = d};
	return 0;
}
