/* SPDX-License-Identifier: Apache-2.0 */
/* What version 2 of the checkpoint has beside the files, and that version 1 is still read. */
#include "test.h"

#include <errno.h>
#include <limits.h>

#include "account/checkpoint.h"
#include "account/ledger.h"
#include "base/buf.h"
#include "base/sys.h"

#define TIME_NS INT64_C(1795237679123456789)
#define HEAD    "hotdrain checkpoint 2 1.000000000\n# c\n"

static const struct checkpoint_entry file = {
	.dev = 0x801,
	.ino = 1311,
	.offset = 4096,
	.size = 8192,
	.consumed = 4096,
	.path = (char *)"/var/log/pods/a/0.log",
};

static const struct checkpoint_account plain = {
	.written = 13000,
	.read = 9000,
	.delivered = 8900,
	.records = 120,
	.lost = {[LOST_TRUNCATED] = {50, 1}, [LOST_VANISHED] = {0, 2}},
	.path = (char *)"/pods/a b/0.log",
};

static void text_of(struct buf *out, size_t files, const struct checkpoint_account *accounts,
		    size_t n)
{
	assert_int_equal(checkpoint_begin(out, TIME_NS), 0);
	for (size_t i = 0; i < files; i++)
		assert_int_equal(checkpoint_add(out, &file), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(checkpoint_add_account(out, &accounts[i]), 0);
	assert_int_equal(checkpoint_end(out, files, n), 0);
}

/* In memory of exactly its size, so that a sanitizer sees a read beyond it. */
static int parse(const char *text, size_t len, struct checkpoint *ret, char why[CHECKPOINT_WHY_MAX])
{
	char *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, len);
	r = checkpoint_parse(copy, len, ret, why, CHECKPOINT_WHY_MAX);
	free(copy);
	return r;
}

static void assert_refused(const char *text, size_t len)
{
	struct checkpoint c = {.n = 77};
	char why[CHECKPOINT_WHY_MAX];

	assert_true(parse(text, len, &c, why) < 0);
	for (const char *p = why; *p; p++)
		assert_true(*p >= ' ' && *p < 0x7f);
	assert_int_equal(c.n, 77); /* written on success only */
}

static void assert_same(const struct checkpoint_account *a, const struct checkpoint_account *b)
{
	assert_true(a->written == b->written && a->read == b->read);
	assert_true(a->delivered == b->delivered && a->uncounted == b->uncounted);
	assert_int_equal(a->records, b->records);
	assert_memory_equal(a->lost, b->lost, sizeof(a->lost));
	assert_string_equal(a->path, b->path);
}

static void assert_round_trip(size_t files, const struct checkpoint_account *accounts, size_t n)
{
	struct checkpoint c;
	struct buf out = {0}, again = {0};
	char why[CHECKPOINT_WHY_MAX];

	text_of(&out, files, accounts, n);
	assert_int_equal(parse(out.data, out.len, &c, why), 0);
	assert_true(c.n == files && c.n_accounts == n && c.version == 2);
	for (size_t i = 0; i < n; i++)
		assert_same(&c.accounts[i], &accounts[i]);
	text_of(&again, files, c.accounts, c.n_accounts);
	assert_int_equal(again.len, out.len);
	assert_memory_equal(again.data, out.data, out.len);
	checkpoint_done(&c);
	assert_true(!c.accounts && !c.n_accounts);
	buf_done(&out);
	buf_done(&again);
}

static void accounts_are_spelled_as_the_header_shows_them(void **state)
{
	static const char want[] =
		"account 13000 9000 8900 0 120 truncated=50:1,vanished=0:2 /pods/a%20b/0.log\n"
		"account 700 700 700 0 9 - -\n"
		"end 1 2 ";
	const struct checkpoint_account gone = {
		.written = 700, .read = 700, .delivered = 700, .records = 9, .path = (char *)""};
	const struct checkpoint_account accounts[] = {plain, gone};
	struct buf out = {0};
	char sum[16];
	size_t before;

	text_of(&out, 1, accounts, 2);
	before = out.len - strlen("6c1d8a55\n") - strlen(want);
	assert_memory_equal(out.data + before, want, strlen(want));
	snprintf(sum, sizeof(sum), "%08x\n",
		 checkpoint_sum(out.data, before + strlen(want) - strlen("end 1 2 ")));
	assert_memory_equal(out.data + out.len - strlen(sum), sum, strlen(sum));
	buf_done(&out);
}

static void all_kinds_come_back(void **state)
{
	char *longest = malloc(PATH_MAX);
	struct checkpoint_account a[9];

	memset(longest, '\n', PATH_MAX - 1);
	longest[0] = '/';
	longest[PATH_MAX - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = plain;
	a[0].path = (char *)"";
	memset(a[1].lost, 0, sizeof(a[1].lost));
	a[2] = (struct checkpoint_account){.path = (char *)"/"};
	memset(&a[3], 0xff, sizeof(a[3])); /* each number at its longest */
	a[3].path = longest;
	a[4].path = (char *)"/-";
	a[5].path = (char *)"/end 0 0 00000000\naccount 0";
	a[6].path = (char *)"/\xc3\xa4\xff\x01\x7f%%41";
	a[7].delivered = a[7].read + 1; /* what the figures mean is not looked at */
	/* a[8]: a log may have two */
	assert_round_trip(0, NULL, 0);
	assert_round_trip(0, a, ARRAY_SIZE(a));
	assert_round_trip(3, a, ARRAY_SIZE(a));
	assert_round_trip(3, NULL, 0);
	free(longest);
}

static void every_combination_of_reasons_comes_back(void **state)
{
	for (unsigned mask = 0; mask < 1u << LOST_REASONS; mask++) {
		struct checkpoint_account a[3] = {plain, plain, plain};

		for (unsigned i = 0; i < LOST_REASONS; i++) {
			unsigned on = mask >> i & 1;

			a[0].lost[i] = (struct lost){on * (i + 1), on * 10};
			a[1].lost[i] = (struct lost){on * UINT64_MAX, 0};
			a[2].lost[i] = (struct lost){0, on};
		}
		assert_round_trip(1, a, 3);
	}
}

/* What an older hotdrain left behind: made here as it made it. */
static void version_1_is_read_and_continued(void **state)
{
	static const char text[] =
		"hotdrain checkpoint 1 1795237679.123456789\n"
		"# dev ino born offset size head mark flags path\n"
		"8:1 1311 1795237001.000000000 4096 8192 1024:0a1b2c3d 128:99887766 -@1:4000 "
		"/var/log/pods/a%20b/0.log\n"
		"8:1 1312 0.000000000 300 300 300:deadbeef 0:00000000 dzs /c/0.log.1.gz\n";
	struct buf out = {0};
	struct checkpoint c, again;
	char why[CHECKPOINT_WHY_MAX];

	assert_int_equal(
		buf_printf(&out, "%send 2 %08x\n", text, checkpoint_sum(text, strlen(text))), 0);
	assert_int_equal(parse(out.data, out.len, &c, why), 0);
	assert_true(c.n == 2 && c.n_accounts == 0 && c.version == 1);
	assert_true(c.time_ns == TIME_NS);
	assert_true(c.entries[0].offset == 4096 && c.entries[0].size == 8192);
	assert_true(c.entries[0].consumed == 4096 && c.entries[1].consumed == 300);
	assert_true(c.entries[0].head_len == 1024 && c.entries[0].mark_sum == 0x99887766);
	assert_int_equal(c.entries[0].open[1], 4001);
	assert_string_equal(c.entries[0].path, "/var/log/pods/a b/0.log");
	assert_int_equal(c.entries[1].flags, 7);

	assert_int_equal(checkpoint_begin(&out, c.time_ns), 0);
	for (size_t i = 0; i < c.n; i++)
		assert_int_equal(checkpoint_add(&out, &c.entries[i]), 0);
	assert_int_equal(checkpoint_end(&out, c.n, 0), 0);
	assert_int_equal(parse(out.data, out.len, &again, why), 0);
	assert_true(again.version == 2 && again.n == 2);
	assert_true(again.entries[0].consumed == 4096);
	checkpoint_done(&c);
	checkpoint_done(&again);
	buf_done(&out);
}

static void version_1_is_refused_when_it_is_corrupt(void **state)
{
	static const char text[] =
		"hotdrain checkpoint 1 1795237679.123456789\n"
		"# dev ino born offset size head mark flags path\n"
		"8:1 1311 0.000000000 4096 8192 1024:0a1b2c3d 128:99887766 - /a\n";
	struct buf out = {0};

	assert_int_equal(
		buf_printf(&out, "%send 1 %08x\n", text, checkpoint_sum(text, strlen(text))), 0);
	for (size_t len = 0; len < out.len; len++)
		assert_refused(out.data, len);
	for (size_t i = 0; i < 8 * out.len; i++) {
		out.data[i / 8] ^= (char)(1 << i % 8);
		assert_refused(out.data, out.len);
		out.data[i / 8] ^= (char)(1 << i % 8);
	}
	buf_done(&out);
}

/* One version's lines under the other's name, with a sum that is right. */
static void versions_are_not_mixed(void **state)
{
	static const struct {
		const char *text, *end;
	} cases[] = {
		{"hotdrain checkpoint 1 1.000000000\n# c\n"
		 "8:1 1 0.000000000 5 5 5 0:00000000 0:00000000 - /a\n",
		 "end 1 "},
		{"hotdrain checkpoint 2 1.000000000\n# c\n"
		 "8:1 1 0.000000000 5 5 0:00000000 0:00000000 - /a\n",
		 "end 1 0 "},
		{"hotdrain checkpoint 1 1.000000000\n# c\n", "end 0 0 "},
		{"hotdrain checkpoint 2 1.000000000\n# c\n", "end 0 "},
		{"hotdrain checkpoint 1 1.000000000\n# c\naccount 0 0 0 0 0 - -\n", "end 0 "},
		{"hotdrain checkpoint 1 1.000000000\n# c\naccount 0 0 0 0 0 - -\n", "end 0 1 "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out = {0};

		assert_int_equal(buf_printf(&out, "%s%s%08x\n", cases[i].text, cases[i].end,
					    checkpoint_sum(cases[i].text, strlen(cases[i].text))),
				 0);
		assert_refused(out.data, out.len);
		buf_done(&out);
	}
}

static void every_truncation_and_every_changed_bit_is_refused(void **state)
{
	struct checkpoint_account a[3] = {plain, plain, plain};
	struct buf out = {0};

	a[0].path = (char *)"";
	memset(a[1].lost, 0, sizeof(a[1].lost));
	text_of(&out, 1, a, 3);
	for (size_t len = 0; len < out.len; len++)
		assert_refused(out.data, len);
	for (size_t i = 0; i < 8 * out.len; i++) {
		out.data[i / 8] ^= (char)(1 << i % 8);
		assert_refused(out.data, out.len);
		out.data[i / 8] ^= (char)(1 << i % 8);
	}
	buf_done(&out);
}

static void every_missing_doubled_or_exchanged_line_is_refused(void **state)
{
	struct checkpoint_account a[3] = {plain, plain, plain};
	struct buf out = {0}, other = {0};

	a[0].read++; /* each line is another */
	a[1].read--;
	text_of(&out, 2, a, 3);
	assert_int_equal(buf_reserve(&other, 2 * out.len), 0);
	for (char *line = out.data, *next; line < out.data + out.len; line = next) {
		size_t before = (size_t)(line - out.data), after, n;

		next = (char *)memchr(line, '\n', 1000) + 1;
		n = (size_t)(next - line);
		after = out.len - before - n;
		memcpy(mempcpy(other.data, out.data, before), next, after);
		assert_refused(other.data, out.len - n);
		memcpy(mempcpy(other.data, out.data, before + n), line, n + after);
		assert_refused(other.data, out.len + n);
		if (after) { /* with the next one; the two files are the same */
			char *over = (char *)memchr(next, '\n', 1000) + 1;
			char *to = mempcpy(other.data, out.data, before);

			to = mempcpy(to, next, (size_t)(over - next));
			to = mempcpy(to, line, n);
			memcpy(to, over, (size_t)(out.data + out.len - over));
			if (memcmp(other.data, out.data, out.len) != 0)
				assert_refused(other.data, out.len);
		}
	}
	buf_done(&out);
	buf_done(&other);
}

/* A right sum over something that is never written. */
static void assert_line_refused(const char *line, const char *reason)
{
	struct checkpoint c;
	struct buf out = {0};
	char why[CHECKPOINT_WHY_MAX];
	int r;

	assert_int_equal(buf_printf(&out, HEAD "%s\n", line), 0);
	assert_int_equal(checkpoint_end(&out, 0, 1), 0);
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
		{"account", "dev as MAJOR:MINOR (or \"account\""},
		{"accounts 0 0 0 0 0 - /a", "dev as"},
		{" account 0 0 0 0 0 - /a", "dev as"},
		{"Account 0 0 0 0 0 - /a", "dev as"},
		{"account ", "written, a number, came the end of the line"},
		{"account  0 0 0 0 0 - /a", "written, a number, came a blank"},
		{"account x 0 0 0 0 - /a", "written, a number, came \"x\""},
		{"account 00 0 0 0 0 - /a", "written"},
		{"account 0 -1 0 0 0 - /a", "read, a number, came \"-1\""},
		{"account 0 0 +1 0 0 - /a", "delivered"},
		{"account 0 0 0 18446744073709551616 0 - /a", "uncounted"},
		{"account 0 0 0 0 0x0 - /a", "records"},
		{"account 0 0 0 0 - /a", "records"},
		{"account 0 0 0 0 0  /a", "lost as"},
		{"account 0 0 0 0 0 /a", "lost as"},
		{"account 0 0 0 0 0 0 - /a", "lost as REASON=BYTES:TIMES"},
		{"account 0 0 0 0 0 truncated /a", "lost as"},
		{"account 0 0 0 0 0 truncated= /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1: /a", "lost as"},
		{"account 0 0 0 0 0 truncated=:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=01:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=0:0 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1:1, /a", "lost as"},
		{"account 0 0 0 0 0 ,truncated=1:1 /a", "lost as"},
		{"account 0 0 0 0 0 -truncated=1:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1:1,- /a", "lost as"},
		{"account 0 0 0 0 0 TRUNCATED=1:1 /a", "lost as"},
		{"account 0 0 0 0 0 burnt=1:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1:1,truncated=1:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1:1 vanished=1:1 /a", "path"},
		{"account 0 0 0 0 0 vanished=1:1,truncated=1:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=18446744073709551616:1 /a", "lost as"},
		{"account 0 0 0 0 0 truncated=1:18446744073709551616 /a", "lost as"},
		{"account 0 0 0 0 0 -", "lost as"},
		{"account 0 0 0 0 0 - ", "an absolute path with %XX for blanks, or -, came the e"},
		{"account 0 0 0 0 0 -  ", "path"},
		{"account 0 0 0 0 0 - a", "path"},
		{"account 0 0 0 0 0 - --", "path"},
		{"account 0 0 0 0 0 - - ", "path"},
		{"account 0 0 0 0 0 - /a b", "path"},
		{"account 0 0 0 0 0 - /a ", "path"},
		{"account 0 0 0 0 0 - /%41", "path"},
		{"account 0 0 0 0 0 - /%00", "path"},
		{"account 0 0 0 0 0 - /a\r", "path"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_line_refused(cases[i].line, cases[i].reason);
}

static void a_file_behind_an_account_is_refused(void **state)
{
	struct checkpoint c;
	struct buf out = {0};
	char why[CHECKPOINT_WHY_MAX];

	assert_int_equal(checkpoint_begin(&out, 0), 0);
	assert_int_equal(checkpoint_add_account(&out, &plain), 0);
	assert_int_equal(checkpoint_add(&out, &file), 0);
	assert_int_equal(checkpoint_end(&out, 1, 1), 0);
	assert_int_equal(parse(out.data, out.len, &c, why), -EBADMSG);
	assert_string_equal(why, "line 4: expected \"account\", or the last line, \"end\", "
				 "came \"8:1\"");
	buf_done(&out);
}

static void what_is_beyond_the_limits_is_not_written(void **state)
{
	char *longer = malloc(PATH_MAX + 1);
	struct checkpoint_account bad[3] = {plain, plain, plain};
	struct buf out = {0};
	size_t len;

	memset(longer, '/', PATH_MAX);
	longer[PATH_MAX] = '\0';
	bad[0].path = longer;
	bad[1].path = (char *)"relative";
	bad[2].path = (char *)"-";
	assert_int_equal(checkpoint_begin(&out, 0), 0);
	len = out.len;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(checkpoint_add_account(&out, &bad[i]), -EINVAL);
		assert_int_equal(out.len, len);
	}
	assert_int_equal(checkpoint_end(&out, 0, UINT64_C(1) + CHECKPOINT_ENTRIES_MAX), -E2BIG);
	assert_int_equal(out.len, len);
	buf_done(&out);
	free(longer);
}

static void more_accounts_than_the_limit_are_refused(void **state)
{
	const struct checkpoint_account a = {.path = (char *)"/a"};
	struct checkpoint c;
	struct buf out = {0};
	char why[CHECKPOINT_WHY_MAX];
	size_t line;

	assert_int_equal(checkpoint_begin(&out, 0), 0);
	for (uint32_t i = 0; i < CHECKPOINT_ENTRIES_MAX; i++)
		assert_int_equal(checkpoint_add_account(&out, &a), 0);
	line = out.len;
	assert_int_equal(checkpoint_end(&out, 0, CHECKPOINT_ENTRIES_MAX), 0);
	assert_int_equal(checkpoint_parse(out.data, out.len, &c, why, sizeof(why)), 0);
	assert_int_equal(c.n_accounts, CHECKPOINT_ENTRIES_MAX);
	checkpoint_done(&c);
	out.len = line;
	assert_int_equal(checkpoint_add_account(&out, &a), 0);
	assert_int_equal(checkpoint_end(&out, 0, CHECKPOINT_ENTRIES_MAX), 0);
	assert_int_equal(checkpoint_parse(out.data, out.len, &c, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "line 1048579: expected the last line"));
	buf_done(&out);
}

/* So a caller that knows nothing of it, or too little, never loses the place for it. */
static void consumed_is_at_least_the_offset(void **state)
{
	static const uint64_t given[] = {0, 4095, 4096, 4097, INT64_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		struct checkpoint_entry e = file;
		struct checkpoint c;
		struct buf out = {0};
		char why[CHECKPOINT_WHY_MAX];

		e.consumed = given[i];
		assert_int_equal(checkpoint_begin(&out, 0), 0);
		assert_int_equal(checkpoint_add(&out, &e), 0);
		assert_int_equal(checkpoint_end(&out, 1, 0), 0);
		assert_int_equal(parse(out.data, out.len, &c, why), 0);
		assert_true(c.entries[0].consumed == MAX(given[i], e.offset));
		checkpoint_done(&c);
		buf_done(&out);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(accounts_are_spelled_as_the_header_shows_them),
	cmocka_unit_test(all_kinds_come_back),
	cmocka_unit_test(every_combination_of_reasons_comes_back),
	cmocka_unit_test(version_1_is_read_and_continued),
	cmocka_unit_test(version_1_is_refused_when_it_is_corrupt),
	cmocka_unit_test(versions_are_not_mixed),
	cmocka_unit_test(every_truncation_and_every_changed_bit_is_refused),
	cmocka_unit_test(every_missing_doubled_or_exchanged_line_is_refused),
	cmocka_unit_test(other_spellings_are_refused),
	cmocka_unit_test(a_file_behind_an_account_is_refused),
	cmocka_unit_test(what_is_beyond_the_limits_is_not_written),
	cmocka_unit_test(more_accounts_than_the_limit_are_refused),
	cmocka_unit_test(consumed_is_at_least_the_offset),
};

RUN_TESTS(tests)
