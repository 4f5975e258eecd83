/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of following a Docker socket: finding objects, reading them, what was seen. */
#include "test.h"

#include <errno.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/sys.h"
#include "event/event.h"
#include "watch/docker_event.h"
#include "watch/docker_known.h"
#include "watch/docker_seen.h"
#include "watch/docker_stream.h"

/* Every object found, each followed by a newline. */
struct found {
	char text[8192];
	size_t len, n;
};

static int on_object(void *ctx, const char *text, size_t len)
{
	struct found *f = ctx;

	f->n++;
	if (f->len + len + 1 > sizeof(f->text))
		return 0;
	memcpy(f->text + f->len, text, len);
	f->len += len;
	f->text[f->len++] = '\n';
	return 0;
}

static void feed(struct docker_stream *s, struct found *f, const char *text, size_t len)
{
	assert_int_equal(docker_stream_feed(s, text, len, on_object, f), 0);
}

/* What is found in text, and how much of it is bad, wherever it is cut. */
static void expect_found(const char *text, const char *wanted, uint64_t bad)
{
	size_t len = strlen(text);

	for (size_t cut = 0; cut <= len + 1; cut++) {
		struct docker_stream s = {0};
		struct found f = {0};

		for (size_t i = 0; cut == len + 1 && i < len; i++)
			feed(&s, &f, text + i, 1);
		for (size_t part = 0; cut <= len && part < 2; part++)
			feed(&s, &f, text + (part ? cut : 0), part ? len - cut : cut);
		docker_stream_end(&s);
		f.text[f.len] = '\0';
		assert_string_equal(f.text, wanted);
		assert_int_equal(s.bad, bad);
		docker_stream_done(&s);
	}
}

static void objects_are_found_wherever_the_stream_is_cut(void **state)
{
	expect_found("{\"a\":1}\n{\"b\":2}\r\n", "{\"a\":1}\n{\"b\":2}\n", 0);
	expect_found("{\"a\":1}{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n", 0);
	expect_found("[{\"a\":1},\n {\"b\":2}]", "{\"a\":1}\n{\"b\":2}\n", 0);
	expect_found("\n\n {\"ü\":\"\xf0\x9f\x9a\xb0\"}", "{\"ü\":\"\xf0\x9f\x9a\xb0\"}\n", 0);
	expect_found("{\"a\":\"}{\\\"\\\\\"}{}", "{\"a\":\"}{\\\"\\\\\"}\n{}\n", 0);
	expect_found("{\"a\":\"\\ud83d\\ude00\\n\"}", "{\"a\":\"\\ud83d\\ude00\\n\"}\n", 0);
	expect_found("{\"a\":[{\"b\":[]},{}],\"c\":{}}", "{\"a\":[{\"b\":[]},{}],\"c\":{}}\n", 0);
	expect_found("", "", 0);
}

static void behind_what_is_malformed_the_next_object_is_found(void **state)
{
	expect_found("hello\n{\"b\":2}", "{\"b\":2}\n", 1);
	expect_found("<html>}</html>\n\n{\"b\":2}\n<br>", "{\"b\":2}\n", 2);
	expect_found("{\"a\":\"cut\n{\"b\":2}", "{\"b\":2}\n", 1); /* in a string */
	expect_found("{\"a\":\n{\"b\":2}}{}", "{\"a\":\n{\"b\":2}}\n{}\n", 0);
	expect_found("{\"a\":1,\n{\"b\":2}", "{\"b\":2}\n", 1); /* no member */
	expect_found("{\"a\":1\n{\"b\":2}", "{\"b\":2}\n", 1);  /* behind a value */
	expect_found("{\"a\":[1]\n{\"b\":2}", "{\"b\":2}\n", 1);
	expect_found("{\"a\":{\"c\":3}\n{\"b\":2}", "{\"b\":2}\n", 1);
	expect_found("{\"a\":[1}\n{\"b\":2}", "{\"b\":2}\n", 2); /* that 1} is none, too */
	expect_found("{\"a\":1", "", 1);
	expect_found("{\"a", "", 1);
	expect_found("{{{{}", "{}\n", 3);
}

static char *repeat(const char *head, char c, size_t n, const char *tail)
{
	size_t a = strlen(head), b = strlen(tail);
	char *text = malloc(a + n + b + 1);

	assert_non_null(text);
	memcpy(text, head, a);
	memset(text + a, c, n);
	memcpy(text + a + n, tail, b + 1);
	return text;
}

static void feed_in_pieces(struct docker_stream *s, struct found *f, const char *text, size_t piece)
{
	for (size_t at = 0, len = strlen(text); at < len; at += piece)
		feed(s, f, text + at, MIN(piece, len - at));
}

static void a_huge_object_is_left_out_in_bounded_memory(void **state)
{
	static const char *const heads[] = {"{\"a\":\"", "{\"a\":", "{\"a\":[1,",
					    "{\"a\":",   "",        "{\"a\":\""};
	static const char fills[] = "x1 [{\n", *const tails[] = {"\"}", "}",  "\n",
								 "\n",  "\n", "\n"};

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		struct docker_stream s = {0};
		struct found f = {0};
		char *text = repeat(heads[i], fills[i], 10 << 20, tails[i]);

		if (fills[i] == '\n')
			text[strlen(text) - 1] = ' ';
		feed_in_pieces(&s, &f, text, 16384);
		assert_true(s.text.cap <= 2 * DOCKER_OBJECT_MAX);
		feed_in_pieces(&s, &f, "\n{\"b\":2}\n", 3);
		assert_int_equal(f.n, 1);
		assert_memory_equal(f.text, "{\"b\":2}\n", 8);
		assert_true(s.bad >= 1);
		assert_true(s.text.cap <= 128 << 10);
		docker_stream_done(&s);
		free(text);
	}
}

static void the_largest_object_is_taken(void **state)
{
	for (size_t more = 0; more < 2; more++) {
		struct docker_stream s = {0};
		struct found f = {0};
		char *text = repeat("{\"a\":\"", 'x', DOCKER_OBJECT_MAX - 8 + more, "\"}");

		feed_in_pieces(&s, &f, text, 16384);
		feed_in_pieces(&s, &f, text, 1 << 20);
		assert_int_equal(f.n, more ? 0 : 2);
		assert_int_equal(s.bad, more ? 2 : 0);
		docker_stream_done(&s);
		free(text);
	}
}

/* Events */

static const char *attribute(const struct event *e, const char *key)
{
	for (size_t i = 0; i < e->n_attributes; i++)
		if (strcmp(e->attributes[i].key, key) == 0)
			return e->attributes[i].value;
	return NULL;
}

static void expect_attribute(const struct event *e, const char *key, const char *wanted)
{
	const char *got = attribute(e, key);

	if (!wanted)
		assert_null(got);
	else if (!got)
		fail_msg("no attribute %s", key);
	else
		assert_string_equal(got, wanted);
}

static struct event parse(const char *text, struct docker_notice *n)
{
	struct event e;

	assert_int_equal(docker_event_parse(text, strlen(text), &e, n), 1);
	assert_int_equal(e.type, EVENT_CONTAINER);
	assert_int_equal(e.watch, -1);
	return e;
}

static void an_event_of_docker_is_read(void **state)
{
	struct docker_notice n;
	struct event e = parse("{\"status\":\"die\",\"id\":\"c0ffee\",\"from\":\"web:1\","
			       "\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":"
			       "\"c0ffee\",\"Attributes\":{\"com.example.team\":\"blå \\\"1\\\"\","
			       "\"exitCode\":\"137\",\"image\":\"web:1\",\"name\":\"web\"}},"
			       "\"scope\":\"local\",\"time\":1700000000,"
			       "\"timeNano\":1700000000123456789}",
			       &n);

	assert_int_equal(e.action, CONTAINER_DIE);
	assert_string_equal(e.actor_name, "web");
	assert_string_equal(e.actor_id, "c0ffee");
	expect_attribute(&e, "com.example.team", "blå \"1\"");
	expect_attribute(&e, "exitCode", "137");
	expect_attribute(&e, "image", "web:1");
	expect_attribute(&e, "name", NULL);
	expect_attribute(&e, DOCKER_TIME, "1700000000123456789");
	expect_attribute(&e, DOCKER_LISTED, NULL);
	assert_true(n.time_ns == INT64_C(1700000000123456789));
	event_done(&e);
}

static void podmans_words_mean_the_same(void **state)
{
	struct docker_notice n;
	struct event e =
		parse("{\"Type\":\"container\",\"Action\":\"remove\",\"Actor\":{\"ID\":"
		      "\"ab\",\"Attributes\":{\"containerExitCode\":\"0\",\"name\":\"x\"}},"
		      "\"time\":17}",
		      &n);

	assert_int_equal(e.action, CONTAINER_DESTROY);
	expect_attribute(&e, "exitCode", NULL);
	expect_attribute(&e, "containerExitCode", NULL);
	assert_true(n.time_ns == 17 * NS_PER_SEC);
	event_done(&e);
	e = parse("{\"Type\":\"container\",\"Action\":\"died\",\"Actor\":{\"ID\":\"ab\","
		  "\"Attributes\":{\"containerExitCode\":\"3\"}}}",
		  &n);
	assert_int_equal(e.action, CONTAINER_DIE);
	assert_string_equal(e.actor_name, "ab"); /* no name: the id */
	expect_attribute(&e, "exitCode", "3");
	event_done(&e);
}

static void each_action_has_its_bit(void **state)
{
	static const struct {
		const char *word;
		uint32_t action;
	} rows[] = {{"create", CONTAINER_CREATE},   {"start", CONTAINER_START},
		    {"unpause", CONTAINER_UNPAUSE}, {"kill", CONTAINER_KILL},
		    {"stop", CONTAINER_STOP},       {"pause", CONTAINER_PAUSE},
		    {"die", CONTAINER_DIE},         {"destroy", CONTAINER_DESTROY},
		    {"exec_create: sh", 0},         {"attach", 0},
		    {"health_status: healthy", 0}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct docker_notice n;
		struct event e = {0};
		char text[128];
		int r;

		snprintf(text, sizeof(text),
			 "{\"Type\":\"container\",\"Action\":\"%s\",\"Actor\":{\"ID\":\"a\"}}",
			 rows[i].word);
		r = docker_event_parse(text, strlen(text), &e, &n);
		assert_int_equal(r, rows[i].action != 0);
		assert_int_equal(e.action, rows[i].action);
		event_done(&e);
	}
}

static void what_is_no_event_of_a_container_is_refused(void **state)
{
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{"{\"Type\":\"image\",\"Action\":\"pull\",\"Actor\":{\"ID\":\"a\"}}", 0},
		{"{\"Type\":\"network\"}", 0},
		{"{\"Type\":\"container\",\"Actor\":{\"ID\":\"a\"}}", -EBADMSG},
		{"{\"Type\":\"container\",\"Action\":\"start\"}", -EBADMSG},
		{"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"\"}}", -EBADMSG},
		{"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":7}}", -EBADMSG},
		{"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":[]}", -EBADMSG},
		{"{\"Type\":\"container\",\"Action\":[],\"Actor\":{\"ID\":\"a\"}}", -EBADMSG},
		{"{\"message\":\"no such thing\"}", -EBADMSG},
		{"{\"Type\":\"container\",}", -EBADMSG},
		{"{\"a\":\"\xff\"}", -EBADMSG},
		{"{}", -EBADMSG},
		{"", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct docker_notice n;
		struct event e;

		assert_int_equal(docker_event_parse(rows[i].text, strlen(rows[i].text), &e, &n),
				 rows[i].r);
	}
}

/* Thousands of labels, or one that is very long, do not push out what hotdrain needs. */
static void attributes_are_limited_labels_first(void **state)
{
	char *text = malloc(1 << 20), *at = text;
	struct docker_notice n;
	struct event e;
	size_t bytes = 0;

	at += sprintf(at, "{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a\","
			  "\"Attributes\":{");
	for (int i = 0; i < 1000; i++)
		at += sprintf(at, "\"a%04d\":\"%0*d\",", i, i % 7 * 100 + 1, 0);
	sprintf(at, "\"exitCode\":\"1\",\"image\":\"i\",\"name\":\"n\"}}}");
	e = parse(text, &n);
	expect_attribute(&e, "exitCode", "1");
	expect_attribute(&e, "image", "i");
	for (size_t i = 0; i < e.n_attributes; i++)
		bytes += strlen(e.attributes[i].key) + strlen(e.attributes[i].value);
	assert_true(bytes <= DOCKER_ATTRIBUTE_BYTES_MAX);
	assert_true(e.n_attributes <= DOCKER_ATTRIBUTES_MAX && e.n_attributes > 40);
	assert_int_equal(n.cut + e.n_attributes, 1002);
	event_done(&e);
	free(text);
}

static void a_label_cannot_speak_for_hotdrain(void **state)
{
	struct docker_notice n;
	struct event e =
		parse("{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":"
		      "\"a\",\"Attributes\":{\"hotdrain.listed\":\"true\",\"hotdrain.time\""
		      ":\"1\",\"n\\u0000ul\":\"a\\u0000b\",\"number\":7,\"name\":\"x\"}}}",
		      &n);

	expect_attribute(&e, DOCKER_LISTED, NULL);
	expect_attribute(&e, DOCKER_TIME, NULL);
	expect_attribute(&e, "number", NULL);
	expect_attribute(&e, "n ul", "a b");
	assert_string_equal(e.actor_name, "x");
	event_done(&e);
}

static void a_row_of_the_list_is_read(void **state)
{
	static const char row[] =
		"{\"Id\":\"c0ffee\",\"Names\":[\"/proxy/web\",\"/web\"],\"Image\":"
		"\"web:1\",\"Labels\":{\"a\":\"b\"},\"State\":\"paused\"}";
	static const char none[] = "{\"Id\":\"aa\",\"Names\":null,\"Labels\":null,\"State\":"
				   "\"exited\"}";
	struct docker_notice n;
	struct event e;

	assert_int_equal(docker_event_parse_row(row, strlen(row), &e, &n), 1);
	assert_int_equal(e.action, CONTAINER_START);
	assert_string_equal(e.actor_name, "web");
	expect_attribute(&e, "a", "b");
	expect_attribute(&e, "image", "web:1");
	expect_attribute(&e, DOCKER_LISTED, "true");
	event_done(&e);
	assert_int_equal(docker_event_parse_row(none, strlen(none), &e, &n), 1);
	assert_int_equal(e.action, CONTAINER_CREATE);
	assert_string_equal(e.actor_name, "aa");
	event_done(&e);
	assert_int_equal(docker_event_parse_row("{}", 2, &e, &n), -EBADMSG);
	assert_int_equal(docker_event_parse_row("{", 1, &e, &n), -EBADMSG);
}

/* What was seen */

#define S NS_PER_SEC

static bool seen(struct docker_seen *s, const char *id, uint32_t action, int64_t ns)
{
	struct event e = {.action = action, .actor_id = (char *)id};

	return !docker_seen_add(s, &e, ns);
}

static void what_was_heard_is_told_from_what_is_new(void **state)
{
	struct docker_seen s = {0};

	assert_true(docker_seen_since(&s, 5 * S) == 5 * S);
	assert_false(seen(&s, "a", CONTAINER_START, 10 * S));
	assert_true(seen(&s, "a", CONTAINER_START, 10 * S));
	assert_false(seen(&s, "a", CONTAINER_DIE, 10 * S));
	assert_false(seen(&s, "b", CONTAINER_START, 10 * S));
	assert_false(seen(&s, "a", CONTAINER_START, 10 * S + 1));
	assert_true(docker_seen_since(&s, 5 * S) == 9 * S + 1);
	assert_true(docker_seen_since(&s, 10 * S) == 10 * S); /* not before the beginning */
	assert_true(seen(&s, "a", CONTAINER_DIE, 10 * S));    /* heard again: */
	assert_true(docker_seen_since(&s, 5 * S) == 9 * S + 1);
	assert_false(seen(&s, "a", CONTAINER_KILL, 0));
	assert_false(seen(&s, "a", CONTAINER_KILL, 0)); /* unknown times are never the same */
}

static void more_in_a_second_than_is_remembered_is_not_asked_for_again(void **state)
{
	struct docker_seen s = {0};

	for (int64_t i = 0; i < 2 * DOCKER_SEEN_MAX; i++)
		assert_false(seen(&s, "a", CONTAINER_START, 10 * S + i));
	for (int64_t i = docker_seen_since(&s, 0) - 10 * S; i < 2 * DOCKER_SEEN_MAX; i++)
		assert_true(seen(&s, "a", CONTAINER_START, 10 * S + i));
	assert_true(docker_seen_since(&s, 0) == 10 * S + DOCKER_SEEN_MAX);
}

static void a_clock_that_was_set_back_is_followed(void **state)
{
	struct docker_seen s = {0};

	for (int64_t i = 0; i < 2 * DOCKER_SEEN_MAX; i++)
		seen(&s, "a", CONTAINER_START, 1000 * S + i);
	assert_false(seen(&s, "a", CONTAINER_START, 100 * S));
	assert_true(docker_seen_since(&s, 50 * S) == 99 * S);
	assert_true(docker_seen_since(&s, 500 * S) == 99 * S);
}

/* What is known */

static bool row(struct docker_known *k, const char *id, bool running, uint32_t *ret_action)
{
	struct event e = {.action = running ? CONTAINER_START : CONTAINER_CREATE,
			  .actor_name = (char *)id,
			  .actor_id = (char *)id};
	bool news = docker_known_row(k, &e, running);

	*ret_action = e.action;
	return news;
}

static void told(struct docker_known *k, const char *id, uint32_t action)
{
	struct event e = {.action = action, .actor_name = (char *)id, .actor_id = (char *)id};

	docker_known_event(k, &e);
}

static void a_second_list_tells_only_what_is_different(void **state)
{
	struct docker_known k = {0};
	uint32_t action;
	struct event e;

	docker_known_list(&k);
	assert_true(row(&k, "a", true, &action));
	assert_true(row(&k, "b", true, &action));
	assert_true(row(&k, "c", false, &action));
	assert_true(row(&k, "d", true, &action));
	assert_false(docker_known_lost(&k, &e));
	told(&k, "c", CONTAINER_START);
	told(&k, "d", CONTAINER_DESTROY);
	told(&k, "e", CONTAINER_CREATE);
	docker_known_list(&k);
	assert_false(row(&k, "a", true, &action));
	assert_true(row(&k, "b", false, &action));
	assert_int_equal(action, CONTAINER_DIE);
	assert_false(row(&k, "c", true, &action));
	assert_true(row(&k, "f", true, &action));
	assert_int_equal(action, CONTAINER_START);
	assert_true(docker_known_lost(&k, &e));
	assert_string_equal(e.actor_id, "e");
	assert_string_equal(e.actor_name, "e");
	assert_int_equal(e.action, CONTAINER_DESTROY);
	expect_attribute(&e, DOCKER_LISTED, "true");
	event_done(&e);
	assert_false(docker_known_lost(&k, &e));
	docker_known_done(&k);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(objects_are_found_wherever_the_stream_is_cut),
	cmocka_unit_test(behind_what_is_malformed_the_next_object_is_found),
	cmocka_unit_test(a_huge_object_is_left_out_in_bounded_memory),
	cmocka_unit_test(the_largest_object_is_taken),
	cmocka_unit_test(an_event_of_docker_is_read),
	cmocka_unit_test(podmans_words_mean_the_same),
	cmocka_unit_test(each_action_has_its_bit),
	cmocka_unit_test(what_is_no_event_of_a_container_is_refused),
	cmocka_unit_test(attributes_are_limited_labels_first),
	cmocka_unit_test(a_label_cannot_speak_for_hotdrain),
	cmocka_unit_test(a_row_of_the_list_is_read),
	cmocka_unit_test(what_was_heard_is_told_from_what_is_new),
	cmocka_unit_test(more_in_a_second_than_is_remembered_is_not_asked_for_again),
	cmocka_unit_test(a_clock_that_was_set_back_is_followed),
	cmocka_unit_test(a_second_list_tells_only_what_is_different),
};

RUN_TESTS(tests)
