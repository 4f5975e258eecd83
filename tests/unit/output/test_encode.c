/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "event/labels.h"
#include "event/source.h"
#include "output/batch.h"
#include "output/encode.h"
#include "output/escape.h"

#define FFFD "\xef\xbf\xbd"

static struct source_name name_in(const struct source *s, const char *name)
{
	return (struct source_name){(uint16_t)(strstr(s->path, name) - s->path),
				    (uint16_t)strlen(name)};
}

static struct source *pod_source(void)
{
	struct source *s;

	assert_int_equal(source_new("/var/log/pods/shop_cart-1_u-1/cart/3.log", &s), 0);
	s->k8s_namespace = name_in(s, "shop");
	s->pod_name = name_in(s, "cart-1");
	s->pod_uid = name_in(s, "u-1");
	s->container_name = name_in(s, "cart");
	s->restart_count = 3;
	return s;
}

static struct source *path_source(const char *path)
{
	struct source *s;

	assert_int_equal(source_new(path, &s), 0);
	return s;
}

static struct batch *new_batch(void)
{
	struct batch *b;

	assert_int_equal(batch_new(4096, 4096, &b), 0);
	return b;
}

/* The span takes over the reference. */
static void add_span(struct batch *b, struct source *s)
{
	b->spans[b->n_spans++] = (struct span){.source = s, .first = b->n_records};
}

static void add_record(struct batch *b, const char *time, enum record_stream stream,
		       const char *text, size_t len, uint8_t flags)
{
	*batch_next(b) = (struct record){
		.text = text,
		.text_len = (uint32_t)len,
		.time = time,
		.time_len = (uint8_t)(time ? strlen(time) : 0),
		.stream = stream,
		.flags = flags,
	};
	batch_commit(b);
	b->spans[b->n_spans - 1].count++;
}

static void check_encoded(enum encode_format format, struct batch *b, const char *expected,
			  size_t expected_len, uint64_t invalid)
{
	_cleanup_(buf_done) struct buf out = {0};
	struct encode_cursor cur = {0};

	assert_int_equal(encode_batch(format, b, &cur, SIZE_MAX, &out), 0);
	assert_int_equal(buf_reserve(&out, 1), 0);
	if (out.len != expected_len || memcmp(out.data, expected, out.len) != 0)
		print_message("# got:  %.*s\n# want: %.*s\n", (int)out.len, out.data,
			      (int)expected_len, expected);
	assert_int_equal(out.len, expected_len);
	assert_memory_equal(out.data, expected, out.len);
	assert_int_equal(cur.invalid_records, invalid);
	batch_free(b);
}

#define CHECK(format, b, expected, invalid) \
	check_encoded(format, b, expected, sizeof(expected) - 1, invalid)

#define POD_TAIL                                                                                \
	",\"k8s.namespace.name\":\"shop\",\"k8s.pod.name\":\"cart-1\",\"k8s.pod.uid\":\"u-1\"," \
	"\"k8s.container.name\":\"cart\",\"k8s.container.restart_count\":3,"                    \
	"\"log.file.path\":\"/var/log/pods/shop_cart-1_u-1/cart/3.log\""

static void ndjson_keys_in_order(void **state)
{
	struct batch *b = new_batch();

	add_span(b, pod_source());
	add_record(b, "2026-11-21T00:32:02.5Z", STREAM_STDOUT, "one", 3, 0);
	add_record(b, "2026-11-21T00:32:02.123456789+00:00", STREAM_STDERR, "two", 3,
		   RECORD_TRUNCATED);
	CHECK(ENCODE_NDJSON, b,
	      "{\"time\":\"2026-11-21T00:32:02.5Z\",\"stream\":\"stdout\",\"message\":"
	      "\"one\"" POD_TAIL "}\n"
	      "{\"time\":\"2026-11-21T00:32:02.123456789+00:00\",\"stream\":\"stderr\","
	      "\"message\":\"two\"" POD_TAIL ",\"truncated\":true}\n",
	      0);
}

/* Exactly as long as it is: nothing behind it may be read. */
static void a_time_of_any_length(void **state)
{
	for (size_t len = 1; len <= UINT8_MAX; len++) {
		_cleanup_free_ char *time = malloc(len), *expected = NULL;
		struct batch *b = new_batch();
		int n;

		assert_non_null(time);
		for (size_t i = 0; i < len; i++)
			time[i] = (char)('a' + i % 26);
		add_span(b, path_source("/x"));
		add_record(b, "", STREAM_NONE, "m", 1, 0);
		b->records[0].time = time;
		b->records[0].time_len = (uint8_t)len;
		n = asprintf(&expected,
			     "{\"time\":\"%.*s\",\"message\":\"m\",\"log.file.path\":\"/x\"}\n",
			     (int)len, time);
		assert_true(n > 0);
		check_encoded(ENCODE_NDJSON, b, expected, (size_t)n, 0);
	}
}

static void ndjson_leaves_out_what_is_unknown(void **state)
{
	struct batch *b = new_batch();
	struct source *s;

	add_span(b, path_source("/tmp/app.log"));
	add_record(b, NULL, STREAM_NONE, "raw", 3, 0);
	add_record(b, NULL, STREAM_NONE, NULL, 0, RECORD_TRUNCATED);
	add_record(b, "T", STREAM_NONE, "x", 1, 0);
	add_record(b, NULL, STREAM_STDOUT, "x", 1, 0);
	add_record(b, NULL, STREAM_STDERR, "x", 1, 0);
	assert_int_equal(source_new("/c", &s), 0);
	s->restart_count = 0;
	s->container_name = name_in(s, "c");
	add_span(b, s);
	add_record(b, NULL, STREAM_NONE, "x", 1, 0);
	CHECK(ENCODE_NDJSON, b,
	      "{\"message\":\"raw\",\"log.file.path\":\"/tmp/app.log\"}\n"
	      "{\"message\":\"\",\"log.file.path\":\"/tmp/app.log\",\"truncated\":true}\n"
	      "{\"time\":\"T\",\"message\":\"x\",\"log.file.path\":\"/tmp/app.log\"}\n"
	      "{\"stream\":\"stdout\",\"message\":\"x\",\"log.file.path\":\"/tmp/app.log\"}\n"
	      "{\"stream\":\"stderr\",\"message\":\"x\",\"log.file.path\":\"/tmp/app.log\"}\n"
	      "{\"message\":\"x\",\"k8s.container.name\":\"c\","
	      "\"k8s.container.restart_count\":0,\"log.file.path\":\"/c\"}\n",
	      0);
}

/* Behind the path and before "truncated", in every record of the span and in no other. */
static void labels_follow_the_path(void **state)
{
	static const char json[] =
		",\"container.id\":\"c0ffee\",\"k8s.pod.label.app\":\"\xc3\xa9\"";
	struct batch *b = new_batch();

	add_span(b, path_source("/a"));
	add_record(b, NULL, STREAM_NONE, "x", 1, 0);
	add_span(b, path_source("/a"));
	b->spans[1].labels = labels_new(json, sizeof(json) - 1);
	assert_non_null(b->spans[1].labels);
	add_record(b, NULL, STREAM_NONE, "y", 1, RECORD_TRUNCATED);
	add_record(b, NULL, STREAM_NONE, "z", 1, 0);
	add_span(b, path_source("/a"));
	add_record(b, NULL, STREAM_NONE, "x", 1, 0);
	CHECK(ENCODE_NDJSON, b,
	      "{\"message\":\"x\",\"log.file.path\":\"/a\"}\n"
	      "{\"message\":\"y\",\"log.file.path\":\"/a\",\"container.id\":\"c0ffee\","
	      "\"k8s.pod.label.app\":\"\xc3\xa9\",\"truncated\":true}\n"
	      "{\"message\":\"z\",\"log.file.path\":\"/a\",\"container.id\":\"c0ffee\","
	      "\"k8s.pod.label.app\":\"\xc3\xa9\"}\n"
	      "{\"message\":\"x\",\"log.file.path\":\"/a\"}\n",
	      0);
}

/* The room that is reserved counts them, and raw text has none. */
static void large_labels_fit(void **state)
{
	const size_t n = 100000;
	_cleanup_free_ char *json = malloc(n);
	_cleanup_(buf_done) struct buf out = {0};
	struct encode_cursor cur = {0}, again = {0};
	struct batch *b = new_batch();

	assert_non_null(json);
	memset(json, 'j', n);
	add_span(b, path_source("/a"));
	b->spans[0].labels = labels_new(json, n);
	assert_non_null(b->spans[0].labels);
	for (int i = 0; i < 50; i++)
		add_record(b, NULL, STREAM_NONE, "x", 1, 0);
	assert_int_equal(encode_batch(ENCODE_NDJSON, b, &cur, SIZE_MAX, &out), 0);
	assert_true(out.len > 50 * n && out.len <= out.cap);
	out.len = 0;
	assert_int_equal(encode_batch(ENCODE_RAW, b, &again, SIZE_MAX, &out), 0);
	assert_int_equal(out.len, 50 * 2);
	batch_free(b);
}

static void path_is_escaped(void **state)
{
	struct batch *b = new_batch();

	add_span(b, path_source("/tmp/\"q\"\\\n\x01\xff/\xc3\xa9"));
	add_record(b, NULL, STREAM_NONE, "x", 1, 0);
	/* The name is not the record's text: it is not counted. */
	CHECK(ENCODE_NDJSON, b,
	      "{\"message\":\"x\",\"log.file.path\":\"/tmp/\\\"q\\\"\\\\\\n\\u0001" FFFD
	      "/\xc3\xa9\"}\n",
	      0);
}

static void invalid_records_are_counted_once_each(void **state)
{
	struct batch *b = new_batch();

	add_span(b, path_source("/a"));
	add_record(b, NULL, STREAM_NONE, "\xff\xff", 2, 0);
	add_record(b, NULL, STREAM_NONE, "\xc3\xa9", 2, 0);
	add_record(b, NULL, STREAM_NONE, "\xc3", 1, 0);
	CHECK(ENCODE_NDJSON, b,
	      "{\"message\":\"" FFFD FFFD "\",\"log.file.path\":\"/a\"}\n"
	      "{\"message\":\"\xc3\xa9\",\"log.file.path\":\"/a\"}\n"
	      "{\"message\":\"" FFFD "\",\"log.file.path\":\"/a\"}\n",
	      2);
}

static void raw_is_byte_exact(void **state)
{
	struct batch *b = new_batch();

	add_span(b, pod_source());
	add_record(b, "T", STREAM_STDOUT, "a\0b\xff\r\"\\", 7, 0);
	add_record(b, NULL, STREAM_NONE, NULL, 0, 0);
	add_record(b, NULL, STREAM_NONE, "cut", 3, RECORD_TRUNCATED);
	CHECK(ENCODE_RAW, b, "a\0b\xff\r\"\\\n\ncut\n", 0);
}

/* Empty batches and empty spans have nothing to say. */
static void empty_batch_is_done(void **state)
{
	struct batch *b = new_batch();

	CHECK(ENCODE_NDJSON, b, "", 0);
	b = new_batch();
	add_span(b, path_source("/a"));
	add_span(b, path_source("/b"));
	add_record(b, NULL, STREAM_NONE, "x", 1, 0);
	add_span(b, path_source("/c"));
	CHECK(ENCODE_NDJSON, b, "{\"message\":\"x\",\"log.file.path\":\"/b\"}\n", 0);
}

/* Whatever the limit, the parts make the same whole, and each ends with a line. */
static void soft_limit_stops_between_records(void **state)
{
	_cleanup_(buf_done) struct buf whole = {0};
	struct encode_cursor all = {0};
	struct batch *b = new_batch();

	for (int i = 0; i < 20; i++) {
		if (i % 3 == 0)
			add_span(b, path_source(i % 2 ? "/odd" : "/even"));
		add_record(b, NULL, STREAM_STDOUT, "0123456789\xff", (size_t)(i % 12), 0);
	}
	assert_int_equal(encode_batch(ENCODE_NDJSON, b, &all, SIZE_MAX, &whole), 0);
	for (size_t limit = 1; limit < whole.len + 2; limit += 7) {
		_cleanup_(buf_done) struct buf out = {0}, joined = {0};
		struct encode_cursor cur = {0};
		int more;

		do {
			out.len = 0;
			more = encode_batch(ENCODE_NDJSON, b, &cur, limit, &out);
			assert_in_range(more, 0, 1);
			assert_true(more ? out.len >= limit : true);
			assert_true(!out.len || out.data[out.len - 1] == '\n');
			assert_int_equal(buf_add(&joined, out.data, out.len), 0);
		} while (more);
		assert_int_equal(joined.len, whole.len);
		assert_memory_equal(joined.data, whole.data, whole.len);
		assert_int_equal(cur.invalid_records, all.invalid_records);
	}
	batch_free(b);
}

struct escape_case {
	const char *text, *expected;
	bool invalid;
};

/* The text at every distance from the blocks' edges, with all versions. */
static void check_escape(const char *text, size_t len, const char *expected, bool invalid)
{
	static char *(*const versions[])(char *, const char *, size_t, bool *) = {
		escape_json,
		escape_json_narrow,
		escape_json_plain,
	};
	const size_t expected_len = strlen(expected);

	for (size_t v = 0; v < ARRAY_SIZE(versions); v++)
		for (size_t before = 0; before < 140; before++)
			for (size_t after = 0; after < 40; after += after < 2 ? 1 : 19) {
				size_t n = before + len + after;
				_cleanup_free_ char *in = malloc(n + 1);
				_cleanup_free_ char *out = malloc(ESCAPE_ROOM(n));
				size_t out_len = before + expected_len + after;
				bool bad;

				assert_true(in && out);
				memset(in, 'a', n);
				memcpy(in + before, text, len);
				in = realloc(in, n ? n : 1);
				assert_int_equal(versions[v](out, in, n, &bad) - out, out_len);
				assert_memory_equal(out + before, expected, expected_len);
				for (size_t i = 0; i < before; i++)
					assert_int_equal(out[i], 'a');
				for (size_t i = before + expected_len; i < out_len; i++)
					assert_int_equal(out[i], 'a');
				assert_int_equal(bad, invalid);
			}
}

static void every_byte_has_its_escape(void **state)
{
	static const char *const short_forms[256] = {
		['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n",  ['\f'] = "\\f",
		['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\",
	};

	for (unsigned c = 0; c < 256; c++) {
		char text = (char)c, expected[8] = {(char)c};

		if (short_forms[c])
			strcpy(expected, short_forms[c]);
		else if (c < 0x20)
			snprintf(expected, sizeof(expected), "\\u%04x", c);
		else if (c >= 0x80)
			strcpy(expected, FFFD);
		check_escape(&text, 1, expected, c >= 0x80);
	}
}

static void utf8_follows_rfc_3629(void **state)
{
	static const struct escape_case cases[] = {
		/* first and last of each length */
		{"\xc2\x80", "\xc2\x80", false},
		{"\xdf\xbf", "\xdf\xbf", false},
		{"\xe0\xa0\x80", "\xe0\xa0\x80", false},
		{"\xed\x9f\xbf", "\xed\x9f\xbf", false},
		{"\xee\x80\x80", "\xee\x80\x80", false},
		{"\xef\xbf\xbf", "\xef\xbf\xbf", false},
		{"\xf0\x90\x80\x80", "\xf0\x90\x80\x80", false},
		{"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", false},
		{"\x7f", "\x7f", false},
		/* overlong */
		{"\xc0\x80", FFFD FFFD, true},
		{"\xc1\xbf", FFFD FFFD, true},
		{"\xe0\x80\x80", FFFD FFFD FFFD, true},
		{"\xe0\x9f\xbf", FFFD FFFD FFFD, true},
		{"\xf0\x80\x80\x80", FFFD FFFD FFFD FFFD, true},
		{"\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD, true},
		/* surrogates */
		{"\xed\xa0\x80", FFFD FFFD FFFD, true},
		{"\xed\xbf\xbf", FFFD FFFD FFFD, true},
		/* beyond U+10FFFF */
		{"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD, true},
		{"\xf5\x80\x80\x80", FFFD FFFD FFFD FFFD, true},
		{"\xff\xfe", FFFD FFFD, true},
		/* stray continuation */
		{"\x80", FFFD, true},
		{"\xbf\xbf", FFFD FFFD, true},
		{"\xc3\xa9\xa9", "\xc3\xa9" FFFD, true},
		/* cut short: one for the longest beginning */
		{"\xc3", FFFD, true},
		{"\xe2\x82", FFFD, true},
		{"\xf0\x9f\x98", FFFD, true},
		{"\xf0\x9f", FFFD, true},
		{"\xe2\x82\"", FFFD "\\\"", true},
		{"\xe2\x82\xc3\xa9", FFFD "\xc3\xa9", true},
		{"\xf0\x9f\x98\xf0\x9f\x98\x80", FFFD "\xf0\x9f\x98\x80", true},
		{"\xe2\xe2\x82\xac", FFFD "\xe2\x82\xac", true},
		/* the standard's own example (table 3-8) */
		{"a\xf1\x80\x80\xe1\x80\xc2"
		 "b\x80"
		 "c\x80\xbf"
		 "d",
		 "a" FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_escape(cases[i].text, strlen(cases[i].text), cases[i].expected,
			     cases[i].invalid);
}

/* Two specials in a block, next to each other, and blocks of nothing else. */
static void dense_specials_are_escaped(void **state)
{
	static const struct escape_case cases[] = {
		{"\"\"", "\\\"\\\"", false},
		{"\"b\\", "\\\"b\\\\", false},
		{"\n\t\r\b\f\x1b\x1f", "\\n\\t\\r\\b\\f\\u001b\\u001f", false},
		{"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"",
		 "\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"", false},
		{"{\"k\":\"v\",\"n\":{\"k\":\"\xc3\xa9\"}}",
		 "{\\\"k\\\":\\\"v\\\",\\\"n\\\":{\\\"k\\\":\\\"\xc3\xa9\\\"}}", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_escape(cases[i].text, strlen(cases[i].text), cases[i].expected,
			     cases[i].invalid);
}

/* The worst case of the room that is reserved. */
static void nothing_but_nul_fits(void **state)
{
	_cleanup_free_ char *text = calloc(1, 100000);
	struct batch *b = new_batch();
	struct encode_cursor cur = {0};
	_cleanup_(buf_done) struct buf out = {0};

	assert_non_null(text);
	add_span(b, path_source("/a"));
	for (size_t n = 1; n <= 100000; n *= 10)
		add_record(b, NULL, STREAM_NONE, text, n, RECORD_TRUNCATED);
	assert_int_equal(encode_batch(ENCODE_NDJSON, b, &cur, SIZE_MAX, &out), 0);
	assert_true(out.len > 6 * 111111 && out.len <= out.cap);
	batch_free(b);
}

static void format_names_parse(void **state)
{
	enum encode_format f = ENCODE_NDJSON;

	assert_int_equal(encode_format_parse("raw", &f), 0);
	assert_int_equal(f, ENCODE_RAW);
	assert_int_equal(encode_format_parse("json", &f), -EINVAL);
	assert_int_equal(f, ENCODE_RAW);
	assert_int_equal(encode_format_parse("ndjson", &f), 0);
	assert_int_equal(f, ENCODE_NDJSON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ndjson_keys_in_order),
		cmocka_unit_test(a_time_of_any_length),
		cmocka_unit_test(ndjson_leaves_out_what_is_unknown),
		cmocka_unit_test(labels_follow_the_path),
		cmocka_unit_test(large_labels_fit),
		cmocka_unit_test(path_is_escaped),
		cmocka_unit_test(invalid_records_are_counted_once_each),
		cmocka_unit_test(raw_is_byte_exact),
		cmocka_unit_test(empty_batch_is_done),
		cmocka_unit_test(soft_limit_stops_between_records),
		cmocka_unit_test(every_byte_has_its_escape),
		cmocka_unit_test(utf8_follows_rfc_3629),
		cmocka_unit_test(dense_specials_are_escaped),
		cmocka_unit_test(nothing_but_nul_fits),
		cmocka_unit_test(format_names_parse),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
