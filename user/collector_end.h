/* SPDX-License-Identifier: Apache-2.0 */
/* How a generation ends: drained and closed, given up, or flushed because the program ends. */
#ifndef COLLECTOR_END_H
#define COLLECTOR_END_H

#include <stdbool.h>
#include <stdint.h>

struct collector;
struct file;

/* A displaced file that is drained as far as we know: is it at its end? */
void collector_close_displaced(struct collector *c, struct file *f, int64_t now_ns);
/* A container that ended without a final newline: what it said last must not wait for ever. */
void collector_flush_ended(struct collector *c, struct file *f, int64_t now_ns);
/* Emits what will not be continued: torn tails (tails) and partials, waiting for batches until
 * deadline_ns. */
void collector_flush_tails(struct collector *c, bool tails, int64_t deadline_ns);
/* Unlinked files whose unread bytes exceed held_max: the oldest are given up. */
void collector_drop_held(struct collector *c);
uint64_t collector_held_bytes(const struct file *f);
/* f can be read now, and never again. */
bool collector_is_held(const struct file *f);
/* Is there one that is worth waiting for? partials: or a successor that may hold the rest of what
 * began in one. */
bool collector_holds(const struct collector *c, bool partials);
/* Emits what is begun in such files and will not be continued. */
void collector_flush_held(struct collector *c, int64_t deadline_ns);

#endif
