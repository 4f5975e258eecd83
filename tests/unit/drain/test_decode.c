/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "drain/decode.h"
#include "drain/decode_cri.h"
#include "output/batch.h"

/* Text with bytes of zero in it; the length comes with it. */
struct bytes {
	const char *data;
	size_t len;
};
#define BYTES(s)                 \
	{                        \
		s, sizeof(s) - 1 \
	}

struct decode_case {
	struct bytes line;
	const char *time; /* NULL: none */
	enum record_stream stream;
	bool partial, malformed;
	struct bytes text;
};

/* Of exactly the line's size, so that the sanitizer sees a read beyond it. */
static char *line_copy(const struct bytes *line)
{
	char *p = malloc(line->len ? line->len : 1);

	assert_non_null(p);
	memcpy(p, line->data, line->len);
	return p;
}

static void check_cases(enum decode_format format, bool cut, const struct decode_case *cases,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct decode_case *c = &cases[i];
		_cleanup_free_ char *line = line_copy(&c->line);
		struct decoded d;

		memset(&d, 0xa5, sizeof(d));
		decode_line(format, line, c->line.len, cut, &d);
		if (d.malformed != c->malformed || d.text_len != c->text.len)
			print_message("# case %zu: %s\n", i, c->line.data);
		assert_int_equal(d.malformed, c->malformed);
		assert_int_equal(d.text_len, c->text.len);
		assert_memory_equal(d.text, c->text.data, c->text.len);
		assert_int_equal(d.partial, c->partial);
		assert_int_equal(d.stream, c->stream);
		assert_int_equal(d.time_len, c->time ? strlen(c->time) : 0);
		if (c->time)
			assert_memory_equal(d.time, c->time, d.time_len);
		else
			assert_null(d.time);
		if (d.malformed)
			assert_memory_equal(line, c->line.data, c->line.len);
	}
}

#define TIME "2026-11-21T00:32:02.36754432Z"

#define OUT(t, text)                                                                    \
	{                                                                               \
		BYTES(t " stdout F " text), t, STREAM_STDOUT, false, false, BYTES(text) \
	}
#define ERR(t, text)                                                                    \
	{                                                                               \
		BYTES(t " stderr F " text), t, STREAM_STDERR, false, false, BYTES(text) \
	}

static void cri_lines_of_every_writer(void **state)
{
	static const struct decode_case cases[] = {
		OUT(TIME, "text"),
		ERR(TIME, "text"),
		OUT("2026-11-21T00:32:02Z", "no fraction"),
		OUT("2026-11-21T00:32:02.1Z", "one digit"),
		OUT("2026-11-21T00:32:02.1234567Z", "seven digits"),
		OUT("2026-11-21T00:32:02.12345678Z", "eight digits"),
		OUT("2026-11-21T00:32:02.123456789Z", "nine digits"),
		OUT("2026-11-21T00:32:02.1234567890123456Z", "sixteen digits"),
		OUT("2026-11-21T00:32:02.123456789+00:00", "conmon"),
		ERR("2026-11-21T05:32:02.123456789+05:30", "east"),
		ERR("2026-11-20T19:32:02-05:00", "west"),
		OUT(TIME, ""),
		OUT(TIME, " leading space"),
		OUT(TIME, "trailing space "),
		OUT(TIME, "carriage\r"),
		OUT(TIME, "a\0b\0"),
		OUT(TIME, "\xff\xfe\xc0\x80"),
		OUT(TIME, "stdout F nested " TIME " stderr P x"),
		{BYTES(TIME " stdout F"), TIME, STREAM_STDOUT, false, false, BYTES("")},
		{BYTES(TIME " stderr P"), TIME, STREAM_STDERR, true, false, BYTES("")},
		{BYTES(TIME " stdout P "), TIME, STREAM_STDOUT, true, false, BYTES("")},
		{BYTES(TIME " stdout P part"), TIME, STREAM_STDOUT, true, false, BYTES("part")},
		{BYTES(TIME " stdout P:x part"), TIME, STREAM_STDOUT, true, false, BYTES("part")},
		{BYTES(TIME " stdout F:x:yy z"), TIME, STREAM_STDOUT, false, false, BYTES("z")},
		{BYTES(TIME " stdout F:x"), TIME, STREAM_STDOUT, false, false, BYTES("")},
		{BYTES(TIME " stdout F: "), TIME, STREAM_STDOUT, false, false, BYTES("")},
	};

	check_cases(DECODE_CRI, false, cases, ARRAY_SIZE(cases));
	check_cases(DECODE_CRI, true, cases, ARRAY_SIZE(cases));
}

#define MALFORMED(line)                                                  \
	{                                                                \
		BYTES(line), NULL, STREAM_NONE, false, true, BYTES(line) \
	}

static void cri_malformed_is_delivered_whole(void **state)
{
	static const struct decode_case cases[] = {
		MALFORMED(""),
		MALFORMED(" "),
		MALFORMED("plain text"),
		MALFORMED("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		MALFORMED(TIME),
		MALFORMED(TIME " "),
		MALFORMED(TIME " stdout"),
		MALFORMED(TIME " stdout "),
		MALFORMED(TIME " stdout X text"),
		MALFORMED(TIME " stdout Full text"),
		MALFORMED(TIME " stdout  F text"),
		MALFORMED(TIME " stdin F text"),
		MALFORMED(TIME " STDOUT F text"),
		MALFORMED(TIME "  stdout F text"),
		MALFORMED(TIME "\tstdout F text"),
		MALFORMED(" " TIME " stdout F text"),
		MALFORMED("2026-11-21 00:32:02Z stdout F text"),
		MALFORMED("2026-11-21T00:32:02 stdout F text"),
		MALFORMED("2026-11-21T00:32:02. stdout F text"),
		MALFORMED("2026-11-21T00:32:02.Z stdout F text"),
		MALFORMED("2026-11-21T00:32:02.12x4Z stdout F text"),
		MALFORMED("2026-11-21T00:32:02+0000 stdout F text"),
		MALFORMED("2026-11-21T00:32:02+00:0 stdout F text"),
		MALFORMED("2026-11-21T00:32:02+00:00Z stdout F text"),
		MALFORMED("2026-11-21T00:3:02Z stdout F text and more"),
		MALFORMED("202\xb2-11-21T00:32:02Z stdout F text"),
		MALFORMED("2026-11-21T00:32:02.123456789012345678901234567890123456789012345Z "
			  "stdout F text"),
	};

	check_cases(DECODE_CRI, false, cases, ARRAY_SIZE(cases));
}

/* Every beginning of a line is either malformed and whole, or has the time that is there. */
static void cri_any_prefix_is_safe(void **state)
{
	static const char whole[] = "2026-11-21T00:32:02.123456789+00:00 stderr P:a text";
	const size_t header = sizeof("2026-11-21T00:32:02.123456789+00:00 stderr P") - 1;

	for (size_t len = 0; len < sizeof(whole); len++) {
		_cleanup_free_ char *line = line_copy(&(struct bytes){whole, len});
		struct decoded d;

		decode_line(DECODE_CRI, line, len, false, &d);
		assert_int_equal(d.malformed, len < header);
		assert_true(d.text >= line && d.text + d.text_len == line + len);
	}
}

static void time_length_accepts_only_its_shape(void **state)
{
	static const char good[] = "2026-11-21T00:32:02.5+01:00";

	for (char c = '0'; c <= '9'; c++) {
		char digits[sizeof(good)];

		for (size_t i = 0; i < sizeof(good); i++)
			digits[i] = good[i] >= '0' && good[i] <= '9' ? c : good[i];
		assert_int_equal(time_length(digits, sizeof(good) - 1), sizeof(good) - 1);
	}
	for (size_t i = 0; i < sizeof(good) - 1; i++)
		for (unsigned c = 0; c < 256; c++) {
			char bad[sizeof(good)];
			bool digit = c >= '0' && c <= '9';

			memcpy(bad, good, sizeof(good));
			bad[i] = (char)c;
			if (c == (unsigned char)good[i] ||
			    (digit && good[i] >= '0' && good[i] <= '9') || (i == 20 && digit) ||
			    (i == 21 && (digit || c == '-')))
				continue;
			if (i == 21 && c == 'Z') { /* an end that is too early is an end */
				assert_int_equal(time_length(bad, sizeof(bad) - 1), 22);
				continue;
			}
			if (i == 19 && c == 'Z') {
				assert_int_equal(time_length(bad, sizeof(bad) - 1), 20);
				continue;
			}
			assert_int_equal(time_length(bad, sizeof(bad) - 1), 0);
		}
}

#define DTAIL "\",\"stream\":\"stdout\",\"time\":\"" TIME "\"}"
#define DOCKER(raw, text)                                                                \
	{                                                                                \
		BYTES("{\"log\":\"" raw "\\n" DTAIL), TIME, STREAM_STDOUT, false, false, \
			BYTES(text)                                                      \
	}

static void docker_escapes_are_undone(void **state)
{
	static const struct decode_case cases[] = {
		DOCKER("text", "text"),
		DOCKER("", ""),
		DOCKER("\\\"quoted\\\"", "\"quoted\""),
		DOCKER("\\\\", "\\"),
		DOCKER("\\\\n", "\\n"),
		DOCKER("\\\\\\\"", "\\\""),
		DOCKER("\\b\\f\\n\\r\\t\\/", "\b\f\n\r\t/"),
		DOCKER("\\u0041\\u00e9\\u20ac", "A\xc3\xa9\xe2\x82\xac"),
		DOCKER("\\u003c\\u003E\\u0026", "<>&"),
		DOCKER("a\\u0000b", "a\0b"),
		DOCKER("\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"),
		DOCKER("\\uDBFF\\uDFFF", "\xf4\x8f\xbf\xbf"),
		DOCKER("\\ud83d", "\xef\xbf\xbd"),
		DOCKER("\\ud83dx", "\xef\xbf\xbdx"),
		DOCKER("\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd"),
		DOCKER("\\ud83d\\u0041", "\xef\xbf\xbd"
					 "A"),
		DOCKER("\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80"),
		DOCKER("\\q\\x41\\u12g4\\u12", "\\q\\x41\\u12g4\\u12"),
		DOCKER("\xff raw \t bytes \xc3\xa9", "\xff raw \t bytes \xc3\xa9"),
		DOCKER("\\r", "\r"),
		DOCKER("{\\\"log\\\":\\\"inner\\\"}", "{\"log\":\"inner\"}"),
	};

	check_cases(DECODE_DOCKER, false, cases, ARRAY_SIZE(cases));
}

static void docker_objects_of_every_shape(void **state)
{
	static const struct decode_case cases[] = {
		/* order, space, unknown keys, nested values */
		{BYTES("{\"time\":\"" TIME "\",\"stream\":\"stderr\",\"log\":\"t\\n\"}"), TIME,
		 STREAM_STDERR, false, false, BYTES("t")},
		{BYTES("{ \"log\" : \"t\\n\" ,\t\"stream\" : \"stdout\" , \"time\" : \"" TIME
		       "\" } \r"),
		 TIME, STREAM_STDOUT, false, false, BYTES("t")},
		{BYTES("{\"attrs\":{\"a\":\"}\",\"b\":[1,{\"log\":\"no\"}],\"c\":\"\\\"\"},\"n\":-1"
		       ".5e3,\"z\":null,\"log\":\"t\\n\"}"),
		 NULL, STREAM_NONE, false, false, BYTES("t")},
		{BYTES("{\"log\":\"t\\n\",\"attrs\":{},\"tags\":[]}"), NULL, STREAM_NONE, false,
		 false, BYTES("t")},
		{BYTES("{\"log\":\"first\\n\",\"log\":\"last\\n\"}"), NULL, STREAM_NONE, false,
		 false, BYTES("last")},
		/* what is missing or strange is left out */
		{BYTES("{\"log\":\"t\\n\",\"stream\":\"other\"}"), NULL, STREAM_NONE, false, false,
		 BYTES("t")},
		{BYTES("{\"log\":\"t\\n\",\"stream\":1,\"time\":2}"), NULL, STREAM_NONE, false,
		 false, BYTES("t")},
		/* no final newline: a piece */
		{BYTES("{\"log\":\"t" DTAIL), TIME, STREAM_STDOUT, true, false, BYTES("t")},
		{BYTES("{\"log\":\"" DTAIL), TIME, STREAM_STDOUT, true, false, BYTES("")},
		{BYTES("{\"log\":\"t\\u000a" DTAIL), TIME, STREAM_STDOUT, false, false, BYTES("t")},
	};

	check_cases(DECODE_DOCKER, false, cases, ARRAY_SIZE(cases));
}

static void docker_malformed_is_delivered_unchanged(void **state)
{
	static const struct decode_case cases[] = {
		MALFORMED(""),
		MALFORMED("{"),
		MALFORMED("{}"),
		MALFORMED("plain"),
		MALFORMED("null"),
		MALFORMED("[\"log\"]"),
		MALFORMED("{\"log\"}"),
		MALFORMED("{\"log\":}"),
		MALFORMED("{\"log\":,}"),
		MALFORMED("{\"log\":null}"),
		MALFORMED("{\"log\":{\"log\":\"a\\n\"}}"),
		MALFORMED("{\"Log\":\"a\\n\"}"),
		MALFORMED("{\"stream\":\"stdout\",\"time\":\"" TIME "\"}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\""),
		MALFORMED("{\"log\":\"a\\u0041\\n"),
		MALFORMED("{\"log\":\"a\\u0041\\n\"} x"),
		MALFORMED("{\"log\":\"a\\u0041\\n\"}{}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\",}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\" \"time\":\"" TIME "\"}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\",\"time\":\"yesterday\"}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\",\"time\":\"\"}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\",\"time\":\"" TIME "Z\"}"),
		MALFORMED("{\"log\":\"a\\u0041\\n\",\"attrs\":{\"a\":[}"),
	};

	check_cases(DECODE_DOCKER, false, cases, ARRAY_SIZE(cases));
}

static void docker_cut_line_keeps_its_text(void **state)
{
#define CUT(line, text)                                                   \
	{                                                                 \
		BYTES(line), NULL, STREAM_NONE, false, false, BYTES(text) \
	}
	static const struct decode_case cases[] = {
		CUT("{\"log\":\"abc", "abc"),
		CUT("{\"log\":\"", ""),
		CUT("{\"log\":\"a\\tb", "a\tb"),
		CUT("{\"log\":\"a\\", "a"),
		CUT("{\"log\":\"a\\\\", "a\\"),
		CUT("{\"log\":\"a\\\\\\", "a\\"),
		CUT("{\"log\":\"a\\u", "a"),
		CUT("{\"log\":\"a\\u00e", "a"),
		CUT("{\"log\":\"a\\u00e9", "a\xc3\xa9"),
		CUT("{\"log\":\"a\\\\u00e", "a\\u00e"),
		CUT("{\"log\":\"a\\n", "a\n"), /* not known to be the last one */
		CUT("{\"log\":\"a\\n\",\"str", "a"),
		CUT("{\"log\":\"a\\n\",\"stream\":\"std", "a"),
		MALFORMED("{\"attrs\":{\"a\":\"b"),
		MALFORMED("{\"log"),
		MALFORMED("no object"),
	};

	check_cases(DECODE_DOCKER, true, cases, ARRAY_SIZE(cases));
}

/* Linear: 2 MiB of each of these would take minutes if a quote were searched anew each time. */
static void docker_long_escapes_take_linear_time(void **state)
{
	static const char *const units[] = {"\\n",  "\\\"", "\\\\",   "\\ud800",
					    "x\\q", "[",    "{\"a\":"};
	const size_t n = 2 << 20;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		_cleanup_free_ char *line = malloc(n + 64);
		size_t unit = strlen(units[i]), at = 8;
		struct decoded d;

		assert_non_null(line);
		memcpy(line, "{\"log\":\"", 8);
		while (at + unit < n) {
			memcpy(line + at, units[i], unit);
			at += unit;
		}
		memcpy(line + at, "\\n\"}", 4);
		decode_line(DECODE_DOCKER, line, at + 4, false, &d);
		decode_line(DECODE_DOCKER, line, at, true, &d);
	}
}

static void raw_is_the_line(void **state)
{
	static const struct decode_case cases[] = {
#define RAW(line) {BYTES(line), NULL, STREAM_NONE, false, false, BYTES(line)}
		RAW(""), RAW("text\r"), RAW("a\0b"), RAW(TIME " stdout F text"), RAW("{\"log\":1}"),
	};

	check_cases(DECODE_RAW, false, cases, ARRAY_SIZE(cases));
}

static void detect_tells_formats_apart(void **state)
{
	static const struct {
		enum decode_format format;
		const char *line;
	} cases[] = {
		{DECODE_CRI, TIME " stdout F text"},
		{DECODE_CRI, TIME " stderr P"},
		{DECODE_CRI, "2026-11-21T00:32:02.123456789+00:00 stdout F "},
		{DECODE_DOCKER, "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"" TIME "\"}"},
		{DECODE_DOCKER, "{\"time\":\"" TIME "\",\"log\":\"a\"}"},
		{DECODE_DOCKER, "{\"log\":\"the first line of a file, cut at the limit"},
		{DECODE_RAW, ""},
		{DECODE_RAW, TIME " something happened"},
		{DECODE_RAW, TIME " stdout is closed"},
		{DECODE_RAW, "2026-11-21 00:32:02 stdout F text"},
		{DECODE_RAW, "{\"level\":\"info\",\"msg\":\"a\"}"},
		{DECODE_RAW, "{\"log\":\"an application's own\"}"},
		{DECODE_RAW, "{\"log\":\"a\",\"stream\":\"stdout\""},
		{DECODE_RAW, "{"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].line);
		_cleanup_free_ char *line = line_copy(&(struct bytes){cases[i].line, len});

		assert_string_equal(decode_format_name(decode_detect(line, len)),
				    decode_format_name(cases[i].format));
	}
}

static void format_names_parse(void **state)
{
	enum decode_format f = DECODE_RAW;

	assert_int_equal(decode_format_parse("auto", &f), 0);
	assert_int_equal(f, DECODE_AUTO);
	assert_int_equal(decode_format_parse("docker", &f), 0);
	assert_int_equal(f, DECODE_DOCKER);
	assert_int_equal(decode_format_parse("", &f), -EINVAL);
	assert_int_equal(decode_format_parse("CRI", &f), -EINVAL);
	assert_int_equal(f, DECODE_DOCKER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cri_lines_of_every_writer),
		cmocka_unit_test(cri_malformed_is_delivered_whole),
		cmocka_unit_test(cri_any_prefix_is_safe),
		cmocka_unit_test(time_length_accepts_only_its_shape),
		cmocka_unit_test(docker_escapes_are_undone),
		cmocka_unit_test(docker_objects_of_every_shape),
		cmocka_unit_test(docker_malformed_is_delivered_unchanged),
		cmocka_unit_test(docker_cut_line_keeps_its_text),
		cmocka_unit_test(docker_long_escapes_take_linear_time),
		cmocka_unit_test(raw_is_the_line),
		cmocka_unit_test(detect_tells_formats_apart),
		cmocka_unit_test(format_names_parse),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
