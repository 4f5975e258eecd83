/* SPDX-License-Identifier: Apache-2.0 */
/* The collector across restarts: what is saved, and where reading goes on. */
#ifndef COLLECTOR_STATE_H
#define COLLECTOR_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct checkpoint;
struct checkpoint_entry;
struct collector;
struct file;

/* collector_state.c: what is saved. Without a state directory each does nothing. */
/* *ret_loaded is set, and the caller's, when c->resuming is true afterwards. */
int collector_open_state(struct collector *c, struct checkpoint *ret_loaded);
/* A file is gone: its entry stays for a while, as its .gz may be younger than the checkpoint. ctx:
 * the collector. */
void collector_freed(void *ctx, struct file *f);
/* e is done with, but stays in the checkpoint for a few seconds. */
void collector_keep_recent(struct collector *c, const struct checkpoint_entry *e);
/* There is something to save. */
void collector_changed(struct collector *c, int64_t now_ns);
/* Brings f->identity up to date, as far as f is open. */
void collector_identify(struct file *f);
/* f's line, as of when it was last identified; the path is f's. */
void collector_entry(const struct file *f, struct checkpoint_entry *ret_entry);
void collector_save(struct collector *c, int64_t now_ns);
/* When the next save is due, INT64_MAX when nothing has changed or one is under way. */
int64_t collector_save_ns(const struct collector *c);
void collector_close_state(struct collector *c, bool save);
/* Adds f's line to text: 1, 0 when it cannot be saved, or -ENOMEM. */
int collector_put_file(struct collector *c, struct file *f, struct buf *text);
/* Adds the lines that belong to no file of the tables, and their number to *n. 0 or -ENOMEM. */
int collector_put_others(struct collector *c, struct buf *text, uint64_t *n);

/* collector_ledger.c: what an earlier run knew of each log. The checkpoint's accounts are taken
 * over. */
struct chain;
void collector_open_ledger(struct collector *c);
void collector_close_ledger(struct collector *c);
void collector_answer_ledger(struct collector *c);
void collector_check_ledger(struct collector *c, int64_t now_ns);
int collector_keep_accounts(struct collector *c, struct checkpoint *loaded);
void collector_restore_chain(struct collector *c, struct chain *chain);
void collector_update_ledger(struct collector *c);
struct ledger_entry;
struct ledger_head;
struct tally;
/* Since the ledger was last brought up to date. */
void collector_chain_entry(const struct chain *chain, struct ledger_entry *e);
void collector_ledger_head(const struct collector *c, struct ledger_head *h);
/* Each log of an earlier run that is not there: one that lost something, or whose container may
 * have others, by itself, up to some number; the rest as one sum, without a path. */
void collector_each_kept(const struct collector *c,
			 void (*visit)(void *ctx, const struct tally *t, const char *path),
			 void *ctx);
/* As collector_put_file and collector_put_others: a log's account, and those of no log. */
int collector_put_account(const struct chain *chain, struct buf *text);
int collector_put_other_accounts(struct collector *c, struct buf *text, uint64_t *n);

/* collector_resume.c: where reading goes on */
/* Nothing is looked for any more that an earlier run left behind, but for what cannot be told yet.
 */
bool collector_resume_judged(const struct collector *c);
int collector_resume_new(struct collector *c, struct checkpoint *loaded); /* takes *loaded over */
void collector_resume_free(struct collector *c);
/* f was found: sets its place if its identity is known. */
void collector_resume_file(struct collector *c, struct file *f);
void collector_resume_compressed(void *ctx, const char *path); /* ctx: the collector */
/* A compressed generation could not be opened yet: nothing is read before it, for a while. */
bool collector_resume_waits(const struct collector *c, int64_t now_ns);
/* The start-up scan is over; again and again until what failed in it has been tried again. */
void collector_resume_rest(struct collector *c, int64_t now_ns);
void collector_resume_each_open(const struct collector *c,
				void (*visit)(void *ctx, const struct checkpoint_entry *e),
				void *ctx);

#endif
