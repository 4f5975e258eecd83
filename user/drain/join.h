/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins partial pieces into one record, per (container, stream): CRI P...F, docker lines without a
 * final newline. The pieces of stdout and stderr interleave in one file, and a record may begin in
 * one file and end in its successor, so the state belongs to the container (struct chain), not to a
 * file.
 *
 * Limits: a record's text is at most line_max bytes; what is beyond is dropped up to the piece that
 * ends the record, which is then marked RECORD_TRUNCATED, and the bytes are counted in cut_bytes.
 * All joins of the process together hold at most budget_max bytes (struct join_budget): when a
 * piece would go over it, the record begun is emitted at once as truncated and the rest of it forms
 * further records: nothing is lost, memory stays bounded. The joined text moves into the batch
 * (struct batch_extra) without a copy. Its time is the first piece's.
 */
#ifndef DRAIN_JOIN_H
#define DRAIN_JOIN_H

#include <stdbool.h>
#include <stdint.h>

struct batch;
struct batch_extra;
struct decoded;
struct file;

struct join_budget {
	uint64_t held_bytes,
		max_bytes; /* capacity allocated for texts not yet ended, by all joins */
	uint32_t line_max;
	uint64_t cut_records, cut_bytes; /* counters, only growing */
	uint64_t forced_records;         /* emitted early because of max_bytes */
};

/* Zero-initialised is empty. One per container and stream. */
struct join {
	struct batch_extra *text; /* NULL: nothing begun; behind its cap bytes is the time */
	struct file *file;        /* the caller's: where the record began */
	uint64_t start;
	uint32_t cap;
	bool cut : 1;
	bool fresh : 1;  /* set by join_add when a record was begun; for the caller to clear */
	bool broken : 1; /* what follows does not continue it: bytes between were lost */
	uint8_t stream, time_len;
};

/*
 * Adds one decoded piece: emits a record into b, or keeps the piece for later. Fast path (nothing
 * begun, piece not partial): the record is the slice itself. cut: the physical line was cut by the
 * reader. 0; -ENOBUFS when b cannot take a record now (nothing was changed: hand b on and call
 * again with an empty one; what was begun and broken may be out already); -ENOMEM (likewise).
 */
int join_add(struct join *j, struct join_budget *budget, const struct decoded *d, bool cut,
	     struct batch *b);
/* Emits what was begun, as it is (a P that no F will follow). 0 (also when empty) or -ENOBUFS. */
int join_flush(struct join *j, struct join_budget *budget, struct batch *b);
bool join_pending(const struct join *j);
void join_done(struct join *j, struct join_budget *budget);

#endif
