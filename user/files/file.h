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

/* What a visit needs stands in front: among thousands of files each line of the cache is a miss. */
struct file {
	struct list in_hot, in_chain;
	struct chain *chain;
	int fd, slot;    /* the counter, -1: none; fd -1: closed until it is needed */
	bool compressed; /* offset, size and marks are of its content */
	bool displaced, unlinked;
	bool maybe_copy; /* not read, in no chain, before it is known what it is (drain/copy.h) */
	bool lingering;  /* left the chain while somebody still held it open for writing */
	bool released;   /* out of the tables, freed when inflight is 0 */
	bool positions;  /* its truncations are counted */
	bool copied;     /* what the next one turns out to have cut off is in a copy */
	bool skip_line, sync_line; /* up to a newline: rest of a cut line; begun inside one */
	bool hole, after_gap;      /* not read since it was truncated; one before it vanished */
	bool probe;                /* written to since the last read: read until the end shows */
	bool uncounted; /* grew without a counted write (mmap, sendfile): its size is looked at */
	bool sought, unwatchable; /* nameless, a rescan was asked for; no watch was left */
	uint64_t offset;          /* the next byte to read */
	uint64_t torn; /* bytes behind offset without a newline, the rest of the line is awaited */
	uint64_t size; /* the largest size known; this and on: heat/ */
	uint64_t seen_calls;         /* counters at the last look */
	uint64_t rate_mark;          /* of what was written to it, in its chain's rate */
	int64_t changed_ns;          /* last seen growing */
	int64_t dirty_ns, served_ns; /* backlog since, 0: none; last drained, or dirty since */
	struct source *source;
	struct mark mark; /* the bytes before offset */
	/* Every sink has acknowledged the bytes before it, but for the records that are open there:
	 * where each stream's begins, plus 1; 0: none. */
	uint64_t acked, open[BATCH_STREAMS];
	uint32_t armed_at; /* its place among the armed files, plus 1 (collector_armed.c) */
	unsigned inflight; /* spans of this file that the sinks hold, and joins begun in it */
	uint32_t epoch;    /* truncations: a span of an earlier one says nothing of this content */
	uint64_t sure;     /* its size when a read last showed that it was not rewritten */
	uint64_t consumed; /* bytes read or lost over all epochs; with others: drain/account.h */
	uint64_t seen_truncs;    /* noticed; more were cut off since, not yet known how much */
	int64_t uncounted_bytes; /* written beside what its counter says */
	uint64_t leave_at; /* not followed any more: read up to here, plus 1; 0: it is followed */
	int64_t failed_ns; /* reads fail since, 0: they do not */
	struct gz *gz;     /* while it is being inflated, else NULL */
	struct replay *replay;           /* NULL: all is taken */
	uint32_t saved_line, changed_at; /* as in struct chain */
	struct list in_open;             /* by last use, while fd >= 0 (files/descriptors.c) */
	char *path;                      /* the name it has now; NULL: none that we know */
	struct table_node by_id, by_path, by_wd;
	struct file_id id;
	struct file_identity identity; /* as of when it was last asked for */
	struct mark head;              /* its first bytes */
	int wd;                        /* the watch, -1: none */
	unsigned rotation;             /* of its chain, by which it was displaced */
	bool announced, early; /* its birth's event was seen; found before, by its first write */
	bool resumed;          /* by an earlier run's state */
	uint32_t seen_shrinks; /* at the last truncation that was noticed; wraps */
	int64_t displaced_ns;
	uint64_t stat_mark; /* at the last look: mtime in ns; of a compressed one its size */
	uint64_t expected;  /* its size as an earlier run knew it, 0: unknown */
	uint64_t besides;   /* bytes at its positions that nobody wrote: holes */
	uint64_t base;      /* of consumed: before its account began, or in a copy's account */
	uint64_t accounted, accounted_uncounted; /* what the chain's tally has of it */
	int64_t unsure_ns;
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
bool file_eligible(const struct file *f);
bool file_attended(const struct file *f); /* looked at, or told of by the kernel */
/* fstat(2); while it is closed, by its name: -ESTALE when that leads elsewhere by now. 0 or -errno.
 */
int file_stat(const struct file *f, struct stat *ret_st);
/* Reading begins at the end: when that is inside a line, the rest of the line is skipped. */
void file_skip_to_end(struct file *f);
/* Does anybody hold the file open for writing? 1, 0, or -errno when that cannot be known. */
int file_writers(const struct file *f);

#endif
