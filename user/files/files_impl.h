/* SPDX-License-Identifier: Apache-2.0 */
/* The file table's inside, shared by files.c (life) and found.c (names). */
#ifndef FILES_FILES_IMPL_H
#define FILES_FILES_IMPL_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "files/descriptors.h"
#include "files/files.h"

#define FILES_NAMELESS_NS (8 * NS_PER_SEC) /* longer than until the rescan that it asks for */

/* How a name became known. */
enum told { TOLD_BY_LIST, TOLD_OF_BIRTH, TOLD_OF_MOVE, TOLD_OF_WRITE };

struct excluded {
	struct table_node by_id;
	struct file_id id;
	int64_t btime_ns; /* 0: not known */
};

struct files {
	struct files_hooks hooks;
	struct table by_id, by_path, by_wd, chains, excluded;
	struct buf postponed; /* see postponed.c */
	int64_t postponed_ns, pause_ns;
	struct list leaving; /* released, but a sink holds a span of it: struct file.in_chain */
	struct list empty;   /* chains without a member: struct chain.in_empty, oldest first */
	struct list open;    /* struct file.in_open, the one used longest ago first */
	unsigned n_open, open_max;
	char *excluded_uid; /* "_UID/" */
	bool starting, skip_existing, retry;
	size_t cursor;
	struct log_limit limit;
	struct files_stats stats;
};

/* Takes fd, also on failure. f->source's names come from path, else from alias (may be NULL). */
int file_new(int fd, const struct stat *st, const char *path, const char *alias,
	     struct file **ret_file);
void file_free(struct file *f);
/* Does path lead to f? An event may be about the inode that had the name before. */
bool file_is_at(const struct file *f, const char *path);
/* Its name, of which it had none. The live one is the chain's key, which both have. 0 or -ENOMEM.
 */
int file_set_path(struct file *f, const char *path);
void file_drop_path(struct file *f);
/* f's name is gone, or another file's. */
void files_lose_name(struct files *fs, struct file *f);
/* A generation was found under its rotated name, not having been seen under the live one. */
void files_found_late(struct files *fs, struct chain *c);
struct file *files_of(const struct files *fs, struct file_id id);
/* The log that path is, or looks like, a generation of; NULL: none is known. */
struct chain *files_chain_of(const struct files *fs, const char *path);
void files_told(struct files *fs, const char *path, const char *alias, enum told told);
/* There was one more birth at path than files were seen: of a file that is known by its rotated
 * name, or of one that nobody saw. */
void files_born_unseen(struct files *fs, const char *path);
/* path, which led to id, could not be opened now. soon: only for want of a descriptor. */
void files_postpone(struct files *fs, const char *path, const char *alias, const struct file_id *id,
		    bool soon);
/* f, found by its first write, is not what its name leads to any more. */
void files_early_leaves(struct file *f);
void files_leave_chain(struct files *fs, struct chain *c);
/* Closes f, if it is open. */
void files_close(struct files *fs, struct file *f);
/* f was opened. */
void files_opened(struct files *fs, struct file *f);
/* Before an open: closes the least urgent file when there are too many. False: none can be closed
 * now. */
bool files_make_room(struct files *fs);

#endif
