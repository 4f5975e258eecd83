/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: one log file (an inode that is held open) and the container log it is a generation
 * of. files/ owns both; heat/ and drain/ are handed them and keep their own members up to date.
 *
 *   chain 0.log:  [0.log.T1 displaced] -> [0.log.T2 displaced] -> [0.log live]
 *                  head: being drained                             tail: being written
 *
 * Life of a file:
 *
 *      found --> HOT (polled) --quiet--> IDLE (one-shot watch, costs nothing) --written--> HOT
 *
 * Displaced (renamed, unlinked, replaced) it stays HOT until it is drained and no writer holds it
 * any more; then it leaves the chain and its successor may be read. On disk it is remembered (IDLE,
 * done) so that it is never read twice; unlinked it is freed.
 */
#ifndef FILES_FILE_H
#define FILES_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/table.h"
#include "files/chain.h"
#include "files/identity.h"
#include "files/mark.h"
#include "output/batch.h"

struct gz;
struct source;
struct stat;

struct file {
	struct table_node by_id, by_path, by_wd;
	struct list in_chain, in_hot;
	struct list in_open; /* by last use, while fd >= 0 (files/descriptors.c) */
	struct chain *chain;
	struct source *source;
	struct file_id id;
	struct file_identity identity; /* as of when it was last asked for */
	struct gz *gz;                 /* while it is being inflated, else NULL */
	char *path;                    /* the name it has now; NULL: none that we know */
	int fd, wd, slot; /* the watch, the counter, -1: none; fd -1: closed until it is needed */
	bool compressed;  /* offset, size and marks are of its content */

	bool displaced, unlinked;
	bool sought;           /* without a name: a rescan was asked for */
	bool announced, early; /* its birth's event was seen; found before, by its first write */
	bool maybe_copy;   /* not read, in no chain, before it is known what it is (drain/copy.h) */
	bool resumed;      /* goes on where an earlier run left off */
	bool lingering;    /* left the chain while somebody still held it open for writing */
	bool unwatchable;  /* inotify is at its limit: polled slowly instead */
	bool released;     /* out of the tables, freed when inflight is 0 */
	unsigned inflight; /* spans of this file that the sinks hold, and joins begun in it */
	uint32_t epoch;    /* truncations: a span of an earlier one says nothing of this content */
	unsigned rotation; /* of its chain, by which it was displaced */
	int64_t displaced_ns;
	uint64_t offset; /* the next byte to read */
	/* Every sink has acknowledged the bytes before it, but for the records that are open there:
	 * where each stream's begins, plus 1; 0: none. */
	uint64_t acked, open[BATCH_STREAMS];
	/* Before replay only what belongs to records in replay_open is taken again. */
	uint64_t replay, replay_open[BATCH_STREAMS];
	uint64_t gz_size;  /* of the compressed file, at the last look */
	uint64_t expected; /* its size as an earlier run knew it, 0: unknown */
	uint64_t sure;     /* its size when a read last showed that it was not rewritten */
	uint64_t consumed; /* bytes read or lost over all epochs; this and on: drain/account.h */
	uint64_t besides;  /* bytes at its positions that nobody wrote: holes */
	uint64_t base;     /* of consumed: before its account began, or in a copy's account */
	uint64_t accounted, accounted_uncounted; /* what the chain's tally has of it */
	uint64_t seen_truncs; /* noticed; more were cut off since, not yet known how much */
	int64_t unsure_ns;
	bool positions;            /* its truncations are counted */
	bool copied;               /* what the next one turns out to have cut off is in a copy */
	bool skip_line, sync_line; /* up to a newline: rest of a cut line; begun inside one */
	bool hole, after_gap;      /* not read since it was truncated; one before it vanished */
	bool probe;                /* written to since the last read: read until the end shows */
	bool uncounted; /* grew without a counted write (mmap, sendfile): its size is looked at */
	uint64_t leave_at; /* not followed any more: read up to here, plus 1; 0: it is followed */
	uint64_t torn; /* bytes behind offset without a newline, the rest of the line is awaited */
	struct mark head, mark;          /* its first bytes, and those before offset */
	uint64_t size;                   /* the largest size known; this and on: heat/ */
	uint64_t seen_calls;             /* counters at the last look */
	uint64_t seen_shrinks;           /* at the last truncation that was noticed */
	int64_t uncounted_bytes;         /* written beside what its counter says */
	uint64_t rate_mark;              /* of what was written to it, in its chain's rate */
	int64_t failed_ns;               /* reads fail since, 0: they do not */
	int64_t mtime_ns, changed_ns;    /* at the last look at its size; last seen growing */
	int64_t dirty_ns, served_ns;     /* backlog since, 0: none; last drained, or dirty since */
	uint32_t saved_line, changed_at; /* as in struct chain */
};

static inline bool file_dirty(const struct file *f)
{
	return f->probe || f->size > f->offset + f->torn;
}

static inline uint64_t file_backlog(const struct file *f)
{
	return f->size > f->offset ? f->size - f->offset : f->probe;
}

/* May be read now: it is the oldest generation not yet finished, or outside the order. */
static inline bool file_eligible(const struct file *f)
{
	return !f->maybe_copy && !(f->chain->unsettled && f == f->chain->live) &&
	       (!list_linked(&f->in_chain) || f->chain->queue.next == &f->in_chain);
}

/* fstat(2); while it is closed, by its name: -ESTALE when that leads elsewhere by now. 0 or -errno.
 */
int file_stat(const struct file *f, struct stat *ret_st);
/* Reading begins at the end: when that is inside a line, the rest of the line is skipped. */
void file_skip_to_end(struct file *f);
/* Does anybody hold the file open for writing? 1, 0, or -errno when that cannot be known. */
int file_writers(const struct file *f);

#endif
