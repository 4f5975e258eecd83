/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   source (daemon or own) -> frame -> filter, sort -> screen, or text on standard output
 *
 * Which source: the one that was asked for; else the daemon of the default state directory, and
 * where nobody is there to be asked, counting by itself. That is decided once: a daemon that ends
 * while it is watched is waited for, because figures that come from elsewhere all of a sudden
 * would be compared with those before.
 *
 * A terminal that cannot place its cursor gets the frames of --batch.
 */
#include "cli/top.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cli/top_columns.h"
#include "cli/top_daemon.h"
#include "cli/top_options.h"
#include "cli/top_own.h"
#include "cli/top_text.h"
#include "cli/top_view.h"
#include "config.h"

#define EXIT_USER 2

static void signals_block(sigset_t *ret_signals)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};

	sigemptyset(ret_signals);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(ret_signals, signals[i]);
	sigprocmask(SIG_BLOCK, ret_signals, NULL);
}

/* 0, or -errno after one line in the log. */
static int source_open(const struct top_options *o, struct top_source *ret_source,
		       enum top_from *ret_from)
{
	const char *dir = o->state ? o->state : CONFIG_STATE_DEFAULT;
	char why[TOP_WHY_MAX];
	int r = -ENOENT;

	*ret_from = TOP_DAEMON;
	if (!o->own)
		r = top_daemon_open(dir, ret_source, why);
	if (r == 0)
		return 0;
	if (o->state)
		return log_err(r, "top: %s", why);
	*ret_from = TOP_OWN;
	return top_own_open(o->roots, o->n_roots, o->bpf, ret_source);
}

static int view_of(const struct top_options *o, enum top_from from, struct top_view *ret)
{
	const struct top_column *c = top_column_sorted(from, 0, o->sort ? o->sort : "rate");
	char words[256];

	if (!c)
		return log_err(-EINVAL, "--sort: expected one of %s here, got '%s'",
			       top_column_words(from, words, sizeof(words)), o->sort);
	*ret = (struct top_view){.sort = c->value,
				 .reverse = o->reverse,
				 .delay_ns = o->delay_ns,
				 .count = o->count,
				 .rows = o->rows};
	if (o->namespace_pattern && strlen(o->namespace_pattern) > TOP_PATTERN_MAX)
		return log_err(-EINVAL, "--namespace: expected at most %d characters",
			       TOP_PATTERN_MAX);
	if (o->namespace_pattern)
		snprintf(ret->pattern, sizeof(ret->pattern), "%s", o->namespace_pattern);
	return 0;
}

/* Until until_ns, a frame or a signal: 0, -ETIMEDOUT, -EINTR; or -errno and why. */
static int wait_frame(struct top_source *s, int signal_fd, int64_t until_ns, struct top_frame *f,
		      char *why)
{
	for (;;) {
		struct pollfd fds[TOP_FDS + 1];
		size_t n = s->ops->fds(s->ctx, fds);
		int64_t now = clock_now_ns(), at = s->ops->turn(s->ctx, now);
		int64_t left = MIN(at, until_ns) - now;
		struct timespec t = {0};
		int r = s->ops->take(s->ctx, f, why);

		if (r != -EAGAIN)
			return r;
		if (now >= until_ns)
			return -ETIMEDOUT;
		if (left > 0)
			t = (struct timespec){left / NS_PER_SEC, left % NS_PER_SEC};
		fds[n] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
		ppoll(fds, n + 1, &t, NULL);
		if (fds[n].revents & POLLIN)
			return -EINTR;
	}
}

static int frame_print(struct top_frame *f, const struct top_view *v, bool json, bool first)
{
	_cleanup_(buf_done) struct buf text = {0};
	int r = !json && !first ? buf_add(&text, "\n", 1) : 0;

	top_frame_filter(f, v->pattern);
	top_frame_sort(f, v->sort, v->reverse);
	if (r == 0)
		r = json ? top_text_json(f, v->rows, &text) : top_text_plain(f, v->rows, &text);
	if (r < 0)
		return log_err(r, "top: %s", strerror(-r));
	if (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0)
		return log_err(-errno, "top: standard output: %s", strerror(errno));
	return 0;
}

/* own: rates need an interval before the first frame. */
static int batch_run(struct top_source *s, const struct top_view *v, bool json, bool own,
		     const sigset_t *signals)
{
	_cleanup_(top_frame_done) struct top_frame f = {0};
	int64_t at = clock_now_ns() + (own ? v->delay_ns : 0);
	_cleanup_fd_ int signal_fd = -1;
	sigset_t ending = *signals;
	char why[TOP_WHY_MAX];
	int r;

	sigdelset(&ending, SIGWINCH);
	signal_fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	for (uint64_t n = 0; !v->count || n < v->count;) {
		r = wait_frame(s, signal_fd, at, &f, why);
		if (r == -EINTR)
			return 0;
		if (r == -ETIMEDOUT) {
			s->ops->want(s->ctx);
			at += v->delay_ns;
			if (at < clock_now_ns()) /* it was stopped */
				at = clock_now_ns() + v->delay_ns;
			continue;
		}
		if (r < 0)
			return log_err(r, "top: %s", why);
		r = frame_print(&f, v, json, n++ == 0);
		if (r < 0)
			return r;
	}
	return 0;
}

static void source_free(struct top_source *s)
{
	if (s->ops)
		s->ops->free(s->ctx);
}

static int top_run(const struct top_options *o, const sigset_t *signals)
{
	_cleanup_(source_free) struct top_source source = {0};
	enum top_from from = TOP_OWN;
	struct top_view view = {0};
	int r = source_open(o, &source, &from);

	if (r < 0)
		return r;
	r = view_of(o, from, &view);
	if (r < 0)
		return r;
	if (!o->batch && top_screen_works())
		return top_screen_run(&source, &view, signals);
	return batch_run(&source, &view, o->json, from == TOP_OWN, signals);
}

int top_main(int argc, char **argv)
{
	_cleanup_(top_options_done) struct top_options o;
	sigset_t signals;
	int r = top_options_parse(argc, argv, &o);

	if (r != 0)
		return r < 0 ? EXIT_USER : 0;
	setlocale(LC_CTYPE, "");
	log_set_level(LOG_WARN);
	signals_block(&signals);
	return top_run(&o, &signals) < 0 ? EXIT_USER : 0;
}
