/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that top counts by itself. Nothing is read from them and they are never opened: each is
 * held by a descriptor that only refers to it (O_PATH), so that its inode number stays its own.
 */
#ifndef CLI_TOP_FILES_H
#define CLI_TOP_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "files/identity.h"

struct top_frame;
struct write_count;

struct top_sums { /* only growing */
	uint64_t bytes, writes;
	uint64_t unseen_files, unseen_bytes; /* in bytes: files gone before they were found */
};

struct top_files { /* by top_files_init */
	struct write_count *wc;
	struct table by_id, places;
	struct list homeless; /* files whose name is gone, for a moment */
	bool scanned;         /* what is found from now on is new, or has moved */
	bool verify;          /* names may be gone that nobody told of */
	unsigned round;
	struct top_sums sums;
	unsigned n_active;  /* written to in the interval that the last frame shows */
	unsigned uncounted; /* files without a counter, of all */
};

void top_files_init(struct top_files *fs, struct write_count *wc);
void top_files_done(struct top_files *fs);
/* There may be a file of this canonical path. alias: as tree_hooks.found has it, or NULL. */
void top_files_found(struct top_files *fs, const char *path, const char *alias);
void top_files_gone(struct top_files *fs, const char *path);
/* A file that had that name, in a watched directory, got so many bytes and was gone before it was
 * found. */
void top_files_unseen(struct top_files *fs, struct file_id id, const char *name, uint64_t bytes);
/* Takes all counts; a row for each file. The rates are over the time since the last call; NAN:
 * unknown. 0 or -ENOMEM: rows are missing. */
int top_files_look(struct top_files *fs, double interval_s, int64_t now_ns, struct top_frame *f);

#endif
