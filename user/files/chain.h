/* SPDX-License-Identifier: Apache-2.0 */
/* One container's log: its generations in the order they are to be read (see files/file.h), and
 * what belongs to all of them. struct chain is plain data. */
#ifndef FILES_CHAIN_H
#define FILES_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "drain/decode.h"
#include "drain/join.h"
#include "files/mark.h"
#include "files/tally.h"

struct file;
struct labels;
struct source;
struct stat;
struct table;

/* Where the live file was when it was last found truncated (drain/copy.h). */
struct cut {
	uint64_t offset;
	int64_t noted_ns;    /* when it was noticed */
	uint64_t lost_bytes; /* counted as lost behind it: unless a copy has them */
	struct mark head, mark;
};

/* What a visit to one of its files needs stands together in front, as in struct file. */
struct chain {
	struct list queue;  /* struct file.in_chain: generations not yet finished, oldest first */
	struct file *live;  /* the one at the live name now, or NULL */
	struct join *joins; /* n_joins, by enum record_stream: one each once a record was begun */
	uint8_t n_joins;
	bool unsettled; /* the live file was truncated, and one of these may go before it */
	bool had_live;
	bool gap;                  /* before the next live file one came and went unseen */
	bool exited;               /* its container did: nothing more is written */
	bool unnoticed;            /* a truncation, when the ledger was last brought up to date */
	enum decode_format format; /* what its content was told to be, AUTO: not yet */
	uint32_t labels_split;     /* where in the labels' text the second part begins */
	uint64_t rate;             /* bytes per second, smoothed; these three: heat/ */
	uint64_t rate_bytes;       /* written since rate_ns */
	int64_t rate_ns;
	uint64_t rotate_bytes; /* size at which the last generation was rotated, 0: not seen yet */
	unsigned rotations;
	unsigned newer_kept;    /* generations younger than the last one removed, 0: not seen yet */
	int64_t first_until_ns; /* its container stops: drained before others until then */
	struct labels *labels;  /* of its records, NULL: none. Its own, see collector_labels.h */
	/* Its line in the last whole checkpoint, from 1; its place in the list of what has changed
	 * since, plus 1. 0: none. */
	uint32_t saved_line, changed_at;
	struct tally tally;

	struct table_node by_key;
	struct list in_empty; /* without a member since empty_ns: kept for a moment */
	int64_t empty_ns;
	char *key;            /* the live name's path */
	struct source *named; /* whose path the key is; NULL: the key is its own */
	char *alias;          /* the link by which it was found, may be NULL */
	unsigned copies;      /* members of which it is not known yet whether they are copies */
	unsigned unborn; /* births counted as vanished, that a rotated file may turn out to be */
	unsigned found_late; /* rotated files found before the birth that stands for them */
	unsigned members;    /* files that refer to it, finished ones included */
	int64_t found_late_ns;
	struct cut *cut;       /* NULL: never */
	uint64_t unread_bytes; /* of all its files, when the ledger was last brought up to date */
};

/* The chain that the file called path belongs to, made if it is new. The caller counts itself in
 * members. chain_free: when there are none. source: the file's, or NULL. */
int chain_get(struct table *chains, const char *path, struct source *source,
	      struct chain **ret_chain);
void chain_free(struct table *chains, struct chain *c);
/* Queues a new file: a rotated one by its modification time, a live one last. */
void chain_insert(struct chain *c, struct file *f, const struct stat *st);
/* f has the live name now: last in the queue, even if it had been rotated. */
void chain_set_live(struct chain *c, struct file *f);

/* From now on it can hold what was begun. 0 or -ENOMEM. */
int chain_make_joins(struct chain *c);

/* What comes next does not continue what was begun. */
static inline void chain_break_joins(struct chain *c, bool broken)
{
	for (size_t i = 0; i < c->n_joins; i++)
		c->joins[i].broken = broken;
}

static inline bool chain_joins_pending(const struct chain *c)
{
	for (size_t i = 0; i < c->n_joins; i++)
		if (join_pending(&c->joins[i]))
			return true;
	return false;
}

#endif
