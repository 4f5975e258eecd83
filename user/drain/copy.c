/* SPDX-License-Identifier: Apache-2.0 */
#include "drain/copy.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "files/file.h"

#define COPY_LATE_NS (200 * NS_PER_MS) /* how much later than the truncation it is found */

void copy_take_head(struct file *f, const char *data, size_t n)
{
	f->head = mark_of(data, MIN(n, (size_t)MARK_BYTES));
}

void copy_note_truncation(struct file *f, uint64_t lost_bytes)
{
	struct chain *c = f->chain;

	if (c->live != f || !f->head.len)
		return;
	c->unsettled = c->copies > 0;
	if (!c->cut)
		c->cut = malloc(sizeof(*c->cut));
	if (c->cut) /* else a copy is read from its beginning: twice rather than not at all */
		*c->cut = (struct cut){.offset = f->offset,
				       .lost_bytes = lost_bytes,
				       .noted_ns = clock_now_ns(),
				       .head = f->head,
				       .mark = f->mark};
	f->head.len = 0;
}

/* The bytes at offset are these. */
static bool holds(const struct file *f, uint64_t offset, const struct mark *want)
{
	char got[MARK_BYTES];

	return sys.pread(f->fd, got, want->len, (off_t)offset) == (ssize_t)want->len &&
	       mark_is(want, got);
}

/* What the truncation cut off is in the copy f: it was not lost after all. */
static void find_again(const struct file *f)
{
	struct cut *cut = f->chain->cut;
	struct lost *lost = &f->chain->tally.lost[LOST_TRUNCATED];
	uint64_t there = f->size > cut->offset ? f->size - cut->offset : 0;
	uint64_t found = MIN(cut->lost_bytes, there);

	if (!found)
		return;
	lost->bytes -= found;
	cut->lost_bytes -= found;
	if (f->chain->live) /* of which it was lost; the copy's account has it now */
		f->chain->live->base += found;
	else
		f->chain->tally.written_bytes -= found;
	if (!cut->lost_bytes) {
		lost->events--;
		chain_break_joins(f->chain, false);
	}
}

static bool resumes_at_cut(struct file *f)
{
	const struct cut *cut = f->chain->cut;
	struct stat st;

	if (!cut || !holds(f, 0, &cut->head) || sys.fstat(f->fd, &st) < 0)
		return false;
	if ((uint64_t)st.st_size < cut->offset) {
		if (cut->noted_ns < f->displaced_ns - COPY_LATE_NS)
			return false; /* too late to be of that truncation */
		f->size = (uint64_t)st.st_size;
		file_skip_to_end(f); /* read beyond what was copied */
		f->sync_line = false;
		return true;
	}
	if (!holds(f, cut->offset - cut->mark.len, &cut->mark))
		return false;
	f->offset = f->acked = cut->offset;
	f->mark = cut->mark;
	find_again(f);
	return true;
}

/* Not read yet, the live file's head is what it holds now, and another one tells of a truncation.
 */
static bool live_was_cut(struct file *live)
{
	char now[MARK_BYTES];
	ssize_t n = sys.pread(live->fd, now, sizeof(now), 0);

	if (live->head.len && (n < live->head.len || !mark_is(&live->head, now)))
		return true;
	copy_take_head(live, now, n > 0 ? (size_t)n : 0);
	return false;
}

/* Does f begin as the live file did, as far as it reaches? */
static bool begins_as(const struct file *f, const struct file *live)
{
	char here[MARK_BYTES], there[MARK_BYTES];
	ssize_t n = sys.pread(f->fd, here, live->head.len, 0);

	if (n < 0 || n == live->head.len)
		return n >= 0 && mark_is(&live->head, here);
	/* Shorter, it is compared with what is there; the live file was cut when that is not what
	 * was read of it, and f is judged by the cut, as soon as it is noticed. */
	return sys.pread(live->fd, there, live->head.len, 0) != (ssize_t)live->head.len ||
	       !mark_is(&live->head, there) || memcmp(here, there, (size_t)n) == 0;
}

enum copy_verdict copy_judge(struct file *f)
{
	struct file *live = f->chain->live;

	if (resumes_at_cut(f))
		return COPY_RESUME;
	if (!live)
		return COPY_NO;
	if (live->offset == 0 && live_was_cut(live)) {
		bool same = holds(f, 0, &live->head);

		live->head.len = 0;
		if (same) /* what was cut off is read in the copy */
			live->copied = true;
		return same ? COPY_RESUME : COPY_NO;
	}
	if (!begins_as(f, live))
		return COPY_NO;
	if (live->head.len == 0 && f->size > 0)
		return COPY_NO; /* the live file is empty: nothing it could be a copy of */
	return COPY_WAIT;
}
