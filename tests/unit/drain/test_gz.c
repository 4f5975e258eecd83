/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/sys.h"
#include "drain/gz.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

struct world {
	char *dir, path[128];
	int fd;
	struct gz *gz;
	struct buf content, file;
	struct sys sys;
};

static struct {
	unsigned int calls, fail_at, every; /* fail the Nth one, or every so many */
	int error;
	size_t most; /* bytes given by one call */
} fault;

static ssize_t faulty_pread(int fd, void *to, size_t n, off_t offset)
{
	fault.calls++;
	if (fault.calls == fault.fail_at || (fault.every && fault.calls % fault.every == 0)) {
		errno = fault.error;
		return -1;
	}
	return pread(fd, to, fault.most ? MIN(n, fault.most) : n, offset);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dir = test_dir_make();
	snprintf(w->path, sizeof(w->path), "%s/0.log.gz", w->dir);
	w->fd = open(w->path, O_RDWR | O_CREAT, 0600);
	assert_true(w->fd >= 0);
	w->sys = sys;
	sys.pread = faulty_pread;
	memset(&fault, 0, sizeof(fault));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	sys = w->sys;
	gz_free(w->gz);
	buf_done(&w->content);
	buf_done(&w->file);
	close(w->fd);
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static uint32_t any(uint32_t below)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32) % below;
}

/* Log lines up to size bytes. */
static void add_lines(struct buf *b, size_t size)
{
	size_t end = b->len + size;

	while (b->len < end) {
		assert_int_equal(buf_printf(b, "2026-11-21T00:32:%02u.%09uZ stdout F ", any(60),
					    any(1000000000)),
				 0);
		for (uint32_t i = any(30); i; i--)
			assert_int_equal(buf_printf(b, "%x ", any(1 << (1 + any(20)))), 0);
		assert_int_equal(buf_add(b, "\n", 1), 0);
	}
	b->len = end;
}

struct how {
	int level, strategy;
	gz_header *header;
	size_t break_at; /* of the content, where a block of no known type is to follow */
};

static void add_member(struct buf *b, const void *data, size_t n, struct how how)
{
	unsigned char *broken;
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, how.level, Z_DEFLATED, 15 + 16, 8, how.strategy), Z_OK);
	if (how.header)
		assert_int_equal(deflateSetHeader(&z, how.header), Z_OK);
	assert_int_equal(buf_reserve(b, deflateBound(&z, n) + 64), 0);
	z.next_in = (unsigned char *)(uintptr_t)data;
	z.next_out = (unsigned char *)b->data + b->len;
	z.avail_out = (unsigned int)(b->cap - b->len);
	if (how.break_at) {
		z.avail_in = (unsigned int)how.break_at;
		assert_int_equal(deflate(&z, Z_FULL_FLUSH), Z_OK);
		assert_int_equal(z.avail_in, 0);
	}
	broken = z.next_out;
	z.avail_in = (unsigned int)(n - how.break_at);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	if (how.break_at)
		*broken |= 6; /* BTYPE 11: RFC 1951, 3.2.3 */
	b->len += z.total_out;
	deflateEnd(&z);
}

static const struct how usual = {.level = 6};

static void file_write(struct world *w, const void *data, size_t n)
{
	assert_int_equal(ftruncate(w->fd, 0), 0);
	assert_int_equal(pwrite(w->fd, data, n, 0), (ssize_t)n);
}

static void gz_begin(struct world *w)
{
	gz_free(w->gz);
	w->gz = NULL;
	assert_int_equal(gz_new(w->fd, &w->gz), 0);
	assert_int_equal(gz_state(w->gz), GZ_MORE);
}

/* The file is w->file; begins anew. */
static void begin(struct world *w)
{
	file_write(w, w->file.data, w->file.len);
	gz_begin(w);
}

static void begin_lines(struct world *w, size_t size, struct how how)
{
	w->content.len = w->file.len = 0;
	add_lines(&w->content, size);
	add_member(&w->file, w->content.data, w->content.len, how);
	begin(w);
}

/* What is read at offset must be what the content has there, as much as there is. */
static void check_at(struct world *w, size_t n, uint64_t offset)
{
	uint64_t left = w->content.len - MIN(offset, (uint64_t)w->content.len);
	size_t want = (size_t)MIN((uint64_t)n, left);
	_cleanup_free_ char *to = malloc(n + 1);

	to[n] = '#';
	assert_int_equal(gz_pread(w->gz, to, n, offset), want);
	assert_memory_equal(to, w->content.data + w->content.len - left, want);
	assert_int_equal(to[n], '#');
	assert_true(gz_inflated(w->gz) <= w->content.len);
	if (want < n)
		assert_int_equal(gz_state(w->gz), GZ_END);
}

/* From offset on to where it ends, in steps; appended to out. Errors are tried again. */
static enum gz_state read_on(struct gz *g, struct buf *out, size_t step)
{
	unsigned int errors = 0;
	ssize_t n;

	do {
		assert_int_equal(buf_reserve(out, step), 0);
		n = gz_pread(g, out->data + out->len, step, out->len);
		if (n < 0) {
			assert_int_equal(-n, fault.error);
			assert_true(++errors < 10000);
			continue;
		}
		assert_true(n <= (ssize_t)step);
		out->len += (size_t)n;
		assert_true(gz_inflated(g) >= out->len);
		assert_true(n == (ssize_t)step || gz_state(g) != GZ_MORE);
	} while (n < 0 || n == (ssize_t)step);
	return gz_state(g);
}

static void check_all(struct world *w, enum gz_state state, size_t step)
{
	_cleanup_(buf_done) struct buf out = {0};

	assert_int_equal(read_on(w->gz, &out, step), state);
	assert_int_equal(out.len, w->content.len);
	if (out.len)
		assert_memory_equal(out.data, w->content.data, out.len);
	assert_int_equal(gz_inflated(w->gz), out.len);
}

static void content_is_read_at_any_offset(void **state)
{
	static const struct how hows[] = {
		{.level = 0},
		{.level = 1},
		{.level = 9},
		{.level = 6, .strategy = Z_HUFFMAN_ONLY},
		{.level = 6, .strategy = Z_FIXED},
		{.level = 6, .strategy = Z_RLE},
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(hows); i++) {
		begin_lines(w, 600 * KIB, hows[i]);
		for (int k = 0; k < 200; k++)
			check_at(w, any(any(8) ? 5000 : 300 * KIB), any(610 * KIB));
		check_at(w, MIB, 0);
		check_at(w, 1, w->content.len - 1);
		check_at(w, 1, w->content.len);
		check_at(w, 10, UINT64_MAX - 5);
		check_at(w, 0, 5);
		assert_true(gz_restarts(w->gz) > 10);
	}
}

static void nothing_is_read_before_it_is_asked_for(void **state)
{
	struct world *w = *state;

	begin_lines(w, 100 * KIB, usual);
	assert_int_equal(fault.calls, 0);
	assert_int_equal(gz_inflated(w->gz), 0);
	check_at(w, 10 * KIB, 0);
	assert_int_equal(gz_inflated(w->gz), 10 * KIB);
	assert_int_equal(gz_state(w->gz), GZ_MORE);
	gz_free(NULL);
}

/* Content that gzip(1) compresses with flag, and with its name in the header. */
static void begin_gzip(struct world *w, const char *flag)
{
	char plain[160], command[600];
	ssize_t n;
	FILE *f;

	snprintf(plain, sizeof(plain), "%s/plain.log", w->dir);
	f = fopen(plain, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(w->content.data, 1, w->content.len, f), w->content.len);
	fclose(f);
	snprintf(command, sizeof(command), "gzip -N %s -c '%s' > '%s'", flag, plain, w->path);
	assert_int_equal(system(command), 0);
	w->file.len = 0;
	assert_int_equal(buf_reserve(&w->file, w->content.len + KIB), 0);
	n = pread(w->fd, w->file.data, w->file.cap, 0);
	assert_true(n > KIB);
	w->file.len = (size_t)n;
	gz_begin(w);
}

/* As the reader does: the mark in front again, then what was not a whole line again. */
static void read_as_reader(struct world *w, size_t grant, bool full_batches)
{
	_cleanup_free_ char *to = malloc(128 + grant);
	uint64_t offset = 0;

	while (offset < w->content.len) {
		size_t mark = (size_t)MIN(offset, (uint64_t)128);
		ssize_t n = gz_pread(w->gz, to, mark + grant, offset - mark);
		const char *newline;

		assert_true(n > (ssize_t)mark);
		assert_memory_equal(to, w->content.data + offset - mark, n);
		if (full_batches && any(3) == 0) /* as good as nothing fits */
			newline = memchr(to + mark, '\n', (size_t)n - mark);
		else
			newline = memrchr(to + mark, '\n', (size_t)n - mark);
		if (n < (ssize_t)(mark + grant) && !newline)
			break; /* a torn line */
		assert_non_null(newline);
		offset += (uint64_t)(newline + 1 - to) - mark;
	}
	check_at(w, grant, offset);
	assert_int_equal(gz_inflated(w->gz), w->content.len);
	assert_int_equal(gz_state(w->gz), GZ_END);
	assert_int_equal(gz_restarts(w->gz), 0);
}

static void files_of_gzip_are_read_without_a_restart(void **state)
{
	static const char *const flags[] = {"-1", "-6", "-9"};
	struct world *w = *state;

	if (system("command -v gzip >/dev/null") != 0) {
		print_message("# no gzip\n");
		skip();
	}
	add_lines(&w->content, 5 * MIB);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		begin_gzip(w, flags[i]);
		read_as_reader(w, 64 * KIB, false);
		for (int k = 0; k < 5; k++)
			check_at(w, any(100 * KIB), any(5 * MIB));
	}
}

static void steps_of_the_reader_never_restart(void **state)
{
	struct world *w = *state;

	begin_lines(w, 3 * MIB, usual);
	for (size_t grant = 4 * KIB; grant <= 256 * KIB; grant *= 2) {
		gz_begin(w);
		read_as_reader(w, grant, grant >= 64 * KIB);
	}
	/* It may begin anywhere, and the same step may be taken again. */
	gz_begin(w);
	for (uint64_t at = MIB; at < 2 * MIB; at += 100 * KIB) {
		check_at(w, 256 * KIB + 128, at - 128);
		check_at(w, 128, at - 128);
		check_at(w, 256 * KIB + 128, at - 128);
	}
	assert_int_equal(gz_restarts(w->gz), 0);
}

static void a_step_far_back_restarts_and_is_right(void **state)
{
	struct world *w = *state;

	begin_lines(w, 2 * MIB, usual);
	check_at(w, 100, 2 * MIB - 100);
	check_at(w, 10, 2 * MIB);
	assert_int_equal(gz_restarts(w->gz), 0);
	check_at(w, 100, 2 * MIB - 256 * KIB);
	assert_int_equal(gz_restarts(w->gz), 0);
	check_at(w, 1000, MIB);
	assert_int_equal(gz_restarts(w->gz), 1);
	/* What was known of it still is. */
	assert_int_equal(gz_state(w->gz), GZ_END);
	assert_int_equal(gz_inflated(w->gz), 2 * MIB);
	for (uint64_t at = MIB; at < 2 * MIB; at += 50 * KIB)
		check_at(w, 50 * KIB, at - 128);
	assert_int_equal(gz_restarts(w->gz), 1);
	for (uint64_t at = 0; at < 200 * KIB; at += 20 * KIB)
		check_at(w, 20 * KIB, at);
	assert_int_equal(gz_restarts(w->gz), 2);
	check_at(w, 3 * MIB, 0);
	check_all(w, GZ_END, 100 * KIB);
}

/* As far back as it can, and one byte more. step: how the way there is read. */
static void check_edge(struct world *w, size_t step)
{
	size_t near = 0, far = MIB;

	while (far - near > 1) {
		size_t back = (near + far) / 2;

		gz_begin(w);
		for (uint64_t at = 3 * MIB / 2 % step; at < 3 * MIB / 2; at += step)
			check_at(w, step, at);
		check_at(w, 600, 3 * MIB / 2 - back);
		check_at(w, back, 3 * MIB / 2 - back);
		*(gz_restarts(w->gz) ? &far : &near) = back;
	}
	assert_in_range(near, 256 * KIB + 128, 512 * KIB);
}

static void what_is_kept_is_right_to_its_edge(void **state)
{
	struct world *w = *state;

	begin_lines(w, 2 * MIB, (struct how){.level = 1});
	check_edge(w, 77777);
	/* So much from so little input that one step of zlib fills more than is kept. */
	w->content.len = w->file.len = 0;
	add_lines(&w->content, 997);
	assert_int_equal(buf_reserve(&w->content, 2 * MIB), 0);
	for (int i = 0; i < 2000; i++)
		assert_int_equal(buf_add(&w->content, w->content.data, 997), 0);
	add_member(&w->file, w->content.data, w->content.len, usual);
	begin(w);
	check_edge(w, 700 * KIB);
	check_edge(w, 300 * KIB);
}

static void header_fields_are_passed(void **state)
{
	static unsigned char extra[60000], name[70000], comment[] = "of no use";
	gz_header header = {.text = 1,
			    .time = 1795221122,
			    .os = 3,
			    .extra = extra,
			    .extra_len = sizeof(extra),
			    .name = name,
			    .comment = comment,
			    .hcrc = 1};
	struct world *w = *state;

	memset(extra, 0x1f, sizeof(extra));
	memset(name, 'n', sizeof(name) - 1);
	begin_lines(w, 10 * KIB, (struct how){.level = 6, .header = &header});
	check_all(w, GZ_END, KIB);
	w->file.data[4]++; /* the time: the header's CRC is wrong */
	begin(w);
	w->content.len = 0;
	check_all(w, GZ_CORRUPT, KIB);
}

static void members_are_one_content(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 40; i++) {
		size_t at = w->content.len;

		add_lines(&w->content, i % 3 == 1 ? 0 : any(i % 5 ? 300 : 100 * KIB));
		add_member(&w->file, w->content.data + at, w->content.len - at,
			   (struct how){.level = i % 10});
	}
	begin(w);
	check_all(w, GZ_END, 70);
	gz_begin(w);
	check_all(w, GZ_END, 300 * KIB);
	for (int k = 0; k < 100; k++)
		check_at(w, any(10 * KIB), any((uint32_t)w->content.len));
	/* Nothing but empty ones. */
	w->content.len = w->file.len = 0;
	for (int i = 0; i < 5000; i++)
		add_member(&w->file, "", 0, (struct how){.level = 1});
	begin(w);
	check_all(w, GZ_END, 100);
}

/* Two members of a few lines; returns where the second begins. */
static size_t small_file(struct world *w)
{
	size_t second;

	add_lines(&w->content, 700);
	add_member(&w->file, w->content.data, 400, usual);
	second = w->file.len;
	add_member(&w->file, w->content.data + 400, 300,
		   (struct how){.level = 6, .strategy = Z_FIXED});
	return second;
}

static enum gz_state state_when_cut(const struct world *w, size_t second, size_t cut)
{
	return cut == second || cut == w->file.len ? GZ_END : GZ_SHORT;
}

static void cut_at_any_byte_it_goes_on_when_grown(void **state)
{
	struct world *w = *state;
	size_t second = small_file(w);

	for (size_t cut = 0; cut <= w->file.len; cut++) {
		_cleanup_(buf_done) struct buf out = {0}, bytes = {0};
		size_t step = 1 + any(800);
		char c;

		file_write(w, w->file.data, cut);
		gz_begin(w);
		read_on(w->gz, &bytes, 1);
		gz_begin(w);
		assert_int_equal(read_on(w->gz, &out, step), state_when_cut(w, second, cut));
		assert_true(out.len <= w->content.len);
		assert_memory_equal(out.data, w->content.data, out.len);
		assert_int_equal(bytes.len, out.len); /* all there is, however it is asked for */
		assert_true(cut < w->file.len - 8 || out.len == w->content.len);
		assert_true(cut < second || out.len >= 400);
		assert_int_equal(gz_lost(w->gz), 0);
		file_write(w, w->file.data, w->file.len);
		if (out.len < w->content.len) {
			assert_int_equal(gz_pread(w->gz, &c, 1, out.len), 1);
			assert_int_equal(gz_state(w->gz), GZ_MORE);
		}
		assert_int_equal(read_on(w->gz, &out, step), GZ_END);
		assert_int_equal(out.len, w->content.len);
		assert_memory_equal(out.data, w->content.data, out.len);
		assert_int_equal(gz_restarts(w->gz), 0);
	}
}

static void it_follows_a_file_that_grows_by_bytes(void **state)
{
	_cleanup_(buf_done) struct buf out = {0};
	struct world *w = *state;
	size_t second = small_file(w);

	file_write(w, "", 0);
	gz_begin(w);
	for (size_t i = 0; i <= w->file.len; i++) {
		assert_int_equal(pwrite(w->fd, w->file.data, i, 0), (ssize_t)i);
		assert_int_equal(read_on(w->gz, &out, 1000), state_when_cut(w, second, i));
		assert_true(out.len <= w->content.len);
		assert_memory_equal(out.data, w->content.data, out.len);
	}
	assert_int_equal(out.len, w->content.len);
	assert_int_equal(gz_restarts(w->gz), 0);
}

static void a_flipped_bit_never_passes_for_content(void **state)
{
	unsigned int seen[4] = {0};
	struct world *w = *state;

	small_file(w);
	for (size_t i = 0; i < w->file.len; i++) {
		_cleanup_(buf_done) struct buf before = {0};

		file_write(w, w->file.data, i);
		gz_begin(w);
		read_on(w->gz, &before, 1000);
		for (int bit = 0; bit < 8; bit++) {
			_cleanup_(buf_done) struct buf out = {0};
			enum gz_state s;

			w->file.data[i] ^= (char)(1 << bit);
			begin(w);
			s = read_on(w->gz, &out, 1 + any(800));
			w->file.data[i] ^= (char)(1 << bit);
			seen[s]++;
			/* What the bytes in front of it say is delivered. */
			assert_true(out.len >= before.len);
			assert_memory_equal(out.data, before.data, before.len);
			assert_true(s != GZ_END || out.len == w->content.len);
			if (s == GZ_END)
				assert_memory_equal(out.data, w->content.data, out.len);
			/* Only while the file goes on is there something that it may claim. */
			assert_true(s == GZ_CORRUPT || gz_lost(w->gz) == 0);
		}
	}
	/* Times and names say nothing of the content: those flips do no harm. */
	assert_true(seen[GZ_END] > 0 && seen[GZ_END] <= 2 * 8 * 8);
	assert_true(seen[GZ_CORRUPT] > seen[GZ_SHORT]);
}

static void check_behind(struct world *w, const char *tail, size_t n, enum gz_state want)
{
	size_t len = w->file.len;

	assert_int_equal(buf_add(&w->file, tail, n), 0);
	begin(w);
	check_all(w, want, 333);
	assert_int_equal(gz_lost(w->gz), 0);
	w->file.len = len;
}

static void garbage_behind_is_corrupt(void **state)
{
	_cleanup_free_ char *much = malloc(MIB);
	struct world *w = *state;

	begin_lines(w, 5000, usual);
	check_behind(w, "x", 1, GZ_CORRUPT);
	check_behind(w, "\n\1\0\0", 4, GZ_CORRUPT);
	check_behind(w, "\x1f\x8d\x90\0\x10\0\0", 7, GZ_CORRUPT);
	check_behind(w, "\x1f\x8b\x07\0\0\0\0\0\0\0\0\0", 12, GZ_CORRUPT);
	memset(much, '\1', MIB); /* enough for what its last four bytes would say */
	check_behind(w, much, MIB, GZ_CORRUPT);
	memcpy(much, "\x1f\x8b\x07", 3);
	check_behind(w, much, MIB, GZ_CORRUPT);
	check_behind(w, "\x1f", 1, GZ_SHORT); /* a member may be coming */
	check_behind(w, "\x1f\x8b\x08\0\0", 5, GZ_SHORT);
}

static void zero_padding_is_passed(void **state)
{
	static const char zeros[2 * MIB];
	struct world *w = *state;
	size_t len;

	begin_lines(w, 5000, usual);
	check_behind(w, zeros, 1, GZ_END);
	check_behind(w, zeros, 512, GZ_END);
	check_behind(w, zeros, 100000, GZ_END);
	check_behind(w, zeros, MIB, GZ_END);
	check_behind(w, zeros, MIB + 1, GZ_CORRUPT);
	check_behind(w, "\0\0\0x", 4, GZ_CORRUPT);
	/* A member behind zeros is no member, for gzip(1) neither. */
	len = w->file.len;
	assert_int_equal(buf_add(&w->file, zeros, 3), 0);
	assert_int_equal(buf_add(&w->file, w->file.data, len), 0);
	begin(w);
	check_all(w, GZ_CORRUPT, 333);
	assert_int_equal(gz_lost(w->gz), 0);
}

static void what_is_no_gzip_is_corrupt(void **state)
{
	_cleanup_free_ char *text = malloc(MIB);
	unsigned char packed[100];
	uLongf packed_len = sizeof(packed);
	struct world *w = *state;

	check_behind(w, "", 0, GZ_SHORT);
	check_behind(w, "a", 1, GZ_CORRUPT);
	check_behind(w, "\0", 1, GZ_CORRUPT);
	check_behind(w, "\x1f\x8c", 2, GZ_CORRUPT);
	check_behind(w, "PK\3\4", 4, GZ_CORRUPT);
	/* Large enough to hold what its last four bytes would say. */
	memset(text, '\1', MIB);
	check_behind(w, text, MIB, GZ_CORRUPT);
	memcpy(text, "\x1f\x8b\x07", 3); /* another method */
	check_behind(w, text, MIB, GZ_CORRUPT);
	memcpy(text, "\x1f\x8b\x08\xff", 4); /* flags that do not exist */
	check_behind(w, text, MIB, GZ_CORRUPT);
	assert_int_equal(compress(packed, &packed_len, (const Bytef *)"zlib's own format", 17),
			 Z_OK);
	check_behind(w, (char *)packed, packed_len, GZ_CORRUPT);
	/* Once corrupt, for good. */
	assert_int_equal(gz_pread(w->gz, text, 10, 0), 0);
	assert_int_equal(gz_state(w->gz), GZ_CORRUPT);
}

static void failing_reads_lose_nothing(void **state)
{
	struct world *w = *state;
	unsigned int n = 0;

	begin_lines(w, 400 * KIB, (struct how){.level = 1});
	fault.error = EIO;
	do {
		fault.calls = 0;
		fault.fail_at = ++n;
		gz_begin(w);
		check_all(w, GZ_END, n % 2 ? 30 * KIB : 256 * KIB);
	} while (fault.calls >= fault.fail_at);
	assert_true(n > 4);
	/* A jump is gone on with as well. */
	for (fault.fail_at = 1; fault.fail_at < n - 2; fault.fail_at++) {
		char c;

		fault.calls = 0;
		gz_begin(w);
		assert_int_equal(gz_pread(w->gz, &c, 1, 400 * KIB - 1), -EIO);
		assert_int_equal(gz_state(w->gz), GZ_MORE);
		check_at(w, 100, 400 * KIB - 100);
	}
	fault.fail_at = 0;
	fault.every = 2;
	gz_begin(w);
	check_all(w, GZ_END, 100 * KIB);
}

static void interrupted_and_short_reads_are_not_seen(void **state)
{
	struct world *w = *state;

	begin_lines(w, 100 * KIB, usual);
	for (fault.most = 1; fault.most < 3000; fault.most = fault.most * 3 + 1) {
		gz_begin(w);
		check_at(w, 200 * KIB, 0);
		assert_int_equal(gz_restarts(w->gz), 0);
	}
	fault.every = 2;
	fault.error = EINTR;
	fault.most = 100;
	gz_begin(w);
	check_at(w, 200 * KIB, 0);
}

static void what_is_behind_a_corruption_is_told(void **state)
{
	static const size_t total = 500 * KIB, half = 200 * KIB;
	struct world *w = *state;

	add_lines(&w->content, total);
	for (size_t members = 0; members < 3; members++) { /* good ones in front */
		_cleanup_(buf_done) struct buf out = {0};
		char again[100];

		w->file.len = 0;
		for (size_t i = 0; i < members; i++)
			add_member(&w->file, w->content.data, total, usual);
		add_member(&w->file, w->content.data, total,
			   (struct how){.level = 6, .break_at = half});
		begin(w);
		assert_int_equal(gz_lost(w->gz), 0); /* not known yet */
		assert_int_equal(read_on(w->gz, &out, 50 * KIB), GZ_CORRUPT);
		assert_int_equal(out.len, members * total + half);
		for (size_t i = 0; i < members; i++)
			assert_memory_equal(out.data + i * total, w->content.data, total);
		assert_memory_equal(out.data + members * total, w->content.data, half);
		assert_int_equal(gz_lost(w->gz), total - half);
		/* What was read of it is still to be had, and then it is as corrupt as before. */
		assert_int_equal(gz_pread(w->gz, again, 100, 0), 100);
		assert_memory_equal(again, w->content.data, 100);
		assert_int_equal(gz_state(w->gz), GZ_CORRUPT);
		assert_int_equal(gz_lost(w->gz), total - half);
		assert_int_equal(gz_pread(w->gz, again, 100, out.len - 10), 10);
		assert_int_equal(gz_lost(w->gz), total - half);
	}
}

static void set_isize(struct world *w, uint32_t size)
{
	for (int i = 0; i < 4; i++)
		w->file.data[w->file.len - 4 + (size_t)i] = (char)(size >> 8 * i);
	file_write(w, w->file.data, w->file.len);
}

static void a_claim_that_cannot_be_is_not_believed(void **state)
{
	static const struct how broken = {.level = 6, .break_at = 200 * KIB};
	_cleanup_(buf_done) struct buf out = {0};
	struct world *w = *state;
	size_t good;

	add_lines(&w->content, 500 * KIB);
	add_member(&w->file, w->content.data, broken.break_at, usual);
	good = w->file.len; /* nearly where the break will be */
	w->file.len = 0;
	begin_lines(w, 500 * KIB, broken);
	assert_int_equal(read_on(w->gz, &out, 50 * KIB), GZ_CORRUPT);
	assert_int_equal(gz_lost(w->gz), 300 * KIB);
	set_isize(w, 200 * KIB); /* not more than there was */
	assert_int_equal(gz_lost(w->gz), 0);
	set_isize(w, 0);
	assert_int_equal(gz_lost(w->gz), 0);
	set_isize(w, 200 * KIB + 1);
	assert_int_equal(gz_lost(w->gz), 1);
	/* What the rest can hold at most, about. */
	set_isize(w, (uint32_t)(w->file.len - good) * 1000);
	assert_true(gz_lost(w->gz) > 0);
	set_isize(w, (uint32_t)(w->file.len - good) * 1100);
	assert_int_equal(gz_lost(w->gz), 0);
	set_isize(w, UINT32_MAX);
	assert_int_equal(gz_lost(w->gz), 0);
	set_isize(w, 500 * KIB);
	fault.calls = 0;
	fault.fail_at = 1;
	fault.error = EIO;
	assert_int_equal(gz_lost(w->gz), 0);
	assert_int_equal(gz_lost(w->gz), 300 * KIB);
	for (off_t size = 20000; size >= 0; size -= 10000) {
		assert_int_equal(ftruncate(w->fd, size), 0);
		assert_int_equal(gz_lost(w->gz), 0);
	}
}

static void content_with_a_wrong_trailer_is_delivered(void **state)
{
	struct world *w = *state;

	for (size_t i = 1; i <= 8; i++) {
		begin_lines(w, 30 * KIB, usual);
		w->file.data[w->file.len - i] ^= 0x01;
		begin(w);
		check_all(w, GZ_CORRUPT, i % 2 ? 30 * KIB : 7 * KIB);
		assert_int_equal(gz_lost(w->gz), 0);
	}
}

static void a_bomb_costs_only_what_is_asked_for(void **state)
{
	static const char zeros[16 * MIB];
	_cleanup_free_ char *to = malloc(MIB);
	struct world *w = *state;

	for (int i = 0; i < 20; i++)
		add_member(&w->file, zeros, sizeof(zeros), usual);
	assert_true(w->file.len < 20 * 17 * KIB);
	begin(w);
	assert_int_equal(gz_pread(w->gz, to, 10, 0), 10);
	assert_int_equal(gz_inflated(w->gz), 10);
	assert_int_equal(gz_pread(w->gz, to, MIB, 0), MIB);
	assert_int_equal(gz_inflated(w->gz), MIB);
	assert_int_equal(gz_pread(w->gz, to, 1000, 20 * MIB), 1000);
	assert_int_equal(gz_inflated(w->gz), 20 * MIB + 1000);
	assert_int_equal(gz_state(w->gz), GZ_MORE);
	assert_memory_equal(to, zeros, 1000);
}

static void a_file_that_was_rewritten_is_noticed(void **state)
{
	struct world *w = *state;
	size_t len;
	char c;

	begin_lines(w, MIB, usual);
	check_at(w, 10, MIB);
	len = w->file.len;
	add_member(&w->file, w->content.data, 100 * KIB, usual);
	file_write(w, w->file.data + len, w->file.len - len);
	assert_int_equal(gz_pread(w->gz, &c, 1, 200 * KIB), 0);
	assert_int_equal(gz_state(w->gz), GZ_CORRUPT);
	assert_int_equal(ftruncate(w->fd, 1000), 0);
	gz_begin(w);
	assert_int_equal(gz_pread(w->gz, &c, 1, MIB), 0);
	assert_int_equal(gz_state(w->gz), GZ_SHORT);
}

#ifndef __SANITIZE_ADDRESS__
static size_t malloc_refuse; /* this many bytes and more, */
static int malloc_left;      /* but for so many times */

void *__libc_malloc(size_t n);

/* Also zlib's. */
void *malloc(size_t n)
{
	if (malloc_refuse && n >= malloc_refuse && malloc_left-- <= 0)
		return NULL;
	return __libc_malloc(n);
}
#endif

static void out_of_memory_loses_nothing(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	print_message("# the sanitizer has its own malloc\n");
	skip();
#else
	struct world *w = *state;
	char *to = malloc(200 * KIB);
	struct gz *g = NULL;
	int r[2];
	ssize_t n;

	begin_lines(w, 100 * KIB, usual);
	for (int i = 0; i < 2; i++) { /* its own, then zlib's */
		malloc_refuse = 5 * KIB;
		malloc_left = i;
		r[i] = gz_new(w->fd, &g);
		malloc_refuse = 0;
		assert_int_equal(r[i], -ENOMEM);
		assert_null(g);
	}
	malloc_refuse = 16 * KIB; /* zlib's window */
	malloc_left = 0;
	n = gz_pread(w->gz, to, 1000, 0);
	malloc_refuse = 0;
	assert_int_equal(n, -ENOMEM);
	check_at(w, 200 * KIB, 0);
	free(to);
#endif
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static const struct CMUnitTest tests[] = {
	T(content_is_read_at_any_offset),
	T(nothing_is_read_before_it_is_asked_for),
	T(files_of_gzip_are_read_without_a_restart),
	T(steps_of_the_reader_never_restart),
	T(a_step_far_back_restarts_and_is_right),
	T(what_is_kept_is_right_to_its_edge),
	T(header_fields_are_passed),
	T(members_are_one_content),
	T(cut_at_any_byte_it_goes_on_when_grown),
	T(it_follows_a_file_that_grows_by_bytes),
	T(a_flipped_bit_never_passes_for_content),
	T(garbage_behind_is_corrupt),
	T(zero_padding_is_passed),
	T(what_is_no_gzip_is_corrupt),
	T(failing_reads_lose_nothing),
	T(interrupted_and_short_reads_are_not_seen),
	T(what_is_behind_a_corruption_is_told),
	T(a_claim_that_cannot_be_is_not_believed),
	T(content_with_a_wrong_trailer_is_delivered),
	T(a_bomb_costs_only_what_is_asked_for),
	T(a_file_that_was_rewritten_is_noticed),
	T(out_of_memory_loses_nothing),
};

RUN_TESTS(tests)
