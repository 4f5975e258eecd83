/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: four bytes of options (missing ones are made up), then a file, or, with OPT_MADE, content
 * that is compressed to one here and damaged a little: so that there are good files without a
 * corpus too. What gz.c reads of it at one place after the other, with short and failing reads,
 * from a file that grows, is held against one that inflates all of it at once and knows nothing of
 * windows.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/sys.h"
#include "drain/gz.h"

enum {
	OPT_MADE = 1,
	OPT_FLIP = 2,
	OPT_CUT = 4,
	OPT_BEHIND = 8,
	OPT_SHORT_READS = 16,
	OPT_ERRORS = 32,
	OPT_GROWS = 64,
	OPT_LARGE = 128, /* content that no window holds */
};

const char *const fuzz_words[] = {
	"\x1f\x8b\x08",
	"\x1f",
	"\x1f\x8b\x08\x08\x01\x01\x01\x01\x02\x03name",
	"\x1f\x8b\x08\x1e\x01\x01\x01\x01\x02\x03\x01\x01",
	"\xff\xff",
	"\x4b\x4c\x4a\x06",
	"a line of a log, and another one: ",
};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

#define LARGE     ((size_t)600 * 1024)
#define READ_MOST ((size_t)256 * 1024) /* more begins anew when it fails */

static struct {
	const unsigned char *data;
	size_t len, most;
	unsigned int calls, fail_every;
} file;
static uint64_t state;

static uint32_t any(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static ssize_t file_pread(int fd, void *to, size_t n, off_t offset)
{
	if (file.fail_every && ++file.calls % file.fail_every == 0) {
		errno = file.calls % 2 ? EINTR : EIO;
		return -1;
	}
	if (offset < 0 || (size_t)offset >= file.len)
		return 0;
	n = MIN(n, file.len - (size_t)offset);
	if (file.most)
		n = MIN(n, file.most);
	memcpy(to, file.data + offset, n);
	return (ssize_t)n;
}

static int file_fstat(int fd, struct stat *st)
{
	*st = (struct stat){.st_size = (off_t)file.len};
	return 0;
}

static void add_member(struct buf *out, const uint8_t *data, size_t n, int repeat, int level)
{
	z_stream z = {0};

	CHECK(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 1 + level % 9, level % 5) == Z_OK);
	CHECK(buf_reserve(out, (deflateBound(&z, n) + 64) * (size_t)repeat) == 0);
	z.next_out = (unsigned char *)out->data + out->len;
	z.avail_out = (unsigned int)(out->cap - out->len);
	for (int i = 0; i < repeat; i++) {
		z.next_in = (unsigned char *)(uintptr_t)data;
		z.avail_in = (unsigned int)n;
		deflate(&z, Z_NO_FLUSH);
		CHECK(z.avail_in == 0);
	}
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	out->len += z.total_out;
	deflateEnd(&z);
}

static void make(struct buf *out, const uint8_t *opt, const uint8_t *data, size_t len)
{
	size_t first = len ? opt[2] % (len + 1) : 0;
	static const uint8_t zeros[4];
	int repeat = 1;

	/* Seldom more than the window: it takes its time. */
	if (opt[0] & OPT_LARGE)
		repeat = (int)MIN(opt[3] >= 0xf8 ? LARGE : 1u + opt[3], LARGE / (len + 1));

	add_member(out, data, first, repeat, opt[1] % 10);
	if (opt[1] & 0x80)
		add_member(out, data + first, len - first, repeat, opt[2] % 10);
	if (opt[0] & OPT_BEHIND)
		CHECK(buf_add(out, opt[2] & 1 ? opt : zeros, 1 + opt[1] % 4) == 0);
	if (opt[0] & OPT_FLIP)
		out->data[any((uint32_t)out->len)] ^= (char)(1 << any(8));
	if (opt[0] & OPT_CUT)
		out->len = any((uint32_t)out->len + 1);
}

/* All of it, as RFC 1952 reads when nothing is spared. Returns the state at the end. */
static enum gz_state plain_gunzip(const uint8_t *data, size_t len, struct buf *out)
{
	size_t at = 0, behind;

	while (at < len && data[at] == 0x1f) {
		z_stream z = {.next_in = (unsigned char *)(uintptr_t)data + at,
			      .avail_in = (unsigned int)(len - at)};
		int rc;

		CHECK(inflateInit2(&z, 15 + 16) == Z_OK);
		do {
			size_t room;

			CHECK(buf_reserve(out, 1 << 16) == 0);
			room = out->cap - out->len;
			z.next_out = (unsigned char *)out->data + out->len;
			z.avail_out = (unsigned int)room;
			rc = inflate(&z, Z_FINISH);
			out->len += room - z.avail_out;
		} while (rc == Z_BUF_ERROR && !z.avail_out);
		inflateEnd(&z);
		if (rc != Z_STREAM_END)
			return rc == Z_BUF_ERROR ? GZ_SHORT : GZ_CORRUPT;
		at = len - z.avail_in;
	}
	if (at == 0)
		return len ? GZ_CORRUPT : GZ_SHORT;
	for (behind = at; behind < len; behind++)
		if (data[behind] != 0)
			return GZ_CORRUPT;
	return GZ_END;
}

/* One call, again while reads fail. */
static void check_at(struct gz *g, const struct buf *want, enum gz_state end, size_t n,
		     uint64_t offset)
{
	uint64_t left = want->len - MIN(offset, (uint64_t)want->len), before = gz_inflated(g);
	_cleanup_free_ unsigned char *to = malloc(n ? n : 1);
	unsigned int tries = 0;
	ssize_t got;

	CHECK(to);
	do
		got = gz_pread(g, to, n, offset);
	while (got == -EIO && ++tries < 100000);
	CHECK(got >= 0);
	CHECK((uint64_t)got == MIN((uint64_t)n, left));
	CHECK(!got || memcmp(to, want->data + offset, (size_t)got) == 0);
	CHECK((size_t)got == n || gz_state(g) == end);
	CHECK(gz_state(g) == GZ_MORE || gz_state(g) == end);
	CHECK(gz_inflated(g) <= want->len && gz_inflated(g) <= MAX(before, offset + n));
	CHECK(end == GZ_CORRUPT || gz_lost(g) == 0);
	CHECK(gz_lost(g) <= file.len * 1032);
}

static void check(const uint8_t *data, size_t len, uint8_t opt)
{
	static struct buf want, less;
	enum gz_state end, begun;
	unsigned int restarts;
	struct gz *g = NULL;

	want.len = less.len = 0;
	end = plain_gunzip(data, len, &want);
	file.data = data;
	file.len = len;
	file.calls = 0;
	file.most = opt & OPT_SHORT_READS ? 1 + any(40) : 0;
	file.fail_every = opt & OPT_ERRORS ? 2 + any(5) : 0;
	CHECK(gz_new(7, &g) == 0);
	if (opt & OPT_GROWS) {
		file.len = any((uint32_t)len + 1);
		begun = plain_gunzip(data, file.len, &less);
		for (uint64_t at = 0; at <= less.len; at += READ_MOST)
			check_at(g, &less, begun, READ_MOST, at);
		file.len = len;
		restarts = gz_restarts(g);
		/* For good: what has become of it since is of no interest then. */
		if (begun != GZ_CORRUPT)
			check_at(g, &want, end, 100, less.len);
		CHECK(file.fail_every || gz_restarts(g) == restarts);
		CHECK(begun != GZ_CORRUPT || end == GZ_CORRUPT);
	}
	for (int i = 0; i < 6; i++)
		check_at(g, &want, end, any(any(2) ? 400 : READ_MOST),
			 any((uint32_t)want.len + 2 + (uint32_t)want.len / 8));
	for (uint64_t at = 0; at <= want.len; at += READ_MOST)
		check_at(g, &want, end, READ_MOST, at);
	if (!file.fail_every)
		check_at(g, &want, end, want.len + 1, 0);
	check_at(g, &want, end, 100, want.len > 200000 ? want.len - 200000 : 0);
	gz_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_(buf_done) struct buf made = {0};
	size_t rest = len - MIN(len, (size_t)4);
	uint8_t opt[4];

	sys.pread = file_pread;
	sys.fstat = file_fstat;
	state = 0x9e3779b97f4a7c15;
	for (size_t i = 0; i < len; i++)
		state = (state ^ data[i]) * 0x100000001b3;
	state |= 1;
	for (size_t i = 0; i < sizeof(opt); i++)
		opt[i] = i < len ? data[i] : (uint8_t)any(256);
	if (!(opt[0] & OPT_MADE)) {
		check(data + len - rest, rest, opt[0]);
		return 0;
	}
	make(&made, opt, data + len - rest, rest);
	check((const uint8_t *)made.data, made.len, opt[0]);
	return 0;
}
