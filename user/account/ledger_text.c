/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two shapes of one content. JSON is for programs and has every figure of every container; the
 * table is for a person at a terminal, who wants to see the losses and what the figures are worth
 * without looking for them: they stand below it, one line each.
 *
 * Names come from paths, and a path is whatever somebody called a file. In JSON they are escaped
 * like a message; in the table each control character is a '?', as in the log, so that a file's
 * name cannot write to a terminal. Widths count bytes: a name beyond ASCII moves its row a little.
 */
#include "account/ledger_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "output/escape.h"

#define NAME_WIDTH_MAX 64 /* a longer name moves its own row */
#define DIGITS_MAX     20
#define COLUMNS        6

static const char *const proof_names[] = {
	[LEDGER_PROVEN] = "proven",
	[LEDGER_ESTIMATED] = "estimated",
	[LEDGER_LOWER_BOUND] = "lower_bound",
};

static int put(struct buf *out, const char *text)
{
	return buf_add(out, text, strlen(text));
}

/* "NAME":"TEXT" */
static int put_json_string(struct buf *out, const char *name, const char *text, size_t len)
{
	int r = buf_printf(out, "\"%s\":\"", name);
	bool invalid;

	if (r == 0)
		r = buf_reserve(out, ESCAPE_ROOM(len));
	if (r < 0)
		return r;
	out->len = (size_t)(escape_json(out->data + out->len, text, len, &invalid) - out->data);
	return put(out, "\"");
}

/* {REASON:N,…} */
static int put_json_lost(struct buf *out, const struct ledger_entry *e, bool events)
{
	const char *before = "";
	int r = put(out, events ? ",\"lost_events\":{" : ",\"lost\":{");

	for (int i = 0; r == 0 && i < LOST_REASONS; i++) {
		const struct lost *lost = &e->lost[i];

		if (!lost->bytes && !lost->events)
			continue;
		r = buf_printf(out, "%s\"%s\":%" PRIu64, before, lost_name((enum lost_reason)i),
			       events ? lost->events : lost->bytes);
		before = ",";
	}
	return r < 0 ? r : put(out, "}");
}

static int put_json_fields(struct buf *out, const struct ledger_entry *e)
{
	int r = buf_printf(out,
			   "\"written\":%" PRIu64 ",\"read\":%" PRIu64 ",\"delivered\":%" PRIu64
			   ",\"pending\":%" PRIu64 ",\"uncounted\":%" PRIu64,
			   e->written, e->read, e->delivered, e->pending, e->uncounted);

	if (r == 0)
		r = put_json_lost(out, e, false);
	return r < 0 ? r : put_json_lost(out, e, true);
}

static int put_json_container(struct buf *out, const struct ledger_container *c)
{
	const struct {
		const char *name, *text;
		size_t len;
	} strings[] = {
		{"namespace", c->at.ns, c->at.ns_len},
		{"podname", c->at.pod, c->at.pod_len},
		{"poduuid", c->at.uid, c->at.uid_len},
		{"containername", c->at.container, c->at.container_len},
		{"path", c->path, c->path_len},
	};
	int r = put(out, "{");

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(strings); i++) {
		r = put_json_string(out, strings[i].name, strings[i].text, strings[i].len);
		if (r == 0)
			r = put(out, ",");
	}
	if (r == 0)
		r = buf_printf(out, "\"log_logged_bytes_total\":%" PRIu64 ",", c->e.written);
	if (r == 0)
		r = put_json_fields(out, &c->e);
	return r < 0 ? r : put(out, "}");
}

int ledger_text_json(const struct ledger *l, struct buf *out)
{
	int r = put(out, "{\"total\":{");

	if (r == 0)
		r = put_json_fields(out, &l->total);
	if (r == 0)
		r = put(out, "},\"containers\":[");
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		r = i ? put(out, ",") : 0;
		if (r == 0)
			r = put_json_container(out, &l->logs[i]);
	}
	if (r == 0)
		r = buf_printf(out, "],\"proof\":\"%s\",", proof_names[l->head.proof]);
	if (r == 0)
		r = put_json_string(out, "why", l->head.why,
				    strnlen(l->head.why, sizeof(l->head.why)));
	return r < 0 ? r : buf_printf(out, ",\"missed\":%" PRIu64 "}\n", l->head.missed);
}

static bool same_slice(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

/* But for the UID. */
static bool same_names(const struct ledger_container *a, const struct ledger_container *b)
{
	const struct pod_path *p = &a->at, *q = &b->at;

	return a->named && b->named && same_slice(p->ns, p->ns_len, q->ns, q->ns_len) &&
	       same_slice(p->pod, p->pod_len, q->pod, q->pod_len) &&
	       same_slice(p->container, p->container_len, q->container, q->container_len);
}

static int add_slice(struct buf *name, const char *text, size_t len)
{
	size_t at = name->len;
	int r = buf_add(name, text, len);

	for (; r == 0 && at < name->len; at++)
		if ((unsigned char)name->data[at] < 0x20 || name->data[at] == 0x7f)
			name->data[at] = '?';
	return r;
}

/* NAMESPACE/POD/CONTAINER, with the UID where another pod has the same names; or the path. */
static int name_of(const struct ledger *l, size_t i, struct buf *name)
{
	const struct ledger_container *c = &l->logs[i];
	const struct pod_path *at = &c->at;
	int r = 0;

	name->len = 0;
	if (c->path_len && !c->named)
		return add_slice(name, c->path, c->path_len);
	if (c->named) {
		r = add_slice(name, at->ns, at->ns_len);
		if (r == 0)
			r = put(name, "/");
		if (r == 0)
			r = add_slice(name, at->pod, at->pod_len);
		if (r == 0)
			r = put(name, "/");
	}
	if (r == 0)
		r = add_slice(name, at->container, at->container_len);
	if (r < 0 || !at->uid_len ||
	    !((i && same_names(c, c - 1)) || (i + 1 < l->n && same_names(c, c + 1))))
		return r;
	r = put(name, " (");
	if (r == 0)
		r = add_slice(name, at->uid, at->uid_len);
	return r < 0 ? r : put(name, ")");
}

struct layout {
	int name_width, widths[COLUMNS];
};

static const char *const columns[COLUMNS] = {"WRITTEN", "READ", "DELIVERED",
					     "PENDING", "LOST", "UNCOUNTED"};

static void figures_of(const struct ledger_entry *e, uint64_t figures[COLUMNS])
{
	figures[0] = e->written;
	figures[1] = e->read;
	figures[2] = e->delivered;
	figures[3] = e->pending;
	figures[4] = ledger_lost_bytes(e);
	figures[5] = e->uncounted;
}

static void widen(struct layout *t, const struct ledger_entry *e)
{
	uint64_t figures[COLUMNS];

	figures_of(e, figures);
	for (int i = 0; i < COLUMNS; i++)
		t->widths[i] = MAX(t->widths[i], snprintf(NULL, 0, "%" PRIu64, figures[i]));
}

static int put_row(struct buf *out, const struct layout *t, const char *name, size_t name_len,
		   const struct ledger_entry *e)
{
	int blanks = t->name_width - (int)MIN(name_len, (size_t)t->name_width);
	int r = buf_add(out, name, name_len);
	uint64_t figures[COLUMNS];

	figures_of(e, figures);
	if (r == 0)
		r = buf_printf(out, "%*s", blanks, "");
	for (int i = 0; r == 0 && i < COLUMNS; i++)
		r = buf_printf(out, "  %*" PRIu64, t->widths[i], figures[i]);
	return r < 0 ? r : put(out, "\n");
}

/* One row each, the widest figures first looked for. */
static int put_rows(struct buf *out, const struct ledger *l, struct buf *name)
{
	struct layout t = {.name_width = (int)strlen("CONTAINER")};
	int r = 0;

	for (int i = 0; i < COLUMNS; i++)
		t.widths[i] = (int)strlen(columns[i]);
	widen(&t, &l->total);
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		widen(&t, &l->logs[i].e);
		r = name_of(l, i, name);
		if (name->len > (size_t)t.name_width)
			t.name_width = (int)MIN(name->len, (size_t)NAME_WIDTH_MAX);
	}
	if (r == 0)
		r = buf_printf(out, "%-*s", t.name_width, "CONTAINER");
	for (int i = 0; r == 0 && i < COLUMNS; i++)
		r = buf_printf(out, "  %*s", t.widths[i], columns[i]);
	if (r == 0)
		r = put(out, "\n");
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		r = name_of(l, i, name);
		if (r == 0)
			r = put_row(out, &t, name->data, name->len, &l->logs[i].e);
	}
	return r < 0 ? r : put_row(out, &t, "TOTAL", strlen("TOTAL"), &l->total);
}

static int put_losses(struct buf *out, const struct ledger *l, struct buf *name)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++) {
		const struct ledger_entry *e = &l->logs[i].e;

		if (!ledger_lost_events(e))
			continue;
		r = name_of(l, i, name);
		for (int why = 0; r == 0 && why < LOST_REASONS; why++)
			if (e->lost[why].bytes || e->lost[why].events)
				r = buf_printf(out,
					       "lost in %.*s: %s, %" PRIu64 " bytes, %" PRIu64
					       " times\n",
					       (int)name->len, name->data,
					       lost_name((enum lost_reason)why), e->lost[why].bytes,
					       e->lost[why].events);
	}
	return r;
}

static int put_proof(struct buf *out, const struct ledger_head *head)
{
	switch (head->proof) {
	case LEDGER_PROVEN:
		return put(out, "proven: every truncation and every write was counted\n");
	case LEDGER_ESTIMATED:
		return buf_printf(out, "estimated: the kernel left out %" PRIu64 " counts\n",
				  head->missed);
	case LEDGER_LOWER_BOUND:
		break;
	}
	return buf_printf(out, "lower bound: %.*s\n", (int)sizeof(head->why), head->why);
}

/* That it does not close is said, and not left to be found. */
static int put_difference(struct buf *out, const struct ledger_entry *total)
{
	int64_t left_over = ledger_check(total);

	if (!left_over)
		return 0;
	return buf_printf(out, "does not close: written and uncounted are %" PRIu64 " bytes %s\n",
			  left_over < 0 ? -(uint64_t)left_over : (uint64_t)left_over,
			  left_over < 0 ? "less than delivered, pending and lost"
					: "more than delivered, pending and lost");
}

int ledger_text_table(const struct ledger *l, struct buf *out)
{
	_cleanup_(buf_done) struct buf name = {0};
	int r = buf_reserve(&name, 1);

	if (r == 0)
		r = put_rows(out, l, &name);
	if (r == 0)
		r = put_losses(out, l, &name);
	if (r == 0)
		r = put_difference(out, &l->total);
	return r < 0 ? r : put_proof(out, &l->head);
}
