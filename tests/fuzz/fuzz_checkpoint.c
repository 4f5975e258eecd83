/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: a checkpoint. It is parsed as it is, and with a last line that is right, so that the lines
 * are reached. What is accepted, written again, is the same bytes but for the comment (of version
 * 1: can be read again). The same input then is the numbers and the path of an entry, and of an
 * account, which must come back as they were.
 */
#include "fuzz.h"

#include <stdbool.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "account/checkpoint.h"
#include "base/buf.h"
#include "base/sys.h"

const char *const fuzz_words[] = {
	"hotdrain checkpoint 1 ",
	"hotdrain checkpoint 2 ",
	"1795237679.123456789",
	"-1.000000001",
	"9223372036.854775807",
	"\n# dev\n",
	"\n",
	"\r\n",
	"\nend 1 ",
	"end 0 00000000\n",
	"end 0 0 00000000\n",
	"hotdrain checkpoint 3 ",
	"\naccount ",
	"account 13000 9000 8900 0 120 truncated=50:1,vanished=0:2 /a\n",
	"account 700 700 700 0 9 - -\n",
	"rotated_away=1:1",
	",truncated=18446744073709551615:1",
	",held_cap=0:1",
	"truncated=0:0",
	",gz_corrupt=1:0 ",
	",",
	"=",
	":",
	"8:1 1311 ",
	"4294967295:4294967295 ",
	"18446744073709551615 ",
	"9223372036854775807 ",
	"0 ",
	"00",
	"1024:0a1b2c3d ",
	"1025:",
	"128:99887766 ",
	"0:00000000 ",
	"- ",
	"dzs ",
	"/",
	"%",
	"%25",
	"%00",
	"%0A",
	"%20",
	"%7F",
	"\xf0\x9f\x98\x80",
	"8:1 1 0.000000000 0 0 0:00000000 0:00000000 - /a\n",
	"8:1 1 0.000000000 5 5 7 0:00000000 0:00000000 - /a\n",
};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

static void check_reason(int r, const char *why)
{
	CHECK(r == -EBADMSG || r == -EPROTONOSUPPORT);
	CHECK(memchr(why, '\0', CHECKPOINT_WHY_MAX) && *why);
	for (; *why; why++)
		CHECK(*why >= ' ' && *why < 0x7f);
}

/* Behind the comment, the second line. */
static const char *behind_comment(const char *text, size_t len)
{
	const char *newline = memchr(text, '\n', len);

	newline = memchr(newline + 1, '\n', len - (size_t)(newline + 1 - text));
	return newline + 1;
}

static void write_again(const struct checkpoint *c, struct buf *out)
{
	CHECK(checkpoint_begin(out, c->time_ns) == 0);
	for (size_t i = 0; i < c->n; i++) {
		const struct checkpoint_entry *e = &c->entries[i];

		CHECK(e->path[0] == '/' && strlen(e->path) < PATH_MAX);
		CHECK(e->consumed >= e->offset);
		CHECK(checkpoint_add(out, e) == 0);
	}
	for (size_t i = 0; i < c->n_accounts; i++) {
		const char *path = c->accounts[i].path;

		CHECK(!*path || (path[0] == '/' && strlen(path) < PATH_MAX));
		CHECK(checkpoint_add_account(out, &c->accounts[i]) == 0);
	}
}

static void check_spelling(const struct checkpoint *c, const char *text, size_t len)
{
	const char *end = text + len, *lines = behind_comment(text, len);
	struct buf again = {0};
	const char *from;
	size_t rest;

	write_again(c, &again);
	from = behind_comment(again.data, again.len);
	rest = (size_t)(again.data + again.len - from);
	CHECK(rest <= (size_t)(end - lines) && memcmp(from, lines, rest) == 0);
	CHECK(memcmp(lines + rest, "end ", 4) == 0 &&
	      !memchr(lines + rest, '\n', end - lines - rest - 1));
	from = memchr(again.data, '\n', again.len);
	CHECK(memcmp(again.data, text, (size_t)(from + 1 - again.data)) == 0);
	buf_done(&again);
}

static void check_upgrade(const struct checkpoint *c)
{
	struct buf again = {0};
	struct checkpoint upgraded;
	char why[CHECKPOINT_WHY_MAX];

	CHECK(!c->n_accounts);
	for (size_t i = 0; i < c->n; i++)
		CHECK(c->entries[i].consumed == c->entries[i].offset);
	write_again(c, &again);
	CHECK(checkpoint_end(&again, c->n, 0) == 0);
	CHECK(checkpoint_parse(again.data, again.len, &upgraded, why, sizeof(why)) == 0);
	CHECK(upgraded.n == c->n && upgraded.version == CHECKPOINT_VERSION);
	checkpoint_done(&upgraded);
	buf_done(&again);
}

static void parse(const char *text, size_t len)
{
	struct checkpoint c;
	char why[CHECKPOINT_WHY_MAX];
	int r = checkpoint_parse(text, len, &c, why, sizeof(why));

	if (r < 0) {
		check_reason(r, why);
		return;
	}
	if (c.version == 1)
		check_upgrade(&c);
	else
		check_spelling(&c, text, len);
	checkpoint_done(&c);
}

static void parse_with_end(const char *text, size_t len)
{
	static const char first[] = "hotdrain checkpoint 1 ";
	bool old = len > sizeof(first) && memcmp(text, first, sizeof(first) - 1) == 0;
	uint64_t files = 0, accounts = 0;
	struct buf b = {0};

	CHECK(buf_add(&b, text, len) == 0);
	for (size_t i = len; i-- > 0;)
		if (text[i] == '\n' && len - i > 4 && memcmp(text + i, "\nend ", 5) == 0)
			b.len = i + 1;
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] == '\n' && b.len - i > 8 && memcmp(b.data + i, "\naccount ", 9) == 0)
			accounts++;
		else if (b.data[i] == '\n')
			files++;
	files = files < 2 ? 0 : files - 2;
	if (old)
		CHECK(buf_printf(&b, "end %llu %08x\n", (unsigned long long)files,
				 checkpoint_sum(b.data, b.len)) == 0);
	else
		CHECK(checkpoint_end(&b, files, accounts) == 0);
	/* In memory of exactly its size. */
	b.data = realloc(b.data, b.len);
	CHECK(b.data);
	parse(b.data, b.len);
	buf_done(&b);
}

static void account_there_and_back(const uint8_t *data, size_t len)
{
	struct checkpoint_account a, *got;
	struct checkpoint c;
	struct buf b = {0};
	char why[CHECKPOINT_WHY_MAX];
	char *path;

	if (len < sizeof(a))
		return;
	memcpy(&a, data, sizeof(a));
	for (int i = 0; i < LOST_REASONS; i++)
		if (a.lost[i].bytes & 1)
			a.lost[i] = (struct lost){0};
	a.path = path = malloc(len - sizeof(a) + 2);
	CHECK(path);
	path[0] = '/';
	memcpy(path + 1, data + sizeof(a), len - sizeof(a));
	path[len - sizeof(a) + 1] = '\0';
	if (!path[1])
		path[0] = '\0'; /* the sum of those that are gone */
	CHECK(checkpoint_begin(&b, 0) == 0);
	CHECK(checkpoint_add_account(&b, &a) == (strlen(path) < PATH_MAX ? 0 : -EINVAL));
	if (strlen(path) < PATH_MAX) {
		CHECK(checkpoint_end(&b, 0, 1) == 0);
		CHECK(checkpoint_parse(b.data, b.len, &c, why, sizeof(why)) == 0);
		CHECK(c.n == 0 && c.n_accounts == 1);
		got = c.accounts;
		CHECK(strcmp(got->path, path) == 0 && got->written == a.written &&
		      got->read == a.read && got->delivered == a.delivered &&
		      got->uncounted == a.uncounted && got->records == a.records &&
		      memcmp(got->lost, a.lost, sizeof(a.lost)) == 0);
		checkpoint_done(&c);
	}
	buf_done(&b);
	free(path);
}

static void there_and_back(const uint8_t *data, size_t len)
{
	struct checkpoint_entry e = {0}, *got;
	struct checkpoint c;
	struct buf b = {0};
	char why[CHECKPOINT_WHY_MAX];
	bool open_beyond = false;
	int r;

	if (len < sizeof(e))
		return;
	memcpy(&e, data, sizeof(e));
	e.path = malloc(len - sizeof(e) + 2);
	CHECK(e.path);
	e.path[0] = '/';
	memcpy(e.path + 1, data + sizeof(e), len - sizeof(e));
	e.path[len - sizeof(e) + 1] = '\0';
	e.offset >>= 1;
	e.size >>= 1;
	e.consumed >>= 1;
	e.head_len %= CHECKPOINT_HEAD_MAX + 2;
	e.mark_len %= CHECKPOINT_MARK_MAX + 2;
	e.flags %= 16;
	for (int i = 0; i < CHECKPOINT_STREAMS; i++) {
		e.open[i] = e.open[i] & 1 ? 0 : e.open[i] % (e.offset + 2);
		open_beyond = open_beyond || e.open[i] > e.offset;
	}
	CHECK(checkpoint_begin(&b, e.btime_ns) == 0);
	r = checkpoint_add(&b, &e);
	CHECK(r == (e.head_len > CHECKPOINT_HEAD_MAX || e.mark_len > CHECKPOINT_MARK_MAX ||
				    e.flags > 7 || open_beyond
			    ? -EINVAL
			    : 0));
	CHECK(checkpoint_end(&b, r == 0, 0) == 0);
	CHECK(checkpoint_parse(b.data, b.len, &c, why, sizeof(why)) == 0);
	CHECK(c.n == (r == 0) && c.time_ns == e.btime_ns);
	got = c.entries;
	if (r == 0)
		CHECK(strcmp(got->path, e.path) == 0 && got->dev == e.dev && got->ino == e.ino &&
		      got->btime_ns == e.btime_ns && got->offset == e.offset &&
		      got->size == e.size && got->consumed == MAX(e.consumed, e.offset) &&
		      got->head_len == e.head_len && got->head_sum == e.head_sum &&
		      got->mark_len == e.mark_len && got->mark_sum == e.mark_sum &&
		      got->flags == e.flags);
	checkpoint_done(&c);
	buf_done(&b);
	free(e.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	parse((const char *)data, len);
	parse_with_end((const char *)data, len);
	there_and_back(data, len);
	account_there_and_back(data, len);
	return 0;
}
