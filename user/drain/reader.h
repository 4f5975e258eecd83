/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a file's next bytes straight into a batch's arena and decodes them there into records.
 *
 * Truncation: each read begins a little before the offset, and the bytes there must be those that
 * were read last time (f->mark). When they are not, or the file has become shorter, it was
 * truncated or rewritten: reading starts again at its beginning, and tally.truncations counts it.
 */
#ifndef DRAIN_READER_H
#define DRAIN_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "drain/decode.h"

struct batch;
struct chain;
struct file;
struct join_budget;
struct write_count;

struct reader {
	enum decode_format format; /* AUTO: told by the content, per container log */
	uint32_t line_max;         /* bytes of one record's text */
	struct join_budget *budget;
	const struct write_count *counts; /* may be NULL: what a truncation cut off is then known
					     less well */
};

/* What a batch's arena must hold beside its fill_bytes, so that any line within the limit fits. */
size_t reader_longest_line(uint32_t line_max);

enum read_outcome {
	READ_MORE, /* there is, or may be, more to read */
	READ_END,  /* read to the end, but for a torn tail (f->torn bytes) */
	READ_FULL, /* the batch cannot take more: hand it on and call again with an empty one */
	READ_TRUNCATED, /* the file was truncated: nothing was read, the offset is 0 now */
};

/* As pread(2) on f's content, inflated if it is compressed; -errno. */
ssize_t reader_pread(struct file *f, void *to, size_t n, uint64_t offset);

/* Likewise, but less than n only at the end: a short read is read on, and a failure tried again a
 * few times. */
ssize_t reader_pread_all(struct file *f, void *to, size_t n, uint64_t offset);

/*
 * Reads about grant bytes of f into b. Updates offset, torn, mark and size of f and its chain's
 * tally; *ret_bytes is by how much the offset moved. -errno of pread: nothing has changed.
 */
int reader_read(const struct reader *r, struct file *f, struct batch *b, size_t grant,
		enum read_outcome *ret_outcome, size_t *ret_bytes);

/*
 * The rest of f will not be written: a torn tail is a line as it is. Then, when last, what its
 * chain's joins hold is emitted too. 0, or -ENOBUFS (hand b on and call again).
 */
int reader_finish(const struct reader *r, struct file *f, struct batch *b);
/* nameless: only what began in a file that has no name any more. */
int reader_flush_joins(const struct reader *r, struct chain *c, struct batch *b, struct file *f,
		       bool nameless);

#endif
