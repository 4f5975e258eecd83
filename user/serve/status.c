/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop only notes its logs here: a copy of the path and the figures, no sorting and no
 * parsing. status_merge, on the thread of whoever asked, makes containers of them:
 *
 *   clean     what is not UTF-8 in a path is replaced, since neither JSON nor metrics may hold it
 *   name      namespace, pod, UID and container are copied out of the path
 *   sort      the logs of a container stand beside each other
 *   add up    in place
 *
 * Cleaning comes before adding up: two files whose names differ only in ill-formed bytes look the
 * same afterwards, and as two rows would be one time series twice, which Prometheus refuses. For
 * the same reason sinks of the same name get a number.
 */
#include "serve/status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "files/pod_path.h"
#include "output/escape.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

void status_done(struct status *s)
{
	free(s->rows);
	buf_done(&s->text);
	*s = (struct status){0};
}

static int rows_reserve(struct status *s)
{
	size_t max = s->max_rows ? 2 * s->max_rows : 64;
	struct status_row *rows;

	if (s->n_rows < s->max_rows)
		return 0;
	rows = reallocarray(s->rows, max, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	s->rows = rows;
	s->max_rows = max;
	return 0;
}

struct status_row *status_row_add(struct status *s, const char *path)
{
	struct status_row *row;
	size_t at;

	if (rows_reserve(s) < 0 || buf_reserve(&s->text, strlen(path) + 2) < 0)
		return NULL;
	if (!s->text.len)
		buf_add(&s->text, "", 1);
	at = s->text.len;
	buf_add(&s->text, path, strlen(path) + 1);
	row = &s->rows[s->n_rows++];
	*row = (struct status_row){.path = at, .deadline_ns = -1};
	return row;
}

static const char *text_at(const struct status *s, size_t at)
{
	return s->text.data + at;
}

static bool is_utf8(const char *text)
{
	size_t len = strlen(text), n;
	bool valid = true;

	for (; len && valid; text += n, len -= n)
		n = escape_char_length(text, len, &valid);
	return valid;
}

static int path_clean(struct status *s, struct status_row *row)
{
	size_t len = strlen(text_at(s, row->path)), n;
	const char *from;
	bool valid;
	int r;

	if (is_utf8(text_at(s, row->path)))
		return 0;
	r = buf_reserve(&s->text, 3 * len + 1);
	if (r < 0)
		return r;
	from = text_at(s, row->path);
	row->path = s->text.len;
	for (; len; from += n, len -= n) {
		n = escape_char_length(from, len, &valid);
		buf_add(&s->text, valid ? from : REPLACEMENT, valid ? n : 3);
	}
	return buf_add(&s->text, "", 1);
}

/* There is room. */
static size_t name_put(struct status *s, const char *name, size_t len)
{
	size_t at = s->text.len;

	if (!len)
		return 0;
	buf_add(&s->text, name, len);
	buf_add(&s->text, "", 1);
	return at;
}

/* Where pods are, the log's directory is the container's; a link is all there is to see of it. */
static int row_name(struct status *s, struct status_row *row)
{
	int r = buf_reserve(&s->text, strlen(text_at(s, row->path)) + 4);
	struct pod_path at;

	if (r < 0)
		return r;
	if (!pod_path_parse(text_at(s, row->path), &at))
		return 0;
	row->ns = name_put(s, at.ns, at.ns_len);
	row->pod = name_put(s, at.pod, at.pod_len);
	row->uid = name_put(s, at.uid, at.uid_len);
	row->container = name_put(s, at.container, at.container_len);
	if (at.restart_count >= 0)
		*strrchr(s->text.data + row->path, '/') = '\0';
	return 0;
}

/* 0: the same container. */
static int compare_containers(const struct status *s, const struct status_row *a,
			      const struct status_row *b)
{
	int r = strcmp(text_at(s, a->ns), text_at(s, b->ns));

	if (r == 0)
		r = strcmp(text_at(s, a->pod), text_at(s, b->pod));
	if (r == 0)
		r = strcmp(text_at(s, a->container), text_at(s, b->container));
	if (r == 0)
		r = strcmp(text_at(s, a->uid), text_at(s, b->uid));
	if (r == 0 && !a->ns)
		r = strcmp(text_at(s, a->path), text_at(s, b->path));
	return r;
}

static int compare_rows(const void *a, const void *b, void *arg)
{
	const struct status_row *p = a, *q = b;
	const struct status *s = arg;
	int r = compare_containers(s, p, q);

	return r ? r : strcmp(text_at(s, p->path), text_at(s, q->path));
}

static void account_add(struct status_account *to, const struct status_account *a)
{
	to->written += a->written;
	to->read += a->read;
	to->delivered += a->delivered;
	to->pending += a->pending;
	to->uncounted += a->uncounted;
	to->records += a->records;
	for (int i = 0; i < LOST_REASONS; i++) {
		to->lost[i].bytes += a->lost[i].bytes;
		to->lost[i].events += a->lost[i].events;
	}
}

static int64_t earlier(int64_t a, int64_t b, int64_t never)
{
	return a == never ? b : b == never ? a : MIN(a, b);
}

static void row_add(struct status_row *to, const struct status_row *row)
{
	account_add(&to->account, &row->account);
	to->backlog_bytes += row->backlog_bytes;
	to->rate += row->rate;
	to->oldest_ns = earlier(to->oldest_ns, row->oldest_ns, 0);
	to->deadline_ns = earlier(to->deadline_ns, row->deadline_ns, -1);
	to->rotations += row->rotations;
	to->generations += row->generations;
	to->next = (unsigned)earlier(to->next, row->next, 0);
	to->hot |= row->hot;
	to->gone &= row->gone;
}

static bool sink_has_twin(const struct status *s, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(s->sinks[j].name, s->sinks[i].name) == 0)
			return true;
	return false;
}

/* A name that was cut may end within a character. */
static void sink_clean(struct status_sink *sink)
{
	size_t len = strnlen(sink->name, sizeof(sink->name) - 1), n;
	bool valid;

	sink->name[len] = '\0';
	for (char *p = sink->name; len; p += n, len -= n) {
		n = escape_char_length(p, len, &valid);
		if (!valid)
			memset(p, '?', n);
	}
}

/* "stdout" and "stdout#2". */
static void sinks_tell_apart(struct status *s)
{
	for (size_t i = 0; i < s->n_sinks; i++) {
		char *name = s->sinks[i].name, number[24];
		size_t len, at, n;

		sink_clean(&s->sinks[i]);
		len = strlen(name);
		for (size_t k = 2; sink_has_twin(s, i); k++) {
			n = (size_t)snprintf(number, sizeof(number), "#%zu", k);
			at = MIN(len, sizeof(s->sinks[i].name) - 1 - n);
			while (at < len && at && ((unsigned char)name[at] & 0xc0) == 0x80)
				at--;
			memcpy(name + at, number, n + 1);
		}
	}
}

int status_merge(struct status *s)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->n_rows; i++) {
		r = path_clean(s, &s->rows[i]);
		if (r == 0)
			r = row_name(s, &s->rows[i]);
	}
	if (r < 0)
		return r;
	if (s->n_rows)
		qsort_r(s->rows, s->n_rows, sizeof(*s->rows), compare_rows, s);
	for (size_t i = 0; i < s->n_rows; i++) {
		if (n && compare_containers(s, &s->rows[n - 1], &s->rows[i]) == 0)
			row_add(&s->rows[n - 1], &s->rows[i]);
		else
			s->rows[n++] = s->rows[i];
	}
	s->n_rows = n;
	sinks_tell_apart(s);
	return 0;
}
