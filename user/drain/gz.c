/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zlib inflates straight into the caller's buffer; a ring keeps a copy of the last bytes, because
 * the reader steps back a little with each call (the bytes it marks its place with, the torn line).
 *
 *   content  0 ........ from ======== ring ======== at ............ (not inflated yet)
 *                                                    furthest >= at, after a restart
 *
 * The ring is a copy and not the place that is inflated into: some versions of zlib use all of the
 * room they are given as scratch space, and would write over bytes that are still to be kept.
 *
 * A step back beyond the ring starts again at the file's beginning. Points of re-entry (as zlib's
 * zran.c makes them) would cost 32 KiB for each, and the reader has no use for them: it goes
 * forward, but for a very long line that was torn where a growing file ended.
 *
 * zlib's own gzread() is not used: it reads by itself (no fault can be put in), takes a file that
 * is no gzip for content, ignores garbage, and drops the data in front of an error.
 */
#include "drain/gz.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/sys.h"

#define RING_BYTES    ((size_t)260 * 1024) /* a step of 256 KiB and what is marked in front of it */
#define IN_BYTES      ((size_t)32 * 1024)
#define SKIP_BYTES    ((size_t)16 * 1024)
#define PADDING_MAX   (1024 * 1024)
#define TRAILER_BYTES 8
#define MEMBER_MAGIC  0x1f      /* ID1: RFC 1952, 2.3.1 */
#define RATIO_MAX     1032      /* 258 bytes from 2 bits: what deflate can do at most */
#define WINDOW_BITS   (15 + 16) /* any window; a gzip header and nothing else */

/*
 *   FIRST --> MEMBER --> BETWEEN --> PADDING
 *                ^__________/
 *   and from each to BAD, for good
 */
enum phase {
	PHASE_FIRST,   /* at the file's beginning */
	PHASE_MEMBER,  /* in a member */
	PHASE_BETWEEN, /* a member has ended */
	PHASE_PADDING, /* zero bytes behind the last member */
	PHASE_BAD,
};

struct gz {
	int fd;
	enum gz_state state;
	enum phase phase;
	bool stale; /* zlib ran out of memory and cannot go on: start again */
	unsigned int restarts;
	uint64_t in_offset; /* in the file, of what is read next */
	uint64_t padding;
	uint64_t at, from, furthest; /* of the content: see above */
	uint64_t member_at;          /* of the content, where this member began */
	/* Where a member is corrupt, in the file and in its content; 0 when it has no good header.
	 */
	uint64_t bad_offset, bad_at;
	z_stream z;
	gz_header header;
	unsigned char in[IN_BYTES], skip[SKIP_BYTES], ring[RING_BYTES];
};

int gz_new(int fd, struct gz **ret_gz)
{
	_cleanup_free_ struct gz *g = malloc(sizeof(*g));

	if (!g)
		return -ENOMEM;
	memset(g, 0, offsetof(struct gz, in)); /* the rest is touched as far as it is used */
	g->fd = fd;
	if (inflateInit2(&g->z, WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	*ret_gz = take_ptr(g);
	return 0;
}

void gz_free(struct gz *g)
{
	if (!g)
		return;
	inflateEnd(&g->z);
	free(g);
}

static void restart(struct gz *g)
{
	g->phase = PHASE_FIRST;
	g->stale = false;
	g->in_offset = g->at = g->from = 0;
	g->z.avail_in = 0;
	g->restarts++;
}

static ssize_t read_at(int fd, void *to, size_t n, uint64_t offset)
{
	ssize_t got;

	do
		got = sys.pread(fd, to, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* More of the file. 1, 0 at its end, -errno. */
static int in_fill(struct gz *g)
{
	ssize_t n = read_at(g->fd, g->in, IN_BYTES, g->in_offset);

	if (n <= 0)
		return (int)n;
	g->in_offset += (uint64_t)n;
	g->z.next_in = g->in;
	g->z.avail_in = (unsigned int)n;
	return 1;
}

static void mark_bad(struct gz *g)
{
	/* What has no header is no member, and claims nothing. */
	bool member = g->phase == PHASE_MEMBER && g->header.done == 1;

	g->bad_offset = member ? g->in_offset - g->z.avail_in : 0;
	g->bad_at = member ? g->at - g->member_at : 0;
	g->state = GZ_CORRUPT;
	g->phase = PHASE_BAD;
}

/* The file has ended. Earlier than it once did: then it is not what it was. */
static void mark_end(struct gz *g)
{
	if (g->phase == PHASE_FIRST || g->phase == PHASE_MEMBER)
		g->state = GZ_SHORT;
	else
		g->state = g->at < g->furthest ? GZ_CORRUPT : GZ_END;
}

/* Outside the members: looks at the next byte. Garbage of a single byte is told from a header that
 * is being written, which zlib does not do. */
static void pass_byte(struct gz *g)
{
	unsigned char c = *g->z.next_in;

	if (c == MEMBER_MAGIC && g->phase != PHASE_PADDING) {
		inflateReset(&g->z);
		inflateGetHeader(&g->z, &g->header);
		g->member_at = g->at;
		g->phase = PHASE_MEMBER;
	} else if (c == 0 && g->phase == PHASE_BETWEEN) {
		g->phase = PHASE_PADDING;
		g->padding = 0;
	} else if (c == 0 && g->phase == PHASE_PADDING && g->padding < PADDING_MAX) {
		g->padding++;
		g->z.next_in++;
		g->z.avail_in--;
	} else {
		mark_bad(g);
	}
}

static void ring_put(struct gz *g, const unsigned char *data, size_t n)
{
	size_t keep = MIN(n, RING_BYTES), at, whole;

	data += n - keep;
	at = (g->at + n - keep) % RING_BYTES;
	whole = MIN(keep, RING_BYTES - at);
	memcpy(g->ring + at, data, whole);
	memcpy(g->ring, data + whole, keep - whole);
	g->at += n;
	if (g->at - g->from > RING_BYTES)
		g->from = g->at - RING_BYTES;
}

/* pos is in the ring. Returns how much of n was there in one piece. */
static size_t ring_get(const struct gz *g, void *to, size_t n, uint64_t pos)
{
	size_t at = pos % RING_BYTES;

	n = MIN(n, RING_BYTES - at);
	if (n > g->at - pos)
		n = (size_t)(g->at - pos);
	memcpy(to, g->ring + at, n);
	return n;
}

/* Lets zlib make up to n bytes of what it has. Returns how many, or -ENOMEM. */
static ssize_t inflate_input(struct gz *g, unsigned char *to, size_t n)
{
	size_t made;
	int rc;

	n = MIN(n, (size_t)INT_MAX);
	g->z.next_out = to;
	g->z.avail_out = (unsigned int)n;
	rc = inflate(&g->z, Z_NO_FLUSH);
	if (rc == Z_MEM_ERROR) {
		g->stale = true;
		return -ENOMEM;
	}
	made = n - g->z.avail_out;
	ring_put(g, to, made);
	if (g->at > g->furthest) {
		g->furthest = g->at;
		g->state = GZ_MORE;
	}
	if (rc == Z_STREAM_END)
		g->phase = PHASE_BETWEEN;
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		mark_bad(g);
	return (ssize_t)made;
}

/* The next bytes of the content, at least 1 and up to n; 0 at its end for now, or -errno. */
static ssize_t inflate_next(struct gz *g, unsigned char *to, size_t n)
{
	while (g->phase != PHASE_BAD) {
		ssize_t r;

		/* Also without input: zlib may hold back what had no room the last time. */
		if (g->phase == PHASE_MEMBER) {
			r = inflate_input(g, to, n);
			if (r != 0)
				return r;
		} else if (g->z.avail_in) {
			pass_byte(g);
		}
		if (g->z.avail_in || g->phase == PHASE_BAD)
			continue;
		r = in_fill(g);
		if (r == 0)
			mark_end(g);
		if (r <= 0)
			return r;
	}
	return 0;
}

ssize_t gz_pread(struct gz *g, void *buf, size_t n, uint64_t offset)
{
	unsigned char *to = buf;
	size_t got = 0;

	if (g->stale || offset < g->from)
		restart(g);
	while (got < n) {
		uint64_t pos = offset + got;
		ssize_t r;

		if (pos < g->at) {
			got += ring_get(g, to + got, n - got, pos);
		} else if (pos == g->at) {
			r = inflate_next(g, to + got, n - got);
			if (r <= 0)
				return r < 0 ? r : (ssize_t)got;
			got += (size_t)r;
		} else {
			r = inflate_next(g, g->skip, MIN(pos - g->at, (uint64_t)SKIP_BYTES));
			if (r <= 0)
				return r;
		}
	}
	return (ssize_t)got;
}

enum gz_state gz_state(const struct gz *g)
{
	return g->state;
}

uint64_t gz_inflated(const struct gz *g)
{
	return g->furthest;
}

unsigned int gz_restarts(const struct gz *g)
{
	return g->restarts;
}

uint64_t gz_lost(const struct gz *g)
{
	uint64_t claimed, rest;
	unsigned char b[4];
	struct stat st;

	if (g->state != GZ_CORRUPT || !g->bad_offset || sys.fstat(g->fd, &st) < 0)
		return 0;
	if ((uint64_t)st.st_size < g->bad_offset + TRAILER_BYTES)
		return 0;
	rest = (uint64_t)st.st_size - TRAILER_BYTES - g->bad_offset;
	if (read_at(g->fd, b, sizeof(b), (uint64_t)st.st_size - sizeof(b)) != sizeof(b))
		return 0;
	/* ISIZE is the size modulo 2^32: RFC 1952, 2.3.1. */
	claimed = (g->bad_at >> 32) << 32 | (uint64_t)b[3] << 24 | b[2] << 16 | b[1] << 8 | b[0];
	if (claimed <= g->bad_at || claimed - g->bad_at > rest * RATIO_MAX)
		return 0;
	return claimed - g->bad_at;
}
