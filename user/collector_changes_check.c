/* SPDX-License-Identifier: Apache-2.0 */
/* For tests (HOTDRAIN_CHECK_LEDGER): a checkpoint with its changes says what a whole one would, but
 * for what a file grew by that nobody has looked at yet: its size, a head that was short, and that
 * its log has an account. */
#include <stdlib.h>
#include <string.h>

#include "account/checkpoint.h"
#include "account/checkpoint_changes.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/sys.h"
#include "collector_changes.h"

struct text_lines {
	struct buf text;
	char **lines;
	size_t n;
};

static void text_lines_done(struct text_lines *t)
{
	buf_done(&t->text);
	free(t->lines);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool lost_any(const struct checkpoint_account *a)
{
	for (int i = 0; i < LOST_REASONS; i++)
		if (a->lost[i].bytes || a->lost[i].events)
			return true;
	return false;
}

/* Each file and account as a line, sorted. */
static void lines_of(const struct checkpoint *cp, struct text_lines *ret)
{
	char *save = NULL;

	for (size_t i = 0; i < cp->n; i++) {
		struct checkpoint_entry e = cp->entries[i];

		e.size = 0;
		/* Until so much is delivered it grows with the file, and that is no change. Nor
		 * is it where there is no mark: the file was shorter than its offset when it was
		 * saved, and grows again, which the next look will tell. */
		if (e.head_len < CHECKPOINT_HEAD_MAX || e.offset < CHECKPOINT_HEAD_MAX ||
		    !e.mark_len)
			e.head_len = e.head_sum = 0;
		checkpoint_add(&ret->text, &e);
	}
	for (size_t i = 0; i < cp->n_accounts; i++) {
		struct checkpoint_account a = cp->accounts[i];

		a.written = a.uncounted = 0;
		if (a.read || a.delivered || a.records || lost_any(&a))
			checkpoint_add_account(&ret->text, &a);
	}
	ret->lines = calloc(cp->n + cp->n_accounts + 1, sizeof(*ret->lines));
	if (!ret->lines || buf_reserve(&ret->text, 1) < 0)
		return;
	ret->text.data[ret->text.len] = '\0';
	for (char *line = strtok_r(ret->text.data, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		ret->lines[ret->n++] = line;
	qsort(ret->lines, ret->n, sizeof(*ret->lines), by_text);
}

static void parse(const struct buf *text, const struct buf *changes, struct checkpoint *ret)
{
	char why[CHECKPOINT_WHY_MAX] = "";
	int r = checkpoint_parse(text->data, text->len, ret, why, sizeof(why));

	if (r == 0 && changes)
		r = changes_apply(ret, changes->data, changes->len, why, sizeof(why));
	if (r == 0)
		return;
	log_err(r, "state: what is saved cannot be read: %s", why);
	abort();
}

void collector_changes_check(const struct buf *whole, const struct buf *changes,
			     const struct buf *now)
{
	_cleanup_(checkpoint_done) struct checkpoint a = {0}, b = {0};
	_cleanup_(text_lines_done) struct text_lines had = {0}, want = {0};

	parse(whole, changes, &a);
	parse(now, NULL, &b);
	lines_of(&a, &had);
	lines_of(&b, &want);
	for (size_t i = 0; i < had.n || i < want.n; i++) {
		const char *x = i < had.n ? had.lines[i] : "nothing";
		const char *y = i < want.n ? want.lines[i] : "nothing";

		if (strcmp(x, y) == 0)
			continue;
		log_err(0, "state: a change was not noted: saved as %s, is %s", x, y);
		abort();
	}
}
