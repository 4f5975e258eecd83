/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon may be of another version than this program: a member it does not know is unknown
 * here, one this does not know is passed on to scripts and not shown. What is there but of another
 * type is an error, because a guess would be shown as a measurement.
 *
 * For scripts the whole answer but its rows goes through as it is, under "status".
 */
#include "cli/top_status.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "cli/top_columns.h"
#include "cli/top_frame.h"

#define SAY(why, ...) snprintf((why), TOP_WHY_MAX, __VA_ARGS__)

static const char *type_name(const json_t *j)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object",    [JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",     [JSON_INTEGER] = "a number",
		[JSON_REAL] = "a number",       [JSON_TRUE] = "a truth value",
		[JSON_FALSE] = "a truth value", [JSON_NULL] = "null",
	};

	return j ? names[json_typeof(j)] : "nothing";
}

/* of.key: 0, also when there is none or it is null: *ret stays as it was. */
static int get_number(const json_t *of, const char *key, double *ret, char *why)
{
	const json_t *j = json_object_get(of, key);

	if (!j || json_is_null(j))
		return 0;
	if (!json_is_number(j)) {
		SAY(why, "\"%s\": expected a number, got %s", key, type_name(j));
		return -EBADMSG;
	}
	*ret = json_number_value(j);
	return 0;
}

static int get_name(const json_t *of, const char *key, struct top_frame *f, size_t *ret, char *why)
{
	const json_t *j = json_object_get(of, key);

	if (!j || json_is_null(j))
		return 0;
	if (!json_is_string(j)) {
		SAY(why, "\"%s\": expected a string, got %s", key, type_name(j));
		return -EBADMSG;
	}
	*ret = top_frame_text(f, json_string_value(j), json_string_length(j));
	return 0;
}

static int row_parse(const json_t *c, struct top_frame *f, char *why)
{
	static const struct {
		enum top_value value;
		const char *key;
	} values[] = {
		{TOP_RATE, "rate"},           {TOP_BACKLOG, "backlog"},
		{TOP_DEADLINE, "deadline_s"}, {TOP_AGE, "oldest_s"},
		{TOP_DELIVERED, "delivered"}, {TOP_LOST, "lost_bytes"},
		{TOP_ROTATIONS, "rotations"}, {TOP_WRITTEN, "written"},
	};
	static const char *const names[TOP_NAMES] = {"namespace", "pod", "uid", "container",
						     "path"};
	struct top_row *r = top_frame_row(f);

	if (!r) {
		SAY(why, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (get_number(c, values[i].key, &r->value[values[i].value], why) < 0)
			return -EBADMSG;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (get_name(c, names[i], f, &r->name[i], why) < 0)
			return -EBADMSG;
	r->hot = json_is_true(json_object_get(c, "hot"));
	r->gone = json_is_true(json_object_get(c, "gone"));
	return 0;
}

static int rows_parse(const json_t *root, struct top_frame *f, char *why)
{
	const json_t *rows = json_object_get(root, "containers"), *c;
	char inner[TOP_WHY_MAX];
	size_t i;

	if (!json_is_array(rows)) {
		SAY(why, "\"containers\": expected an array, got %s", type_name(rows));
		return -EBADMSG;
	}
	json_array_foreach(rows, i, c)
	{
		int r = -EBADMSG;

		if (!json_is_object(c))
			snprintf(inner, sizeof(inner), "expected an object, got %s", type_name(c));
		else
			r = row_parse(c, f, inner);
		if (r < 0) {
			SAY(why, "\"containers\"[%zu]: %.900s", i, inner);
			return r;
		}
	}
	return 0;
}

/* What is missing or odd in the head is not shown. */
static const char *text_of(const json_t *of, const char *key)
{
	const char *text = json_string_value(json_object_get(of, key));

	return text ? text : "?";
}

static const char *number_of(const json_t *of, const char *key, char *out)
{
	const json_t *j = json_object_get(of, key);

	return top_number(json_is_number(j) ? json_number_value(j) : NAN, out, 16);
}

static void put_first(const json_t *root, struct buf *head)
{
	const json_t *up = json_object_get(root, "uptime_s");
	const char *why = text_of(root, "proof_why");
	char time[16];

	buf_printf(
		head, "hotdrain %s  up %s  rung %s  order %s  proof %s%s%s%s\n",
		text_of(root, "version"),
		top_seconds(json_is_number(up) ? json_number_value(up) : NAN, time, sizeof(time)),
		text_of(root, "rung"), text_of(root, "order"), text_of(root, "proof"),
		*why && *why != '?' ? ": " : "", *why != '?' ? why : "",
		json_is_false(json_object_get(root, "scanned")) ? "  first scan under way" : "");
}

static void put_totals(const json_t *root, struct top_frame *f, struct buf *head)
{
	static const char *const keys[] = {"pending", "delivered", "written"};
	json_t *total = json_object_get(root, "total"), *lost, *bytes;
	const json_t *files = json_object_get(root, "files");
	const char *reason, *before = " (";
	char n[16], m[16];

	/* What matters most stands first: the line may be cut. */
	buf_printf(head, "lost %s", number_of(total, "lost_bytes", n));
	lost = json_object_get(total, "lost");
	json_object_foreach(lost, reason, bytes)
	{
		buf_printf(head, "%s%s %s", before, reason, number_of(lost, reason, n));
		before = ", ";
	}
	f->alarm = json_object_size(lost) > 0;
	buf_printf(head, "%s  held %s", f->alarm ? ")" : "", number_of(root, "held_bytes", n));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		buf_printf(head, "  %s %s", keys[i], number_of(total, keys[i], n));
	buf_printf(head, "  containers %s", number_of(root, "containers_total", n));
	buf_printf(head, "  files %s (%s hot)\n", number_of(files, "open", n),
		   number_of(files, "hot", m));
}

static void put_sinks(const json_t *root, struct top_frame *f, struct buf *head)
{
	const json_t *sink;
	char bytes[16], retries[16];
	size_t i;

	buf_printf(head, "sinks");
	json_array_foreach(json_object_get(root, "sinks"), i, sink)
	{
		bool failing = json_is_true(json_object_get(sink, "failing"));

		buf_printf(head, "%s %s %s", i ? " |" : "", text_of(sink, "name"),
			   number_of(sink, "bytes", bytes));
		if (strcmp(number_of(sink, "retries", retries), "0") != 0 && *retries != '-')
			buf_printf(head, ", %s retries", retries);
		if (failing)
			buf_printf(head, ", FAILING");
		f->alarm = f->alarm || failing;
	}
	buf_printf(head, "\n");
}

/* {"a":1,…} without its rows, as a member: ,"status":{"a":1,…} */
static size_t members_of(json_t *root, struct top_frame *f)
{
	_cleanup_(buf_done) struct buf b = {0};
	_cleanup_free_ char *text = NULL;

	json_object_del(root, "containers");
	text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
	if (!text || buf_printf(&b, ",\"status\":") < 0 || buf_add(&b, text, strlen(text)) < 0)
		return 0;
	return top_frame_text(f, b.data, b.len);
}

static int root_parse(json_t *root, struct top_frame *f, char *why)
{
	_cleanup_(buf_done) struct buf head = {0};
	int r;

	if (!json_is_object(root) || !json_is_object(json_object_get(root, "total"))) {
		SAY(why, "expected an object with \"total\" and \"containers\", got %s",
		    json_is_object(root) ? "another one" : type_name(root));
		return -EBADMSG;
	}
	r = get_number(root, "now", &f->now_s, why);
	if (r == 0)
		r = rows_parse(root, f, why);
	if (r < 0)
		return r;
	put_first(root, &head);
	put_totals(root, f, &head);
	put_sinks(root, f, &head);
	f->head = top_frame_text(f, head.data, head.len);
	f->members = members_of(root, f);
	return 0;
}

int top_status_parse(const char *text, size_t len, struct top_frame *f, char why[TOP_WHY_MAX])
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	int r = -EBADMSG;

	top_frame_clear(f);
	f->from = TOP_DAEMON;
	if (!root)
		SAY(why, "expected the status as JSON: line %d, column %d: %s", error.line,
		    error.column, error.text);
	else
		r = root_parse(root, f, why);
	json_decref(root);
	if (r < 0)
		top_frame_clear(f);
	return r;
}
