/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose directory is not followed any more; see collector_leave.c. */
#ifndef COLLECTOR_LEAVE_H
#define COLLECTOR_LEAVE_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct collector;
struct file;

int collector_leave_new(struct collector *c); /* 0 or -ENOMEM */
void collector_leave_free(struct collector *c);
/* Hook of the tree: looks which files nothing leads to now. ctx: the collector. */
void collector_unfollowed(void *ctx);
/* When collector_leave_turn is to be called at the latest; releases what is ready. */
int64_t collector_leave_ns(const struct collector *c);
void collector_leave_turn(struct collector *c, int64_t now_ns);
/* f, which may have more to read, is not to be read: it was, up to where it is left. */
bool collector_has_left(const struct collector *c, const struct file *f);
/* f was found: if it was left, it goes on from there, and true. */
bool collector_back_file(struct collector *c, struct file *f);
/* As collector_put_others: the places of files that were left. */
int collector_put_left(struct collector *c, struct buf *text, uint64_t *n);

#endif
