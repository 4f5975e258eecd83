/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_text.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/sys.h"
#include "cli/top_columns.h"
#include "cli/top_frame.h"
#include "output/escape.h"

#define LINE_MAX_W 1000 /* columns of a line of the head: its text is the daemon's */

static int put_head(const struct top_frame *f, struct buf *out)
{
	const char *text = f->text.data ? f->text.data + f->head : "";
	char line[TOP_CELL_MAX], cell[TOP_CELL_MAX];
	int r = 0;

	while (*text && r == 0) {
		size_t len = strcspn(text, "\n"), n = MIN(len, sizeof(line) - 1);

		memcpy(line, text, n);
		line[n] = '\0';
		r = buf_printf(out, "%s\n", top_fit(line, LINE_MAX_W, cell));
		text += len + (text[len] == '\n');
	}
	return r;
}

static int put_line(const struct top_frame *f, const struct top_row *row,
		    const struct top_layout *l, struct buf *out)
{
	char cell[TOP_CELL_MAX];
	int r = 0;

	for (size_t i = 0; i < l->n && r == 0; i++)
		r = buf_printf(out, "%s%s", i ? " " : "", top_cell(f, row, l, i, cell));
	return r == 0 ? buf_add(out, "\n", 1) : r;
}

int top_text_plain(const struct top_frame *f, size_t limit, struct buf *out)
{
	struct top_layout l;
	int r = put_head(f, out);

	top_layout(f, 0, limit, TOP_WIDE, &l);
	if (r == 0)
		r = put_line(f, NULL, &l, out);
	for (size_t i = 0; i < f->n && i < limit && r == 0; i++)
		r = put_line(f, &f->rows[i], &l, out);
	return r;
}

int top_text_string(struct buf *out, const char *text)
{
	size_t len = strlen(text);
	int r = buf_reserve(out, ESCAPE_ROOM(len) + 2);
	bool invalid;

	if (r < 0)
		return r;
	out->data[out->len++] = '"';
	out->len = (size_t)(escape_json(out->data + out->len, text, len, &invalid) - out->data);
	return buf_add(out, "\"", 1);
}

int top_text_member(struct buf *out, const char *name, const char *text)
{
	int r = buf_printf(out, ",\"%s\":", name);

	return r == 0 ? top_text_string(out, text) : r;
}

int top_text_number(struct buf *out, const char *name, double x)
{
	if (!isfinite(x))
		return buf_printf(out, ",\"%s\":null", name);
	return buf_printf(out, x == floor(x) && fabs(x) < 1e15 ? ",\"%s\":%.0f" : ",\"%s\":%.3f",
			  name, x);
}

static int put_row(const struct top_frame *f, const struct top_row *row, struct buf *out)
{
	static const char *const names[] = {"namespace", "pod", "uid", "container", "path"};
	static const struct {
		unsigned from;
		enum top_value value;
		const char *key;
	} values[] = {
		{TOP_DAEMON | TOP_OWN, TOP_RATE, "rate"},
		{TOP_DAEMON, TOP_BACKLOG, "backlog"},
		{TOP_DAEMON, TOP_DEADLINE, "deadline_s"},
		{TOP_DAEMON, TOP_AGE, "oldest_s"},
		{TOP_DAEMON, TOP_DELIVERED, "delivered"},
		{TOP_DAEMON, TOP_LOST, "lost_bytes"},
		{TOP_DAEMON | TOP_OWN, TOP_ROTATIONS, "rotations"},
		{TOP_OWN, TOP_WRITE_RATE, "writes_per_s"},
		{TOP_OWN, TOP_MEAN, "bytes_per_write"},
		{TOP_OWN, TOP_SIZE, "size"},
		{TOP_OWN, TOP_IDLE, "idle_s"},
		{TOP_DAEMON | TOP_OWN, TOP_WRITTEN, "written"},
		{TOP_OWN, TOP_WRITES, "writes"},
	};
	int r = buf_printf(out, "{\"%s\":", names[0]);

	if (r == 0)
		r = top_text_string(out, top_frame_name(f, row, TOP_NAMESPACE));
	for (size_t i = 1; i < ARRAY_SIZE(names) && r == 0; i++)
		r = top_text_member(out, names[i], top_frame_name(f, row, (enum top_name)i));
	for (size_t i = 0; i < ARRAY_SIZE(values) && r == 0; i++)
		if (values[i].from & f->from)
			r = top_text_number(out, values[i].key, row->value[values[i].value]);
	if (r == 0)
		r = buf_printf(out, ",\"hot\":%s,\"gone\":%s}", row->hot ? "true" : "false",
			       row->gone ? "true" : "false");
	return r;
}

int top_text_json(const struct top_frame *f, size_t limit, struct buf *out)
{
	const char *members = f->text.data ? f->text.data + f->members : "";
	int r = buf_printf(out, "{\"time\":%.3f,\"source\":\"%s\"", f->now_s,
			   f->from == TOP_DAEMON ? "daemon" : "self");

	if (r == 0 && f->from == TOP_OWN)
		r = top_text_number(out, "interval_s", f->interval_s);
	if (r == 0)
		r = buf_add(out, members, strlen(members));
	if (r == 0)
		r = buf_printf(out, ",\"rows_total\":%zu,\"rows\":[", f->n);
	for (size_t i = 0; i < f->n && i < limit && r == 0; i++) {
		if (i)
			r = buf_add(out, ",", 1);
		if (r == 0)
			r = put_row(f, &f->rows[i], out);
	}
	return r == 0 ? buf_printf(out, "]}\n") : r;
}
