/* SPDX-License-Identifier: Apache-2.0 */
/* Input: a text. Both versions of the escape are held against one that knows nothing of tables: a
 * sequence is well-formed when the number it stands for is allowed and could not be shorter. */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "event/source.h"
#include "output/batch.h"
#include "output/encode.h"
#include "output/escape.h"

const char *const fuzz_words[] = {
	"\"",
	"\\",
	"\n",
	"\x1b[0m",
	"\x7f",
	"\xc3\xa9",
	"\xe2\x82\xac",
	"\xf0\x9f\x98\x80",
	"\x80",
	"\xc0\x80",
	"\xe0\x80",
	"\xed\xa0\x80",
	"\xf4\x90",
	"\xff",
	"\xf0\x9f",
	"{\"a\":\"b\"}",
	"plain text that fills a block of the fast path",
	"текст",
	"0123456789abcdef",
};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

/* The numbers that n bytes can stand for when they begin a character of size bytes. */
static bool prefix_allowed(const uint8_t *p, size_t n, size_t size)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t from = p[0] & (0x7fu >> size), to;

	for (size_t i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return false;
		from = from << 6 | (p[i] & 0x3f);
	}
	to = from;
	for (size_t i = n; i < size; i++) {
		from <<= 6;
		to = to << 6 | 0x3f;
	}
	if (to < least[size] || from > 0x10ffff)
		return false;
	return from < 0xd800 || to > 0xdfff;
}

/* How many bytes are one character, or the beginning of one (*whole false), at least 1. */
static size_t plain_char(const uint8_t *p, size_t n, bool *whole)
{
	size_t size = p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0, i = 0;

	while (i < size && i < n && prefix_allowed(p, i + 1, size))
		i++;
	*whole = i == size && size;
	return i ? i : 1;
}

static bool plain_escape(const uint8_t *p, size_t n, struct buf *out)
{
	static const char short_bytes[] = "\b\f\n\r\t\"\\", short_letters[] = "bfnrt\"\\";
	bool invalid = false, whole;

	for (size_t at = 0, used; at < n; at += used) {
		const char *short_form = p[at] ? strchr(short_bytes, p[at]) : NULL;

		used = 1;
		if (short_form) {
			buf_printf(out, "\\%c", short_letters[short_form - short_bytes]);
		} else if (p[at] < 0x20) {
			buf_printf(out, "\\u%04x", p[at]);
		} else if (p[at] < 0x80) {
			buf_add(out, p + at, 1);
		} else {
			used = plain_char(p + at, n - at, &whole);
			invalid |= !whole;
			buf_add(out, whole ? (const void *)(p + at) : "\xef\xbf\xbd",
				whole ? used : 3);
		}
	}
	return invalid;
}

static void check_record(const char *text, size_t len, const struct buf *want, bool invalid)
{
	static struct batch *b;
	static struct source *s;
	_cleanup_(buf_done) struct buf out = {0};
	struct encode_cursor cur = {0};

	if (!b)
		CHECK(batch_new(4096, 4096, &b) == 0 && source_new("/a", &s) == 0);
	b->records[0] = (struct record){.text = text, .text_len = (uint32_t)len};
	b->spans[0] = (struct span){.source = s, .count = 1};
	b->n_records = b->n_spans = 1;
	CHECK(encode_batch(ENCODE_NDJSON, b, &cur, SIZE_MAX, &out) == 0);
	CHECK(out.len == strlen("{\"message\":\"\",\"log.file.path\":\"/a\"}\n") + want->len);
	CHECK(memcmp(out.data + strlen("{\"message\":\""), want->data, want->len) == 0);
	CHECK(cur.invalid_records == invalid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_(buf_done) struct buf want = {0};
	_cleanup_free_ char *out = malloc(ESCAPE_ROOM(len));
	bool invalid, bad;

	CHECK(out && buf_reserve(&want, len + 1) == 0);
	invalid = plain_escape(data, len, &want);
	CHECK(escape_json_plain(out, (const char *)data, len, &bad) == out + want.len);
	CHECK(bad == invalid && memcmp(out, want.data, want.len) == 0);
	memset(out, 'x', ESCAPE_ROOM(len));
	CHECK(escape_json_narrow(out, (const char *)data, len, &bad) == out + want.len);
	CHECK(memcmp(out, want.data, want.len) == 0);
	memset(out, 'x', ESCAPE_ROOM(len));
	CHECK(escape_json(out, (const char *)data, len, &bad) == out + want.len);
	CHECK(bad == invalid && memcmp(out, want.data, want.len) == 0);
	check_record((const char *)data, len, &want, invalid);
	return 0;
}
