/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <limits.h>
#include <sys/sysmacros.h>

#include "account/checkpoint.h"
#include "base/buf.h"
#include "base/sys.h"

static const struct checkpoint_entry plain = {
	.dev = 0x801, /* 8:1 */
	.ino = 1311,
	.btime_ns = INT64_C(1795237001000000000),
	.offset = 4096,
	.size = 8192,
	.consumed = 9000,
	.head_len = 1024,
	.head_sum = 0x0a1b2c3d,
	.mark_len = 128,
	.mark_sum = 0x99887766,
	.path = (char *)"/var/log/pods/a b/0.log",
};

static struct checkpoint_entry with_path(char *path)
{
	struct checkpoint_entry e = plain;

	e.path = path;
	return e;
}

static void text_of(struct buf *out, const struct checkpoint_entry *entries, size_t n)
{
	assert_int_equal(checkpoint_begin(out, INT64_C(1795237679123456789)), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(checkpoint_add(out, &entries[i]), 0);
	assert_int_equal(checkpoint_end(out, n, 0), 0);
}

/* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
static int parse(const char *text, size_t len, struct checkpoint *ret, char why[CHECKPOINT_WHY_MAX])
{
	char *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, len);
	memset(why, 1, CHECKPOINT_WHY_MAX);
	r = checkpoint_parse(copy, len, ret, why, CHECKPOINT_WHY_MAX);
	free(copy);
	if (r < 0) {
		assert_non_null(memchr(why, '\0', CHECKPOINT_WHY_MAX));
		for (const char *p = why; *p; p++)
			assert_true(*p >= ' ' && *p < 0x7f);
	}
	return r;
}

static void assert_refused(const char *text, size_t len)
{
	struct checkpoint c = {.n = 77};
	char why[CHECKPOINT_WHY_MAX];

	assert_true(parse(text, len, &c, why) < 0);
	assert_int_equal(c.n, 77); /* written on success only */
}

static void assert_same(const struct checkpoint_entry *a, const struct checkpoint_entry *b)
{
	assert_true(a->dev == b->dev && a->ino == b->ino && a->btime_ns == b->btime_ns);
	assert_true(a->offset == b->offset && a->size == b->size && a->flags == b->flags);
	assert_true(a->consumed == b->consumed);
	assert_true(a->head_len == b->head_len && a->head_sum == b->head_sum);
	assert_true(a->mark_len == b->mark_len && a->mark_sum == b->mark_sum);
	assert_string_equal(a->path, b->path);
}

static void assert_round_trip(const struct checkpoint_entry *entries, size_t n)
{
	struct checkpoint c;
	struct buf out = {0}, again = {0};
	char why[CHECKPOINT_WHY_MAX];

	text_of(&out, entries, n);
	assert_int_equal(parse(out.data, out.len, &c, why), 0);
	assert_int_equal(c.n, n);
	assert_true(c.time_ns == INT64_C(1795237679123456789));
	for (size_t i = 0; i < n; i++)
		assert_same(&c.entries[i], &entries[i]);
	text_of(&again, c.entries, c.n);
	assert_int_equal(again.len, out.len);
	assert_memory_equal(again.data, out.data, out.len);
	checkpoint_done(&c);
	buf_done(&out);
	buf_done(&again);
}

#define COLUMNS                                                                           \
	"# dev ino born offset size consumed head mark flags path, account written read " \
	"delivered uncounted records lost path\n"

static void text_is_as_the_header_shows_it(void **state)
{
	static const char want[] =
		"hotdrain checkpoint 2 1795237679.123456789\n" COLUMNS
		"8:1 1311 1795237001.000000000 4096 8192 9000 1024:0a1b2c3d 128:99887766 - "
		"/var/log/pods/a%20b/0.log\n"
		"8:1 1312 0.000000000 300 300 300 300:deadbeef 0:00000000 dzs /c/0.log.1.gz\n";
	struct checkpoint_entry e[2] = {plain, plain};
	struct buf out = {0};
	char end[64];

	e[1].ino = 1312;
	e[1].btime_ns = 0;
	e[1].offset = e[1].size = e[1].consumed = e[1].head_len = 300;
	e[1].head_sum = 0xdeadbeef;
	e[1].mark_len = e[1].mark_sum = 0;
	e[1].flags = CHECKPOINT_DONE | CHECKPOINT_GZ | CHECKPOINT_SKIP;
	e[1].path = (char *)"/c/0.log.1.gz";
	assert_int_equal(buf_add(&out, "what was there before", 21), 0);
	text_of(&out, e, 2);
	snprintf(end, sizeof(end), "end 2 0 %08x\n", checkpoint_sum(want, strlen(want)));
	assert_int_equal(out.len, strlen(want) + strlen(end));
	assert_memory_equal(out.data, want, strlen(want));
	assert_memory_equal(out.data + strlen(want), end, strlen(end));
	buf_done(&out);
}

static void sum_is_the_crc32_of_zlib(void **state)
{
	assert_int_equal(checkpoint_sum("123456789", 9), 0xcbf43926);
	assert_int_equal(checkpoint_sum(NULL, 0), 0);
}

static void nothing_to_keep_is_a_checkpoint_too(void **state)
{
	assert_round_trip(NULL, 0);
}

static void odd_paths_come_back(void **state)
{
	char *all = malloc(257), *longest = malloc(PATH_MAX), *blanks = malloc(PATH_MAX);
	struct checkpoint_entry e[7];

	all[0] = '/';
	for (int i = 1; i < 256; i++)
		all[i] = (char)i;
	all[256] = '\0';
	memset(longest, 'x', PATH_MAX - 1);
	memset(blanks, '\n', PATH_MAX - 1);
	longest[0] = blanks[0] = '/';
	longest[PATH_MAX - 1] = blanks[PATH_MAX - 1] = '\0';
	e[0] = with_path((char *)"/");
	e[1] = with_path((char *)"/with blanks\nand\tlines%20, %, %%41");
	e[2] = with_path((char *)"/\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80/\xff\xfe");
	e[3] = with_path((char *)"/end 1 00000000");
	e[4] = with_path(all);
	e[5] = with_path(longest);
	e[6] = with_path(blanks);
	assert_int_equal(strlen(longest), 4095);
	assert_round_trip(e, ARRAY_SIZE(e));
	free(all);
	free(longest);
	free(blanks);
}

static void extreme_numbers_come_back(void **state)
{
	struct checkpoint_entry e[6] = {plain, plain, plain, plain, plain, plain};

	e[0].dev = makedev(UINT32_MAX, UINT32_MAX);
	e[0].ino = UINT64_MAX;
	e[0].offset = e[0].size = e[0].consumed = INT64_MAX;
	e[0].head_sum = e[0].mark_sum = UINT32_MAX;
	e[1].btime_ns = INT64_MAX;
	e[2].btime_ns = INT64_MIN;
	e[3].btime_ns = -1;
	e[4].dev = e[4].ino = e[4].offset = e[4].size = e[4].consumed = 0;
	e[4].head_len = e[4].mark_len = e[4].head_sum = e[4].mark_sum = 0;
	e[5].dev = makedev(259, 1048575);
	assert_round_trip(e, ARRAY_SIZE(e));
}

static void each_combination_of_flags_comes_back(void **state)
{
	struct checkpoint_entry e[8];

	for (unsigned i = 0; i < 8; i++) {
		e[i] = plain;
		e[i].flags = i;
	}
	assert_round_trip(e, 8);
}

static void one_inode_may_have_two_lines(void **state)
{
	struct checkpoint_entry e[3] = {plain, plain, plain};

	e[1].path = (char *)"/another/name";
	assert_round_trip(e, 3);
}

static void every_truncation_is_refused(void **state)
{
	struct checkpoint_entry e[3] = {plain, plain, plain};
	struct buf out = {0};

	text_of(&out, e, 3);
	for (size_t len = 0; len < out.len; len++)
		assert_refused(out.data, len);
	buf_done(&out);
}

static void every_changed_bit_is_refused(void **state)
{
	struct checkpoint_entry e[3] = {plain, plain, plain};
	struct buf out = {0};

	e[1].flags = CHECKPOINT_DONE;
	text_of(&out, e, 3);
	for (size_t i = 0; i < out.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			out.data[i] ^= (char)(1 << bit);
			assert_refused(out.data, out.len);
			out.data[i] ^= (char)(1 << bit);
		}
	buf_done(&out);
}

static void every_missing_or_doubled_line_is_refused(void **state)
{
	struct checkpoint_entry e[3] = {plain, plain, plain};
	struct buf out = {0}, other = {0};

	text_of(&out, e, 3);
	for (char *line = out.data, *next; line < out.data + out.len; line = next) {
		next = (char *)memchr(line, '\n', 1000) + 1;
		other.len = 0;
		assert_int_equal(buf_add(&other, out.data, (size_t)(line - out.data)), 0);
		assert_int_equal(buf_add(&other, next, (size_t)(out.data + out.len - next)), 0);
		assert_refused(other.data, other.len);
		other.len = 0;
		assert_int_equal(buf_add(&other, out.data, (size_t)(next - out.data)), 0);
		assert_int_equal(buf_add(&other, line, (size_t)(out.data + out.len - line)), 0);
		assert_refused(other.data, other.len);
	}
	buf_done(&out);
	buf_done(&other);
}

/* A right sum over something that is never written: reads head, then line, then the end. */
#define HEAD   "hotdrain checkpoint 2 1.000000000\n# c\n"
#define HEAD_1 "hotdrain checkpoint 1 1.000000000\n# c\n"

static void assert_line_refused(const char *line, const char *reason)
{
	struct checkpoint c;
	struct buf out = {0};
	char why[CHECKPOINT_WHY_MAX];
	int r;

	assert_int_equal(buf_add(&out, HEAD, strlen(HEAD)), 0);
	assert_int_equal(buf_add(&out, line, strlen(line)), 0);
	assert_int_equal(buf_add(&out, "\n", 1), 0);
	assert_int_equal(checkpoint_end(&out, 1, 0), 0);
	r = parse(out.data, out.len, &c, why);
	if (r != -EBADMSG || !strstr(why, "line 3: expected ") || !strstr(why, reason))
		fail_msg("%s: %d, %s, not %s", line, r, r < 0 ? why : "accepted", reason);
	buf_done(&out);
}

static void other_spellings_are_refused(void **state)
{
	static const struct {
		const char *line, *reason;
	} cases[] = {
		{"", "came the end of the line"},
		{" ", "came a blank"},
		{"# a comment", "dev as MAJOR:MINOR"},
		{"8 1 0.000000000 0 0 0 0:00000000 0:00000000 - /a", "dev as MAJOR:MINOR"},
		{"08:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /a", "came \"08:1\""},
		{"8:4294967296 1 0.000000000 0 0 0 0:00000000 0:00000000 - /a", "dev as"},
		{"8:1 +1 0.000000000 0 0 0 0:00000000 0:00000000 - /a",
		 "ino, a number, came \"+1\""},
		{"8:1  1 0.000000000 0 0 0 0:00000000 0:00000000 - /a",
		 "ino, a number, came a bla"},
		{"8:1\t1 0.000000000 0 0 0 0:00000000 0:00000000 - /a", "came \"?1\""},
		{"8:1 18446744073709551616 0.000000000 0 0 0 0:00000000 0:00000000 - /a", "ino, "},
		{"8:1 1 0 0 0 0 0:00000000 0:00000000 - /a", "born as"},
		{"8:1 1 0.00000000 0 0 0 0:00000000 0:00000000 - /a", "born as"},
		{"8:1 1 0.0000000000 0 0 0 0:00000000 0:00000000 - /a", "born as"},
		{"8:1 1 -0.000000000 0 0 0 0:00000000 0:00000000 - /a", "born as"},
		{"8:1 1 9223372036.854775808 0 0 0 0:00000000 0:00000000 - /a", "born as"},
		{"8:1 1 -9223372036.854775809 0 0 0 0:00000000 0:00000000 - /a", "born as"},
		{"8:1 1 0.000000000 9223372036854775808 0 0 0:00000000 0:00000000 - /a", "offset"},
		{"8:1 1 0.000000000 0 9223372036854775808 0 0:00000000 0:00000000 - /a", "size"},
		{"8:1 1 0.000000000 0 0 0:00000000 0:00000000 - /a",
		 "consumed, a number not below the offset, came \":00000000\""},
		{"8:1 1 0.000000000 5 5 4 0:00000000 0:00000000 - /a", "consumed, a number not "},
		{"8:1 1 0.000000000 5 5 4 0:00000000 0:00000000 - /a", "came \"4\""},
		{"8:1 1 0.000000000 0 0 9223372036854775808 0:00000000 0:00000000 - /a", "consu"},
		{"8:1 1 0.000000000 0 0 00 0:00000000 0:00000000 - /a", "consumed"},
		{"8:1 1 0.000000000 0 0 0 1025:00000000 0:00000000 - /a", "head as"},
		{"8:1 1 0.000000000 0 0 0 0:0000000 0:00000000 - /a", "head as"},
		{"8:1 1 0.000000000 0 0 0 0:0000000A 0:00000000 - /a", "head as"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 129:00000000 - /a", "mark as"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0 - /a", "mark as"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000  /a", "flags"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 zd /a", "flags"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 -d /a", "flags"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 x /a", "flags"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 -", "flags"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - ", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - a/b", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 -  /a", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /a b", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /a\r", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /a\x7f", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /%41", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /%0a", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /%00", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /%2", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /%", "path"},
		{"8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /%%", "path"},
		{"end", "dev as MAJOR:MINOR"},
		{"END 1 00000000", "dev as MAJOR:MINOR"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_line_refused(cases[i].line, cases[i].reason);
}

static void too_long_a_path_is_refused(void **state)
{
	static const char before[] = "8:1 1 0.000000000 0 0 0 0:00000000 0:00000000 - /";
	char *line = malloc(sizeof(before) + 3 * PATH_MAX), *at = line + sizeof(before) - 1;

	strcpy(line, before);
	memset(at, 'x', PATH_MAX - 1);
	at[PATH_MAX - 1] = '\0';
	assert_line_refused(line, "path");
	for (int i = 0; i < PATH_MAX - 1; i++)
		memcpy(at + 3 * i, "%0A", 4);
	assert_line_refused(line, "path");
	free(line);
}

static void text_around_the_lines_is_looked_at(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *why;
	} cases[] = {
		{"", -EBADMSG, "empty"},
		{"\n", -EBADMSG, "line 1: expected \"hotdrain checkpoint\", came the end of the"},
		{"{\"a\": 1}", -EBADMSG,
		 "line 1: expected \"hotdrain checkpoint\", came \"{\"a\":"},
		{"hotdrain checkpoint 7", -EBADMSG, "line 1: expected a version"},
		{"hotdrain checkpoint 7\n", -EPROTONOSUPPORT, "version 7, this program knows 2"},
		{"hotdrain checkpoint 7 what is it\n", -EPROTONOSUPPORT, "version 7, this pro"},
		{"hotdrain checkpoint 10 \x01\x02", -EPROTONOSUPPORT, "version 10, this program"},
		{"hotdrain checkpoint 7.1\n", -EBADMSG, "expected a version"},
		{"hotdrain checkpoint 0 1.000000000\n", -EBADMSG, "line 1: expected a version"},
		{"hotdrain checkpoint 99999999999999999999 1\n", -EBADMSG, "expected a version"},
		{"hotdrain checkpoint 1\n", -EBADMSG, "line 1: expected the time"},
		{"hotdrain checkpoint 1 \n", -EBADMSG, "line 1: expected the time"},
		{"hotdrain checkpoint 1 1.000000000\r\n", -EBADMSG, "line 1: expected the time"},
		{"hotdrain checkpoint 1 1.000000000\n", -EBADMSG, "line 2: expected a comment"},
		{"hotdrain checkpoint 1 1.000000000\nend 0 x\n", -EBADMSG, "line 2: expected a co"},
		{"hotdrain checkpoint 1 1.000000000\n# c", -EBADMSG, "line 2: expected a whole"},
		{"hotdrain checkpoint 3\n", -EPROTONOSUPPORT, "version 3, this program knows 2"},
		{"hotdrain checkpoint 2 \n", -EBADMSG, "line 1: expected the time"},
		{"hotdrain checkpoint 2 1.000000000\n# c", -EBADMSG, "line 2: expected a whole"},
		{HEAD_1, -EBADMSG, "line 3: expected dev"},
		{HEAD_1 "end \n", -EBADMSG,
		 "line 3: expected \"end COUNT SUM\", whole, came the end of the"},
		{HEAD_1 "end 0\n", -EBADMSG, "line 3: expected \"end COUNT SUM\""},
		{HEAD_1 "end 00 00000000\n", -EBADMSG, "line 3: expected \"end COUNT SUM\""},
		{HEAD_1 "end 0 0 00000000\n", -EBADMSG, "line 3: expected \"end COUNT SUM\""},
		{HEAD_1 "end 1 00000000\n", -EBADMSG, "line 3: expected 1 files, came 0"},
		{HEAD_1 "end 18446744073709551615 00000000\n", -EBADMSG,
		 "expected 18446744073709551615 files, came 0"},
		{HEAD_1 "end 0 00000000\n", -EBADMSG, "line 3: expected the sum 00000000, came "},
		{HEAD_1 "end 0 00000000\r\n", -EBADMSG, "expected \"end COUNT SUM\", whole"},
		{HEAD_1 "account 0 0 0 0 0 - -\n", -EBADMSG, "line 3: expected dev as"},
		{HEAD, -EBADMSG, "line 3: expected dev"},
		{HEAD "end \n", -EBADMSG,
		 "line 3: expected \"end FILES ACCOUNTS SUM\", whole, came the end of the"},
		{HEAD "end 0 0\n", -EBADMSG, "expected \"end FILES ACCOUNTS SUM\""},
		{HEAD "end 0 00000000\n", -EBADMSG, "expected \"end FILES ACCOUNTS SUM\""},
		{HEAD "end 0 00 00000000\n", -EBADMSG, "expected \"end FILES ACCOUNTS SUM\""},
		{HEAD "end 0 0 00000000 \n", -EBADMSG, "expected \"end FILES ACCOUNTS SUM\""},
		{HEAD "end 0 0 00000000", -EBADMSG, "expected \"end FILES ACCOUNTS SUM\""},
		{HEAD "end 1 0 00000000\n", -EBADMSG, "line 3: expected 1 files, came 0"},
		{HEAD "end 0 1 00000000\n", -EBADMSG, "line 3: expected 1 accounts, came 0"},
		{HEAD "account 0 0 0 0 0 - -\nend 0 0 00000000\n", -EBADMSG,
		 "line 4: expected 0 accounts, came 1"},
		{HEAD "end 0 0 00000000\n", -EBADMSG, "line 3: expected the sum 00000000, came "},
		{HEAD "account 0 0 0 0 0 - -\n8:1 1 0.000000000", -EBADMSG,
		 "line 4: expected \"account\", or the last line, \"end\", came \"8:1\""},
		{HEAD "account 0 0 0 0 0 - -", -EBADMSG, "line 3: expected a whole line"},
	};
	struct checkpoint c;
	char why[CHECKPOINT_WHY_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = parse(cases[i].text, strlen(cases[i].text), &c, why);

		if (r != cases[i].r || !strstr(why, cases[i].why))
			fail_msg("%s: %d, %s", cases[i].text, r, why);
	}
}

static void nothing_may_follow_the_end(void **state)
{
	static const char *const more[] = {"end 1 00000000\n", "\n", "x", " ", "# bye\n"};
	struct buf out = {0};
	size_t len;

	text_of(&out, &plain, 1);
	len = out.len;
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		out.len = len;
		assert_int_equal(buf_add(&out, more[i], strlen(more[i])), 0);
		assert_refused(out.data, out.len);
	}
	/* The whole of it twice. */
	out.len = len;
	assert_int_equal(buf_reserve(&out, len), 0);
	assert_int_equal(buf_add(&out, out.data, len), 0);
	assert_refused(out.data, out.len);
	buf_done(&out);
}

static void text_of_a_windows_editor_is_refused(void **state)
{
	struct buf out = {0}, crlf = {0};

	text_of(&out, &plain, 1);
	for (size_t i = 0; i < out.len; i++) {
		if (out.data[i] == '\n')
			assert_int_equal(buf_add(&crlf, "\r", 1), 0);
		assert_int_equal(buf_add(&crlf, out.data + i, 1), 0);
	}
	assert_refused(crlf.data, crlf.len);
	buf_done(&out);
	buf_done(&crlf);
}

static void zeros_and_noise_are_refused(void **state)
{
	char block[4096] = {0};
	unsigned seed = 1;

	assert_refused(block, sizeof(block)); /* what a crash leaves of a file not yet written */
	for (int round = 0; round < 100; round++) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (char)rand_r(&seed);
		assert_refused(block, sizeof(block));
	}
}

static void more_files_than_the_limit_are_refused(void **state)
{
	struct checkpoint_entry e = with_path((char *)"/a");
	struct checkpoint c;
	struct buf out = {0};
	char why[CHECKPOINT_WHY_MAX];
	size_t line;

	assert_int_equal(checkpoint_begin(&out, 0), 0);
	for (uint32_t i = 0; i < CHECKPOINT_ENTRIES_MAX; i++)
		assert_int_equal(checkpoint_add(&out, &e), 0);
	line = out.len;
	assert_int_equal(checkpoint_end(&out, UINT64_C(1) + CHECKPOINT_ENTRIES_MAX, 0), -E2BIG);
	assert_int_equal(out.len, line);
	assert_int_equal(checkpoint_end(&out, CHECKPOINT_ENTRIES_MAX, 0), 0);
	assert_int_equal(checkpoint_parse(out.data, out.len, &c, why, sizeof(why)), 0);
	assert_int_equal(c.n, CHECKPOINT_ENTRIES_MAX);
	checkpoint_done(&c);
	out.len = line;
	assert_int_equal(checkpoint_add(&out, &e), 0);
	assert_int_equal(checkpoint_end(&out, CHECKPOINT_ENTRIES_MAX, 0), 0);
	assert_int_equal(checkpoint_parse(out.data, out.len, &c, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "line 1048579: expected the last line"));
	buf_done(&out);
}

static void what_is_beyond_the_limits_is_not_written(void **state)
{
	char *longer = malloc(PATH_MAX + 1);
	struct checkpoint_entry bad[10];
	struct buf out = {0};
	size_t len;

	memset(longer, '/', PATH_MAX);
	longer[PATH_MAX] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = plain;
	bad[0].path = longer;
	bad[1].path = (char *)"relative";
	bad[2].path = (char *)"";
	bad[3].offset = UINT64_C(1) + INT64_MAX;
	bad[4].size = UINT64_MAX;
	bad[5].head_len = CHECKPOINT_HEAD_MAX + 1;
	bad[6].mark_len = CHECKPOINT_MARK_MAX + 1;
	bad[7].flags = 1 << 3;
	bad[8].flags = UINT32_MAX;
	bad[9].consumed = UINT64_C(1) + INT64_MAX;
	assert_int_equal(checkpoint_begin(&out, 0), 0);
	len = out.len;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(checkpoint_add(&out, &bad[i]), -EINVAL);
		assert_int_equal(out.len, len);
	}
	buf_done(&out);
	free(longer);
}

static void a_short_why_is_cut_not_overrun(void **state)
{
	struct checkpoint c;
	char *why = malloc(8);

	assert_int_equal(checkpoint_parse("nonsense", 8, &c, why, 8), -EBADMSG);
	assert_string_equal(why, "line 1:");
	free(why);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(text_is_as_the_header_shows_it),
	cmocka_unit_test(sum_is_the_crc32_of_zlib),
	cmocka_unit_test(nothing_to_keep_is_a_checkpoint_too),
	cmocka_unit_test(odd_paths_come_back),
	cmocka_unit_test(extreme_numbers_come_back),
	cmocka_unit_test(each_combination_of_flags_comes_back),
	cmocka_unit_test(one_inode_may_have_two_lines),
	cmocka_unit_test(every_truncation_is_refused),
	cmocka_unit_test(every_changed_bit_is_refused),
	cmocka_unit_test(every_missing_or_doubled_line_is_refused),
	cmocka_unit_test(other_spellings_are_refused),
	cmocka_unit_test(too_long_a_path_is_refused),
	cmocka_unit_test(text_around_the_lines_is_looked_at),
	cmocka_unit_test(nothing_may_follow_the_end),
	cmocka_unit_test(text_of_a_windows_editor_is_refused),
	cmocka_unit_test(zeros_and_noise_are_refused),
	cmocka_unit_test(more_files_than_the_limit_are_refused),
	cmocka_unit_test(what_is_beyond_the_limits_is_not_written),
	cmocka_unit_test(a_short_why_is_cut_not_overrun),
};

RUN_TESTS(tests)
