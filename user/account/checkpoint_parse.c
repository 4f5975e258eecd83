/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the checkpoint, strictly: only what checkpoint.c writes, and what its first version
 * wrote, so that an upgrade does not lose the place. Each line is taken field by field, and where
 * one is not what it should be, the reason says what had been expected there, in the words of the
 * header's columns.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account/checkpoint.h"
#include "account/checkpoint_cursor.h"
#include "account/checkpoint_parse.h"
#include "account/ledger.h"
#include "base/sys.h"

static bool get_flags(struct cursor *c, unsigned *ret)
{
	unsigned flags = 0;

	if (!cursor_text(c, "-")) {
		flags |= cursor_text(c, "d") ? CHECKPOINT_DONE : 0u;
		flags |= cursor_text(c, "z") ? CHECKPOINT_GZ : 0u;
		flags |= cursor_text(c, "s") ? CHECKPOINT_SKIP : 0u;
		if (!flags)
			return false;
	}
	*ret = flags;
	return true;
}

/* @STREAM:OFFSET, streams in order */
static bool get_open(struct cursor *c, struct checkpoint_entry *e)
{
	for (int i = 0; i < CHECKPOINT_STREAMS; i++) {
		const char name[] = {'@', (char)('0' + i), ':', '\0'};
		uint64_t at;

		if (!cursor_text(c, name))
			continue;
		if (!cursor_number(c, INT64_MAX, &at) || at >= e->offset)
			return false;
		e->open[i] = at + 1;
	}
	return true;
}

static bool get_consumed(struct cursor *c, uint64_t min, uint64_t *ret)
{
	const char *begin = c->at;

	if (cursor_number(c, INT64_MAX, ret) && *ret >= min)
		return true;
	c->at = begin;
	return false;
}

static int get_entry(struct cursor *c, unsigned version, struct checkpoint_entry *ret)
{
	struct checkpoint_entry e = {0};
	int r;

	if (!cursor_dev(c, &e.dev) || !cursor_text(c, " "))
		return cursor_refuse(
			c, "dev as MAJOR:MINOR (or \"account\", or the last line, \"end\")");
	if (!cursor_number(c, UINT64_MAX, &e.ino) || !cursor_text(c, " "))
		return cursor_refuse(c, "ino, a number");
	if (!cursor_time(c, &e.btime_ns) || !cursor_text(c, " "))
		return cursor_refuse(c, "born as SECONDS.NANOSECONDS");
	if (!cursor_number(c, INT64_MAX, &e.offset) || !cursor_text(c, " "))
		return cursor_refuse(c, "offset, a number");
	if (!cursor_number(c, INT64_MAX, &e.size) || !cursor_text(c, " "))
		return cursor_refuse(c, "size, a number");
	e.consumed = e.offset;
	if (version > 1 && (!get_consumed(c, e.offset, &e.consumed) || !cursor_text(c, " ")))
		return cursor_refuse(c, "consumed, a number not below the offset");
	if (!cursor_part(c, CHECKPOINT_HEAD_MAX, &e.head_len, &e.head_sum) || !cursor_text(c, " "))
		return cursor_refuse(c, "head as LENGTH:SUM, at most 1024");
	if (!cursor_part(c, CHECKPOINT_MARK_MAX, &e.mark_len, &e.mark_sum) || !cursor_text(c, " "))
		return cursor_refuse(c, "mark as LENGTH:SUM, at most 128");
	if (!get_flags(c, &e.flags) || !get_open(c, &e) || !cursor_text(c, " "))
		return cursor_refuse(
			c, "flags out of d, z, s, or -, and @STREAM:OFFSET before the offset");
	r = cursor_path(c, &e.path);
	if (r == -EBADMSG)
		return cursor_refuse(c, "an absolute path with %XX for blanks");
	if (r == 0)
		*ret = e;
	return r;
}

/* REASON=BYTES:TIMES,… in order, "-" for none */
static bool get_lost(struct cursor *c, struct lost lost[LOST_REASONS])
{
	const char *begin = c->at;
	bool any = false;

	if (cursor_text(c, "-"))
		return true;
	for (int i = 0; i < LOST_REASONS; i++) {
		const char *before = c->at;

		if ((any && !cursor_text(c, ",")) ||
		    !cursor_text(c, lost_name((enum lost_reason)i)) || !cursor_text(c, "=")) {
			c->at = before;
			continue;
		}
		if (!cursor_number(c, UINT64_MAX, &lost[i].bytes) || !cursor_text(c, ":") ||
		    !cursor_number(c, UINT64_MAX, &lost[i].events) ||
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
		if (!cursor_number(c, UINT64_MAX, columns[i].number) || !cursor_text(c, " "))
			return cursor_refuse(c, columns[i].expected);
	if (!get_lost(c, a.lost) || !cursor_text(c, " "))
		return cursor_refuse(c, "lost as REASON=BYTES:TIMES,... in their order, or -");
	if (c->end - c->at == 1 && cursor_text(c, "-")) {
		a.path = strdup("");
		r = a.path ? 0 : -ENOMEM;
	} else {
		r = cursor_path(c, &a.path);
	}
	if (r == -EBADMSG)
		return cursor_refuse(c, "an absolute path with %XX for blanks, or -");
	if (r == 0)
		*ret = a;
	return r;
}

int checkpoint_get_version(struct cursor *c, const char *magic, unsigned known,
			   unsigned *ret_version)
{
	bool whole = cursor_line(c);
	uint64_t version;
	char expected[40];

	if (c->at == c->stop) {
		snprintf(c->why, c->why_size, "empty");
		return -EBADMSG;
	}
	if (!cursor_text(c, magic) || !cursor_text(c, " ")) {
		snprintf(expected, sizeof(expected), "\"%s\"", magic);
		return cursor_refuse(c, expected);
	}
	/* Of a newer version nothing more is known than this. */
	if (!cursor_number(c, UINT32_MAX, &version) || !version ||
	    !(cursor_text(c, " ") || (whole && c->at == c->end)))
		return cursor_refuse(c, "a version");
	if (version > known) {
		snprintf(c->why, c->why_size, "version %lu, this program knows %u",
			 (unsigned long)version, known);
		return -EPROTONOSUPPORT;
	}
	*ret_version = (unsigned)version;
	return 0;
}

int checkpoint_get_comment(struct cursor *c)
{
	bool whole;

	if (c->end == c->stop)
		return cursor_refuse(c, "a whole line");
	c->at = c->end + 1;
	whole = cursor_line(c);
	if (!cursor_text(c, "#"))
		return cursor_refuse(c, "a comment");
	c->at = c->end;
	if (!whole)
		return cursor_refuse(c, "a whole line");
	c->at++;
	return 0;
}

static int get_header(struct cursor *c, struct checkpoint *cp)
{
	int r = checkpoint_get_version(c, "hotdrain checkpoint", CHECKPOINT_VERSION, &cp->version);

	if (r < 0)
		return r;
	if (!cursor_time(c, &cp->time_ns) || c->at != c->end || c->end == c->stop)
		return cursor_refuse(c, "the time as SECONDS.NANOSECONDS");
	return checkpoint_get_comment(c);
}

static int refuse_count(struct cursor *c, const char *what, uint64_t expected, size_t came)
{
	snprintf(c->why, c->why_size, "line %lu: expected %llu %s, came %zu", c->line,
		 (unsigned long long)expected, what, came);
	return -EBADMSG;
}

/* The last line, behind "end ". */
static int get_end(struct cursor *c, struct checkpoint *cp, uint32_t sum)
{
	const char *form =
		cp->version > 1 ? "\"end FILES ACCOUNTS SUM\", whole" : "\"end COUNT SUM\", whole";
	uint64_t files, accounts = 0;
	uint32_t came;

	if (!cursor_number(c, UINT64_MAX, &files) || !cursor_text(c, " "))
		return cursor_refuse(c, form);
	if (cp->version > 1 && (!cursor_number(c, UINT64_MAX, &accounts) || !cursor_text(c, " ")))
		return cursor_refuse(c, form);
	if (!cursor_sum(c, &came) || c->at != c->end || c->end == c->stop)
		return cursor_refuse(c, form);
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
		cursor_line(c);
		return cursor_refuse(c, "nothing behind the last line");
	}
	cp->sum = sum;
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
		return cursor_refuse(c, "the last line, \"end\", after so many files");
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
		return cursor_refuse(c, "the last line, \"end\", after so many accounts");
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
	if (cp->version > 1 && cursor_text(c, "account "))
		return add_account(c, cp);
	if (cp->n_accounts)
		return cursor_refuse(c, "\"account\", or the last line, \"end\"");
	return add_entry(c, cp);
}

int checkpoint_get_lines(struct cursor *c, const char *text, struct checkpoint *cp)
{
	for (;;) {
		bool whole = cursor_line(c);
		const char *begin = c->at;
		int r;

		if (cursor_text(c, "end "))
			return get_end(c, cp, checkpoint_sum(text, (size_t)(begin - text)));
		r = add_line(c, cp);
		if (r < 0)
			return r;
		if (!whole)
			return cursor_refuse(c, "a whole line");
		c->at++;
	}
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
	if (r == 0)
		r = checkpoint_get_lines(&c, text, &cp);
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
