/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pread per call in the usual case, no copy: the kernel writes into the arena, records are
 * slices of it.
 *
 *   arena  |...used|mark (read again)|line\nline\n...line\n|torn tail|
 *                                     ^ offset              ^ new offset: stays in the file
 *
 * A torn tail is not kept: it is read again once its newline is there; when it is long, only its
 * new bytes are looked at until one shows, so that the cost stays linear. A line longer than the
 * limit is delivered cut. No mmap of log files: a truncation under it would be SIGBUS.
 */
#include "drain/reader.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "drain/copy.h"
#include "drain/gz.h"
#include "drain/truncation.h"
#include "event/labels.h"
#include "event/source.h"
#include "files/file.h"
#include "heat/write_count.h"
#include "output/batch.h"

#define READ_MIN      4096
#define TORN_LONG     (64 * 1024)
#define READ_TRIES    5
#define LINE_HEADROOM (64 * 1024) /* a CRI header, a json-file's keys and some escapes */

size_t reader_longest_line(uint32_t line_max)
{
	return MARK_BYTES + LINE_HEADROOM + line_max;
}

static size_t physical_max(const struct reader *r)
{
	return LINE_HEADROOM + r->line_max;
}

ssize_t reader_pread(struct file *f, void *to, size_t n, uint64_t offset)
{
	ssize_t got;

	if (f->compressed && !f->gz && gz_new(f->fd, &f->gz) < 0)
		return -ENOMEM;
	if (f->gz)
		return gz_pread(f->gz, to, n, offset);
	do
		got = sys.pread(f->fd, to, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t reader_pread_all(struct file *f, void *to, size_t n, uint64_t offset)
{
	size_t got = 0;

	for (int failures = 0; got < n;) {
		ssize_t r = reader_pread(f, (char *)to + got, n - got, offset + got);

		if (r == 0)
			break;
		if (r < 0 && ++failures == READ_TRIES)
			return r;
		got += r > 0 ? (size_t)r : 0;
	}
	return (ssize_t)got;
}

/* The span that new records and bytes of f go to. */
static struct span *span_for(struct batch *b, struct file *f)
{
	struct span *s = b->n_spans ? &b->spans[b->n_spans - 1] : NULL;

	if (s && s->file == f && s->epoch == f->epoch && s->labels == f->chain->labels)
		return s;
	if (b->n_spans == BATCH_SPANS)
		return NULL;
	if (!b->first_ns)
		b->first_ns = clock_now_ns();
	s = &b->spans[b->n_spans++];
	*s = (struct span){.source = source_ref(f->source),
			   .labels = labels_ref(f->chain->labels),
			   .file = f,
			   .epoch = f->epoch,
			   .since_ns = f->dirty_ns,
			   .first = b->n_records};
	f->inflight++;
	return s;
}

/* What is open in f now, and that everything else before its offset is done with. */
static void span_end(struct span *s, const struct file *f)
{
	s->end_offset = f->offset;
	for (size_t i = 0; i < ARRAY_SIZE(s->open); i++) {
		const struct join *j = i < f->chain->n_joins ? &f->chain->joins[i] : NULL;

		s->open[i] = j && j->file == f ? j->start + 1 : 0;
	}
}

/* j's record is out, or its beginning is gone: its file may be left behind once this batch is. */
static void leave_origin(struct join *j, struct batch *b, struct file *f)
{
	struct file *from = take_ptr(j->file);
	struct span *s = &b->spans[b->n_spans - 1];

	if (from != f) {
		s->count = b->n_records - s->first;
		s = span_for(b, from);
		span_end(s, from);
		span_for(b, f);
	}
	from->inflight--; /* never the last: a span of it is in b */
}

/* Adds a piece that begins at start in f, and remembers where a record begins that stays open. The
 * last span of b is f's. */
static int add_piece(const struct reader *r, struct file *f, struct batch *b,
		     const struct decoded *d, bool cut, uint64_t start)
{
	struct chain *c = f->chain;
	struct join none = {0}, *j;
	int rc;

	if (d->partial && !c->n_joins && chain_make_joins(c) < 0)
		return -ENOMEM;
	j = c->n_joins ? &c->joins[d->stream] : &none;
	if (j->file && j->file != f && b->n_spans + 2 > BATCH_SPANS)
		return -ENOBUFS;
	rc = join_add(j, r->budget, d, cut, b);
	if (rc < 0)
		return rc;
	if (j->file && (j->fresh || !join_pending(j)))
		leave_origin(j, b, f);
	if (j->fresh) {
		j->fresh = false;
		j->file = f;
		j->start = start;
		f->inflight++;
	}
	return 0;
}

static enum decode_format format_for(const struct reader *r, struct chain *c, const char *line,
				     size_t len)
{
	if (r->format != DECODE_AUTO)
		return r->format;
	if (c->format == DECODE_AUTO && len && line[0] != '\0')
		c->format = decode_detect(line, len);
	return c->format == DECODE_AUTO ? DECODE_RAW : c->format;
}

static int emit_line(const struct reader *r, struct file *f, struct batch *b, char *line,
		     size_t len, bool cut, uint64_t start)
{
	struct chain *c = f->chain;
	struct decoded d;
	int rc;

	decode_line(format_for(r, c, line, len), line, len, cut, &d);
	if (f->replay && start < f->replay->before &&
	    (!f->replay->open[d.stream] || start + 1 < f->replay->open[d.stream]))
		return 0; /* delivered before the restart */
	rc = add_piece(r, f, b, &d, cut, start);
	if (rc == 0)
		c->tally.malformed_lines += d.malformed;
	return rc;
}

/* The bytes in front of the new offset; data has f->mark.len bytes of the old mark in front. */
static struct mark mark_behind(const struct file *f, const char *data, size_t consumed)
{
	size_t len = MIN(f->mark.len + consumed, (size_t)MARK_BYTES);

	return mark_of(data + consumed - len, len);
}

static void read_mark_again(struct file *f)
{
	size_t n = MIN(f->offset, (uint64_t)MARK_BYTES);
	char bytes[MARK_BYTES];
	ssize_t got = reader_pread(f, bytes, n, f->offset - n);

	f->mark = mark_of(bytes, got == (ssize_t)n ? n : 0);
}

/* b's last span is f's. */
static void advance(struct file *f, struct batch *b, size_t bytes)
{
	struct span *s = &b->spans[b->n_spans - 1];

	f->offset += bytes;
	f->consumed += bytes;
	f->chain->tally.read_bytes += bytes;
	f->torn = 0;
	s->count = b->n_records - s->first;
	span_end(s, f);
	s->read_bytes += bytes;
}

/* Decodes whole lines. 0, or why it stopped early; *ret_consumed is right in both cases. */
static int emit_lines(const struct reader *r, struct file *f, struct batch *b, char *data,
		      size_t len, size_t *ret_consumed)
{
	char *at = data, *end = data + len;
	int rc = 0;

	while (at < end) {
		char *eol = memchr(at, '\n', (size_t)(end - at));

		rc = emit_line(r, f, b, at, (size_t)(eol - at), false,
			       f->offset + (size_t)(at - data));
		if (rc < 0)
			break;
		at = eol + 1;
	}
	*ret_consumed = (size_t)(at - data);
	return rc;
}

/* Reads on until the line that begins at data ends, or is longer than any may be. */
static int read_long_line(const struct reader *r, struct file *f, char *data, size_t *got,
			  char **ret_last_newline)
{
	size_t max = physical_max(r);

	while (*got < max) {
		ssize_t n = reader_pread(f, data + *got, MIN(max - *got, (size_t)TORN_LONG),
					 f->offset + *got);

		if (n <= 0)
			return (int)n;
		if (truncation_counted(f, r->counts))
			return -EAGAIN;
		*ret_last_newline = memrchr(data + *got, '\n', (size_t)n);
		*got += (size_t)n;
		if (*ret_last_newline)
			return 0;
	}
	return 0;
}

static int start_over(const struct reader *r, struct file *f, enum read_outcome *ret_outcome)
{
	int rc = truncation_take(f, r->counts);

	*ret_outcome = rc == 0 ? READ_TRUNCATED : READ_END;
	return rc == -EAGAIN ? 0 : rc;
}

static void at_end(struct file *f, size_t torn, enum read_outcome *ret_outcome)
{
	f->torn = torn;
	f->size = f->offset + torn;
	f->probe = false;
	*ret_outcome = READ_END;
}

/* The tail of a line that is not delivered. */
static void skip(struct file *f, struct batch *b, char *data, size_t got, size_t *ret_bytes)
{
	char *newline = memchr(data, '\n', got);
	size_t n = newline ? (size_t)(newline - data) + 1 : got;
	struct span *s = span_for(b, f);

	if (!s)
		return;
	if (f->skip_line)
		f->chain->tally.skipped_bytes += n;
	f->mark = mark_behind(f, data, n);
	advance(f, b, n);
	if (newline)
		f->skip_line = f->sync_line = false;
	*ret_bytes = n;
}

/*
 * A writer that does not append goes on at its old position after a truncation: a hole, read as
 * NULs, up to its first new line. Skipped by its extents, then by what is left of NULs in the first
 * block that has data.
 */
static int skip_hole(struct file *f, struct batch *b, char *scratch, size_t room, size_t *ret_bytes)
{
	off_t data = sys.lseek(f->fd, (off_t)f->offset, SEEK_DATA);
	uint64_t at = data > 0 ? (uint64_t)data : f->offset;
	struct span *s = span_for(b, f);
	size_t nuls = 0;
	ssize_t n;

	n = reader_pread(f, scratch, room, at);
	if (n < 0 || !s)
		return n < 0 ? (int)n : 0;
	while (nuls < (size_t)n && scratch[nuls] == '\0')
		nuls++;
	f->hole = nuls == (size_t)n;
	f->mark.len = 0;
	*ret_bytes = (size_t)(at + nuls - f->offset);
	advance(f, b, *ret_bytes);
	f->chain->tally.hole_bytes += *ret_bytes;
	f->chain->tally.read_bytes -= *ret_bytes;
	s->read_bytes -= *ret_bytes;
	f->consumed -= *ret_bytes;
	f->besides += *ret_bytes;
	read_mark_again(f);
	return 0;
}

/* True while a long torn tail has no newline yet: then there is nothing to read. */
static bool still_torn(const struct reader *r, struct file *f, char *scratch, size_t room)
{
	struct stat st;
	ssize_t n;

	/* Shorter than what is known of it: truncated, the whole read finds out. */
	if (f->torn < TORN_LONG || sys.fstat(f->fd, &st) < 0 ||
	    (uint64_t)st.st_size < f->offset + f->torn)
		return false;
	n = reader_pread(f, scratch, room, f->offset + f->torn);
	if (n <= 0 || memchr(scratch, '\n', (size_t)n))
		return n == 0;
	f->torn += (uint64_t)n;
	return (size_t)n < room && f->torn < physical_max(r);
}

/* data[0..got) was read at the offset, at_eof: the file ends there. */
static int take(const struct reader *r, struct file *f, struct batch *b, char *data, size_t got,
		bool at_eof, enum read_outcome *ret_outcome, size_t *ret_bytes)
{
	char *newline = memrchr(data, '\n', got);
	size_t whole, consumed;
	struct mark mark;
	struct span *s;
	int rc;

	if (!newline && !at_eof) {
		rc = read_long_line(r, f, data, &got, &newline);
		if (rc < 0)
			return rc == -EAGAIN ? start_over(r, f, ret_outcome) : rc;
	}
	if (!newline && got < physical_max(r)) {
		at_end(f, got, ret_outcome);
		return 0;
	}
	s = span_for(b, f);
	if (!s) {
		*ret_outcome = READ_FULL;
		return 0;
	}
	whole = newline ? (size_t)(newline - data) + 1 : got;
	mark = mark_behind(f, data, whole); /* now: decoding may write over it */
	if (newline) {
		rc = emit_lines(r, f, b, data, whole, &consumed);
	} else {
		rc = emit_line(r, f, b, data, got, true, f->offset);
		consumed = rc == 0 ? got : 0;
		f->skip_line = rc == 0;
	}
	b->used += f->mark.len + consumed;
	advance(f, b, consumed);
	*ret_bytes = consumed;
	if (consumed == whole)
		f->mark = mark;
	else
		read_mark_again(f);
	if (rc < 0) {
		*ret_outcome = READ_FULL;
		return rc == -ENOBUFS ? 0 : rc;
	}
	if (at_eof)
		at_end(f, got - consumed, ret_outcome);
	return 0;
}

int reader_read(const struct reader *r, struct file *f, struct batch *b, size_t grant,
		enum read_outcome *ret_outcome, size_t *ret_bytes)
{
	char *base = b->arena + b->used, *data = base + f->mark.len;
	size_t room = b->used < b->fill_bytes ? b->fill_bytes - b->used : 0, want;
	struct write_total total = {0};
	struct stat st;
	bool at_eof;
	ssize_t n;
	int rc;

	*ret_bytes = 0;
	*ret_outcome = READ_FULL;
	if (room < READ_MIN || batch_full(b))
		return 0;
	if (truncation_counted(f, r->counts) || truncation_before_read(f, r->counts))
		return start_over(r, f, ret_outcome);
	*ret_outcome = READ_END;
	want = grant < READ_MIN ? READ_MIN : MIN(grant, room);
	if (still_torn(r, f, base, room)) {
		f->size = f->offset + f->torn;
		f->probe = false;
		return 0;
	}
	if (r->counts && f->slot >= 0)
		write_count_read(r->counts, f->slot, &total);
	n = reader_pread(f, base, f->mark.len + want, f->offset - f->mark.len);
	if (n < 0)
		return (int)n;
	if (truncation_counted(f, r->counts)) /* under the read, perhaps */
		return start_over(r, f, ret_outcome);
	while ((size_t)n < f->mark.len) { /* a short read, or shorter by now */
		ssize_t more = reader_pread(f, base + n, f->mark.len - (size_t)n,
					    f->offset - f->mark.len + (size_t)n);

		if (more < 0)
			return (int)more;
		if (more == 0)
			return start_over(r, f, ret_outcome);
		n += more;
	}
	if (!mark_is(&f->mark, base))
		return start_over(r, f, ret_outcome);
	f->sure = MAX(f->size, f->offset + (size_t)n - f->mark.len);
	n -= f->mark.len;
	if (n == 0) {
		if (!f->compressed && sys.fstat(f->fd, &st) == 0 &&
		    (uint64_t)st.st_size < f->offset)
			return start_over(r, f, ret_outcome);
		at_end(f, 0, ret_outcome);
		truncation_calibrate(f, r->counts, total.bytes);
		return 0;
	}
	*ret_outcome = READ_MORE;
	if (f->hole && data[0] == '\0')
		return skip_hole(f, b, data, room, ret_bytes);
	f->hole = false;
	if (f->offset == 0)
		copy_take_head(f, data, (size_t)n);
	if (f->skip_line || f->sync_line) {
		skip(f, b, data, (size_t)n, ret_bytes);
		return 0;
	}
	/* Also a read of a regular file can be short. */
	at_eof = (size_t)n < want && (f->compressed || f->offset + (size_t)n >= f->size);
	rc = take(r, f, b, data, (size_t)n, at_eof, ret_outcome, ret_bytes);
	if (rc == 0 && *ret_outcome == READ_END)
		truncation_calibrate(f, r->counts, total.bytes);
	return rc;
}

int reader_finish(const struct reader *r, struct file *f, struct batch *b)
{
	char *data = b->arena + b->used;
	ssize_t n;
	int rc;

	if (!f->torn)
		return 0;
	if (b->used >= b->fill_bytes || batch_full(b))
		return -ENOBUFS;
	n = reader_pread(f, data, MIN((size_t)f->torn, physical_max(r)), f->offset);
	if (n <= 0) {
		f->torn = 0;
		return (int)n;
	}
	if (!span_for(b, f))
		return -ENOBUFS;
	rc = emit_line(r, f, b, data, (size_t)n, false, f->offset);
	if (rc < 0)
		return rc;
	b->used += (size_t)n;
	advance(f, b, (size_t)n);
	read_mark_again(f);
	return 0;
}

int reader_flush_joins(const struct reader *r, struct chain *c, struct batch *b, struct file *f,
		       bool nameless)
{
	for (size_t i = 0; i < c->n_joins; i++) {
		struct join *j = &c->joins[i];
		int rc;

		if (!join_pending(j) || (nameless && j->file && j->file->path))
			continue;
		if (b->n_spans + 3 > BATCH_SPANS)
			return -ENOBUFS;
		span_for(b, f);
		rc = join_flush(j, r->budget, b);
		if (rc < 0)
			return rc;
		if (j->file)
			leave_origin(j, b, f);
		advance(f, b, 0);
	}
	return 0;
}
