/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A difference to the last whole checkpoint rather than a journal of all that happened since: it is
 * as long as the set of files written to since then, however often they were, and as it is replaced
 * by a rename like the checkpoint itself, what a crash leaves is one that was complete.
 *
 * Lines are dropped by their number, not by device and inode: two lines may be of one inode, and
 * one that is gone has nothing to be put in its place.
 *
 * Rejected: appending to a journal (what was written twice is in it twice, its torn end has to be
 * told from a corrupt one, and it is replayed in order), a file for each container (ten thousand
 * files to read at a start), binary records written in place (not atomic, and nobody reads them).
 */
#include "account/checkpoint_changes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account/checkpoint.h"
#include "account/checkpoint_cursor.h"
#include "account/checkpoint_parse.h"
#include "base/sys.h"

struct range {
	uint32_t first, last;
};

/* In ascending order, and none touches the next. */
struct ranges {
	struct range *all;
	size_t n;
};

static void ranges_done(struct ranges *rs)
{
	free(rs->all);
}

static bool get_range(struct cursor *c, uint32_t after, struct range *ret)
{
	uint64_t first, last;

	if (!cursor_number(c, UINT32_MAX, &first) || first <= after)
		return false;
	last = first;
	if (cursor_text(c, "-") && (!cursor_number(c, UINT32_MAX, &last) || last <= first))
		return false;
	*ret = (struct range){(uint32_t)first, (uint32_t)last};
	return true;
}

/* From behind what to the end of the line. */
static int get_old(struct cursor *c, const char *what, struct ranges *rs)
{
	static const char expected[] = "line numbers, ascending, as N or FIRST-LAST, or -";
	uint32_t after = 0;
	size_t room = 0;

	if (!cursor_line(c) || !cursor_text(c, what))
		return cursor_refuse(c, what);
	if (c->end - c->at == 1 && cursor_text(c, "-")) {
		c->at++;
		return 0;
	}
	do {
		if (rs->n == room) {
			struct range *more =
				reallocarray(rs->all, room = 2 * room + 16, sizeof(*more));

			if (!more)
				return -ENOMEM;
			rs->all = more;
		}
		if (!get_range(c, after, &rs->all[rs->n]))
			return cursor_refuse(c, expected);
		after = rs->all[rs->n++].last + 1; /* what follows it would be in the same range */
	} while (after && cursor_text(c, " "));
	if (c->at != c->end)
		return cursor_refuse(c, expected);
	c->at++;
	return 0;
}

static int get_head(struct cursor *c, struct checkpoint_id *ret_to, int64_t *ret_time)
{
	unsigned version;
	int r = checkpoint_get_version(c, "hotdrain changes", CHANGES_VERSION, &version);

	if (r < 0)
		return r;
	if (!cursor_time(c, ret_time) || !cursor_text(c, " to ") ||
	    !cursor_time(c, &ret_to->time_ns) || !cursor_text(c, " ") ||
	    !cursor_sum(c, &ret_to->sum) || c->at != c->end)
		return cursor_refuse(c, "TIME to TIME SUM, as SECONDS.NANOSECONDS");
	return checkpoint_get_comment(c);
}

static bool within(const struct ranges *rs, size_t n)
{
	return !rs->n || rs->all[rs->n - 1].last <= n;
}

/* Is line i (from 1) in one of them? Asked in ascending order, *at is where. */
static bool is_old(const struct ranges *rs, uint32_t i, size_t *at)
{
	while (*at < rs->n && rs->all[*at].last < i)
		(*at)++;
	return *at < rs->n && rs->all[*at].first <= i;
}

/* Room for those of more was made. */
static void entries_merge(struct checkpoint *cp, const struct ranges *old, struct checkpoint *more)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < cp->n; i++)
		if (is_old(old, (uint32_t)i + 1, &at))
			free(cp->entries[i].path);
		else
			cp->entries[n++] = cp->entries[i];
	if (more->n)
		memcpy(cp->entries + n, more->entries, more->n * sizeof(*more->entries));
	cp->n = n + more->n;
	more->n = 0;
}

static void accounts_merge(struct checkpoint *cp, const struct ranges *old, struct checkpoint *more)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < cp->n_accounts; i++)
		if (is_old(old, (uint32_t)i + 1, &at))
			free(cp->accounts[i].path);
		else
			cp->accounts[n++] = cp->accounts[i];
	if (more->n_accounts)
		memcpy(cp->accounts + n, more->accounts,
		       more->n_accounts * sizeof(*more->accounts));
	cp->n_accounts = n + more->n_accounts;
	more->n_accounts = 0;
}

static int make_room(struct checkpoint *cp, const struct checkpoint *more)
{
	void *room;

	if (more->n) {
		room = reallocarray(cp->entries, cp->n + more->n, sizeof(*cp->entries));
		if (!room)
			return -ENOMEM;
		cp->entries = room;
	}
	if (more->n_accounts) {
		room = reallocarray(cp->accounts, cp->n_accounts + more->n_accounts,
				    sizeof(*cp->accounts));
		if (!room)
			return -ENOMEM;
		cp->accounts = room;
	}
	return 0;
}

int changes_apply(struct checkpoint *cp, const char *text, size_t len, char *why, size_t why_size)
{
	_cleanup_(checkpoint_done) struct checkpoint more = {.version = CHECKPOINT_VERSION};
	_cleanup_(ranges_done) struct ranges files = {0}, accounts = {0};
	struct cursor c = {.at = text, .stop = text + len, .why = why, .why_size = why_size};
	struct checkpoint_id to = {0};
	int r;

	if (!len)
		c.at = c.stop = "";
	if ((r = get_head(&c, &to, &more.time_ns)) < 0 ||
	    (r = get_old(&c, "old files ", &files)) < 0 ||
	    (r = get_old(&c, "old accounts ", &accounts)) < 0 ||
	    (r = checkpoint_get_lines(&c, text, &more)) < 0)
		return r;
	if (to.time_ns != cp->time_ns || to.sum != cp->sum) {
		snprintf(why, why_size, "of another checkpoint");
		return -ESTALE;
	}
	if (!within(&files, cp->n) || !within(&accounts, cp->n_accounts)) {
		snprintf(why, why_size, "old lines that the checkpoint does not have");
		return -EBADMSG;
	}
	r = make_room(cp, &more);
	if (r < 0)
		return r;
	entries_merge(cp, &files, &more);
	accounts_merge(cp, &accounts, &more);
	cp->time_ns = more.time_ns;
	cp->sum = more.sum;
	return 0;
}
