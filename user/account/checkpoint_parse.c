/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the checkpoint, strictly: only what checkpoint.c writes, and what its first version
 * wrote, so that an upgrade does not lose the place. Each get_ function takes one field at the
 * cursor and moves it, or leaves it where it is and says no; the caller then says what it had
 * expected there, in the words of the header's columns. The text may be anything.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "account/checkpoint.h"
#include "account/ledger.h"
#include "base/clock.h"
#include "base/sys.h"

#define CAME_MAX 40 /* bytes of what came that a reason shows */

struct cursor {
	const char *at;
	const char *end;  /* of the line, where its newline is */
	const char *stop; /* of the text */
	unsigned long line;
	char *why;
	size_t why_size;
};

/* -EBADMSG, and why: what came is shown up to the next blank. */
static int refuse(struct cursor *c, const char *expected)
{
	char came[CAME_MAX + 3];
	size_t n = 0;

	came[n++] = '"';
	for (const char *p = c->at; p < c->end && *p != ' ' && n <= CAME_MAX; p++)
		came[n++] = (char)(*p > ' ' && *p < 0x7f ? *p : '?');
	came[n++] = '"';
	came[n] = '\0';
	snprintf(c->why, c->why_size, "line %lu: expected %s, came %s", c->line, expected,
		 n > 2               ? came
		 : c->at < c->end    ? "a blank"
		 : c->end == c->stop ? "the end of the file"
				     : "the end of the line");
	return -EBADMSG;
}

/* To the next line: false where there is none that is whole. */
static bool get_line(struct cursor *c)
{
	const char *newline;

	c->line++;
	newline = memchr(c->at, '\n', (size_t)(c->stop - c->at));
	c->end = newline ? newline : c->stop;
	return newline;
}

static bool get_text(struct cursor *c, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
		return false;
	c->at += n;
	return true;
}

static bool get_number(struct cursor *c, uint64_t max, uint64_t *ret)
{
	const char *p = c->at;
	uint64_t v = 0;

	for (; p < c->end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (p == c->at || (*c->at == '0' && p > c->at + 1) || v > max)
		return false;
	c->at = p;
	*ret = v;
	return true;
}

/* [-]SECONDS.NANOSECONDS, nine digits behind the point */
static bool get_time(struct cursor *c, int64_t *ret)
{
	const char *begin = c->at;
	bool negative = get_text(c, "-");
	uint64_t max = INT64_MAX + (uint64_t)negative, sec, ns = 0;

	if (!get_number(c, max / NS_PER_SEC, &sec) || !get_text(c, ".") || c->end - c->at < 9)
		goto no;
	for (int i = 0; i < 9; i++) {
		if (c->at[i] < '0' || c->at[i] > '9')
			goto no;
		ns = ns * 10 + (uint64_t)(c->at[i] - '0');
	}
	ns += sec * NS_PER_SEC;
	if (ns > max || (negative && !ns))
		goto no;
	c->at += 9;
	*ret = negative ? -(int64_t)(ns - 1) - 1 : (int64_t)ns;
	return true;
no:
	c->at = begin;
	return false;
}

static int hex_digit(char c, char ten)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= ten && c < ten + 6 ? c - ten + 10 : -1;
}

static bool get_sum(struct cursor *c, uint32_t *ret)
{
	uint32_t v = 0;

	if (c->end - c->at < 8)
		return false;
	for (int i = 0; i < 8; i++) {
		int digit = hex_digit(c->at[i], 'a');

		if (digit < 0)
			return false;
		v = v << 4 | (uint32_t)digit;
	}
	c->at += 8;
	*ret = v;
	return true;
}

/* LENGTH:SUM */
static bool get_part(struct cursor *c, uint32_t max, uint32_t *ret_len, uint32_t *ret_sum)
{
	const char *begin = c->at;
	uint64_t len;

	if (get_number(c, max, &len) && get_text(c, ":") && get_sum(c, ret_sum)) {
		*ret_len = (uint32_t)len;
		return true;
	}
	c->at = begin;
	return false;
}

static bool get_dev(struct cursor *c, uint64_t *ret)
{
	const char *begin = c->at;
	uint64_t maj, min;

	if (get_number(c, UINT32_MAX, &maj) && get_text(c, ":") &&
	    get_number(c, UINT32_MAX, &min)) {
		*ret = makedev((unsigned)maj, (unsigned)min);
		return true;
	}
	c->at = begin;
	return false;
}

static bool get_flags(struct cursor *c, unsigned *ret)
{
	unsigned flags = 0;

	if (!get_text(c, "-")) {
		flags |= get_text(c, "d") ? CHECKPOINT_DONE : 0u;
		flags |= get_text(c, "z") ? CHECKPOINT_GZ : 0u;
		flags |= get_text(c, "s") ? CHECKPOINT_SKIP : 0u;
		if (!flags)
			return false;
	}
	*ret = flags;
	return true;
}

/* The rest of the line. -EBADMSG without a reason: the cursor is where it does not go on. */
static int get_path(struct cursor *c, char **ret)
{
	size_t room = MIN((size_t)(c->end - c->at), (size_t)PATH_MAX - 1), n = 0;
	_cleanup_free_ char *path = NULL;

	if (c->at == c->end || *c->at != '/')
		return -EBADMSG;
	path = malloc(room + 1);
	if (!path)
		return -ENOMEM;
	for (; c->at < c->end && n < room; c->at++) {
		int byte = (unsigned char)*c->at;

		if (byte == '%' && c->end - c->at >= 3) {
			int high = hex_digit(c->at[1], 'A'), low = hex_digit(c->at[2], 'A');

			byte = high < 0 || low < 0 ? -1 : high << 4 | low;
			/* Only what is never written as it is; a NUL ends a path. */
			if (byte <= 0 || (byte >= 0x21 && byte != 0x7f && byte != '%'))
				return -EBADMSG;
			c->at += 2;
		} else if (byte < 0x21 || byte == 0x7f || byte == '%') {
			return -EBADMSG;
		}
		path[n++] = (char)byte;
	}
	if (c->at < c->end)
		return -EBADMSG;
	path[n] = '\0';
	*ret = take_ptr(path);
	return 0;
}

/* @STREAM:OFFSET, streams in order */
static bool get_open(struct cursor *c, struct checkpoint_entry *e)
{
	for (int i = 0; i < CHECKPOINT_STREAMS; i++) {
		const char name[] = {'@', (char)('0' + i), ':', '\0'};
		uint64_t at;

		if (!get_text(c, name))
			continue;
		if (!get_number(c, INT64_MAX, &at) || at >= e->offset)
			return false;
		e->open[i] = at + 1;
	}
	return true;
}

static bool get_consumed(struct cursor *c, uint64_t min, uint64_t *ret)
{
	const char *begin = c->at;

	if (get_number(c, INT64_MAX, ret) && *ret >= min)
		return true;
	c->at = begin;
	return false;
}

static int get_entry(struct cursor *c, unsigned version, struct checkpoint_entry *ret)
{
	struct checkpoint_entry e = {0};
	int r;

	if (!get_dev(c, &e.dev) || !get_text(c, " "))
		return refuse(c, "dev as MAJOR:MINOR (or \"account\", or the last line, \"end\")");
	if (!get_number(c, UINT64_MAX, &e.ino) || !get_text(c, " "))
		return refuse(c, "ino, a number");
	if (!get_time(c, &e.btime_ns) || !get_text(c, " "))
		return refuse(c, "born as SECONDS.NANOSECONDS");
	if (!get_number(c, INT64_MAX, &e.offset) || !get_text(c, " "))
		return refuse(c, "offset, a number");
	if (!get_number(c, INT64_MAX, &e.size) || !get_text(c, " "))
		return refuse(c, "size, a number");
	e.consumed = e.offset;
	if (version > 1 && (!get_consumed(c, e.offset, &e.consumed) || !get_text(c, " ")))
		return refuse(c, "consumed, a number not below the offset");
	if (!get_part(c, CHECKPOINT_HEAD_MAX, &e.head_len, &e.head_sum) || !get_text(c, " "))
		return refuse(c, "head as LENGTH:SUM, at most 1024");
	if (!get_part(c, CHECKPOINT_MARK_MAX, &e.mark_len, &e.mark_sum) || !get_text(c, " "))
		return refuse(c, "mark as LENGTH:SUM, at most 128");
	if (!get_flags(c, &e.flags) || !get_open(c, &e) || !get_text(c, " "))
		return refuse(c,
			      "flags out of d, z, s, or -, and @STREAM:OFFSET before the offset");
	r = get_path(c, &e.path);
	if (r == -EBADMSG)
		return refuse(c, "an absolute path with %XX for blanks");
	if (r == 0)
		*ret = e;
	return r;
}

/* REASON=BYTES:TIMES,… in order, "-" for none */
static bool get_lost(struct cursor *c, struct lost lost[LOST_REASONS])
{
	const char *begin = c->at;
	bool any = false;

	if (get_text(c, "-"))
		return true;
	for (int i = 0; i < LOST_REASONS; i++) {
		const char *before = c->at;

		if ((any && !get_text(c, ",")) || !get_text(c, lost_name((enum lost_reason)i)) ||
		    !get_text(c, "=")) {
			c->at = before;
			continue;
		}
		if (!get_number(c, UINT64_MAX, &lost[i].bytes) || !get_text(c, ":") ||
		    !get_number(c, UINT64_MAX, &lost[i].events) ||
		    !(lost[i].bytes | lost[i].events)) {
			c->at = begin;
			return false;
		}
		any = true;
	}
	return any;
}

/* Behind "account ". */
static int get_account(struct cursor *c, struct checkpoint_account *ret)
{
	struct checkpoint_account a = {0};
	const struct {
		uint64_t *number;
		const char *expected;
	} columns[] = {
		{&a.written, "written, a number"},     {&a.read, "read, a number"},
		{&a.delivered, "delivered, a number"}, {&a.uncounted, "uncounted, a number"},
		{&a.records, "records, a number"},
	};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (!get_number(c, UINT64_MAX, columns[i].number) || !get_text(c, " "))
			return refuse(c, columns[i].expected);
	if (!get_lost(c, a.lost) || !get_text(c, " "))
		return refuse(c, "lost as REASON=BYTES:TIMES,... in their order, or -");
	if (c->end - c->at == 1 && get_text(c, "-")) {
		a.path = strdup("");
		r = a.path ? 0 : -ENOMEM;
	} else {
		r = get_path(c, &a.path);
	}
	if (r == -EBADMSG)
		return refuse(c, "an absolute path with %XX for blanks, or -");
	if (r == 0)
		*ret = a;
	return r;
}

static int get_header(struct cursor *c, struct checkpoint *cp)
{
	bool whole = get_line(c);
	uint64_t version;

	if (c->at == c->stop) {
		snprintf(c->why, c->why_size, "empty");
		return -EBADMSG;
	}
	if (!get_text(c, "hotdrain checkpoint "))
		return refuse(c, "\"hotdrain checkpoint\"");
	/* Of a newer version nothing more is known than this. */
	if (!get_number(c, UINT32_MAX, &version) || !version ||
	    !(get_text(c, " ") || (whole && c->at == c->end)))
		return refuse(c, "a version");
	if (version > CHECKPOINT_VERSION) {
		snprintf(c->why, c->why_size, "version %lu, this program knows %d",
			 (unsigned long)version, CHECKPOINT_VERSION);
		return -EPROTONOSUPPORT;
	}
	cp->version = (unsigned)version;
	if (!get_time(c, &cp->time_ns) || c->at != c->end || !whole)
		return refuse(c, "the time as SECONDS.NANOSECONDS");
	c->at++;
	whole = get_line(c);
	if (!get_text(c, "#"))
		return refuse(c, "a comment");
	c->at = c->end;
	if (!whole)
		return refuse(c, "a whole line");
	c->at++;
	return 0;
}

static int refuse_count(struct cursor *c, const char *what, uint64_t expected, size_t came)
{
	snprintf(c->why, c->why_size, "line %lu: expected %llu %s, came %zu", c->line,
		 (unsigned long long)expected, what, came);
	return -EBADMSG;
}

/* The last line, behind "end ". */
static int get_end(struct cursor *c, const struct checkpoint *cp, uint32_t sum)
{
	const char *form =
		cp->version > 1 ? "\"end FILES ACCOUNTS SUM\", whole" : "\"end COUNT SUM\", whole";
	uint64_t files, accounts = 0;
	uint32_t came;

	if (!get_number(c, UINT64_MAX, &files) || !get_text(c, " "))
		return refuse(c, form);
	if (cp->version > 1 && (!get_number(c, UINT64_MAX, &accounts) || !get_text(c, " ")))
		return refuse(c, form);
	if (!get_sum(c, &came) || c->at != c->end || c->end == c->stop)
		return refuse(c, form);
	if (files != cp->n)
		return refuse_count(c, "files", files, cp->n);
	if (accounts != cp->n_accounts)
		return refuse_count(c, "accounts", accounts, cp->n_accounts);
	if (came != sum) {
		snprintf(c->why, c->why_size, "line %lu: expected the sum %08x, came %08x", c->line,
			 came, sum);
		return -EBADMSG;
	}
	c->at++;
	if (c->at < c->stop) {
		get_line(c);
		return refuse(c, "nothing behind the last line");
	}
	return 0;
}

/* Room for one more of size bytes: items, moved perhaps, or NULL, and items are as they were. */
static void *make_room(void *items, size_t n, size_t size)
{
	if (n && (n < 64 || n & (n - 1)))
		return items;
	return reallocarray(items, n ? 2 * n : 64, size);
}

static int add_entry(struct cursor *c, struct checkpoint *cp)
{
	struct checkpoint_entry *entries;
	int r;

	if (cp->n == CHECKPOINT_ENTRIES_MAX)
		return refuse(c, "the last line, \"end\", after so many files");
	entries = make_room(cp->entries, cp->n, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	cp->entries = entries;
	r = get_entry(c, cp->version, &entries[cp->n]);
	cp->n += r == 0;
	return r;
}

static int add_account(struct cursor *c, struct checkpoint *cp)
{
	struct checkpoint_account *accounts;
	int r;

	if (cp->n_accounts == CHECKPOINT_ENTRIES_MAX)
		return refuse(c, "the last line, \"end\", after so many accounts");
	accounts = make_room(cp->accounts, cp->n_accounts, sizeof(*accounts));
	if (!accounts)
		return -ENOMEM;
	cp->accounts = accounts;
	r = get_account(c, &accounts[cp->n_accounts]);
	cp->n_accounts += r == 0;
	return r;
}

/* A file's or a log's, from its beginning. */
static int add_line(struct cursor *c, struct checkpoint *cp)
{
	if (cp->version > 1 && get_text(c, "account "))
		return add_account(c, cp);
	if (cp->n_accounts)
		return refuse(c, "\"account\", or the last line, \"end\"");
	return add_entry(c, cp);
}

int checkpoint_parse(const char *text, size_t len, struct checkpoint *ret, char *why,
		     size_t why_size)
{
	_cleanup_(checkpoint_done) struct checkpoint cp = {0};
	struct cursor c = {.at = text, .stop = text + len, .why = why, .why_size = why_size};
	int r;

	if (!len)
		c.at = c.stop = "";
	r = get_header(&c, &cp);
	while (r == 0) {
		bool whole = get_line(&c);
		const char *begin = c.at;

		if (get_text(&c, "end ")) {
			r = get_end(&c, &cp, checkpoint_sum(text, (size_t)(begin - text)));
			break;
		}
		r = add_line(&c, &cp);
		if (r < 0)
			break;
		if (!whole)
			return refuse(&c, "a whole line");
		c.at++;
	}
	if (r < 0)
		return r;
	*ret = cp;
	cp = (struct checkpoint){0};
	return 0;
}

void checkpoint_done(struct checkpoint *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->entries[i].path);
	for (size_t i = 0; i < c->n_accounts; i++)
		free(c->accounts[i].path);
	free(c->entries);
	free(c->accounts);
	*c = (struct checkpoint){0};
}
