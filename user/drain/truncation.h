/* SPDX-License-Identifier: Apache-2.0 */
/* A file was cut off (or rewritten) under us: what was lost by that, and reading it anew. */
#ifndef DRAIN_TRUNCATION_H
#define DRAIN_TRUNCATION_H

#include <stdbool.h>
#include <stdint.h>

struct file;
struct write_count;

/* f's content is not what was read of it: counts what was cut off unread (exactly where there is a
 * counter; counts may be NULL) and sets f to its beginning, or where truncations are counted to
 * where it was cut. 0; -EAGAIN: it is being truncated now; another -errno: nothing has changed. */
int truncation_take(struct file *f, const struct write_count *counts);
/*
 * f was just read to its end, and its counter had said bytes before that: what was written beside
 * the counter is no more than that. (A write whose data is there and whose count is not makes it
 * look more, never less, so the least of many times is right.)
 */
void truncation_calibrate(struct file *f, const struct write_count *counts, uint64_t bytes);
/* Something was cut off since this was last noticed; only where truncations are counted. What was
 * read before a call that says no is of the content that was there all along. */
bool truncation_counted(const struct file *f, const struct write_count *counts);
/* Nothing was read of f yet, and something was cut off all the same. */
bool truncation_before_read(const struct file *f, const struct write_count *counts);

#endif
