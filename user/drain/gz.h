/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the content of a gzip file at offsets of the content, as pread(2) reads a plain file: a log
 * that was compressed before it was read to its end is resumed inside its X.gz.
 *
 * The file is one or more members (RFC 1952, 2.2), each a header, a deflate stream (RFC 1951) and a
 * trailer of CRC-32 and ISIZE; all members one after the other are one content. Behind the last one
 * there may be zero bytes, as gzip(1) allows, here up to 1 MiB. What is said of an incomplete file
 * may change: it is looked at again with each call, and one that grew is gone on with.
 *
 * Reading forward and small steps back (the last 256 KiB and a little) cost what they inflate or
 * copy; a step farther back inflates the file again from its beginning. A gap that is jumped over
 * is inflated too. No call inflates more content than up to what it asks for, whatever the file
 * claims; compressed bytes that yield nothing (empty members, long header fields) are read through.
 *
 * About 370 KiB each, whatever the file holds. Blocks while the file is read.
 */
#ifndef DRAIN_GZ_H
#define DRAIN_GZ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct gz;

/*
 * As of the furthest point inflated so far:
 *
 *   GZ_MORE --> GZ_END, GZ_SHORT --> GZ_MORE   when the file has grown
 *           --> GZ_CORRUPT                     for good
 */
enum gz_state {
	GZ_MORE,    /* not at the end yet, as far as was looked */
	GZ_END,     /* the last member's trailer was right, and the file ends there */
	GZ_SHORT,   /* the file ends inside a member, or is empty: being written, or truncated */
	GZ_CORRUPT, /* bad data, CRC or ISIZE, or behind a member what is neither one nor padding */
};

/* fd stays the caller's and must be open as long as this lives; nothing is read yet. -ENOMEM. */
int gz_new(int fd, struct gz **ret_gz);
void gz_free(struct gz *g);

/*
 * n bytes of the content at offset. Fewer, or 0, only where the content ends for now: then
 * gz_state() is not GZ_MORE and tells why. What was inflated before a corruption is delivered, also
 * all of a member whose CRC is wrong. -errno of pread(2) (EINTR is retried) or -ENOMEM: nothing is
 * lost, the same call goes on (one of more than 256 KiB begins anew); what buf holds has no meaning
 * then.
 */
ssize_t gz_pread(struct gz *g, void *buf, size_t n, uint64_t offset);

enum gz_state gz_state(const struct gz *g);
/* Bytes of content known so far. */
uint64_t gz_inflated(const struct gz *g);
/*
 * When corrupt: bytes of content that the file claims beyond gz_inflated(). The last four bytes of
 * the file are taken for the ISIZE of the member that is corrupt, and believed when the compressed
 * bytes that were not inflated can hold as much; else 0: unknown. Members behind the corrupt one
 * are not seen, so it may be too little. 0 when the file is short: its end is not written or lost,
 * so that its last bytes are no ISIZE.
 */
uint64_t gz_lost(const struct gz *g);
/* How often the file was inflated again from its beginning. */
unsigned int gz_restarts(const struct gz *g);

#endif
