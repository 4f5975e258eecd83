/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed since the last whole checkpoint; see collector_changes.c. */
#ifndef COLLECTOR_CHANGES_H
#define COLLECTOR_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct chain;
struct changes;
struct collector;
struct file;

int collector_changes_new(struct collector *c); /* 0 or -ENOMEM */
void collector_changes_free(struct collector *c);

/* What a checkpoint says of f, or of its log's account, may not hold any more. Without a state
 * directory each of these does nothing. */
void collector_file_changed(struct collector *c, struct file *f);
void collector_chain_changed(struct collector *c, struct chain *chain);
/* It is about to leave the tables. */
void collector_file_leaves(struct collector *c, struct file *f);
void collector_chain_leaves(struct collector *c, struct chain *chain);
/* Anything may be another. */
void collector_all_changed(struct collector *c);

/* The checkpoint as it would be now: whole, or what has changed since the last whole one, whichever
 * is cheaper. Of a whole one that is long only the end: the rest was put to the state before. 0 or
 * -ENOMEM. */
int collector_save_build(struct collector *c, bool whole, struct buf *ret_text, bool *ret_changes);

/* For tests: aborts where whole with changes is not what now says. */
void collector_changes_check(const struct buf *whole, const struct buf *changes,
			     const struct buf *now);

#endif
