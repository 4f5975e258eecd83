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
struct stat;
struct table;

/* Where the live file was when it was last found truncated (drain/copy.h). */
struct cut {
	uint64_t offset;
	int64_t noted_ns;       /* when it was noticed */
	uint64_t lost_bytes;    /* counted as lost behind it: unless a copy has them */
	struct mark head, mark; /* head.len 0: never */
};

struct chain {
	struct table_node by_key;
	struct list in_empty; /* without a member since empty_ns: kept for a moment */
	int64_t empty_ns;
	char *key;       /* the live name's path */
	char *alias;     /* the link by which it was found, may be NULL */
	unsigned copies; /* members of which it is not known yet whether they are copies */
	unsigned unborn; /* births counted as vanished, that a rotated file may turn out to be */
	unsigned found_late; /* rotated files found before the birth that stands for them */
	int64_t found_late_ns;
	bool unsettled;       /* the live file was truncated, and one of these may go before it */
	struct list queue;    /* struct file.in_chain: generations not yet finished, oldest first */
	struct file *live;    /* the one at the live name now, or NULL */
	unsigned members;     /* files that refer to it, finished ones included */
	struct join joins[3]; /* by enum record_stream */
	uint64_t rotate_bytes; /* size at which the last generation was rotated, 0: not seen yet */
	unsigned rotations;
	bool had_live;
	bool gap;                  /* before the next live file one came and went unseen */
	enum decode_format format; /* what its content was told to be, AUTO: not yet */
	struct tally tally;
	uint64_t unread_bytes; /* of all its files, and whether one was cut unnoticed: when the
				  ledger was last brought up to date */
	bool unnoticed;
	struct cut cut;
};

/* The chain that the file called path belongs to, made if it is new. The caller counts itself in
 * members. chain_free: when there are none. */
int chain_get(struct table *chains, const char *path, struct chain **ret_chain);
void chain_free(struct table *chains, struct chain *c);
/* Queues a new file: a rotated one by its modification time, a live one last. */
void chain_insert(struct chain *c, struct file *f, const struct stat *st);
/* f has the live name now: last in the queue, even if it had been rotated. */
void chain_set_live(struct chain *c, struct file *f);

/* What comes next does not continue what was begun. */
static inline void chain_break_joins(struct chain *c, bool broken)
{
	for (size_t i = 0; i < sizeof(c->joins) / sizeof(c->joins[0]); i++)
		c->joins[i].broken = broken;
}

static inline bool chain_joins_pending(const struct chain *c)
{
	for (size_t i = 0; i < sizeof(c->joins) / sizeof(c->joins[0]); i++)
		if (join_pending(&c->joins[i]))
			return true;
	return false;
}

#endif
