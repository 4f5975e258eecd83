/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A query comes now and then, and a node may have tens of thousands of logs: so a put only notes,
 * what is noted borrows the path, and sorting and adding up the logs of one container wait for the
 * end. Sums wrap round like the counters they are made of, and so the equation holds for them, too.
 *
 * A container is told by all of its pod's names. The UID counts: a pod that was deleted and made
 * again under its name is another one, and its log_logged_bytes_total begins anew, as that of the
 * exporter does.
 */
#include "account/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "account/ledger_text.h"
#include "base/buf.h"
#include "base/sys.h"

void ledger_sub(struct ledger_entry *from, const struct ledger_entry *e)
{
	from->written -= e->written;
	from->read -= e->read;
	from->delivered -= e->delivered;
	from->pending -= e->pending;
	from->uncounted -= e->uncounted;
	from->records -= e->records;
	for (int i = 0; i < LOST_REASONS; i++) {
		from->lost[i].bytes -= e->lost[i].bytes;
		from->lost[i].events -= e->lost[i].events;
	}
}

uint64_t ledger_lost_bytes(const struct ledger_entry *e)
{
	uint64_t bytes = 0;

	for (int i = 0; i < LOST_REASONS; i++)
		bytes += e->lost[i].bytes;
	return bytes;
}

void ledger_entry_from(struct ledger_entry *e, const struct tally *t)
{
	*e = (struct ledger_entry){.written = t->written_bytes,
				   .read = t->read_bytes,
				   .delivered = t->delivered_bytes,
				   .pending = t->read_bytes - t->delivered_bytes,
				   .uncounted = t->uncounted_bytes,
				   .records = t->records};
	memcpy(e->lost, t->lost, sizeof(e->lost));
}

int64_t ledger_check(const struct ledger_entry *e)
{
	return (int64_t)(e->written + e->uncounted - e->delivered - e->pending -
			 ledger_lost_bytes(e));
}

void ledger_add(struct ledger_entry *to, const struct ledger_entry *e)
{
	to->written += e->written;
	to->read += e->read;
	to->delivered += e->delivered;
	to->pending += e->pending;
	to->uncounted += e->uncounted;
	to->records += e->records;
	for (int i = 0; i < LOST_REASONS; i++) {
		to->lost[i].bytes += e->lost[i].bytes;
		to->lost[i].events += e->lost[i].events;
	}
}

void ledger_begin(struct ledger *l, const struct ledger_head *head)
{
	*l = (struct ledger){.head = *head};
}

static int make_room(struct ledger *l)
{
	size_t cap = l->cap ? 2 * l->cap : 64;
	struct ledger_container *logs;

	if (l->n < l->cap)
		return 0;
	logs = reallocarray(l->logs, cap, sizeof(*logs));
	if (!logs)
		return -ENOMEM;
	l->logs = logs;
	l->cap = cap;
	return 0;
}

/* Where pods are, the log's directory is the container's; a link is all there is to see of it. */
static size_t container_path_len(const char *path, const struct pod_path *at)
{
	return at->restart_count < 0 ? strlen(path) : (size_t)(strrchr(path, '/') - path);
}

void ledger_put(struct ledger *l, const char *path, const struct ledger_entry *e)
{
	struct ledger_container *log;

	ledger_add(&l->total, e);
	if (!path) {
		ledger_add(&l->gone, e);
		return;
	}
	if (!l->failure)
		l->failure = make_room(l);
	if (l->failure)
		return;
	log = &l->logs[l->n++];
	*log = (struct ledger_container){.path = path, .at.restart_count = -1, .e = *e};
	log->named = pod_path_parse(path, &log->at);
	log->path_len = container_path_len(path, &log->at);
}

bool ledger_lost(const struct ledger *l)
{
	return ledger_lost_events(&l->total);
}

static int compare_slices(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t n = MIN(a_len, b_len);
	int r = n ? memcmp(a, b, n) : 0;

	return r ? r : (a_len > b_len) - (a_len < b_len);
}

/* 0: the same container. */
static int compare_containers(const struct ledger_container *a, const struct ledger_container *b)
{
	const struct pod_path *p = &a->at, *q = &b->at;
	int r = compare_slices(p->ns, p->ns_len, q->ns, q->ns_len);

	if (r == 0)
		r = compare_slices(p->pod, p->pod_len, q->pod, q->pod_len);
	if (r == 0)
		r = compare_slices(p->container, p->container_len, q->container, q->container_len);
	if (r == 0)
		r = compare_slices(p->uid, p->uid_len, q->uid, q->uid_len);
	if (r == 0 && !a->named)
		r = strcmp(a->path, b->path);
	return r;
}

static int compare_logs(const void *a, const void *b)
{
	const struct ledger_container *p = a, *q = b;
	int r = compare_containers(p, q);

	return r ? r : strcmp(p->path, q->path);
}

/* The logs become containers, in place. */
static void add_up(struct ledger *l)
{
	size_t n = 0;

	if (l->n)
		qsort(l->logs, l->n, sizeof(*l->logs), compare_logs);
	for (size_t i = 0; i < l->n; i++) {
		if (n && compare_containers(&l->logs[n - 1], &l->logs[i]) == 0)
			ledger_add(&l->logs[n - 1].e, &l->logs[i].e);
		else
			l->logs[n++] = l->logs[i];
	}
	l->n = n;
}

static bool entry_is_zero(const struct ledger_entry *e)
{
	return !(e->written | e->read | e->delivered | e->pending | e->uncounted | e->records) &&
	       !ledger_lost_events(e);
}

static int put_gone(struct ledger *l)
{
	int r;

	if (entry_is_zero(&l->gone))
		return 0;
	r = make_room(l);
	if (r < 0)
		return r;
	l->logs[l->n++] = (struct ledger_container){
		.path = "",
		.at = {.container = "(gone)", .container_len = 6, .restart_count = -1},
		.e = l->gone,
	};
	return 0;
}

int ledger_end(struct ledger *l, enum ledger_format format, struct buf *out)
{
	struct buf text = {0};
	int r = l->failure;

	if (r == 0) {
		add_up(l);
		r = put_gone(l);
	}
	if (r == 0)
		r = format == LEDGER_JSON ? ledger_text_json(l, &text)
					  : ledger_text_table(l, &text);
	if (r == 0)
		r = buf_add(out, text.data, text.len);
	buf_done(&text);
	free(l->logs);
	*l = (struct ledger){0};
	return r;
}
