/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file table: which inodes are held, under which names, and in which order the generations of
 * each container's log are to be read. Belongs to the event loop.
 *
 * Live identity is the open descriptor's (st_dev, st_ino): while it is held, the inode cannot be
 * given to another file.
 */
#ifndef FILES_FILES_H
#define FILES_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "files/births.h"
#include "files/file.h"

struct files;

struct files_hooks {
	void *ctx;
	/* A new file: give it a counter and a watch. f->offset and f->size are set. */
	void (*opened)(void *ctx, struct file *f);
	/* Something happened to it (a name lost or found, an overflow): look at it. */
	void (*look)(void *ctx, struct file *f);
	/* It leaves the tables: take back what opened gave. */
	void (*released)(void *ctx, struct file *f);
	/* It is about to be freed: no sink holds anything of it. May be NULL. */
	void (*freed)(void *ctx, struct file *f);
	/* A container's log has had no file for a while and is about to be freed. */
	void (*ended)(void *ctx, struct chain *c);
	/* A compressed file, which is not followed. May be NULL. */
	void (*compressed)(void *ctx, const char *path);
	/* One more file or directory called path (by: 1) is counted as vanished; or one less (-1),
	 * as it was found after all. May be NULL. */
	void (*vanished)(void *ctx, const char *path, int by);
	/* f is about to be closed for want of descriptors. May be NULL. */
	void (*closing)(void *ctx, struct file *f);
	/* How long until f's unread bytes will be lost, in ns. May be NULL. */
	int64_t (*deadline)(void *ctx, const struct file *f);
};

struct files_stats {
	unsigned open, chains;
	unsigned closed; /* of the open ones: closed for want of descriptors */
	uint64_t found, rotations;
	uint64_t vanished;   /* files and directories, gone between the event and the open */
	uint64_t unreadable; /* opens refused, by name and look */
};

int files_new(const struct files_hooks *hooks, struct files **ret_files);
void files_free(struct files *fs);

/* Files found before this call were there at the start; skip: those are read from their end on. */
void files_start(struct files *fs, bool skip_existing);
void files_started(struct files *fs);
/* Never collected: a sink's own file. btime_ns: its time of birth, as its inode may be another
 * file's one day; 0: not known. */
int files_exclude(struct files *fs, struct file_id id, int64_t btime_ns);
/* Never collected: every file below a directory whose name ends in _UID (hotdrain's own pod). */
void files_exclude_uid(struct files *fs, const char *uid);

/* A compressed generation that is to be read. Takes fd, also on failure. It may be closed at once,
 * for want of descriptors. */
int files_add_gz(struct files *fs, const char *path, int fd, struct file **ret_file);
/* The file known by this name. */
struct file *files_at(const struct files *fs, const char *path);
/* The chain called key, len bytes; NULL: there is none. */
struct chain *files_chain(const struct files *fs, const char *key, size_t len);

/* f is closed and has no name: waits for one to show up, then gives up. Nothing of it may be used
 * after this call. */
void files_seek(struct files *fs, struct file *f, int64_t now_ns);
/* What f held unread cannot be read any more: it is counted as rotated away, and f released. */
void files_lose(struct files *fs, struct file *f);
/* A file lost its name, or memory was short, since the last call: worth a rescan. */
bool files_take_retry(struct files *fs);
void files_gone(struct files *fs, const char *path);
void files_gone_below(struct files *fs, const char *dir);
/* After an overflow: drops every name that no longer leads to its file, and looks at every file. */
void files_verify(struct files *fs);

/* The armed watch of a file; -1 forgets it. */
int files_set_wd(struct files *fs, struct file *f, int wd);
struct file *files_by_wd(const struct files *fs, int wd);

/* It is known now what f, held back as a possible copy, is: it may be read. resumed: it goes on
 * where the live file was cut. */
void files_settle_copy(struct files *fs, struct file *f, bool resumed);

/* The generation is drained and nobody writes to it: the next one of its chain may be read. An
 * unlinked one is released. */
void files_finish(struct files *fs, struct file *f);
/* files_finish would release it: it has no name any more. */
bool file_leaves(const struct file *f);
/* Leaves the chain although a writer still holds it, so that the successor is not kept waiting. */
void files_linger(struct files *fs, struct file *f);
/* Out of the tables; freed when no sink holds a span of it. */
void files_release(struct files *fs, struct file *f);
/* A sink's span of it came back. */
void files_put(struct files *fs, struct file *f);

/* All files, and a part of them at a time (a hash bucket; the cursor goes round). */
/* Ends the logs that have had no file since before then. (Between a rename and the new file, a log
 * whose older generations are gone has none for a moment.) */
void files_end_chains(struct files *fs, int64_t before_ns);
void files_each(struct files *fs, void (*visit)(void *ctx, struct file *f), void *ctx);
void files_some(struct files *fs, unsigned count, void (*visit)(void *ctx, struct file *f),
		void *ctx);
/* Released files of which a sink still holds something. */
void files_each_leaving(struct files *fs, void (*visit)(void *ctx, struct file *f), void *ctx);
void files_each_chain(struct files *fs, void (*visit)(void *ctx, struct chain *c), void *ctx);
void files_stats(const struct files *fs, struct files_stats *ret_stats);

#endif
