/* SPDX-License-Identifier: Apache-2.0 */
/* Input: one byte of options, then the line. CRI is held against a parser that is as plain as the
 * format; of every format it is checked what the callers rely on. */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "base/sys.h"
#include "drain/decode.h"
#include "drain/decode_cri.h"
#include "output/batch.h"

const char *const fuzz_words[] = {
	" stdout F ",
	" stderr P ",
	"P:x ",
	"2026-11-21T00:32:02.367544Z",
	"+00:00",
	".",
	"Z",
	" ",
	"{\"log\":\"",
	"\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T00:32:02Z\"}",
	"\\ud83d",
	"\\ude00",
	"\\u0000",
	"\\\\",
	"\\\"",
	"\"",
	"\\",
	",",
	"}",
	"{",
	"]",
	"[",
	":",
	"\"time\":",
	"\"stream\":\"stderr\"",
	"\"log\":",
	"\xf0\x9f\x98\x80",
	"\\u",
};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

static bool digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	return true;
}

static bool plain_time(const char *p, size_t n)
{
	size_t at = 19;

	if (n < 20 || n > TIME_LEN_MAX || !digits(p, 4) || p[4] != '-' || !digits(p + 5, 2) ||
	    p[7] != '-' || !digits(p + 8, 2) || p[10] != 'T' || !digits(p + 11, 2) ||
	    p[13] != ':' || !digits(p + 14, 2) || p[16] != ':' || !digits(p + 17, 2))
		return false;
	if (p[at] == '.') {
		while (++at < n && digits(p + at, 1))
			;
		if (at == 20)
			return false;
	}
	if (at + 1 == n)
		return p[at] == 'Z';
	return at + 6 == n && (p[at] == '+' || p[at] == '-') && digits(p + at + 1, 2) &&
	       p[at + 3] == ':' && digits(p + at + 4, 2);
}

/* The line up to the tag, then the text: -1 when it is no CRI line. */
static ssize_t plain_cri(const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len), *end = line + len, *p;

	if (!space || !plain_time(line, (size_t)(space - line)))
		return -1;
	p = space + 1;
	if (end - p < 8 || (memcmp(p, "stdout ", 7) != 0 && memcmp(p, "stderr ", 7) != 0))
		return -1;
	p += 7;
	if (*p != 'P' && *p != 'F')
		return -1;
	p++;
	if (p == end || *p == ' ')
		return p == end ? (ssize_t)len : p + 1 - line;
	if (*p != ':')
		return -1;
	space = memchr(p, ' ', (size_t)(end - p));
	return space ? space + 1 - line : (ssize_t)len;
}

static void check(enum decode_format format, const char *line, size_t len, bool cut)
{
	enum decode_format detected = decode_detect(line, len);
	char *copy = malloc(len ? len : 1);
	struct decoded d;

	CHECK(copy);
	memcpy(copy, line, len);
	decode_line(format, copy, len, cut, &d);
	CHECK(d.text >= copy && d.text + d.text_len <= copy + len);
	CHECK(d.time || !d.time_len);
	CHECK(!d.time || (d.time >= copy && plain_time(d.time, d.time_len)));
	CHECK(d.time_len <= 64 && d.stream <= STREAM_STDERR);
	CHECK(!d.malformed || (d.text == copy && d.text_len == len && !d.time && !d.partial &&
			       d.stream == STREAM_NONE && memcmp(copy, line, len) == 0));
	CHECK(detected != DECODE_AUTO);
	if (format == DECODE_RAW)
		CHECK(!d.malformed && d.text_len == len);
	if (format == DECODE_CRI) {
		ssize_t text = plain_cri(line, len);

		CHECK(d.malformed == (text < 0));
		CHECK((detected == DECODE_CRI) == (text >= 0));
		CHECK(text < 0 || d.text == copy + text);
		CHECK(text < 0 || d.text + d.text_len == copy + len);
		CHECK(memcmp(copy, line, len) == 0);
	}
	if (format == DECODE_DOCKER && detected == DECODE_DOCKER && cut)
		CHECK(!d.malformed || memmem(line, len, "time", 4));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (!len)
		return 0;
	/* The options turn the formats round, so that a seed meets its own in any case. */
	for (int f = DECODE_CRI; f <= DECODE_RAW; f++)
		check((enum decode_format)f, (const char *)data + 1, len - 1, data[0] & 1);
	return 0;
}
