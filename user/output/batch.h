/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: what travels from drain to the sinks. A batch is one arena of bytes as they were read
 * from files, records that are slices of it, and spans that say which file each run of records came
 * from. Filled by the event loop alone; once handed to the sinks nobody writes to it until the last
 * sink has acknowledged.
 *
 *   arena   |file A's bytes ...........|file B's bytes ......|   free   |
 *   records |r0 r1 r2 r3               |r4 r5                |
 *   spans   |{A, first 0, count 4, …}  |{B, first 4, count 2}|
 *
 * Limits: BATCH_RECORDS records, BATCH_SPANS spans; the arena is fill_bytes (where a batch counts
 * as full) + room for the longest line, so that any line the limits allow fits into an empty batch.
 * Memory that is never touched costs nothing, and the pool hands out the batch used last first.
 */
#ifndef OUTPUT_BATCH_H
#define OUTPUT_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source;
struct file;
struct labels;

#define BATCH_RECORDS 4096
#define BATCH_SPANS   1024

#define BATCH_STREAMS 3
enum record_stream { STREAM_NONE, STREAM_STDOUT, STREAM_STDERR };
enum record_flags {
	RECORD_TRUNCATED = 1 << 0, /* cut at the line limit */
};

struct record {
	const char *text; /* the message, not terminated; in the arena or in a batch's extra */
	const char *time; /* RFC 3339 as the runtime wrote it; NULL when there is none */
	uint32_t text_len;
	uint8_t time_len;
	uint8_t stream; /* enum record_stream */
	uint8_t flags;  /* enum record_flags */
};

struct span {
	struct source *source; /* one reference held; likewise of labels, NULL: there are none */
	struct labels *labels; /* the same for all its records */
	struct file *file;     /* opaque to the sinks; NULL once the file is gone */
	uint64_t end_offset; /* every byte before it is in this batch, an earlier one, or accounted,
				but for the records that are open there; 0: says nothing */
	uint64_t open[BATCH_STREAMS]; /* per stream where such a record begins, plus 1; 0: none */
	uint64_t read_bytes;
	int64_t since_ns;      /* the file had something to read; 0: not known */
	uint32_t epoch;        /* of the file, see files/file.h */
	uint32_t first, count; /* records[first .. first + count) */
};

struct batch {
	char *arena;
	size_t used, fill_bytes, cap;
	struct record records[BATCH_RECORDS];
	struct span spans[BATCH_SPANS];
	uint32_t n_records, n_spans;
	struct batch_extra *extra; /* joined texts owned by the batch, freed with its records */
	size_t extra_bytes;
	int64_t first_ns;            /* when its first record was put in; 0 while empty */
	int64_t handed_ns, acked_ns; /* given to the sinks; acknowledged by the last of them */
	atomic_uint holders;
	struct batch *next; /* in the pool's or a sink's list */
};

/* A joined text: allocated by drain/join, freed by batch_reset. */
struct batch_extra {
	struct batch_extra *next;
	size_t len;
	char data[];
};

int batch_new(size_t fill_bytes, size_t longest_line, struct batch **ret_batch);
void batch_free(struct batch *b);
/* Makes an empty one as batch_new would make it. 0, or -ENOMEM: it is as it was. */
int batch_fit(struct batch *b, size_t fill_bytes, size_t longest_line);
/* Drops records, spans (and their references) and extras. */
void batch_reset(struct batch *b);
bool batch_full(const struct batch *b);

/* The next record to fill in, NULL when the batch has no room for another. batch_commit keeps it.
 */
static inline struct record *batch_next(struct batch *b)
{
	return b->n_records < BATCH_RECORDS ? &b->records[b->n_records] : NULL;
}

static inline void batch_commit(struct batch *b)
{
	b->n_records++;
}

#endif
