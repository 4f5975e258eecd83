/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.h shows the shape. Written by hand and not with jansson: half a megabyte of text each
 * second for a page that is open would be ten times that in a tree of small objects.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "serve/status.h"
#include "serve/text.h"

static const char *const truth[] = {"false", "true"};

static uint64_t lost_bytes(const struct status_account *a)
{
	uint64_t bytes = 0;

	for (int i = 0; i < LOST_REASONS; i++)
		bytes += a->lost[i].bytes;
	return bytes;
}

static void put_lost(struct text *t, const char *name, const struct lost *lost, bool events)
{
	const char *before = "";

	text_printf(t, ",\"%s\":{", name);
	for (int i = 0; i < LOST_REASONS; i++) {
		if (!lost[i].bytes && !lost[i].events)
			continue;
		text_printf(t, "%s\"%s\":%" PRIu64, before, lost_name((enum lost_reason)i),
			    events ? lost[i].events : lost[i].bytes);
		before = ",";
	}
	text_add(t, "}");
}

/* Its members, without braces. */
static void put_account(struct text *t, const struct status_account *a)
{
	text_printf(t,
		    "\"written\":%" PRIu64 ",\"read\":%" PRIu64 ",\"delivered\":%" PRIu64
		    ",\"pending\":%" PRIu64 ",\"uncounted\":%" PRIu64 ",\"records\":%" PRIu64
		    ",\"lost_bytes\":%" PRIu64,
		    a->written, a->read, a->delivered, a->pending, a->uncounted, a->records,
		    lost_bytes(a));
	put_lost(t, "lost", a->lost, false);
	put_lost(t, "lost_events", a->lost, true);
}

/* Behind what stands there; null when it is not known. */
static void put_seconds(struct text *t, const char *name, bool known, int64_t ns)
{
	text_printf(t, ",\"%s\":", name);
	if (known)
		text_seconds(t, (uint64_t)MAX(ns, INT64_C(0)));
	else
		text_add(t, "null");
}

static void put_string(struct text *t, const char *name, const char *what)
{
	text_printf(t, ",\"%s\":", name);
	text_json(t, what);
}

static void put_head(struct text *t, const struct status *s)
{
	text_add(t, "{\"version\":");
	text_json(t, s->version);
	put_seconds(t, "now", true, s->wall_ns);
	put_seconds(t, "uptime_s", true, s->now_ns - s->start_ns);
	put_string(t, "rung", s->rung);
	put_string(t, "order", s->order);
	put_string(t, "proof", s->proof);
	put_string(t, "proof_why", s->proof_why);
	text_printf(t, ",\"scanned\":%s,\"total\":{", truth[s->scanned]);
	put_account(t, &s->total);
	text_add(t, "}");
}

static void put_files(struct text *t, const struct status *s)
{
	text_printf(t,
		    ",\"files\":{\"open\":%u,\"hot\":%u,\"idle\":%u,\"slow\":%u,\"closed\":%u,"
		    "\"uncounted\":%u,\"found\":%" PRIu64 ",\"vanished\":%" PRIu64
		    ",\"unreadable\":%" PRIu64 ",\"rotations\":%" PRIu64 ",\"truncations\":%" PRIu64
		    "}",
		    s->files_open, s->files_hot, s->files_idle, s->files_slow, s->files_closed,
		    s->files_uncounted, s->files_found, s->files_vanished, s->files_unreadable,
		    s->rotations, s->truncations);
	text_printf(t,
		    ",\"watch\":{\"dirs\":%u,\"dirs_unwatched\":%u,\"roots_missing\":%u,"
		    "\"events\":%" PRIu64 ",\"overflows\":%" PRIu64 ",\"rescans\":%" PRIu64
		    ",\"queue_depth\":%" PRIu64 ",\"queue_blocked\":%" PRIu64 "}",
		    s->watch_dirs, s->watch_dirs_unwatched, s->roots_missing, s->events,
		    s->overflows, s->rescans, s->queue_depth, s->queue_blocked);
}

static void put_machinery(struct text *t, const struct status *s)
{
	text_printf(t, ",\"held_bytes\":%" PRIu64 ",\"batches\":{\"total\":%u,\"out\":%u}",
		    s->held_bytes, s->batches, s->batches_out);
	put_seconds(t, "blocked_s", true, (int64_t)s->blocked_ns);
	text_printf(t,
		    ",\"bpf\":{\"misses\":%" PRIu64 ",\"refused\":%" PRIu64
		    ",\"no_records\":%" PRIu64 ",\"woken\":%" PRIu64 ",\"enrolled\":%" PRIu64 "}",
		    s->bpf_misses, s->bpf_refused, s->bpf_no_records, s->bpf_woken,
		    s->bpf_enrolled);
	text_printf(t,
		    ",\"lines\":{\"malformed\":%" PRIu64 ",\"cut\":%" PRIu64
		    "},\"cut_bytes\":%" PRIu64 ",\"hole_bytes\":%" PRIu64,
		    s->malformed_lines, s->cut_records, s->cut_bytes, s->hole_bytes);
	text_printf(t, ",\"checkpoint\":{\"saves\":%" PRIu64 ",\"failures\":%" PRIu64, s->saves,
		    s->save_failures);
	put_seconds(t, "age_s", s->save_age_ns >= 0, s->save_age_ns);
	text_printf(t, "},\"reload\":{\"done\":%" PRIu64 ",\"failed\":%" PRIu64 "}", s->reloads,
		    s->reload_failures);
}

static void put_latency(struct text *t, const struct status *s)
{
	static const double bounds[] = STATUS_LATENCY_BOUNDS;

	_Static_assert(ARRAY_SIZE(bounds) == STATUS_LATENCY_N, "as many as status.h says");
	text_add(t, ",\"latency\":{\"bounds_s\":[");
	for (size_t i = 0; i < STATUS_LATENCY_N; i++) {
		text_add(t, i ? "," : "");
		text_seconds(t, seconds_to_ns(bounds[i]));
	}
	text_add(t, "],\"counts\":[");
	for (size_t i = 0; i <= STATUS_LATENCY_N; i++)
		text_printf(t, "%s%" PRIu64, i ? "," : "", s->latency[i]);
	text_add(t, "],\"sum_s\":");
	text_seconds(t, seconds_to_ns(s->latency_sum_s));
	text_add(t, "},\"cpu_s\":");
	text_seconds(t, seconds_to_ns(s->cpu_s));
	text_printf(t, ",\"rss_bytes\":%" PRIu64, s->rss_bytes);
}

static void put_sinks(struct text *t, const struct status *s)
{
	text_add(t, ",\"sinks\":[");
	for (size_t i = 0; i < s->n_sinks; i++) {
		const struct status_sink *k = &s->sinks[i];

		text_add(t, i ? ",{\"name\":" : "{\"name\":");
		text_json(t, k->name);
		text_printf(t,
			    ",\"batches\":%" PRIu64 ",\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
			    ",\"invalid_records\":%" PRIu64 ",\"retries\":%" PRIu64
			    ",\"failing\":%s}",
			    k->batches, k->records, k->bytes, k->invalid_records, k->retries,
			    truth[k->failing]);
	}
	text_add(t, "]");
}

static void put_row(struct text *t, const struct status *s, const struct status_row *row)
{
	const char *text = s->text.data;

	text_add(t, "{\"namespace\":");
	text_json(t, text + row->ns);
	put_string(t, "pod", text + row->pod);
	put_string(t, "uid", text + row->uid);
	put_string(t, "container", text + row->container);
	put_string(t, "path", text + row->path);
	text_add(t, ",");
	put_account(t, &row->account);
	text_printf(t, ",\"backlog\":%" PRIu64 ",\"rate\":%" PRIu64, row->backlog_bytes, row->rate);
	put_seconds(t, "oldest_s", row->oldest_ns != 0, s->now_ns - row->oldest_ns);
	put_seconds(t, "deadline_s", row->deadline_ns >= 0, row->deadline_ns);
	text_printf(t, ",\"rotations\":%u,\"generations\":%u,\"next\":", row->rotations,
		    row->generations);
	if (row->next)
		text_printf(t, "%u", row->next);
	else
		text_add(t, "null");
	text_printf(t, ",\"hot\":%s,\"gone\":%s}", truth[row->hot], truth[row->gone]);
}

/* Which matters more comes first. */
static int compare_weight(const void *a, const void *b)
{
	const struct status_row *p = *(const struct status_row *const *)a;
	const struct status_row *q = *(const struct status_row *const *)b;
	uint64_t p_lost = lost_bytes(&p->account), q_lost = lost_bytes(&q->account);

	if (p->next != q->next) /* 0 - 1 is the greatest there is */
		return p->next - 1 < q->next - 1 ? -1 : 1;
	if (p_lost != q_lost)
		return p_lost > q_lost ? -1 : 1;
	if (p->rate != q->rate)
		return p->rate > q->rate ? -1 : 1;
	return p < q ? -1 : p > q; /* else as they are sorted */
}

static int put_rows(struct text *t, const struct status *s, size_t limit)
{
	_cleanup_free_ const struct status_row **rows = NULL;
	size_t n = limit ? MIN(limit, s->n_rows) : s->n_rows;

	rows = calloc(s->n_rows + 1, sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_rows; i++)
		rows[i] = &s->rows[i];
	qsort(rows, s->n_rows, sizeof(*rows), compare_weight);
	text_printf(t, ",\"containers_total\":%zu,\"containers\":[", s->n_rows);
	for (size_t i = 0; i < n; i++) {
		text_add(t, i ? "," : "");
		put_row(t, s, rows[i]);
	}
	text_add(t, "]}\n");
	return 0;
}

int status_json(const struct status *s, size_t limit, struct buf *out)
{
	struct text t = text_begin(out);
	int r;

	put_head(&t, s);
	put_files(&t, s);
	put_machinery(&t, s);
	put_latency(&t, s);
	put_sinks(&t, s);
	r = put_rows(&t, s, limit);
	if (r < 0 && !t.failure)
		t.failure = r;
	return text_end(&t);
}
