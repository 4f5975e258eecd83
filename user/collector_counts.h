/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel half tells by itself: new files, and files that have more to read. */
#ifndef COLLECTOR_COUNTS_H
#define COLLECTOR_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

struct collector;
struct file;

struct counts_stats {
	uint64_t enrolled, woken; /* records taken */
	uint64_t expired;         /* files that enrolled and were not opened */
};

int collector_open_counts(struct collector *c); /* attaches the programs; 0 or -errno, logged */
void collector_close_counts(struct collector *c);
/* The tree has been listed for the first time. */
void collector_dirs_known(struct collector *c);
void collector_counts_stats(const struct collector *c, struct counts_stats *ret_stats);

/* Hooks of the tree and of the files; ctx: the collector. */
void collector_dir_added(void *ctx, const char *path, int fd);
void collector_dir_removed(void *ctx, const char *path);
void collector_vanished(void *ctx, const char *path, int by);

/* Takes the kernel's records: finds new files, wakes armed ones. No system call if there are none.
 */
void collector_take_counts(struct collector *c);
/* When it is time: what was written to files that nobody could open is lost. now_ns INT64_MAX: this
 * is the end, nobody opens them any more. */
void collector_expire_counts(struct collector *c, int64_t now_ns);
/* A file called path was gone before it could be opened, and bytes had been written to it. */
void collector_lose_bytes(struct collector *c, const char *path, uint64_t bytes);

#endif
