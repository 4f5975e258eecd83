/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A save costs what has changed, not what there is: ten thousand files, ten of them written to,
 * make ten lines.
 *
 *   whole checkpoint: every file and log, and which line each is in ------------+
 *        |                                                                      |
 *        v   a hot file, an acknowledgement, a name, a log that ended           | too much has
 *   changes: all that was marked since, written anew at each save  -------------+ changed, a minute
 *                                                                                 has passed
 *
 * Whatever is hot, slow or armed counts as changed, and who comes to be that is marked: a file that
 * rests has the entry it had. What belongs to no file or log of the tables (files that a sink still
 * holds, those freed a moment ago, what an earlier run left, sums of logs that are gone) is little,
 * and written anew each time.
 *
 * A failed save is followed by a whole one, as are the start and whatever is too rare to be
 * followed up. The minute bounds what is repeated where the changes cannot be read at a start.
 *
 * Rejected: comparing each file with what was written of it (ten thousand cache misses a second), a
 * sum per line (the same), the lists alone (a file can cool down between two saves).
 */
#include "collector_changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "account/checkpoint.h"
#include "account/checkpoint_changes.h"
#include "account/state.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "collector_state.h"
#include "drain/account.h"
#include "files/files.h"

#define WHOLE_NS   (60 * NS_PER_SEC)
#define PIECE      65536
#define WORTH_PART 8 /* fewer lines than this part of all are written as changes */

struct lines {
	uint32_t *all;
	size_t n, cap;
};

struct marks { /* of struct file or chain, their changed_at */
	uint32_t **all;
	size_t n, cap;
};

struct changes {
	bool whole; /* the next save is */
	int64_t whole_ns;
	struct checkpoint_id id; /* of the last whole one */
	uint64_t lines, rest;    /* its lines; those of no file or log */
	struct marks files, chains;
	struct lines old_files, old_accounts; /* its lines that do not hold any more */
	struct buf check;                     /* for tests: its text */
};

static int room(void *all, size_t n, size_t *cap, size_t size, void *ret_all)
{
	void *more;

	if (n < *cap)
		return 0;
	more = reallocarray(all, *cap ? *cap * 2 : 64, size);
	if (!more)
		return -ENOMEM;
	*cap = *cap ? *cap * 2 : 64;
	memcpy(ret_all, &more, sizeof(more));
	/* cppcheck-suppress memleak; it is *ret_all */
	return 0;
}

static bool line_add(struct lines *ls, uint32_t line)
{
	if (!line)
		return true;
	if (room(ls->all, ls->n, &ls->cap, sizeof(*ls->all), &ls->all) < 0)
		return false;
	ls->all[ls->n++] = line;
	return true;
}

static bool mark_add(struct marks *ms, uint32_t *at)
{
	if (room(ms->all, ms->n, &ms->cap, sizeof(*ms->all), &ms->all) < 0)
		return false;
	ms->all[ms->n++] = at;
	*at = (uint32_t)ms->n;
	return true;
}

static void mark_del(struct marks *ms, uint32_t *at)
{
	if (!*at)
		return;
	ms->all[*at - 1] = ms->all[--ms->n];
	*ms->all[*at - 1] = *at;
	*at = 0;
}

static void marks_clear(struct marks *ms)
{
	for (size_t i = 0; i < ms->n; i++)
		*ms->all[i] = 0;
	ms->n = 0;
}

int collector_changes_new(struct collector *c)
{
	c->changes = calloc(1, sizeof(*c->changes));
	if (!c->changes)
		return -ENOMEM;
	c->changes->whole = true;
	return 0;
}

void collector_changes_free(struct collector *c)
{
	struct changes *ch = take_ptr(c->changes);

	if (!ch)
		return;
	free(ch->files.all);
	free(ch->chains.all);
	free(ch->old_files.all);
	free(ch->old_accounts.all);
	buf_done(&ch->check);
	free(ch);
}

static bool is_cheaper(const struct collector *c)
{
	const struct changes *ch = c->changes;

	if (c->check_ledger)
		return true;
	return (ch->files.n + ch->chains.n + ch->rest + c->n_recent + c->n_gone) * WORTH_PART <
	       ch->lines;
}

static void mark(struct collector *c, struct marks *ms, struct lines *old, uint32_t *at,
		 uint32_t *line)
{
	struct changes *ch = c->changes;

	if (*at || ch->whole)
		return;
	if (!is_cheaper(c)) {
		ch->whole = true;
		return;
	}
	if (!mark_add(ms, at) || !line_add(old, *line))
		ch->whole = true;
	*line = 0;
}

void collector_chain_changed(struct collector *c, struct chain *chain)
{
	if (c->changes)
		mark(c, &c->changes->chains, &c->changes->old_accounts, &chain->changed_at,
		     &chain->saved_line);
}

void collector_file_changed(struct collector *c, struct file *f)
{
	struct changes *ch = c->changes;

	if (!ch)
		return;
	if (!f->released)
		mark(c, &ch->files, &ch->old_files, &f->changed_at, &f->saved_line);
	collector_chain_changed(c, f->chain);
}

/* Those marked are taken off the list also before a whole one: they are about to be freed. */
void collector_file_leaves(struct collector *c, struct file *f)
{
	struct changes *ch = c->changes;

	if (!ch)
		return;
	mark_del(&ch->files, &f->changed_at);
	if (!line_add(&ch->old_files, f->saved_line))
		ch->whole = true;
	f->saved_line = 0;
	collector_chain_changed(c, f->chain);
}

void collector_chain_leaves(struct collector *c, struct chain *chain)
{
	struct changes *ch = c->changes;

	if (!ch)
		return;
	mark_del(&ch->chains, &chain->changed_at);
	if (!line_add(&ch->old_accounts, chain->saved_line))
		ch->whole = true;
	chain->saved_line = 0;
}

void collector_all_changed(struct collector *c)
{
	if (c->changes)
		c->changes->whole = true;
}

struct saving {
	struct collector *c;
	struct buf text;
	bool lines;   /* note which line each is in */
	bool pieces;  /* what is in text is put to the state, piece by piece */
	bool put;     /* some were */
	uint32_t sum; /* of those put */
	uint64_t files, accounts;
	int failure;
};

static void put_piece(struct saving *s)
{
	if (!s->pieces || s->text.len < PIECE)
		return;
	s->sum = checkpoint_sum_on(s->sum, s->text.data, s->text.len);
	if (s->c->check_ledger)
		buf_add(&s->c->changes->check, s->text.data, s->text.len);
	state_put(s->c->state, &s->text);
	s->put = true;
}

/* added: 1, 0: left out, or -ENOMEM. */
static uint32_t count(struct saving *s, uint64_t *n, int added)
{
	if (added < 0)
		s->failure = added;
	*n += added > 0;
	put_piece(s);
	return s->lines && added > 0 ? (uint32_t)*n : 0;
}

static void put_file(void *ctx, struct file *f)
{
	struct saving *s = ctx;
	uint32_t line = s->failure ? 0 : count(s, &s->files, collector_put_file(s->c, f, &s->text));

	if (s->lines)
		f->saved_line = line;
}

static void put_chain(void *ctx, struct chain *chain)
{
	struct saving *s = ctx;
	uint32_t line =
		s->failure ? 0 : count(s, &s->accounts, collector_put_account(chain, &s->text));

	if (s->lines)
		chain->saved_line = line;
}

static void put_rest(struct saving *s, int (*put)(struct collector *, struct buf *, uint64_t *),
		     uint64_t *n)
{
	if (!s->failure)
		s->failure = put(s->c, &s->text, n);
}

static int64_t real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static void mark_list(struct collector *c, const struct list *files)
{
	list_for_each (l, next, files)
		collector_file_changed(c, container_of(l, struct file, in_hot));
}

static bool lines_add(struct lines *ls, uint64_t first, uint64_t last)
{
	bool all = true;

	for (uint64_t i = first; i <= last && all; i++)
		all = line_add(ls, (uint32_t)i);
	return all;
}

/* Fills s->text; *ret_files, *ret_accounts: how many of the lines are of files and logs. */
static int put_all(struct saving *s, int64_t time_ns, uint64_t *ret_files, uint64_t *ret_accounts)
{
	struct collector *c = s->c;

	s->failure = checkpoint_begin(&s->text, time_ns);
	files_each(c->files, put_file, s);
	*ret_files = s->files;
	put_rest(s, collector_put_others, &s->files);
	collector_update_ledger(c);
	files_each_chain(c->files, put_chain, s);
	*ret_accounts = s->accounts;
	put_rest(s, collector_put_other_accounts, &s->accounts);
	if (!s->failure)
		s->failure = checkpoint_end_on(&s->text, s->sum, s->files, s->accounts);
	return s->failure;
}

static int build_whole(struct collector *c, struct buf *ret_text)
{
	struct changes *ch = c->changes;
	/* At the end one may be under way still. */
	struct saving s = {.c = c, .lines = true, .pieces = state_due_ns(c->state) != INT64_MAX};
	uint64_t files, accounts;
	int64_t time_ns = real_ns();
	int r;

	ch->check.len = 0;
	r = put_all(&s, time_ns, &files, &accounts);
	ch->whole = true;
	marks_clear(&ch->files);
	marks_clear(&ch->chains);
	ch->old_files.n = ch->old_accounts.n = 0;
	if (r < 0) {
		buf_done(&s.text);
		if (s.put)
			state_save(c->state, NULL);
		return r;
	}
	ch->whole = !lines_add(&ch->old_files, files + 1, s.files) ||
		    !lines_add(&ch->old_accounts, accounts + 1, s.accounts);
	ch->lines = s.files + s.accounts;
	ch->rest = ch->lines - files - accounts;
	ch->id = checkpoint_id(time_ns, &s.text);
	ch->whole_ns = clock_now_ns();
	mark_list(c, &c->hot);
	mark_list(c, &c->slow);
	for (size_t i = 0; i < c->n_armed; i++)
		collector_file_changed(c, c->armed[i]);
	*ret_text = s.text;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static struct checkpoint_lines sorted(struct lines *ls)
{
	if (ls->n)
		qsort(ls->all, ls->n, sizeof(*ls->all), by_number);
	return (struct checkpoint_lines){ls->all, ls->n};
}

static int build_changes(struct collector *c, struct buf *ret_text)
{
	struct changes *ch = c->changes;
	struct saving s = {.c = c};
	struct checkpoint_lines files = sorted(&ch->old_files),
				accounts = sorted(&ch->old_accounts);

	s.failure = changes_begin(&s.text, real_ns(), &ch->id, &files, &accounts);
	for (size_t i = 0; i < ch->files.n; i++)
		put_file(&s, container_of(ch->files.all[i], struct file, changed_at));
	put_rest(&s, collector_put_others, &s.files);
	for (size_t i = 0; i < ch->files.n; i++)
		account_update(container_of(ch->files.all[i], struct file, changed_at), c->counts);
	for (size_t i = 0; i < ch->chains.n; i++)
		put_chain(&s, container_of(ch->chains.all[i], struct chain, changed_at));
	put_rest(&s, collector_put_other_accounts, &s.accounts);
	if (!s.failure)
		s.failure = checkpoint_end(&s.text, s.files, s.accounts);
	if (s.failure) {
		buf_done(&s.text);
		return s.failure;
	}
	*ret_text = s.text;
	return 0;
}

static void check(struct collector *c, const struct buf *text, bool changes)
{
	struct changes *ch = c->changes;
	struct saving s = {.c = c};
	uint64_t files, accounts;

	if (!changes) {
		buf_add(&ch->check, text->data, text->len);
		return;
	}
	if (put_all(&s, real_ns(), &files, &accounts) == 0)
		collector_changes_check(&ch->check, text, &s.text);
	buf_done(&s.text);
}

int collector_save_build(struct collector *c, bool whole, struct buf *ret_text, bool *ret_changes)
{
	struct changes *ch = c->changes;
	bool changes = !whole && !ch->whole && collector_resume_judged(c) && is_cheaper(c) &&
		       clock_now_ns() - ch->whole_ns < WHOLE_NS;
	int r = changes ? build_changes(c, ret_text) : build_whole(c, ret_text);

	if (r == 0 && c->check_ledger)
		check(c, ret_text, changes);
	*ret_changes = changes;
	return r;
}
