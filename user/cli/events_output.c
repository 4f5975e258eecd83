/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader that stops reading must be able to hold up the program, but not to keep it from being
 * ended: before each write it waits for room or for the order to stop. A pipe that says it has room
 * takes PIPE_BUF bytes without blocking, so no write is longer. The descriptor itself stays
 * blocking: it is often shared with a shell.
 */
#include "cli/events_output.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "event/event.h"
#include "output/escape.h"
#include "watch/docker_event.h"

#define KEEP_BYTES (16 * 1024)

void events_output_done(struct events_output *o)
{
	buf_done(&o->buf);
}

static void add(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

static void add_escaped(struct buf *b, const char *text)
{
	size_t len = strlen(text);
	bool invalid;

	if (buf_reserve(b, ESCAPE_ROOM(len)) < 0)
		return;
	b->len = (size_t)(escape_json(b->data + b->len, text, len, &invalid) - b->data);
}

static void add_quoted(struct buf *b, const char *text)
{
	if (!text) {
		add(b, "null");
		return;
	}
	add(b, "\"");
	add_escaped(b, text);
	add(b, "\"");
}

static bool is_time(const struct event_attribute *a)
{
	return strcmp(a->key, DOCKER_TIME) == 0;
}

static void add_time(struct buf *b, const struct event *e)
{
	struct timespec at;
	struct tm tm;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &at);
	for (size_t i = 0; i < e->n_attributes; i++) {
		if (!is_time(&e->attributes[i]))
			continue;
		long long ns = strtoll(e->attributes[i].value, NULL, 10);

		at = (struct timespec){ns / NS_PER_SEC, ns % NS_PER_SEC};
	}
	gmtime_r(&at.tv_sec, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(b, "%s.%09ldZ", text, at.tv_nsec);
}

static void add_attributes(struct buf *b, const struct event *e, bool json)
{
	const char *comma = "";

	for (size_t i = 0; i < e->n_attributes; i++) {
		const struct event_attribute *a = &e->attributes[i];

		if (is_time(a))
			continue;
		add(b, json ? comma : " ");
		(json ? add_quoted : add_escaped)(b, a->key);
		add(b, json ? ":" : "=");
		(json ? add_quoted : add_escaped)(b, a->value);
		comma = ",";
	}
}

static void add_json(struct buf *b, const struct event *e, const char *action, const char *from)
{
	static const char *const types[] = {"file", "container", "control"};

	add(b, "{\"time\":\"");
	add_time(b, e);
	buf_printf(b, "\",\"type\":\"%s\",\"action\":\"%s\",\"actor\":{\"name\":", types[e->type],
		   action);
	add_quoted(b, e->actor_name);
	add(b, ",\"id\":");
	add_quoted(b, e->actor_id);
	add(b, ",\"attributes\":{");
	add_attributes(b, e, true);
	add(b, "}}");
	if (from) {
		add(b, ",\"from\":");
		add_quoted(b, from);
	}
	add(b, "}\n");
}

static void add_line(struct buf *b, const struct event *e, const char *action, const char *from)
{
	add_time(b, e);
	buf_printf(b, " %s ", action);
	add_escaped(b, e->actor_name);
	if (from) {
		add(b, " from ");
		add_escaped(b, from);
	}
	add_attributes(b, e, false);
	add(b, "\n");
}

void events_output_add(struct events_output *o, const struct event *e, const char *from)
{
	struct event what = {.action = e->action};
	char action[128];

	if (o->over || !o->left)
		return;
	event_string(&what, action, sizeof(action));
	(o->json ? add_json : add_line)(&o->buf, e, action, from);
	o->left--;
	if (o->buf.len >= KEEP_BYTES || !o->left)
		events_output_flush(o);
	o->over = o->over || !o->left;
}

/* There is room, or it is over. */
static bool wait_for_room(struct events_output *o)
{
	struct pollfd fds[] = {{o->fd, POLLOUT, 0}, {o->stop_fd, POLLIN, 0}};

	while (poll(fds, 2, -1) < 0)
		if (errno != EINTR)
			return true;
	o->over = o->over || (fds[1].revents && !fds[0].revents);
	return !o->over;
}

void events_output_flush(struct events_output *o)
{
	size_t done = 0;

	while (done < o->buf.len && !o->over && wait_for_room(o)) {
		ssize_t n = sys.write(o->fd, o->buf.data + done,
				      MIN(o->buf.len - done, (size_t)PIPE_BUF));

		if (n > 0)
			done += (size_t)n;
		if (n >= 0 || errno == EINTR || errno == EAGAIN)
			continue;
		o->over = true;
		o->error = errno == EPIPE ? 0 : -errno;
	}
	o->buf.len = 0;
	buf_shrink(&o->buf);
}
