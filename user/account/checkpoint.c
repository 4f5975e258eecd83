/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing is a part of each second of a collector with tens of thousands of files, and on the event
 * loop's thread: so no printf, digits and letters go straight into room that is reserved once per
 * line. Reading happens once per start and may take its time to say what is wrong.
 *
 * Reading accepts only what writing makes, or made in version 1 (no leading zeros, no other
 * escapes, no blanks), so that a parsed text written again is the same bytes, which is what the
 * fuzzer checks. The lines are looked at before the sum over them: a reason that names a field
 * helps more than "the sum is wrong", and the sum catches what is left. Nothing is believed from
 * the count in the last line but that it must be right.
 *
 * Rejected: a binary format or SQLite (nobody can read it with less in the night it matters), JSON
 * (three times the size, a parser for hostile input).
 */
#include "account/checkpoint.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <zlib.h>

#include "account/checkpoint_changes.h"
#include "account/ledger.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"

static const char magic[] = "hotdrain checkpoint ";
static const char changes_magic[] = "hotdrain changes ";
static const char account[] = "account ";
static const char columns[] = "# dev ino born offset size consumed head mark flags path, "
			      "account written read delivered uncounted records lost path\n";

static const struct {
	unsigned flag;
	char letter;
} letters[] = {
	{CHECKPOINT_DONE, 'd'},
	{CHECKPOINT_GZ, 'z'},
	{CHECKPOINT_SKIP, 's'},
};

/* All numbers of a line at their longest, with what is between them. */
#define NUMBERS_MAX 384
#define LOST_MAX    44 /* of one reason, but for its name */
#define RANGE_MAX   22 /* FIRST-LAST and a blank */
#define SUM_DIGITS  8

uint32_t checkpoint_sum(const void *data, size_t n)
{
	return checkpoint_sum_on(0, data, n);
}

uint32_t checkpoint_sum_on(uint32_t sum, const void *data, size_t n)
{
	return n ? (uint32_t)crc32_z(sum, data, n) : sum;
}

/* As %XX in a path. */
static bool escaped(unsigned char c)
{
	return c < 0x21 || c == 0x7f || c == '%';
}

static char *put_number(char *to, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		*to++ = digits[--n];
	return to;
}

static char *put_time(char *to, int64_t ns)
{
	uint64_t v = ns < 0 ? -(uint64_t)ns : (uint64_t)ns, rest = v % NS_PER_SEC;

	if (ns < 0)
		*to++ = '-';
	to = put_number(to, v / NS_PER_SEC);
	*to++ = '.';
	for (int i = 8; i >= 0; i--, rest /= 10)
		to[i] = (char)('0' + rest % 10);
	return to + 9;
}

static char *put_sum(char *to, uint32_t sum)
{
	for (int i = 28; i >= 0; i -= 4)
		*to++ = "0123456789abcdef"[sum >> i & 15];
	return to;
}

static char *put_part(char *to, uint32_t len, uint32_t sum)
{
	to = put_number(to, len);
	*to++ = ':';
	return put_sum(to, sum);
}

static char *put_flags(char *to, unsigned flags)
{
	if (!flags)
		*to++ = '-';
	for (size_t i = 0; i < ARRAY_SIZE(letters); i++)
		if (flags & letters[i].flag)
			*to++ = letters[i].letter;
	return to;
}

static char *put_open(char *to, const uint64_t open[CHECKPOINT_STREAMS])
{
	for (int i = 0; i < CHECKPOINT_STREAMS; i++) {
		if (!open[i])
			continue;
		*to++ = '@';
		*to++ = (char)('0' + i);
		*to++ = ':';
		to = put_number(to, open[i] - 1);
	}
	return to;
}

static char *put_path(char *to, const char *path, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)path[i];

		if (escaped(c)) {
			*to++ = '%';
			*to++ = "0123456789ABCDEF"[c >> 4];
			*to++ = "0123456789ABCDEF"[c & 15];
		} else {
			*to++ = path[i];
		}
	}
	return to;
}

int checkpoint_begin(struct buf *out, int64_t time_ns)
{
	int r = buf_reserve(out, NUMBERS_MAX);
	char *to;

	if (r < 0)
		return r;
	out->len = 0;
	to = mempcpy(out->data, magic, sizeof(magic) - 1);
	to = put_number(to, CHECKPOINT_VERSION);
	*to++ = ' ';
	to = put_time(to, time_ns);
	*to++ = '\n';
	to = mempcpy(to, columns, sizeof(columns) - 1);
	out->len = (size_t)(to - out->data);
	return 0;
}

/* 3 17 20-25 */
static char *put_lines(char *to, const struct checkpoint_lines *l)
{
	if (!l->n)
		to = mempcpy(to, " -", 2);
	for (size_t i = 0; i < l->n; i++) {
		uint32_t first = l->lines[i];

		while (i + 1 < l->n && l->lines[i + 1] == l->lines[i] + 1)
			i++;
		*to++ = ' ';
		to = put_number(to, first);
		if (l->lines[i] != first) {
			*to++ = '-';
			to = put_number(to, l->lines[i]);
		}
	}
	*to++ = '\n';
	return to;
}

int changes_begin(struct buf *out, int64_t time_ns, const struct checkpoint_id *to,
		  const struct checkpoint_lines *old_files,
		  const struct checkpoint_lines *old_accounts)
{
	int r = buf_reserve(out, 2 * NUMBERS_MAX + (old_files->n + old_accounts->n) * RANGE_MAX);
	char *at;

	if (r < 0)
		return r;
	out->len = 0;
	at = mempcpy(out->data, changes_magic, sizeof(changes_magic) - 1);
	at = put_number(at, CHANGES_VERSION);
	*at++ = ' ';
	at = put_time(at, time_ns);
	at = mempcpy(at, " to ", 4);
	at = put_time(at, to->time_ns);
	*at++ = ' ';
	at = put_sum(at, to->sum);
	*at++ = '\n';
	at = mempcpy(at, columns, sizeof(columns) - 1);
	at = put_lines(mempcpy(at, "old files", 9), old_files);
	at = put_lines(mempcpy(at, "old accounts", 12), old_accounts);
	out->len = (size_t)(at - out->data);
	return 0;
}

/* The sum is in the last line, before the newline. */
struct checkpoint_id checkpoint_id(int64_t time_ns, const struct buf *text)
{
	return (struct checkpoint_id){
		.time_ns = time_ns,
		.sum = (uint32_t)strtoul(text->data + text->len - SUM_DIGITS - 1, NULL, 16)};
}

static bool entry_within_limits(const struct checkpoint_entry *e, size_t path_len)
{
	unsigned known = CHECKPOINT_DONE | CHECKPOINT_GZ | CHECKPOINT_SKIP;

	for (int i = 0; i < CHECKPOINT_STREAMS; i++)
		if (e->open[i] > e->offset)
			return false;
	return e->offset <= INT64_MAX && e->size <= INT64_MAX && e->consumed <= INT64_MAX &&
	       e->head_len <= CHECKPOINT_HEAD_MAX && e->mark_len <= CHECKPOINT_MARK_MAX &&
	       !(e->flags & ~known) && e->path[0] == '/' && path_len < PATH_MAX;
}

int checkpoint_add(struct buf *out, const struct checkpoint_entry *e)
{
	size_t path_len = strlen(e->path);
	char *to;
	int r;

	if (!entry_within_limits(e, path_len))
		return -EINVAL;
	r = buf_reserve(out, NUMBERS_MAX + 3 * path_len);
	if (r < 0)
		return r;
	to = put_number(out->data + out->len, major(e->dev));
	*to++ = ':';
	to = put_number(to, minor(e->dev));
	*to++ = ' ';
	to = put_number(to, e->ino);
	*to++ = ' ';
	to = put_time(to, e->btime_ns);
	*to++ = ' ';
	to = put_number(to, e->offset);
	*to++ = ' ';
	to = put_number(to, e->size);
	*to++ = ' ';
	to = put_number(to, MAX(e->consumed, e->offset));
	*to++ = ' ';
	to = put_part(to, e->head_len, e->head_sum);
	*to++ = ' ';
	to = put_part(to, e->mark_len, e->mark_sum);
	*to++ = ' ';
	to = put_flags(to, e->flags);
	to = put_open(to, e->open);
	*to++ = ' ';
	to = put_path(to, e->path, path_len);
	*to++ = '\n';
	out->len = (size_t)(to - out->data);
	return 0;
}

/* REASON=BYTES:TIMES,… */
static char *put_lost(char *to, const struct lost lost[LOST_REASONS])
{
	char *begin = to;

	for (int i = 0; i < LOST_REASONS; i++) {
		const char *name = lost_name((enum lost_reason)i);

		if (!lost[i].bytes && !lost[i].events)
			continue;
		if (to > begin)
			*to++ = ',';
		to = mempcpy(to, name, strlen(name));
		*to++ = '=';
		to = put_number(to, lost[i].bytes);
		*to++ = ':';
		to = put_number(to, lost[i].events);
	}
	if (to == begin)
		*to++ = '-';
	return to;
}

int checkpoint_add_account(struct buf *out, const struct checkpoint_account *a)
{
	const uint64_t numbers[] = {a->written, a->read, a->delivered, a->uncounted, a->records};
	size_t path_len = strlen(a->path), room = NUMBERS_MAX + 3 * path_len;
	char *to;
	int r;

	for (int i = 0; i < LOST_REASONS; i++)
		room += LOST_MAX + strlen(lost_name((enum lost_reason)i));
	if (path_len && (a->path[0] != '/' || path_len >= PATH_MAX))
		return -EINVAL;
	r = buf_reserve(out, room);
	if (r < 0)
		return r;
	to = mempcpy(out->data + out->len, account, sizeof(account) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		to = put_number(to, numbers[i]);
		*to++ = ' ';
	}
	to = put_lost(to, a->lost);
	*to++ = ' ';
	if (path_len)
		to = put_path(to, a->path, path_len);
	else
		*to++ = '-';
	*to++ = '\n';
	out->len = (size_t)(to - out->data);
	return 0;
}

int checkpoint_end(struct buf *out, uint64_t files, uint64_t accounts)
{
	return checkpoint_end_on(out, 0, files, accounts);
}

int checkpoint_end_on(struct buf *out, uint32_t sum, uint64_t files, uint64_t accounts)
{
	char *to;
	int r;

	if (files > CHECKPOINT_ENTRIES_MAX || accounts > CHECKPOINT_ENTRIES_MAX)
		return -E2BIG;
	r = buf_reserve(out, NUMBERS_MAX);
	if (r < 0)
		return r;
	to = mempcpy(out->data + out->len, "end ", 4);
	to = put_number(to, files);
	*to++ = ' ';
	to = put_number(to, accounts);
	*to++ = ' ';
	to = put_sum(to, checkpoint_sum_on(sum, out->data, out->len));
	*to++ = '\n';
	out->len = (size_t)(to - out->data);
	return 0;
}
