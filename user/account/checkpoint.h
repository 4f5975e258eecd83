/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoint as text: which bytes of which file every sink has acknowledged. Pure; where it is
 * kept is state.h's business.
 *
 *   hotdrain checkpoint 1 1795237679.123456789
 *   # dev ino born offset size head mark flags path
 *   8:1 1311 1795237001.000000000 4096 8192 1024:0a1b2c3d 128:99887766 - /var/log/pods/a%20b/0.log
 *   8:1 1312 1795237002.500000000 300 300 300:deadbeef 128:01234567 dz /var/log/pods/c/0.log.1.gz
 *   end 2 6c1d8a55
 *
 * Line 1: the version, and when the state was taken (seconds.nanoseconds since 1970). Line 2:
 * begins with '#'. Then one line per file: device as MAJOR:MINOR, inode, birth time
 * (0.000000000 where it is not known), offset, size, head and mark each as LENGTH:CRC32, flags
 * (letters d, z, s in this order, "-" for none; then @STREAM:OFFSET for each stream with a record
 * that began there and was still open), and the path, whose bytes below 0x21, 0x7f and '%'
 * are written as %XX (capitals). The last line: how many files, and the CRC32 of everything before
 * it. Numbers are decimal without leading zeros, sums eight small hexadecimal digits, fields are
 * one space apart: each checkpoint has exactly one spelling, and any other is refused.
 */
#ifndef ACCOUNT_CHECKPOINT_H
#define ACCOUNT_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

struct buf;

#define CHECKPOINT_VERSION     1
#define CHECKPOINT_HEAD_MAX    1024
#define CHECKPOINT_MARK_MAX    128
#define CHECKPOINT_ENTRIES_MAX (1u << 20)
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
	uint32_t head_len, head_sum;
	uint32_t mark_len, mark_sum; /* of the bytes just before the offset */
	unsigned flags;
	/* Per stream (record_stream) where a record begins that was open at the offset, plus 1; 0:
	 * none. Everything else before the offset was acknowledged. */
	uint64_t open[CHECKPOINT_STREAMS];
	char *path; /* absolute, below PATH_MAX */
};

struct checkpoint {
	int64_t time_ns;
	struct checkpoint_entry *entries; /* in the order of the file */
	size_t n;
};

/* zlib's CRC-32, 0 for no bytes. */
uint32_t checkpoint_sum(const void *data, size_t n);

/*
 * Writing: begin empties out and keeps its memory, then add per file, then end with the number of
 * files added. 0 or -ENOMEM; add: -EINVAL for an entry beyond the limits above, end: -E2BIG for
 * more than CHECKPOINT_ENTRIES_MAX. A failure leaves out as it was. add only reads e, and does
 * not keep e->path.
 */
int checkpoint_begin(struct buf *out, int64_t time_ns);
int checkpoint_add(struct buf *out, const struct checkpoint_entry *e);
int checkpoint_end(struct buf *out, uint64_t count);

/*
 * All or nothing. -EBADMSG: empty, cut short or corrupt, why says which line, what was expected
 * and what came; -EPROTONOSUPPORT: of a newer version, why says so; -ENOMEM. why is written on
 * failure only, always ends in NUL and has no control characters. Two lines may be of one inode.
 * A path may be taken over by setting it to NULL.
 */
int checkpoint_parse(const char *text, size_t len, struct checkpoint *ret, char *why,
		     size_t why_size);
void checkpoint_done(struct checkpoint *c);

#endif
