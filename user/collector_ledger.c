/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger of what is there: fills account/ledger.h's entries, answers those who ask for it, and
 * carries it over a restart with the checkpoint.
 *
 * pending is what is unread on disk plus what was read and is not acknowledged. It is found apart
 * from written, which the kernel's positions give, so that the ledger's equation is a proof and not
 * a definition; only between a truncation and its being noticed pending is what is left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "account/checkpoint.h"
#include "account/ledger.h"
#include "account/ledger_socket.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "collector_state.h"
#include "collector_status.h"
#include "config.h"
#include "drain/account.h"
#include "files/files.h"
#include "serve/status.h"

#define CHECK_NS    (250 * NS_PER_MS)
#define CHECK_FILES 64
#define KEPT_MAX    1000

/* Of an earlier run, until a log of that path turns up. */
struct kept {
	struct table_node by_path;
	struct checkpoint_account a;
	bool taken, alone; /* alone: not to be summed up with others */
};

struct accounts {
	struct table by_path;
	struct kept *all;
	size_t n;
};

/* What was read and not delivered is read again, and what was pending is found in the files: the
 * account goes on from what was settled. */
static struct tally tally_of(const struct checkpoint_account *a)
{
	struct tally t = {.read_bytes = a->delivered,
			  .delivered_bytes = a->delivered,
			  .uncounted_bytes = a->uncounted,
			  .written_bytes = a->delivered - a->uncounted,
			  .records = a->records};

	for (int i = 0; i < LOST_REASONS; i++) {
		t.lost[i] = a->lost[i];
		t.written_bytes += a->lost[i].bytes;
	}
	return t;
}

int collector_keep_accounts(struct collector *c, struct checkpoint *loaded)
{
	struct accounts *as = calloc(1, sizeof(*as));
	int r = 0;

	if (!as)
		return -ENOMEM;
	c->accounts = as;
	as->all = calloc(loaded->n_accounts, sizeof(*as->all));
	if (loaded->n_accounts && !as->all)
		return -ENOMEM;
	for (; as->n < loaded->n_accounts && r == 0; as->n++) {
		struct kept *k = &as->all[as->n];

		k->a = loaded->accounts[as->n];
		loaded->accounts[as->n].path = NULL;
		k->alone = k->a.path[0] && files_directory_is_there(k->a.path);
		if (!table_get(&as->by_path, k->a.path, strlen(k->a.path)))
			r = table_add(&as->by_path, &k->by_path, k->a.path, strlen(k->a.path));
	}
	return r;
}

void collector_restore_chain(struct collector *c, struct chain *chain)
{
	struct table_node *n =
		c->accounts ? table_get(&c->accounts->by_path, chain->key, strlen(chain->key))
			    : NULL;
	struct kept *k = n ? container_of(n, struct kept, by_path) : NULL;
	struct tally t;

	if (!k || k->taken)
		return;
	k->taken = true;
	t = tally_of(&k->a);
	tally_add(&chain->tally, &t);
	tally_add(&c->restored, &t);
}

void collector_each_kept(const struct collector *c,
			 void (*visit)(void *ctx, const struct tally *t, const char *path),
			 void *ctx)
{
	const struct accounts *as = c->accounts;
	struct tally rest = {0}, t;
	unsigned n = 0;

	for (size_t i = 0; as && i < as->n; i++) {
		if (as->all[i].taken)
			continue;
		t = tally_of(&as->all[i].a);
		if ((as->all[i].alone || (as->all[i].a.path[0] && tally_lost(&t))) &&
		    n++ < KEPT_MAX)
			visit(ctx, &t, as->all[i].a.path);
		else
			tally_add(&rest, &t);
	}
	visit(ctx, &rest, "");
}

static void zero_pending(void *ctx, struct chain *chain)
{
	chain->unread_bytes = 0;
	chain->unnoticed = false;
}

static void update_file(void *ctx, struct file *f)
{
	const struct collector *c = ctx;

	if (f->released)
		return;
	f->chain->unnoticed = !account_update(f, c->counts) || f->chain->unnoticed;
	f->chain->unread_bytes += account_unread(f);
}

void collector_update_ledger(struct collector *c)
{
	files_each_chain(c->files, zero_pending, NULL);
	files_each(c->files, update_file, c);
}

void collector_chain_entry(const struct chain *chain, struct ledger_entry *e)
{
	ledger_entry_from(e, &chain->tally);
	e->pending += chain->unread_bytes;
	if (chain->unnoticed)
		e->pending += (uint64_t)ledger_check(e);
}

static void put_chain(void *ctx, struct chain *chain)
{
	struct ledger_entry e;

	collector_chain_entry(chain, &e);
	ledger_put(ctx, chain->key, &e);
}

/* Those that are gone: each that lost something, the others as one sum. */
static void put_gone(struct collector *c, struct ledger *l)
{
	struct ledger_entry e, rest;

	ledger_entry_from(&rest, &c->ended);
	list_for_each (i, next, &c->gone) {
		const struct gone *g = container_of(i, struct gone, in_gone);

		ledger_entry_from(&e, &g->tally);
		ledger_put(l, g->key, &e);
		ledger_sub(&rest, &e);
	}
	ledger_put(l, NULL, &rest);
}

static void put_kept(void *ctx, const struct tally *t, const char *path)
{
	struct ledger_entry e;

	ledger_entry_from(&e, t);
	ledger_put(ctx, *path ? path : NULL, &e);
}

void collector_ledger_head(const struct collector *c, struct ledger_head *h)
{
	const char *why = write_count_no_positions(c->counts);
	struct write_count_stats s;

	write_count_stats(c->counts, &s);
	*h = (struct ledger_head){.proof = LEDGER_PROVEN, .missed = s.misses + s.refused};
	if (c->n_uncountable)
		why = "some files have no counter";
	if (why) {
		h->proof = LEDGER_LOWER_BOUND;
		snprintf(h->why, sizeof(h->why), "bpf rung %s: %s",
			 rung_name(write_count_rung(c->counts)), why);
	} else if (h->missed) {
		h->proof = LEDGER_ESTIMATED;
	}
}

/* True: something was lost. Without memory the text is empty. */
static bool ledger_text(struct collector *c, enum ledger_format format, struct buf *text)
{
	struct ledger_head head;
	struct ledger l;
	bool lost;

	collector_update_ledger(c);
	collector_ledger_head(c, &head);
	ledger_begin(&l, &head);
	files_each_chain(c->files, put_chain, &l);
	put_gone(c, &l);
	collector_each_kept(c, put_kept, &l);
	lost = ledger_lost(&l);
	if (ledger_end(&l, format, text) < 0)
		buf_done(text);
	return lost;
}

static void status_text(struct collector *c, struct buf *text)
{
	_cleanup_(status_done) struct status s = {0};

	if (collector_status(c, &s) < 0 || status_merge(&s) < 0 || status_json(&s, 0, text) < 0)
		buf_done(text);
}

void collector_answer_ledger(struct collector *c)
{
	enum ledger_format format = ledger_socket_wanted(c->ledger);
	struct buf text = {0};
	bool lost = false;

	if (format == LEDGER_STATUS)
		status_text(c, &text);
	else
		lost = ledger_text(c, format, &text);
	ledger_socket_answer(c->ledger, &text, lost);
}

void collector_close_ledger(struct collector *c)
{
	struct accounts *as = c->accounts;

	ledger_socket_free(c->ledger);
	c->ledger = NULL;
	if (!as)
		return;
	table_done(&as->by_path);
	for (size_t i = 0; i < as->n; i++)
		free(as->all[i].a.path);
	free(as->all);
	free(as);
	c->accounts = NULL;
}

void collector_open_ledger(struct collector *c)
{
	if (c->state)
		ledger_socket_new(c->cfg->state, &c->ledger);
	c->check_ledger = getenv("HOTDRAIN_CHECK_LEDGER") != NULL;
}

static void check_chain(void *ctx, struct chain *chain)
{
	struct ledger_entry e;
	int64_t off;

	collector_chain_entry(chain, &e);
	off = ledger_check(&e);
	if (!off)
		return;
	log_err(0,
		"ledger: %s does not close by %lld: written %llu, read %llu, delivered %llu, "
		"pending %llu, lost %llu, uncounted %llu",
		chain->key, (long long)off, (unsigned long long)e.written,
		(unsigned long long)e.read, (unsigned long long)e.delivered,
		(unsigned long long)e.pending, (unsigned long long)ledger_lost_bytes(&e),
		(unsigned long long)e.uncounted);
	abort();
}

/* For tests: the equation holds after each turn; with many files now and then. */
void collector_check_ledger(struct collector *c, int64_t now_ns)
{
	struct files_stats stats;

	if (!c->check_ledger)
		return;
	files_stats(c->files, &stats);
	if (stats.open > CHECK_FILES && now_ns < c->check_ns)
		return;
	c->check_ns = now_ns + CHECK_NS;
	collector_update_ledger(c);
	files_each_chain(c->files, check_chain, NULL);
}

static void account_of(const struct tally *t, const char *path, struct checkpoint_account *a)
{
	*a = (struct checkpoint_account){.written = t->written_bytes,
					 .read = t->read_bytes,
					 .delivered = t->delivered_bytes,
					 .uncounted = t->uncounted_bytes,
					 .records = t->records,
					 .path = (char *)path};
	memcpy(a->lost, t->lost, sizeof(a->lost));
}

static int put_tally(const struct tally *t, const char *path, struct buf *text)
{
	struct checkpoint_account a;
	int r;

	if (!t->written_bytes && !tally_lost(t))
		return 0;
	account_of(t, path, &a);
	r = checkpoint_add_account(text, &a);
	return r == 0 ? 1 : r == -ENOMEM ? r : 0;
}

int collector_put_account(const struct chain *chain, struct buf *text)
{
	return put_tally(&chain->tally, chain->key, text);
}

struct others {
	struct buf *text;
	struct tally rest;
	uint64_t *n;
	int failure;
};

static void put_other(struct others *o, const struct tally *t, const char *path)
{
	int r = o->failure ? 0 : put_tally(t, path, o->text);

	if (r < 0)
		o->failure = r;
	*o->n += r > 0;
}

static void put_other_kept(void *ctx, const struct tally *t, const char *path)
{
	struct others *o = ctx;

	if (*path)
		put_other(o, t, path);
	else
		tally_add(&o->rest, t);
}

int collector_put_other_accounts(struct collector *c, struct buf *text, uint64_t *n)
{
	struct others o = {.text = text, .rest = c->ended, .n = n};

	list_for_each (i, next, &c->gone) {
		const struct gone *g = container_of(i, struct gone, in_gone);

		put_other(&o, &g->tally, g->key);
		tally_sub(&o.rest, &g->tally);
	}
	collector_each_kept(c, put_other_kept, &o);
	put_other(&o, &o.rest, "");
	return o.failure;
}
