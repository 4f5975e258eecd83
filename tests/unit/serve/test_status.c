/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <jansson.h>

#include "base/buf.h"
#include "status_world.h"

#define T(name) cmocka_unit_test(name)

static const char *text(const struct status *s, size_t at)
{
	return s->text.data + at;
}

static void logs_of_a_container_become_one_row(void **state)
{
	struct status s;
	const struct status_row *row;

	status_sample(&s);
	assert_int_equal(s.n_rows, 4);
	assert_int_equal(status_merge(&s), 0);
	assert_int_equal(s.n_rows, 3);

	row = &s.rows[0]; /* without a name comes first */
	assert_string_equal(text(&s, row->path), "/var/log/\"odd\\\n.log");
	assert_string_equal(text(&s, row->ns), "");
	assert_string_equal(text(&s, row->uid), "");
	assert_int_equal(row->account.lost[LOST_TRUNCATED].bytes, 100);
	assert_true(row->gone);

	row = &s.rows[1];
	assert_string_equal(text(&s, row->ns), "shop");
	assert_string_equal(text(&s, row->pod), "web");
	assert_string_equal(text(&s, row->uid), UID_A);
	assert_string_equal(text(&s, row->container), "app");
	assert_string_equal(text(&s, row->path), PODS "shop_web_" UID_A "/app");
	assert_int_equal(row->account.written, 1500);
	assert_int_equal(row->account.pending, 20);
	assert_int_equal(row->rate, 15);
	assert_int_equal(row->oldest_ns, 90 * NS_PER_SEC);
	assert_int_equal(row->deadline_ns, 30 * NS_PER_SEC);
	assert_int_equal(row->rotations, 3);
	assert_int_equal(row->next, 2);
	assert_true(row->hot);
	assert_false(row->gone); /* one of them is there */

	row = &s.rows[2];
	assert_string_equal(text(&s, row->uid), UID_B);
	assert_int_equal(row->deadline_ns, -1);
	assert_int_equal(row->generations, 1);
	status_done(&s);
	assert_null(s.rows);
}

/* What order they come in makes no difference. */
static void earliest_wins_whatever_the_order(void **state)
{
	for (int first = 0; first < 2; first++) {
		struct status s = {0};

		for (int i = 0; i < 2; i++) {
			bool known = i == first;
			struct status_row *row =
				row_of(&s, known ? PODS "n_p_u/c/1.log" : PODS "n_p_u/c/0.log", 20);

			row->next = known ? 7 : 0;
			row->oldest_ns = known ? 3 : 0;
			row->deadline_ns = known ? 0 : -1; /* now, and not in sight */
		}
		assert_int_equal(status_merge(&s), 0);
		assert_int_equal(s.n_rows, 1);
		assert_int_equal(s.rows[0].next, 7);
		assert_int_equal(s.rows[0].oldest_ns, 3);
		assert_int_equal(s.rows[0].deadline_ns, 0);
		status_done(&s);
	}
}

/* Whatever root it was found below: its labels say nothing of that but for the path. */
static void a_container_below_two_roots_is_one(void **state)
{
	struct status s = {0};

	row_of(&s, "/b/n_p_u/c/0.log", 20);
	row_of(&s, "/a/n_p_u/c/0.log", 30);
	assert_int_equal(status_merge(&s), 0);
	assert_int_equal(s.n_rows, 1);
	assert_int_equal(s.rows[0].account.written, 50);
	assert_string_equal(text(&s, s.rows[0].path), "/a/n_p_u/c");
	status_done(&s);
}

static void links_keep_their_path(void **state)
{
	struct status s = {0};
	const char *path = "/var/log/containers/web_shop_app-0123456789abcdef.log";

	row_of(&s, path, 20);
	assert_int_equal(status_merge(&s), 0);
	assert_string_equal(text(&s, s.rows[0].path), path);
	assert_string_equal(text(&s, s.rows[0].ns), "shop");
	assert_string_equal(text(&s, s.rows[0].uid), "");
	status_done(&s);
}

static void what_looks_the_same_is_one(void **state)
{
	struct status s = {0};

	row_of(&s, "/logs/a\xff.log", 20);
	row_of(&s, "/logs/a\xfe.log", 30);
	row_of(&s, "/logs/b.log", 40);
	row_of(&s, "/logs/b.log", 50);
	row_of(&s, "/logs/\xe2\x82.log", 60);
	row_of(&s, PODS "n_p\xff_u/c\xff/0.log", 70);
	assert_int_equal(status_merge(&s), 0);
	assert_int_equal(s.n_rows, 4);
	assert_string_equal(text(&s, s.rows[0].path), "/logs/a\xef\xbf\xbd.log");
	assert_int_equal(s.rows[0].account.written, 50);
	assert_int_equal(s.rows[1].account.written, 90);
	assert_string_equal(text(&s, s.rows[2].path), "/logs/\xef\xbf\xbd.log");
	assert_string_equal(text(&s, s.rows[3].pod), "p\xef\xbf\xbd");
	assert_string_equal(text(&s, s.rows[3].container), "c\xef\xbf\xbd");
	assert_string_equal(text(&s, s.rows[3].path), PODS "n_p\xef\xbf\xbd_u/c\xef\xbf\xbd");
	status_done(&s);
}

static void sinks_are_told_apart(void **state)
{
	struct status s = {.n_sinks = STATUS_SINKS_MAX};

	for (size_t i = 0; i < s.n_sinks; i++) /* each fills its place to the last byte */
		memset(s.sinks[i].name, i < 4 ? 'x' : 'a' + (int)i, sizeof(s.sinks[i].name));
	snprintf(s.sinks[4].name, sizeof(s.sinks[4].name), "file:\xc3");
	for (int i = 5; i < 9; i++)
		snprintf(s.sinks[i].name, sizeof(s.sinks[i].name), i == 6 ? "null#2" : "null");
	assert_int_equal(status_merge(&s), 0);
	assert_string_equal(s.sinks[4].name, "file:?");
	assert_string_equal(s.sinks[5].name, "null");
	assert_string_equal(s.sinks[6].name, "null#2");
	assert_string_equal(s.sinks[7].name, "null#3");
	assert_string_equal(s.sinks[8].name, "null#4");
	for (size_t i = 0; i < s.n_sinks; i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(s.sinks[i].name, s.sinks[j].name);
	status_done(&s);
}

static void many_rows(void **state)
{
	struct status s = {0};
	char path[200];

	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), PODS "ns%d_pod%d_uid%d/app/%d.log", i % 7, i % 5000,
			 i % 5000, i / 5000);
		row_of(&s, path, 20);
	}
	assert_int_equal(status_merge(&s), 0);
	for (size_t i = 0; i < s.n_rows; i++)
		assert_true(s.rows[i].account.written % 20 == 0);
	status_done(&s);
}

/* JSON */

static json_t *json_of(struct status *s, size_t limit)
{
	struct buf out = {0};
	json_error_t e;
	json_t *j;

	assert_int_equal(buf_add(&out, "> ", 2), 0); /* what is there already stays */
	assert_int_equal(status_json(s, limit, &out), 0);
	assert_memory_equal(out.data, "> {", 3);
	assert_int_equal(out.data[out.len - 1], '\n');
	j = json_loadb(out.data + 2, out.len - 2, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK,
		       &e);
	if (!j)
		fail_msg("%s at %d: %.*s", e.text, e.position, (int)out.len, out.data);
	buf_done(&out);
	return j;
}

static json_int_t integer(const json_t *j, const char *key)
{
	const json_t *value = json_object_get(j, key);

	if (!json_is_integer(value))
		fail_msg("%s is not an integer", key);
	return json_integer_value(value);
}

static double number(const json_t *j, const char *key)
{
	const json_t *value = json_object_get(j, key);

	if (!json_is_number(value))
		fail_msg("%s is not a number", key);
	return json_number_value(value);
}

/* Only these, all of them: {"a":i,"b":s,…} where i is an integer, n a number, s a string, b a bool,
 * o an object, a an array, N null or a number. */
static void assert_shape(const json_t *j, const char *const *want, size_t n)
{
	assert_int_equal(json_object_size(j), n);
	for (size_t i = 0; i < n; i++) {
		const json_t *value = json_object_get(j, want[i] + 2);
		bool good = false;

		switch (want[i][0]) {
		case 'i':
			good = json_is_integer(value);
			break;
		case 'n':
			good = json_is_number(value);
			break;
		case 'N':
			good = json_is_number(value) || json_is_null(value);
			break;
		case 's':
			good = json_is_string(value);
			break;
		case 'b':
			good = json_is_boolean(value);
			break;
		case 'o':
			good = json_is_object(value);
			break;
		default:
			good = json_is_array(value);
		}
		if (!good)
			fail_msg("no %s, or not of that kind", want[i]);
	}
}

static void json_has_the_shape_of_the_header(void **state)
{
	static const char *const top[] = {
		"s version",   "n now",        "n uptime_s",   "s rung",       "s order",
		"s proof",     "s proof_why",  "b scanned",    "o total",      "o files",
		"o watch",     "i held_bytes", "o batches",    "n blocked_s",  "o bpf",
		"o lines",     "i cut_bytes",  "i hole_bytes", "o checkpoint", "o reload",
		"o latency",   "n cpu_s",      "i rss_bytes",  "a sinks",      "i containers_total",
		"a containers"};
	static const char *const total[] = {"i written",    "i read",      "i delivered",
					    "i pending",    "i uncounted", "i records",
					    "i lost_bytes", "o lost",      "o lost_events"};
	static const char *const container[] = {
		"s namespace", "s pod",        "s uid",        "s container",   "s path",
		"i written",   "i read",       "i delivered",  "i pending",     "i uncounted",
		"i records",   "i lost_bytes", "o lost",       "o lost_events", "i backlog",
		"i rate",      "N oldest_s",   "N deadline_s", "i rotations",   "i generations",
		"N next",      "b hot",        "b gone"};
	static const char *const sink[] = {"s name",   "i batches",         "i records",
					   "i bytes",  "i invalid_records", "i retries",
					   "b failing"};
	struct status s;
	json_t *j;

	status_sample(&s);
	assert_int_equal(status_merge(&s), 0);
	j = json_of(&s, 0);
	assert_shape(j, top, ARRAY_SIZE(top));
	assert_shape(json_object_get(j, "total"), total, ARRAY_SIZE(total));
	assert_shape(json_array_get(json_object_get(j, "containers"), 0), container,
		     ARRAY_SIZE(container));
	assert_shape(json_array_get(json_object_get(j, "sinks"), 0), sink, ARRAY_SIZE(sink));
	json_decref(j);
	status_done(&s);
}

static void json_says_what_the_status_says(void **state)
{
	const json_t *list, *c, *latency, *lost;
	struct status s;
	json_t *j;

	status_sample(&s);
	assert_int_equal(status_merge(&s), 0);
	j = json_of(&s, 0);
	assert_true(number(j, "now") == 1700000000.25);
	assert_int_equal(integer(j, "uptime_s"), 60);
	assert_true(number(j, "blocked_s") == 1.5);
	assert_true(number(j, "cpu_s") == 0.125);
	assert_string_equal(json_string_value(json_object_get(j, "proof_why")), "a \"reason\"");
	assert_true(number(json_object_get(j, "checkpoint"), "age_s") == 0.5);
	lost = json_object_get(json_object_get(j, "total"), "lost");
	assert_int_equal(json_object_size(lost), 1); /* what occurred */
	assert_int_equal(integer(lost, "truncated"), 100);
	lost = json_object_get(json_object_get(j, "total"), "lost_events");
	assert_int_equal(json_object_size(lost), 1);
	assert_int_equal(integer(lost, "truncated"), 2);
	latency = json_object_get(j, "latency");
	assert_int_equal(json_array_size(json_object_get(latency, "counts")), STATUS_LATENCY_N + 1);
	assert_int_equal(json_array_size(json_object_get(latency, "bounds_s")), STATUS_LATENCY_N);
	assert_true(json_number_value(json_array_get(json_object_get(latency, "bounds_s"), 1)) ==
		    0.0025);
	list = json_object_get(j, "sinks");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "name")),
			    "stdout#2");
	list = json_object_get(j, "containers");
	assert_int_equal(json_array_size(list), 3);
	c = json_array_get(list, 0); /* who is next */
	assert_string_equal(json_string_value(json_object_get(c, "uid")), UID_B);
	assert_true(json_is_null(json_object_get(c, "oldest_s")));
	assert_true(json_is_null(json_object_get(c, "deadline_s")));
	c = json_array_get(list, 1);
	assert_string_equal(json_string_value(json_object_get(c, "uid")), UID_A);
	assert_int_equal(integer(c, "oldest_s"), 10);
	assert_int_equal(integer(c, "deadline_s"), 30);
	c = json_array_get(list, 2);
	assert_string_equal(json_string_value(json_object_get(c, "path")),
			    "/var/log/\"odd\\\n.log");
	assert_true(json_is_null(json_object_get(c, "next")));
	json_decref(j);
	status_done(&s);
}

static void json_of_nothing(void **state)
{
	struct status s = {.save_age_ns = -1};
	json_t *j;

	assert_int_equal(status_merge(&s), 0);
	j = json_of(&s, 0);
	assert_true(json_is_null(json_object_get(json_object_get(j, "checkpoint"), "age_s")));
	assert_int_equal(json_array_size(json_object_get(j, "containers")), 0);
	json_decref(j);
	status_done(&s);
}

/* next, then lost bytes, then rate. */
static void limit_keeps_what_matters_most(void **state)
{
	static const struct {
		const char *path;
		unsigned next;
		uint64_t lost, rate;
	} rows[] = {{"/quiet", 0, 0, 1},
		    {"/fast", 0, 0, 100},
		    {"/lost", 0, 50, 0},
		    {"/second", 2, 90, 9},
		    {"/first", 1, 0, 0}};
	static const char *const order[] = {"/first", "/second", "/lost", "/fast", "/quiet"};
	struct status s = {0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct status_row *row = row_of(&s, rows[i].path, 20);

		row->next = rows[i].next;
		row->rate = rows[i].rate;
		row->account.lost[LOST_ROTATED_AWAY].bytes = rows[i].lost;
	}
	assert_int_equal(status_merge(&s), 0);
	for (size_t limit = 0; limit < 8; limit++) {
		json_t *j = json_of(&s, limit);
		const json_t *list = json_object_get(j, "containers");

		assert_int_equal(integer(j, "containers_total"), 5);
		assert_int_equal(json_array_size(list), limit ? MIN(limit, (size_t)5) : 5);
		for (size_t i = 0; i < json_array_size(list); i++)
			assert_string_equal(
				json_string_value(json_object_get(json_array_get(list, i), "path")),
				order[i]);
		json_decref(j);
	}
	status_done(&s);
}

/* Unless it is UTF-8 by then, jansson refuses it. */
static void json_of_any_path(void **state)
{
	struct status s = {0};
	json_t *j;

	srand(1);
	for (int i = 0; i < 500; i++) {
		char path[64] = "/";
		int n = rand() % 40;

		for (int k = 1; k <= n; k++)
			path[k] = (char)(1 + rand() % 255);
		row_of(&s, path, 20);
	}
	assert_int_equal(status_merge(&s), 0);
	j = json_of(&s, 0);
	assert_int_equal(json_array_size(json_object_get(j, "containers")), s.n_rows);
	json_decref(j);
	status_done(&s);
}

static const struct CMUnitTest tests[] = {
	T(logs_of_a_container_become_one_row),
	T(earliest_wins_whatever_the_order),
	T(a_container_below_two_roots_is_one),
	T(links_keep_their_path),
	T(what_looks_the_same_is_one),
	T(sinks_are_told_apart),
	T(many_rows),
	T(json_has_the_shape_of_the_header),
	T(json_says_what_the_status_says),
	T(json_of_nothing),
	T(limit_keeps_what_matters_most),
	T(json_of_any_path),
};

RUN_TESTS(tests)
