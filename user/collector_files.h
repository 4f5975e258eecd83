/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to files, from being found to being released. */
#ifndef COLLECTOR_FILES_H
#define COLLECTOR_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "files/files.h"
#include "files/tally.h"
#include "watch/tree.h"

struct collector;
struct file;

struct files_hooks collector_file_hooks(struct collector *c);
struct tree_hooks collector_tree_hooks(struct collector *c);
void collector_touched(struct collector *c, struct file *f);
void collector_cool_down(struct collector *c, struct file *f, int64_t now_ns);
bool collector_wants_slow(const struct file *f);
/* False while it is not known whether f is a copy of its live file. */
bool collector_settle_copy(struct collector *c, struct file *f, int64_t now_ns);
void collector_sweep(struct collector *c);
void collector_take_acks(struct collector *c);
/* len bytes of key name the container's log that lost something. */
void collector_lose(struct collector *c, const char *key, size_t len, enum lost_reason why,
		    uint64_t bytes);
void collector_remember(struct collector *c, const char *key, size_t len, const struct tally *t);

#endif
