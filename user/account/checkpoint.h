/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint as text: which bytes of which file every sink has acknowledged, and what became of
 * all bytes of each log so far. Pure; where it is kept is state.h's business.
 *
 *   hotdrain checkpoint 2 1795237679.123456789
 *   # dev ino born offset size consumed head mark flags path, account written read …
 *   8:1 1311 1795237001.000000000 4096 8192 9000 1024:0a1b2c3d 128:99887766 - /pods/a%20b/0.log
 *   8:1 1312 1795237002.500000000 300 300 300 300:deadbeef 128:01234567 dz /pods/c/0.log.1.gz
 *   account 13000 9000 8900 0 120 truncated=50:1,vanished=0:2 /pods/a%20b/0.log
 *   account 700 700 700 0 9 - -
 *   end 2 2 6c1d8a55
 *
 * Line 1: the version, and when the state was taken (seconds.nanoseconds since 1970). Line 2:
 * begins with '#'. Then one line per file: device as MAJOR:MINOR, inode, birth time
 * (0.000000000 where it is not known), offset, size, bytes consumed, head and mark each as
 * LENGTH:CRC32, flags (letters d, z, s in this order, "-" for none; then @STREAM:OFFSET for each
 * stream with a record that began there and was still open), and the path, whose bytes below 0x21,
 * 0x7f and '%' are written as %XX (capitals). Then one line per log: written, read, delivered,
 * uncounted, records, what was lost as REASON=BYTES:TIMES in the order of enum lost_reason ("-" for
 * nothing), and the path of the log, "-" for the sum of those that are gone. The last line: how
 * many files, how many logs, and the CRC32 of everything before it. Numbers are decimal without
 * leading zeros, sums eight small hexadecimal digits, fields are one space apart: each checkpoint
 * has exactly one spelling, and any other is refused.
 *
 * Version 1 had neither accounts nor their number nor the bytes consumed; it is read, not written.
 */
#ifndef ACCOUNT_CHECKPOINT_H
#define ACCOUNT_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "files/chain.h"

struct buf;

#define CHECKPOINT_VERSION     2
#define CHECKPOINT_HEAD_MAX    1024
#define CHECKPOINT_MARK_MAX    128
#define CHECKPOINT_ENTRIES_MAX (1u << 20) /* of files, and of logs */
#define CHECKPOINT_STREAMS     3
#define CHECKPOINT_WHY_MAX     256 /* enough for any reason of checkpoint_parse */

enum checkpoint_flag {
	CHECKPOINT_DONE = 1 << 0, /* read to its end, and nobody wrote to it any more */
	CHECKPOINT_GZ = 1 << 1,   /* a .gz: offset, size and sums are of its content */
	CHECKPOINT_SKIP = 1 << 2, /* the offset is inside a line whose rest is left out */
};

struct checkpoint_entry {
	uint64_t dev, ino;
	int64_t btime_ns;      /* since 1970; 0: not known */
	uint64_t offset, size; /* at most INT64_MAX */
	/* Bytes read or lost over all truncations, at most INT64_MAX; below the offset: as much as
	 * that. */
	uint64_t consumed;
	uint32_t head_len, head_sum;
	uint32_t mark_len, mark_sum; /* of the bytes just before the offset */
	unsigned flags;
	/* Per stream (record_stream) where a record begins that was open at the offset, plus 1; 0:
	 * none. Everything else before the offset was acknowledged. */
	uint64_t open[CHECKPOINT_STREAMS];
	char *path; /* absolute, below PATH_MAX */
};

/* What became of a log's bytes, see ledger.h; what is pending shows in its files. */
struct checkpoint_account {
	uint64_t written, read, delivered, uncounted, records;
	struct lost lost[LOST_REASONS];
	char *path; /* absolute, the chain's key; "": the sum of logs that are gone */
};

struct checkpoint {
	int64_t time_ns;
	unsigned version;
	uint32_t sum;                     /* in its last line; with time_ns, which one it is */
	struct checkpoint_entry *entries; /* in the order of the file */
	size_t n;
	struct checkpoint_account *accounts;
	size_t n_accounts;
};

/* zlib's CRC-32, 0 for no bytes. */
uint32_t checkpoint_sum(const void *data, size_t n);
uint32_t checkpoint_sum_on(uint32_t sum, const void *data, size_t n);

/*
 * Writing: begin empties out and keeps its memory, then add per file, then add_account per log,
 * then end with the numbers of both. 0 or -ENOMEM; add, add_account: -EINVAL for what is beyond the
 * limits above, end: -E2BIG for more than CHECKPOINT_ENTRIES_MAX. A failure leaves out as it was.
 * Nothing of e and a is kept.
 */
int checkpoint_begin(struct buf *out, int64_t time_ns);
int checkpoint_add(struct buf *out, const struct checkpoint_entry *e);
int checkpoint_add_account(struct buf *out, const struct checkpoint_account *a);
int checkpoint_end(struct buf *out, uint64_t files, uint64_t accounts);
/* Where out is the last piece of a text: sum is that of the pieces before it. */
int checkpoint_end_on(struct buf *out, uint32_t sum, uint64_t files, uint64_t accounts);

/*
 * All or nothing. -EBADMSG: empty, cut short or corrupt, why says which line, what was expected
 * and what came; -EPROTONOSUPPORT: of a newer version, why says so; -ENOMEM. why is written on
 * failure only, always ends in NUL and has no control characters. Two lines may be of one inode, or
 * of one log. A path may be taken over by setting it to NULL.
 */
int checkpoint_parse(const char *text, size_t len, struct checkpoint *ret, char *why,
		     size_t why_size);
void checkpoint_done(struct checkpoint *c);

#endif
